//! The mirror of `bpf/wire.h`, checked against it through BTF by this module's test. Units are in that header.

use std::mem::size_of;

pub const CALLS: usize = 512;
pub const SUB_CALLS: u16 = 32;
pub const SHAPES: u32 = 2 * CALLS as u32 + 2 * SUB_CALLS as u32;
pub const SLOTS: u32 = 4096;
pub const PROFILES: u32 = 1024;
pub const ERRNO_WORDS: usize = 9;
pub const ERRNO_OTHER: u16 = 64 * ERRNO_WORDS as u16;
pub const COMM_BYTES: usize = 16;
/// The longest single string that is kept, its NUL included.
pub const STRING_BYTES: u32 = 4096;
pub const BIRTHS: usize = 4096;
pub const BIRTH_NAME_BYTES: usize = 128;

pub const KIND_CALL: u8 = 1;
pub const KIND_EXEC: u8 = 2;

pub const PHASE_ENTER: u8 = 1;
pub const PHASE_EXIT: u8 = 2;
pub const PHASE_CALL: u8 = 3;

pub const STAGE_SETUP: u32 = 0;
pub const STAGE_RUN: u32 = 1;

pub const PROBE_TP_BTF: u8 = 1;
pub const PROBE_TRACEPOINT: u8 = 2;
pub const PROBE_KPROBE: u8 = 3;
pub const PROBE_KPROBE_MULTI: u8 = 4;
pub const PROBE_FENTRY: u8 = 5;

pub const IDENTITY_TASK: u8 = 1;
pub const IDENTITY_CGROUP: u8 = 2;
pub const IDENTITY_NAMESPACE: u8 = 3;

pub const RECORD_COMPAT: u8 = 1 << 0;
pub const RECORD_REFUSED: u8 = 1 << 1;
pub const RECORD_NO_ITEMS: u8 = 1 << 2;
pub const RECORD_IO_URING: u8 = 1 << 3;
pub const RECORD_NO_ARGS: u8 = 1 << 4;

pub const ITEM_STRING: u8 = 1;
pub const ITEM_ARGV: u8 = 2;
pub const ITEM_SOCKADDR: u8 = 3;
pub const ITEM_PATH: u8 = 4;

pub const ITEM_CUT: u8 = 1 << 0;
pub const ITEM_UNREADABLE: u8 = 1 << 1;

pub const CAPTURE_NONE: u8 = 0;
pub const CAPTURE_STRING: u8 = 1;
pub const CAPTURE_ARGV: u8 = 2;
pub const CAPTURE_SOCKADDR_IN: u8 = 3;
pub const CAPTURE_SOCKADDR_OUT: u8 = 4;

pub const NO_WORDS: u8 = 0xff;

pub const SHAPE_IN: u16 = 1 << 0;
pub const SHAPE_OUT: u16 = 1 << 1;
pub const SHAPE_OPENS: u16 = 1 << 2;
pub const SHAPE_NO_RETURN: u16 = 1 << 3;
pub const SHAPE_EXEC: u16 = 1 << 4;
pub const SHAPE_FORKS: u16 = 1 << 5;
pub const SHAPE_ENTRY_KNOWS: u16 = 1 << 6;
pub const SHAPE_SHARED: u16 = 1 << 7;

pub const URING_OPS: usize = 128;
pub const URING_FIXED_FILE: u8 = 1 << 0;
pub const URING_DIRECT: u8 = 1 << 7;

pub const FROM_NOWHERE: u8 = 0;
pub const FROM_MINUS_ONE: u8 = 1;
pub const FROM_FD: u8 = 2;
pub const FROM_OFF: u8 = 3;
pub const FROM_ADDR: u8 = 4;
pub const FROM_LEN: u8 = 5;
pub const FROM_OP_FLAGS: u8 = 6;
pub const FROM_FILE_INDEX: u8 = 7;
pub const FROM_ADDR_LEN: u8 = 8;
pub const FROM_ADDR3: u8 = 9;
pub const FROM_ADDR_OR_LEN: u8 = 10;
pub const FROM_OFF_OR_LEN: u8 = 11;

pub const WHEN_NEVER: u8 = 0;
pub const WHEN_NO_OFFSET: u8 = 1;
pub const WHEN_DATASYNC: u8 = 2;

pub const URING_OP_FILE_INDEX: u8 = 1 << 0;
pub const URING_OP_NOTIFIES: u8 = 1 << 1;
pub const URING_OP_CLOSES: u8 = 1 << 2;
pub const URING_OP_REPEATS: u8 = 1 << 3;

pub const WANT_ENTER: u8 = 1 << 0;
pub const WANT_EXIT: u8 = 1 << 1;
pub const WANT_CALL: u8 = 1 << 2;
pub const WANT_ERRORS: u8 = 1 << 3;
pub const WANT_SLOW: u8 = 1 << 4;
pub const WANT_COUNT: u8 = 1 << 5;
pub const WANT_LIMITED: u8 = 1 << 6;

