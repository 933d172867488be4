//! What goes wrong is told by name, with the remedy, and by the exit code.
//!
//! 2: wrong usage or an invalid policy. 1: it failed. For `trace`, whose exit code is its command's: 125.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::events::Stream;
use crate::tracer::{binary, kubeward, plain_environment};

/// The exit code and what was said on stderr.
fn failure(output: &Output) -> (i32, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().unwrap_or_else(|| panic!("killed: {} {said}", output.status));
    assert!(!said.contains("panicked"), "{said}");
    (code, said)
}

/// Runs `kubeward ARGS` and expects this code and all of these words on stderr.
fn assert_refused(args: &[&str], expected: i32, words: &[&str]) {
    let (code, said) = failure(&kubeward(args).output().expect("kubeward runs"));
    assert_eq!(code, expected, "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: no {word} in: {said}");
    }
}

fn policy_file(content: impl AsRef<[u8]>) -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("policy.yaml");
    fs::write(&path, content).expect("a policy");
    let path = path.to_string_lossy().into_owned();
    (dir, path)
}

const GOOD: &str = "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: web}\n\
                    spec:\n  syscalls: [{name: sys_openat}]\n  categories: [network]\n";

/// Documents that are no policy, and what is said about them beside the file's name.
const BAD: [(&str, &str, &[&str]); 7] = [
    ("not YAML", "spec: [unclosed\n  kind: {", &[]),
    ("empty", "", &["no policy"]),
    ("another kind", "apiVersion: kubeward.kubeward/v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n", &["Pod", "KubeWard"]),
    (
        "an unknown field",
        "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: a}\nspec: {syscals: [{name: openat}]}\n",
        &["syscals"],
    ),
    (
        "an unknown call",
        "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: a}\nspec: {syscalls: [{name: sys_opnat}]}\n",
        &["sys_opnat", "sys_openat"],
    ),
    (
        "an unknown category",
        "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: a}\nspec: {categories: [netwrk]}\n",
        &["netwrk", "network"],
    ),
    ("bytes that are no text", "\u{0}\u{1}kind: KubeWard", &[]),
];

#[test]
fn wrong_usage_is_2_and_names_the_nearest() {
    assert_refused(&["tarce", "--", "true"], 2, &["tarce", "trace"]);
    assert_refused(&["trace", "--fromat", "json", "--", "true"], 2, &["--fromat", "--format"]);
    assert_refused(&["trace", "--format", "xml", "--", "true"], 2, &["xml", "json", "text"]);
    assert_refused(&["trace", "-e", "opnat", "--", "true"], 2, &["opnat", "openat"]);
    assert_refused(&["trace", "-e", "%netwrk", "--", "true"], 2, &["netwrk", "network"]);
    assert_refused(&["trace", "-e", "network", "--", "true"], 2, &["%network"]);
    assert_refused(&["trace", "-e", "", "--", "true"], 2, &[]);
    assert_refused(&["trace"], 2, &["CMD"]);
    assert_refused(&["trace", "--"], 2, &["CMD"]);
    assert_refused(&["syscalls", "--category", "netwrk"], 2, &["netwrk", "network"]);
    assert_refused(&["policy", "check"], 2, &["FILE"]);
    assert_refused(&["policy", "chek", "x"], 2, &["chek", "check"]);
}

#[test]
fn wrong_usage_of_the_agent_is_2_too() {
    assert_refused(&["agent", "--kubernetes", "perhaps"], 2, &["perhaps", "auto", "off"]);
    assert_refused(&["agent", "-e", "opnat"], 2, &["opnat", "openat"]);
    assert_refused(&["agent", "--probe-backend", "ftrace"], 2, &["ftrace", "tracepoint", "fentry"]);
}

#[test]
fn health_of_no_agent_is_a_failure_that_says_what_to_do() {
    assert_refused(&["health", "--socket", "/missing/agent.sock"], 1, &["/missing/agent.sock", "start kubeward agent"]);
    assert_refused(&["health", "--sockt", "/missing/agent.sock"], 2, &["--sockt", "--socket"]);
}

#[test]
fn help_and_version_are_no_failures() {
    for args in [&["--help"][..], &["trace", "--help"], &["policy", "check", "--help"], &["--version"], &["version"]] {
        let output = kubeward(args).output().expect("kubeward runs");
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{args:?}");
        assert!(!output.stdout.is_empty(), "{args:?}");
    }
    let help = kubeward(["trace", "--help"]).output().expect("kubeward runs");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.matches("kubeward trace ").count() >= 3, "the usage and two examples: {help}");
}

