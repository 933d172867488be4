//! Starting, waiting for, scheduling, tracing and confining processes.

use super::user::CAPABILITY;
use super::{names, FlagTable, Name};
use crate::syscall::ArgKind;

const NAMESPACES: &[Name] = names![
    CLONE_NEWTIME,
    CLONE_NEWNS,
    CLONE_NEWCGROUP,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWUSER,
    CLONE_NEWPID,
    CLONE_NEWNET,
];

/// The low byte is the signal that the parent gets when the child ends. The kernel ignores the upper 32 bits.
pub(in crate::syscall) static CLONE: FlagTable = FlagTable::mixed(
    0xff,
    super::signal::NAMES,
    names![
        CLONE_VM,
        CLONE_FS,
        CLONE_FILES,
        CLONE_SIGHAND,
        CLONE_PIDFD,
        CLONE_PTRACE,
        CLONE_VFORK,
        CLONE_PARENT,
        CLONE_THREAD,
        CLONE_NEWNS,
        CLONE_SYSVSEM,
        CLONE_SETTLS,
        CLONE_PARENT_SETTID,
        CLONE_CHILD_CLEARTID,
        CLONE_DETACHED,
        CLONE_UNTRACED,
        CLONE_CHILD_SETTID,
        CLONE_NEWCGROUP,
        CLONE_NEWUTS,
        CLONE_NEWIPC,
        CLONE_NEWUSER,
        CLONE_NEWPID,
        CLONE_NEWNET,
        CLONE_IO,
    ],
)
.field_last();
pub(in crate::syscall) static CLONE_NAMESPACES: FlagTable = FlagTable::bits(names![
    CLONE_VM,
    CLONE_FS,
    CLONE_FILES,
    CLONE_SIGHAND,
    CLONE_THREAD,
    CLONE_SYSVSEM,
    CLONE_NEWTIME,
    CLONE_NEWNS,
    CLONE_NEWCGROUP,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWUSER,
    CLONE_NEWPID,
    CLONE_NEWNET,
])
.long();
pub(in crate::syscall) static SETNS: FlagTable = FlagTable::bits(NAMESPACES);

pub(in crate::syscall) static WAIT: FlagTable =
    FlagTable::bits(names![WNOHANG, WUNTRACED, WEXITED, WCONTINUED, WNOWAIT, __WNOTHREAD, __WALL, __WCLONE,]);
pub(in crate::syscall) static WAIT_ID: FlagTable = FlagTable::one_of(names![P_ALL, P_PID, P_PGID, P_PIDFD]);
pub(in crate::syscall) static PIDFD: FlagTable =
    FlagTable::bits(names![PIDFD_NONBLOCK, PIDFD_THREAD = libc::O_EXCL as u64]);

pub(in crate::syscall) static PTRACE: FlagTable = FlagTable::one_of(names![
    PTRACE_TRACEME,
    PTRACE_PEEKTEXT,
    PTRACE_PEEKDATA,
    PTRACE_PEEKUSER,
    PTRACE_POKETEXT,
    PTRACE_POKEDATA,
    PTRACE_POKEUSER,
    PTRACE_CONT,
    PTRACE_KILL,
    PTRACE_SINGLESTEP,
    PTRACE_GETREGS = 12,
    PTRACE_SETREGS = 13,
    PTRACE_GETFPREGS = 14,
    PTRACE_SETFPREGS = 15,
    PTRACE_ATTACH,
    PTRACE_DETACH,
    PTRACE_SYSCALL,
    PTRACE_SYSEMU = 31,
    PTRACE_SYSEMU_SINGLESTEP = 32,
    PTRACE_SETOPTIONS,
    PTRACE_GETEVENTMSG,
    PTRACE_GETSIGINFO,
    PTRACE_SETSIGINFO,
    PTRACE_GETREGSET,
    PTRACE_SETREGSET,
    PTRACE_SEIZE,
    PTRACE_INTERRUPT,
    PTRACE_LISTEN,
    PTRACE_PEEKSIGINFO,
    PTRACE_GETSIGMASK,
    PTRACE_SETSIGMASK,
    PTRACE_SECCOMP_GET_FILTER = 0x420c,
    PTRACE_SECCOMP_GET_METADATA = 0x420d,
    PTRACE_GET_SYSCALL_INFO = 0x420e,
    PTRACE_GET_RSEQ_CONFIGURATION = 0x420f,
    PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG = 0x4210,
    PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG = 0x4211,
    PTRACE_SET_SYSCALL_INFO = 0x4212,
])
.long();
pub(in crate::syscall) static KCMP: FlagTable = FlagTable::one_of(names![
    KCMP_FILE = 0,
    KCMP_VM = 1,
    KCMP_FILES = 2,
    KCMP_FS = 3,
    KCMP_SIGHAND = 4,
    KCMP_IO = 5,
    KCMP_SYSVSEM = 6,
    KCMP_EPOLL_TFD = 7,
]);