pub const RESULT_KEYS: u32 = 0;
pub const DURATION_KEYS: u32 = SLOTS;

pub const TABLE_UNFINISHED: u8 = 1 << 7;

/// Limits of one profile that the kernel side keeps.
pub const FIRST_RESULTS: usize = 32;
pub const LIMITS: usize = 7;
/// In [`Limits::calls`]: others want the call, too.
pub const LIMIT_OTHERS: u8 = 1 << LIMITS;

pub const TARGET_STICKY: u32 = 1 << 0;

pub const TAG_THREADS: u32 = 1;
pub const TAG_CGROUP: u32 = 2;
pub const TAG_REMOVE: u32 = 3;
pub const TAG_PROCESS: u32 = 4;
pub const TAG_KIN: u32 = 5;
pub const TAG_STRAYS: u32 = 6;

pub const HOOK_ENTER: u8 = 1 << 0;
pub const HOOK_EXIT: u8 = 1 << 1;

/// A struct that crosses the border: plain integers, no padding, any bit pattern valid.
///
/// # Safety
/// The type is `repr(C)`, made of integers and arrays of them, and without padding bytes.
pub unsafe trait Wire: Copy {
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: by the trait's contract every byte of the value is initialised.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// The value at the start of `bytes`, `None` when they are too few. No alignment is needed.
    fn read_from(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < size_of::<Self>() {
            return None;
        }
        // SAFETY: there are enough bytes, any of them make a valid value, and the read is unaligned.
        Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
    }
}

// SAFETY: a plain integer.
unsafe impl Wire for u32 {}

// SAFETY: a plain integer.
unsafe impl Wire for u64 {}

macro_rules! wire {
    ($($(#[$doc:meta])* struct $name:ident = $kernel:literal { $($field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            #[repr(C)]
            pub struct $name { $(pub $field: $ty,)* }

            // SAFETY: integers and arrays of integers only; the test below shows there is no padding.
            unsafe impl Wire for $name {}
        )*

        /// Name in C, size, fields with offset and size, of each struct above.
        #[cfg(test)]
        fn layouts() -> Vec<(&'static str, usize, Vec<(&'static str, usize, usize)>)> {
            vec![$(($kernel, size_of::<$name>(), vec![$((
                stringify!($field),
                std::mem::offset_of!($name, $field),
                size_of::<$ty>(),
            )),*])),*]
        }
    };
}

