//! The exact table against a program that counts for itself. Needs root and a C compiler.
//!
//! Nobody reads the ring here: it is full after some thousand records, and the table must not care. `KUBEWARD_PROBE_BACKEND` names the
//! backend, `auto` without it. In a file of its own: the self-test counts the calls of its whole process.

#[path = "../../kubeward/tests/root/witness.rs"]
mod witness;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes};
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::wire::{self, Account, Container, Profile, Times, TimesKey, CALLS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::container::ContainerSlot;
use kubeward_core::syscall;

const SLOT: ContainerSlot = ContainerSlot(1);
const RING_BYTES: u32 = 256 << 10;
const THREADS: u64 = 8;
const ROUNDS: u64 = 2_000;

/// The calls that the witness counts.
const CALLED: [&str; 10] =
    ["getppid", "dup", "lseek", "openat", "mkdir", "kill", "pread64", "getcwd", "exit", "exit_group"];

/// Calls by name and result, an errno or `unfinished`.
type Results = BTreeMap<(String, String), u64>;

/// The kernel side with one container, and nobody who reads what it records.
struct Watch {
    engine: Arc<Engine>,
    probes: Probes,
    profiles: u32,
    _alone: MutexGuard<'static, ()>,
}

impl Watch {
    fn begin(options: &LoadOptions) -> Self {
        let backend = std::env::var("KUBEWARD_PROBE_BACKEND");
        Self::begin_by(options, backend.map_or(Backend::Auto, |name| name.parse().expect("it names a backend")))
    }

    fn begin_by(options: &LoadOptions, backend: Backend) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let engine = Arc::new(Engine::load(options).expect("the object loads"));
        let probes = Probes::new(engine.clone(), backend).expect("some backend works here");
        println!("{}", probes.explain().join("\n"));
        Self { engine, probes, profiles: 0, _alone: alone }
    }

    /// Opens the slot anew, with `want` of each of these calls.
    fn open(&mut self, calls: &[&str], want: u8, stage: u32) {
        self.open_slot(SLOT, calls, want, stage);
    }

    fn open_slot(&mut self, slot: ContainerSlot, calls: &[&str], want: u8, stage: u32) {
        let each: Vec<_> = calls.iter().map(|name| (*name, want)).collect();
        self.open_slot_for(slot, &each, stage);
    }

    /// Each call with what is wanted of it.
    fn open_slot_for(&mut self, slot: ContainerSlot, calls: &[(&str, u8)], stage: u32) {
        let (mut wants, mut asked) = ([0; CALLS], [0; CALLS]);
        for (name, want) in calls {
            let want = *want;
            let moments = if want & wire::WANT_CALL != 0 { HOOK_ENTER | HOOK_EXIT } else { HOOK_EXIT };
            let call = syscall::by_name(name).expect("the catalogue has it");
            (wants[usize::from(call.nr)], asked[usize::from(call.nr)]) = match *name {
                "exit" | "exit_group" => (wire::WANT_ENTER | want & wire::WANT_COUNT, HOOK_ENTER),
                _ => (want, moments),
            };
        }
        let (errors, min_duration_ns, arg_bytes, argv_bytes) = ([0; wire::ERRNO_WORDS], 0, 256, 4096);
        let profile = Profile { want: wants, errors, min_duration_ns, arg_bytes, argv_bytes };
        assert_eq!(self.probes.apply(&asked).refused, []);
        self.profiles += 1;
        let maps = self.engine.maps();
        maps.set_profile(self.profiles, &profile).expect("there are 1023");
        // An exec in this mount namespace does not begin the workload: the witness's own may be just over when it is tagged.
        let mnt_ns = std::fs::metadata("/proc/self/ns/mnt").expect("/proc is mounted").ino() as u32;
        maps.open_slot(slot, &Container::watched(self.profiles, mnt_ns), stage).expect("there are so many");
    }

    /// Runs the witness as the container. What it counted.
    fn run_witness(&self) -> Results {
        let mut command = Command::new(witness::witness("results"));
        let (threads, rounds) = (THREADS.to_string(), ROUNDS.to_string());
        let text = self.run(SLOT, command.args([threads, rounds]));
        let mut results = Results::new();
        for line in text.lines() {
            let [name, result, count] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            *results.entry((name.to_owned(), result.to_owned())).or_default() +=
                count.parse::<u64>().expect("a number");
        }
        assert_eq!(results.len(), 18, "{results:?}");
        results
    }

    /// Runs one that waits for a byte, as the container of this slot. What it said.
    fn run(&self, slot: ContainerSlot, command: &mut Command) -> String {
        let mut child = piped(command);
        let pidfd = Pidfd::open(child.id()).expect("it waits");
        self.engine.maps().tag_task(pidfd.as_fd(), slot.0).expect("it waits");
        child.stdin.take().expect("it is piped").write_all(b"x").expect("it waits for this");
        let output = child.wait_with_output().expect("it is our child");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it prints ASCII")
    }

    /// Runs one whose calls of getpgid fail with each errno up to `results`.
    fn make_up_results(&self, slot: ContainerSlot, results: u32) {
        self.run(slot, Command::new(witness::witness("made_up")).arg(results.to_string()));
    }

    /// The account when no call is under way.
    fn account(&self) -> Account {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let account = self.engine.maps().account(SLOT).expect("the map can be read");
            if account.entered == account.left {
                return account;
            }
            assert!(Instant::now() < deadline, "calls do not end: {account:?}");
            std::thread::yield_now();
        }
    }

    fn times(&self) -> Vec<(TimesKey, Times)> {
        self.engine.maps().table().expect("the map can be read").times
    }

    /// The table of one stage, and all that is in it of whatever slot.
    fn table(&self, stage: u32) -> (Results, u64) {
        let rows = self.engine.maps().table().expect("the map can be read").results();
        let all = rows.values().sum();
        let of_stage = rows.iter().filter(|(key, _)| u32::from(key.stage) == stage && u32::from(key.slot) == SLOT.0);
        let results = of_stage.map(|(key, calls)| {
            let name = syscall::by_nr(key.nr.into()).expect("the catalogue has it").name.to_owned();
            match key.flags {
                0 => ((name, key.error.to_string()), *calls),
                wire::TABLE_UNFINISHED => ((name, "unfinished".to_owned()), *calls),
                flags => panic!("{name} has flags {flags}"),
            }
        });
        (results.collect(), all)
    }
}

