//! A client's check of responses, and a server's decision about requests.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use peerdist_protocol::content::{BlockRange, BlockRanges, CryptoAlgoId, EncryptedBlock, SegmentId};
use peerdist_protocol::retrieval::{
    Answer, Blk, BlkList, BlkTail, Decision, Exchange, ExtensibleBlob, GetBlkList, GetBlks, GetSegList, Lookup,
    MAX_REQUEST_SIZE, MessageError, MessageType, ProtocolVersion, Rejection, Request, RequestId, RequestMessage,
    RequestedRange, Response, ResponseMessage, SegList, SegmentRange, TooManySegmentIds, VersionRange, decide,
};

fn id(byte: u8) -> SegmentId {
    SegmentId::from_slice(&[byte; 32]).unwrap()
}

fn blocks(ranges: &[(u32, u32)]) -> BlockRanges {
    let mut set = BlockRanges::new();
    for (index, count) in ranges {
        set.insert_range(BlockRange::new(*index, *count).unwrap());
    }
    set
}

fn response(response: Response) -> Bytes {
    ResponseMessage::new(response, CryptoAlgoId::Aes128).emit().into()
}

fn blk(index: u32, length: usize) -> Blk {
    Blk { segment_id: id(1), index, next: index + 1, block: vec![0x77; length].into(), iv: Some([9; 16]) }
}

fn lookup(request: &RequestMessage) -> Lookup {
    match decide(&request.emit(), VersionRange::ALL) {
        Decision::Lookup(lookup) => lookup,
        other => panic!("{request:?}: {other:?}"),
    }
}

mod client {
    use super::*;

    #[test]
    fn a_block_request_is_the_message_that_every_client_sends() {
        let body = Exchange::get_block(id(1), 3, CryptoAlgoId::Aes128).body();
        assert_eq!(body.len(), 68);
        let message = RequestMessage::parse(&body).unwrap();
        assert_eq!(message.version, ProtocolVersion::V1);
        let ranges = vec![RequestedRange { index: 3, count: 1 }];
        assert_eq!(message.request, Request::GetBlks(GetBlks { segment_id: id(1), ranges }));
    }

    #[test]
    fn requests_have_the_version_of_their_type_and_name_aes_128() {
        for (exchange, version) in [
            (Exchange::get_block(id(1), 3, CryptoAlgoId::default()), ProtocolVersion::V1),
            (Exchange::get_block_list(id(1), &blocks(&[(0, 1)])), ProtocolVersion::V1),
            (Exchange::negotiate(VersionRange::ALL), ProtocolVersion::V1),
            (Exchange::get_segment_list(RequestId([7; 16]), vec![id(1)]).unwrap(), ProtocolVersion::V2),
        ] {
            let message = RequestMessage::parse(&exchange.body()).unwrap();
            assert_eq!((message.version, message.algorithm), (version, CryptoAlgoId::Aes128));
        }
    }

    #[test]
    fn a_block_is_taken_with_the_cipher_of_the_response() {
        let exchange = Exchange::get_block(id(1), 3, CryptoAlgoId::Aes128);
        let body = ResponseMessage::new(Response::Blk(blk(3, 48)), CryptoAlgoId::Aes256).emit().into();
        let Ok(Answer::Block(block, next)) = exchange.accept(&body) else { panic!() };
        assert_eq!(block.algorithm, CryptoAlgoId::Aes256);
        assert_eq!((block.data.len(), block.iv, next), (48, [9; 16], 4));
    }

    #[test]
    fn another_segment_or_block_is_refused() {
        let exchange = Exchange::get_block(id(1), 3, CryptoAlgoId::Aes128);
        let other = Blk { segment_id: id(2), ..blk(3, 48) };
        assert_eq!(exchange.accept(&response(Response::Blk(other))), Err(Rejection::WrongSegmentId { got: id(2) }));
        let short = SegmentId::from_slice(&[1; 31]).unwrap();
        let other = Blk { segment_id: short, ..blk(3, 48) };
        assert_eq!(exchange.accept(&response(Response::Blk(other))), Err(Rejection::WrongSegmentId { got: short }));
        for got in [0, 4] {
            let refused = exchange.accept(&response(Response::Blk(blk(got, 48))));
            assert_eq!(refused, Err(Rejection::WrongBlockIndex { asked: 3, got }));
        }
    }

