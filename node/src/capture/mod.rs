//! The node's own traffic as a capture: what the [tap](peerdist_tap) gives, as the packets that could have carried it.
//!
//! Datagrams are whole. Of connections the handshake, the segments' borders, checksums of lower layers and the end are
//! made up; their bytes, addresses and times are what they were. What was inside TLS is written as if over plain TCP,
//! without what TLS was there to hide (`hidden`).

mod hidden;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;

use bytes::Bytes;
use peerdist_tap::{Carrier, Direction, Place, Record};

use crate::pcapng::{self, Flags, InterfaceId, SEGMENT, Writer, datagram, segment};

/// The most connections that are followed; beyond them all begin anew.
const MAX_CONNECTIONS: usize = 65_536;
/// The most interfaces that are told apart, far more than a host has.
const MAX_INTERFACES: usize = 1024;

/// Writes records as a capture, piece by piece.
#[derive(Debug)]
pub struct CaptureWriter {
    writer: Writer<Vec<u8>>,
    /// That of connections.
    connections_interface: InterfaceId,
    interfaces: HashMap<String, InterfaceId>,
    /// Both ends, the lower one first.
    connections: HashSet<[SocketAddr; 2]>,
    written: u64,
}

impl CaptureWriter {
    /// A capture without packets.
    ///
    /// # Errors
    /// None that happen: it is written to memory.
    pub fn new() -> io::Result<Self> {
        let mut writer = Writer::new(Vec::new(), concat!("peerdist capture ", env!("CARGO_PKG_VERSION")))?;
        let connections_interface = writer.interface("connections")?;
        let (interfaces, connections) = (HashMap::new(), HashSet::new());
        Ok(Self { writer, connections_interface, interfaces, connections, written: 0 })
    }

