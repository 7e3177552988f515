//! The one segment that a client describes to a hosted cache: content information of version 1.0 with one segment
//! ([MS-PCHC] 2.2.1.4).

use bytes::Bytes;

use super::segment::{Description, Segment, read_hash_and_secret};
use super::{BLOCK_SIZE_V1, BlockIndex, ParseError, SegmentHashOfData, SegmentId, v1};
use crate::wire::{Put, Reader};

/// What a SEGMENT_INFO_MESSAGE says of its segment.
///
/// The fields of the range mean something else than in content information: `dwReadBytesInLastSegment` is the size of
/// the whole segment, and some clients write 0 or the offset there. So the listed blocks are those from
/// `dwOffsetInFirstSegment` on, as many as there are hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedSegment {
    segment: Segment,
}

impl OfferedSegment {
    /// Reads the structure, which fills `bytes` to the end. Every error is the fault of who made the bytes. That a
    /// complete list of hashes belongs to the HoD is not looked at here: see [`Self::into_segment`].
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        let mut reader = Reader::new(&bytes);
        let [minor, major] = reader.take_array()?;
        if [minor, major] != v1::VERSION {
            return Err(ParseError::Version { major, minor });
        }
        let algorithm = v1::algorithm_from_wire(reader.u32_le()?)?;
        let offset_in_segment = reader.u32_le()?;
        reader.u32_le()?;
        match reader.u32_le()? {
            1 => {}
            0 => return Err(ParseError::NoSegment),
            count => return Err(ParseError::SegmentCount { count, room: 1 }),
        }
        let offset = reader.u64_le()?;
        let length = reader.u32_le()?;
        let block_size = reader.u32_le()?;
        if !(1..=v1::SEGMENT_SIZE).contains(&length) {
            return Err(ParseError::SegmentSize { segment: 0, size: length, allowed: (1, v1::SEGMENT_SIZE) });
        }
        if offset > super::MAX_CONTENT_LENGTH - u64::from(length) {
            return Err(ParseError::ContentLength { segment: 0 });
        }
        if block_size != BLOCK_SIZE_V1 {
            return Err(ParseError::BlockSize { segment: 0, size: block_size });
        }
        if offset_in_segment >= length {
            return Err(ParseError::OffsetInFirstSegment { offset: offset_in_segment, size: length });
        }
        let (hash_of_data, secret) = read_hash_and_secret(&mut reader, algorithm)?;
        let count = reader.u32_le()?;
        let total = length.div_ceil(BLOCK_SIZE_V1);
        let first = offset_in_segment / BLOCK_SIZE_V1;
        if count == 0 || count > total {
            return Err(ParseError::BlockCount { segment: 0, count, first, last: total - 1, total });
        }
        // Where the list reaches from the offset beyond the end, it began with the first block.
        let first: BlockIndex = if first + count > total { 0 } else { first };
        let hashes = reader.take(count as usize * algorithm.size())?;
        reader.finish()?;
        let description = Description { algorithm, offset, length, hash_of_data, secret };
        Ok(Self { segment: Segment::listed(description, first, bytes.slice_ref(hashes)) })
    }

    /// Writes the structure as it travels.
    #[must_use]
    pub fn emit(segment: &Segment) -> Vec<u8> {
        let listed = segment.listed_blocks();
        let mut bytes = Vec::new();
        bytes.put(&v1::VERSION);
        bytes.put_u32_le(v1::algorithm_to_wire(segment.algorithm()));
        bytes.put_u32_le(listed.start * BLOCK_SIZE_V1);
        bytes.put_u32_le(segment.length());
        bytes.put_u32_le(1);
        v1::emit_description(&mut bytes, segment);
        v1::emit_blocks(&mut bytes, segment);
        bytes
    }

    /// HoHoDk, derived from the secret and the HoD.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.segment.id()
    }

    /// How many bytes the whole segment has.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.segment.length()
    }

    /// How many blocks the whole segment has: 1 to 512.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.segment.block_count()
    }

    /// The segment, whose blocks can be verified. A complete list of hashes has to belong to the HoD
    /// ([MS-PCCRC] 2.2); a partial one proves nothing to others than its sender.
    pub fn into_segment(self) -> Result<Segment, ParseError> {
        let Self { segment } = self;
        let is_proof = || SegmentHashOfData::of(segment.algorithm(), segment.block_hashes()) == *segment.hash_of_data();
        if segment.is_bound() && !is_proof() {
            return Err(ParseError::HashOfData { segment: 0 });
        }
        Ok(segment)
    }
}
