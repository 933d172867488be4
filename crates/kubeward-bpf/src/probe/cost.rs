//! What hooks cost on this machine, as the self-test measured it, and up to how many calls hooks on functions are the cheaper ones.
//!
//! Hooks on functions cost their attaching and detaching, and nothing at other calls. The raw tracepoint is there at once and
//! taxes every call of the machine. So it depends on how long hooks stay, how often calls are made, and how many are asked for.

use std::fmt;
use std::time::{Duration, Instant};

use crate::process;

/// Calls that a busy node makes on each CPU, a second. On an idle one, neither kind of hook costs anything.
const BUSY_CALLS_A_CPU: u64 = 20_000;
/// Calls of the table that programs make in earnest: a policy that names as many names about all that are made.
const CALLS_IN_USE: usize = 350;
/// Hooks are worth their attaching if they pay for it within that time.
const LIFE: Duration = Duration::from_secs(3600);
/// For so long at most may detaching hold up the end of the process, whose hooks go one by one.
const LONGEST_END: Duration = Duration::from_secs(5);

/// Calls timed in one go, and how often: the fastest go counts, in which nothing else ran.
const TIMED_CALLS: u32 = 64;
const GOES: usize = 40;

/// Of one kind of hook, on entry and return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cost {
    /// Until the hooks of one call were there; of the raw tracepoint, those of all calls.
    pub(super) attach: Duration,
    /// Until they had gone.
    pub(super) detach: Duration,
    /// Added to a call that is watched.
    pub(super) watched_ns: u64,
    /// Added to a call that nobody asks for.
    pub(super) other_ns: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (attach, detach) = (ms(self.attach), ms(self.detach));
        write!(f, "attaches in {attach:.1} ms, detaches in {detach:.1} ms; adds {} ns", self.watched_ns)?;
        write!(f, " to a watched call, {} ns to others", self.other_ns)
    }
}

/// How long a call takes that the self-test watches, and one that it does not.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallTimes {
    watched_ns: u64,
    other_ns: u64,
}

impl CallTimes {
    /// How many watched calls it takes to measure.
    pub(super) const WATCHED_CALLS: u64 = TIMED_CALLS as u64 * GOES as u64;

    pub(super) fn measure() -> Self {
        Self { watched_ns: fastest(process::getpgid_self), other_ns: fastest(process::getppid_self) }
    }

    /// What was added since `bare`.
    pub(super) fn over(&self, bare: &Self) -> (u64, u64) {
        (self.watched_ns.saturating_sub(bare.watched_ns), self.other_ns.saturating_sub(bare.other_ns))
    }
}

fn fastest(call: fn()) -> u64 {
    let go = |_| {
        let begin = Instant::now();
        (0..TIMED_CALLS).for_each(|_| call());
        begin.elapsed()
    };
    let fastest = (0..GOES).map(go).min().unwrap_or_default();
    fastest.as_nanos() as u64 / u64::from(TIMED_CALLS)
}

/// For how long hooks are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Horizon {
    /// Policies that stay.
    Agent,
    /// One command. Somebody waits for it, and for its hooks to come and to go: those on functions would not pay for that, nor
    /// for trying whether they are exact.
    Trace,
}

/// What is weighed: the two kinds of hook, and where they are to serve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighed {
    pub(super) function: Cost,
    /// Whether `function` counts for each call, or one link takes any number (kprobe.multi).
    pub(super) is_each: bool,
    pub(super) raw: Cost,
    pub(super) cpus: u64,
}

impl Weighed {
    /// The largest number of calls for which hooks on functions are cheaper in all; 0: never.
    pub(super) fn crossover(&self) -> usize {
        let at_end = self.function.detach.as_secs_f64() * self.steps(1);
        let is_cheaper = |calls: usize| {
            let ends_in_time = !self.is_each || at_end * calls as f64 <= LONGEST_END.as_secs_f64();
            ends_in_time && self.function_load(calls) < self.raw_load(calls)
        };
        (1..=CALLS_IN_USE).take_while(|&calls| is_cheaper(calls)).count()
    }

