//! The three requests ([MS-PCHC] 2.2.1). All integers are big-endian; content information inside is not.

use bytes::Bytes;
use thiserror::Error;

use super::{ContentTag, MAX_MESSAGE_SIZE, Version};
use crate::content::{MAX_BLOCK_SIZE, MAX_BLOCKS_PER_SEGMENT, OfferedSegment, ParseError, Segment, SegmentId, v1};
use crate::crypto::HashAlgorithm;
use crate::wire::{Put, Reader, Truncated};

/// The most SegmentDescriptors in a BATCHED_OFFER_MESSAGE ([MS-PCHC] 2.2.1.5).
pub const MAX_SEGMENT_DESCRIPTORS: usize = 128;

/// MESSAGE_HEADER and CONNECTION_INFORMATION.
const PREFIX_SIZE: usize = 16;
const DESCRIPTOR_SIZE: usize = 59;
const TAG_SIZE: usize = 16;

const INITIAL_OFFER: u16 = 1;
const SEGMENT_INFO: u16 = 2;
const BATCHED_OFFER: u16 = 3;

/// An offer as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// INITIAL_OFFER_MESSAGE, version 1.0.
    Initial(InitialOffer),
    /// SEGMENT_INFO_MESSAGE, version 1.0.
    SegmentInfo(SegmentInfo),
    /// BATCHED_OFFER_MESSAGE, version 2.0.
    Batched(BatchedOffer),
}

/// INITIAL_OFFER_MESSAGE ([MS-PCHC] 2.2.1.3): a segment is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialOffer {
    /// The TCP port of the client's retrieval server.
    pub port: u16,
    /// HoHoDk, of 32, 48 or 64 bytes.
    pub segment_id: SegmentId,
}

/// SEGMENT_INFO_MESSAGE ([MS-PCHC] 2.2.1.4): what one needs to fetch and verify the segment.
#[derive(Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The TCP port of the client's retrieval server.
    pub port: u16,
    /// Whose content it is.
    pub content_tag: ContentTag,
    /// SegmentInformation as it came. It contains the segment's secret.
    pub segment_information: Bytes,
}

/// BATCHED_OFFER_MESSAGE ([MS-PCHC] 2.2.1.5): several segments are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchedOffer {
    /// The TCP port of the client's retrieval server.
    pub port: u16,
    /// The segments: 1 to [`MAX_SEGMENT_DESCRIPTORS`].
    pub segments: Vec<SegmentDescriptor>,
}

/// A SegmentDescriptor ([MS-PCHC] 2.2.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentDescriptor {
    /// Bytes in every block but the last.
    pub block_size: u32,
    /// Bytes in the segment.
    pub segment_size: u32,
    /// Whose content it is.
    pub content_tag: ContentTag,
    /// HashAlgorithm as it came: 0x01 SHA-256, 0x04 truncated SHA-512.
    pub hash_algorithm: u8,
    /// HoHoDk, of 32 bytes.
    pub segment_id: SegmentId,
}

/// Why bytes are no offer at the path they were sent to. There is no answer to it ([MS-PCHC] 3.1.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OfferError {
    /// More than [`MAX_MESSAGE_SIZE`].
    #[error("an offer of {size} bytes is larger than the {MAX_MESSAGE_SIZE} that are accepted")]
    TooLarge {
        /// Bytes that came.
        size: usize,
    },
    /// The header's version is not that of the path ([MS-PCHC] 1.7).
    #[error("version {major}.{minor} at the path of version {expected}")]
    Version {
        /// The second byte.
        major: u8,
        /// The first byte.
        minor: u8,
        /// The path's.
        expected: Version,
    },
    /// A Type that the version does not have.
    #[error("type {value:#06x} does not exist in version {version}")]
    UnknownType {
        /// The header's version.
        version: Version,
        /// The field's value.
        value: u16,
    },
    /// The Hash of an INITIAL_OFFER is no SHA-256, SHA-384 or SHA-512.
    #[error("a segment id of {size} bytes")]
    SegmentIdSize {
        /// Bytes behind the header.
        size: usize,
    },
    /// No descriptor, or more than [`MAX_SEGMENT_DESCRIPTORS`].
    #[error("{count} segment descriptors where 1 to {MAX_SEGMENT_DESCRIPTORS} are allowed")]
    DescriptorCount {
        /// How many there are.
        count: usize,
    },
    /// SizeOfContentTag is not 16.
    #[error("a content tag of {size} bytes in descriptor {index}")]
    ContentTagSize {
        /// Which descriptor.
        index: usize,
        /// The field's value.
        size: u16,
    },
    /// The message is cut off.
    #[error(transparent)]
    Truncated(#[from] Truncated),
}

