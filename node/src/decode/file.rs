//! Captures in the pcap and pcapng formats, packet by packet, in constant memory.

use std::borrow::Cow;
use std::io::Read;

use pcap_parser::pcapng::{Block, OptionCode, PcapNGOption, SecretsType};
use pcap_parser::{PcapBlockOwned, PcapError, create_reader};

/// How much of a file is looked at, at once: as much as its largest block takes.
const BUFFER: usize = 1 << 20;
/// The largest block that is read. Link layers have no packet of that size.
const LARGEST_BLOCK: usize = 16 << 20;
/// The most interfaces of one section that are told apart.
const MAX_INTERFACES: usize = 4096;

/// A time in a capture: nanoseconds since 1970, in UTC.
pub type Nanoseconds = u64;

/// A packet as it was captured.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Counted from 1, as Wireshark does it.
    pub number: u64,
    /// When it was captured.
    pub time: Nanoseconds,
    /// LINKTYPE of its interface.
    pub link: i32,
    /// Its bytes, as many as were captured.
    pub data: &'a [u8],
    /// What the capture says of it; may be empty.
    pub comment: &'a str,
}

/// What a capture has.
#[derive(Debug, Clone, Copy)]
pub enum Captured<'a> {
    /// A packet.
    Packet(Packet<'a>),
    /// A key log of TLS, from a Decryption Secrets Block.
    TlsKeys(&'a [u8]),
}

/// How the reading of a capture ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How many packets there were.
    pub packets: u64,
    /// Why the file could not be read to its end.
    pub damage: Option<String>,
}

/// Whether bytes begin like a capture.
#[must_use]
pub fn is_capture(start: &[u8]) -> bool {
    const MAGIC: [[u8; 4]; 5] = [
        [0x0a, 0x0d, 0x0d, 0x0a],
        [0xa1, 0xb2, 0xc3, 0xd4],
        [0xd4, 0xc3, 0xb2, 0xa1],
        [0xa1, 0xb2, 0x3c, 0x4d],
        [0x4d, 0x3c, 0xb2, 0xa1],
    ];
    MAGIC.iter().any(|magic| start.starts_with(magic))
}

#[derive(Clone, Copy)]
struct Interface {
    link: i32,
    /// Units of its time stamps in a second.
    resolution: u64,
    /// Seconds to add to them.
    offset: i64,
}

/// Hands everything of a capture to `each`, until it refuses something. The first read has to give the file's header,
/// as far as it is there.
pub fn packets<E>(reader: impl Read + Send, mut each: impl FnMut(Captured<'_>) -> Result<(), E>) -> Result<End, E> {
    let mut end = End { packets: 0, damage: None };
    let mut capture = match create_reader(BUFFER, reader) {
        Ok(capture) => capture,
        Err(error) => return Ok(End { damage: Some(damage(&error)), ..end }),
    };
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut size = BUFFER;
    loop {
        let is_too_small = match capture.next() {
            Ok((consumed, block)) => {
                let found = match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        let resolution = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
                        interfaces = vec![Interface { link: header.network.0, resolution, offset: 0 }];
                        None
                    }
                    PcapBlockOwned::Legacy(packet) => interfaces.first().map(|interface| {
                        let part = u64::from(packet.ts_usec).saturating_mul(1_000_000_000 / interface.resolution);
                        let time = u64::from(packet.ts_sec).saturating_mul(1_000_000_000).saturating_add(part);
                        Found::Packet(time, interface.link, captured(packet.data, packet.caplen), "")
                    }),
                    PcapBlockOwned::NG(block) => read_block(&block, &mut interfaces, &mut end.packets),
                };
                let handed = match found {
                    Some(Found::Packet(time, link, data, comment)) => {
                        end.packets += 1;
                        each(Captured::Packet(Packet { number: end.packets, time, link, data, comment }))
                    }
                    Some(Found::TlsKeys(log)) => each(Captured::TlsKeys(log)),
                    None => Ok(()),
                };
                capture.consume(consumed);
                handed?;
                continue;
            }
            Err(PcapError::Eof) => return Ok(end),
            Err(PcapError::Incomplete(_)) => false,
            Err(PcapError::BufferTooSmall) => true,
            Err(error) => return Ok(End { damage: Some(damage(&error)), ..end }),
        };
        let before = capture.data().len();
        if let Err(error) = capture.refill() {
            return Ok(End { damage: Some(damage(&error)), ..end });
        }
        let is_stuck = capture.data().len() == before && !capture.reader_exhausted();
        if is_too_small || is_stuck {
            size *= 2;
            if size > LARGEST_BLOCK || !capture.grow(size) {
                return Ok(End { damage: Some(damage(&PcapError::BufferTooSmall)), ..end });
            }
        }
    }
}

/// What a block has.
enum Found<'a> {
    Packet(Nanoseconds, i32, &'a [u8], &'a str),
    TlsKeys(&'a [u8]),
}

fn read_block<'a>(block: &Block<'a>, interfaces: &mut Vec<Interface>, lost: &mut u64) -> Option<Found<'a>> {
    match block {
        Block::SectionHeader(_) => {
            interfaces.clear();
            None
        }
        Block::InterfaceDescription(interface) => {
            if interfaces.len() < MAX_INTERFACES {
                let resolution = interface.ts_resolution().filter(|units| *units > 0).unwrap_or(1_000_000);
                interfaces.push(Interface { link: interface.linktype.0, resolution, offset: interface.ts_offset() });
            }
            None
        }
        Block::EnhancedPacket(packet) => {
            let Some(interface) = interfaces.get(packet.if_id as usize) else {
                // Counted as Wireshark does, and of no known kind.
                *lost += 1;
                return None;
            };
            let units = u128::from(u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low));
            let time = units * 1_000_000_000 / u128::from(interface.resolution);
            let time = i128::try_from(time).unwrap_or(i128::MAX) + i128::from(interface.offset) * 1_000_000_000;
            let time = u64::try_from(time.max(0)).unwrap_or(u64::MAX);
            let data = captured(packet.data, packet.caplen);
            Some(Found::Packet(time, interface.link, data, comment(&packet.options)))
        }
        Block::SimplePacket(packet) => {
            let link = interfaces.first()?.link;
            Some(Found::Packet(0, link, captured(packet.data, packet.origlen), ""))
        }
        Block::DecryptionSecrets(secrets) if secrets.secrets_type == SecretsType::TlsKeyLog => {
            Some(Found::TlsKeys(captured(secrets.data, secrets.secrets_len)))
        }
        _ => None,
    }
}

/// The first comment among a block's options.
fn comment<'a>(options: &[PcapNGOption<'a>]) -> &'a str {
    let option = options.iter().find(|option| option.code == OptionCode::Comment);
    let Some(PcapNGOption { value: Cow::Borrowed(value), len, .. }) = option else { return "" };
    std::str::from_utf8(captured(value, (*len).into())).unwrap_or_default()
}

/// The packet's bytes without the padding of its block.
fn captured(data: &[u8], size: u32) -> &[u8] {
    data.get(..size as usize).unwrap_or(data)
}

fn damage(error: &PcapError<&[u8]>) -> String {
    match error {
        PcapError::UnexpectedEof | PcapError::Incomplete(_) | PcapError::Eof => "it ends inside a block".to_owned(),
        PcapError::ReadError => "it cannot be read on".to_owned(),
        PcapError::BufferTooSmall => "a block is larger than any packet".to_owned(),
        PcapError::HeaderNotRecognized => "its header is damaged".to_owned(),
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => "a block is damaged".to_owned(),
    }
}
