//! Cgroups as they are made, and what runs in them before anybody names it. Needs root and a v2 hierarchy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use kubeward_bpf::births::{Birth, BirthWatch};
use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes};
use kubeward_bpf::wire::{self, Container, Profile, CALLS, HOOK_EXIT};
use kubeward_core::container::ContainerSlot;
use kubeward_core::syscall;

const SLOT: ContainerSlot = ContainerSlot(1);

/// One test's cgroups are births for the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A cgroup of the v2 hierarchy, removed with everything below it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(name: &str) -> Self {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = roots.into_iter().find(|at| at.join("cgroup.procs").exists()).expect("there is a v2 hierarchy");
        let path = root.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("root may make cgroups");
        Self(path)
    }

    fn name(&self) -> &[u8] {
        self.0.file_name().expect("it has a name").as_encoded_bytes()
    }

    fn child(&self, name: &str) {
        fs::create_dir(self.0.join(name)).expect("root may make cgroups");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let children = fs::read_dir(&self.0).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in children.filter(|path| path.is_dir()).chain([self.0.clone()]) {
            if let Err(error) = fs::remove_dir(&path) {
                eprintln!("cleaning up: {}: {error}", path.display());
            }
        }
    }
}

/// An engine that watches births, with folders being made wanted of whoever takes [`SLOT`].
fn watching() -> (Arc<Engine>, Probes, BirthWatch) {
    let engine = Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"));
    let mut probes = Probes::new(engine.clone(), Backend::Tracepoint).expect("the tracepoint works here");
    let (mut want, mut asked) = ([0; CALLS], [0; CALLS]);
    for call in ["mkdir", "mkdirat"] {
        let nr = usize::from(syscall::by_name(call).expect("the catalogue has it").nr);
        (want[nr], asked[nr]) = (wire::WANT_EXIT, HOOK_EXIT);
    }
    let profile = Profile { want, errors: [0; wire::ERRNO_WORDS], min_duration_ns: 0, arg_bytes: 256, argv_bytes: 0 };
    engine.maps().set_profile(1, &profile).expect("profile 1 is there");
    engine.maps().open_slot(SLOT, &Container::unnamed(1), wire::STAGE_SETUP).expect("slot 1 is there");
    assert_eq!(probes.apply(&asked).refused, []);
    let watch = engine.watch_births().expect("cgroups can be watched");
    (engine, probes, watch)
}

fn birth_of(engine: &Engine, cgroup: &Cgroup) -> Option<Birth> {
    let births = engine.maps().births().expect("the map can be read");
    births.into_iter().find(|birth| birth.name == cgroup.name())
}

/// In the cgroup: a folder made by the host's shell, then one by a program of another root, which waits for its end.
fn run_in(cgroup: &Cgroup) {
    let root = tempfile::tempdir().expect("a temporary folder");
    let busybox = fs::read("/bin/busybox").expect("busybox is installed");
    fs::create_dir(root.path().join("bin")).expect("the folder is ours");
    fs::write(root.path().join("bin/busybox"), busybox).expect("the folder is ours");
    let made_executable = Command::new("chmod").arg("755").arg(root.path().join("bin/busybox")).status();
    assert!(made_executable.expect("chmod runs").success());
    let script = "echo $$ > $1/cgroup.procs; mkdir /tmp; exec unshare --mount chroot $2 /bin/busybox mkdir /inside";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "sh"]).arg(&cgroup.0).arg(root.path()).stderr(Stdio::null());
    assert!(shell.status().expect("sh runs").success());
}

#[test]
fn root_workload_is_counted_from_its_first_exec_on_and_what_set_it_up_apart() {
    let _alone = alone();
    let (engine, _probes, _watch) = watching();
    let cgroup = Cgroup::make("birth");
    let birth = birth_of(&engine, &cgroup).expect("it was made under our eyes");
    assert_eq!((birth.covered, birth.workload), (None, None), "{birth:?}");

    engine.maps().lend_slot(SLOT).expect("there is room");
    run_in(&cgroup);
    let birth = engine.maps().settle_birth(birth.cgroup).expect("the map can be read").expect("nobody settled it");
    let covered = birth.covered.expect("it has made calls");
    assert_eq!((covered.slot, covered.since_ns, birth.has_missed), (SLOT, birth.made_ns, false), "{birth:?}");
    assert!(birth.workload.is_some_and(|workload| workload.exec_ns > birth.made_ns), "{birth:?}");
    let account = engine.maps().account(SLOT).expect("the map can be read");
    assert_eq!((account.seen(), account.filtered_setup, account.submitted()), (2, 1, 1), "{account:?}");
    assert_eq!(birth_of(&engine, &cgroup), None);
}

#[test]
fn root_birth_that_finds_no_slot_says_that_calls_were_missed() {
    let _alone = alone();
    let (engine, _probes, _watch) = watching();
    let cgroup = Cgroup::make("no-slot");
    run_in(&cgroup);
    let birth = birth_of(&engine, &cgroup).expect("it was made under our eyes");
    assert_eq!((birth.covered, birth.has_missed), (None, true), "{birth:?}");
}

#[test]
fn root_every_one_of_a_thousand_births_is_told_and_goes_with_its_cgroup() {
    let _alone = alone();
    let (engine, _probes, _watch) = watching();
    let parent = Cgroup::make("thousand");
    let of_parent = || {
        let births = engine.maps().births().expect("the map can be read");
        let parent = births.iter().find(|birth| birth.name == parent.name()).map(|birth| birth.cgroup);
        births.iter().filter(|birth| Some(birth.parent) == parent).count()
    };
    (0..1000).for_each(|number| parent.child(&number.to_string()));
    assert_eq!(of_parent(), 1000);
    let children = fs::read_dir(&parent.0).expect("it is there").flatten().map(|entry| entry.path());
    for child in children.filter(|path| path.is_dir()) {
        fs::remove_dir(child).expect("nothing runs in it");
    }
    assert_eq!(of_parent(), 0);
}
