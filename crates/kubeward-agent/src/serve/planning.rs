//! `PlanPolicy`: from documents to a trial, and from what it has measured to messages.

use std::time::Duration;

use futures_util::stream::{unfold, BoxStream, StreamExt};
use kubeward_core::cost::Prices;
use kubeward_core::policy::{self, CheckedPolicy, PolicySet};
use kubeward_core::syscall::by_nr;
use tokio::sync::mpsc;
use tonic::Status;

use super::messages::container_name;
use super::proto;
use super::proto::plan_policy_response::Step;
use super::question::{TrialAsked, TrialRefused, TrialStep, TRIAL_STEPS};
use crate::plan::{estimate, CallEstimate, Cpu, Estimate, Measured};

/// How long a trial may take, in milliseconds.
const TIMES_MS: std::ops::RangeInclusive<u32> = 1_000..=60_000;

/// Containers that are named where none was selected.
const OTHERS: usize = 20;

/// What a client gets, step by step. Dropping it ends the trial.
pub(super) type Steps = BoxStream<'static, Result<proto::PlanPolicyResponse, Status>>;

/// Checks what is asked. The policies' faults are the client's to mend.
pub(super) fn ask(request: proto::PlanPolicyRequest) -> Result<(TrialAsked, Steps), Status> {
    let proto::PlanPolicyRequest { documents, source, duration_ms } = request;
    if !TIMES_MS.contains(&duration_ms) {
        let message = format!("duration_ms is {duration_ms}; choose from {} to {}", TIMES_MS.start(), TIMES_MS.end());
        return Err(Status::invalid_argument(message));
    }
    let source = if source.is_empty() { "policy" } else { &source };
    let (policies, mut faults) = policy::load(source, documents.as_bytes());
    faults.extend(PolicySet::new(policies.clone()).1);
    if !faults.is_empty() {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        return Err(Status::invalid_argument(faults.join("\n")));
    }
    let refusals = policies.iter().flat_map(|policy| &policy.refusals).map(ToString::to_string).collect();
    let notes = notes(&policies);
    let (reply, steps) = mpsc::channel(TRIAL_STEPS);
    let asked = TrialAsked { policies, time: Duration::from_millis(duration_ms.into()), reply };
    Ok((asked, told(steps, Told { refusals, notes })))
}

/// What is known of the policies before they are tried.
struct Told {
    refusals: Vec<String>,
    notes: Vec<String>,
}

fn told(steps: mpsc::Receiver<Result<TrialStep, TrialRefused>>, told: Told) -> Steps {
    // `None`: nothing comes any more.
    unfold(Some((steps, told)), |state| async move {
        let (mut steps, told) = state?;
        let step = match steps.recv().await {
            Some(Ok(TrialStep::Counting { containers })) => {
                let begun = proto::PlanBegun { containers: number(containers) };
                return Some((Ok(response(Step::Begun(begun))), Some((steps, told))));
            }
            Some(Ok(TrialStep::Counted(mut measured))) => Ok(response(Step::Result(result(&mut measured, told)))),
            Some(Err(busy @ TrialRefused::Busy { .. })) => Err(Status::resource_exhausted(busy.to_string())),
            Some(Err(failed @ TrialRefused::Failed(_))) => Err(Status::failed_precondition(failed.to_string())),
            None => Err(Status::unavailable("the agent is ending")),
        };
        Some((step, None))
    })
    .boxed()
}

fn response(step: Step) -> proto::PlanPolicyResponse {
    proto::PlanPolicyResponse { step: Some(step) }
}

fn result(measured: &mut Measured, Told { refusals, mut notes }: Told) -> proto::PlanResult {
    let Estimate { calls, total, named } = estimate(measured);
    notes
        .extend(measured.unhooked.iter().map(|(nr, reason)| format!("{} cannot be watched here: {reason}", name(*nr))));
    let is_new = |policy: &&CheckedPolicy| measured.in_force.policies().iter().any(|old| old.name == policy.name);
    let replaced = measured.written.policies().iter().filter(is_new);
    let others: &[_] = if measured.tried.is_empty() && measured.left_out == 0 { &measured.others } else { &[] };
    proto::PlanResult {
        window_ns: u64::try_from(measured.window.as_nanos()).unwrap_or(u64::MAX),
        containers: number(measured.tried.len()),
        calls_named: number(named),
        calls: calls.iter().map(|(&nr, call)| call_plan(name(nr), call)).collect(),
        total: Some(call_plan(String::new(), &total)),
        uncounted: measured.uncounted,
        left_out: number(measured.left_out),
        passed_call_ns_before: measured.raw_before.passed_ns(&measured.prices),
        passed_call_ns: measured.raw.passed_ns(&measured.prices),
        prices: prices(&measured.prices),
        replaces: replaced.map(|policy| policy.name.to_string()).collect(),
        refusals,
        notes,
        others: others.iter().take(OTHERS).map(|container| container_name(container)).collect(),
        others_total: number(others.len()),
    }
}

fn call_plan(call: String, estimate: &CallEstimate) -> proto::CallPlan {
    let cpu = |cpu: Cpu| Some(proto::CpuTime { kernel_percent: cpu.kernel, user_percent: cpu.user });
    proto::CallPlan {
        call,
        containers: number(estimate.containers),
        calls_per_second: estimate.calls,
        errors_per_second: estimate.errors,
        events_per_second: estimate.events,
        bytes_per_second: estimate.bytes,
        at_most: estimate.at_most,
        cpu: cpu(estimate.cpu),
        added_events_per_second: estimate.added_events,
        added_bytes_per_second: estimate.added_bytes,
        added_cpu: cpu(estimate.added_cpu),
    }
}

fn prices(prices: &Prices) -> Vec<proto::Price> {
    prices.named().map(|(of, ns)| proto::Price { of: of.to_owned(), ns }).into()
}

/// What of the policies a count cannot tell, or what is not as in a policy in force.
fn notes(policies: &[CheckedPolicy]) -> Vec<String> {
    policies.iter().flat_map(notes_on).collect()
}

fn notes_on(policy: &CheckedPolicy) -> Vec<String> {
    let name = &policy.name;
    let notes = [
        (policy.suspend, "is suspended, and was counted as if it were not".to_owned()),
        (policy.expire_after.is_some(), "ends by expireAfter, which was not looked at".to_owned()),
        (policy.node_selector.is_some(), "has a nodeSelector, which was not looked at".to_owned()),
        (!policy.wants_events(), "has mode Count: it makes no events".to_owned()),
        (!policy.filter.path_prefixes.is_empty(), "goes by paths (filter.pathPrefix), which counts do not tell: it makes fewer events".to_owned()),
        (policy.filter.min_duration_ns.is_some(), "goes by durations (filter.minDuration), which counts tell within a factor of two, and not at all of calls that others watch without timing: it may make fewer events".to_owned()),
        (policy.coalesce, "takes one event for identical calls in a row (coalesce), which counts do not tell: it may make fewer events".to_owned()),
        (policy.limits.is_some(), "has limits: they were taken to cut what comes evenly, so that of bursts fewer events are left".to_owned()),
    ];
    notes.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| format!("policy {name} {note}")).collect()
}

fn name(nr: u16) -> String {
    by_nr(nr.into()).map_or_else(|| nr.to_string(), |call| call.name.to_owned())
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
