//! `kubeward.v1.KubeWard`: every request is a question to whoever owns the answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::health::{Checks, Verdict};
use super::proto::kube_ward_server::{KubeWard, KubeWardServer};
use super::question::{Question, Questions};
use super::{messages, planning, proto};
use crate::cost::CostNow;

/// For the owner of an answer. Less than the server gives the request, so that the client hears who did not answer.
const OWNER_WITHIN: Duration = Duration::from_secs(4);

/// Longest request: PlanPolicy has a whole policy file.
const REQUEST_BYTES: usize = kubeward_core::policy::MAX_FILE_BYTES + (64 << 10);

/// Longest answer: GetStats at a full table.
pub(super) const ANSWER_BYTES: usize = 64 << 20;

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct Facts {
    pub node: String,
    pub cluster: Option<String>,
    pub run: String,
    pub kernel: String,
    pub architecture: String,
    pub started_unix_ns: u64,
    pub backend: String,
    /// Why it serves calls as it does, in sentences.
    pub backend_reasons: Vec<String>,
}

pub struct Api {
    facts: Facts,
    checks: Arc<Checks>,
    questions: Questions,
    cost: watch::Receiver<CostNow>,
}

impl Api {
    /// The service, for [`super::Server::start`].
    pub fn service(
        facts: Facts,
        checks: Arc<Checks>,
        questions: Questions,
        cost: watch::Receiver<CostNow>,
    ) -> KubeWardServer<Self> {
        KubeWardServer::new(Self { facts, checks, questions, cost })
            .max_decoding_message_size(REQUEST_BYTES)
            .max_encoding_message_size(ANSWER_BYTES)
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        in_time(async {
            self.questions.send(question(reply)).await.map_err(|_| ending())?;
            answer.await.map_err(|_| ending())
        })
        .await
    }
}

fn ending() -> Status {
    Status::unavailable("the agent is ending")
}

/// Who owns an answer must not take longer.
async fn in_time<T>(asking: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let hangs = || {
        let limit = OWNER_WITHIN.as_secs();
        Status::deadline_exceeded(format!(
            "the agent's loops did not answer within {limit} s; kubeward health says more"
        ))
    };
    timeout(OWNER_WITHIN, asking).await.unwrap_or_else(|_| Err(hangs()))
}

#[tonic::async_trait]
impl KubeWard for Api {
    async fn get_info(&self, _: Request<proto::GetInfoRequest>) -> Result<Response<proto::GetInfoResponse>, Status> {
        let facts = self.facts.clone();
        let cost = *self.cost.borrow();
        let above_limit = Verdict { holds: cost.is_above, why: cost.standing() };
        let condition =
            |kind: &str, Verdict { holds, why }| proto::Condition { r#type: kind.to_owned(), holds, message: why };
        Ok(Response::new(proto::GetInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: facts.node,
            cluster: facts.cluster,
            run: facts.run,
            kernel: facts.kernel,
            architecture: facts.architecture,
            started_unix_ns: facts.started_unix_ns,
            backend: facts.backend,
            backend_reasons: facts.backend_reasons,
            conditions: vec![
                condition("Alive", self.checks.is_alive()),
                condition("Ready", self.checks.is_ready()),
                condition("CostAboveLimit", above_limit),
            ],
            cost: messages::cost(&cost),
        }))
    }

    async fn get_ledger(
        &self,
        _: Request<proto::GetLedgerRequest>,
    ) -> Result<Response<proto::GetLedgerResponse>, Status> {
        Ok(Response::new(messages::ledger(self.ask(Question::Ledger).await?)))
    }

    async fn get_stats(
        &self,
        request: Request<proto::GetStatsRequest>,
    ) -> Result<Response<proto::GetStatsResponse>, Status> {
        Ok(Response::new(messages::stats(self.ask(Question::Stats).await?, &request.get_ref().containers)))
    }

    async fn list_policies(
        &self,
        _: Request<proto::ListPoliciesRequest>,
    ) -> Result<Response<proto::ListPoliciesResponse>, Status> {
        Ok(Response::new(proto::ListPoliciesResponse { policies: self.ask(Question::Policies).await? }))
    }

    async fn list_containers(
        &self,
        _: Request<proto::ListContainersRequest>,
    ) -> Result<Response<proto::ListContainersResponse>, Status> {
        Ok(Response::new(proto::ListContainersResponse { containers: self.ask(Question::Containers).await? }))
    }

    type PlanPolicyStream = planning::Steps;

    async fn plan_policy(
        &self,
        request: Request<proto::PlanPolicyRequest>,
    ) -> Result<Response<Self::PlanPolicyStream>, Status> {
        let (asked, steps) = planning::ask(request.into_inner())?;
        in_time(async { self.questions.send(Question::Trial(asked)).await.map_err(|_| ending()) }).await?;
        Ok(Response::new(steps))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::super::question::questions;
    use super::*;
    use crate::pipeline::Accounts;

    fn api(questions: Questions) -> Api {
        let facts = Facts {
            node: "n1".to_owned(),
            cluster: None,
            run: "r1".to_owned(),
            kernel: "6.1".to_owned(),
            architecture: "x86_64".to_owned(),
            started_unix_ns: 1,
            backend: "auto".to_owned(),
            backend_reasons: Vec::new(),
        };
        let checks = Checks::new(|| Verdict::yes("it is"), || Verdict::no("not yet"));
        let (_, cost) = watch::channel(CostNow::default());
        Api { facts, checks: checks.into(), questions, cost }
    }

    fn ledger() -> Request<proto::GetLedgerRequest> {
        Request::new(proto::GetLedgerRequest {})
    }

    #[tokio::test(start_paused = true)]
    async fn owner_that_hangs_is_told_and_not_waited_for() {
        let (asking, _never_answered) = questions();
        let status = api(asking).get_ledger(ledger()).await.expect_err("nobody answers");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("kubeward health"), "{status}");
    }

    #[tokio::test]
    async fn agent_that_ends_says_so() {
        let (asking, asked) = questions();
        drop(asked);
        let status = api(asking).get_ledger(ledger()).await.expect_err("nobody is there");
        assert_eq!(status.code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn question_goes_to_its_owner_and_the_answer_back() {
        let (asking, mut asked) = questions();
        let api = api(asking);
        let owner = async {
            let Some(Question::Ledger(reply)) = asked.recv().await else { panic!("the ledger was asked for") };
            reply.send(Accounts::default()).expect("the request waits");
        };
        let (answer, ()) = tokio::join!(api.get_ledger(ledger()), owner);
        assert_eq!(answer.expect("it was answered").get_ref().containers.len(), 0);
    }

    #[tokio::test]
    async fn conditions_are_the_health_services_and_the_costs() {
        let (asking, _) = questions();
        let info = api(asking).get_info(Request::new(proto::GetInfoRequest {})).await.expect("nobody is asked");
        let told =
            |condition: &proto::Condition| (condition.r#type.clone(), condition.holds, condition.message.clone());
        let conditions: Vec<_> = info.get_ref().conditions.iter().map(told).collect();
        let no_limit = "no limit was given (--warn-cpu-percent)";
        let expected = [("Alive", true, "it is"), ("Ready", false, "not yet"), ("CostAboveLimit", false, no_limit)];
        assert_eq!(conditions, expected.map(|(kind, holds, why)| (kind.to_owned(), holds, why.to_owned())));
        assert_eq!(info.get_ref().cost, None, "nothing was measured yet");
    }
}
