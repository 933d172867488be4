//! Calls that go from one kind of hook to another while they are made: none is missed, none told twice. Needs root.
//!
//! `KUBEWARD_PROBE_BACKEND` names the backend, `auto` without it. Where hooks on functions attach (the virtual machines), the
//! calls move; elsewhere the raw tracepoint serves all along. In a file of its own: the self-test counts the calls of its
//! whole process.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes, Report, Settling, ASK_REFUSED};
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::read::{Reader, RecordSink};
use kubeward_bpf::wire::{self, Container, Profile, Record, Wire, CALLS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::container::ContainerSlot;
use kubeward_core::event::Probe;
use kubeward_core::syscall;

const SLOT: ContainerSlot = ContainerSlot(1);
const WITNESSES: usize = 2;
const EDITS: usize = 100;
/// What nobody else passes as third argument.
const OURS: u64 = 77;

/// Ten calls that nobody here makes.
const OTHERS: [&str; 10] =
    ["mkdir", "rmdir", "rename", "symlink", "link", "chmod", "chown", "truncate", "mknod", "acct"];

/// The witnesses' calls by number and second argument, as they were told, and by which hooks.
#[derive(Debug, Default)]
struct Told {
    calls: Vec<(u16, u64)>,
    probes: BTreeMap<(u16, u8), u64>,
    reads: Vec<(i64, u8)>,
}

#[derive(Clone, Default)]
struct Sink {
    told: Arc<Mutex<Told>>,
    /// The last call told of each witness.
    last: [Arc<AtomicU64>; WITNESSES],
}

impl Sink {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("nobody panics with it")
    }
}

impl RecordSink for Sink {
    fn record(&mut self, bytes: &[u8]) {
        let Some(record) = Record::read_from(bytes).filter(|record| record.kind == wire::KIND_CALL) else { return };
        let mut told = self.told.lock().expect("nobody panics with it");
        if record.args[2] == OURS {
            told.calls.push((record.nr, record.args[1]));
            if let Some(last) = self.last.get((record.args[1] >> 40) as usize) {
                last.store(record.args[1] & ((1 << 40) - 1), Ordering::Relaxed);
            }
            *told.probes.entry((record.nr, record.probe)).or_default() += 1;
            if record.nr == nr("read") {
                told.reads.push((record.ret, record.probe));
            }
        }
    }

    fn drained(&mut self) {}
}

fn nr(name: &str) -> u16 {
    syscall::by_name(name).expect("the catalogue has it").nr
}

fn backend() -> Backend {
    std::env::var("KUBEWARD_PROBE_BACKEND").map_or(Backend::Auto, |name| name.parse().expect("it names a backend"))
}

/// What a policy asks of calls, by name: the hooks, and what the profile wants.
fn ask(calls: &[(&str, u8, u8)]) -> ([u8; CALLS], Profile) {
    let (mut asked, mut want) = ([0; CALLS], [0; CALLS]);
    for &(name, bits, wanted) in calls {
        asked[usize::from(nr(name))] = bits;
        want[usize::from(nr(name))] = wanted;
    }
    (asked, Profile { want, errors: [0; wire::ERRNO_WORDS], min_duration_ns: 0, arg_bytes: 256, argv_bytes: 4096 })
}

/// The kernel side with everything this process does in slot 1.
struct Watch {
    engine: Arc<Engine>,
    probes: Probes,
    reader: Reader<Sink>,
    sink: Sink,
    asked: [u8; CALLS],
    profile: u32,
    _alone: MutexGuard<'static, ()>,
}

impl Watch {
    fn begin() -> Self {
        // One test's threads are another's container: they are of one process.
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let engine = Arc::new(
            Engine::load(&LoadOptions { ring_bytes: 64 << 20, ..LoadOptions::default() }).expect("the object loads"),
        );
        let probes = Probes::new(engine.clone(), backend()).expect("some backend works here");
        println!("{}", probes.explain().join("\n"));
        engine.maps().open_slot(SLOT, &Container::watched(0, 0), wire::STAGE_RUN).expect("slot 1 is there");
        let this = Pidfd::of_this_process().expect("it lives");
        engine.tag_process(&this, SLOT).expect("it lives");
        let sink = Sink::default();
        let reader = Reader::spawn(engine.clone(), sink.clone()).expect("the ring can be read");
        Self { engine, probes, reader, sink, asked: [0; CALLS], profile: 0, _alone: alone }
    }

    /// As the agent does: serve what was and what comes, switch the container, serve what comes.
    fn edit(&mut self, calls: &[(&str, u8, u8)]) -> Report {
        let (asked, profile) = ask(calls);
        let both = std::array::from_fn(|nr| self.asked[nr] | asked[nr]);
        self.probes.serve(&both);
        self.profile = self.profile % 100 + 1;
        self.engine.maps().set_profile(self.profile, &profile).expect("there are 1023");
        self.engine.maps().set_container(SLOT, &Container::watched(self.profile, 0)).expect("slot 1 is there");
        self.asked = asked;
        self.probes.serve(&asked)
    }

