//! Records as the kernel side would write them, through the whole pipeline.

use std::collections::BTreeMap;
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex};

use kubeward_bpf::read::RecordSink;
use kubeward_bpf::wire::{self, Record, Wire};
use kubeward_core::container::{Container, ContainerId, ContainerSlot};
use kubeward_core::event::{Call, Stage, Via};
use kubeward_core::ledger::{FilterReason, LossReason};
use kubeward_core::policy::{load, PolicySet};
use kubeward_core::redact::Redactor;
use kubeward_core::render::json::JsonLines;
use kubeward_core::render::line::{NoticeLevel, Stream};
use kubeward_core::syscall::by_name;
use kubeward_core::table::{CallKey, CallResult, CallTable};
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use super::*;
use crate::heartbeat::Heartbeat;

#[path = "coalesce_tests.rs"]
mod coalesce;
#[path = "coverage_tests.rs"]
mod coverage;
#[path = "gap_tests.rs"]
mod gap;
#[path = "held_tests.rs"]
mod held;
#[path = "last_account_tests.rs"]
mod last_account;

const A: ContainerSlot = ContainerSlot(1);
const B: ContainerSlot = ContainerSlot(2);
const WATCHED: Watched = Watched { created_ns: 7, since_ns: 7 };

/// What the output took, by line with its owner, and what it is to lose.
#[derive(Debug, Default)]
struct Taken {
    lines: Vec<(Option<ContainerSlot>, Value)>,
    losses: Losses,
    marked_ns: u64,
}

#[derive(Debug, Default, Clone)]
struct FakeOutput(Arc<Mutex<Taken>>);

impl FakeOutput {
    fn with<T>(&self, look: impl FnOnce(&mut Taken) -> T) -> T {
        look(&mut self.0.lock().expect("no test panics while it holds this"))
    }

    /// Lines of a kind, in order.
    fn of(&self, kind: &str) -> Vec<Value> {
        self.with(|taken| {
            taken.lines.iter().map(|(_, line)| line).filter(|line| line["kind"] == kind).cloned().collect()
        })
    }
}

impl EventOutput for FakeOutput {
    fn mark(&mut self, moment_ns: u64) {
        self.with(|taken| taken.marked_ns = moment_ns);
    }

    fn written_until(&self) -> u64 {
        self.with(|taken| taken.marked_ns)
    }

    fn line(&mut self, owner: Option<ContainerSlot>, render: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut line = Vec::new();
        render(&mut line);
        let line = serde_json::from_slice(&line).expect("a line is JSON");
        self.with(|taken| taken.lines.push((owner, line)));
    }

    fn flush(&mut self) {}

    fn take_losses(&mut self) -> Losses {
        self.with(|taken| std::mem::take(&mut taken.losses))
    }

    fn settle(&mut self) {}

    fn reopen(&mut self) {}
}

/// The kernel side's accounts, as a test sets them.
type Kernel = Arc<Mutex<BTreeMap<ContainerSlot, wire::Account>>>;

/// The kernel side's table, as a test sets it: which container's mkdir ended how, and how often.
type KernelResults = Arc<Mutex<Vec<(ContainerSlot, CallResult, u64)>>>;

fn table_of(results: &[(ContainerSlot, CallResult, u64)]) -> CallTable {
    let mut table = CallTable::new(100);
    let entry = by_name("mkdir").expect("the catalogue has it");
    let call = Call { via: Via::Syscall, nr: entry.nr.into(), entry: Some(entry) };
    for &(slot, result, count) in results {
        table.add(CallKey::new(slot, Stage::Run, &call), call, result, count);
    }
    table
}

struct Rig {
    pipeline: Pipeline,
    commands: Commands,
    output: FakeOutput,
    kernel: Kernel,
    table: KernelResults,
    freed: Receiver<ContainerSlot>,
    set: Arc<PolicySet>,
    heartbeat: Heartbeat,
}

