//! Sockets that are missing, wrong, late or doubled.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use anyhow::Result;
use kubeward_agent::discovery::Change;
use kubeward_testkit::containerd::Containerd;

use crate::watcher::Watcher;
use crate::{containerd_with_image, sleeper};

async fn failure_of(path: &Path) -> String {
    let mut watcher = Watcher::of_sockets(&[format!("unix://{}", path.display())]);
    let failure = watcher.failing().await;
    watcher.stop().await;
    failure.replace(&path.display().to_string(), "PATH")
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_socket_that_comes_later_is_found() -> Result<()> {
    let mut containerd = Containerd::prepared()?;
    let mut watcher = Watcher::of(&[&containerd]);
    let failure = watcher.failing().await;
    assert!(failure.contains("no such socket: start containerd"), "{failure}");

    containerd.resume()?;
    let (version, running) = watcher.answering().await;
    assert!(containerd.ctr("default", &["version"])?.contains(&version), "version {version}");
    assert_eq!(running, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_socket_that_is_a_file_is_refused_by_name() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("containerd.sock");
    std::fs::write(&file, "")?;
    assert_eq!(
        failure_of(&file).await,
        "PATH: not a socket: --cri-socket must name the socket that containerd listens on"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_socket_that_nobody_listens_on_is_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("containerd.sock");
    drop(UnixListener::bind(&socket)?);
    assert_eq!(failure_of(&socket).await, "PATH: nothing listens on this socket: is containerd running?");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_socket_of_another_server_is_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("other.sock");
    let listener = UnixListener::bind(&socket)?;
    // Ends with the test's process.
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut connection = connection;
            let mut request = [0; 64];
            let _ = connection.read(&mut request);
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    assert_eq!(
        failure_of(&socket).await,
        "PATH: what listens there is not containerd: name containerd's socket with --cri-socket"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_socket_that_never_answers_is_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("silent.sock");
    let _listener = UnixListener::bind(&socket)?;
    assert_eq!(
        failure_of(&socket).await,
        "PATH: no answer within 2 s: containerd hangs, or something else listens there"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_socket_under_two_names_is_watched_once_and_two_daemons_both() -> Result<()> {
    let (first, second) = (containerd_with_image()?, containerd_with_image()?);
    let link = first.dir().join("link.sock");
    symlink(first.socket(), &link)?;
    let sockets = [first.socket(), link, second.socket()].map(|path| path.display().to_string());
    let mut watcher = Watcher::of_sockets(&sockets);

    let (on_first, on_second) = (first.unique_id("web"), second.unique_id("web"));
    first.run(&sleeper("default", &on_first))?;
    second.run(&sleeper("default", &on_second))?;
    let mut appeared = Vec::new();
    while appeared.len() < 2 {
        if let Change::Appeared { instance, .. } = watcher.next("a container of each daemon").await {
            appeared.push((instance.socket.to_path_buf(), instance.id.0));
        }
    }
    appeared.sort();
    let mut expected = vec![(first.socket(), on_first), (second.socket(), on_second)];
    expected.sort();
    assert_eq!(appeared, expected);
    let answers = watcher.stop().await;
    assert!(!answers.iter().any(|change| matches!(change, Change::Appeared { .. })), "{answers:?}");
    Ok(())
}
