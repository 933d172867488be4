//! Futexes and System V messages.

use super::{names, FlagTable};

/// The private form of an operation has a name of its own, as in the kernel's header.
pub(in crate::syscall) static FUTEX: FlagTable = FlagTable::mixed(
    !(libc::FUTEX_CLOCK_REALTIME as u64),
    names![
        FUTEX_WAIT,
        FUTEX_WAKE,
        FUTEX_FD,
        FUTEX_REQUEUE,
        FUTEX_CMP_REQUEUE,
        FUTEX_WAKE_OP,
        FUTEX_LOCK_PI,
        FUTEX_UNLOCK_PI,
        FUTEX_TRYLOCK_PI,
        FUTEX_WAIT_BITSET,
        FUTEX_WAKE_BITSET,
        FUTEX_WAIT_REQUEUE_PI,
        FUTEX_CMP_REQUEUE_PI,
        FUTEX_LOCK_PI2,
        FUTEX_WAIT_PRIVATE = 0x80,
        FUTEX_WAKE_PRIVATE = 0x81,
        FUTEX_REQUEUE_PRIVATE = 0x83,
        FUTEX_CMP_REQUEUE_PRIVATE = 0x84,
        FUTEX_WAKE_OP_PRIVATE = 0x85,
        FUTEX_LOCK_PI_PRIVATE = 0x86,
        FUTEX_UNLOCK_PI_PRIVATE = 0x87,
        FUTEX_TRYLOCK_PI_PRIVATE = 0x88,
        FUTEX_WAIT_BITSET_PRIVATE = 0x89,
        FUTEX_WAKE_BITSET_PRIVATE = 0x8a,
        FUTEX_WAIT_REQUEUE_PI_PRIVATE = 0x8b,
        FUTEX_CMP_REQUEUE_PI_PRIVATE = 0x8c,
        FUTEX_LOCK_PI2_PRIVATE = 0x8d,
    ],
    names![FUTEX_CLOCK_REALTIME],
);
pub(in crate::syscall) static FUTEX2: FlagTable = FlagTable::mixed(
    0x3,
    names![FUTEX2_SIZE_U8 = 0, FUTEX2_SIZE_U16 = 1, FUTEX2_SIZE_U32 = 2, FUTEX2_SIZE_U64 = 3],
    names![FUTEX2_NUMA = 0x4, FUTEX2_MPOL = 0x8, FUTEX2_PRIVATE = 0x80],
);
pub(in crate::syscall) static MSG_QUEUE: FlagTable =
    FlagTable::bits(names![IPC_NOWAIT, MSG_NOERROR, MSG_EXCEPT, MSG_COPY]);