    /// What was written since this was called last.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(self.writer.get_mut()).into()
    }

    /// How many bytes [`Self::take`] would give.
    pub fn size(&mut self) -> usize {
        self.writer.get_mut().len()
    }

    /// Writes a message. Answers to requests that are not in the capture are left out. Returns whether it was written.
    ///
    /// # Errors
    /// None that happen.
    pub fn record(&mut self, record: &Record) -> io::Result<bool> {
        let before = self.size();
        match &record.carrier {
            Carrier::Datagram { interface } => self.datagram(record, interface)?,
            Carrier::Stream(place) => self.stream(record, place)?,
            Carrier::End(place) => self.end(record, place)?,
        }
        let is_written = self.size() > before && !matches!(record.carrier, Carrier::End(_));
        self.written += u64::from(is_written);
        Ok(is_written)
    }

    /// Writes how many messages there were, and how many of them are not here.
    ///
    /// # Errors
    /// None that happen.
    pub fn statistics(&mut self, lost: u64) -> io::Result<()> {
        self.writer.statistics(self.connections_interface, SystemTime::now(), self.written + lost, lost)
    }

    fn datagram(&mut self, record: &Record, interface: &str) -> io::Result<()> {
        let on = self.interface(interface)?;
        let payload = whole(&record.payload, record.size);
        let Some(frame) = datagram(record.from, record.to, &payload)? else { return Ok(()) };
        self.frame(on, record, &frame, record.size - record.payload.len(), &record.comment)
    }

    fn stream(&mut self, record: &Record, place: &Place) -> io::Result<()> {
        let Record { from, to, .. } = *record;
        let ends = if from <= to { [from, to] } else { [to, from] };
        if !self.connections.contains(&ends) {
            if !place.is_request {
                return Ok(());
            }
            if self.connections.len() >= MAX_CONNECTIONS {
                self.connections.clear();
            }
            self.connections.insert(ends);
            let [own, other] = numbers(place, 0);
            let (own_start, other_start) = (own.wrapping_sub(1), other.wrapping_sub(1));
            self.segment(record, [from, to], [own_start, 0], Flags::Syn)?;
            self.segment(record, [to, from], [other_start, own], Flags::SynAck)?;
            self.segment(record, [from, to], [own, other], Flags::Ack)?;
        }
        let (payload, comment) = if place.is_tls {
            let (payload, has_changed) = hidden::hide(&record.payload, record.size);
            let zeros = if has_changed { "; secrets in it are zeros here" } else { "" };
            let colon = if record.comment.is_empty() { "" } else { ": " };
            (Cow::Owned(payload), Cow::Owned(format!("in TLS{zeros}{colon}{}", record.comment)))
        } else {
            (Cow::Borrowed(&record.payload[..]), Cow::Borrowed(&record.comment[..]))
        };
        let mut at = 0;
        while at < record.size {
            let size = SEGMENT.min(record.size - at);
            let kept = payload.get(at..).unwrap_or_default();
            let kept = kept.get(..size).unwrap_or(kept);
            let numbers = numbers(place, at);
            if let Some(frame) = segment([from, to], numbers, Flags::Ack, &whole(kept, size))? {
                // The message is whole with its last segment.
                let comment = if at + size == record.size { &comment[..] } else { "" };
                self.frame(self.connections_interface, record, &frame, size - kept.len(), comment)?;
            }
            at += size;
        }
        Ok(())
    }

    fn end(&mut self, record: &Record, place: &Place) -> io::Result<()> {
        let Record { from, to, .. } = *record;
        let ends = if from <= to { [from, to] } else { [to, from] };
        if !self.connections.remove(&ends) {
            return Ok(());
        }
        let [own, other] = numbers(place, 0);
        if let Some(frame) = segment([from, to], [own, other], Flags::Fin, &[])? {
            self.frame(self.connections_interface, record, &frame, 0, &record.comment)?;
        }
        self.segment(record, [to, from], [other, own.wrapping_add(1)], Flags::Fin)
    }

    /// Writes a segment without bytes.
    fn segment(&mut self, record: &Record, ends: [SocketAddr; 2], numbers: [u32; 2], flags: Flags) -> io::Result<()> {
        let Some(frame) = segment(ends, numbers, flags, &[])? else { return Ok(()) };
        let direction = if ends[0] == record.from { record.direction } else { opposite(record.direction) };
        self.writer.packet(self.connections_interface, record.at, written(direction), &frame)
    }

    /// Writes a frame without its last `cut` bytes.
    fn frame(&mut self, on: InterfaceId, record: &Record, frame: &[u8], cut: usize, comment: &str) -> io::Result<()> {
        let kept = frame.get(..frame.len().saturating_sub(cut)).unwrap_or(frame);
        self.writer.commented(on, record.at, written(record.direction), kept, frame.len(), comment)
    }

    fn interface(&mut self, name: &str) -> io::Result<InterfaceId> {
        if let Some(known) = self.interfaces.get(name) {
            return Ok(*known);
        }
        if self.interfaces.len() >= MAX_INTERFACES {
            return Ok(self.connections_interface);
        }
        let added = self.writer.interface(name)?;
        self.interfaces.insert(name.to_owned(), added);
        Ok(added)
    }
}

/// Sequence numbers `at` bytes behind a place: streams begin with 1. They wrap.
fn numbers(place: &Place, at: usize) -> [u32; 2] {
    [place.offset + at as u64 + 1, place.acknowledged + 1].map(|number| number as u32)
}

/// Bytes with zeros for those that are not kept, which gives headers their lengths.
fn whole(kept: &[u8], size: usize) -> Cow<'_, [u8]> {
    if kept.len() >= size {
        return Cow::Borrowed(kept);
    }
    let mut whole = kept.to_vec();
    whole.resize(size, 0);
    Cow::Owned(whole)
}

fn written(direction: Direction) -> pcapng::Direction {
    match direction {
        Direction::Received => pcapng::Direction::Inbound,
        Direction::Sent => pcapng::Direction::Outbound,
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Received => Direction::Sent,
        Direction::Sent => Direction::Received,
    }
}
