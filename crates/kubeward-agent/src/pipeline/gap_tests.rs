//! Whose losses are looked for when.

use super::*;

#[test]
fn while_the_ring_is_busy_accounts_are_read_of_those_alone_whose_records_came() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.open(B, "b");
    rig.pipeline.drained();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    rig.pipeline.kernel_accounts = KernelAccounts::of_each(move |slot| {
        seen.lock().expect("no test panics with it").push(slot);
        Some(wire::Account { lost_ring: u64::from(slot.0), ..wire::Account::default() })
    });
    let asked = || std::mem::take(&mut *asked.lock().expect("no test panics with it"));
    let look_while_busy = |rig: &mut Rig| {
        (rig.pipeline.looked_ns, rig.pipeline.looked_at_all_ns) = (0, u64::MAX);
        rig.pipeline.since_drained = 1 << 20;
        rig.pipeline.look_around();
    };
    look_while_busy(&mut rig);
    assert_eq!(asked(), []);
    rig.pipeline.record(record(B, "mkdir", 0).as_bytes());
    look_while_busy(&mut rig);
    look_while_busy(&mut rig);
    assert_eq!(asked(), [B], "once for what came");
    rig.pipeline.looked_at_all_ns = 0;
    rig.pipeline.looked_ns = 0;
    rig.pipeline.look_around();
    assert_eq!(asked(), [A, B], "a container without a record may have lost all that it had");
    let lost: Vec<_> = rig.output.of("gap").iter().map(|gap| (gap["lost"].clone(), gap["reason"].clone())).collect();
    assert_eq!(lost, [(2.into(), "ring".into()), (1.into(), "ring".into())]);
}

#[test]
fn losses_that_could_not_be_read_once_are_not_told_twice() {
    let mut rig = Rig::new("{syscalls: [{name: mkdir}]}");
    rig.open(A, "a");
    rig.pipeline.drained();
    for told in [Some(5), None, Some(5), Some(7)] {
        rig.pipeline.kernel_accounts = KernelAccounts::of_each(move |_| {
            told.map(|lost_ring| wire::Account { lost_ring, ..wire::Account::default() })
        });
        rig.pipeline.tell_gaps();
    }
    let lost: Vec<_> = rig.output.of("gap").iter().map(|gap| gap["lost"].clone()).collect();
    assert_eq!(lost, [serde_json::Value::from(5), 2.into()]);
}
