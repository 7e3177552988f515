//! Binding a unix socket: permissions before the first caller, dead sockets replaced, live ones left alone.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::net::UnixListener;

use crate::config::SocketMode;

/// Callers that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Why a control socket could not be opened. For the administrator to mend.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process answers there.
    #[error("another daemon listens on {}", path.display())]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// Something that is no socket has the name.
    #[error("{} exists and is no socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot open the control socket {}: {source}", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A bound socket whose file goes when this is dropped.
#[derive(Debug)]
pub(super) struct ControlListener {
    pub(super) listener: UnixListener,
    file: SocketFile,
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl ControlListener {
    /// Listens on `path`. Needs a tokio runtime.
    pub(super) fn bind(path: &Path, mode: SocketMode) -> Result<Self, BindError> {
        let fail = |source| BindError::Io { path: path.to_owned(), source };
        remove_dead_socket(path)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        let bind = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            let file = SocketFile { path: path.to_owned(), identity: identity(path) };
            // Nobody can connect before `listen`, so nobody sees other permissions than these.
            fs::set_permissions(path, fs::Permissions::from_mode(mode.0))?;
            socket.listen(BACKLOG)?;
            let listener = UnixListener::from_std(std::os::fd::OwnedFd::from(socket).into())?;
            Ok(Self { listener, file })
        };
        bind().map_err(fail)
    }

    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Drop for SocketFile {
    /// Another daemon may have put its own socket there since.
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // The name is all that is left of it; a failure leaves a dead socket, which the next start replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn remove_dead_socket(path: &Path) -> Result<(), BindError> {
    let fail = |source| BindError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(fail),
        // A full backlog is somebody, too.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(BindError::InUse { path: path.to_owned() }),
        Err(error) => Err(fail(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODE: SocketMode = SocketMode(0o600);

    #[tokio::test]
    async fn the_socket_has_its_mode_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/admin.sock");
        let bound = ControlListener::bind(&path, MODE).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = ControlListener::bind(&path, MODE).unwrap();
        assert!(matches!(ControlListener::bind(&path, MODE), Err(BindError::InUse { .. })));
        assert!(path.exists());
        drop(first);
    }

    #[tokio::test]
    async fn a_file_is_not_overwritten_and_a_successor_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(ControlListener::bind(&path, MODE), Err(BindError::NotASocket { .. })));
        fs::remove_file(&path).unwrap();
        let first = ControlListener::bind(&path, MODE).unwrap();
        fs::remove_file(&path).unwrap();
        let second = ControlListener::bind(&path, MODE).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