    fn settle(&mut self) -> Report {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.probes.settle() != Settling::Done {
            thread::yield_now();
            assert!(Instant::now() < deadline, "the hooks do not settle: {:?}", self.probes.report());
        }
        self.probes.report()
    }

    /// As far as it goes by itself.
    fn settle_through(&mut self) -> Settling {
        loop {
            match self.probes.settle() {
                Settling::More => {}
                settling => return settling,
            }
        }
    }

    fn end(self) -> Told {
        self.engine.maps().silence(true).expect("the map can be written");
        let account = self.engine.maps().account(SLOT).expect("the map can be read");
        let (_, read) = self.reader.stop();
        read.expect("the ring can be read");
        assert_eq!((account.lost_ring, account.lost_return, account.lost_storage), (0, 0, 0), "{account:?}");
        println!("skipped {}", self.probes.skipped());
        std::mem::take(&mut *self.sink.told())
    }
}

fn probes_of(report: &Report, name: &str) -> Vec<Probe> {
    report.attached.iter().filter(|attached| attached.nr == nr(name)).map(|attached| attached.probe).collect()
}

/// Whether a thread of this process sleeps in the call.
fn is_anyone_in(name: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let calls = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("syscall")).ok());
    let wanted = format!("{} ", nr(name));
    calls.into_iter().any(|call| call.starts_with(&wanted))
}

/// Two threads that make three calls in turn, numbered.
struct Witnesses {
    stop: Arc<AtomicBool>,
    made: Vec<Arc<AtomicU64>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Witnesses {
    fn start(sink: &Sink) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let made: Vec<Arc<AtomicU64>> = (0..WITNESSES).map(|_| Arc::default()).collect();
        let threads = made.iter().zip(&sink.last).zip(0_u64..).map(|((made, told), witness)| {
            let (stop, made, told) = (stop.clone(), made.clone(), told.clone());
            thread::spawn(move || {
                // Edits need a CPU, too.
                // SAFETY: setpriority takes numbers; 0 is the calling thread.
                unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
                while !stop.load(Ordering::Relaxed) {
                    let count = made.load(Ordering::Relaxed) + 1;
                    let name = witness << 40 | count;
                    // The ring holds 400,000 records, and reading it takes longer than making them.
                    // Before the first is told nothing names the calls, perhaps, and none comes to wait for.
                    while (1..count.saturating_sub(50_000)).contains(&told.load(Ordering::Relaxed)) {
                        thread::yield_now();
                    }
                    for call in [libc::SYS_lseek, libc::SYS_flock, libc::SYS_dup3] {
                        // SAFETY: all refuse the descriptor -1 and touch no memory.
                        unsafe { libc::syscall(call, -1, name, OURS) };
                    }
                    made.store(count, Ordering::SeqCst);
                }
            })
        });
        Self { threads: threads.collect(), stop, made }
    }

    /// How many rounds each has completed.
    fn rounds(&self) -> Vec<u64> {
        self.made.iter().map(|made| made.load(Ordering::SeqCst)).collect()
    }

    fn go_on(&self, rounds: u64) {
        let goal: Vec<u64> = self.rounds().into_iter().map(|made| made + rounds).collect();
        while self.rounds().iter().zip(&goal).any(|(made, goal)| made < goal) {
            thread::yield_now();
        }
    }

    fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a witness does not panic"));
        self.made.iter().map(|made| made.load(Ordering::SeqCst)).collect()
    }
}

/// The rounds after `from` up to `to`, of which none may be missing.
fn rounds(from: &[u64], to: &[u64]) -> impl Iterator<Item = u64> {
    let spans: Vec<(u64, u64)> = from.iter().copied().zip(to.iter().copied()).collect();
    spans.into_iter().zip(0_u64..).flat_map(|((from, to), witness)| (from + 1..=to).map(move |at| witness << 40 | at))
}

