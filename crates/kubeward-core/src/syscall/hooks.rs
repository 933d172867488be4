//! What the kernel side must know of a call to watch it.

use super::{table, ArgKind, ArgShape, CompatCall, Syscall};

/// User memory to read for one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Capture {
    /// The register says all.
    #[default]
    None,
    /// A NUL-terminated string.
    Str,
    /// A NULL-terminated array of pointers to strings.
    Argv,
    /// A socket address, its length in argument `len`.
    SockaddrIn { len: u8 },
    /// A socket address that is there once the call returned, its length behind the pointer in argument `len`.
    SockaddrOut { len: u8 },
}

/// When a call needs a program at its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryRule {
    /// Only when someone asks for its entry or its duration.
    WhenAsked,
    /// Always: at its exit its number or its arguments are gone, or its caller is.
    Always,
    /// Always, and there is no exit.
    NeverReturns,
}

impl CompatCall {
    /// As [`Syscall::captures`].
    pub fn captures(&self) -> [Capture; 6] {
        captures(self.args)
    }
}

fn captures(args: Option<&[ArgShape]>) -> [Capture; 6] {
    let mut captures = [Capture::None; 6];
    for (capture, arg) in captures.iter_mut().zip(args.unwrap_or_default()) {
        *capture = match arg.kind {
            ArgKind::Path | ArgKind::Str => Capture::Str,
            ArgKind::Argv => Capture::Argv,
            ArgKind::SockaddrIn { len } => Capture::SockaddrIn { len },
            ArgKind::SockaddrOut { len } => Capture::SockaddrOut { len },
            _ => Capture::None,
        };
    }
    captures
}

impl Syscall {
    /// Symbol of the call's function in the kernel (`__x64_sys_newstat`); `None` for a number without a function,
    /// which no probe on a function can watch.
    ///
    /// A kernel built without the feature lacks the symbol all the same.
    pub fn symbol(&self) -> Option<String> {
        let name = self.kernel_name.unwrap_or(self.name);
        self.has_function.then(|| format!("{}{name}", table::native().symbol_prefix))
    }

    /// What to read for each argument; past the last one there is nothing to read.
    pub fn captures(&self) -> [Capture; 6] {
        captures(self.args)
    }

    /// Whether success returns a descriptor of a file that was opened by name, so that the file's path can be read
    /// from the file table.
    pub fn opens_file(&self) -> bool {
        matches!(self.name, "open" | "openat" | "openat2" | "creat" | "open_by_handle_at")
    }

    /// Whether the call's function takes no register set and so has no BTF that fentry could attach by
    /// (`SYSCALL_DEFINE0`, where the kernel makes an alias or an ignored prototype).
    pub fn has_no_fentry(&self) -> bool {
        matches!(
            self.name,
            "fork"
                | "vfork"
                | "getpid"
                | "gettid"
                | "getppid"
                | "getuid"
                | "geteuid"
                | "getgid"
                | "getegid"
                | "getpgrp"
                | "setsid"
                | "sched_yield"
                | "vhangup"
                | "sync"
                | "pause"
                | "restart_syscall"
                | "rt_sigreturn"
        )
    }

    /// Whether the call needs a program at its entry whatever is asked.
    ///
    /// execve and execveat replace the memory their arguments are in, rt_sigreturn the registers; reboot in a pid namespace of
    /// a container's own ends its caller.
    pub fn entry_rule(&self) -> EntryRule {
        match self.name {
            "exit" | "exit_group" => EntryRule::NeverReturns,
            "execve" | "execveat" | "rt_sigreturn" | "reboot" => EntryRule::Always,
            _ => EntryRule::WhenAsked,
        }
    }
}