#[test]
fn policy_check_says_what_is_wrong_with_a_document() {
    for (what, document, words) in BAD {
        let (_dir, path) = policy_file(document);
        let (code, said) = failure(&kubeward(["policy", "check", &path]).output().expect("kubeward runs"));
        assert_eq!(code, 2, "{what}: {said}");
        for word in words.iter().chain([&path.as_str()]) {
            assert!(said.contains(word), "{what}: no {word} in: {said}");
        }
    }
    let (_dir, path) = policy_file(b"kind: \xff\xfe");
    assert_refused(&["policy", "check", &path], 2, &[&path]);
    assert_refused(&["policy", "check", "/missing/policy.yaml"], 2, &["/missing/policy.yaml"]);
    assert_refused(&["policy", "check", "/"], 2, &["/"]);
}

#[test]
fn policy_check_shows_what_a_good_one_attaches() {
    let (_dir, path) = policy_file(GOOD);
    let output = kubeward(["policy", "check", &path]).output().expect("kubeward runs");
    assert_eq!(failure(&output), (0, String::new()));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("web") && said.contains("openat") && said.contains("connect"), "{said}");
}

#[test]
fn policy_plan_refuses_what_check_refuses_before_it_asks_an_agent() {
    let (_dir, path) = policy_file(
        "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: a}\nspec: {syscalls: [{name: opnat}]}\n",
    );
    let check = failure(&kubeward(["policy", "check", &path]).output().expect("kubeward runs"));
    let plan = failure(
        &kubeward(["policy", "plan", "-f", &path, "--socket", "/missing/socket"]).output().expect("kubeward runs"),
    );
    assert_eq!(plan, check);
    assert_eq!(plan.0, 2);
    assert_refused(&["policy", "plan", "-f", "/missing/policy.yaml"], 2, &["/missing/policy.yaml"]);
    for time in ["0s", "61s", "5"] {
        assert_refused(&["policy", "plan", "-f", &path, "--for", time], 2, &[time, "--for"]);
    }
    let (_dir, path) = policy_file(GOOD);
    assert_refused(
        &["policy", "plan", "-f", &path, "--socket", "/missing/socket"],
        1,
        &["no agent answers", "kubeward agent"],
    );
}

#[test]
fn a_policy_that_names_nothing_is_valid() {
    let document = "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: idle}\nspec: {}\n";
    let (_dir, path) = policy_file(document);
    let output = kubeward(["policy", "check", &path]).output().expect("kubeward runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing"), "{output:?}");
}

#[test]
fn syscalls_lists_the_catalogue() {
    let list = |args: &[&str]| {
        let output = kubeward(args).output().expect("kubeward runs");
        assert_eq!(failure(&output), (0, String::new()), "{args:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let has = |text: &str, words: &[&str]| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    let all = list(&["syscalls"]);
    assert!(has(&all, &["openat", "257", "file"]) && has(&all, &["connect", "42", "network"]), "{all}");
    assert!(all.lines().count() >= 350, "{} lines", all.lines().count());
    let network = list(&["syscalls", "--category", "network"]);
    assert!(has(&network, &["connect", "42"]) && !network.contains("openat"), "{network}");
}

#[test]
fn root_trace_refuses_a_bad_policy_before_it_runs_the_command() {
    for (what, document, words) in BAD {
        let (dir, path) = policy_file(document);
        let mark = dir.path().join("mark");
        let output = kubeward(["trace", "-f", &path, "--", "touch"]).arg(&mark).output().expect("kubeward runs");
        let (code, said) = failure(&output);
        assert_eq!(code, 2, "{what}: {said}");
        assert!(words.iter().chain([&path.as_str()]).all(|word| said.contains(word)), "{what}: {said}");
        assert!(!mark.exists(), "{what}: the command ran");
    }
}

/// The binary where anybody may run it.
fn public_binary() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let copy = dir.path().join("kubeward");
    fs::copy(binary(), &copy).unwrap_or_else(|e| panic!("{}: {e}", binary().display()));
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
    (dir, copy)
}

/// `setpriv OPTIONS kubeward ARGS`.
fn with_less_privilege(options: &[&str], args: &[&str]) -> Output {
    let (_dir, program) = public_binary();
    let mut line = Command::new("setpriv");
    plain_environment(&mut line);
    line.args(options).arg(program).args(args).current_dir("/").output().expect("setpriv runs")
}

const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

#[test]
fn root_trace_without_root_says_what_it_needs() {
    let (code, said) = failure(&with_less_privilege(&NOBODY, &["trace", "--", "true"]));
    assert_eq!(code, 125, "{said}");
    assert!(said.contains("root") && said.contains("CAP_BPF"), "{said}");
}

#[test]
fn root_trace_without_a_capability_says_which() {
    for capability in ["bpf", "perfmon"] {
        let bounding = format!("--bounding-set=-{capability},-sys_admin");
        let (code, said) = failure(&with_less_privilege(&[&bounding], &["trace", "--host", "--", "true"]));
        assert_eq!(code, 125, "{said}");
        let name = format!("CAP_{}", capability.to_uppercase());
        assert!(said.contains(&name), "no {name} in: {said}");
    }
}

#[test]
fn root_what_needs_no_root_works_without() {
    let (dir, path) = policy_file(GOOD);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    for args in [&["syscalls"][..], &["version"], &["doctor"], &["--help"]] {
        let output = with_less_privilege(&NOBODY, args);
        assert!(output.status.code().is_some_and(|code| code < 2), "{args:?}: {output:?}");
        assert!(!output.stdout.is_empty(), "{args:?}: {output:?}");
    }
    let output = with_less_privilege(&NOBODY, &["policy", "check", &path]);
    // The policy lies in a folder that is closed to others: that is said, and is not the policy's fault.
    let (code, said) = failure(&output);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(&path) && said.contains("ermission denied"), "{said}");
}

