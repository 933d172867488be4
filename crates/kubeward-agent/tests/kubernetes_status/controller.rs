//! The sum in a policy's status.

use kubeward_agent::kubernetes::controller::{spawn, Controller};
use kubeward_agent::kubernetes::crd::PolicyReason;
use kubeward_testkit::kubernetes::client_of;
use serde_json::{json, Value};
use tokio_util::sync::CancellationToken;

use crate::harness::{word, Cluster, POLICIES};

struct Running {
    controller: Controller,
    shutdown: CancellationToken,
}

fn start(cluster: &Cluster) -> Running {
    let (kubeconfig, shutdown) = (cluster.server.kubeconfig(), CancellationToken::new());
    let controller = cluster.block_on(async {
        let client = client_of(&kubeconfig).await.expect("the kubeconfig is good");
        spawn(client, "kubeward", shutdown.clone())
    });
    Running { controller, shutdown }
}

impl Running {
    fn end(self, cluster: &Cluster) {
        self.shutdown.cancel();
        cluster.block_on(self.controller.stopped()).expect("it ends well");
    }
}

fn create(cluster: &Cluster, name: &str) -> Value {
    let policy = json!({
        "apiVersion": "kubeward.kubeward/v1", "kind": "KubeWard", "metadata": {"name": name},
        "spec": {"kprobe": [{"name": "sys_openat"}]},
    });
    cluster.server.api().create(POLICIES, &policy).expect("the server takes it")
}

fn ready(count: &'static str, generation: i64) -> impl Fn(&Value) -> bool + Sync {
    move |policy| policy["status"]["ready"] == count && policy["status"]["observedGeneration"] == generation
}

fn condition<'a>(policy: &'a Value, type_: &str) -> &'a Value {
    let conditions = policy["status"]["conditions"].as_array().expect("conditions");
    conditions.iter().find(|condition| condition["type"] == type_).expect("it is always told")
}

#[test]
fn kubernetes_what_two_agents_say_is_one_line_of_kubectl_get() {
    let cluster = Cluster::start();
    let controller = start(&cluster);
    let policy = create(&cluster, "web");
    let (one, two) = (cluster.agent_of("n1", "pod-1", "run-1"), cluster.agent_of("n2", "pod-2", "run-2"));
    one.say("6.1", vec![word(&policy, PolicyReason::Applied)]);
    two.say("6.1", vec![word(&policy, PolicyReason::Applied)]);
    cluster.policy("web", ready("2/2", 1));
    let table = cluster.server.api().table(POLICIES).expect("a table");
    let shown: Vec<&str> = table[1].iter().map(String::as_str).collect();
    assert_eq!(table[0], ["Name", "Ready", "Calls", "Mode", "Age", "Reason"]);
    assert_eq!((shown[0], shown[1], shown[2], shown[3], shown[5]), ("web", "2/2", "5", "Events", "Applied"));
    // A node that fails is named, and one that is gone does not count.
    two.say("6.1", vec![word(&policy, PolicyReason::ApplyFailed)]);
    let failing = cluster.policy("web", ready("1/2", 1));
    assert_eq!(failing["status"]["failingNodes"][0]["node"], "n2");
    assert_eq!(condition(&failing, "Ready")["reason"], "NodesFailing");
    two.end(&cluster);
    cluster.policy("web", ready("1/1", 1));
    controller.end(&cluster);
}

#[test]
fn kubernetes_word_about_an_earlier_generation_does_not_count() {
    let cluster = Cluster::start();
    let controller = start(&cluster);
    let policy = create(&cluster, "web");
    let agent = cluster.agent_of("n1", "pod-1", "run-1");
    agent.say("6.1", vec![word(&policy, PolicyReason::Applied)]);
    cluster.policy("web", ready("1/1", 1));
    let edited = json!({"spec": {"kprobe": [{"name": "sys_execve"}]}});
    let policy = cluster.server.api().patch(&format!("{POLICIES}/web"), &edited).expect("it is edited");
    let waiting = cluster.policy("web", ready("0/1", 2));
    assert_eq!(condition(&waiting, "Ready")["reason"], "Applying");
    agent.say("6.1", vec![word(&policy, PolicyReason::Applied)]);
    cluster.policy("web", ready("1/1", 2));
    controller.end(&cluster);
}

#[test]
fn kubernetes_controllers_that_start_again_or_are_two_write_nothing_that_is_there_already() {
    let cluster = Cluster::start();
    let controller = start(&cluster);
    let policy = create(&cluster, "web");
    let agent = cluster.agent_of("n1", "pod-1", "run-1");
    agent.say("6.1", vec![word(&policy, PolicyReason::Applied)]);
    let written = cluster.policy("web", ready("1/1", 1));
    controller.end(&cluster);
    let (one, other) = (start(&cluster), start(&cluster));
    // Both have come so far when they have summed up what came later.
    let next = create(&cluster, "next");
    agent.say("6.1", vec![word(&policy, PolicyReason::Applied), word(&next, PolicyReason::Applied)]);
    cluster.policy("next", ready("1/1", 1));
    let now = cluster.policy("web", |_| true);
    assert_eq!(now["metadata"]["resourceVersion"], written["metadata"]["resourceVersion"]);
    one.end(&cluster);
    other.end(&cluster);
}

#[test]
fn kubernetes_controller_goes_on_after_the_server_was_away_and_before_the_definitions_are_there() {
    let mut cluster = Cluster::without_definitions();
    let controller = start(&cluster);
    cluster.install();
    let policy = create(&cluster, "web");
    let agent = cluster.agent_of("n1", "pod-1", "run-1");
    agent.say("6.1", vec![word(&policy, PolicyReason::Applied)]);
    cluster.policy("web", ready("1/1", 1));
    cluster.server.stop().expect("it stops");
    agent.say("6.1", vec![word(&policy, PolicyReason::ApplyFailed)]);
    cluster.server.start_again().expect("it starts");
    cluster.policy("web", ready("0/1", 1));
    controller.end(&cluster);
}
