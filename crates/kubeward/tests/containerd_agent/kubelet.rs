//! What a kubelet makes of the DaemonSet of `deployments/kubeward.yaml`: the CRI requests for its pod.
//!
//! Every member of the pod is either translated or known to mean nothing to the container; one that is neither fails the test.
//! Two things are a test's own: `/run` is the folder where its containerd has its socket, and the pod's network, which is the
//! pod's own as in a cluster, leads nowhere.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use kubeward_testkit::containerd::cri::messages::*;
use kubeward_testkit::containerd::cri::{container_labels, Pod};
use serde_json::Value;

/// The masks that a kubelet asks for.
const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Members that are for the scheduler, for the kubelet's own loop or for the pod as a whole.
const NOT_THE_CONTAINERS: [&str; 13] = [
    "affinity",
    "containers",
    "enableServiceLinks",
    "hostPID",
    "imagePullPolicy",
    "livenessProbe",
    "priorityClassName",
    "readinessProbe",
    "serviceAccountName",
    "startupProbe",
    "terminationGracePeriodSeconds",
    "tolerations",
    "volumes",
];

/// The pod's template, and where on this node its folders are.
pub(crate) struct Kubelet<'a> {
    pub(crate) template: Value,
    pub(crate) pod: Pod<'a>,
    /// Stands for the host's `/run`.
    pub(crate) run: PathBuf,
    /// Where volumes of the pod's own are made.
    pub(crate) volumes: PathBuf,
}

/// The pod template of the agents' DaemonSet.
pub(crate) fn agents_template() -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deployments/kubeward.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let daemonset = documents
        .into_iter()
        .find(|object| object["kind"] == "DaemonSet" && object["metadata"]["name"] == "kubeward")
        .context("no DaemonSet kubeward")?;
    Ok(daemonset["spec"]["template"].clone())
}

