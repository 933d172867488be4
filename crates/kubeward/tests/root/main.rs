//! Tests of the program as a whole on this machine's kernel.
//!
//! Tests named `root_*` need root, the others need nothing. The truth tests need strace and the programs
//! that `truth` names; a test that misses something fails and says what.

mod calls;
mod compare;
mod events;
mod strace;
mod trace_calls;
mod tracer;
mod truth;
mod truth_programs;
mod witness;
