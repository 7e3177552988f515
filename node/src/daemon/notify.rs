//! Telling the service manager how far the daemon is (sd_notify).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The socket in `NOTIFY_SOCKET`, where a service manager listens; without one nothing is sent.
#[derive(Debug)]
pub(super) struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    pub(super) fn from_env() -> Self {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        Self(name.and_then(|name| match open(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(?name, %error, "NOTIFY_SOCKET is of no use");
                None
            }
        }))
    }

    /// The node serves.
    pub(super) fn ready(&self) {
        self.send("READY=1\nSTATUS=Serving");
    }

    /// The configuration is being read again; [`Self::ready`] follows.
    pub(super) fn reloading(&self) {
        // With Type=notify-reload the manager compares this time with that of its request.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The node is on its way out.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Finishing uploads and closing the cache");
    }

    fn send(&self, state: &str) {
        let Some((socket, manager)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), manager) {
            tracing::warn!(%error, "cannot notify the service manager");
        }
    }
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not stop the daemon.
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_addresses_are_understood() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("peerdist-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_name).unwrap();
        for (manager, address) in [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())] {
            Notify(Some(open(&address).unwrap())).ready();
            let mut buffer = [0; 64];
            let size = manager.recv(&mut buffer).unwrap();
            assert!(buffer[..size].starts_with(b"READY=1\n"));
        }
    }
}
