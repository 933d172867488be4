//! A noisy container beside a quiet one, while nobody reads the ring.

use std::thread;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::agent::Agent;
use crate::containerd_with_image;
use crate::policy::Policies;
use crate::stream::number;
use crate::told::Told;

/// More than the ring has room for, several times.
const NOISY: usize = 200_000;

/// A hundredth of it.
const QUIET: usize = NOISY / 100;

#[test]
fn containerd_quiet_container_loses_nothing_beside_one_a_hundred_times_as_noisy() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("all", "{syscalls: [{name: openat}, {name: mkdirat}]}")])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let (mut noisy, mut quiet) = (Told::start(&containerd, "noisy")?, Told::start(&containerd, "quiet")?);
    for told in [&mut noisy, &mut quiet] {
        agent.sees(told, "mkdirat")?;
    }
    agent.signal(Signal::SIGSTOP);
    let flooded = thread::scope(|scope| {
        let by_noisy = scope.spawn(|| noisy.tell(&format!("flood {NOISY}")));
        let by_quiet = scope.spawn(|| quiet.tell(&format!("flood {QUIET}")));
        [by_noisy, by_quiet].map(|told| told.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    agent.signal(Signal::SIGCONT);
    flooded.into_iter().collect::<Result<()>>()?;
    // Once the quiet one's is read, so is all that was before, and the noisy one has room again.
    for told in [&mut quiet, &mut noisy] {
        told.tell("mkdir /afterwards")?;
        agent.event(&told.id, "mkdirat", "/afterwards");
    }

    let stream = agent.stop().stream;
    let floods = |id: &str| stream.paths(id, "openat").iter().filter(|path| **path == "/flood").count();
    assert_eq!(floods(&quiet.id), QUIET);
    stream.assert_whole(&quiet.id);
    let ledger = stream.final_ledgers(&noisy.id)[0];
    let lost = number(&ledger["lost"]["share"]) as usize;
    assert!(lost > 0, "{ledger}");
    assert_eq!(floods(&noisy.id) + lost, NOISY, "{ledger}");
    assert_eq!((&ledger["balanced"], number(&ledger["lost"]["total"]) as usize), (&true.into(), lost), "{ledger}");
    println!("noisy: {NOISY} calls, {lost} lost of its own share; quiet: {QUIET} calls, 0 lost");
    Ok(())
}
