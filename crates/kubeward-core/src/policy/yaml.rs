//! YAML text to a tree of values with their lines, under limits that hold whatever the text is.
//!
//! YAML 1.2: `yes` and `on` are words, not booleans. Aliases are expanded, and what they expand to counts.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::fault::Problem;

/// Bytes of one policy file. The largest object that a Kubernetes API server stores is about as large.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Levels of lists and maps; a policy needs six.
const MAX_DEPTH: usize = 32;
/// Values of one document after expansion of aliases: far above a full policy, far below what costs memory.
const MAX_VALUES: usize = 50_000;

/// A value and the line where it starts, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub line: usize,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As written: whole or not, in range or not.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order written; keys may repeat.
    Map(Vec<(String, Node)>),
}

/// One document of a file.
pub(super) struct Document {
    /// From 1; empty documents have a number too.
    pub number: usize,
    pub root: Node,
}

/// What stopped the reading, with the document it was in and the line.
#[derive(Debug, PartialEq)]
pub(super) struct Stop {
    pub document: usize,
    pub line: Option<usize>,
    pub problem: Problem,
}

/// The documents of `bytes` up to the first that cannot be read; empty ones are left out.
pub(super) fn documents(bytes: &[u8]) -> (Vec<Document>, Option<Stop>) {
    let refuse = |problem| (Vec::new(), Some(Stop { document: 1, line: None, problem }));
    if bytes.len() > MAX_FILE_BYTES {
        return refuse(Problem::TooLarge { bytes: bytes.len(), limit: MAX_FILE_BYTES });
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => return refuse(Problem::NotText { offset: error.valid_up_to() }),
    };
    let mut documents = Vec::new();
    let mut number = 0;
    let mut tree = Tree::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let stop = |line, problem| Some(Stop { document: number.max(1), line: Some(line), problem });
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let problem = Problem::NotYaml { message: error.info().to_owned() };
                // The error may belong to a document whose start was not reported yet.
                return (documents, stop(error.marker().line(), problem));
            }
        };
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) => {
                number += 1;
                tree = Tree::default();
            }
            Event::DocumentEnd => {
                if let Some(root) = tree.root.take().filter(|root| root.value != Value::Null) {
                    documents.push(Document { number, root });
                }
            }
            event => {
                if let Err(problem) = tree.add(event, line) {
                    return (documents, stop(line, problem));
                }
            }
        }
    }
    (documents, None)
}

/// A document while it is being read.
#[derive(Default)]
struct Tree {
    /// Lists and maps begun and not ended, outermost first.
    open: Vec<Open>,
    root: Option<Node>,
    values: usize,
    anchors: HashMap<usize, (Node, usize)>,
}

/// A list or map begun. A map waits for a key (`key` is `None`) or for that key's value.
struct Open {
    node: Node,
    key: Option<String>,
    anchor: usize,
    values_before: usize,
}

impl Tree {
    fn add(&mut self, event: Event<'_>, line: usize) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let forced_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let value = if forced_text || style != ScalarStyle::Plain {
                    Value::Text(text.into_owned())
                } else {
                    plain(&text)
                };
                self.count(1)?;
                self.place(Node { line, value }, anchor, 1)
            }
            Event::SequenceStart(anchor, _) => self.begin(Node { line, value: Value::List(Vec::new()) }, anchor),
            Event::MappingStart(anchor, _) => self.begin(Node { line, value: Value::Map(Vec::new()) }, anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(ended) => {
                    let values = self.values - ended.values_before;
                    self.place(ended.node, ended.anchor, values)
                }
                None => Err(Problem::NotYaml { message: "a list or map ends that never began".to_owned() }),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some((node, values)) => {
                    let (node, values) = (node.clone(), *values);
                    self.count(values)?;
                    self.place(node, 0, values)
                }
                None => Err(Problem::NotYaml { message: "an alias stands inside what it names".to_owned() }),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if self.open.len() == MAX_DEPTH {
            return Err(Problem::TooDeep { limit: MAX_DEPTH });
        }
        let values_before = self.values;
        self.count(1)?;
        self.open.push(Open { node, key: None, anchor, values_before });
        Ok(())
    }

    fn count(&mut self, values: usize) -> Result<(), Problem> {
        self.values += values;
        match self.values > MAX_VALUES {
            true => Err(Problem::TooManyValues { limit: MAX_VALUES }),
            false => Ok(()),
        }
    }

    /// Puts a whole value where it belongs. `anchor` 0 is none.
    fn place(&mut self, node: Node, anchor: usize, values: usize) -> Result<(), Problem> {
        if anchor != 0 {
            // The copy lives as long as the document and counts as much as the alias it is for.
            self.count(values)?;
            self.anchors.insert(anchor, (node.clone(), values));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(list), _) => list.push(node),
            (Value::Map(map), Some(key)) => map.push((key, node)),
            (_, _) => match node.value {
                Value::Text(key) | Value::Number(key) => open.key = Some(key),
                Value::Bool(key) => open.key = Some(key.to_string()),
                _ => return Err(Problem::NotYaml { message: "a map's key must be a word".to_owned() }),
            },
        }
        Ok(())
    }
}

