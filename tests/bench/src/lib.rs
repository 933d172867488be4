//! What watching costs, beside what it costs with nothing, with the bare mechanism, and with what one would use instead.
//!
//! A group of rows is a module with `rows` (what it promises to tell) and `run` (what it found); [`registry`] lists them.

pub mod check;
pub mod cpu;
pub mod excuse;
pub mod judge;
pub mod kernel;
pub mod line;
pub mod load;
pub mod measure;
pub mod parts;
pub mod peers;
pub mod product;
pub mod registry;
pub mod report;
pub mod row;
pub mod vm;