    #[test]
    fn empty_blocks_of_either_shape_are_an_answer() {
        let exchange = Exchange::get_block(id(1), 3, CryptoAlgoId::Aes128);
        for (index, iv) in [(3, None), (3, Some([9; 16])), (0, None), (0, Some([9; 16]))] {
            let empty = Blk { iv, ..blk(index, 0) };
            assert_eq!(exchange.accept(&response(Response::Blk(empty))), Ok(Answer::Empty));
        }
        assert_eq!(
            exchange.accept(&response(Response::Blk(blk(4, 0)))),
            Err(Rejection::WrongBlockIndex { asked: 3, got: 4 })
        );
    }

    #[test]
    fn ciphertext_comes_in_whole_cipher_blocks_and_plaintext_in_any_length() {
        let exchange = Exchange::get_block(id(1), 3, CryptoAlgoId::Aes128);
        let refused = exchange.accept(&response(Response::Blk(blk(3, 47))));
        assert_eq!(refused, Err(Rejection::PartialCipherBlock { size: 47 }));
        let plain = ResponseMessage::new(Response::Blk(blk(3, 47)), CryptoAlgoId::None).emit().into();
        assert!(matches!(exchange.accept(&plain), Ok(Answer::Block(EncryptedBlock { .. }, 4))));
    }

    #[test]
    fn a_response_of_another_type_is_refused() {
        let block = response(Response::Blk(blk(3, 48)));
        let list = response(Response::BlkList(BlkList { segment_id: id(1), ranges: blocks(&[(0, 1)]), next: 0 }));
        let segments =
            response(Response::SegList(SegList { request_id: RequestId([7; 16]), ranges: vec![], blob: None }));
        let exchanges = [
            (Exchange::get_block(id(1), 3, CryptoAlgoId::Aes128), MessageType::GetBlks),
            (Exchange::get_block_list(id(1), &blocks(&[(0, 1)])), MessageType::GetBlkList),
            (Exchange::get_segment_list(RequestId([7; 16]), vec![id(1)]).unwrap(), MessageType::GetSegList),
            (Exchange::negotiate(VersionRange::ALL), MessageType::NegoReq),
        ];
        for (exchange, sent) in exchanges {
            let mut accepted = 0;
            for (body, got) in
                [(&block, MessageType::Blk), (&list, MessageType::BlkList), (&segments, MessageType::SegList)]
            {
                match exchange.accept(body) {
                    Ok(_) => accepted += 1,
                    refused => assert_eq!(refused, Err(Rejection::WrongType { sent, got })),
                }
            }
            assert_eq!(accepted, i32::from(sent != MessageType::NegoReq));
            let versions = response(Response::NegoResp(VersionRange::ALL));
            assert_eq!(exchange.accept(&versions), Ok(Answer::Negotiate(VersionRange::ALL)));
        }
    }

    #[test]
    fn malformed_responses_are_refused() {
        let exchange = Exchange::get_block(id(1), 3, CryptoAlgoId::Aes128);
        let refused = exchange.accept(&Bytes::from_static(b"<html>"));
        assert_eq!(refused, Err(Rejection::Malformed(MessageError::TooShort { size: 6 })));
    }

    #[test]
    fn block_lists_are_cut_to_what_was_asked() {
        let exchange = Exchange::get_block_list(id(1), &blocks(&[(4, 4)]));
        let answer = |ranges| {
            let list = BlkList { segment_id: id(1), ranges, next: 9 };
            exchange.accept(&response(Response::BlkList(list)))
        };
        assert_eq!(answer(blocks(&[(0, 6), (8, 1)])), Ok(Answer::BlockList { ranges: blocks(&[(4, 2)]), next: 9 }));
        assert_eq!(answer(blocks(&[])), Ok(Answer::BlockList { ranges: blocks(&[]), next: 9 }));
        assert_eq!(answer(blocks(&[(0, 4)])), Err(Rejection::NoOverlap));
        let other = BlkList { segment_id: id(2), ranges: blocks(&[(4, 1)]), next: 0 };
        assert_eq!(exchange.accept(&response(Response::BlkList(other))), Err(Rejection::WrongSegmentId { got: id(2) }));
    }

