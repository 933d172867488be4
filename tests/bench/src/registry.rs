//! Every group of rows, and how it is run. A new group is one line in [`GROUPS`].

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::excuse::{Excuse, WhyNot};
use crate::product::{events, memory, sustained, throughput};
use crate::row::{Measured, Row, Spec};
use crate::{judge, kernel, peers, vm};

/// [`Bench::only`] that leaves nothing out.
pub const EVERYTHING: &str = "*";

/// How much is to be measured.
#[derive(Debug, Clone)]
pub struct Bench {
    /// Rounds of interleaved samples.
    pub rounds: usize,
    /// Small loads and one round: does it all still run? Its figures mean nothing.
    pub is_once: bool,
    /// Names of rows, with `*` for anything.
    pub only: String,
}

impl Bench {
    pub fn wants(&self, name: &str) -> bool {
        matches(&self.only, name)
    }
}

/// Rows that are measured together. What `run` gives no figure for was not run; an error is why.
pub struct Group {
    pub name: &'static str,
    pub needs_root: bool,
    pub rows: fn() -> Vec<Spec>,
    /// The figures, and why others have none: by name of the row.
    pub run: fn(&Bench) -> Result<Findings>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    pub measured: Vec<Measured>,
    /// Name of a row, and why it has no figure.
    pub not_run: Vec<(String, WhyNot)>,
}

pub const GROUPS: &[Group] = &[
    Group { name: "kernel", needs_root: true, rows: kernel::rows, run: kernel::run },
    Group { name: "events", needs_root: true, rows: events::rows, run: events::run },
    Group { name: "sustained", needs_root: true, rows: sustained::rows, run: sustained::run },
    Group { name: "throughput", needs_root: true, rows: throughput::rows, run: throughput::run },
    Group { name: "memory", needs_root: true, rows: memory::rows, run: memory::run },
    Group { name: "policies", needs_root: false, rows: judge::rows, run: judge::run },
    Group { name: "peers", needs_root: true, rows: peers::rows, run: peers::run },
    Group { name: "vm", needs_root: true, rows: vm::rows, run: vm::run },
];

/// Every row that there is to measure.
pub fn all_rows() -> Vec<Spec> {
    GROUPS.iter().flat_map(|group| (group.rows)()).collect()
}

/// Runs the groups of which some row is wanted. `told` hears which is about to run.
pub fn run(bench: &Bench, groups: &[Group], mut told: impl FnMut(&str)) -> Vec<Row> {
    let mut rows = Vec::new();
    for group in groups {
        let wanted: Vec<Spec> = (group.rows)().into_iter().filter(|spec| bench.wants(&spec.name)).collect();
        if wanted.is_empty() {
            continue;
        }
        told(group.name);
        let ran = if group.needs_root && !nix::unistd::geteuid().is_root() {
            Err(Excuse::NeedsRoot.error("needs root"))
        } else {
            (group.run)(bench)
        };
        let (findings, default_reason) = match ran {
            Ok(findings) => (findings, WhyNot::failed("its group measured nothing for it")),
            Err(error) => (Findings::default(), error.into()),
        };
        let mut measured: BTreeMap<String, Measured> =
            findings.measured.into_iter().map(|measured| (measured.name.clone(), measured)).collect();
        let reasons: BTreeMap<String, WhyNot> = findings.not_run.into_iter().collect();
        rows.extend(wanted.into_iter().map(|spec| match measured.remove(&spec.name) {
            Some(measured) => Row::measured(spec, measured),
            None => {
                let why = reasons.get(&spec.name).unwrap_or(&default_reason).clone();
                Row::not_run(spec, why)
            }
        }));
    }
    rows
}

/// `*` stands for any characters, none too.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(left) = name.strip_prefix(start) else { return false };
    (0..=left.len()).filter(|&skipped| left.is_char_boundary(skipped)).any(|skipped| matches(rest, &left[skipped..]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use anyhow::bail;

    use super::*;
    use crate::measure::Spread;
    use crate::row::Outcome;

    fn spec(name: &str) -> Spec {
        Spec { name: name.into(), what: "w".into(), against: "a".into(), unit: "ns".into(), goal: None }
    }

    fn bench(only: &str) -> Bench {
        Bench { rounds: 1, is_once: true, only: only.into() }
    }

    #[test]
    fn star_stands_for_anything() {
        assert!(matches("*", "kernel/record/read"));
        assert!(matches("kernel/*/read", "kernel/record/read"));
        assert!(matches("*read", "kernel/record/read"));
        assert!(!matches("kernel/*/read", "kernel/record/getppid"));
        assert!(!matches("kernel", "kernel/record"));
    }

    fn no_perf() -> WhyNot {
        WhyNot::excused(Excuse::NoSuchTool, "no perf")
    }

    #[test]
    fn row_without_a_figure_is_not_run_and_says_why() {
        let groups = [
            Group {
                name: "half",
                needs_root: false,
                rows: || vec![spec("half/a"), spec("half/b")],
                run: |_| {
                    let one = Spread::exactly(1.0);
                    let measured = vec![Measured::figure("half/a", one)];
                    Ok(Findings { measured, not_run: vec![("half/b".into(), no_perf())] })
                },
            },
            Group { name: "broken", needs_root: false, rows: || vec![spec("broken/a")], run: |_| bail!("no root") },
        ];
        let rows = run(&bench("*"), &groups, |_| ());
        let told: Vec<_> = rows.iter().map(|row| (row.spec.name.as_str(), row.outcome, row.why.clone())).collect();
        let expected = [
            ("half/a", Outcome::Measured, None),
            ("half/b", Outcome::NotRun, Some(no_perf())),
            ("broken/a", Outcome::NotRun, Some(WhyNot::failed("no root"))),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn group_of_which_no_row_is_wanted_does_not_run() {
        let groups = [Group {
            name: "a",
            needs_root: false,
            rows: || vec![spec("a/a")],
            run: |_| unreachable!("it is not wanted"),
        }];
        assert_eq!(run(&bench("b/*"), &groups, |name| panic!("{name} runs")), []);
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let rows = all_rows();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), rows.len());
    }
}
