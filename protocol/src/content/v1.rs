//! Content information version 1.0 ([MS-PCCRC] 2.3): little-endian, segments of 32 MiB, blocks of 64 KiB.

use std::ops::Range;

use bytes::Bytes;

use super::information::intersecting;
use super::segment::{Description, Segment, read_hash_and_secret};
use super::{
    BLOCK_SIZE_V1, BlockIndex, ContentVersion, HashError, MAX_CONTENT_LENGTH, ParseError, RangeError, SegmentHashOfData,
};
use crate::crypto::HashAlgorithm;
use crate::wire::{Put, Reader};

/// Every segment of version 1 but the last of a content has this many bytes ([MS-PCCRC] 2.1).
pub const SEGMENT_SIZE: u32 = 32 << 20;

/// Minor and major version in the order of the bytes.
pub(super) const VERSION: [u8; 2] = [0x00, 0x01];
const HEADER_SIZE: usize = 18;
/// A SegmentDescription without its two hashes.
const DESCRIPTION_SIZE: usize = 16;
/// The `cBlocks` of a SegmentContentBlocks.
const BLOCK_COUNT_SIZE: usize = 4;

/// The Content Information Data Structure Version 1.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentInformation {
    algorithm: HashAlgorithm,
    offset_in_first_segment: u32,
    read_bytes_in_last_segment: u32,
    segments: Vec<Segment>,
    range: Range<u64>,
}

impl ContentInformation {
    /// `bytes` is the whole structure, `reader` stands behind its version.
    pub(super) fn parse(bytes: &Bytes, mut reader: Reader<'_>) -> Result<Self, ParseError> {
        let algorithm = algorithm_from_wire(reader.u32_le()?)?;
        let offset_in_first_segment = reader.u32_le()?;
        let read_bytes_in_last_segment = reader.u32_le()?;
        let descriptions = read_descriptions(&mut reader, algorithm)?;
        let range = described_range(&descriptions, offset_in_first_segment, read_bytes_in_last_segment)?;
        let segments = descriptions
            .into_iter()
            .enumerate()
            .map(|(index, description)| read_blocks(bytes, &mut reader, index, description, &range))
            .collect::<Result<Vec<_>, _>>()?;
        reader.finish()?;
        Ok(Self { algorithm, offset_in_first_segment, read_bytes_in_last_segment, segments, range })
    }

