//! What a set of policies comes to, for people: `kubeward policy check`.

use std::fmt;

use super::duration;
use super::set::PolicySet;
use super::want::{CallWant, CallWants};
use crate::syscall;

/// What the union would attach, and what each policy has to do with it. Its text is for people and may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub policies: Vec<PolicyLine>,
    /// All policies together that are not suspended.
    pub union: Moments,
}

/// One policy of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLine {
    pub name: String,
    /// File and document it is from.
    pub source: String,
    /// Which containers, in words.
    pub selector: String,
    /// Which nodes, in words; absent: every node.
    pub nodes: Option<String>,
    /// When it ends by itself, in words; absent: never.
    pub expires: Option<String>,
    pub suspended: bool,
    /// `mode: Count`.
    pub counts_only: bool,
    /// Identical calls of a thread in a row may be one event.
    pub coalesces: bool,
    pub moments: Moments,
    /// Entries left out, each with the reason.
    pub refused: Vec<String>,
    pub warnings: Vec<String>,
}

/// Names of calls by the record they get.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moments {
    pub enter: Vec<&'static str>,
    pub exit: Vec<&'static str>,
    pub call: Vec<&'static str>,
    /// Those of the above of which no record is made.
    pub counted: Vec<&'static str>,
    /// Some of them also when seccomp refused them.
    pub refused_too: bool,
}

impl PolicySet {
    pub fn describe(&self) -> Description {
        let policies = self.policies().iter().map(|policy| PolicyLine {
            name: policy.name.to_string(),
            source: policy.source.to_string(),
            selector: policy.selector.to_string(),
            nodes: policy.needs_node_labels().then(|| policy.node_selector.iter().map(ToString::to_string).collect()),
            expires: policy.expire_after.map(duration::text),
            suspended: policy.suspend,
            counts_only: !policy.wants_events(),
            coalesces: policy.coalesce && policy.wants_events(),
            moments: Moments::of(&policy.calls),
            refused: policy.refusals.iter().map(ToString::to_string).collect(),
            warnings: policy.warnings.iter().map(ToString::to_string).collect(),
        });
        Description { policies: policies.collect(), union: Moments::of(&self.profile(&self.active()).want) }
    }
}

impl Moments {
    fn of(calls: &CallWants) -> Self {
        let mut moments = Moments::default();
        for (nr, want) in calls.iter() {
            let list = match want.moments() {
                CallWant::ENTER => &mut moments.enter,
                CallWant::EXIT => &mut moments.exit,
                _ => &mut moments.call,
            };
            let name = syscall::by_nr(nr.into()).map(|call| call.name);
            list.extend(name);
            if want.contains(CallWant::COUNT) {
                moments.counted.extend(name);
            }
            moments.refused_too |= want.contains(CallWant::REFUSED);
        }
        moments
    }

    fn rows(&self) -> [(&'static str, &[&'static str]); 3] {
        [("at entry", &self.enter), ("at return", &self.exit), ("from entry to return", &self.call)]
    }

    fn is_empty(&self) -> bool {
        self.rows().iter().all(|(_, names)| names.is_empty())
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for policy in &self.policies {
            write!(f, "{policy}")?;
        }
        if self.union.is_empty() {
            return writeln!(f, "together: nothing attaches");
        }
        writeln!(f, "together:")?;
        write!(f, "{}", self.union)
    }
}

impl fmt::Display for PolicyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suspended = if self.suspended { ", suspended" } else { "" };
        let counts: Vec<String> = self
            .moments
            .rows()
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(moment, names)| format!("{} {moment}", names.len()))
            .collect();
        let counts = if counts.is_empty() { "no calls".to_owned() } else { counts.join(", ") };
        writeln!(f, "policy {} ({}){suspended}", self.name, self.source)?;
        writeln!(f, "  containers: {}", self.selector)?;
        if let Some(nodes) = &self.nodes {
            writeln!(f, "  nodes: {nodes}")?;
        }
        let how = if self.counts_only { ", counted only: they make no events" } else { "" };
        writeln!(f, "  calls: {counts}{how}")?;
        if self.coalesces {
            writeln!(f, "  identical calls in a row: one event, where every policy that wants them asks for it")?;
        }
        if let Some(expires) = &self.expires {
            writeln!(f, "  ends: {expires} after its creation, or its file's last change")?;
        }
        self.refused.iter().try_for_each(|refused| writeln!(f, "  left out: {refused}"))?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "  warning: {warning}"))
    }
}

impl fmt::Display for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (moment, names) in self.rows().into_iter().chain([("of these only counted", &self.counted[..])]) {
            if !names.is_empty() {
                let label = format!("{moment} ({})", names.len());
                write!(f, "{}", Wrapped { label: &label, names })?;
            }
        }
        if self.refused_too {
            writeln!(f, "  also calls that seccomp refused")?;
        }
        Ok(())
    }
}

/// Names after a label, in lines that fit a terminal of 100 columns.
struct Wrapped<'a> {
    label: &'a str,
    names: &'a [&'static str],
}

impl fmt::Display for Wrapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDTH: usize = 100;
        let mut line = format!("  {}:", self.label);
        for name in self.names {
            if line.len() + 1 + name.len() > WIDTH {
                writeln!(f, "{line}")?;
                line = "   ".to_owned();
            }
            line.push(' ');
            line.push_str(name);
        }
        writeln!(f, "{line}")
    }
}
