//! The few system calls on our own process that std does not offer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// By far longer than one of our programs runs.
const NO_RCU_GRACE: Duration = Duration::from_millis(50);

/// Beside the kernel's own grace period: what it does not wait for is a task that was preempted in the kernel.
const GRACE: Duration = Duration::from_millis(5);

/// A process that cannot be mistaken for another, however its number is reused.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two numbers and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    pub fn of_this_process() -> io::Result<Self> {
        Self::open(std::process::id())
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Keeps the calling thread on the first CPU it is allowed on.
pub(crate) fn pin_to_one_cpu() -> io::Result<()> {
    // SAFETY: cpu_set_t is a bit array for which all zeroes is the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `allowed` is as large as we say; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&allowed), &mut allowed) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the index is below CPU_SETSIZE.
    let first = (0..libc::CPU_SETSIZE as usize).find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &allowed) });
    // SAFETY: cpu_set_t is a bit array for which all zeroes is the empty set.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the index is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(first.unwrap_or(0), &mut one) };
    // SAFETY: `one` is as large as we say; 0 is the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&one), &one) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// One getpgid(0), which cannot fail.
pub(crate) fn getpgid_self() {
    // SAFETY: getpgid takes a number and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_getpgid, 0) };
}

/// One getppid, which cannot fail.
pub(crate) fn getppid_self() {
    // SAFETY: getppid takes nothing and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

/// CPUs that run; 1 where the system does not say.
pub(crate) fn running_cpus() -> u64 {
    // SAFETY: sysconf takes a number and touches no memory of ours.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    u64::try_from(cpus).unwrap_or(1).max(1)
}

/// Has a child make `calls` getpgid(0) of the 32-bit table and end. False: it could not, and may have been killed for it, as where the
/// kernel has no such calls.
#[cfg(target_arch = "x86_64")]
pub(crate) fn make_compat_calls(calls: u32) -> bool {
    const COMPAT_GETPGID: u64 = 132;
    // No signal tells of the child's end: nobody else shall wait for it.
    const NO_SIGNAL: u64 = 0;
    // SAFETY: as fork, but for glibc's own handlers: the child has a copy of this thread's memory, takes no lock, allocates nothing,
    // and ends below.
    let child = unsafe { libc::syscall(libc::SYS_clone, NO_SIGNAL, 0, 0, 0, 0) };
    if child == 0 {
        for _ in 0..calls {
            // SAFETY: the call touches no memory; the kernel clobbers r8 to r11 on this entry. It dies here or returns.
            unsafe {
                // The argument is in rbx, which the compiler keeps for itself.
                std::arch::asm!("push rbx", "xor ebx, ebx", "int 0x80", "pop rbx",
                    inlateout("rax") COMPAT_GETPGID => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
            }
        }
        // SAFETY: ends the child alone, without its copy of anybody's exit handlers.
        unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    }
    let mut status = -1;
    // SAFETY: waits for the child just made; `status` is a valid number to write to.
    let waited = child > 0 && unsafe { libc::waitpid(child as i32, &mut status, libc::__WALL) } == child as i32;
    waited && status == 0
}

/// One ppoll of nothing, for `time`.
pub(crate) fn wait_in_ppoll(time: Duration) {
    let timeout = libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    let mut left = timeout;
    // SAFETY: no descriptors are passed, the timeout is valid and the kernel may write the rest of the time to it.
    unsafe {
        libc::syscall(
            libc::SYS_ppoll,
            std::ptr::null_mut::<libc::pollfd>(),
            0,
            &raw mut left,
            std::ptr::null::<libc::sigset_t>(),
            0,
        )
    };
}

/// Lets every thread that just woke up preempt the calling one.
pub(crate) fn yield_to_waking_threads() -> io::Result<()> {
    // SAFETY: setpriority takes numbers; 0 is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How often the calling thread had to give up its CPU while it still had work, since it began.
pub(crate) fn involuntary_switches() -> u64 {
    // SAFETY: rusage is made of numbers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid rusage for the kernel to fill.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    usage.ru_nivcsw as u64
}

/// Whether `part` is somewhere in `bytes`. Megabytes take it a millisecond.
pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    // SAFETY: both pointers are to as many bytes as is said, which the function only reads.
    let found = unsafe { libc::memmem(bytes.as_ptr().cast(), bytes.len(), part.as_ptr().cast(), part.len()) };
    !found.is_null()
}

/// Waits until each CPU has left what it was doing in the kernel, as RCU has it: some milliseconds, and [`NO_RCU_GRACE`] where
/// the kernel does not offer it (nohz_full) or a seccomp filter refuses it.
pub(crate) fn wait_for_rcu() {
    const MEMBARRIER_CMD_GLOBAL: i32 = 1;
    // SAFETY: membarrier takes numbers and touches no memory of ours.
    if unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } != 0 {
        std::thread::sleep(NO_RCU_GRACE);
    }
}

/// Waits until no task is any more where it was, in a program or between two hooks that show the same moment: it does not sleep
/// there, so a grace period of the kernel's RCU is enough unless the kernel preempts itself.
pub(crate) fn let_pass() {
    std::thread::sleep(GRACE);
    wait_for_rcu();
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// The calling thread's calls of this number fail with EINVAL from now on.
    fn refuse(nr: libc::c_long) {
        let rule = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut rules = [
            rule(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            rule(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, nr as u32),
            rule(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
            rule(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: rules.len() as u16, filter: rules.as_mut_ptr() };
        // SAFETY: prctl takes numbers here and touches no memory of ours.
        let no_new_privs = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: the filter points to as many rules as it says, and the kernel copies them.
        let filtered = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
        assert_eq!((no_new_privs, filtered), (0, 0), "{}", io::Error::last_os_error());
    }

    /// As under nohz_full.
    #[test]
    fn where_the_kernel_waits_for_nobody_some_time_passes() {
        // The filter goes with its thread.
        let waiting = std::thread::spawn(|| {
            refuse(libc::SYS_membarrier);
            let start = Instant::now();
            wait_for_rcu();
            start.elapsed()
        });
        assert!(waiting.join().expect("it does not panic") >= NO_RCU_GRACE);
    }
}
