//! The variable part of a record: strings, argument vectors, socket addresses, paths.

use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr};

use kubeward_core::event::{Arg, ArgValue, SockAddr, Text};

use super::DecodeError;
use crate::wire::{self, Item, Wire};

/// Most arguments that a call has.
const ARGS: usize = 6;

const AF_UNIX: u16 = libc::AF_UNIX as u16;
const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;

/// Puts what was read for each argument in its place. Gives the path of the file that was opened or executed.
///
/// An argument that the call does not have may be named: where its arguments could not be read all six are there, and for a call
/// with fewer nothing reads what is beyond.
pub(super) fn take_all(mut bytes: &[u8], args: &mut [Arg]) -> Result<Option<Text>, DecodeError> {
    let whole = bytes.len();
    let mut opened = None;
    while !bytes.is_empty() {
        let at = whole - bytes.len();
        let item = Item::read_from(bytes).ok_or(DecodeError::ItemEnd { at })?;
        let rest = &bytes[size_of::<Item>()..];
        let content = rest.get(..item.bytes as usize).ok_or(DecodeError::ItemEnd { at })?;
        if item.kind == wire::ITEM_PATH {
            opened = Some(path(content, item.flags & (wire::ITEM_CUT | wire::ITEM_UNREADABLE) != 0));
        } else {
            take(&item, content, args)?;
        }
        bytes = &rest[content.len()..];
    }
    Ok(opened)
}

fn take(item: &Item, content: &[u8], args: &mut [Arg]) -> Result<(), DecodeError> {
    let cut = item.flags & wire::ITEM_CUT != 0;
    let unreadable = item.flags & wire::ITEM_UNREADABLE != 0;
    let value = match item.kind {
        // The first strings of an argv may have been read before one that could not be.
        wire::ITEM_ARGV if !(unreadable && content.is_empty()) => argv(content, cut || unreadable),
        _ if unreadable => ArgValue::Unreadable,
        wire::ITEM_STRING => ArgValue::Str(text(content, cut)),
        wire::ITEM_SOCKADDR => sockaddr(content, cut),
        value => return Err(DecodeError::Unknown { field: "item kind", value }),
    };
    if usize::from(item.arg) >= ARGS {
        return Err(DecodeError::Unknown { field: "argument", value: item.arg });
    }
    if let Some(arg) = args.get_mut(usize::from(item.arg)) {
        arg.value = value;
    }
    Ok(())
}

fn text(bytes: &[u8], cut: bool) -> Text {
    Text { bytes: bytes.into(), cut, redacted: false }
}

/// Components from leaf to root, each with its NUL, to an absolute path.
fn path(content: &[u8], cut: bool) -> Text {
    let mut bytes = Vec::with_capacity(content.len() + 1);
    for name in content.rsplit(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        bytes.push(b'/');
        bytes.extend_from_slice(name);
    }
    if bytes.is_empty() {
        bytes.push(b'/');
    }
    Text { bytes: bytes.into(), cut, redacted: false }
}

/// Strings with their NULs. The last one lacks its NUL when it was cut there.
fn argv(content: &[u8], cut: bool) -> ArgValue {
    let content = content.strip_suffix(&[0]).unwrap_or(content);
    let strings = if content.is_empty() && !cut {
        Vec::new()
    } else {
        content.split(|&byte| byte == 0).map(|string| text(string, false)).collect()
    };
    ArgValue::Argv { strings, cut }
}

/// As bind(2) and accept(2) define it. An address too short for its family is shown as bytes.
fn sockaddr(content: &[u8], cut: bool) -> ArgValue {
    let Some((family, data)) = content.split_first_chunk() else {
        return ArgValue::Sockaddr(SockAddr::Other { family: 0, data: content.into() });
    };
    let family = u16::from_ne_bytes(*family);
    let address = match family {
        AF_INET => inet(data),
        AF_INET6 => inet6(data),
        AF_UNIX => Some(unix(data, cut)),
        _ => None,
    };
    ArgValue::Sockaddr(address.unwrap_or_else(|| SockAddr::Other { family, data: data.into() }))
}

fn inet(data: &[u8]) -> Option<SockAddr> {
    let (port, data) = data.split_first_chunk()?;
    let addr: [u8; 4] = *data.first_chunk()?;
    Some(SockAddr::Inet { addr: Ipv4Addr::from(addr), port: u16::from_be_bytes(*port) })
}

fn inet6(data: &[u8]) -> Option<SockAddr> {
    let (port, data) = data.split_first_chunk()?;
    let (flowinfo, data) = data.split_first_chunk()?;
    let (addr, data) = data.split_first_chunk::<16>()?;
    // RFC 2133's form, without the scope, is still accepted by the kernel.
    let scope_id = data.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    Some(SockAddr::Inet6 {
        addr: Ipv6Addr::from(*addr),
        port: u16::from_be_bytes(*port),
        flowinfo: u32::from_be_bytes(*flowinfo),
        scope_id,
    })
}

fn unix(data: &[u8], cut: bool) -> SockAddr {
    match data.split_first() {
        Some((0, name)) => SockAddr::Unix { path: text(name, cut), is_abstract: true },
        _ => {
            let path = data.split(|&byte| byte == 0).next().unwrap_or_default();
            SockAddr::Unix { path: text(path, cut), is_abstract: false }
        }
    }
}
