//! What the user side does more for an event that many policies want: the exact judgement, by 200 policies against one.

use std::hint::black_box;
use std::mem::size_of;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use kubeward_bpf::decode::{decode, CallRecord, Decoded};
use kubeward_bpf::wire::{self, Record, Wire};
use kubeward_core::event::SyscallEvent;
use kubeward_core::policy::{Judge, Verdict};

use crate::kernel::policies;
use crate::kernel::watch::number;
use crate::measure::{turns, Spread};
use crate::registry::{Bench, Findings};
use crate::row::{Goal, Measured, Spec};

pub(crate) const CALL: &str = "getppid";
pub(crate) const COUNTS: [usize; 2] = [1, 200];

pub fn rows() -> Vec<Spec> {
    let row = |count: usize, against: &str, goal| Spec {
        name: format!("policies/judge-{count}"),
        what: format!("user side: an event judged by {count} that name its call"),
        against: against.to_owned(),
        unit: "ns/event".to_owned(),
        goal,
    };
    vec![row(1, "-", None), row(200, "judge-1", Some(Goal::RatioAtMost(1.1)))]
}

pub fn run(bench: &Bench) -> Result<Findings> {
    let event = event()?;
    let events = if bench.is_once { 100 } else { 200_000 };
    let mut took: [Vec<f64>; 2] = Default::default();
    for round in 0..bench.rounds {
        for turn in turns(round, COUNTS.len()) {
            took[turn].push(time(&event, COUNTS[turn], events)?);
        }
    }
    let ratios: Vec<f64> = took[1].iter().zip(&took[0]).map(|(many, one)| many / one).collect();
    let spread = |values: &[f64]| Spread::of(values).context("an event takes some time");
    let one = Measured::figure("policies/judge-1", spread(&took[0])?);
    let many = Measured::figure("policies/judge-200", spread(&took[1])?).with_ratio(spread(&ratios)?);
    Ok(Findings { measured: vec![one, many], not_run: Vec::new() })
}

/// Nanoseconds an event.
fn time(event: &SyscallEvent, policies: usize, events: u32) -> Result<f64> {
    let set = policies::set(&[CALL], policies)?;
    let selected = set.active();
    let mut judge = Judge::new(set);
    let begin = Instant::now();
    for now_ns in 0..events {
        let verdict = judge.judge(black_box(event), &selected, now_ns.into());
        let Verdict::Wanted(wanting) = black_box(verdict) else { bail!("the bench's own policies do not want {CALL}") };
        if wanting.names.len() != policies {
            bail!("{} of {policies} policies want {CALL}", wanting.names.len());
        }
    }
    Ok(begin.elapsed().as_nanos() as f64 / f64::from(events))
}

fn event() -> Result<SyscallEvent> {
    let mut call = CallRecord::default();
    match decode(record()?.as_bytes(), &mut call).context("reading the bench's own record")? {
        Decoded::Call => Ok(call.event),
        Decoded::Exec { .. } => bail!("a record of a call is read as one of an exec"),
    }
}

/// As the kernel side tells of a call without arguments.
pub(crate) fn record() -> Result<Record> {
    let mut record = Record::read_from(&[0; size_of::<Record>()]).context("zeroes are a record")?;
    record.kind = wire::KIND_CALL;
    record.phase = wire::PHASE_EXIT;
    record.stage = wire::STAGE_RUN as u8;
    record.probe = wire::PROBE_TP_BTF;
    record.identity = wire::IDENTITY_TASK;
    record.slot = 1;
    record.nr = number(CALL)? as u16;
    record.number = record.nr.into();
    Ok(record)
}
