//! Policies that somebody wants to know the cost of: counted for some seconds beside those in force, one trial at a time.
//!
//! A trial is its asker's: it is over when the asker is gone, after its time, when its hooks are not there in time, and with the
//! agent. What it had the kernel count stays in the table of the containers, as all counts do.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use kubeward_bpf::maps::MapError;
use kubeward_bpf::object::Engine;
use kubeward_bpf::probe::Report;
use kubeward_core::container::ContainerSlot;
use kubeward_core::cost::Prices;
use kubeward_core::event::Probe;
use kubeward_core::policy::{CheckedPolicy, PolicySet};
use kubeward_core::table::CallTable;
use tokio::time::{sleep_until, Instant};

use super::policies::Policies;
use crate::control::{Applier, Plan};
use crate::pipeline::{Commands, Lines};
use crate::plan::{Measured, Raw};
use crate::registry::Registry;
use crate::serve::{proto, TrialAsked, TrialRefused, TrialStep};

/// In which the hooks must be there. With hooks on functions the raw tracepoint serves until they are, so that this is long.
const HOOKED_WITHIN: Duration = Duration::from_secs(10);

/// What is to be done about the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Whoever asked is gone.
    Left,
    /// Its time is over, or that of its hooks.
    Due,
}

/// The trial that goes on, if one does.
pub(super) struct Trials {
    engine: Arc<Engine>,
    measuring: Measuring,
    running: Option<Trial>,
}

/// How the agent would emit and write the events of policies.
pub(super) struct Measuring {
    pub(super) emits_setup: bool,
    pub(super) lines: Box<dyn Fn() -> Lines + Send + Sync>,
}

struct Trial {
    asked: TrialAsked,
    /// As written, and as the kernel side counts them.
    written: Arc<PolicySet>,
    counted: Arc<PolicySet>,
    raw_before: Raw,
    until: Instant,
    /// Absent until all is hooked.
    start: Option<Start>,
}

/// The moment from which on is counted.
struct Start {
    at: Instant,
    calls: CallTable,
    uncounted: BTreeMap<ContainerSlot, u64>,
}

impl Trials {
    pub(super) fn new(engine: Arc<Engine>, measuring: Measuring) -> Self {
        Self { engine, measuring, running: None }
    }

    /// Begins one, or says why not.
    pub(super) fn begin(
        &mut self,
        asked: TrialAsked,
        policies: &mut Policies,
        applier: &mut Applier,
        registry: &Registry,
        commands: &Commands,
    ) {
        if let Some(running) = &self.running {
            let left = running.left();
            asked.tell(Err(TrialRefused::Busy { left }));
            return;
        }
        let all = |change: fn(&mut CheckedPolicy)| {
            let mut policies = asked.policies.clone();
            policies.iter_mut().for_each(change);
            Arc::new(PolicySet::new(policies).0)
        };
        let written = all(|policy| policy.suspend = false);
        let counted = all(|policy| {
            policy.suspend = false;
            policy.count_only();
        });
        tracing::info!("a trial of policies {} begins, for {} ms", names(&written), asked.time.as_millis());
        let (raw_before, until) = (raw(policies.all_hooks(), applier.plan()), Instant::now() + HOOKED_WITHIN);
        policies.try_out(counted.clone(), applier, registry, commands);
        self.running = Some(Trial { asked, written, counted, raw_before, until, start: None });
    }

    /// What comes next. May be dropped and called again.
    pub(super) async fn next(&self) -> Turn {
        let Some(trial) = &self.running else { return pending().await };
        tokio::select! {
            () = trial.asked.reply.closed() => Turn::Left,
            () = sleep_until(trial.until) => Turn::Due,
        }
    }

    /// Counting begins once everything is hooked; what cannot be hooked ends the trial.
    pub(super) fn look(
        &mut self,
        policies: &mut Policies,
        applier: &mut Applier,
        registry: &Registry,
        commands: &Commands,
    ) {
        let Some(trial) = self.running.as_mut().filter(|trial| trial.start.is_none()) else { return };
        if let Some(failure) = policies.trial_failure() {
            trial.asked.tell(Err(TrialRefused::Failed(format!("these policies could not be counted: {failure}"))));
            self.end(Turn::Left, policies, applier, registry, commands);
        } else if Arc::ptr_eq(&applier.plan().trial, &trial.counted) {
            match start(&self.engine, applier.plan()) {
                Ok(start) => {
                    trial.until = start.at + trial.asked.time;
                    trial.start = Some(start);
                    trial.asked.tell(Ok(TrialStep::Counting { containers: applier.plan().tried().len() }));
                }
                Err(error) => {
                    trial.asked.tell(Err(TrialRefused::Failed(error.to_string())));
                    self.end(Turn::Left, policies, applier, registry, commands);
                }
            }
        }
    }

