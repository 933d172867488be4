//! Records that are in nobody's account: of no container that is known, or damaged.

use kubeward_bpf::decode::DecodeError;
use kubeward_core::container::ContainerSlot;
use kubeward_core::ledger::LossReason;

use super::flow::Pipeline;

impl Pipeline {
    /// It is lost for the node: in no account of a container that is there, it may be of one that has ended without it, which has
    /// counted it as lost, or of one that will.
    pub(super) fn stray(&mut self, slot: ContainerSlot) {
        match self.given_up.checked_sub(1) {
            Some(given_up) => self.given_up = given_up,
            None => {
                self.ended.seen += 1;
                self.ended.lost.add(LossReason::Decode, 1);
                self.unexplained += 1;
            }
        }
        self.strays += 1;
        if self.strays == 1 {
            tracing::error!(
                slot = slot.0,
                "a record of a container that is not known; it is counted as lost for the node"
            );
        }
    }

    pub(super) fn undecodable(&mut self, slot: ContainerSlot, error: DecodeError) {
        match self.members.get_mut(slot) {
            Some(member) => {
                member.counts.read += 1;
                member.counts.lost.add(LossReason::Decode, 1);
                if member.counts.lost.get(LossReason::Decode) == 1 {
                    tracing::error!(container = %member.container.id, "{error}; it is counted as lost");
                }
            }
            None => self.stray(slot),
        }
    }
}
