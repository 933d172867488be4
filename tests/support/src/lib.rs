//! What tests of the whole program share: a private containerd with hand-built images, a private API server.
//!
//! Nothing here knows KubeWard itself. A harness that cannot start fails its test with the remedy; it never
//! lets one pass unrun.

pub mod containerd;
pub mod image;
pub mod kubernetes;

/// Whether tests run with the numbers that their claims are made with (`make test-full`), or with smaller ones.
pub fn is_full() -> bool {
    std::env::var("KUBEWARD_TEST_FULL").is_ok_and(|value| value == "1")
}
