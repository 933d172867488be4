//! What a container's last account says, and what comes after it.

use super::*;

#[test]
fn closed_container_is_told_when_its_last_record_is_read() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.record(&record(A, "mkdir", 0));
    // Another one is in the ring when the container ends.
    rig.change_kernel(A, |account| account.at_once = 2);
    rig.commands.send(Command::Close { slot: A });
    (0..20).for_each(|_| rig.pipeline.drained());
    assert!(rig.freed.try_recv().is_err(), "a record of it is still on its way");
    rig.pipeline.record(record(A, "mkdir", 0).as_bytes());
    rig.pipeline.drained();
    assert_eq!(rig.freed.try_recv(), Ok(A));
    let ledger = &rig.output.of("ledger")[0];
    assert_eq!((&ledger["final"], &ledger["emitted"], &ledger["balanced"]), (&true.into(), &2.into(), &true.into()));
    assert_eq!(rig.output.of("container").last().map(|line| line["change"].clone()), Some("gone".into()));
    let finished = rig.pipeline.finish(Doubts::default());
    assert_eq!((finished.accounts.len(), finished.total.emitted), (0, 2), "the node keeps its numbers");
}

#[test]
fn record_that_comes_when_its_container_is_closed_is_counted_once() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.change_kernel(A, |account| account.at_once = 1);
    rig.commands.send(Command::Close { slot: A });
    while rig.freed.try_recv().is_err() {
        rig.pipeline.drained();
    }
    rig.pipeline.record(record(A, "mkdir", 0).as_bytes());
    let node = rig.pipeline.finish(Doubts::default()).total;
    assert_eq!((node.seen, node.in_flight, node.lost.get(LossReason::Unread), node.imbalance()), (1, 0, 1, 0));
    assert_eq!(node.lost.total(), 1);
}

#[test]
fn record_that_never_comes_is_lost_in_the_last_account_and_a_call_under_way_is_not() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.open(B, "b");
    rig.record(&record(A, "mkdir", 0));
    // Two records of each were overwritten in the ring; one task of A's outlives it, in a call.
    for slot in [A, B] {
        rig.change_kernel(slot, |account| account.at_once += 2);
    }
    rig.change_kernel(A, |account| account.entered += 1);
    let doubts = Doubts::default();
    let meanwhile = given(&mut rig, |reply| Command::GiveAccounts { doubts, reply });
    assert_eq!((meanwhile.node.in_flight, meanwhile.node.lost.total()), (5, 0), "they may be on their way still");
    rig.commands.send(Command::Close { slot: A });
    while rig.freed.try_recv().is_err() {
        rig.pipeline.drained();
    }
    let last = &rig.output.of("ledger")[0];
    let told = [&last["seen"], &last["emitted"], &last["lost"]["unread"], &last["in_flight"], &last["imbalance"]];
    assert_eq!(told, [&Value::from(4), &1.into(), &2.into(), &1.into(), &Value::Null], "{last}");
    assert_eq!((&last["final"], &last["balanced"]), (&true.into(), &true.into()));
    let Finished { accounts, total } = rig.pipeline.finish(Doubts::default());
    let (_, of_b) = &accounts[0];
    assert_eq!((of_b.seen, of_b.lost.get(LossReason::Unread), of_b.in_flight, of_b.imbalance()), (2, 2, 0, 0));
    assert_eq!((total.lost.get(LossReason::Unread), total.in_flight, total.imbalance()), (4, 1, 0));
}

#[test]
fn record_under_another_slot_is_counted_once_for_the_node_when_its_container_lacks_it() {
    for ends_with_the_agent in [true, false] {
        let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
        rig.open(A, "a");
        // Two were written of A's: one came damaged, under a slot that is nobody's, and one never.
        rig.change_kernel(A, |account| account.at_once = 2);
        rig.pipeline.record(record(B, "mkdir", 0).as_bytes());
        if !ends_with_the_agent {
            rig.commands.send(Command::Close { slot: A });
            while rig.freed.try_recv().is_err() {
                rig.pipeline.drained();
            }
        }
        let node = rig.pipeline.finish(Doubts::default()).total;
        let lost = [LossReason::Unread, LossReason::Decode].map(|reason| node.lost.get(reason));
        assert_eq!((node.seen, lost, node.imbalance()), (2, [1, 1], 0), "{ends_with_the_agent}");
        let of_a = &rig.output.of("ledger")[0];
        assert_eq!(
            (&of_a["seen"], &of_a["lost"]["unread"]),
            (&2.into(), &2.into()),
            "the container has lost both: {of_a}"
        );
    }
}

#[test]
fn what_the_kernel_side_counts_after_the_ring_was_read_is_not_called_lost() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.record(&record(A, "mkdir", 0));
    // Each time that it is asked another call has returned.
    let returned = Mutex::new(0);
    rig.pipeline.kernel_accounts = KernelAccounts::of_each(move |_| {
        let mut left = returned.lock().expect("no test panics with it");
        *left += 1;
        Some(wire::Account { entered: 9, left: *left, ..wire::Account::default() })
    });
    let Finished { accounts, total } = rig.pipeline.finish(Doubts::default());
    assert_eq!((total.lost.total(), total.in_flight, total.imbalance()), (0, 8, 0), "{accounts:?}");
}
