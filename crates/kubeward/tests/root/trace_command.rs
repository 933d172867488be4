//! `kubeward trace` around its command: the command runs as it would without, and its options do what they say.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::events::Stream;
use crate::tracer::{kubeward, plain_environment, read_stream, trace, trace_command, trace_in};

const SH: [&str; 2] = ["/bin/sh", "-c"];

fn sh(script: &str) -> [&str; 3] {
    [SH[0], SH[1], script]
}

#[test]
fn root_trace_of_cat_is_the_promised_one() {
    let traced = trace(&[], ["cat", "/etc/hostname"]);
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    assert_eq!(traced.output.stdout, fs::read("/etc/hostname").expect("the machine has a name"));
    let opened = |event: &&&crate::events::Event| event.syscall.path.as_deref() == Some("/etc/hostname");
    let opens = traced.stream.of("openat");
    let open = opens.iter().find(opened).expect("an openat of /etc/hostname");
    assert!(open.syscall.ret >= Some(3) && open.syscall.duration_ns > Some(0), "{open:?}");
    let executions = traced.stream.of("execve");
    let started = executions.iter().find(|event| event.syscall.ret == Some(0)).expect("the execve of cat");
    assert_eq!(started.arg(1).list.as_deref(), Some(&["cat".to_owned(), "/etc/hostname".to_owned()][..]));
    traced.stream.assert_nothing_lost();
    let in_order = traced.stream.events.windows(2).all(|pair| pair[0].seq < pair[1].seq);
    assert!(in_order, "seq names an event once and grows");
    let is_time = |time: &str| time.len() == 30 && time.starts_with("20") && time.ends_with('Z');
    assert!(is_time(&open.time), "nanoseconds in RFC 3339: {}", open.time);
}

#[test]
fn root_trace_leaves_the_streams_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let events = dir.path().join("events.jsonl");
    let mut running = trace_command(&[], &events)
        .args(sh("cat; echo to-stderr >&2"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubeward starts");
    running.stdin.take().expect("it is piped").write_all(b"through\n").expect("it reads");
    let output = running.wait_with_output().expect("kubeward ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "to-stderr\n");
}

#[test]
fn root_trace_exits_as_its_command_does() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let not_executable = dir.path().join("plain");
    fs::write(&not_executable, "text").expect("a file");
    let plain = not_executable.to_string_lossy();
    for (command, expected) in [
        (&sh("exit 0")[..], 0),
        (&sh("exit 7"), 7),
        (&sh("kill -TERM $$"), 128 + 15),
        (&sh("kill -KILL $$"), 128 + 9),
        (&sh("kill -SEGV $$"), 128 + 11),
        (&["/missing/program"], 127),
        (&["no-such-program"], 127),
        (&[&plain], 126),
    ] {
        let traced = trace(&[], command);
        assert_eq!(traced.code(), expected, "{command:?}: {}", traced.stderr());
        if matches!(expected, 126 | 127) {
            assert!(traced.stderr().contains(command[0]), "{command:?} is named in {}", traced.stderr());
        }
    }
}

#[test]
fn root_trace_gives_its_command_a_container_of_its_own() {
    let script = "echo $$; cat /proc/1/comm; readlink /proc/self/ns/pid /proc/self/ns/mnt; ls -d /proc/[0-9]* | wc -l";
    let traced = trace(&["-e", "execve"], sh(script));
    let said = traced.stdout();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), 5, "{said:?} {}", traced.stderr());
    assert_ne!(said[0], "1", "the command is not process 1");
    assert_ne!(said[1], "sh", "process 1 is KubeWard's init");
    for (own, kind) in said[2..4].iter().zip(["pid", "mnt"]) {
        let outside = fs::read_link(format!("/proc/self/ns/{kind}")).expect("this process has namespaces");
        assert_ne!(*own, outside.to_string_lossy(), "{kind} namespace");
    }
    // init, sh, ls and wc: /proc shows this namespace and not the machine.
    assert!(said[4].parse::<u32>().is_ok_and(|count| count <= 4), "{said:?}");
    let shell = &traced.stream.events.iter().find(|event| event.process.comm == "sh").expect("sh was seen").process;
    assert_eq!(shell.container_pid.to_string(), said[0]);
    assert_ne!(shell.pid, shell.container_pid, "pid is the host's");
}

