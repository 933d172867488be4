use kubeward_core::event::SockAddr;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::Item;

/// A record of `openat` at its exit, to be changed by each test.
fn openat() -> Record {
    Record {
        kind: wire::KIND_CALL,
        phase: wire::PHASE_CALL,
        stage: 1,
        probe: wire::PROBE_TP_BTF,
        identity: wire::IDENTITY_TASK,
        flags: 0,
        nr: 257,
        slot: 7,
        items_bytes: 0,
        mono_ns: 1_000,
        duration_ns: 250,
        ret: 3,
        args: [0xffff_ffff_ffff_ff9c, 0x7ffc_0000, 0x8_0000, 0, 0, 0],
        exec_id: 11,
        start_boot_ns: 500,
        pid: 4242,
        tid: 4243,
        ppid: 4200,
        container_pid: 9,
        uid: 1000,
        gid: 100,
        comm: *b"cat\0garbage\0\0\0\0\0",
        uring_opcode: 0,
        uring_flags: 0,
        spare: 0,
        number: 257,
    }
}

fn item(arg: u8, kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
    let header = Item { arg, kind, flags, pad: 0, bytes: content.len() as u32 };
    [header.as_bytes(), content].concat()
}

fn bytes(mut record: Record, items: &[Vec<u8>]) -> Vec<u8> {
    let items = items.concat();
    record.items_bytes = items.len() as u32;
    [record.as_bytes(), &items].concat()
}

fn decode_call(bytes: &[u8]) -> CallRecord {
    let mut call = CallRecord::default();
    match decode(bytes, &mut call) {
        Ok(Decoded::Call) => call,
        other => panic!("not a call: {other:?}"),
    }
}

fn first_value(items: &[Vec<u8>]) -> ArgValue {
    decode_call(&bytes(openat(), items)).event.args[0].value.clone()
}

#[test]
fn a_call_keeps_every_field() {
    let path = item(6, wire::ITEM_PATH, 0, b"hosts\0etc\0");
    let name = item(1, wire::ITEM_STRING, 0, b"hosts");
    let CallRecord { event, exec_id, start_boot_ns } = decode_call(&bytes(openat(), &[name, path]));
    assert_eq!((exec_id, start_boot_ns), (11, 500));
    assert_eq!(event.call.entry.map(|entry| entry.name), Some("openat"));
    assert_eq!((event.phase, event.stage, event.probe), (Phase::Call, Stage::Run, Probe::TpBtf));
    assert_eq!((event.mono_ns, event.duration_ns, event.ret), (1_000, Some(250), Some(3)));
    assert_eq!(event.slot, ContainerSlot(7));
    assert_eq!(event.args.len(), 4);
    assert_eq!(event.args[1].value, ArgValue::Str(Text { bytes: (*b"hosts").into(), cut: false, redacted: false }));
    assert_eq!(&*event.path.expect("an opened file has a path").bytes, b"/etc/hosts");
    let process = event.process;
    assert_eq!((process.pid, process.tid, process.ppid, process.container_pid), (4242, 4243, 4200, 9));
    assert_eq!((process.uid, process.gid, &*process.comm.bytes), (1000, 100, &b"cat"[..]));
}

#[test]
fn an_entry_has_neither_result_nor_duration() {
    let event = decode_call(&bytes(Record { phase: wire::PHASE_ENTER, ..openat() }, &[])).event;
    assert_eq!((event.ret, event.duration_ns), (None, None));
}

#[test]
fn an_unknown_number_shows_six_registers() {
    let event = decode_call(&bytes(Record { nr: 511, number: 0x4000_0101, ..openat() }, &[])).event;
    assert!(event.call.entry.is_none());
    assert_eq!(event.call.nr, 0x4000_0101);
    assert_eq!(event.args.iter().map(|arg| arg.raw).collect::<Vec<_>>(), openat().args);
}

#[test]
fn a_compat_number_is_of_the_32_bit_table() {
    let event = decode_call(&bytes(Record { nr: 5, flags: wire::RECORD_COMPAT, ..openat() }, &[])).event;
    assert_eq!(event.call.via, Via::Compat);
    assert_eq!(event.call.entry.map(|entry| entry.name), Some("open"));
}

