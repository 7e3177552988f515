//! The formats on disk: a file header, and an entry of 128 bytes.
//!
//! A pack is a header and records, a record is an entry, a tail of MSG_BLK and padding to 16 bytes. Its sidecar is a
//! header and entries: a copy of each record's, and what happened to records later. Integers are little-endian.
//!
//! Every entry begins with the pack's *mark*, eight random bytes from its header. Nobody outside knows them, so a
//! block whose bytes look like a record is never taken for one, whatever happens to the files around it. In the
//! pack itself the entry of a removed record has its mark inverted, so that it stays removed without the sidecar.

use peerdist_protocol::content::{BlockIndex, CryptoAlgoId, MAX_BLOCK_SIZE, MAX_BLOCKS_PER_SEGMENT, SegmentId};
use peerdist_protocol::retrieval::tail_size;
use peerdist_protocol::wire::{Put as _, Reader, Truncated};

use super::types::{Tag, Trust};

/// The size of an entry and of a file header in bytes.
pub(super) const ENTRY_SIZE: usize = 128;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 16;
/// The largest SizeOfBlock: the largest block with its PKCS#7 padding.
pub(super) const MAX_SIZE_OF_BLOCK: u32 = MAX_BLOCK_SIZE + 16;
/// The newest format, written and read.
const FORMAT: u32 = 1;
const CRC_AT: usize = ENTRY_SIZE - 4;

/// An encoded entry or file header.
pub(super) type EntryBytes = [u8; ENTRY_SIZE];

/// Seconds since 1970: when a block entered the store.
pub(super) type UnixTime = u32;

/// One entry of a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// A record of the pack.
    Record(RecordEntry),
    /// The record at this offset was removed.
    Tombstone { id: SegmentId, index: BlockIndex, offset: u32 },
    /// All records of the segment written so far, in whatever pack, are bound.
    Raised { id: SegmentId },
    /// The pack's bytes before this offset have reached the disk.
    Synced { offset: u32 },
}

/// The entry of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordEntry {
    pub(super) id: SegmentId,
    pub(super) block_count: u32,
    pub(super) index: BlockIndex,
    /// Where the record begins in its pack, in bytes.
    pub(super) offset: u32,
    pub(super) algorithm: CryptoAlgoId,
    pub(super) size_of_block: u32,
    /// CRC32C of the tail.
    pub(super) tail_crc: u32,
    pub(super) trust: Trust,
    pub(super) time: UnixTime,
    pub(super) tag: Tag,
}

impl RecordEntry {
    /// The size of the whole record in its pack, padding included.
    pub(super) fn record_size(&self) -> u64 {
        record_size(self.size_of_block, self.algorithm)
    }

    /// Where the record ends in its pack.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.offset) + self.record_size()
    }
}

/// The size of a record in its pack: entry, tail, padding.
pub(super) fn record_size(size_of_block: u32, algorithm: CryptoAlgoId) -> u64 {
    (ENTRY_SIZE as u64 + tail_size(size_of_block, algorithm) as u64).next_multiple_of(ALIGNMENT)
}

const RECORD: u8 = 1;
const TOMBSTONE: u8 = 2;
const RAISED: u8 = 3;
const SYNCED: u8 = 4;

impl Entry {
    /// The bytes of the entry in files of the pack with this mark.
    pub(super) fn encode(&self, mark: u64) -> EntryBytes {
        let mut out = Vec::with_capacity(ENTRY_SIZE);
        out.put_u64_le(mark);
        match self {
            Self::Record(record) => {
                out.put(&[RECORD, record.algorithm.to_wire() as u8, record.trust as u8, id_size(&record.id)]);
                out.put_u16_le(record.index as u16);
                out.put_u16_le(record.block_count as u16);
                out.put_u32_le(record.offset);
                out.put_u32_le(record.size_of_block);
                out.put_u32_le(record.tail_crc);
                out.put_u32_le(record.time);
                out.put_u32_le(record.tag.owner);
                out.put(&record.tag.bytes);
                out.put(record.id.as_bytes());
            }
            Self::Tombstone { id, index, offset } => {
                out.put(&[TOMBSTONE, 0, 0, id_size(id)]);
                out.put_u16_le(*index as u16);
                out.put_u16_le(0);
                out.put_u32_le(*offset);
                out.put(&[0; 32]);
                out.put(id.as_bytes());
            }
            Self::Raised { id } => {
                out.put(&[RAISED, 0, 0, id_size(id)]);
                out.put(&[0; 40]);
                out.put(id.as_bytes());
            }
            Self::Synced { offset } => {
                out.put(&[SYNCED, 0, 0, 0, 0, 0, 0, 0]);
                out.put_u32_le(*offset);
            }
        }
        finish(&out)
    }