impl Rig {
    fn new(spec: &str) -> Self {
        let set = policies("web", spec);
        let (commands, receiver) = commands();
        let (freed_sender, freed) = channel();
        let (output, kernel) = (FakeOutput::default(), Kernel::default());
        let heartbeat = Heartbeat::default();
        let (accounts, table) = (kernel.clone(), KernelResults::default());
        let results = table.clone();
        let stream = Stream { node: "n1".to_owned(), cluster: None, run: "r".to_owned(), event_labels: Vec::new() };
        let pipeline = Pipeline::new(Parts {
            kernel_accounts: KernelAccounts::of_each(move |slot| {
                accounts.lock().expect("no test panics with it").get(&slot).copied()
            }),
            kernel_table: Box::new(move || Some(table_of(&results.lock().expect("no test panics with it")))),
            commands: receiver,
            policies: set.clone(),
            redactor: Redactor::new(&[]).expect("no patterns"),
            lines: Lines::Json(JsonLines::new(&stream)),
            output: Box::new(output.clone()),
            freed: Some(freed_sender),
            heartbeat: heartbeat.clone(),
            own_output: OwnOutput::default(),
            loops: watch::Sender::default(),
            coverage: Coverage::default(),
        });
        Self { pipeline, commands, output, kernel, table, freed, set, heartbeat }
    }

    fn open(&self, slot: ContainerSlot, id: &str) {
        let container = container(id);
        let selected = self.set.select(&container);
        assert!(self.commands.send(Command::Open { slot, container, selected, watched: WATCHED }));
    }

    /// The kernel side saw this record and put it into the ring; it is read now.
    fn record(&mut self, record: &Record) {
        self.change_kernel(ContainerSlot(record.slot), |account| {
            account.at_once += 1;
        });
        self.pipeline.record(record.as_bytes());
    }

    fn change_kernel(&self, slot: ContainerSlot, change: impl FnOnce(&mut wire::Account)) {
        change(self.kernel.lock().expect("no test panics with it").entry(slot).or_default());
    }
}

fn policies(name: &str, spec: &str) -> Arc<PolicySet> {
    let text = format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    let (policies, faults) = load("a.yaml", text.as_bytes());
    assert!(faults.is_empty(), "{faults:?}");
    Arc::new(PolicySet::new(policies).0)
}

fn container(id: &str) -> Arc<Container> {
    Arc::new(Container::bare(ContainerId(id.to_owned()), "containerd"))
}

fn record(slot: ContainerSlot, call: &str, ret: i64) -> Record {
    let mut record = Record::read_from(&[0; size_of::<Record>()]).expect("the buffer has the struct's size");
    record.kind = wire::KIND_CALL;
    record.phase = wire::PHASE_EXIT;
    record.stage = wire::STAGE_RUN as u8;
    record.probe = wire::PROBE_TP_BTF;
    record.identity = wire::IDENTITY_CGROUP;
    record.nr = by_name(call).expect("the catalogue has it").nr;
    record.slot = slot.0;
    record.ret = ret;
    record.mono_ns = 1;
    (record.pid, record.tid) = (7, 7);
    record.comm[..2].copy_from_slice(b"sh");
    record
}

#[test]
fn every_record_ends_in_one_account_and_the_wanted_ones_in_lines() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}], filter: {errors: [EEXIST]}}");
    rig.open(A, "a");
    for (call, ret) in [("mkdir", -17), ("mkdir", 0), ("rmdir", -17), ("mkdir", -17)] {
        rig.record(&record(A, call, ret));
    }
    rig.change_kernel(A, |account| {
        (account.at_once, account.filtered_setup) = (account.at_once + 5, 5);
    });
    let events = rig.output.of("syscall");
    assert_eq!(events.len(), 2);
    assert_eq!((&events[0]["container"]["id"], &events[0]["policies"]), (&"a".into(), &vec!["web"].into()));
    let finished = rig.pipeline.finish(Doubts::default());
    let account = &finished.accounts[0].1;
    assert!(account.balanced(), "{account:?}");
    assert_eq!((account.seen, account.emitted, account.filtered.total(), account.in_flight), (9, 2, 7, 0));
    let by_reason = &rig.output.of("ledger")[0]["filtered"];
    assert_eq!((&by_reason["errors"], &by_reason["policy"], &by_reason["setup"]), (&1.into(), &1.into(), &5.into()));
}