impl OfferError {
    /// The reason as a short name, for counters.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Version { .. } => "version",
            Self::UnknownType { .. } => "unknown_type",
            Self::SegmentIdSize { .. } => "segment_id_size",
            Self::DescriptorCount { .. } => "descriptor_count",
            Self::ContentTagSize { .. } => "content_tag_size",
            Self::Truncated(_) => "truncated",
        }
    }
}

/// Why a segment of a well-framed offer leads to nothing. The answer is OK all the same ([MS-PCHC] 3.1.5.2, 3.1.5.3).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Ignored {
    /// SegmentInformation is no content information of version 1.0 with one segment.
    #[error("the segment information is bad: {0}")]
    SegmentInformation(#[from] ParseError),
    /// HashAlgorithm is none of the two.
    #[error("unknown hash algorithm {0:#04x}")]
    HashAlgorithm(u8),
    /// A segment that is empty or larger than its version allows.
    #[error("a segment of {0} bytes")]
    SegmentSize(u32),
    /// A block size with which the segment has no or too many blocks, or too large ones.
    #[error("blocks of {block_size} bytes in a segment of {segment_size}")]
    BlockSize {
        /// BlockSize.
        block_size: u32,
        /// SegmentSize.
        segment_size: u32,
    },
}

impl Ignored {
    /// The reason as a short name, for counters.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SegmentInformation(_) => "segment_information",
            Self::HashAlgorithm(_) => "hash_algorithm",
            Self::SegmentSize(_) => "segment_size",
            Self::BlockSize { .. } => "block_size",
        }
    }
}

impl Offer {
    /// Reads an offer that came to the path of `version`.
    pub fn parse(version: Version, bytes: &Bytes) -> Result<Self, OfferError> {
        if bytes.len() > MAX_MESSAGE_SIZE {
            return Err(OfferError::TooLarge { size: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let [minor, major] = reader.take_array()?;
        if [minor, major] != version.to_wire() {
            return Err(OfferError::Version { major, minor, expected: version });
        }
        let message_type = reader.u16_be()?;
        reader.take(4)?;
        let port = reader.u16_be()?;
        reader.take(6)?;
        match (version, message_type) {
            (Version::V1, INITIAL_OFFER) => InitialOffer::parse(port, &reader).map(Self::Initial),
            (Version::V1, SEGMENT_INFO) => {
                let content_tag = ContentTag(reader.take_array()?);
                let segment_information = bytes.slice_ref(reader.rest());
                Ok(Self::SegmentInfo(SegmentInfo { port, content_tag, segment_information }))
            }
            (Version::V2, BATCHED_OFFER) => BatchedOffer::parse(port, reader).map(Self::Batched),
            (version, value) => Err(OfferError::UnknownType { version, value }),
        }
    }

    /// Writes the offer as it travels.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        match self {
            Self::Initial(offer) => offer.emit(),
            Self::SegmentInfo(offer) => offer.emit(),
            Self::Batched(offer) => offer.emit(),
        }
    }

    /// The version it belongs to, and so the path it is sent to.
    #[must_use]
    pub fn version(&self) -> Version {
        match self {
            Self::Initial(_) | Self::SegmentInfo(_) => Version::V1,
            Self::Batched(_) => Version::V2,
        }
    }

    /// The TCP port of the client's retrieval server.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Initial(InitialOffer { port, .. })
            | Self::SegmentInfo(SegmentInfo { port, .. })
            | Self::Batched(BatchedOffer { port, .. }) => *port,
        }
    }
}

impl InitialOffer {
    fn parse(port: u16, reader: &Reader<'_>) -> Result<Self, OfferError> {
        let hash = reader.rest();
        let is_hash = matches!(hash.len(), 32 | 48 | 64);
        let segment_id = SegmentId::from_slice(hash).filter(|_| is_hash);
        Ok(Self { port, segment_id: segment_id.ok_or(OfferError::SegmentIdSize { size: hash.len() })? })
    }

    fn emit(&self) -> Vec<u8> {
        let mut bytes = prefix(Version::V1, INITIAL_OFFER, self.port);
        bytes.put(self.segment_id.as_bytes());
        bytes
    }
}

impl SegmentInfo {
    /// The message about a segment of version 1 content information.
    #[must_use]
    pub fn new(port: u16, content_tag: ContentTag, segment: &Segment) -> Self {
        Self { port, content_tag, segment_information: OfferedSegment::emit(segment).into() }
    }

