//! One argument as text, as strace would write it. Lines for people and the `text` member of JSON share this.

use std::net::Ipv4Addr;

use super::escape::{push_display, push_number, quoted, Place};
use crate::event::{Arg, ArgValue, Call, SockAddr, Text, Via};
use crate::syscall::{compat_by_nr, hex, ArgKind};

/// How much of a line's strings to keep. What is cut is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// Bytes of one string of the call.
    pub text_bytes: usize,
    /// Strings of one array.
    pub strings: usize,
}

impl Fit {
    pub(super) const ALL: Fit = Fit { text_bytes: usize::MAX, strings: usize::MAX };

    /// The part of `text` to show and whether the original was longer than that.
    pub(super) fn part<'a>(&self, text: &'a Text) -> (&'a [u8], bool) {
        if text.bytes.len() <= self.text_bytes {
            return (&text.bytes, text.cut);
        }
        (clip(&text.bytes, self.text_bytes), true)
    }
}

/// The first `length` bytes, less the beginning of a UTF-8 character that would be torn.
pub(super) fn clip(bytes: &[u8], length: usize) -> &[u8] {
    if bytes.len() <= length {
        return bytes;
    }
    let is_boundary = |at: &usize| !matches!(bytes[*at], 0x80..=0xbf);
    let end = (length.saturating_sub(3)..=length).rev().find(is_boundary).unwrap_or(length);
    &bytes[..end]
}

/// What `arg`, one of the call's `args`, is: another of them may decide it.
pub(super) fn kind_among(arg: &Arg, args: &[Arg]) -> ArgKind {
    match arg.kind {
        ArgKind::By { .. } => {
            let registers: [u64; 6] = std::array::from_fn(|at| args.get(at).map_or(0, |arg| arg.raw));
            arg.kind.among(&registers)
        }
        kind => kind,
    }
}

/// Appends the text of `arg`, one of the call's `args`.
pub(super) fn write_arg(out: &mut Vec<u8>, place: Place, arg: &Arg, args: &[Arg], fit: &Fit) {
    match &arg.value {
        // Names of our own and digits, which need no escaping anywhere.
        ArgValue::Register => kind_among(arg, args).write_text(arg.raw, out),
        ArgValue::Str(text) => write_text(out, place, text, fit),
        ArgValue::Argv { strings, cut } => write_strings(out, place, strings, *cut, fit),
        ArgValue::Sockaddr(address) => write_sockaddr(out, place, address, fit),
        ArgValue::Unreadable => hex(arg.raw, out),
    }
}

fn write_text(out: &mut Vec<u8>, place: Place, text: &Text, fit: &Fit) {
    let (part, is_cut) = fit.part(text);
    quoted(out, place, part);
    if is_cut {
        out.extend_from_slice(b"...");
    }
}

fn write_strings(out: &mut Vec<u8>, place: Place, strings: &[Text], more: bool, fit: &Fit) {
    out.push(b'[');
    let shown = strings.len().min(fit.strings);
    for (position, string) in strings[..shown].iter().enumerate() {
        if position > 0 {
            out.extend_from_slice(b", ");
        }
        write_text(out, place, string, fit);
    }
    if more || shown < strings.len() {
        out.extend_from_slice(if shown > 0 { b", ..." } else { b"..." });
    }
    out.push(b']');
}

