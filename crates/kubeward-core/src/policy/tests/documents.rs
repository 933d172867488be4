//! What may be written, and what is said about the rest.

use proptest::prelude::*;

use super::*;

/// The form that the first implementation documented.
const SEED: &str = "\
apiVersion: kubeward.kubeward/v1
kind: KubeWard
metadata:
  name: kubeward-sample
spec:
  kprobe:
    - name: sys_openat
    - name: sys_execve
  kretprobe:
    - name: sys_openat
";

const EVERYTHING: &str = r#"
  kprobe:     [{name: sys_openat}, {name: sys_execve}]
  kretprobe:  [{name: sys_openat}]
  syscalls:   [{name: unlinkat}]
  categories: [network, process]
  exclude:    [{name: recvfrom}]
  timing: false
  refused: false
  mode: Events
  selector:
    namespaces: [default, "team-*"]
    excludeNamespaces: [kube-system]
    podSelector: {matchLabels: {app: web}}
    containers: [app]
  filter: {errors: [EPERM, EACCES], minDuration: 250us, pathPrefix: [/etc]}
  limits: {eventsPerSecond: 1000, burst: 2000}
  coalesce: true
  capture: {argBytes: 256, argvBytes: 4096, dataBytes: 0, env: []}
  suspend: false"#;

#[test]
fn seed_document_is_accepted_unchanged() {
    let (policies, faults) = load("seed.yaml", SEED.as_bytes());
    assert_eq!(faults, []);
    assert_eq!(&*policies[0].name, "kubeward-sample");
    assert_eq!(wants(&policies[0].calls), [("execve", CallWant::CALL), ("openat", CallWant::CALL)]);
    assert_eq!(policies[0].refusals, []);
}

#[test]
fn every_field_is_read() {
    let (policies, faults) = parse("all.yaml", document("web", EVERYTHING).as_bytes());
    assert_eq!(faults, []);
    let spec = &policies[0].spec;
    assert!(spec.coalesce);
    assert_eq!(spec.kprobe, ["sys_openat", "sys_execve"]);
    assert_eq!(spec.categories, [crate::syscall::Category::Network, crate::syscall::Category::Process]);
    assert_eq!(spec.exclude, ["recvfrom"]);
    assert_eq!(
        spec.selector.to_string(),
        "namespaces default, team-*; not namespaces kube-system; pods app=web; containers app"
    );
    assert_eq!(spec.filter.min_duration, Some(std::time::Duration::from_micros(250)));
    assert_eq!(spec.limits, Some(Limits { events_per_second: 1000, burst: 2000 }));
    assert_eq!(spec.capture, Capture::default());
}

#[test]
fn absent_or_empty_spec_watches_nothing() {
    for spec in ["", "spec: {}", "spec:"] {
        let text = format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: web}}\n{spec}\n");
        let (policies, faults) = load("empty.yaml", text.as_bytes());
        assert_eq!(faults, []);
        assert!(policies[0].calls.is_empty());
        assert_eq!(policies[0].warnings, [Warning::NoCalls]);
    }
}

#[test]
fn what_an_api_server_adds_is_no_fault() {
    let text = "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: web, uid: x, generation: 2}\n\
                spec: {}\nstatus: {ready: 1/1}\n";
    assert_eq!(load("get.yaml", text.as_bytes()).1, []);
}

#[test]
fn each_document_is_judged_alone() {
    let good = document("good", "  syscalls: [{name: openat}]");
    let text = format!("{good}---\nkind: Pod\n---\n{}", good.replace("good", "better"));
    let (policies, faults) = load("many.yaml", text.as_bytes());
    assert_eq!(policies.iter().map(|p| &*p.name).collect::<Vec<_>>(), ["good", "better"]);
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["many.yaml, document 2, line 7: kind: kind is \"Pod\"; a policy's is \"KubeWard\""]);
}

