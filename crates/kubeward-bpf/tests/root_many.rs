//! More than seventy kinds of calls from many threads, refused, failing and interrupted ones among them: accounts, table and
//! records against the program's own counts. Needs root and a C compiler.
//!
//! `KUBEWARD_PROBE_BACKEND` names the backend, `auto` without it: that and `tracepoint` are exact on every kernel. Under the others
//! what is not seen are calls that seccomp refused, which never enter their functions, and at most as many as the kernel says that
//! it skipped. `KUBEWARD_TEST_FULL=1` makes ten million calls. In a file of its own: the self-test counts the calls of its whole
//! process.

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
use kubeward_bpf::read::{Reader, RecordSink};
use kubeward_bpf::wire::{self, Account, Container, Profile, Record, Wire, CALLS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::container::ContainerSlot;
use kubeward_core::event::Probe;
use kubeward_core::syscall::{self, Category};

const SLOT: ContainerSlot = ContainerSlot(1);

/// Calls by number and errno; `None`: it never returned.
type Results = BTreeMap<(u16, Option<u16>), u64>;

/// What `many` is asked for.
#[derive(Clone, Copy)]
struct Load {
    rounds: u64,
    slow_rounds: u64,
    pairs: u64,
}

impl Load {
    const LEAST: Load = Load { rounds: 1, slow_rounds: 1, pairs: 1 };

    /// Some 80 calls a round and thread: ten million in all, or a third of one, or what `KUBEWARD_MANY` says.
    fn now() -> Self {
        if let Ok(numbers) = std::env::var("KUBEWARD_MANY") {
            let numbers: Vec<u64> = numbers.split(' ').map(|word| word.parse().expect("a number")).collect();
            let [rounds, slow_rounds, pairs] = numbers[..] else { panic!("KUBEWARD_MANY is ROUNDS SLOW_ROUNDS PAIRS") };
            return Self { rounds, slow_rounds, pairs };
        }
        let is_full = std::env::var("KUBEWARD_TEST_FULL").is_ok_and(|value| value == "1");
        if is_full {
            Self { rounds: 19_000, slow_rounds: 500, pairs: 4 }
        } else {
            Self { rounds: 500, slow_rounds: 25, pairs: 4 }
        }
    }

    fn witness(self) -> Command {
        let mut command = Command::new(witness::witness("many"));
        command.args([self.rounds, self.slow_rounds, self.pairs].map(|number| number.to_string()));
        command
    }

    /// Runs it; it begins once `watch` has seen it.
    fn run(self, watch: impl FnOnce(&Child)) -> Results {
        let mut child = self.witness().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        watch(&child);
        child.stdin.take().expect("it is piped").write_all(b"x").expect("it waits for this");
        let output = child.wait_with_output().expect("it is our child");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("it prints ASCII");
        let numbers = text.lines().map(|line| {
            let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
            let [nr, errno, count] = numbers[..] else { panic!("{line}") };
            ((nr as u16, (!never_returns(nr as u16)).then_some(errno as u16)), count)
        });
        numbers.collect()
    }
}

fn never_returns(nr: u16) -> bool {
    ["exit", "exit_group"].iter().any(|name| syscall::by_name(name).expect("the catalogue has it").nr == nr)
}

/// Counts records as the ring tells them.
#[derive(Debug, Default)]
struct Told {
    results: Results,
    refused: Results,
}

impl RecordSink for Told {
    fn record(&mut self, bytes: &[u8]) {
        let record = Record::read_from(bytes).expect("a record has its header");
        if record.kind != wire::KIND_CALL {
            return;
        }
        let errno = if (-4095..0).contains(&record.ret) { (-record.ret) as u16 } else { 0 };
        let result = (record.nr, (record.phase != wire::PHASE_ENTER).then_some(errno));
        *self.results.entry(result).or_default() += 1;
        if record.flags & wire::RECORD_REFUSED != 0 {
            *self.refused.entry(result).or_default() += 1;
        }
    }

    fn drained(&mut self) {}
}

/// What came of one run.
struct Outcome {
    counted: Results,
    account: Account,
    table: Results,
    told: Told,
    skipped: u64,
    /// All calls come by sys_exit, which shows those that a filter refused too.
    sees_refused: bool,
    /// No call comes by a hook whose programs the kernel skips beside a task that it has preempted within bpf(2).
    is_tp_btf: bool,
}

impl Outcome {
    /// What the hooks could show of what the witness counted. No call of a kind that a filter refused is made otherwise.
    fn shown(&self) -> Results {
        let unseen = if self.sees_refused { Results::new() } else { refused(&self.counted) };
        let shown = self.counted.iter().filter(|(key, _)| !unseen.contains_key(*key));
        shown.map(|(key, count)| (*key, *count)).collect()
    }
}

fn backend() -> Backend {
    let named = std::env::var("KUBEWARD_PROBE_BACKEND");
    named.map_or(Backend::Auto, |name| name.parse().expect("it names a backend"))
}

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Watches every kind of call that the witness makes, each from entry to return.
fn watch(load: Load, ring_bytes: u32) -> Outcome {
    let engine =
        Arc::new(Engine::load(&LoadOptions { ring_bytes, ..LoadOptions::default() }).expect("the object loads"));
    let mut probes = Probes::new(engine.clone(), backend()).expect("some backend works here");
    println!("{}", probes.explain().join("\n"));
    let (profile, asked) = profile_of(&Load::LEAST.run(|_| ()));
    assert_eq!(probes.apply(&asked).refused, []);
    let maps = engine.maps();
    maps.set_profile(1, &profile).expect("there are 1023");
    // An exec in this mount namespace does not begin the workload: the stage is the test's to say.
    let mnt_ns = std::fs::metadata("/proc/self/ns/mnt").expect("/proc is mounted").ino() as u32;
    maps.open_slot(SLOT, &Container::watched(1, mnt_ns), wire::STAGE_RUN).expect("slot 1 is there");
    let reader = Reader::spawn(engine.clone(), Told::default()).expect("a thread");
    let counted = load.run(|child| {
        wait_until_asleep(child.id());
        let pidfd = Pidfd::open(child.id()).expect("it waits");
        maps.tag_task(pidfd.as_fd(), SLOT.0).expect("it waits");
    });
    let account = account_at_rest(&engine);
    let (told, read) = reader.stop();
    read.expect("the ring can be read");
    let rows = maps.table().expect("the map can be read").results();
    let table = rows.iter().map(|(key, calls)| {
        assert_eq!((u32::from(key.slot), key.flags & !wire::TABLE_UNFINISHED), (SLOT.0, 0), "{key:?}");
        ((key.nr, (key.flags & wire::TABLE_UNFINISHED == 0).then_some(key.error)), *calls)
    });
    let is_raw = |probe| matches!(probe, Probe::TpBtf | Probe::Tracepoint);
    let attached = probes.report().attached;
    Outcome {
        counted,
        account,
        table: table.collect(),
        told,
        skipped: probes.skipped(),
        sees_refused: attached.iter().all(|hook| is_raw(hook.probe)),
        is_tp_btf: attached.iter().all(|hook| hook.probe == Probe::TpBtf),
    }
}

fn profile_of(kinds: &Results) -> (Profile, [u8; CALLS]) {
    let (mut want, mut asked) = ([0; CALLS], [0; CALLS]);
    for nr in kinds.keys().map(|(nr, _)| *nr) {
        let moments =
            if never_returns(nr) { (wire::WANT_ENTER, HOOK_ENTER) } else { (wire::WANT_CALL, HOOK_ENTER | HOOK_EXIT) };
        (want[usize::from(nr)], asked[usize::from(nr)]) = moments;
    }
    (Profile { want, errors: [0; wire::ERRNO_WORDS], min_duration_ns: 0, arg_bytes: 256, argv_bytes: 4096 }, asked)
}

fn wait_until_asleep(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_asleep = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).expect("it lives");
        program.ends_with("many") && stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
    };
    while !is_asleep() {
        assert!(Instant::now() < deadline, "{pid} does not wait for its input");
        std::thread::yield_now();
    }
}

