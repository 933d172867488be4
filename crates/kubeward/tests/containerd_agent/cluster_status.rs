//! What `kubectl get kubewards` says, with agents, a controller and an API server as in a cluster.

use anyhow::Result;
use serde_json::{json, Value};

use crate::cluster::Cluster;
use crate::containerd_with_image;
use crate::controller::Controller;
use crate::told::Told;

fn condition<'a>(status: &'a Value, name: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == name).unwrap_or(&Value::Null)
}

#[test]
fn kubernetes_status_of_a_policy_sums_up_what_two_agents_say() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start()?);
    let _controller = Controller::start(&cluster.server.kubeconfig())?;
    let agents = [cluster.agent(&containerd, "n1")?, cluster.agent(&containerd, "n2")?];
    cluster.create("web", json!({"kprobe": [{"name": "sys_opnat"}, {"name": "sys_mkdirat"}]}))?;
    let status = cluster.policy_status("web", |status| status["ready"] == "2/2")?;
    assert_eq!((&status["reason"], &status["calls"]), (&json!("PartlyAccepted"), &json!(1)), "{status}");
    let accepted = condition(&status, "Accepted");
    assert_eq!((&accepted["status"], &accepted["reason"]), (&json!("True"), &json!("PartlyAccepted")));
    let message = accepted["message"].as_str().unwrap_or_default();
    assert!(message.contains("did you mean \"sys_openat\"?"), "{message}");
    assert_eq!(condition(&status, "Ready")["status"], "True");
    assert_eq!(condition(&status, "SelectsContainers")["reason"], "NoMatch");
    let columns = cluster.columns("web")?;
    assert_eq!([&*columns[1], &*columns[2], &*columns[3], &*columns[5]], ["2/2", "1", "Events", "PartlyAccepted"]);

    let _told = Told::start(&containerd, "web")?;
    cluster.policy_status("web", |status| condition(status, "SelectsContainers")["status"] == "True")?;
    let [one, two] = agents;
    one.stop();
    cluster.policy_status("web", |status| status["ready"] == "1/1")?;
    two.stop();
    Ok(())
}