#[test]
fn root_trace_host_runs_the_command_in_place() {
    let traced = trace(&["--host", "-e", "execve"], sh("echo $$; readlink /proc/self/ns/pid /proc/self/ns/mnt"));
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    let said = traced.stdout();
    let said: Vec<&str> = said.lines().collect();
    for (own, kind) in said[1..].iter().zip(["pid", "mnt"]) {
        let outside = fs::read_link(format!("/proc/self/ns/{kind}")).expect("this process has namespaces");
        assert_eq!(*own, outside.to_string_lossy(), "{kind} namespace");
    }
    let shell = &traced.stream.events.iter().find(|event| event.process.comm == "sh").expect("sh was seen").process;
    assert_eq!((shell.pid.to_string().as_str(), shell.container_pid), (said[0], shell.pid));
    traced.stream.assert_nothing_lost();
}

/// What a command inherits: folder, environment, descriptors, limits, signals, identity.
#[test]
fn root_trace_hands_down_what_the_command_would_inherit() {
    let script = "pwd; env | sort; umask; ulimit -a; ls -l /proc/self/fd | awk '{print $9}'; \
                  grep -E '^(Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|Umask|Cpus_allowed:)' /proc/self/status; \
                  cat /proc/self/oom_score_adj; awk '{print $19}' /proc/self/stat";
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut plain = Command::new(SH[0]);
    plain_environment(&mut plain);
    let plain = plain.args(&sh(script)[1..]).current_dir(dir.path()).stdin(Stdio::null()).output().expect("sh runs");
    let traced = trace_in(dir.path(), &["-e", "execve"], sh(script));
    assert_eq!(traced.stdout(), String::from_utf8_lossy(&plain.stdout));
}

