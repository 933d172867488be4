//! Which hook serves a call: what works here, what of it is exact, and of that the cheapest.

use std::sync::Arc;

use kubeward_core::event::Probe;
use kubeward_core::syscall::Syscall;

use super::compat::Entry;
use super::cost::{Horizon, Weighed};
use super::selftest::{self, Trial};
use super::{Backend, ProbeError, ASK_REFUSED};
use crate::object::Engine;
use crate::process;

/// What was found out about each kind of hook; `None`: it was not needed, so not tried.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    pub(super) tp_btf: Option<Trial>,
    pub(super) tracepoint: Option<Trial>,
    pub(super) kprobe: Option<Trial>,
    pub(super) kprobe_multi: Option<Trial>,
    pub(super) fentry: Option<Trial>,
}

/// Tries what `backend` could use. The raw tracepoints are tried always: they serve what the others cannot.
pub(super) fn verdicts(engine: &Arc<Engine>, backend: Backend, horizon: Horizon) -> Result<Verdicts, ProbeError> {
    let tp_btf = selftest::run(engine, Probe::TpBtf);
    let mut verdicts = Verdicts::default();
    if !tp_btf.is_exact() {
        verdicts.tracepoint = Some(selftest::run(engine, Probe::Tracepoint));
    }
    verdicts.tp_btf = Some(tp_btf);
    match backend {
        Backend::Tracepoint => {}
        Backend::Fentry => verdicts.fentry = Some(selftest::run(engine, Probe::Fentry)),
        Backend::Kprobe => {
            verdicts.kprobe = Some(selftest::run(engine, Probe::Kprobe));
            verdicts.kprobe_multi = Some(selftest::run(engine, Probe::KprobeMulti));
        }
        Backend::Auto if horizon == Horizon::Trace && verdicts.raw_is_exact() => {}
        Backend::Auto => {
            let fentry = selftest::run(engine, Probe::Fentry);
            if !fentry.is_exact() {
                verdicts.kprobe_multi = Some(selftest::run(engine, Probe::KprobeMulti));
            }
            verdicts.fentry = Some(fentry);
        }
    }
    verdicts.check(backend)?;
    Ok(verdicts)
}

impl Verdicts {
    fn check(&self, backend: Backend) -> Result<(), ProbeError> {
        let refusal = |trials: &[&Option<Trial>]| {
            let tried: Vec<&Trial> = trials.iter().filter_map(|trial| trial.as_ref()).collect();
            let refused = !tried.iter().any(|trial| trial.attaches());
            refused.then(|| tried.iter().map(|trial| trial.to_string()).collect::<Vec<_>>())
        };
        let raw = refusal(&[&self.tp_btf, &self.tracepoint]);
        match backend {
            Backend::Auto => {
                let all = [&self.tp_btf, &self.tracepoint, &self.fentry, &self.kprobe_multi];
                refusal(&all).map_or(Ok(()), |reasons| Err(ProbeError::NoBackend(reasons)))
            }
            Backend::Tracepoint => refused(backend, raw),
            Backend::Fentry => refused(backend, refusal(&[&self.fentry])),
            Backend::Kprobe => refused(backend, refusal(&[&self.kprobe, &self.kprobe_multi])),
        }
    }

    /// The raw tracepoint to use: through BTF unless that skips runs and the classic one does not.
    pub(super) fn raw_probe(&self) -> Probe {
        let classic_works = self.tracepoint.as_ref().is_some_and(Trial::attaches);
        match &self.tp_btf {
            Some(tp_btf) if tp_btf.is_exact() || !classic_works => Probe::TpBtf,
            _ => Probe::Tracepoint,
        }
    }

    pub(super) fn raw_is_exact(&self) -> bool {
        match self.raw_probe() {
            Probe::Tracepoint => exact(&self.tracepoint),
            _ => self.tp_btf_is_exact(),
        }
    }

    pub(super) fn tp_btf_is_exact(&self) -> bool {
        exact(&self.tp_btf)
    }

    /// How fentry sees 32-bit calls.
    pub(super) fn compat_entry(&self) -> Entry {
        let found = self.fentry.as_ref().and_then(|trial| trial.result.as_ref().ok());
        found.map_or(Entry::Functions, |found| found.entry)
    }

    /// The kind of hook on functions that `auto` may use: one that is exact.
    fn exact_function(&self) -> Option<&Trial> {
        [&self.fentry, &self.kprobe_multi].into_iter().flatten().find(|trial| trial.is_exact())
    }