    #[test]
    fn segment_lists_name_segments_by_position() {
        let ids: Vec<_> = (0..6).map(id).collect();
        let exchange = Exchange::get_segment_list(RequestId([7; 16]), ids).unwrap();
        let answer = |request_id, ranges: &[(u32, u32)], blob| {
            let ranges = ranges.iter().map(|(index, count)| SegmentRange::new(*index, *count).unwrap()).collect();
            exchange.accept(&response(Response::SegList(SegList { request_id, ranges, blob })))
        };
        let minute = Duration::from_secs(60);
        // Ages count from the first range's first segment.
        let blob = ExtensibleBlob::new([(0, minute), (3, 2 * minute), (200, minute)]);
        let held = vec![(id(2), Some(minute)), (id(3), None), (id(5), Some(2 * minute))];
        assert_eq!(answer(RequestId([7; 16]), &[(2, 2), (5, 1), (3, 1)], Some(blob)), Ok(Answer::SegmentList { held }));
        assert_eq!(answer(RequestId([7; 16]), &[], None), Ok(Answer::SegmentList { held: vec![] }));
        assert_eq!(answer(RequestId([8; 16]), &[(0, 1)], None), Err(Rejection::WrongRequestId));
        assert_eq!(
            answer(RequestId([7; 16]), &[(5, 2)], None),
            Err(Rejection::PositionOutOfRange { position: 6, asked: 6 })
        );
        assert_eq!(
            answer(RequestId([7; 16]), &[(u32::MAX - 1, 1)], None),
            Err(Rejection::PositionOutOfRange { position: u32::MAX - 1, asked: 6 })
        );
    }

    #[test]
    fn a_segment_list_request_fits_into_a_message() {
        let most = (MAX_REQUEST_SIZE - 40) / 36;
        let request = |count| Exchange::get_segment_list(RequestId([7; 16]), vec![id(1); count]);
        let body = request(most).unwrap().body();
        assert!(RequestMessage::parse(&body).is_ok());
        for count in [0, most + 1] {
            assert_eq!(request(count).unwrap_err(), TooManySegmentIds { count });
        }
    }

    #[test]
    fn a_request_is_sent_again_under_the_common_version() {
        let exchange = Exchange::get_block(id(1), 3, CryptoAlgoId::Aes128);
        let version = |major, minor| ProtocolVersion { major, minor };
        let theirs = VersionRange { min: version(2, 0), max: version(3, 1) };
        let again = exchange.renegotiated(VersionRange::ALL, theirs).unwrap();
        let message = RequestMessage::parse(&again.body()).unwrap();
        assert_eq!(message.version, ProtocolVersion::V2);
        assert_eq!(message.request, RequestMessage::parse(&exchange.body()).unwrap().request);
        let theirs = VersionRange { min: version(3, 0), max: version(3, 1) };
        assert!(exchange.renegotiated(VersionRange::ALL, theirs).is_none());
    }

    #[test]
    fn a_segment_list_is_not_asked_for_under_version_1() {
        let exchange = Exchange::get_segment_list(RequestId([7; 16]), vec![id(1)]).unwrap();
        let one = VersionRange { min: ProtocolVersion::V1, max: ProtocolVersion::V1 };
        assert!(exchange.renegotiated(VersionRange::ALL, one).is_none());
        assert!(exchange.renegotiated(VersionRange::ALL, VersionRange::ALL).is_some());
        let block = Exchange::get_block(id(1), 3, CryptoAlgoId::Aes128);
        assert!(block.renegotiated(VersionRange::ALL, one).is_some());
    }
}

mod server {
    use super::*;

    fn get_blocks(ranges: &[(u32, u32)]) -> RequestMessage {
        let ranges = ranges.iter().map(|(index, count)| RequestedRange { index: *index, count: *count }).collect();
        RequestMessage::new(Request::GetBlks(GetBlks { segment_id: id(1), ranges }), CryptoAlgoId::Aes128)
    }

