//! Answers peers that ask for blocks ([MS-PCCRR] 3.2), and in a hosted cache clients that offer segments
//! ([MS-PCHC] 3.1), since both may come to the same port.
//!
//! hyper reads and writes HTTP; this module bounds it: connections in all and by source, the size of a body, and the
//! time of every phase of a connection. Every request ends in an answer or in a close.

mod connection;
mod counters;
mod handshakes;
mod limits;
mod listener;
mod service;
mod tls;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::retrieval::BlkTail;
use peerdist_tap::{Line, Protocol, Tap, Tapped};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::counters::Counters;
pub use self::counters::ServerCounters;
use self::handshakes::Handshakes;
pub use self::limits::ServerLimits;
use self::limits::{Full, Slot, Slots};
pub use self::listener::Listener;
use self::listener::Visit;
use crate::hosted_cache::Offers;

/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the blocks come from that are served.
pub trait BlockSource: Send + Sync + 'static {
    /// The blocks held of a segment. It has to answer from memory.
    fn held(&self, segment: &SegmentId) -> BlockRanges;

    /// The segment's next block that is held after this one. It has to answer from memory.
    fn next_held(&self, segment: &SegmentId, after: BlockIndex) -> Option<BlockIndex> {
        self.held(segment).next_at_or_after(after.checked_add(1)?)
    }

    /// One block, as it goes out; `None` where it is not held.
    fn read(&self, segment: &SegmentId, index: BlockIndex) -> impl Future<Output = Option<BlkTail>> + Send;

    /// How long ago the segment came into the cache, for MSG_SEGLIST ([MS-PCCRR] 2.2.6). It has to answer from memory.
    fn age(&self, _segment: &SegmentId) -> Option<Duration> {
        None
    }
}

/// The retrieval server of one [`BlockSource`].
pub struct Server<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    source: Arc<S>,
    offers: Option<Offers>,
    limits: ServerLimits,
    slots: Arc<Slots>,
    /// Those of [`Self::slots`] that listeners for offers alone may have.
    offer_slots: Arc<Slots>,
    handshake_slots: Arc<Slots>,
    /// Those that hold [`Self::handshake_slots`].
    handshakes: Arc<Handshakes>,
    uploads: Arc<Slots>,
    counters: Counters,
    tap: Tap,
}

/// What a connection takes of what is bounded.
#[derive(Debug)]
struct Places {
    /// Until it speaks TLS.
    handshake: Option<Slot>,
    /// The second where it comes to a listener for offers alone.
    _connection: [Option<Slot>; 2],
}

impl<S> Clone for Server<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: BlockSource> Server<S> {
    /// A server that is not listening yet, and takes no offers.
    #[must_use]
    pub fn new(source: Arc<S>, limits: ServerLimits) -> Self {
        Self::build(source, limits, None, Tap::default())
    }

    /// A server that also takes offers, on listeners that have paths for them.
    #[must_use]
    pub fn with_offers(source: Arc<S>, limits: ServerLimits, offers: Offers) -> Self {
        Self::build(source, limits, Some(offers), Tap::default())
    }

    /// A server with or without offers, whose connections are told to `tap`.
    #[must_use]
    pub fn tapped(source: Arc<S>, limits: ServerLimits, offers: Option<Offers>, tap: Tap) -> Self {
        Self::build(source, limits, offers, tap)
    }

