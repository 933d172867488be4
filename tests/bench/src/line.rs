//! What the user side does for a line of an event that many policies want: decode, judge, JSON to `/dev/null`, by 200 policies
//! against one. Their names are in the line, which is so much longer: there is no goal but to know.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use kubeward_bpf::decode::{decode, CallRecord, Decoded};
use kubeward_bpf::wire::Wire;
use kubeward_core::container::{Container, ContainerId, Labels, PodRef, PodSource};
use kubeward_core::policy::{Judge, Verdict};
use kubeward_core::render::json::JsonLines;
use kubeward_core::render::line::Stream;

use crate::judge::{record, CALL, COUNTS};
use crate::kernel::policies;
use crate::measure::{turns, Spread};
use crate::registry::{Bench, Findings};
use crate::row::{Measured, Spec};

/// As the agent writes at the least while it is busy.
const WRITE_BYTES: usize = 64 << 10;

pub fn rows() -> Vec<Spec> {
    let row = |count: usize, against: &str| Spec {
        name: row_name(count),
        what: format!(
            "user side: decode, judge and JSON to /dev/null of an event that {count} want, by names of 37 letters"
        ),
        against: against.to_owned(),
        unit: "ns/event".to_owned(),
        goal: None,
    };
    vec![row(1, "-"), row(200, "line-1")]
}

fn row_name(count: usize) -> String {
    format!("policies/line-{count}")
}

pub fn run(bench: &Bench) -> Result<Findings> {
    let events = if bench.is_once { 100 } else { 50_000 };
    let mut took: [Vec<f64>; 2] = Default::default();
    let mut bytes = [0; 2];
    for round in 0..bench.rounds {
        for turn in turns(round, COUNTS.len()) {
            let (ns, length) = time(COUNTS[turn], events)?;
            took[turn].push(ns);
            bytes[turn] = length;
        }
    }
    let ratios: Vec<f64> = took[1].iter().zip(&took[0]).map(|(many, one)| many / one).collect();
    let measured = |turn: usize| {
        let figure = Spread::of(&took[turn]).context("an event takes some time")?;
        Ok(Measured::figure(row_name(COUNTS[turn]), figure).with_note(format!("{} bytes a line", bytes[turn])))
    };
    let many: Result<Measured> = measured(1);
    let ratio = Spread::of(&ratios).context("an event takes some time")?;
    Ok(Findings { measured: vec![measured(0)?, many?.with_ratio(ratio)], not_run: Vec::new() })
}

/// As people name policies in a cluster.
fn name(number: usize) -> String {
    format!("payments-checkout-api-file-access-{number:03}")
}

/// Nanoseconds an event, and bytes of a line.
fn time(policies: usize, events: u32) -> Result<(f64, usize)> {
    let set = policies::named_set(&[CALL], (0..policies).map(name))?;
    let (selected, container, record) = (set.active(), Arc::new(container()), record()?);
    let (mut judge, mut call, mut lines) = (Judge::new(set), CallRecord::default(), JsonLines::new(&stream()));
    let mut output = File::create("/dev/null").context("opening /dev/null")?;
    let (mut out, mut written) = (Vec::with_capacity(2 * WRITE_BYTES), 0);
    let begin = Instant::now();
    for seq in 0..u64::from(events) {
        match decode(black_box(record.as_bytes()), &mut call).context("reading the bench's own record")? {
            Decoded::Call => {}
            Decoded::Exec { .. } => bail!("a record of a call is read as one of an exec"),
        }
        let event = &mut call.event;
        (event.seq, event.container) = (seq, Some(Arc::clone(&container)));
        let Verdict::Wanted(wanting) = judge.judge(event, &selected, seq) else {
            bail!("the bench's own policies do not want {CALL}")
        };
        event.policies = wanting.names;
        lines.syscall(&mut out, event);
        if out.len() >= WRITE_BYTES {
            output.write_all(&out).context("writing to /dev/null")?;
            written += out.len();
            out.clear();
        }
    }
    output.write_all(&out).context("writing to /dev/null")?;
    let took = begin.elapsed().as_nanos() as f64 / f64::from(events);
    Ok((took, (written + out.len()) / events as usize))
}

fn container() -> Container {
    let uid = "5d2e9b54-7f0c-4f9c-a8a6-4c1f0ad6bd7a";
    Container {
        id: ContainerId("7b1fe0c6a9d84b5c9a51d20f3f1f7c0d4e2a8b6c5d3e1f0a9b8c7d6e5f4a3b2c".into()),
        name: Some("checkout-api".into()),
        image: Some("registry.example.com/payments/checkout-api:4.17.2".into()),
        image_digest: None,
        runtime: "containerd",
        runtime_namespace: Some("k8s.io".into()),
        labels: Labels::default(),
        pod: Some(PodRef {
            namespace: "payments".into(),
            name: "checkout-api-6f7c9d8b5-x2x9p".into(),
            uid: uid.into(),
            labels: Labels::default(),
            source: PodSource::Labels,
            workload: None,
        }),
    }
}

fn stream() -> Stream {
    let run = "5d2e9b54-7f0c-4f9c-a8a6-4c1f0ad6bd7a-18b9f3c2d41";
    Stream { node: "node-1".into(), cluster: None, run: run.into(), event_labels: Vec::new() }
}
