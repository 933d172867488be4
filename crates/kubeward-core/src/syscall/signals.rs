//! Signal numbers and their names.

use super::flags::signal::NAMES;

/// `SIGTERM` for 15; real-time signals are `SIGRTMIN` (32, the kernel's first, which libc keeps for
/// itself), then `SIGRT_1` to `SIGRT_32` (64), as strace writes them. `None` for 0 and
/// for what is no signal.
pub fn signal_name(number: u32) -> Option<&'static str> {
    const REAL_TIME: [&str; 33] = [
        "SIGRTMIN", "SIGRT_1", "SIGRT_2", "SIGRT_3", "SIGRT_4", "SIGRT_5", "SIGRT_6", "SIGRT_7", "SIGRT_8", "SIGRT_9",
        "SIGRT_10", "SIGRT_11", "SIGRT_12", "SIGRT_13", "SIGRT_14", "SIGRT_15", "SIGRT_16", "SIGRT_17", "SIGRT_18",
        "SIGRT_19", "SIGRT_20", "SIGRT_21", "SIGRT_22", "SIGRT_23", "SIGRT_24", "SIGRT_25", "SIGRT_26", "SIGRT_27",
        "SIGRT_28", "SIGRT_29", "SIGRT_30", "SIGRT_31", "SIGRT_32",
    ];
    match number {
        32..=64 => Some(REAL_TIME[(number - 32) as usize]),
        _ => NAMES.iter().find(|(value, _)| *value == u64::from(number)).map(|(_, name)| *name),
    }
}