/// The account when no call is under way.
fn account_at_rest(engine: &Engine) -> Account {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let account = engine.maps().account(SLOT).expect("the map can be read");
        if account.entered == account.left {
            return account;
        }
        assert!(Instant::now() < deadline, "calls do not end: {account:?}");
        std::thread::yield_now();
    }
}

fn sum(results: &Results) -> u64 {
    results.values().sum()
}

/// Where the two differ, readable.
fn assert_same(found: &Results, counted: &Results, what: &str) {
    let keys = found.keys().chain(counted.keys()).copied().collect::<std::collections::BTreeSet<_>>();
    let differ = keys.into_iter().filter(|key| found.get(key) != counted.get(key)).map(|key| {
        let name = syscall::by_nr(key.0.into()).map_or("?", |call| call.name);
        format!("{name} {:?}: {:?}, counted {:?}", key.1, found.get(&key), counted.get(&key))
    });
    let differ: Vec<String> = differ.collect();
    assert!(differ.is_empty(), "{what}: {}", differ.join("; "));
}

/// Of calls that a filter refused. None of them is made otherwise.
fn refused(counted: &Results) -> Results {
    let refused = ["mount", "swapon", "acct", "quotactl", "ptrace"].map(|name| syscall::by_name(name).expect(name).nr);
    counted.iter().filter(|((nr, _), _)| refused.contains(nr)).map(|(key, count)| (*key, *count)).collect()
}

