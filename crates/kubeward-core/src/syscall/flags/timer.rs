//! Clocks and timers.

use super::{names, FlagTable};

pub(in crate::syscall) static CLOCK: FlagTable = FlagTable::one_of(names![
    CLOCK_REALTIME,
    CLOCK_MONOTONIC,
    CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_THREAD_CPUTIME_ID,
    CLOCK_MONOTONIC_RAW,
    CLOCK_REALTIME_COARSE,
    CLOCK_MONOTONIC_COARSE,
    CLOCK_BOOTTIME,
    CLOCK_REALTIME_ALARM,
    CLOCK_BOOTTIME_ALARM,
    CLOCK_TAI,
]);
pub(in crate::syscall) static TIMER_SET: FlagTable = FlagTable::bits(names![TIMER_ABSTIME]);
pub(in crate::syscall) static TIMERFD: FlagTable = FlagTable::bits(names![TFD_CLOEXEC, TFD_NONBLOCK]);
pub(in crate::syscall) static TIMERFD_SET: FlagTable =
    FlagTable::bits(names![TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET]);
pub(in crate::syscall) static ITIMER: FlagTable = FlagTable::one_of(names![ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF]);
