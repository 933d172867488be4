//! A plan asked of a running agent.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use super::{connect, kubeward, ClientError, ANSWER_WITHIN};
use crate::serve::proto::plan_policy_response::Step;
use crate::serve::proto::{GetInfoRequest, PlanPolicyRequest, PlanPolicyResponse, PlanResult};

/// For the agent to have all hooks there, beyond an answer's usual time.
const BEGINS_WITHIN: Duration = Duration::from_secs(15);

/// What a trial may take longer than it was asked for, on a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// No plan, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The policies, or the time, are not what an agent takes.
    #[error("{0}")]
    Invalid(String),
    #[error("{}: {message}", path.display())]
    Refused { path: PathBuf, message: String },
    #[error("{}: the agent is KubeWard {version}, which cannot plan; install this version on the node, and start the agent anew", path.display())]
    TooOld { path: PathBuf, version: String },
    #[error("{}: the agent ended before the policies were counted to the end; what was attached for them is gone with it", .0.display())]
    Ended(PathBuf),
}

/// Has the agent that listens at `path` count these policies for so long. `begun` is told of the containers that they select once
/// counting begins. Dropping the future ends the trial.
pub async fn plan(path: &Path, request: PlanPolicyRequest, begun: impl FnOnce(u32)) -> Result<PlanResult, PlanError> {
    let time = Duration::from_millis(request.duration_ms.into());
    let mut client = kubeward(connect(path).await?);
    let mut steps = match within(path, ANSWER_WITHIN, client.plan_policy(request)).await? {
        Ok(response) => response.into_inner(),
        Err(status) if status.code() == Code::Unimplemented => {
            let info = within(path, ANSWER_WITHIN, client.get_info(GetInfoRequest {})).await?;
            let version = info.map_or_else(|_| "of another version".to_owned(), |info| info.into_inner().version);
            return Err(PlanError::TooOld { path: path.to_owned(), version });
        }
        Err(status) => return Err(failed(path, status)),
    };
    match next(path, BEGINS_WITHIN, &mut steps).await? {
        Step::Begun(first) => begun(first.containers),
        Step::Result(result) => return Ok(result),
    }
    match next(path, time + ENDS_WITHIN, &mut steps).await? {
        Step::Result(result) => Ok(result),
        Step::Begun(_) => Err(PlanError::Ended(path.to_owned())),
    }
}

async fn next(path: &Path, limit: Duration, steps: &mut Streaming<PlanPolicyResponse>) -> Result<Step, PlanError> {
    let response = within(path, limit, steps.message()).await?.map_err(|status| failed(path, status))?;
    response.and_then(|response| response.step).ok_or_else(|| PlanError::Ended(path.to_owned()))
}

async fn within<T>(path: &Path, limit: Duration, answer: impl Future<Output = T>) -> Result<T, ClientError> {
    timeout(limit, answer).await.map_err(|_| ClientError::Silent { path: path.to_owned(), limit })
}

fn failed(path: &Path, status: Status) -> PlanError {
    let (path, message) = (path.to_owned(), status.message().to_owned());
    match status.code() {
        Code::InvalidArgument => PlanError::Invalid(message),
        Code::ResourceExhausted | Code::FailedPrecondition | Code::DeadlineExceeded => {
            PlanError::Refused { path, message }
        }
        // A connection that breaks is told by whichever code its layer has.
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled => PlanError::Ended(path),
        _ => PlanError::Client(ClientError::Status { path, status: Box::new(status) }),
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;
    use tonic::service::Routes;

    use super::*;
    use crate::serve::health::{self, Checks, Verdict};
    use crate::serve::{Server, Socket};

    #[tokio::test]
    async fn agent_that_cannot_plan_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.sock");
        let checks = Checks::new(|| Verdict::yes("it is"), || Verdict::yes("it is"));
        let services = Routes::new(health::service(checks.into()));
        let socket = Socket::claim(&path).expect("a free name");
        let server = Server::start(socket, services, &CancellationToken::new()).expect("it listens");
        let request = PlanPolicyRequest { duration_ms: 1_000, ..PlanPolicyRequest::default() };
        let error = plan(&path, request, |_| panic!("nothing begins")).await.expect_err("it cannot");
        assert!(matches!(error, PlanError::TooOld { .. }), "{error}");
        drop(server);
    }
}
