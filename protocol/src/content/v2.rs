//! Content information version 2.0 ([MS-PCCRC] 2.4): big-endian, segments of 1 to 131,072 bytes, no blocks.

use std::ops::Range;

use thiserror::Error;

use super::information::intersecting;
use super::segment::{Description, Segment, read_hash_and_secret};
use super::{ContentVersion, HashError, MAX_BLOCK_SIZE, MAX_CONTENT_LENGTH, ParseError, RangeError};
use crate::crypto::HashAlgorithm;
use crate::wire::{Put, Reader};

/// The largest segment of version 2 in bytes ([MS-PCCRC] 2.4.1.2).
pub const MAX_SEGMENT_SIZE: u32 = MAX_BLOCK_SIZE;

/// Minor and major version in the order of the bytes.
pub(super) const VERSION: [u8; 2] = [0x00, 0x02];
const ALGORITHM: HashAlgorithm = HashAlgorithm::TruncatedSha512;
const ALGORITHM_ON_WIRE: u8 = 0x04;
const CHUNK_TYPE: u8 = 0;
const HEADER_SIZE: usize = 31;
const CHUNK_HEADER_SIZE: usize = 5;
const DESCRIPTION_SIZE: usize = 68;

/// The Content Information Data Structure Version 2.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentInformation {
    index_of_first_segment: u64,
    offset_in_first_segment: u32,
    length_of_range: u64,
    /// How many segments each chunk describes.
    chunks: Vec<u32>,
    segments: Vec<Segment>,
    range: Range<u64>,
}

/// Something that no writer should do and that harms nobody. [MS-PCCRC] 2.4 has no rule for either: they are read
/// leniently, here as by the dissector (SPEC-NOTES.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Warning {
    /// The last described segment, and perhaps more before it, has no byte in the range: `ullLengthOfRange` ends
    /// before it. Version 1.0 cannot say this, as its range ends by bytes of the last segment.
    #[error("the last described segment lies behind the range")]
    SegmentBehindRange,
    /// The first segment's offset and index cannot both be true.
    #[error("the first described segment cannot be number {index} and begin at {start}")]
    StartAndIndex {
        /// `ullStartInContent`.
        start: u64,
        /// `ullIndexOfFirstSegment`.
        index: u64,
    },
}

impl ContentInformation {
    /// `reader` stands behind the version.
    pub(super) fn parse(mut reader: Reader<'_>) -> Result<Self, ParseError> {
        let algorithm = reader.u8()?;
        if algorithm != ALGORITHM_ON_WIRE {
            return Err(ParseError::HashAlgorithm { version: ContentVersion::V2, value: algorithm.into() });
        }
        let start_in_content = reader.u64_be()?;
        let index_of_first_segment = reader.u64_be()?;
        let offset_in_first_segment = reader.u32_be()?;
        let length_of_range = reader.u64_be()?;
        let mut segments = Vec::new();
        let mut chunks = Vec::new();
        let mut offset = start_in_content;
        while reader.left() > 0 {
            let (mut chunk, count) = read_chunk(&mut reader)?;
            chunks.push(count);
            segments.reserve(count as usize);
            for _ in 0..count {
                let segment = read_segment(&mut chunk, segments.len(), offset)?;
                offset = segment.range().end;
                segments.push(segment);
            }
        }
        let range = described_range(&segments, offset_in_first_segment, length_of_range)?;
        Ok(Self { index_of_first_segment, offset_in_first_segment, length_of_range, chunks, segments, range })
    }

