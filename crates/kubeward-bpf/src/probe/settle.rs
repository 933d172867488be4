//! From what serves at once to what shall serve: hooks on functions attach slowly, so the raw tracepoint serves calls until
//! theirs are there, and then the calls move.
//!
//! A move is lossless in three steps with a grace period after each: hooks begin to leave marks for each other, calls are
//! shown by both kinds of hook, and then by the new one alone. A call that was entered before its function was hooked returns
//! past the new hook: where a container's task may be in one, the raw tracepoint goes on to show that call's returns, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use kubeward_core::event::Probe;
use kubeward_core::syscall::Syscall;

use super::attach::{self, Hook};
use super::tables::{self, Bits};
use super::{fentry, wanted_calls, Backend, Probes, Report, ASK_REFUSED};
use crate::maps::MapError;
use crate::wire::{CALLS, HOOK_ENTER, HOOK_EXIT};

/// Calls whose functions are hooked in one step, where each takes the kernel tens of milliseconds.
const CHUNK: usize = 4;

/// How far [`Probes::settle`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settling {
    /// There is more to do.
    More,
    /// There will be more to do when tasks have left calls that they are in, hooks that go have gone, or hooks to come would pay for
    /// themselves. Every call is shown.
    Waits,
    /// The hooks are as they shall be.
    Done,
}

impl Probes {
    /// Makes the hooks show what `asked` says, by native call number: [`HOOK_ENTER`], [`HOOK_EXIT`] and [`ASK_REFUSED`]. Within
    /// some tens of milliseconds: where hooks on functions attach slowly, the raw tracepoint serves until [`Probes::settle`] has
    /// attached them. A call that stays named misses nothing and is told once.
    pub fn serve(&mut self, asked: &[u8; CALLS]) -> Report {
        self.want(asked);
        // A raw tracepoint that skips runs would be worse than hooks that come late.
        self.attach_missing(if self.verdicts.raw_is_exact() { Pace::Fast } else { Pace::All });
        let (mut raw, mut function) = self.meanwhile();
        let mut attached = self.raw.attach(&self.engine, &raw).map_err(|error| error.to_string());
        if attached.is_err() {
            self.attach_missing(Pace::All);
            (raw, function) = self.target();
            attached = self.raw.attach(&self.engine, &raw).map_err(|error| error.to_string());
        }
        self.uring.serve(&self.engine, &self.wanted);
        let shown = self.show_meanwhile(&raw, &function).map_err(|error| error.to_string());
        self.trouble = attached.and(shown).err();
        self.report()
    }

    /// As [`Probes::serve`], but the hooks are as they shall be when it returns, which may take seconds; what has to wait for
    /// tasks or for the kernel is left.
    pub fn apply(&mut self, asked: &[u8; CALLS]) -> Report {
        self.want(asked);
        self.attach_missing(Pace::All);
        self.serve(asked);
        while self.settle() == Settling::More {}
        self.report()
    }

    fn want(&mut self, asked: &[u8; CALLS]) {
        self.wanted = wanted_calls(asked);
        self.by_function = self.verdicts.auto_hooks_functions(&self.wanted, self.by_function);
    }

    /// What is to serve the call. A call that the kernel has refused to hook takes all others to the raw tracepoint.
    fn chosen(&self, call: &Syscall, asked: u8) -> Probe {
        let is_refused = |nr: u16| self.unhookable.iter().any(|(unhookable, _)| *unhookable == nr);
        let needs_raw = self.verdicts.raw_is_exact() && self.wanted.iter().any(|(call, _)| is_refused(call.nr));
        let may_hook = self.by_function && !needs_raw;
        self.verdicts.choose(self.backend, call, asked, may_hook)
    }

    fn hooks_function(&self, call: &Syscall, asked: u8) -> bool {
        !matches!(self.chosen(call, asked), Probe::TpBtf | Probe::Tracepoint)
    }

