//! The functions by which 32-bit calls are served. fentry hooks the one that all of them go through, where that can be hooked; else,
//! and under kprobes, those of all 32-bit calls that do the same are hooked beside a native call's function.
//!
//! Two functions, those of `socketcall` and `ipc`, serve many calls. They are hooked for all of them once, with the first that
//! wants it and until the end: the kernel's tables keep them from showing calls that nobody asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::LazyLock;

use kubeward_core::event::Probe;
use kubeward_core::syscall::{self, CompatCall, Syscall};

use super::attach::{self, Hook};
use super::fentry;
use crate::object::Engine;
use crate::wire::{CALLS, HOOK_ENTER, HOOK_EXIT};

/// How hooks on functions see 32-bit calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Entry {
    /// By the functions of the calls themselves.
    #[default]
    Functions,
    /// By [`DISPATCHER`], which showed each one of the self-test's.
    Dispatcher,
}

/// Every call of the 32-bit table goes through it. It is there from 6.9 on, and where that was backported; in 7.x it cannot be hooked.
pub(super) const DISPATCHER: &str = "ia32_sys_call";

/// One function of this kernel, and the number of the program that fentry would hook it with: mostly its call's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) program: u16,
    pub(super) symbol: String,
}

/// By native call number.
#[derive(Debug, Default)]
pub(super) struct Functions {
    own: BTreeMap<u16, Vec<Function>>,
    shared: BTreeMap<u16, Function>,
}

/// How many functions of 32-bit calls this kernel has; 0: it is built without CONFIG_IA32_EMULATION, and there are no such calls.
pub fn compat_functions() -> usize {
    let functions = Functions::of_this_kernel();
    let shared: BTreeSet<u16> = functions.shared.values().map(|function| function.program).collect();
    functions.own.values().map(Vec::len).sum::<usize>() + shared.len()
}

impl Functions {
    /// Read once, of /proc/kallsyms, whose names anybody may read.
    pub(super) fn of_this_kernel() -> &'static Self {
        static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
            let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
            let names = symbols.lines().filter_map(|line| line.split_ascii_whitespace().nth(2));
            Functions::among(&names.filter(|name| name.starts_with("__ia32_")).collect())
        });
        &FUNCTIONS
    }

    fn among(symbols: &BTreeSet<&str>) -> Self {
        let mut functions = Self::default();
        let mut spare = CALLS as u16;
        for call in syscall::compat_calls() {
            let Some(native) = call.native else { continue };
            let names = call.symbols().into_iter().filter(|symbol| symbols.contains(symbol.as_str()));
            for (nth, symbol) in names.enumerate() {
                if is_sub_call(call) {
                    functions.shared.insert(native.nr, Function { program: call.nr, symbol });
                    continue;
                }
                let own = functions.own.entry(native.nr).or_default();
                if own.iter().any(|function| function.symbol == symbol) {
                    continue;
                }
                // A second function of a number: the 32-bit table ends well below.
                if nth > 0 {
                    spare -= 1;
                }
                own.push(Function { program: if nth > 0 { spare } else { call.nr }, symbol });
            }
        }
        functions
    }

    /// Those that serve 32-bit forms of this native call alone.
    pub(super) fn own(&self, call: &Syscall) -> &[Function] {
        self.own.get(&call.nr).map_or(&[], Vec::as_slice)
    }
}

fn is_sub_call(call: &CompatCall) -> bool {
    call.key >= syscall::FIRST_SUB_CALL
}

/// The hooks on functions that serve many calls.
#[derive(Debug)]
pub(super) struct SharedHooks {
    /// How fentry sees 32-bit calls; other kinds of hook go by their functions.
    entry: Entry,
    dispatcher: Option<Option<Hook>>,
    /// By the number of their program.
    hooks: BTreeMap<u16, Option<Hook>>,
}

impl SharedHooks {
    pub(super) fn new(entry: Entry) -> Self {
        Self { entry, dispatcher: None, hooks: BTreeMap::new() }
    }

    /// By what 32-bit calls come under this kind of hook.
    pub(super) fn entry(&self, probe: Probe) -> Entry {
        match probe {
            Probe::Fentry => self.entry,
            _ => Entry::Functions,
        }
    }

    /// Whether the function that `call` shares with others is hooked, or there is none. Tried once.
    pub(super) fn serve(&mut self, engine: &Engine, probe: Probe, call: &Syscall) -> bool {
        if self.entry(probe) == Entry::Dispatcher {
            return self.dispatcher.get_or_insert_with(|| fentry::attach_dispatcher(engine)).is_some();
        }
        let Some(function) = Functions::of_this_kernel().shared.get(&call.nr) else { return true };
        let attach = || match probe {
            Probe::Fentry => fentry::attach_shared(engine, function),
            _ => attach::shared(engine, probe, function),
        };
        self.hooks.entry(function.program).or_insert_with(attach).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Hook> {
        self.hooks.values().chain(&self.dispatcher).flatten()
    }
}

/// Both moments, since some call may want either.
pub(super) const SHARED_BITS: u8 = HOOK_ENTER | HOOK_EXIT;

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(symbols: &[&str]) -> Functions {
        Functions::among(&symbols.iter().copied().collect())
    }

    fn of(functions: &Functions, name: &str) -> Vec<(u16, String)> {
        let call = syscall::by_name(name).expect("the catalogue has the call");
        functions.own(call).iter().map(|function| (function.program, function.symbol.clone())).collect()
    }

    #[test]
    fn a_native_call_has_the_functions_of_all_that_do_the_same() {
        let functions = functions(&[
            "__ia32_sys_stat",
            "__ia32_compat_sys_newstat",
            "__ia32_compat_sys_ia32_stat64",
            "__ia32_compat_sys_fcntl64",
            "__ia32_sys_open",
        ]);
        let stat = of(&functions, "stat");
        assert_eq!(stat.iter().map(|(program, _)| *program).collect::<Vec<_>>(), [18, 106, 195]);
        assert_eq!(
            of(&functions, "fcntl"),
            [(55, "__ia32_compat_sys_fcntl64".to_owned())],
            "one function of two numbers"
        );
        assert_eq!(of(&functions, "open"), [], "this is not what the table calls");
        assert_eq!(of(&functions, "getpid"), [], "the native function serves it");
    }

    #[test]
    fn two_functions_of_one_number_have_a_program_each() {
        let functions = functions(&["__ia32_compat_sys_arch_prctl", "__ia32_sys_arch_prctl"]);
        let programs: Vec<u16> = of(&functions, "arch_prctl").into_iter().map(|(program, _)| program).collect();
        assert_eq!(programs, [384, 511]);
    }

    #[test]
    fn socket_calls_share_a_function() {
        let functions = functions(&["__ia32_compat_sys_socketcall", "__ia32_sys_connect"]);
        let nr = syscall::by_name("connect").map(|call| call.nr);
        let shared = nr.and_then(|nr| functions.shared.get(&nr)).expect("connect comes by socketcall, too");
        assert_eq!((shared.program, shared.symbol.as_str()), (102, "__ia32_compat_sys_socketcall"));
        assert_eq!(of(&functions, "connect"), [(362, "__ia32_sys_connect".to_owned())]);
    }
}
