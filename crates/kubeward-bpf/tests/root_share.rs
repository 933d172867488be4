//! What a noisy container is kept to, and what a quiet one keeps: shares of the ring, and rate limits. Needs root. In a file of its own,
//! and so in a process of its own: the self-test counts the calls of its whole process.

use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes};
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::read::{Reader, RecordSink};
use kubeward_bpf::wire::{self, Account, Container, Limit, Limits, Profile, Record, Wire, CALLS, HOOK_EXIT};
use kubeward_core::container::ContainerSlot;
use kubeward_core::syscall;

const NOISY: ContainerSlot = ContainerSlot(1);
const QUIET: ContainerSlot = ContainerSlot(2);
const RING_BYTES: u32 = 256 << 10;
/// A record without strings, with the ring's own header.
const RECORD_BYTES: u32 = (size_of::<Record>() as u32 + 8).next_multiple_of(8);
/// Records that fill the ring.
const RING_RECORDS: u64 = (RING_BYTES / RECORD_BYTES) as u64;

/// The kernel side with `lseek` watched in the slots at hand.
struct Watch {
    engine: Arc<Engine>,
    profile: Profile,
    _probes: Probes,
    _alone: MutexGuard<'static, ()>,
}

impl Watch {
    fn begin(is_shared: bool, slots: &[ContainerSlot]) -> Self {
        Self::with_ring(RING_BYTES, is_shared, slots)
    }

    fn with_ring(ring_bytes: u32, is_shared: bool, slots: &[ContainerSlot]) -> Self {
        // The self-test of one test would count the calls of another.
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let engine =
            Arc::new(Engine::load(&LoadOptions { ring_bytes, ..LoadOptions::default() }).expect("the object loads"));
        if is_shared {
            engine.maps().share_ring().expect("the settings can be written");
        }
        let mut probes = Probes::new(engine.clone(), Backend::Tracepoint).expect("the tracepoint works here");
        let nr = usize::from(syscall::by_name("lseek").expect("the catalogue has it").nr);
        let (mut want, mut asked) = ([0; CALLS], [0; CALLS]);
        want[nr] = wire::WANT_EXIT | wire::WANT_LIMITED;
        asked[nr] = HOOK_EXIT;
        let profile = Profile { want, errors: [0; wire::ERRNO_WORDS], min_duration_ns: 0, arg_bytes: 0, argv_bytes: 0 };
        engine.maps().set_profile(1, &profile).expect("profile 1 is there");
        assert_eq!(probes.apply(&asked).refused, []);
        let watch = Self { engine, profile, _probes: probes, _alone: alone };
        slots.iter().for_each(|slot| watch.open(*slot));
        watch
    }

    fn open(&self, slot: ContainerSlot) {
        self.engine.maps().open_slot(slot, &Container::watched(1, 0), wire::STAGE_RUN).expect("the slot is there");
    }

    fn account(&self, slot: ContainerSlot) -> Account {
        self.engine.maps().account(slot).expect("the map can be read")
    }

    /// A process of the slot that makes `calls` numbered calls, to its end.
    fn make_calls(&self, slot: ContainerSlot, calls: u64) {
        let (go, mut start) = pipe();
        let child = Child::fork(|| {
            wait_for_byte(&go);
            (0..calls).for_each(make_call);
        });
        self.tag(&child, slot);
        start.write_all(b"!").expect("the child reads");
        child.join();
    }

    fn tag(&self, child: &Child, slot: ContainerSlot) {
        let pidfd = Pidfd::open(child.0.unsigned_abs()).expect("the child lives");
        self.engine.maps().tag_task(pidfd.as_fd(), slot.0).expect("the child lives");
    }

    /// Reads what is in the ring by now.
    fn read(&self) -> Vec<Record> {
        let (sink, read) = Reader::spawn(self.engine.clone(), Records::default()).expect("a thread starts").stop();
        read.expect("the ring can be read");
        sink.0
    }
}