#[test]
fn root_doctor_says_what_this_kernel_allows() {
    let output = kubeward(["doctor"]).output().expect("kubeward runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for word in
        ["BTF", "preempt", "recursion_misses", "tracepoint", "kprobe", "fentry", "core_pattern", "ptrace", "D-Bus"]
    {
        assert!(said.contains(word), "no {word} in\n{said}");
    }
}

/// Runs a shell script in a mount namespace of its own; `$KW` is the binary.
fn in_own_mounts(script: &str, dir: &Path) -> Output {
    let mut line = Command::new("unshare");
    plain_environment(&mut line);
    line.env("KW", binary()).args(["--mount", "/bin/sh", "-c", script]).current_dir(dir);
    line.output().expect("unshare runs")
}

#[test]
fn root_trace_without_btf_says_so() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$KW\" trace -- touch mark";
    let (code, said) = failure(&in_own_mounts(script, dir.path()));
    assert_eq!(code, 125, "{said}");
    assert!(said.contains("/sys/kernel/btf/vmlinux") && said.contains("BTF"), "{said}");
    assert!(!dir.path().join("mark").exists(), "the command ran unwatched");
}

#[test]
fn root_trace_refuses_an_output_that_cannot_be_written() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for output in ["/missing/folder/events", "/", "/proc/version"] {
        let mark = dir.path().join("mark");
        let run = kubeward(["trace", "-o", output, "--", "touch"]).arg(&mark).output().expect("kubeward runs");
        let (code, said) = failure(&run);
        assert_eq!(code, 125, "{output}: {said}");
        assert!(said.contains(output), "{output}: {said}");
        assert!(!mark.exists(), "{output}: the command ran unwatched");
    }
}

/// The command goes on, the trace ends with one message, and what was written is whole lines.
#[test]
fn root_trace_survives_a_full_disk() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let script = "mount -t tmpfs -o size=64k none /mnt && cd /mnt && \
                  \"$KW\" trace --format json -o events -- /bin/dd if=/dev/zero of=/dev/null bs=1 count=5000 status=none; \
                  code=$?; cat events; exit $code";
    let output = in_own_mounts(script, dir.path());
    let (code, said) = failure(&output);
    assert_eq!(code, 125, "{said}");
    assert!(said.contains("events") && said.contains("No space left on device"), "{said}");
    assert_eq!(said.lines().count(), 1, "one message: {said}");
    let last_line = output.stdout.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let stream = Stream::parse(&output.stdout[..last_line]).unwrap_or_else(|e| panic!("{e}"));
    assert!(!stream.events.is_empty());
}

#[test]
fn root_trace_ends_quietly_when_its_reader_is_gone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let script = "{ \"$KW\" trace -o - -- /bin/sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); : </dev/null; done; \
                  touch finished'; echo $? >code; } | head -n 1";
    let output = in_own_mounts(script, dir.path());
    let (_, said) = failure(&output);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    assert!(dir.path().join("finished").exists(), "the command goes on: {said}");
    let code = fs::read_to_string(dir.path().join("code")).expect("the code of kubeward");
    assert!(matches!(code.trim(), "0" | "125"), "{code}: {said}");
    assert!(!said.contains("panic"), "{said}");
}
