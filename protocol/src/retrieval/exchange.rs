//! The client's side of one request and its response ([MS-PCCRR] 3.1).

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use super::header::{MessageError, MessageType, segment_id_field_size};
use super::request::{GetBlkList, GetBlks, GetSegList, Request, RequestId, RequestMessage, RequestedRange};
use super::response::{Blk, BlkList, Response, ResponseMessage, SegList};
use super::{MAX_REQUEST_SIZE, MESSAGE_HEADER_SIZE, ProtocolVersion, VersionRange};
use crate::content::{BlockIndex, BlockRange, BlockRanges, CryptoAlgoId, EncryptedBlock, SegmentId};

/// An entry of the Outstanding Request List ([MS-PCCRR] 3.1.1): a request, and the check of what answers it.
///
/// One exchange is one POST. The address that it goes to is the caller's to keep.
#[derive(Debug, Clone)]
pub struct Exchange {
    request: RequestMessage,
    body: Bytes,
}

/// What a peer answered, once it is known to answer the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The block, still encrypted and not verified, and the first block that the peer holds after it (0 for none).
    Block(EncryptedBlock, BlockIndex),
    /// No block: the peer does not hold it or is too busy; from a peer known to hold it, it is busy
    /// ([MS-PCCRR] 3.2.5.3).
    Empty,
    /// The blocks held among those asked for, and NextBlockIndex, which has no agreed meaning here.
    BlockList {
        /// Blocks held.
        ranges: BlockRanges,
        /// NextBlockIndex.
        next: BlockIndex,
    },
    /// The segments of which something is held, in the order they were asked for, with their ages where they came.
    SegmentList {
        /// Segments held and the time since each entered the peer's cache.
        held: Vec<(SegmentId, Option<Duration>)>,
    },
    /// The versions that the peer speaks: the answer to MSG_NEGO_REQ, or to any request under a version it does not
    /// speak. [`Exchange::renegotiated`] is what comes next.
    Negotiate(VersionRange),
}

/// Why a response was refused. Each is the peer's fault and ends the exchange ([MS-PCCRR] 3.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rejection {
    /// It is no response message.
    #[error("malformed response: {0}")]
    Malformed(#[from] MessageError),
    /// It answers another kind of request.
    #[error("{got:?} in answer to {sent:?}")]
    WrongType {
        /// The request's type.
        sent: MessageType,
        /// The response's type.
        got: MessageType,
    },
    /// It speaks of another segment.
    #[error("the response names segment {got}")]
    WrongSegmentId {
        /// The response's segment.
        got: SegmentId,
    },
    /// It carries another block.
    #[error("block {got} in answer to a request for block {asked}")]
    WrongBlockIndex {
        /// The request's block.
        asked: BlockIndex,
        /// The response's block.
        got: BlockIndex,
    },
    /// The ciphertext is no whole number of cipher blocks.
    #[error("{size} bytes of ciphertext are no whole number of cipher blocks")]
    PartialCipherBlock {
        /// The ciphertext's length.
        size: usize,
    },
    /// It lists blocks, but none that was asked for.
    #[error("the listed blocks are none of those asked for")]
    NoOverlap,
    /// It answers another segment list request.
    #[error("the response carries another request id")]
    WrongRequestId,
    /// It lists positions beyond the list that was sent.
    #[error("position {position} in answer to a request for {asked} segments")]
    PositionOutOfRange {
        /// The last position of the offending range.
        position: u32,
        /// How many ids were sent.
        asked: usize,
    },
}

/// A segment list request would exceed [`MAX_REQUEST_SIZE`] or name no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{count} segment ids do not make a segment list request")]
pub struct TooManySegmentIds {
    /// How many ids were given.
    pub count: usize,
}

impl Exchange {
    /// Asks for one block ([MS-PCCRR] 3.1.4.3). `algorithm` is a wish; the answer names what was used.
    #[must_use]
    pub fn get_block(segment_id: SegmentId, index: BlockIndex, algorithm: CryptoAlgoId) -> Self {
        let ranges = vec![RequestedRange { index, count: 1 }];
        Self::new(RequestMessage::new(Request::GetBlks(GetBlks { segment_id, ranges }), algorithm))
    }

    /// Asks which of these blocks the peer holds ([MS-PCCRR] 3.1.4.2).
    #[must_use]
    pub fn get_block_list(segment_id: SegmentId, blocks: &BlockRanges) -> Self {
        let ranges = blocks.ranges().map(BlockRange::into).collect();
        Self::with_default_cipher(Request::GetBlkList(GetBlkList { segment_id, ranges }))
    }

    /// Asks a hosted cache which of these segments it holds ([MS-PCCRR] 3.1.4.4). `request_id` is never used twice.
    pub fn get_segment_list(request_id: RequestId, segment_ids: Vec<SegmentId>) -> Result<Self, TooManySegmentIds> {
        let fields: usize = segment_ids.iter().map(segment_id_field_size).sum();
        if segment_ids.is_empty() || MESSAGE_HEADER_SIZE + 16 + 4 + fields + 4 > MAX_REQUEST_SIZE {
            return Err(TooManySegmentIds { count: segment_ids.len() });
        }
        Ok(Self::with_default_cipher(Request::GetSegList(GetSegList { request_id, segment_ids, blob: None })))
    }

