//! The vectors of MS-PCCRR: the good ones decode to the fields beside them and emit to the same bytes, the bad ones are
//! refused for the stated reason.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use bytes::Bytes;
use peerdist_protocol::content::{BlockCheck, BlockRange, CryptoAlgoId, EncryptedBlock, SegmentSecret, VerifiedBlock};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::retrieval::{
    BlkTail, Decision, ExtensibleBlob, MessageError, PATH, ProtocolVersion, Request, RequestMessage, RequestedRange,
    Response, ResponseMessage, VersionRange, blk_head, decide, empty_blk, is_path,
};
use serde_json::{Value, json};

struct Vector {
    name: String,
    bytes: Bytes,
    decoded: Value,
}

fn vectors() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pccrr");
    let mut vectors: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let bytes = std::fs::read(path.with_extension("bin")).unwrap();
            assert_eq!(hex::encode(HashAlgorithm::Sha256.hash(&bytes).as_bytes()), json["sha256"].as_str().unwrap());
            Vector {
                name: json["name"].as_str().unwrap().to_owned(),
                bytes: bytes.into(),
                decoded: json["decoded"].clone(),
            }
        })
        .collect();
    vectors.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(vectors.len(), 39);
    vectors
}

fn vector(name: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.name == name).unwrap()
}

fn header_json(version: ProtocolVersion, message_type: u32, size: usize, algorithm: CryptoAlgoId) -> Value {
    json!({
        "ProtVer": version.to_string(),
        "MsgType": message_type,
        "MsgSize": size,
        "CryptoAlgoId": algorithm.to_wire(),
    })
}

fn pad(size: usize) -> usize {
    [0, 3, 2, 1][size % 4]
}

fn requested_json(ranges: &[RequestedRange]) -> Value {
    ranges.iter().map(|range| json!([range.index, range.count])).collect()
}

fn blob_json(blob: Option<&ExtensibleBlob>) -> Value {
    let Some(blob) = blob else { return json!("") };
    let ages: Vec<_> = blob.encoded().iter().map(|age| json!([age.segment_index, age.age])).collect();
    json!({ "version": 1, "units": blob.units() as u8, "ages": ages })
}

fn request_json(message: &RequestMessage, size: usize) -> Value {
    let kind = message.request.message_type().to_wire();
    let header = header_json(message.version, kind, size, message.algorithm);
    match &message.request {
        Request::NegoReq(versions) => {
            json!({ "header": header, "min": versions.min.to_string(), "max": versions.max.to_string() })
        }
        Request::GetBlkList(request) => json!({
            "header": header,
            "segment_id": hex::encode(request.segment_id.as_bytes()),
            "pad": pad(request.segment_id.as_bytes().len()),
            "ranges": requested_json(&request.ranges),
        }),
        Request::GetBlks(request) => json!({
            "header": header,
            "segment_id": hex::encode(request.segment_id.as_bytes()),
            "pad": pad(request.segment_id.as_bytes().len()),
            "ranges": requested_json(&request.ranges),
            "vrf": "",
        }),
        Request::GetSegList(request) => {
            let ids = &request.segment_ids;
            json!({
                "header": header,
                "request_id": hex::encode(request.request_id.0),
                "segment_ids": ids.iter().map(|id| hex::encode(id.as_bytes())).collect::<Vec<_>>(),
                "pads": ids.iter().map(|id| pad(id.as_bytes().len())).collect::<Vec<_>>(),
                "blob": blob_json(request.blob.as_ref()),
            })
        }
    }
}

