//! The way of one record, and the commands between records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::Arc;

use kubeward_bpf::decode::{decode, CallRecord, Decoded};
use kubeward_bpf::read::{RecordSink, BATCH};
use kubeward_bpf::wire::{self, Wire};
use kubeward_core::container::{Container, ContainerSlot};
use kubeward_core::event::SyscallEvent;
use kubeward_core::ledger::Account;
use kubeward_core::policy::{Judge, PolicySet, Unwanted, Verdict};
use kubeward_core::redact::Redactor;
use kubeward_core::render::line::{ContainerChange, Moment, Notice, NoticeLevel, Sight};
use kubeward_core::table::CallTable;
use tokio::sync::watch;

use super::by_slot::BySlot;
use super::clock::{monotonic_ns, Clocks};
use super::coalesce::Coalescing;
use super::command::{Command, Doubts};
use super::coverage::Coverage;
use super::feedback::{Feedback, OwnOutput, Turn};
use super::held::Holding;
use super::kernel_accounts::KernelAccounts;
use super::lines::Lines;
use super::member::Member;
use super::output::EventOutput;
use super::programs::Programs;
use super::switch::Previous;
use crate::heartbeat::Heartbeat;

/// The kernel side's table by call; `None` when the kernel cannot say.
pub type KernelTable = Box<dyn Fn() -> Option<CallTable> + Send>;

/// What a pipeline is made of.
pub struct Parts {
    pub kernel_accounts: KernelAccounts,
    pub kernel_table: KernelTable,
    pub commands: Receiver<Command>,
    pub policies: Arc<PolicySet>,
    pub redactor: Redactor,
    pub lines: Lines,
    pub output: Box<dyn EventOutput>,
    /// Told of each slot that was closed and whose records are all read.
    pub freed: Option<Sender<ContainerSlot>>,
    /// Beats whenever the ring was drained.
    pub heartbeat: Heartbeat,
    /// Where our lines go, to notice who reads them.
    pub own_output: OwnOutput,
    /// The containers that read them so much that each makes the next, with a sentence on each.
    pub loops: watch::Sender<BTreeMap<ContainerSlot, String>>,
    /// What the agent before this one left, and this one leaves to the next.
    pub coverage: Coverage,
}

/// Takes records and gives lines. Owned by the reader's thread; [`Pipeline::finish`] ends it.
pub struct Pipeline {
    pub(super) kernel_accounts: KernelAccounts,
    pub(super) kernel_table: KernelTable,
    commands: Receiver<Command>,
    pub(super) judge: Judge,
    /// What was in force before; kept until the next switch.
    pub(super) previous: Option<Previous>,
    redactor: Redactor,
    pub(super) lines: Lines,
    pub(super) output: Box<dyn EventOutput>,
    freed: Option<Sender<ContainerSlot>>,
    heartbeat: Heartbeat,
    pub(super) feedback: Feedback,
    loops: watch::Sender<BTreeMap<ContainerSlot, String>>,
    pub(super) coverage: Coverage,
    pub(super) clocks: Clocks,
    pub(super) programs: Programs,
    pub(super) members: BySlot<Member>,
    /// Those of them that are closed and not over.
    pub(super) closing: BTreeSet<ContainerSlot>,
    pub(super) holding: Holding,
    pub(super) coalescing: Coalescing,
    /// What the next record is decoded to. Absent while one is on its way.
    spare: Option<Box<CallRecord>>,
    /// Held records are being told.
    is_releasing: bool,
    /// CLOCK_MONOTONIC since when these policies are in force.
    policies_since_ns: u64,
    /// Sum of the accounts of containers that are gone.
    pub(super) ended: Account,
    /// Records of those that were counted as lost since they were not read, and that have not come later.
    pub(super) given_up: u64,
    /// The reverse: strays that are counted for the node and may be what a container's account lacks later.
    pub(super) unexplained: u64,
    /// What the table had no room for of those that the stream spoke of.
    pub(super) ended_untabled: u64,
    pub(super) doubts: Doubts,
    /// Position of the last line.
    seq: u64,
    /// Records since the ring was last seen drained.
    pub(super) since_drained: usize,
    /// CLOCK_MONOTONIC of the last look at clocks and losses.
    pub(super) looked_ns: u64,
    /// The same of the last look at all containers.
    pub(super) looked_at_all_ns: u64,
    /// For limits: the newest moment of any record.
    newest_ns: u64,
    /// Records of slots that nobody opened, or that came too late. Never, unless a map was damaged; said once.
    pub(super) strays: u64,
}

