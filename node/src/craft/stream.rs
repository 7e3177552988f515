//! A connection to a server, in TLS or not. Everything on it ends at a deadline, however little comes at a time.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// TLS with a server.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Whom it trusts.
    pub config: Arc<ClientConfig>,
    /// The name that has to be in the certificate.
    pub name: ServerName<'static>,
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    /// Shakes hands where it is to be TLS.
    pub(super) fn open(mut tcp: TcpStream, tls: Option<&Tls>, deadline: Instant) -> io::Result<Self> {
        let Some(Tls { config, name }) = tls else { return Ok(Self { tcp, tls: None }) };
        let mut tls = ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            send(&mut tls, &mut tcp, deadline)?;
            if receive(&mut tls, &mut tcp, deadline)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        send(&mut tls, &mut tcp, deadline)?;
        Ok(Self { tcp, tls: Some(Box::new(tls)) })
    }

    /// Some bytes, and none once the server says no more.
    pub(super) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        let Self { tcp, tls } = self;
        let Some(tls) = tls else {
            return retried(|| {
                tcp.set_read_timeout(Some(left(deadline)?))?;
                tcp.read(buffer)
            });
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Many end TLS without saying so.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            receive(tls, tcp, deadline)?;
            send(tls, tcp, deadline)?;
        }
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        let Self { tcp, tls } = self;
        while !bytes.is_empty() {
            let size = match tls {
                Some(tls) => {
                    let size = tls.writer().write(bytes)?;
                    send(tls, tcp, deadline)?;
                    size
                }
                None => retried(|| {
                    tcp.set_write_timeout(Some(left(deadline)?))?;
                    tcp.write(bytes)
                })?,
            };
            bytes = bytes.get(size..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The time that is left.
///
/// # Errors
/// Where there is none.
pub(super) fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
    left.ok_or_else(|| ErrorKind::TimedOut.into())
}

/// Receives what comes next of TLS; none where the connection has ended.
fn receive(tls: &mut ClientConnection, tcp: &mut TcpStream, deadline: Instant) -> io::Result<usize> {
    let size = retried(|| {
        tcp.set_read_timeout(Some(left(deadline)?))?;
        tls.read_tls(tcp)
    })?;
    if let Err(error) = tls.process_new_packets() {
        // The alert says why; so does the error, should it not arrive.
        let _ = send(tls, tcp, deadline);
        return Err(io::Error::new(ErrorKind::InvalidData, error));
    }
    Ok(size)
}

/// Sends all that TLS has to say.
fn send(tls: &mut ClientConnection, tcp: &mut TcpStream, deadline: Instant) -> io::Result<()> {
    while tls.wants_write() {
        retried(|| {
            tcp.set_write_timeout(Some(left(deadline)?))?;
            tls.write_tls(tcp)
        })?;
    }
    Ok(())
}

/// Does it again where a signal came between.
fn retried(mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
