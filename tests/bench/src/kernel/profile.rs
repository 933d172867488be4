//! Where the time of a call goes, by what is attached: the clock is sampled while the load runs, and each sample is booked to the
//! part of the kernel that it fell into. It says why a row is as dear as it is; the rows say how dear.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use kubeward_bpf::probe::Backend;
use nix::fcntl::OFlag;
use nix::sys::signal::{kill, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, Pid};

use super::settings::{self, Attached, Caller, SETTINGS};
use super::watch::Watch;
use super::Lab;
use crate::cpu::{OnReaderCpu, Urgent};
use crate::load::{Load, LoadProcess, Size};
use crate::parts::{self, PARTS};
use crate::registry::matches;

/// Samples a second: no multiple of any timer's.
const SAMPLES: &str = "4999";

/// perf reads all of the kernel's symbols first.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The load alone.
const NOTHING: &str = "nothing";

/// A table of nanoseconds a turn of the load, by row and part. `only`: names of rows, as [`crate::registry::Bench::only`] has them; `seconds`: how
/// long each load runs.
pub fn by_part(only: &str, seconds: u64) -> Result<String> {
    ensure!(seconds > 0, "a profile takes at least a second");
    let is_wanted = |name: &str, load| matches(only, &settings::row_name(name, load));
    let _cpu = OnReaderCpu::begin()?;
    let watch = Watch::load(Backend::Tracepoint)?;
    let _urgent = Urgent::begin();
    let mut lab = Lab::new(watch, false)?;
    let mut rows = String::new();
    for load in Load::ALL {
        let mut callers = lab.start_callers(load)?;
        let names = std::iter::once(NOTHING).chain(SETTINGS.iter().filter_map(profiled));
        for name in names.filter(|name| is_wanted(name, load)) {
            let caller = settings::by_name(name).map_or(Caller::Watched, |setting| setting.caller);
            let process = callers.get_mut(&caller).context("each caller was started")?;
            let row = lab.profile(load, name, process, seconds);
            rows += &row.with_context(|| settings::row_name(name, load))?;
        }
    }
    ensure!(!rows.is_empty(), "{only} is no row of the kernel's: say, kernel/record-exit/*");
    Ok(header() + &rows)
}

/// Policies are user space's matter: in the kernel they are one profile, however many.
fn profiled(setting: &settings::Setting) -> Option<&'static str> {
    (!matches!(setting.attached, Attached::Policies(_))).then_some(setting.name)
}

impl Lab {
    fn profile(&mut self, load: Load, name: &str, process: &mut LoadProcess, seconds: u64) -> Result<String> {
        let folder = tempfile::tempdir()?;
        let file = &folder.path().join("samples");
        // Chunks are about a millisecond long.
        let size = Size { chunks: seconds as usize * 1000, turns: load.size(false).turns };
        let perf = Perf::begin(process.pid(), file)?;
        let turn = match settings::by_name(name) {
            None => process.run(size)?,
            Some(setting) => match setting.attached {
                Attached::Empty(_) | Attached::Floor(..) => self.with_floor(setting, process, size)?.with,
                Attached::KubeWard(want) => self.with_ours(load.calls(), want, setting.caller, process, size)?.with,
                Attached::Elsewhere | Attached::Policies(_) => {
                    self.with_ours(super::ELSEWHERE, super::Want::Exit, Caller::Nobody, process, size)?.with
                }
            },
        };
        perf.end()?;
        Ok(row(&settings::row_name(name, load), turn, &parts::booked(&symbols(file)?)))
    }
}

/// `perf record` of one process.
struct Perf(Child);

impl Perf {
    /// Returns once samples are taken.
    fn begin(pid: u32, file: &Path) -> Result<Self> {
        let [control, answers] = ["control", "answers"].map(|name| file.with_extension(name));
        for fifo in [&control, &answers] {
            mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR).with_context(|| format!("making {}", fifo.display()))?;
        }
        let mut command = Command::new("perf");
        // Without hardware counters: the clock. Not before it is told to begin.
        command.args(["record", "-q", "-D", "-1", "-e", "cpu-clock", "-F", SAMPLES, "-p", &pid.to_string(), "-o"]);
        command.arg(file).arg(format!("--control=fifo:{},{}", control.display(), answers.display()));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let perf = Self(child.context("running perf (Debian: apt-get install linux-perf)")?);
        // Open for both directions, so that nothing here waits for a perf that has ended.
        let mut open = File::options();
        open.read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let mut answers = open.open(&answers).context("opening perf's answers")?;
        // Kept open: what waits in it is gone with its last end.
        let mut control = open.open(&control).context("opening the way to perf")?;
        control.write_all(b"enable\n").context("telling perf to begin")?;
        let deadline = Instant::now() + READY_WITHIN;
        let mut answer = [0; 16];
        while answers.read(&mut answer).is_err() {
            if Instant::now() >= deadline {
                perf.end()?;
                bail!("perf takes no samples after {} s", READY_WITHIN.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
        }
        drop(control);
        Ok(perf)
    }

    /// It ends by the signal that it is sent.
    fn end(self) -> Result<()> {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGINT).context("ending perf")?;
        let output = self.0.wait_with_output().context("waiting for perf")?;
        let is_ended = output.status.success() || output.status.code().is_none();
        ensure!(is_ended, "perf record: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// How many samples fell into each symbol.
fn symbols(file: &Path) -> Result<BTreeMap<String, u64>> {
    let output =
        Command::new("perf").args(["script", "-F", "ip,sym", "-i"]).arg(file).output().context("running perf")?;
    ensure!(output.status.success(), "perf script: {}", String::from_utf8_lossy(&output.stderr));
    let mut symbols = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((_, symbol)) = line.trim().split_once(' ') else { continue };
        *symbols.entry(symbol.to_owned()).or_default() += 1;
    }
    ensure!(!symbols.is_empty(), "perf took no sample of the load");
    Ok(symbols)
}

fn header() -> String {
    let parts = PARTS.iter().map(|(name, _)| format!("{name:>9}")).collect::<String>();
    format!("{:<36} {:>9}{parts} {:>9}\n", "ns a turn of the load", "all", "the rest")
}

fn row(name: &str, turn: f64, shares: &[f64]) -> String {
    let mut row = format!("{name:<36} {turn:>9.0}");
    for (place, share) in shares.iter().enumerate() {
        let gap = if place == PARTS.len() { " " } else { "" };
        // Writing into a string does not fail.
        let _ = write!(row, "{gap}{:>9.0}", share * turn);
    }
    row + "\n"
}
