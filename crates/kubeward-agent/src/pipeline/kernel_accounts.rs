//! Where the kernel side's accounts are from.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubeward_bpf::object::Engine;
use kubeward_bpf::wire;
use kubeward_core::container::ContainerSlot;

type Accounts = BTreeMap<ContainerSlot, wire::Account>;

type Read = dyn Fn(&[ContainerSlot]) -> Accounts + Send;

/// The kernel side's accounts of containers; those that it cannot tell are absent.
pub struct KernelAccounts(Box<Read>);

impl KernelAccounts {
    /// Of many containers together, since reading each alone costs system calls.
    pub fn of_engine(engine: Arc<Engine>) -> Self {
        let read = move |slots: &[ContainerSlot]| {
            let accounts = engine.maps().accounts(slots);
            accounts.inspect_err(|error| tracing::error!("reading the accounts: {error}")).unwrap_or_default()
        };
        Self(Box::new(read))
    }

    /// Told one by one.
    pub fn of_each(tell: impl Fn(ContainerSlot) -> Option<wire::Account> + Send + 'static) -> Self {
        let read = move |slots: &[ContainerSlot]| slots.iter().filter_map(|slot| Some((*slot, tell(*slot)?))).collect();
        Self(Box::new(read))
    }

    pub(super) fn of(&self, slots: &[ContainerSlot]) -> Accounts {
        (self.0)(slots)
    }

    /// From now on these are told as they stand, and no others.
    pub(super) fn stop(&mut self, slots: &[ContainerSlot]) {
        let accounts = self.of(slots);
        *self = Self::of_each(move |slot| accounts.get(&slot).copied());
    }

    pub(super) fn of_one(&self, slot: ContainerSlot) -> Option<wire::Account> {
        self.of(&[slot]).remove(&slot)
    }
}
