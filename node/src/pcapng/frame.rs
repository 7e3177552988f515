//! Frames that could have carried a message.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};

/// Bytes of a stream in one packet.
pub(crate) const SEGMENT: usize = 1400;
const WINDOW: u16 = u16::MAX;
const HOPS: u8 = 64;

/// A frame with a datagram. None between addresses of two families.
pub(crate) fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let Some(headers) = headers(from.ip(), to.ip()) else { return Ok(None) };
    let builder = headers.udp(from.port(), to.port());
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).map_err(io::Error::other)?;
    Ok(Some(frame))
}

/// A frame with a TCP segment. None between addresses of two families.
pub(crate) fn segment(
    [from, to]: [SocketAddr; 2],
    [sequence, acknowledged]: [u32; 2],
    flags: Flags,
    payload: &[u8],
) -> io::Result<Option<Vec<u8>>> {
    let Some(headers) = headers(from.ip(), to.ip()) else { return Ok(None) };
    let builder = headers.tcp(from.port(), to.port(), sequence, WINDOW);
    let builder = match flags {
        Flags::Syn => builder.syn(),
        Flags::SynAck => builder.syn().ack(acknowledged),
        Flags::Fin => builder.fin().ack(acknowledged),
        Flags::Ack if payload.is_empty() => builder.ack(acknowledged),
        Flags::Ack => builder.ack(acknowledged).psh(),
    };
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).map_err(io::Error::other)?;
    Ok(Some(frame))
}

/// What a TCP segment says beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flags {
    Syn,
    SynAck,
    Ack,
    Fin,
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