#[derive(Default)]
struct Records(Vec<Record>);

impl RecordSink for Records {
    fn record(&mut self, bytes: &[u8]) {
        self.0.push(Record::read_from(bytes).expect("records are whole"));
    }

    fn drained(&mut self) {}
}

fn pipe() -> (PipeReader, PipeWriter) {
    std::io::pipe().expect("there are descriptors")
}

/// A copy of this process that makes system calls alone.
struct Child(libc::pid_t);

impl Child {
    /// `work` must not allocate nor lock: other threads may have held the allocator's locks when they were copied.
    fn fork(work: impl FnOnce()) -> Self {
        // SAFETY: the child makes system calls on what it has and ends.
        match unsafe { libc::fork() } {
            0 => {
                work();
                // SAFETY: ends this copy, without anything that is to run at the end of the test's process.
                unsafe { libc::_exit(0) }
            }
            pid => {
                assert!(pid > 0, "fork: {}", std::io::Error::last_os_error());
                Self(pid)
            }
        }
    }

    fn join(self) {
        let mut status = 0;
        // SAFETY: waits for our own child, and `status` is there to be filled.
        assert_eq!(unsafe { libc::waitpid(self.0, &mut status, 0) }, self.0);
        assert_eq!(status, 0, "the child ends by itself");
    }
}

/// Whether a byte came before the end.
fn wait_for_byte(from: &PipeReader) -> bool {
    let mut byte = 0_u8;
    // SAFETY: one byte for one byte.
    unsafe { libc::read(from.as_raw_fd(), (&raw mut byte).cast(), 1) == 1 }
}

fn give_byte(to: &PipeWriter) {
    let byte = b'.';
    // SAFETY: one byte of one byte.
    unsafe { libc::write(to.as_raw_fd(), (&raw const byte).cast(), 1) };
}

fn make_call(number: u64) {
    // SAFETY: the descriptor -1 is refused, and no memory is touched.
    unsafe { libc::syscall(libc::SYS_lseek, -1, number, 0) };
}

#[test]
fn root_one_container_alone_has_the_whole_ring_or_half_of_a_shared_one() {
    for (is_shared, room) in [(false, RING_RECORDS), (true, RING_RECORDS / 2)] {
        let watch = Watch::begin(is_shared, &[NOISY]);
        // A slot's next container has as much.
        for _ in 0..2 {
            watch.open(NOISY);
            watch.make_calls(NOISY, 2 * RING_RECORDS);
            let account = watch.account(NOISY);
            let lost = (account.lost_ring, account.lost_share);
            let beyond = 2 * RING_RECORDS - room;
            let expected = if is_shared { (0, beyond) } else { (beyond, 0) };
            assert_eq!((account.seen(), account.submitted(), lost), (2 * RING_RECORDS, room, expected), "{account:?}");
            assert_eq!(watch.read().len() as u64, room);
        }
    }
}

const BURSTS: u64 = 200;
/// The quiet one's calls of a burst, and the noisy one's for each of them.
const ROUNDS: u64 = 20;
const NOISE: u64 = 100;

/// Reads as fast as the reader does, and lets the noisy one begin a burst when the last one's calls of the quiet one are read.
struct Paced {
    go: Option<PipeWriter>,
    begun: u64,
    noise: u64,
    quiet: Vec<u64>,
}

impl RecordSink for Paced {
    fn record(&mut self, bytes: &[u8]) {
        let record = Record::read_from(bytes).expect("records are whole");
        match ContainerSlot(record.slot) {
            NOISY => self.noise += 1,
            QUIET => self.quiet.push(record.args[1]),
            other => panic!("a record of slot {}", other.0),
        }
    }

    fn drained(&mut self) {
        if self.quiet.len() as u64 != self.begun * ROUNDS {
            return;
        }
        match &self.go {
            Some(go) if self.begun < BURSTS => give_byte(go),
            _ => return self.go = None,
        }
        self.begun += 1;
    }
}

