//! From records to lines: decode -> attribute -> select -> redact -> aggregate -> output.
//!
//! All of it runs in the thread that reads the ring, one record after the other, so that lines are in ring order, but for
//! identical calls in a row that wait to be one, and every record is counted where it ends. What the agent wants of it comes as [`Command`]s. It must not know containerd,
//! policy files or where lines go.

mod account;
mod books;
mod by_slot;
mod clock;
mod coalesce;
mod command;
mod coverage;
mod feedback;
mod flow;
mod held;
mod kernel_accounts;
mod lines;
mod member;
mod output;
mod programs;
mod queue;
mod strays;
mod switch;
#[cfg(test)]
mod tests;
mod writer;

pub use account::UserCounts;
pub use clock::{monotonic_ns, Clocks};
pub use command::{commands, Accounts, Command, Commands, Doubts, TableNow, Watched};
pub use coverage::Coverage;
pub use feedback::{OwnOutput, OwnPod};
pub use flow::{Finished, KernelTable, Parts, Pipeline};
pub use kernel_accounts::KernelAccounts;
pub use lines::Lines;
pub use output::{Direct, EventOutput, Losses};
pub use queue::Queue;