    /// Asks for the peer's versions ([MS-PCCRR] 3.1.4.1). Never needed before another request.
    #[must_use]
    pub fn negotiate(own: VersionRange) -> Self {
        Self::with_default_cipher(Request::NegoReq(own))
    }

    fn with_default_cipher(request: Request) -> Self {
        Self::new(RequestMessage::new(request, CryptoAlgoId::Aes128))
    }

    fn new(request: RequestMessage) -> Self {
        let body = request.emit().into();
        Self { request, body }
    }

    /// The same request under the version that both sides speak, after [`Answer::Negotiate`]; `None` where there is no
    /// such version ([MS-PCCRR] 3.1.5.1), or it does not have the request. To be sent once only.
    #[must_use]
    pub fn renegotiated(&self, own: VersionRange, theirs: VersionRange) -> Option<Self> {
        let version: ProtocolVersion = own.negotiate(theirs)?;
        // Version 1 has no list of segments: a server of it would discard the request.
        if version.major < ProtocolVersion::V2.major && self.message_type() == MessageType::GetSegList {
            return None;
        }
        Some(Self::new(RequestMessage { version, ..self.request.clone() }))
    }

    /// The request's type.
    #[must_use]
    pub fn message_type(&self) -> MessageType {
        self.request.request.message_type()
    }

    /// The body of the POST.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Checks the body of an answer against the request ([MS-PCCRR] 3.1.5). Sizes, types, ids and indexes are the
    /// peer's claims and checked here; the block's hash is for [`EncryptedBlock::open`] to check.
    pub fn accept(&self, body: &Bytes) -> Result<Answer, Rejection> {
        let ResponseMessage { algorithm, response, .. } = ResponseMessage::parse(body)?;
        match (&self.request.request, response) {
            (_, Response::NegoResp(versions)) => Ok(Answer::Negotiate(versions)),
            (Request::GetBlks(asked), Response::Blk(blk)) => accept_block(asked, &blk, algorithm),
            (Request::GetBlkList(asked), Response::BlkList(list)) => accept_block_list(asked, &list),
            (Request::GetSegList(asked), Response::SegList(list)) => accept_segment_list(asked, &list),
            (asked, response) => Err(Rejection::WrongType { sent: asked.message_type(), got: response.message_type() }),
        }
    }
}

fn accept_block(asked: &GetBlks, blk: &Blk, algorithm: CryptoAlgoId) -> Result<Answer, Rejection> {
    if blk.segment_id != asked.segment_id {
        return Err(Rejection::WrongSegmentId { got: blk.segment_id });
    }
    let index = asked.ranges.first().map_or(0, |range| range.index);
    let block = blk.encrypted_block(algorithm);
    // Some servers say "not held" under index 0 whatever was asked.
    if blk.index != index && !(block.is_none() && blk.index == 0) {
        return Err(Rejection::WrongBlockIndex { asked: index, got: blk.index });
    }
    let Some(block) = block else { return Ok(Answer::Empty) };
    let size = block.data.len();
    if algorithm != CryptoAlgoId::None && !size.is_multiple_of(crate::content::AES_IV_SIZE) {
        return Err(Rejection::PartialCipherBlock { size });
    }
    Ok(Answer::Block(block, blk.next))
}

fn accept_block_list(asked: &GetBlkList, list: &BlkList) -> Result<Answer, Rejection> {
    if list.segment_id != asked.segment_id {
        return Err(Rejection::WrongSegmentId { got: list.segment_id });
    }
    let ranges = list.ranges.intersection(&asked.blocks());
    if ranges.is_empty() && !list.ranges.is_empty() {
        return Err(Rejection::NoOverlap);
    }
    Ok(Answer::BlockList { ranges, next: list.next })
}

fn accept_segment_list(asked: &GetSegList, list: &SegList) -> Result<Answer, Rejection> {
    if list.request_id != asked.request_id {
        return Err(Rejection::WrongRequestId);
    }
    let asked = &asked.segment_ids;
    // Where ranges begin and end, so that many overlapping ones cost no more than their number.
    let mut edges = vec![0_i32; asked.len() + 1];
    for range in &list.ranges {
        let positions = range.positions();
        let out_of_range = Rejection::PositionOutOfRange { position: positions.end - 1, asked: asked.len() };
        let end = edges.get_mut(positions.end as usize).ok_or(out_of_range)?;
        *end -= 1;
        let start = edges.get_mut(positions.start as usize).ok_or(out_of_range)?;
        *start += 1;
    }
    let base = list.ranges.first().map_or(0, |range| range.index() as usize);
    let mut ages = [None; 256];
    for (index, age) in list.blob.iter().flat_map(|blob| blob.ages()) {
        if let Some(slot) = ages.get_mut(usize::from(index)) {
            *slot = Some(age);
        }
    }
    let age = |position: usize| *ages.get(position.checked_sub(base)?)?;
    let mut depth = 0;
    let mut held = Vec::new();
    for (position, (id, edge)) in asked.iter().zip(edges).enumerate() {
        depth += edge;
        if depth > 0 {
            held.push((*id, age(position)));
        }
    }
    Ok(Answer::SegmentList { held })
}
