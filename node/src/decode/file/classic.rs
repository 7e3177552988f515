//! The pcap format: a header, and packets behind each other.

use std::io::Read;

use pcap_parser::pcap::{parse_pcap_frame, parse_pcap_frame_be, parse_pcap_header};

use super::{Damage, Found, MAGIC_SIZE, Order, Source, captured};

/// How a file begins: microseconds and nanoseconds, in both byte orders.
pub(super) const MAGIC: [[u8; MAGIC_SIZE]; 4] =
    [[0xa1, 0xb2, 0xc3, 0xd4], [0xd4, 0xc3, 0xb2, 0xa1], [0xa1, 0xb2, 0x3c, 0x4d], [0x4d, 0x3c, 0xb2, 0xa1]];

const HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

pub(super) struct Classic<R> {
    source: Source<R>,
    order: Order,
    link: i32,
    /// Nanoseconds of the units in which parts of a second are counted.
    unit: u64,
    /// The packet that was read last.
    packet: Vec<u8>,
}

impl<R: Read> Classic<R> {
    /// Reads what follows the magic of the file's header.
    pub(super) fn begin(mut source: Source<R>, magic: [u8; MAGIC_SIZE]) -> Result<Self, Damage> {
        if !MAGIC.contains(&magic) {
            return Err(Damage::Header);
        }
        let mut header = magic.to_vec();
        source.append(HEADER - MAGIC_SIZE, &mut header)?;
        let (_, header) = parse_pcap_header(&header).map_err(|_| Damage::Header)?;
        let order = if header.is_bigendian() { Order::Big } else { Order::Little };
        let unit = if header.is_nanosecond_precision() { 1 } else { 1000 };
        Ok(Self { source, order, link: header.network.0, unit, packet: Vec::new() })
    }

    pub(super) fn next(&mut self) -> Result<Option<Found<'_>>, Damage> {
        let Self { source, packet, order, .. } = self;
        if source.is_at_end()? {
            return Ok(None);
        }
        packet.clear();
        source.append(PACKET_HEADER, packet)?;
        let size = packet.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, |bytes| order.number(bytes));
        source.append(size as usize, packet)?;
        let parsed = match order {
            Order::Big => parse_pcap_frame_be(packet),
            Order::Little => parse_pcap_frame(packet),
        };
        let (_, frame) = parsed.map_err(|_| Damage::Block)?;
        let part = u64::from(frame.ts_usec).saturating_mul(self.unit);
        let time = u64::from(frame.ts_sec).saturating_mul(1_000_000_000).saturating_add(part);
        Ok(Some(Found::Packet { time, link: self.link, data: captured(frame.data, frame.caplen), comment: "" }))
    }
}