#[test]
fn root_trace_forwards_signals_to_its_command() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let events = dir.path().join("events.jsonl");
    let mut running = trace_command(&[], &events)
        .args(sh("trap 'kill $!; exit 9' TERM; sleep 1000 & echo ready; wait"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubeward starts");
    let mut said = String::new();
    BufReader::new(running.stdout.as_mut().expect("it is piped")).read_line(&mut said).expect("its output");
    assert_eq!(said, "ready\n");
    let sent = Command::new("kill").args(["-TERM", &running.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let output = running.wait_with_output().expect("kubeward ends");
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    let stream = read_stream(&events, &output);
    stream.account().assert_adds_up();
    assert!(!stream.of("exit_group").is_empty(), "the stream is complete");
}

#[test]
fn root_trace_watches_the_sets_that_are_named() {
    let script = "mkdir a; rmdir a; cat /dev/null";
    let names = |sets: &[&str]| {
        let options: Vec<&str> = sets.iter().flat_map(|set| ["-e", set]).collect();
        let traced = trace(&options, sh(script));
        assert_eq!(traced.code(), 0, "{sets:?}: {}", traced.stderr());
        traced.stream.assert_nothing_lost();
        let mut names: Vec<String> = traced.stream.events.iter().map(|event| event.syscall.name.clone()).collect();
        let categories: Vec<String> = traced.stream.events.iter().map(|event| event.syscall.category.clone()).collect();
        names.sort_unstable();
        names.dedup();
        (names, categories)
    };
    assert_eq!(names(&["mkdir"]).0, ["mkdir"]);
    assert_eq!(names(&["mkdir,rmdir"]).0, ["mkdir", "rmdir"]);
    assert_eq!(names(&["mkdir", "rmdir"]).0, ["mkdir", "rmdir"]);
    assert_eq!(names(&["sys_mkdir,__x64_sys_rmdir"]).0, ["mkdir", "rmdir"]);
    let (memory, categories) = names(&["%memory"]);
    assert!(memory.contains(&"mmap".into()) && categories.iter().all(|category| category == "memory"));
    let (all_but, _) = names(&["!%memory,mkdir"]);
    assert!(
        all_but.contains(&"rmdir".into()) && !all_but.contains(&"mmap".into()) && !all_but.contains(&"mkdir".into())
    );
    let (default, categories) = names(&[]);
    assert!(default.contains(&"mkdir".into()) && default.contains(&"mmap".into()));
    assert!(categories.iter().all(|category| category != "other"), "the nine categories");
}

#[test]
fn root_trace_follows_a_policy() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let policy = dir.path().join("web.yaml");
    let document = "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: web}\n\
                    spec:\n  syscalls: [{name: mkdir}]\n  filter: {errors: [EEXIST]}\n";
    fs::write(&policy, document).expect("a policy");
    let traced = trace(&["-f", &policy.to_string_lossy()], sh("mkdir a; mkdir a; rmdir a; rmdir a"));
    let lines: Vec<String> = traced.stream.events.iter().map(|event| event.to_string()).collect();
    assert_eq!(lines, [r#"mkdir("a", 0777) = -17 EEXIST"#], "{}", traced.stderr());
    assert_eq!(traced.stream.events[0].policies, ["web"]);
    traced.stream.assert_nothing_lost();
    assert_eq!(traced.stream.account().filtered, 1, "the mkdir that worked");
}

#[test]
fn root_trace_policies_add_up() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let policy = |name: &str, spec: &str| {
        let path = dir.path().join(format!("{name}.yaml"));
        let document =
            format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: {name}}}\nspec: {spec}\n");
        fs::write(&path, document).expect("a policy");
        path.to_string_lossy().into_owned()
    };
    let by_name = policy("by-name", "{kprobe: [{name: sys_mkdir}], kretprobe: [{name: sys_mkdir}]}");
    let but_one = policy("but-one", "{syscalls: [{name: mkdir}, {name: rmdir}], exclude: [{name: mkdir}]}");
    let idle = policy("idle", "{categories: [memory], suspend: true}");
    let traced = trace(&["-f", &by_name, "-f", &but_one, "-f", &idle, "-e", "chdir"], sh("mkdir a; rmdir a; cd /"));
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    let wanted: Vec<_> =
        traced.stream.events.iter().map(|event| (event.to_string(), event.policies.join(" "))).collect();
    let expected =
        [(r#"mkdir("a", 0777) = 0"#, "by-name"), (r#"rmdir("a") = 0"#, "but-one"), (r#"chdir("/") = 0"#, "-e")];
    assert_eq!(wanted, expected.map(|(line, policy)| (line.to_owned(), policy.to_owned())));
}

#[test]
fn root_trace_summary_counts_by_call() {
    for option in ["-c", "--summary"] {
        let mut line = kubeward(["trace", option, "-e", "mkdir,rmdir", "--"]);
        let dir = tempfile::tempdir().expect("a temporary folder");
        let output = line.args(sh("mkdir a; mkdir a; mkdir a; rmdir a")).current_dir(dir.path()).output();
        let output = output.expect("kubeward runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let row = |name: &str| {
            let found = said.lines().find(|line| line.split_whitespace().last() == Some(name));
            found.unwrap_or_else(|| panic!("no row of {name} in\n{said}")).split_whitespace().collect::<Vec<_>>()
        };
        // share, total, p50, p99, calls, errors, name
        let (mkdir, rmdir) = (row("mkdir"), row("rmdir"));
        assert_eq!((mkdir.len(), &mkdir[4..6]), (7, &["3", "2"][..]), "{said}");
        assert_eq!((rmdir.len(), &rmdir[4..5]), (6, &["1"][..]), "{said}");
        let total = row("total");
        assert_eq!(&total[total.len() - 3..total.len() - 1], ["4", "2"], "{said}");
    }
}

#[test]
fn root_trace_writes_text_to_stderr_unless_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let run = |options: &[&str]| {
        let mut line = kubeward(["trace"]);
        line.args(options).args(["-e", "mkdir", "--"]).args(sh("echo out; exec mkdir -p d"));
        line.current_dir(dir.path()).output().expect("kubeward runs")
    };
    let text = run(&[]);
    assert_eq!(String::from_utf8_lossy(&text.stdout), "out\n");
    let said = String::from_utf8_lossy(&text.stderr).into_owned();
    assert!(said.lines().any(|line| line.contains(r#"mkdir("d", 0777) = 0"#)), "{said}");
    let json = run(&["--format", "json"]);
    let stream = Stream::parse(&json.stderr).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(stream.events[0].to_string(), r#"mkdir("d", 0777) = -17 EEXIST"#);
    let to_stdout = run(&["-o", "-"]);
    let said = String::from_utf8_lossy(&to_stdout.stdout).into_owned();
    assert!(said.lines().any(|line| line.contains(r#"mkdir("d", 0777) = -1 EEXIST"#)), "{said}");
    assert_eq!(String::from_utf8_lossy(&to_stdout.stderr), "");
}

#[test]
fn root_trace_output_is_for_the_owner_to_read() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let events = dir.path().join("events.jsonl");
    fs::write(&events, "what was there before\n").expect("a file");
    let output = trace_command(&[], &events).arg("/bin/true").output().expect("kubeward runs");
    let stream = read_stream(&events, &output);
    assert!(!stream.events.is_empty(), "an earlier file is replaced");
    let fresh = dir.path().join("fresh.jsonl");
    assert!(trace_command(&[], &fresh).arg("/bin/true").status().expect("kubeward runs").success());
    let mode = fresh.metadata().expect("the output").permissions().mode();
    assert_eq!(mode & 0o022, 0, "nobody else may write it: {mode:o}");
}