fn small_table(entries: u32, has_first_results: bool) -> LoadOptions {
    LoadOptions { ring_bytes: RING_BYTES, table_entries: Some(entries), has_first_results, ..LoadOptions::default() }
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs")
}

fn sum(results: &Results) -> u64 {
    results.values().sum()
}

#[test]
fn root_table_is_what_the_witness_counted_while_the_ring_runs_over() {
    let mut watch = Watch::begin(&LoadOptions { ring_bytes: RING_BYTES, ..LoadOptions::default() });
    watch.open(&CALLED, wire::WANT_CALL, wire::STAGE_RUN);
    let counted = watch.run_witness();
    let account = watch.account();
    assert_eq!(watch.table(wire::STAGE_RUN), (counted.clone(), account.seen()), "{account:?}");
    assert_eq!(sum(&counted), THREADS * ROUNDS * 16 + THREADS + 1);
    assert!(account.lost_ring > account.submitted(), "{account:?}");
    assert_eq!((account.submitted() + account.lost_ring, account.untabled), (account.seen(), 0), "{account:?}");

    let times = watch.times();
    let timed: u64 = times.iter().map(|(_, times)| times.calls).sum();
    assert_eq!((timed, account.untimed), (THREADS * ROUNDS * 16, 0), "all but the calls that never return");
    for (key, times) in times {
        let least = (times.calls << key.power) * u64::from(key.power > 0);
        assert!((least..times.calls << (key.power + 1)).contains(&times.total_ns), "{key:?} {times:?}");
    }
}

#[test]
fn root_calls_that_are_only_to_be_counted_make_no_record() {
    let mut watch = Watch::begin(&LoadOptions { ring_bytes: RING_BYTES, ..LoadOptions::default() });
    watch.open(&CALLED, wire::WANT_EXIT | wire::WANT_COUNT, wire::STAGE_RUN);
    let counted = watch.run_witness();
    let account = watch.account();
    assert_eq!(watch.table(wire::STAGE_RUN), (counted, account.seen()), "{account:?}");
    let told = (account.filtered_count, account.submitted(), account.lost_ring, account.unreadable, account.no_buffer);
    assert_eq!(told, (account.seen(), 0, 0, 0, 0), "{account:?}");
    assert_eq!(watch.times(), [], "no entry was watched");
}

