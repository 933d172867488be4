//! Whose status is to be written when. Pure: moments are passed in.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Between two writes of one policy's status.
const REST: Duration = Duration::from_secs(10);

/// After rest a sum that is still moving may wait so long for the nodes that have not told: a small cluster then has its
/// whole answer in one write, within three seconds, and not in two that are ten seconds apart.
const SETTLE: Duration = Duration::from_secs(3);

/// Every write is heard by every agent, which watches policies. So many of these events a second are caused at most in the
/// long run...
const EVENTS_PER_SECOND: f64 = 2_000.0;
/// ...and so many at once.
const EVENTS_AT_ONCE: f64 = 20_000.0;

/// When each policy, by uid, may be written.
#[derive(Debug)]
pub(super) struct Turns {
    turns: HashMap<String, Turn>,
    budget: f64,
    budget_at: Instant,
}

#[derive(Debug, Default)]
struct Turn {
    written: Option<Instant>,
    /// Since when its sum may be another.
    touched: Option<Instant>,
}

impl Turns {
    pub(super) fn new(now: Instant) -> Self {
        Self { turns: HashMap::new(), budget: EVENTS_AT_ONCE, budget_at: now }
    }

    pub(super) fn touch(&mut self, uid: &str, now: Instant) {
        match self.turns.get_mut(uid) {
            Some(turn) => drop(turn.touched.get_or_insert(now)),
            None => drop(self.turns.insert(uid.to_owned(), Turn { written: None, touched: Some(now) })),
        }
    }

    pub(super) fn forget(&mut self, uid: &str) {
        self.turns.remove(uid);
    }

    pub(super) fn is_any_touched(&self) -> bool {
        self.turns.values().any(|turn| turn.touched.is_some())
    }

    /// The touched whose rest is over, those that wait longest first. `true`: it is to be written though it still moves.
    pub(super) fn due(&self, now: Instant) -> Vec<(String, bool)> {
        let rested = |turn: &Turn| turn.written.is_none_or(|written| now >= written + REST);
        let mut due: Vec<_> = self
            .turns
            .iter()
            .filter(|(_, turn)| rested(turn))
            .filter_map(|(uid, turn)| Some((turn.touched?, uid.clone())))
            .collect();
        due.sort();
        due.into_iter().map(|(touched, uid)| (uid, now >= touched + SETTLE)).collect()
    }

    /// Whether a write that `agents` will hear is affordable now; if so it is paid for.
    pub(super) fn pay(&mut self, now: Instant, agents: usize) -> bool {
        let gained = now.duration_since(self.budget_at).as_secs_f64() * EVENTS_PER_SECOND;
        (self.budget, self.budget_at) = ((self.budget + gained).min(EVENTS_AT_ONCE), now);
        let price = u32::try_from(agents).map_or(f64::MAX, |agents| f64::from(agents) + 1.0);
        // A fleet above the budget pays with all of it.
        let price = price.min(EVENTS_AT_ONCE);
        let is_affordable = self.budget >= price;
        if is_affordable {
            self.budget -= price;
        }
        is_affordable
    }

    /// Its status says what it should.
    pub(super) fn settled(&mut self, uid: &str) {
        if let Some(turn) = self.turns.get_mut(uid) {
            turn.touched = None;
        }
    }

    pub(super) fn written(&mut self, uid: &str, now: Instant) {
        if let Some(turn) = self.turns.get_mut(uid) {
            *turn = Turn { written: Some(now), touched: None };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn policy_is_written_at_once_after_rest_and_once_in_ten_seconds() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        let mut writes = Vec::new();
        for tick in 0..250 {
            let now = start + seconds(f64::from(tick) / 10.0);
            turns.touch("a", now);
            if !turns.due(now).is_empty() {
                turns.written("a", now);
                writes.push((now - start).as_secs_f64());
            }
        }
        assert_eq!(writes, [0.0, 10.0, 20.0]);
    }

    #[test]
    fn sum_that_moves_is_written_after_three_seconds() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        turns.touch("a", start);
        turns.touch("a", start + seconds(2.9));
        assert_eq!(turns.due(start + seconds(2.9)), [("a".to_owned(), false)]);
        assert_eq!(turns.due(start + seconds(3.0)), [("a".to_owned(), true)]);
    }

    #[test]
    fn untouched_and_settled_are_not_due() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        turns.touch("a", start);
        turns.settled("a");
        assert!(!turns.is_any_touched() && turns.due(start + seconds(60.0)).is_empty());
        turns.forget("a");
        turns.written("a", start);
        assert!(turns.due(start).is_empty());
    }

    #[test]
    fn thousand_agents_hear_of_twenty_writes_at_once_and_then_of_two_a_second() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        let writes = |turns: &mut Turns, now| (0..200).filter(|_| turns.pay(now, 999)).count();
        assert_eq!(writes(&mut turns, start), 20);
        assert_eq!(writes(&mut turns, start + seconds(1.0)), 2);
        assert_eq!(writes(&mut turns, start + seconds(11.0)), 20);
    }

    #[test]
    fn small_cluster_is_not_held_up_and_a_huge_one_is_not_stopped() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        assert_eq!((0..200).filter(|_| turns.pay(start, 12)).count(), 200);
        let mut turns = Turns::new(start);
        assert!(turns.pay(start, 1_000_000) && !turns.pay(start + seconds(9.0), 1_000_000));
        assert!(turns.pay(start + seconds(10.0), 1_000_000));
    }
}
