//! MS-PCCRR: requests, responses, what a server decides, and what a client makes of an answer.

use std::time::Duration;

use bytes::Bytes;
use peerdist_protocol::content::{BlockRanges, CryptoAlgoId, SegmentId};
use peerdist_protocol::retrieval::{
    Answer, Decision, Exchange, ExtensibleBlob, Lookup, MAX_REQUEST_SIZE, MAX_RESPONSE_SIZE, MAX_SEGMENT_IDS, Request,
    RequestMessage, Response, ResponseMessage, TRANSPORT_HEADER_SIZE, VersionRange, decide,
};

pub(super) fn run(bytes: &[u8]) {
    request(bytes);
    response(&Bytes::copy_from_slice(bytes));
    if let Ok(blob) = ExtensibleBlob::parse(bytes) {
        assert_eq!(ExtensibleBlob::parse(&blob.emit()).as_ref(), Ok(&blob));
        assert_eq!(blob.ages().count(), blob.encoded().len());
    }
}

fn request(bytes: &[u8]) {
    let parsed = RequestMessage::parse(bytes);
    if let Ok(message) = &parsed {
        assert!(bytes.len() <= MAX_REQUEST_SIZE);
        assert_eq!(RequestMessage::parse(&message.emit()).as_ref(), Ok(message));
        if let Request::GetSegList(list) = &message.request {
            assert!(list.segment_ids.len() <= MAX_SEGMENT_IDS as usize);
        }
    }
    match decide(bytes, VersionRange::ALL) {
        Decision::Reply(body) => assert!(ResponseMessage::parse(&body.into()).is_ok()),
        Decision::Discard(_) => assert!(parsed.is_err()),
        Decision::Lookup(lookup) => {
            let message = parsed.expect("what is looked up was understood");
            answers(&lookup, &message);
        }
    }
}

/// Every answer to a request is understood by who sent it.
fn answers(lookup: &Lookup, message: &RequestMessage) {
    let full = match lookup {
        Lookup::Block(lookup) => lookup.empty_answer(Some(511)),
        Lookup::BlockList(lookup) => lookup.answer(&BlockRanges::first(512)),
        Lookup::SegmentList(lookup) => lookup.answer(|_| true, |_| Some(Duration::from_secs(1))),
    };
    for answer in [lookup.empty_answer(), full] {
        assert!(answer.len() <= TRANSPORT_HEADER_SIZE + MAX_RESPONSE_SIZE);
        let answer = Bytes::from(answer);
        let response = ResponseMessage::parse(&answer).expect("our own answers are read");
        let due = match message.request {
            Request::GetBlkList(_) => matches!(response.response, Response::BlkList(_)),
            Request::GetBlks(_) => matches!(response.response, Response::Blk(_)),
            Request::GetSegList(_) => matches!(response.response, Response::SegList(_)),
            Request::NegoReq(_) => false,
        };
        assert!(due, "{response:?} to {message:?}");
    }
}

fn response(bytes: &Bytes) {
    let Ok(message) = ResponseMessage::parse(bytes) else { return };
    assert!(bytes.len() <= TRANSPORT_HEADER_SIZE + MAX_RESPONSE_SIZE);
    assert_eq!(ResponseMessage::parse(&message.emit().into()).as_ref(), Ok(&message));
    // To a request that it could answer, it has a meaning or is refused.
    let exchange = match &message.response {
        Response::NegoResp(_) => Exchange::negotiate(VersionRange::ALL),
        Response::BlkList(list) => Exchange::get_block_list(list.segment_id, &BlockRanges::first(100)),
        Response::Blk(block) => Exchange::get_block(block.segment_id, block.index, message.algorithm),
        Response::SegList(list) => {
            let ids = (1..=20).filter_map(|number| SegmentId::from_slice(&[number; 32])).collect();
            Exchange::get_segment_list(list.request_id, ids).expect("20 ids are not too many")
        }
    };
    match exchange.accept(bytes) {
        Ok(Answer::Block(block, _)) => assert!(!block.data.is_empty()),
        Ok(Answer::BlockList { ranges, .. }) => assert!(ranges.iter().all(|index| index < 100)),
        Ok(Answer::SegmentList { held }) => assert!(held.len() <= 20),
        Ok(Answer::Negotiate(theirs)) => {
            let _ = exchange.renegotiated(VersionRange::ALL, theirs);
        }
        Ok(Answer::Empty) | Err(_) => {}
    }
    // To one about another segment it is none, but for the versions of a host that does not speak the request's.
    let id = SegmentId::from_slice(&[0xee; 32]).expect("32 bytes are an id");
    let is_due = match &message.response {
        Response::NegoResp(_) => true,
        Response::Blk(block) => block.segment_id == id,
        Response::BlkList(_) | Response::SegList(_) => false,
    };
    assert!(is_due || Exchange::get_block(id, 400, CryptoAlgoId::Aes256).accept(bytes).is_err());
}
