//! Lines of kind `syscall`.

use std::sync::Arc;

use super::member::{self, key, Fitting, TextMember};
use super::JsonLines;
use crate::container::Container;
use crate::event::{
    Arg, ArgValue, Call, Identity, Phase, Probe, Process, SockAddr, Stage, SyscallEvent, Text, UringRequest, Via,
};
use crate::render::base64;
use crate::render::escape::{json_bytes, push_display, push_number, Place};
use crate::render::line::Moment;
use crate::render::time::write_rfc3339;
use crate::render::value::{family_name, kind_among, write_arg as write_arg_text, write_endpoint, write_name, Fit};
use crate::syscall::{errno_name, hex, uring_op, ArgKind, Category};

impl JsonLines {
    /// Appends the line of one call, with its `\n`.
    pub fn syscall(&mut self, out: &mut Vec<u8>, event: &SyscallEvent) {
        let moment = Moment { seq: event.seq, time_ns: event.time_ns, mono_ns: event.mono_ns };
        self.line(out, "syscall", moment, |lines, out, fitting| {
            lines.call(out, event, fitting);
            lines.process(out, &event.process, fitting);
            if let Some(container) = &event.container {
                lines.container_of_call(out, container, fitting);
            }
            lines.policies_of_call(out, &event.policies, fitting);
        });
    }

    fn call(&mut self, out: &mut Vec<u8>, event: &SyscallEvent, fitting: &Fitting) {
        self.head_of_call(out, event);
        for (position, arg) in event.args.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            write_arg(out, arg, &event.args, &fitting.call);
        }
        out.push(b']');
        if let Some(path) = &event.path {
            member::text(out, TextMember::PATH, path, &fitting.call);
        }
        outcome(out, event);
        out.push(b'}');
        if let Some(repeated) = &event.repeated {
            member::number(out, key!("count"), repeated.count);
            out.extend_from_slice(b",\"last_time\":\"");
            write_rfc3339(out, repeated.last_time_ns);
            out.push(b'"');
        }
    }

    /// From the phase to the arguments: a line has one of a few hundred of these.
    fn head_of_call(&mut self, out: &mut Vec<u8>, event: &SyscallEvent) {
        let head = CallHead::of(event);
        let number = u64::from(event.call.nr);
        if self.seen_calls.write(out, number, |seen| *seen == head) {
            return;
        }
        let start = out.len();
        head_of_call(out, event);
        self.seen_calls.keep(number, head, &out[start..]);
    }

    /// The same for all calls of a thread between two execs and changes of its name.
    fn process(&mut self, out: &mut Vec<u8>, process: &Process, fitting: &Fitting) {
        if !fitting.is_whole() {
            return write_process(out, process, &fitting.call);
        }
        let number = u64::from(process.tid);
        if self.seen_processes.write(out, number, |seen| seen == process) {
            return;
        }
        let start = out.len();
        write_process(out, process, &fitting.call);
        self.seen_processes.keep(number, process.clone(), &out[start..]);
    }

    /// What an event shows of its container.
    fn container_of_call(&mut self, out: &mut Vec<u8>, container: &Arc<Container>, fitting: &Fitting) {
        let number = Arc::as_ptr(container) as usize as u64 ^ fitting.names as u64;
        if self.seen_containers.write(out, number, |seen| seen.is(container, fitting)) {
            return;
        }
        let start = out.len();
        self.container_on_event(out, container, fitting);
        self.seen_containers.keep(number, Named::new(container, fitting), &out[start..]);
    }

    /// A part of its own: it may be most of the line, and many containers have the same.
    fn policies_of_call(&mut self, out: &mut Vec<u8>, policies: &Arc<[Arc<str>]>, fitting: &Fitting) {
        if policies.is_empty() {
            return;
        }
        let number = policies.as_ptr() as usize as u64 ^ fitting.names as u64;
        if self.seen_policies.write(out, number, |seen| seen.is(policies, fitting)) {
            return;
        }
        let start = out.len();
        write_policies(out, policies, fitting);
        self.seen_policies.keep(number, Named::new(policies, fitting), &out[start..]);
    }
}

/// All that decides how the line of a call begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CallHead {
    phase: Phase,
    stage: Stage,
    probe: Probe,
    identity: Identity,
    via: Via,
    nr: u32,
    /// The catalogue's number.
    entry: Option<u16>,
    io_uring: Option<UringRequest>,
}