/// Each burst of the noisy one is more than the ring holds, and the quiet one makes a call within every hundredth of it.
#[test]
fn root_quiet_container_loses_nothing_beside_one_that_fills_the_ring() {
    const { assert!(ROUNDS * NOISE > RING_RECORDS) };
    let watch = Watch::begin(true, &[NOISY, QUIET]);
    let ((go, start), (turns, turn)) = (pipe(), pipe());
    let noisy = Child::fork(|| {
        // SAFETY: closes this copy's own end, so that the other's end shows.
        unsafe { libc::close(start.as_raw_fd()) };
        let mut number = 0;
        while wait_for_byte(&go) {
            for _ in 0..ROUNDS {
                (number..number + NOISE).for_each(make_call);
                number += NOISE;
                give_byte(&turn);
            }
        }
    });
    let quiet = Child::fork(|| {
        for own in [start.as_raw_fd(), turn.as_raw_fd()] {
            // SAFETY: closes this copy's own ends, so that the other's end shows.
            unsafe { libc::close(own) };
        }
        let mut number = 0;
        while wait_for_byte(&turns) {
            make_call(number);
            number += 1;
        }
    });
    watch.tag(&noisy, NOISY);
    watch.tag(&quiet, QUIET);
    drop((go, turns, turn));
    let begin = Instant::now();
    let paced = Paced { go: Some(start), begun: 0, noise: 0, quiet: Vec::new() };
    let reader = Reader::spawn(watch.engine.clone(), paced).expect("a thread starts");
    // Were a call of the quiet one lost, the next burst would never begin.
    let patience = Instant::now() + Duration::from_secs(60);
    let mut quiet_now = watch.account(QUIET);
    while quiet_now.seen() < BURSTS * ROUNDS && quiet_now.lost_share + quiet_now.lost_ring == 0 {
        assert!(Instant::now() < patience, "the bursts do not end: {quiet_now:?}");
        std::thread::yield_now();
        quiet_now = watch.account(QUIET);
    }
    let (sink, read) = reader.stop();
    read.expect("the ring can be read");
    drop(sink.go);
    noisy.join();
    quiet.join();

    let (noisy, quiet) = (watch.account(NOISY), watch.account(QUIET));
    println!("{:?} for {} bursts: noisy {noisy:?}, quiet {quiet:?}", begin.elapsed(), BURSTS);
    assert_eq!((quiet.seen(), quiet.submitted()), (BURSTS * ROUNDS, BURSTS * ROUNDS), "{quiet:?}");
    assert!((0..BURSTS * ROUNDS).eq(sink.quiet), "each call of the quiet one is told once, in order");
    assert_eq!(noisy.seen(), BURSTS * ROUNDS * NOISE, "{noisy:?}");
    assert_eq!(noisy.seen(), noisy.submitted() + noisy.lost_share + noisy.lost_ring, "{noisy:?}");
    assert!(noisy.lost_share >= noisy.seen() - BURSTS * RING_RECORDS, "no burst fits into the ring: {noisy:?}");
    assert_eq!((noisy.lost_ring, noisy.submitted()), (0, sink.noise), "{noisy:?}");
}

const BURST: u64 = 50;

/// `lseek` limited, and wanted by others too or not.
fn limits(per_second: u64, others: u8) -> Limits {
    let mut limits = Limits::NONE;
    limits.of[0] = Limit { token_ns: 1_000_000_000 / per_second, burst_ns: BURST * 1_000_000_000 / per_second };
    limits.calls[usize::from(syscall::by_name("lseek").expect("the catalogue has it").nr)] = 1 | others;
    limits
}