    /// The content information of a whole content.
    pub(super) fn whole(segments: Vec<Segment>) -> Result<Self, HashError> {
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Err(HashError::Empty) };
        let range = first.offset()..last.range().end;
        let chunks = vec![one_chunk(&segments)];
        Ok(Self { index_of_first_segment: 0, offset_in_first_segment: 0, length_of_range: 0, chunks, segments, range })
    }

    /// How many bytes content information takes.
    pub(super) fn size(chunks: usize, segments: usize) -> usize {
        HEADER_SIZE + chunks * CHUNK_HEADER_SIZE + segments * DESCRIPTION_SIZE
    }

    pub(super) fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::size(self.chunks.len(), self.segments.len()));
        bytes.put(&VERSION);
        bytes.put_u8(ALGORITHM_ON_WIRE);
        bytes.put_u64_be(self.start_in_content());
        bytes.put_u64_be(self.index_of_first_segment);
        bytes.put_u32_be(self.offset_in_first_segment);
        bytes.put_u64_be(self.length_of_range);
        let mut segments = self.segments.iter();
        for &count in &self.chunks {
            bytes.put_u8(CHUNK_TYPE);
            bytes.put_u32_be(count * DESCRIPTION_SIZE as u32);
            for segment in segments.by_ref().take(count as usize) {
                bytes.put_u32_be(segment.length());
                bytes.put(segment.hash_of_data().as_bytes());
                bytes.put(segment.secret().as_bytes());
            }
        }
        bytes
    }

    /// See [`super::ContentInformation::slice`].
    pub(super) fn slice(&self, range: Range<u64>) -> Result<Self, RangeError> {
        RangeError::unless_within(&range, self.range())?;
        let (segments, skipped) = intersecting(&self.segments, &range);
        let Some(first) = segments.first() else { return Err(RangeError::Empty) };
        // Zero stands for the whole resource, and only this content information can know that it has all of it.
        let is_whole = self.length_of_range == 0 && range == (0..self.range.end);
        Ok(Self {
            index_of_first_segment: self.index_of_first_segment.saturating_add(skipped as u64),
            offset_in_first_segment: u32::try_from(range.start - first.offset()).unwrap_or(u32::MAX),
            length_of_range: if is_whole { 0 } else { range.end - range.start },
            chunks: vec![one_chunk(segments)],
            segments: segments.to_vec(),
            range,
        })
    }

    /// `ullStartInContent`: where the first described segment begins in the content.
    #[must_use]
    pub fn start_in_content(&self) -> u64 {
        self.segments.first().map_or(0, Segment::offset)
    }

    /// `ullIndexOfFirstSegment`: the zero-based number of the first described segment among all of the content.
    #[must_use]
    pub fn index_of_first_segment(&self) -> u64 {
        self.index_of_first_segment
    }

    /// `dwOffsetInFirstSegment`: where the range begins, in bytes from the start of the first segment.
    #[must_use]
    pub fn offset_in_first_segment(&self) -> u32 {
        self.offset_in_first_segment
    }

    /// `ullLengthOfRange` as it came: 0 means up to the end of the described segments.
    #[must_use]
    pub fn length_of_range(&self) -> u64 {
        self.length_of_range
    }

    /// How many segments each chunk describes. Chunk boundaries have no meaning.
    #[must_use]
    pub fn segments_per_chunk(&self) -> &[u32] {
        &self.chunks
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

    /// What is odd about it and accepted all the same.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let (start, index) = (self.start_in_content(), self.index_of_first_segment);
        // A segment has 1 to 131,072 bytes, so `index` of them span at least `index` bytes.
        let possible = start >= index && start <= index.saturating_mul(MAX_SEGMENT_SIZE.into());
        let behind = self.segments.last().is_some_and(|last| last.offset() >= self.range.end);
        let behind = behind.then_some(Warning::SegmentBehindRange);
        let impossible = (!possible).then_some(Warning::StartAndIndex { start, index });
        behind.into_iter().chain(impossible).collect()
    }
}

/// A chunk's data and how many segments it describes ([MS-PCCRC] 2.4.1.1).
fn read_chunk<'a>(reader: &mut Reader<'a>) -> Result<(Reader<'a>, u32), ParseError> {
    let offset = reader.offset();
    let value = reader.u8()?;
    if value != CHUNK_TYPE {
        return Err(ParseError::ChunkType { offset, value });
    }
    let length = reader.u32_be()?;
    let left = reader.left();
    let data = reader.sub(length as usize).map_err(|_| ParseError::ChunkOverrun { offset, length, left })?;
    if length == 0 || !length.is_multiple_of(DESCRIPTION_SIZE as u32) {
        return Err(ParseError::ChunkLength { offset, length });
    }
    Ok((data, length / DESCRIPTION_SIZE as u32))
}

/// A segment description ([MS-PCCRC] 2.4.1.2) of a segment that begins at `offset`.
fn read_segment(reader: &mut Reader<'_>, segment: usize, offset: u64) -> Result<Segment, ParseError> {
    let length = reader.u32_be()?;
    if !(1..=MAX_SEGMENT_SIZE).contains(&length) {
        return Err(ParseError::SegmentSize { segment, size: length, allowed: (1, MAX_SEGMENT_SIZE) });
    }
    if offset > MAX_CONTENT_LENGTH - u64::from(length) {
        return Err(ParseError::ContentLength { segment });
    }
    let (hash_of_data, secret) = read_hash_and_secret(reader, ALGORITHM)?;
    Ok(Segment::whole(Description { algorithm: ALGORITHM, offset, length, hash_of_data, secret }))
}

fn described_range(
    segments: &[Segment],
    offset_in_first_segment: u32,
    length_of_range: u64,
) -> Result<Range<u64>, ParseError> {
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Err(ParseError::NoSegment) };
    if offset_in_first_segment >= first.length() {
        return Err(ParseError::OffsetInFirstSegment { offset: offset_in_first_segment, size: first.length() });
    }
    let start = first.offset() + u64::from(offset_in_first_segment);
    let available = last.range().end - start;
    match length_of_range {
        0 => Ok(start..last.range().end),
        length if length > available => Err(ParseError::RangeEnd { length, available }),
        length => Ok(start..start + length),
    }
}

/// The entry of [`ContentInformation::chunks`] that puts all segments into one chunk, as Windows does.
fn one_chunk(segments: &[Segment]) -> u32 {
    // MAX_CONTENT_INFORMATION_SIZE keeps the count far below 2^32 / 68.
    u32::try_from(segments.len()).unwrap_or(u32::MAX)
}
