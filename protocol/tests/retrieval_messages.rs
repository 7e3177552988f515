//! Every message: round trip, truncation at every length, trailing bytes, limits, arbitrary bytes.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use peerdist_protocol::content::{BlockRanges, CryptoAlgoId, EncryptedBlock, SegmentId};
use peerdist_protocol::retrieval::{
    Blk, BlkList, BlkTail, ExtensibleBlob, GetBlkList, GetBlks, GetSegList, MAX_BLOCK_RANGES, MAX_REQUEST_SIZE,
    MAX_RESPONSE_SIZE, MAX_SEGMENT_IDS, MAX_SEGMENT_RANGES, MessageError, MessageType, Request, RequestId,
    RequestMessage, RequestedRange, Response, ResponseMessage, SegList, SegmentRange, VersionRange, blk_head,
    empty_blk, tail_size,
};
use proptest::prelude::*;

const CIPHERS: [CryptoAlgoId; 4] =
    [CryptoAlgoId::None, CryptoAlgoId::Aes128, CryptoAlgoId::Aes192, CryptoAlgoId::Aes256];

fn id(size: usize) -> SegmentId {
    SegmentId::from_slice(&vec![0xee; size]).unwrap()
}

fn blob() -> ExtensibleBlob {
    ExtensibleBlob::new([(0, std::time::Duration::from_secs(600)), (255, std::time::Duration::from_millis(10))])
}

/// One request of every type for ids of every padding, with and without what is optional.
fn requests() -> Vec<RequestMessage> {
    let range = |index, count| RequestedRange { index, count };
    let mut requests = vec![Request::NegoReq(VersionRange::ALL)];
    for size in [1, 30, 31, 32, 33, 48, 64] {
        for ranges in [vec![], vec![range(511, 1)], vec![range(9, 3), range(4, 0), range(u32::MAX, u32::MAX)]] {
            requests.push(Request::GetBlkList(GetBlkList { segment_id: id(size), ranges: ranges.clone() }));
            requests.push(Request::GetBlks(GetBlks { segment_id: id(size), ranges }));
        }
        for blob in [None, Some(blob())] {
            let segment_ids = vec![id(size), id(32), id(size)];
            requests.push(Request::GetSegList(GetSegList { request_id: RequestId([7; 16]), segment_ids, blob }));
        }
    }
    requests
        .into_iter()
        .flat_map(|request| CIPHERS.map(|algorithm| RequestMessage::new(request.clone(), algorithm)))
        .collect()
}

/// One response of every type, blocks of every padding and cipher.
fn responses() -> Vec<ResponseMessage> {
    let mut responses = vec![ResponseMessage::new(Response::NegoResp(VersionRange::ALL), CryptoAlgoId::Aes128)];
    for size in [1, 30, 31, 32, 33, 64] {
        let every_second: BlockRanges = (0..512).step_by(2).collect();
        for ranges in [BlockRanges::new(), BlockRanges::first(512), every_second] {
            let list = BlkList { segment_id: id(size), ranges, next: 3 };
            responses.push(ResponseMessage::new(Response::BlkList(list), CryptoAlgoId::Aes128));
        }
        for algorithm in CIPHERS {
            for length in [0_usize, 1, 2, 3, 4, 5, 48] {
                let iv = (algorithm != CryptoAlgoId::None).then_some([9; 16]);
                let block = vec![0x77; length].into();
                let blk = Blk { segment_id: id(size), index: 4, next: 5, block, iv };
                responses.push(ResponseMessage::new(Response::Blk(blk), algorithm));
            }
        }
    }
    for blob in [None, Some(blob())] {
        let ranges = vec![SegmentRange::new(0, 1).unwrap(), SegmentRange::new(600, 9000).unwrap()];
        let list = SegList { request_id: RequestId([7; 16]), ranges, blob };
        responses.push(ResponseMessage::new(Response::SegList(list), CryptoAlgoId::Aes128));
    }
    responses
}

/// Sets MsgSize, and the transport header's Size where there is one, to what the bytes are.
fn with_true_sizes(mut message: Vec<u8>, header_at: usize) -> Vec<u8> {
    let size = (message.len() - header_at) as u32;
    message[header_at + 8..header_at + 12].copy_from_slice(&size.to_be_bytes());
    if header_at == 4 {
        message[..4].copy_from_slice(&size.to_be_bytes());
    }
    message
}

