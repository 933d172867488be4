//! In the machine: hooks on functions, of calls that the load makes and of calls that it does not.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kubeward_bpf::probe::Backend;

use crate::cpu::OnReaderCpu;
use crate::kernel::floor::{Floor, RecordSizes};
use crate::kernel::watch::{Want, Watch, WATCHED};
use crate::load::{Load, LoadProcess, Size};
use crate::measure::{added, ratios_of_added, ratios_to_baseline, turns, Sample, Spread};
use crate::registry::Findings;
use crate::row::Measured;

/// Calls that no load makes.
const ELSEWHERE: &[&str] = &["mkdir", "unlink", "rename", "chmod"];

/// What is attached while the load runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attached {
    /// Nothing, twice: how far two runs of the same are apart.
    Nothing,
    /// KubeWard's hooks on other calls' functions.
    Elsewhere,
    /// An empty fentry and fexit on the load's functions.
    EmptyPair,
    /// KubeWard's hooks on the load's functions: records with durations.
    Record,
}

impl Attached {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Elsewhere => "other-call",
            Self::EmptyPair => "empty-pair",
            Self::Record => "record-call",
        }
    }

    /// Those that a backend has.
    pub fn of(backend: Backend) -> &'static [Self] {
        match backend {
            Backend::Fentry => &[Self::Nothing, Self::Elsewhere, Self::EmptyPair, Self::Record],
            _ => &[Self::Nothing, Self::Elsewhere, Self::Record],
        }
    }
}

/// Of the kernel's functions for getppid and its like, types are not known: fentry has no hook there.
pub const LOADS: [Load; 2] = [Load::Read, Load::OpenClose];

/// The name of a row within its machine.
pub fn row_name(attached: Attached, load: Load) -> String {
    format!("{}/{}", attached.name(), load.name())
}

/// Everything of this machine.
pub fn measure(backend: Backend, rounds: usize, is_once: bool) -> Result<Findings> {
    let _cpu = OnReaderCpu::begin()?;
    let mut watch = Watch::load(backend)?;
    let mut findings = Findings::default();
    for load in LOADS {
        let mut process = LoadProcess::start(load)?;
        watch.tag(process.pid(), WATCHED)?;
        let mut samples: BTreeMap<Attached, Vec<Sample>> = BTreeMap::new();
        let all = Attached::of(backend);
        for round in 0..rounds {
            for turn in turns(round, all.len()) {
                let sample = sample(&mut watch, load, all[turn], &mut process, size(load, is_once));
                let sample = sample.with_context(|| row_name(all[turn], load))?;
                samples.entry(all[turn]).or_default().push(sample);
            }
        }
        report(load, &samples, &mut findings);
    }
    Ok(findings)
}

/// An emulated call takes some microseconds.
fn size(load: Load, is_once: bool) -> Size {
    let calls = if is_once { 100 } else { 500 };
    Size { chunks: if is_once { 4 } else { 12 }, turns: calls / load.calls().len() }
}

fn sample(watch: &mut Watch, load: Load, attached: Attached, process: &mut LoadProcess, size: Size) -> Result<Sample> {
    // What was attached and detached before leaves the emulator's translations cold.
    process.run(size)?;
    let without = process.run(size)?;
    let with = match attached {
        Attached::Nothing => process.run(size)?,
        Attached::EmptyPair => {
            let floors = load.calls().iter().map(|call| empty_pair(call)).collect::<Result<Vec<_>>>()?;
            let _links = floors.iter().map(Floor::attach).collect::<Result<Vec<_>>>()?;
            process.run(size)?
        }
        Attached::Elsewhere | Attached::Record => {
            watch.want(if attached == Attached::Record { load.calls() } else { ELSEWHERE }, Want::Call)?;
            let before = watch.lost(WATCHED)?;
            let reader = watch.read()?;
            let with = process.run(size);
            watch.want_nothing()?;
            let (counter, read) = reader.stop();
            read.context("reading the ring")?;
            let expected = if attached == Attached::Record { size.all_turns() * load.calls().len() as u64 } else { 0 };
            let lost = watch.lost(WATCHED)? - before;
            anyhow::ensure!(lost == 0, "{lost} records were lost");
            anyhow::ensure!(counter.records >= expected, "{} records came of {expected} calls", counter.records);
            with?
        }
    };
    Ok(Sample { with, without })
}

fn empty_pair(call: &str) -> Result<Floor> {
    let function = format!("__x64_sys_{call}");
    Floor::load(&["empty_fentry", "empty_fexit"], &RecordSizes::new(), Watch::ring_bytes(), Some(&function))
}

fn report(load: Load, samples: &BTreeMap<Attached, Vec<Sample>>, findings: &mut Findings) {
    let noise = samples.get(&Attached::Nothing).and_then(|nothing| Spread::of(&ratios_to_baseline(nothing)));
    for (&attached, own) in samples {
        let against = samples.get(&Attached::EmptyPair).filter(|_| attached == Attached::Record);
        let ratios = against.map_or_else(|| ratios_to_baseline(own), |empty| ratios_of_added(own, empty));
        let Some(figure) = Spread::of(&added(own)) else { continue };
        let mut measured = Measured::figure(row_name(attached, load), figure);
        (measured.ratio, measured.noise) = (Spread::of(&ratios), noise);
        findings.measured.push(measured);
    }
}
