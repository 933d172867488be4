//! What a traced program did, in the form in which records of two tracers can be compared.

use std::collections::BTreeMap;
use std::fmt;

/// One system call: what it was, the paths it named and what came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// One entry per path argument of the call, in the order of its arguments (see [`path_positions`]).
    pub(crate) paths: Vec<PathArg>,
    /// The argument list of execve and execveat.
    pub(crate) argv: Option<Vec<Vec<u8>>>,
    pub(crate) ret: Ret,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PathArg {
    Bytes(Vec<u8>),
    /// A tracer kept only the beginning. Never equal to the whole path.
    Cut(Vec<u8>),
    /// No string was there: NULL, or memory that could not be read.
    Pointer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ret {
    Value(i64),
    /// By name (`ENOENT`, `ERESTARTSYS`), as strace prints it.
    Error(String),
    /// An address of the process's own choosing or the kernel's.
    Address,
    /// A process or thread of the program.
    Task(Birth),
    /// A process or process group that is not part of the program.
    Outsider,
    /// The call did not return: it ended the thread, or the thread was ended while in it.
    Never,
}

/// Which task: the root is `[]`, the third child that the root's first child made is `[0, 2]`.
///
/// Ids differ from run to run; the order in which one thread makes its children does not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Birth(pub(crate) Vec<u32>);

/// All threads of one run of a program.
pub(crate) type Run = BTreeMap<Birth, Vec<Call>>;

/// A thread as a tracer wrote it down, its id being the one in the program's own pid namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) id: i64,
    pub(crate) calls: Vec<Call>,
}

/// Places the threads of one run in their family, and replaces what differs from run to run (task ids,
/// addresses) by what does not.
pub(crate) fn family(root: i64, threads: Vec<Thread>) -> Result<Run, String> {
    let mut by_id: BTreeMap<i64, Vec<Call>> = threads.into_iter().map(|t| (t.id, t.calls)).collect();
    let mut births: BTreeMap<i64, Birth> = BTreeMap::from([(root, Birth::default())]);
    let mut unvisited = vec![root];
    while let Some(parent) = unvisited.pop() {
        let calls = by_id.get(&parent).ok_or_else(|| format!("no calls of task {parent} were recorded"))?;
        for (nth, child) in children(calls).into_iter().enumerate() {
            let mut birth = births[&parent].clone();
            birth.0.push(nth as u32);
            births.insert(child, birth);
            unvisited.push(child);
        }
    }
    if let Some(stray) = by_id.keys().find(|id| !births.contains_key(id)) {
        return Err(format!("task {stray} has calls, but no task of the program made it"));
    }
    for calls in by_id.values_mut() {
        calls.retain(|call| call.ret != Ret::Never || ends_the_thread(&call.name));
        calls.iter_mut().for_each(|call| normalise(call, &births));
    }
    Ok(by_id.into_iter().map(|(id, calls)| (births[&id].clone(), calls)).collect())
}

/// Ids of the tasks that these calls made, in order.
pub(crate) fn children(calls: &[Call]) -> Vec<i64> {
    calls
        .iter()
        .filter(|call| matches!(call.name.as_str(), "clone" | "clone3" | "fork" | "vfork"))
        .filter_map(|call| match call.ret {
            Ret::Value(id) if id > 0 => Some(id),
            _ => None,
        })
        .collect()
}

/// Calls that have no return when they work.
pub(crate) fn ends_the_thread(name: &str) -> bool {
    matches!(name, "exit" | "exit_group")
}

fn normalise(call: &mut Call, births: &BTreeMap<i64, Birth>) {
    let Ret::Value(value) = call.ret else { return };
    match call.name.as_str() {
        "mmap" | "mremap" | "brk" | "shmat" => call.ret = Ret::Address,
        "getpid" | "gettid" | "getppid" | "getpgrp" | "getpgid" | "getsid" | "setsid" | "set_tid_address" => {
            call.ret = births.get(&value).map_or(Ret::Outsider, |birth| Ret::Task(birth.clone()));
        }
        "clone" | "clone3" | "fork" | "vfork" | "wait4" if value > 0 => {
            call.ret = births.get(&value).map_or(Ret::Outsider, |birth| Ret::Task(birth.clone()));
        }
        _ => {}
    }
}

