//! What one call costs in the kernel, by what is attached: nothing, empty programs, the floor, KubeWard.
//!
//! All in one process, in turns: each setting is attached, a load of some 50 ms run on the other CPU, and detached again, with
//! the same load run bare just before, in every round.

pub mod floor;
pub mod policies;
pub mod profile;
pub mod settings;
pub mod watch;

use std::collections::BTreeMap;

use anyhow::{bail, ensure, Context, Result};
use kubeward_bpf::probe::Backend;

use floor::{Floor, RecordSizes};

pub use settings::rows;
use settings::{row_name, Attached, Caller, Setting, SETTINGS};
use watch::{Want, Watch, UNSELECTED, WATCHED};

use crate::cpu::{self, OnReaderCpu, Urgent};
use crate::excuse::{Excuse, WhyNot};
use crate::load::{Load, LoadProcess, Size};
use crate::measure::{added, ratios_of_added, ratios_to_baseline, turns, Sample, Spread};
use crate::registry::{Bench, Findings};
use crate::row::Measured;

/// A busy machine may lose records, which cost less than those that are kept: such a sample is taken again, so often.
const TRIES: usize = 3;
/// A call that no load makes.
const ELSEWHERE: &[&str] = &["mkdir"];

pub fn run(bench: &Bench) -> Result<Findings> {
    let _cpu = OnReaderCpu::begin()?;
    let watch = Watch::load(Backend::Tracepoint)?;
    let _urgent = Urgent::begin();
    let mut findings = Findings::default();
    let mut lab = Lab::new(watch, bench.is_once)?;
    for load in Load::ALL {
        let wanted: Vec<&Setting> = wanted(bench, load);
        if wanted.is_empty() && !bench.wants(&row_name("nothing", load)) {
            continue;
        }
        let samples = lab.measure(load, &wanted, bench.rounds)?;
        report(load, &samples, &lab, &mut findings);
    }
    Ok(findings)
}

/// The settings of which a row is wanted, and those that these are held against.
fn wanted(bench: &Bench, load: Load) -> Vec<&'static Setting> {
    let is_wanted = |setting: &&Setting| {
        let rests_on_it =
            |other: &Setting| other.against == Some(setting.name) && bench.wants(&row_name(other.name, load));
        bench.wants(&row_name(setting.name, load)) || SETTINGS.iter().any(rests_on_it)
    };
    SETTINGS.iter().filter(is_wanted).collect()
}

type Samples = BTreeMap<&'static str, Vec<Sample>>;

fn report(load: Load, samples: &Samples, lab: &Lab, findings: &mut Findings) {
    let bare: Vec<f64> = samples.values().flatten().map(|sample| sample.without).collect();
    if let Some(bare) = Spread::of(&bare) {
        findings.measured.push(Measured::figure(row_name("nothing", load), bare));
    }
    for (name, own) in samples {
        let row = row_name(name, load);
        let setting = settings::by_name(name);
        let against = setting.and_then(|setting| setting.against).and_then(|other| samples.get(other));
        let ratios = against.map_or_else(|| ratios_to_baseline(own), |other| ratios_of_added(own, other));
        match (Spread::of(&added(own)), Spread::of(&ratios)) {
            (Some(figure), Some(ratio)) => {
                let note = setting.and_then(|setting| lab.told_bytes(setting, load));
                findings.measured.push(Measured { note, ..Measured::figure(row, figure).with_ratio(ratio) });
            }
            _ => {
                let why = "what it is held against added no time that could be measured";
                findings.not_run.push((row, WhyNot::excused(Excuse::OneRound, why)));
            }
        }
    }
}

/// Everything that is loaded once, and the processes that make the calls.
struct Lab {
    watch: Watch,
    is_once: bool,
    /// Bytes of our records, by how they are wanted: of all loads' calls.
    sizes: Vec<(Want, RecordSizes)>,
    floors: BTreeMap<&'static str, Floor>,
}

impl Lab {
    fn new(watch: Watch, is_once: bool) -> Result<Self> {
        let mut lab = Self { watch, is_once, sizes: Vec::new(), floors: BTreeMap::new() };
        for want in [Want::Exit, Want::Call] {
            let mut sizes = RecordSizes::new();
            for load in Load::ALL {
                sizes.extend(lab.measure_records(load, want)?);
            }
            lab.sizes.push((want, sizes));
        }
        for setting in SETTINGS {
            let (programs, want) = match setting.attached {
                Attached::Empty(programs) => (programs, None),
                Attached::Floor(programs, want) => (programs, Some(want)),
                _ => continue,
            };
            let sizes = lab.sizes.iter().find(|(of, _)| Some(*of) == want).map(|(_, sizes)| sizes.clone());
            let floor = Floor::load(programs, &sizes.unwrap_or_default(), Watch::ring_bytes(), None)?;
            lab.floors.insert(setting.name, floor);
        }
        Ok(lab)
    }

    /// How long our records of the load's calls are.
    fn measure_records(&mut self, load: Load, want: Want) -> Result<RecordSizes> {
        let mut process = LoadProcess::start(load)?;
        self.watch.tag(process.pid(), WATCHED)?;
        self.watch.want(load.calls(), want)?;
        let reader = self.watch.read()?;
        process.run(Size { chunks: 1, turns: 10 })?;
        self.watch.want_nothing()?;
        let (counter, read) = reader.stop();
        read.context("reading the ring")?;
        self.watch.record_sizes(&counter, load)
    }

