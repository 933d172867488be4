//! The engine on this kernel, without the rest of the program. Needs root.

use std::sync::Arc;

use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{self, Backend, Probes};

fn engine() -> Arc<Engine> {
    Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"))
}

/// One test: the self-test counts the calls of its own process, and two at once would count each other's.
#[test]
fn root_the_self_test_finds_an_exact_backend() {
    let verdicts = probe::survey(&engine()).expect("forks and execs can be followed");
    let tp_btf = verdicts.iter().find(|verdict| verdict.name == "tp_btf").expect("it is always tried");
    assert_eq!(tp_btf.exact, Some(true), "{}", tp_btf.detail);

    let probes = Probes::new(engine(), Backend::Auto).expect("some backend works");
    let said = probes.explain().join("\n");
    assert!(said.contains("auto: "), "{said}");
    assert_eq!(probes.skipped(), 0);
}
