//! containerd's events that concern a container, as this crate's type. Pure.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use containerd_client::events as api;
use containerd_client::types::Envelope;
use prost::Message;

use super::reconcile::Key;

/// What happened to one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) key: Key,
    /// When containerd published it, if it says so.
    pub(super) at: Option<SystemTime>,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The record was made. Its task, if any, comes later.
    RecordCreated {
        image: String,
    },
    RecordUpdated,
    RecordDeleted,
    /// The init task exists and waits for its start.
    TaskCreated {
        pid: u32,
    },
    ExecStarted {
        pid: u32,
    },
    /// The init task ended. The exit of an exec'ed process is no event of the container.
    TaskExited {
        pid: u32,
    },
}

/// An event whose payload is not what its topic says.
#[derive(Debug, thiserror::Error)]
#[error("containerd's event {topic:?} cannot be decoded")]
pub(super) struct DecodeError {
    topic: String,
    #[source]
    source: prost::DecodeError,
}

/// `None` for a topic that does not change which tasks belong to a container.
pub(super) fn decode(envelope: Envelope) -> Result<Option<Event>, DecodeError> {
    let payload = envelope.event.map(|event| event.value).unwrap_or_default();
    let decoded = container_and_change(&envelope.topic, &payload)
        .map_err(|source| DecodeError { topic: envelope.topic.clone(), source })?;
    let at = envelope.timestamp.map(time_of);
    let namespace: Arc<str> = envelope.namespace.into();
    Ok(decoded.map(|(id, what)| Event { key: Key::new(&namespace, id), at, what }))
}

fn container_and_change(topic: &str, payload: &[u8]) -> Result<Option<(String, What)>, prost::DecodeError> {
    Ok(Some(match topic {
        "/containers/create" => {
            let api::ContainerCreate { id, image, .. } = api::ContainerCreate::decode(payload)?;
            (id, What::RecordCreated { image })
        }
        "/containers/update" => (api::ContainerUpdate::decode(payload)?.id, What::RecordUpdated),
        "/containers/delete" => (api::ContainerDelete::decode(payload)?.id, What::RecordDeleted),
        "/tasks/create" => {
            let task = api::TaskCreate::decode(payload)?;
            (task.container_id, What::TaskCreated { pid: task.pid })
        }
        "/tasks/exec-started" => {
            let exec = api::TaskExecStarted::decode(payload)?;
            (exec.container_id, What::ExecStarted { pid: exec.pid })
        }
        "/tasks/exit" => {
            let exit = api::TaskExit::decode(payload)?;
            if exit.id != exit.container_id {
                return Ok(None);
            }
            (exit.container_id, What::TaskExited { pid: exit.pid })
        }
        _ => return Ok(None),
    }))
}

fn time_of(timestamp: prost_types::Timestamp) -> SystemTime {
    let since_epoch =
        Duration::new(timestamp.seconds.max(0).unsigned_abs(), timestamp.nanos.clamp(0, 999_999_999).unsigned_abs());
    SystemTime::UNIX_EPOCH + since_epoch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(topic: &str, event: &impl Message) -> Envelope {
        Envelope {
            timestamp: Some(prost_types::Timestamp { seconds: 10, nanos: 5 }),
            namespace: "k8s.io".into(),
            topic: topic.into(),
            event: Some(prost_types::Any { type_url: "unused".into(), value: event.encode_to_vec() }),
        }
    }

    fn what(topic: &str, event: &impl Message) -> Option<What> {
        decode(envelope(topic, event)).expect("decodes").map(|event| event.what)
    }

    #[test]
    fn task_create_carries_namespace_id_pid_and_time() {
        let create = api::TaskCreate { container_id: "c1".into(), pid: 42, ..Default::default() };
        let event = decode(envelope("/tasks/create", &create)).expect("decodes").expect("concerns a container");
        let namespace: Arc<str> = "k8s.io".into();
        assert_eq!(event.key, Key::new(&namespace, "c1".to_owned()));
        assert_eq!(event.at, Some(SystemTime::UNIX_EPOCH + Duration::new(10, 5)));
        assert_eq!(event.what, What::TaskCreated { pid: 42 });
    }

    #[test]
    fn only_the_exit_of_the_init_task_ends_a_container() {
        let exit = |id: &str| api::TaskExit { container_id: "c1".into(), id: id.into(), pid: 7, ..Default::default() };
        assert_eq!(what("/tasks/exit", &exit("c1")), Some(What::TaskExited { pid: 7 }));
        assert_eq!(what("/tasks/exit", &exit("exec-1")), None);
    }

    #[test]
    fn other_topics_are_passed_over() {
        assert_eq!(what("/tasks/oom", &api::TaskOom { container_id: "c1".into() }), None);
        assert_eq!(what("/snapshot/commit", &api::TaskOom::default()), None);
    }

    #[test]
    fn damaged_payload_is_an_error_that_names_the_topic() {
        let mut broken = envelope("/tasks/create", &api::TaskCreate::default());
        broken.event = Some(prost_types::Any { type_url: String::new(), value: vec![0xff; 3] });
        let error = decode(broken).expect_err("three bytes of 0xff are no message");
        assert_eq!(error.to_string(), "containerd's event \"/tasks/create\" cannot be decoded");
    }
}