fn response_json(message: &ResponseMessage, size: usize) -> Value {
    let kind = message.response.message_type().to_wire();
    let header = header_json(message.version, kind, size - 4, message.algorithm);
    let mut decoded = match &message.response {
        Response::NegoResp(versions) => json!({ "min": versions.min.to_string(), "max": versions.max.to_string() }),
        Response::BlkList(list) => json!({
            "segment_id": hex::encode(list.segment_id.as_bytes()),
            "pad": pad(list.segment_id.as_bytes().len()),
            "ranges": list.ranges.ranges().map(|range| json!([range.index(), range.count()])).collect::<Vec<_>>(),
            "next": list.next,
        }),
        Response::Blk(blk) => json!({
            "segment_id": hex::encode(blk.segment_id.as_bytes()),
            "pad": pad(blk.segment_id.as_bytes().len()),
            "index": blk.index,
            "next": blk.next,
            "size_of_block": blk.block.len(),
            "pad2": pad(blk.block.len()),
            "vrf": "",
            "iv": hex::encode(blk.iv.as_ref().map_or(&[][..], |iv| iv)),
        }),
        Response::SegList(list) => json!({
            "request_id": hex::encode(list.request_id.0),
            "ranges": list.ranges.iter().map(|range| json!([range.index(), range.count()])).collect::<Vec<_>>(),
            "blob": blob_json(list.blob.as_ref()),
        }),
    };
    decoded["transport_size"] = json!(size - 4);
    decoded["header"] = header;
    decoded
}

/// What the vectors say beside the message's own fields.
const NOTES: [&str; 6] =
    ["plaintext_length", "plaintext_sha256", "plaintext", "Kp", "expected_reply", "server_selects_block"];

#[test]
fn good_messages_decode_to_their_fields_and_emit_to_the_same_bytes() {
    let mut checked = [0, 0];
    for Vector { name, bytes, mut decoded } in vectors() {
        if ["bad_", "struct_", "http_"].iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        for note in NOTES {
            decoded.as_object_mut().unwrap().remove(note);
        }
        let (found, emitted) = if decoded.get("transport_size").is_none() {
            checked[0] += 1;
            let message = RequestMessage::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            (request_json(&message, bytes.len()), message.emit())
        } else {
            checked[1] += 1;
            let message = ResponseMessage::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            (response_json(&message, bytes.len()), message.emit())
        };
        if name == "seglist_empty_2012_layout" {
            // Understood, but never written: the blob's size field is missing.
            assert_eq!(decoded["blob"], Value::Null);
            assert_eq!(emitted, vector("seglist_empty").bytes);
            continue;
        }
        assert_eq!(found, decoded, "{name}");
        assert_eq!(emitted, bytes, "{name}");
    }
    assert_eq!(checked, [12, 17]);
}

#[test]
fn blocks_decrypt_to_their_plaintext_and_encrypt_to_the_same_message() {
    let mut checked = 0;
    for Vector { name, bytes, decoded } in vectors() {
        let Some(length) = decoded["plaintext_length"].as_u64().filter(|length| *length > 0) else { continue };
        let message = ResponseMessage::parse(&bytes).unwrap();
        let Response::Blk(blk) = message.response else { panic!("{name}") };
        let sealed = blk.encrypted_block(message.algorithm).unwrap();
        let secret = SegmentSecret::from_slice(&hex::decode(decoded["Kp"].as_str().unwrap()).unwrap()).unwrap();
        let hash = hex::decode(decoded["plaintext_sha256"].as_str().unwrap()).unwrap();
        let check = BlockCheck {
            algorithm: HashAlgorithm::Sha256,
            hash: peerdist_protocol::crypto::HashValue::from_slice(&hash).unwrap(),
            length: length as u32,
        };
        let opened = sealed.open(&secret, &check).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(opened.canonical, message.algorithm != CryptoAlgoId::None, "{name}");
        if let Some(plain) = decoded["plaintext"].as_str() {
            assert_eq!(hex::encode(opened.block.bytes()), plain, "{name}");
        }

        let block = VerifiedBlock::verify(opened.block.bytes().clone(), &check).unwrap();
        let again = EncryptedBlock::seal(&block, &secret, message.algorithm, sealed.iv).unwrap();
        let tail = BlkTail::from(&again);
        assert_eq!(tail.to_encrypted_block().unwrap(), sealed, "{name}");
        let mut whole = blk_head(&blk.segment_id, blk.index, blk.next, &tail);
        whole.extend_from_slice(&tail.bytes);
        assert_eq!(whole, bytes, "{name}");
        checked += 1;
    }
    assert_eq!(checked, 7);
}