wire! {
    struct Record = "kw_record" {
        kind: u8,
        phase: u8,
        stage: u8,
        probe: u8,
        identity: u8,
        flags: u8,
        nr: u16,
        slot: u32,
        items_bytes: u32,
        mono_ns: u64,
        duration_ns: u64,
        ret: i64,
        args: [u64; 6],
        exec_id: u64,
        start_boot_ns: u64,
        pid: u32,
        tid: u32,
        ppid: u32,
        container_pid: u32,
        uid: u32,
        gid: u32,
        comm: [u8; COMM_BYTES],
        uring_opcode: u8,
        uring_flags: u8,
        spare: u16,
        number: u32,
    }
    struct Item = "kw_item" {
        arg: u8,
        kind: u8,
        flags: u8,
        pad: u8,
        bytes: u32,
    }
    struct Shape = "kw_shape" {
        capture: [u8; 6],
        len_arg: [u8; 6],
        from: [u8; 6],
        words_in: u8,
        words: u8,
        flags: u16,
        nr: u16,
        native_nr: u16,
        sub_calls: u16,
        sub_call_mask: u32,
        enter_since_ns: u64,
        exit_since_ns: u64,
    }
    struct UringOp = "kw_uring_op" {
        nr: u16,
        other_nr: u16,
        when: u8,
        flags: u8,
        from: [u8; 6],
    }
    struct Profile = "kw_profile" {
        want: [u8; CALLS],
        errors: [u64; ERRNO_WORDS],
        min_duration_ns: u64,
        arg_bytes: u32,
        argv_bytes: u32,
    }
    struct Limit = "kw_limit" {
        token_ns: u64,
        burst_ns: u64,
    }
    struct Limits = "kw_limits" {
        of: [Limit; LIMITS],
        calls: [u8; CALLS],
    }
    struct Buckets = "kw_buckets" {
        profile: u64,
        full_at_ns: [u64; LIMITS],
    }
    struct Container = "kw_container" {
        active: u32,
        profile: u32,
        creator_mnt_ns: u32,
        is_unnamed: u32,
        since_ns: u64,
        opened_ns: u64,
    }
    struct Birth = "kw_birth" {
        parent: u64,
        made_ns: u64,
        covered_ns: u64,
        run_ns: u64,
        root: u64,
        init_start_boot_ns: u64,
        init_pid: u32,
        creator_mnt_ns: u32,
        slot: u32,
        missed: u32,
        name: [u8; BIRTH_NAME_BYTES],
    }
    struct Target = "kw_target" {
        slot: u32,
        flags: u32,
    }
    struct NsKey = "kw_ns_key" {
        pid_ns: u32,
        mnt_ns: u32,
        mnt_seq: u64,
    }
    struct Tag = "kw_tag" {
        slot: u32,
        container_pid: u32,
        exec_id: u64,
        is_idle: u64,
    }
    struct Settings = "kw_settings" {
        silenced: u32,
        host_mnt_ns: u32,
        emit_setup: u32,
        ns_entries: u32,
        pid_level: u32,
        move_nr: u32,
        tag_slot: u32,
        tag_mode: u32,
        tag_cgroup: u64,
        tag_start_ns: u64,
        tag_pid: u32,
        tag_pid_ns: u32,
        births_after: u64,
        shared_bytes: u64,
        shared_results: u32,
        shared_durations: u32,
        raw_hooks: [u8; CALLS],
        function_hooks: [u8; CALLS],
    }
    struct Account = "kw_account" {
        at_once: u64,
        filtered_setup: u64,
        filtered_policy: u64,
        filtered_errors: u64,
        filtered_duration: u64,
        filtered_count: u64,
        sampled: u64,
        lost_ring: u64,
        lost_share: u64,
        lost_storage: u64,
        lost_return: u64,
        entered: u64,
        left: u64,
        unreadable: u64,
        no_buffer: u64,
        lost_exec: u64,
        untabled: u64,
        untimed: u64,
        untagged: u64,
    }
    #[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
    struct TableKey = "kw_table_key" {
        slot: u16,
        nr: u16,
        error: u16,
        flags: u8,
        stage: u8,
    }
    struct FirstResults = "kw_first_results" {
        key: [u64; FIRST_RESULTS],
    }
    struct FirstCounts = "kw_first_counts" {
        calls: [u64; FIRST_RESULTS],
    }
    #[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
    struct TimesKey = "kw_times_key" {
        slot: u16,
        nr: u16,
        error: u16,
        flags: u8,
        power: u8,
    }
    #[derive(PartialEq, Eq)]
    struct Times = "kw_times" {
        calls: u64,
        total_ns: u64,
    }
    struct Task = "kw_task" {
        pid: u32,
        tid: u32,
        ppid: u32,
        pid_ns: u32,
        mnt_ns: u32,
        slot: u32,
        pid_level: u32,
        inner_pid: u32,
        mnt_seq: u64,
        cgroup_id: u64,
        start_boot_ns: u64,
        comm: [u8; COMM_BYTES],
    }
    struct Window = "kw_window" {
        is_open: u32,
        nothing: u32,
    }
    #[derive(PartialEq, Eq, Default)]
    struct RunTimes = "kw_run_times" {
        runs: u64,
        ns: u64,
        clock_ns: u64,
    }
    struct Inside = "kw_inside" {
        since_ns: u64,
        nr: u32,
        pad: u32,
    }
}

#[cfg(test)]
mod tests {
    use libbpf_rs::btf::types::{MemberAttr, Struct};
    use libbpf_rs::btf::{Btf, HasSize};

    use super::*;

    #[test]
    fn no_wire_struct_has_padding() {
        for (name, size, fields) in layouts() {
            assert_eq!(fields.iter().map(|(_, _, size)| size).sum::<usize>(), size, "{name}");
        }
    }

    /// The object is the truth: what clang made of the header.
    #[test]
    fn every_wire_struct_is_laid_out_as_in_the_object() {
        let monitor = Btf::from_raw("monitor", include_bytes!(concat!(env!("OUT_DIR"), "/monitor.bpf.o")));
        let uring = Btf::from_raw("uring", include_bytes!(concat!(env!("OUT_DIR"), "/uring.bpf.o")));
        let objects = [monitor, uring].map(|btf| btf.expect("the object is an ELF file").expect("and has BTF"));
        for (name, size, fields) in layouts() {
            let kernel: Option<Struct<'_>> = objects.iter().find_map(|btf| btf.type_by_name(name));
            let kernel = kernel.unwrap_or_else(|| panic!("{name} is in no object"));
            assert_eq!(HasSize::size(&kernel), size, "{name}");
            let members: Vec<(String, usize)> = kernel
                .iter()
                .map(|member| {
                    let MemberAttr::Normal { offset } = member.attr else { panic!("{name} has a bit field") };
                    (member.name.unwrap_or_default().to_string_lossy().into_owned(), offset as usize / 8)
                })
                .collect();
            let mirrored: Vec<(String, usize)> =
                fields.into_iter().map(|(name, offset, _)| (name.to_owned(), offset)).collect();
            assert_eq!(members, mirrored, "{name}");
        }
    }
}
