//! Messages as the packets that could have carried them: what was never on a wire of this kind can be looked at with
//! the tools for what was.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};

use super::{Direction, InterfaceId, Writer};

/// The most connections whose numbers are remembered; beyond them all begin anew.
const MAX_CONNECTIONS: usize = 65_536;
/// Bytes of a stream in one packet.
const SEGMENT: usize = 1400;
const WINDOW: u16 = u16::MAX;
const HOPS: u8 = 64;

/// Writes messages as packets into a capture with one interface.
#[derive(Debug)]
pub struct Wire<W> {
    writer: Writer<W>,
    interface: InterfaceId,
    /// What both sides of a connection have sent so far, by the lower and the higher end.
    connections: HashMap<[SocketAddr; 2], [u32; 2]>,
}

impl<W: Write> Wire<W> {
    /// Starts a capture; `application` is named as its author.
    pub fn new(to: W, application: &str) -> io::Result<Self> {
        let mut writer = Writer::new(to, application)?;
        let interface = writer.interface("messages")?;
        Ok(Self { writer, interface, connections: HashMap::new() })
    }

    /// Writes a datagram. Times are nanoseconds since 1970.
    pub fn datagram(&mut self, at: u64, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let Some(headers) = headers(from.ip(), to.ip()) else { return Ok(()) };
        let builder = headers.udp(from.port(), to.port());
        let mut packet = Vec::with_capacity(builder.size(payload.len()));
        builder.write(&mut packet, payload).map_err(io::Error::other)?;
        self.packet(at, &packet)
    }

    /// Writes bytes that one end of a connection sends; the first ones begin it.
    pub fn stream(&mut self, at: u64, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let ends = if from <= to { [from, to] } else { [to, from] };
        let side = usize::from(ends[0] != from);
        if !self.connections.contains_key(&ends) {
            if self.connections.len() >= MAX_CONNECTIONS {
                self.connections.clear();
            }
            self.segment(at, [from, to], [0, 0], Flags::Syn, &[])?;
            self.segment(at, [to, from], [0, 1], Flags::SynAck, &[])?;
            self.segment(at, [from, to], [1, 1], Flags::Ack, &[])?;
            self.connections.insert(ends, [1, 1]);
        }
        for piece in bytes.chunks(SEGMENT) {
            let sent = self.connections.get(&ends).copied().unwrap_or([1, 1]);
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

    /// Hands everything on to whoever reads.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn segment(
        &mut self,
        at: u64,
        [from, to]: [SocketAddr; 2],
        [sequence, acknowledged]: [u32; 2],
        flags: Flags,
        payload: &[u8],
    ) -> io::Result<()> {
        let Some(headers) = headers(from.ip(), to.ip()) else { return Ok(()) };
        let builder = headers.tcp(from.port(), to.port(), sequence, WINDOW);
        let builder = match flags {
            Flags::Syn => builder.syn(),
            Flags::SynAck => builder.syn().ack(acknowledged),
            Flags::Ack if payload.is_empty() => builder.ack(acknowledged),
            Flags::Ack => builder.ack(acknowledged).psh(),
        };
        let mut packet = Vec::with_capacity(builder.size(payload.len()));
        builder.write(&mut packet, payload).map_err(io::Error::other)?;
        self.packet(at, &packet)
    }

    fn packet(&mut self, at: u64, packet: &[u8]) -> io::Result<()> {
        self.writer.packet(self.interface, UNIX_EPOCH + Duration::from_nanos(at), Direction::Outbound, packet)
    }
}

#[derive(Debug, Clone, Copy)]
enum Flags {
    Syn,
    SynAck,
    Ack,
}

/// The headers below UDP and TCP. None between addresses of two families.
fn headers(from: IpAddr, to: IpAddr) -> Option<PacketBuilderStep<IpHeaders>> {
    let ethernet = PacketBuilder::ethernet2(hardware(from), hardware(to));
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Some(ethernet.ipv4(from.octets(), to.octets(), HOPS)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Some(ethernet.ipv6(from.octets(), to.octets(), HOPS)),
        _ => None,
    }
}

/// A hardware address of the locally administered ones, or that of the group.
fn hardware(ip: IpAddr) -> [u8; 6] {
    match ip {
        IpAddr::V4(ip) if ip.is_multicast() => {
            let [_, b, c, d] = ip.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(ip) if ip.is_multicast() => {
            let [.., a, b, c, d] = ip.octets();
            [0x33, 0x33, a, b, c, d]
        }
        IpAddr::V4(ip) if ip == Ipv4Addr::BROADCAST => [0xff; 6],
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [0x02, 0x04, a, b, c, d]
        }
        IpAddr::V6(ip) => {
            let [.., a, b, c, d] = ip.octets();
            [0x02, 0x06, a, b, c, d]
        }
    }
}