#[test]
fn faults_name_file_document_line_field_and_remedy() {
    assert_eq!(
        faults_of("  kprobes: [{name: openat}]\n  kprobe: [{nmae: x}]\n  suspend: 'yes'"),
        [
            "test.yaml, document 1, line 5: spec.kprobes: unknown field \"kprobes\" (did you mean \"kprobe\"?)",
            "test.yaml, document 1, line 6: spec.kprobe[0].nmae: unknown field \"nmae\" (did you mean \"name\"?)",
            "test.yaml, document 1, line 6: spec.kprobe[0].name: missing; write {name: openat}",
            "test.yaml, document 1, line 7: spec.suspend: must be true or false without quotes, not the text \"yes\"",
        ]
    );
}

#[test]
fn wrong_values_are_refused_each_with_its_reason() {
    let cases = [
        ("  suspend: yes", "spec.suspend: must be true or false without quotes, not the text \"yes\""),
        ("  timing: 1", "spec.timing: must be true or false without quotes, not the number 1"),
        ("  syscalls: [openat]", "spec.syscalls[0]: must be a map of fields, not the text \"openat\""),
        ("  syscalls: openat", "spec.syscalls: must be a list like [{name: openat}], not the text \"openat\""),
        ("  syscalls: [{name: 'open at'}]", "spec.syscalls[0].name: \"open at\" is not a system call's name: at most 64 of a-z, 0-9 and '_', like openat"),
        ("  categories: [netwrok]", "spec.categories[0]: unknown category \"netwrok\" (did you mean \"network\"?)"),
        ("  mode: events", "spec.mode: unknown mode \"events\" (did you mean \"Events\"?)"),
        ("  filter: {errors: [EPERMS]}", "spec.filter.errors[0]: unknown error name \"EPERMS\"; use a name of errno(3), like EPERM or EACCES"),
        ("  filter: {minDuration: 250}", "spec.filter.minDuration: must be a duration with its unit, like 250us, 5s or 1h30m, not the number 250"),
        ("  filter: {minDuration: fast}", "spec.filter.minDuration: \"fast\" is not a duration with its unit, like 250us, 5s or 1h30m"),
        ("  filter: {pathPrefix: [etc]}", "spec.filter.pathPrefix[0]: \"etc\" is not an absolute path of at most 4095 bytes, like /etc"),
        ("  limits: {eventsPerSecond: 0}", "spec.limits.eventsPerSecond: 0 is out of range; choose from 1 to 1000000"),
        ("  limits: {burst: 5}", "spec.limits.eventsPerSecond: missing; write limits: {eventsPerSecond: 1000, burst: 2000}"),
        ("  limits: {eventsPerSecond: 1.5}", "spec.limits.eventsPerSecond: must be a whole number, not the number 1.5"),
        ("  capture: {argBytes: 99999}", "spec.capture.argBytes: 99999 is out of range; choose from 1 to 4096"),
        ("  selector: {namespaces: [Default]}", "spec.selector.namespaces[0]: \"Default\" is not a namespace or pattern: at most 63 of a-z, 0-9, '-', '*' and '?'"),
        ("  selector: {podSelector: {matchLabels: {canary: true}}}", "spec.selector.podSelector.matchLabels.canary: must be a label's value in quotes: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', not the boolean true"),
        ("  selector: {podSelector: {matchExpressions: [{key: a, operator: In}]}}", "spec.selector.podSelector.matchExpressions[0].values: missing; write {key: tier, operator: In, values: [web]}"),
        ("  selector: {podSelector: {matchExpressions: [{key: a, operator: Exists, values: [x]}]}}", "spec.selector.podSelector.matchExpressions[0].values: must be absent with operator Exists or DoesNotExist, not a list"),
        ("  timing: true\n  timing: true", "spec.timing: \"timing\" is there twice; keep one"),
    ];
    for (spec, expected) in cases {
        let faults = faults_of(spec);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].ends_with(expected), "{}\n{expected}", faults[0]);
    }
}