/// What is known when all is read and written.
pub struct Finished {
    /// Of every container that was there at the end, in order of its slot.
    pub accounts: Vec<(Arc<Container>, Account)>,
    /// The same and those that ended before.
    pub total: Account,
}

impl Pipeline {
    pub fn new(parts: Parts) -> Self {
        Self {
            kernel_accounts: parts.kernel_accounts,
            kernel_table: parts.kernel_table,
            commands: parts.commands,
            judge: Judge::new(parts.policies),
            previous: None,
            redactor: parts.redactor,
            lines: parts.lines,
            output: parts.output,
            freed: parts.freed,
            heartbeat: parts.heartbeat,
            feedback: Feedback::new(parts.own_output),
            loops: parts.loops,
            coverage: parts.coverage,
            clocks: Clocks::sample(),
            programs: Programs::default(),
            members: BySlot::default(),
            closing: BTreeSet::new(),
            holding: Holding::default(),
            coalescing: Coalescing::default(),
            spare: None,
            is_releasing: false,
            policies_since_ns: 0,
            ended: Account::default(),
            given_up: 0,
            unexplained: 0,
            ended_untabled: 0,
            doubts: Doubts::default(),
            seq: 0,
            since_drained: 0,
            looked_ns: monotonic_ns(),
            looked_at_all_ns: 0,
            newest_ns: 0,
            strays: 0,
        }
    }

    /// Tells what is left, the last accounts among it. To be called when the ring is read to its end.
    pub fn finish(mut self, doubts: Doubts) -> Finished {
        self.apply_commands();
        // Before the output is waited for: of what is counted meanwhile no record is read any more.
        let members = self.members.iter().map(|(slot, _)| slot);
        self.kernel_accounts.stop(&members.chain(self.holding.slots()).collect::<Vec<_>>());
        self.end_holding();
        self.end_runs();
        self.doubts = doubts;
        self.tell_gaps();
        if let Some(from_ns) = self.coverage.finish(&mut *self.output) {
            self.tell_agent_down(from_ns, false);
        }
        self.output.settle();
        self.coverage.keep(&*self.output);
        self.book_losses();
        let accounts = self.tell_accounts(true);
        self.output.settle();
        Finished { accounts: accounts.containers, total: accounts.node }
    }

    fn take(&mut self, bytes: &[u8]) {
        let owner = wire::Record::read_from(bytes).map_or(ContainerSlot(0), |record| ContainerSlot(record.slot));
        let mut call = self.spare.take().unwrap_or_default();
        match decode(bytes, &mut call) {
            Ok(Decoded::Exec { slot, exec_id, mut exe }) => {
                self.redactor.redact(&mut exe);
                self.programs.learn(slot, exec_id, exe);
            }
            Ok(Decoded::Call) | Err(_) if self.is_held(owner, bytes) => {}
            Ok(Decoded::Call) => self.call(&mut call),
            Err(error) => self.undecodable(owner, error),
        }
        self.spare = Some(call);
    }

    /// Whether whose the slot is remains to be told; the record is then kept until it is.
    fn is_held(&mut self, slot: ContainerSlot, bytes: &[u8]) -> bool {
        if self.members.contains(slot) {
            return false;
        }
        // Its container was told of before the kernel side knew it.
        self.apply_commands();
        self.holding.keep(slot, bytes)
    }

    fn call(&mut self, call: &mut Box<CallRecord>) {
        let CallRecord { event, exec_id, start_boot_ns } = &mut **call;
        let Some(member) = self.members.get_mut(event.slot) else {
            self.stray(event.slot);
            return;
        };
        member.gap.is_due = true;
        event.time_ns = self.clocks.unix_of_monotonic(event.mono_ns);
        event.repeated = None;
        event.process.start_time_ns = self.clocks.unix_of_boot(*start_boot_ns);
        share(&mut event.process.exe, self.programs.find(event.slot, *exec_id));
        share(&mut event.container, Some(&member.container));
        self.newest_ns = self.newest_ns.max(end_of(event));
        let verdict = self.judged(event);
        let Some(member) = self.members.get_mut(event.slot) else { return };
        // Not before: an account that is told while it is judged has it in flight.
        match verdict {
            Verdict::Filtered(why) => {
                member.counts.read += 1;
                member.counts.filter(why);
            }
            Verdict::Sampled => {
                member.counts.read += 1;
                member.counts.sampled += 1;
            }
            Verdict::Wanted(wanting) => {
                // A container that is closed is over when all its records are told.
                let may_wait = wanting.coalesce && member.closing.is_none();
                event.policies = wanting.names;
                if let Some(turn) = self.feedback.event(event) {
                    self.turn(event, turn);
                }
                if may_wait {
                    return self.coalesce(call);
                }
                self.end_run(event);
                self.emit(event);
            }
        }
    }

