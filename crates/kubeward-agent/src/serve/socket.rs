//! The agent's Unix socket: made so that nobody but its owner ever gets in, and only where no other agent answers.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{fchmod, Mode};
use rustix::io::Errno;
use rustix::net::{bind, connect, listen, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 64;

/// Another agent that begins at the same moment has the folder for less.
const FOLDER_WITHIN: Duration = Duration::from_secs(3);

/// Between two tries to have it.
const FOLDER_TRIES_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("--socket {}: another agent answers there; end it, or give --socket another path (or none)", .0.display())]
    Taken(PathBuf),
    #[error("--socket {}: this is there and is no socket; remove it, or give --socket another path", .0.display())]
    NotASocket(PathBuf),
    #[error("--socket {}: not an absolute path of a file", .0.display())]
    NotAPath(PathBuf),
    #[error("--socket {}: the kernel takes paths of at most 107 bytes for sockets", .0.display())]
    TooLong(PathBuf),
    #[error("--socket {}: others hold a lock on its folder", .0.display())]
    FolderLocked(PathBuf),
    #[error("--socket {}: {doing}: {source}", path.display())]
    Failed { path: PathBuf, doing: &'static str, source: io::Error },
}

/// A socket that listens. Dropping it removes the file, and the folder if this made it and nothing else is in it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: somebody else's file by the same name is left alone.
    file: (u64, u64),
    made_folder: bool,
}

