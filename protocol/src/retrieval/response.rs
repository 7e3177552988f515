//! The four responses ([MS-PCCRR] 2.2.5) with their transport header ([MS-PCCRR] 2.2.2).

use bytes::Bytes;

use super::blob::ExtensibleBlob;
use super::header::{
    self, MAX_BLOCK_RANGES, MESSAGE_HEADER_SIZE, MessageError, MessageHeader, MessageType, TRANSPORT_HEADER_SIZE,
};
use super::request::{MAX_SEGMENT_IDS, put_blob, put_versions, versions};
use super::{MAX_RESPONSE_SIZE, ProtocolVersion, RequestId, VersionRange};
use crate::content::{
    AES_IV_SIZE, BlockIndex, BlockRange, BlockRanges, CryptoAlgoId, EncryptedBlock, MAX_BLOCKS_PER_SEGMENT, SegmentId,
};
use crate::wire::{Put, Reader};

/// The most SEGMENT_RANGEs that an answer to the largest request can need.
pub const MAX_SEGMENT_RANGES: u32 = MAX_SEGMENT_IDS;

/// A message that a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// MSG_NEGO_RESP ([MS-PCCRR] 2.2.5.1): the versions that the server speaks.
    NegoResp(VersionRange),
    /// MSG_BLKLIST ([MS-PCCRR] 2.2.5.2).
    BlkList(BlkList),
    /// MSG_BLK ([MS-PCCRR] 2.2.5.3).
    Blk(Blk),
    /// MSG_SEGLIST ([MS-PCCRR] 2.2.5.4).
    SegList(SegList),
}

/// MSG_BLKLIST ([MS-PCCRR] 2.2.5.2): the blocks asked for that the server holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlkList {
    /// The segment.
    pub segment_id: SegmentId,
    /// BlockRanges. Read in any order, written sorted and merged.
    pub ranges: BlockRanges,
    /// NextBlockIndex, without a meaning that two implementations agree on.
    pub next: BlockIndex,
}

/// MSG_BLK ([MS-PCCRR] 2.2.5.3): a block, or none. VrfBlock is skipped and never sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blk {
    /// The segment.
    pub segment_id: SegmentId,
    /// BlockIndex.
    pub index: BlockIndex,
    /// NextBlockIndex: the first block held after this one, 0 for none.
    pub next: BlockIndex,
    /// Block: encrypted as the message's header says; empty where the block is not held.
    pub block: Bytes,
    /// IVBlock.
    pub iv: Option<[u8; AES_IV_SIZE]>,
}

/// MSG_SEGLIST ([MS-PCCRR] 2.2.5.4): the segments asked for of which the server holds something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegList {
    /// The request's id.
    pub request_id: RequestId,
    /// Positions in the request's list of ids.
    pub ranges: Vec<SegmentRange>,
    /// Ages, by position from the first range's first segment on. An unreadable or absent blob is none.
    pub blob: Option<ExtensibleBlob>,
}

/// SEGMENT_RANGE ([MS-PCCRR] 2.2.1.2): `count` positions from `index` on, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRange {
    index: u32,
    count: u32,
}

impl SegmentRange {
    /// `None` where the range is empty or its end is no 32-bit number.
    #[must_use]
    pub fn new(index: u32, count: u32) -> Option<Self> {
        (count > 0 && index.checked_add(count).is_some()).then_some(Self { index, count })
    }

    /// The first position.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many positions, at least one.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// The positions.
    #[must_use]
    pub fn positions(self) -> std::ops::Range<u32> {
        self.index..self.index + self.count
    }
}

/// A response with what its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseMessage {
    /// ProtVer.
    pub version: ProtocolVersion,
    /// CryptoAlgoId: the cipher of MSG_BLK, without a meaning in the others.
    pub algorithm: CryptoAlgoId,
    /// The body.
    pub response: Response,
}

impl Response {
    /// MsgType.
    #[must_use]
    pub fn message_type(&self) -> MessageType {
        match self {
            Self::NegoResp(_) => MessageType::NegoResp,
            Self::BlkList(_) => MessageType::BlkList,
            Self::Blk(_) => MessageType::Blk,
            Self::SegList(_) => MessageType::SegList,
        }
    }
}

impl ResponseMessage {
    /// A response under the version that its type is sent with ([MS-PCCRR] 2.2.3).
    #[must_use]
    pub fn new(response: Response, algorithm: CryptoAlgoId) -> Self {
        Self { version: response.message_type().version(), algorithm, response }
    }

