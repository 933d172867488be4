//! What the own cost is at the start, when it passes its limit, and when that is over.

use kubeward_bpf::object::LoadOptions;
use kubeward_core::render::line::NoticeLevel;
use tokio::sync::watch;

use super::notice;
use crate::cost::{CostNow, MapMemory};
use crate::pipeline::Commands;

/// After loading, for the log.
pub(super) fn tell_map_memory(room: &LoadOptions) {
    match MapMemory::now(room) {
        Err(error) => tracing::warn!("what the kernel's maps take is not known: {error}"),
        Ok(memory) => {
            tracing::info!("the kernel's maps take {}", memory.said());
            memory.warning().iter().for_each(|warning| tracing::warn!("{warning}"));
        }
    }
}

/// What was told last of the newest cost.
pub(super) struct CostWarning {
    newest: watch::Receiver<CostNow>,
    told_above: bool,
}

impl CostWarning {
    pub(super) fn new(newest: watch::Receiver<CostNow>) -> Self {
        Self { newest, told_above: false }
    }

    pub(super) fn now(&self) -> CostNow {
        *self.newest.borrow()
    }

    /// Returns when the cost stands otherwise to its limit than was told. May be dropped and asked again.
    pub(super) async fn turns(&mut self) {
        let told_above = self.told_above;
        if self.newest.wait_for(|now| now.is_above != told_above).await.is_err() {
            // Nothing is measured any more, which was logged: it stays as it was.
            std::future::pending().await
        }
    }

    pub(super) fn tell(&mut self, commands: &Commands) {
        let CostNow { cost, limit, is_above } = self.now();
        self.told_above = is_above;
        let limit = limit.map_or(0.0, |limit| limit.get());
        let shares = format!(
            "KubeWard takes {:.1} % of a CPU, {:.1} % in the kernel and {:.1} % in the agent",
            cost.percent(),
            cost.kernel_percent,
            cost.user_percent
        );
        if is_above {
            let remedy = "fewer calls in policies, mode: Count or limits take less";
            let message = format!("{shares}: more than --warn-cpu-percent {limit}; {remedy}");
            notice(commands, NoticeLevel::Warning, "cost_above_limit", message);
        } else {
            let message = format!("{shares}: within --warn-cpu-percent {limit} again");
            notice(commands, NoticeLevel::Info, "cost_within_limit", message);
        }
    }
}
