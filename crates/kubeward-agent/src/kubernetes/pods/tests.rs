//! The watch on pods against an API server that the test plays. Time is the runtime's, so that nothing waits for it.

use std::time::Duration;

use serde_json::{json, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{spawn, PodChange, Roster};
use crate::kubernetes::scripted::{server, Events, Requests};

fn web(version: u32, app: &str) -> Value {
    json!({
        "namespace": "shop", "name": "web-0", "uid": "u1", "resourceVersion": version.to_string(), "labels": {"app": app},
        "annotations": {"big": "x".repeat(1000)}, "managedFields": [{"manager": "kubelet"}],
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "s", "controller": true}],
    })
}

/// A followed node, the server that the test plays, and what is known in the end.
struct Followed {
    requests: Requests,
    changes: mpsc::Receiver<PodChange>,
    roster: Roster,
}

impl Followed {
    fn begin() -> Self {
        let (client, requests) = server();
        let (changes, _) = spawn(client, "n1", CancellationToken::new());
        Self { requests, changes, roster: Roster::default() }
    }

    /// One that has listed `web-0` and watches.
    async fn watching() -> (Self, Events) {
        let mut followed = Self::begin();
        followed.requests.list().await.objects("10", &[web(7, "web")]);
        assert_eq!(followed.news().await, ["web-0"]);
        let events = followed.requests.watch().await.events();
        (followed, events)
    }

    /// Names of the pods that the next change makes others.
    async fn news(&mut self) -> Vec<String> {
        let change = self.changes.recv().await.expect("the watch goes on");
        self.roster.take(change, |_| true).into_iter().map(|pod| pod.name).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn server_is_asked_for_this_nodes_running_pods_alone_from_its_cache_and_for_metadata_alone() {
    let mut followed = Followed::begin();
    let list = followed.requests.list().await;
    assert_eq!(list.path(), "/api/v1/pods");
    let fields = "fieldSelector=spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed";
    for expected in [fields, "resourceVersion=0", "resourceVersionMatch=NotOlderThan"] {
        assert!(list.query().contains(expected), "{}", list.query());
    }
    assert!(list.accepts().contains("as=PartialObjectMetadataList"), "{}", list.accepts());
    list.objects("10", &[]);
    let watch = followed.requests.watch().await;
    for expected in [fields, "resourceVersion=10", "allowWatchBookmarks=true"] {
        assert!(watch.query().contains(expected), "{}", watch.query());
    }
    assert!(watch.accepts().contains("as=PartialObjectMetadata;"), "{}", watch.accepts());
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_change_and_go_are_told() {
    let (mut followed, events) = Followed::watching().await;
    events.event("MODIFIED", &web(11, "canary"));
    let Some(PodChange::Is(pod)) = followed.changes.recv().await else { panic!("web-0 is relabelled") };
    assert_eq!(pod.labels["app"], "canary");
    assert_eq!(pod.workload.expect("a StatefulSet made it").name, "web");
    events.event("DELETED", &web(12, "canary"));
    assert_eq!(followed.changes.recv().await, Some(PodChange::Gone(pod.key)));
}

#[tokio::test(start_paused = true)]
async fn change_of_a_pods_status_is_no_news() {
    let (mut followed, events) = Followed::watching().await;
    events.event("MODIFIED", &web(11, "web"));
    assert_eq!(followed.news().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn list_that_is_made_anew_after_a_compaction_changes_nothing() {
    let (mut followed, events) = Followed::watching().await;
    events.gone();
    followed.requests.list().await.objects("90", &[web(7, "web")]);
    assert_eq!(followed.news().await, [""; 0]);
    let events = followed.requests.watch().await.events();
    events.event("MODIFIED", &web(91, "canary"));
    assert_eq!(followed.news().await, ["web-0"]);
}

#[tokio::test(start_paused = true)]
async fn watch_that_cannot_go_on_from_its_version_is_made_anew() {
    let (mut followed, events) = Followed::watching().await;
    drop(events);
    followed.requests.watch().await.refuse(410, "too old resource version");
    followed.requests.list().await.objects("90", &[web(80, "canary")]);
    assert_eq!(followed.news().await, ["web-0"]);
}

#[tokio::test(start_paused = true)]
async fn server_that_breaks_off_is_listed_anew_and_loses_nothing() {
    let (mut followed, events) = Followed::watching().await;
    drop(events);
    drop(followed.requests.watch().await);
    for _ in 0..3 {
        drop(followed.requests.list().await);
    }
    followed.requests.list().await.objects("11", &[web(11, "canary")]);
    assert_eq!(followed.news().await, ["web-0"]);
}

#[tokio::test(start_paused = true)]
async fn server_that_refuses_is_asked_less_and_less_often_until_it_does_not() {
    let mut followed = Followed::begin();
    let begin = Instant::now();
    for code in [403, 401, 500, 403, 500, 403, 403, 403] {
        followed.requests.list().await.refuse(code, "because");
    }
    let list = followed.requests.list().await;
    let waited = begin.elapsed();
    // 0.8 s, doubled to at most 30 s, with up to as much again at random.
    assert!(waited > Duration::from_secs(60) && waited < Duration::from_secs(600), "{waited:?}");
    list.objects("10", &[web(7, "web")]);
    assert_eq!(followed.news().await, ["web-0"]);
}

#[tokio::test(start_paused = true)]
async fn server_that_says_nothing_is_asked_anew() {
    let mut followed = Followed::begin();
    let _unanswered = followed.requests.list().await;
    followed.requests.list().await.objects("10", &[web(7, "web")]);
    assert_eq!(followed.news().await, ["web-0"]);
}

#[tokio::test(start_paused = true)]
async fn watch_ends_on_shutdown() {
    let (client, _requests) = server();
    let shutdown = CancellationToken::new();
    let (mut changes, task) = spawn(client, "n1", shutdown.clone());
    shutdown.cancel();
    task.await.expect("it does not panic");
    assert_eq!(changes.recv().await, None);
}
