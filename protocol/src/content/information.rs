//! Content information of either version, and why bytes are not content information.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use bytes::Bytes;
use thiserror::Error;

use super::{Segment, v1, v2};
use crate::crypto::HashAlgorithm;
use crate::wire::{Reader, TrailingBytes, Truncated};

/// The largest content information that is parsed, in bytes. It describes 270 GB in version 1 and 190 GB in
/// version 2 as our hasher cuts it; larger contents are described range by range.
pub const MAX_CONTENT_INFORMATION_SIZE: usize = 128 << 20;
/// No content is longer ([MS-PCCRC] leaves it open; larger offsets are not used by any file system).
pub const MAX_CONTENT_LENGTH: u64 = 1 << 63;

/// The version of content information ([MS-PCCRC] 2.3, 2.4). The two share no segment id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContentVersion {
    /// Version 1.0: segments of 32 MiB made of blocks of 64 KiB.
    V1,
    /// Version 2.0: segments of 1 to 131,072 bytes.
    V2,
}

impl fmt::Display for ContentVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// The text is neither `v1` nor `v2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the version of content information is v1 or v2")]
pub struct ParseContentVersionError;

impl FromStr for ContentVersion {
    type Err = ParseContentVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(ParseContentVersionError),
        }
    }
}

/// Content information: the segments of a contiguous range of a content ([MS-PCCRC] 2.3, 2.4).
///
/// Header fields are kept as they came, so that emitting what was parsed gives the same bytes. Holds segment
/// secrets: whoever has it can read the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentInformation {
    /// Version 1.0.
    V1(v1::ContentInformation),
    /// Version 2.0.
    V2(v2::ContentInformation),
}

impl ContentInformation {
    /// Reads content information that fills `bytes` to the end. Every error is the fault of who made the bytes.
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        if bytes.len() > MAX_CONTENT_INFORMATION_SIZE {
            return Err(ParseError::TooLarge { size: bytes.len() });
        }
        let mut reader = Reader::new(&bytes);
        match reader.take_array()? {
            v1::VERSION => v1::ContentInformation::parse(&bytes, reader).map(Self::V1),
            v2::VERSION => v2::ContentInformation::parse(reader).map(Self::V2),
            [minor, major] => Err(ParseError::Version { major, minor }),
        }
    }

    /// Writes the content information as it travels and is kept.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        match self {
            Self::V1(information) => information.emit(),
            Self::V2(information) => information.emit(),
        }
    }

    /// Which version it is.
    #[must_use]
    pub fn version(&self) -> ContentVersion {
        match self {
            Self::V1(_) => ContentVersion::V1,
            Self::V2(_) => ContentVersion::V2,
        }
    }

    /// The hash behind every value in it.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        match self {
            Self::V1(information) => information.algorithm(),
            Self::V2(_) => HashAlgorithm::TruncatedSha512,
        }
    }

    /// The bytes of the content that are described: [S, E), at least one byte. The first and the last segment may
    /// reach beyond it.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        match self {
            Self::V1(information) => information.range(),
            Self::V2(information) => information.range(),
        }
    }

    /// The segments in content order, without gaps, at least one.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        match self {
            Self::V1(information) => information.segments(),
            Self::V2(information) => information.segments(),
        }
    }

    /// The segment that has the byte at `position`.
    #[must_use]
    pub fn segment_at(&self, position: u64) -> Option<&Segment> {
        let segments = self.segments();
        let at = segments.partition_point(|segment| segment.range().end <= position);
        segments.get(at).filter(|segment| segment.offset() <= position)
    }

    /// The segments that have bytes in `range`.
    #[must_use]
    pub fn segments_in(&self, range: &Range<u64>) -> &[Segment] {
        intersecting(self.segments(), range).0
    }

    /// The content information of a part of the range, as a content server answers a range request with. Segments
    /// stay those of the whole content.
    pub fn slice(&self, range: Range<u64>) -> Result<Self, RangeError> {
        match self {
            Self::V1(information) => information.slice(range).map(Self::V1),
            Self::V2(information) => information.slice(range).map(Self::V2),
        }
    }
}

/// The segments that have bytes in `range`, and the index of the first of them.
pub(super) fn intersecting<'a>(segments: &'a [Segment], range: &Range<u64>) -> (&'a [Segment], usize) {
    if range.is_empty() {
        return (&[], 0);
    }
    let first = segments.partition_point(|segment| segment.range().end <= range.start);
    let end = segments.partition_point(|segment| segment.offset() < range.end);
    (segments.get(first..end).unwrap_or_default(), first)
}

/// A range that content information cannot be cut to; the caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RangeError {
    /// Content information cannot describe zero bytes.
    #[error("the range is empty, and content information describes at least one byte")]
    Empty,
    /// A part of the range is not described.
    #[error("bytes {}..{} are not within {}..{}, which the content information describes",
        .asked.start, .asked.end, .described.start, .described.end)]
    Outside {
        /// What was asked for.
        asked: Range<u64>,
        /// What there is.
        described: Range<u64>,
    },
}

impl RangeError {
    /// Whether `asked` is a non-empty part of `described`.
    pub(super) fn unless_within(asked: &Range<u64>, described: Range<u64>) -> Result<(), Self> {
        if asked.is_empty() {
            Err(Self::Empty)
        } else if asked.start < described.start || asked.end > described.end {
            Err(Self::Outside { asked: asked.clone(), described })
        } else {
            Ok(())
        }
    }
}

