//! `kubeward syscalls`: the catalogue.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use kubeward_core::syscall::{self, Category, Syscall};

use super::answer;

/// List the system calls of this architecture: number, name, category, arguments
///
/// Any of these names can be used in -e and in policies, also in the kernel's forms (sys_openat, __x64_sys_openat).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubeward syscalls --category network
  kubeward syscalls | grep rename")]
pub(crate) struct SyscallsArgs {
    /// Only calls of this category: file, network, process, fd, memory, signal, timer, user, system or other
    #[arg(long, value_name = "CATEGORY", env = "KUBEWARD_CATEGORY")]
    category: Option<Category>,
}

pub(crate) fn run(args: &SyscallsArgs) -> ExitCode {
    let mut text = String::new();
    for call in syscall::all().iter().filter(|call| args.category.is_none_or(|category| call.category == category)) {
        let named = format_args!("{:>3} {:<24} {:<8}", call.nr, call.name, call.category.name());
        writeln!(text, "{named} {}", arguments(call)).expect("writing to a String cannot fail");
    }
    answer(&text, ExitCode::SUCCESS)
}

fn arguments(call: &Syscall) -> String {
    match call.args {
        None if call.nr == syscall::UNLISTED => "(every number that is not in this list: six registers)".to_owned(),
        None if !call.has_function => "(no kernel function: always fails with ENOSYS)".to_owned(),
        None => "(six registers)".to_owned(),
        Some(args) => format!("({})", args.iter().map(|arg| arg.name).collect::<Vec<_>>().join(", ")),
    }
}
