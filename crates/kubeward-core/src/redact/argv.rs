//! Secrets that are known by their place among a program's arguments.

use super::{builtin, MARK};
use crate::event::Text;

/// How a program takes a secret by an option that means something else elsewhere.
struct SecretOption {
    program: fn(&[u8]) -> bool,
    flags: &'static [&'static str],
    value: Value,
}

#[derive(Clone, Copy, PartialEq)]
enum Value {
    /// In the same argument (`-psecret`); alone, the option asks at the terminal.
    Attached,
    /// In the same argument or the next.
    AttachedOrNext,
    /// The same, `user:secret`; the user stays.
    UserAndSecret,
}

const OPTIONS: &[SecretOption] = &[
    SecretOption { program: is_mysql, flags: &["-p"], value: Value::Attached },
    SecretOption { program: |name| matches!(name, b"7z" | b"7za" | b"7zz"), flags: &["-p"], value: Value::Attached },
    SecretOption { program: |name| name == b"sshpass", flags: &["-p"], value: Value::AttachedOrNext },
    SecretOption { program: |name| name == b"redis-cli", flags: &["-a"], value: Value::AttachedOrNext },
    SecretOption { program: |name| matches!(name, b"zip" | b"unzip"), flags: &["-P"], value: Value::AttachedOrNext },
    SecretOption { program: is_ldap, flags: &["-w"], value: Value::AttachedOrNext },
    SecretOption {
        program: |name| name == b"curl",
        flags: &["-u", "--user", "-U", "--proxy-user"],
        value: Value::UserAndSecret,
    },
];

fn is_mysql(name: &[u8]) -> bool {
    name.starts_with(b"mysql") || name.starts_with(b"mariadb")
}

fn is_ldap(name: &[u8]) -> bool {
    name.starts_with(b"ldap")
}

pub(super) fn redact(strings: &mut [Text]) {
    // The program whose options are being read; after `sudo`, `env` or `--`, another may begin.
    let mut program: Option<&SecretOption> = None;
    let mut next: Option<Value> = None;
    let mut after_dash_c = false;
    for text in strings {
        let bytes = text.bytes.clone();
        let is_hinted = builtin::is_hinted(&bytes);
        let assignment_len = || (is_hinted && !after_dash_c).then(|| builtin::secret_assignment_len(&bytes)).flatten();
        let announced = next.take();
        if let Some(value) = announced.filter(|_| !bytes.starts_with(b"--")) {
            hide(text, value.secret_start(&bytes));
            // It has had its secret: `sshpass -p x ssh -p 22`.
            program = None;
        } else if is_hinted && builtin::is_secret_option(&bytes) {
            next = Some(Value::AttachedOrNext);
        } else if let Some(start) = assignment_len() {
            hide(text, Some(start));
        } else if let Some(found) = program_of(&bytes) {
            program = Some(found);
        } else if let Some((flag, value)) = program.and_then(|program| program.split(&bytes)) {
            let rest = &bytes[flag..];
            match (rest.is_empty(), value) {
                (true, Value::Attached) => (),
                (true, _) => next = Some(value),
                (false, _) => {
                    hide(text, value.secret_start(rest).map(|start| flag + start));
                    program = None;
                }
            }
        }
        // A script is a text with many words, not one value.
        after_dash_c = bytes.len() > 1 && bytes[0] == b'-' && bytes[1] != b'-' && bytes.ends_with(b"c");
    }
}

fn program_of(argument: &[u8]) -> Option<&'static SecretOption> {
    let name = argument.rsplit(|byte| *byte == b'/').next()?;
    OPTIONS.iter().find(|option| (option.program)(name))
}

impl SecretOption {
    /// Length of the flag (and `=`) that begins `argument`, with what its value is.
    fn split(&self, argument: &[u8]) -> Option<(usize, Value)> {
        let flag =
            self.flags.iter().filter(|flag| argument.starts_with(flag.as_bytes())).max_by_key(|flag| flag.len())?;
        let is_long = flag.starts_with("--");
        match argument.get(flag.len()) {
            Some(b'=') if is_long => Some((flag.len() + 1, self.value)),
            Some(_) if is_long => None,
            _ => Some((flag.len(), self.value)),
        }
    }
}

impl Value {
    fn secret_start(self, value: &[u8]) -> Option<usize> {
        match self {
            Value::UserAndSecret => value.iter().position(|byte| *byte == b':').map(|colon| colon + 1),
            Value::Attached | Value::AttachedOrNext => Some(0),
        }
    }
}

/// Replaces everything from `start` on, if there is anything.
fn hide(text: &mut Text, start: Option<usize>) {
    let Some(start) = start.filter(|start| *start < text.bytes.len()) else { return };
    let mut bytes = text.bytes[..start].to_vec();
    bytes.extend_from_slice(MARK.as_bytes());
    text.bytes = bytes.into();
    text.redacted = true;
}
