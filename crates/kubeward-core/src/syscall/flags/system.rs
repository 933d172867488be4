//! Limits and control of the machine.

use super::{names, FlagTable};

pub(in crate::syscall) static GETRANDOM: FlagTable = FlagTable::bits(names![GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE]);
pub(in crate::syscall) static RLIMIT: FlagTable = FlagTable::one_of(names![
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_DATA,
    RLIMIT_STACK,
    RLIMIT_CORE,
    RLIMIT_RSS,
    RLIMIT_NPROC,
    RLIMIT_NOFILE,
    RLIMIT_MEMLOCK,
    RLIMIT_AS,
    RLIMIT_LOCKS,
    RLIMIT_SIGPENDING,
    RLIMIT_MSGQUEUE,
    RLIMIT_NICE,
    RLIMIT_RTPRIO,
    RLIMIT_RTTIME,
]);
pub(in crate::syscall) static RUSAGE: FlagTable =
    FlagTable::one_of(names![RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD]);
pub(in crate::syscall) static SYSLOG: FlagTable = FlagTable::one_of(names![
    SYSLOG_ACTION_CLOSE = 0,
    SYSLOG_ACTION_OPEN = 1,
    SYSLOG_ACTION_READ = 2,
    SYSLOG_ACTION_READ_ALL = 3,
    SYSLOG_ACTION_READ_CLEAR = 4,
    SYSLOG_ACTION_CLEAR = 5,
    SYSLOG_ACTION_CONSOLE_OFF = 6,
    SYSLOG_ACTION_CONSOLE_ON = 7,
    SYSLOG_ACTION_CONSOLE_LEVEL = 8,
    SYSLOG_ACTION_SIZE_UNREAD = 9,
    SYSLOG_ACTION_SIZE_BUFFER = 10,
]);
/// The priority is in the low 15 bits and stays a number.
pub(in crate::syscall) static SWAP: FlagTable = FlagTable::bits(names![
    SWAP_FLAG_PREFER = 0x8000,
    SWAP_FLAG_DISCARD = 0x10000,
    SWAP_FLAG_DISCARD_ONCE = 0x20000,
    SWAP_FLAG_DISCARD_PAGES = 0x40000,
]);
pub(in crate::syscall) static REBOOT: FlagTable = FlagTable::one_of(names![
    LINUX_REBOOT_CMD_RESTART,
    LINUX_REBOOT_CMD_HALT,
    LINUX_REBOOT_CMD_CAD_ON,
    LINUX_REBOOT_CMD_CAD_OFF,
    LINUX_REBOOT_CMD_POWER_OFF,
    LINUX_REBOOT_CMD_RESTART2,
    LINUX_REBOOT_CMD_SW_SUSPEND,
    LINUX_REBOOT_CMD_KEXEC,
]);
pub(in crate::syscall) static KEXEC: FlagTable = FlagTable::mixed(
    0xffff_0000,
    names![KEXEC_ARCH_386 = 3 << 16, KEXEC_ARCH_X86_64 = 62 << 16, KEXEC_ARCH_AARCH64 = 183 << 16],
    names![
        KEXEC_ON_CRASH = 1,
        KEXEC_PRESERVE_CONTEXT = 2,
        KEXEC_UPDATE_ELFCOREHDR = 4,
        KEXEC_CRASH_HOTPLUG_SUPPORT = 8,
    ],
)
.long();
pub(in crate::syscall) static KEXEC_FILE: FlagTable = FlagTable::bits(names![
    KEXEC_FILE_UNLOAD = 1,
    KEXEC_FILE_ON_CRASH = 2,
    KEXEC_FILE_NO_INITRAMFS = 4,
    KEXEC_FILE_DEBUG = 8,
])
.long();
pub(in crate::syscall) static FINIT_MODULE: FlagTable = FlagTable::bits(names![
    MODULE_INIT_IGNORE_MODVERSIONS,
    MODULE_INIT_IGNORE_VERMAGIC,
    MODULE_INIT_COMPRESSED_FILE = 4,
]);
pub(in crate::syscall) static BPF: FlagTable = FlagTable::one_of(names![
    BPF_MAP_CREATE = 0,
    BPF_MAP_LOOKUP_ELEM = 1,
    BPF_MAP_UPDATE_ELEM = 2,
    BPF_MAP_DELETE_ELEM = 3,
    BPF_MAP_GET_NEXT_KEY = 4,
    BPF_PROG_LOAD = 5,
    BPF_OBJ_PIN = 6,
    BPF_OBJ_GET = 7,
    BPF_PROG_ATTACH = 8,
    BPF_PROG_DETACH = 9,
    BPF_PROG_TEST_RUN = 10,
    BPF_PROG_GET_NEXT_ID = 11,
    BPF_MAP_GET_NEXT_ID = 12,
    BPF_PROG_GET_FD_BY_ID = 13,
    BPF_MAP_GET_FD_BY_ID = 14,
    BPF_OBJ_GET_INFO_BY_FD = 15,
    BPF_PROG_QUERY = 16,
    BPF_RAW_TRACEPOINT_OPEN = 17,
    BPF_BTF_LOAD = 18,
    BPF_BTF_GET_FD_BY_ID = 19,
    BPF_TASK_FD_QUERY = 20,
    BPF_MAP_LOOKUP_AND_DELETE_ELEM = 21,
    BPF_MAP_FREEZE = 22,
    BPF_BTF_GET_NEXT_ID = 23,
    BPF_MAP_LOOKUP_BATCH = 24,
    BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25,
    BPF_MAP_UPDATE_BATCH = 26,
    BPF_MAP_DELETE_BATCH = 27,
    BPF_LINK_CREATE = 28,
    BPF_LINK_UPDATE = 29,
    BPF_LINK_GET_FD_BY_ID = 30,
    BPF_LINK_GET_NEXT_ID = 31,
    BPF_ENABLE_STATS = 32,
    BPF_ITER_CREATE = 33,
    BPF_LINK_DETACH = 34,
    BPF_PROG_BIND_MAP = 35,
    BPF_TOKEN_CREATE = 36,
    BPF_PROG_STREAM_READ_BY_FD = 37,
]);
pub(in crate::syscall) static PERF: FlagTable = FlagTable::bits(names![
    PERF_FLAG_FD_NO_GROUP = 1,
    PERF_FLAG_FD_OUTPUT = 2,
    PERF_FLAG_PID_CGROUP = 4,
    PERF_FLAG_FD_CLOEXEC = 8,
])
.long();
pub(in crate::syscall) static LSM_ATTR: FlagTable = FlagTable::one_of(names![
    LSM_ATTR_CURRENT = 100,
    LSM_ATTR_EXEC = 101,
    LSM_ATTR_FSCREATE = 102,
    LSM_ATTR_KEYCREATE = 103,
    LSM_ATTR_PREV = 104,
    LSM_ATTR_SOCKCREATE = 105,
]);
pub(in crate::syscall) static LSM_FLAGS: FlagTable = FlagTable::bits(names![LSM_FLAG_SINGLE = 1]);
