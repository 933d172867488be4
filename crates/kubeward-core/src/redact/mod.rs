//! Secrets out of events, before any sink, client, log or report sees them.
//!
//! This is for secrets that people put where secrets do not belong: command lines, URLs, environment assignments.
//! It knows their usual forms and what `--redact` adds; it cannot know a secret that looks like any other word.

mod argv;
mod builtin;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use regex::bytes::{Captures, Regex, RegexBuilder};
use thiserror::Error;

use crate::event::{ArgValue, SockAddr, SyscallEvent, Text};

/// What stands where a secret stood, whatever its length.
pub const MARK: &str = "***";

/// Compiled bytes of one user pattern; the largest sensible list of words stays far below.
const PATTERN_LIMIT_BYTES: usize = 1 << 20;

/// A pattern of `--redact` that cannot be used.
#[derive(Debug, Clone, Error)]
pub enum RedactError {
    #[error("redact pattern {pattern:?} is not a regular expression: {source}")]
    Syntax { pattern: String, source: regex::Error },
    #[error("redact pattern {pattern:?} matches the empty text and so everywhere; make it need a letter at least")]
    MatchesEmpty { pattern: String },
}

/// The built-in rules and the user's.
#[derive(Debug, Clone)]
pub struct Redactor {
    user: Vec<Regex>,
}

impl Redactor {
    /// `patterns` are regular expressions over bytes. A pattern with groups takes out what they match, one without
    /// takes out the whole match.
    pub fn new(patterns: &[String]) -> Result<Self, RedactError> {
        let user = patterns.iter().map(|pattern| compile(pattern)).collect::<Result<_, _>>()?;
        Ok(Redactor { user })
    }

    /// Redacts every text of the event that the process or its caller chose.
    pub fn redact_event(&self, event: &mut SyscallEvent) {
        self.redact_call(event);
        if let Some(exe) = &mut event.process.exe {
            if let Some(bytes) = self.redacted(&exe.bytes, exe.cut) {
                *exe = Arc::new(Text { bytes: bytes.into(), cut: exe.cut, redacted: true });
            }
        }
    }

    /// The same but for the name of the process's program, which many events share.
    pub fn redact_call(&self, event: &mut SyscallEvent) {
        for arg in &mut event.args {
            match &mut arg.value {
                ArgValue::Str(text) | ArgValue::Sockaddr(SockAddr::Unix { path: text, .. }) => self.redact(text),
                ArgValue::Argv { strings, .. } => self.redact_argv(strings),
                ArgValue::Register | ArgValue::Sockaddr(_) | ArgValue::Unreadable => (),
            }
        }
        if let Some(path) = &mut event.path {
            self.redact(path);
        }
        self.redact(&mut event.process.comm);
    }

    /// Redacts one string on its own. Costs one pass over it where nothing hints at a secret, for the built-in rules
    /// and for each pattern of the user's.
    pub fn redact(&self, text: &mut Text) {
        if let Some(bytes) = self.redacted(&text.bytes, text.cut) {
            text.bytes = bytes.into();
            text.redacted = true;
        }
    }

    /// Redacts the arguments of one program, where a secret may be the argument after the one that announces it.
    pub fn redact_argv(&self, strings: &mut [Text]) {
        argv::redact(strings);
        strings.iter_mut().for_each(|text| self.redact(text));
    }

    /// `None` when there is nothing to redact.
    fn redacted(&self, bytes: &[u8], cut: bool) -> Option<Vec<u8>> {
        let mut redacted: Option<Vec<u8>> = None;
        let builtin = builtin::rules_for(bytes, cut).map(|rule| -> &Regex { rule });
        for rule in builtin.chain(&self.user) {
            if let Some(bytes) = replace(rule, redacted.as_deref().unwrap_or(bytes)) {
                redacted = Some(bytes);
            }
        }
        redacted
    }
}

fn compile(pattern: &str) -> Result<Regex, RedactError> {
    // Without Unicode, `.` and `\S` take any byte, so that one invalid byte does not save the rest of a secret. A
    // pattern that needs Unicode (`\p{..}`) does not compile so, and then works on valid UTF-8 alone.
    let build = |unicode| RegexBuilder::new(pattern).unicode(unicode).size_limit(PATTERN_LIMIT_BYTES).build();
    let regex = build(false)
        .or_else(|_| build(true))
        .map_err(|source| RedactError::Syntax { pattern: pattern.to_owned(), source })?;
    match regex.is_match(b"") {
        true => Err(RedactError::MatchesEmpty { pattern: pattern.to_owned() }),
        false => Ok(regex),
    }
}

/// `bytes` with the secrets that `rule` finds replaced by [`MARK`], or `None` if it finds none.
fn replace(rule: &Regex, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut replaced = Vec::new();
    let mut copied = 0;
    for captures in rule.captures_iter(bytes) {
        for (start, end) in secrets(&captures) {
            // Groups may nest: what lies in one that is already gone is gone too.
            if start >= copied && start < end {
                replaced.extend_from_slice(&bytes[copied..start]);
                replaced.extend_from_slice(MARK.as_bytes());
                copied = end;
            }
        }
    }
    if copied == 0 {
        return None;
    }
    replaced.extend_from_slice(&bytes[copied..]);
    Some(replaced)
}

fn secrets(captures: &Captures<'_>) -> Vec<(usize, usize)> {
    let first = if captures.len() > 1 { 1 } else { 0 };
    let groups = (first..captures.len()).filter_map(|group| captures.get(group));
    groups.map(|found| (found.start(), found.end())).collect()
}