impl CallHead {
    fn of(event: &SyscallEvent) -> Self {
        let SyscallEvent { phase, stage, probe, identity, io_uring, call, .. } = event;
        let (phase, stage, probe, identity, io_uring) = (*phase, *stage, *probe, *identity, *io_uring);
        CallHead {
            phase,
            stage,
            probe,
            identity,
            via: call.via,
            nr: call.nr,
            entry: call.entry.map(|entry| entry.nr),
            io_uring,
        }
    }
}

/// What a part names, and how much of each name. Held, so that nothing else can be at its address.
#[derive(Debug)]
pub(super) struct Named<T: ?Sized> {
    what: Arc<T>,
    name_bytes: usize,
}

impl<T: ?Sized> Named<T> {
    fn new(what: &Arc<T>, fitting: &Fitting) -> Self {
        Self { what: Arc::clone(what), name_bytes: fitting.name_bytes }
    }

    fn is(&self, what: &Arc<T>, fitting: &Fitting) -> bool {
        Arc::ptr_eq(what, &self.what) && self.name_bytes == fitting.name_bytes
    }
}

fn head_of_call(out: &mut Vec<u8>, event: &SyscallEvent) {
    member::word(out, key!("phase"), phase_name(event.phase));
    member::word(out, key!("stage"), stage_name(event.stage));
    member::word(out, key!("probe"), event.probe.name());
    if event.identity == Identity::Namespace {
        member::word(out, key!("identity"), "namespace");
    }
    out.extend_from_slice(b",\"syscall\":{\"name\":\"");
    write_name(out, &event.call);
    out.extend_from_slice(b"\",\"nr\":");
    push_number(out, event.call.nr);
    if let Some(via) = event.call.via.name() {
        member::word(out, key!("via"), via);
    }
    if let Some(request) = &event.io_uring {
        io_uring(out, request);
    }
    member::word(out, key!("category"), category_of(&event.call).name());
    out.extend_from_slice(b",\"args\":[");
}

fn write_arg(out: &mut Vec<u8>, arg: &Arg, args: &[Arg], fit: &Fit) {
    out.extend_from_slice(b"{\"name\":\"");
    out.extend_from_slice(arg.name.as_bytes());
    out.push(b'"');
    match &arg.value {
        ArgValue::Register => register(out, kind_among(arg, args), arg.raw),
        ArgValue::Str(text) => member::text(out, TextMember::ARG, text, fit),
        ArgValue::Argv { strings, cut } => list(out, strings, *cut, fit),
        ArgValue::Sockaddr(address) => sockaddr(out, address, fit),
        ArgValue::Unreadable => {
            pointer(out, arg.raw);
            member::claim(out, key!("unreadable"), true);
        }
    }
    out.extend_from_slice(b",\"text\":\"");
    write_arg_text(out, Place::JsonString, arg, args, fit);
    out.extend_from_slice(b"\"}");
}

fn io_uring(out: &mut Vec<u8>, request: &UringRequest) {
    out.extend_from_slice(b",\"io_uring\":{\"opcode\":\"");
    match uring_op(request.opcode) {
        Some(op) => out.extend_from_slice(op.name.as_bytes()),
        None => push_number(out, request.opcode),
    }
    out.push(b'"');
    member::claim(out, key!("fixed_file"), request.fixed_file);
    member::claim(out, key!("direct"), request.direct);
    out.push(b'}');
}

/// The register as the number or pointer that its kind makes of it.
fn register(out: &mut Vec<u8>, kind: ArgKind, raw: u64) {
    match kind.integer(raw) {
        Some(number) => {
            out.extend_from_slice(b",\"int\":");
            member::integer(out, number);
        }
        None => pointer(out, raw),
    }
}

fn category_of(call: &Call) -> Category {
    call.entry.map_or(Category::Other, |entry| entry.category)
}

fn pointer(out: &mut Vec<u8>, raw: u64) {
    out.extend_from_slice(b",\"ptr\":\"");
    hex(raw, out);
    out.push(b'"');
}

