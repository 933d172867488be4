//! JSON lines: one object a line, for programs.
//!
//! Members stand in a fixed order and are written straight into the line, without a tree in between. A member
//! without a value is absent. A line is at most [`MAX_LINE_BYTES`] long: what does not fit is cut and marked.

mod call;
mod facts;
mod lines;
mod member;
mod seen;

#[cfg(test)]
mod docs_test;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::call::{CallHead, Named};
use self::member::Fitting;
use self::seen::Seen;
use super::escape::json_str;
use super::line::{Moment, Stream};
use super::time::write_rfc3339;
use crate::container::Container;
use crate::event::Process;

/// Longest line with its `\n`. containerd splits container log lines at 16 KiB.
pub const MAX_LINE_BYTES: usize = 16_000;

/// Version of the lines' shape, their `v`. A new member does not change it; a changed meaning does.
const VERSION: &str = "1";

/// Writes the JSON lines of one run.
#[derive(Debug)]
pub struct JsonLines {
    /// `,"node":"...","run":"..."`: the same on every line.
    origin: Vec<u8>,
    event_labels: Vec<String>,
    seen_calls: Seen<CallHead>,
    seen_processes: Seen<Process>,
    seen_containers: Seen<Named<Container>>,
    seen_policies: Seen<Named<[Arc<str>]>>,
}

impl JsonLines {
    pub fn new(stream: &Stream) -> JsonLines {
        let mut origin = Vec::new();
        origin.extend_from_slice(b",\"node\":\"");
        json_str(&mut origin, &stream.node);
        if let Some(cluster) = &stream.cluster {
            origin.extend_from_slice(b"\",\"cluster\":\"");
            json_str(&mut origin, cluster);
        }
        origin.extend_from_slice(b"\",\"run\":\"");
        json_str(&mut origin, &stream.run);
        origin.push(b'"');
        JsonLines {
            origin,
            event_labels: stream.event_labels.clone(),
            seen_calls: Seen::default(),
            seen_processes: Seen::default(),
            seen_containers: Seen::default(),
            seen_policies: Seen::default(),
        }
    }

    /// Appends one whole line that `body` writes after the members every line has. Written again with less of its
    /// strings for as long as it is too long.
    fn line(
        &mut self,
        out: &mut Vec<u8>,
        kind: &str,
        moment: Moment,
        body: impl Fn(&mut Self, &mut Vec<u8>, &Fitting),
    ) {
        let start = out.len();
        for fitting in &Fitting::LEVELS {
            out.truncate(start);
            self.head(out, kind, moment);
            body(self, out, fitting);
            out.extend_from_slice(b"}\n");
            if out.len() - start <= MAX_LINE_BYTES {
                return;
            }
        }
    }

    fn head(&self, out: &mut Vec<u8>, kind: &str, moment: Moment) {
        out.extend_from_slice(b"{\"kind\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"v\":");
        out.extend_from_slice(VERSION.as_bytes());
        out.extend_from_slice(b",\"time\":\"");
        write_rfc3339(out, moment.time_ns);
        out.extend_from_slice(b"\",\"mono_ns\":");
        member::unsigned(out, moment.mono_ns);
        out.extend_from_slice(&self.origin);
        out.extend_from_slice(b",\"seq\":");
        member::unsigned(out, moment.seq);
    }
}
