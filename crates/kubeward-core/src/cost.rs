//! What watching costs, for estimates made before anything is watched.
//!
//! The prices are rounded from the table of docs/performance.md (a virtual machine of 2 CPUs, Linux 6.18, tracepoint backend), each from
//! the row that is named with it, of `getppid` where there are several: calls with strings and paths cost more. Another machine's are
//! others, their proportions hardly.

use crate::policy::CallWant;

/// Nanoseconds of CPU for each call, beyond what the call takes with nothing attached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// A record made at the call's entry or return alone (`kernel/record-exit`).
    pub moment_record_ns: f64,
    /// A record of both, with the time between them (`kernel/record-call`).
    pub call_record_ns: f64,
    /// Counted at one moment, and no record made (`kernel/count-exit`).
    pub moment_count_ns: f64,
    /// Counted with its duration (`kernel/count-call`).
    pub call_count_ns: f64,
    /// A call of whoever on the machine that a raw tracepoint looks at in vain, at its return alone (`kernel/host-task`).
    pub passed_exit_ns: f64,
    /// The same at entry and return (`kernel/unselected-call`).
    pub passed_call_ns: f64,
    /// A record read, judged and written as a line, in user space; what a file's disk takes beside that is not in it
    /// (`product/user-cpu`).
    pub event_ns: f64,
}

impl Prices {
    pub const BENCHED: Prices = Prices {
        moment_record_ns: 120.0,
        call_record_ns: 230.0,
        moment_count_ns: 55.0,
        call_count_ns: 175.0,
        passed_exit_ns: 45.0,
        passed_call_ns: 70.0,
        event_ns: 400.0,
    };

    /// Each with what it is the price of.
    pub fn named(&self) -> [(&'static str, f64); 7] {
        [
            ("a record of a call's entry or return", self.moment_record_ns),
            ("a record of both, with its duration", self.call_record_ns),
            ("a call that is counted alone", self.moment_count_ns),
            ("a call that is counted with its duration", self.call_count_ns),
            ("any other call of the machine, under a raw tracepoint at returns", self.passed_exit_ns),
            ("the same, under raw tracepoints at entries and returns", self.passed_call_ns),
            ("an event in the agent", self.event_ns),
        ]
    }

    /// In the kernel, for a call wanted at these moments of which a record is made.
    pub fn record_ns(&self, want: CallWant) -> f64 {
        match want.moments() {
            CallWant::NONE => 0.0,
            CallWant::CALL => self.call_record_ns,
            _ => self.moment_record_ns,
        }
    }

    /// In the kernel, for one that is counted alone.
    pub fn count_ns(&self, want: CallWant) -> f64 {
        match want.moments() {
            CallWant::NONE => 0.0,
            CallWant::CALL => self.call_count_ns,
            _ => self.moment_count_ns,
        }
    }
}
