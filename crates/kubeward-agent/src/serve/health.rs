//! Whether a process is alive and ready, as gRPC's standard health service says it.
//!
//! For whoever has something to say about itself: two questions as closures are all that is needed. They are asked anew with
//! each request, from the server's own task, so that they must not block.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::Empty;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::heartbeat::Heartbeat;

/// Names to ask the health service for. The empty one asks for both.
pub const LIVENESS: &str = "liveness";
pub const READINESS: &str = "readiness";

/// Member of the answer's metadata that says why, in UTF-8: the standard message has no place for it.
pub(super) const REASON: &str = "kubeward-reason-bin";

/// A loop that has not come round for so long hangs.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

/// An answer and its reason, one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub holds: bool,
    pub why: String,
}

impl Verdict {
    pub fn yes(why: impl Into<String>) -> Self {
        Self { holds: true, why: why.into() }
    }

    pub fn no(why: impl Into<String>) -> Self {
        Self { holds: false, why: why.into() }
    }
}

/// Whether each of these loops came round within [`STALLED_AFTER`].
pub fn alive(loops: &[(&str, Heartbeat)]) -> Verdict {
    alive_by(loops.iter().map(|(name, beat)| (*name, beat.age())))
}

fn alive_by<'a>(ages: impl Iterator<Item = (&'a str, Duration)>) -> Verdict {
    let mut names = Vec::new();
    for (name, age) in ages {
        if age > STALLED_AFTER {
            return Verdict::no(format!("the {name} has made no progress for {} s", age.as_secs()));
        }
        names.push(name);
    }
    let progress = if names.len() == 1 { "makes progress" } else { "make progress" };
    Verdict::yes(format!("the {} {progress}", names.join(" and the ")))
}

type Question = Box<dyn Fn() -> Verdict + Send + Sync>;

/// What the health service asks.
pub struct Checks {
    alive: Question,
    ready: Question,
}

impl Checks {
    pub fn new(
        alive: impl Fn() -> Verdict + Send + Sync + 'static,
        ready: impl Fn() -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self { alive: Box::new(alive), ready: Box::new(ready) }
    }

    pub fn is_alive(&self) -> Verdict {
        (self.alive)()
    }

    /// Nobody is ready who is not alive.
    pub fn is_ready(&self) -> Verdict {
        Some(self.is_alive()).filter(|alive| !alive.holds).unwrap_or_else(|| (self.ready)())
    }
}

/// The health service, for [`super::Server::start`].
pub fn service(checks: Arc<Checks>) -> HealthServer<impl Health> {
    HealthServer::new(Service { checks })
}

struct Service {
    checks: Arc<Checks>,
}

#[tonic::async_trait]
impl Health for Service {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let verdict = match &*request.get_ref().service {
            LIVENESS => self.checks.is_alive(),
            // Ready includes alive.
            READINESS | "" => self.checks.is_ready(),
            other => {
                return Err(Status::not_found(format!("{other:?} is none of {LIVENESS:?}, {READINESS:?} and \"\"")))
            }
        };
        let status = if verdict.holds { ServingStatus::Serving } else { ServingStatus::NotServing };
        let mut response = Response::new(HealthCheckResponse { status: status.into() });
        response.metadata_mut().insert_bin(REASON, MetadataValue::from_bytes(verdict.why.as_bytes()));
        Ok(response)
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    /// The standard lets a server leave it out: clients then ask with Check, again and again.
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("Watch is not served; use Check"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loop_that_has_not_come_round_is_named_with_its_age() {
        let judged = |reader_s, main_s| {
            alive_by(
                [("reader", Duration::from_secs(reader_s)), ("main loop", Duration::from_secs(main_s))].into_iter(),
            )
        };
        assert_eq!(judged(30, 0), Verdict::yes("the reader and the main loop make progress"));
        assert_eq!(judged(31, 0), Verdict::no("the reader has made no progress for 31 s"));
        assert_eq!(judged(0, 70), Verdict::no("the main loop has made no progress for 70 s"));
    }

    #[test]
    fn nobody_is_ready_who_is_not_alive() {
        let checks = |alive: bool, ready: bool| {
            let verdict = |name, holds| move || Verdict { holds, why: format!("{name}: {holds}") };
            Checks::new(verdict("alive", alive), verdict("ready", ready)).is_ready()
        };
        assert_eq!(checks(false, true), Verdict::no("alive: false"));
        assert_eq!(checks(true, false), Verdict::no("ready: false"));
        assert_eq!(checks(true, true), Verdict::yes("ready: true"));
    }
}