/// What an unquoted word means by YAML's core schema.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.strip_prefix('.').unwrap_or(unsigned);
    let radix = |prefix: &str, radix| {
        unsigned.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
        || radix("0x", 16)
        || radix("0o", 8)
        || (digits.starts_with(|c: char| c.is_ascii_digit()) && unsigned.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Value {
        let (mut documents, stop) = documents(text.as_bytes());
        assert_eq!(stop, None);
        assert_eq!(documents.len(), 1);
        documents.remove(0).root.value
    }

    #[test]
    fn words_are_what_yaml_1_2_says() {
        let Value::Map(map) =
            only("{a: yes, b: true, c: 'true', d: 12, e: 1h, f: 1e3, g: ~, h: !!str 5, i: -0x1F, j: -x}")
        else {
            panic!("not a map")
        };
        let values: Vec<Value> = map.into_iter().map(|(_, node)| node.value).collect();
        let text = |text: &str| Value::Text(text.to_owned());
        let number = |text: &str| Value::Number(text.to_owned());
        let expected = [
            text("yes"),
            Value::Bool(true),
            text("true"),
            number("12"),
            text("1h"),
            number("1e3"),
            Value::Null,
            text("5"),
            number("-0x1F"),
            text("-x"),
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn empty_documents_are_counted_and_left_out() {
        let (documents, stop) = documents(b"---\n---\n# nothing\n---\na: 1\n---\n");
        assert_eq!(stop, None);
        assert_eq!(documents.iter().map(|d| d.number).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn documents_before_a_broken_one_are_kept() {
        let (documents, stop) = documents(b"a: 1\n---\nb: [1\n---\nc: 1\n");
        assert_eq!(documents.len(), 1);
        let stop = stop.expect("the second document is broken");
        assert_eq!(stop.document, 2);
        assert!(matches!(stop.problem, Problem::NotYaml { .. }));
    }

    #[test]
    fn alias_bomb_is_refused_before_it_grows() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..30 {
            let one = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![one; 10].join(", "));
        }
        let stop = documents(text.as_bytes()).1.expect("ten to the thirtieth values");
        assert_eq!(stop.problem, Problem::TooManyValues { limit: MAX_VALUES });
    }

    #[test]
    fn aliases_within_bounds_are_expanded() {
        let Value::Map(map) = only("a: &x {name: openat}\nb: [*x]\n") else { panic!("not a map") };
        let Value::List(list) = &map[1].1.value else { panic!("not a list") };
        assert_eq!(list[0], map[0].1);
    }

    #[test]
    fn deep_nesting_is_refused() {
        let stop = documents("[".repeat(MAX_DEPTH + 1).as_bytes()).1.expect("one level too deep");
        assert_eq!(stop.problem, Problem::TooDeep { limit: MAX_DEPTH });
        for bracket in ["[", "{a: ", "- "] {
            assert!(documents(bracket.repeat(100_000).as_bytes()).1.is_some(), "{bracket}");
        }
    }

    #[test]
    fn size_and_encoding_are_refused_by_number() {
        let large = vec![b' '; MAX_FILE_BYTES + 1];
        let stop = documents(&large).1.expect("one byte too large");
        assert_eq!(stop.problem, Problem::TooLarge { bytes: MAX_FILE_BYTES + 1, limit: MAX_FILE_BYTES });
        let stop = documents(b"a: \xff").1.expect("not UTF-8");
        assert_eq!(stop.problem, Problem::NotText { offset: 3 });
    }
}
