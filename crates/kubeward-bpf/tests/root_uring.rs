//! Requests to rings that are under way while policies and containers come and go: each is counted once, for the container that
//! submitted it. Needs root, a C compiler and a kernel from 6.1 on.
//!
//! `KUBEWARD_PROBE_BACKEND` names the backend, `auto` without it. In a file of its own: the self-test counts the calls of its
//! whole process.

#[path = "../../kubeward/tests/root/witness.rs"]
mod witness;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes};
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::wire::{self, Account, Container, Profile, CALLS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::container::ContainerSlot;
use kubeward_core::syscall;

const ONE: ContainerSlot = ContainerSlot(1);
const TWO: ContainerSlot = ContainerSlot(2);
/// What the witness's requests are.
const CALL: &str = "pread64";
const IO_URING: u8 = wire::RECORD_IO_URING;
const UNFINISHED: u8 = wire::RECORD_IO_URING | wire::TABLE_UNFINISHED;
/// More than a ring keeps in store: the kernel has then used the memory of every request before.
const MANY: u64 = 40;

/// The kernel side, and nobody who reads what it records.
struct Watch {
    engine: Arc<Engine>,
    probes: Probes,
    profiles: u32,
    _alone: MutexGuard<'static, ()>,
}

impl Watch {
    fn begin() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let engine = Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"));
        let backend = std::env::var("KUBEWARD_PROBE_BACKEND");
        let backend = backend.map_or(Backend::Auto, |name| name.parse().expect("it names a backend"));
        let probes = Probes::new(engine.clone(), backend).expect("some backend works here");
        Self { engine, probes, profiles: 0, _alone: alone }
    }

    /// A policy names the call, and selects whoever comes from now on.
    fn policy_on(&mut self, want: u8) {
        let nr = usize::from(syscall::by_name(CALL).expect("the catalogue has it").nr);
        let (mut asked, mut wants) = ([0; CALLS], [0; CALLS]);
        (asked[nr], wants[nr]) = (HOOK_ENTER | HOOK_EXIT, want);
        let (errors, min_duration_ns, arg_bytes, argv_bytes) = ([0; wire::ERRNO_WORDS], 0, 256, 4096);
        let profile = Profile { want: wants, errors, min_duration_ns, arg_bytes, argv_bytes };
        let report = self.probes.apply(&asked);
        assert_eq!((report.refused, report.uring_trouble), (vec![], None));
        self.profiles += 1;
        self.engine.maps().set_profile(self.profiles, &profile).expect("there are 1023");
    }

    /// No policy names a call any more.
    fn policy_off(&mut self, slots: &[ContainerSlot]) {
        self.profiles += 1;
        let (errors, min_duration_ns, arg_bytes, argv_bytes) = ([0; wire::ERRNO_WORDS], 0, 256, 4096);
        let profile = Profile { want: [0; CALLS], errors, min_duration_ns, arg_bytes, argv_bytes };
        self.engine.maps().set_profile(self.profiles, &profile).expect("there are 1023");
        slots.iter().for_each(|slot| self.select(*slot));
        assert_eq!(self.probes.apply(&[0; CALLS]).uring_trouble, None);
    }

    fn open(&self, slot: ContainerSlot) {
        let container = Container::watched(self.profiles, 0);
        self.engine.maps().open_slot(slot, &container, wire::STAGE_RUN).expect("the slot is there");
    }

    /// The policies that are in force now select the container.
    fn select(&self, slot: ContainerSlot) {
        let container = Container::watched(self.profiles, 0);
        self.engine.maps().set_container(slot, &container).expect("the slot is there");
    }

    fn tag(&self, pid: u32, slot: ContainerSlot) {
        let pidfd = Pidfd::open(pid).expect("it waits");
        self.engine.maps().tag_task(pidfd.as_fd(), slot.0).expect("it waits");
    }

    fn account(&self, slot: ContainerSlot) -> Account {
        self.engine.maps().account(slot).expect("the map can be read")
    }

    /// Waits until none of the slot's calls is under way: the kernel cancels a dead program's requests after its end.
    fn wait_for_the_end(&self, slot: ContainerSlot) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.kept(slot).0 != self.kept(slot).1 {
            assert!(Instant::now() < deadline, "requests do not end: {:?}", self.account(slot));
            thread::yield_now();
        }
    }

    /// Of the slot's calls, entered and over.
    fn kept(&self, slot: ContainerSlot) -> (u64, u64) {
        let account = self.account(slot);
        (account.entered, account.left)
    }

    /// How often the slot's calls ended how, by flags.
    fn table(&self, slot: ContainerSlot) -> BTreeMap<(u8, u16), u64> {
        let rows = self.engine.maps().table().expect("the map can be read");
        let of_slot = rows.results().into_iter().filter(|(key, _)| u32::from(key.slot) == slot.0);
        of_slot.map(|(key, count)| ((key.flags, key.error), count)).collect()
    }
}

