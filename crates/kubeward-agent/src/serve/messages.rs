//! What the agent's parts know, as messages of the API. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use kubeward_core::container::Container;
use kubeward_core::event::Stage;
use kubeward_core::ledger::{Account, FilterReason, LossReason};
use kubeward_core::policy::CheckedPolicy;
use kubeward_core::render::call_name;
use kubeward_core::syscall::{by_nr, errno_name};
use kubeward_core::table::{CallResult, CallStats, Latency};

use super::proto;
use super::proto::result_count::Result as Outcome;
use crate::cost::{CostNow, CpuPercent};
use crate::pipeline::{Accounts, TableNow};

pub(super) fn ledger(accounts: Accounts) -> proto::GetLedgerResponse {
    let Accounts { mut containers, node, doubts } = accounts;
    containers.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    let of_container = |(container, account): &(Arc<Container>, Account)| proto::ContainerAccount {
        container: Some(container_name(container)),
        account: Some(self::account(account)),
    };
    proto::GetLedgerResponse {
        containers: containers.iter().map(of_container).collect(),
        node: Some(account(&node)),
        skipped: doubts.skipped,
        missed_returns: doubts.missed_returns,
    }
}

fn account(account: &Account) -> proto::Account {
    let filtered = FilterReason::ALL.iter().map(|&reason| (reason.name().to_owned(), account.filtered.get(reason)));
    let lost = LossReason::ALL.iter().map(|&reason| (reason.name().to_owned(), account.lost.get(reason)));
    proto::Account {
        seen: account.seen,
        emitted: account.emitted,
        filtered: filtered.collect(),
        sampled: account.sampled,
        lost: lost.collect(),
        in_flight: account.in_flight,
        unreadable: account.unreadable,
        balanced: account.balanced(),
    }
}

/// `None`: nothing was measured yet.
pub(super) fn cost(now: &CostNow) -> Option<proto::Cost> {
    let CostNow { cost, limit, .. } = now;
    let seconds = |ns: u64| ns as f64 / 1e9;
    (cost.averaged_ns > 0).then(|| proto::Cost {
        averaged_seconds: seconds(cost.averaged_ns),
        kernel_cpu_percent: cost.kernel_percent,
        user_cpu_percent: cost.user_percent,
        runs_per_second: cost.runs_per_s,
        ns_per_run: cost.ns_per_run,
        kernel_cpu_seconds: seconds(cost.kernel_cpu_ns),
        user_cpu_seconds: seconds(cost.user_cpu_ns),
        resident_bytes: cost.resident_bytes,
        map_bytes: cost.map_bytes,
        warn_cpu_percent: limit.map(CpuPercent::get),
    })
}

/// The calls of these containers, by full id; of all when none is named.
pub(super) fn stats(table: TableNow, containers: &[String]) -> proto::GetStatsResponse {
    let wanted: BTreeSet<&str> = containers.iter().map(String::as_str).collect();
    let is_wanted = |container: &Container| wanted.is_empty() || wanted.contains(&*container.id.0);
    let TableNow { mut calls, used, room, overflow } = table;
    calls.retain(|(container, _, _)| is_wanted(container));
    calls.sort_by(|(a, stage_a, call_a), (b, stage_b, call_b)| {
        let order = |stage: &Stage, stats: &CallStats| (*stage, stats.call.via, stats.call.nr);
        a.id.cmp(&b.id).then_with(|| order(stage_a, call_a).cmp(&order(stage_b, call_b)))
    });
    proto::GetStatsResponse {
        calls: calls.iter().map(|(container, stage, stats)| call_stats(container, *stage, stats)).collect(),
        results_used: used as u64,
        results_room: room as u64,
        overflow,
    }
}

fn call_stats(container: &Container, stage: Stage, stats: &CallStats) -> proto::CallStats {
    let stage = match stage {
        Stage::Setup => proto::Stage::Setup,
        Stage::Run => proto::Stage::Run,
    };
    proto::CallStats {
        container: container.id.0.clone(),
        stage: stage.into(),
        call: call_name(&stats.call),
        nr: stats.call.nr,
        via: stats.call.via.name().map(str::to_owned),
        results: stats.results().map(|(result, count)| result_count(result, count)).collect(),
        latency: stats.latency.as_deref().map(latency),
    }
}

fn result_count(result: CallResult, count: u64) -> proto::ResultCount {
    let (result, error) = match result {
        CallResult::Success => (Outcome::Success(true), None),
        CallResult::Unfinished => (Outcome::Unfinished(true), None),
        CallResult::Errno(errno) => {
            let name = errno_name(errno).map_or_else(|| format!("ERRNO_{errno}"), str::to_owned);
            (Outcome::Errno(errno.into()), Some(name))
        }
        CallResult::OtherErrno => (Outcome::OtherErrno(true), None),
    };
    proto::ResultCount { result: Some(result), error, count }
}

