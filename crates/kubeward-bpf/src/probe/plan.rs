//! Which hook serves a call: what works here, what of it is exact, and of that the cheapest.

use std::sync::Arc;

use kubeward_core::event::Probe;
use kubeward_core::syscall::Syscall;

use super::selftest::{self, Trial};
use super::{Backend, ProbeError, ASK_REFUSED};
use crate::object::Engine;

/// Up to this many calls, hooks on their functions are cheaper than a tracepoint that taxes every call of the machine, and
/// are attached within a second.
pub(super) const FEW_CALLS: usize = 32;

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
pub(super) fn verdicts(engine: &Arc<Engine>, backend: Backend) -> Result<Verdicts, ProbeError> {
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
            _ => exact(&self.tp_btf),
        }
    }

    /// The hook to try for a call; where it cannot be attached, the raw tracepoint serves.
    pub(super) fn choose(&self, backend: Backend, call: &Syscall, asked: u8, few: bool) -> Probe {
        if asked & ASK_REFUSED != 0 {
            return self.raw_probe();
        }
        match backend {
            Backend::Tracepoint => self.raw_probe(),
            Backend::Fentry => Probe::Fentry,
            Backend::Kprobe if works(&self.kprobe_multi) => Probe::KprobeMulti,
            Backend::Kprobe => Probe::Kprobe,
            Backend::Auto if few && exact(&self.fentry) && !call.has_no_fentry() => Probe::Fentry,
            Backend::Auto if few && exact(&self.kprobe_multi) => Probe::KprobeMulti,
            Backend::Auto => self.raw_probe(),
        }
    }

    pub(super) fn uses_kretprobes(&self, backend: Backend) -> bool {
        match backend {
            Backend::Kprobe => true,
            Backend::Auto => !exact(&self.fentry) && exact(&self.kprobe_multi),
            Backend::Tracepoint | Backend::Fentry => false,
        }
    }

    pub(super) fn explain(&self, backend: Backend) -> Vec<String> {
        let trials = [&self.tp_btf, &self.tracepoint, &self.fentry, &self.kprobe_multi, &self.kprobe];
        let mut lines: Vec<String> = trials.into_iter().flatten().map(Trial::to_string).collect();
        let raw = selftest::name(self.raw_probe());
        lines.push(match backend {
            Backend::Auto if exact(&self.fentry) => {
                format!("auto: fentry for up to {FEW_CALLS} calls, {raw} for more: both exact here, and cheapest so")
            }
            Backend::Auto if exact(&self.kprobe_multi) => {
                format!(
                    "auto: kprobe.multi for up to {FEW_CALLS} calls, {raw} for more: both exact here, and cheapest so"
                )
            }
            Backend::Auto => format!("auto: {raw} for every call: no hook on functions is exact here"),
            named => format!("{named}: asked for; {raw} serves the calls it cannot"),
        });
        lines
    }
}

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
    use super::super::selftest::Counts;
    use super::*;

    fn trial(probe: Probe, counts: Option<(u64, u64)>) -> Option<Trial> {
        let result = counts.map(|(calls, seen)| Counts { calls, seen, missed_returns: 0 });
        Some(Trial { probe, result: result.ok_or_else(|| "refused".to_owned()) })
    }

    const EXACT: Option<(u64, u64)> = Some((100, 100));
    const SKIPS: Option<(u64, u64)> = Some((100, 90));

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
        let openat = kubeward_core::syscall::by_name("openat").expect("the catalogue has it");
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
        let quiet =
            Verdicts { tp_btf: trial(Probe::TpBtf, EXACT), fentry: trial(Probe::Fentry, EXACT), ..Verdicts::default() };
        assert_eq!(quiet.choose(Backend::Auto, openat, 0, true), Probe::Fentry);
        assert_eq!(quiet.choose(Backend::Auto, openat, 0, false), Probe::TpBtf);
    }
}
