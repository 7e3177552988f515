//! MESSAGE_HEADER, TRANSPORT_RESPONSE_HEADER and the fields that several messages share ([MS-PCCRR] 2.2).

use thiserror::Error;

use super::ProtocolVersion;
use crate::content::{CryptoAlgoId, SegmentId};
use crate::wire::{Put, Reader, TrailingBytes, Truncated};

/// The size of MESSAGE_HEADER in bytes ([MS-PCCRR] 2.2.3).
pub const MESSAGE_HEADER_SIZE: usize = 16;
/// The size of TRANSPORT_RESPONSE_HEADER in bytes ([MS-PCCRR] 2.2.2).
pub const TRANSPORT_HEADER_SIZE: usize = 4;
/// The most BLOCK_RANGEs in one message ([MS-PCCRR] 2.2.4.2, 2.2.4.3).
pub const MAX_BLOCK_RANGES: u32 = 256;

/// MsgType ([MS-PCCRR] 2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MessageType {
    /// 0, request ([MS-PCCRR] 2.2.4.1).
    NegoReq = 0,
    /// 1, response ([MS-PCCRR] 2.2.5.1).
    NegoResp = 1,
    /// 2, request ([MS-PCCRR] 2.2.4.2).
    GetBlkList = 2,
    /// 3, request ([MS-PCCRR] 2.2.4.3).
    GetBlks = 3,
    /// 4, response ([MS-PCCRR] 2.2.5.2).
    BlkList = 4,
    /// 5, response ([MS-PCCRR] 2.2.5.3).
    Blk = 5,
    /// 6, request ([MS-PCCRR] 2.2.4.4).
    GetSegList = 6,
    /// 7, response ([MS-PCCRR] 2.2.5.4).
    SegList = 7,
}

impl MessageType {
    const ALL: [Self; 8] = [
        Self::NegoReq,
        Self::NegoResp,
        Self::GetBlkList,
        Self::GetBlks,
        Self::BlkList,
        Self::Blk,
        Self::GetSegList,
        Self::SegList,
    ];

    /// The type of a wire value, `None` for anything above 7.
    #[must_use]
    pub fn from_wire(value: u32) -> Option<Self> {
        Self::ALL.get(value as usize).copied()
    }

    /// The value on the wire.
    #[must_use]
    pub fn to_wire(self) -> u32 {
        self as u32
    }

    /// Whether a client sends it.
    #[must_use]
    pub fn is_request(self) -> bool {
        matches!(self, Self::NegoReq | Self::GetBlkList | Self::GetBlks | Self::GetSegList)
    }

    /// The ProtVer that messages of this type carry, whatever else their sender speaks ([MS-PCCRR] 2.2.3).
    #[must_use]
    pub fn version(self) -> ProtocolVersion {
        match self {
            Self::GetSegList | Self::SegList => ProtocolVersion::V2,
            _ => ProtocolVersion::V1,
        }
    }
}

/// Why bytes are no message of this protocol. Each is the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Fewer bytes than the headers take.
    #[error("{size} bytes are too few for the message header")]
    TooShort {
        /// Bytes that came.
        size: usize,
    },
    /// More bytes than a message of this direction may have ([MS-PCCRR] 2.2.3).
    #[error("{size} bytes are more than the {limit} a message may have")]
    TooLarge {
        /// Bytes that came.
        size: usize,
        /// The limit for this direction.
        limit: usize,
    },
    /// The transport header's Size is not the number of bytes that follow it ([MS-PCCRR] 2.2.2).
    #[error("the transport header announces {announced} bytes, {size} came")]
    WrongTransportSize {
        /// The field's value.
        announced: u32,
        /// Bytes that came.
        size: usize,
    },
    /// MsgSize is not the number of bytes that came ([MS-PCCRR] 2.2.3).
    #[error("the message header announces {announced} bytes, {size} came")]
    WrongMessageSize {
        /// The field's value.
        announced: u32,
        /// Bytes that came.
        size: usize,
    },
    /// MsgType is none of the eight.
    #[error("unknown message type {0}")]
    UnknownType(u32),
    /// A response where a request was due, or the reverse.
    #[error("a {0:?} message in the wrong direction")]
    WrongDirection(MessageType),
    /// CryptoAlgoId is none of the four.
    #[error("unknown cipher {0}")]
    UnknownCipher(u32),
    /// A segment id of no or of more than 64 bytes ([MS-PCCRC] 2.2 has none such).
    #[error("a segment id of {size} bytes")]
    SegmentIdSize {
        /// The field's value.
        size: u32,
    },
    /// A count beyond what the message type allows.
    #[error("{count} elements announced at offset {offset}, {limit} at most")]
    TooMany {
        /// Where the count stands.
        offset: usize,
        /// The field's value.
        count: u32,
        /// The limit.
        limit: u32,
    },
    /// A segment list request that names no segment.
    #[error("a segment list request without segment ids")]
    NoSegmentIds,
    /// A range in a response that is empty or leaves the segment ([MS-PCCRR] 2.2.1.1, 2.2.1.2).
    #[error("a range of {count} from {index} on")]
    BadRange {
        /// The range's first element.
        index: u32,
        /// How many elements it claims.
        count: u32,
    },
    /// An initialisation vector that is neither absent nor 16 bytes, or absent where the cipher needs it.
    #[error("an initialisation vector of {size} bytes")]
    IvSize {
        /// The field's value.
        size: u32,
    },
    /// A field reaches beyond the message.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// Something other than up to three zero bytes follows the last field.
    #[error(transparent)]
    TrailingBytes(#[from] TrailingBytes),
}

