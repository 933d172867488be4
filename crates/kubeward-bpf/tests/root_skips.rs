//! A call that nobody saw is one whose run the kernel says it skipped. Needs root and a C compiler.
//!
//! `KUBEWARD_PROBE_BACKEND` names the backend, `auto` without it. One program a call, at its return: a run that is skipped is then
//! one call. In a file of its own: the self-test counts the calls of its whole process.

#[path = "../../kubeward/tests/root/witness.rs"]
mod witness;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes};
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::wire::{self, Container, Profile, CALLS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::container::ContainerSlot;
use kubeward_core::syscall;

const SLOT: ContainerSlot = ContainerSlot(1);
const THREADS: u64 = 8;
const ROUNDS: u64 = 2_000;

#[test]
fn root_calls_that_were_made_are_those_seen_and_those_skipped() {
    let named = std::env::var("KUBEWARD_PROBE_BACKEND");
    let backend = named.map_or(Backend::Auto, |name| name.parse().expect("it names a backend"));
    let engine = Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"));
    let mut probes = Probes::new(engine.clone(), backend).expect("some backend works here");
    let nr = usize::from(syscall::by_name("dup").expect("the catalogue has it").nr);
    let (mut want, mut asked) = ([0; CALLS], [0; CALLS]);
    // Kretprobes miss returns by themselves, which their entries tell.
    (want[nr], asked[nr]) = match probes.upgrades_exit() {
        true => (wire::WANT_CALL, HOOK_ENTER | HOOK_EXIT),
        false => (wire::WANT_EXIT, HOOK_EXIT),
    };
    let maps = engine.maps();
    let profile = Profile { want, errors: [0; wire::ERRNO_WORDS], min_duration_ns: 0, arg_bytes: 0, argv_bytes: 0 };
    maps.set_profile(1, &profile).expect("there are 1023");
    maps.open_slot(SLOT, &Container::watched(1, 0), wire::STAGE_RUN).expect("slot 1 is there");
    assert_eq!(probes.apply(&asked).refused, []);
    let before = probes.skipped();

    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "read go; exec \"$0\" \"$@\""]).arg(witness::witness("loop"));
    shell.args([THREADS.to_string(), ROUNDS.to_string(), "dup".to_owned()]);
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("sh runs");
    maps.tag_task(Pidfd::open(child.id()).expect("it waits").as_fd(), SLOT.0).expect("it waits");
    child.stdin.take().expect("it is piped").write_all(b"\n").expect("it waits for this");
    assert!(child.wait().expect("it is our child").success());

    let skipped = probes.skipped() - before;
    let account = maps.account(SLOT).expect("the map can be read");
    println!("{backend}: {} calls, {} seen, {skipped} runs skipped", THREADS * ROUNDS, account.seen());
    assert_eq!(THREADS * ROUNDS, account.seen() + skipped, "{account:?}");
    if backend != Backend::Fentry {
        assert_eq!(skipped, 0, "only fentry is served where it is not exact");
    }
}