#[test]
fn a_missing_block_is_said_as_in_the_vector() {
    let Vector { bytes, .. } = vector("blk_missing");
    let Response::Blk(blk) = ResponseMessage::parse(&bytes).unwrap().response else { panic!() };
    assert_eq!(empty_blk(&blk.segment_id, 9, 0), bytes);
}

#[test]
fn bad_requests_are_discarded_for_the_stated_reason() {
    let discard = |name: &str| match decide(&vector(name).bytes, VersionRange::ALL) {
        Decision::Discard(reason) => reason,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(discard("bad_truncated_header"), MessageError::TooShort { size: 12 });
    assert_eq!(discard("bad_msgsize"), MessageError::WrongMessageSize { announced: 69, size: 68 });
    assert_eq!(discard("bad_unknown_type"), MessageError::UnknownType(0xfefe));
    // Ten ranges of 8 bytes announced, one and the four bytes of SizeOfDataForVrfBlock there.
    assert!(matches!(discard("bad_range_count"), MessageError::Truncated(at) if at.needed == 80 && at.left == 12));
    // The second id's size is the blob's 0.
    assert_eq!(discard("bad_segid_count"), MessageError::SegmentIdSize { size: 0 });
}

#[test]
fn an_unsupported_version_is_answered_with_our_own() {
    let Decision::Reply(reply) = decide(&vector("bad_version_getblks").bytes, VersionRange::ALL) else { panic!() };
    let message = ResponseMessage::parse(&reply.into()).unwrap();
    assert_eq!(message.version, ProtocolVersion::V1);
    assert_eq!(message.response, Response::NegoResp(VersionRange::ALL));
    let only_v1 = VersionRange { min: ProtocolVersion::V1, max: ProtocolVersion::V1 };
    let Decision::Reply(reply) = decide(&vector("nego_req_1_0_to_2_0").bytes, only_v1) else { panic!() };
    assert_eq!(reply, vector("nego_resp_1_0_only").bytes);
}

#[test]
fn structures() {
    let Vector { bytes, decoded, .. } = vector("struct_block_range_42_7");
    let (index, count) = bytes.split_at(4);
    let [index, count] = [index, count].map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
    let range = BlockRange::new(index, count).unwrap();
    assert_eq!(json!([range.index(), range.count()]), decoded["range"]);
    assert_eq!(json!([range.index(), range.index() + range.count() - 1]), decoded["blocks"]);

    let Vector { bytes, decoded, .. } = vector("struct_extensible_blob_v1");
    let blob = ExtensibleBlob::parse(&bytes).unwrap();
    assert_eq!(blob.emit(), bytes);
    assert_eq!(blob_json(Some(&blob))["ages"], decoded["ages"]);
    let seconds: Vec<_> = blob.ages().map(|(_, age)| age.as_secs_f64()).collect();
    assert_eq!(json!(seconds), decoded["seconds"]);
}

#[test]
fn http_messages_carry_the_vectors_they_name() {
    for name in ["http_request_getblks", "http_response_blk_missing"] {
        let Vector { bytes, decoded, .. } = vector(name);
        let body = vector(decoded["body_vector"].as_str().unwrap()).bytes;
        assert!(bytes.ends_with(&body), "{name}");
        if let Some(path) = decoded["path"].as_str() {
            assert_eq!(path, PATH);
            assert!(is_path(path) && bytes.starts_with(format!("POST {PATH} HTTP/1.1\r\n").as_bytes()));
        }
    }
}