    /// How long hooks on so many functions must stay until they have saved what their coming and going costs.
    pub(super) fn pays_after(&self, calls: usize) -> Duration {
        let saved = self.raw_load(calls) - self.watched_load(calls, self.function.watched_ns);
        let seconds = self.once(calls) / saved;
        // Never, where nothing is saved.
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// The choice in a sentence, of hooks with these names.
    pub(super) fn explain(&self, function: &str, raw: &str) -> String {
        let crossover = self.crossover();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (attach, detach) = (ms(self.function.attach), ms(self.function.detach));
        let each = if self.is_each { " each" } else { " in all" };
        let tax = format!("{} ns on every call of the machine", self.raw.other_ns);
        match crossover {
            0 => format!("{raw} for every call ({tax}): {function} (attach {attach:.1} ms, detach {detach:.1} ms{each}) would not pay for itself"),
            CALLS_IN_USE.. => format!("{function} for any number of calls (attach {attach:.1} ms, detach {detach:.1} ms{each}; {raw} would cost {tax})"),
            _ => format!("{function} for up to {crossover} calls (attach {attach:.1} ms, detach {detach:.1} ms{each}), {raw} for more ({tax})"),
        }
    }

    fn steps(&self, calls: usize) -> f64 {
        if self.is_each {
            calls as f64
        } else {
            1.0
        }
    }

    /// Seconds to attach and to detach.
    fn once(&self, calls: usize) -> f64 {
        (self.function.attach + self.function.detach).as_secs_f64() * self.steps(calls)
    }

    /// CPU seconds a second.
    fn function_load(&self, calls: usize) -> f64 {
        self.watched_load(calls, self.function.watched_ns) + self.once(calls) / LIFE.as_secs_f64()
    }

    fn raw_load(&self, calls: usize) -> f64 {
        let others = self.calls_a_second() * (1.0 - share(calls));
        self.watched_load(calls, self.raw.watched_ns) + others * self.raw.other_ns as f64 * 1e-9
    }

    fn watched_load(&self, calls: usize, ns: u64) -> f64 {
        self.calls_a_second() * share(calls) * ns as f64 * 1e-9
    }

    fn calls_a_second(&self) -> f64 {
        (self.cpus * BUSY_CALLS_A_CPU) as f64
    }
}

/// How much of what is made is named, taking every call for as frequent as any other.
fn share(calls: usize) -> f64 {
    calls.min(CALLS_IN_USE) as f64 / CALLS_IN_USE as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(attach_ms: u64, detach_ms: u64, watched_ns: u64, other_ns: u64) -> Cost {
        let (attach, detach) = (Duration::from_millis(attach_ms), Duration::from_millis(detach_ms));
        Cost { attach, detach, watched_ns, other_ns }
    }

    fn fentry() -> Weighed {
        Weighed { function: cost(34, 138, 350, 0), is_each: true, raw: cost(1, 20, 400, 100), cpus: 2 }
    }

    fn multi(watched_ns: u64) -> Weighed {
        let function = cost(40, 60, watched_ns, 0);
        Weighed { function, is_each: false, ..fentry() }
    }

    #[test]
    fn one_call_on_a_node_is_hooked_itself_and_all_calls_by_the_tracepoint() {
        let crossover = fentry().crossover();
        assert!((8..CALLS_IN_USE / 2).contains(&crossover), "{crossover}");
        assert_eq!(
            multi(700).crossover(),
            86,
            "100 of 400 ns are saved at each other call, and 300 paid at each named one"
        );
    }

    #[test]
    fn hooks_that_come_at_once_serve_any_number_of_calls_if_they_are_no_dearer() {
        assert!(multi(400).crossover() > 300);
        assert_eq!(Weighed { raw: cost(0, 0, 400, 0), ..multi(500) }.crossover(), 0, "there is no tax to save");
    }

    #[test]
    fn the_agents_end_bounds_hooks_that_go_slowly() {
        let many_cpus = Weighed { cpus: 256, ..fentry() };
        assert_eq!(many_cpus.crossover(), 36, "5 s / 138 ms");
    }

    #[test]
    fn hooks_pay_for_themselves_after_the_time_that_their_coming_and_going_takes_of_the_tax() {
        let one = Weighed { cpus: 1, raw: cost(0, 0, 350, 100), ..fentry() };
        // 172 ms at 20,000 calls of 100 ns a second, less the one call's own share.
        assert_eq!(one.pays_after(1).as_secs(), 86);
        let dear = Weighed { raw: cost(0, 0, 350, 0), ..one };
        assert_eq!(dear.pays_after(1), Duration::MAX);
    }
}