    /// By the policies in force, then by those that may be on their way here, then by those before.
    fn judged(&mut self, event: &SyscallEvent) -> Verdict {
        let unnamed = Verdict::Filtered(Unwanted::NoPolicy);
        let mut verdict = self.judged_by_set(event);
        if verdict == unnamed {
            // The kernel side knew of other policies before this side did, as it is told of them later.
            self.apply_commands();
            verdict = self.judged_by_set(event);
        }
        let now_ns = self.moment_of(event);
        match &mut self.previous {
            Some(previous) if verdict == unnamed => previous.judge(event, now_ns),
            _ => verdict,
        }
    }

    fn judged_by_set(&mut self, event: &SyscallEvent) -> Verdict {
        let selected = self.members.get(event.slot).map(|member| member.selected).unwrap_or_default();
        self.judge.judge(event, &selected, self.moment_of(event))
    }

    /// For limits: the newest of any record, and of what was held its own, since all of it is released at once.
    fn moment_of(&self, event: &SyscallEvent) -> u64 {
        if self.is_releasing {
            end_of(event)
        } else {
            self.newest_ns
        }
    }

    pub(super) fn tell_event(&mut self, event: &mut SyscallEvent) {
        // The program's name was redacted when it was learnt.
        self.redactor.redact_call(event);
        self.seq += 1;
        event.seq = self.seq;
        let lines = &mut self.lines;
        self.output.line(Some(event.slot), &mut |out| lines.syscall(out, event));
    }

    /// A container began to read mostly what we write, or ended it.
    fn turn(&mut self, event: &SyscallEvent, turn: Turn) {
        let slot = event.slot;
        if !turn.is_loop {
            self.loops.send_if_modified(|loops| loops.remove(&slot).is_some());
            return;
        }
        let whose = event.container.as_deref().map_or_else(String::new, |container| match &container.pod {
            Some(pod) => format!("{}/{}", pod.namespace, pod.name),
            None => container.id.to_string(),
        });
        let Turn { events, of_own, .. } = turn;
        let message = format!(
            "{of_own} of {events} events of {whose} are reads of KubeWard's own output, each of which makes the next: leave it \
             out of the policy (selector.excludeNamespaces), or its reads (exclude)"
        );
        self.tell_notice(NoticeLevel::Warning, "feedback_loop", &message);
        self.loops.send_modify(|loops| drop(loops.insert(slot, message)));
    }

    fn end_loops(&mut self) {
        if self.loops.borrow().is_empty() {
            return;
        }
        for slot in self.feedback.quiet(monotonic_ns()) {
            self.loops.send_if_modified(|loops| loops.remove(&slot).is_some());
        }
    }

