use proptest::prelude::*;

use super::*;
use crate::container::ContainerSlot;
use crate::event::{Arg, Call, Identity, Phase, Probe, Process, Stage, Via};
use crate::syscall::ArgKind;

fn text(bytes: &[u8]) -> Text {
    Text { bytes: bytes.into(), cut: false, redacted: false }
}

fn builtin() -> Redactor {
    Redactor::new(&[]).expect("no pattern")
}

fn one(line: &str) -> String {
    let mut text = text(line.as_bytes());
    builtin().redact(&mut text);
    let after = String::from_utf8(text.bytes.to_vec()).expect("UTF-8 stays UTF-8");
    assert_eq!(text.redacted, after != line, "{line:?} became {after:?}");
    after
}

fn argv(line: &[&str]) -> Vec<String> {
    let mut strings: Vec<Text> = line.iter().map(|word| text(word.as_bytes())).collect();
    builtin().redact_argv(&mut strings);
    strings.iter().map(|text| String::from_utf8_lossy(&text.bytes).into_owned()).collect()
}

#[test]
fn secrets_in_strings_go_and_the_rest_stays() {
    let cases = [
        ("PASSWORD=hunter2 ./run --fast", "PASSWORD=*** ./run --fast"),
        ("export PGPASSWORD='a b c'; psql", "export PGPASSWORD=***; psql"),
        ("AWS_SECRET_ACCESS_KEY=abc/def+1 aws s3 ls", "AWS_SECRET_ACCESS_KEY=*** aws s3 ls"),
        ("AWS_ACCESS_KEY_ID=x", "AWS_ACCESS_KEY_ID=***"),
        ("MYSQL_PWD=x mysql", "MYSQL_PWD=*** mysql"),
        ("run --token abc123 --fast", "run --token *** --fast"),
        ("run --api-key=abc123 --fast", "run --api-key=*** --fast"),
        ("https://h/p?a=1&access_token=xyz&b=2", "https://h/p?a=1&access_token=***&b=2"),
        (r#"{"user":"u","password":"a\"b","x":1}"#, r#"{"user":"u","password":***,"x":1}"#),
        ("password: hunter2", "password: ***"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: ***"),
        (
            "GET / HTTP/1.1\r\nauthorization: Basic dTpw\r\nHost: h\r\n",
            "GET / HTTP/1.1\r\nauthorization: ***\r\nHost: h\r\n",
        ),
        ("curl -H 'X-Api-Key: abc' http://h/", "curl -H 'X-Api-Key: ***' http://h/"),
        ("postgres://me:s3cr@t@db:5432/x", "postgres://me:***@db:5432/x"),
        ("https://:tok@h/", "https://:***@h/"),
        ("openssl enc -pass pass:abc", "openssl enc -pass ***"),
        ("mysql -u root -phunter2 db", "mysql -u root -p*** db"),
        ("curl -s -u me:hunter2 http://h/", "curl -s -u me:*** http://h/"),
        ("git clone https://ghp_abcdefghijklmnopqrstuvwxyz0123@github.com/x", "git clone https://***@github.com/x"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0x.abc y", "x *** y"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n", "-----BEGIN RSA PRIVATE KEY-----***"),
        ("username=u,password=p,vers=3", "username=u,password=***"),
    ];
    for (before, after) in cases {
        assert_eq!(one(before), after, "{before}");
    }
}

#[test]
fn ordinary_texts_stay_as_they_are() {
    let ordinary = [
        "/etc/passwd",
        "/usr/share/X11/xkb/keycodes",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        "PWD=/home/me",
        "OLDPWD=/",
        "PASSWORD_FILE=/run/x",
        "--token-ttl=5m",
        "tokenizer=fast",
        "--bypass=1",
        "compass=north",
        "https://example.com:8443/a@b/c",
        "http://[::1]:80/",
        "ssh://git@example.com/x",
        "monkey=1",
        "sort --key=2",
        "scheduled",
        "",
    ];
    for line in ordinary {
        assert_eq!(one(line), line);
    }
}

#[test]
fn secrets_in_the_next_argument_go() {
    assert_eq!(argv(&["app", "--password", "a b", "x"]), ["app", "--password", "***", "x"]);
    assert_eq!(argv(&["app", "--password", "--verbose"]), ["app", "--password", "--verbose"]);
    assert_eq!(argv(&["app", "--db.token", "-x"]), ["app", "--db.token", "***"]);
    assert_eq!(argv(&["app", "--secret"]), ["app", "--secret"]);
}

#[test]
fn whole_argument_is_the_value_of_an_assignment() {
    assert_eq!(argv(&["app", "--password=a b; c"]), ["app", "--password=***"]);
    assert_eq!(argv(&["env", "DB_PASS=a 'b' c", "app"]), ["env", "DB_PASS=***", "app"]);
    assert_eq!(argv(&["java", "-Dtrust.password=a b"]), ["java", "-Dtrust.password=***"]);
    assert_eq!(argv(&["app", "--password="]), ["app", "--password="]);
    assert_eq!(argv(&["sh", "-ec", "PASSWORD=a ./run me"]), ["sh", "-ec", "PASSWORD=*** ./run me"]);
}

#[test]
fn short_options_mean_what_their_program_says() {
    assert_eq!(argv(&["/usr/bin/mysqldump", "-phunter2", "db"]), ["/usr/bin/mysqldump", "-p***", "db"]);
    assert_eq!(argv(&["mysql", "-p", "db"]), ["mysql", "-p", "db"]);
    assert_eq!(argv(&["mkdir", "-pv", "a"]), ["mkdir", "-pv", "a"]);
    assert_eq!(argv(&["sshpass", "-p", "x", "ssh", "-p", "22"]), ["sshpass", "-p", "***", "ssh", "-p", "22"]);
    assert_eq!(argv(&["sudo", "redis-cli", "-ax"]), ["sudo", "redis-cli", "-a***"]);
    assert_eq!(argv(&["curl", "-u", "me:x", "-o", "f"]), ["curl", "-u", "me:***", "-o", "f"]);
    assert_eq!(argv(&["curl", "--user=me:x"]), ["curl", "--user=me:***"]);
    assert_eq!(argv(&["curl", "-u", "me"]), ["curl", "-u", "me"]);
    assert_eq!(argv(&["curl", "--user-agent", "a:b"]), ["curl", "--user-agent", "a:b"]);
    assert_eq!(argv(&["curl", "-H", "Authorization: Bearer a b"]), ["curl", "-H", "Authorization: ***"]);
}

#[test]
fn bytes_that_are_not_utf8_are_part_of_the_secret() {
    let mut text = text(b"\xffPASSWORD=a\xfe\xffb \xf0x");
    builtin().redact(&mut text);
    assert_eq!(&*text.bytes, b"\xffPASSWORD=*** \xf0x");
    assert!(text.redacted);
}

#[test]
fn url_cut_before_its_at_sign_is_redacted() {
    let mut text = Text { bytes: b"postgres://me:hunt"[..].into(), cut: true, redacted: false };
    builtin().redact(&mut text);
    assert_eq!(&*text.bytes, b"postgres://me:***");
    assert_eq!(one("http://localhost:8080"), "http://localhost:8080");
}

#[test]
fn user_patterns_take_out_their_groups_or_all() {
    let redactor = Redactor::new(&["card=([0-9]+)".to_owned(), "iban\\S+".to_owned()]).expect("both are valid");
    let mut text = text(b"card=4111 iban\xffDE12 x");
    redactor.redact(&mut text);
    assert_eq!(&*text.bytes, b"card=*** *** x");
}

#[test]
fn unusable_user_patterns_are_refused_by_name() {
    let error = Redactor::new(&["a(".to_owned()]).expect_err("unclosed");
    assert!(error.to_string().starts_with("redact pattern \"a(\" is not a regular expression"), "{error}");
    let error = Redactor::new(&["x*".to_owned()]).expect_err("matches nothing at all");
    assert!(matches!(error, RedactError::MatchesEmpty { pattern } if pattern == "x*"));
    assert!(Redactor::new(&[r"\p{Greek}+".to_owned()]).is_ok());
}

#[test]
fn redacting_twice_changes_nothing_more() {
    for line in ["PASSWORD=x y", "https://u:p@h", "Authorization: a", "mysql -px", "--token abc"] {
        let once = one(line);
        let mut again = text(once.as_bytes());
        builtin().redact(&mut again);
        assert_eq!(&*again.bytes, once.as_bytes());
    }
}

#[test]
fn every_text_of_an_event_is_redacted() {
    let secret = || text(b"/x?token=abc");
    let arg = |kind, value| Arg { name: "x", kind, raw: 1, value };
    let mut event = SyscallEvent {
        seq: 1,
        time_ns: 0,
        mono_ns: 0,
        phase: Phase::Exit,
        stage: Stage::Run,
        probe: Probe::TpBtf,
        identity: Identity::Task,
        call: Call { via: Via::Syscall, nr: 0, entry: None },
        args: vec![
            arg(ArgKind::Path, ArgValue::Str(secret())),
            arg(ArgKind::Argv, ArgValue::Argv { strings: vec![text(b"--token"), text(b"abc"), secret()], cut: false }),
            arg(
                ArgKind::SockaddrIn { len: 2 },
                ArgValue::Sockaddr(SockAddr::Unix { path: secret(), is_abstract: true }),
            ),
        ],
        path: Some(secret()),
        ret: Some(0),
        duration_ns: None,
        repeated: None,
        refused_by_seccomp: false,
        io_uring: None,
        process: Process {
            pid: 1,
            tid: 1,
            ppid: 0,
            container_pid: 1,
            start_time_ns: 0,
            uid: 0,
            gid: 0,
            comm: text(b"token=abc"),
            exe: Some(Arc::new(secret())),
        },
        slot: ContainerSlot(1),
        container: None,
        policies: Arc::new([]),
    };
    builtin().redact_event(&mut event);
    let shown = format!("{event:?}");
    let secret_bytes = format!("{:?}", b"abc").replace(['[', ']'], "");
    assert!(!shown.contains(&secret_bytes), "{shown}");
    assert_eq!(shown.matches("redacted: true").count(), 7, "{shown}");
}

proptest! {
    #[test]
    fn any_bytes_can_be_redacted(
        strings in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6),
        words in r#"(mysql|curl|-p|-u|--token|PASSWORD=|pass:|//|@|:| |"|'|\xff|x){0,20}"#,
        cut in any::<bool>(),
    ) {
        let all = strings.into_iter().chain(words.split(' ').map(|word| word.as_bytes().to_vec()));
        let mut argv: Vec<Text> =
            all.map(|bytes| Text { bytes: bytes.into(), cut, redacted: false }).collect();
        let before = argv.clone();
        builtin().redact_argv(&mut argv);
        for (before, after) in before.iter().zip(&argv) {
            prop_assert!(after.redacted || before == after);
        }
    }
}