    /// How much a floor writes for each of the load's calls.
    fn told_bytes(&self, setting: &Setting, load: Load) -> Option<String> {
        let Attached::Floor(_, want) = setting.attached else { return None };
        let (_, sizes) = self.sizes.iter().find(|(of, _)| *of == want)?;
        let of_call = |name: &&str| Some(sizes.get(&(watch::number(name).ok()? as u16))?.to_string());
        let bytes: Vec<String> = load.calls().iter().filter_map(of_call).collect();
        Some(format!("{} bytes", bytes.join(" + ")))
    }

    fn measure(&mut self, load: Load, wanted: &[&'static Setting], rounds: usize) -> Result<Samples> {
        let mut callers = self.start_callers(load)?;
        let mut samples = Samples::new();
        for round in 0..rounds {
            for turn in turns(round, wanted.len()) {
                let setting = wanted[turn];
                let process = callers.get_mut(&setting.caller).context("each caller was started")?;
                let sample = self.sample(load, setting, process).with_context(|| row_name(setting.name, load))?;
                samples.entry(setting.name).or_default().push(sample);
            }
        }
        Ok(samples)
    }

    fn start_callers(&self, load: Load) -> Result<BTreeMap<Caller, LoadProcess>> {
        let callers = [Caller::Watched, Caller::Unselected, Caller::Nobody];
        let start = |caller| {
            let process = LoadProcess::start(load)?;
            match caller {
                Caller::Watched => {
                    self.watch.tag(process.pid(), WATCHED)?;
                    self.floors.values().try_for_each(|floor| floor.watch(process.pid()))?;
                }
                Caller::Unselected => self.watch.tag(process.pid(), UNSELECTED)?,
                Caller::Nobody => {}
            }
            Ok((caller, process))
        };
        callers.into_iter().map(start).collect()
    }

    fn sample(&mut self, load: Load, setting: &Setting, process: &mut LoadProcess) -> Result<Sample> {
        let size = load.size(self.is_once);
        let calls = size.all_turns() * load.calls().len() as u64;
        for attempt in 1..=TRIES {
            let without = process.run(size)?;
            let Run { with, counted, lost } = match setting.attached {
                Attached::Empty(_) => Run { counted: None, ..self.with_floor(setting, process, size)? },
                Attached::Floor(..) => self.with_floor(setting, process, size)?,
                Attached::KubeWard(want) => self.with_ours(load.calls(), want, setting.caller, process, size)?,
                Attached::Elsewhere => self.with_ours(ELSEWHERE, Want::Exit, Caller::Nobody, process, size)?,
                Attached::Policies(count) => {
                    policies::put_in_force(&mut self.watch, load.calls(), count)?;
                    self.with_reader(process, size)?.0
                }
            };
            // Calls that the load makes beside its own are counted, too, and do not stand for those that are lost.
            let all_are_there = counted.is_none_or(|counted| counted > 0 && counted + lost >= calls);
            ensure!(all_are_there, "{calls} calls, {} told, {lost} lost", counted.unwrap_or_default());
            // One round is to show that everything runs, also on a machine that is busy with other tests.
            if lost == 0 || (self.is_once && attempt == TRIES) {
                return Ok(Sample { with, without });
            }
        }
        bail!("records were lost in each of {TRIES} tries: something else keeps CPU {} busy", cpu::READER)
    }

    fn with_floor(&self, setting: &Setting, process: &mut LoadProcess, size: Size) -> Result<Run> {
        let floor = self.floors.get(setting.name).context("each floor was loaded")?;
        let before = floor.lost()?;
        let reader = floor.read()?;
        let links = floor.attach()?;
        let with = process.run(size)?;
        drop(links);
        Ok(Run { with, counted: Some(reader.stop()?), lost: floor.lost()? - before })
    }

    fn with_ours(
        &mut self,
        calls: &[&str],
        want: Want,
        caller: Caller,
        process: &mut LoadProcess,
        size: Size,
    ) -> Result<Run> {
        self.watch.want(calls, want)?;
        let (run, seen) = self.with_reader(process, size)?;
        if caller != Caller::Watched {
            let records = run.counted.unwrap_or_default();
            ensure!(records == 0, "{records} records came of calls that nobody wants");
            return Ok(Run { counted: None, ..run });
        }
        Ok(if want.makes_records() { run } else { Run { counted: Some(seen), ..run } })
    }

    /// Records are what is counted; and the calls of the watched container that were seen.
    fn with_reader(&mut self, process: &mut LoadProcess, size: Size) -> Result<(Run, u64)> {
        let before = (self.watch.seen(WATCHED)?, self.watch.lost(WATCHED)?);
        let reader = self.watch.read()?;
        let with = process.run(size)?;
        self.watch.want_nothing()?;
        let (counter, read) = reader.stop();
        read.context("reading the ring")?;
        let run = Run { with, counted: Some(counter.records), lost: self.watch.lost(WATCHED)? - before.1 };
        Ok((run, self.watch.seen(WATCHED)? - before.0))
    }
}

/// A load beside what was attached.
struct Run {
    /// The time of a turn.
    with: f64,
    /// Records or calls that were told, `None` where nothing is to be told.
    counted: Option<u64>,
    lost: u64,
}
