//! The objects about a container and its pod.

use super::member::{self, key, Fitting};
use super::JsonLines;
use crate::container::{Container, Labels, PodRef, PodSource};

impl JsonLines {
    /// Appends what an event shows of its container, as `,"container":{...},"k8s":{...}`.
    pub(super) fn container_on_event<'a>(&'a self, out: &mut Vec<u8>, container: &'a Container, fitting: &Fitting) {
        let shown = |labels: &'a Labels| self.event_labels.iter().filter_map(move |key| labels.get_key_value(key));
        write(out, container, fitting, |container| shown(&container.labels), |pod| shown(&pod.labels));
    }
}

/// Appends all that is known of a container, as `,"container":{...},"k8s":{...}`.
pub(super) fn whole_container(out: &mut Vec<u8>, container: &Container, fitting: &Fitting) {
    write(out, container, fitting, |container| container.labels.iter(), |pod| pod.labels.iter());
}

/// The same without labels, for lines that only name a container.
pub(super) fn named_container(out: &mut Vec<u8>, container: &Container, fitting: &Fitting) {
    write(out, container, fitting, |_| std::iter::empty(), |_| std::iter::empty());
}

fn write<'a, L: Iterator<Item = (&'a String, &'a String)>>(
    out: &mut Vec<u8>,
    container: &'a Container,
    fitting: &Fitting,
    container_labels: impl Fn(&'a Container) -> L,
    pod_labels: impl Fn(&'a PodRef) -> L,
) {
    member::push(out, key!("container"));
    let is_cut = container_members(out, container, fitting);
    labels_member(out, container_labels(container), is_cut, fitting);
    out.push(b'}');
    if let Some(pod) = &container.pod {
        member::push(out, key!("k8s"));
        let is_cut = pod_members(out, pod, fitting);
        labels_member(out, pod_labels(pod), is_cut, fitting);
        out.push(b'}');
    }
}

/// Appends an object's members without its closing brace. Returns whether one was cut.
fn container_members(out: &mut Vec<u8>, container: &Container, fitting: &Fitting) -> bool {
    let limit = fitting.name_bytes;
    out.extend_from_slice(b"{\"id\":");
    let mut is_cut = member::string(out, &container.id.0, limit);
    is_cut |= optional(out, key!("name"), container.name.as_deref(), limit);
    is_cut |= optional(out, key!("image"), container.image.as_deref(), limit);
    is_cut |= optional(out, key!("image_digest"), container.image_digest.as_deref(), limit);
    member::word(out, key!("runtime"), container.runtime);
    is_cut | optional(out, key!("runtime_namespace"), container.runtime_namespace.as_deref(), limit)
}

fn pod_members(out: &mut Vec<u8>, pod: &PodRef, fitting: &Fitting) -> bool {
    let limit = fitting.name_bytes;
    out.extend_from_slice(b"{\"namespace\":");
    let mut is_cut = member::string(out, &pod.namespace, limit);
    is_cut |= optional(out, key!("pod"), Some(&pod.name), limit);
    is_cut |= optional(out, key!("uid"), Some(&pod.uid), limit);
    if pod.source == PodSource::Labels {
        member::word(out, key!("source"), "labels");
    }
    if let Some(workload) = &pod.workload {
        out.extend_from_slice(b",\"workload\":{\"kind\":");
        is_cut |= member::string(out, &workload.kind, limit);
        is_cut |= optional(out, key!("name"), Some(&workload.name), limit);
        out.push(b'}');
    }
    is_cut
}

fn optional(out: &mut Vec<u8>, key: &str, text: Option<&str>, limit: usize) -> bool {
    text.is_some_and(|text| {
        member::push(out, key);
        member::string(out, text, limit)
    })
}

/// Appends `labels` unless there are none, and `cut` when they or the members before them were cut.
fn labels_member<'a>(
    out: &mut Vec<u8>,
    labels: impl Iterator<Item = (&'a String, &'a String)>,
    mut is_cut: bool,
    fitting: &Fitting,
) {
    let mut shown = 0;
    for (key, value) in labels {
        if shown == fitting.names {
            is_cut = true;
            break;
        }
        out.extend_from_slice(if shown == 0 { b",\"labels\":{" } else { b"," });
        is_cut |= member::string(out, key, fitting.name_bytes);
        out.push(b':');
        is_cut |= member::string(out, value, fitting.name_bytes);
        shown += 1;
    }
    if shown > 0 {
        out.push(b'}');
    }
    member::claim(out, key!("cut"), is_cut);
}
