//! Which policies are to be in force, of all that files, the command line and the cluster have. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubeward_core::policy::{CheckedPolicy, Fault, Here, PolicySet, Problem, Standing};

use crate::kubernetes::crd::PolicyReason;
use crate::kubernetes::policies::{ClusterPolicies, PolicyObject};

/// What is to be in force, and what became of each policy.
#[derive(Debug, Default)]
pub struct Choice {
    pub set: Arc<PolicySet>,
    /// Of policies from files, the command line among them.
    pub faults: Vec<Fault>,
    /// Of policies from files: those that want nothing here and now.
    pub idle: BTreeMap<Arc<str>, Standing>,
    /// The objects that are not in the set in their newest version, with the reason.
    pub left_out: BTreeMap<Arc<str>, LeftOut>,
    /// The versions of objects that were judged, by name.
    pub judged: BTreeMap<Arc<str>, Arc<PolicyObject>>,
}

/// Why an object is not in force as it was written last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub reason: PolicyReason,
    pub message: String,
}

/// Policies of this node come first, then the cluster's, oldest first: of two with one name the first is taken, and of too many
/// the first ones. Those that want nothing here and now take no place.
pub fn choose(local: &[CheckedPolicy], cluster: &ClusterPolicies, here: Here<'_>) -> Choice {
    let mut objects: Vec<&Arc<PolicyObject>> = cluster.objects.values().collect();
    objects.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let mut left_out = BTreeMap::new();
    let mut idle = BTreeMap::new();
    let mut candidates = Vec::new();
    for policy in local {
        match policy.standing(here) {
            Standing::Active => candidates.push(policy.clone()),
            standing => drop(idle.insert(policy.name.clone(), standing)),
        }
    }
    for object in &objects {
        if let Err(faults) = &object.read {
            left_out.insert(object.name.clone(), unreadable(faults, object.last_good.is_some()));
        }
        let Some(policy) = object.policy() else { continue };
        match idle_object(policy.standing(here)) {
            None => candidates.push(policy.clone()),
            Some(idle) => drop(left_out.entry(object.name.clone()).or_insert(idle)),
        }
    }
    let (set, faults) = PolicySet::new(candidates);
    let is_object = |fault: &Fault| cluster.objects.values().any(|object| object.is_source(&fault.source));
    let (of_objects, faults): (Vec<Fault>, Vec<Fault>) = faults.into_iter().partition(is_object);
    for fault in of_objects {
        if let Some(object) = objects.iter().find(|object| object.is_source(&fault.source)) {
            left_out.insert(object.name.clone(), crowded_out(&fault.problem));
        }
    }
    let judged = objects.into_iter().map(|object| (object.name.clone(), object.clone())).collect();
    Choice { set: set.into(), faults, idle, left_out, judged }
}

/// Why a policy without fault wants nothing.
fn idle_object(standing: Standing) -> Option<LeftOut> {
    let (reason, message) = match standing {
        Standing::Active => return None,
        Standing::Suspended => (PolicyReason::Suspended, "spec.suspend is true: it wants nothing for now"),
        Standing::Expired => (PolicyReason::Expired, "spec.expireAfter has passed: it wants nothing any more"),
        Standing::NodeNotSelected => (PolicyReason::NodeNotSelected, "spec.nodeSelector does not select this node"),
        Standing::NodeUnknown => {
            (PolicyReason::NodeUnknown, "spec.nodeSelector: the labels of this node are not known yet")
        }
    };
    Some(LeftOut { reason, message: message.to_owned() })
}

fn unreadable(faults: &[Fault], has_last_good: bool) -> LeftOut {
    let is_absent = |fault: &Fault| matches!(fault.problem, Problem::NotInThisBuild { .. });
    let reason = match faults.iter().all(is_absent) {
        true => PolicyReason::NotSupported,
        false => PolicyReason::Invalid,
    };
    let faults: Vec<String> = faults.iter().map(told).collect();
    let stays = if has_last_good { "; the last version that could be used stays in force" } else { "" };
    LeftOut { reason, message: format!("{}{stays}", faults.join("; ")) }
}

fn crowded_out(problem: &Problem) -> LeftOut {
    let reason = match problem {
        Problem::NameTaken { .. } => PolicyReason::NameTaken,
        _ => PolicyReason::TooManyPolicies,
    };
    LeftOut { reason, message: problem.to_string() }
}

