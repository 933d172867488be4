//! bpftrace beside a load that runs already: it is there once it has told of one of the load's calls.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use crate::load::{Load, LoadProcess, Size};

/// bpftrace compiles its program first, on a busy machine for seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What bpftrace is to do with the calls of process `PID`. Each prints a line that begins with `call` once it has seen some.
pub(super) const COUNT: &str = r#"
tracepoint:raw_syscalls:sys_exit /pid == PID/ { @call = count(); }
interval:ms:100 { print(@call); }"#;
pub(super) const PRINT: &str = r#"
tracepoint:raw_syscalls:sys_enter /pid == PID/ {
  printf("call %d %d %lx %lx %lx %lx %lx %lx\n", tid, args->id,
    args->args[0], args->args[1], args->args[2], args->args[3], args->args[4], args->args[5]);
}
tracepoint:raw_syscalls:sys_exit /pid == PID/ { printf("%d = %ld\n", tid, args->ret); }"#;

/// Ended with what holds it.
struct Bpftrace(Child);

impl Drop for Bpftrace {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nanoseconds a turn of the load beside bpftrace with this program.
pub(super) fn run_beside(load: Load, size: Size, program: &str) -> Result<f64> {
    let mut process = LoadProcess::start_anywhere(load)?;
    let output = tempfile::NamedTempFile::new().context("a file for bpftrace's output")?;
    let program = program.replace("PID", &process.pid().to_string());
    let mut bpftrace = Command::new("bpftrace")
        .args(["-e", &program])
        .stdin(Stdio::null())
        .stdout(output.reopen().context("a file for bpftrace's output")?)
        .stderr(Stdio::null())
        .spawn()
        .map(Bpftrace)
        .context("starting bpftrace")?;
    let deadline = Instant::now() + PATIENCE;
    while !has_seen_calls(output.as_file().try_clone()?)? {
        if let Some(status) = bpftrace.0.try_wait().context("asking after bpftrace")? {
            bail!("bpftrace ended before it saw a call: {status} (is tracefs at /sys/kernel/tracing?)");
        }
        if Instant::now() > deadline {
            bail!("bpftrace saw no call of the load within {PATIENCE:?}");
        }
        process.run(Size { chunks: 1, turns: 10 })?;
        thread::sleep(Duration::from_millis(20));
    }
    process.run(size)
}

/// `call 1 2 ..` of a printf, `@call: 20` of a count.
fn has_seen_calls(mut output: File) -> Result<bool> {
    output.rewind().context("reading bpftrace's output")?;
    let mut text = String::new();
    output.read_to_string(&mut text).context("reading bpftrace's output")?;
    let is_count = |line: &str| {
        line.strip_prefix("@call: ").and_then(|count| count.parse().ok()).is_some_and(|count: u64| count > 0)
    };
    Ok(text.lines().any(|line| line.starts_with("call ") || is_count(line)))
}
