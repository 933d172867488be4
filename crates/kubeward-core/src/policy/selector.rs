//! Which containers a policy is about.

use std::fmt;

use super::glob::Glob;
use super::labels::LabelSelector;
use crate::container::Container;

/// `spec.selector`: every member that is there must hold. [`Selector::default`] is every container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Namespaces of pods; when not empty, containers outside a pod are left out.
    pub namespaces: Vec<Glob>,
    /// Takes away from `namespaces`, or from all of them. Containers outside a pod are in no namespace.
    pub exclude_namespaces: Vec<Glob>,
    /// On the pod's labels; an empty one is every pod, and no container outside a pod.
    pub pod_selector: Option<LabelSelector>,
    /// Names of containers in their pods; outside a pod, names or full ids.
    pub containers: Vec<String>,
}

impl Selector {
    pub fn matches(&self, container: &Container) -> bool {
        self.namespace_fits(container)
            && match (&self.pod_selector, &container.pod) {
                (None, _) => true,
                (Some(selector), Some(pod)) => selector.matches(&pod.labels),
                (Some(_), None) => false,
            }
            && (self.containers.is_empty() || self.containers.iter().any(|name| is_named(container, name)))
    }

    fn namespace_fits(&self, container: &Container) -> bool {
        match &container.pod {
            Some(pod) => {
                let in_one_of = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(&pod.namespace));
                (self.namespaces.is_empty() || in_one_of(&self.namespaces)) && !in_one_of(&self.exclude_namespaces)
            }
            None => self.namespaces.is_empty(),
        }
    }
}

fn is_named(container: &Container, name: &str) -> bool {
    container.name.as_deref() == Some(name) || (container.pod.is_none() && container.id.0 == name)
}

/// As a clause after a policy's name: `namespaces default, team-*; pods app=web`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let globs = |globs: &[Glob]| globs.iter().map(Glob::to_string).collect::<Vec<_>>().join(", ");
        let mut parts = Vec::new();
        if !self.namespaces.is_empty() {
            parts.push(format!("namespaces {}", globs(&self.namespaces)));
        }
        if !self.exclude_namespaces.is_empty() {
            parts.push(format!("not namespaces {}", globs(&self.exclude_namespaces)));
        }
        match &self.pod_selector {
            Some(selector) if selector.is_empty() => parts.push("every pod".to_owned()),
            Some(selector) => parts.push(format!("pods {selector}")),
            None => (),
        }
        if !self.containers.is_empty() {
            parts.push(format!("containers {}", self.containers.join(", ")));
        }
        match parts.is_empty() {
            true => f.write_str("every container"),
            false => f.write_str(&parts.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::container::{ContainerId, PodRef, PodSource};

    fn container(id: &str, name: Option<&str>, pod: Option<(&str, &[(&str, &str)])>) -> Container {
        let pod = pod.map(|(namespace, labels)| PodRef {
            namespace: namespace.to_owned(),
            name: "web-0".to_owned(),
            uid: "1".to_owned(),
            labels: labels
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect::<BTreeMap<_, _>>()
                .into(),
            source: PodSource::Cri,
            workload: None,
        });
        Container {
            id: ContainerId(id.to_owned()),
            name: name.map(str::to_owned),
            image: None,
            image_digest: None,
            runtime: "containerd",
            runtime_namespace: None,
            labels: Default::default(),
            pod,
        }
    }

    fn globs(patterns: &[&str]) -> Vec<Glob> {
        patterns.iter().map(|pattern| Glob(pattern.to_string())).collect()
    }

    #[test]
    fn absent_selector_is_every_container() {
        assert!(Selector::default().matches(&container("c1", None, None)));
        assert!(Selector::default().matches(&container("c1", Some("app"), Some(("kube-system", &[])))));
    }

    #[test]
    fn namespaces_are_globs_and_leave_out_containers_outside_pods() {
        let selector = Selector { namespaces: globs(&["default", "team-*"]), ..Selector::default() };
        assert!(selector.matches(&container("c1", None, Some(("team-a", &[])))));
        assert!(!selector.matches(&container("c1", None, Some(("kube-system", &[])))));
        assert!(!selector.matches(&container("c1", None, None)));
    }

    #[test]
    fn excluded_namespaces_are_taken_away() {
        let selector = Selector {
            namespaces: globs(&["team-*"]),
            exclude_namespaces: globs(&["team-secret"]),
            ..Selector::default()
        };
        assert!(selector.matches(&container("c1", None, Some(("team-a", &[])))));
        assert!(!selector.matches(&container("c1", None, Some(("team-secret", &[])))));
        let all_but = Selector { exclude_namespaces: globs(&["kube-system"]), ..Selector::default() };
        assert!(all_but.matches(&container("c1", None, None)));
        assert!(!all_but.matches(&container("c1", None, Some(("kube-system", &[])))));
    }

    #[test]
    fn empty_pod_selector_is_every_pod_and_nothing_else() {
        let selector = Selector { pod_selector: Some(LabelSelector::default()), ..Selector::default() };
        assert!(selector.matches(&container("c1", None, Some(("default", &[])))));
        assert!(!selector.matches(&container("c1", None, None)));
    }

    #[test]
    fn pod_selector_is_about_the_pods_labels() {
        let match_labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let pod_selector = Some(LabelSelector { match_labels, match_expressions: Vec::new() });
        let selector = Selector { pod_selector, ..Selector::default() };
        assert!(selector.matches(&container("c1", None, Some(("default", &[("app", "web"), ("x", "y")])))));
        assert!(!selector.matches(&container("c1", None, Some(("default", &[("app", "db")])))));
        let mut own_label = container("c1", None, Some(("default", &[])));
        own_label.labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]).into();
        assert!(!selector.matches(&own_label));
    }

    #[test]
    fn containers_go_by_name_and_outside_pods_by_id_too() {
        let selector = Selector { containers: vec!["app".to_owned()], ..Selector::default() };
        assert!(selector.matches(&container("c1", Some("app"), Some(("default", &[])))));
        assert!(!selector.matches(&container("c1", Some("sidecar"), Some(("default", &[])))));
        assert!(!selector.matches(&container("app", None, Some(("default", &[])))));
        assert!(selector.matches(&container("app", None, None)));
        assert!(selector.matches(&container("c1", Some("app"), None)));
    }
}