    /// The entry of these bytes; `None` where they are none of the pack with this mark.
    pub(super) fn decode(bytes: &EntryBytes, mark: u64) -> Option<Self> {
        if !bytes.starts_with(&mark.to_le_bytes()) || !has_right_crc(bytes) {
            return None;
        }
        Self::read(bytes).ok().flatten()
    }

    /// As [`Self::decode`], for an entry in a pack whose record was removed.
    pub(super) fn decode_removed(bytes: &EntryBytes, mark: u64) -> Option<Self> {
        let mut restored = *bytes;
        for byte in &mut restored[..8] {
            *byte = !*byte;
        }
        Self::decode(&restored, mark)
    }

    fn read(bytes: &EntryBytes) -> Result<Option<Self>, Truncated> {
        let mut reader = Reader::new(bytes);
        reader.u64_le()?;
        let [kind, algorithm, trust, id_size] = reader.take_array()?;
        let (index, block_count) = (u32::from(reader.u16_le()?), u32::from(reader.u16_le()?));
        let offset = reader.u32_le()?;
        let (size_of_block, tail_crc) = (reader.u32_le()?, reader.u32_le()?);
        let time = reader.u32_le()?;
        let tag = Tag { owner: reader.u32_le()?, bytes: reader.take_array()? };
        if kind == SYNCED {
            return Ok(Some(Self::Synced { offset }));
        }
        let Some(id) = SegmentId::from_slice(reader.take(usize::from(id_size))?) else { return Ok(None) };
        Ok(match kind {
            RECORD => read_record(id, block_count, index, offset, [algorithm, trust], size_of_block)
                .map(|record| Self::Record(RecordEntry { tail_crc, time, tag, ..record })),
            TOMBSTONE => Some(Self::Tombstone { id, index, offset }),
            RAISED => Some(Self::Raised { id }),
            _ => None,
        })
    }
}

fn read_record(
    id: SegmentId,
    block_count: u32,
    index: u32,
    offset: u32,
    [algorithm, trust]: [u8; 2],
    size_of_block: u32,
) -> Option<RecordEntry> {
    let algorithm = CryptoAlgoId::from_wire(u32::from(algorithm))?;
    let trust = [Trust::Blind, Trust::Claimed, Trust::Bound].get(usize::from(trust)).copied()?;
    let sound = index < block_count
        && block_count <= MAX_BLOCKS_PER_SEGMENT
        && (1..=MAX_SIZE_OF_BLOCK).contains(&size_of_block)
        && u64::from(offset).is_multiple_of(ALIGNMENT);
    sound.then_some(RecordEntry {
        id,
        block_count,
        index,
        offset,
        algorithm,
        size_of_block,
        tail_crc: 0,
        trust,
        time: 0,
        tag: Tag::NONE,
    })
}

/// Which of the two files of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    /// The records.
    Pack,
    /// The entries.
    Sidecar,
}

impl FileKind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Pack => b"PeerDst\x01",
            Self::Sidecar => b"PeerDst\x02",
        }
    }
}

/// What the header of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// The mark of the pack's entries.
    Mark(u64),
    /// A header that a newer version wrote.
    Newer(u32),
}

impl Header {
    /// The header of a new file.
    pub(super) fn encode(kind: FileKind, mark: u64) -> EntryBytes {
        let mut out = Vec::with_capacity(ENTRY_SIZE);
        out.put(kind.magic());
        out.put_u32_le(FORMAT);
        out.put_u64_le(mark);
        finish(&out)
    }