    pub(super) fn apply_commands(&mut self) {
        while !self.is_releasing {
            let Ok(command) = self.commands.try_recv() else { break };
            self.apply(command);
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Open { slot, container, selected, watched } => {
                let held = self.holding.end(slot).unwrap_or_default();
                let member = Member::new(container, selected, watched, held.counts, self.looked_ns);
                self.members.insert(slot, member);
                self.closing.remove(&slot);
                self.tell_if_selected(slot, self.policies_since_ns);
                // One after the other, with nothing between them that came later.
                self.is_releasing = true;
                held.records.iter().for_each(|record| self.take(record));
                self.is_releasing = false;
            }
            Command::Hold { slot } => self.holding.begin(slot),
            Command::Ignore { slot } => {
                self.holding.ignore(slot);
            }
            Command::Change { slot, container, selected } => {
                self.end_runs_of(slot);
                let Some(member) = self.members.get_mut(slot) else { return };
                let is_news = member.is_told && member.container != container;
                (member.container, member.selected) = (container.clone(), selected);
                match is_news {
                    true => self.tell_container(ContainerChange::Changed, &container),
                    false => self.tell_if_selected(slot, monotonic_ns()),
                }
            }
            Command::Close { slot } => {
                self.end_runs_of(slot);
                match self.members.get_mut(slot) {
                    Some(member) => {
                        member.closing = Some(0);
                        self.closing.insert(slot);
                    }
                    // It was never opened here, so that nothing is left to tell of it.
                    None if self.holding.ignore(slot) => {}
                    None => self.tell_freed(slot),
                }
            }
            Command::Policies { set, selected } => {
                self.end_runs();
                let before = self.members.iter().map(|(slot, member)| (slot, member.selected)).collect();
                self.previous = Some(Previous::new(self.judge.set().clone(), before));
                self.policies_since_ns = monotonic_ns();
                self.judge.replace(set);
                for (slot, selected) in selected {
                    if let Some(member) = self.members.get_mut(slot) {
                        member.selected = selected;
                        self.tell_if_selected(slot, monotonic_ns());
                    }
                }
            }
            Command::Switched => {
                self.policies_since_ns = monotonic_ns();
                if let Some(previous) = &mut self.previous {
                    previous.end(monotonic_ns());
                }
            }
            Command::Ledger(doubts) => {
                self.doubts = doubts;
                self.tell_accounts(false);
            }
            Command::Notice { level, code, message } => self.tell_notice(level, code, &message),
            Command::Covered => {
                if let Some(from_ns) = self.coverage.begin() {
                    self.tell_agent_down(from_ns, true);
                }
            }
            Command::Ending => self.coverage.end(),
            Command::ReopenOutput => self.output.reopen(),
            // Whoever asked may have given up waiting.
            Command::GiveAccounts { doubts, reply } => {
                self.doubts = doubts;
                let _ = reply.send(self.accounts(false));
            }
            Command::GiveTable { reply } => {
                let _ = reply.send(self.table_now());
            }
        }
    }

    pub(super) fn tell_freed(&mut self, slot: ContainerSlot) {
        self.feedback.forget(slot);
        self.loops.send_if_modified(|loops| loops.remove(&slot).is_some());
        if let Some(freed) = &self.freed {
            // Nobody wants to know once the control side has ended.
            let _ = freed.send(slot);
        }
    }

    /// The first policy that selects a container brings it into the stream. What it wants is seen since `hooked_ns`.
    fn tell_if_selected(&mut self, slot: ContainerSlot, hooked_ns: u64) {
        let newly = |member: &&mut Member| !member.is_told && !member.selected.is_empty();
        if let Some(member) = self.members.get_mut(slot).filter(newly) {
            member.is_told = true;
            let (container, watched) = (member.container.clone(), member.watched);
            let sight = Sight {
                created_ns: self.clocks.unix_of_monotonic(watched.created_ns),
                covered_ns: self.clocks.unix_of_monotonic(watched.since_ns.max(hooked_ns)),
            };
            self.tell_container(ContainerChange::Came(sight), &container);
        }
    }

    pub(super) fn tell_container(&mut self, change: ContainerChange, container: &Container) {
        let moment = self.next_moment();
        let lines = &mut self.lines;
        self.output.line(None, &mut |out| lines.container(out, moment, change, container));
    }

    fn tell_notice(&mut self, level: NoticeLevel, code: &'static str, message: &str) {
        let moment = self.next_moment();
        let lines = &mut self.lines;
        let notice = Notice { level, code, message, container: None };
        self.output.line(None, &mut |out| lines.notice(out, moment, &notice));
    }

    pub(super) fn next_moment(&mut self) -> Moment {
        self.seq += 1;
        let mono_ns = monotonic_ns();
        Moment { seq: self.seq, time_ns: self.clocks.unix_of_monotonic(mono_ns), mono_ns }
    }
}

/// Makes `place` the same as `now`. Counts no reference where it is already, as it mostly is for two events in a row.
fn share<T>(place: &mut Option<Arc<T>>, now: Option<&Arc<T>>) {
    match (&*place, now) {
        (Some(before), Some(now)) if Arc::ptr_eq(before, now) => {}
        _ => *place = now.cloned(),
    }
}

fn end_of(event: &SyscallEvent) -> u64 {
    event.mono_ns.saturating_add(event.duration_ns.unwrap_or(0))
}

impl RecordSink for Pipeline {
    fn record(&mut self, bytes: &[u8]) {
        self.since_drained += 1;
        self.take(bytes);
    }

    fn drained(&mut self) {
        self.apply_commands();
        self.look_around();
        self.end_loops();
        self.end_old_runs(monotonic_ns());
        self.close_ended();
        let is_empty = self.since_drained < BATCH;
        self.coverage.drained(is_empty, || self.coalescing.none_until_ns(), &mut *self.output);
        self.output.flush();
        self.book_losses();
        self.since_drained = 0;
        self.heartbeat.beat();
    }
}