#[test]
fn every_category_can_be_named() {
    for category in crate::syscall::Category::ALL {
        let checked = policy("web", &format!("  categories: [{category}]"));
        assert_eq!(checked.calls.iter().count(), crate::syscall::in_category(category).count(), "{category}");
    }
}

#[test]
fn lists_are_bounded() {
    let entries = "{name: openat}, ".repeat(513);
    let faults = faults_of(&format!("  syscalls: [{entries}]"));
    assert_eq!(
        faults,
        ["test.yaml, document 1, line 5: spec.syscalls: has 513 entries, more than the 512 allowed; split the policy"]
    );
}

#[test]
fn files_that_are_no_policy_say_what_they_are() {
    let fault = |text: &[u8]| {
        let (policies, faults) = load("f.yaml", text);
        assert!(policies.is_empty());
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let empty = "f.yaml, document 1: the file holds no policy; write one, or remove the file";
    for text in ["", "# only words\n", "---\n---\n"] {
        assert_eq!(fault(text.as_bytes()), empty);
    }
    assert_eq!(
        fault(b"just words"),
        "f.yaml, document 1, line 1: must be a map of fields, not the text \"just words\""
    );
    assert!(fault(b"{a: [}").starts_with("f.yaml, document 1, line 1: not YAML: "), "{}", fault(b"{a: [}"));
    assert_eq!(fault(b"\x7fELF\xff"), "f.yaml, document 1: not UTF-8 text at byte 4; save the file as UTF-8");
    assert_eq!(fault(b"a: 1"), "f.yaml, document 1: kind is \"\"; a policy's is \"KubeWard\"");
    let v2 = document("web", "  {}").replace("/v1", "/v2");
    assert_eq!(
        fault(v2.as_bytes()),
        "f.yaml, document 1, line 1: apiVersion: apiVersion is \"kubeward.kubeward/v2\"; a policy's is \"kubeward.kubeward/v1\""
    );
    let unnamed = "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\n";
    assert_eq!(fault(unnamed.as_bytes()), "f.yaml, document 1, line 1: metadata: missing; write metadata: {name: web}");
    let misnamed = document("Web_1", "  {}");
    assert!(fault(misnamed.as_bytes()).contains("metadata.name: \"Web_1\" is not a name"));
}

proptest! {
    #[test]
    fn loading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        load("any", &bytes);
    }

    #[test]
    fn loading_text_of_yaml_signs_never_panics(text in r#"[-\[\]{}:,&*!|>'"%@`#?~a-c \n\t0]{0,80}"#) {
        load("any", text.as_bytes());
    }

    #[test]
    fn loading_a_damaged_policy_never_panics(
        at in 0..600_usize,
        len in 0..8_usize,
        with in r#"[-\[\]{}:,&*!|>'"%@`#?~a-c \n\t0]{0,4}"#,
    ) {
        let mut text = document("web", EVERYTHING);
        let at = at.min(text.len());
        let end = (at + len).min(text.len());
        text.replace_range(at..end, &with);
        load("any", text.as_bytes());
    }
}

#[test]
fn object_of_the_api_server_is_read_like_a_file_and_told_by_its_name() {
    let json = |spec: &str| {
        format!(
            r#"{{"apiVersion":"kubeward.kubeward/v1","kind":"KubeWard","metadata":{{"name":"web"}},"spec":{spec}}}"#
        )
    };
    let policy = load_object("KubeWard web", json(r#"{"kprobe":[{"name":"sys_openat"}]}"#).as_bytes());
    assert_eq!(policy.expect("nothing is wrong").name.as_ref(), "web");
    let faults = load_object("KubeWard web", json(r#"{"timing":"yes"}"#).as_bytes()).expect_err("no boolean");
    assert_eq!(
        faults[0].to_string(),
        "KubeWard web: spec.timing: must be true or false without quotes, not the text \"yes\""
    );
}