pub(in crate::syscall) static PRCTL: FlagTable = FlagTable::one_of(names![
    PR_SET_PDEATHSIG,
    PR_GET_PDEATHSIG,
    PR_GET_DUMPABLE,
    PR_SET_DUMPABLE,
    PR_GET_UNALIGN,
    PR_SET_UNALIGN,
    PR_GET_KEEPCAPS,
    PR_SET_KEEPCAPS,
    PR_GET_FPEMU,
    PR_SET_FPEMU,
    PR_GET_FPEXC,
    PR_SET_FPEXC,
    PR_GET_TIMING,
    PR_SET_TIMING,
    PR_SET_NAME,
    PR_GET_NAME,
    PR_GET_ENDIAN,
    PR_SET_ENDIAN,
    PR_GET_SECCOMP,
    PR_SET_SECCOMP,
    PR_CAPBSET_READ,
    PR_CAPBSET_DROP,
    PR_GET_TSC,
    PR_SET_TSC,
    PR_GET_SECUREBITS,
    PR_SET_SECUREBITS,
    PR_SET_TIMERSLACK,
    PR_GET_TIMERSLACK,
    PR_TASK_PERF_EVENTS_DISABLE,
    PR_TASK_PERF_EVENTS_ENABLE,
    PR_MCE_KILL,
    PR_MCE_KILL_GET,
    PR_SET_MM,
    PR_SET_CHILD_SUBREAPER,
    PR_GET_CHILD_SUBREAPER,
    PR_SET_NO_NEW_PRIVS,
    PR_GET_NO_NEW_PRIVS,
    PR_GET_TID_ADDRESS,
    PR_SET_THP_DISABLE,
    PR_GET_THP_DISABLE,
    PR_MPX_ENABLE_MANAGEMENT,
    PR_MPX_DISABLE_MANAGEMENT,
    PR_SET_FP_MODE,
    PR_GET_FP_MODE,
    PR_CAP_AMBIENT,
    PR_SVE_SET_VL = 50,
    PR_SVE_GET_VL = 51,
    PR_GET_SPECULATION_CTRL = 52,
    PR_SET_SPECULATION_CTRL = 53,
    PR_PAC_RESET_KEYS = 54,
    PR_SET_TAGGED_ADDR_CTRL = 55,
    PR_GET_TAGGED_ADDR_CTRL = 56,
    PR_SET_IO_FLUSHER = 57,
    PR_GET_IO_FLUSHER = 58,
    PR_SET_SYSCALL_USER_DISPATCH = 59,
    PR_PAC_SET_ENABLED_KEYS = 60,
    PR_PAC_GET_ENABLED_KEYS = 61,
    PR_SCHED_CORE = 62,
    PR_SME_SET_VL = 63,
    PR_SME_GET_VL = 64,
    PR_SET_MDWE = 65,
    PR_GET_MDWE = 66,
    PR_SET_MEMORY_MERGE = 67,
    PR_GET_MEMORY_MERGE = 68,
    PR_RISCV_V_SET_CONTROL = 69,
    PR_RISCV_V_GET_CONTROL = 70,
    PR_GET_SHADOW_STACK_STATUS = 74,
    PR_SET_SHADOW_STACK_STATUS = 75,
    PR_LOCK_SHADOW_STACK_STATUS = 76,
    PR_TIMER_CREATE_RESTORE_IDS = 77,
    PR_FUTEX_HASH = 78,
    PR_RSEQ_SLICE_EXTENSION = 79,
    PR_SET_VMA = 0x5356_4d41,
    PR_GET_AUXV = 0x4155_5856,
    PR_SET_PTRACER,
]);
static SECCOMP_MODE: FlagTable =
    FlagTable::one_of(names![SECCOMP_MODE_DISABLED, SECCOMP_MODE_STRICT, SECCOMP_MODE_FILTER]).long();
static AMBIENT: FlagTable = FlagTable::one_of(names![
    PR_CAP_AMBIENT_IS_SET,
    PR_CAP_AMBIENT_RAISE,
    PR_CAP_AMBIENT_LOWER,
    PR_CAP_AMBIENT_CLEAR_ALL,
])
.long();

/// The second argument of prctl, by its option.
pub(in crate::syscall) fn prctl_arg2(option: u64) -> ArgKind {
    match option as u32 as i32 {
        libc::PR_SET_PDEATHSIG => ArgKind::Signal,
        libc::PR_SET_NAME | libc::PR_GET_NAME | libc::PR_GET_PDEATHSIG | libc::PR_GET_CHILD_SUBREAPER => ArgKind::Ptr,
        libc::PR_CAPBSET_READ | libc::PR_CAPBSET_DROP => ArgKind::Flags(&CAPABILITY),
        libc::PR_CAP_AMBIENT => ArgKind::Flags(&AMBIENT),
        libc::PR_SET_SECCOMP => ArgKind::Flags(&SECCOMP_MODE),
        libc::PR_SET_DUMPABLE | libc::PR_SET_KEEPCAPS | libc::PR_SET_NO_NEW_PRIVS => ArgKind::ULong,
        libc::PR_SET_CHILD_SUBREAPER | libc::PR_SET_TIMERSLACK => ArgKind::ULong,
        _ => ArgKind::Hex,
    }
}