#[test]
fn root_slot_that_is_opened_again_begins_with_nothing() {
    let mut watch = Watch::begin(&LoadOptions::default());
    watch.open(&CALLED, wire::WANT_EXIT | wire::WANT_COUNT, wire::STAGE_SETUP);
    let counted = watch.run_witness();
    let account = watch.account();
    assert_eq!((account.filtered_setup, account.filtered_count), (account.seen(), 0), "{account:?}");
    assert_eq!(watch.table(wire::STAGE_SETUP), (counted, account.seen()), "{account:?}");
    watch.engine.maps().close_slot(SLOT).expect("slot 1 is there");

    watch.open(&["dup", "getcwd"], wire::WANT_EXIT | wire::WANT_COUNT, wire::STAGE_RUN);
    assert_eq!(watch.table(wire::STAGE_SETUP), (Results::new(), 0), "nothing is left of the container before");
    let counted = watch.run_witness();
    let expected: Results = counted.into_iter().filter(|((name, _), _)| ["dup", "getcwd"].contains(&&**name)).collect();
    let account = watch.account();
    assert_eq!(watch.table(wire::STAGE_RUN), (expected.clone(), account.seen()), "{account:?}");
    assert_eq!(account.seen(), sum(&expected));
}

#[test]
fn root_full_table_counts_what_it_has_no_room_for() {
    const ENTRIES: u32 = 5;
    let options = small_table(ENTRIES, false);
    let mut watch = Watch::begin(&options);
    for want in [wire::WANT_EXIT, wire::WANT_CALL] {
        watch.open(&CALLED, want, wire::STAGE_RUN);
        let counted = watch.run_witness();
        let account = watch.account();
        let (table, all) = watch.table(wire::STAGE_RUN);
        assert_eq!(watch.engine.maps().table().expect("the map can be read").counts.len(), ENTRIES as usize);
        for (key, calls) in &table {
            // Of timed calls some may have had no room.
            let is_whole = want == wire::WANT_EXIT;
            assert!(
                counted.get(key).is_some_and(|made| calls == made || calls < made && !is_whole),
                "{key:?}: {calls}"
            );
        }
        assert_eq!(all + account.untabled, account.seen(), "{account:?}");
        assert_eq!(account.seen(), sum(&counted), "{account:?}");
    }
    let account = watch.account();
    let timed: u64 = watch.times().iter().map(|(_, times)| times.calls).sum();
    assert_eq!(timed + account.untimed, THREADS * ROUNDS * 16, "{account:?}");
    assert!(account.untimed > 0, "{account:?}");
}

#[test]
fn root_call_is_counted_once_wherever_there_is_room() {
    const ENTRIES: u32 = 5;
    let mut watch = Watch::begin(&small_table(ENTRIES, true));
    let told_at_exit = ["getppid", "dup", "lseek", "openat"];
    let want = |name: &&str| if told_at_exit.contains(name) { wire::WANT_EXIT } else { wire::WANT_CALL };
    let calls: Vec<_> = CALLED.iter().map(|name| (*name, want(name))).collect();
    watch.open_slot_for(SLOT, &calls, wire::STAGE_RUN);
    let counted = watch.run_witness();
    let account = watch.account();
    let table = watch.engine.maps().table().expect("the map can be read");
    let first = table.counts.len() - ENTRIES as usize;
    assert!((1..=wire::FIRST_RESULTS).contains(&first), "{first} results have a place of their own");
    let untimed: u64 = table.counts.iter().map(|(_, calls)| calls).sum();
    let timed: u64 = table.times.iter().map(|(_, times)| times.calls).sum();
    assert_eq!(untimed + timed + account.untabled, account.seen(), "{account:?}");
    assert_eq!(account.seen(), sum(&counted), "{account:?}");
    assert!(timed > 0 && account.untabled > 0, "{account:?}");
    for (key, calls) in watch.table(wire::STAGE_RUN).0 {
        assert!(counted.get(&key).is_some_and(|made| calls <= *made), "{key:?}: {calls}");
    }
}

/// How often getpgid failed with each errno.
fn made_up(watch: &Watch, slot: ContainerSlot) -> Vec<(u16, u64)> {
    let getpgid = syscall::by_name("getpgid").expect("the catalogue has it").nr;
    let mut rows = watch.engine.maps().table().expect("the map can be read").results();
    rows.retain(|key, _| u32::from(key.slot) == slot.0 && key.nr == getpgid);
    rows.into_iter().map(|(key, calls)| (key.error, calls)).collect()
}

