//! What runs now, from the kernel's own task list: no /proc, no ptrace rights.

use std::fs::File;
use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};

use kubeward_core::container::{CgroupId, ContainerSlot, NsKey};
use libbpf_rs::libbpf_sys;

use crate::maps::MapError;
use crate::object::{Engine, LoadError};
use crate::process::Pidfd;
use crate::wire::{self, Wire};

/// Over all tasks, to find those that were forked behind the pass before, of a parent that it had not come to: more than two
/// find nothing but in a fork storm.
const PASSES: u32 = 8;

/// One thread as the kernel lists it; pids as this process's pid namespace has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub pid: u32,
    pub tid: u32,
    pub ppid: u32,
    pub ns: NsKey,
    /// Its cgroup in the v2 hierarchy.
    pub cgroup: CgroupId,
    /// CLOCK_BOOTTIME at its start.
    pub start_boot_ns: u64,
    /// How deep its pid namespace is below the initial one, which is 0.
    pub pid_level: u32,
    /// Its number in its own pid namespace.
    pub inner_pid: u32,
    /// Its container's slot, 0 when it carries no tag.
    pub slot: u32,
    pub comm: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    #[error(transparent)]
    Object(#[from] LoadError),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("listing tasks: {0}")]
    Iterate(#[from] io::Error),
}

/// Which tasks the kernel goes through. Before 6.1 it goes through all whatever is asked, so that whoever asks looks at what was found.
#[derive(Debug, Clone, Copy)]
enum Among {
    All,
    Thread(u32),
    Process(u32),
}

impl Engine {
    /// Every thread of the machine that the agent's pid namespace shows (`hostPID`: all of them), in about a
    /// millisecond per thousand.
    pub fn tasks(&self) -> Result<Vec<Task>, TasksError> {
        self.list_tasks(Among::All)
    }

    /// The thread of this number, at a cost that does not grow with the number of threads. `None` where it has ended; from 6.1 to
    /// 6.11 also where it is not its process's first.
    pub fn task(&self, tid: u32) -> Result<Option<Task>, TasksError> {
        // No thread's, and to the kernel no choice.
        if tid == 0 {
            return Ok(None);
        }
        Ok(self.list_tasks(Among::Thread(tid))?.into_iter().find(|task| task.tid == tid))
    }

    fn list_tasks(&self, among: Among) -> Result<Vec<Task>, TasksError> {
        let bytes = self.iterate("list_tasks", among)?;
        Ok(bytes.chunks_exact(size_of::<wire::Task>()).filter_map(wire::Task::read_from).map(Task::from).collect())
    }

    /// Tasks of containers that may be in a call whose return their container's profile wants.
    pub(crate) fn inside(&self) -> Result<Vec<wire::Inside>, TasksError> {
        let bytes = self.iterate("list_inside", Among::All)?;
        Ok(bytes.chunks_exact(size_of::<wire::Inside>()).filter_map(wire::Inside::read_from).collect())
    }

    /// Finds out how deep this process's pid namespace is, which /proc does not tell from inside.
    pub(crate) fn find_pid_level(&self) -> Result<(), TasksError> {
        let own = self.maps().own_slot();
        self.maps().tag_task(Pidfd::of_this_process()?.as_fd(), own.0)?;
        let tasks = self.tasks();
        self.untag(own)?;
        let level = tasks?.iter().find(|task| task.slot == own.0).map_or(0, |task| task.pid_level);
        Ok(self.maps().change_settings(|settings| settings.pid_level = level)?)
    }

    /// Gives every thread that the process has now to a container. What they fork from now on follows them.
    pub fn tag_process(&self, process: &Pidfd, slot: ContainerSlot) -> Result<(), TasksError> {
        self.maps().tag_task(process.as_fd(), slot.0)?;
        self.tag(wire::TAG_THREADS, Among::All, slot, |_| {})?;
        Ok(())
    }

    /// Gives the process to a container, whoever has it, and tells its program: for a container's init, which cannot be another's.
    pub fn tag_init(&self, init: &Task, slot: ContainerSlot) -> Result<(), TasksError> {
        self.tag(wire::TAG_PROCESS, Among::Process(init.pid), slot, |settings| {
            settings.tag_pid = init.pid;
            settings.tag_start_ns = init.start_boot_ns;
        })?;
        Ok(())
    }

    /// Gives every task of the cgroup that is nobody's yet to a container: what ran before the container was known. With the
    /// inode number of a pid namespace only those in it or in one below: others may have come from elsewhere.
    pub fn tag_cgroup(&self, cgroup: CgroupId, pid_ns: Option<u32>, slot: ContainerSlot) -> Result<(), TasksError> {
        self.tag(wire::TAG_CGROUP, Among::All, slot, |settings| {
            settings.tag_cgroup = cgroup.0;
            settings.tag_pid_ns = pid_ns.unwrap_or(0);
        })?;
        Ok(())
    }

    /// Takes the container's tag from every task that has it, but in a fork storm: the slot must not be another's before
    /// [`Engine::tasks`] shows none with it.
    pub fn untag(&self, slot: ContainerSlot) -> Result<(), TasksError> {
        for _ in 0..PASSES {
            if self.tag(wire::TAG_REMOVE, Among::All, slot, |_| {})?.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Gives every task that is nobody's yet to the container it runs in: the one whose init is first in its pid namespace or in
    /// one above, else its parent's, else the one of its cgroup or of a cgroup above. `first` has such containers by their pid
    /// namespaces' inode numbers, and `None` for a namespace that other containers share: nobody is found by it. A task in a
    /// cgroup that waits for its name is its parent's or nobody's. Costs some passes over all tasks.
    pub fn adopt_strays(&self, first: &[(u32, Option<ContainerSlot>)]) -> Result<(), TasksError> {
        let _guard = one_at_a_time();
        let adopted = self.maps().with_pid_namespaces(first, || {
            // A parent may come later in a pass than its child, so all that are found by parents come before any is by its cgroup.
            for mode in [wire::TAG_KIN, wire::TAG_STRAYS] {
                self.maps().change_settings(|settings| settings.tag_mode = mode)?;
                for _ in 0..PASSES {
                    if self.iterate("adopt_tasks", Among::All)?.is_empty() {
                        break;
                    }
                }
            }
            Ok(())
        });
        adopted?
    }

    /// What the pass writes.
    fn tag(
        &self,
        mode: u32,
        among: Among,
        slot: ContainerSlot,
        which: impl FnOnce(&mut wire::Settings),
    ) -> Result<Vec<u8>, TasksError> {
        let _guard = one_at_a_time();
        self.maps().change_settings(|settings| {
            settings.tag_mode = mode;
            settings.tag_slot = slot.0;
            which(settings);
        })?;
        self.iterate("tag_tasks", among)
    }

    fn iterate(&self, name: &str, among: Among) -> Result<Vec<u8>, TasksError> {
        let program = self.object_with(name)?.progs_mut().find(|program| program.name() == name);
        let program = program.ok_or_else(|| LoadError::Damaged { kind: "program", name: name.to_owned() })?;
        let link = match attach(program.as_fd(), among) {
            // A kernel that knows no such choice goes through all.
            Err(_) if !matches!(among, Among::All) => attach(program.as_fd(), Among::All)?,
            link => link?,
        };
        let mut bytes = Vec::new();
        begin(link.as_fd())?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// libbpf-rs has no such choice.
fn attach(program: BorrowedFd<'_>, among: Among) -> io::Result<OwnedFd> {
    let mut info = libbpf_sys::bpf_iter_link_info::default();
    info.task = match among {
        Among::All => Default::default(),
        Among::Thread(tid) => libbpf_sys::bpf_iter_link_info__bindgen_ty_3 { tid, ..Default::default() },
        Among::Process(pid) => libbpf_sys::bpf_iter_link_info__bindgen_ty_3 { pid, ..Default::default() },
    };
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        iter_info: &mut info,
        iter_info_len: size_of::<libbpf_sys::bpf_iter_link_info>() as u32,
        ..Default::default()
    };
    // SAFETY: `options` and what it points to outlive the call, which only reads them.
    let link = unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), 0, libbpf_sys::BPF_TRACE_ITER, &options) };
    owned(link)
}

fn begin(link: BorrowedFd<'_>) -> io::Result<File> {
    // SAFETY: a plain system call on an open descriptor.
    owned(unsafe { libbpf_sys::bpf_iter_create(link.as_raw_fd()) }).map(File::from)
}

/// What libbpf returned: a descriptor, or an error's number below 0.
fn owned(returned: i32) -> io::Result<OwnedFd> {
    if returned < 0 {
        return Err(io::Error::from_raw_os_error(-returned));
    }
    // SAFETY: the kernel has just opened it for this process, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(returned) })
}

/// The iterators that tag are told what to do by settings and maps.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl From<wire::Task> for Task {
    fn from(task: wire::Task) -> Self {
        let end = task.comm.iter().position(|&byte| byte == 0).unwrap_or(task.comm.len());
        Self {
            pid: task.pid,
            tid: task.tid,
            ppid: task.ppid,
            ns: NsKey { pid_ns: task.pid_ns, mnt_ns: task.mnt_ns, mnt_seq: task.mnt_seq },
            cgroup: CgroupId(task.cgroup_id),
            start_boot_ns: task.start_boot_ns,
            pid_level: task.pid_level,
            inner_pid: task.inner_pid,
            slot: task.slot,
            comm: task.comm[..end].to_vec(),
        }
    }
}
