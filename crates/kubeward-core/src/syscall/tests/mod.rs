//! What the catalogue promises to the rest of the program.

mod catalogue;
mod flag_text;
mod names;
mod sets;
