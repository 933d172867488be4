//! The reader and the schema against each other, on texts that nobody wrote.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kubeward_agent::kubernetes::crd::definitions;
use kubeward_core::policy::limits::MAX_ENTRIES;
use kubeward_core::policy::parse;
use kubeward_core::syscall;
use proptest::prelude::*;
use serde_json::{json, Value};

use super::server::refusals;

/// Whether the reader and the schema accept a policy with this `spec`.
fn verdicts(spec: &Value) -> (bool, bool) {
    let document = json!({
        "apiVersion": "kubeward.kubeward/v1", "kind": "KubeWard", "metadata": {"name": "any"}, "spec": spec,
    });
    // JSON is YAML.
    let (_, faults) = parse("any", document.to_string().as_bytes());
    static DEFINITIONS: LazyLock<[CustomResourceDefinition; 2]> = LazyLock::new(definitions);
    (faults.is_empty(), refusals(&DEFINITIONS[0], &document).is_empty())
}

/// Texts near what some rule is about, and any text at all.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_.*?/ =-]{0,8}",
        "[0-9]{1,3}(ns|us|µs|ms|s|m|h|d|)([0-9](s|m|)){0,2}",
        "[a-z0-9-]{60,66}",
        "[A-Za-z0-9]{0,2}[._-][A-Za-z0-9]{0,2}",
        "([a-z]{0,2}[.]){0,2}[a-z]{0,2}/[A-Za-z]{0,3}",
        "E[A-Z0-9]{1,6}",
        any::<String>(),
        "[ \t\n\u{85}\u{a0}\u{2028}\u{3000}a]{1,3}",
    ]
}

/// Members whose text one rule judges, each with a spec that holds nothing else.
fn one_text(place: usize, text: &str) -> Value {
    match place {
        0 => json!({"kprobe": [{"name": text}]}),
        1 => json!({"exclude": [{"name": "read"}, {"name": text}]}),
        2 => json!({"categories": [text]}),
        3 => json!({"mode": text}),
        4 => json!({"selector": {"namespaces": [text]}}),
        5 => json!({"selector": {"excludeNamespaces": [text]}}),
        6 => json!({"selector": {"containers": [text]}}),
        7 => json!({"selector": {"podSelector": {"matchLabels": {"app": text}}}}),
        8 => json!({"nodeSelector": {"matchExpressions": [{"key": text, "operator": "Exists"}]}}),
        9 => json!({"nodeSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": [text]}]}}),
        10 => json!({"filter": {"minDuration": text}}),
        11 => json!({"filter": {"pathPrefix": [text]}}),
        12 => json!({"capture": {"env": [text]}}),
        13 => json!({"expireAfter": text}),
        _ => json!({ text: [] }),
    }
}

/// Whatever JSON has, for places where it does not belong.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..5000).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop_oneof![Just(json!([])), Just(json!({})), Just(json!(1.5)), Just(json!("x")), Just(json!([null]))],
    ]
}

fn one_scalar(place: usize, value: &Value) -> Value {
    match place {
        0 => json!({"kprobe": value}),
        1 => json!({"kretprobe": [value]}),
        2 => json!({"syscalls": [{"name": value}]}),
        3 => json!({"timing": value}),
        4 => json!({"suspend": value, "refused": true}),
        5 => json!({"limits": {"eventsPerSecond": value}}),
        6 => json!({"limits": {"eventsPerSecond": 5, "burst": value}}),
        7 => json!({"limits": value}),
        8 => json!({"capture": {"argBytes": value}}),
        9 => json!({"capture": {"argvBytes": value}}),
        10 => json!({"capture": {"dataBytes": value}}),
        11 => json!({"filter": value}),
        12 => json!({"selector": value}),
        13 => json!({"selector": {"podSelector": value}}),
        14 => json!({"nodeSelector": {"matchLabels": value}}),
        15 => json!({"nodeSelector": {"matchExpressions": value}}),
        16 => json!({"expireAfter": value}),
        17 => json!({"mode": value}),
        18 => json!({"nodeSelector": {"matchExpressions": [{"key": value, "operator": "Exists"}]}}),
        19 => json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": value}]}}),
        20 => json!({"coalesce": value}),
        _ => value.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn texts_are_judged_alike(place in 0..15_usize, text in text()) {
        let (reader, schema) = verdicts(&one_text(place, &text));
        prop_assert_eq!(reader, schema, "{:?}", one_text(place, &text));
    }

    #[test]
    fn values_of_any_type_are_judged_alike(place in 0..22_usize, value in scalar()) {
        let spec = one_scalar(place, &value);
        let (reader, schema) = verdicts(&spec);
        prop_assert_eq!(reader, schema, "{:?}", spec);
    }
}

#[test]
fn long_lists_are_judged_alike() {
    let lists: &[fn(usize) -> Value] = &[
        |len| json!({"kprobe": vec![json!({"name": "openat"}); len]}),
        |len| json!({"exclude": vec![json!({"name": "openat"}); len]}),
        |len| json!({"categories": vec!["file"; len]}),
        |len| json!({"selector": {"namespaces": vec!["a"; len]}}),
        |len| json!({"selector": {"containers": vec!["a"; len]}}),
        |len| json!({"filter": {"errors": vec!["EPERM"; len]}}),
        |len| json!({"filter": {"pathPrefix": vec!["/"; len]}}),
        |len| json!({"capture": {"env": vec!["A"; len]}}),
        |len| json!({"nodeSelector": {"matchExpressions": vec![json!({"key": "a", "operator": "Exists"}); len]}}),
        |len| json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": vec!["a"; len]}]}}),
        |len| json!({"nodeSelector": {"matchLabels": (0..len).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>()}}),
    ];
    for list in lists {
        assert_eq!(verdicts(&list(MAX_ENTRIES)), (true, true));
        assert_eq!(verdicts(&list(MAX_ENTRIES + 1)), (false, false), "{}", list(1));
    }
}

#[test]
fn long_texts_are_judged_alike() {
    let longest = [("kprobe", 64), ("namespaces", 63), ("containers", 253), ("pathPrefix", 4095), ("env", 255)];
    for (member, len) in longest {
        let spec = |len: usize| match member {
            "kprobe" => json!({"kprobe": [{"name": "a".repeat(len)}]}),
            "pathPrefix" => json!({"filter": {"pathPrefix": ["/".repeat(len)]}}),
            "env" => json!({"capture": {"env": ["a".repeat(len)]}}),
            _ => json!({"selector": {member: ["a".repeat(len)]}}),
        };
        assert_eq!(verdicts(&spec(len)), (true, true), "{member}");
        assert_eq!(verdicts(&spec(len + 1)), (false, false), "{member}");
    }
}

#[test]
fn every_error_of_the_catalogue_fits_the_pattern() {
    let names: Vec<String> = (1..1024).filter_map(syscall::errno_name).map(ToString::to_string).collect();
    assert!(names.len() > 130, "{names:?}");
    for name in names {
        assert_eq!(verdicts(&json!({"filter": {"errors": [name]}})), (true, true), "{name}");
    }
}