    fn raw_trial(&self) -> Option<&Trial> {
        match self.raw_probe() {
            Probe::Tracepoint => self.tracepoint.as_ref(),
            _ => self.tp_btf.as_ref(),
        }
    }

    /// What `auto` weighs; `None` where there is nothing to choose.
    pub(super) fn weighed(&self) -> Option<Weighed> {
        let function = self.exact_function()?;
        Some(Weighed {
            function: function.cost()?,
            is_each: function.probe != Probe::KprobeMulti,
            raw: self.raw_trial()?.cost()?,
            cpus: process::running_cpus(),
        })
    }

    /// Whether hooks on functions serve under `auto`. `by_function`: whether they do now, since edits around the border shall not
    /// move everything to and fro.
    ///
    /// All calls or none: where the raw tracepoint must be there for one of them, the others may as well come by it.
    pub(super) fn auto_hooks_functions(&self, wanted: &Wanted<'_>, by_function: bool) -> bool {
        let Some(function) = self.exact_function() else { return false };
        if !self.raw_is_exact() {
            return true;
        }
        let needs_raw = |&(call, asked): &(&Syscall, u8)| {
            asked & ASK_REFUSED != 0
                || function.probe == Probe::Fentry && call.has_no_fentry()
                || call.symbol().is_none()
        };
        let limit = self.weighed().map_or(0, |weighed| weighed.crossover());
        let limit = if by_function { limit + limit / 4 } else { limit };
        wanted.len() <= limit && !wanted.iter().any(needs_raw)
    }

    /// The hook to try for a call; where it cannot be attached, the raw tracepoint serves. `by_function`: what
    /// [`Verdicts::auto_hooks_functions`] said.
    pub(super) fn choose(&self, backend: Backend, call: &Syscall, asked: u8, by_function: bool) -> Probe {
        if asked & ASK_REFUSED != 0 {
            return self.raw_probe();
        }
        match backend {
            Backend::Tracepoint => self.raw_probe(),
            Backend::Fentry => Probe::Fentry,
            Backend::Kprobe if works(&self.kprobe_multi) => Probe::KprobeMulti,
            Backend::Kprobe => Probe::Kprobe,
            Backend::Auto => match self.exact_function() {
                Some(trial) if by_function && !(trial.probe == Probe::Fentry && call.has_no_fentry()) => trial.probe,
                _ => self.raw_probe(),
            },
        }
    }

    pub(super) fn uses_kretprobes(&self, backend: Backend) -> bool {
        match backend {
            Backend::Kprobe => true,
            Backend::Auto => !exact(&self.fentry) && exact(&self.kprobe_multi),
            Backend::Tracepoint | Backend::Fentry => false,
        }
    }

    pub(super) fn explain(&self, backend: Backend, horizon: Horizon) -> Vec<String> {
        let trials = [&self.tp_btf, &self.tracepoint, &self.fentry, &self.kprobe_multi, &self.kprobe];
        let mut lines: Vec<String> = trials.into_iter().flatten().map(Trial::to_string).collect();
        let raw = selftest::name(self.raw_probe());
        lines.push(match (backend, self.exact_function(), self.weighed()) {
            (Backend::Auto, None, _) if horizon == Horizon::Trace => {
                format!("auto: {raw} for every call: it is there at once and gone at once, as one command wants it")
            }
            (Backend::Auto, None, _) => format!("auto: {raw} for every call: no hook on functions is exact here"),
            (Backend::Auto, Some(function), _) if !self.raw_is_exact() => {
                let function = selftest::name(function.probe);
                format!("auto: {function}, however many calls: {raw} is not exact here and serves only what {function} cannot")
            }
            (Backend::Auto, Some(function), Some(weighed)) => {
                format!("auto: {}", weighed.explain(selftest::name(function.probe), raw))
            }
            (named, ..) => format!("{named}: asked for; {raw} serves the calls it cannot"),
        });
        if self.compat_entry() == Entry::Dispatcher {
            lines.push(format!("32-bit calls: by one hook under fentry, on {}", super::compat::DISPATCHER));
        }
        lines
    }
}

/// The wanted calls, with what is asked of each.
pub(super) type Wanted<'a> = [(&'a Syscall, u8)];

fn works(trial: &Option<Trial>) -> bool {
    trial.as_ref().is_some_and(Trial::attaches)
}

fn exact(trial: &Option<Trial>) -> bool {
    trial.as_ref().is_some_and(Trial::is_exact)
}

