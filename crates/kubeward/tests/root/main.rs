//! Tests of the program as a whole on this machine's kernel.
//!
//! Tests named `root_*` need root, the others need nothing. The truth tests need strace and the programs
//! that `truth` names; a test that misses something fails and says what.

mod agent_start;
mod calls;
mod compare;
mod compat;
mod errors;
mod escape_ways;
mod events;
mod hostile;
mod local_api;
mod own_cost;
mod strace;
mod trace_calls;
mod trace_coalesce;
mod trace_command;
mod trace_count;
mod trace_ledger;
mod trace_many;
mod trace_stays;
mod tracer;
mod truth;
mod truth_programs;
mod truth_texts;
mod uring;
mod witness;
