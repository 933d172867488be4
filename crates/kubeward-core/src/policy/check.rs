//! From a policy as written to what it wants of this kernel: names become numbers, what cannot be is refused.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::fault::{Fault, Problem, Source};
use super::filter::{ErrnoSet, Filter, PathPrefix};
use super::labels::LabelSelector;
use super::model::{FilterSpec, Limits, Mode, Policy, Spec};
use super::selector::Selector;
use super::want::{CallWant, CallWants};
use super::warning::{self, Warning};
use crate::syscall::{self, CallSet, EntryRule, Syscall, UnknownCall};

/// A policy that can be applied.
#[derive(Debug, Clone)]
pub struct CheckedPolicy {
    pub source: Source,
    pub name: Arc<str>,
    /// The moments wanted of each call, [`CallWant::REFUSED`] with them where asked for.
    pub calls: CallWants,
    pub selector: Selector,
    /// [`Mode::Count`]: its calls are counted in the exact table, and none makes an event for it. Filter, limits, coalesce and capture
    /// are then those of a policy that has none.
    pub mode: Mode,
    pub filter: Filter,
    /// `None`: no limit.
    pub limits: Option<Limits>,
    /// Identical calls of a thread in a row may be one event, where all policies that want them say so.
    pub coalesce: bool,
    pub arg_bytes: u32,
    pub argv_bytes: u32,
    /// Accepted, but wants nothing for now.
    pub suspend: bool,
    /// Which nodes; `None` and an empty one are every node.
    pub node_selector: Option<LabelSelector>,
    /// How long after `created` it ends.
    pub expire_after: Option<Duration>,
    /// When the object was made, or the file last changed. Whoever reads the policy says so: its text does not.
    pub created: Option<SystemTime>,
    /// Entries that are left out, the rest applies.
    pub refusals: Vec<Refusal>,
    /// What is accepted and may still not be what its author meant.
    pub warnings: Vec<Warning>,
}

