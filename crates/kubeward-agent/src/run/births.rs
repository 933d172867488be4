//! Containers that the kernel side sees before anybody names them: slots lent to it, and cgroups that proved to be nobody's.
//!
//! A birth is a container's when containerd says so and its init task agrees: it lives in that cgroup, or it made the
//! workload's first exec there in a cgroup of the container's name. A name alone is nothing: any task may make a cgroup.

use std::sync::Arc;
use std::time::Duration;

use kubeward_bpf::births::{Birth, BirthWatch, Workload};
use kubeward_bpf::maps::{MapError, Maps};
use kubeward_bpf::object::Engine;
use kubeward_core::container::{CgroupId, ContainerId};
use kubeward_core::render::line::NoticeLevel;

use super::notice;
use crate::control::{Applier, ApplyError};
use crate::pipeline::{monotonic_ns, Commands};
use crate::registry::Registry;

/// Slots that wait in the kernel. A container takes one with its first call, and what is taken is replaced within a look. Fewer
/// where there are few: of those that are free a quarter at most.
const POOL: usize = 128;

/// Births with a slot, at most.
const OUTSTANDING: usize = 512;

/// How long containerd may take to name what runs a workload. It has usually done so before the workload's exec.
const NAMED_WITHIN: Duration = Duration::from_secs(5);

/// How long a runtime may take from the making of a cgroup to the workload's exec. Most cgroups older than that are units of the
/// host.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);

/// How long it may take from a cgroup's id to its entry in the map.
const ENTERED_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Births {
    engine: Arc<Engine>,
    /// Absent where cgroups cannot be watched.
    watch: Option<BirthWatch>,
    /// The newest that was seen, and when it was made.
    newest: (CgroupId, u64),
    /// Up to which id cgroups are known for what they are.
    settled: CgroupId,
    /// There was no room for more when looked at last.
    is_full: bool,
    commands: Commands,
}

impl Births {
    pub(super) fn new(engine: Arc<Engine>, commands: &Commands) -> Self {
        let watch = engine.watch_births().inspect_err(|error| {
            let message = format!(
                "{error}: a container is watched from when containerd has told of it, and calls that it makes before are missed"
            );
            notice(commands, NoticeLevel::Warning, "blind_start", message);
        });
        Self {
            engine,
            watch: watch.ok(),
            newest: (CgroupId(0), 0),
            settled: CgroupId(0),
            is_full: false,
            commands: commands.clone(),
        }
    }

    pub(super) fn of_cgroup(&self, cgroup: CgroupId) -> Result<Option<Birth>, MapError> {
        self.engine.maps().birth(cgroup)
    }

    /// The birth of a container that has ended: its workload was this process, and its cgroup has its name. Pids are reused, so
    /// that the newest is meant.
    pub(super) fn of_ended(&self, id: &ContainerId, pid: u32) -> Result<Option<Birth>, MapError> {
        let is_its = |birth: &Birth| {
            birth.covered.is_some()
                && birth.workload.is_some_and(|workload| workload.pid == pid)
                && is_name_of(&birth.name, id)
        };
        Ok(self.all()?.into_iter().filter(is_its).max_by_key(|birth| birth.made_ns))
    }

    fn all(&self) -> Result<Vec<Birth>, MapError> {
        match self.watch {
            Some(_) => self.engine.maps().births(),
            None => Ok(Vec::new()),
        }
    }

    /// It is known whose the cgroup is. Its birth as it was last, which may have taken a slot by now.
    pub(super) fn settle(&self, cgroup: CgroupId) -> Result<Option<Birth>, MapError> {
        self.engine.maps().settle_birth(cgroup)
    }

    /// What time brings: births that are nobody's, and slots to replace.
    pub(super) fn look(&mut self, registry: &mut Registry, applier: &mut Applier) -> Result<(), ApplyError> {
        if self.watch.is_none() {
            return Ok(());
        }
        let births = self.all()?;
        self.warn_of_full_map(births.len());
        let now_ns = monotonic_ns();
        let (over, live): (Vec<_>, Vec<_>) = births.into_iter().partition(|birth| is_over(birth, now_ns));
        for birth in over {
            tell(&birth);
            let last = self.settle(birth.cgroup)?.unwrap_or(birth);
            if let Some(covered) = last.covered.filter(|covered| registry.take_back(covered.slot)) {
                applier.ignore(covered.slot)?;
            }
        }
        self.engine.maps().count_kin(&live)?;
        self.lend(&live, registry, applier)?;
        Ok(self.raise(&live, now_ns)?)
    }