fn latency(latency: &Latency) -> proto::Latency {
    let filled = latency.buckets.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
    proto::Latency { total_ns: latency.total_ns, buckets: latency.buckets[..filled].to_vec() }
}

/// What a policy says; how it stands is its owner's to say.
pub(crate) fn policy(policy: &CheckedPolicy) -> proto::Policy {
    let calls = policy.calls.iter().filter_map(|(nr, _)| by_nr(nr.into()));
    proto::Policy {
        name: policy.name.to_string(),
        source: policy.source.to_string(),
        calls: calls.map(|call| call.name.to_owned()).collect(),
        refusals: policy.refusals.iter().map(ToString::to_string).collect(),
        warnings: policy.warnings.iter().map(ToString::to_string).collect(),
        ..proto::Policy::default()
    }
}

pub(crate) fn container(container: &Container, stage: proto::Stage, policies: Vec<String>) -> proto::Container {
    proto::Container {
        container: Some(container_name(container)),
        image: container.image.clone(),
        runtime: container.runtime.to_owned(),
        runtime_namespace: container.runtime_namespace.clone(),
        pod_uid: container.pod.as_ref().map(|pod| pod.uid.clone()),
        workload: container
            .pod
            .as_ref()
            .and_then(|pod| pod.workload.as_ref())
            .map(|workload| proto::Workload { kind: workload.kind.clone(), name: workload.name.clone() }),
        stage: stage.into(),
        policies,
    }
}

pub(super) fn container_name(container: &Container) -> proto::ContainerName {
    let pod = container.pod.as_ref();
    proto::ContainerName {
        id: container.id.0.clone(),
        name: container.name.clone(),
        pod_namespace: pod.map(|pod| pod.namespace.clone()),
        pod: pod.map(|pod| pod.name.clone()),
    }
}

#[cfg(test)]
mod tests {

    use kubeward_core::container::{ContainerId, ContainerSlot};
    use kubeward_core::event::Call;
    use kubeward_core::event::Via;
    use kubeward_core::syscall::by_name;
    use kubeward_core::table::{CallKey, CallTable};

    use super::*;

    fn container(id: &str) -> Arc<Container> {
        Arc::new(Container::bare(ContainerId(id.to_owned()), "containerd"))
    }

    /// These calls of these containers, each made `count` times with that result.
    fn table(calls: &[(&str, &str, CallResult, u64)]) -> TableNow {
        let stats = calls.iter().map(|&(id, name, result, count)| {
            let mut table = CallTable::new(9);
            let entry = by_name(name).expect("the catalogue has it");
            let call = Call { via: Via::Syscall, nr: entry.nr.into(), entry: Some(entry) };
            table.add(CallKey::new(ContainerSlot(1), Stage::Run, &call), call, result, count);
            let (key, stats) = table.iter().next().expect("it was added");
            (container(id), key.stage, stats.clone())
        });
        TableNow { calls: stats.collect(), used: calls.len(), room: 9, overflow: 3 }
    }

    #[test]
    fn stats_are_in_order_and_of_the_containers_asked_for() {
        let told = |containers: &[&str]| {
            let made = [
                ("b", "openat", CallResult::Errno(2), 5),
                ("a", "openat", CallResult::Success, 1),
                ("b", "read", CallResult::Unfinished, 7),
            ];
            let answer = stats(table(&made), &containers.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
            assert_eq!((answer.results_used, answer.results_room, answer.overflow), (3, 9, 3));
            let text = answer.calls.iter().map(|stats| {
                let one = &stats.results[0];
                format!("{} {} {} {:?} {}", stats.container, stats.call, stats.nr, one.error, one.count)
            });
            text.collect::<Vec<_>>()
        };
        let of_b = ["b read 0 None 7", "b openat 257 Some(\"ENOENT\") 5"];
        assert_eq!(told(&["b"]), of_b);
        assert_eq!(told(&[]), ["a openat 257 None 1", of_b[0], of_b[1]]);
    }

    #[test]
    fn latency_ends_with_its_last_filled_bucket() {
        let mut measured = Latency::default();
        assert_eq!(latency(&measured).buckets, Vec::<u64>::new());
        [(0, 1), (2, 5), (2, 5)].into_iter().for_each(|(power, duration_ns)| measured.add(power, 1, duration_ns));
        assert_eq!(latency(&measured), proto::Latency { total_ns: 11, buckets: vec![1, 0, 2] });
    }

    #[test]
    fn every_reason_is_told_also_with_nothing() {
        let mut known = Account { seen: 4, emitted: 1, ..Account::default() };
        known.filtered.add(FilterReason::Policy, 1);
        known.lost.add(LossReason::Ring, 2);
        let told = account(&known);
        assert_eq!((told.filtered.len(), told.lost.len()), (FilterReason::ALL.len(), LossReason::ALL.len()));
        assert_eq!((told.filtered["policy"], told.lost["ring"], told.lost["output"], told.balanced), (1, 2, 0, true));
    }
}
