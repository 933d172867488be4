//! What an API server answered, or did not, in words that somebody can act on.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use kube::runtime::watcher;
use tower::timeout::error::Elapsed;

use super::client::ANSWER_BEGINS_WITHIN;

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// 403: our role lacks the verb.
    Forbidden { verb: String, resource: &'static str, message: String },
    /// 401: the token is expired, or of another cluster.
    Unauthorized { resource: &'static str, message: String },
    /// 404 for a whole resource: its definition is not installed.
    NoSuchResource { resource: &'static str },
    /// 409: somebody else owns what was to be written.
    Conflict { resource: &'static str, message: String },
    /// Any other refusal.
    Refused { resource: &'static str, code: u16, message: String },
    /// It took the request and said nothing.
    Silent { resource: &'static str, waited: Duration },
    /// It could not be reached, or broke off.
    Unreachable { resource: &'static str, message: String },
}

impl Trouble {
    /// Of a request for `resource` ("kubewards"); `verb` is what a role would have to grant.
    pub fn of(verb: &str, resource: &'static str, error: &kube::Error) -> Self {
        let status = match error {
            kube::Error::Api(status) => status,
            kube::Error::Service(cause) if cause.is::<Elapsed>() => {
                return Trouble::Silent { resource, waited: ANSWER_BEGINS_WITHIN };
            }
            _ => return Trouble::Unreachable { resource, message: innermost(error) },
        };
        let message = status.message.clone();
        match status.code {
            401 => Trouble::Unauthorized { resource, message },
            403 => Trouble::Forbidden { verb: verb.to_owned(), resource, message },
            404 => Trouble::NoSuchResource { resource },
            409 => Trouble::Conflict { resource, message },
            code => Trouble::Refused { resource, code, message },
        }
    }

    /// Of a watch that is kept up.
    pub fn of_watch(resource: &'static str, error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error) => Self::of("list", resource, error),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                Self::of("watch", resource, error)
            }
            watcher::Error::WatchError(status) => {
                Trouble::Refused { resource, code: status.code, message: status.message.clone() }
            }
            watcher::Error::NoResourceVersion => {
                let message = "its list has no resourceVersion".to_owned();
                Trouble::Refused { resource, code: 200, message }
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Forbidden { verb, resource, message } => {
                write!(
                    f,
                    "{resource}: not allowed to {verb} (403): grant our role the verb {verb} on {resource}: {message}"
                )
            }
            Trouble::Unauthorized { resource, message } => {
                write!(f, "{resource}: the API server does not know us (401), is the token expired? {message}")
            }
            Trouble::NoSuchResource { resource } => {
                write!(f, "{resource}: the API server has no such resource (404): apply deployments/kubeward.yaml")
            }
            Trouble::Conflict { resource, message } => write!(f, "{resource}: conflict (409): {message}"),
            Trouble::Refused { resource, code, message } => {
                write!(f, "{resource}: the API server says {code}: {message}")
            }
            Trouble::Silent { resource, waited } => {
                write!(f, "{resource}: the API server did not answer within {} s", waited.as_secs())
            }
            Trouble::Unreachable { resource, message } => write!(f, "{resource}: no API server: {message}"),
        }
    }
}

/// The object is not there, which is an answer and no trouble. Told apart from a resource that is not there by the name in
/// the details.
pub fn is_absent_object(error: &kube::Error, name: &str) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.code == 404 && status.details.as_ref().is_some_and(|details| details.name == name)
        }
        _ => false,
    }
}

/// Logs a trouble once, until it is another or is over.
#[derive(Debug, Default)]
pub struct Telling {
    told: Option<String>,
}

impl Telling {
    pub fn failed(&mut self, trouble: &Trouble) {
        let text = trouble.to_string();
        if self.told.as_ref() != Some(&text) {
            tracing::warn!("{text}; trying again");
            self.told = Some(text);
        }
    }

    /// It goes again: `what`.
    pub fn went_well(&mut self, what: &str) {
        if self.told.take().is_some() {
            tracing::info!("{what}");
        }
    }
}

/// The cause at the bottom: what stands above it repeats that a request failed.
fn innermost(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match error.source() {
        Some(_) => cause.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16) -> String {
        let status = Status { code, message: "because".to_owned(), ..Status::default() };
        Trouble::of("watch", "pods", &kube::Error::Api(Box::new(status))).to_string()
    }

    #[test]
    fn refusals_name_verb_resource_and_remedy() {
        assert_eq!(refused(403), "pods: not allowed to watch (403): grant our role the verb watch on pods: because");
        assert!(refused(401).contains("token"));
        assert!(refused(404).contains("deployments/kubeward.yaml"));
        assert_eq!(refused(500), "pods: the API server says 500: because");
    }

    #[test]
    fn absent_object_is_not_an_absent_definition() {
        let answer = |code, name: &str| {
            let details = serde_json::from_value(serde_json::json!({ "name": name })).expect("all may be absent");
            kube::Error::Api(Box::new(Status { code, details: Some(details), ..Status::default() }))
        };
        assert!(is_absent_object(&answer(404, "n1"), "n1"));
        assert!(!is_absent_object(&answer(404, ""), "n1"));
        assert!(!is_absent_object(&answer(403, "n1"), "n1"));
    }
}