    /// Whether `auto` waits with slow hooks: who knows how long the policy stays. They are attached when the raw tracepoint has cost
    /// as much as they will, so that no policy, however short-lived, costs twice what it had to.
    fn is_early(&mut self) -> bool {
        let slow = self.missing(|_| true).filter(|(probe, ..)| *probe != Probe::KprobeMulti).count();
        if slow == 0 {
            self.raw_since = None;
            return false;
        }
        let begin = *self.raw_since.get_or_insert_with(Instant::now);
        if self.backend != Backend::Auto || !self.verdicts.raw_is_exact() {
            return false;
        }
        let weighed = self.verdicts.weighed();
        weighed.is_some_and(|weighed| begin.elapsed() < weighed.pays_after(slow))
    }

    /// One step from what serves meanwhile to what shall serve, a fraction of a second; to be called again as long as it says so.
    pub fn settle(&mut self) -> Settling {
        self.try_to_settle().unwrap_or_else(|error| {
            self.trouble = Some(error.to_string());
            Settling::Done
        })
    }

    fn try_to_settle(&mut self) -> Result<Settling, MapError> {
        let is_early = self.is_early();
        if !is_early && self.attach_missing(Pace::Chunk) {
            return Ok(Settling::More);
        }
        let (raw, function) = self.target();
        let both_raw = self.united(&self.tables.raw, &raw);
        let both_function = self.united(&self.tables.function, &function);
        if both_raw != raw || both_function != function {
            if !self.tables.is_moving() {
                self.tables.begin_move(&self.engine)?;
                return Ok(Settling::More);
            }
            if (both_raw, both_function) != (self.tables.raw, self.tables.function) {
                if let Err(error) = self.raw.attach(&self.engine, &both_raw) {
                    self.trouble = Some(error.to_string());
                    return Ok(Settling::Done);
                }
                self.tables.show(&self.engine, &both_raw, &both_function)?;
                return Ok(Settling::More);
            }
        }
        let (raw, function) = self.but_for_late_returns(raw, function);
        if (raw, function) != (self.tables.raw, self.tables.function) {
            self.raw.attach(&self.engine, &raw).unwrap_or_else(|error| self.trouble = Some(error.to_string()));
            self.tables.show(&self.engine, &raw, &function)?;
        }
        let is_shown_by_both = (0..CALLS).any(|nr| raw[nr] != 0 && function[nr] != 0);
        if !is_shown_by_both {
            self.tables.end_move(&self.engine)?;
        }
        self.raw.detach(&raw);
        self.retire(&function);
        // Hooks that were being detached when this step began may have gone since.
        let is_missing: Vec<u16> = self.missing(|_| true).map(|(_, call, _)| call.nr).collect();
        Ok(if !is_early && is_missing.iter().any(|&nr| !self.retirement.has(nr)) {
            Settling::More
        } else if is_shown_by_both || !is_missing.is_empty() {
            Settling::Waits
        } else {
            Settling::Done
        })
    }

    /// What the attached hooks on a call's function could show of it.
    fn hooked(&self, nr: usize) -> u8 {
        self.hooks.get(&(nr as u16)).into_iter().flatten().fold(0, |bits, hook| bits | hook.bits)
    }

    /// The tables that show every wanted call from now on, and lose none that is shown now.
    fn meanwhile(&self) -> (Bits, Bits) {
        let (mut raw, mut function) = ([0; CALLS], [0; CALLS]);
        for &(call, bits) in &self.wanted {
            let nr = usize::from(call.nr);
            let moments = bits & (HOOK_ENTER | HOOK_EXIT);
            if bits & ASK_REFUSED == 0 && self.tables.raw[nr] == 0 && moments & !self.hooked(nr) == 0 {
                function[nr] = moments;
            } else {
                raw[nr] = moments;
                function[nr] = self.tables.function[nr] & moments;
            }
        }
        self.unite_execs(&mut raw, &mut function, &self.tables.function);
        (raw, function)
    }

