//! The pods that are known, joined into their containers. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubeward_core::container::{Container, Labels, Workload};

use super::{Pod, PodChange, PodKey};

/// What the API server said last of each pod.
#[derive(Debug, Default)]
pub struct Roster {
    known: BTreeMap<PodKey, Known>,
}

#[derive(Debug, PartialEq, Eq)]
struct Known {
    labels: Labels,
    workload: Option<Workload>,
    /// It is kept for its containers, which end later than the object.
    is_gone: bool,
}

impl Roster {
    /// Takes a change in. The pods that are other than before: their containers are to be completed anew.
    ///
    /// `has_container` says whether a container of the pod is being watched.
    pub fn take(&mut self, change: PodChange, has_container: impl Fn(&PodKey) -> bool) -> Vec<PodKey> {
        match change {
            PodChange::All(pods) => {
                let mut missing: BTreeMap<PodKey, Known> = std::mem::take(&mut self.known);
                let mut changed = Vec::new();
                for pod in pods {
                    if let Some(known) = missing.remove(&pod.key) {
                        self.known.insert(pod.key.clone(), known);
                    }
                    changed.extend(self.is(pod));
                }
                for (key, known) in missing {
                    self.known.insert(key.clone(), known);
                    self.gone(&key, &has_container);
                }
                changed
            }
            PodChange::Is(pod) => self.is(pod).into_iter().collect(),
            PodChange::Gone(key) => {
                self.gone(&key, &has_container);
                Vec::new()
            }
        }
    }

    fn is(&mut self, Pod { key, labels, workload }: Pod) -> Option<PodKey> {
        let now = Known { labels, workload, is_gone: false };
        let before = self.known.insert(key.clone(), now);
        let now = &self.known[&key];
        let is_same = before.is_some_and(|before| (&before.labels, &before.workload) == (&now.labels, &now.workload));
        (!is_same).then_some(key)
    }

    fn gone(&mut self, key: &PodKey, has_container: impl Fn(&PodKey) -> bool) {
        match self.known.get_mut(key) {
            Some(known) if has_container(key) => known.is_gone = true,
            _ => drop(self.known.remove(key)),
        }
    }

    /// No container of the pod is watched any more.
    pub fn last_container_ended(&mut self, key: &PodKey) {
        if self.known.get(key).is_some_and(|known| known.is_gone) {
            self.known.remove(key);
        }
    }

    /// The container with what is known of its pod; as it is where nothing is, or nothing else.
    pub fn complete(&self, container: Arc<Container>) -> Arc<Container> {
        let Some(known) = PodKey::of(&container).and_then(|key| self.known.get(&key)) else { return container };
        let is_complete =
            container.pod.as_ref().is_some_and(|pod| pod.labels == known.labels && pod.workload == known.workload);
        if is_complete {
            return container;
        }
        let mut container = Arc::unwrap_or_clone(container);
        if let Some(pod) = &mut container.pod {
            pod.labels.clone_from(&known.labels);
            pod.workload.clone_from(&known.workload);
        }
        container.into()
    }
}

#[cfg(test)]
mod tests {
    use kubeward_core::container::{ContainerId, PodRef, PodSource};

    use super::*;

    fn labels(app: &str) -> Labels {
        Arc::new(BTreeMap::from([("app".to_owned(), app.to_owned())]))
    }

    fn key(uid: &str) -> PodKey {
        PodKey { namespace: "shop".to_owned(), name: "web-0".to_owned(), uid: uid.to_owned() }
    }

    fn pod(uid: &str, app: &str) -> Pod {
        let workload = Some(Workload { kind: "StatefulSet".to_owned(), name: "web".to_owned() });
        Pod { key: key(uid), labels: labels(app), workload }
    }

    /// As containerd tells of it: labels at creation, no workload.
    fn container(uid: &str, source: PodSource) -> Arc<Container> {
        let PodKey { namespace, name, uid } = key(uid);
        Arc::new(Container {
            id: ContainerId("c1".to_owned()),
            name: Some("app".to_owned()),
            image: None,
            image_digest: None,
            runtime: "containerd",
            runtime_namespace: Some("k8s.io".to_owned()),
            labels: Arc::default(),
            pod: Some(PodRef { namespace, name, uid, labels: labels("created"), source, workload: None }),
        })
    }

