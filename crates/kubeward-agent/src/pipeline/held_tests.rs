//! Containers that act before they are named.

use super::*;

fn hold(rig: &Rig, slot: ContainerSlot) {
    assert!(rig.commands.send(Command::Hold { slot }));
}

fn numbered(slot: ContainerSlot, mono_ns: u64) -> Record {
    Record { mono_ns, ..record(slot, "mkdir", 0) }
}

#[test]
fn what_was_held_is_told_in_order_once_the_container_has_a_name() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    hold(&rig, A);
    rig.record(&numbered(A, 1));
    rig.record(&numbered(A, 2));
    assert_eq!(rig.output.of("syscall").len(), 0);
    rig.open(A, "a");
    rig.record(&numbered(A, 3));
    let order: Vec<_> = rig.output.of("syscall").iter().map(|event| event["mono_ns"].clone()).collect();
    assert_eq!(order, [1, 2, 3]);
    let came = &rig.output.of("container")[0];
    assert!(came["seq"].as_u64() < rig.output.of("syscall")[0]["seq"].as_u64(), "{came}");
    let account = rig.pipeline.finish(Doubts::default()).accounts[0].1;
    assert!(account.balanced() && account.emitted == 3, "{account:?}");
}

#[test]
fn what_proves_to_be_no_containers_is_in_the_nodes_account_alone() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    hold(&rig, A);
    rig.record(&numbered(A, 1));
    rig.change_kernel(A, |account| {
        // One that never returns, and one of the runtime's.
        (account.at_once, account.entered, account.filtered_setup) = (account.at_once + 1, 1, 1);
    });
    assert!(rig.commands.send(Command::Ignore { slot: A }));
    rig.record(&numbered(A, 2));
    while rig.freed.try_recv().is_err() {
        rig.pipeline.drained();
    }
    let finished = rig.pipeline.finish(Doubts::default());
    assert_eq!((rig.output.of("syscall").len(), finished.accounts.len()), (0, 0));
    let node = finished.total;
    assert!(node.balanced(), "{node:?}");
    assert_eq!((node.seen, node.filtered.get(FilterReason::Ignored)), (4, 4));
}

#[test]
fn what_has_no_name_when_the_agent_ends_is_no_containers() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    hold(&rig, A);
    hold(&rig, B);
    rig.record(&numbered(A, 1));
    let node = rig.pipeline.finish(Doubts::default()).total;
    assert!(node.balanced(), "{node:?}");
    assert_eq!((node.seen, node.filtered.get(FilterReason::Ignored)), (1, 1));
}