fn parse_response(bytes: Vec<u8>) -> Result<ResponseMessage, MessageError> {
    ResponseMessage::parse(&Bytes::from(bytes))
}

#[test]
fn round_trip() {
    for message in requests() {
        let bytes = message.emit();
        assert_eq!(bytes, with_true_sizes(bytes.clone(), 0));
        assert_eq!(RequestMessage::parse(&bytes), Ok(message));
    }
    for message in responses() {
        let bytes = message.emit();
        assert_eq!(bytes, with_true_sizes(bytes.clone(), 4));
        assert_eq!(parse_response(bytes), Ok(message));
    }
}

#[test]
fn truncation_at_every_length_is_refused() {
    for message in requests() {
        let bytes = message.emit();
        for length in 0..bytes.len() {
            assert!(RequestMessage::parse(&bytes[..length]).is_err());
            if length >= 16 {
                let cut = with_true_sizes(bytes[..length].to_vec(), 0);
                assert!(RequestMessage::parse(&cut).is_err(), "{message:?} cut to {length}");
            }
        }
    }
    for message in responses() {
        let bytes = message.emit();
        for length in 0..bytes.len() {
            assert!(parse_response(bytes[..length].to_vec()).is_err());
            if length < 20 {
                continue;
            }
            let cut = with_true_sizes(bytes[..length].to_vec(), 4);
            let blob_fields = if let Response::SegList(SegList { blob, .. }) = &message.response {
                blob.as_ref().map_or(4, |blob| 4 + blob.emit().len())
            } else {
                0
            };
            if blob_fields > 0 && bytes.len() - length == blob_fields {
                // The layout of the 2012 edition, which ends here.
                assert!(parse_response(cut).is_ok());
            } else {
                assert!(parse_response(cut).is_err(), "{message:?} cut to {length}");
            }
        }
    }
}

#[test]
fn up_to_three_zero_bytes_may_follow() {
    let tails: [(&[u8], bool); 7] = [
        (&[0], true),
        (&[0; 2], true),
        (&[0; 3], true),
        (&[0; 4], false),
        (&[1], false),
        (&[0, 1], false),
        (&[0, 0, 1], false),
    ];
    for (tail, tolerated) in tails {
        for message in requests() {
            let bytes = with_true_sizes([&message.emit(), tail].concat(), 0);
            let parsed = RequestMessage::parse(&bytes);
            assert_eq!(parsed.is_ok(), tolerated, "{message:?} with {tail:?}");
            if tolerated {
                assert_eq!(parsed, Ok(message));
            }
        }
        for message in responses() {
            let bytes = with_true_sizes([&message.emit(), tail].concat(), 4);
            assert_eq!(parse_response(bytes).is_ok(), tolerated, "{message:?} with {tail:?}");
        }
    }
}

#[test]
fn bytes_beyond_the_announced_size_are_refused() {
    for message in requests() {
        assert!(matches!(
            RequestMessage::parse(&[message.emit(), vec![0]].concat()),
            Err(MessageError::WrongMessageSize { .. })
        ));
    }
    for message in responses() {
        let mut bytes = message.emit();
        bytes.push(0);
        assert!(matches!(parse_response(bytes.clone()), Err(MessageError::WrongTransportSize { .. })));
        let size = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        assert!(matches!(parse_response(bytes), Err(MessageError::WrongMessageSize { .. })));
    }
}

#[test]
fn what_padding_holds_is_not_looked_at_and_what_we_write_is_zero() {
    let request = Request::GetBlks(GetBlks { segment_id: id(33), ranges: vec![RequestedRange { index: 0, count: 1 }] });
    let message = RequestMessage::new(request, CryptoAlgoId::Aes128);
    let mut bytes = message.emit();
    let pad = 16 + 4 + 33..16 + 4 + 36;
    assert_eq!(bytes[pad.clone()], [0; 3]);
    bytes[pad].fill(0xff);
    assert_eq!(RequestMessage::parse(&bytes), Ok(message));
}

#[test]
fn messages_in_the_wrong_direction_are_refused() {
    for message in requests() {
        let kind = message.request.message_type();
        let bytes = with_true_sizes([&[0; 4], message.emit().as_slice()].concat(), 4);
        assert_eq!(parse_response(bytes), Err(MessageError::WrongDirection(kind)));
        assert!(kind.is_request());
    }
    for message in responses() {
        let kind = message.response.message_type();
        assert_eq!(RequestMessage::parse(&message.emit()[4..]), Err(MessageError::WrongDirection(kind)));
        assert!(!kind.is_request());
    }
}

