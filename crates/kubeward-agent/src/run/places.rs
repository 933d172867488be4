//! Where a container's init is: in a cgroup of its own, or gone into another's. And which pid namespaces tell a container.

use std::collections::BTreeMap;
use std::fs;

use kubeward_bpf::tasks::Task;
use kubeward_core::container::{ContainerId, ContainerSlot};

use super::births::is_name_of;
use crate::discovery::InitTask;

/// Nanoseconds of a boot tick, the unit of start times in procfs.
const TICK_NS: u64 = 10_000_000;

/// Whether this is that init task, and not another of the same number.
pub(super) fn is_init(task: &Task, init: InitTask) -> bool {
    task.tid == init.pid && task.start_boot_ns / TICK_NS == init.started.0
}

/// Whether the init is in a cgroup that bears the container's name, or below one. Every runtime makes one so, unless it is told
/// another name; a process that may write cgroups can be in any.
pub(super) fn is_in_own_cgroup(init: &Task, id: &ContainerId) -> bool {
    fs::read_to_string(format!("/proc/{}/cgroup", init.pid)).is_ok_and(|cgroups| has_named_cgroup(&cgroups, id))
}

/// Looks at the line of the v2 hierarchy: `0::/PATH`.
fn has_named_cgroup(cgroups: &str, id: &ContainerId) -> bool {
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
    path.is_some_and(|path| path.split('/').any(|name| is_name_of(name.as_bytes(), id)))
}

/// The pid namespaces, by inode number, whose first task is a container's init, from the inits of all containers, each with
/// whether all of its socket's are there; `None` for one in which the init of another is too, or may be.
pub(super) fn own_pid_namespaces<'a>(
    inits: impl Iterator<Item = (&'a Task, ContainerSlot, bool)>,
) -> Vec<(u32, Option<ContainerSlot>)> {
    let mut by_namespace: BTreeMap<u32, Vec<(&Task, ContainerSlot, bool)>> = BTreeMap::new();
    for init in inits {
        by_namespace.entry(init.0.ns.pid_ns).or_default().push(init);
    }
    let owned = by_namespace.into_iter().filter(|(_, inits)| inits.iter().any(|(init, ..)| init.inner_pid == 1));
    let owned = owned.map(|(pid_ns, inits)| match inits[..] {
        [(_, slot, true)] => (pid_ns, Some(slot)),
        _ => (pid_ns, None),
    });
    owned.collect()
}

#[cfg(test)]
mod tests {
    use kubeward_core::container::{CgroupId, NsKey};

    use super::*;

    #[test]
    fn cgroup_is_own_by_its_name_or_by_one_above_in_the_v2_hierarchy_alone() {
        let id = ContainerId("0a1b".to_owned());
        for path in ["/default/0a1b", "/kube.slice/cri-containerd-0a1b.scope", "/docker/0a1b/init.scope", "/../0a1b"] {
            assert!(has_named_cgroup(&format!("12:pids:/\n0::{path}\n"), &id), "{path}");
        }
        for path in ["/default/0a1c", "/system.slice/ssh.service", "/", ""] {
            assert!(!has_named_cgroup(&format!("12:pids:/default/0a1b\n0::{path}\n"), &id), "{path}");
        }
        assert!(!has_named_cgroup("12:pids:/default/0a1b\n", &id));
    }

    fn init(pid_ns: u32, inner_pid: u32) -> Task {
        Task {
            pid: 9,
            tid: 9,
            ppid: 1,
            ns: NsKey { pid_ns, mnt_ns: 1, mnt_seq: 1 },
            cgroup: CgroupId(1),
            start_boot_ns: 1,
            pid_level: 1,
            inner_pid,
            slot: 0,
            comm: Vec::new(),
        }
    }

    #[test]
    fn pid_namespace_tells_a_container_that_is_first_and_alone_in_it() {
        let [alone, pause, app, of_host] = [init(10, 1), init(20, 1), init(20, 7), init(30, 77)];
        let inits = [(&alone, 1), (&pause, 2), (&app, 3), (&of_host, 4)];
        let found = own_pid_namespaces(inits.map(|(init, slot)| (init, ContainerSlot(slot), true)).into_iter());
        assert_eq!(found, [(10, Some(ContainerSlot(1))), (20, None)]);
    }

    #[test]
    fn pid_namespace_tells_nothing_while_others_of_its_sockets_list_may_live_in_it() {
        let [known, pause] = [init(10, 1), init(20, 1)];
        let inits = [(&known, ContainerSlot(1), true), (&pause, ContainerSlot(2), false)];
        assert_eq!(own_pid_namespaces(inits.into_iter()), [(10, Some(ContainerSlot(1))), (20, None)]);
    }
}
