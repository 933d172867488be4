//! KubeWard's record of a real program equals strace's record of the same program, thread by thread: the
//! sequence of calls, their path arguments, the argument lists of execve and the return values.
//!
//! Both tracers run the program in a new pid and mount namespace with its own /proc, under a process 1 that
//! is not the program, in the same folder with the same environment and without address randomisation.
//!
//! What is not compared, being no property of the program:
//! - ids of processes and threads: replaced by who they are (parent's nth child). Addresses that the kernel
//!   chooses: replaced by "an address".
//! - names that a program draws at random (`tmp_obj_x7Ga2b`): the drawn part, where `Program::random_names`
//!   says so.
//! - when a signal handler runs. strace stops every thread at every call, which moves the arrival of signals:
//!   `rt_sigreturn`, the end of a handler, is left out, and so are the calls in `Program::timing`.
//! - in which order children that end together are reaped: the results of wait4 calls that follow each other
//!   directly are compared as a set.
//! - a call that a signal interrupted and that the kernel starts again by itself (ERESTARTNOINTR, and ERESTARTSYS
//!   when the same call follows): strace stops a thread even for a signal that it ignores. The call that follows
//!   is compared.
//! - a call in which the thread was ended by another: it has no result, and which call that is depends on when
//!   the end came. The calls that end a thread themselves (`exit`, `exit_group`) are compared.
//! - calls before the program's execve: those are the tracer's own.
//!
//! Programs whose processes race against each other (`Program::races`) are run again, at most four times under
//! either tracer, until each thread equals a recorded truth. The others have one chance.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use crate::calls::{Call, PathArg, Ret, Run};
use crate::compare::differences;
use crate::events::Stream;
use crate::tracer::{binary, plain_environment, read_stream};
use crate::{events, strace};

/// A program and how it may be compared.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// An absolute path and its arguments.
    pub(crate) command: Vec<String>,
    /// Files of the folder it runs in.
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
    /// Calls whose number or result depends on timing alone, with `rt_sigreturn` always among them.
    pub(crate) timing: &'static [&'static str],
    /// Beginnings of file names that continue at random.
    pub(crate) random_names: &'static [&'static str],
    /// Whether its processes race, so that one run need not equal the next.
    pub(crate) races: bool,
    /// Its exit status: one that fails at its first step proves nothing.
    pub(crate) exits_with: i32,
}

impl Program {
    pub(crate) fn new<S: Into<String>>(name: &'static str, command: impl IntoIterator<Item = S>) -> Program {
        Program {
            name,
            command: command.into_iter().map(Into::into).collect(),
            files: Vec::new(),
            timing: &[],
            random_names: &[],
            races: false,
            exits_with: 0,
        }
    }

    pub(crate) fn file(mut self, path: &'static str, content: impl Into<Vec<u8>>) -> Program {
        self.files.push((path, content.into()));
        self
    }

    pub(crate) fn exiting_with(mut self, status: i32) -> Program {
        self.exits_with = status;
        self
    }

    pub(crate) fn racing(mut self) -> Program {
        self.races = true;
        self
    }

    pub(crate) fn without(mut self, timing: &'static [&'static str]) -> Program {
        self.timing = timing;
        self
    }

    pub(crate) fn with_random(mut self, names: &'static [&'static str]) -> Program {
        self.random_names = names;
        self
    }

    /// Runs it under both tracers and compares.
    pub(crate) fn assert_truth(&self) {
        let stage = Stage::of(self);
        let mut truths = Vec::new();
        let mut last = Vec::new();
        for _ in 0..if self.races { 4 } else { 1 } {
            let (truth, true_output) = stage.under_strace();
            let (seen, output) = stage.under_kubeward();
            let complaint = String::from_utf8_lossy(&true_output.stderr);
            assert_eq!(true_output.status.code(), Some(self.exits_with), "{}: {complaint}", self.name);
            assert_eq!(output.stdout, true_output.stdout, "{} wrote something else", self.name);
            assert_eq!(output.status, true_output.status, "{} ended otherwise", self.name);
            truths.push(truth);
            last = match seen {
                Ok(seen) => differences(&seen, &truths),
                Err(reason) => vec![reason],
            };
            if last.is_empty() {
                return;
            }
            eprintln!("{}: run {} differs\n{}", self.name, truths.len(), last.join("\n"));
        }
        panic!("{}: {} differences, above, after {} runs", self.name, last.len(), truths.len());
    }

    /// Takes out of a record what this program does by chance.
    fn settle(&self, mut run: Run) -> Run {
        for calls in run.values_mut() {
            drop_restarted(calls);
            calls.retain(|call| call.name != "rt_sigreturn" && !self.timing.contains(&call.name.as_str()));
            sort_neighbouring_waits(calls);
            for path in calls.iter_mut().flat_map(|call| &mut call.paths) {
                if let PathArg::Bytes(bytes) = path {
                    self.random_names.iter().for_each(|beginning| drop_random(bytes, beginning));
                }
            }
        }
        run
    }
}

