//! What becomes of a call whose hooks go while it runs. Needs root. In a file of its own, and so in a process of its own: the
//! self-test counts the calls of its whole process.

#[path = "../../kubeward/tests/root/witness.rs"]
mod witness;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes};
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::wire::{self, Account, Container, Profile, Wire, CALLS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::container::ContainerSlot;
use kubeward_core::syscall;

/// The profile and the hooks of `read` alone, entry and return.
fn read_alone() -> (Profile, [u8; CALLS]) {
    profile_of(&["read"])
}

/// The profile and the hooks of these calls alone, entry and return.
fn profile_of(calls: &[&str]) -> (Profile, [u8; CALLS]) {
    let (mut want, mut asked) = ([0; CALLS], [0; CALLS]);
    for name in calls {
        let nr = usize::from(syscall::by_name(name).expect("the catalogue has it").nr);
        (want[nr], asked[nr]) = (wire::WANT_CALL, HOOK_ENTER | HOOK_EXIT);
    }
    (Profile { want, errors: [0; wire::ERRNO_WORDS], min_duration_ns: 0, arg_bytes: 256, argv_bytes: 4096 }, asked)
}

/// One test's self-test counts the calls of the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A shell of the slot, that has read one line and sleeps in the read of the next.
fn blocked_shell(engine: &Engine, slot: ContainerSlot) -> (Child, ChildStdin) {
    let mut shell =
        Command::new("/bin/sh").args(["-c", "read a; read b"]).stdin(Stdio::piped()).spawn().expect("sh runs");
    let mut input = shell.stdin.take().expect("it is piped");
    let pidfd = Pidfd::open(shell.id()).expect("the shell lives");
    engine.maps().tag_task(pidfd.as_fd(), slot.0).expect("the shell lives");
    // It reads byte by byte, and sleeps in the read that finds no more.
    input.write_all(b"a\n").expect("the shell reads");
    wait_for(engine, slot, "a blocked read", |account| {
        account.left >= 1 && account.entered == account.left + 1 && is_asleep(shell.id())
    });
    (shell, input)
}

fn wait_for(engine: &Engine, slot: ContainerSlot, what: &str, is_there: impl Fn(&Account) -> bool) -> Account {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let account = engine.maps().account(slot).expect("the map can be read");
        if is_there(&account) {
            return account;
        }
        assert!(Instant::now() < deadline, "{what} did not come: {account:?}");
        std::thread::yield_now();
    }
}

fn is_asleep(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}

/// A guest sits in a call of a container that ends, and comes back when the slot is another container's.
#[test]
fn root_call_of_the_container_before_is_not_counted_for_the_one_after() {
    let slot = ContainerSlot(1);
    let engine = Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"));
    let _alone = alone();
    let mut probes = Probes::new(engine.clone(), Backend::Tracepoint).expect("the tracepoint works here");
    let (profile, asked) = read_alone();
    let maps = engine.maps();
    maps.set_profile(1, &profile).expect("profile 1 is there");
    maps.open_slot(slot, &Container::watched(1, 0), wire::STAGE_RUN).expect("slot 1 is there");
    assert_eq!(probes.apply(&asked).refused, []);
    let (mut shell, mut input) = blocked_shell(&engine, slot);

    maps.close_slot(slot).expect("slot 1 is there");
    // As of a task that was found by its namespaces, which no tag keeps from being forgotten.
    engine.untag(slot).expect("tasks can be listed");
    maps.clean_slots(&[slot].into()).expect("slot 1 is there");
    maps.open_slot(slot, &Container::watched(1, 0), wire::STAGE_RUN).expect("slot 1 is there");
    maps.set_container(slot, &Container::watched(1, 0)).expect("slot 1 is there");
    input.write_all(b"b\n").expect("the shell reads");
    assert!(shell.wait().expect("it is our child").success());
    let account = maps.account(slot).expect("the map can be read");
    assert!(account.as_bytes().iter().all(|byte| *byte == 0), "{account:?}");
    assert_eq!(maps.table().expect("the map can be read").results().len(), 0);
}