    fn app_of(roster: &Roster, container: Arc<Container>) -> String {
        let completed = roster.complete(container);
        let pod = completed.pod.as_ref().expect("it is in a pod");
        assert_eq!(pod.workload.is_some(), pod.labels != labels("created"), "labels and workload come together");
        pod.labels["app"].clone()
    }

    fn with(changes: Vec<PodChange>) -> Roster {
        let mut roster = Roster::default();
        for change in changes {
            roster.take(change, |_| true);
        }
        roster
    }

    #[test]
    fn container_gets_the_current_labels_and_the_workload_of_its_pod() {
        let roster = with(vec![PodChange::Is(pod("1", "web"))]);
        assert_eq!(app_of(&roster, container("1", PodSource::Cri)), "web");
        let completed = roster.complete(container("1", PodSource::Cri));
        assert!(Arc::ptr_eq(&roster.complete(completed.clone()), &completed), "nothing else is known of it");
    }

    #[test]
    fn without_the_api_server_labels_at_creation_serve() {
        let untouched = container("1", PodSource::Cri);
        assert!(Arc::ptr_eq(&Roster::default().complete(untouched.clone()), &untouched));
        let roster = with(vec![PodChange::Is(pod("1", "web"))]);
        assert_eq!(app_of(&roster, container("2", PodSource::Cri)), "created", "a later pod of the same name");
    }

    #[test]
    fn labels_that_anybody_may_have_written_are_joined_with_nothing() {
        let roster = with(vec![PodChange::Is(pod("1", "web")), PodChange::Is(pod("", "web"))]);
        assert_eq!(app_of(&roster, container("1", PodSource::Labels)), "created");
        assert_eq!(app_of(&roster, container("", PodSource::Cri)), "created", "no uid names no pod");
    }

    #[test]
    fn pod_that_claims_anothers_uid_gets_none_of_its_containers() {
        let mut thief = pod("1", "thief");
        thief.key.name = "thief".to_owned();
        let roster = with(vec![PodChange::Is(pod("1", "web")), PodChange::Is(thief)]);
        assert_eq!(app_of(&roster, container("1", PodSource::Cri)), "web");
    }

    #[test]
    fn only_pods_that_are_other_than_before_are_news() {
        let mut roster = Roster::default();
        let mut take = |change| roster.take(change, |_| true);
        assert_eq!(take(PodChange::All(vec![pod("1", "web"), pod("2", "db")])), [key("1"), key("2")]);
        assert_eq!(take(PodChange::Is(pod("1", "web"))), [], "its status changed");
        assert_eq!(take(PodChange::Is(pod("1", "canary"))), [key("1")]);
        assert_eq!(take(PodChange::All(vec![pod("1", "canary"), pod("2", "db")])), [], "listed anew");
        assert_eq!(take(PodChange::All(vec![pod("1", "canary"), pod("2", "new")])), [key("2")]);
        let ownerless = Pod { workload: None, ..pod("1", "canary") };
        assert_eq!(take(PodChange::Is(ownerless)), [key("1")]);
    }

    #[test]
    fn last_labels_stay_until_the_last_container_of_a_pod_that_is_gone_ends() {
        for gone in [PodChange::Gone(key("1")), PodChange::All(vec![])] {
            let mut roster = with(vec![PodChange::Is(pod("1", "web")), gone]);
            assert_eq!(app_of(&roster, container("1", PodSource::Cri)), "web");
            roster.last_container_ended(&key("1"));
            assert!(roster.known.is_empty());
        }
    }

    #[test]
    fn pod_that_is_there_outlives_its_containers_and_one_without_any_is_forgotten_at_once() {
        let mut roster = with(vec![PodChange::Is(pod("1", "web"))]);
        roster.last_container_ended(&key("1"));
        assert_eq!(app_of(&roster, container("1", PodSource::Cri)), "web");
        assert_eq!(roster.take(PodChange::Gone(key("1")), |_| false), []);
        assert!(roster.known.is_empty());
        assert_eq!(roster.take(PodChange::Gone(key("7")), |_| true), [], "never heard of");
    }

    #[test]
    fn pod_that_comes_back_is_there_again() {
        let mut roster = with(vec![PodChange::Is(pod("1", "web")), PodChange::All(vec![])]);
        assert_eq!(roster.take(PodChange::All(vec![pod("1", "web")]), |_| true), []);
        roster.last_container_ended(&key("1"));
        assert_eq!(app_of(&roster, container("1", PodSource::Cri)), "web");
    }
}