/// Drops the calls that the kernel started again.
fn drop_restarted(calls: &mut Vec<Call>) {
    let names: Vec<String> = calls.iter().map(|call| call.name.clone()).skip(1).chain([String::new()]).collect();
    let mut next = names.into_iter();
    calls.retain(|call| {
        let again = next.next().is_some_and(|name| name == call.name);
        let Ret::Error(error) = &call.ret else { return true };
        !(error == "ERESTARTNOINTR" || error == "ERESTARTSYS" && again)
    });
}

/// Two children of a pipeline end at about the same time: which is reaped first is chance.
fn sort_neighbouring_waits(calls: &mut [Call]) {
    for waits in calls.chunk_by_mut(|a, b| a.name == "wait4" && b.name == "wait4") {
        waits.sort_by_key(|call| match &call.ret {
            Ret::Task(birth) => (0, Some(birth.clone())),
            _ => (1, None),
        });
    }
}

/// Replaces the letters and digits after `beginning` by a star.
fn drop_random(path: &mut Vec<u8>, beginning: &str) {
    let found = path.windows(beginning.len()).position(|part| part == beginning.as_bytes());
    if let Some(at) = found.map(|at| at + beginning.len()) {
        let length = path[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        path.splice(at..at + length, *b"*");
    }
}

/// The same place for every run of one program.
pub(crate) struct Stage<'a> {
    program: &'a Program,
    dir: TempDir,
}

impl Stage<'_> {
    pub(crate) fn of(program: &Program) -> Stage<'_> {
        Stage { program, dir: tempfile::tempdir().expect("a temporary folder") }
    }

    fn under_strace(&self) -> (Run, Output) {
        let (records, output) = self.strace();
        let run = strace::read_run(&records).unwrap_or_else(|e| {
            panic!("{}: strace: {e}\n{}", self.program.name, String::from_utf8_lossy(&output.stderr))
        });
        (self.program.settle(run), output)
    }

    fn under_kubeward(&self) -> (Result<Run, String>, Output) {
        let (stream, output) = self.kubeward();
        let run = events::read_run(&stream.events, &self.program.command[0]);
        (run.map(|run| self.program.settle(run)), output)
    }

    /// Leaves a file a thread in the folder that is returned.
    pub(crate) fn strace(&self) -> (PathBuf, Output) {
        let records = self.empty_folder("strace");
        let unshare = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"];
        let mut line = self.without_randomisation(&unshare);
        line.args(strace::STRACE).arg("-o").arg(records.join(strace::FILE)).arg("--");
        let output = self.run(line);
        (records, output)
    }

    pub(crate) fn kubeward(&self) -> (Stream, Output) {
        let records = self.empty_folder("kubeward").join("events.jsonl");
        let binary = binary();
        let kubeward = [&binary.to_string_lossy(), "trace", "-e", "all", "--format", "json", "-o"];
        let mut line = self.without_randomisation(&kubeward);
        line.arg(&records).arg("--");
        let output = self.run(line);
        let stream = read_stream(&records, &output);
        stream.assert_nothing_lost();
        (stream, output)
    }

    /// `setarch -R TRACER...`: what the tracer starts inherits it.
    fn without_randomisation(&self, tracer: &[&str]) -> Command {
        let mut line = Command::new("setarch");
        line.arg("-R").args(tracer);
        line
    }

    /// Adds the program to a tracer's command line and runs it in a fresh folder of the same name.
    fn run(&self, mut line: Command) -> Output {
        let work = self.empty_folder("work");
        for (path, content) in &self.program.files {
            let path = work.join(path);
            fs::create_dir_all(path.parent().expect("a path within the folder")).expect("a folder");
            fs::write(&path, content).expect("a file of the program");
            // Archives hold the time, and the length of a compressed one depends on it.
            let file = fs::File::options().write(true).open(&path).expect("the file just written");
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_600_000_000)).expect("a time of its own");
        }
        line.args(&self.program.command).current_dir(&work).stdin(Stdio::null());
        plain_environment(&mut line);
        line.env("HOME", &work).env("PYTHONHASHSEED", "0").env("PYTHONDONTWRITEBYTECODE", "1");
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.dir.path().join(name));
        let open = |path: &Path| fs::File::create(path).expect("a file for the output");
        let status = line.stdout(open(&stdout)).stderr(open(&stderr)).status();
        let status = status.unwrap_or_else(|e| panic!("setarch cannot be run: {e}"));
        Output { status, stdout: read(&stdout), stderr: read(&stderr) }
    }

    fn empty_folder(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
            _ => fs::create_dir(&path).expect("a folder"),
        }
        path
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("the output that was just written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_random_part_of_a_name_is_replaced() {
        let dropped = |text: &str| {
            let mut path = text.as_bytes().to_vec();
            drop_random(&mut path, "tmp_obj_");
            String::from_utf8(path).expect("text")
        };
        assert_eq!(dropped("/a/tmp_obj_x7Ga2b.pack"), "/a/tmp_obj_*.pack");
        assert_eq!(dropped("/a/tmp_obx_x7Ga2b"), "/a/tmp_obx_x7Ga2b");
    }
}