/// A thread sits in a call while the last policy that names it goes: nothing was missed, nobody wants it any more.
#[test]
fn root_a_call_that_nobody_wants_any_more_is_not_lost() {
    let slot = ContainerSlot(1);
    let engine = Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"));
    let _alone = alone();
    let mut probes = Probes::new(engine.clone(), Backend::Tracepoint).expect("the tracepoint works here");
    let (profile, asked) = read_alone();
    engine.maps().set_profile(1, &profile).expect("profile 1 is there");
    engine.maps().open_slot(slot, &Container::watched(1, 0), wire::STAGE_RUN).expect("slot 1 is there");
    let report = probes.apply(&asked);
    assert_eq!(report.refused, []);
    let (mut shell, mut input) = blocked_shell(&engine, slot);

    assert_eq!(probes.apply(&[0; CALLS]).attached, []);
    input.write_all(b"b\n").expect("the shell reads");
    assert!(shell.wait().expect("it is our child").success());

    let account = wait_for(&engine, slot, "the end", |account| account.entered == account.left);
    assert_eq!((account.lost_return, account.filtered_policy), (0, 1), "{account:?}");
    assert_eq!(account.seen(), account.submitted() + 1, "{account:?}");
    let table = engine.maps().table().expect("the map can be read").results();
    let unfinished = table.iter().filter(|(key, _)| key.flags == wire::TABLE_UNFINISHED).map(|(_, calls)| calls);
    assert_eq!(unfinished.sum::<u64>(), 1, "{table:?}");
    assert_eq!(table.values().sum::<u64>(), account.seen(), "{table:?}");
}

/// Runs one that waits for a byte, with every moment of these calls watched: its account, and its calls by call, errno and flags.
fn run_watched(calls: &[&str], command: &mut Command) -> (Account, BTreeMap<(u16, u16, u8), u64>) {
    let slot = ContainerSlot(1);
    let engine = Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"));
    let _alone = alone();
    let mut probes = Probes::new(engine.clone(), Backend::Tracepoint).expect("the tracepoint works here");
    let (profile, asked) = profile_of(calls);
    let maps = engine.maps();
    maps.set_profile(1, &profile).expect("profile 1 is there");
    maps.open_slot(slot, &Container::watched(1, 0), wire::STAGE_RUN).expect("slot 1 is there");
    assert_eq!(probes.apply(&asked).refused, []);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
    let pidfd = Pidfd::open(child.id()).expect("it waits");
    maps.tag_task(pidfd.as_fd(), slot.0).expect("it waits");
    child.stdin.take().expect("it is piped").write_all(b"x").expect("it waits for this");
    assert!(child.wait().expect("it is our child").success());
    let account = wait_for(&engine, slot, "the end", |account| account.entered == account.left);
    let mut results = BTreeMap::new();
    for (key, calls) in maps.table().expect("the map can be read").results() {
        *results.entry((key.nr, key.error, key.flags)).or_insert(0) += calls;
    }
    (account, results)
}

fn nr(name: &str) -> u16 {
    syscall::by_name(name).expect("the catalogue has it").nr
}

/// The process ends while its threads are in calls: those return, though nobody gets to see what.
#[test]
fn root_calls_that_their_process_ends_in_return_and_are_not_lost() {
    const THREADS: u64 = 8;
    const ERESTARTSYS: u16 = 512;
    let mut ended = Command::new(witness::witness("ended"));
    let (account, results) = run_watched(&["futex", "read"], ended.arg(THREADS.to_string()));
    let expected = [
        ((nr("read"), 0, 0), 1),
        ((nr("read"), ERESTARTSYS, 0), THREADS / 2),
        ((nr("futex"), ERESTARTSYS, 0), THREADS / 2),
    ];
    assert_eq!(results, BTreeMap::from(expected), "{account:?}");
    assert_eq!(
        (account.seen(), account.submitted(), account.lost_return),
        (THREADS + 1, THREADS + 1, 0),
        "{account:?}"
    );
}

/// It never returns, which is no hook's fault.
#[test]
fn root_call_that_ends_its_caller_is_told_by_its_entry() {
    let (account, results) = run_watched(&["reboot"], &mut Command::new(witness::witness("rebooted")));
    let expected = [((nr("reboot"), libc::EINVAL as u16, 0), 1), ((nr("reboot"), 0, wire::TABLE_UNFINISHED), 1)];
    assert_eq!(results, BTreeMap::from(expected), "{account:?}");
    assert_eq!((account.seen(), account.submitted(), account.lost_return), (2, 2, 0), "{account:?}");
}