#[test]
fn container_is_known_before_its_first_record_is_told() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.record(&record(A, "mkdir", 0));
    rig.open(B, "b");
    // The command was sent before the kernel side knew the slot; the reader has not looked at it yet.
    rig.record(&record(B, "mkdir", 0));
    let kinds = rig.output.with(|taken| taken.lines.iter().map(|(_, line)| line["kind"].clone()).collect::<Vec<_>>());
    assert_eq!(kinds, ["container", "syscall"], "and nothing of a container that was never announced");
    let node = rig.pipeline.finish(Doubts::default()).total;
    assert_eq!((node.seen, node.emitted, node.lost.get(LossReason::Decode), node.imbalance()), (2, 1, 1, 0));
}

#[test]
fn container_that_no_policy_selects_is_in_the_node_alone() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}], selector: {namespaces: [other]}}");
    rig.open(A, "a");
    // Of before its name was known, when the kernel side watched it as any policy may want.
    rig.record(&record(A, "mkdir", 0));
    rig.change_kernel(A, |account| account.untabled = 5);
    *rig.table.lock().expect("no test panics with it") = vec![(A, CallResult::Success, 1)];
    let doubts = Doubts::default();
    for is_there in [true, false] {
        let accounts = given(&mut rig, |reply| Command::GiveAccounts { doubts, reply });
        assert!(accounts.containers.is_empty(), "{is_there}");
        let policy = accounts.node.filtered.get(FilterReason::Policy);
        assert_eq!((accounts.node.seen, policy, accounts.node.imbalance()), (1, 1, 0), "{is_there}");
        let table = given(&mut rig, |reply| Command::GiveTable { reply });
        assert_eq!((table.calls.len(), table.overflow), (0, 0), "{is_there}");
        rig.commands.send(Command::Close { slot: A });
        (0..20).for_each(|_| rig.pipeline.drained());
    }
    assert!(rig.output.of("ledger").is_empty());
}

/// What a command that gives something gives.
fn given<T>(rig: &mut Rig, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> T {
    let (reply, mut answer) = oneshot::channel();
    rig.commands.send(command(reply));
    rig.pipeline.drained();
    answer.try_recv().expect("it is answered with the drain")
}

#[test]
fn accounts_are_given_as_the_ledger_would_tell_them() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.record(&record(A, "mkdir", 0));
    rig.record(&record(A, "rmdir", 0));
    let doubts = Doubts { skipped: 1, missed_returns: 2 };
    let accounts = given(&mut rig, |reply| Command::GiveAccounts { doubts, reply });
    let (container, account) = &accounts.containers[0];
    assert_eq!((&*container.id.0, account.seen, account.emitted, account.filtered.total()), ("a", 2, 1, 1));
    assert_eq!((accounts.node, accounts.doubts), (*account, doubts));
    assert!(rig.output.of("ledger").is_empty(), "nothing is told of it in the stream");
}

#[test]
fn table_is_of_containers_that_are_there() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.open(B, "b");
    // One record came through; what the ring could not hold is in the table all the same.
    rig.record(&record(A, "mkdir", 0));
    let results = vec![(A, CallResult::Success, 900), (A, CallResult::Errno(17), 1), (B, CallResult::Success, 3)];
    *rig.table.lock().expect("no test panics with it") = results;
    rig.change_kernel(A, |account| account.untabled = 5);
    rig.change_kernel(B, |account| account.untabled = 1);
    let table = given(&mut rig, |reply| Command::GiveTable { reply });
    let (container, stage, stats) = &table.calls[0];
    assert_eq!((&*container.id.0, *stage, stats.calls(), stats.errors()), ("a", Stage::Run, 901, 1));
    assert_eq!((table.calls.len(), table.used, table.room, table.overflow), (2, 3, 100, 6));

    rig.commands.send(Command::Close { slot: A });
    (0..20).for_each(|_| rig.pipeline.drained());
    // Its slot is not cleaned yet.
    let table = given(&mut rig, |reply| Command::GiveTable { reply });
    assert_eq!(table.calls.iter().map(|(container, ..)| &*container.id.0).collect::<Vec<_>>(), ["b"]);
    assert_eq!((table.used, table.overflow), (3, 6), "what was not counted stays told");
}

