//! Clocks, timers and sleeping.

use super::group;
use crate::syscall::flags::timer::*;
use crate::syscall::ArgKind::*;

group! { Timer:
    timer_create(which_clock: Flags(&CLOCK), timer_event_spec: Ptr, created_timer_id: Ptr);
    timer_settime(timer_id: Int, flags: Flags(&TIMER_SET), new_setting: Ptr, old_setting: Ptr);
    timer_gettime(timer_id: Int, setting: Ptr);
    timer_getoverrun(timer_id: Int);
    timer_delete(timer_id: Int);
    timerfd_create(clockid: Flags(&CLOCK), flags: Flags(&TIMERFD));
    timerfd_settime(ufd: Fd, flags: Flags(&TIMERFD_SET), utmr: Ptr, otmr: Ptr);
    timerfd_gettime(ufd: Fd, otmr: Ptr);
    alarm(seconds: UInt);
    getitimer(which: Flags(&ITIMER), value: Ptr);
    setitimer(which: Flags(&ITIMER), value: Ptr, ovalue: Ptr);
    nanosleep(rqtp: Ptr, rmtp: Ptr);
    clock_nanosleep(which_clock: Flags(&CLOCK), flags: Flags(&TIMER_SET), rqtp: Ptr, rmtp: Ptr);
    clock_gettime(which_clock: Flags(&CLOCK), tp: Ptr);
    clock_settime(which_clock: Flags(&CLOCK), tp: Ptr);
    clock_getres(which_clock: Flags(&CLOCK), tp: Ptr);
    clock_adjtime(which_clock: Flags(&CLOCK), utx: Ptr);
    adjtimex(txc_p: Ptr);
    time(tloc: Ptr);
    gettimeofday(tv: Ptr, tz: Ptr);
    settimeofday(tv: Ptr, tz: Ptr);
}
