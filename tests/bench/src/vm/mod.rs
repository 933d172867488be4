//! Hooks on functions, which the kernel at hand may not have: measured on other kernels, in virtual machines.
//!
//! Emulated machines have their own sense of time: figures say nothing, ratios within one boot something.

pub mod guest;

use std::path::Path;
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};
use kubeward_bpf::probe::Backend;

use crate::excuse::WhyNot;
use crate::load::own_program;
use crate::registry::{Bench, Findings};
use crate::row::{Goal, Spec};
use guest::Attached;

const FOLDER: &str = "tests/vm";

struct Machine {
    /// As `tests/vm/fetch.sh` has it.
    kernel: &'static str,
    backend: Backend,
    /// Of the backend's hooks on functions there.
    hooks: &'static str,
}

const MACHINES: [Machine; 2] = [
    Machine { kernel: "6.12", backend: Backend::Fentry, hooks: "fentry and fexit" },
    Machine { kernel: "7.x", backend: Backend::Kprobe, hooks: "kprobe.multi" },
];

pub fn rows() -> Vec<Spec> {
    MACHINES.iter().flat_map(Machine::rows).collect()
}

impl Machine {
    fn rows(&self) -> Vec<Spec> {
        let all =
            guest::LOADS.into_iter().flat_map(|load| Attached::of(self.backend).iter().map(move |&of| (of, load)));
        let row = |(attached, load): (Attached, crate::load::Load)| {
            let (what, goal) = match attached {
                Attached::Nothing => ("nothing, twice: the noise".to_owned(), None),
                Attached::Elsewhere => {
                    (format!("{} on calls that it does not make", self.hooks), Some(Goal::WithinNoise))
                }
                Attached::EmptyPair => ("an empty fentry and fexit on its calls".to_owned(), None),
                Attached::Record => (format!("records with durations by {}", self.hooks), None),
            };
            let is_over_empty =
                attached == Attached::Record && Attached::of(self.backend).contains(&Attached::EmptyPair);
            Spec {
                name: self.row_name(&guest::row_name(attached, load)),
                what: format!("{} on {}: {what}", load.name(), self.kernel),
                against: if is_over_empty { "empty-pair, added time" } else { "nothing attached, all time" }.to_owned(),
                unit: "emulated ns added".to_owned(),
                goal,
            }
        };
        all.map(row).collect()
    }

    fn row_name(&self, in_guest: &str) -> String {
        format!("vm/{}/{in_guest}", self.kernel)
    }

    /// Boots it and brings back what it found.
    fn measure(&self, bench: &Bench, program: &Path) -> Result<Findings> {
        succeeds(Command::new(format!("{FOLDER}/fetch.sh")).arg(self.kernel))?;
        let out = tempfile::tempdir().context("a folder for the machine's results")?;
        // What it is to do, for the script in the machine.
        let order = out.path().join("bench-order");
        let once = if bench.is_once { " --once" } else { "" };
        std::fs::write(&order, format!("--backend {} --rounds {}{once}\n", self.backend, bench.rounds))
            .context("writing the machine's order")?;
        let mut run = Command::new(format!("{FOLDER}/run.sh"));
        run.args(["--timeout", "900", "--out"]).arg(out.path()).args([self.kernel, "--"]);
        run.arg(format!("{FOLDER}/guest/bench.sh")).arg(format!("{}=/bin/kubeward-bench", program.display()));
        run.arg(format!("{}=/bench-order", order.display()));
        succeeds(&mut run).with_context(|| format!("{}{}", self.kernel, last_words(out.path())))?;
        let found =
            std::fs::read_to_string(out.path().join("findings.json")).context("reading the machine's findings")?;
        let mut findings: Findings = serde_json::from_str(&found).context("reading the machine's findings")?;
        findings.measured.iter_mut().for_each(|measured| measured.name = self.row_name(&measured.name));
        Ok(findings)
    }
}

pub fn run(bench: &Bench) -> Result<Findings> {
    ensure!(Path::new(FOLDER).is_dir(), "{FOLDER} is not here: run it in the project's folder");
    let stripped = tempfile::tempdir().context("a folder for the machines' program")?;
    let program = stripped.path().join("kubeward-bench");
    // Without its debug information: the machine keeps it in memory.
    succeeds(Command::new("strip").arg("-o").arg(&program).arg(own_program()?))?;
    let mut findings = Findings::default();
    for machine in &MACHINES {
        let rows = machine.rows();
        if !rows.iter().any(|row| bench.wants(&row.name)) {
            continue;
        }
        match machine.measure(bench, &program) {
            Ok(found) => findings.measured.extend(found.measured),
            Err(error) => {
                let why = WhyNot::from(error);
                findings.not_run.extend(rows.into_iter().map(|row| (row.name, why.clone())));
            }
        }
    }
    Ok(findings)
}

fn succeeds(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    bail!("{name}: {}: {}", output.status, said.lines().last().unwrap_or("it said nothing"))
}

/// What the program in the machine complained of.
fn last_words(out: &Path) -> String {
    let said = std::fs::read_to_string(out.join("bench.err")).unwrap_or_default();
    said.lines().last().map_or_else(String::new, |line| format!(": {line}"))
}
