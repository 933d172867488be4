//! Whether a report is whole: each row that there is, once, with a figure or a reason that excuses it.

use std::collections::BTreeSet;

use crate::report::Report;
use crate::row::{Outcome, Row, Spec};

/// What a check found, by lines for people that begin with the row's name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub passed: usize,
    pub excused: Vec<String>,
    pub faults: Vec<String>,
}

/// Holds the report against the rows that it is to have.
pub fn check(report: &Report, specs: &[Spec]) -> Checked {
    let mut checked = Checked::default();
    for Spec { name, .. } in specs {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.spec.name == *name).collect();
        match rows[..] {
            [] => checked.faults.push(format!("{name}: the report has no such row")),
            [row] => checked.row(row, report.is_once),
            _ => checked.faults.push(format!("{name}: the report has it {} times", rows.len())),
        }
    }
    let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let unknown = report.rows.iter().filter(|row| !known.contains(row.spec.name.as_str()));
    checked.faults.extend(unknown.map(|row| format!("{}: there is no such row to measure", row.spec.name)));
    checked
}

impl Checked {
    fn row(&mut self, row: &Row, is_once: bool) {
        let name = &row.spec.name;
        match (&row.why, row.figure) {
            (None, Some(_)) if row.outcome != Outcome::NotRun => self.passed += 1,
            (Some(why), None) if row.outcome == Outcome::NotRun => {
                if why.excuse.is_some_and(|excuse| excuse.holds(is_once)) {
                    self.excused.push(format!("{name} ({})", why.why));
                } else {
                    self.faults.push(format!("{name}: {}", why.why));
                }
            }
            (None, None) => self.faults.push(format!("{name}: it has neither a figure nor a reason")),
            _ => self.faults.push(format!("{name}: its outcome, figure and reason contradict each other")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::excuse::{Excuse, WhyNot};
    use crate::measure::Spread;
    use crate::row::Measured;

    fn spec(name: &str) -> Spec {
        Spec { name: name.into(), what: "w".into(), against: "-".into(), unit: "ns".into(), goal: None }
    }

    fn measured(name: &str) -> Row {
        Row::measured(spec(name), Measured::figure(name, Spread::exactly(1.0)))
    }

    fn not_run(name: &str, why: WhyNot) -> Row {
        Row::not_run(spec(name), why)
    }

    fn report(rows: Vec<Row>, is_once: bool) -> Report {
        let text = String::new;
        Report {
            version: 1,
            date: text(),
            kernel: text(),
            machine: text(),
            cpus: 2,
            command: text(),
            rounds: 1,
            is_once,
            rows,
        }
    }

    fn faults(rows: Vec<Row>, is_once: bool) -> Vec<String> {
        check(&report(rows, is_once), &[spec("a"), spec("b")]).faults
    }

    #[test]
    fn row_that_is_missing_twice_there_or_unknown_fails_by_name() {
        assert_eq!(faults(vec![measured("a"), measured("b")], true), [""; 0]);
        assert_eq!(faults(vec![measured("b")], true), ["a: the report has no such row"]);
        assert_eq!(faults(vec![measured("a"), measured("b"), measured("b")], true), ["b: the report has it 2 times"]);
        let unknown = vec![measured("a"), measured("b"), measured("c")];
        assert_eq!(faults(unknown, true), ["c: there is no such row to measure"]);
    }

    #[test]
    fn failure_is_no_excuse_and_each_excuse_is() {
        let failed = not_run("b", WhyNot::failed("the agent did not start"));
        assert_eq!(faults(vec![measured("a"), failed], true), ["b: the agent did not start"]);
        for excuse in [Excuse::NeedsRoot, Excuse::NoSuchHook, Excuse::NoSuchTool] {
            for is_once in [true, false] {
                let rows = vec![measured("a"), not_run("b", WhyNot::excused(excuse, "so it is"))];
                let checked = check(&report(rows, is_once), &[spec("a"), spec("b")]);
                let expected = Checked { passed: 1, excused: vec!["b (so it is)".into()], faults: Vec::new() };
                assert_eq!(checked, expected);
            }
        }
    }

    #[test]
    fn what_one_round_leaves_out_fails_in_a_run_that_measures() {
        let rows = || vec![measured("a"), not_run("b", WhyNot::excused(Excuse::OneRound, "too short"))];
        assert_eq!(faults(rows(), true), [""; 0]);
        assert_eq!(faults(rows(), false), ["b: too short"]);
    }

    #[test]
    fn row_without_figure_and_reason_or_with_both_fails() {
        let (mut silent, mut both) = (measured("a"), measured("b"));
        silent.figure = None;
        both.why = Some(WhyNot::excused(Excuse::NeedsRoot, "needs root"));
        let expected =
            ["a: it has neither a figure nor a reason", "b: its outcome, figure and reason contradict each other"];
        assert_eq!(faults(vec![silent, both], true), expected);
    }
}
