//! The four requests ([MS-PCCRR] 2.2.4).

use super::blob::ExtensibleBlob;
use super::header::{self, MAX_BLOCK_RANGES, MESSAGE_HEADER_SIZE, MessageError, MessageHeader, MessageType};
use super::{MAX_REQUEST_SIZE, ProtocolVersion, VersionRange};
use crate::content::{BlockRange, BlockRanges, CryptoAlgoId, MAX_BLOCKS_PER_SEGMENT, SegmentId};
use crate::wire::{Put, Reader};

/// The fewest bytes that a segment id takes in a list: its size, one byte and the padding.
const MIN_SEGMENT_ID_FIELD: usize = 8;
/// The most segment ids that fit into one MSG_GETSEGLIST.
pub const MAX_SEGMENT_IDS: u32 = ((MAX_REQUEST_SIZE - MESSAGE_HEADER_SIZE - 16 - 4 - 4) / MIN_SEGMENT_ID_FIELD) as u32;

/// A message that a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// MSG_NEGO_REQ ([MS-PCCRR] 2.2.4.1): the versions that the client speaks.
    NegoReq(VersionRange),
    /// MSG_GETBLKLIST ([MS-PCCRR] 2.2.4.2).
    GetBlkList(GetBlkList),
    /// MSG_GETBLKS ([MS-PCCRR] 2.2.4.3).
    GetBlks(GetBlks),
    /// MSG_GETSEGLIST ([MS-PCCRR] 2.2.4.4).
    GetSegList(GetSegList),
}

/// MSG_GETBLKLIST ([MS-PCCRR] 2.2.4.2): which of these blocks do you hold?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetBlkList {
    /// The segment.
    pub segment_id: SegmentId,
    /// NeededBlockRanges, as they came: unsorted, overlapping and empty ones are understood.
    pub ranges: Vec<RequestedRange>,
}

/// MSG_GETBLKS ([MS-PCCRR] 2.2.4.3): send this block. DataForVrfBlock is skipped and never sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetBlks {
    /// The segment.
    pub segment_id: SegmentId,
    /// ReqBlockRanges: one range of one block from senders that follow the document.
    pub ranges: Vec<RequestedRange>,
}

/// MSG_GETSEGLIST ([MS-PCCRR] 2.2.4.4): which of these segments do you hold?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetSegList {
    /// Chosen by the client, echoed by the server.
    pub request_id: RequestId,
    /// The segments, at least one; answers name them by their position.
    pub segment_ids: Vec<SegmentId>,
    /// Ages of segments; an unreadable blob counts as none ([MS-PCCRR] 2.2.6).
    pub blob: Option<ExtensibleBlob>,
}

/// RequestID ([MS-PCCRR] 2.2.4.4): 16 opaque bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub [u8; 16]);

/// A BLOCK_RANGE in a request. Unlike [`BlockRange`] it may be empty or leave the segment: such requests have answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedRange {
    /// The first block.
    pub index: u32,
    /// How many blocks.
    pub count: u32,
}

impl From<BlockRange> for RequestedRange {
    fn from(range: BlockRange) -> Self {
        Self { index: range.index(), count: range.count() }
    }
}

impl RequestedRange {
    /// The blocks of the range that a segment can have.
    pub(super) fn blocks(self) -> impl Iterator<Item = u32> {
        self.index..self.index.saturating_add(self.count).min(MAX_BLOCKS_PER_SEGMENT)
    }
}

/// A request with what its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestMessage {
    /// ProtVer.
    pub version: ProtocolVersion,
    /// CryptoAlgoId: the cipher that the client would like; the server may choose another.
    pub algorithm: CryptoAlgoId,
    /// The body.
    pub request: Request,
}

impl Request {
    /// MsgType.
    #[must_use]
    pub fn message_type(&self) -> MessageType {
        match self {
            Self::NegoReq(_) => MessageType::NegoReq,
            Self::GetBlkList(_) => MessageType::GetBlkList,
            Self::GetBlks(_) => MessageType::GetBlks,
            Self::GetSegList(_) => MessageType::GetSegList,
        }
    }
}

impl RequestMessage {
    /// A request under the version that its type is sent with ([MS-PCCRR] 2.2.3).
    #[must_use]
    pub fn new(request: Request, algorithm: CryptoAlgoId) -> Self {
        Self { version: request.message_type().version(), algorithm, request }
    }