#[test]
fn a_call_behind_socketcall_is_shown_by_its_own_arguments() {
    let connect = Record { nr: 515, number: 102, flags: wire::RECORD_COMPAT, ..openat() };
    let event = decode_call(&bytes(connect, &[])).event;
    assert_eq!((event.call.nr, event.call.entry.map(|call| call.name)), (102, Some("connect")));
    assert_eq!(event.args.iter().map(|arg| arg.name).collect::<Vec<_>>(), ["fd", "uservaddr", "addrlen"]);
    let unread = Record { flags: wire::RECORD_COMPAT | wire::RECORD_NO_ARGS, ..connect };
    assert_eq!(decode_call(&bytes(unread, &[])).event.args[0].name, "arg0", "the words could not be read");
}

#[test]
fn a_signed_number_of_a_32_bit_call_has_32_bits() {
    let args = [3, 0xffff_ffff, 1, 0, 0, 0];
    let lseek = Record { nr: 19, flags: wire::RECORD_COMPAT, args, ..openat() };
    assert_eq!(decode_call(&bytes(lseek, &[])).event.args[1].raw as i64, -1);
}

#[test]
fn an_operation_of_io_uring_goes_by_its_call() {
    let event = decode_call(&bytes(Record { flags: wire::RECORD_IO_URING, ..openat() }, &[])).event;
    assert_eq!((event.call.via, event.call.entry.map(|call| call.name)), (Via::IoUring, Some("openat")));
}

#[test]
fn strings_that_there_was_no_memory_for_are_unreadable() {
    let event = decode_call(&bytes(Record { flags: wire::RECORD_NO_ITEMS, ..openat() }, &[])).event;
    assert_eq!(event.args[1].value, ArgValue::Unreadable);
    assert_eq!(event.args[0].value, ArgValue::Register);
}

#[test]
fn the_root_itself_is_a_slash() {
    let event = decode_call(&bytes(openat(), &[item(6, wire::ITEM_PATH, 0, b"")])).event;
    assert_eq!(&*event.path.expect("a path").bytes, b"/");
}

#[test]
fn argv_keeps_empty_strings() {
    let ArgValue::Argv { strings, cut } = first_value(&[item(0, wire::ITEM_ARGV, 0, b"sh\0\0-c\0")]) else {
        panic!("not an argv")
    };
    assert_eq!(strings.iter().map(|text| &*text.bytes).collect::<Vec<_>>(), [&b"sh"[..], b"", b"-c"]);
    assert!(!cut);
}

#[test]
fn socket_addresses_have_ports_in_host_order() {
    let inet = [&2_u16.to_ne_bytes()[..], &[0x01, 0xbb, 10, 0, 0, 1], &[0; 8]].concat();
    let SockAddr::Inet { addr, port } = sockaddr_of(&inet) else { panic!("not IPv4") };
    assert_eq!((addr.to_string(), port), ("10.0.0.1".to_owned(), 443));
    let mut inet6 = [&10_u16.to_ne_bytes()[..], &[0x1f, 0x90], &[0; 4], &[0; 15], &[1]].concat();
    inet6.extend_from_slice(&7_u32.to_ne_bytes());
    let SockAddr::Inet6 { addr, port, scope_id, .. } = sockaddr_of(&inet6) else { panic!("not IPv6") };
    assert_eq!((addr.to_string(), port, scope_id), ("::1".to_owned(), 8080, 7));
    let unix = [&1_u16.to_ne_bytes()[..], b"/run/x\0junk"].concat();
    let SockAddr::Unix { path, is_abstract } = sockaddr_of(&unix) else { panic!("not Unix") };
    assert_eq!((&*path.bytes, is_abstract), (&b"/run/x"[..], false));
    let hidden = [&1_u16.to_ne_bytes()[..], b"\0name"].concat();
    let SockAddr::Unix { path, is_abstract } = sockaddr_of(&hidden) else { panic!("not Unix") };
    assert_eq!((&*path.bytes, is_abstract), (&b"name"[..], true));
    assert!(matches!(sockaddr_of(&[2, 0, 1]), SockAddr::Other { family: 2, .. }));
}

fn sockaddr_of(content: &[u8]) -> SockAddr {
    match first_value(&[item(0, wire::ITEM_SOCKADDR, 0, content)]) {
        ArgValue::Sockaddr(address) => address,
        other => panic!("not an address: {other:?}"),
    }
}

#[test]
fn an_operation_of_io_uring_is_the_call_by_another_way() {
    let flags = wire::URING_FIXED_FILE | wire::URING_DIRECT;
    let record = Record { flags: wire::RECORD_IO_URING, uring_opcode: 18, uring_flags: flags, ..openat() };
    let event = decode_call(&bytes(record, &[])).event;
    assert_eq!((event.call.via, event.call.entry.map(|call| call.name)), (Via::IoUring, Some("openat")));
    assert_eq!(event.io_uring, Some(UringRequest { opcode: 18, fixed_file: true, direct: true }));
    assert_eq!(decode_call(&bytes(openat(), &[])).event.io_uring, None);
}