impl Socket {
    /// Listens at `path`, mode 0600 from its first moment on. Makes the folder (0700) where it is missing. A socket on which
    /// nobody listens any more is replaced.
    pub fn claim(path: &Path) -> Result<Self, SocketError> {
        let folder = path.parent().filter(|_| path.is_absolute() && path.file_name().is_some());
        let folder = folder.ok_or_else(|| SocketError::NotAPath(path.to_owned()))?;
        let failed = |doing| move |source| SocketError::Failed { path: path.to_owned(), doing, source };
        let address = |path: &Path| SocketAddrUnix::new(path).map_err(|_| SocketError::TooLong(path.to_owned()));
        let there = address(path)?;
        let made_folder = !folder.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("making its folder"))?;
        // From the question whether somebody answers to the answer by ourselves, no other agent may ask it.
        let _lock = lock(folder, path)?;
        refuse_what_is_there(path, &there)?;
        let new = folder.join(".new.sock");
        remove(&new).map_err(failed("removing what an agent left behind that ended while it started"))?;
        let listener = listen_at(&address(&new)?).map_err(|errno| failed("listening")(errno.into()))?;
        let metadata = fs::symlink_metadata(&new).map_err(failed("looking at it"))?;
        fs::rename(&new, path).map_err(failed("putting it in its place"))?;
        let file = (metadata.dev(), metadata.ino());
        Ok(Self { listener, path: path.to_owned(), file, made_folder })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// To accept connections from. Does not block.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let is_own = fs::symlink_metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == self.file);
        if !is_own {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("{}: the socket stays behind: {error}", self.path.display());
        }
        if let Some(folder) = self.path.parent().filter(|_| self.made_folder) {
            // It stays when somebody has put something into it.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Held until it is dropped.
fn lock(folder: &Path, path: &Path) -> Result<File, SocketError> {
    let failed = |source| SocketError::Failed { path: path.to_owned(), doing: "locking its folder", source };
    let file = File::open(folder).map_err(failed)?;
    let end = Instant::now() + FOLDER_WITHIN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(FOLDER_TRIES_EVERY),
            Err(TryLockError::WouldBlock) => return Err(SocketError::FolderLocked(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

/// All but a socket on which nobody listens.
fn refuse_what_is_there(path: &Path, address: &SocketAddrUnix) -> Result<(), SocketError> {
    let failed = |source| SocketError::Failed { path: path.to_owned(), doing: "looking at what is there", source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(there) if !there.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    let asking = new_socket().map_err(|errno| failed(errno.into()))?;
    match connect(&asking, address) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(()),
        // AGAIN: somebody listens and does not get round to accepting.
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::Taken(path.to_owned())),
        Err(errno) => Err(failed(errno.into())),
    }
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

fn listen_at(address: &SocketAddrUnix) -> Result<UnixListener, Errno> {
    let socket = new_socket()?;
    // Linux makes the file with the mode that the socket itself has, less the umask: it is never wider than this.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
    }

    #[test]
    fn socket_is_its_owners_alone_and_so_is_the_folder_it_makes() {
        let dir = folder();
        let path = dir.path().join("made/a.sock");
        let socket = Socket::claim(&path).expect("nobody is there");
        assert_eq!((mode(&path), mode(path.parent().expect("it has one"))), (0o600, 0o700));
        UnixStream::connect(&path).expect("it listens");
        drop(socket);
        assert!(dir.path().exists() && !dir.path().join("made").exists());
    }

    /// What `listen_at` makes is only renamed afterwards.
    #[test]
    fn socket_was_never_wider() {
        let dir = folder();
        let path = dir.path().join("a.sock");
        let socket = new_socket().expect("a socket");
        fchmod(&socket, Mode::RUSR | Mode::WUSR).expect("its own");
        bind(&socket, &SocketAddrUnix::new(&path).expect("short")).expect("a free name");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn socket_of_an_agent_that_answers_is_refused_and_stays() {
        let dir = folder();
        let path = dir.path().join("a.sock");
        let first = Socket::claim(&path).expect("nobody is there");
        let error = Socket::claim(&path).expect_err("the first answers").to_string();
        assert!(error.contains("another agent answers") && error.contains("a.sock"), "{error}");
        UnixStream::connect(&path).expect("the first still listens");
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn socket_whose_agent_accepts_nothing_is_refused_and_not_waited_for() {
        let dir = folder();
        let path = dir.path().join("a.sock");
        let _first = Socket::claim(&path).expect("nobody is there");
        let waiting: Vec<_> = std::iter::repeat_with(|| {
            let socket = new_socket().expect("a socket");
            connect(&socket, &SocketAddrUnix::new(&path).expect("short")).map(|()| socket)
        })
        .map_while(Result::ok)
        .collect();
        assert!(waiting.len() > BACKLOG as usize, "{}", waiting.len());
        assert!(matches!(Socket::claim(&path), Err(SocketError::Taken(_))));
    }

    #[test]
    fn socket_of_a_dead_agent_is_replaced() {
        let dir = folder();
        let path = dir.path().join("a.sock");
        // As a process leaves it that is killed, and one that is killed while it starts.
        drop(UnixListener::bind(&path).expect("a free name"));
        drop(UnixListener::bind(dir.path().join(".new.sock")).expect("a free name"));
        let _socket = Socket::claim(&path).expect("nobody answers");
        UnixStream::connect(&path).expect("it listens");
        assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 1);
    }

    #[test]
    fn file_that_is_no_socket_is_refused_and_stays() {
        let dir = folder();
        let path = dir.path().join("a.sock");
        fs::write(&path, "precious").expect("writable");
        assert!(matches!(Socket::claim(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read(&path).expect("it is there"), b"precious");
    }

    #[test]
    fn file_that_took_the_sockets_place_is_left_alone() {
        let dir = folder();
        let path = dir.path().join("a.sock");
        let socket = Socket::claim(&path).expect("nobody is there");
        fs::remove_file(&path).expect("it is there");
        fs::write(&path, "another's").expect("writable");
        drop(socket);
        assert!(path.exists());
    }

    #[test]
    fn paths_that_can_never_work_are_told() {
        let refused = |path: &str| Socket::claim(Path::new(path)).expect_err("refused").to_string();
        assert!(refused("a.sock").contains("not an absolute path"));
        assert!(refused("/").contains("not an absolute path"));
        assert!(refused(&format!("/tmp/{}", "a".repeat(120))).contains("107 bytes"));
        assert!(refused("/proc/none/a.sock").contains("making its folder"));
    }

    #[test]
    fn of_many_that_begin_at_once_one_gets_the_socket() {
        let dir = folder();
        let path = dir.path().join("a.sock");
        drop(UnixListener::bind(&path).expect("a free name"));
        let tries: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                thread::spawn(move || Socket::claim(&path))
            })
            .collect();
        let claims: Vec<_> = tries.into_iter().map(|one| one.join().expect("no panic")).collect();
        assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1, "{claims:?}");
        UnixStream::connect(&path).expect("the one listens");
    }
}