/// Which arguments of a call are paths. These are the same in every tracer, being the kernel's own.
pub(crate) fn path_positions(name: &str) -> &'static [usize] {
    match name {
        "open" | "creat" | "stat" | "lstat" | "access" | "execve" | "readlink" | "unlink" | "mkdir" | "rmdir"
        | "chmod" | "chown" | "lchown" | "statfs" | "truncate" | "chdir" | "chroot" | "mknod" | "utime" | "utimes"
        | "umount2" | "getxattr" | "lgetxattr" | "setxattr" | "lsetxattr" | "listxattr" | "llistxattr"
        | "removexattr" | "lremovexattr" | "acct" | "swapon" | "swapoff" => &[0],
        "openat" | "openat2" | "newfstatat" | "statx" | "faccessat" | "faccessat2" | "execveat" | "readlinkat"
        | "unlinkat" | "mkdirat" | "mknodat" | "fchmodat" | "fchmodat2" | "fchownat" | "utimensat" | "futimesat"
        | "inotify_add_watch" | "name_to_handle_at" | "open_tree" => &[1],
        "rename" | "link" | "symlink" | "mount" | "pivot_root" => &[0, 1],
        "renameat" | "renameat2" | "linkat" | "move_mount" => &[1, 3],
        "symlinkat" => &[0, 2],
        _ => &[],
    }
}

impl fmt::Debug for PathArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathArg::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            PathArg::Cut(bytes) => write!(f, "\"{}\"...", bytes.escape_ascii()),
            PathArg::Pointer => f.write_str("(pointer)"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.name, self.paths)?;
        if let Some(argv) = &self.argv {
            let argv: Vec<String> = argv.iter().map(|arg| arg.escape_ascii().to_string()).collect();
            write!(f, " {argv:?}")?;
        }
        write!(f, " = {:?}", self.ret)
    }
}

impl fmt::Display for Birth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("root")?;
        self.0.iter().try_for_each(|nth| write!(f, ".{nth}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, ret: i64) -> Call {
        Call { name: name.into(), paths: vec![], argv: None, ret: Ret::Value(ret) }
    }

    #[test]
    fn ids_become_births_and_addresses_vanish() {
        let run = family(
            10,
            vec![
                Thread {
                    id: 10,
                    calls: vec![call("fork", 12), call("brk", 4096), call("clone", 15), call("wait4", 12)],
                },
                Thread { id: 12, calls: vec![call("getppid", 10), call("getpgrp", 3)] },
                Thread { id: 15, calls: vec![call("gettid", 15)] },
            ],
        )
        .expect("a whole family");
        let rets = |birth: &[u32]| run[&Birth(birth.to_vec())].iter().map(|c| c.ret.clone()).collect::<Vec<_>>();
        assert_eq!(
            rets(&[]),
            [Ret::Task(Birth(vec![0])), Ret::Address, Ret::Task(Birth(vec![1])), Ret::Task(Birth(vec![0]))]
        );
        assert_eq!(rets(&[0]), [Ret::Task(Birth(vec![])), Ret::Outsider]);
        assert_eq!(rets(&[1]), [Ret::Task(Birth(vec![1]))]);
    }

    #[test]
    fn a_task_that_nobody_made_is_an_error() {
        let threads = vec![Thread { id: 10, calls: vec![] }, Thread { id: 99, calls: vec![call("read", 0)] }];
        assert!(family(10, threads).expect_err("no family").contains("task 99"));
    }

    #[test]
    fn a_child_without_calls_is_an_error() {
        assert!(family(10, vec![Thread { id: 10, calls: vec![call("fork", 12)] }])
            .expect_err("no family")
            .contains("task 12"));
    }

    #[test]
    fn calls_that_never_returned_are_left_out_unless_they_end_the_thread() {
        let never = |name: &str| Call { ret: Ret::Never, ..call(name, 0) };
        let run = family(1, vec![Thread { id: 1, calls: vec![never("read"), never("exit_group")] }]).expect("a family");
        assert_eq!(run[&Birth::default()], [never("exit_group")]);
    }
}
