//! Answers to what the local API asks: from what the main task owns, or passed on to the pipeline.

use std::collections::BTreeMap;

use kubeward_core::container::ContainerSlot;
use kubeward_core::policy::Selected;

use super::containers::Containers;
use super::policies::Policies;
use super::status::{in_force, Hooks};
use super::trials::Trials;
use crate::control::{Applier, LeftOut, Plan};
use crate::kubernetes::crd::PolicyReason;
use crate::pipeline::{Command, Commands};
use crate::serve::{container_message, policy_message, proto, Question};

/// Answers, or sees to it that the pipeline does. Who asked may have gone: then nobody hears it.
pub(super) fn answer(
    question: Question,
    containers: &Containers,
    policies: &mut Policies,
    trials: &mut Trials,
    applier: &mut Applier,
    commands: &Commands,
) {
    match question {
        Question::Ledger(reply) => {
            commands.send(Command::GiveAccounts { doubts: applier.doubts(), reply });
        }
        Question::Stats(reply) => {
            commands.send(Command::GiveTable { reply });
        }
        Question::Policies(reply) => {
            let mut list = list_policies(containers, policies, applier.plan());
            list.extend(trials.policies(applier.plan(), containers.registry()));
            list.sort_by(|a, b| a.name.cmp(&b.name));
            let _ = reply.send(list);
        }
        Question::Containers(reply) => {
            let _ = reply.send(list_containers(containers, applier.plan()));
        }
        Question::Trial(asked) => trials.begin(asked, policies, applier, containers.registry(), commands),
    }
}

/// Those that were chosen, and the cluster's that were left out, in order of names.
fn list_policies(containers: &Containers, policies: &Policies, plan: &Plan) -> Vec<proto::Policy> {
    let (choice, outcome) = (policies.choice(), policies.outcome());
    let hooks = Hooks::new(&outcome.hooks);
    let mut watched = watched_by(containers, plan);
    let mut list: BTreeMap<String, proto::Policy> = BTreeMap::new();
    for policy in choice.set.policies() {
        let (reason, message) = match &outcome.failure {
            _ if outcome.is_in_force => in_force(policy, &hooks),
            Some(failure) => (PolicyReason::ApplyFailed, failure.clone()),
            None => (PolicyReason::Applying, String::new()),
        };
        let told = proto::Policy {
            in_force: outcome.is_in_force,
            reason: word(reason),
            message,
            containers: watched.remove(&*policy.name).unwrap_or_default(),
            ..policy_message(policy)
        };
        list.insert(told.name.clone(), told);
    }
    for (name, LeftOut { reason, message }) in &choice.left_out {
        let object = choice.judged.get(name).and_then(|object| object.policy());
        let as_read = || object.map(policy_message).unwrap_or_default();
        let told = list.entry(name.to_string()).or_insert_with(as_read);
        (told.name, told.reason, told.message) = (name.to_string(), word(*reason), message.clone());
    }
    list.into_values().collect()
}

/// As it stands in a status: serde and Debug both write the variant's name.
fn word(reason: PolicyReason) -> String {
    format!("{reason:?}")
}

/// Ids of containers by the name of a policy in force.
fn watched_by(containers: &Containers, plan: &Plan) -> BTreeMap<String, Vec<String>> {
    let selected = selected_by_slot(plan);
    let mut watched: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, entry) in containers.registry().iter() {
        for name in names(plan, selected.get(&entry.slot)) {
            watched.entry(name).or_default().push(entry.container.id.0.clone());
        }
    }
    watched
}

fn list_containers(containers: &Containers, plan: &Plan) -> Vec<proto::Container> {
    let selected = selected_by_slot(plan);
    // By instances, so in order of ids.
    let entries = containers.registry().iter().map(|(_, entry)| entry);
    let messages = entries.map(|entry| {
        let stage = match containers.is_running(entry.slot) {
            Some(true) => proto::Stage::Run,
            Some(false) => proto::Stage::Setup,
            None => proto::Stage::Unspecified,
        };
        container_message(&entry.container, stage, names(plan, selected.get(&entry.slot)))
    });
    messages.collect()
}

fn selected_by_slot(plan: &Plan) -> BTreeMap<ContainerSlot, Selected> {
    plan.selected().into_iter().collect()
}

fn names(plan: &Plan, selected: Option<&Selected>) -> Vec<String> {
    let places = selected.into_iter().flat_map(Selected::iter);
    places.filter_map(|place| plan.set.policies().get(place)).map(|policy| policy.name.to_string()).collect()
}
