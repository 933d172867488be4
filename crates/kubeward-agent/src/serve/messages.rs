//! What the agent's parts know, as messages of the API. Pure.

use std::collections::BTreeSet;

use kubeward_core::container::Container;
use kubeward_core::event::Abi;
use kubeward_core::ledger::{Account, FilterReason, LossReason};
use kubeward_core::policy::CheckedPolicy;
use kubeward_core::render::call_name;
use kubeward_core::syscall::{by_nr, errno_name};
use kubeward_core::table::{CallResult, CallStats, CallTable, Latency};

use super::proto;
use super::proto::result_count::Result as Outcome;
use crate::pipeline::{Accounts, TableNow};

pub(super) fn ledger(accounts: Accounts) -> proto::GetLedgerResponse {
    let Accounts { mut containers, node, doubts } = accounts;
    containers.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    let of_container = |(container, account): &(std::sync::Arc<Container>, Account)| proto::ContainerAccount {
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

/// The calls of these containers, by full id; of all when none is named.
pub(super) fn stats(table: TableNow, containers: &[String]) -> proto::GetStatsResponse {
    let wanted: BTreeSet<&str> = containers.iter().map(String::as_str).collect();
    let is_wanted = |container: &Container| wanted.is_empty() || wanted.contains(&*container.id.0);
    let TableNow { mut calls, used, overflow } = table;
    calls.retain(|(container, _)| is_wanted(container));
    calls.sort_by(|(a, call_a), (b, call_b)| {
        let order = |stats: &CallStats| (stats.call.abi == Abi::Compat, stats.call.nr);
        a.id.cmp(&b.id).then_with(|| order(call_a).cmp(&order(call_b)))
    });
    proto::GetStatsResponse {
        calls: calls.iter().map(|(container, stats)| call_stats(container, stats)).collect(),
        results_used: used as u64,
        results_room: CallTable::ROOM as u64,
        overflow,
    }
}

fn call_stats(container: &Container, stats: &CallStats) -> proto::CallStats {
    proto::CallStats {
        container: container.id.0.clone(),
        call: call_name(&stats.call),
        nr: stats.call.nr,
        compat: stats.call.abi == Abi::Compat,
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

fn container_name(container: &Container) -> proto::ContainerName {
    let pod = container.pod.as_ref();
    proto::ContainerName {
        id: container.id.0.clone(),
        name: container.name.clone(),
        pod_namespace: pod.map(|pod| pod.namespace.clone()),
        pod: pod.map(|pod| pod.name.clone()),
    }
}