/// One entry of a policy that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Path of the entry: `spec.kprobe[2]`.
    pub field: String,
    /// The name as written.
    pub name: String,
    pub reason: RefusalReason,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)?;
        match self.reason {
            RefusalReason::Unknown(_) => Ok(()),
            _ => write!(f, " ({:?})", self.name),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RefusalReason {
    #[error(transparent)]
    Unknown(#[from] UnknownCall),
    #[error("the call never returns, so spec.filter.{filter} can never let it through")]
    NeverReturns { filter: &'static str },
    #[error("spec.filter.errors needs the call's return; name it under kretprobe or syscalls too")]
    EntryHasNoError,
}

/// Features of the document that this version does not have, refused by name so that nobody believes in them.
fn absent_features(spec: &Spec) -> Vec<(&'static str, Problem)> {
    let absent = |field, feature, remedy| (field, Problem::NotInThisBuild { feature, remedy });
    let mut found = Vec::new();
    if spec.capture.data_bytes > 0 {
        found.push(absent("spec.capture.dataBytes", "capture.dataBytes", "set it to 0 or remove it"));
    }
    if !spec.capture.env.is_empty() {
        found.push(absent("spec.capture.env", "capture.env", "set it to [] or remove it"));
    }
    found
}

/// Judges a policy by this build's catalogue. Unknown names are left out and listed; features that are not there
/// refuse the whole policy.
pub fn check(policy: Policy) -> Result<CheckedPolicy, Vec<Fault>> {
    let Policy { source, name, spec } = policy;
    let faults: Vec<Fault> = absent_features(&spec)
        .into_iter()
        .map(|(field, problem)| Fault { source: source.clone(), line: None, field: field.to_owned(), problem })
        .collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let (calls, refusals, named) = calls(&spec);
    let mut warnings = warning::named_twice(&named);
    warnings.extend(warning::about(&spec, &calls, &named));
    let mut policy = CheckedPolicy {
        source,
        name: name.into(),
        calls,
        selector: spec.selector,
        mode: Mode::Events,
        filter: filter(&spec.filter),
        limits: spec.limits,
        coalesce: spec.coalesce,
        arg_bytes: spec.capture.arg_bytes,
        argv_bytes: spec.capture.argv_bytes,
        suspend: spec.suspend,
        node_selector: spec.node_selector,
        expire_after: spec.expire_after,
        created: None,
        refusals,
        warnings,
    };
    if spec.mode == Mode::Count {
        policy.count_only();
    }
    Ok(policy)
}

/// An entry whose name the catalogue knows.
pub(super) struct Named {
    pub list: &'static str,
    pub index: usize,
    pub written: String,
    pub call: &'static Syscall,
}

impl Named {
    pub(super) fn field(&self) -> String {
        format!("spec.{}[{}]", self.list, self.index)
    }
}

fn calls(spec: &Spec) -> (CallWants, Vec<Refusal>, Vec<Named>) {
    let mut refusals = Vec::new();
    let mut named = Vec::new();
    let mut calls = CallWants::default();
    let lists = [
        ("kprobe", &spec.kprobe, CallWant::ENTER),
        ("kretprobe", &spec.kretprobe, CallWant::EXIT),
        ("syscalls", &spec.syscalls, CallWant::EXIT),
    ];
    for (list, names, want) in lists {
        let resolved = resolve(list, names, &mut refusals);
        resolved.iter().for_each(|entry| calls[entry.call] |= want);
        named.extend(resolved);
    }
    for category in &spec.categories {
        syscall::in_category(*category).for_each(|call| calls[call] |= CallWant::EXIT);
    }
    for entry in resolve("exclude", &spec.exclude, &mut refusals) {
        calls[entry.call] = CallWant::NONE;
    }
    match spec.mode {
        Mode::Events => {
            let timing = spec.timing || spec.filter.min_duration.is_some();
            shape(&mut calls, timing || spec.refused, spec.refused);
            refuse_what_never_passes(spec, &mut calls, &named, &mut refusals);
        }
        Mode::Count => shape(&mut calls, spec.timing, spec.refused),
    }
    (calls, refusals, named)
}

fn resolve(list: &'static str, names: &[String], refusals: &mut Vec<Refusal>) -> Vec<Named> {
    let mut named = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match syscall::resolve(name) {
            Ok(call) => named.push(Named { list, index, written: name.clone(), call }),
            Err(unknown) => refusals.push(Refusal {
                field: format!("spec.{list}[{index}].name"),
                name: name.clone(),
                reason: RefusalReason::Unknown(unknown),
            }),
        }
    }
    named
}

/// Gives every wanted call its final moments: `both`, also where a return alone would not say which call it was of or with
/// which arguments; the entry alone where there is no return. An event is of a refusal only if both moments are watched.
fn shape(calls: &mut CallWants, both: bool, refused: bool) {
    let wanted: Vec<u16> = calls.iter().map(|(nr, _)| nr).collect();
    for nr in wanted {
        match entry_rule(nr) {
            EntryRule::NeverReturns => calls[nr] = CallWant::ENTER,
            EntryRule::Always => calls[nr] |= CallWant::CALL,
            EntryRule::WhenAsked if both => calls[nr] |= CallWant::CALL,
            EntryRule::WhenAsked => (),
        }
        if refused {
            calls[nr] |= CallWant::REFUSED;
        }
    }
}

/// Takes away calls of which no event could pass the filter; those that were named are refused aloud, while those
/// that came with a category never were meant.
fn refuse_what_never_passes(spec: &Spec, calls: &mut CallWants, named: &[Named], refusals: &mut Vec<Refusal>) {
    let filter = match (&spec.filter.errors[..], spec.filter.min_duration) {
        ([], None) => return,
        ([], Some(_)) => "minDuration",
        _ => "errors",
    };
    let entry_only: Vec<u16> =
        calls.iter().filter(|(_, want)| want.moments() == CallWant::ENTER).map(|(nr, _)| nr).collect();
    for nr in entry_only {
        calls[nr] = CallWant::NONE;
        let reason = match entry_rule(nr) {
            EntryRule::NeverReturns => RefusalReason::NeverReturns { filter },
            _ => RefusalReason::EntryHasNoError,
        };
        for entry in named.iter().filter(|entry| entry.call.nr == nr) {
            let (field, name) = (entry.field(), entry.written.clone());
            refusals.push(Refusal { field, name, reason: reason.clone() });
        }
    }
}

fn filter(spec: &FilterSpec) -> Filter {
    let mut errors = ErrnoSet::default();
    spec.errors.iter().filter_map(|name| syscall::errno_by_name(name)).for_each(|errno| errors.insert(errno));
    Filter {
        errors: (!spec.errors.is_empty()).then_some(errors),
        min_duration_ns: spec.min_duration.map(|least| u64::try_from(least.as_nanos()).unwrap_or(u64::MAX)),
        path_prefixes: spec.path_prefix.iter().map(|path| PathPrefix::new(path)).collect(),
    }
}

fn entry_rule(nr: u16) -> EntryRule {
    syscall::by_nr(nr.into()).map_or(EntryRule::WhenAsked, |call| call.entry_rule())
}

impl CheckedPolicy {
    /// The policy of `-e SET`: named `-e`, which no document can be; one record at the return of each call.
    pub fn of_calls(set: &CallSet) -> CheckedPolicy {
        let mut calls = CallWants::default();
        set.iter().for_each(|call| calls[call] = CallWant::EXIT);
        shape(&mut calls, false, false);
        let capture = super::model::Capture::default();
        CheckedPolicy {
            source: Source { file: "command line".into(), document: None },
            name: "-e".into(),
            calls,
            selector: Selector::default(),
            mode: Mode::Events,
            filter: Filter::default(),
            limits: None,
            coalesce: false,
            arg_bytes: capture.arg_bytes,
            argv_bytes: capture.argv_bytes,
            suspend: false,
            node_selector: None,
            expire_after: None,
            created: None,
            refusals: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Whether its calls make events, rather than being counted only.
    pub fn wants_events(&self) -> bool {
        self.mode == Mode::Events
    }

    /// As `mode: Count`. A call's result is known at its return, so that is the moment that counts; its entry is watched where
    /// both moments are wanted, or where there is no return.
    pub fn count_only(&mut self) {
        (self.mode, self.filter, self.limits, self.coalesce) = (Mode::Count, Filter::default(), None, false);
        (self.arg_bytes, self.argv_bytes) = (0, 0);
        let at_entry: Vec<u16> =
            self.calls.iter().filter(|(_, want)| want.moments() == CallWant::ENTER).map(|(nr, _)| nr).collect();
        for nr in at_entry.into_iter().filter(|nr| entry_rule(*nr) != EntryRule::NeverReturns) {
            let refused = if self.calls[nr].contains(CallWant::REFUSED) { CallWant::REFUSED } else { CallWant::NONE };
            self.calls[nr] = CallWant::EXIT | refused;
        }
    }

    /// As `timing: true`: entry and return in one record, for every call that returns. `trace` does this to each of
    /// its policies.
    pub fn record_whole_calls(&mut self) {
        let refused = self.calls.iter().any(|(_, want)| want.contains(CallWant::REFUSED));
        shape(&mut self.calls, true, refused);
    }
}
