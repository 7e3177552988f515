//! The server's side: what to do with the body of a POST ([MS-PCCRR] 3.2.5).

use std::time::Duration;

use super::header::{MessageError, MessageHeader};
use super::request::{GetBlkList, GetBlks, GetSegList, Request, RequestId, RequestMessage};
use super::response::{BlkList, Response, ResponseMessage, SegList, SegmentRange};
use super::{BlkTail, ExtensibleBlob, MAX_REQUEST_SIZE, VersionRange, blk_head, empty_blk};
use crate::content::{BlockIndex, BlockRanges, CryptoAlgoId, SegmentId};
use crate::wire::Reader;

/// What a request leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Send this body. It does not count as an upload.
    Reply(Vec<u8>),
    /// Take an upload permit and look it up; without a permit send [`Lookup::empty_answer`].
    Lookup(Lookup),
    /// The request has no answer ([MS-PCCRR] 3.2.5.5).
    Discard(MessageError),
}

/// What has to be looked up to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// MSG_GETBLKS.
    Block(BlockLookup),
    /// MSG_GETBLKLIST.
    BlockList(BlockListLookup),
    /// MSG_GETSEGLIST.
    SegmentList(SegmentListLookup),
}

/// A block asked for: the smallest index where a client asks for several ([MS-PCCRR] 3.2.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLookup {
    /// The segment.
    pub segment_id: SegmentId,
    /// The block.
    pub index: BlockIndex,
}

/// Blocks asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockListLookup {
    /// The segment.
    pub segment_id: SegmentId,
    /// The blocks.
    pub blocks: BlockRanges,
}

/// Segments asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentListLookup {
    request_id: RequestId,
    /// The segments; an answer names them by their position.
    pub segment_ids: Vec<SegmentId>,
}

/// Judges a request in the order of [MS-PCCRR] 3.2.5: size, version, type, fields. `own` are the versions spoken.
pub fn decide(message: &[u8], own: VersionRange) -> Decision {
    judge(message, own).unwrap_or_else(Decision::Discard)
}

fn judge(message: &[u8], own: VersionRange) -> Result<Decision, MessageError> {
    let mut reader = Reader::new(message);
    let header = MessageHeader::parse(&mut reader, MAX_REQUEST_SIZE)?;
    if let Ok(message_type) = header.message_type()
        && !message_type.is_request()
    {
        return Err(MessageError::WrongDirection(message_type));
    }
    let versions = || Decision::Reply(emit(Response::NegoResp(own)));
    if !own.contains(header.version) {
        return Ok(versions());
    }
    Ok(match RequestMessage::parse_body(&header, reader)?.request {
        Request::NegoReq(_) => versions(),
        Request::GetBlks(request) => judge_block(&request),
        Request::GetBlkList(request) => {
            let GetBlkList { segment_id, .. } = request;
            Decision::Lookup(Lookup::BlockList(BlockListLookup { segment_id, blocks: request.blocks() }))
        }
        Request::GetSegList(GetSegList { request_id, segment_ids, .. }) => {
            Decision::Lookup(Lookup::SegmentList(SegmentListLookup { request_id, segment_ids }))
        }
    })
}

fn judge_block(request: &GetBlks) -> Decision {
    let GetBlks { segment_id, ranges } = request;
    match ranges.iter().filter(|range| range.count > 0).map(|range| range.index).min() {
        Some(index) => Decision::Lookup(Lookup::Block(BlockLookup { segment_id: *segment_id, index })),
        // Ranges without blocks are answered without one.
        None => {
            let index = ranges.iter().map(|range| range.index).min().unwrap_or(0);
            Decision::Reply(empty_blk(segment_id, index, 0))
        }
    }
}

impl Lookup {
    /// The answer "nothing here", which also means "too busy" ([MS-PCCRR] 3.2.5.2 to 3.2.5.4).
    #[must_use]
    pub fn empty_answer(&self) -> Vec<u8> {
        match self {
            Self::Block(lookup) => lookup.empty_answer(None),
            Self::BlockList(lookup) => lookup.answer(&BlockRanges::new()),
            Self::SegmentList(lookup) => lookup.answer(|_| false, |_| None),
        }
    }
}

impl BlockLookup {
    /// The head of the answer with this block; the tail's bytes follow it. `next` is the segment's next block that is
    /// held after this one.
    #[must_use]
    pub fn head(&self, next: Option<BlockIndex>, tail: &BlkTail) -> Vec<u8> {
        blk_head(&self.segment_id, self.index, next.unwrap_or(0), tail)
    }

    /// The answer without a block.
    #[must_use]
    pub fn empty_answer(&self, next: Option<BlockIndex>) -> Vec<u8> {
        empty_blk(&self.segment_id, self.index, next.unwrap_or(0))
    }
}

impl BlockListLookup {
    /// The answer: those of the blocks that are held, as sorted and merged ranges.
    #[must_use]
    pub fn answer(&self, held: &BlockRanges) -> Vec<u8> {
        let ranges = self.blocks.intersection(held);
        emit(Response::BlkList(BlkList { segment_id: self.segment_id, ranges, next: 0 }))
    }
}

impl SegmentListLookup {
    /// The answer: the positions of the segments of which something is held, with the ages that are known.
    #[must_use]
    pub fn answer(
        &self,
        is_held: impl Fn(&SegmentId) -> bool,
        age: impl Fn(&SegmentId) -> Option<Duration>,
    ) -> Vec<u8> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        let mut ages = Vec::new();
        for (position, id) in (0..).zip(&self.segment_ids) {
            if !is_held(id) {
                continue;
            }
            match runs.last_mut() {
                Some((index, count)) if *index + *count == position => *count += 1,
                _ => runs.push((position, 1)),
            }
            let base = runs.first().map_or(0, |(index, _)| *index);
            if let (Ok(offset), Some(age)) = (u8::try_from(position - base), age(id)) {
                ages.push((offset, age));
            }
        }
        let ranges = runs.into_iter().filter_map(|(index, count)| SegmentRange::new(index, count)).collect();
        let blob = (!ages.is_empty()).then(|| ExtensibleBlob::new(ages));
        emit(Response::SegList(SegList { request_id: self.request_id, ranges, blob }))
    }
}

fn emit(response: Response) -> Vec<u8> {
    ResponseMessage::new(response, CryptoAlgoId::Aes128).emit()
}
