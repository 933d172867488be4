//! The program whose calls are known (`producer.c`), compiled for the run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};

use super::node::Node;

const SOURCE: &str = include_str!("producer.c");

/// Compiles it into the folder, statically: it runs in an image that has no libraries.
pub(super) fn compile(folder: &Path) -> Result<PathBuf> {
    let (source, program) = (folder.join("producer.c"), folder.join("producer"));
    std::fs::write(&source, SOURCE)?;
    let compiler = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(&source).output();
    let output = compiler.context("running cc: a C compiler is needed (apt-get install gcc libc6-dev)")?;
    ensure!(output.status.success(), "the producer does not compile: {}", String::from_utf8_lossy(&output.stderr));
    Ok(program)
}

/// How many calls one made in that container that made as many as it could.
pub(super) fn one(node: &Node, container: &str, seconds: u64) -> Result<u64> {
    count(&node.exec(container, &["/bin/producer", "one", &seconds.to_string()])?)
}

/// How many one made that makes `rate` calls a second, or as many as it can where that is less.
pub(super) fn paced(node: &Node, container: &str, seconds: u64, rate: u64) -> Result<u64> {
    count(&node.exec(container, &["/bin/producer", "paced", &seconds.to_string(), &rate.to_string()])?)
}

/// How many one made that makes `rate` calls of several kinds a second.
pub(super) fn mixed(node: &Node, container: &str, seconds: u64, rate: u64) -> Result<u64> {
    count(&node.exec(container, &["/bin/producer", "mixed", &seconds.to_string(), &rate.to_string()])?)
}

fn count(printed: &str) -> Result<u64> {
    printed.trim().parse().with_context(|| format!("the producer printed {printed:?} for a number of calls"))
}
