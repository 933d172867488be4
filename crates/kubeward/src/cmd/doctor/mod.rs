//! `kubeward doctor`: what this kernel and host allow, what would be chosen and why.

mod cost;
mod facts;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use kubeward_agent::discovery::containerd::DEFAULT_SOCKETS;
use kubeward_agent::serve::client::DEFAULT_SOCKET;
use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{self, Backend, BackendVerdict, Probes, UringSupport};
use kubeward_bpf::support;

use super::{answer, privilege, told};

/// Say what this kernel and host allow, which hooks would be used and why
///
/// Tries every kind of hook for a moment, in a thread of its own: about a second. Without root it says what is missing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubeward doctor
  kubeward doctor >doctor.txt      (to attach to a report)

Exit code: 0 if tracing works here, 1 if it does not.")]
pub(crate) struct DoctorArgs {
    /// The socket of a running agent, which is asked what it costs
    #[arg(long, value_name = "PATH", env = "KUBEWARD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

pub(crate) fn run(args: &DoctorArgs) -> ExitCode {
    let mut report = String::new();
    host(&mut report);
    let works = match hooks(&mut report) {
        Ok(()) => true,
        Err(error) => {
            line(&mut report, "verdict", &format!("tracing does not work here: {}", told(&error)));
            false
        }
    };
    sockets(&mut report);
    cost::tell(&mut report, &args.socket);
    unseen(&mut report);
    answer(&report, if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(report: &mut String, name: &str, text: &str) {
    writeln!(report, "{name:<18} {text}").expect("writing to a String cannot fail");
}

fn host(report: &mut String) {
    line(report, "kernel", &facts::kernel());
    line(report, "preemption", &facts::preemption());
    line(report, "BTF", &facts::btf());
    let missing = support::missing_capabilities();
    let capabilities = match (missing.is_empty(), privilege::check()) {
        (true, Ok(())) => "CAP_BPF and CAP_PERFMON are there (or CAP_SYS_ADMIN, which stands for both)".to_owned(),
        (true, Err(error)) => error.to_string(),
        (false, _) => format!("{} missing: run as root, or give the process these capabilities", missing.join(" and ")),
    };
    line(report, "capabilities", &capabilities);
    line(report, "lockdown", &facts::lockdown());
    line(report, "cgroups", &facts::cgroups());
    line(report, "tracefs", &facts::tracefs());
}

fn hooks(report: &mut String) -> anyhow::Result<()> {
    let options = LoadOptions::default();
    let engine = Arc::new(Engine::load(&options)?);
    cost::of_maps(report, &options);
    let tasks = engine.tasks()?;
    let level = tasks.iter().find(|task| task.pid == std::process::id()).map_or(0, |own| own.pid_level);
    line(report, "pid namespace", &facts::pid_namespace(level));
    let support = engine.support();
    let loads = |name: &str, loads: bool| format!("{name} {}", if loads { "yes" } else { "no" });
    let kinds =
        [("tracepoint", support.tracepoint), ("kprobe", support.kprobe), ("kprobe.multi", support.kprobe_multi)];
    line(report, "program types", &kinds.map(|(name, yes)| loads(name, yes)).join(", "));
    line(report, "reads of tasks", &reads(&engine));
    line(report, "32-bit calls", &compat_entry());
    let timer = engine.run_timer()?;
    timer.open()?;
    for verdict in probe::survey(&engine)? {
        line(report, verdict.name, &said(&verdict));
    }
    timer.close()?;
    line(report, "cost of a run", &cost::of_a_run(timer.timed()?));
    let probes = Probes::new(engine, Backend::Auto)?;
    for (nr, sentence) in probes.explain().iter().enumerate() {
        line(report, if nr == 0 { "auto" } else { "" }, sentence);
    }
    line(report, "io_uring", uring());
    let (skipped, missed) = (probes.skipped(), probes.missed_returns());
    line(report, "skipped runs", &format!("{skipped} (the kernel's recursion_misses of the hooks that auto uses)"));
    line(report, "missed returns", &format!("{missed} (of kretprobes, where the kernel counts them)"));
    Ok(())
}

/// How programs read tasks, which changes how long they take to load.
fn reads(engine: &Engine) -> String {
    match engine.cast_refusal() {
        None => "by bpf_rdonly_cast, where the kernel has it (6.2)".to_owned(),
        Some(refusal) => format!(
            "without bpf_rdonly_cast, as exact and slower to load: {}",
            refusal.lines().next().unwrap_or_default()
        ),
    }
}

/// By which hooks calls of the 32-bit table are seen.
fn compat_entry() -> String {
    match probe::compat_functions() {
        0 => "this kernel has none (int 0x80 ends a program): it is built without CONFIG_IA32_EMULATION".to_owned(),
        count => format!(
            "covered: int 0x80 is seen by the tracepoints, and by hooks on functions: {count} of its own, or the one that all go through"
        ),
    }
}

fn uring() -> &'static str {
    match probe::uring_support() {
        UringSupport::Watched(_) => "operations in place of calls are seen as these calls",
        UringSupport::Absent => "this kernel has none",
        UringSupport::Nameless => {
            "operations in place of calls are not seen: the kernel's tracepoints tell requests from 6.1 on (a policy can name io_uring_setup)"
        }
    }
}

fn said(verdict: &BackendVerdict) -> String {
    let detail = verdict.detail.strip_prefix(verdict.name).unwrap_or(&verdict.detail).trim_start_matches(": ");
    match &verdict.attaches {
        Ok(()) => format!("attaches; {detail}"),
        Err(reason) => format!("does not attach: {reason}"),
    }
}

fn sockets(report: &mut String) {
    let found: Vec<&str> = DEFAULT_SOCKETS.into_iter().filter(|path| std::path::Path::new(path).exists()).collect();
    let text = match found.is_empty() {
        true => format!("no socket found (looked for {}); the agent waits for one", DEFAULT_SOCKETS.join(", ")),
        false => found.join(", "),
    };
    line(report, "containerd", &text);
}

/// What no hook shows, or not every kind of hook.
fn unseen(report: &mut String) {
    let cannot = [
        "operations of io_uring that are no call's, and commands to drivers and sockets (URING_CMD)",
        "calls that a seccomp filter refused, where a hook on the call's function (kprobe, fentry) serves them: only the tracepoints show them (a policy can ask: refused: true)",
        "as a container's, what a privileged one has others do: programs that the kernel starts (core_pattern, modprobe, uevent_helper, release_agent) or that others run (binfmt_misc), processes of the host that it writes into (ptrace, process_vm_writev, /proc/PID/mem), services of the host that it asks (D-Bus, cron, containerd's socket)",
    ];
    for (nr, text) in cannot.iter().enumerate() {
        line(report, if nr == 0 { "not seen" } else { "" }, text);
    }
}