#[test]
fn root_errors_that_no_kernel_returns_are_one_result() {
    // Only the raw tracepoint sees what seccomp answers.
    let mut watch = Watch::begin_by(&LoadOptions::default(), Backend::Tracepoint);
    watch.open(&["getpgid"], wire::WANT_EXIT | wire::WANT_COUNT, wire::STAGE_RUN);
    watch.make_up_results(SLOT, 1_000);
    let expected: Vec<_> = (1..576).map(|errno| (errno, 1)).chain([(wire::ERRNO_OTHER, 1_000 - 575)]).collect();
    assert_eq!(made_up(&watch, SLOT), expected);
    assert_eq!(watch.account().untabled, 0);
}

#[test]
fn root_container_that_makes_up_results_leaves_room_to_others() {
    const ENTRIES: u32 = 160;
    const RESULTS: u32 = 400;
    let options = small_table(ENTRIES, false);
    let mut watch = Watch::begin_by(&options, Backend::Tracepoint);
    watch.engine.maps().share_table().expect("the settings can be written");
    let want = wire::WANT_EXIT | wire::WANT_COUNT;
    let (noisy, second) = (ContainerSlot(2), ContainerSlot(3));
    let calls = [&CALLED[..], &["getpgid"]].concat();
    for slot in [noisy, second, SLOT] {
        watch.open_slot(slot, &calls, want, wire::STAGE_RUN);
    }
    let untabled = |slot| watch.engine.maps().account(slot).expect("the map can be read").untabled;
    watch.make_up_results(noisy, RESULTS);
    // No result of an earlier call is pushed out, and what has a key is counted on. Its own end has none any more.
    let half: Vec<(u16, u64)> = (1..=80).map(|errno| (errno, 1)).collect();
    assert_eq!((made_up(&watch, noisy), untabled(noisy)), (half.clone(), u64::from(RESULTS) - 80 + 1));
    watch.make_up_results(noisy, 40);
    let again: Vec<_> = half.iter().map(|(errno, _)| (*errno, if *errno <= 40 { 2 } else { 1 })).collect();
    assert_eq!(made_up(&watch, noisy), again);
    watch.make_up_results(second, RESULTS);
    assert_eq!(made_up(&watch, second), half[..40], "half of what is free");

    let counted = watch.run_witness();
    assert_eq!(watch.table(wire::STAGE_RUN).0, counted, "the quiet one's results are all there");
    assert_eq!(untabled(SLOT), 0);

    // A container that is gone has left its room to the next.
    for slot in [noisy, second] {
        watch.engine.maps().close_slot(slot).expect("there are so many");
    }
    watch.engine.maps().clean_slots(&[noisy, second].into()).expect("the maps can be written");
    watch.open_slot(noisy, &calls, want, wire::STAGE_RUN);
    watch.make_up_results(noisy, RESULTS);
    let free = ENTRIES as usize - counted.len();
    assert_eq!(made_up(&watch, noisy).len(), free.div_ceil(2));
}

#[test]
fn root_first_results_of_a_container_take_nothing_of_the_table() {
    const ENTRIES: u32 = 160;
    const RESULTS: u32 = 400;
    let mut watch = Watch::begin_by(&small_table(ENTRIES, true), Backend::Tracepoint);
    watch.engine.maps().share_table().expect("the settings can be written");
    let noisy = ContainerSlot(2);
    let calls = [&CALLED[..], &["getpgid"]].concat();
    for slot in [noisy, SLOT] {
        watch.open_slot(slot, &calls, wire::WANT_EXIT | wire::WANT_COUNT, wire::STAGE_RUN);
    }
    watch.make_up_results(noisy, RESULTS);
    let rows = made_up(&watch, noisy);
    let first = rows.len() - ENTRIES as usize / 2;
    assert!((1..=wire::FIRST_RESULTS).contains(&first), "{first} beside half of the table");
    assert!(rows.iter().all(|(_, calls)| *calls == 1), "{rows:?}");
    let account = watch.engine.maps().account(noisy).expect("the map can be read");
    // Its own end may have no room.
    assert_eq!((account.seen(), rows.len() as u64 + account.untabled), (u64::from(RESULTS) + 1, account.seen()));
    let counted = watch.run_witness();
    assert_eq!(watch.table(wire::STAGE_RUN).0, counted, "the quiet one's results are all there");
    assert_eq!(watch.account().untabled, 0);
}
