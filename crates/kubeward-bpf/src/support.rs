//! Facts about this kernel and this process, before anything is loaded.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use libbpf_rs::{libbpf_sys, ProgramType};

use crate::object::LoadError;

const BTF: &str = "/sys/kernel/btf/vmlinux";
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe";
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
const CAP_SYS_ADMIN: u32 = 21;
/// Of the kernel's own include/linux/errno.h.
const ENOTSUPP: i32 = 524;

/// Which kinds of program this kernel loads and has something to attach to. Whether they attach is found out by attaching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    pub tracepoint: bool,
    pub kprobe: bool,
    pub kprobe_multi: bool,
}

impl Support {
    pub(crate) fn probe() -> Result<Self, LoadError> {
        let missing = missing_capabilities();
        if !missing.is_empty() {
            return Err(LoadError::Privilege { missing: missing.join(" and ") });
        }
        if !Path::new(BTF).exists() {
            return Err(LoadError::NoBtf);
        }
        let kprobe = ProgramType::Kprobe.is_supported().unwrap_or(false);
        Ok(Self {
            tracepoint: ProgramType::Tracepoint.is_supported().unwrap_or(false),
            kprobe: kprobe && has_kprobes(),
            kprobe_multi: kprobe && has_kprobe_multi(),
        })
    }

    /// Whether this kernel takes the main object's program `name`.
    pub(crate) fn takes(&self, name: &str) -> bool {
        match name {
            "classic_enter" | "classic_exit" | "classic_process_exec" | "classic_process_exit" => self.tracepoint,
            "cgroup_mkdir" | "cgroup_rmdir" => Path::new("/proc/cgroups").exists(),
            "kprobe_enter" | "kretprobe_exit" => self.kprobe,
            "kprobe_multi_enter" | "kretprobe_multi_exit" => self.kprobe_multi,
            _ => true,
        }
    }

    /// Whether the program is to be loaded before anybody asks for it; `None`: the object's own default. `is_for_command`: no container
    /// comes that nobody has told of, and execs and exits are mostly followed as calls are.
    pub(crate) fn loads_at_once(&self, name: &str, is_for_command: bool) -> Option<bool> {
        let is_classic = self.tracepoint && has_tracefs() && !is_for_command;
        match name {
            "raw_enter" | "raw_exit" => Some(true),
            "classic_process_exec" | "classic_process_exit" => Some(is_classic),
            "raw_process_exec" | "raw_process_exit" => Some(!is_classic),
            "cgroup_mkdir" | "cgroup_rmdir" => Some(self.takes(name) && !is_for_command),
            "adopt_tasks" => Some(!is_for_command),
            _ => None,
        }
    }
}

/// Whether classic tracepoints are found: the kernel gives their ids through tracefs only.
pub(crate) fn has_tracefs() -> bool {
    TRACEFS.iter().any(|root| Path::new(root).join("events").is_dir())
}

/// By either way that libbpf attaches them: a PMU of their own (4.17), or tracefs. A kernel without CONFIG_KPROBE_EVENTS has neither,
/// and loads the programs all the same.
fn has_kprobes() -> bool {
    Path::new(KPROBE_PMU).exists() || TRACEFS.iter().any(|root| Path::new(root).join("kprobe_events").exists())
}

/// The capabilities that loading needs and this process lacks, by name. CAP_SYS_ADMIN stands for both, as in the kernel.
pub fn missing_capabilities() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()) else {
        return Vec::new();
    };
    let has = |capability: u32| effective >> capability & 1 == 1;
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter_map(|(capability, name)| (!has(capability)).then_some(name))
        .collect()
}

/// Tries it: kernels before 5.18 refuse the attach type, and those without CONFIG_FPROBE to attach it to whatever it is. One that has it
/// finds that there is no function named.
fn has_kprobe_multi() -> bool {
    // r0 = 0; exit
    let program = [0xb7, 0x95].map(|code| libbpf_sys::bpf_insn { code, ..Default::default() });
    let license = CString::new("GPL").expect("the literal has no NUL");
    let mut opts = libbpf_sys::bpf_prog_load_opts {
        sz: size_of::<libbpf_sys::bpf_prog_load_opts>() as _,
        expected_attach_type: libbpf_sys::BPF_TRACE_KPROBE_MULTI,
        ..Default::default()
    };
    // SAFETY: the name may be null; license, program and options outlive the call and have the sizes given.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_KPROBE,
            std::ptr::null(),
            license.as_ptr(),
            program.as_ptr(),
            program.len() as _,
            &mut opts,
        )
    };
    if fd < 0 {
        return false;
    }
    // SAFETY: the call returned a descriptor that nobody else owns; dropping it unloads the program.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let no_functions = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        ..Default::default()
    };
    let attach_type = libbpf_sys::BPF_TRACE_KPROBE_MULTI;
    // SAFETY: the options outlive the call and have the size given; they point to nothing.
    let link = unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), 0, attach_type, &no_functions) };
    if link >= 0 {
        // SAFETY: the call returned a descriptor that nobody else owns; dropping it detaches the program.
        drop(unsafe { OwnedFd::from_raw_fd(link) });
    }
    link >= 0 || ![-libc::EOPNOTSUPP, -ENOTSUPP].contains(&link)
}
