//! The pcapng format: sections of blocks. Those without packets, interfaces and keys are skipped, whatever is in them.

use std::borrow::Cow;
use std::io::Read;

use pcap_parser::pcapng::{
    Block, InterfaceDescriptionBlock, OptionCode, PcapNGOption, SecretsType, parse_block_be, parse_block_le,
};

use super::{Damage, Found, MAGIC_SIZE, Nanoseconds, Order, Source, captured};

/// How a file begins, and each section of it: the type of a Section Header Block, the same in both byte orders.
pub(super) const MAGIC: [u8; MAGIC_SIZE] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Types of blocks (draft-ietf-opsawg-pcapng, section 11.1).
mod kind {
    pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE_DESCRIPTION: u32 = 1;
    pub(super) const OBSOLETE_PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
    pub(super) const DECRYPTION_SECRETS: u32 = 10;
    /// Those that are read.
    pub(super) const READ: [u32; 5] =
        [INTERFACE_DESCRIPTION, OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET, DECRYPTION_SECRETS];
}

/// The most interfaces of one section that are told apart.
const MAX_INTERFACES: usize = 4096;
/// The byte order magic of a Section Header Block.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Type and length, which begin a block, and the length again, which ends it.
const HEAD: usize = 8;
const FOOT: usize = 4;

pub(super) struct Sections<R> {
    source: Source<R>,
    order: Order,
    interfaces: Vec<Interface>,
    /// The block that was read last.
    block: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Interface {
    link: i32,
    /// if_tsresol.
    resolution: u8,
    /// Seconds to add to its time stamps.
    offset: i64,
}

impl<R: Read> Sections<R> {
    /// Reads what follows the type of the first block.
    pub(super) fn begin(source: Source<R>) -> Result<Self, Damage> {
        let mut file = Self { source, order: Order::Little, interfaces: Vec::new(), block: Vec::new() };
        let mut length = [0; 4];
        file.source.exact(&mut length)?;
        file.section(length)?;
        Ok(file)
    }

    pub(super) fn next(&mut self) -> Result<Option<Found<'_>>, Damage> {
        if self.source.is_at_end()? {
            return Ok(None);
        }
        let (mut kind, mut length) = ([0; 4], [0; 4]);
        self.source.exact(&mut kind)?;
        self.source.exact(&mut length)?;
        match self.order.number(kind) {
            kind::SECTION_HEADER => self.section(length)?,
            known if kind::READ.contains(&known) => {
                self.block.clear();
                self.block.extend(kind.into_iter().chain(length));
                self.source.append(self.behind_head(length)?, &mut self.block)?;
                return self.found().map(Some);
            }
            _ => self.skip(self.behind_head(length)?, length)?,
        }
        Ok(Some(Found::Other))
    }

    /// Reads a Section Header Block from its byte order magic on. It says nothing else of use.
    fn section(&mut self, length: [u8; 4]) -> Result<(), Damage> {
        let mut magic = [0; 4];
        self.source.exact(&mut magic)?;
        let orders = [Order::Little, Order::Big];
        let order = orders.into_iter().find(|order| order.number(magic) == BYTE_ORDER);
        self.order = order.ok_or(Damage::Header)?;
        self.interfaces.clear();
        let behind_magic = self.behind_head(length)?.checked_sub(magic.len() + FOOT).ok_or(Damage::Header)?;
        self.skip(behind_magic + FOOT, length)
    }

    /// How much of a block of this length follows its head.
    fn behind_head(&self, length: [u8; 4]) -> Result<usize, Damage> {
        let size = (self.order.number(length) as usize).checked_sub(HEAD);
        size.filter(|size| *size >= FOOT).ok_or(Damage::Block)
    }

    /// Skips what is left of a block, and looks whether it ends as it began.
    fn skip(&mut self, left: usize, length: [u8; 4]) -> Result<(), Damage> {
        let mut foot = [0; FOOT];
        self.source.skip(left.saturating_sub(FOOT))?;
        self.source.exact(&mut foot)?;
        if foot == length { Ok(()) } else { Err(Damage::Block) }
    }