    /// The tables as they shall be, with the hooks that are attached.
    fn target(&self) -> (Bits, Bits) {
        let (mut raw, mut function) = ([0; CALLS], [0; CALLS]);
        for &(call, bits) in &self.wanted {
            let nr = usize::from(call.nr);
            let moments = bits & (HOOK_ENTER | HOOK_EXIT);
            let by_function = self.hooks_function(call, bits) && moments & !self.hooked(nr) == 0;
            let table = if by_function { &mut function } else { &mut raw };
            table[nr] = moments;
        }
        self.unite_execs(&mut raw, &mut function, &[0; CALLS]);
        (raw, function)
    }

    /// Execs are served by one kind of hook together: by the raw tracepoint where one of them is.
    fn unite_execs(&self, raw: &mut Bits, function: &mut Bits, shown: &Bits) {
        let Some(execs) = tables::execs() else { return };
        if execs.iter().all(|&nr| raw[nr] == 0) {
            return;
        }
        for nr in execs {
            raw[nr] |= function[nr];
            function[nr] = shown[nr] & raw[nr];
        }
    }

    /// Both tables in one, of what is wanted.
    fn united(&self, before: &Bits, after: &Bits) -> Bits {
        let mut both = [0; CALLS];
        for &(call, bits) in &self.wanted {
            let nr = usize::from(call.nr);
            both[nr] = (before[nr] | after[nr]) & bits;
        }
        both
    }

    fn show_meanwhile(&mut self, raw: &Bits, function: &Bits) -> Result<(), MapError> {
        let is_newly_shown_by_both = |nr: usize| function[nr] != 0 && raw[nr] & !self.tables.raw[nr] != 0;
        if (0..CALLS).any(is_newly_shown_by_both) {
            self.tables.begin_move(&self.engine)?;
        }
        self.tables.show(&self.engine, raw, function)
    }

    /// Calls that were entered before their function was hooked return past the hook: the raw tracepoint keeps showing these.
    fn but_for_late_returns(&self, mut raw: Bits, mut function: Bits) -> (Bits, Bits) {
        let leaves_raw = |nr: usize| self.tables.raw[nr] & HOOK_EXIT != 0 && raw[nr] == 0 && function[nr] != 0;
        let leaving: BTreeSet<usize> = (0..CALLS).filter(|&nr| leaves_raw(nr)).collect();
        if leaving.is_empty() {
            return (raw, function);
        }
        let late: BTreeSet<usize> = match self.engine.inside() {
            Ok(inside) => inside.iter().flat_map(|task| self.passes_by(task.nr as usize, task.since_ns)).collect(),
            // Who knows: all of them.
            Err(_) => leaving.clone(),
        };
        for &nr in leaving.intersection(&late) {
            raw[nr] = self.tables.raw[nr];
            function[nr] = self.tables.function[nr];
        }
        (raw, function)
    }

    /// The calls of which a task that entered `nr` after `since_ns` may return past the hook.
    fn passes_by(&self, nr: usize, since_ns: u64) -> Vec<usize> {
        let nrs = match tables::execs() {
            Some(execs) if execs.contains(&nr) => execs.to_vec(),
            _ => vec![nr],
        };
        let is_older = |nr: &usize| {
            let hooks = self.hooks.get(&(*nr as u16)).into_iter().flatten();
            hooks.filter(|hook| hook.bits & HOOK_EXIT != 0).any(|hook| hook.attached_ns >= since_ns)
        };
        // Both execs or neither, as they are served.
        if nrs.iter().any(is_older) {
            nrs
        } else {
            Vec::new()
        }
    }

