//! Which programs are loaded for which backend: none that this kernel has no hooks for, and none of a kind that is not tried.
//! Needs root.
//!
//! In a file of its own: the programs of this process are counted, and the self-test counts its calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use kubeward_bpf::object::{Engine, LoadOptions, TaskReads};
use kubeward_bpf::probe::{survey, uring_support, Backend, Probes, UringSupport};
use kubeward_bpf::wire::{CALLS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::syscall;
use libbpf_rs::query::ProgInfoIter;

/// One engine at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn small() -> LoadOptions {
    LoadOptions { table_entries: Some(64), has_first_results: false, ..LoadOptions::default() }
}

fn load(options: &LoadOptions) -> Arc<Engine> {
    Arc::new(Engine::load(options).expect("the object loads"))
}

fn engine_for(is_for_command: bool) -> Arc<Engine> {
    load(&LoadOptions { is_for_command, ..small() })
}

fn engine() -> Arc<Engine> {
    engine_for(false)
}

/// The programs of this process: how many of each name, of which the kernel keeps 15 letters.
fn loaded() -> BTreeMap<String, usize> {
    let fds = fs::read_dir("/proc/self/fdinfo").expect("proc is mounted").filter_map(|fd| fd.ok());
    let told = fds.filter_map(|fd| fs::read_to_string(fd.path()).ok());
    let id = |info: String| info.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
    // A link's has one, too, and may outlive the program's descriptor.
    let own: BTreeSet<u32> = told.filter(|info| !info.contains("link_id:")).filter_map(id).collect();
    let mut loaded = BTreeMap::new();
    for program in ProgInfoIter::default().filter(|program| own.contains(&program.id)) {
        *loaded.entry(program.name.to_string_lossy().into_owned()).or_default() += 1;
    }
    loaded
}

/// What every backend needs.
fn at_once() -> BTreeMap<String, usize> {
    let has_tracefs = Path::new("/sys/kernel/tracing/events").is_dir();
    let ends =
        if has_tracefs { &[("classic_process", 2)][..] } else { &[("raw_process_exe", 1), ("raw_process_exi", 1)] };
    let hooks = ["raw_enter", "raw_exit", "task_newtask", "process_fork", "cgroup_mkdir", "cgroup_rmdir"];
    let iterators = ["adopt_tasks", "tag_tasks", "list_tasks", "list_inside"];
    let single = hooks.iter().chain(&iterators).map(|&name| (name, 1));
    single.chain(ends.iter().copied()).map(|(name, count)| (name.to_owned(), count)).collect()
}

fn asked(name: &str) -> [u8; CALLS] {
    let mut asked = [0; CALLS];
    asked[usize::from(syscall::by_name(name).expect("the catalogue has it").nr)] = HOOK_ENTER | HOOK_EXIT;
    asked
}

/// What one command needs where the raw tracepoint serves it.
fn of_a_command() -> BTreeMap<String, usize> {
    let hooks = ["raw_enter", "raw_exit", "task_newtask", "process_fork", "raw_process_exe", "raw_process_exi"];
    let iterators = ["tag_tasks", "list_tasks", "list_inside"];
    hooks.iter().chain(&iterators).map(|&name| (name.to_owned(), 1)).collect()
}

/// Those beside `first`.
fn beside(first: BTreeMap<String, usize>) -> Vec<String> {
    let mut later = loaded();
    for (name, count) in first {
        assert_eq!(later.remove(&name), Some(count), "{name}");
    }
    later.into_keys().collect()
}

fn later() -> Vec<String> {
    beside(at_once())
}

fn is_exact(probes: &Probes, name: &str) -> bool {
    probes.explain().iter().any(|line| line.starts_with(&format!("{name}: exact")))
}

#[test]
fn root_engine_loads_what_every_backend_needs_and_no_other_program() {
    let _alone = alone();
    let _engine = engine();
    assert_eq!(loaded(), at_once());
}

