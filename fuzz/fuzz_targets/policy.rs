//! Any bytes of a policy file are policies or faults that say where they are; never a panic.

#![no_main]

use kubeward_core::policy::{load, PolicySet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (policies, faults) = load("fuzz.yaml", data);
    // What the kernel would be told of them must exist too, for as many as are taken.
    let (set, refused) = PolicySet::new(policies);
    let _ = set.hooks();
    for fault in faults.iter().chain(&refused) {
        assert!(!fault.to_string().is_empty());
    }
});
