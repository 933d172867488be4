//! Address space and shared memory.

use super::{names, FlagTable};

pub(in crate::syscall) static PROT: FlagTable =
    FlagTable::bits(names![PROT_READ, PROT_WRITE, PROT_EXEC, PROT_SEM = 0x8, PROT_GROWSDOWN, PROT_GROWSUP])
        .zero("PROT_NONE")
        .long();
pub(in crate::syscall) static MAP: FlagTable = FlagTable::mixed(
    libc::MAP_TYPE as u64,
    names![MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE],
    names![
        MAP_FIXED,
        MAP_ANONYMOUS,
        MAP_32BIT = 0x40,
        MAP_ABOVE4G = 0x80,
        MAP_NORESERVE,
        MAP_GROWSDOWN,
        MAP_DENYWRITE,
        MAP_EXECUTABLE,
        MAP_LOCKED,
        MAP_POPULATE,
        MAP_NONBLOCK,
        MAP_STACK,
        MAP_HUGETLB,
        MAP_SYNC,
        MAP_FIXED_NOREPLACE,
        MAP_HUGE_1GB,
        MAP_HUGE_2MB,
    ],
)
.long();
pub(in crate::syscall) static PKEY: FlagTable =
    FlagTable::bits(names![PKEY_DISABLE_ACCESS = 1, PKEY_DISABLE_WRITE = 2]).long();
pub(in crate::syscall) static MREMAP: FlagTable =
    FlagTable::bits(names![MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP]).long();
pub(in crate::syscall) static MADVISE: FlagTable = FlagTable::one_of(names![
    MADV_NORMAL,
    MADV_RANDOM,
    MADV_SEQUENTIAL,
    MADV_WILLNEED,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_REMOVE,
    MADV_DONTFORK,
    MADV_DOFORK,
    MADV_MERGEABLE,
    MADV_UNMERGEABLE,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MADV_DONTDUMP,
    MADV_DODUMP,
    MADV_WIPEONFORK,
    MADV_KEEPONFORK,
    MADV_COLD,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_DONTNEED_LOCKED,
    MADV_COLLAPSE = 25,
    MADV_HWPOISON,
    MADV_SOFT_OFFLINE,
    MADV_GUARD_INSTALL = 102,
    MADV_GUARD_REMOVE = 103,
]);
pub(in crate::syscall) static MSYNC: FlagTable = FlagTable::bits(names![MS_ASYNC, MS_INVALIDATE, MS_SYNC]);
pub(in crate::syscall) static MLOCK2: FlagTable = FlagTable::bits(names![MLOCK_ONFAULT]);
pub(in crate::syscall) static MLOCKALL: FlagTable = FlagTable::bits(names![MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT]);
pub(in crate::syscall) static SHADOW_STACK: FlagTable =
    FlagTable::bits(names![SHADOW_STACK_SET_TOKEN = 1, SHADOW_STACK_SET_MARKER = 2]);
pub(in crate::syscall) static MEMBARRIER: FlagTable = FlagTable::bits(names![
    MEMBARRIER_CMD_GLOBAL,
    MEMBARRIER_CMD_GLOBAL_EXPEDITED,
    MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED,
    MEMBARRIER_CMD_PRIVATE_EXPEDITED,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
    MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
    MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ,
    MEMBARRIER_CMD_GET_REGISTRATIONS = 0x200,
])
.zero("MEMBARRIER_CMD_QUERY");
pub(in crate::syscall) static MEMBARRIER_FLAGS: FlagTable = FlagTable::bits(names![MEMBARRIER_CMD_FLAG_CPU = 1]);
pub(in crate::syscall) static MEMFD: FlagTable =
    FlagTable::bits(names![MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC,]);
pub(in crate::syscall) static MEMFD_SECRET: FlagTable = FlagTable::bits(names![FD_CLOEXEC]);
pub(in crate::syscall) static USERFAULTFD: FlagTable =
    FlagTable::bits(names![UFFD_USER_MODE_ONLY = 1, O_NONBLOCK, O_CLOEXEC]);

pub(in crate::syscall) static IPC_KEY: FlagTable = FlagTable::one_of(names![IPC_PRIVATE]);
pub(in crate::syscall) static IPC_GET: FlagTable =
    FlagTable::bits(names![IPC_CREAT, IPC_EXCL, SHM_HUGETLB, SHM_NORESERVE]).permissions(0o777);
/// `IPC_64` marks the 64-bit form of the structure, which libc adds by itself on some architectures.
pub(in crate::syscall) static IPC_CTL: FlagTable = FlagTable::mixed(
    !0x100,
    names![
        IPC_RMID,
        IPC_SET,
        IPC_STAT,
        IPC_INFO,
        SHM_LOCK,
        SHM_UNLOCK,
        GETPID = 11,
        GETVAL = 12,
        GETALL = 13,
        GETNCNT = 14,
        GETZCNT = 15,
        SETVAL = 16,
        SETALL = 17,
    ],
    names![IPC_64 = 0x100],
);
pub(in crate::syscall) static SHMAT: FlagTable = FlagTable::bits(names![SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC]);

pub(in crate::syscall) static MPOL: FlagTable = FlagTable::mixed(
    0xfff,
    names![
        MPOL_DEFAULT,
        MPOL_PREFERRED,
        MPOL_BIND,
        MPOL_INTERLEAVE,
        MPOL_LOCAL,
        MPOL_PREFERRED_MANY = 5,
        MPOL_WEIGHTED_INTERLEAVE = 6,
    ],
    names![MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES, MPOL_F_NUMA_BALANCING],
);
pub(in crate::syscall) static MPOL_MOVE: FlagTable =
    FlagTable::bits(names![MPOL_MF_STRICT = 1, MPOL_MF_MOVE = 2, MPOL_MF_MOVE_ALL = 4]);
pub(in crate::syscall) static MPOL_GET: FlagTable =
    FlagTable::bits(names![MPOL_F_NODE = 1, MPOL_F_ADDR = 2, MPOL_F_MEMS_ALLOWED = 4]).long();
