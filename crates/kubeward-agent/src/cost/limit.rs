//! Whether KubeWard takes more than it was allowed to.

use std::fmt;
use std::str::FromStr;

use super::meter::Cost;

/// It is over when the cost has fallen below this part of the limit: a cost at the limit would be told again and again.
const OVER_AT: f64 = 0.8;

/// A share of one CPU, more than 0. May be more than 100: a machine has several.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct CpuPercent(f64);

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no share of a CPU: write a number of percent of one CPU above 0, for example 5 or 0.5")]
pub struct NoPercent(String);

impl CpuPercent {
    pub fn new(percent: f64) -> Result<Self, NoPercent> {
        match percent {
            _ if percent.is_finite() && percent > 0.0 => Ok(Self(percent)),
            _ => Err(NoPercent(percent.to_string())),
        }
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for CpuPercent {
    type Err = NoPercent;

    fn from_str(text: &str) -> Result<Self, NoPercent> {
        text.parse().ok().and_then(|percent| Self::new(percent).ok()).ok_or_else(|| NoPercent(text.to_owned()))
    }
}

impl fmt::Display for CpuPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether the cost is above the limit, told from now on by each cost after it.
pub(super) fn is_above(limit: CpuPercent, was_above: bool, cost: &Cost) -> bool {
    match was_above {
        false => cost.is_telling() && cost.percent() > limit.0,
        true => cost.percent() >= limit.0 * OVER_AT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_a_number_above_zero() {
        let read = |text: &str| text.parse::<CpuPercent>().map(CpuPercent::get).map_err(|error| error.to_string());
        assert_eq!([read("5"), read("0.5"), read("250")], [Ok(5.0), Ok(0.5), Ok(250.0)]);
        for wrong in ["0", "-1", "5%", "", "NaN", "inf"] {
            let error = read(wrong).expect_err("it is none");
            assert!(error.contains(&format!("{wrong:?}")) && error.contains("percent of one CPU"), "{error}");
        }
    }

    #[test]
    fn warning_begins_above_the_limit_and_ends_well_below_it() {
        let limit = CpuPercent::new(5.0).expect("it is one");
        let cost = |kernel_percent, user_percent, seconds: u64| Cost {
            kernel_percent,
            user_percent,
            averaged_ns: seconds * 1_000_000_000,
            ..Cost::default()
        };
        let mut above = false;
        let mut turn = |cost: Cost| {
            above = is_above(limit, above, &cost);
            above
        };
        assert!(!turn(cost(50.0, 50.0, 4)), "four seconds say nothing yet");
        assert!(!turn(cost(2.5, 2.5, 60)), "at the limit is within it");
        assert!(turn(cost(3.0, 2.1, 60)), "both sides together");
        assert!(turn(cost(2.0, 2.0, 60)), "not well below");
        assert!(!turn(cost(2.0, 1.9, 60)));
        assert!(!turn(cost(2.5, 2.4, 60)), "and it takes the limit to begin again");
    }
}
