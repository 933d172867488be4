//! The command line of the measurements.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use clap::{Parser, Subcommand};
use kubeward_bpf::probe::Backend;

use kubeward_bench::check::{self, Checked};
use kubeward_bench::kernel;
use kubeward_bench::load::{self, Load};
use kubeward_bench::product::{inits, profile};
use kubeward_bench::registry::{self, Bench};
use kubeward_bench::report::Report;
use kubeward_bench::vm::guest;

/// Measures what KubeWard costs. As root, on a machine that does nothing else; `make bench` runs it.
#[derive(Debug, Parser)]
#[command(name = "kubeward-bench", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Rounds of interleaved samples
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Rows to measure, by name; `*` stands for anything
    #[arg(long, default_value = registry::EVERYTHING, value_name = "GLOB")]
    only: String,
    /// Write the report to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// One round of small loads: shows that everything runs, and no figure that means something
    #[arg(long, conflicts_with = "rounds")]
    once: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the table of a report
    Table { file: PathBuf },
    /// Check that a report has every row, each with a figure, or with one of the few reasons that excuse it
    Check { file: PathBuf },
    /// Print how often and how long each of the agent's programs runs while two containers make calls
    ProfileKernel {
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Print which part of the kernel a call's time goes to, by what is attached
    ProfileCalls {
        /// Rows of the kernel's, by name; `*` stands for anything
        #[arg(long, default_value = "kernel/*", value_name = "GLOB")]
        only: String,
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
    /// Print who takes the CPUs while a busy redis is watched
    ProfileRedis {
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Sample the agent's stacks with perf while two containers make calls
    ProfileUser {
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Where perf writes them
        #[arg(long, value_name = "FILE")]
        samples: PathBuf,
    },
    /// Be tasks that wait
    #[command(hide = true)]
    Inits { count: usize },
    /// Make calls as often as standard input says
    #[command(hide = true)]
    Load { load: Load },
    /// Measure hooks on functions in a virtual machine, and print what was found
    #[command(hide = true)]
    Guest {
        #[arg(long)]
        backend: Backend,
        #[arg(long)]
        rounds: usize,
        #[arg(long)]
        once: bool,
    },
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match &args.verb {
        Some(Verb::Table { file }) => print!("{}", read(file)?.table()),
        Some(Verb::Inits { count }) => inits::serve(*count)?,
        Some(Verb::ProfileKernel { seconds }) => print!("{}", profile::kernel(*seconds)?),
        Some(Verb::ProfileCalls { only, seconds }) => print!("{}", kernel::profile::by_part(only, *seconds)?),
        Some(Verb::ProfileRedis { seconds }) => print!("{}", profile::redis(*seconds)?),
        Some(Verb::ProfileUser { seconds, samples }) => profile::user(*seconds, samples)?,
        Some(Verb::Check { file }) => return Ok(told(&check::check(&read(file)?, &registry::all_rows()))),
        Some(Verb::Load { load }) => load::serve(*load)?,
        Some(Verb::Guest { backend, rounds, once }) => {
            let findings = guest::measure(*backend, *rounds, *once)?;
            println!("{}", serde_json::to_string(&findings).context("writing the findings")?);
        }
        None => measure(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args) -> Result<()> {
    let rounds = if args.once { 1 } else { args.rounds as usize };
    let bench = Bench { rounds, is_once: args.once, only: args.only.clone() };
    let rows = registry::run(&bench, registry::GROUPS, |name| eprintln!("measuring: {name}"));
    ensure!(!rows.is_empty(), "no row is called {}: `kubeward-bench table` of a report shows their names", args.only);
    let command = std::env::var("KUBEWARD_BENCH_COMMAND").unwrap_or_else(|_| command_line());
    let report = Report::new(&bench, command, rows)?;
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report).context("writing the report")?;
        std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    print!("{}", report.table());
    Ok(())
}

/// As it was called, without the program's folder.
fn command_line() -> String {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let program = Path::new(&program).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

fn read(file: &Path) -> Result<Report> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no report of kubeward-bench", file.display()))
}

/// As tests report: what failed, what was not run and why, and the count as the last line.
fn told(checked: &Checked) -> ExitCode {
    checked.excused.iter().for_each(|row| println!("not run: bench {row}"));
    checked.faults.iter().for_each(|row| println!("FAIL bench {row}"));
    println!("{} passed, {} failed", checked.passed, checked.faults.len());
    if checked.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