    /// The content information of a whole content.
    pub(super) fn whole(algorithm: HashAlgorithm, segments: Vec<Segment>) -> Result<Self, HashError> {
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Err(HashError::Empty) };
        if algorithm_from_wire(algorithm_to_wire(algorithm)) != Ok(algorithm) {
            return Err(HashError::NotVersion1);
        }
        let range = first.offset()..last.range().end;
        Ok(Self { algorithm, offset_in_first_segment: 0, read_bytes_in_last_segment: 0, segments, range })
    }

    /// How many bytes content information takes, given the size of all block lists without their counts.
    pub(super) fn size(algorithm: HashAlgorithm, segments: usize, lists: usize) -> usize {
        HEADER_SIZE + segments * (DESCRIPTION_SIZE + 2 * algorithm.size() + BLOCK_COUNT_SIZE) + lists
    }

    pub(super) fn emit(&self) -> Vec<u8> {
        let lists = self.segments.iter().map(|segment| segment.block_hashes().len()).sum();
        let mut bytes = Vec::with_capacity(Self::size(self.algorithm, self.segments.len(), lists));
        bytes.put(&VERSION);
        bytes.put_u32_le(algorithm_to_wire(self.algorithm));
        bytes.put_u32_le(self.offset_in_first_segment);
        bytes.put_u32_le(self.read_bytes_in_last_segment);
        // The count came from four bytes or from a hasher that is limited to MAX_CONTENT_INFORMATION_SIZE.
        bytes.put_u32_le(u32::try_from(self.segments.len()).unwrap_or(u32::MAX));
        self.segments.iter().for_each(|segment| emit_description(&mut bytes, segment));
        self.segments.iter().for_each(|segment| emit_blocks(&mut bytes, segment));
        bytes
    }

    /// See [`super::ContentInformation::slice`]. Block lists run from the segment's first block to the last that has
    /// bytes in the range, which is the form of the document's examples; leading hashes that are not known are left
    /// out, which is the form of its text.
    pub(super) fn slice(&self, range: Range<u64>) -> Result<Self, RangeError> {
        RangeError::unless_within(&range, self.range())?;
        let (whole, _) = intersecting(&self.segments, &range);
        let (Some(first), Some(last)) = (whole.first(), whole.last()) else { return Err(RangeError::Empty) };
        let in_segment = |offset: u64, segment: &Segment| u32::try_from(offset - segment.offset()).unwrap_or(u32::MAX);
        let offset_in_first_segment = in_segment(range.start, first);
        let read_bytes_in_last_segment = if range.end == last.range().end {
            0
        } else if whole.len() == 1 {
            in_segment(range.end, last) - offset_in_first_segment
        } else {
            in_segment(range.end, last)
        };
        let segments = whole
            .iter()
            .map(|segment| {
                let (first, last) = covered_blocks(segment.range(), &range);
                let base = if segment.listed_blocks().start == 0 { 0 } else { first };
                segment.with_blocks(base, last)
            })
            .collect();
        Ok(Self { algorithm: self.algorithm, offset_in_first_segment, read_bytes_in_last_segment, segments, range })
    }

    /// The hash of `dwHashAlgo`.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// `dwOffsetInFirstSegment`: where the range begins, in bytes from the start of the first segment.
    #[must_use]
    pub fn offset_in_first_segment(&self) -> u32 {
        self.offset_in_first_segment
    }

    /// `dwReadBytesInLastSegment` as it came: 0 means up to the end of the last segment. With a single segment it
    /// counts from the start of the range, else from the start of the last segment.
    #[must_use]
    pub fn read_bytes_in_last_segment(&self) -> u32 {
        self.read_bytes_in_last_segment
    }

    /// The bytes of the content that are described.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The segments in content order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// A SegmentDescription ([MS-PCCRC] 2.3.1.1).
pub(super) fn emit_description(bytes: &mut Vec<u8>, segment: &Segment) {
    bytes.put_u64_le(segment.offset());
    bytes.put_u32_le(segment.length());
    bytes.put_u32_le(BLOCK_SIZE_V1);
    bytes.put(segment.hash_of_data().as_bytes());
    bytes.put(segment.secret().as_bytes());
}

/// A SegmentContentBlocks ([MS-PCCRC] 2.3.1.2).
pub(super) fn emit_blocks(bytes: &mut Vec<u8>, segment: &Segment) {
    let listed = segment.listed_blocks();
    bytes.put_u32_le(listed.end - listed.start);
    bytes.put(segment.block_hashes());
}

pub(super) fn algorithm_from_wire(value: u32) -> Result<HashAlgorithm, ParseError> {
    match value {
        0x800C => Ok(HashAlgorithm::Sha256),
        0x800D => Ok(HashAlgorithm::Sha384),
        0x800E => Ok(HashAlgorithm::Sha512),
        _ => Err(ParseError::HashAlgorithm { version: ContentVersion::V1, value }),
    }
}

pub(super) fn algorithm_to_wire(algorithm: HashAlgorithm) -> u32 {
    match algorithm {
        HashAlgorithm::Sha256 => 0x800C,
        HashAlgorithm::Sha384 => 0x800D,
        HashAlgorithm::Sha512 | HashAlgorithm::TruncatedSha512 => 0x800E,
    }
}

/// `cSegments` and that many SegmentDescriptions ([MS-PCCRC] 2.3.1.1).
fn read_descriptions(reader: &mut Reader<'_>, algorithm: HashAlgorithm) -> Result<Vec<Description>, ParseError> {
    let count = reader.u32_le()?;
    if count == 0 {
        return Err(ParseError::NoSegment);
    }
    let room = reader.left() / (DESCRIPTION_SIZE + 2 * algorithm.size());
    let segments = usize::try_from(count).unwrap_or(usize::MAX);
    if segments > room {
        return Err(ParseError::SegmentCount { count, room });
    }
    let mut descriptions = Vec::with_capacity(segments);
    let mut expected = None;
    for segment in 0..segments {
        let description = read_description(reader, algorithm, segment, segment + 1 == segments, expected)?;
        expected = Some(description.end());
        descriptions.push(description);
    }
    Ok(descriptions)
}

