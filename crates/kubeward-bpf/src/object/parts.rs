//! Programs that are loaded when they are first needed: the verifier takes some 15 ms for each hook on calls, in some kernels 70, and
//! most kernels and most wishes need one kind of hook alone.
//!
//! A part is the same object once more, with its own programs alone and with the maps of the main one.

use std::os::fd::AsFd;
use std::sync::{Mutex, OnceLock};

use libbpf_rs::{MapCore, Object};

use super::{load_either, refused, LoadError, TaskReads, LOADING, MONITOR};

/// By names of programs. What is in none of them is loaded with the main object, and so are those that are needed for sure
/// (`Support::loads_at_once`).
const PARTS: [&[&str]; 7] = [
    &["classic_enter", "classic_exit"],
    &["kprobe_enter", "kretprobe_exit"],
    &["kprobe_multi_enter", "kretprobe_multi_exit"],
    &["classic_process_exec", "classic_process_exit"],
    &["raw_process_exec", "raw_process_exit"],
    &["cgroup_mkdir", "cgroup_rmdir"],
    &["adopt_tasks"],
];

/// Those that were needed so far stay until the engine goes. One that the kernel refused is tried again when it is next needed: it may have
/// been short of memory or descriptors.
#[derive(Debug, Default)]
pub(super) struct Parts {
    loaded: [OnceLock<Object>; PARTS.len()],
    /// Held while one is loaded, so that none is loaded twice.
    loading: Mutex<()>,
}

impl Parts {
    /// The object that has the program loaded; the main one for what is in no part.
    pub(super) fn object<'p>(
        &'p self,
        main: &'p Object,
        program: &str,
        reads: TaskReads,
    ) -> Result<&'p Object, LoadError> {
        let is_in_main = main.progs().any(|loaded| loaded.name() == program && loaded.autoload());
        let part = PARTS.iter().position(|programs| programs.contains(&program)).filter(|_| !is_in_main);
        let Some(part) = part else { return Ok(main) };
        let _loading = self.loading.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let place = &self.loaded[part];
        if let Some(loaded) = place.get() {
            return Ok(loaded);
        }
        let loaded = load_either(reads, |reads| load(main, PARTS[part], reads))?;
        Ok(place.get_or_init(|| loaded.object))
    }

    pub(super) fn loaded(&self) -> impl Iterator<Item = &Object> {
        self.loaded.iter().filter_map(OnceLock::get)
    }
}

fn load(main: &Object, programs: &[&str], reads: TaskReads) -> Result<Object, LoadError> {
    let mut open = MONITOR.open(reads)?;
    for mut map in open.maps_mut() {
        let shared = main.maps().find(|shared| shared.name() == map.name());
        let shared = shared
            .ok_or_else(|| LoadError::Damaged { kind: "map", name: map.name().to_string_lossy().into_owned() })?;
        map.reuse_fd(shared.as_fd()).map_err(refused("sharing maps"))?;
    }
    for mut program in open.progs_mut() {
        let is_meant = programs.iter().any(|name| program.name() == *name);
        program.set_autoload(is_meant);
    }
    open.load().map_err(refused(LOADING))
}
