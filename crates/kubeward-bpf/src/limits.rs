//! Rate limits in the kernel's maps: what a profile allows, and what each container has left of it (`bpf/limits.bpf.h`).

use kubeward_core::container::ContainerSlot;
use libbpf_rs::{MapCore, MapFlags};

use crate::maps::{kernel, put, MapError, Maps};
use crate::wire::{Buckets, Limits, Wire, LIMITS};

impl Limits {
    /// Nothing is dropped.
    pub const NONE: Self =
        Self { of: [crate::wire::Limit { token_ns: 0, burst_ns: 0 }; LIMITS], calls: [0; crate::wire::CALLS] };
}

impl Maps {
    /// Writes the limits of profile `id`. To be called before a container is switched to it; a number that was used before keeps
    /// the limits that it had then.
    pub fn set_limits(&self, id: u32, limits: &Limits) -> Result<(), MapError> {
        put(&self.profile_limits, "profile_limits", id, limits)
    }

    /// All tokens of this profile are there again, if the container had another or `always`.
    pub(crate) fn fill_buckets(&self, slot: ContainerSlot, profile: u32, always: bool) -> Result<(), MapError> {
        let there = self.limit_buckets.lookup(&slot.0.to_ne_bytes(), MapFlags::ANY).map_err(kernel("limit_buckets"))?;
        let there = there.and_then(|bytes| Buckets::read_from(&bytes));
        if !always && there.is_some_and(|buckets| buckets.profile == u64::from(profile)) {
            return Ok(());
        }
        put(&self.limit_buckets, "limit_buckets", slot.0, &Buckets { profile: profile.into(), full_at_ns: [0; LIMITS] })
    }
}
