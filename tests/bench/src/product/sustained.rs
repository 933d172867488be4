//! How many events come through of two containers: at a pace that is to lose none, and where the containers outrun everything,
//! how exact the ledger is then, and how fair the loss.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{ensure, Context, Result};

use super::agent::{lost, Agent};
use super::events::account;
use super::node::Node;
use super::producer;
use crate::measure::Spread;
use crate::registry::{Bench, Findings};
use crate::row::{Goal, Measured, Spec};

const PACED: &str = "product/sustained";
const FLOODED: &str = "product/flooded";
const FAIR: &str = "product/flooded-share";

/// Calls a second of each of the two when paced, a little more than the goal's half: starting them takes some of the time.
const RATE: u64 = 360_000;
const GOAL: f64 = 700_000.0;

/// Of what it would have of a ring that is divided evenly, a container has at least so much.
const LEAST_SHARE: f64 = 0.9;

pub fn rows() -> Vec<Spec> {
    let spec = |name, what: &str, unit, least| Spec::alone(name, what, unit, Goal::FigureAtLeast(least));
    vec![
        spec(
            PACED,
            "two containers make 360,000 getppid a second each for 60 s, JSON to a file; none is lost",
            "events/s",
            GOAL,
        ),
        spec(
            FLOODED,
            "the same as fast as they can: events that come through; the ledger is exact about the rest",
            "events/s",
            GOAL,
        ),
        spec(FAIR, "the same: events of the container that has fewer, by its even share", "of its share", LEAST_SHARE),
    ]
}

pub fn run(bench: &Bench) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&[producer::compile(folder.path())?])?;
    let mut findings = Findings::default();
    if bench.wants(PACED) {
        match paced(bench, &node, folder.path()) {
            Ok(measured) => findings.measured.push(measured),
            Err(error) => findings.not_run.push((PACED.to_owned(), error.into())),
        }
    }
    if bench.wants(FLOODED) || bench.wants(FAIR) {
        findings.measured.extend(flooded(bench, &node, folder.path())?);
    }
    Ok(findings)
}

/// What became of a container's calls.
#[derive(Debug, Clone, Default)]
struct Part {
    made: u64,
    emitted: u64,
    lost: u64,
    /// Of these, by reason.
    reasons: BTreeMap<String, u64>,
}

/// Both containers at work for the seconds; what became of their calls, and how long it took until the last was told.
fn watch(bench: &Bench, node: &Node, folder: &Path, rate: Option<u64>) -> Result<([Part; 2], f64)> {
    let seconds = if bench.is_once { 2 } else { 60 };
    let ids = [node.run_idle("first", folder)?, node.run_idle("second", folder)?];
    let output = folder.join("events.jsonl");
    let output = output.to_string_lossy();
    let args = ["-e", "getppid", "-o", &output, "--rotate-size", "1G", "--rotate-keep", "1"];
    let agent = Agent::start(&node.socket(), &args)?;
    let begin = Instant::now();
    let produce = |id: &str| match rate {
        Some(rate) => producer::paced(node, id, seconds, rate),
        None => producer::one(node, id, seconds),
    };
    let made = thread::scope(|scope| {
        let producers = ids.each_ref().map(|id| scope.spawn(|| produce(id)));
        producers.map(|producer| producer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let ledger = agent.settled_account()?;
    let took = begin.elapsed().as_secs_f64();
    let mut parts = [Part::default(), Part::default()];
    for ((id, made), part) in ids.iter().zip(made).zip(&mut parts) {
        let (account, made) = (account(&ledger, id)?, made?);
        ensure!(account.seen == made, "{id} made {made} calls, of which {} were seen", account.seen);
        *part = Part { made, emitted: account.emitted, lost: lost(account)?, reasons: account.lost.clone() };
        ensure!(part.emitted + part.lost == made, "{id} made {made} calls, of which the ledger has {part:?}");
    }
    agent.stop()?;
    ids.iter().try_for_each(|id| node.remove(id))?;
    Ok((parts, took))
}

fn per_second(parts: &[Part], took: f64) -> Result<Spread> {
    let emitted: u64 = parts.iter().map(|part| part.emitted).sum();
    Spread::of(&[emitted as f64 / took]).context("time has passed")
}

/// Not fast enough, because the containers could not make so many, is a figure below the goal, and the note has what they made.
fn paced(bench: &Bench, node: &Node, folder: &Path) -> Result<Measured> {
    let (parts, took) = watch(bench, node, folder, Some(RATE))?;
    let measured = Measured::figure(PACED, per_second(&parts, took)?).with_note(told(&parts));
    let lost: u64 = parts.iter().map(|part| part.lost).sum();
    Ok(if lost > 0 { measured.with_fault(format!("lost {lost} events")) } else { measured })
}

fn flooded(bench: &Bench, node: &Node, folder: &Path) -> Result<[Measured; 2]> {
    let (parts, took) = watch(bench, node, folder, None)?;
    let share = Spread::of(&[least_share(&parts)]).context("both containers made calls")?;
    let note = told(&parts);
    Ok([
        Measured::figure(FLOODED, per_second(&parts, took)?).with_note(note.clone()),
        Measured::figure(FAIR, share).with_note(note),
    ])
}

/// The smaller of the two containers' events over its even share: half of all that came through, or all that it made where that is
/// less. 1 is as fair as can be.
fn least_share(parts: &[Part; 2]) -> f64 {
    let half = parts.iter().map(|part| part.emitted).sum::<u64>() as f64 / 2.0;
    parts.iter().map(|part| part.emitted as f64 / half.min(part.made as f64)).fold(f64::INFINITY, f64::min)
}

fn told(parts: &[Part]) -> String {
    let part = |Part { made, emitted, lost, reasons }: &Part| {
        let percent = 100.0 * *lost as f64 / *made as f64;
        let reasons = reasons.iter().filter(|(_, lost)| **lost > 0).map(|(reason, lost)| format!("; {reason} {lost}"));
        format!("{made} calls = {emitted} emitted + {lost} lost ({percent:.1} %{})", reasons.collect::<String>())
    };
    format!("ledger exact: {}", parts.iter().map(part).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(parts: [(u64, u64); 2]) -> f64 {
        least_share(&parts.map(|(made, emitted)| Part { made, emitted, lost: made - emitted, ..Part::default() }))
    }

    #[test]
    fn even_loss_is_fair_and_so_is_a_small_container_that_loses_nothing() {
        assert_eq!(share([(1_000, 400), (900, 400)]), 1.0);
        assert_eq!(share([(1_000, 700), (100, 100)]), 1.0);
    }

    #[test]
    fn container_that_has_less_than_its_half_is_told_of() {
        assert_eq!(share([(1_000, 600), (1_000, 200)]), 0.5);
        assert_eq!(share([(1_000, 700), (100, 50)]), 0.5);
    }
}
