//! What a node sends and receives, with what it decided about it, for those who capture it.
//!
//! Whoever has sockets holds a [`Tap`] and tells it what passes: datagrams as [`Record`]s, connections through a
//! [`Tapped`] stream and its [`Line`]. While nobody captures that costs an atomic load. A [`Capture`] gets the records
//! through a queue of bounded size; what finds no room in it is lost to the capture and counted, and the node never
//! waits.

mod line;
mod stream;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc;

pub use line::{Line, Verdict};
pub use stream::Tapped;

/// Captures at once.
pub const MAX_CAPTURES: usize = 4;
/// Records that wait for one capture.
pub const MAX_WAITING: usize = 4096;
/// Bytes of messages that wait for one capture.
pub const MAX_WAITING_BYTES: usize = 16 << 20;
/// The most bytes of a message that are kept, more than the largest has.
pub const MAX_SNAP_LENGTH: usize = 256 << 10;

/// What can be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MS-PCCRD.
    Discovery,
    /// MS-PCCRR.
    Retrieval,
    /// MS-PCHC.
    HostedCache,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Discovery, Self::Retrieval, Self::HostedCache];

    /// The name that filters have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Retrieval => "retrieval",
            Self::HostedCache => "hosted-cache",
        }
    }
}

/// Which way something went, seen from the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the node.
    Received,
    /// From the node.
    Sent,
}

/// A datagram, or what one end of a connection said before the other did.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it came or went; of several packets the first.
    pub at: SystemTime,
    /// Of which protocol it is.
    pub protocol: Protocol,
    /// Which way it went.
    pub direction: Direction,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Its bytes, as many as are kept.
    pub payload: Bytes,
    /// How many bytes it has.
    pub size: usize,
    /// What the node decided about it, or why it was sent; may be empty.
    pub comment: String,
    /// What carried it.
    pub carrier: Carrier,
}

/// What carries messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// A datagram.
    Datagram {
        /// The name of the interface that it came or went by.
        interface: String,
    },
    /// A connection.
    Stream(Place),
    /// The end of a connection; it has no bytes.
    End(Place),
}

/// Where in a connection something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// How many bytes of this direction came before it since the capture of the connection began.
    pub offset: u64,
    /// How many of the other direction.
    pub acknowledged: u64,
    /// Whether it is from the end that asks.
    pub is_request: bool,
    /// Whether the bytes travelled in TLS; these are the ones inside.
    pub is_tls: bool,
}

/// What somebody wants to capture.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Of which protocols.
    pub protocols: Vec<Protocol>,
    /// The most bytes of a message.
    pub snap_length: usize,
}

impl Default for Wish {
    /// Everything.
    fn default() -> Self {
        Self { protocols: Protocol::ALL.to_vec(), snap_length: MAX_SNAP_LENGTH }
    }
}

/// There are as many captures as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there are {MAX_CAPTURES} captures already")]
pub struct TooManyCaptures;

/// Where the node tells what passes. Clones are the same tap.
#[derive(Debug, Clone, Default)]
pub struct Tap(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// 0 while nobody captures, and another number each time that somebody begins to.
    epoch: AtomicU64,
    captures: Mutex<Captures>,
}

#[derive(Debug, Default)]
struct Captures {
    epochs: u64,
    queues: Vec<Arc<Queue>>,
}

/// What waits for one capture.
#[derive(Debug)]
struct Queue {
    wish: Wish,
    records: mpsc::Sender<Record>,
    bytes: AtomicUsize,
    lost: AtomicU64,
}

