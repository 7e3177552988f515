//! TCP connections whose segments come in any order, doubled, with gaps, and the HTTP in them.
//!
//! The bytes are a script, so that the fuzzer need not find headers of IP and TCP: for each segment a byte of [flags]
//! and one that displaces it, the length of its payload in two bytes, and the payload.
//!
//! [flags]: flag

use std::collections::HashMap;

use peerdist_node::decode::{Decoder, Packet};
use peerdist_protocol::wire::{Put as _, Reader, Truncated};

use super::capture::Watch;

mod flag {
    pub(super) const FROM_SERVER: u8 = 1;
    pub(super) const SYN: u8 = 2;
    pub(super) const FIN: u8 = 4;
    pub(super) const RST: u8 = 8;
    pub(super) const ACK: u8 = 16;
    /// The segment is displaced by the next byte, and those behind it are not.
    pub(super) const DISPLACED: u8 = 32;
    /// Two bits: which of four connections.
    pub(super) const CONNECTION: u32 = 6;
}

/// LINKTYPE_RAW: packets begin with IP.
const RAW: i32 = 101;

pub(super) fn run(bytes: &[u8]) {
    let mut script = Script { reader: Reader::new(bytes), next: HashMap::new() };
    let (mut decoder, mut watch) = (Decoder::new(), Watch::default());
    let mut number = 0;
    while let Ok(data) = script.packet() {
        number += 1;
        let packet = Packet { number, time: number * 1000, link: RAW, data: &data, comment: "" };
        decoder.packet(&packet, &mut |event| watch.event(&event));
    }
    decoder.finish(&mut |event| watch.event(&event));
    watch.finish();
}

/// The script of one connection on which client and server have sent these bytes.
pub(super) fn script_of(client: &[u8], server: &[u8]) -> Vec<u8> {
    let mut script = Vec::new();
    for (from, bytes) in [(0, client), (flag::FROM_SERVER, server)] {
        for piece in bytes.chunks(usize::from(u16::MAX)) {
            script.put(&[from | flag::ACK, 0]);
            script.put_u16_le(piece.len() as u16);
            script.put(piece);
        }
    }
    script
}

struct Script<'a> {
    reader: Reader<'a>,
    /// The next sequence number of each direction of each connection.
    next: HashMap<u8, u32>,
}

impl Script<'_> {
    fn packet(&mut self) -> Result<Vec<u8>, Truncated> {
        let [flags, displaced] = self.reader.take_array()?;
        let size = usize::from(self.reader.u16_le()?).min(self.reader.left());
        let payload = self.reader.take(size)?;
        let has = |flag| flags & flag != 0;
        let direction = flags >> flag::CONNECTION << 1 | flags & flag::FROM_SERVER;
        let acknowledged = *self.next.get(&(direction ^ 1)).unwrap_or(&0);
        let next = self.next.entry(direction).or_default();
        let mut sequence = *next;
        if has(flag::DISPLACED) {
            sequence = sequence.wrapping_add_signed(i32::from(displaced as i8) * 16);
        } else {
            *next = next.wrapping_add(size as u32 + u32::from(has(flag::SYN)) + u32::from(has(flag::FIN)));
        }
        let port = 40_000 + u16::from(flags >> flag::CONNECTION);
        let (source, destination) = if has(flag::FROM_SERVER) { (80, port) } else { (port, 80) };
        let mut packet = Vec::with_capacity(40 + size);
        packet.put(&[0x45, 0]);
        packet.put_u16_be(u16::try_from(40 + size).unwrap_or(u16::MAX));
        packet.put(&[0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 1]);
        packet.put_u16_be(source);
        packet.put_u16_be(destination);
        packet.put_u32_be(sequence);
        packet.put_u32_be(acknowledged);
        let bits = [(flag::FIN, 1), (flag::SYN, 2), (flag::RST, 4), (flag::ACK, 16)];
        packet.put(&[0x50, bits.iter().filter(|(flag, _)| has(*flag)).map(|(_, bit)| bit).sum(), 0xff, 0xff]);
        packet.put(&[0; 4]);
        packet.put(payload);
        Ok(packet)
    }
}