fn failed(bytes: &[u8]) -> Option<DecodeError> {
    decode(bytes, &mut CallRecord::default()).err()
}

#[test]
fn nothing_is_left_of_the_call_before() {
    let items = [item(1, wire::ITEM_STRING, 0, b"hosts"), item(6, wire::ITEM_PATH, 0, b"hosts\0etc\0")];
    let ring = Record { flags: wire::RECORD_IO_URING | wire::RECORD_REFUSED, uring_opcode: 18, ..openat() };
    let mut call = decode_call(&bytes(ring, &items));
    let bare = bytes(Record { phase: wire::PHASE_ENTER, nr: 39, comm: [0; 16], ..openat() }, &[]);
    assert!(matches!(decode(&bare, &mut call), Ok(Decoded::Call)));
    assert_eq!(format!("{call:?}"), format!("{:?}", decode_call(&bare)));
}

#[test]
fn damage_is_named() {
    assert_eq!(failed(&[0; 10]), Some(DecodeError::Short { bytes: 10 }));
    let mut long = bytes(openat(), &[]);
    long.push(0);
    assert_eq!(failed(&long), Some(DecodeError::Items { announced: 0, carried: 1 }));
    let mut torn = item(0, wire::ITEM_STRING, 0, b"abc");
    torn.pop();
    assert_eq!(failed(&bytes(openat(), &[torn])), Some(DecodeError::ItemEnd { at: 0 }));
    let unknown = bytes(Record { kind: 9, ..openat() }, &[]);
    assert_eq!(failed(&unknown), Some(DecodeError::Unknown { field: "record kind", value: 9 }));
}

/// Records of all kinds of calls, with items of arguments that they have or do not have: below 6 all are well made.
fn any_record(args: std::ops::Range<u8>) -> impl Strategy<Value = Vec<u8>> {
    let any_item = (args, wire::ITEM_STRING..=wire::ITEM_PATH, 0..4_u8, vec(any::<u8>(), 0..40));
    let items = vec(any_item.prop_map(|(arg, kind, flags, content)| item(arg, kind, flags, &content)), 0..5);
    let how = (wire::PHASE_ENTER..=wire::PHASE_CALL, wire::PROBE_TP_BTF..=wire::PROBE_FENTRY, 0..32_u8, 0..2_u8);
    let whose = (wire::IDENTITY_TASK..=wire::IDENTITY_NAMESPACE, any::<[u8; 16]>(), any::<[u32; 6]>(), any::<u64>());
    let what = (0..520_u16, any::<[u64; 6]>(), any::<i64>(), any::<u64>(), any::<(u8, u8)>());
    (how, whose, what, items).prop_map(|(how, whose, what, items)| {
        let ((phase, probe, flags, stage), (identity, comm, ids, exec_id)) = (how, whose);
        let (nr, args, ret, mono_ns, (uring_opcode, uring_flags)) = what;
        let [pid, tid, ppid, container_pid, uid, gid] = ids;
        let record =
            Record { phase, probe, flags, stage, identity, comm, pid, tid, ppid, container_pid, uid, gid, ..openat() };
        let record = Record { exec_id, nr, args, ret, mono_ns, uring_opcode, uring_flags, number: nr.into(), ..record };
        bytes(record, &items)
    })
}

proptest::proptest! {
    /// The reader decodes into the call before, whatever that was, damaged ones too.
    #[test]
    fn a_call_is_the_same_whatever_was_decoded_before(before in any_record(0..8), bytes in any_record(0..6)) {
        let (mut fresh, mut used) = (CallRecord::default(), CallRecord::default());
        let _ = decode(&before, &mut used);
        let (alone, after) = (decode(&bytes, &mut fresh), decode(&bytes, &mut used));
        prop_assert_eq!(format!("{alone:?}"), format!("{after:?}"));
        prop_assert!(matches!(alone, Ok(Decoded::Call)), "{alone:?}");
        prop_assert_eq!(format!("{fresh:?}"), format!("{used:?}"));
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let _ = decode(&bytes, &mut CallRecord::default());
    }

    #[test]
    fn any_items_give_an_answer(items in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let mut record = openat();
        record.items_bytes = items.len() as u32;
        let _ = decode(&[record.as_bytes(), &items].concat(), &mut CallRecord::default());
    }
}
