//! What an API server's refusals mean, in words that a person can act on.

use std::time::Duration;

use kube::runtime::watcher;
use kube::Error;

/// How long a single request may take, from its first byte to its last.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A request that the API server did not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// To be granted by a role; nothing is gained by asking often.
    #[error("{verb} on {resource} is refused (403): the role of this service account lacks it: {message}")]
    Forbidden { verb: &'static str, resource: &'static str, message: String },
    /// The token is wrong or has expired; a new one is read from its file as it is rotated.
    #[error("{verb} on {resource} is refused (401): the token is not valid, or has expired: {message}")]
    Unauthorized { verb: &'static str, resource: &'static str, message: String },
    /// There is no such resource: the definition is not installed yet, or the namespace is not there.
    #[error(
        "{verb} on {resource}: the API server does not know them: {message}; apply deployments/kubeward.yaml; waiting"
    )]
    NotDefined { verb: &'static str, resource: &'static str, message: String },
    /// The object was changed by somebody else meanwhile: look at it again.
    #[error("{verb} on {resource}: the object was changed by somebody else meanwhile (409): {message}")]
    Conflict { verb: &'static str, resource: &'static str, message: String },
    /// The object as we wrote it is not valid: the definition is of another version than this program.
    #[error("{verb} on {resource} is refused as invalid ({code}): {message}; is the definition of this version?")]
    Invalid { verb: &'static str, resource: &'static str, code: u16, message: String },
    /// It answers, but not with what was asked: overloaded or starting, mostly.
    #[error("{verb} on {resource}: the API server says {code}: {message}")]
    Failing { verb: &'static str, resource: &'static str, code: u16, message: String },
    /// No answer at all.
    #[error("{verb} on {resource}: the API server does not answer: {message}")]
    Unreachable { verb: &'static str, resource: &'static str, message: String },
}

/// The object is not there, which is an answer and no trouble. Told apart from a resource that is not there by the
/// name in the details.
pub(crate) fn is_absent_object(error: &Error, name: &str) -> bool {
    match error {
        Error::Api(status) => status.code == 404 && status.details.as_ref().is_some_and(|details| details.name == name),
        _ => false,
    }
}

impl Trouble {
    /// What `error` means for the request `verb` (as a role names it) on `resource` (as a role names it).
    pub(crate) fn of(error: &Error, verb: &'static str, resource: &'static str) -> Self {
        let Error::Api(status) = error else {
            return Self::Unreachable { verb, resource, message: chain(error) };
        };
        let message = match status.message.trim() {
            "" => status.reason.clone(),
            text => text.to_owned(),
        };
        match status.code {
            401 => Self::Unauthorized { verb, resource, message },
            403 => Self::Forbidden { verb, resource, message },
            404 => Self::NotDefined { verb, resource, message },
            409 => Self::Conflict { verb, resource, message },
            code @ (400 | 413 | 415 | 422) => Self::Invalid { verb, resource, code, message },
            code => Self::Failing { verb, resource, code, message },
        }
    }

    /// The same for a list and watch.
    pub(crate) fn of_watch(error: &watcher::Error, resource: &'static str) -> Self {
        match error {
            watcher::Error::InitialListFailed(error) => Self::of(error, "list", resource),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                Self::of(error, "watch", resource)
            }
            watcher::Error::WatchError(status) => Self::of(&Error::Api(status.clone()), "watch", resource),
            watcher::Error::NoResourceVersion => {
                Self::Failing { verb: "list", resource, code: 200, message: "a list without a version".to_owned() }
            }
        }
    }

    pub(crate) fn no_answer(verb: &'static str, resource: &'static str, within: Duration) -> Self {
        Self::Unreachable { verb, resource, message: format!("nothing within {} s", within.as_secs()) }
    }

    /// Only the watch has missed too much: it lists anew by itself, nothing is wrong.
    pub(crate) fn is_expired_watch(&self) -> bool {
        matches!(self, Self::Failing { verb: "watch", code: 410, .. })
    }
}

/// An error and its causes: the outermost of a connection's says only "service error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Tells a trouble once, until it is another or is over.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    told: Option<String>,
}

impl Telling {
    /// Logs `trouble` unless it was the last that was logged.
    pub(crate) fn failed(&mut self, trouble: &Trouble) {
        let text = trouble.to_string();
        if self.told.as_ref() != Some(&text) {
            tracing::warn!("{text}");
            self.told = Some(text);
        }
    }

    /// It goes again.
    pub(crate) fn went_well(&mut self, what: &str) {
        if self.told.take().is_some() {
            tracing::info!("{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::StatusDetails;
    use kube::core::Status;

    fn answer(code: u16, name: &str) -> Error {
        let details: StatusDetails =
            serde_json::from_value(serde_json::json!({ "name": name })).expect("all of it may be absent");
        Error::Api(Status::failure("no", "Because").with_code(code).with_details(details).boxed())
    }

    #[test]
    fn refusal_names_the_verb_and_the_resource() {
        let text = Trouble::of(&answer(403, ""), "patch", "kubewardnodes").to_string();
        assert_eq!(text, "patch on kubewardnodes is refused (403): the role of this service account lacks it: no");
    }

    #[test]
    fn absent_object_is_not_an_absent_definition() {
        assert!(is_absent_object(&answer(404, "n1"), "n1"));
        assert!(!is_absent_object(&answer(404, ""), "n1"));
        assert!(!is_absent_object(&answer(403, "n1"), "n1"));
    }
}
