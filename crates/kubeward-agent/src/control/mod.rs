//! From policies to hooks and maps: source -> choose -> reconcile -> apply.
//!
//! `source` reads policy files and notices when they change (the cluster's come from `kubernetes`), `choose` says which are to
//! be in force, `wanted` is those and what is only tried, `reconcile` says (without doing anything) what must change in
//! the kernel, `apply` does it. It must not know containerd or the output.

mod apply;
mod choose;
mod kernel;
mod reconcile;
mod reused;
mod source;
mod wanted;

pub use apply::{Applier, ApplyError, Opening, Settled};
pub use choose::{choose, Choice, LeftOut};
pub use kernel::{hook_bits, kernel_limits, kernel_profile};
pub use reconcile::{reconcile, HookBits, Plan, ProfileId, Step, TooManyProfiles};
pub use source::{Look, NodeLabels, PolicyFiles, Problem, LOOK_EVERY};
pub use wanted::{Tried, Wanted};
