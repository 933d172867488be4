//! Reading typed members out of a document's tree, noting every fault on the way instead of stopping at the first.

use std::fmt::Display;

use super::fault::{nearest, Fault, Problem, Source};
use super::limits::MAX_ENTRIES;
use super::yaml::{Node, Value};

/// A value and the path that leads to it.
#[derive(Clone)]
pub(super) struct At<'n> {
    pub path: String,
    node: &'n Node,
}

impl<'n> At<'n> {
    pub(super) fn root(node: &'n Node) -> Self {
        At { path: String::new(), node }
    }

    pub(super) fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::List(entries) if entries.is_empty())
    }

    fn member(&self, name: impl Display, node: &'n Node) -> At<'n> {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        At { path, node }
    }
}

/// The members of a map.
pub(super) struct Object<'n> {
    at: At<'n>,
    members: &'n [(String, Node)],
}

impl<'n> Object<'n> {
    /// The member's value; a member that says `null` is absent, as for an API server.
    pub(super) fn get(&self, name: &str) -> Option<At<'n>> {
        let (_, node) = self.members.iter().find(|(key, _)| key == name)?;
        (node.value != Value::Null).then(|| self.at.member(name, node))
    }
}

/// Collects the faults of one document.
pub(super) struct Reader {
    pub source: Source,
    pub faults: Vec<Fault>,
}

impl Reader {
    pub(super) fn fault(&mut self, at: &At<'_>, problem: Problem) {
        let (source, field) = (self.source.clone(), at.path.clone());
        self.faults.push(Fault { source, line: Some(at.node.line), field, problem });
    }

    pub(super) fn wrong_type(&mut self, at: &At<'_>, wanted: &'static str) {
        let found = match &at.node.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Number(text) => format!("the number {text}"),
            Value::Text(text) => format!("the text {text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        };
        self.fault(at, Problem::WrongType { wanted, found });
    }

    pub(super) fn missing(&mut self, object: &Object<'_>, name: &str, example: &'static str) {
        let at = object.at.member(name, object.at.node);
        self.fault(&at, Problem::Missing { example });
    }

    /// The map at `at`, whose members may be `known` and nothing else.
    pub(super) fn object<'n>(&mut self, at: At<'n>, known: &'static [&'static str]) -> Option<Object<'n>> {
        let members = self.map(&at)?;
        for (name, node) in members {
            if !known.contains(&name.as_str()) {
                let problem = Problem::UnknownField { name: name.clone(), nearest: nearest(name, known), known };
                self.fault(&at.member(name, node), problem);
            }
        }
        Some(Object { at, members })
    }

    /// The map at `at`, whatever its members, each with its key.
    pub(super) fn entries<'n>(&mut self, at: &At<'n>) -> Vec<(&'n str, At<'n>)> {
        let members = self.map(at).unwrap_or_default();
        if members.len() > MAX_ENTRIES {
            self.fault(at, Problem::TooManyEntries { len: members.len(), limit: MAX_ENTRIES });
            return Vec::new();
        }
        members.iter().map(|(key, node)| (key.as_str(), at.member(key, node))).collect()
    }

    fn map<'n>(&mut self, at: &At<'n>) -> Option<&'n [(String, Node)]> {
        let Value::Map(members) = &at.node.value else {
            self.wrong_type(at, "a map of fields");
            return None;
        };
        let mut seen = std::collections::HashSet::new();
        for (name, node) in members {
            if !seen.insert(name) {
                self.fault(&at.member(name, node), Problem::RepeatedField { name: name.clone() });
            }
        }
        Some(members)
    }

    pub(super) fn list<'n>(&mut self, at: At<'n>, wanted: &'static str) -> Vec<At<'n>> {
        let Value::List(entries) = &at.node.value else {
            self.wrong_type(&at, wanted);
            return Vec::new();
        };
        if entries.len() > MAX_ENTRIES {
            self.fault(&at, Problem::TooManyEntries { len: entries.len(), limit: MAX_ENTRIES });
            return Vec::new();
        }
        let entry = |(index, node)| At { path: format!("{}[{index}]", at.path), node };
        entries.iter().enumerate().map(entry).collect()
    }

    /// A list whose entries `read` understands; those that it does not are left out, their faults noted.
    pub(super) fn list_of<'n, T>(
        &mut self,
        at: Option<At<'n>>,
        wanted: &'static str,
        mut read: impl FnMut(&mut Self, At<'n>) -> Option<T>,
    ) -> Vec<T> {
        let Some(at) = at else { return Vec::new() };
        self.list(at, wanted).into_iter().filter_map(|entry| read(self, entry)).collect()
    }

    /// A text; `wanted` says of what kind, for the message when it is none.
    pub(super) fn text<'n>(&mut self, at: &At<'n>, wanted: &'static str) -> Option<&'n str> {
        match &at.node.value {
            Value::Text(text) => Some(text),
            _ => {
                self.wrong_type(at, wanted);
                None
            }
        }
    }

    /// A text for which `is_valid` holds.
    pub(super) fn text_like(
        &mut self,
        at: &At<'_>,
        wanted: &'static str,
        is_valid: impl FnOnce(&str) -> bool,
    ) -> Option<String> {
        let text = self.text(at, wanted)?;
        if !is_valid(text) {
            self.fault(at, Problem::Malformed { found: text.to_owned(), wanted });
            return None;
        }
        Some(text.to_owned())
    }

    /// `false` when absent or wrong.
    pub(super) fn boolean(&mut self, at: Option<At<'_>>) -> bool {
        match at {
            None => false,
            Some(At { node: Node { value: Value::Bool(value), .. }, .. }) => *value,
            Some(at) => {
                self.wrong_type(&at, "true or false without quotes");
                false
            }
        }
    }

    /// A whole number in `min..=max`.
    pub(super) fn number(&mut self, at: &At<'_>, min: u32, max: u32) -> Option<u32> {
        let Value::Number(text) = &at.node.value else {
            self.wrong_type(at, "a whole number");
            return None;
        };
        match text.parse::<i128>() {
            Ok(number) if (i128::from(min)..=i128::from(max)).contains(&number) => u32::try_from(number).ok(),
            Ok(_) => {
                let problem = Problem::OutOfRange { found: text.clone(), min: min.into(), max: max.into() };
                self.fault(at, problem);
                None
            }
            Err(_) => {
                self.wrong_type(at, "a whole number");
                None
            }
        }
    }

    /// The entry of `known` that the text at `at` is; `what` they are, for the message when it is none.
    pub(super) fn word(
        &mut self,
        at: &At<'_>,
        what: &'static str,
        known: &'static [&'static str],
    ) -> Option<&'static str> {
        let text = self.text(at, "a text")?;
        let found = known.iter().find(|word| **word == text).copied();
        if found.is_none() {
            let problem = Problem::UnknownWord { what, name: text.to_owned(), nearest: nearest(text, known), known };
            self.fault(at, problem);
        }
        found
    }
}