impl MessageError {
    /// The reason as a short name, for counters.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::TooLarge { .. } => "too_large",
            Self::WrongTransportSize { .. } => "wrong_transport_size",
            Self::WrongMessageSize { .. } => "wrong_message_size",
            Self::UnknownType(_) => "unknown_type",
            Self::WrongDirection(_) => "wrong_direction",
            Self::UnknownCipher(_) => "unknown_cipher",
            Self::SegmentIdSize { .. } => "segment_id_size",
            Self::TooMany { .. } => "too_many",
            Self::NoSegmentIds => "no_segment_ids",
            Self::BadRange { .. } => "bad_range",
            Self::IvSize { .. } => "iv_size",
            Self::Truncated(_) => "truncated",
            Self::TrailingBytes(_) => "trailing_bytes",
        }
    }
}

/// MESSAGE_HEADER as it stands, before its values mean anything: the version has to be looked at first.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageHeader {
    pub(super) version: ProtocolVersion,
    message_type: u32,
    algorithm: u32,
}

impl MessageHeader {
    /// Takes the header off a whole message of at most `limit` bytes and leaves the body in the reader.
    pub(super) fn parse(reader: &mut Reader<'_>, limit: usize) -> Result<Self, MessageError> {
        let size = reader.left();
        if size < MESSAGE_HEADER_SIZE {
            return Err(MessageError::TooShort { size });
        }
        if size > limit {
            return Err(MessageError::TooLarge { size, limit });
        }
        let version = ProtocolVersion::from_wire(reader.u32_be()?);
        let message_type = reader.u32_be()?;
        let announced = reader.u32_be()?;
        let algorithm = reader.u32_be()?;
        if announced as usize != size {
            return Err(MessageError::WrongMessageSize { announced, size });
        }
        Ok(Self { version, message_type, algorithm })
    }

    pub(super) fn message_type(&self) -> Result<MessageType, MessageError> {
        MessageType::from_wire(self.message_type).ok_or(MessageError::UnknownType(self.message_type))
    }

    pub(super) fn algorithm(&self) -> Result<CryptoAlgoId, MessageError> {
        CryptoAlgoId::from_wire(self.algorithm).ok_or(MessageError::UnknownCipher(self.algorithm))
    }
}

/// How many zero bytes bring the field after `size` bytes to a 4-byte boundary.
pub(super) fn pad(size: usize) -> usize {
    size.wrapping_neg() & 3
}

/// Appends a header; `body` is the number of bytes that will follow it.
pub(super) fn put_header(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    message_type: MessageType,
    body: usize,
    algorithm: CryptoAlgoId,
) {
    out.put_u32_be(version.to_wire());
    out.put_u32_be(message_type.to_wire());
    out.put_u32_be((MESSAGE_HEADER_SIZE + body) as u32);
    out.put_u32_be(algorithm.to_wire());
}

/// Takes the padding that follows a field of `size` bytes. What it holds is not looked at.
pub(super) fn skip_pad(reader: &mut Reader<'_>, size: usize) -> Result<(), Truncated> {
    reader.take(pad(size)).map(|_| ())
}

pub(super) fn put_pad(out: &mut Vec<u8>, size: usize) {
    out.extend(std::iter::repeat_n(0, pad(size)));
}

/// SizeOfSegmentID, SegmentID, ZeroPad.
pub(super) fn segment_id(reader: &mut Reader<'_>) -> Result<SegmentId, MessageError> {
    let size = reader.u32_be()?;
    if size == 0 || size as usize > SegmentId::MAX_SIZE {
        return Err(MessageError::SegmentIdSize { size });
    }
    let bytes = reader.take(size as usize)?;
    skip_pad(reader, bytes.len())?;
    SegmentId::from_slice(bytes).ok_or(MessageError::SegmentIdSize { size })
}

pub(super) fn put_segment_id(out: &mut Vec<u8>, id: &SegmentId) {
    let bytes = id.as_bytes();
    out.put_u32_be(bytes.len() as u32);
    out.put(bytes);
    put_pad(out, bytes.len());
}

/// The bytes that [`put_segment_id`] appends.
pub(super) fn segment_id_field_size(id: &SegmentId) -> usize {
    let size = id.as_bytes().len();
    4 + size + pad(size)
}

/// A count of elements that take at least `element` bytes each: refused before anything is made of it where it is
/// beyond `limit` or the elements cannot be there.
pub(super) fn count(reader: &mut Reader<'_>, limit: u32, element: usize) -> Result<u32, MessageError> {
    let offset = reader.offset();
    let count = reader.u32_be()?;
    if count > limit {
        return Err(MessageError::TooMany { offset, count, limit });
    }
    let needed = count as usize * element;
    if needed > reader.left() {
        return Err(Truncated { offset: reader.offset(), needed, left: reader.left() }.into());
    }
    Ok(count)
}

/// A size and as many bytes, which the caller may ignore.
pub(super) fn sized<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Truncated> {
    let size = reader.u32_be()? as usize;
    reader.take(size)
}

/// Ends a message: senders that pad the last field, too, are tolerated.
pub(super) fn finish(reader: Reader<'_>) -> Result<(), TrailingBytes> {
    if matches!(reader.rest(), [] | [0] | [0, 0] | [0, 0, 0]) { Ok(()) } else { reader.finish() }
}
