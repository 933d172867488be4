//! What the catalogue promises to the rest of the program.

mod catalogue;
mod compat;
mod flag_text;
mod names;
mod sets;