#[test]
fn reader_beats_with_every_drain() {
    let mut rig = Rig::new("{}");
    while rig.heartbeat.age().as_millis() == 0 {
        std::hint::spin_loop();
    }
    let before = rig.heartbeat.age();
    rig.pipeline.drained();
    assert!(rig.heartbeat.age() < before, "{before:?}");
}

#[test]
fn program_of_a_process_is_named_by_its_exec() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    let mut exec = record(A, "mkdir", 0);
    (exec.kind, exec.exec_id) = (wire::KIND_EXEC, 99);
    let item = wire::Item { arg: 6, kind: wire::ITEM_PATH, flags: 0, pad: 0, bytes: 8 };
    let path = [item.as_bytes(), b"sh\0bin\0\0"].concat();
    exec.items_bytes = path.len() as u32;
    rig.pipeline.record(&[exec.as_bytes(), &path].concat());
    let mut call = record(A, "mkdir", 0);
    call.exec_id = 99;
    rig.record(&call);
    rig.record(&record(A, "mkdir", 0));
    let events = rig.output.of("syscall");
    assert_eq!((&events[0]["process"]["exe"], &events[1]["process"]["exe"]), (&"/bin/sh".into(), &Value::Null));
}

#[test]
fn lost_records_are_told_and_move_from_emitted_to_lost() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.record(&record(A, "mkdir", 0));
    rig.record(&record(A, "mkdir", 0));
    rig.change_kernel(A, |account| (account.at_once, account.lost_ring) = (account.at_once + 3, 3));
    rig.change_kernel(A, |account| (account.at_once, account.lost_share) = (account.at_once + 5, 5));
    rig.output.with(|taken| taken.losses.insert(A, 1));
    rig.pipeline.drained();
    let finished = rig.pipeline.finish(Doubts { skipped: 4, missed_returns: 0 });
    let account = &finished.accounts[0].1;
    assert!(account.balanced(), "{account:?}");
    assert_eq!((account.emitted, account.lost.total()), (1, 9));
    let gaps = rig.output.of("gap");
    let told: Vec<_> = gaps.iter().map(|gap| (gap["reason"].as_str(), gap["lost"].as_u64())).collect();
    assert_eq!(told[..2], [(Some("ring"), Some(3)), (Some("share"), Some(5))]);
    assert_eq!(rig.output.of("ledger").last().map(|node| node["skipped"].clone()), Some(4.into()));
}

#[test]
fn record_that_cannot_be_read_is_lost_and_the_next_one_is_not() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    let mut broken = record(A, "mkdir", 0);
    broken.phase = 77;
    rig.pipeline.apply_commands();
    rig.record(&broken);
    rig.record(&record(A, "mkdir", 0));
    let finished = rig.pipeline.finish(Doubts::default());
    let account = &finished.accounts[0].1;
    assert_eq!((account.balanced(), account.emitted, account.lost.total()), (true, 1, 1));
}

#[test]
fn other_policies_bring_a_container_into_the_stream() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}], selector: {containers: [b]}}");
    rig.open(A, "a");
    rig.pipeline.drained();
    assert_eq!(rig.output.of("container"), Vec::<Value>::new());
    let set = policies("every", "{syscalls: [{name: mkdir}]}");
    let selected = vec![(A, set.active())];
    rig.commands.send(Command::Policies { set, selected });
    rig.pipeline.drained();
    rig.record(&record(A, "mkdir", 0));
    assert_eq!(rig.output.of("container").len(), 1);
    assert_eq!(rig.output.of("syscall")[0]["policies"], Value::from(vec!["every"]));
}

