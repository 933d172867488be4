//! When to write. Pure: moments are passed in.

use std::time::Duration;

use tokio::time::Instant;

/// Between two writes.
const GAP: Duration = Duration::from_secs(2);

/// What comes of a policy's change comes from every node at once: each waits for a part of this, by chance. A thousand
/// agents then make 500 writes a second for two seconds, not a thousand at once.
const SPREAD: Duration = Duration::from_secs(2);

/// Pauses after a write that failed double from here, each shortened by up to half, by chance.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Between a deletion of the object by somebody else and its next writing, doubling each time: where the agent's Pod is gone
/// and the agent is not, the API server's garbage collection deletes what it writes.
const DELETED_MIN: Duration = Duration::from_secs(1);
const DELETED_MAX: Duration = Duration::from_secs(300);

/// What moved the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Something of this node alone, or somebody who waits for an answer.
    Here,
    /// A policy: the other nodes have the same to say.
    Everywhere,
}

/// The moments of one writer's writes.
#[derive(Debug)]
pub(super) struct Pace {
    last: Option<Instant>,
    due: Option<Instant>,
    /// After a failure nothing hurries: no write before this.
    not_before: Option<Instant>,
    pause: Duration,
    deletions: u32,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { last: None, due: None, not_before: None, pause: PAUSE_MIN, deletions: 0 }
    }

    /// There is something to write. `chance` is from 0 to 1.
    pub(super) fn changed(&mut self, now: Instant, cause: Cause, chance: f64) {
        let wait = match cause {
            Cause::Here => Duration::ZERO,
            Cause::Everywhere => SPREAD.mul_f64(chance),
        };
        let rested = self.last.map_or(now, |last| last + GAP);
        let due = rested.max(now + wait);
        // Many changes are one write, at the earliest of their moments.
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// What was to be written is as it was.
    pub(super) fn nothing_to_do(&mut self) {
        self.due = None;
    }

    /// The moment of the next write.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.due?;
        Some(self.not_before.map_or(due, |earliest| earliest.max(due)))
    }

    pub(super) fn written(&mut self, now: Instant) {
        *self = Self { last: Some(now), deletions: self.deletions, ..Self::new() };
    }

    /// Somebody else deleted the object.
    pub(super) fn deleted(&mut self, now: Instant) {
        let wait = DELETED_MIN.saturating_mul(1 << self.deletions.min(16)).min(DELETED_MAX);
        self.deletions += 1;
        self.not_before = Some(now + wait);
    }

    /// To be tried again. `chance` is from 0 to 1.
    pub(super) fn failed(&mut self, now: Instant, chance: f64) {
        self.not_before = Some(now + self.pause.mul_f64(0.5 + chance / 2.0));
        self.due.get_or_insert(now);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// The server answers again: no reason to wait longer than the others, who have seen it too.
    pub(super) fn answers_again(&mut self, now: Instant, chance: f64) {
        let soon = now + SPREAD.mul_f64(chance);
        self.not_before = self.not_before.map(|earliest| earliest.min(soon));
        self.pause = PAUSE_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn first_change_after_rest_is_written_at_once() {
        let (now, mut pace) = (Instant::now(), Pace::new());
        pace.changed(now, Cause::Here, 1.0);
        assert_eq!(pace.due(), Some(now));
        pace.written(now);
        assert_eq!(pace.due(), None);
        let later = now + seconds(60.0);
        pace.changed(later, Cause::Here, 1.0);
        assert_eq!(pace.due(), Some(later));
    }

    #[test]
    fn hundred_changes_in_a_second_are_two_writes() {
        let (start, mut pace, mut writes) = (Instant::now(), Pace::new(), Vec::new());
        for tick in 0..400 {
            let now = start + seconds(f64::from(tick) / 100.0);
            if tick < 100 {
                pace.changed(now, Cause::Here, 0.0);
            }
            if pace.due().is_some_and(|due| due <= now) {
                pace.written(now);
                writes.push(now - start);
            }
        }
        assert_eq!(writes, [seconds(0.0), seconds(2.0)]);
    }

    #[test]
    fn what_every_node_says_is_spread_and_what_one_node_says_is_not_kept_back_by_it() {
        let (now, mut pace) = (Instant::now(), Pace::new());
        pace.changed(now, Cause::Everywhere, 0.5);
        assert_eq!(pace.due(), Some(now + seconds(1.0)));
        pace.changed(now, Cause::Here, 0.5);
        assert_eq!(pace.due(), Some(now));
    }

    #[test]
    fn pauses_double_up_to_thirty_seconds_and_end_when_the_server_answers() {
        let (now, mut pace) = (Instant::now(), Pace::new());
        pace.changed(now, Cause::Here, 0.0);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pace.failed(now, 1.0);
            pauses.push(pace.due().expect("it is still to be written") - now);
        }
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0].map(seconds));
        pace.changed(now, Cause::Here, 0.0);
        assert_eq!(pace.due(), Some(now + seconds(30.0)), "a change does not hurry a server that fails");
        pace.answers_again(now, 0.5);
        assert_eq!(pace.due(), Some(now + seconds(1.0)));
    }

    #[test]
    fn object_that_is_deleted_again_and_again_is_written_ever_more_seldom() {
        let (now, mut pace) = (Instant::now(), Pace::new());
        let mut waits = Vec::new();
        for _ in 0..10 {
            pace.written(now);
            pace.deleted(now);
            pace.changed(now, Cause::Here, 0.0);
            waits.push((pace.due().expect("it is to be written again") - now).as_secs());
        }
        assert_eq!(waits, [2, 2, 4, 8, 16, 32, 64, 128, 256, 300], "not within two seconds of the last write either");
    }
}