    fn warn_of_full_map(&mut self, births: usize) {
        let is_full = births >= Maps::BIRTHS;
        if is_full && !std::mem::replace(&mut self.is_full, is_full) {
            let message = format!(
                "{births} cgroups were made within {} s and wait to be known for what they are, which is the most there is \
                 room for: a container that begins now is watched from when containerd has told of it",
                BEGINS_WITHIN.as_secs()
            );
            notice(&self.commands, NoticeLevel::Warning, "blind_start", message);
        }
        self.is_full = is_full;
    }

    fn lend(&self, live: &[Birth], registry: &mut Registry, applier: &mut Applier) -> Result<(), ApplyError> {
        let taken = live.iter().filter(|birth| birth.covered.is_some()).count();
        let waiting = registry.lent().len().saturating_sub(taken);
        // What waits could as well be free.
        let room = (registry.free() + waiting) / 4;
        let wanted = POOL.min(room).min(OUTSTANDING.saturating_sub(taken)).saturating_sub(waiting);
        for _ in 0..wanted {
            // Containers that are named go first: without a slot for them there is none to lend.
            let Ok(slot) = registry.lend() else { break };
            if let Err(error) = applier.lend(slot) {
                registry.take_back(slot);
                applier.ignore(slot)?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ids of cgroups only grow: tasks in those that are known for what they are need not be looked up.
    fn raise(&mut self, live: &[Birth], now_ns: u64) -> Result<(), MapError> {
        let newest = live.iter().max_by_key(|birth| birth.cgroup).map(|birth| (birth.cgroup, birth.made_ns));
        self.newest = self.newest.max(newest.unwrap_or(self.newest));
        let oldest = live.iter().min_by_key(|birth| birth.cgroup);
        let (known, since_ns) =
            oldest.map_or(self.newest, |birth| (CgroupId(birth.cgroup.0.saturating_sub(1)), birth.made_ns));
        if known > self.settled && is_past(since_ns, ENTERED_WITHIN, now_ns) {
            self.engine
                .maps()
                .change_settings(|settings| settings.births_after = settings.births_after.max(known.0))?;
            self.settled = known;
        }
        Ok(())
    }
}

/// A unit of the host is no news; what ran a program of another root may be somebody's container.
fn tell(birth: &Birth) {
    let (cgroup, name) = (birth.cgroup.0, String::from_utf8_lossy(&birth.name));
    match birth.workload {
        Some(Workload { pid, .. }) => {
            let limit = NAMED_WITHIN.as_secs();
            tracing::info!(cgroup, %name, pid, "no container, as containerd has not named it within {limit} s");
        }
        None => tracing::debug!(cgroup, %name, "no container"),
    }
}

fn is_past(since_ns: u64, limit: Duration, now_ns: u64) -> bool {
    Duration::from_nanos(now_ns.saturating_sub(since_ns)) >= limit
}

fn is_over(birth: &Birth, now_ns: u64) -> bool {
    match birth.workload {
        Some(workload) => is_past(workload.exec_ns, NAMED_WITHIN, now_ns),
        None => is_past(birth.made_ns, BEGINS_WITHIN, now_ns),
    }
}

/// `ID`, or as the systemd driver writes it, `PREFIX-ID.scope`.
pub(super) fn is_name_of(name: &[u8], id: &ContainerId) -> bool {
    let id = id.0.as_bytes();
    let scope = name.strip_suffix(b".scope").and_then(|scope| scope.strip_suffix(id));
    name == id || scope.is_some_and(|prefix| prefix.last() == Some(&b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_has_a_containers_name_whole_or_as_a_scope() {
        let id = ContainerId("0a1b".to_owned());
        for name in ["0a1b", "cri-containerd-0a1b.scope"] {
            assert!(is_name_of(name.as_bytes(), &id), "{name}");
        }
        for name in ["0a1", "10a1b", "0a1b.scope", "x0a1b.scope", "cri-0a1b", "cri-0a1b.slice", ""] {
            assert!(!is_name_of(name.as_bytes(), &id), "{name}");
        }
    }

    #[test]
    fn birth_waits_for_its_workload_long_and_then_briefly_for_its_name() {
        let workload = Workload { exec_ns: 50_000_000_000, pid: 1, start_boot_ns: 1 };
        let mut birth = Birth {
            cgroup: CgroupId(9),
            parent: CgroupId(1),
            name: b"a".to_vec(),
            made_ns: 1_000_000_000,
            creator_mnt_ns: 1,
            covered: None,
            has_missed: false,
            workload: None,
        };
        assert_eq!([60_999_999_999, 61_000_000_000].map(|now| is_over(&birth, now)), [false, true]);
        birth.workload = Some(workload);
        assert_eq!([54_999_999_999, 55_000_000_000].map(|now| is_over(&birth, now)), [false, true]);
    }
}