    /// Reads a whole response with its transport header, the body of an HTTP answer. The block shares `body`.
    pub fn parse(body: &Bytes) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        if body.len() < TRANSPORT_HEADER_SIZE + MESSAGE_HEADER_SIZE {
            return Err(MessageError::TooShort { size: body.len() });
        }
        let announced = reader.u32_be()?;
        let size = reader.left();
        if announced as usize != size {
            return Err(MessageError::WrongTransportSize { announced, size });
        }
        let header = MessageHeader::parse(&mut reader, MAX_RESPONSE_SIZE)?;
        let message_type = header.message_type()?;
        let algorithm = header.algorithm()?;
        let response = match message_type {
            MessageType::NegoResp => Response::NegoResp(versions(&mut reader)?),
            MessageType::BlkList => Response::BlkList(BlkList::parse(&mut reader)?),
            MessageType::Blk => Response::Blk(Blk::parse(&mut reader, algorithm, body)?),
            MessageType::SegList => Response::SegList(SegList::parse(&mut reader)?),
            _ => return Err(MessageError::WrongDirection(message_type)),
        };
        header::finish(reader)?;
        Ok(Self { version: header.version, algorithm, response })
    }

    /// The whole message with its transport header.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match &self.response {
            Response::NegoResp(versions) => put_versions(&mut body, *versions),
            Response::BlkList(list) => list.emit(&mut body),
            Response::Blk(blk) => blk.emit(&mut body),
            Response::SegList(list) => list.emit(&mut body),
        }
        let mut message = Vec::with_capacity(TRANSPORT_HEADER_SIZE + MESSAGE_HEADER_SIZE + body.len());
        message.put_u32_be((MESSAGE_HEADER_SIZE + body.len()) as u32);
        header::put_header(&mut message, self.version, self.response.message_type(), body.len(), self.algorithm);
        message.put(&body);
        message
    }
}

impl BlkList {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, MessageError> {
        let segment_id = header::segment_id(reader)?;
        // Senders that do not merge may list every block alone.
        let count = header::count(reader, MAX_BLOCK_RANGES.max(MAX_BLOCKS_PER_SEGMENT), 8)?;
        let mut ranges = BlockRanges::new();
        for _ in 0..count {
            let (index, count) = (reader.u32_be()?, reader.u32_be()?);
            ranges.insert_range(BlockRange::new(index, count).ok_or(MessageError::BadRange { index, count })?);
        }
        Ok(Self { segment_id, ranges, next: reader.u32_be()? })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        header::put_segment_id(out, &self.segment_id);
        out.put_u32_be(self.ranges.ranges().count() as u32);
        for range in self.ranges.ranges() {
            out.put_u32_be(range.index());
            out.put_u32_be(range.count());
        }
        out.put_u32_be(self.next);
    }
}

impl Blk {
    fn parse(reader: &mut Reader<'_>, algorithm: CryptoAlgoId, body: &Bytes) -> Result<Self, MessageError> {
        let segment_id = header::segment_id(reader)?;
        let index = reader.u32_be()?;
        let next = reader.u32_be()?;
        let block = body.slice_ref(header::sized(reader)?);
        header::skip_pad(reader, block.len())?;
        let vrf = header::sized(reader)?;
        header::skip_pad(reader, vrf.len())?;
        let iv = header::sized(reader)?;
        let iv_size = MessageError::IvSize { size: iv.len() as u32 };
        let needed = algorithm != CryptoAlgoId::None && !block.is_empty();
        let iv = match iv {
            [] if !needed => None,
            iv => Some(iv.try_into().map_err(|_| iv_size)?),
        };
        Ok(Self { segment_id, index, next, block, iv })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        header::put_segment_id(out, &self.segment_id);
        out.put_u32_be(self.index);
        out.put_u32_be(self.next);
        out.put_u32_be(self.block.len() as u32);
        out.put(&self.block);
        header::put_pad(out, self.block.len());
        out.put_u32_be(0);
        out.put_u32_be(self.iv.map_or(0, |iv| iv.len() as u32));
        out.put(self.iv.as_ref().map_or(&[], |iv| iv.as_slice()));
    }

    /// The block as it is decrypted and stored, `None` where none came. `algorithm` is the message header's.
    #[must_use]
    pub fn encrypted_block(&self, algorithm: CryptoAlgoId) -> Option<EncryptedBlock> {
        let iv = self.iv.unwrap_or_default();
        (!self.block.is_empty()).then(|| EncryptedBlock { algorithm, iv, data: self.block.clone() })
    }
}

impl SegList {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, MessageError> {
        let request_id = RequestId(reader.take_array()?);
        let count = header::count(reader, MAX_SEGMENT_RANGES, 8)?;
        let mut ranges = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let (index, count) = (reader.u32_be()?, reader.u32_be()?);
            ranges.push(SegmentRange::new(index, count).ok_or(MessageError::BadRange { index, count })?);
        }
        // The 2012 edition of the document has no blob fields here.
        let blob = if reader.left() == 0 { None } else { ExtensibleBlob::parse(header::sized(reader)?).ok() };
        Ok(Self { request_id, ranges, blob })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.put(&self.request_id.0);
        out.put_u32_be(self.ranges.len() as u32);
        for range in &self.ranges {
            out.put_u32_be(range.index);
            out.put_u32_be(range.count);
        }
        put_blob(out, self.blob.as_ref());
    }
}
