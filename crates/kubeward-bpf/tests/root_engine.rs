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
    // Under live preemption tracing programs skip runs, and then the classic tracepoint is the exact one.
    let raw = verdicts.iter().filter(|verdict| ["tp_btf", "classic tracepoint"].contains(&verdict.name));
    let said: Vec<&str> = raw.clone().map(|verdict| verdict.detail.as_str()).collect();
    assert!(raw.clone().any(|verdict| verdict.exact == Some(true)), "{said:?}");

    let probes = Probes::new(engine(), Backend::Auto).expect("some backend works");
    let said = probes.explain().join("\n");
    assert!(said.contains("auto: "), "{said}");
    assert_eq!(probes.skipped(), 0);
}