#[test]
fn root_only_programs_of_kinds_that_are_tried_here_are_loaded() {
    let _alone = alone();
    let engine = engine();
    let probes = Probes::new(engine.clone(), Backend::Tracepoint).expect("it works everywhere");
    let classic = ["classic_enter", "classic_exit"].map(str::to_owned);
    let expected = if is_exact(&probes, "tp_btf") { &[][..] } else { &classic };
    assert_eq!(later(), expected, "{:?}", probes.explain());
    drop(probes);

    let support = *engine.support();
    let probes = Probes::new(engine.clone(), Backend::Auto).expect("some backend works");
    let kprobes = later().into_iter().filter(|name| name.contains("probe")).collect::<Vec<_>>();
    // The plain form is not tried: it misses returns.
    let expected: &[&str] = match support.kprobe_multi && !is_exact(&probes, "fentry") {
        true => &["kprobe_multi_en", "kretprobe_multi"],
        false => &[],
    };
    assert_eq!(kprobes, expected, "{support:?} {:?}", probes.explain());
    println!("auto: {:?} beside what every backend needs", later());
}

#[test]
fn root_a_command_has_one_kind_of_hook_loaded_and_io_uring_only_if_its_calls_may_come_by_it() {
    let _alone = alone();
    let engine = engine_for(true);
    assert_eq!(loaded(), of_a_command());
    let probes = Probes::for_command(engine.clone(), Backend::Auto, &asked("getpid")).expect("some backend works");
    let is_exact = is_exact(&probes, "tp_btf");
    if !is_exact {
        println!("not run: what a command has where tp_btf is exact (it is not here)");
        return;
    }
    assert_eq!(loaded(), of_a_command());
    drop(probes);
    let _probes = Probes::for_command(engine, Backend::Auto, &asked("openat")).expect("some backend works");
    let expected = if matches!(uring_support(), UringSupport::Watched(_)) { 5 } else { 0 };
    let on_uring = beside(of_a_command());
    assert_eq!(on_uring.len(), expected, "{on_uring:?}");
}

/// A kind that the verifier refuses is one that does not attach, and nobody would look for the reason.
fn assert_takes_every_kind(engine: Arc<Engine>) {
    for verdict in survey(&engine).expect("forks and execs can be followed") {
        println!("{}", verdict.detail);
        // fentry is refused where lockdown forbids it.
        assert!(verdict.name == "fentry" || !verdict.detail.contains("the kernel refused the object"), "{verdict:?}");
    }
    let mut probes = Probes::for_command(engine, Backend::Auto, &asked("openat")).expect("some backend works");
    let report = probes.apply(&asked("openat"));
    assert_eq!(report.refused, []);
    if matches!(uring_support(), UringSupport::Watched(_)) {
        assert_eq!(report.uring_trouble, None);
    }
}

#[test]
fn root_verifier_takes_every_kind_of_hook_that_this_kernel_has() {
    let _alone = alone();
    let engine = engine();
    assert_eq!((engine.reads(), engine.cast_refusal()), (TaskReads::ByCast, None));
    assert_takes_every_kind(engine);
}

#[test]
fn root_verifier_takes_every_kind_of_hook_without_the_cast_too() {
    let _alone = alone();
    let engine = load(&LoadOptions { reads: TaskReads::ByType, ..small() });
    assert_eq!((engine.reads(), engine.cast_refusal()), (TaskReads::ByType, None));
    assert_takes_every_kind(engine);
}

/// Sets how many descriptors this process may have. Gives back what it was.
fn limit_descriptors(most: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit, which lives here.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    let before = std::mem::replace(&mut limit.rlim_cur, most);
    // SAFETY: the kernel reads one rlimit, which lives here.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    before
}

/// The kernel refuses it for want of a descriptor, as it may for want of memory.
#[test]
fn root_kind_that_was_refused_once_is_tried_again() {
    let _alone = alone();
    let engine = engine_for(true);
    let before = limit_descriptors(0);
    let refused = engine.adopt_strays(&[]);
    limit_descriptors(before);
    let refused = refused.expect_err("there is no descriptor for its programs").to_string();
    assert!(refused.contains("the kernel refused the object"), "{refused}");
    assert_eq!(loaded(), of_a_command());
    engine.adopt_strays(&[]).expect("there are descriptors now");
    assert_eq!(beside(of_a_command()), ["adopt_tasks"]);
}
