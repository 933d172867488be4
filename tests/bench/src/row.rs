//! A row of the table: what is measured and wanted, and what came of it.

use serde::{Deserialize, Serialize};

use crate::excuse::{Excuse, WhyNot};
use crate::measure::Spread;

/// What a row promises to tell, known before anything runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// For `--only`, and the same in every run: `kernel/record/getppid`.
    pub name: String,
    pub what: String,
    /// What the ratio is to.
    pub against: String,
    /// Of the figure: `ns/call`, `events/s`, `MiB`.
    pub unit: String,
    pub goal: Option<Goal>,
}

impl Spec {
    /// A row of a figure that is beside nothing, and has a goal.
    pub fn alone(name: &str, what: impl Into<String>, unit: &str, goal: Goal) -> Self {
        Self { name: name.into(), what: what.into(), against: "-".into(), unit: unit.into(), goal: Some(goal) }
    }
}

/// A bound that the median is to keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    FigureAtMost(f64),
    FigureAtLeast(f64),
    /// The ratio is no further above 1 than the quartiles of nothing to nothing are from 1 in the same run.
    WithinNoise,
}

/// What was measured for the row of that name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub name: String,
    pub figure: Spread,
    pub ratio: Option<Spread>,
    /// For [`Goal::WithinNoise`]: the ratios of nothing to nothing.
    pub noise: Option<Spread>,
    /// What else a reader must know: losses, sizes, the state of a ledger.
    pub note: Option<String>,
    /// Why no figure meets the goal: `lost 12 events`, which cost less than those that are kept.
    pub fault: Option<String>,
}

impl Measured {
    /// Without a ratio.
    pub fn figure(name: impl Into<String>, figure: Spread) -> Self {
        Self { name: name.into(), figure, ratio: None, noise: None, note: None, fault: None }
    }

    pub fn with_ratio(self, ratio: Spread) -> Self {
        Self { ratio: Some(ratio), ..self }
    }

    pub fn with_noise(self, noise: Spread) -> Self {
        Self { noise: Some(noise), ..self }
    }

    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    pub fn with_fault(self, fault: impl Into<String>) -> Self {
        Self { fault: Some(fault.into()), ..self }
    }
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Met,
    NotMet,
    /// There is no goal: measured for comparison.
    Measured,
    NotRun,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    #[serde(flatten)]
    pub spec: Spec,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub figure: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ratio: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub noise: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fault: Option<String>,
    /// Why it was not run.
    #[serde(flatten)]
    pub why: Option<WhyNot>,
}

impl Row {
    pub fn not_run(spec: Spec, why: WhyNot) -> Self {
        let (figure, ratio, noise, note, fault) = (None, None, None, None, None);
        Self { spec, outcome: Outcome::NotRun, figure, ratio, noise, note, fault, why: Some(why) }
    }

    pub fn measured(spec: Spec, measured: Measured) -> Self {
        let Measured { figure, ratio, noise, note, fault, .. } = measured;
        let Some(outcome) = judge(spec.goal, figure, ratio, noise) else {
            let why = "what it is to be compared with added no time that could be measured";
            return Self::not_run(spec, WhyNot::excused(Excuse::OneRound, why));
        };
        let outcome = if fault.is_some() { Outcome::NotMet } else { outcome };
        Self { spec, outcome, figure: Some(figure), ratio, noise, note, fault, why: None }
    }
}

fn judge(goal: Option<Goal>, figure: Spread, ratio: Option<Spread>, noise: Option<Spread>) -> Option<Outcome> {
    let is_met = match goal {
        None => return Some(Outcome::Measured),
        Some(Goal::RatioAtMost(most)) => ratio?.median <= most,
        Some(Goal::RatioAtLeast(least)) => ratio?.median >= least,
        Some(Goal::FigureAtMost(most)) => figure.median <= most,
        Some(Goal::FigureAtLeast(least)) => figure.median >= least,
        Some(Goal::WithinNoise) => ratio?.median <= most_of_noise(noise?),
    };
    Some(if is_met { Outcome::Met } else { Outcome::NotMet })
}

/// Up to which ratio it may be noise: as far above 1 as the quartiles of nothing beside nothing are from 1.
pub fn most_of_noise(noise: Spread) -> f64 {
    1.0 + (noise.upper_quartile - 1.0).max(1.0 - noise.lower_quartile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(goal: Goal, figure: f64, ratio: Option<f64>) -> Outcome {
        let spec = Spec { name: "a".into(), what: "".into(), against: "".into(), unit: "".into(), goal: Some(goal) };
        // One round of nothing took twice its time.
        let noise = Spread::of(&[0.96, 0.97, 1.0, 1.02, 2.0]);
        let figure = Spread::exactly(figure);
        let measured = Measured { ratio: ratio.map(Spread::exactly), noise, ..Measured::figure("a", figure) };
        Row::measured(spec, measured).outcome
    }

    #[test]
    fn goal_is_kept_up_to_its_bound() {
        assert_eq!(outcome(Goal::RatioAtMost(1.2), 0.0, Some(1.2)), Outcome::Met);
        assert_eq!(outcome(Goal::RatioAtMost(1.2), 0.0, Some(1.21)), Outcome::NotMet);
        assert_eq!(outcome(Goal::RatioAtLeast(0.85), 0.0, Some(0.84)), Outcome::NotMet);
        assert_eq!(outcome(Goal::FigureAtMost(25.0), 25.0, None), Outcome::Met);
        assert_eq!(outcome(Goal::FigureAtLeast(700_000.0), 699_999.0, None), Outcome::NotMet);
    }

    #[test]
    fn noise_is_what_nothing_does_to_nothing() {
        assert_eq!(outcome(Goal::WithinNoise, 0.0, Some(1.03)), Outcome::Met);
        assert_eq!(outcome(Goal::WithinNoise, 0.0, Some(1.05)), Outcome::NotMet);
        assert_eq!(outcome(Goal::WithinNoise, 0.0, Some(0.9)), Outcome::Met);
    }

    #[test]
    fn figure_with_a_fault_meets_no_goal() {
        let spec = Spec { name: "a".into(), what: "".into(), against: "".into(), unit: "".into(), goal: None };
        let row = Row::measured(spec, Measured::figure("a", Spread::exactly(1.0)).with_fault("lost 1 event"));
        assert_eq!((row.outcome, row.fault.as_deref()), (Outcome::NotMet, Some("lost 1 event")));
    }

    #[test]
    fn goal_of_a_ratio_without_one_was_not_run() {
        assert_eq!(outcome(Goal::RatioAtMost(1.2), 1.0, None), Outcome::NotRun);
    }
}