/// Why bytes are not content information; always the fault of who made them. Segments count from zero, offsets
/// are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// More than [`MAX_CONTENT_INFORMATION_SIZE`].
    #[error("content information of {size} bytes is larger than the {MAX_CONTENT_INFORMATION_SIZE} that are accepted")]
    TooLarge {
        /// Bytes that came.
        size: usize,
    },
    /// A field is cut off ([MS-PCCRC] 2.3, 2.4).
    #[error("content information is {0}")]
    Truncated(#[from] Truncated),
    /// Neither version 1.0 nor 2.0 ([MS-PCCRC] 2.3, 2.4).
    #[error("content information version {major}.{minor} is neither 1.0 nor 2.0")]
    Version {
        /// The second byte.
        major: u8,
        /// The first byte.
        minor: u8,
    },
    /// A `dwHashAlgo` or `bHashAlgo` that its version does not have ([MS-PCCRC] 2.3, 2.4).
    #[error("hash algorithm {value:#x} does not exist in content information {version}")]
    HashAlgorithm {
        /// The version that was announced.
        version: ContentVersion,
        /// The value in the header.
        value: u32,
    },
    /// No segment is described ([MS-PCCRC] 2.3, 2.4.1.2).
    #[error("content information describes no segment")]
    NoSegment,
    /// `cSegments` is more than the bytes can hold ([MS-PCCRC] 2.3).
    #[error("{count} segments are announced where the bytes have room for {room}")]
    SegmentCount {
        /// What was announced.
        count: u32,
        /// How many descriptions would fit.
        room: usize,
    },
    /// `cbBlockSize` is not 65,536 ([MS-PCCRC] 2.3.1.1).
    #[error("segment {segment} has blocks of {size} bytes instead of 65536")]
    BlockSize {
        /// Which segment.
        segment: usize,
        /// The value.
        size: u32,
    },
    /// `cbSegment` is zero or over the limit, or a version 1 segment before the last is not full
    /// ([MS-PCCRC] 2.3.1.1, 2.4.1.2).
    #[error("segment {segment} of {size} bytes: {}..={} are allowed there", .allowed.0, .allowed.1)]
    SegmentSize {
        /// Which segment.
        segment: usize,
        /// The value.
        size: u32,
        /// The smallest and the largest size at this place.
        allowed: (u32, u32),
    },
    /// The first `ullOffsetInContent` is not a multiple of 32 MiB ([MS-PCCRC] 2.3.1.1).
    #[error("the first segment begins at {offset}, which is no multiple of 33554432")]
    SegmentAlignment {
        /// The value.
        offset: u64,
    },
    /// `ullOffsetInContent` is not where the segment before ends ([MS-PCCRC] 2.3.1.1).
    #[error("segment {segment} begins at {offset} instead of {expected}")]
    SegmentOffset {
        /// Which segment.
        segment: usize,
        /// The value.
        offset: u64,
        /// Where the segment before ends.
        expected: u64,
    },
    /// A segment ends beyond [`MAX_CONTENT_LENGTH`].
    #[error("segment {segment} ends beyond 2^63 bytes")]
    ContentLength {
        /// Which segment.
        segment: usize,
    },
    /// `dwOffsetInFirstSegment` is not inside the first segment ([MS-PCCRC] 2.3, 2.4).
    #[error("the range begins at byte {offset} of a first segment of {size} bytes")]
    OffsetInFirstSegment {
        /// The value.
        offset: u32,
        /// The first segment's size.
        size: u32,
    },
    /// The range ends beyond the last segment ([MS-PCCRC] 2.3, 2.4).
    #[error("a range of {length} bytes begins {available} bytes before the end of the last segment")]
    RangeEnd {
        /// The value in the header, counted as its version demands.
        length: u64,
        /// The largest value that would do.
        available: u64,
    },
    /// `cBlocks` is none of the counts that the range allows ([MS-PCCRC] 2.3.1.2).
    #[error("segment {segment} lists {count} blocks; its range covers blocks {first} to {last} of {total}")]
    BlockCount {
        /// Which segment.
        segment: usize,
        /// The value.
        count: u32,
        /// The first block that has bytes in the range.
        first: u32,
        /// The last block that has bytes in the range.
        last: u32,
        /// How many blocks the segment has.
        total: u32,
    },
    /// A complete list of block hashes does not hash to HoD ([MS-PCCRC] 2.2).
    #[error("the block hashes of segment {segment} do not hash to its hash of data")]
    HashOfData {
        /// Which segment.
        segment: usize,
    },
    /// `bChunkType` is not zero ([MS-PCCRC] 2.4.1.1).
    #[error("the chunk at offset {offset} has type {value} instead of 0")]
    ChunkType {
        /// Where the chunk begins.
        offset: usize,
        /// The value.
        value: u8,
    },
    /// `dwChunkDataLength` is zero or no multiple of 68 ([MS-PCCRC] 2.4.1.1, 2.4.1.2).
    #[error("the chunk at offset {offset} has {length} bytes of data, not a positive multiple of 68")]
    ChunkLength {
        /// Where the chunk begins.
        offset: usize,
        /// The value.
        length: u32,
    },
    /// `dwChunkDataLength` is more than what is left ([MS-PCCRC] 2.4.1.1).
    #[error("the chunk at offset {offset} has {length} bytes of data where {left} are left")]
    ChunkOverrun {
        /// Where the chunk begins.
        offset: usize,
        /// The value.
        length: u32,
        /// How many bytes follow the chunk's header.
        left: usize,
    },
    /// Bytes follow the structure.
    #[error("content information is followed by something else: {0}")]
    TrailingBytes(#[from] TrailingBytes),
}