/// The witness, which does as it is told.
struct Held {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Held {
    fn start(watch: &Watch, slot: ContainerSlot) -> Self {
        let mut command = Command::new(witness::witness("uring_held"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the witness starts");
        watch.tag(child.id(), slot);
        let orders = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, orders, answers }
    }

    fn tell(&mut self, order: u8) -> String {
        self.orders.write_all(&[order]).expect("it reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim().to_owned()
    }

    fn ask(&mut self, count: u64) {
        for _ in 0..count {
            let said = self.tell(b'r');
            assert!(said.starts_with("asked "), "{said}");
        }
    }

    fn answer(&mut self, count: u64) {
        for _ in 0..count {
            assert_eq!(self.tell(b'w'), "answered 1");
        }
    }

    fn end(self) {
        drop(self.orders);
        let output = { self.child }.wait().expect("it is our child");
        assert!(output.success(), "{output}");
    }
}

/// The kernel uses the memory of the first request for one that no hook sees, and answers that when the hooks are back.
#[test]
fn root_a_request_answers_for_no_other_after_the_policy_was_away() {
    let mut watch = Watch::begin();
    watch.policy_on(wire::WANT_CALL);
    watch.open(ONE);
    let mut held = Held::start(&watch, ONE);
    held.ask(2);
    held.answer(1);
    assert_eq!(watch.kept(ONE), (2, 1));
    watch.policy_off(&[ONE]);
    let account = watch.account(ONE);
    assert_eq!((account.entered, account.left, account.filtered_policy), (2, 2, 1), "what was under way is settled");
    held.answer(1);
    held.ask(MANY);

    watch.policy_on(wire::WANT_CALL);
    watch.select(ONE);
    held.answer(MANY);
    assert_eq!(watch.kept(ONE), (2, 2), "nobody saw these begin");
    held.ask(1);
    held.answer(1);
    let account = watch.account(ONE);
    assert_eq!((account.seen(), account.entered, account.left, account.submitted()), (3, 3, 3, 2));
    assert_eq!(watch.table(ONE), [((IO_URING, 0), 2), ((UNFINISHED, 0), 1)].into());
    held.end();
}

#[test]
fn root_requests_of_two_containers_are_counted_apart() {
    let mut watch = Watch::begin();
    watch.policy_on(wire::WANT_CALL);
    watch.open(ONE);
    watch.open(TWO);
    let (mut first, mut second) = (Held::start(&watch, ONE), Held::start(&watch, TWO));
    for _ in 0..MANY {
        first.ask(2);
        second.ask(1);
        first.answer(1);
    }
    assert_eq!((watch.kept(ONE), watch.kept(TWO)), ((2 * MANY, MANY), (MANY, 0)));
    second.answer(MANY);
    first.end();
    second.end();
    watch.wait_for_the_end(ONE);
    assert_eq!((watch.kept(ONE), watch.kept(TWO)), ((2 * MANY, 2 * MANY), (MANY, MANY)));
    // By which error a request ends with its program depends on who does it: on 6.1 workers do, which are interrupted.
    let (answered, ended): (Vec<_>, Vec<_>) = watch.table(ONE).into_iter().partition(|((_, error), _)| *error == 0);
    assert_eq!(answered, [((IO_URING, 0), MANY)]);
    assert!(ended.iter().all(|((flags, _), _)| *flags == IO_URING), "{ended:?}");
    assert_eq!(ended.iter().map(|(_, count)| count).sum::<u64>(), MANY, "{ended:?}");
    assert_eq!(watch.table(TWO), [((IO_URING, 0), MANY)].into());
}

/// Both submit to it and each may see the other's answers come.
#[test]
fn root_a_ring_that_two_containers_share_is_counted_by_who_submits() {
    let mut watch = Watch::begin();
    watch.policy_on(wire::WANT_CALL);
    watch.open(ONE);
    watch.open(TWO);
    let mut held = Held::start(&watch, ONE);
    held.ask(1);
    let child = held.tell(b'f');
    let pid = child.strip_prefix("child ").and_then(|pid| pid.parse().ok()).expect("it says who the child is");
    watch.tag(pid, TWO);
    held.ask(2);
    assert_eq!((watch.kept(ONE), watch.kept(TWO)), ((1, 0), (2, 0)));
    held.answer(3);
    assert_eq!((watch.kept(ONE), watch.kept(TWO)), ((1, 1), (2, 2)));
    assert_eq!(watch.table(ONE), [((IO_URING, 0), 1)].into());
    assert_eq!(watch.table(TWO), [((IO_URING, 0), 2)].into());
    held.end();
}

#[test]
fn root_a_request_is_not_counted_for_the_slots_next_container() {
    let mut watch = Watch::begin();
    watch.policy_on(wire::WANT_CALL);
    watch.open(ONE);
    let mut before = Held::start(&watch, ONE);
    before.ask(MANY);
    watch.tag(before.child.id(), ContainerSlot(0));
    watch.engine.maps().close_slot(ONE).expect("the map can be written");
    watch.open(ONE);
    let mut next = Held::start(&watch, ONE);
    next.ask(3);
    before.answer(MANY);
    assert_eq!(watch.kept(ONE), (3, 0));
    next.answer(3);
    assert_eq!((watch.account(ONE).seen(), watch.kept(ONE)), (3, (3, 3)));
    assert_eq!(watch.table(ONE), [((IO_URING, 0), 3)].into());
    before.end();
    next.end();
}

#[test]
fn root_requests_that_are_only_counted_make_no_record() {
    let mut watch = Watch::begin();
    watch.policy_on(wire::WANT_CALL | wire::WANT_COUNT);
    watch.open(ONE);
    let mut held = Held::start(&watch, ONE);
    held.ask(MANY);
    held.answer(MANY);
    let account = watch.account(ONE);
    assert_eq!((account.seen(), account.left, account.filtered_count, account.submitted()), (MANY, MANY, MANY, 0));
    assert_eq!(watch.table(ONE), [((IO_URING, 0), MANY)].into());
    held.end();
}