fn read_description(
    reader: &mut Reader<'_>,
    algorithm: HashAlgorithm,
    segment: usize,
    is_last: bool,
    expected: Option<u64>,
) -> Result<Description, ParseError> {
    let offset = reader.u64_le()?;
    let length = reader.u32_le()?;
    let block_size = reader.u32_le()?;
    match expected {
        Some(expected) if offset != expected => {
            return Err(ParseError::SegmentOffset { segment, offset, expected });
        }
        None if !offset.is_multiple_of(SEGMENT_SIZE.into()) => return Err(ParseError::SegmentAlignment { offset }),
        _ => {}
    }
    let allowed = (if is_last { 1 } else { SEGMENT_SIZE }, SEGMENT_SIZE);
    if !(allowed.0..=allowed.1).contains(&length) {
        return Err(ParseError::SegmentSize { segment, size: length, allowed });
    }
    if offset > MAX_CONTENT_LENGTH - u64::from(length) {
        return Err(ParseError::ContentLength { segment });
    }
    if block_size != BLOCK_SIZE_V1 {
        return Err(ParseError::BlockSize { segment, size: block_size });
    }
    let (hash_of_data, secret) = read_hash_and_secret(reader, algorithm)?;
    Ok(Description { algorithm, offset, length, hash_of_data, secret })
}

/// The range that header and descriptions span. The document's prose is defective where there is more than one
/// segment; this is the reading that its formula and its examples agree on (SPEC-NOTES.md, MS-PCCRC).
fn described_range(
    descriptions: &[Description],
    offset_in_first_segment: u32,
    read_bytes_in_last_segment: u32,
) -> Result<Range<u64>, ParseError> {
    let (Some(first), Some(last)) = (descriptions.first(), descriptions.last()) else {
        return Err(ParseError::NoSegment);
    };
    if offset_in_first_segment >= first.length {
        return Err(ParseError::OffsetInFirstSegment { offset: offset_in_first_segment, size: first.length });
    }
    let start = first.offset + u64::from(offset_in_first_segment);
    let counted_from = if descriptions.len() == 1 { start } else { last.offset };
    let length = u64::from(read_bytes_in_last_segment);
    let available = last.end() - counted_from;
    match length {
        0 => Ok(start..last.end()),
        _ if length > available => Err(ParseError::RangeEnd { length, available }),
        _ => Ok(start..counted_from + length),
    }
}

/// SegmentContentBlocks ([MS-PCCRC] 2.3.1.2). The text leaves out blocks before the range, the examples do not:
/// both are understood, and the count tells which it is (SPEC-NOTES.md, MS-PCCRC).
fn read_blocks(
    bytes: &Bytes,
    reader: &mut Reader<'_>,
    segment: usize,
    description: Description,
    range: &Range<u64>,
) -> Result<Segment, ParseError> {
    let count = reader.u32_le()?;
    let total = description.length.div_ceil(BLOCK_SIZE_V1);
    let (first, last) = covered_blocks(description.offset..description.end(), range);
    let base = if count == total || count == last + 1 {
        0
    } else if count == last - first + 1 {
        first
    } else {
        return Err(ParseError::BlockCount { segment, count, first, last, total });
    };
    let hashes = reader.take(count as usize * description.algorithm.size())?;
    if count == total && SegmentHashOfData::of(description.algorithm, hashes) != description.hash_of_data {
        return Err(ParseError::HashOfData { segment });
    }
    Ok(Segment::listed(description, base, bytes.slice_ref(hashes)))
}

/// The first and the last block of a segment that have bytes in `range`, which it intersects.
fn covered_blocks(segment: Range<u64>, range: &Range<u64>) -> (BlockIndex, BlockIndex) {
    let index = |offset: u64| u32::try_from((offset - segment.start) / u64::from(BLOCK_SIZE_V1)).unwrap_or(u32::MAX);
    (index(range.start.max(segment.start)), index(range.end.min(segment.end) - 1))
}
