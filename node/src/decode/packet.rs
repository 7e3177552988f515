//! Link, network and transport layer of a packet.

use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

/// LINKTYPE values (<https://www.tcpdump.org/linktypes.html>).
mod link {
    pub(super) const NULL: i32 = 0;
    pub(super) const ETHERNET: i32 = 1;
    pub(super) const RAW: i32 = 101;
    pub(super) const LOOP: i32 = 108;
    pub(super) const LINUX_SLL: i32 = 113;
    pub(super) const IPV4: i32 = 228;
    pub(super) const IPV6: i32 = 229;
    pub(super) const LINUX_SLL2: i32 = 276;
    /// DLT_RAW of some systems, where LINKTYPE_RAW was meant.
    pub(super) const RAW_ELSEWHERE: [i32; 2] = [12, 14];
}

/// A TCP segment or a UDP datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carried<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) transport: Transport<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Transport<'a> {
    Tcp(Segment<'a>),
    /// A datagram, and whether its end was not captured.
    Udp(&'a [u8], bool),
}

/// A TCP segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) sequence: u32,
    /// The byte that its sender expects next; none without ACK.
    pub(super) acknowledged: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) payload: &'a [u8],
    /// How many bytes of the payload were not captured, at its end.
    pub(super) missing: usize,
}

/// Why a packet carries nothing of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipped {
    /// A link layer that is not known.
    Link,
    /// A fragment of an IP packet.
    Fragment,
    /// Neither TCP nor UDP over IP, or cut off before that.
    Other,
}

pub(super) fn parse(link: i32, data: &[u8]) -> Result<Carried<'_>, Skipped> {
    let packet = slice(link, data)?;
    let (source, destination, carried, announced) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let announced = usize::from(header.total_len()).saturating_sub(header.slice().len());
            (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()), ip.payload(), announced)
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let announced = usize::from(header.payload_length()).saturating_sub(ip.extensions().slice().len());
            (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()), ip.payload(), announced)
        }
        _ => return Err(Skipped::Other),
    };
    let missing = if carried.incomplete { announced.saturating_sub(carried.payload.len()) } else { 0 };
    let at = |source_port, destination_port, transport| Carried {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
        transport,
    };
    match packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let segment = Segment {
                sequence: tcp.sequence_number(),
                // Captures that were made of data alone have no number.
                acknowledged: Some(tcp.acknowledgment_number()).filter(|number| tcp.ack() && *number != 0),
                syn: tcp.syn(),
                fin: tcp.fin(),
                rst: tcp.rst(),
                payload: tcp.payload(),
                missing,
            };
            Ok(at(tcp.source_port(), tcp.destination_port(), Transport::Tcp(segment)))
        }
        Some(TransportSlice::Udp(udp)) => {
            Ok(at(udp.source_port(), udp.destination_port(), Transport::Udp(udp.payload(), missing > 0)))
        }
        _ if carried.fragmented => Err(Skipped::Fragment),
        _ => Err(Skipped::Other),
    }
}

fn slice(link: i32, data: &[u8]) -> Result<LaxSlicedPacket<'_>, Skipped> {
    let ip = |data| LaxSlicedPacket::from_ip(data).map_err(|_| Skipped::Other);
    let behind = |size: usize| data.get(size..).ok_or(Skipped::Other);
    // Both cooked headers have the EtherType at a place of their own.
    let cooked = |at: usize, size: usize| {
        let ether_type = data.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).ok_or(Skipped::Other)?;
        Ok(LaxSlicedPacket::from_ether_type(EtherType(u16::from_be_bytes(ether_type)), behind(size)?))
    };
    match link {
        link::ETHERNET => LaxSlicedPacket::from_ethernet(data).map_err(|_| Skipped::Other),
        link::RAW | link::IPV4 | link::IPV6 => ip(data),
        link::NULL | link::LOOP => ip(behind(4)?),
        link::LINUX_SLL => cooked(14, 16),
        link::LINUX_SLL2 => cooked(0, 20),
        other if link::RAW_ELSEWHERE.contains(&other) => ip(data),
        _ => Err(Skipped::Link),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp_packet() -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = etherparse::PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 1).udp(1000, 3702);
        builder.write(&mut packet, b"payload").unwrap();
        packet
    }

    #[test]
    fn every_link_layer_leads_to_the_datagram() {
        let ip = udp_packet();
        let ethernet = [&[0; 12][..], &[8, 0], &ip].concat();
        let tagged = [&[0; 12][..], &[0x81, 0, 0, 7, 8, 0], &ip].concat();
        let sll = [&[0; 14][..], &[8, 0], &ip].concat();
        let sll2 = [&[8, 0][..], &[0; 18], &ip].concat();
        let null = [&[2, 0, 0, 0][..], &ip].concat();
        let packets = [
            (1, ethernet),
            (1, tagged),
            (113, sll),
            (276, sll2),
            (0, null.clone()),
            (108, null),
            (101, ip.clone()),
            (228, ip),
        ];
        for (link, packet) in packets {
            let carried = parse(link, &packet).unwrap();
            assert_eq!(carried.destination.to_string(), "192.0.2.2:3702", "{link}");
            assert!(matches!(carried.transport, Transport::Udp(b"payload", false)), "{link}");
        }
    }

    #[test]
    fn what_was_not_captured_of_a_packet_is_known() {
        let udp = udp_packet();
        let cut = parse(101, &udp[..udp.len() - 3]).unwrap();
        assert!(matches!(cut.transport, Transport::Udp(b"payl", true)), "{cut:?}");
        let mut packets = [Vec::new(), Vec::new()];
        let [v4, v6] = &mut packets;
        etherparse::PacketBuilder::ipv4([1; 4], [2; 4], 1).tcp(1, 2, 3, 4).write(v4, b"payload").unwrap();
        etherparse::PacketBuilder::ipv6([1; 16], [2; 16], 1).tcp(1, 2, 3, 4).write(v6, b"payload").unwrap();
        for packet in packets {
            for missing in 0..=7 {
                // What an Ethernet frame has behind the packet is no part of it.
                let padding: &[u8] = if missing == 0 { &[0; 9] } else { &[] };
                let frame = [&packet[..packet.len() - missing], padding].concat();
                let Transport::Tcp(segment) = parse(101, &frame).unwrap().transport else { panic!("{missing}") };
                assert_eq!((segment.payload.len(), segment.missing), (7 - missing, missing));
            }
        }
    }

    #[test]
    fn what_is_no_tcp_or_udp_is_skipped() {
        assert_eq!(parse(147, &udp_packet()).unwrap_err(), Skipped::Link);
        assert_eq!(parse(1, &[0; 14]).unwrap_err(), Skipped::Other);
        let mut fragment = udp_packet();
        fragment[6] |= 0x20;
        assert_eq!(parse(101, &fragment).unwrap_err(), Skipped::Fragment);
        for length in 0..28 {
            assert!(parse(101, &udp_packet()[..length]).is_err());
        }
    }
}
