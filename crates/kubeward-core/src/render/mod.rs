//! How events are said: JSON lines for programs, strace-like lines and tables for people.
//!
//! Everything a watched process chose (strings, paths, its name) passes through [`escape`] on its way out: no byte
//! of it can end a line early or reach a terminal as a control sequence. Renderers append to a `Vec<u8>` that the
//! caller reuses, so that a line costs no allocation once the buffers have grown.

pub mod json;
pub mod line;
pub mod summary;
pub mod text;

mod base64;
mod error_text;
mod escape;
#[cfg(test)]
mod fixture;
mod time;
mod value;