    /// The header of a file, `None` where the bytes are none.
    pub(super) fn decode(kind: FileKind, bytes: &EntryBytes) -> Option<Self> {
        if !has_right_crc(bytes) {
            return None;
        }
        let mut reader = Reader::new(bytes);
        let magic: [u8; 8] = reader.take_array().ok()?;
        let format = reader.u32_le().ok()?;
        let mark = reader.u64_le().ok()?;
        (magic == *kind.magic()).then_some(if format > FORMAT { Self::Newer(format) } else { Self::Mark(mark) })
    }
}

fn id_size(id: &SegmentId) -> u8 {
    id.as_bytes().len() as u8
}

fn finish(fields: &[u8]) -> EntryBytes {
    let mut bytes = [0; ENTRY_SIZE];
    bytes[..fields.len()].copy_from_slice(fields);
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn has_right_crc(bytes: &EntryBytes) -> bool {
    bytes[CRC_AT..] == crc32c::crc32c(&bytes[..CRC_AT]).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: u64 = 0x0123_4567_89ab_cdef;

    fn samples() -> Vec<Entry> {
        let long = SegmentId::from_slice(&[7; 64]).unwrap();
        let short = SegmentId::from_slice(&[9]).unwrap();
        vec![
            Entry::Record(RecordEntry {
                id: long,
                block_count: 512,
                index: 511,
                offset: 0x0fff_fff0,
                algorithm: CryptoAlgoId::Aes256,
                size_of_block: MAX_SIZE_OF_BLOCK,
                tail_crc: 0xdead_beef,
                trust: Trust::Bound,
                time: u32::MAX,
                tag: Tag { owner: 1000, bytes: *b"0123456789abcdef" },
            }),
            Entry::Tombstone { id: long, index: 3, offset: 128 },
            Entry::Raised { id: short },
            Entry::Synced { offset: 4096 },
        ]
    }

    #[test]
    fn entries_round_trip() {
        for entry in samples() {
            assert_eq!(Entry::decode(&entry.encode(MARK), MARK), Some(entry));
            assert_eq!(Entry::decode(&entry.encode(MARK), MARK + 1), None);
            assert_eq!(Entry::decode_removed(&entry.encode(MARK), MARK), None);
            let mut removed = entry.encode(MARK);
            removed[..8].copy_from_slice(&(!MARK).to_le_bytes());
            assert_eq!(Entry::decode(&removed, MARK), None);
            assert_eq!(Entry::decode_removed(&removed, MARK), Some(entry));
        }
    }

    #[test]
    fn every_flipped_bit_shows() {
        for entry in samples() {
            let bytes = entry.encode(MARK);
            for bit in 0..ENTRY_SIZE * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Entry::decode(&flipped, MARK), None, "bit {bit} of {entry:?}");
            }
        }
    }

    #[test]
    fn impossible_records_are_refused() {
        let Entry::Record(good) = samples()[0] else { unreachable!() };
        for bad in [
            RecordEntry { index: 512, ..good },
            RecordEntry { block_count: 513, ..good },
            RecordEntry { size_of_block: 0, ..good },
            RecordEntry { size_of_block: MAX_SIZE_OF_BLOCK + 1, ..good },
            RecordEntry { offset: 8, ..good },
        ] {
            assert_eq!(Entry::decode(&Entry::Record(bad).encode(MARK), MARK), None, "{bad:?}");
        }
    }

    #[test]
    fn headers_name_their_file_and_format() {
        let header = Header::encode(FileKind::Pack, MARK);
        assert_eq!(Header::decode(FileKind::Pack, &header), Some(Header::Mark(MARK)));
        assert_eq!(Header::decode(FileKind::Sidecar, &header), None);
        let mut newer = header;
        newer[8] = 9;
        assert_eq!(Header::decode(FileKind::Pack, &newer), None);
        assert_eq!(Header::decode(FileKind::Pack, &finish(&newer[..CRC_AT])), Some(Header::Newer(9)));
    }
}
