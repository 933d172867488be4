//! containerd's configuration. Version 2 is read by 1.6 as by 2.x.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};

use super::cri::PAUSE_IMAGE;
use super::Containerd;

/// What a test machine lacks the devices or mounts for.
const NEVER: &str = "\"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\", \
                     \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.internal.v1.opt\", \
                     \"io.containerd.nri.v1.nri\"";
/// The CRI plugin under its names in 1.x and 2.x. It starts slowly.
const CRI: &str = "\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", ";

/// A CNI plugin that gives a pod nothing: it has a network namespace of its own, with no way out. Reports an address, since
/// containerd refuses a pod without one.
const NO_NETWORK: &str = r#"#!/bin/sh
cat >/dev/null
case $CNI_COMMAND in
ADD) printf '{"cniVersion":"0.4.0","interfaces":[{"name":"%s","sandbox":"%s"}],' "$CNI_IFNAME" "$CNI_NETNS"
     printf '"ips":[{"version":"4","interface":0,"address":"192.0.2.2/24"}]}' ;;
VERSION) printf '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}' ;;
esac
"#;
/// Newer libcni looks for more files in a folder with the network's name: it must not be a plugin's.
const CNI_CONFIG: &str = r#"{"cniVersion":"0.4.0","name":"no-network","plugins":[{"type":"none"}]}"#;

impl Containerd {
    /// What the CRI plugin calls for each pod that is not in the host's network.
    pub(super) fn write_cni(&self) -> Result<()> {
        let dir = self.dir().join("cni");
        fs::create_dir_all(&dir).context("making the folder of CNI plugins")?;
        for plugin in ["loopback", "none"] {
            fs::write(dir.join(plugin), NO_NETWORK)?;
            fs::set_permissions(dir.join(plugin), Permissions::from_mode(0o755))?;
        }
        Ok(fs::write(dir.join("10-none.conflist"), CNI_CONFIG)?)
    }

    pub(super) fn config(&self) -> String {
        self.with_disabled(CRI)
    }

    pub(super) fn cri_config(&self) -> String {
        let dir = self.dir().display();
        let cri = r#"[plugins."io.containerd.grpc.v1.cri""#;
        self.with_disabled("")
            + &format!(
                "{cri}]\nsandbox_image = \"{PAUSE_IMAGE}\"\n\
                 # A machine without CAP_SYS_RESOURCE cannot lower the score.\nrestrict_oom_score_adj = true\n\
                 {cri}.cni]\nbin_dir = \"{dir}/cni\"\nconf_dir = \"{dir}/cni\"\n\
                 {cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
                 {cri}.containerd.runtimes.runc.options]\nRoot = \"{}\"\n",
                self.runc_root().display()
            )
    }

    fn with_disabled(&self, more: &str) -> String {
        let (dir, socket) = (self.dir().display(), self.socket());
        format!(
            "version = 2\nroot = \"{dir}/root\"\nstate = \"{dir}/run/containerd\"\ndisabled_plugins = [{more}{NEVER}]\n\
             [grpc]\naddress = \"{}\"\n",
            socket.display()
        )
    }
}