#[test]
fn root_a_call_that_moves_through_a_hundred_edits_is_told_once() {
    const BOTH: u8 = HOOK_ENTER | HOOK_EXIT;
    let mut watch = Watch::begin();
    watch.edit(&[("lseek", HOOK_EXIT, wire::WANT_EXIT), ("flock", HOOK_ENTER, wire::WANT_ENTER)]);
    let witnesses = Witnesses::start(&watch.sink);
    let begin = Instant::now();
    let mut must_be_told: Vec<u64> = Vec::new();
    let mut named_at: Option<Vec<u64>> = None;
    for at in 0..EDITS {
        if let Some(named_at) = named_at.take_if(|_| at % 4 == 3) {
            must_be_told.extend(rounds(&named_at, &witnesses.rounds()));
        }
        let flock = ("flock", HOOK_ENTER, wire::WANT_ENTER);
        match at % 4 {
            0 => watch.edit(&[("lseek", HOOK_EXIT, wire::WANT_EXIT), flock]),
            1 => watch.edit(&[("lseek", BOTH, wire::WANT_CALL), flock, ("dup3", BOTH, wire::WANT_CALL)]),
            2 => watch.edit(&[
                ("lseek", HOOK_EXIT | ASK_REFUSED, wire::WANT_EXIT),
                ("flock", HOOK_ENTER | ASK_REFUSED, wire::WANT_ENTER),
                ("dup3", HOOK_EXIT, wire::WANT_EXIT),
                ("mkdir", HOOK_EXIT, wire::WANT_EXIT),
            ]),
            _ => watch.edit(&[("lseek", BOTH, wire::WANT_CALL), flock, ("rmdir", BOTH, wire::WANT_CALL)]),
        };
        // The round that goes on at this moment may have begun before the edit.
        if at % 4 == 1 {
            named_at = Some(witnesses.rounds().into_iter().map(|made| made + 1).collect());
        }
        // Most edits come in the middle of the move that the one before began.
        for _ in 0..(at / 4) % 6 {
            watch.probes.settle();
        }
        if at % 8 == 7 {
            watch.settle_through();
        }
        witnesses.go_on(20);
        if at % 10 == 9 {
            println!("{} edits, {:?} rounds, {:?}", at + 1, witnesses.rounds(), begin.elapsed());
        }
    }
    let made = witnesses.stop();
    let told = watch.end();
    println!("made {made:?}; told by {:?}", told.probes);
    let mut times: BTreeMap<(u16, u64), u32> = BTreeMap::new();
    told.calls.iter().for_each(|call| *times.entry(*call).or_default() += 1);
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{} told more than once: {:x?}", twice.len(), &twice[..twice.len().min(5)]);
    for (name, rounds) in [
        ("lseek", rounds(&[0, 0], &made).collect()),
        ("flock", rounds(&[0, 0], &made).collect()),
        ("dup3", must_be_told),
    ] {
        let missed: Vec<u64> = rounds.into_iter().filter(|round| !times.contains_key(&(nr(name), *round))).collect();
        let some = &missed[..missed.len().min(5)];
        assert!(missed.is_empty(), "{} of {name} not told while it was named: {some:x?}", missed.len());
    }
}

#[test]
fn root_a_new_call_is_told_before_its_own_hooks_are_there() {
    let mut watch = Watch::begin();
    let calls: Vec<(&str, u8, u8)> =
        OTHERS.iter().chain(&["dup3"]).map(|name| (*name, HOOK_EXIT | HOOK_ENTER, wire::WANT_CALL)).collect();
    let (asked, _) = ask(&calls);
    let begin = Instant::now();
    let at_once = watch.probes.apply(&asked);
    let whole = begin.elapsed();
    watch.probes.serve(&[0; CALLS]);
    watch.settle();

    let witnesses = Witnesses::start(&watch.sink);
    let begin = Instant::now();
    let meanwhile = watch.edit(&calls);
    let served = begin.elapsed();
    while watch.sink.told().calls.is_empty() {
        thread::yield_now();
    }
    let first = begin.elapsed();
    let report = watch.settle();
    let settled = begin.elapsed();
    witnesses.stop();
    println!("apply {whole:?}; serve {served:?}, first record {first:?}, settled {settled:?}");
    println!("meanwhile {:?}, then {:?}", probes_of(&meanwhile, "dup3"), probes_of(&report, "dup3"));
    assert_eq!((&meanwhile.refused[..], &report.refused[..]), (&[][..], &[][..]));
    let own = probes_of(&report, "dup3");
    assert_eq!(own, probes_of(&at_once, "dup3"));
    if own == [Probe::Fentry] {
        assert!(matches!(probes_of(&meanwhile, "dup3")[..], [Probe::TpBtf | Probe::Tracepoint]));
    }
    watch.end();
}

#[test]
fn root_a_call_that_began_before_its_hook_is_told_at_its_end() {
    let mut watch = Watch::begin();
    let (mut reading, mut writing) = std::io::pipe().expect("there are descriptors");
    watch.edit(&[("read", HOOK_EXIT, wire::WANT_EXIT)]);
    let blocked = thread::spawn(move || {
        let mut bytes = [0; OURS as usize];
        (0..2).for_each(|_| assert_eq!(reading.read(&mut bytes).expect("the pipe is open"), 1));
    });
    while !is_anyone_in("read") {
        thread::yield_now();
    }
    let settling = watch.settle_through();
    println!("while a read goes on: {settling:?}, {:?}", probes_of(&watch.probes.report(), "read"));
    writing.write_all(b"a").expect("the pipe is open");
    while watch.sink.told().reads.is_empty() {
        thread::yield_now();
    }
    let report = watch.settle();
    println!("after it: {:?}", probes_of(&report, "read"));
    writing.write_all(b"b").expect("the pipe is open");
    blocked.join().expect("both reads got a byte");
    let told = watch.end();
    println!("told by {:?}", told.probes);
    assert_eq!(told.reads.iter().map(|(ret, _)| *ret).collect::<Vec<_>>(), [1, 1]);
    let is_raw = |probe| [wire::PROBE_TP_BTF, wire::PROBE_TRACEPOINT].contains(&probe);
    let has_moved = is_raw(told.reads[0].1) && !is_raw(told.reads[1].1);
    assert_eq!(settling == Settling::Waits, has_moved, "{settling:?}, {:?}", told.reads);
}