#[test]
fn root_program_over_its_limit_is_kept_to_it_in_the_kernel_and_every_call_is_counted() {
    const CALLS_MADE: u64 = 300_000;
    const RATE: u64 = 100;
    let watch = Watch::begin(true, &[NOISY, QUIET]);
    watch.engine.maps().set_limits(1, &limits(RATE, 0)).expect("profile 1 is there");
    let begin = Instant::now();
    watch.make_calls(NOISY, CALLS_MADE);
    let most = BURST + begin.elapsed().as_nanos() as u64 * RATE / 1_000_000_000 + 1;
    let noisy = watch.account(NOISY);
    let records = watch.read();
    println!("{CALLS_MADE} calls in {:?}: {noisy:?}", begin.elapsed());
    assert_eq!((noisy.seen(), noisy.submitted() + noisy.sampled), (CALLS_MADE, CALLS_MADE), "{noisy:?}");
    assert!((BURST..=most).contains(&noisy.submitted()), "at most {most}: {noisy:?}");
    assert_eq!(records.len() as u64, noisy.submitted());
    // Each was within the limit at its own moment.
    let limit = limits(RATE, 0).of[0];
    records.iter().fold(0, |full_at_ns: u64, record| {
        let full_at_ns = full_at_ns.max(record.mono_ns) + limit.token_ns;
        assert!(full_at_ns - record.mono_ns <= limit.burst_ns, "one too many: {record:?}");
        full_at_ns
    });

    watch.make_calls(QUIET, BURST);
    let quiet = watch.account(QUIET);
    assert_eq!((quiet.submitted(), quiet.sampled), (BURST, 0), "a limit is each container's own: {quiet:?}");
}

#[test]
fn root_new_profile_begins_with_full_buckets_and_a_call_that_others_want_is_told() {
    const BEYOND: u64 = 500;
    let watch = Watch::begin(true, &[NOISY]);
    let maps = watch.engine.maps();
    for (id, others) in [(1, 0), (2, wire::LIMIT_OTHERS)] {
        maps.set_limits(id, &limits(1, others)).expect("the profile is there");
        maps.set_profile(id, &watch.profile).expect("the profile is there");
    }
    let sampled_of = |calls| {
        let before = watch.account(NOISY);
        watch.make_calls(NOISY, calls);
        let after = watch.account(NOISY);
        assert_eq!(after.submitted() + after.sampled - before.submitted() - before.sampled, calls);
        after.sampled - before.sampled
    };
    assert!(sampled_of(BURST + BEYOND) > 0);
    for _ in 0..2 {
        maps.set_container(NOISY, &Container::watched(2, 0)).expect("slot 1 is there");
        assert_eq!(sampled_of(BEYOND), 0, "whoever has no limit gets every call");
        maps.set_container(NOISY, &Container::watched(1, 0)).expect("slot 1 is there");
        assert_eq!(sampled_of(BURST), 0);
        assert!(sampled_of(BURST + BEYOND) > 0);
        maps.set_container(NOISY, &Container::watched(1, 0)).expect("slot 1 is there");
        assert!(sampled_of(BURST) > 0, "the same profile is no new one");
        watch.read();
    }
}

/// Nanoseconds a call, from outside, of a ring that holds them all.
#[test]
#[ignore = "a measurement: cargo test --release -p kubeward-bpf --test root_share -- --ignored --nocapture"]
fn measure_what_a_share_adds_to_a_record() {
    const CALLS_TIMED: u64 = 200_000;
    let time = |is_shared| {
        let watch = Watch::with_ring(64 << 20, is_shared, &[NOISY]);
        let begin = Instant::now();
        watch.make_calls(NOISY, CALLS_TIMED);
        let took = begin.elapsed();
        assert_eq!(watch.account(NOISY).submitted(), CALLS_TIMED);
        took.as_nanos() as u64 / CALLS_TIMED
    };
    for name in ["one", "two", "three", "four", "five"] {
        println!("{name}: a ring that is not shared {} ns, shared {} ns", time(false), time(true));
    }
}
