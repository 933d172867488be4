//! The variable part of a record: strings, argument vectors, socket addresses, paths.

use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr};

use kubeward_core::event::{ArgValue, SockAddr, Text};

use super::DecodeError;
use crate::wire::{self, Item, Wire};

const AF_UNIX: u16 = libc::AF_UNIX as u16;
const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;

/// What was read for each argument, and the path of the file that was opened or executed.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub(super) args: [Option<ArgValue>; 6],
    pub(super) path: Option<Text>,
}

impl Items {
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let whole = bytes.len();
        let mut items = Self::default();
        while !bytes.is_empty() {
            let at = whole - bytes.len();
            let item = Item::read_from(bytes).ok_or(DecodeError::ItemEnd { at })?;
            let rest = &bytes[size_of::<Item>()..];
            let content = rest.get(..item.bytes as usize).ok_or(DecodeError::ItemEnd { at })?;
            items.take(&item, content)?;
            bytes = &rest[content.len()..];
        }
        Ok(items)
    }

    fn take(&mut self, item: &Item, content: &[u8]) -> Result<(), DecodeError> {
        let cut = item.flags & wire::ITEM_CUT != 0;
        let unreadable = item.flags & wire::ITEM_UNREADABLE != 0;
        let value = match item.kind {
            wire::ITEM_PATH => {
                self.path = Some(path(content, cut || unreadable));
                return Ok(());
            }
            // The first strings of an argv may have been read before one that could not be.
            wire::ITEM_ARGV if !(unreadable && content.is_empty()) => argv(content, cut || unreadable),
            _ if unreadable => ArgValue::Unreadable,
            wire::ITEM_STRING => ArgValue::Str(text(content, cut)),
            wire::ITEM_SOCKADDR => sockaddr(content, cut),
            value => return Err(DecodeError::Unknown { field: "item kind", value }),
        };
        let arg = self.args.get_mut(usize::from(item.arg));
        *arg.ok_or(DecodeError::Unknown { field: "argument", value: item.arg })? = Some(value);
        Ok(())
    }
}

fn text(bytes: &[u8], cut: bool) -> Text {
    Text { bytes: bytes.into(), cut, redacted: false }
}

/// Components from leaf to root, each with its NUL, to an absolute path.
fn path(content: &[u8], cut: bool) -> Text {
    let components = content.split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect::<Vec<_>>();
    let mut bytes = Vec::with_capacity(content.len() + 1);
    for name in components.iter().rev() {
        bytes.push(b'/');
        bytes.extend_from_slice(name);
    }
    if bytes.is_empty() {
        bytes.push(b'/');
    }
    text(&bytes, cut)
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
