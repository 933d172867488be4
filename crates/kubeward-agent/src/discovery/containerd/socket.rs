//! Which sockets containerd may listen on, and what is wrong with one that does not answer.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::client::RpcError;

/// Where MicroK8s, k3s and everybody else put containerd's socket, in this order.
pub const DEFAULT_SOCKETS: [&str; 4] = [
    "/var/snap/microk8s/common/run/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
];

/// A socket address that can never work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("the socket address is empty: give a path like /run/containerd/containerd.sock")]
    Empty,
    #[error("socket address \"{0}\": only unix:// is supported, containerd listens on a Unix socket")]
    Scheme(String),
    #[error("socket address \"{0}\" is not an absolute path (example: /run/containerd/containerd.sock)")]
    Relative(String),
}

/// Why a socket gives no containers now. All are tried again.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("no containerd socket found (looked for {}): start containerd, or name its socket with --cri-socket", list(.0))]
    NoneFound(Vec<Arc<Path>>),
    #[error("{}: no such socket: start containerd, or name its socket with --cri-socket", .0.display())]
    Missing(Arc<Path>),
    #[error("{}: not a socket: --cri-socket must name the socket that containerd listens on", .0.display())]
    NotASocket(Arc<Path>),
    #[error("{}: permission denied: run as root, or as a user who may open containerd's socket", .0.display())]
    Denied(Arc<Path>),
    #[error("{}: nothing listens on this socket: is containerd running?", .0.display())]
    Refused(Arc<Path>),
    #[error("{}: cannot connect", path.display())]
    Connect {
        path: Arc<Path>,
        #[source]
        source: io::Error,
    },
    #[error("{}: no answer within {} s: containerd hangs, or something else listens there", path.display(), limit.as_secs())]
    Silent { path: Arc<Path>, limit: Duration },
    #[error("{}: what listens there is not containerd: name containerd's socket with --cri-socket", path.display())]
    NotContainerd {
        path: Arc<Path>,
        #[source]
        source: RpcError,
    },
    #[error("{}: a call to containerd failed", path.display())]
    Rpc {
        path: Arc<Path>,
        #[source]
        source: RpcError,
    },
    #[error("{}: the connection to containerd was lost", path.display())]
    Lost {
        path: Arc<Path>,
        #[source]
        source: RpcError,
    },
    #[error("{}: containerd ended the event stream", .0.display())]
    Ended(Arc<Path>),
}

impl SocketError {
    /// The socket; `None` when there is none at all.
    pub fn path(&self) -> Option<&Arc<Path>> {
        match self {
            SocketError::NoneFound(_) => None,
            SocketError::Missing(path)
            | SocketError::NotASocket(path)
            | SocketError::Denied(path)
            | SocketError::Refused(path)
            | SocketError::Connect { path, .. }
            | SocketError::Silent { path, .. }
            | SocketError::NotContainerd { path, .. }
            | SocketError::Rpc { path, .. }
            | SocketError::Lost { path, .. }
            | SocketError::Ended(path) => path.into(),
        }
    }
}

fn list(paths: &[Arc<Path>]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The sockets to watch.
#[derive(Debug, Clone)]
pub struct Sockets {
    paths: Vec<Arc<Path>>,
    named: bool,
}

/// One socket to watch, and those before it in the list, which win when they are the same socket.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) path: Arc<Path>,
    pub(super) earlier: Vec<Arc<Path>>,
    /// The user named it, so that its absence is worth telling.
    pub(super) named: bool,
}

/// The sockets that the user named (`unix://` optional), or else the default ones.
pub fn choose<S: AsRef<str>>(named: &[S]) -> Result<Sockets, AddressError> {
    if named.is_empty() {
        let paths = DEFAULT_SOCKETS.iter().map(|path| Arc::from(Path::new(path))).collect();
        return Ok(Sockets { paths, named: false });
    }
    let mut paths = Vec::new();
    for address in named {
        let path: Arc<Path> = parse(address.as_ref())?.into();
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(Sockets { paths, named: true })
}

fn parse(address: &str) -> Result<PathBuf, AddressError> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    if path.is_empty() {
        return Err(AddressError::Empty);
    }
    if path.contains("://") {
        return Err(AddressError::Scheme(address.to_owned()));
    }
    if !path.starts_with('/') {
        return Err(AddressError::Relative(address.to_owned()));
    }
    Ok(PathBuf::from(path))
}

