//! What one would use instead, and `kubeward trace`: the same load under each, all arguments shown and thrown away.
//!
//! What is told is a call's cost to its caller. What strace does, the caller waits for; KubeWard, perf and bpftrace read beside it.

mod attach;
mod tool;

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::excuse::WhyNot;
use crate::load::{Load, LoadProcess, Size};
use crate::measure::{added, ratios_of_added, turns, Sample, Spread};
use crate::registry::{Bench, Findings};
use crate::row::{Goal, Measured, Spec};
use tool::Tool;

pub fn rows() -> Vec<Spec> {
    let row = |tool: Tool, load: Load| Spec {
        name: row_name(tool, load),
        what: format!("{} under {}", load.name(), tool.command()),
        against: if tool == Tool::KubeWard { "-" } else { "kubeward trace, added time" }.to_owned(),
        unit: "ns added".to_owned(),
        goal: match tool {
            Tool::Strace => Some(Goal::RatioAtLeast(150.0)),
            Tool::PerfTrace => Some(Goal::RatioAtLeast(50.0)),
            _ => None,
        },
    };
    Load::ALL.into_iter().flat_map(|load| Tool::ALL.into_iter().map(move |tool| row(tool, load))).collect()
}

fn row_name(tool: Tool, load: Load) -> String {
    format!("peers/{}/{}", tool.name(), load.name())
}

pub fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let (mut usable, mut missing) = (Vec::new(), Vec::new());
    for tool in Tool::ALL {
        match tool.is_there() {
            Ok(()) => usable.push(tool),
            Err(error) => missing.push((tool, WhyNot::from(error))),
        }
    }
    for load in Load::ALL {
        for (tool, why) in &missing {
            findings.not_run.push((row_name(*tool, load), why.clone()));
        }
        let is_wanted = |tool: &Tool| *tool == Tool::KubeWard || bench.wants(&row_name(*tool, load));
        let tools: Vec<Tool> = usable.iter().copied().filter(is_wanted).collect();
        if tools.iter().any(|tool| bench.wants(&row_name(*tool, load))) {
            measure(bench, load, tools, &mut findings)?;
        }
    }
    Ok(findings)
}

/// A tool that fails once has no figure for this load; the others have theirs.
fn measure(bench: &Bench, load: Load, mut tools: Vec<Tool>, findings: &mut Findings) -> Result<()> {
    let mut bare = LoadProcess::start_anywhere(load)?;
    let mut samples: BTreeMap<Tool, Vec<Sample>> = BTreeMap::new();
    for round in 0..bench.rounds {
        let mut failed = Vec::new();
        for turn in turns(round, tools.len()) {
            let tool = tools[turn];
            let size = size(tool, load, bench.is_once);
            let without = bare.run(size)?;
            match tool.run(load, size).with_context(|| tool.command()) {
                Ok(with) => samples.entry(tool).or_default().push(Sample { with, without }),
                Err(error) => failed.push((tool, WhyNot::from(error))),
            }
        }
        for (tool, why) in failed {
            tools.retain(|left| *left != tool);
            samples.remove(&tool);
            findings.not_run.push((row_name(tool, load), why));
        }
    }
    let ours = samples.get(&Tool::KubeWard).cloned().unwrap_or_default();
    for (tool, own) in samples {
        let Some(figure) = Spread::of(&added(&own)) else { continue };
        let measured = Measured::figure(row_name(tool, load), figure);
        findings.measured.push(match Spread::of(&ratios_of_added(&own, &ours)) {
            Some(ratio) if tool != Tool::KubeWard => measured.with_ratio(ratio),
            _ => measured,
        });
    }
    Ok(())
}

/// 10,000 calls, which KubeWard's ring holds, so that none is lost, which would cost less.
fn size(tool: Tool, load: Load, is_once: bool) -> Size {
    let (chunks, calls) = match (tool.stops_its_caller(), is_once) {
        (true, false) => (40, 250),
        (true, true) => (2, 20),
        (false, false) => (20, 500),
        (false, true) => (2, 200),
    };
    Size { chunks, turns: calls / load.calls().len() }
}