    /// The segment that it describes.
    pub fn segment(&self) -> Result<OfferedSegment, Ignored> {
        Ok(OfferedSegment::parse(self.segment_information.clone())?)
    }

    fn emit(&self) -> Vec<u8> {
        let mut bytes = prefix(Version::V1, SEGMENT_INFO, self.port);
        bytes.put(&self.content_tag.0);
        bytes.put(&self.segment_information);
        bytes
    }
}

/// Without the secret.
impl std::fmt::Debug for SegmentInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentInfo")
            .field("port", &self.port)
            .field("content_tag", &self.content_tag)
            .field("segment", &self.segment().map(|segment| segment.id()))
            .finish()
    }
}

impl BatchedOffer {
    fn parse(port: u16, mut reader: Reader<'_>) -> Result<Self, OfferError> {
        let count = reader.left().div_ceil(DESCRIPTOR_SIZE);
        if !(1..=MAX_SEGMENT_DESCRIPTORS).contains(&count) {
            return Err(OfferError::DescriptorCount { count });
        }
        let segments =
            (0..count).map(|index| SegmentDescriptor::parse(index, &mut reader)).collect::<Result<_, _>>()?;
        Ok(Self { port, segments })
    }

    fn emit(&self) -> Vec<u8> {
        let mut bytes = prefix(Version::V2, BATCHED_OFFER, self.port);
        for segment in &self.segments {
            bytes.put_u32_be(segment.block_size);
            bytes.put_u32_be(segment.segment_size);
            bytes.put_u16_be(TAG_SIZE as u16);
            bytes.put(&segment.content_tag.0);
            bytes.put_u8(segment.hash_algorithm);
            bytes.put(segment.segment_id.as_bytes());
        }
        bytes
    }
}

impl SegmentDescriptor {
    /// The descriptor of a segment; `None` where the protocol cannot name its hash.
    #[must_use]
    pub fn new(segment: &Segment, content_tag: ContentTag) -> Option<Self> {
        let hash_algorithm = match segment.algorithm() {
            HashAlgorithm::Sha256 => 0x01,
            HashAlgorithm::TruncatedSha512 => 0x04,
            HashAlgorithm::Sha384 | HashAlgorithm::Sha512 => return None,
        };
        Some(Self {
            block_size: segment.block_size(),
            segment_size: segment.length(),
            content_tag,
            hash_algorithm,
            segment_id: segment.id(),
        })
    }

    /// How many blocks the segment has: 1 to 512. Where its fields contradict the protocol, why it leads to nothing.
    pub fn block_count(&self) -> Result<u32, Ignored> {
        let largest = match self.hash_algorithm {
            0x01 => v1::SEGMENT_SIZE,
            0x04 => MAX_BLOCK_SIZE,
            other => return Err(Ignored::HashAlgorithm(other)),
        };
        let Self { block_size, segment_size, .. } = *self;
        if !(1..=largest).contains(&segment_size) {
            return Err(Ignored::SegmentSize(segment_size));
        }
        let count = if block_size == 0 { 0 } else { segment_size.div_ceil(block_size) };
        if !(1..=MAX_BLOCKS_PER_SEGMENT).contains(&count) || block_size.min(segment_size) > MAX_BLOCK_SIZE {
            return Err(Ignored::BlockSize { block_size, segment_size });
        }
        Ok(count)
    }

    /// How many bytes a block of the segment has.
    #[must_use]
    pub fn block_length(&self, index: u32) -> u32 {
        self.segment_size.saturating_sub(self.block_size.saturating_mul(index)).min(self.block_size)
    }

    fn parse(index: usize, reader: &mut Reader<'_>) -> Result<Self, OfferError> {
        let block_size = reader.u32_be()?;
        let segment_size = reader.u32_be()?;
        let size = reader.u16_be()?;
        if usize::from(size) != TAG_SIZE {
            return Err(OfferError::ContentTagSize { index, size });
        }
        let content_tag = ContentTag(reader.take_array()?);
        let hash_algorithm = reader.u8()?;
        let id = reader.take(32)?;
        let segment_id = SegmentId::from_slice(id).ok_or(OfferError::SegmentIdSize { size: id.len() })?;
        Ok(Self { block_size, segment_size, content_tag, hash_algorithm, segment_id })
    }
}

fn prefix(version: Version, message_type: u16, port: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX_SIZE + DESCRIPTOR_SIZE);
    bytes.put(&version.to_wire());
    bytes.put_u16_be(message_type);
    bytes.put_u32_be(0);
    bytes.put_u16_be(port);
    bytes.put(&[0; 6]);
    bytes
}