    /// What is in the block that was read last.
    fn found(&mut self) -> Result<Found<'_>, Damage> {
        let Self { block, order, interfaces, .. } = self;
        if block.get(4..HEAD) != block.len().checked_sub(FOOT).and_then(|foot| block.get(foot..)) {
            return Err(Damage::Block);
        }
        if block.get(..4).and_then(|kind| kind.try_into().ok()).map(|kind| order.number(kind))
            == Some(kind::OBSOLETE_PACKET)
        {
            return obsolete_packet(block, *order, interfaces).ok_or(Damage::Block);
        }
        let parsed = match order {
            Order::Big => parse_block_be(block),
            Order::Little => parse_block_le(block),
        };
        let (_, parsed) = parsed.map_err(|_| Damage::Block)?;
        Ok(match parsed {
            Block::InterfaceDescription(description) => {
                if interfaces.len() < MAX_INTERFACES {
                    interfaces.push(Interface::new(&description, *order));
                }
                Found::Other
            }
            Block::EnhancedPacket(packet) => match interfaces.get(packet.if_id as usize) {
                Some(interface) => Found::Packet {
                    time: interface.time(packet.ts_high, packet.ts_low),
                    link: interface.link,
                    data: captured(packet.data, packet.caplen),
                    comment: comment(&packet.options),
                },
                None => Found::OfUnknownInterface,
            },
            Block::SimplePacket(packet) => match interfaces.first() {
                Some(interface) => Found::Packet {
                    time: 0,
                    link: interface.link,
                    data: captured(packet.data, packet.origlen),
                    comment: "",
                },
                None => Found::OfUnknownInterface,
            },
            Block::DecryptionSecrets(secrets) if secrets.secrets_type == SecretsType::TlsKeyLog => {
                Found::TlsKeys(captured(secrets.data, secrets.secrets_len))
            }
            _ => Found::Other,
        })
    }
}

/// An Obsolete Packet Block, which files of old programs have: interface and drops in two bytes each, both halves of
/// the time stamp, both sizes, the packet. None where the block is too short.
fn obsolete_packet<'a>(block: &'a [u8], order: Order, interfaces: &[Interface]) -> Option<Found<'a>> {
    let number = |at: usize| Some(order.number(block.get(at..at + 4)?.try_into().ok()?));
    let both = number(HEAD)?;
    let interface = if order == Order::Big { both >> 16 } else { both & 0xffff };
    let (high, low, size) = (number(12)?, number(16)?, number(20)?);
    let data = block.get(28..block.len().checked_sub(FOOT)?)?.get(..size as usize)?;
    Some(match interfaces.get(interface as usize) {
        Some(interface) => Found::Packet { time: interface.time(high, low), link: interface.link, data, comment: "" },
        None => Found::OfUnknownInterface,
    })
}

impl Interface {
    fn new(description: &InterfaceDescriptionBlock<'_>, order: Order) -> Self {
        // pcap-parser reads it as little-endian everywhere.
        let offset = description.options.iter().find(|option| option.code == OptionCode::IfTsoffset);
        let offset = offset.and_then(|option| option.value.get(..8)?.try_into().ok());
        let offset = offset.map_or(0, |bytes| match order {
            Order::Big => i64::from_be_bytes(bytes),
            Order::Little => i64::from_le_bytes(bytes),
        });
        Self { link: description.linktype.0, resolution: description.if_tsresol, offset }
    }

    fn time(self, high: u32, low: u32) -> Nanoseconds {
        const SECOND: i128 = 1_000_000_000;
        let units = i128::from(u64::from(high) << 32 | u64::from(low)) * SECOND;
        let exponent = u32::from(self.resolution & 0x7f);
        let since_offset = match self.resolution & 0x80 {
            0 => 10_i128.checked_pow(exponent).map_or(0, |units_of_second| units / units_of_second),
            _ => units >> exponent,
        };
        let time = since_offset + i128::from(self.offset) * SECOND;
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }
}

/// The first comment among a block's options.
fn comment<'a>(options: &[PcapNGOption<'a>]) -> &'a str {
    let option = options.iter().find(|option| option.code == OptionCode::Comment);
    let Some(PcapNGOption { value: Cow::Borrowed(value), len, .. }) = option else { return "" };
    std::str::from_utf8(captured(value, (*len).into())).unwrap_or_default()
}
