//! Captures in the pcap and pcapng formats, packet by packet, in constant memory. Nothing is read that was not asked
//! for, so that a capture can be looked at while it grows.

mod classic;
mod sections;

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read};

use classic::Classic;
use sections::Sections;

/// How much of a file is read at once.
const BUFFER: usize = 1 << 20;
/// The largest block that is read. Link layers have no packet of that size.
const LARGEST_BLOCK: usize = 16 << 20;
/// The bytes that say which format it is.
const MAGIC_SIZE: usize = 4;

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    /// Whether the file's header could be read.
    pub has_header: bool,
    /// How many packets there were.
    pub packets: u64,
    /// How many of them are of an interface that the file does not describe, and were not handed on.
    pub unknown_interface: u64,
    /// Why the file could not be read to its end.
    pub damage: Option<&'static str>,
}

/// Whether bytes begin like a capture; four say it.
#[must_use]
pub fn is_capture(start: &[u8]) -> bool {
    start.starts_with(&sections::MAGIC) || classic::MAGIC.iter().any(|magic| start.starts_with(magic))
}

/// Hands everything of a capture to `each`, until it refuses something.
pub fn packets<E>(reader: impl Read, mut each: impl FnMut(Captured<'_>) -> Result<(), E>) -> Result<End, E> {
    let mut end = End::default();
    let mut format = match Format::begin(Source::new(reader)) {
        Ok(format) => format,
        Err(damage) => return Ok(End { damage: Some(damage.why()), ..end }),
    };
    end.has_header = true;
    loop {
        let found = match format.next() {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(end),
            Err(damage) => return Ok(End { damage: Some(damage.why()), ..end }),
        };
        match found {
            Found::Packet { time, link, data, comment } => {
                end.packets += 1;
                each(Captured::Packet(Packet { number: end.packets, time, link, data, comment }))?;
            }
            Found::OfUnknownInterface => {
                // Counted as Wireshark does.
                end.packets += 1;
                end.unknown_interface += 1;
            }
            Found::TlsKeys(log) => each(Captured::TlsKeys(log))?,
            Found::Other => {}
        }
    }
}

/// What stands in a file.
enum Found<'a> {
    Packet { time: Nanoseconds, link: i32, data: &'a [u8], comment: &'a str },
    OfUnknownInterface,
    TlsKeys(&'a [u8]),
    Other,
}

/// Why a file cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Header,
    Block,
    TooLarge,
    CutOff,
    Unreadable,
}

impl Damage {
    fn why(self) -> &'static str {
        match self {
            Self::Header => "its header is damaged",
            Self::Block => "a block is damaged",
            Self::TooLarge => "a block is larger than any packet",
            Self::CutOff => "it ends inside a block",
            Self::Unreadable => "it cannot be read on",
        }
    }
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::UnexpectedEof { Self::CutOff } else { Self::Unreadable }
    }
}

enum Format<R> {
    Classic(Classic<R>),
    Sections(Sections<R>),
}

impl<R: Read> Format<R> {
    fn begin(mut source: Source<R>) -> Result<Self, Damage> {
        let mut magic = [0; MAGIC_SIZE];
        source.exact(&mut magic)?;
        if magic == sections::MAGIC {
            Sections::begin(source).map(Self::Sections)
        } else {
            Classic::begin(source, magic).map(Self::Classic)
        }
    }

    fn next(&mut self) -> Result<Option<Found<'_>>, Damage> {
        match self {
            Self::Classic(file) => file.next(),
            Self::Sections(file) => file.next(),
        }
    }
}

/// The bytes of a file.
struct Source<R>(BufReader<R>);

impl<R: Read> Source<R> {
    fn new(reader: R) -> Self {
        Self(BufReader::with_capacity(BUFFER, reader))
    }