#[test]
fn requests_and_responses_meet_their_size_limits() {
    let whole = |limit: usize, header_at: usize, kind: MessageType| {
        let mut message = vec![0; header_at + limit];
        message[header_at + 4..header_at + 8].copy_from_slice(&kind.to_wire().to_be_bytes());
        with_true_sizes(message, header_at)
    };
    let parse = |size| RequestMessage::parse(&whole(size, 0, MessageType::GetBlks));
    assert_eq!(parse(MAX_REQUEST_SIZE), Err(MessageError::SegmentIdSize { size: 0 }));
    let size = MAX_REQUEST_SIZE + 1;
    assert_eq!(parse(size), Err(MessageError::TooLarge { size, limit: MAX_REQUEST_SIZE }));
    let parse = |size| parse_response(whole(size, 4, MessageType::Blk));
    assert_eq!(parse(MAX_RESPONSE_SIZE), Err(MessageError::SegmentIdSize { size: 0 }));
    let size = MAX_RESPONSE_SIZE + 1;
    assert_eq!(parse(size), Err(MessageError::TooLarge { size, limit: MAX_RESPONSE_SIZE }));
}

#[test]
fn segment_ids_have_1_to_64_bytes() {
    for size in [0_u32, 65, u32::MAX] {
        let mut bytes = RequestMessage::new(
            Request::GetBlks(GetBlks { segment_id: id(64), ranges: vec![RequestedRange { index: 0, count: 1 }] }),
            CryptoAlgoId::Aes128,
        )
        .emit();
        bytes[16..20].copy_from_slice(&size.to_be_bytes());
        assert_eq!(RequestMessage::parse(&bytes), Err(MessageError::SegmentIdSize { size }));
    }
}

#[test]
fn counts_meet_their_limits_before_memory_is_taken() {
    let ranges = |count: u32| {
        let ranges = vec![RequestedRange { index: 0, count: 1 }; count as usize];
        RequestMessage::new(Request::GetBlkList(GetBlkList { segment_id: id(32), ranges }), CryptoAlgoId::Aes128)
    };
    assert!(RequestMessage::parse(&ranges(MAX_BLOCK_RANGES).emit()).is_ok());
    let (count, limit) = (MAX_BLOCK_RANGES + 1, MAX_BLOCK_RANGES);
    let one_over = RequestMessage::parse(&ranges(count).emit());
    assert_eq!(one_over, Err(MessageError::TooMany { offset: 52, count, limit }));

    let ids = |count: u32, size: usize| {
        let segment_ids = vec![id(size); count as usize];
        let request = GetSegList { request_id: RequestId([0; 16]), segment_ids, blob: None };
        RequestMessage::new(Request::GetSegList(request), CryptoAlgoId::Aes128).emit()
    };
    assert!(RequestMessage::parse(&ids(MAX_SEGMENT_IDS, 4)).is_ok());
    let mut one_over = ids(MAX_SEGMENT_IDS, 4);
    let (count, limit) = (MAX_SEGMENT_IDS + 1, MAX_SEGMENT_IDS);
    one_over[32..36].copy_from_slice(&count.to_be_bytes());
    assert_eq!(RequestMessage::parse(&one_over), Err(MessageError::TooMany { offset: 32, count, limit }));
    assert_eq!(RequestMessage::parse(&ids(0, 4)), Err(MessageError::NoSegmentIds));

    let mut list = ResponseMessage::new(
        Response::SegList(SegList { request_id: RequestId([0; 16]), ranges: vec![], blob: None }),
        CryptoAlgoId::Aes128,
    )
    .emit();
    list[36..40].copy_from_slice(&MAX_SEGMENT_RANGES.to_be_bytes());
    assert!(matches!(parse_response(list.clone()), Err(MessageError::Truncated(_))));
    let (count, limit) = (MAX_SEGMENT_RANGES + 1, MAX_SEGMENT_RANGES);
    list[36..40].copy_from_slice(&count.to_be_bytes());
    assert_eq!(parse_response(list), Err(MessageError::TooMany { offset: 36, count, limit }));
}