/// The account adds up, and misses no more than the kernel skipped.
fn assert_adds_up(outcome: &Outcome) {
    let Outcome { counted, account, table, told, skipped, .. } = outcome;
    let entered = sum(counted) - sum(&refused(counted));
    assert!(
        (entered.saturating_sub(*skipped)..=sum(counted)).contains(&account.seen()),
        "{entered} {skipped} {account:?}"
    );
    assert_eq!(sum(table) + account.untabled, account.seen(), "{account:?}");
    let lost = account.lost_ring + account.lost_return + account.lost_storage;
    assert_eq!(account.submitted() + lost, account.seen(), "{account:?}");
    assert_eq!(sum(&told.results), account.submitted(), "{account:?}");
    println!(
        "{} calls, {} seen, {skipped} runs skipped, {} returns lost",
        sum(counted),
        account.seen(),
        account.lost_return
    );
}

/// Accounts and table say what the witness counted, and every record is where the account says. What the kernel skipped beside that
/// were calls of other tasks: where it preempts itself, one that is interrupted within bpf(2) has the runs of classic tracepoints and
/// kprobes skipped on its processor. Of tp_btf, which is taken where it is not preempted, none are.
fn assert_exact(outcome: &Outcome) {
    let Outcome { account, table, told, skipped, .. } = outcome;
    let counted = &outcome.shown();
    assert_eq!(sum(table), account.seen(), "{account:?}");
    assert_same(table, counted, "the table");
    assert_eq!(account.seen(), sum(counted), "{account:?}");
    assert_eq!(account.submitted() + account.lost_ring, account.seen(), "{account:?}");
    assert_eq!(sum(&told.results), account.submitted(), "{account:?}");
    let other = (account.lost_return, account.lost_storage, account.lost_share, account.untabled, account.sampled);
    assert_eq!(other, (0, 0, 0, 0, 0), "{account:?}");
    if outcome.is_tp_btf {
        assert_eq!(*skipped, 0, "{account:?}");
    }
    println!(
        "{} calls of {} kinds, {} records lost, {skipped} runs skipped for other tasks: accounts and table exact",
        sum(counted),
        kinds(counted).len(),
        account.lost_ring
    );
}

fn kinds(counted: &Results) -> std::collections::BTreeSet<u16> {
    counted.keys().map(|(nr, _)| *nr).collect()
}

#[test]
fn root_seventy_kinds_of_calls_are_in_accounts_table_and_records() {
    let _alone = alone();
    let outcome = watch(Load::now(), 128 << 20);
    let Outcome { counted, account, told, .. } = &outcome;
    if !matches!(backend(), Backend::Auto | Backend::Tracepoint) {
        return assert_adds_up(&outcome);
    }
    assert_exact(&outcome);
    assert!(kinds(counted).len() > 60, "{}", kinds(counted).len());
    let categories = kinds(counted).into_iter().filter_map(|nr| syscall::by_nr(nr.into())).map(|call| call.category);
    let categories: std::collections::BTreeSet<String> = categories.map(|category| format!("{category:?}")).collect();
    let missing: Vec<_> = Category::nine().iter().filter(|one| !categories.contains(&format!("{one:?}"))).collect();
    assert!(missing.is_empty(), "no call of {missing:?}");
    if account.lost_ring == 0 {
        let shown = outcome.shown();
        assert_same(&told.results, &shown, "the records");
        assert_same(&told.refused, &refused(&shown), "what seccomp refused");
    }
}

#[test]
fn root_seventy_kinds_of_calls_are_in_accounts_and_table_while_the_ring_runs_over() {
    let _alone = alone();
    // A machine so slow that it is asked for less does not outrun the reader of a larger one.
    let ring_bytes = if std::env::var_os("KUBEWARD_MANY").is_some() { 4096 } else { 256 << 10 };
    let outcome = watch(Load::now(), ring_bytes);
    if !matches!(backend(), Backend::Auto | Backend::Tracepoint) {
        return assert_adds_up(&outcome);
    }
    assert_exact(&outcome);
    assert!(outcome.account.lost_ring > 0, "the ring was to run over: {:?}", outcome.account);
}
