//! Messages as the packets that could have carried them: what was never on a wire of this kind can be looked at with
//! the tools for what was.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use super::frame::{Flags, SEGMENT, datagram, segment};
use super::{Direction, InterfaceId, Writer};

/// The most connections whose numbers are remembered; beyond them all begin anew.
const MAX_CONNECTIONS: usize = 65_536;

/// Writes messages as packets into a capture with one interface.
#[derive(Debug)]
pub struct Wire<W> {
    writer: Writer<W>,
    interface: InterfaceId,
    /// What both sides of a connection have sent so far, by the lower and the higher end.
    connections: HashMap<[SocketAddr; 2], [u32; 2]>,
    /// With what sequence number connections begin: another one than those that were before them on the same ports.
    first: u32,
}

impl<W: Write> Wire<W> {
    /// Starts a capture; `application` is named as its author.
    pub fn new(to: W, application: &str) -> io::Result<Self> {
        let mut writer = Writer::new(to, application)?;
        let interface = writer.interface("messages")?;
        Ok(Self { writer, interface, connections: HashMap::new(), first: 0 })
    }

    /// Writes a datagram. Times are nanoseconds since 1970.
    pub fn datagram(&mut self, at: u64, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let Some(packet) = datagram(from, to, payload)? else { return Ok(()) };
        self.packet(at, &packet)
    }

    /// Writes bytes that one end of a connection sends; the first ones begin it.
    pub fn stream(&mut self, at: u64, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let ends = ordered(from, to);
        let side = usize::from(ends[0] != from);
        if !self.connections.contains_key(&ends) {
            if self.connections.len() >= MAX_CONNECTIONS {
                self.connections.clear();
                self.first = self.first.wrapping_add(1);
            }
            let (first, next) = (self.first, self.first.wrapping_add(1));
            self.segment(at, [from, to], [first, 0], Flags::Syn, &[])?;
            self.segment(at, [to, from], [first, next], Flags::SynAck, &[])?;
            self.segment(at, [from, to], [next, next], Flags::Ack, &[])?;
            self.connections.insert(ends, [next, next]);
        }
        for piece in bytes.chunks(SEGMENT) {
            let sent = self.connections.get(&ends).copied().unwrap_or_default();
            let (own, other) = if side == 0 { (sent[0], sent[1]) } else { (sent[1], sent[0]) };
            self.segment(at, [from, to], [own, other], Flags::Ack, piece)?;
            if let Some(sent) = self.connections.get_mut(&ends) {
                let own = if side == 0 { &mut sent[0] } else { &mut sent[1] };
                // Pieces are short, and sequence numbers wrap.
                *own = own.wrapping_add(piece.len() as u32);
            }
        }
        Ok(())
    }

    /// What follows between these ends is another connection.
    pub fn end(&mut self, one: SocketAddr, other: SocketAddr) {
        if self.connections.remove(&ordered(one, other)).is_some() {
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Hands everything on to whoever reads.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn segment(
        &mut self,
        at: u64,
        ends: [SocketAddr; 2],
        numbers: [u32; 2],
        flags: Flags,
        payload: &[u8],
    ) -> io::Result<()> {
        let Some(packet) = segment(ends, numbers, flags, payload)? else { return Ok(()) };
        self.packet(at, &packet)
    }

    fn packet(&mut self, at: u64, packet: &[u8]) -> io::Result<()> {
        self.writer.packet(self.interface, UNIX_EPOCH + Duration::from_nanos(at), Direction::Outbound, packet)
    }
}

/// Both ends of a connection, the lower one first.
fn ordered(one: SocketAddr, other: SocketAddr) -> [SocketAddr; 2] {
    if one <= other { [one, other] } else { [other, one] }
}