fn list(out: &mut Vec<u8>, strings: &[Text], more: bool, fit: &Fit) {
    let shown = &strings[..strings.len().min(fit.strings)];
    let mut is_cut = more || shown.len() < strings.len();
    let (mut is_utf8, mut is_redacted) = (true, false);
    out.extend_from_slice(b",\"list\":[");
    for (position, string) in shown.iter().enumerate() {
        out.extend_from_slice(if position > 0 { b",\"" } else { b"\"" });
        let (part, part_is_cut) = fit.part(string);
        is_utf8 &= json_bytes(out, part);
        is_cut |= part_is_cut;
        is_redacted |= string.redacted;
        out.push(b'"');
    }
    out.push(b']');
    if !is_utf8 {
        out.extend_from_slice(b",\"list_bytes\":[");
        for (position, string) in shown.iter().enumerate() {
            out.extend_from_slice(if position > 0 { b",\"" } else { b"\"" });
            base64::write(out, fit.part(string).0);
            out.push(b'"');
        }
        out.push(b']');
    }
    member::claim(out, key!("cut"), is_cut);
    if shown.len() < strings.len() && !more {
        member::number(out, key!("len"), strings.len() as u64);
    }
    member::claim(out, key!("redacted"), is_redacted);
}

fn sockaddr(out: &mut Vec<u8>, address: &SockAddr, fit: &Fit) {
    match address {
        SockAddr::Inet { .. } | SockAddr::Inet6 { .. } => {
            out.extend_from_slice(b",\"str\":\"");
            write_endpoint(out, address);
            out.push(b'"');
        }
        SockAddr::Unix { path, is_abstract: false } => member::text(out, TextMember::ARG, path, fit),
        SockAddr::Unix { path: name, is_abstract: true } => {
            member::text(out, TextMember::ABSTRACT_SOCKET, name, fit);
        }
        SockAddr::Other { family, data } => {
            out.extend_from_slice(b",\"str\":\"");
            match family_name(*family) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => push_display(out, format_args!("{family:#x}")),
            }
            out.extend_from_slice(b"\",\"bytes\":\"");
            let shown = &data[..data.len().min(fit.text_bytes)];
            base64::write(out, shown);
            out.push(b'"');
            if shown.len() < data.len() {
                member::claim(out, key!("cut"), true);
                member::number(out, key!("len"), data.len() as u64);
            }
        }
    }
}

fn outcome(out: &mut Vec<u8>, event: &SyscallEvent) {
    if let Some(ret) = event.ret {
        out.extend_from_slice(b",\"ret\":");
        member::integer(out, ret.into());
    }
    if let Some(errno) = event.errno() {
        match errno_name(errno) {
            Some(name) => member::word(out, key!("error"), name),
            None => push_display(out, format_args!(",\"error\":\"ERRNO_{errno}\"")),
        }
    }
    if event.refused_by_seccomp {
        member::word(out, key!("denied_by"), "seccomp");
    }
    if let Some(duration_ns) = event.duration_ns {
        out.extend_from_slice(b",\"duration_ns\":");
        member::unsigned(out, duration_ns);
    }
    if let Some(total_ns) = event.repeated.and_then(|repeated| repeated.total_duration_ns) {
        member::number(out, key!("total_duration_ns"), total_ns);
    }
}

fn write_process(out: &mut Vec<u8>, process: &Process, fit: &Fit) {
    for (key, number) in [
        (&b",\"process\":{\"pid\":"[..], process.pid),
        (b",\"tid\":", process.tid),
        (b",\"ppid\":", process.ppid),
        (b",\"container_pid\":", process.container_pid),
    ] {
        out.extend_from_slice(key);
        push_number(out, number);
    }
    out.extend_from_slice(b",\"start_time\":\"");
    write_rfc3339(out, process.start_time_ns);
    out.extend_from_slice(b"\",\"uid\":");
    push_number(out, process.uid);
    out.extend_from_slice(b",\"gid\":");
    push_number(out, process.gid);
    member::text(out, TextMember::COMM, &process.comm, fit);
    if let Some(exe) = &process.exe {
        member::text(out, TextMember::EXE, exe, fit);
    }
    out.push(b'}');
}

fn write_policies(out: &mut Vec<u8>, policies: &[Arc<str>], fitting: &Fitting) {
    out.extend_from_slice(b",\"policies\":[");
    let shown = &policies[..policies.len().min(fitting.names)];
    let mut is_cut = shown.len() < policies.len();
    for (position, policy) in shown.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        is_cut |= member::string(out, policy, fitting.name_bytes);
    }
    out.push(b']');
    member::claim(out, key!("policies_cut"), is_cut);
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Enter => "enter",
        Phase::Exit => "exit",
        Phase::Call => "call",
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Setup => "setup",
        Stage::Run => "run",
    }
}