    /// Reads a whole request, the body of a POST. Its version is not judged.
    pub fn parse(message: &[u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(message);
        let header = MessageHeader::parse(&mut reader, MAX_REQUEST_SIZE)?;
        Self::parse_body(&header, reader)
    }

    pub(super) fn parse_body(header: &MessageHeader, mut reader: Reader<'_>) -> Result<Self, MessageError> {
        let message_type = header.message_type()?;
        let request = match message_type {
            MessageType::NegoReq => Request::NegoReq(versions(&mut reader)?),
            MessageType::GetBlkList => {
                let segment_id = header::segment_id(&mut reader)?;
                Request::GetBlkList(GetBlkList { segment_id, ranges: requested_ranges(&mut reader)? })
            }
            MessageType::GetBlks => {
                let segment_id = header::segment_id(&mut reader)?;
                let ranges = requested_ranges(&mut reader)?;
                header::sized(&mut reader)?;
                Request::GetBlks(GetBlks { segment_id, ranges })
            }
            MessageType::GetSegList => Request::GetSegList(GetSegList::parse(&mut reader)?),
            _ => return Err(MessageError::WrongDirection(message_type)),
        };
        let algorithm = header.algorithm()?;
        header::finish(reader)?;
        Ok(Self { version: header.version, algorithm, request })
    }

    /// The whole message.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match &self.request {
            Request::NegoReq(versions) => put_versions(&mut body, *versions),
            Request::GetBlkList(GetBlkList { segment_id, ranges }) => {
                header::put_segment_id(&mut body, segment_id);
                put_requested_ranges(&mut body, ranges);
            }
            Request::GetBlks(GetBlks { segment_id, ranges }) => {
                header::put_segment_id(&mut body, segment_id);
                put_requested_ranges(&mut body, ranges);
                body.put_u32_be(0);
            }
            Request::GetSegList(list) => list.emit(&mut body),
        }
        let mut message = Vec::with_capacity(MESSAGE_HEADER_SIZE + body.len());
        header::put_header(&mut message, self.version, self.request.message_type(), body.len(), self.algorithm);
        message.put(&body);
        message
    }
}

impl GetBlkList {
    /// The blocks asked for that a segment can have, as a set.
    #[must_use]
    pub fn blocks(&self) -> BlockRanges {
        self.ranges.iter().flat_map(|range| range.blocks()).collect()
    }
}

impl GetSegList {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, MessageError> {
        let request_id = RequestId(reader.take_array()?);
        let count = header::count(reader, MAX_SEGMENT_IDS, MIN_SEGMENT_ID_FIELD)?;
        if count == 0 {
            return Err(MessageError::NoSegmentIds);
        }
        let mut segment_ids = Vec::with_capacity(count as usize);
        for _ in 0..count {
            segment_ids.push(header::segment_id(reader)?);
        }
        let blob = ExtensibleBlob::parse(header::sized(reader)?).ok();
        Ok(Self { request_id, segment_ids, blob })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.put(&self.request_id.0);
        out.put_u32_be(self.segment_ids.len() as u32);
        for id in &self.segment_ids {
            header::put_segment_id(out, id);
        }
        put_blob(out, self.blob.as_ref());
    }
}

/// SizeOfExtensibleBlob and ExtensibleBlob.
pub(super) fn put_blob(out: &mut Vec<u8>, blob: Option<&ExtensibleBlob>) {
    let bytes = blob.map(ExtensibleBlob::emit).unwrap_or_default();
    out.put_u32_be(bytes.len() as u32);
    out.put(&bytes);
}

/// MinSupportedProtocolVersion and MaxSupportedProtocolVersion ([MS-PCCRR] 2.2.4.1, 2.2.5.1).
pub(super) fn versions(reader: &mut Reader<'_>) -> Result<VersionRange, MessageError> {
    let min = ProtocolVersion::from_wire(reader.u32_be()?);
    let max = ProtocolVersion::from_wire(reader.u32_be()?);
    Ok(VersionRange { min, max })
}

pub(super) fn put_versions(out: &mut Vec<u8>, versions: VersionRange) {
    out.put_u32_be(versions.min.to_wire());
    out.put_u32_be(versions.max.to_wire());
}

fn requested_ranges(reader: &mut Reader<'_>) -> Result<Vec<RequestedRange>, MessageError> {
    let count = header::count(reader, MAX_BLOCK_RANGES, 8)?;
    let mut ranges = Vec::with_capacity(count as usize);
    for _ in 0..count {
        ranges.push(RequestedRange { index: reader.u32_be()?, count: reader.u32_be()? });
    }
    Ok(ranges)
}

fn put_requested_ranges(out: &mut Vec<u8>, ranges: &[RequestedRange]) {
    out.put_u32_be(ranges.len() as u32);
    for range in ranges {
        out.put_u32_be(range.index);
        out.put_u32_be(range.count);
    }
}