    fn build(source: Arc<S>, limits: ServerLimits, offers: Option<Offers>, tap: Tap) -> Self {
        let slots = |most, per_source| Arc::new(Slots::new(most, per_source));
        let ServerLimits { connections, connections_per_source, .. } = limits;
        let shared = Shared {
            source,
            offers,
            slots: slots(connections, connections_per_source),
            offer_slots: slots(connections.div_ceil(2), connections_per_source),
            handshake_slots: slots(limits.handshakes, limits.handshakes_per_source),
            handshakes: Arc::default(),
            uploads: slots(limits.uploads, limits.uploads_per_source),
            limits,
            counters: Counters::default(),
            tap,
        };
        Self { shared: Arc::new(shared) }
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> ServerCounters {
        let Shared { slots, uploads, counters, .. } = &*self.shared;
        ServerCounters {
            open_connections: slots.taken() as u64,
            uploads: uploads.taken() as u64,
            ..counters.snapshot()
        }
    }

    /// Accepts and answers until `shutdown` ends, and for [`ServerLimits::shutdown_time`] at most after that: requests
    /// under way are finished, idle connections closed. Dropping the future closes everything at once.
    pub async fn serve(&self, listeners: Vec<Listener>, shutdown: impl Future<Output = ()>) {
        let stop = CancellationToken::new();
        let accepting = join_all(listeners.into_iter().map(|listener| self.accept(listener, stop.clone())));
        tokio::pin!(accepting);
        tokio::select! {
            _ = &mut accepting => {}
            () = shutdown => {
                stop.cancel();
                accepting.await;
            }
        }
    }

    async fn accept(&self, listener: Listener, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.socket.accept() => match accepted {
                    Ok((stream, from)) => self.admit(&mut connections, &listener, stream, from, &stop),
                    Err(error) => self.accept_failed(&error).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        let finish = async { while connections.join_next().await.is_some() {} };
        if timeout(self.shared.limits.shutdown_time, finish).await.is_err() {
            connections.shutdown().await;
        }
    }

    /// Serves a connection in a task of its own, or closes it at once where there are too many.
    fn admit(
        &self,
        connections: &mut JoinSet<()>,
        listener: &Listener,
        stream: TcpStream,
        from: SocketAddr,
        stop: &CancellationToken,
    ) {
        let places = match self.places(listener, from.ip()) {
            Ok(places) => places,
            Err(full) => return self.shared.counters.connection_refused(full),
        };
        self.shared.counters.update(|counters| counters.connections += 1);
        // Answers are written whole; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let (shared, stop) = (Arc::clone(&self.shared), stop.clone());
        let visit = Visit::new(from, listener.paths);
        let line = self.line(listener, &stream, visit.from);
        let Some(certificate) = listener.certificate.clone() else {
            connections.spawn(async move {
                connection::serve(shared, Tapped::new(stream, line.clone()), line, visit, stop).await;
                drop(places);
            });
            return;
        };
        let handshake = Handshakes::begin(&self.shared.handshakes, places);
        connections.spawn(async move {
            let accepted = tokio::select! {
                accepted = tls::accept(&shared, &certificate, stream, &stop) => accepted,
                () = handshake.is_ended() => None,
            };
            let Some((stream, mut places)) = accepted.zip(handshake.finish()) else { return };
            places.handshake = None;
            connection::serve(shared, Tapped::new(stream, line.clone()), line, visit, stop).await;
            drop(places);
        });
    }

    fn line(&self, listener: &Listener, stream: &TcpStream, from: SocketAddr) -> Line {
        let protocol = if listener.paths.has_retrieval() { Protocol::Retrieval } else { Protocol::HostedCache };
        // A connection that has no address is gone.
        let local = stream.local_addr().map_or(from, |local| SocketAddr::new(local.ip().to_canonical(), local.port()));
        Line::new(&self.shared.tap, protocol, local, from, listener.certificate.is_some(), false)
    }

    /// Whoever has not even finished a handshake makes room for the next one: half-open handshakes cost nothing, so that
    /// few hosts could keep all places taken.
    fn places(&self, listener: &Listener, source: IpAddr) -> Result<Places, Full> {
        match self.free_places(listener, source) {
            Err(Full::Connections) if self.shared.handshakes.end_oldest() => {
                self.shared.counters.connection_refused(Full::Connections);
                self.free_places(listener, source)
            }
            places => places,
        }
    }

    fn free_places(&self, listener: &Listener, source: IpAddr) -> Result<Places, Full> {
        let Shared { slots, offer_slots, handshake_slots, .. } = &*self.shared;
        let needed = [
            (handshake_slots, listener.certificate.is_some()),
            (slots, true),
            (offer_slots, !listener.paths.has_retrieval()),
        ];
        let taken = needed.map(|(slots, is_needed)| is_needed.then(|| Slots::take(slots, source)).transpose());
        if let Some(full) = taken.iter().filter_map(|taken| taken.as_ref().err()).max() {
            return Err(*full);
        }
        let [handshake, connection @ ..] = taken.map(|taken| taken.ok().flatten());
        Ok(Places { handshake, _connection: connection })
    }

    async fn accept_failed(&self, error: &io::Error) {
        self.shared.counters.update(|counters| counters.accept_errors += 1);
        tracing::debug!(%error, "cannot accept a retrieval connection");
        // A connection that its client gave up is gone; a lack of descriptors or memory stays for a while.
        if error.kind() != io::ErrorKind::ConnectionAborted {
            sleep(ACCEPT_PAUSE).await;
        }
    }
}