    /// Takes the trial out of the kernel. Gives what it has measured where its time is over.
    pub(super) fn end(
        &mut self,
        turn: Turn,
        policies: &mut Policies,
        applier: &mut Applier,
        registry: &Registry,
        commands: &Commands,
    ) {
        let Some(trial) = self.running.take() else { return };
        let reply = match (&trial.start, turn) {
            (_, Turn::Left) => None,
            (None, Turn::Due) => Some(Err(TrialRefused::Failed(format!(
                "the hooks of these policies were not there within {} s; kubeward health and the agent's log say more",
                HOOKED_WITHIN.as_secs()
            )))),
            (Some(start), Turn::Due) => Some(
                self.measured(&trial, start, policies, applier.plan(), registry)
                    .map(|measured| TrialStep::Counted(Box::new(measured)))
                    .map_err(|error| TrialRefused::Failed(error.to_string())),
            ),
        };
        tracing::info!("the trial of policies {} is over", names(&trial.written));
        policies.try_out(Arc::default(), applier, registry, commands);
        reply.into_iter().for_each(|reply| trial.asked.tell(reply));
    }

    fn measured(
        &self,
        trial: &Trial,
        start: &Start,
        policies: &Policies,
        plan: &Plan,
        registry: &Registry,
    ) -> Result<Measured, MapError> {
        let engine = &self.engine;
        let calls = engine.maps().call_table()?.since(&start.calls);
        let window = start.at.elapsed();
        let before = |slot| start.uncounted.get(&slot).copied().unwrap_or_default();
        let uncounted = plan.tried().keys().map(|&slot| uncounted(engine, slot).saturating_sub(before(slot))).sum();
        let hooks = policies.all_hooks();
        let is_named = |nr: u16| trial.written.policies().iter().any(|policy| !policy.calls[nr].is_none());
        let unhooked = hooks.refused.iter().filter(|refused| is_named(refused.nr));
        let example = registry.iter().find(|(_, entry)| plan.tried().contains_key(&entry.slot));
        Ok(Measured {
            written: trial.written.clone(),
            in_force: plan.set.clone(),
            tried: plan.tried().clone(),
            left_out: plan.left_out(),
            calls,
            window,
            uncounted,
            raw_before: trial.raw_before,
            raw: raw(hooks, plan),
            unhooked: unhooked.map(|refused| (refused.nr, refused.reason.clone())).collect(),
            prices: Prices::BENCHED,
            lines: (self.measuring.lines)(),
            example: example.map(|(_, entry)| entry.container.clone()),
            emits_setup: self.measuring.emits_setup,
            others: registry.iter().map(|(_, entry)| entry.container.clone()).collect(),
        })
    }

    /// As `ListPolicies` tells them.
    pub(super) fn policies(&self, plan: &Plan, registry: &Registry) -> Vec<proto::Policy> {
        let Some(trial) = &self.running else { return Vec::new() };
        let message = format!(
            "tried by kubeward policy plan for {:.0} s more: its calls are counted, and make no events",
            trial.left().as_secs_f64()
        );
        let told = trial.written.policies().iter().enumerate().map(|(place, policy)| {
            let selects = |slot| plan.tried().get(&slot).is_some_and(|tried| tried.by_trial.contains(place));
            let watched = registry.iter().filter(|(_, entry)| selects(entry.slot));
            proto::Policy {
                reason: "Trial".to_owned(),
                message: message.clone(),
                containers: watched.map(|(_, entry)| entry.container.id.0.clone()).collect(),
                ..crate::serve::policy_message(policy)
            }
        });
        told.collect()
    }
}

impl Trial {
    fn left(&self) -> Duration {
        let to_come = if self.start.is_none() { self.asked.time } else { Duration::ZERO };
        self.until.saturating_duration_since(Instant::now()) + to_come
    }
}

fn start(engine: &Engine, plan: &Plan) -> Result<Start, MapError> {
    let calls = engine.maps().call_table()?;
    let uncounted = plan.tried().keys().map(|&slot| (slot, uncounted(engine, slot)));
    Ok(Start { at: Instant::now(), calls, uncounted: uncounted.collect() })
}

/// Calls of the container that the table had no room for.
fn uncounted(engine: &Engine, slot: ContainerSlot) -> u64 {
    engine.maps().account(slot).map_or(0, |account| account.untabled)
}

/// Which raw tracepoints these hooks are.
fn raw(hooks: &Report, plan: &Plan) -> Raw {
    let is_raw = |probe| matches!(probe, Probe::TpBtf | Probe::Tracepoint);
    let served = hooks.attached.iter().filter(|hook| is_raw(hook.probe));
    let watches_entry = |nr: u16| plan.hooks[usize::from(nr)] & kubeward_bpf::wire::HOOK_ENTER != 0;
    served.map(|hook| if watches_entry(hook.nr) { Raw::EnterAndExit } else { Raw::Exit }).max().unwrap_or_default()
}

fn names(set: &PolicySet) -> String {
    let names: Vec<&str> = set.policies().iter().map(|policy| &*policy.name).collect();
    names.join(", ")
}