#[test]
fn lines_of_every_kind_share_one_sequence() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.record(&record(A, "mkdir", 0));
    let notice = Command::Notice { level: NoticeLevel::Info, code: "test", message: "said".to_owned() };
    rig.commands.send(notice);
    rig.commands.send(Command::Ledger(Doubts::default()));
    rig.pipeline.drained();
    let seqs: Vec<Value> = rig.output.with(|taken| taken.lines.iter().map(|(_, line)| line["seq"].clone()).collect());
    assert_eq!(seqs, [1, 2, 3, 4, 5].map(Value::from), "container, syscall, notice, two ledgers");
}

fn switch_to(rig: &Rig, spec: &str) {
    let set = policies("web", spec);
    let selected = vec![(A, set.select(&container("a")))];
    assert!(rig.commands.send(Command::Policies { set, selected }));
}

fn at_entry(call: &str) -> Record {
    Record { phase: wire::PHASE_ENTER, ..record(A, call, 0) }
}

#[test]
fn call_that_stays_named_at_another_moment_misses_nothing() {
    let mut rig = Rig::new("{kprobe: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.record(&at_entry("mkdir"));
    switch_to(&rig, "{syscalls: [{name: mkdir}]}");
    // The kernel side has switched, and the reader has not looked at the command yet.
    rig.record(&record(A, "mkdir", 0));
    // It was in the ring before that.
    rig.record(&at_entry("mkdir"));
    rig.commands.send(Command::Switched);
    rig.pipeline.drained();
    rig.record(&at_entry("mkdir"));
    assert_eq!(rig.output.of("syscall").len(), 4);

    let late = Record { mono_ns: u64::MAX / 2, ..at_entry("mkdir") };
    rig.record(&late);
    assert_eq!(rig.output.of("syscall").len(), 4, "what was made after the switch is the new policies' alone");
    let account = rig.pipeline.finish(Doubts::default()).accounts[0].1;
    assert!(account.balanced() && account.filtered.get(FilterReason::Policy) == 1, "{account:?}");
}

#[test]
fn account_told_while_an_event_is_judged_has_it_in_flight() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.record(&record(A, "mkdir", 0));
    rig.commands.send(Command::Ledger(Doubts::default()));
    rig.record(&record(A, "rmdir", 0));
    let ledger = &rig.output.of("ledger")[0];
    assert_eq!((&ledger["in_flight"], &ledger["balanced"]), (&1.into(), &true.into()));
}

#[test]
fn slot_of_a_container_that_could_not_be_opened_comes_back() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.commands.send(Command::Close { slot: A });
    rig.pipeline.drained();
    assert_eq!(rig.freed.try_recv(), Ok(A));
}

#[test]
fn imbalance_is_shown_unless_the_counters_move() {
    for (moves, balanced) in [(true, true), (false, false)] {
        let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
        rig.open(A, "a");
        let reads = std::sync::atomic::AtomicU64::new(0);
        rig.pipeline.kernel_accounts = KernelAccounts::of_each(move |_| {
            let read = reads.fetch_add(u64::from(moves), std::sync::atomic::Ordering::Relaxed);
            Some(wire::Account { filtered_setup: 5 + read, ..wire::Account::default() })
        });
        rig.commands.send(Command::Ledger(Doubts::default()));
        rig.pipeline.drained();
        assert_eq!(rig.output.of("ledger")[0]["balanced"], Value::from(balanced));
        // At the end nothing moves, and what does not add up is a defect.
        rig.pipeline.finish(Doubts::default());
        assert_eq!(rig.output.of("ledger").last().map(|line| line["balanced"].clone()), Some(false.into()));
    }
}
