//! The programs of the truth tests, each doing a small piece of its real work.

use crate::truth::Program;
use crate::witness::witness;

const PYTHON: [&str; 4] = ["/usr/bin/python3", "-I", "-S", "-c"];

fn sh(name: &'static str, script: &str) -> Program {
    Program::new(name, ["/bin/sh", "-c", script])
}

fn lines(count: usize) -> String {
    (1..=count).map(|n| format!("line {n} of {count}\n")).collect()
}

#[test]
fn root_truth_sh_with_pipes_and_subshells() {
    sh(
        "sh",
        "set -e; echo one >a; (cd /; echo in $PWD) ; x=$(cat a); echo \"$x\" | cat | wc -c; \
         while read -r l; do echo \"got $l\"; done <a; cat <<END\nhere $x\nEND\nsleep 0.05 & wait $!; \
         test -e missing || echo none; exit 3",
    )
    .exiting_with(3)
    .racing()
    .assert_truth();
}

#[test]
fn root_truth_bash() {
    let script = "shopt -s nullglob; a=(*.txt); for f in \"${a[@]}\"; do read -r l <\"$f\"; echo \"$f: $l\"; done; \
                  printf '%s\\n' {1..3} >out; [[ -s out ]] && mapfile -t m <out; echo ${#m[@]}; (/bin/sleep 0.05; exit 4); echo $?";
    Program::new("bash", ["/bin/bash", "--norc", "-c", script])
        .file("b.txt", "second\n")
        .file("a.txt", "first\n")
        .racing()
        .assert_truth();
}

#[test]
fn root_truth_git_init_and_commit() {
    let config = "[user]\nname = A\nemail = a@example.org\n[gc]\nauto = 0\n[maintenance]\nauto = false\n\
                  [init]\ndefaultBranch = main\n";
    sh(
        "git",
        "export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1; \
         set -e; git init -q r; cd r; cp ../one two; touch -d 2020-01-01 two; git add two; git commit -q -m first; \
         git log --oneline; git cat-file -p HEAD:two",
    )
    .file(".gitconfig", config)
    .file("one", lines(20))
    .with_random(&["tmp_obj_", ".git/t"])
    // Asked again when the first bits make no letter.
    .without(&["getrandom"])
    .racing()
    .assert_truth();
}

#[test]
fn root_truth_python_with_threads_and_sockets() {
    let script = r#"
import os, socket, threading, encodings.idna
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen(1)
def serve():
    with server.accept()[0] as peer:
        peer.sendall(peer.recv(16).upper())
# Made before the thread is, for the numbers of descriptors to be the same in every run.
with socket.socket() as client:
    thread = threading.Thread(target=serve); thread.start()
    client.connect(server.getsockname()); client.sendall(b"hello"); print(client.recv(16).decode())
thread.join(); server.close()
os.makedirs("a/b"); os.rename("a/b", "a/c"); print(os.listdir("a"))
"#;
    Program::new("python threads", PYTHON.into_iter().chain([script]))
        // Waiting for the interpreter's lock.
        .without(&["futex"])
        .racing()
        .assert_truth();
}

#[test]
fn root_truth_python_sqlite() {
    let script = r#"
import sqlite3
with sqlite3.connect("t.db") as db:
    db.execute("create table t(a integer primary key, b text)")
    db.executemany("insert into t(b) values (?)", [(str(n),) for n in range(50)])
print(db.execute("select count(*), max(b) from t").fetchone()); db.close()
"#;
    Program::new("python sqlite", PYTHON.into_iter().chain([script])).assert_truth();
}

#[test]
fn root_truth_perl() {
    let script = "open my $out, '>', 'o' or die; print $out \"x\\n\" x 3; close $out; rename 'o', 'p'; \
                  my $pid = fork; if (!$pid) { exit 5 } waitpid $pid, 0; print $? >> 8, \"\\n\"; \
                  system('/bin/true'); print -s 'p', \"\\n\"; unlink 'p', 'missing'; mkdir 'd', 0700";
    Program::new("perl", ["/usr/bin/perl", "-e", script]).racing().assert_truth();
}