    fn versions_reply(decision: Decision) -> VersionRange {
        let Decision::Reply(reply) = decision else { panic!("{decision:?}") };
        match ResponseMessage::parse(&reply.into()).unwrap().response {
            Response::NegoResp(versions) => versions,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_version_is_looked_at_before_type_and_body() {
        let mut bytes = get_blocks(&[(0, 1)]).emit();
        bytes[3] = 3;
        assert_eq!(versions_reply(decide(&bytes, VersionRange::ALL)), VersionRange::ALL);
        bytes[7] = 99;
        assert_eq!(versions_reply(decide(&bytes, VersionRange::ALL)), VersionRange::ALL);
        bytes[15] = 99;
        bytes[16..].fill(0xff);
        assert_eq!(versions_reply(decide(&bytes, VersionRange::ALL)), VersionRange::ALL);
        bytes.push(0);
        assert!(matches!(
            decide(&bytes, VersionRange::ALL),
            Decision::Discard(MessageError::WrongMessageSize { announced: 68, size: 69 })
        ));
    }

    #[test]
    fn minors_and_the_type_s_own_version_do_not_matter() {
        for (major, minor) in [(1, 9), (2, 0), (2, 1)] {
            let message = RequestMessage { version: ProtocolVersion { major, minor }, ..get_blocks(&[(0, 1)]) };
            assert!(matches!(lookup(&message), Lookup::Block(_)));
        }
        let request = GetSegList { request_id: RequestId([7; 16]), segment_ids: vec![id(1)], blob: None };
        let mut message = RequestMessage::new(Request::GetSegList(request), CryptoAlgoId::Aes128);
        assert_eq!(message.version, ProtocolVersion::V2);
        let only_v1 = VersionRange { min: ProtocolVersion::V1, max: ProtocolVersion::V1 };
        assert_eq!(versions_reply(decide(&message.emit(), only_v1)), only_v1);
        message.version = ProtocolVersion::V1;
        assert!(matches!(lookup(&message), Lookup::SegmentList(_)));
    }

    #[test]
    fn responses_posted_to_us_are_discarded() {
        let bytes = response(Response::Blk(blk(0, 16)));
        assert_eq!(
            decide(&bytes[4..], VersionRange::ALL),
            Decision::Discard(MessageError::WrongDirection(MessageType::Blk))
        );
        let mut other_version = bytes[4..].to_vec();
        other_version[3] = 9;
        assert_eq!(
            decide(&other_version, VersionRange::ALL),
            Decision::Discard(MessageError::WrongDirection(MessageType::Blk))
        );
    }

    #[test]
    fn the_smallest_index_of_several_is_looked_up() {
        let index = |ranges| match lookup(&get_blocks(ranges)) {
            Lookup::Block(block) => block.index,
            other => panic!("{other:?}"),
        };
        assert_eq!(index(&[(3, 1)]), 3);
        assert_eq!(index(&[(9, 3), (4, 2)]), 4);
        assert_eq!(index(&[(9, 3), (4, 0)]), 9);
        assert_eq!(index(&[(600, 1)]), 600);
    }

    #[test]
    fn ranges_without_blocks_are_answered_without_one() {
        for (ranges, index) in [(&[][..], 0), (&[(5, 0)], 5), (&[(9, 0), (7, 0)], 7)] {
            let Decision::Reply(reply) = decide(&get_blocks(ranges).emit(), VersionRange::ALL) else { panic!() };
            let exchange = Exchange::get_block(id(1), index, CryptoAlgoId::Aes128);
            assert_eq!(exchange.accept(&reply.into()), Ok(Answer::Empty));
        }
    }

    #[test]
    fn a_block_is_answered_with_the_next_one_held() {
        let exchange = Exchange::get_block(id(1), 3, CryptoAlgoId::Aes128);
        let Decision::Lookup(lookup) = decide(&exchange.body(), VersionRange::ALL) else { panic!() };
        let Lookup::Block(block) = &lookup else { panic!() };
        let sealed =
            EncryptedBlock { algorithm: CryptoAlgoId::Aes192, iv: [9; 16], data: Bytes::from_static(&[5; 32]) };
        let tail = BlkTail::from(&sealed);
        for (held, next) in [(Some(7), 7), (None, 0)] {
            let mut body = block.head(held, &tail);
            body.extend_from_slice(&tail.bytes);
            assert_eq!(exchange.accept(&body.into()), Ok(Answer::Block(sealed.clone(), next)));
        }
        let not_held = ResponseMessage::parse(&block.empty_answer(Some(7)).into()).unwrap();
        let Response::Blk(not_held) = not_held.response else { panic!() };
        assert_eq!((not_held.segment_id, not_held.index, not_held.next), (id(1), 3, 7));
        assert_eq!(exchange.accept(&lookup.empty_answer().into()), Ok(Answer::Empty));
        let last = Exchange::get_block(id(1), u32::MAX, CryptoAlgoId::Aes128);
        let Decision::Lookup(lookup) = decide(&last.body(), VersionRange::ALL) else { panic!() };
        assert_eq!(last.accept(&lookup.empty_answer().into()), Ok(Answer::Empty));
    }

    #[test]
    fn block_lists_are_the_intersection() {
        let ranges = [(8, 4), (2, 3), (4, 1), (500, u32::MAX), (700, 5), (20, 0)];
        let ranges = ranges.map(|(index, count)| RequestedRange { index, count }).to_vec();
        let request = Request::GetBlkList(GetBlkList { segment_id: id(1), ranges });
        let Lookup::BlockList(list) = lookup(&RequestMessage::new(request, CryptoAlgoId::Aes128)) else { panic!() };
        assert_eq!(list.blocks, blocks(&[(2, 3), (8, 4), (500, 12)]));
        let answer = ResponseMessage::parse(&list.answer(&blocks(&[(0, 3), (9, 1), (510, 2)])).into()).unwrap();
        let ranges = blocks(&[(2, 1), (9, 1), (510, 2)]);
        assert_eq!(answer.response, Response::BlkList(BlkList { segment_id: id(1), ranges, next: 0 }));
        assert_eq!(answer.version, ProtocolVersion::V1);
        let nothing = Lookup::BlockList(list).empty_answer();
        let exchange = Exchange::get_block_list(id(1), &blocks(&[(2, 3)]));
        assert_eq!(exchange.accept(&nothing.into()), Ok(Answer::BlockList { ranges: blocks(&[]), next: 0 }));
    }

    #[test]
    fn segment_lists_name_positions_and_ages() {
        let ids: Vec<_> = (0..=255).map(id).chain([id(3), id(4)]).collect();
        let exchange = Exchange::get_segment_list(RequestId([7; 16]), ids).unwrap();
        let Decision::Lookup(lookup) = decide(&exchange.body(), VersionRange::ALL) else { panic!() };
        let Lookup::SegmentList(list) = &lookup else { panic!() };
        let held = |segment: &SegmentId| [id(1), id(3), id(4)].contains(segment);
        let second = Duration::from_secs(1);
        let age = |segment: &SegmentId| (*segment != id(4)).then_some(second);
        let body = Bytes::from(list.answer(held, age));
        let message = ResponseMessage::parse(&body).unwrap();
        assert_eq!(message.version, ProtocolVersion::V2);
        let Response::SegList(answer) = &message.response else { panic!() };
        let ranges: Vec<_> = answer.ranges.iter().map(|range| (range.index(), range.count())).collect();
        assert_eq!(ranges, [(1, 1), (3, 2), (256, 2)]);
        // Position 256 is 255 away from the first one held and just within reach of an age.
        let ages: Vec<_> = answer.blob.as_ref().unwrap().ages().collect();
        assert_eq!(ages, [(0, second), (2, second), (255, second)]);
        let held =
            vec![(id(1), Some(second)), (id(3), Some(second)), (id(4), None), (id(3), Some(second)), (id(4), None)];
        assert_eq!(exchange.accept(&body), Ok(Answer::SegmentList { held }));
        assert_eq!(exchange.accept(&lookup.empty_answer().into()), Ok(Answer::SegmentList { held: vec![] }));
    }

    #[test]
    fn reasons_to_discard_have_names() {
        let Decision::Discard(reason) = decide(b"", VersionRange::ALL) else { panic!() };
        assert_eq!(reason.as_str(), "too_short");
        let mut bytes = get_blocks(&[(0, 1)]).emit();
        bytes[15] = 4;
        let Decision::Discard(reason) = decide(&bytes, VersionRange::ALL) else { panic!() };
        assert_eq!(reason, MessageError::UnknownCipher(4));
    }
}