    /// The wanted calls that want hooks on their function which are not there, with the kind of hook and what they lack.
    fn missing<'p>(
        &'p self,
        takes: impl Fn(u16) -> bool + 'p,
    ) -> impl Iterator<Item = (Probe, &'static Syscall, u8)> + 'p {
        self.wanted.iter().filter_map(move |&(call, bits)| {
            let missing = bits & (HOOK_ENTER | HOOK_EXIT) & !self.hooked(call.nr.into());
            if missing == 0 || self.unhookable.contains(&(call.nr, missing)) || !takes(call.nr) {
                return None;
            }
            match self.chosen(call, bits) {
                Probe::TpBtf | Probe::Tracepoint => None,
                probe => Some((probe, call, missing)),
            }
        })
    }

    /// Attaches what is missing, and says whether there was anything. Hooks that are being detached still run: until they have
    /// gone, there must be no others in their place.
    fn attach_missing(&mut self, pace: Pace) -> bool {
        let mut to_attach: BTreeMap<Probe, Vec<(&'static Syscall, u8)>> = BTreeMap::new();
        for (probe, call, missing) in self.missing(|nr| !self.retirement.has(nr)) {
            let is_slow = probe != Probe::KprobeMulti;
            let calls = to_attach.entry(probe).or_default();
            match pace {
                Pace::Fast if is_slow => {}
                Pace::Chunk if is_slow && calls.len() == CHUNK => {}
                _ => calls.push((call, missing)),
            }
        }
        let mut has_any = false;
        for (probe, calls) in to_attach.into_iter().filter(|(_, calls)| !calls.is_empty()) {
            has_any = true;
            let (served, _): (Vec<_>, Vec<_>) =
                calls.iter().copied().partition(|(call, _)| self.shared.serve(&self.engine, probe, call));
            let hooks = match probe {
                Probe::Fentry => fentry::attach(&self.engine, &served, self.shared.entry(probe)),
                _ => attach::functions(&self.engine, probe, &served, self.backend == Backend::Kprobe),
            };
            hooks.into_iter().for_each(|hook| self.hooks.entry(hook.nr).or_default().push(hook));
            for (call, missing) in calls {
                if missing & !self.hooked(call.nr.into()) != 0 {
                    self.unhookable.insert((call.nr, missing));
                }
            }
        }
        has_any
    }

    /// Detaches the hooks of calls that nobody wants by them any more. A link that serves another call, too, stays, and so do all
    /// of its hooks: the tables keep them quiet.
    fn retire(&mut self, function: &Bits) {
        let of_use: BTreeSet<u16> = self
            .wanted
            .iter()
            .filter(|(call, bits)| self.hooks_function(call, *bits))
            .map(|(call, _)| call.nr)
            .collect();
        let is_shown = |nr: u16| function[usize::from(nr)] != 0 || of_use.contains(&nr);
        let shown = self.hooks.iter().filter(|(&nr, _)| is_shown(nr)).flat_map(|(_, hooks)| hooks);
        let kept: BTreeSet<_> = shown.flat_map(|hook| &hook.links).map(Arc::as_ptr).collect();
        let is_kept = |hook: &Hook| hook.links.iter().any(|link| kept.contains(&Arc::as_ptr(link)));
        let goes = |(&nr, hooks): (&u16, &Vec<Hook>)| (!is_shown(nr) && !hooks.iter().any(is_kept)).then_some(nr);
        let unwanted: Vec<u16> = self.hooks.iter().filter_map(goes).collect();
        if unwanted.is_empty() {
            return;
        }
        let missed = attach::missed_returns(self.hooks.values().flatten());
        let retired: Vec<Hook> = unwanted.into_iter().filter_map(|nr| self.hooks.remove(&nr)).flatten().collect();
        self.missed_before += missed.saturating_sub(attach::missed_returns(self.hooks.values().flatten()));
        self.skipped_before += retired.iter().map(Hook::recursion_misses).sum::<u64>();
        self.retirement.detach(retired);
    }
}

/// Which of the missing hooks are attached in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Those that attach at once.
    Fast,
    /// Some.
    Chunk,
    All,
}