/// Without the source, which the reader knows.
fn told(fault: &Fault) -> String {
    match fault.field.is_empty() {
        true => fault.problem.to_string(),
        false => format!("{}: {}", fault.field, fault.problem),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use kubeward_core::policy::{load, load_object};

    use super::*;

    fn object(name: &str, age_secs: u64, spec: &str) -> Arc<PolicyObject> {
        let json = format!(
            r#"{{"apiVersion":"kubeward.kubeward/v1","kind":"KubeWard","metadata":{{"name":"{name}"}},"spec":{spec}}}"#
        );
        let mut read = load_object(&format!("KubeWard {name}"), json.as_bytes());
        let created = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age_secs);
        read.iter_mut().for_each(|policy| policy.created = Some(created));
        let (name, uid) = (name.into(), "1".to_owned());
        Arc::new(PolicyObject { name, uid, generation: 1, created, read, last_good: None })
    }

    fn cluster(objects: Vec<Arc<PolicyObject>>) -> ClusterPolicies {
        let objects = objects.into_iter().map(|object| (object.name.to_string(), object)).collect();
        ClusterPolicies { objects, is_listed: true, trouble: None }
    }

    fn here(secs: u64, node_labels: Option<&BTreeMap<String, String>>) -> Here<'_> {
        Here { now: SystemTime::UNIX_EPOCH + Duration::from_secs(secs), node_labels }
    }

    fn names(choice: &Choice) -> Vec<&str> {
        choice.set.policies().iter().map(|policy| &*policy.name).collect()
    }

    #[test]
    fn the_newest_of_too_many_is_left_out() {
        let mut objects: Vec<_> = (0..256).map(|n| object(&format!("p{n:03}"), 10, "{}")).collect();
        objects.push(object("a-newer", 1, "{}"));
        let choice = choose(&[], &cluster(objects), here(1_000_000, None));
        assert_eq!(choice.set.policies().len(), 256);
        let left_out = &choice.left_out["a-newer"];
        assert_eq!(left_out.reason, PolicyReason::TooManyPolicies);
        assert!(left_out.message.contains("at most 256"), "{}", left_out.message);
    }

    #[test]
    fn file_of_the_same_name_wins() {
        let file = b"apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: web}\n";
        let choice = choose(
            &load("a.yaml", file).0,
            &cluster(vec![object("web", 1, "{}"), object("b", 2, "{}")]),
            here(1_000_000, None),
        );
        assert_eq!(names(&choice), ["b", "web"]);
        let left_out = &choice.left_out["web"];
        assert_eq!(left_out.reason, PolicyReason::NameTaken);
        assert!(left_out.message.contains("a.yaml"), "{}", left_out.message);
        assert!(choice.faults.is_empty());
    }

    #[test]
    fn suspended_and_unreadable_ones_leave_the_others_alone() {
        let objects = vec![
            object("sleeps", 1, "{\"suspend\":true}"),
            object("odd", 1, "{\"timing\":1}"),
            object("reads", 1, "{\"capture\":{\"dataBytes\":64}}"),
            object("well", 1, "{}"),
        ];
        let choice = choose(&[], &cluster(objects), here(1_000_000, None));
        assert_eq!(names(&choice), ["well"]);
        let reasons: Vec<_> = choice.left_out.iter().map(|(name, left)| (&**name, left.reason)).collect();
        assert_eq!(
            reasons,
            [
                ("odd", PolicyReason::Invalid),
                ("reads", PolicyReason::NotSupported),
                ("sleeps", PolicyReason::Suspended)
            ]
        );
    }

    #[test]
    fn node_and_age_decide_and_what_they_leave_out_takes_no_place() {
        let mut objects: Vec<_> = (0..255).map(|n| object(&format!("p{n:03}"), 9, "{}")).collect();
        objects.push(object("canary", 10, r#"{"nodeSelector":{"matchLabels":{"canary":"true"}}}"#));
        objects.push(object("hour", 10, r#"{"expireAfter":"1h"}"#));
        let objects = cluster(objects);
        let (none, canary) = (BTreeMap::new(), BTreeMap::from([("canary".to_owned(), "true".to_owned())]));
        let left_out = |secs, labels| {
            let choice = choose(&[], &objects, here(secs, labels));
            choice.left_out.into_iter().map(|(name, left)| (name.to_string(), left.reason)).collect::<Vec<_>>()
        };
        let (canary_is, hour_is) = (|reason| ("canary".to_owned(), reason), |reason| ("hour".to_owned(), reason));
        assert_eq!(left_out(1_000_000, None), [canary_is(PolicyReason::NodeUnknown)]);
        assert_eq!(left_out(1_000_000, Some(&none)), [canary_is(PolicyReason::NodeNotSelected)]);
        assert_eq!(left_out(1_003_590, Some(&canary)), [hour_is(PolicyReason::Expired)]);
        assert_eq!(left_out(1_003_589, Some(&canary)), [("p254".to_owned(), PolicyReason::TooManyPolicies)]);
    }
}
