//! Whose an event is, and whose events no policy asked for.

use anyhow::Result;
use kubeward_testkit::containerd::cri::{Cri, Pod};
use kubeward_testkit::containerd::Containerd;
use serde_json::{json, Value};

use crate::agent::Agent;
use crate::policy::Policies;
use crate::stream::{container, is_call, Stream};
use crate::told::{Told, POD};
use crate::{containerd_with_image, image, IMAGE};

/// Policies of the events of one container, by the calls they name.
fn policies_by_call(stream: &Stream, id: &str) -> Vec<(String, Value)> {
    let mut found: Vec<(String, Value)> = stream
        .events_of(id)
        .map(|event| (event["syscall"]["name"].as_str().unwrap_or_default().to_owned(), event["policies"].clone()))
        .collect();
    found.sort_by_key(|(call, policies)| (call.clone(), policies.to_string()));
    found.dedup();
    found
}

#[test]
fn containerd_events_name_container_image_digest_and_pod_and_leave_out_what_the_selector_does() -> Result<()> {
    let containerd = Containerd::start()?;
    let digest = containerd.import("default", &image())?;
    let policies = Policies::new(&[
        ("web", "{syscalls: [{name: mkdirat}], selector: {namespaces: [sh*], containers: [app]}}"),
        ("all", "{syscalls: [{name: unlinkat}]}"),
    ])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();

    let mut app = Told::start_labelled(&containerd, "app", &POD)?;
    let other_namespace = [POD[0], POD[1], ("io.kubernetes.pod.namespace", "bank"), ("io.kubernetes.pod.uid", "77")];
    let other_name = [("io.kubernetes.container.name", "side"), POD[1], POD[2], POD[3]];
    let mut others = [
        Told::start_labelled(&containerd, "bank", &other_namespace)?,
        Told::start_labelled(&containerd, "side", &other_name)?,
        Told::start(&containerd, "plain")?,
    ];
    for told in others.iter_mut().chain([&mut app]) {
        agent.sees(told, "unlinkat")?;
    }
    for told in others.iter_mut().chain([&mut app]) {
        told.tell("mkdir /marker")?;
        told.tell("unlink /marker")?;
    }
    agent.event(&app.id, "mkdirat", "/marker");
    agent.event(&app.id, "unlinkat", "/marker");

    let ended = agent.stop();
    let of_all = |call: &str, names: &[&str]| (call.to_owned(), json!(names));
    let stream = &ended.stream;
    assert_eq!(policies_by_call(stream, &app.id), [of_all("mkdirat", &["web"]), of_all("unlinkat", &["all"])]);
    for event in stream.events_of(&app.id) {
        let named = json!({
            "id": app.id, "name": "app", "image": IMAGE, "image_digest": digest,
            "runtime": "containerd", "runtime_namespace": "default",
        });
        assert_eq!(event["container"], named, "{event}");
        let pod = json!({"namespace": "shop", "pod": "web-0", "uid": "5f2c", "source": "labels"});
        assert_eq!(event["k8s"], pod, "{event}");
    }
    for other in &others {
        assert_eq!(policies_by_call(stream, &other.id), [of_all("unlinkat", &["all"])], "{}", other.id);
        assert!(stream.paths(&other.id, "unlinkat").contains(&"/marker"), "{}", other.id);
    }
    let known: Vec<&str> = others.iter().chain([&app]).map(|told| told.id.as_str()).collect();
    for line in stream.0.iter().filter(|line| line["kind"] == "syscall") {
        assert!(known.contains(&container(line)), "whose is this? {line}");
    }
    known.iter().for_each(|id| stream.assert_whole(id));
    Ok(())
}

/// Makes and removes a folder again and again.
const BEATS: [&str; 3] = ["/bin/sh", "-c", "while :; do mkdir /tmp/beat; rmdir /tmp/beat; sleep 0.05; done"];

#[test]
fn containerd_pod_labels_select() -> Result<()> {
    let containerd = Containerd::start_with_cri()?;
    let policies = Policies::new(&[
        ("web", "{syscalls: [{name: mkdir}, {name: mkdirat}], selector: {podSelector: {matchLabels: {app: web}}}}"),
        ("all", "{syscalls: [{name: rmdir}, {name: unlinkat}]}"),
    ])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (web, db) = runtime.block_on(async {
        let cri = Cri::connect(&containerd).await?;
        let mut ids = Vec::new();
        for (name, uid, labels) in [("web-0", "1", [("app", "web")]), ("db-0", "2", [("app", "db")])] {
            let pod = Pod { namespace: "shop", name, uid, labels: &labels };
            let sandbox = cri.run_sandbox(&pod).await?;
            ids.push(cri.run_container(&pod, &sandbox, "app", &BEATS).await?);
        }
        anyhow::Ok((ids.remove(0), ids.remove(0)))
    })?;
    let is_made = |line: &Value, id: &str| ["mkdir", "mkdirat"].iter().any(|call| is_call(line, id, call, "/tmp/beat"));
    let is_removed =
        |line: &Value, id: &str| ["rmdir", "unlinkat"].iter().any(|call| is_call(line, id, call, "/tmp/beat"));
    let made = agent.line("a folder made in web-0", |line| is_made(line, &web));
    assert_eq!(made["k8s"], json!({"namespace": "shop", "pod": "web-0", "uid": "1"}), "the CRI record says so");
    assert_eq!(made["policies"], json!(["web"]));
    // Twice removed: between the two it was made.
    agent.line("a folder removed in db-0", |line| is_removed(line, &db));
    let start = agent.now();
    agent.line_after(start, "the next folder removed in db-0", |line| is_removed(line, &db));

    let ended = agent.stop();
    assert!(!ended.stream.0.iter().any(|line| is_made(line, &db)), "the selector leaves db-0 out");
    ended.stream.assert_whole(&web);
    ended.stream.assert_whole(&db);
    Ok(())
}

#[test]
fn containerd_container_that_no_policy_selects_is_in_no_line() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("web", "{syscalls: [{name: mkdirat}], selector: {podSelector: {}}}")])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut outside = Told::start(&containerd, "plain")?;
    let mut app = Told::start_labelled(&containerd, "app", &POD)?;
    agent.sees(&mut app, "mkdirat")?;
    outside.tell("mkdir /marker")?;
    app.tell("mkdir /marker")?;
    agent.event(&app.id, "mkdirat", "/marker");

    let ended = agent.stop();
    assert!(!ended.stream.mentions(&outside.id));
    ended.stream.assert_whole(&app.id);
    Ok(())
}
