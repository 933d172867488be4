//! Runs a program under `strace -ff` and reads what it wrote: one file a thread, so nothing is interleaved.
//!
//! Strings are asked for in hexadecimal (`-xx`), which leaves no quoting to guess at.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::calls::{family, path_positions, Call, PathArg, Ret, Run, Thread};

/// What strace is asked for. `-s` cuts strings other than paths; an argument list that it cut is an error here.
pub(crate) const STRACE: [&str; 9] = ["strace", "-ff", "-qq", "-xx", "-s", "2048", "-e", "trace=all", "-esignal=none"];

/// The files are called this, a dot and the thread's id.
pub(crate) const FILE: &str = "thread";

/// Reads the files of `dir`. The root is the thread of the lowest id: strace makes it first.
pub(crate) fn read_run(dir: &Path) -> Result<Run, String> {
    let texts = read_threads(dir)?;
    let root = *texts.keys().next().ok_or("strace wrote no file")?;
    let threads = texts.into_iter().map(|(id, text)| {
        let calls = parse_thread(&text).map_err(|e| format!("thread {id}: {e}"))?;
        Ok(Thread { id, calls })
    });
    family(root, threads.collect::<Result<_, String>>()?)
}

/// What strace wrote, by thread.
pub(crate) fn read_threads(dir: &Path) -> Result<BTreeMap<i64, String>, String> {
    let mut threads = BTreeMap::new();
    for file in fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let path = file.map_err(|e| e.to_string())?.path();
        let id = path.extension().and_then(|id| id.to_str()?.parse().ok());
        let id = id.ok_or_else(|| format!("{} is no file of strace's", path.display()))?;
        threads.insert(id, fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?);
    }
    Ok(threads)
}

/// The name and the arguments of a line, as strace wrote them.
pub(crate) fn arguments(line: &str) -> Option<(&str, Vec<&str>)> {
    let (name, rest) = line.split_once('(')?;
    Some((name, split_args(rest)?.0))
}

pub(crate) fn parse_thread(text: &str) -> Result<Vec<Call>, String> {
    text.lines()
        .filter(|line| !line.starts_with("+++") && !line.starts_with("---"))
        .map(|line| parse_call(line).ok_or_else(|| format!("not understood: {line}")))
        .collect()
}

/// `name(arg, arg, ...) = result`
fn parse_call(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (args, result) = split_args(rest)?;
    let paths = path_positions(name).iter().map(|&at| args.get(at).and_then(|arg| path(arg))).collect::<Option<_>>()?;
    let argv = match name {
        "execve" => Some(string_list(args.get(1)?)?),
        "execveat" => Some(string_list(args.get(2)?)?),
        _ => None,
    };
    Some(Call { name: name.into(), paths, argv, ret: parse_ret(result, name)? })
}

/// Splits at the commas of the outermost level, up to the bracket that closes it; the rest is the result.
fn split_args(text: &str) -> Option<(Vec<&str>, &str)> {
    let (mut args, mut depth, mut start, mut quoted) = (Vec::new(), 0, 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                args.push(text[start..at].trim());
                return Some((args, text[at + 1..].trim_start().strip_prefix('=')?.trim_start()));
            }
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                args.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

fn path(arg: &str) -> Option<PathArg> {
    if !arg.starts_with('"') {
        return Some(PathArg::Pointer);
    }
    match arg.strip_suffix("...") {
        Some(beginning) => Some(PathArg::Cut(hex_string(beginning)?)),
        None => Some(PathArg::Bytes(hex_string(arg)?)),
    }
}

fn string_list(arg: &str) -> Option<Vec<Vec<u8>>> {
    let inner = arg.strip_prefix('[')?.strip_suffix(']')?;
    if inner.is_empty() {
        return Some(Vec::new());
    }
    inner.split(", ").map(hex_string).collect()
}

/// `"\x2f\x61"` to bytes. Anything after the closing quote makes it no string.
fn hex_string(quoted: &str) -> Option<Vec<u8>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let pairs = inner.strip_prefix("\\x")?.split("\\x");
    pairs.map(|pair| if pair.len() == 2 { u8::from_str_radix(pair, 16).ok() } else { None }).collect()
}

