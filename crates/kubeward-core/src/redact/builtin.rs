//! The built-in rules: the forms in which secrets usually stand in command lines, URLs and assignments.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::bytes::Regex;

/// Ends of names whose value is a secret: `PGPASSWORD`, `--api-key`, `csrf_token`. Names that go on after it
/// (`PASSWORD_FILE`, `--token-ttl`, `tokenizer`) hold none. `PWD` alone is the working directory.
const SECRET_NAME: &str = r"(?:[a-z0-9_.-]*(?:password|passwd|passphrase|passcode|secret|token|signature|_pwd
    |(?:api|access|private|secret|encryption|signing|account|master|auth)[-_.]?key|access[-_]?key[-_]?id)
    |(?:[a-z0-9_.-]*[-_.])?pass)[0-9]?";

/// A value in a shell's, a URL's or JSON's notation; an open quote goes to the end, since the text may be cut.
const VALUE: &str = r#"(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s&;'"]+)"#;

/// Whether any rule can match: for nearly every path and string, none can.
pub(super) fn is_hinted(bytes: &[u8]) -> bool {
    HINT.is_match(bytes)
}

/// The rules worth trying on `bytes`.
pub(super) fn rules_for(bytes: &[u8], cut: bool) -> impl Iterator<Item = &'static Regex> {
    let rules = if is_hinted(bytes) { &RULES[..] } else { &[] };
    rules.iter().chain(cut.then(|| &*CUT_URL))
}

/// Whether `argument` is the name of an option whose value, the next argument, is a secret.
pub(super) fn is_secret_option(argument: &[u8]) -> bool {
    OPTION.is_match(argument)
}

/// Length of `--password=` or `PASSWORD=` at the beginning of an argument, whose whole rest is the value.
pub(super) fn secret_assignment_len(argument: &[u8]) -> Option<usize> {
    ASSIGNMENT.find(argument).map(|found| found.end())
}

fn regex(pattern: &str) -> Regex {
    // Bytes, not characters: what is watched need not be UTF-8.
    Regex::new(&format!("(?ix-u){pattern}")).expect("built-in patterns are fixed, and a test compiles each")
}

/// Of every rule, something that must be there for it to match; [`CUT_URL`] needs none of it.
const HINTS: &[&str] = &[
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "signature",
    "authorization",
    "cookie",
    "bearer",
    "@",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "_pat_",
    "glpat-",
    "xox",
    "akia",
    "asia",
    "eyj",
    "sk-",
    "aiza",
    "hvs.",
    "curl",
    "mysql",
    "mariadb",
];

static HINT: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let mut builder = AhoCorasick::builder();
    let built = builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).build(HINTS);
    built.expect("a few short words stay far below every limit of the automaton")
});

static OPTION: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"^--?{SECRET_NAME}$")));

static ASSIGNMENT: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"^(?:--?)?{SECRET_NAME}=")));

/// A URL whose end, perhaps with the `@`, was not kept.
static CUT_URL: LazyLock<Regex> = LazyLock::new(|| regex(r#"//[^/\s:@'"]*:([^/\s'"@]+)$"#));

/// Each takes out what its groups match.
static RULES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        // PASSWORD=x, ?token=x, "secret": "x", password: x
        format!(r#"\b{SECRET_NAME}(?:=|["']\s*:\s*|:\s+)({VALUE})"#),
        // --password x within one string, as in the script of `sh -c`
        format!(r#"(?:^|\s)--?{SECRET_NAME}\s+("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s'"-][^\s;&]*)"#),
        // Headers, up to the end of the line or of the quotes around it
        r#"\b(?:proxy-)?authorization["']?\s*[:=]\s*["']?([^\r\n"']+)"#.to_owned(),
        r#"\b(?:set-)?cookie["']?\s*:\s*["']?([^\r\n"']+)"#.to_owned(),
        r#"\b(?:x-[a-z0-9-]*-(?:token|key)|x-api-key|private-token|job-token)["']?\s*:\s*["']?([^\r\n"']+)"#.to_owned(),
        r"\bbearer\s+([a-z0-9._~+/=-]{8,})".to_owned(),
        // //user:pass@host; a password may itself hold an @
        r#"//[^/\s:@'"]*:([^/\s'"]+)@"#.to_owned(),
        // openssl's pass:x
        r"(?:^|\s)pass:([^\s]+)".to_owned(),
        // curl -u user:x and mysql -px within one string
        r#"\bcurl\b[^|;&\n]*?\s(?:-u|--user|--proxy-user)[\s=]?\s*["']?[^\s:'"]+:([^\s'"]+)"#.to_owned(),
        r#"\b(?:mysql|mariadb)[a-z-]*\s(?:[^|;&\n]*?\s)?-p([^\s]+)"#.to_owned(),
        // Tokens that are known by their form
        r"\b(gh[pousr]_[a-z0-9]{20,}|github_pat_[a-z0-9_]{20,}|glpat-[a-z0-9_-]{20,}|xox[abeprs]-[a-z0-9-]{10,})"
            .to_owned(),
        r"\b((?-i:AKIA|ASIA)[A-Z0-9]{16}|(?-i:AIza)[a-z0-9_-]{35}|hvs\.[a-z0-9_-]{20,}|sk-[a-z0-9_-]{20,})".to_owned(),
        r"\b((?-i:eyJ)[a-z0-9_-]{8,}\.[a-z0-9_-]{8,}\.[a-z0-9_-]*)".to_owned(),
        r"-----BEGIN\ [A-Z\ ]*PRIVATE\ KEY-----((?s:.*))".to_owned(),
    ];
    patterns.iter().map(|pattern| regex(pattern)).collect()
});
