//! containerd goes away and comes back, or was not there at first.

use std::fs;

use anyhow::Result;
use kubeward_testkit::containerd::Containerd;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::agent::Agent;
use crate::policy::Policies;
use crate::stream::{is_container_line, is_notice};
use crate::told::Told;
use crate::{containerd_with_image, image, maps};

fn folders() -> Result<Policies> {
    Policies::new(&[("all", "{syscalls: [{name: mkdirat}]}")])
}

#[test]
fn containerd_stopped_and_started_under_the_agent_interrupts_no_watch() -> Result<()> {
    let mut containerd = containerd_with_image()?;
    let policies = folders()?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut stays = Told::start(&containerd, "stays")?;
    agent.sees(&mut stays, "mkdirat")?;

    let start = agent.now();
    containerd.kill()?;
    agent.line_after(start, "word that containerd is away", |line| is_notice(line, "containerd_unreachable"));
    stays.tell("mkdir /meanwhile")?;
    agent.event(&stays.id, "mkdirat", "/meanwhile");

    let start = agent.now();
    containerd.resume()?;
    let back = agent.line_after(start, "word that containerd is back", |line| is_notice(line, "containerd_answers"));
    assert!(back["message"].as_str().unwrap_or_default().ends_with("1 container runs"), "{back}");
    let mut new = Told::start(&containerd, "new")?;
    agent.sees(&mut new, "mkdirat")?;
    for told in [&mut stays, &mut new] {
        told.tell("mkdir /afterwards")?;
        agent.event(&told.id, "mkdirat", "/afterwards");
    }

    let stream = agent.stop().stream;
    let changes = |change: &str| stream.0.iter().filter(|line| is_container_line(line, &stays.id, change)).count();
    assert_eq!((changes("came"), changes("gone")), (1, 0), "it ran all the time");
    stream.assert_whole(&stays.id);
    stream.assert_whole(&new.id);
    Ok(())
}

#[test]
fn containerd_end_of_a_container_while_containerd_is_away_is_told_and_leaves_the_maps_empty() -> Result<()> {
    let mut containerd = containerd_with_image()?;
    let policies = folders()?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut told = Told::start(&containerd, "ends")?;
    agent.sees(&mut told, "mkdirat")?;
    let init = i32::try_from(containerd.init_pid("default", &told.id)?)?;

    let start = agent.now();
    containerd.kill()?;
    agent.line_after(start, "word that containerd is away", |line| is_notice(line, "containerd_unreachable"));
    told.tell("mkdir /last")?;
    kill(Pid::from_raw(init), Signal::SIGKILL)?;
    agent.container(&told.id, "gone");
    let in_maps = |name: &str| maps::entries(agent.pid(), name);
    assert_eq!((in_maps("container_map")?, in_maps("namespace_map")?), (0, 0));

    let stream = agent.stop().stream;
    assert!(stream.paths(&told.id, "mkdirat").contains(&"/last"));
    stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn containerd_wrong_socket_is_told_and_so_is_success_when_it_comes() -> Result<()> {
    let mut containerd = Containerd::prepared()?;
    let socket = containerd.socket();
    fs::write(&socket, "")?;
    let policies = folders()?;
    let mut agent = Agent::start(&socket, policies.folder())?;
    let failure = agent.line("word of the wrong socket", |line| is_notice(line, "containerd_unreachable"));
    let message = failure["message"].as_str().unwrap_or_default();
    let expected = format!("{}: not a socket", socket.display());
    assert!(message.contains(&expected) && message.contains("trying again"), "{message}");
    agent.logged(&expected, 0);

    fs::remove_file(&socket)?;
    containerd.resume()?;
    let answers = agent.line("word of success", |line| is_notice(line, "containerd_answers"));
    assert!(answers["message"].as_str().unwrap_or_default().contains(&socket.display().to_string()), "{answers}");
    agent.logged("answers; 0 containers run", 0);
    containerd.import("default", &image())?;
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    agent.stop().stream.assert_whole(&told.id);
    Ok(())
}