#[test]
fn root_truth_tar() {
    sh(
        "tar",
        "set -e; tar cf a.tar in; mkdir out; tar xf a.tar -C out; tar tf a.tar; ln -s in/x link; \
         tar --mtime=2020-01-01 -czf z.tgz link; tar xzf z.tgz -C out",
    )
    .file("in/x", lines(200))
    .file("in/d/y", "y\n")
    .racing()
    .assert_truth();
}

#[test]
fn root_truth_gzip() {
    sh("gzip", "gzip -9 in; gzip -t in.gz; exec gzip -d in.gz").file("in", lines(5000)).racing().assert_truth();
}

#[test]
fn root_truth_xz() {
    sh("xz", "xz -T1 -0 in; exec xz -d -T1 in.xz").file("in", lines(5000)).racing().assert_truth();
}

#[test]
fn root_truth_network_client_and_server() {
    Program::new("pair", [witness("pair").to_string_lossy()]).racing().assert_truth();
}

#[test]
fn root_truth_threads() {
    Program::new("threads", [witness("threads").to_string_lossy()])
        // Joining a thread waits only if it still runs.
        .without(&["futex"])
        .racing()
        .assert_truth();
}

#[test]
fn root_truth_find() {
    Program::new(
        "find",
        ["/usr/bin/find", ".", "-name", "*.c", "-exec", "/bin/echo", "{}", ";", "-o", "-empty", "-delete"],
    )
    .file("a/b/c.c", "int c;\n")
    .file("a/e", "")
    .file("d.c", "int d;\n")
    .assert_truth();
}

#[test]
fn root_truth_sed_in_place() {
    Program::new("sed", ["/usr/bin/sed", "-i", "-e", "s/line/LINE/; /9/d", "in"])
        .file("in", lines(300))
        .with_random(&["./sed"])
        // Asked again when the first bits make no letter.
        .without(&["getrandom"])
        .assert_truth();
}

#[test]
fn root_truth_awk() {
    let script = r#"{ sum += $2; print $2 > ("out" NR % 3) } END { "echo done" | getline x; print sum, x }"#;
    Program::new("awk", ["/usr/bin/awk", script, "in"]).file("in", lines(100)).racing().assert_truth();
}

#[test]
fn root_truth_make() {
    let makefile =
        "all: out/b\nout/a: in | out\n\tcp in $@\nout/b: out/a\n\t@sed s/l/L/ $< >$@; test -s $@\nout:\n\tmkdir $@\n";
    Program::new("make", ["/usr/bin/make", "-s", "-j1"])
        .file("Makefile", makefile)
        .file("in", lines(3))
        .racing()
        .assert_truth();
}

#[test]
fn root_truth_coreutils_on_a_tree() {
    sh("tree", "set -e; cp -a in copy; ls -lR copy >list; chmod -R go= copy; mv copy moved; rm -r moved; ls")
        .file("in/a", lines(10))
        .file("in/b/c", lines(10))
        .racing()
        .assert_truth();
}

#[test]
fn root_truth_openssl() {
    let options = ["enc", "-aes-256-cbc", "-K", "00", "-iv", "00", "-in", "in", "-out", "out"];
    Program::new("openssl", ["/usr/bin/openssl"].into_iter().chain(options)).file("in", lines(500)).assert_truth();
}

#[test]
fn root_truth_busybox() {
    let script = "busybox seq 5 >s; busybox sort -r s | busybox head -n 2; busybox ln -s s l; busybox stat -c %s l; \
                  busybox md5sum s; busybox rm s l; busybox nosuch";
    Program::new("busybox", ["/bin/busybox", "sh", "-c", script]).exiting_with(127).racing().assert_truth();
}