impl Sockets {
    pub fn paths(&self) -> &[Arc<Path>] {
        &self.paths
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate> + '_ {
        self.paths.iter().enumerate().map(|(index, path)| Candidate {
            path: path.clone(),
            earlier: self.paths[..index].to_vec(),
            named: self.named,
        })
    }

    /// The error to tell at once when none of the default sockets is there.
    pub(super) fn none_found(&self) -> Option<SocketError> {
        let absent = !self.named && self.paths.iter().all(|path| !path.exists());
        absent.then(|| SocketError::NoneFound(self.paths.clone()))
    }
}

impl Candidate {
    /// Looks at the file before anything connects to it. `Ok(false)`: an earlier candidate is the same socket.
    pub(super) fn inspect(&self) -> Result<bool, SocketError> {
        let here = std::fs::metadata(&self.path).map_err(|error| connect_error(&self.path, error))?;
        if !here.file_type().is_socket() {
            return Err(SocketError::NotASocket(self.path.clone()));
        }
        let same = |path: &Arc<Path>| {
            std::fs::metadata(path).is_ok_and(|other| (other.dev(), other.ino()) == (here.dev(), here.ino()))
        };
        Ok(!self.earlier.iter().any(same))
    }
}

pub(super) fn connect_error(path: &Arc<Path>, error: io::Error) -> SocketError {
    match error.kind() {
        // NotADirectory: a part of the path is a file.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SocketError::Missing(path.clone()),
        io::ErrorKind::PermissionDenied => SocketError::Denied(path.clone()),
        io::ErrorKind::ConnectionRefused => SocketError::Refused(path.clone()),
        _ => SocketError::Connect { path: path.clone(), source: error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn default_sockets_are_those_of_the_known_distributions_in_order() {
        let sockets = choose::<&str>(&[]).expect("no address to refuse");
        let paths: Vec<_> = sockets.paths().iter().map(|path| path.to_str().expect("ASCII")).collect();
        assert_eq!(paths, DEFAULT_SOCKETS);
    }

    #[test]
    fn unix_scheme_is_optional_and_one_path_is_watched_once() {
        let sockets = choose(&["unix:///run/a.sock", "/run/a.sock", "/run/b.sock"]).expect("valid");
        assert_eq!(sockets.paths(), [Arc::from(Path::new("/run/a.sock")), Arc::from(Path::new("/run/b.sock"))]);
    }

    #[test]
    fn addresses_that_can_never_work_are_refused() {
        assert_eq!(choose(&["unix://"]).expect_err("can never work"), AddressError::Empty);
        assert_eq!(
            choose(&["tcp://10.0.0.1:80"]).expect_err("can never work"),
            AddressError::Scheme("tcp://10.0.0.1:80".into())
        );
        assert_eq!(choose(&["run/a.sock"]).expect_err("can never work"), AddressError::Relative("run/a.sock".into()));
    }

    #[test]
    fn second_name_of_one_socket_is_left_to_the_first() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (socket, link) = (dir.path().join("a.sock"), dir.path().join("link.sock"));
        let _listener = UnixListener::bind(&socket).expect("bind");
        std::os::unix::fs::symlink(&socket, &link).expect("symlink");

        let sockets = choose(&[socket.to_str().expect("UTF-8"), link.to_str().expect("UTF-8")]).expect("valid");
        let watched: Vec<bool> =
            sockets.candidates().map(|candidate| candidate.inspect().expect("is a socket")).collect();
        assert_eq!(watched, [true, false]);
    }

    #[test]
    fn file_and_absence_are_told_apart() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("write");
        let inspect = |path: &Path| {
            let sockets = choose(&[path.to_str().expect("UTF-8")]).expect("valid");
            let candidate = sockets.candidates().next().expect("one candidate");
            candidate.inspect().expect_err("cannot be watched")
        };
        assert!(matches!(inspect(&file), SocketError::NotASocket(_)));
        assert!(matches!(inspect(&dir.path().join("none")), SocketError::Missing(_)));
        assert!(matches!(inspect(&file.join("below")), SocketError::Missing(_)));
    }
}