impl Kubelet<'_> {
    fn spec(&self) -> &Value {
        &self.template["spec"]
    }

    fn container(&self) -> &Value {
        &self.template["spec"]["containers"][0]
    }

    pub(crate) fn grace_seconds(&self) -> i64 {
        self.spec()["terminationGracePeriodSeconds"].as_i64().expect("a number")
    }

    /// The command of an exec probe, and its limit in seconds.
    pub(crate) fn probe(&self, name: &str) -> (Vec<String>, i64) {
        let probe = &self.container()[name];
        let command = items(&probe["exec"]["command"]).iter().map(text).collect();
        (command, probe["timeoutSeconds"].as_i64().expect("a number"))
    }

    pub(crate) fn namespaces(&self) -> NamespaceOption {
        let mode = |member: &str| if self.spec()[member] == true { NODE } else { POD };
        // Unless they share it, each container has its own pid namespace.
        let pid = if self.spec()["hostPID"] == true { NODE } else { CONTAINER };
        NamespaceOption { network: mode("hostNetwork"), pid, ipc: mode("hostIPC") }
    }

    /// The agent's container, of that image and with more variables.
    pub(crate) fn container_config(&self, image: &str, more: &[(&str, &str)]) -> Result<ContainerConfig> {
        let container = self.container();
        known(self.spec(), &["securityContext"])?;
        known(container, &["args", "env", "image", "name", "resources", "securityContext", "volumeMounts"])?;
        let more = more.iter().map(|(key, value)| KeyValue { key: (*key).to_owned(), value: (*value).to_owned() });
        let mut envs =
            items(&container["env"]).iter().map(|variable| self.variable(variable)).collect::<Result<Vec<_>>>()?;
        envs.extend(more);
        let mounts = items(&container["volumeMounts"]).iter().map(|mount| self.mount(mount)).collect::<Result<_>>()?;
        let name = text(&container["name"]);
        Ok(ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.clone() }),
            image: Some(ImageSpec { image: image.to_owned() }),
            command: Vec::new(),
            args: items(&container["args"]).iter().map(text).collect(),
            envs,
            mounts,
            labels: HashMap::from_iter(container_labels(&self.pod, &name)),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainerConfig {
                resources: Some(LinuxContainerResources { memory_limit_in_bytes: memory_limit(container)? }),
                security_context: Some(self.security_context()?),
            }),
        })
    }

    fn security_context(&self) -> Result<ContainerSecurityContext> {
        let (of_pod, own) = (&self.spec()["securityContext"], &self.container()["securityContext"]);
        known(of_pod, &["runAsUser", "runAsGroup", "seccompProfile"])?;
        known(own, &["allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"])?;
        let names = |list: &Value| items(list).iter().map(text).collect();
        let number = |value: &Value| value.as_i64().map(|value| Int64Value { value });
        Ok(ContainerSecurityContext {
            capabilities: Some(Capability {
                add_capabilities: names(&own["capabilities"]["add"]),
                drop_capabilities: names(&own["capabilities"]["drop"]),
            }),
            namespace_options: Some(self.namespaces()),
            run_as_user: number(&of_pod["runAsUser"]),
            run_as_group: number(&of_pod["runAsGroup"]),
            readonly_rootfs: own["readOnlyRootFilesystem"] == true,
            no_new_privs: own["allowPrivilegeEscalation"] == false,
            masked_paths: MASKED.map(str::to_owned).to_vec(),
            readonly_paths: READ_ONLY.map(str::to_owned).to_vec(),
            seccomp: Some(SecurityProfile {
                profile_type: match text(&of_pod["seccompProfile"]["type"]).as_str() {
                    "RuntimeDefault" => 0,
                    "Unconfined" => 1,
                    other => anyhow::bail!("seccomp profile {other:?}"),
                },
            }),
        })
    }

    fn variable(&self, variable: &Value) -> Result<KeyValue> {
        let field = &variable["valueFrom"]["fieldRef"]["fieldPath"];
        let value = match field.as_str() {
            None => variable["value"].as_str().with_context(|| variable.to_string())?,
            Some("spec.nodeName") => "node-1",
            Some("metadata.name") => self.pod.name,
            Some("metadata.namespace") => self.pod.namespace,
            Some("metadata.uid") => self.pod.uid,
            Some(other) => anyhow::bail!("a variable of field {other}"),
        };
        Ok(KeyValue { key: text(&variable["name"]), value: value.to_owned() })
    }

    fn mount(&self, mount: &Value) -> Result<Mount> {
        known(mount, &["name", "mountPath", "readOnly", "mountPropagation"])?;
        let volumes = items(&self.spec()["volumes"]);
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).context("no such volume")?;
        let host_path = match text(&volume["hostPath"]["path"]).as_str() {
            "" => self.empty_dir(volume)?,
            "/run" => self.run.clone(),
            path => PathBuf::from(path),
        };
        ensure!(host_path.is_dir(), "{} is no folder, as type Directory demands", host_path.display());
        Ok(Mount {
            container_path: text(&mount["mountPath"]),
            host_path: host_path.display().to_string(),
            readonly: mount["readOnly"] == true,
            propagation: match mount["mountPropagation"].as_str() {
                None | Some("None") => 0,
                Some("HostToContainer") => HOST_TO_CONTAINER,
                Some(other) => anyhow::bail!("mount propagation {other:?}"),
            },
        })
    }

    fn empty_dir(&self, volume: &Value) -> Result<PathBuf> {
        ensure!(volume["emptyDir"].is_object(), "what volume is {volume}?");
        let folder = self.volumes.join(text(&volume["name"]));
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// Fails for a member that nobody here reads.
fn known(object: &Value, read: &[&str]) -> Result<()> {
    let members: BTreeSet<&str> = object.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let unknown: Vec<&&str> =
        members.iter().filter(|name| !read.contains(name) && !NOT_THE_CONTAINERS.contains(name)).collect();
    ensure!(unknown.is_empty(), "this test does not translate {unknown:?} of the DaemonSet: teach it");
    Ok(())
}

fn memory_limit(container: &Value) -> Result<i64> {
    let limit = text(&container["resources"]["limits"]["memory"]);
    let mebibytes: i64 = limit.strip_suffix("Mi").with_context(|| format!("a limit in Mi, not {limit:?}"))?.parse()?;
    Ok(mebibytes << 20)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