    fn is_at_end(&mut self) -> Result<bool, Damage> {
        loop {
            match self.0.fill_buf() {
                Ok(bytes) => return Ok(bytes.is_empty()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn exact(&mut self, to: &mut [u8]) -> Result<(), Damage> {
        Ok(self.0.read_exact(to)?)
    }

    /// Appends as many bytes, of which memory is taken for those that are there.
    fn append(&mut self, size: usize, to: &mut Vec<u8>) -> Result<(), Damage> {
        if to.len().saturating_add(size) > LARGEST_BLOCK {
            return Err(Damage::TooLarge);
        }
        let read = self.0.by_ref().take(size as u64).read_to_end(to)?;
        if read < size { Err(Damage::CutOff) } else { Ok(()) }
    }

    fn skip(&mut self, size: usize) -> Result<(), Damage> {
        let skipped = io::copy(&mut self.0.by_ref().take(size as u64), &mut io::sink())?;
        if skipped < size as u64 { Err(Damage::CutOff) } else { Ok(()) }
    }
}

/// The byte order of a file or a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

impl Order {
    fn number(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Big => u32::from_be_bytes(bytes),
            Self::Little => u32::from_le_bytes(bytes),
        }
    }
}

/// The packet's bytes without the padding of its block.
fn captured(data: &[u8], size: u32) -> &[u8] {
    data.get(..size as usize).unwrap_or(data)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// A file with a packet in each kind of block that has one, and keys.
    fn sections(number: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut block = |kind: u32, body: &[u32]| {
            let length = body.len() as u32 * 4 + 12;
            let words = [kind, length].into_iter().chain(body.iter().copied()).chain([length]);
            file.extend(words.flat_map(number));
        };
        block(0x0a0d_0d0a, &[0x1a2b_3c4d, 0x0001_0001, u32::MAX, u32::MAX]);
        block(1, &[101 << 16 | 101, 0]);
        block(6, &[0, 0, 1, 6, 6, 0, 0]);
        block(2, &[0, 0, 1, 6, 6, 0, 0]);
        block(0xbad, &[1, 2, 3]);
        block(3, &[6, 0, 0]);
        block(10, &[0x544c_534b, 3, 0]);
        file
    }

    fn classic(number: fn(u32) -> [u8; 4]) -> Vec<u8> {
        [0xa1b2_c3d4, 0x0002_0002, 0, 0, 0, 101, 1, 2, 8, 8, 0, 0, 3, 4, 4, 4, 0].into_iter().flat_map(number).collect()
    }

    /// What comes of a file: the sizes of packets, and how it ended.
    fn read(file: impl Read) -> (Vec<usize>, End) {
        let mut sizes = Vec::new();
        let Ok(end) = packets(file, |captured| {
            sizes.push(match captured {
                Captured::Packet(packet) => packet.data.len(),
                Captured::TlsKeys(log) => log.len(),
            });
            Ok::<_, Infallible>(())
        });
        (sizes, end)
    }

    #[test]
    fn both_formats_are_read_in_both_byte_orders() {
        for number in [u32::to_le_bytes as fn(u32) -> [u8; 4], u32::to_be_bytes] {
            let end = End { has_header: true, packets: 3, ..End::default() };
            assert_eq!(read(&sections(number)[..]), (vec![6, 6, 6, 3], end.clone()));
            assert_eq!(read(&classic(number)[..]), (vec![8, 4], End { packets: 2, ..end }));
        }
    }

    #[test]
    fn memory_is_taken_for_bytes_that_are_there_alone() {
        let mut source = Source::new(&b"abc"[..]);
        let mut block = Vec::new();
        assert_eq!(source.append(LARGEST_BLOCK, &mut block), Err(Damage::CutOff));
        assert!(block.capacity() < 1000);
        assert_eq!(source.append(LARGEST_BLOCK, &mut block), Err(Damage::TooLarge));
    }

    proptest! {
        #[test]
        fn whatever_a_file_has_its_reading_ends(
            is_classic in any::<bool>(),
            is_big in any::<bool>(),
            spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let number = if is_big { u32::to_be_bytes } else { u32::to_le_bytes };
            let mut file = if is_classic { classic(number) } else { sections(number) };
            for (at, byte) in spoilt {
                let at = at.index(file.len());
                file[at] = byte;
            }
            file.truncate(cut.index(file.len() + 1));
            let (sizes, end) = read(&file[..]);
            prop_assert!(sizes.iter().sum::<usize>() <= file.len());
            prop_assert!(end.has_header || (end.damage.is_some() && end.packets == 0));
        }
    }
}
