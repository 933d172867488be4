//! Tasks that stand for containers' inits: threads that only wait, some of each of several processes, since the kernel looks through
//! all threads of a process when it is asked about one.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{ensure, Context, Result};

/// Threads of one process.
const OF_A_PROCESS: usize = 50;

/// A thread that only waits needs little.
const STACK_BYTES: usize = 16 << 10;

/// Dropping it ends them.
pub(super) struct Inits {
    tids: Vec<u32>,
    processes: Vec<Child>,
}

impl Inits {
    pub(super) fn start(count: usize) -> Result<Self> {
        let mut inits = Self { tids: Vec::new(), processes: Vec::new() };
        while inits.tids.len() < count {
            inits.add((count - inits.tids.len()).min(OF_A_PROCESS))?;
        }
        Ok(inits)
    }

    fn add(&mut self, count: usize) -> Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["inits", &count.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("starting a process of inits")?;
        let told = BufReader::new(process.stdout.take().context("it is piped")?);
        self.processes.push(process);
        let tids: Vec<u32> = told.lines().take(count).map(|line| Ok(line?.parse()?)).collect::<Result<_>>()?;
        ensure!(tids.len() == count, "a process started {} of {count} inits", tids.len());
        self.tids.extend(tids);
        Ok(())
    }

    pub(super) fn tids(&self) -> &[u32] {
        &self.tids
    }
}

impl Drop for Inits {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// One such process: tells its threads' numbers, and ends with its standard input.
pub fn serve(count: usize) -> Result<()> {
    let (told, tids) = mpsc::channel();
    for _ in 0..count {
        let told = told.clone();
        let init = thread::Builder::new().name("pause".to_owned()).stack_size(STACK_BYTES);
        init.spawn(move || {
            // Nobody listens where the start of another failed.
            let _ = told.send(nix::unistd::gettid());
            loop {
                thread::park();
            }
        })?;
    }
    let mut output = std::io::stdout().lock();
    tids.iter().take(count).try_for_each(|tid| writeln!(output, "{tid}"))?;
    output.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