fn parse_ret(text: &str, name: &str) -> Option<Ret> {
    let mut words = text.split_whitespace();
    let (value, error) = (words.next()?, words.next().filter(|word| word.starts_with('E')));
    match (value, error) {
        ("?" | "-1", Some(error)) => Some(Ret::Error(error.into())),
        ("?", None) => Some(Ret::Never),
        (hex, _) if hex.starts_with("0x") => {
            u64::from_str_radix(&hex[2..], 16).ok().map(|bits| Ret::Value(bits as i64))
        }
        // The one call whose result strace writes in octal.
        (octal, _) if name == "umask" => i64::from_str_radix(octal, 8).ok().map(Ret::Value),
        (decimal, _) => decimal.parse().ok().map(Ret::Value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Call {
        parse_call(line).unwrap_or_else(|| panic!("not understood: {line}"))
    }

    #[test]
    fn paths_are_bytes() {
        let call = one(r#"openat(AT_FDCWD, "\x2f\xff\x2c\x22", O_RDONLY|O_CLOEXEC) = 3"#);
        assert_eq!((call.name.as_str(), &call.ret), ("openat", &Ret::Value(3)));
        assert_eq!(call.paths, [PathArg::Bytes(b"/\xff,\"".to_vec())]);
        let call = one(r#"renameat2(AT_FDCWD, "\x61", 3, "\x62", RENAME_NOREPLACE) = 0"#);
        assert_eq!(call.paths, [PathArg::Bytes(b"a".to_vec()), PathArg::Bytes(b"b".to_vec())]);
        assert_eq!(one("utimensat(3, NULL, [UTIME_OMIT, UTIME_NOW], 0) = 0").paths, [PathArg::Pointer]);
        assert_eq!(one(r#"open("\x61"..., O_RDONLY) = 3"#).paths, [PathArg::Cut(b"a".to_vec())]);
    }

    #[test]
    fn argument_lists_are_read_and_refused_when_cut() {
        let call = one(r#"execve("\x61", ["\x61", "\x2d\x63", ""], 0x7ffc /* 9 vars */) = 0"#);
        assert_eq!(call.argv, Some(vec![b"a".to_vec(), b"-c".to_vec(), vec![]]));
        assert!(parse_call(r#"execve("\x61", ["\x61"..., "\x62"], 0x7ffc /* 9 vars */) = 0"#).is_none());
        assert!(parse_call(r#"execve("\x61", ["\x61", ...], 0x7ffc /* 9 vars */) = 0"#).is_none());
    }

    #[test]
    fn results_of_every_form() {
        let ret = |line: &str| one(line).ret;
        assert_eq!(ret(r#"access("\x61", R_OK) = -1 ENOENT (No such file or directory)"#), Ret::Error("ENOENT".into()));
        assert_eq!(ret("mmap(NULL, 1, PROT_READ, MAP_PRIVATE, 3, 0) = 0x7ffff7fb4000"), Ret::Value(0x7fff_f7fb_4000));
        assert_eq!(ret("exit_group(0)                           = ?"), Ret::Never);
        assert_eq!(ret("futex(0x7f, FUTEX_WAIT, 0, NULL <unfinished ...>) = ?"), Ret::Never);
        assert_eq!(
            ret("wait4(-1, 0x7f, 0, NULL) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"),
            Ret::Error("ERESTARTSYS".into())
        );
        assert_eq!(ret("fcntl(1, F_GETFL) = 0x8001 (flags O_WRONLY|O_LARGEFILE)"), Ret::Value(0x8001));
        assert_eq!(ret("poll([{fd=3, events=POLLIN}], 1, 100) = 1 ([{fd=3, revents=POLLIN}])"), Ret::Value(1));
        assert_eq!(ret("umask(022) = 022"), Ret::Value(0o22));
        assert_eq!(ret("wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 8"), Ret::Value(8));
        assert_eq!(ret("lseek(3, 0, SEEK_CUR) = -1 ESPIPE (Illegal seek)"), Ret::Error("ESPIPE".into()));
    }

    #[test]
    fn a_line_that_is_no_call_is_an_error() {
        assert!(parse_thread("read(3, \n").expect_err("no call").contains("read(3"));
        assert_eq!(parse_thread("+++ exited with 0 +++\n--- SIGCHLD {} ---\n").expect("both are skipped"), []);
    }
}