#[test]
fn ranges_in_responses_stay_inside_the_segment() {
    let list = BlkList { segment_id: id(32), ranges: BlockRanges::first(1), next: 0 };
    let bytes = ResponseMessage::new(Response::BlkList(list), CryptoAlgoId::Aes128).emit();
    for (index, count) in [(0_u32, 0_u32), (0, 513), (511, 2), (u32::MAX, 1)] {
        let mut bytes = bytes.clone();
        bytes[60..64].copy_from_slice(&index.to_be_bytes());
        bytes[64..68].copy_from_slice(&count.to_be_bytes());
        assert_eq!(parse_response(bytes), Err(MessageError::BadRange { index, count }));
    }
}

#[test]
fn ranges_of_segments_are_not_empty() {
    let list = SegList { request_id: RequestId([7; 16]), ranges: vec![SegmentRange::new(0, 1).unwrap()], blob: None };
    let bytes = ResponseMessage::new(Response::SegList(list), CryptoAlgoId::Aes128).emit();
    for (index, count) in [(0_u32, 0_u32), (5, 0), (u32::MAX, 1), (1, u32::MAX)] {
        let mut bytes = bytes.clone();
        bytes[40..44].copy_from_slice(&index.to_be_bytes());
        bytes[44..48].copy_from_slice(&count.to_be_bytes());
        assert_eq!(parse_response(bytes), Err(MessageError::BadRange { index, count }));
    }
}

#[test]
fn an_invalid_blob_is_dropped_and_its_message_kept() {
    // The version of the blob, eight bytes long with one age and at the end of both messages.
    let blob = ExtensibleBlob::new([(0, std::time::Duration::from_secs(1))]);
    let version_at = |bytes: &[u8]| bytes.len() - 7;
    let request = GetSegList { request_id: RequestId([7; 16]), segment_ids: vec![id(32)], blob: Some(blob.clone()) };
    let mut bytes = RequestMessage::new(Request::GetSegList(request.clone()), CryptoAlgoId::Aes128).emit();
    let at = version_at(&bytes);
    bytes[at] = 2;
    let without = Request::GetSegList(GetSegList { blob: None, ..request });
    assert_eq!(RequestMessage::parse(&bytes).unwrap().request, without);

    let list = SegList { request_id: RequestId([7; 16]), ranges: vec![], blob: Some(blob) };
    let mut bytes = ResponseMessage::new(Response::SegList(list.clone()), CryptoAlgoId::Aes128).emit();
    let at = version_at(&bytes);
    bytes[at] = 2;
    assert_eq!(parse_response(bytes).unwrap().response, Response::SegList(SegList { blob: None, ..list }));
}