/// The third argument of prctl, by its option.
pub(in crate::syscall) fn prctl_arg3(option: u64) -> ArgKind {
    match option as u32 as i32 {
        libc::PR_CAP_AMBIENT => ArgKind::Flags(&CAPABILITY),
        _ => ArgKind::Hex,
    }
}

pub(in crate::syscall) static ARCH_PRCTL: FlagTable = FlagTable::one_of(names![
    ARCH_SET_GS = 0x1001,
    ARCH_SET_FS = 0x1002,
    ARCH_GET_FS = 0x1003,
    ARCH_GET_GS = 0x1004,
    ARCH_GET_CPUID = 0x1011,
    ARCH_SET_CPUID = 0x1012,
    ARCH_GET_XCOMP_SUPP = 0x1021,
    ARCH_GET_XCOMP_PERM = 0x1022,
    ARCH_REQ_XCOMP_PERM = 0x1023,
    ARCH_GET_XCOMP_GUEST_PERM = 0x1024,
    ARCH_REQ_XCOMP_GUEST_PERM = 0x1025,
    ARCH_MAP_VDSO_X32 = 0x2001,
    ARCH_MAP_VDSO_32 = 0x2002,
    ARCH_MAP_VDSO_64 = 0x2003,
    ARCH_GET_UNTAG_MASK = 0x4001,
    ARCH_ENABLE_TAGGED_ADDR = 0x4002,
    ARCH_GET_MAX_TAG_BITS = 0x4003,
    ARCH_FORCE_TAGGED_SVA = 0x4004,
    ARCH_SHSTK_ENABLE = 0x5001,
    ARCH_SHSTK_DISABLE = 0x5002,
    ARCH_SHSTK_LOCK = 0x5003,
    ARCH_SHSTK_UNLOCK = 0x5004,
    ARCH_SHSTK_STATUS = 0x5005,
]);
pub(in crate::syscall) static PERSONALITY: FlagTable = FlagTable::mixed(
    0xff,
    names![PER_LINUX = 0, PER_BSD = 6, PER_LINUX32 = 8],
    names![
        UNAME26 = 0x20000,
        ADDR_NO_RANDOMIZE,
        FDPIC_FUNCPTRS = 0x80000,
        MMAP_PAGE_ZERO,
        ADDR_COMPAT_LAYOUT,
        READ_IMPLIES_EXEC,
        ADDR_LIMIT_32BIT,
        SHORT_INODE,
        WHOLE_SECONDS,
        STICKY_TIMEOUTS,
        ADDR_LIMIT_3GB,
    ],
);

pub(in crate::syscall) static SECCOMP: FlagTable = FlagTable::one_of(names![
    SECCOMP_SET_MODE_STRICT,
    SECCOMP_SET_MODE_FILTER,
    SECCOMP_GET_ACTION_AVAIL,
    SECCOMP_GET_NOTIF_SIZES,
]);
pub(in crate::syscall) static SECCOMP_FILTER: FlagTable = FlagTable::bits(names![
    SECCOMP_FILTER_FLAG_TSYNC,
    SECCOMP_FILTER_FLAG_LOG,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
]);
pub(in crate::syscall) static LANDLOCK_CREATE: FlagTable =
    FlagTable::bits(names![LANDLOCK_CREATE_RULESET_VERSION = 1, LANDLOCK_CREATE_RULESET_ERRATA = 2]);
pub(in crate::syscall) static LANDLOCK_RULE: FlagTable =
    FlagTable::one_of(names![LANDLOCK_RULE_PATH_BENEATH = 1, LANDLOCK_RULE_NET_PORT = 2]);
pub(in crate::syscall) static LANDLOCK_RESTRICT: FlagTable = FlagTable::bits(names![
    LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF = 1,
    LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON = 2,
    LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF = 4,
    LANDLOCK_RESTRICT_SELF_TSYNC = 8,
]);

pub(in crate::syscall) static RSEQ: FlagTable = FlagTable::bits(names![RSEQ_FLAG_UNREGISTER = 1]);
pub(in crate::syscall) static SCHED: FlagTable = FlagTable::mixed(
    0x3fff_ffff,
    names![SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE, SCHED_EXT = 7],
    names![SCHED_RESET_ON_FORK],
);
pub(in crate::syscall) static PRIORITY: FlagTable = FlagTable::one_of(names![PRIO_PROCESS, PRIO_PGRP, PRIO_USER]);
pub(in crate::syscall) static IOPRIO: FlagTable =
    FlagTable::one_of(names![IOPRIO_WHO_PROCESS = 1, IOPRIO_WHO_PGRP = 2, IOPRIO_WHO_USER = 3]);
