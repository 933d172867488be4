//! What this node's object, as seen, means for the agent that wants to write it. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Identity;

/// Whose run wrote the object.
pub(super) const RUN: &str = "kubeward.kubeward/run";
/// Who else wants it.
pub(super) const CLAIM: &str = "kubeward.kubeward/claim";
/// The claim that the holder has seen.
pub(super) const HELD: &str = "kubeward.kubeward/held";

/// What an object means for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is not there, or nobody's: to be written.
    Free,
    /// Another run of our own Pod wrote it: an earlier one, unless we held it since.
    OurPods(Holder),
    /// We wrote it.
    Ours,
    /// Another agent did.
    Others(Holder),
}

/// The other agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    /// As text: its Pod, its run.
    pub(super) name: String,
    /// The claim that it answered last.
    pub(super) answered: Option<String>,
}

/// Judges `object`; `None` is one that is not there.
pub(super) fn standing(object: Option<&ObjectMeta>, us: &Identity) -> Standing {
    let Some(object) = object else { return Standing::Free };
    match annotation(object, RUN) {
        None => Standing::Free,
        Some(run) if run == us.run => Standing::Ours,
        Some(run) => {
            let pod = object.owner_references.iter().flatten().find(|owner| owner.kind == "Pod");
            let name = match pod {
                Some(pod) => format!("pod {} (run {run})", pod.name),
                None => format!("an agent outside a pod (run {run})"),
            };
            let holder = Holder { name, answered: annotation(object, HELD).map(str::to_owned) };
            match (pod, &us.pod) {
                (Some(pod), Some(ours)) if pod.uid == ours.uid => Standing::OurPods(holder),
                _ => Standing::Others(holder),
            }
        }
    }
}

/// A claim in the object that its holder has not answered yet.
pub(super) fn open_claim(object: &ObjectMeta) -> Option<&str> {
    annotation(object, CLAIM).filter(|claim| annotation(object, HELD) != Some(claim))
}

pub(super) fn annotation<'a>(object: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    object.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::OwnerPod;
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    fn agent(pod_uid: &str, run: &str) -> Identity {
        let pod = Some(OwnerPod { name: format!("kubeward-{pod_uid}"), uid: pod_uid.to_owned() });
        Identity { node: "n1".to_owned(), namespace: "kubeward".to_owned(), pod, run: run.to_owned() }
    }

    fn object(pod_uid: &str, annotations: &[(&str, &str)]) -> ObjectMeta {
        let owner = OwnerReference {
            kind: "Pod".to_owned(),
            name: format!("kubeward-{pod_uid}"),
            uid: pod_uid.to_owned(),
            ..OwnerReference::default()
        };
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ObjectMeta { annotations: Some(annotations), owner_references: Some(vec![owner]), ..ObjectMeta::default() }
    }

    #[test]
    fn absent_object_and_one_that_no_agent_wrote_are_free() {
        assert_eq!(standing(None, &agent("a", "r1")), Standing::Free);
        assert_eq!(standing(Some(&ObjectMeta::default()), &agent("a", "r1")), Standing::Free);
    }

    #[test]
    fn container_started_again_finds_its_own_pod() {
        let found = standing(Some(&object("a", &[(RUN, "r1")])), &agent("a", "r2"));
        assert!(matches!(found, Standing::OurPods(_)), "{found:?}");
    }

    #[test]
    fn object_of_another_pod_is_not_ours_to_take() {
        let Standing::Others(holder) = standing(Some(&object("a", &[(RUN, "r1")])), &agent("b", "r2")) else {
            panic!("it is another's");
        };
        assert_eq!(holder, Holder { name: "pod kubeward-a (run r1)".to_owned(), answered: None });
    }

    #[test]
    fn two_agents_outside_pods_are_two() {
        let us = Identity { pod: None, ..agent("-", "r2") };
        let theirs = ObjectMeta { owner_references: None, ..object("-", &[(RUN, "r1")]) };
        assert!(matches!(standing(Some(&theirs), &us), Standing::Others(_)));
    }

    #[test]
    fn claim_is_open_until_it_is_answered() {
        assert_eq!(open_claim(&object("a", &[(CLAIM, "r2 1")])), Some("r2 1"));
        assert_eq!(open_claim(&object("a", &[(CLAIM, "r2 2"), (HELD, "r2 1")])), Some("r2 2"));
        assert_eq!(open_claim(&object("a", &[(CLAIM, "r2 2"), (HELD, "r2 2")])), None);
    }
}
