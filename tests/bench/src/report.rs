//! What a run found: as JSON for whatever compares runs, as a table for people.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::measure::Spread;
use crate::registry::Bench;
use crate::row::most_of_noise;
use crate::row::{Goal, Outcome, Row};

/// One run, with what a reader must know to compare it with another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of this document.
    pub version: u32,
    /// When it was written, UTC.
    pub date: String,
    pub kernel: String,
    pub machine: String,
    pub cpus: usize,
    pub command: String,
    pub rounds: usize,
    /// Small loads: the figures mean nothing.
    pub is_once: bool,
    pub rows: Vec<Row>,
}

impl Report {
    pub fn new(bench: &Bench, command: String, rows: Vec<Row>) -> Result<Self> {
        Ok(Self {
            version: 1,
            date: said_by("date", &["--utc", "+%Y-%m-%d %H:%M"])?,
            kernel: said_by("uname", &["-r"])?,
            machine: said_by("uname", &["-m"])?,
            cpus: std::thread::available_parallelism().context("counting CPUs")?.get(),
            command,
            rounds: bench.rounds,
            is_once: bench.is_once,
            rows,
        })
    }

    /// The table in Markdown, which a terminal shows well enough, too: columns are padded.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{} UTC, Linux {} {}, {} CPUs, {} rounds: `{}`\n",
            self.date, self.kernel, self.machine, self.cpus, self.rounds, self.command
        );
        if self.is_once {
            text.push_str("One round of small loads: the figures mean nothing.\n");
        }
        text.push('\n');
        let header = ["row", "what", "compared with", "figure", "ratio", "spread of it", "goal", "outcome"];
        let mut lines = vec![header.map(str::to_owned)];
        lines.extend(self.rows.iter().map(cells));
        text + &markdown(&lines)
    }
}

/// The first line that a program prints.
fn said_by(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| format!("running {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn cells(row: &Row) -> [String; 8] {
    let spec = &row.spec;
    let figure = row.figure.map_or_else(|| "-".to_owned(), |figure| format!("{} {}", number(figure.median), spec.unit));
    let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| number(ratio.median));
    let spread = row.ratio.or(row.figure).map_or_else(|| "-".to_owned(), range);
    let goal = spec.goal.map_or_else(|| "-".to_owned(), |goal| described(goal, row));
    [spec.name.clone(), spec.what.clone(), spec.against.clone(), figure, ratio, spread, goal, outcome(row)]
}

fn outcome(row: &Row) -> String {
    let told = match row.outcome {
        Outcome::Met => "met".to_owned(),
        Outcome::NotMet => row.fault.as_ref().map_or_else(|| "NOT MET".to_owned(), |fault| format!("NOT MET: {fault}")),
        Outcome::Measured => "-".to_owned(),
        Outcome::NotRun => format!("not run: {}", row.why.as_ref().map_or("no reason is known", |why| &why.why)),
    };
    match &row.note {
        Some(note) => format!("{told} ({note})"),
        None => told,
    }
}

fn described(goal: Goal, row: &Row) -> String {
    let unit = &row.spec.unit;
    match goal {
        Goal::RatioAtMost(most) => format!("ratio at most {}", number(most)),
        Goal::RatioAtLeast(least) => format!("ratio at least {}", number(least)),
        Goal::FigureAtMost(most) => format!("at most {} {unit}", number(most)),
        Goal::FigureAtLeast(least) => format!("at least {} {unit}", number(least)),
        Goal::WithinNoise => {
            let told = |noise| format!("within noise: ratio at most {}", number(most_of_noise(noise)));
            row.noise.map_or_else(|| "within noise".to_owned(), told)
        }
    }
}

fn range(spread: Spread) -> String {
    format!("{} to {}", number(spread.lowest), number(spread.highest))
}

/// Three digits or so: more would be noise.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn markdown<const N: usize>(lines: &[[String; N]]) -> String {
    let escaped: Vec<[String; N]> =
        lines.iter().map(|line| line.clone().map(|cell| cell.replace('|', "\\|").replace('\n', " "))).collect();
    let mut widths = [3; N];
    for line in &escaped {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    let mut write = |line: &[String; N]| {
        for (cell, width) in line.iter().zip(widths) {
            write!(text, "| {cell:width$} ").expect("a string takes all that is written");
        }
        text.push_str("|\n");
    };
    if let Some((header, rows)) = escaped.split_first() {
        write(header);
        write(&widths.map(|width| "-".repeat(width)));
        rows.iter().for_each(&mut write);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::excuse::{Excuse, WhyNot};
    use crate::row::{Measured, Spec};

    fn report() -> Report {
        let spec = |name: &str| Spec {
            name: name.into(),
            what: "a record".into(),
            against: "its floor".into(),
            unit: "ns/call".into(),
            goal: Some(Goal::RatioAtMost(1.2)),
        };
        let spread = |median| Spread { lowest: median - 0.25, highest: median + 0.25, ..Spread::exactly(median) };
        let measured = Measured::figure("kernel/a", spread(123.75)).with_ratio(spread(1.0)).with_note("160 bytes");
        let lossy = Measured::figure("kernel/c", spread(1.0)).with_ratio(spread(1.0)).with_fault("lost 3");
        let rows = vec![
            Row::measured(spec("kernel/a"), measured),
            Row::not_run(spec("kernel/b"), WhyNot::excused(Excuse::NoSuchTool, "no a|b")),
            Row::measured(spec("kernel/c"), lossy),
        ];
        Report {
            version: 1,
            date: "2026-01-02 03:04".into(),
            kernel: "6.18".into(),
            machine: "x86_64".into(),
            cpus: 2,
            command: "make bench".into(),
            rounds: 5,
            is_once: false,
            rows,
        }
    }

    #[test]
    fn table_tells_figure_ratio_goal_and_why_not() {
        let table = report().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "2026-01-02 03:04 UTC, Linux 6.18 x86_64, 2 CPUs, 5 rounds: `make bench`");
        let cells = |line: usize| lines[line].split(" | ").map(str::trim).collect::<Vec<_>>();
        let measured =
            ["| kernel/a", "a record", "its floor", "124 ns/call", "1.00", "0.75 to 1.25", "ratio at most 1.20"];
        assert_eq!(cells(4), [&measured[..], &["met (160 bytes)  |"]].concat());
        let not_run = ["| kernel/b", "a record", "its floor", "-", "-", "-", "ratio at most 1.20"];
        assert_eq!(cells(5), [&not_run[..], &["not run: no a\\|b |"]].concat());
        assert_eq!(cells(6).last(), Some(&"NOT MET: lost 3  |"));
        assert_eq!(lines.len(), 7);
        assert!(lines[2..].iter().all(|line| line.chars().count() == lines[2].chars().count()), "{table}");
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let text = serde_json::to_string(&report()).expect("it has no maps with odd keys");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("it was just written"), report());
    }
}
