//! What the agent wrote, and what must hold of it.

use std::fmt::Write as _;

use serde_json::Value;

/// The lines of an events file, in order.
#[derive(Default)]
pub(crate) struct Stream(pub(crate) Vec<Value>);

impl Stream {
    pub(crate) fn parse(&mut self, lines: Vec<String>) {
        let parsed = lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
        self.0.extend(parsed);
    }

    /// Events of one container.
    pub(crate) fn events_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |line| is_event(line) && container(line) == id)
    }

    /// Containers that any line is about.
    pub(crate) fn mentions(&self, id: &str) -> bool {
        self.0.iter().any(|line| container(line) == id)
    }

    /// The calls of that name of one container, as their path arguments.
    pub(crate) fn paths<'a>(&'a self, id: &'a str, call: &'a str) -> Vec<&'a str> {
        self.events_of(id).filter(|line| line["syscall"]["name"] == call).map(path).collect()
    }

    /// All that was seen of the container is in the stream, and its final accounts say so.
    pub(crate) fn assert_whole(&self, id: &str) {
        let ledgers = self.final_ledgers(id);
        assert!(!ledgers.is_empty(), "{id} has no final ledger:{}", self.tail());
        for ledger in &ledgers {
            assert_eq!((&ledger["balanced"], &ledger["lost"]["total"]), (&true.into(), &0.into()), "{ledger}");
        }
        let emitted: u64 = ledgers.iter().map(|ledger| number(&ledger["emitted"])).sum();
        assert_eq!(emitted, self.events_of(id).count() as u64, "emitted by the ledger of {id}, and in the stream");
    }

    /// The final accounts of a container: one for each time it ran.
    pub(crate) fn final_ledgers(&self, id: &str) -> Vec<&Value> {
        let is_final = |line: &&Value| line["kind"] == "ledger" && line["final"] == true;
        self.0.iter().filter(is_final).filter(|line| container(line) == id).collect()
    }

    /// The node's account at the end.
    pub(crate) fn node_ledger(&self) -> &Value {
        let last = self.0.last().unwrap_or_else(|| panic!("the stream is empty"));
        let claims = (&last["kind"], &last["scope"], &last["final"]);
        assert_eq!(claims, (&"ledger".into(), &"node".into(), &true.into()), "the last line: {last}");
        assert_eq!(last["balanced"], true, "{last}");
        last
    }

    /// The last lines, for a failure's message.
    pub(crate) fn tail(&self) -> String {
        self.0.iter().skip(self.0.len().saturating_sub(12)).fold(String::new(), |mut text, line| {
            let _ = write!(text, "\n    {line}");
            text
        })
    }
}

pub(crate) fn is_event(line: &Value) -> bool {
    line["kind"] == "syscall"
}

/// The id of the container that a line is about; empty for none.
pub(crate) fn container(line: &Value) -> &str {
    line["container"]["id"].as_str().unwrap_or_default()
}

/// The first path that the caller gave.
pub(crate) fn path(event: &Value) -> &str {
    let args = event["syscall"]["args"].as_array().map(Vec::as_slice).unwrap_or_default();
    args.iter().find_map(|arg| arg["str"].as_str()).unwrap_or_default()
}

pub(crate) fn is_call(line: &Value, id: &str, call: &str, of_path: &str) -> bool {
    is_event(line) && container(line) == id && line["syscall"]["name"] == call && path(line) == of_path
}

pub(crate) fn is_notice(line: &Value, code: &str) -> bool {
    line["kind"] == "notice" && line["code"] == code
}

pub(crate) fn is_container_line(line: &Value, id: &str, change: &str) -> bool {
    line["kind"] == "container" && line["change"] == change && container(line) == id
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a count: {value}"))
}
