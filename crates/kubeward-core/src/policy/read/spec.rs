//! `spec`, but for its selectors.

use super::selector::{label_selector, selector};
use crate::policy::duration;
use crate::policy::fault::Problem;
use crate::policy::fields::{At, Object, Reader};
use crate::policy::glob::Glob;
use crate::policy::limits::{
    CATEGORIES, MAX_ARGV_BYTES, MAX_ARG_BYTES, MAX_CALL_NAME, MAX_DURATION_TEXT, MAX_ENV_PATTERN, MAX_EVENTS, MAX_PATH,
    MODES,
};
use crate::policy::model::{Capture, FilterSpec, Limits, Mode, Spec};
use crate::syscall::Category;

const SPEC: &[&str] = &[
    "kprobe",
    "kretprobe",
    "syscalls",
    "categories",
    "exclude",
    "timing",
    "refused",
    "mode",
    "selector",
    "nodeSelector",
    "filter",
    "limits",
    "coalesce",
    "capture",
    "suspend",
    "expireAfter",
];

pub(super) fn spec(reader: &mut Reader, at: At<'_>) -> Option<Spec> {
    let spec = reader.object(at, SPEC)?;
    let mode = match spec.get("mode") {
        Some(at) => reader.word(&at, "mode", MODES)?,
        None => "Events",
    };
    Some(Spec {
        kprobe: names(reader, &spec, "kprobe"),
        kretprobe: names(reader, &spec, "kretprobe"),
        syscalls: names(reader, &spec, "syscalls"),
        categories: reader.list_of(spec.get("categories"), "a list like [network, process]", category),
        exclude: names(reader, &spec, "exclude"),
        timing: reader.boolean(spec.get("timing")),
        refused: reader.boolean(spec.get("refused")),
        mode: if mode == "Count" { Mode::Count } else { Mode::Events },
        selector: spec.get("selector").map(|at| selector(reader, at)).unwrap_or_default(),
        node_selector: spec.get("nodeSelector").map(|at| label_selector(reader, at)),
        filter: spec.get("filter").map(|at| filter(reader, at)).unwrap_or_default(),
        limits: spec.get("limits").and_then(|at| limits(reader, at)),
        coalesce: reader.boolean(spec.get("coalesce")),
        capture: spec.get("capture").map(|at| capture(reader, at)).unwrap_or_default(),
        suspend: reader.boolean(spec.get("suspend")),
        expire_after: spec.get("expireAfter").and_then(|at| duration(reader, &at)),
    })
}

fn names(reader: &mut Reader, spec: &Object<'_>, list: &str) -> Vec<String> {
    reader.list_of(spec.get(list), "a list like [{name: openat}]", |reader, at| {
        let entry = reader.object(at, &["name"])?;
        let Some(at) = entry.get("name") else {
            reader.missing(&entry, "name", "{name: openat}");
            return None;
        };
        let is_name = |name: &str| {
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            !name.is_empty() && name.len() <= MAX_CALL_NAME && name.chars().all(letter)
        };
        reader.text_like(&at, "a system call's name: at most 64 of a-z, 0-9 and '_', like openat", is_name)
    })
}

fn category(reader: &mut Reader, at: At<'_>) -> Option<Category> {
    let name = reader.word(&at, "category", CATEGORIES)?;
    name.parse().ok()
}

fn filter(reader: &mut Reader, at: At<'_>) -> FilterSpec {
    let Some(filter) = reader.object(at, &["errors", "minDuration", "pathPrefix"]) else {
        return FilterSpec::default();
    };
    FilterSpec {
        errors: reader.list_of(filter.get("errors"), "a list like [EPERM, EACCES]", |reader, at| {
            let name = reader.text(&at, "an error's name like EPERM")?;
            if crate::syscall::errno_by_name(name).is_none() {
                reader.fault(&at, Problem::UnknownErrno { name: name.to_owned() });
            }
            Some(name.to_owned())
        }),
        min_duration: filter.get("minDuration").and_then(|at| duration(reader, &at)),
        path_prefix: reader.list_of(filter.get("pathPrefix"), "a list like [/etc]", |reader, at| {
            let is_absolute = |path: &str| path.starts_with('/') && path.len() <= MAX_PATH && !path.contains('\0');
            reader.text_like(&at, "an absolute path of at most 4095 bytes, like /etc", is_absolute)
        }),
    }
}

fn duration(reader: &mut Reader, at: &At<'_>) -> Option<std::time::Duration> {
    let wanted = "a duration with its unit, like 250us, 5s or 1h30m";
    let text = reader.text(at, wanted)?;
    let duration = if text.chars().count() <= MAX_DURATION_TEXT { duration::parse(text) } else { None };
    if duration.is_none() {
        reader.fault(at, Problem::Malformed { found: text.to_owned(), wanted });
    }
    duration
}

fn limits(reader: &mut Reader, at: At<'_>) -> Option<Limits> {
    let limits = reader.object(at, &["eventsPerSecond", "burst"])?;
    let Some(rate_at) = limits.get("eventsPerSecond") else {
        reader.missing(&limits, "eventsPerSecond", "limits: {eventsPerSecond: 1000, burst: 2000}");
        return None;
    };
    let events_per_second = reader.number(&rate_at, 1, MAX_EVENTS)?;
    let burst = match limits.get("burst") {
        Some(at) => reader.number(&at, 1, MAX_EVENTS)?,
        None => events_per_second,
    };
    Some(Limits { events_per_second, burst })
}

fn capture(reader: &mut Reader, at: At<'_>) -> Capture {
    let absent = Capture::default();
    let Some(capture) = reader.object(at, &["argBytes", "argvBytes", "dataBytes", "env"]) else { return absent };
    let mut number =
        |name, min, max, default| capture.get(name).and_then(|at| reader.number(&at, min, max)).unwrap_or(default);
    Capture {
        arg_bytes: number("argBytes", 1, MAX_ARG_BYTES, absent.arg_bytes),
        argv_bytes: number("argvBytes", 1, MAX_ARGV_BYTES, absent.argv_bytes),
        data_bytes: number("dataBytes", 0, MAX_ARG_BYTES, absent.data_bytes),
        env: reader.list_of(capture.get("env"), "a list like [PATH]", |reader, at| {
            let is_pattern =
                |name: &str| !name.is_empty() && name.chars().count() <= MAX_ENV_PATTERN && !name.contains('=');
            reader.text_like(&at, "a variable's name or pattern: 1 to 255 letters without '='", is_pattern).map(Glob)
        }),
    }
}