impl Tap {
    /// Whether anybody captures.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.epoch() != 0
    }

    /// Begins a capture.
    ///
    /// # Errors
    /// Where there are [`MAX_CAPTURES`].
    pub fn capture(&self, wish: Wish) -> Result<Capture, TooManyCaptures> {
        let (sender, records) = mpsc::channel(MAX_WAITING);
        let wish = Wish { snap_length: wish.snap_length.min(MAX_SNAP_LENGTH), ..wish };
        let queue = Queue { wish, records: sender, bytes: AtomicUsize::new(0), lost: AtomicU64::new(0) };
        let queue = Arc::new(queue);
        let mut captures = self.captures();
        if captures.queues.len() >= MAX_CAPTURES {
            return Err(TooManyCaptures);
        }
        captures.queues.push(Arc::clone(&queue));
        if captures.queues.len() == 1 {
            captures.epochs += 1;
            self.0.epoch.store(captures.epochs, Ordering::Relaxed);
        }
        drop(captures);
        Ok(Capture { tap: self.clone(), queue, records })
    }

    /// Gives every capture a record, as far as it wants it and has room.
    pub fn record(&self, record: &Record) {
        for queue in &self.captures().queues {
            if queue.wish.protocols.contains(&record.protocol) {
                queue.put(record);
            }
        }
    }

    fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Relaxed)
    }

    fn captures(&self) -> MutexGuard<'_, Captures> {
        self.0.captures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Only called under the lock of all queues.
    fn put(&self, record: &Record) {
        let kept = record.payload.len().min(self.wish.snap_length);
        let has_room = self.bytes.fetch_add(kept, Ordering::Relaxed) + kept <= MAX_WAITING_BYTES;
        let has_lost = !has_room || self.records.try_send(cut(record, kept)).is_err();
        if has_lost {
            self.bytes.fetch_sub(kept, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn cut(record: &Record, kept: usize) -> Record {
    let payload = match record.payload.get(..kept) {
        // A slice would keep the memory of all of it.
        Some(cut) if kept < record.payload.len() => Bytes::copy_from_slice(cut),
        _ => record.payload.clone(),
    };
    Record { payload, ..record.clone() }
}

/// A capture. It ends when it is dropped, and nothing is kept of it.
#[derive(Debug)]
pub struct Capture {
    tap: Tap,
    queue: Arc<Queue>,
    records: mpsc::Receiver<Record>,
}

impl Capture {
    /// The next record. Never `None` while the capture lives.
    pub async fn next(&mut self) -> Option<Record> {
        let record = self.records.recv().await?;
        self.queue.bytes.fetch_sub(record.payload.len(), Ordering::Relaxed);
        Some(record)
    }

    /// Whether no record waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records found no room so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let mut captures = self.tap.captures();
        captures.queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        if captures.queues.is_empty() {
            self.tap.0.epoch.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn datagram(protocol: Protocol, payload: &'static [u8]) -> Record {
        Record {
            at: SystemTime::UNIX_EPOCH,
            protocol,
            direction: Direction::Sent,
            from: "192.0.2.1:1".parse().unwrap(),
            to: "192.0.2.2:2".parse().unwrap(),
            payload: Bytes::from_static(payload),
            size: payload.len(),
            comment: String::new(),
            carrier: Carrier::Datagram { interface: "lo".to_owned() },
        }
    }

    #[tokio::test]
    async fn a_capture_gets_what_it_wants_and_as_much_of_it() {
        let tap = Tap::default();
        assert!(!tap.is_on());
        let wish = Wish { protocols: vec![Protocol::Discovery], snap_length: 3 };
        let mut capture = tap.capture(wish).unwrap();
        assert!(tap.is_on());
        tap.record(&datagram(Protocol::Retrieval, b"other"));
        tap.record(&datagram(Protocol::Discovery, b"probe"));
        let record = capture.next().await.unwrap();
        assert_eq!((&record.payload[..], record.size), (&b"pro"[..], 5));
        assert!(capture.is_empty());
        drop(capture);
        assert!(!tap.is_on());
        assert!(tap.captures().queues.is_empty());
    }

    #[tokio::test]
    async fn who_does_not_read_loses_records_and_bytes_beyond_the_bounds() {
        let tap = Tap::default();
        let mut many = tap.capture(Wish::default()).unwrap();
        for _ in 0..MAX_WAITING + 5 {
            tap.record(&datagram(Protocol::Discovery, b"x"));
        }
        assert_eq!(many.lost(), 5);
        for _ in 0..MAX_WAITING {
            many.next().await.unwrap();
        }
        assert!(many.is_empty());
        assert_eq!(many.queue.bytes.load(Ordering::Relaxed), 0);

        const LARGE: &[u8] = &[0; MAX_SNAP_LENGTH];
        let fitting = MAX_WAITING_BYTES / MAX_SNAP_LENGTH;
        for _ in 0..fitting + 3 {
            tap.record(&datagram(Protocol::Discovery, LARGE));
        }
        assert_eq!(many.lost(), 8);
        assert_eq!(many.queue.bytes.load(Ordering::Relaxed), MAX_WAITING_BYTES);
    }

    #[test]
    fn captures_are_few() {
        let tap = Tap::default();
        let mut captures: Vec<_> = (0..MAX_CAPTURES).map(|_| tap.capture(Wish::default()).unwrap()).collect();
        assert_eq!(tap.capture(Wish::default()).unwrap_err(), TooManyCaptures);
        captures.pop();
        captures.push(tap.capture(Wish::default()).unwrap());
    }
}
