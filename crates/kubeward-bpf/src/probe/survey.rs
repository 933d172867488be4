//! Everything that could serve here, for `doctor`.

use std::sync::Arc;

use kubeward_core::event::Probe;

use super::selftest::{self, Trial};
use super::{attach, ProbeError};
use crate::object::Engine;

/// What one kind of hook can do on this kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendVerdict {
    pub name: &'static str,
    /// Why it does not attach.
    pub attaches: Result<(), String>,
    /// Whether it showed every call of the self-test; `None` when it does not attach.
    pub exact: Option<bool>,
    /// One line for people.
    pub detail: String,
}

/// Tries every kind of hook: about a second. To be called while no hooks are attached.
pub fn survey(engine: &Arc<Engine>) -> Result<Vec<BackendVerdict>, ProbeError> {
    let _lifecycle = attach::lifecycle(engine).map_err(ProbeError::Lifecycle)?;
    let probes = [Probe::TpBtf, Probe::Tracepoint, Probe::Fentry, Probe::KprobeMulti, Probe::Kprobe];
    Ok(probes.into_iter().map(|probe| BackendVerdict::from(selftest::run(engine, probe))).collect())
}

impl From<Trial> for BackendVerdict {
    fn from(trial: Trial) -> Self {
        Self {
            name: selftest::name(trial.probe),
            exact: trial.attaches().then(|| trial.is_exact()),
            detail: trial.to_string(),
            attaches: trial.result.map(drop),
        }
    }
}
