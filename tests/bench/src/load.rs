//! Loads that make one call, or a pair of calls, in a loop, in a process of their own that times itself.
//!
//! The process is this program again, as `kubeward-bench load NAME`. It reads lines `CHUNKS CALLS` and answers each with the
//! nanoseconds a call of every chunk, so that the time of whatever tells it to begin is not measured.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{bail, Context, Result};
use clap::ValueEnum;
use nix::unistd::Pid;

use crate::cpu;
use crate::measure::middle_mean;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Load {
    /// A call that does next to nothing and has no arguments.
    Getppid,
    /// One byte of /dev/zero.
    Read,
    /// /dev/null opened and closed: two calls, a string and a path.
    #[value(name = "openat+close")]
    OpenClose,
}

/// How much of a load is measured at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub chunks: usize,
    /// Turns of the loop in a chunk, about a millisecond long.
    pub turns: usize,
}

impl Load {
    pub const ALL: [Self; 3] = [Self::Getppid, Self::Read, Self::OpenClose];

    pub fn name(self) -> &'static str {
        match self {
            Self::Getppid => "getppid",
            Self::Read => "read",
            Self::OpenClose => "openat+close",
        }
    }

    /// The calls of one turn of the loop, by the catalogue's names.
    pub fn calls(self) -> &'static [&'static str] {
        match self {
            Self::Getppid => &["getppid"],
            Self::Read => &["read"],
            Self::OpenClose => &["openat", "close"],
        }
    }

    /// Some 50 ms with nothing attached; next to nothing where figures mean nothing.
    pub fn size(self, is_once: bool) -> Size {
        let turns = match self {
            Self::Getppid => 6000,
            Self::Read => 4000,
            Self::OpenClose => 500,
        };
        if is_once {
            Size { chunks: 10, turns: turns / 4 }
        } else {
            Size { chunks: 50, turns }
        }
    }

    fn turn(self, zero: &mut File) -> Result<()> {
        match self {
            Self::Getppid => {
                std::hint::black_box(std::os::unix::process::parent_id());
            }
            Self::Read => {
                zero.read_exact(&mut [0]).context("reading /dev/zero")?;
            }
            Self::OpenClose => drop(File::open("/dev/null").context("opening /dev/null")?),
        }
        Ok(())
    }
}

impl Size {
    pub fn all_turns(self) -> u64 {
        (self.chunks * self.turns) as u64
    }
}

/// The load's own process, until its standard input ends.
pub fn serve(load: Load) -> Result<()> {
    let mut zero = File::open("/dev/zero").context("opening /dev/zero")?;
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.context("reading what to do")?;
        let mut numbers = line.split(' ').map(str::parse::<usize>);
        let (Some(Ok(chunks)), Some(Ok(turns))) = (numbers.next(), numbers.next()) else {
            bail!("a load takes lines \"CHUNKS TURNS\", not {line:?}");
        };
        let mut took = Vec::with_capacity(chunks);
        for _ in 0..chunks {
            let begin = Instant::now();
            for _ in 0..turns {
                load.turn(&mut zero)?;
            }
            took.push((begin.elapsed().as_nanos() as f64 / turns as f64).to_string());
        }
        writeln!(output, "{}", took.join(" ")).context("answering")?;
    }
    Ok(())
}

/// A load that waits to be told.
#[derive(Debug)]
pub struct LoadProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl LoadProcess {
    /// On the load's own CPU.
    pub fn start(load: Load) -> Result<Self> {
        let started = Self::start_anywhere(load)?;
        cpu::pin(Pid::from_raw(started.child.id().cast_signed()), cpu::LOAD)?;
        Ok(started)
    }

    /// Wherever the kernel puts it.
    pub fn start_anywhere(load: Load) -> Result<Self> {
        Self::start_under(Command::new(own_program()?).args(["load", load.name()]))
    }

    /// By a command that ends in a load's own; wherever the kernel puts it.
    pub fn start_under(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().to_string_lossy()))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("the load's output is a pipe")?);
        Ok(Self { child, input, output })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Nanoseconds a turn.
    pub fn run(&mut self, size: Size) -> Result<f64> {
        let input = self.input.as_mut().context("the load's input is a pipe")?;
        writeln!(input, "{} {}", size.chunks, size.turns).context("telling the load to begin")?;
        let mut line = String::new();
        self.output.read_line(&mut line).context("reading what the load says")?;
        let chunks: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if chunks.len() != size.chunks {
            bail!("the load ended before it answered");
        }
        Ok(middle_mean(&chunks))
    }

    /// Ends the load, and whatever ran it with it.
    pub fn stop(mut self) -> Result<()> {
        self.input = None;
        self.child.wait().context("waiting for the load")?;
        Ok(())
    }
}

impl Drop for LoadProcess {
    fn drop(&mut self) {
        self.input = None;
        // It ends with its input; that it ended before is as good.
        let _ = self.child.wait();
    }
}

/// This program's file.
pub fn own_program() -> Result<std::path::PathBuf> {
    std::env::current_exe().context("finding this program's own file")
}