fn refused(backend: Backend, reasons: Option<Vec<String>>) -> Result<(), ProbeError> {
    match reasons {
        Some(reasons) => Err(ProbeError::BackendRefused { backend, reason: reasons.join("; ") }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::cost::Cost;
    use super::super::selftest::{Counts, Findings};
    use super::*;

    fn trial(probe: Probe, counts: Option<(u64, u64)>) -> Option<Trial> {
        let cost = match probe {
            Probe::TpBtf | Probe::Tracepoint => Cost { watched_ns: 300, other_ns: 100, ..Cost::default() },
            _ => Cost { attach: Duration::from_millis(250), watched_ns: 300, ..Cost::default() },
        };
        let found = counts.map(|(calls, seen)| Findings {
            counts: Counts { calls, seen, missed_returns: 0 },
            cost,
            entry: Entry::Functions,
        });
        Some(Trial { probe, result: found.ok_or_else(|| "refused".to_owned()) })
    }

    const EXACT: Option<(u64, u64)> = Some((100, 100));
    const SKIPS: Option<(u64, u64)> = Some((100, 90));

    fn call(name: &str) -> &'static Syscall {
        kubeward_core::syscall::by_name(name).expect("the catalogue has it")
    }

    #[test]
    fn a_kernel_where_nothing_attaches_is_refused_with_every_reason() {
        let verdicts = Verdicts {
            tp_btf: trial(Probe::TpBtf, None),
            tracepoint: trial(Probe::Tracepoint, None),
            fentry: trial(Probe::Fentry, None),
            kprobe_multi: trial(Probe::KprobeMulti, None),
            kprobe: None,
        };
        let error = verdicts.check(Backend::Auto).expect_err("nothing attaches").to_string();
        assert!(error.starts_with("no backend works on this kernel"), "{error}");
        for name in ["tp_btf", "classic tracepoint", "fentry", "kprobe.multi"] {
            assert!(error.contains(&format!("{name}: does not attach here: refused")), "{error}");
        }
    }

    #[test]
    fn exactness_comes_before_cost() {
        let openat = call("openat");
        let skipping = Verdicts {
            tp_btf: trial(Probe::TpBtf, SKIPS),
            tracepoint: trial(Probe::Tracepoint, EXACT),
            fentry: trial(Probe::Fentry, SKIPS),
            kprobe_multi: trial(Probe::KprobeMulti, EXACT),
            kprobe: None,
        };
        assert_eq!(skipping.choose(Backend::Auto, openat, 0, true), Probe::KprobeMulti);
        assert_eq!(skipping.choose(Backend::Auto, openat, 0, false), Probe::Tracepoint);
        assert_eq!(skipping.choose(Backend::Auto, openat, ASK_REFUSED, true), Probe::Tracepoint);
        let only_fentry =
            Verdicts { tp_btf: trial(Probe::TpBtf, SKIPS), fentry: trial(Probe::Fentry, EXACT), ..Verdicts::default() };
        let all: Vec<_> = kubeward_core::syscall::all().iter().map(|call| (call, 0)).collect();
        assert!(only_fentry.auto_hooks_functions(&all, false), "dear, but exact");
    }

    fn both_exact() -> Verdicts {
        Verdicts { tp_btf: trial(Probe::TpBtf, EXACT), fentry: trial(Probe::Fentry, EXACT), ..Verdicts::default() }
    }

    #[test]
    fn what_the_tracepoint_must_show_takes_all_others_with_it() {
        let auto = |wanted: &Wanted<'_>| both_exact().auto_hooks_functions(wanted, false);
        assert!(auto(&[(call("openat"), 0)]));
        assert!(!auto(&[(call("openat"), 0), (call("connect"), ASK_REFUSED)]), "only the tracepoint shows refusals");
        assert!(!auto(&[(call("openat"), 0), (call("getpid"), 0)]), "getpid has no fentry");
    }

    #[test]
    fn edits_around_the_border_do_not_move_everything() {
        let verdicts = both_exact();
        let limit = verdicts.weighed().expect("both are exact").crossover();
        let all: Vec<_> = kubeward_core::syscall::all().iter().map(|call| (call, 0)).collect();
        let hookable: Vec<_> = all.into_iter().filter(|(call, _)| !call.has_no_fentry()).collect();
        let auto = |count: usize, by_function| verdicts.auto_hooks_functions(&hookable[..count], by_function);
        assert!(limit >= 4 && limit + limit / 4 < hookable.len(), "{limit}");
        assert_eq!([auto(limit, false), auto(limit + 1, false)], [true, false]);
        assert_eq!([auto(limit + 1, true), auto(limit + limit / 4 + 1, true)], [true, false]);
    }
}
