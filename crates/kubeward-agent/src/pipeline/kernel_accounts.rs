//! Where the kernel side's accounts are from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kubeward_bpf::accounts::Losses;
use kubeward_bpf::object::Engine;
use kubeward_bpf::wire;
use kubeward_core::container::ContainerSlot;

type BySlot<T> = BTreeMap<ContainerSlot, T>;

type Read<T> = dyn Fn(&[ContainerSlot]) -> BySlot<T> + Send;

/// The kernel side's accounts of containers; those that it cannot tell are absent.
pub struct KernelAccounts {
    whole: Box<Read<wire::Account>>,
    losses: Box<Read<Losses>>,
}

impl KernelAccounts {
    /// Of many containers together, since reading each alone costs system calls.
    pub fn of_engine(engine: Arc<Engine>) -> Self {
        let of_losses = engine.clone();
        let whole = move |slots: &[ContainerSlot]| {
            let accounts = engine.maps().accounts(slots);
            accounts.inspect_err(|error| tracing::error!("reading the accounts: {error}")).unwrap_or_default()
        };
        let losses = move |slots: &[ContainerSlot]| {
            let losses = of_losses.maps().losses(slots);
            losses.inspect_err(|error| tracing::error!("reading what was lost: {error}")).unwrap_or_default()
        };
        Self { whole: Box::new(whole), losses: Box::new(losses) }
    }

    /// Told one by one.
    pub fn of_each<T: Fn(ContainerSlot) -> Option<wire::Account> + Send + 'static>(tell: T) -> Self {
        let tell = Arc::new(Mutex::new(tell));
        let told = move |tell: &Mutex<T>, slots: &[ContainerSlot]| -> BySlot<wire::Account> {
            let tell = tell.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter().filter_map(|slot| Some((*slot, tell(*slot)?))).collect()
        };
        let of_losses = tell.clone();
        let losses = move |slots: &[ContainerSlot]| {
            told(&of_losses, slots).iter().map(|(slot, account)| (*slot, Losses::from(account))).collect()
        };
        Self { whole: Box::new(move |slots| told(&tell, slots)), losses: Box::new(losses) }
    }

    pub(super) fn of(&self, slots: &[ContainerSlot]) -> BySlot<wire::Account> {
        (self.whole)(slots)
    }

    /// What was lost alone, for half of what [`KernelAccounts::of`] costs.
    pub(super) fn losses_of(&self, slots: &[ContainerSlot]) -> BySlot<Losses> {
        (self.losses)(slots)
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