#[test]
fn unsorted_and_overlapping_block_lists_are_merged() {
    let list = BlkList { segment_id: id(32), ranges: [0, 2].into_iter().collect(), next: 0 };
    let mut bytes = ResponseMessage::new(Response::BlkList(list), CryptoAlgoId::Aes128).emit();
    for (at, value) in [(60, 7_u32), (64, 3), (68, 5), (72, 3)] {
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    let Response::BlkList(list) = parse_response(bytes).unwrap().response else { panic!() };
    assert_eq!(list.ranges, (5..10).collect());
}

#[test]
fn initialisation_vectors_are_there_where_a_cipher_needs_them() {
    let message = |algorithm, length: usize, iv| {
        let block = vec![1; length].into();
        let blk = Blk { segment_id: id(32), index: 0, next: 0, block, iv };
        parse_response(ResponseMessage::new(Response::Blk(blk), algorithm).emit())
    };
    assert_eq!(message(CryptoAlgoId::Aes128, 16, None), Err(MessageError::IvSize { size: 0 }));
    assert!(message(CryptoAlgoId::Aes128, 0, None).is_ok());
    assert!(message(CryptoAlgoId::None, 5, Some([1; 16])).is_ok());
    let blk = Blk { segment_id: id(32), index: 0, next: 0, block: vec![1; 16].into(), iv: Some([1; 16]) };
    let mut bytes = ResponseMessage::new(Response::Blk(blk), CryptoAlgoId::Aes128).emit();
    bytes.pop();
    let at = bytes.len() - 19;
    bytes[at..at + 4].copy_from_slice(&15_u32.to_be_bytes());
    assert_eq!(parse_response(with_true_sizes(bytes, 4)), Err(MessageError::IvSize { size: 15 }));
}

#[test]
fn unknown_types_and_ciphers_are_refused() {
    let mut bytes = RequestMessage::new(Request::NegoReq(VersionRange::ALL), CryptoAlgoId::None).emit();
    bytes[15] = 4;
    assert_eq!(RequestMessage::parse(&bytes), Err(MessageError::UnknownCipher(4)));
    bytes[7] = 8;
    assert_eq!(RequestMessage::parse(&bytes), Err(MessageError::UnknownType(8)));
}

#[test]
fn the_version_of_a_response_is_not_looked_at() {
    for message in responses() {
        let mut bytes = message.emit();
        bytes[4..8].copy_from_slice(&[0, 7, 0, 9]);
        assert_eq!(parse_response(bytes).unwrap().response, message.response);
    }
}

#[test]
fn head_and_tail_are_the_whole_message() {
    for algorithm in CIPHERS {
        for length in [1_usize, 2, 3, 4, 5, 48, 65_552, 131_088] {
            for size in [1, 30, 31, 32, 33, 64] {
                let block = EncryptedBlock { algorithm, iv: [9; 16], data: vec![0x77; length].into() };
                let tail = BlkTail::from(&block);
                assert_eq!(tail.bytes.len(), tail_size(tail.size_of_block, algorithm));
                let mut whole = blk_head(&id(size), 4, 5, &tail);
                whole.extend_from_slice(&tail.bytes);
                let iv = (algorithm != CryptoAlgoId::None).then_some([9; 16]);
                let blk = Blk { segment_id: id(size), index: 4, next: 5, block: block.data.clone(), iv };
                assert_eq!(whole, ResponseMessage::new(Response::Blk(blk), algorithm).emit());

                let opened = tail.to_encrypted_block().unwrap();
                assert_eq!(opened.data, block.data);
                assert_eq!(opened.iv, if iv.is_some() { [9; 16] } else { [0; 16] });
            }
        }
        let empty = parse_response(empty_blk(&id(33), 6, 7)).unwrap();
        let blk = Blk { segment_id: id(33), index: 6, next: 7, block: Bytes::new(), iv: None };
        assert_eq!(empty, ResponseMessage::new(Response::Blk(blk), CryptoAlgoId::None));
    }
}

#[test]
fn records_of_another_shape_are_no_tails() {
    let block = EncryptedBlock { algorithm: CryptoAlgoId::Aes128, iv: [9; 16], data: vec![0x77; 48].into() };
    let tail = BlkTail::from(&block);
    let refused = |tail: BlkTail| assert!(tail.to_encrypted_block().is_err(), "{tail:?}");
    refused(BlkTail { size_of_block: 49, ..tail.clone() });
    refused(BlkTail { size_of_block: u32::MAX, ..tail.clone() });
    refused(BlkTail { algorithm: CryptoAlgoId::None, ..tail.clone() });
    refused(BlkTail { bytes: tail.bytes.slice(1..), ..tail.clone() });
    for at in [51, 55] {
        let mut bytes = tail.bytes.to_vec();
        bytes[at] ^= 1;
        refused(BlkTail { bytes: bytes.into(), ..tail.clone() });
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_decode_encode_decode(
        kind in 0_u32..9, algorithm in 0_u32..5, at in prop::sample::select(vec![0_usize, 4]),
        body in prop::collection::vec(prop_oneof![4 => Just(0_u8), 2 => 0_u8..5, 1 => any::<u8>()], 0..200),
    ) {
        let mut bytes = vec![0; at];
        for field in [1, kind, 0, algorithm] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend(body);
        let bytes = with_true_sizes(bytes, at);
        if at == 0 {
            if let Ok(message) = RequestMessage::parse(&bytes) {
                prop_assert_eq!(RequestMessage::parse(&message.emit()), Ok(message));
            }
        } else if let Ok(message) = parse_response(bytes) {
            prop_assert_eq!(parse_response(message.emit()), Ok(message));
        }
    }

    #[test]
    fn one_changed_byte_never_breaks_the_round_trip(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let messages = responses();
        let mut bytes = which.get(&messages).emit();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(message) = parse_response(bytes) {
            prop_assert_eq!(parse_response(message.emit()), Ok(message));
        }
    }
}
