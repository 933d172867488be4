//! From policies to hooks and maps: source -> reconcile -> apply.
//!
//! `source` reads policy files and notices when they change, `reconcile` says (without doing anything) what must change in
//! the kernel, `apply` does it. It must not know containerd or the output.

mod apply;
mod kernel;
mod reconcile;
mod source;

pub use apply::{Applier, ApplyError};
pub use kernel::{hook_bits, kernel_profile};
pub use reconcile::{reconcile, HookBits, Plan, ProfileId, Step, TooManyProfiles};
pub use source::{Look, NodeLabels, PolicyFiles, Problem, LOOK_EVERY};
