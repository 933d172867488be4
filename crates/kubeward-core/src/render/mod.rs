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

use crate::event::Call;

/// The call's name as every output has it: `syscall_0x1ff` for a number without one.
pub fn call_name(call: &Call) -> String {
    let mut name = Vec::new();
    value::write_name(&mut name, call);
    String::from_utf8_lossy(&name).into_owned()
}
