//! Why a row may have no figure while nothing is wrong. There are few such reasons; whatever else keeps a row from being
//! measured is a failure.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Excuse {
    /// Whoever measures is not root.
    NeedsRoot,
    /// This kernel does not show what the row attaches to.
    NoSuchHook,
    /// Another program that is compared with is not installed.
    NoSuchTool,
    /// One round of small loads is too short for it. In a run that measures it is no excuse.
    OneRound,
}

impl Excuse {
    /// Whether it holds in a report of one round, or of many.
    pub fn holds(self, is_once: bool) -> bool {
        self != Self::OneRound || is_once
    }

    /// An error that has this excuse, also under any context.
    pub fn error(self, told: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Excused { excuse: self, told: told.into() })
    }
}

#[derive(Debug)]
struct Excused {
    excuse: Excuse,
    told: String,
}

impl fmt::Display for Excused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.told)
    }
}

impl std::error::Error for Excused {}

/// Why a row has no figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyNot {
    /// For people.
    pub why: String,
    /// `None`: something failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub excuse: Option<Excuse>,
}

impl WhyNot {
    pub fn excused(excuse: Excuse, why: impl Into<String>) -> Self {
        Self { why: why.into(), excuse: Some(excuse) }
    }

    pub fn failed(why: impl Into<String>) -> Self {
        Self { why: why.into(), excuse: None }
    }
}

impl From<anyhow::Error> for WhyNot {
    fn from(error: anyhow::Error) -> Self {
        let excused = error.chain().find_map(|cause| cause.downcast_ref::<Excused>());
        Self { why: format!("{error:#}"), excuse: excused.map(|excused| excused.excuse) }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{anyhow, Context, Result};

    use super::*;

    #[test]
    fn excuse_is_found_under_what_was_being_done_and_nowhere_else() {
        let failed: Result<()> = Err(Excuse::NoSuchTool.error("perf: not found"));
        let why = WhyNot::from(failed.context("asking for perf").expect_err("it failed"));
        assert_eq!(why, WhyNot::excused(Excuse::NoSuchTool, "asking for perf: perf: not found"));
        let why = WhyNot::from(anyhow!("needs root").context("starting the agent"));
        assert_eq!(why, WhyNot::failed("starting the agent: needs root"));
    }
}