fn write_sockaddr(out: &mut Vec<u8>, place: Place, address: &SockAddr, fit: &Fit) {
    out.extend_from_slice(b"{sa_family=");
    match address {
        SockAddr::Inet { addr, port } => {
            out.extend_from_slice(b"AF_INET, sin_port=htons(");
            push_number(out, *port);
            out.extend_from_slice(b"), sin_addr=inet_addr(");
            place.push_quote(out);
            write_ipv4(out, *addr);
            place.push_quote(out);
            out.push(b')');
        }
        SockAddr::Inet6 { addr, port, flowinfo, scope_id } => {
            push_display(out, format_args!("AF_INET6, sin6_port=htons({port}), sin6_flowinfo=htonl({flowinfo}), "));
            out.extend_from_slice(b"inet_pton(AF_INET6, ");
            place.push_quote(out);
            push_display(out, format_args!("{addr}"));
            place.push_quote(out);
            push_display(out, format_args!(", &sin6_addr), sin6_scope_id={scope_id}"));
        }
        SockAddr::Unix { path, is_abstract } => {
            out.extend_from_slice(b"AF_UNIX");
            if *is_abstract || !path.bytes.is_empty() {
                out.extend_from_slice(if *is_abstract { b", sun_path=@" } else { b", sun_path=" });
                write_text(out, place, path, fit);
            }
        }
        SockAddr::Other { family, data } => {
            match family_name(*family) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => push_display(out, format_args!("{family:#x}")),
            }
            if !data.is_empty() {
                out.extend_from_slice(b", sa_data=");
                let shown = &data[..data.len().min(fit.text_bytes)];
                quoted(out, place, shown);
                if shown.len() < data.len() {
                    out.extend_from_slice(b"...");
                }
            }
        }
    }
    out.push(b'}');
}

/// Appends an address the short way: `127.0.0.1:80`, `[::1]:80`, `[fe80::1%2]:80`. Nothing for other families.
pub(super) fn write_endpoint(out: &mut Vec<u8>, address: &SockAddr) {
    match address {
        SockAddr::Inet { addr, port } => {
            write_ipv4(out, *addr);
            out.push(b':');
            push_number(out, *port);
        }
        SockAddr::Inet6 { addr, port, scope_id: 0, .. } => push_display(out, format_args!("[{addr}]:{port}")),
        SockAddr::Inet6 { addr, port, scope_id, .. } => push_display(out, format_args!("[{addr}%{scope_id}]:{port}")),
        SockAddr::Unix { .. } | SockAddr::Other { .. } => {}
    }
}

fn write_ipv4(out: &mut Vec<u8>, addr: Ipv4Addr) {
    for (position, octet) in addr.octets().into_iter().enumerate() {
        if position > 0 {
            out.push(b'.');
        }
        push_number(out, octet);
    }
}

/// Name of an address family that programs on Linux are likely to use.
pub(super) fn family_name(family: u16) -> Option<&'static str> {
    Some(match family {
        0 => "AF_UNSPEC",
        1 => "AF_UNIX",
        2 => "AF_INET",
        3 => "AF_AX25",
        4 => "AF_IPX",
        5 => "AF_APPLETALK",
        9 => "AF_X25",
        10 => "AF_INET6",
        15 => "AF_KEY",
        16 => "AF_NETLINK",
        17 => "AF_PACKET",
        21 => "AF_RDS",
        24 => "AF_PPPOX",
        26 => "AF_LLC",
        29 => "AF_CAN",
        30 => "AF_TIPC",
        31 => "AF_BLUETOOTH",
        38 => "AF_ALG",
        40 => "AF_VSOCK",
        44 => "AF_XDP",
        _ => return None,
    })
}

/// The call's name in its table, where it has one.
pub(super) fn name_of(call: &Call) -> Option<&'static str> {
    match (call.entry, call.via) {
        (Some(entry), _) => Some(entry.name),
        (None, Via::Compat) => compat_by_nr(call.nr).map(|call| call.name),
        (None, Via::Syscall | Via::IoUring) => None,
    }
}

/// Appends the call's name, or its number as strace writes it.
pub(super) fn write_name(out: &mut Vec<u8>, call: &Call) {
    match name_of(call) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => push_display(out, format_args!("syscall_{:#x}", call.nr)),
    }
}

/// What people are told of the way a call came by, with the blank before it.
pub(super) fn via_remark(via: Via) -> &'static str {
    match via {
        Via::Syscall => "",
        Via::Compat => " [32-bit]",
        Via::IoUring => " [io_uring]",
    }
}

/// Appends a result for people: an address in hexadecimal for the calls that return one, `umask`'s in octal.
pub(super) fn write_return(out: &mut Vec<u8>, call: Option<&str>, ret: i64) {
    match call {
        Some("mmap" | "mremap" | "brk" | "shmat") => push_display(out, format_args!("{ret:#x}")),
        Some("umask") if ret != 0 => push_display(out, format_args!("0{ret:o}")),
        _ => push_number(out, ret),
    }
}
