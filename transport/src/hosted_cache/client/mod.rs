//! Offers segments to hosted caches ([MS-PCHC] 3.2).
//!
//! No proxy is asked and no redirect followed: a hosted cache is a host of the branch.

mod connection;
mod error;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peerdist_protocol::hosted_cache::{Offer, RequestTimer, Response, Version};
use peerdist_tap::Tap;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use self::connection::{Connection, Failure};
pub use self::error::{SendError, TlsFault};
use super::pem::CertificateError;
use super::trust;

/// How long a connection is kept for the next offer.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// Sends offers to any number of hosted caches. Clones share everything.
#[derive(Debug, Clone)]
pub struct OfferClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    timer: Timer,
    tap: Tap,
    /// Our own addresses that offers leave from.
    from: Vec<IpAddr>,
    /// Set at the first offer over TLS, unless the trusted certificates are configured.
    tls: OnceCell<Arc<ClientConfig>>,
    idle: Mutex<HashMap<Endpoint, (Connection, Instant)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Endpoint {
    server: String,
    port: u16,
    version: Version,
}

impl OfferClient {
    /// A client that trusts the certificates in a PEM file, or without one those of the system. Reads the file, in the
    /// calling thread. Offers leave from the addresses in `from`, as far as it has one of the server's family: hosted
    /// caches fetch from where an offer came from ([MS-PCHC] 3.1.5).
    ///
    /// # Errors
    /// Where the file cannot be read, or has no certificate that can be trusted.
    pub fn new(trust: Option<&Path>, from: Vec<IpAddr>) -> Result<Self, CertificateError> {
        Self::tapped(trust, from, Tap::default())
    }

    /// As [`Self::new`], and tells `tap` what passes; of connections with TLS what is inside.
    ///
    /// # Errors
    /// As there.
    pub fn tapped(trust: Option<&Path>, from: Vec<IpAddr>, tap: Tap) -> Result<Self, CertificateError> {
        let tls = trust.map(trust::file).transpose()?;
        let inner = Inner { timer: Timer::new(), tap, from, tls: OnceCell::new_with(tls), idle: Mutex::default() };
        Ok(Self(Arc::new(inner)))
    }

    /// Sends one offer to a hosted cache, a host name or an IP address, over TLS if the offer's version is 1.0. Ends when
    /// the Request Timer does at the latest, after 10 to 15 seconds ([MS-PCHC] 3.2.2). What comes later is not read.
    ///
    /// # Errors
    /// [`SendError`] tells who is at fault. Nothing is sent again, but for an offer over a kept connection that turns
    /// out to be closed.
    pub async fn offer(&self, server: &str, port: u16, offer: &Offer) -> Result<Response, SendError> {
        let outstanding = self.0.timer.start();
        let endpoint = Endpoint { server: server.to_owned(), port, version: offer.version() };
        timeout_at(outstanding.expires, self.send(endpoint, offer)).await.unwrap_or(Err(SendError::TimedOut))
    }

    async fn send(&self, endpoint: Endpoint, offer: &Offer) -> Result<Response, SendError> {
        if let Some(connection) = self.kept(&endpoint).await {
            match self.send_over(connection, &endpoint, offer).await {
                // The server closed it while it was idle, or as the offer was on its way.
                Err(Failure::Unanswered(_)) => {}
                result => return result.map_err(Failure::into),
            }
        }
        let connection = self.connect(&endpoint).await?;
        self.send_over(connection, &endpoint, offer).await.map_err(Failure::into)
    }

    async fn send_over(
        &self,
        mut connection: Connection,
        endpoint: &Endpoint,
        offer: &Offer,
    ) -> Result<Response, Failure> {
        let response = connection.post(&connection::host(&endpoint.server, endpoint.port), offer).await?;
        self.idle().insert(endpoint.clone(), (connection, Instant::now()));
        Ok(response)
    }

    /// The connection that was used last, if it can be used again.
    async fn kept(&self, endpoint: &Endpoint) -> Option<Connection> {
        let (mut connection, since) = self.idle().remove(endpoint)?;
        (since.elapsed() < IDLE_TIME && connection.is_ready().await).then_some(connection)
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, SendError> {
        let Endpoint { server, port, version } = endpoint;
        let stream = connection::dial(server, *port, &self.0.from).await?;
        let line = connection::line(&self.0.tap, &stream, *version == Version::V1)?;
        match version {
            Version::V1 => {
                let name = server_name(server)?;
                let tls = TlsConnector::from(Arc::clone(self.0.tls.get_or_init(system).await));
                let stream = tls.connect(name, stream).await.map_err(|error| SendError::from_handshake(&error))?;
                Connection::over(stream, line).await
            }
            Version::V2 => Connection::over(stream, line).await,
        }
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Endpoint, (Connection, Instant)>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name that has to be in the certificate, without the dot of an absolute name.
fn server_name(server: &str) -> Result<ServerName<'static>, SendError> {
    let name = server.strip_suffix('.').unwrap_or(server).to_owned();
    ServerName::try_from(name)
        .map_err(|error| SendError::Tls { fault: TlsFault::WrongName, reason: format!("{server:?}: {error}") })
}

/// Trusts what the system does. Reading that may take a while.
async fn system() -> Arc<ClientConfig> {
    tokio::task::spawn_blocking(trust::system).await.unwrap_or_else(|_| trust::nobody())
}

/// The Request Timer of all offers that are outstanding.
#[derive(Debug)]
struct Timer {
    start: Instant,
    timer: Mutex<RequestTimer>,
}

/// An offer without an answer yet.
struct Outstanding<'a> {
    timer: &'a Timer,
    expires: Instant,
}

impl Timer {
    fn new() -> Self {
        Self { start: Instant::now(), timer: Mutex::default() }
    }

    fn start(&self) -> Outstanding<'_> {
        let expires = self.start + self.lock().sent(self.start.elapsed());
        Outstanding { timer: self, expires }
    }

    fn lock(&self) -> MutexGuard<'_, RequestTimer> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outstanding<'_> {
    fn drop(&mut self) {
        self.timer.lock().ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_certificate_has_to_be_for_is_the_configured_name_without_its_last_dot() {
        let name = |server: &str| server_name(server).map(|name| name.to_str().into_owned());
        assert_eq!(name("hc.example").unwrap(), "hc.example");
        assert_eq!(name("hc.example.").unwrap(), "hc.example");
        assert!(matches!(server_name("192.0.2.1"), Ok(ServerName::IpAddress(_))));
        assert!(matches!(server_name("2001:db8::1"), Ok(ServerName::IpAddress(_))));
        assert!(matches!(name("a b"), Err(SendError::Tls { fault: TlsFault::WrongName, .. })));
    }
}
