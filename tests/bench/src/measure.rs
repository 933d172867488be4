//! What samples say: each stands beside its baseline of the same round, so that a machine that grows slower or faster cancels.
//!
//! Pure: no clock and no load here.

use serde::{Deserialize, Serialize};

/// One round's measurement: with the thing there, and without it just before. Both in the same unit, often ns a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub with: f64,
    pub without: f64,
}

impl Sample {
    /// What the thing costs.
    pub fn added(&self) -> f64 {
        self.with - self.without
    }
}

/// The middle of several rounds, and how far apart they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
    /// Between these two are half of the values: one round that went wrong does not move them far.
    pub lower_quartile: f64,
    pub upper_quartile: f64,
}

impl Spread {
    /// `None` of no values, and where one of them is no number that can be compared.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: part(&sorted, 0.5),
            lowest: sorted[0],
            highest: sorted[sorted.len() - 1],
            lower_quartile: part(&sorted, 0.25),
            upper_quartile: part(&sorted, 0.75),
        })
    }

    /// Of one value, or of many that are the same.
    pub const fn exactly(value: f64) -> Self {
        Self { median: value, lowest: value, highest: value, lower_quartile: value, upper_quartile: value }
    }
}

/// The value below which this part of the sorted ones lies: between two of them, where it falls between them.
fn part(sorted: &[f64], part: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * part;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// Added time over the other's added time, round by round. Infinite where the other added nothing that could be measured.
pub fn ratios_of_added(ours: &[Sample], theirs: &[Sample]) -> Vec<f64> {
    let ratio = |ours: f64, theirs: f64| if theirs > 0.0 { ours / theirs } else { f64::INFINITY };
    ours.iter().zip(theirs).map(|(ours, theirs)| ratio(ours.added(), theirs.added())).collect()
}

/// With over without, round by round.
pub fn ratios_to_baseline(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.with / sample.without).collect()
}

pub fn added(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(Sample::added).collect()
}

/// In which order a round takes `count` things: each comes once, and stands elsewhere in each round.
pub fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (round + turn) % count)
}

/// The mean of the middle half of a load's chunks: whatever interrupted a few of them is not in it, what recurs in most is.
///
/// # Panics
/// Without any chunk.
pub fn middle_mean(chunks: &[f64]) -> f64 {
    assert!(!chunks.is_empty(), "a load has at least one chunk");
    let mut sorted = chunks.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quarter = sorted.len() / 4;
    let middle = &sorted[quarter..sorted.len() - quarter];
    middle.iter().sum::<f64>() / middle.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(pairs: &[(f64, f64)]) -> Vec<Sample> {
        pairs.iter().map(|&(with, without)| Sample { with, without }).collect()
    }

    #[test]
    fn median_of_even_many_is_between_the_two_in_the_middle() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).expect("four numbers");
        assert_eq!((spread.median, spread.lowest, spread.highest), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of(&[7.0]), Some(Spread::exactly(7.0)));
    }

    #[test]
    fn quartiles_hold_half_of_the_values_and_not_the_odd_one() {
        let quartiles = |values| Spread::of(values).map(|spread| (spread.lower_quartile, spread.upper_quartile));
        assert_eq!(quartiles(&[90.0, 3.0, 1.0, 2.0, 4.0]), Some((2.0, 4.0)));
        assert_eq!(quartiles(&[1.0, 2.0, 3.0, 4.0]), Some((1.75, 3.25)));
    }

    #[test]
    fn what_cannot_be_compared_has_no_spread() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::INFINITY]), None);
        assert_eq!(Spread::of(&[f64::NAN]), None);
    }

    #[test]
    fn machine_that_slows_down_between_rounds_changes_no_ratio() {
        let ours = samples(&[(400.0, 100.0), (800.0, 200.0)]);
        let floor = samples(&[(300.0, 100.0), (600.0, 200.0)]);
        assert_eq!(ratios_of_added(&ours, &floor), [1.5, 1.5]);
        assert_eq!(ratios_to_baseline(&ours), [4.0, 4.0]);
        assert_eq!(added(&ours), [300.0, 600.0]);
    }

    #[test]
    fn ratio_to_something_that_added_nothing_is_no_figure() {
        let ratios = ratios_of_added(&samples(&[(2.0, 1.0)]), &samples(&[(1.0, 1.0)]));
        assert_eq!(Spread::of(&ratios), None);
    }

    #[test]
    fn each_thing_has_its_turn_once_a_round_and_another_place_in_the_next() {
        let order = |round| turns(round, 3).collect::<Vec<_>>();
        assert_eq!([order(0), order(1), order(5)], [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
    }

    #[test]
    fn chunks_that_were_interrupted_are_not_in_the_mean() {
        assert_eq!(middle_mean(&[10.0, 12.0, 9.0, 5000.0]), 11.0);
        assert_eq!(middle_mean(&[10.0]), 10.0);
    }
}
