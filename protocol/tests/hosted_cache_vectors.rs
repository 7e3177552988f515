//! The vectors of MS-PCHC: the good ones decode to the fields beside them and emit to the same bytes, the bad ones are
//! dropped or ignored as they say.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use bytes::Bytes;
use peerdist_protocol::content::ParseError;
use peerdist_protocol::hosted_cache::{
    ContentTag, Ignored, MAX_MESSAGE_SIZE, Offer, OfferError, Response, ResponseError, SegmentDescriptor, SegmentInfo,
    Version,
};
use serde_json::{Value, json};

struct Vector {
    name: String,
    bytes: Bytes,
    expect: String,
    fields: Value,
}

fn vectors() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pchc");
    let mut vectors: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let bytes = std::fs::read(path.with_extension("bin")).unwrap();
            assert_eq!(hex::encode(&bytes), json["hex"].as_str().unwrap());
            Vector {
                name: json["name"].as_str().unwrap().to_owned(),
                bytes: bytes.into(),
                expect: json["expect"].as_str().unwrap().to_owned(),
                fields: json["fields"].clone(),
            }
        })
        .collect();
    vectors.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(vectors.len(), 29);
    vectors
}

fn vector(name: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.name == name).unwrap()
}

/// The path that a vector's message belongs to.
fn version(vector: &Vector) -> Version {
    if vector.name.contains("batched") { Version::V2 } else { Version::V1 }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn check(offer: &Offer, fields: &Value) {
    assert_eq!(u64::from(offer.port()), number(&fields["Port"]));
    match offer {
        Offer::Initial(offer) => {
            assert_eq!(json!(hex::encode(offer.segment_id.as_bytes())), fields["Hash"]);
        }
        Offer::SegmentInfo(offer) => {
            assert_eq!(json!(hex::encode(offer.content_tag.0)), fields["ContentTag"]);
            let information = &fields["SegmentInformation"];
            let segment = offer.segment().unwrap();
            assert_eq!(json!(hex::encode(segment.id().as_bytes())), fields["HoHoDk"]);
            assert_eq!(u64::from(segment.length()), number(&information["segments"][0]["cbSegment"]));
            let segment = segment.into_segment().unwrap();
            let listed = segment.listed_blocks();
            let blocks = &information["blocks"][0];
            assert_eq!(u64::from(listed.start), number(&information["dwOffsetInFirstSegment"]) / 65_536);
            assert_eq!(u64::from(listed.end - listed.start), number(&blocks["cBlocks"]));
            let hashes = listed.map(|index| json!(hex::encode(segment.block_check(index).unwrap().hash.as_bytes())));
            assert_eq!(hashes.collect::<Value>(), blocks["BlockHashes"]);
        }
        Offer::Batched(offer) => {
            let described: Value = offer
                .segments
                .iter()
                .map(|segment| {
                    assert!(segment.block_count().is_ok());
                    json!({
                        "BlockSize": segment.block_size,
                        "SegmentSize": segment.segment_size,
                        "SizeOfContentTag": 16,
                        "ContentTag": hex::encode(segment.content_tag.0),
                        "HashAlgorithm": segment.hash_algorithm,
                        "SegmentHoHoDk": hex::encode(segment.segment_id.as_bytes()),
                    })
                })
                .collect();
            assert_eq!(described, fields["SegmentDescriptors"]);
        }
    }
}

#[test]
fn good_offers_decode_and_emit() {
    let good = vectors().into_iter().filter(|vector| vector.expect.starts_with("server:"));
    let mut seen = 0;
    for vector in good {
        let offer = Offer::parse(version(&vector), &vector.bytes).unwrap();
        assert_eq!(offer.version(), version(&vector), "{}", vector.name);
        check(&offer, &vector.fields);
        // Padding may be anything where it comes from; what we write to it is zero.
        let mut expected = vector.bytes.to_vec();
        expected[4..8].fill(0);
        expected[10..16].fill(0);
        assert_eq!(hex::encode(offer.emit()), hex::encode(expected), "{}", vector.name);
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn the_message_about_a_segment_is_that_of_the_vector() {
    let names = ["segment_info_sha256_two_blocks", "segment_info_second_segment_partial_range", "segment_info_sha384"];
    for name in names {
        let vector = vector(name);
        let Offer::SegmentInfo(offer) = Offer::parse(Version::V1, &vector.bytes).unwrap() else { panic!() };
        let segment = offer.segment().unwrap().into_segment().unwrap();
        assert_eq!(SegmentInfo::new(offer.port, offer.content_tag, &segment), offer, "{name}");
        assert!(!format!("{offer:?}").contains(&hex::encode(segment.secret().as_bytes())), "{name}");
    }
}

#[test]
fn a_complete_list_has_to_belong_to_its_segment() {
    let mut bytes = vector("segment_info_sha256_two_blocks").bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let Offer::SegmentInfo(offer) = Offer::parse(Version::V1, &bytes.into()).unwrap() else { panic!() };
    let segment = offer.segment().unwrap();
    assert_eq!(segment.into_segment(), Err(ParseError::HashOfData { segment: 0 }));
}

#[test]
fn hashes_that_would_reach_beyond_the_end_begin_with_the_first_block() {
    let mut bytes = vector("segment_info_sha256_two_blocks").bytes.to_vec();
    // dwOffsetInFirstSegment lies in the second of two blocks, and there are two hashes.
    bytes[38..42].copy_from_slice(&65_536_u32.to_le_bytes());
    let Offer::SegmentInfo(offer) = Offer::parse(Version::V1, &bytes.into()).unwrap() else { panic!() };
    assert_eq!(offer.segment().unwrap().into_segment().unwrap().listed_blocks(), 0..2);
}

#[test]
fn bad_offers_are_dropped_for_their_reason() {
    let expected = [
        ("neg_batched_offer_129", "descriptor_count"),
        ("neg_batched_offer_draft2012_layout", "content_tag_size"),
        ("neg_batched_offer_empty", "descriptor_count"),
        ("neg_batched_offer_tag_empty", "content_tag_size"),
        ("neg_batched_offer_truncated", "truncated"),
        ("neg_initial_offer_bad_type", "unknown_type"),
        ("neg_initial_offer_bad_version", "version"),
        ("neg_initial_offer_little_endian_type", "unknown_type"),
        ("neg_initial_offer_truncated_header", "truncated"),
        ("neg_initial_offer_version2_on_v1", "version"),
    ];
    let dropped = vectors().into_iter().filter(|vector| vector.expect.starts_with("drop"));
    let dropped: Vec<_> = dropped
        .map(|vector| {
            let error = Offer::parse(version(&vector), &vector.bytes).unwrap_err();
            (vector.name, error.as_str())
        })
        .collect();
    assert_eq!(dropped, expected.map(|(name, reason)| (name.to_owned(), reason)));
}

#[test]
fn bad_contents_of_good_offers_are_ignored() {
    let expected = [
        ("neg_batched_offer_bad_hash_algo", "unknown hash algorithm 0xfe"),
        ("neg_segment_info_bad_ci_version", "content information version 254.254 is neither 1.0 nor 2.0"),
        ("neg_segment_info_bad_hash_algo", "hash algorithm 0xfefe does not exist in content information v1"),
        ("neg_segment_info_no_segment", "segment 0 of 3461386514 bytes: 1..=33554432 are allowed there"),
        ("neg_segment_info_two_segments", "2 segments are announced where the bytes have room for 1"),
    ];
    let ignored = vectors().into_iter().filter(|vector| vector.expect.starts_with("HTTP 200 + OK"));
    let mut names = Vec::new();
    for vector in ignored {
        let why = match Offer::parse(version(&vector), &vector.bytes).unwrap() {
            Offer::SegmentInfo(offer) => offer.segment().unwrap_err(),
            Offer::Batched(offer) => offer.segments[0].block_count().unwrap_err(),
            Offer::Initial(_) => panic!("{}", vector.name),
        };
        let (_, expected) = expected.iter().find(|(name, _)| *name == vector.name).unwrap();
        assert!(why.to_string().ends_with(expected), "{}: {why}", vector.name);
        names.push(vector.name);
    }
    assert_eq!(names, expected.map(|(name, _)| name));
}

#[test]
fn responses() {
    assert_eq!(Response::parse(&vector("response_ok").bytes), Ok(Response::Ok));
    assert_eq!(Response::parse(&vector("response_interested").bytes), Ok(Response::Interested));
    for response in [Response::Ok, Response::Interested] {
        assert_eq!(Response::parse(&response.emit()), Ok(response));
    }
    let error = |name: &str| Response::parse(&vector(name).bytes).unwrap_err();
    let announced = u32::from_be_bytes([1, 0, 0, 0]);
    assert_eq!(error("neg_response_little_endian_size"), ResponseError::WrongSize { announced, size: 1 });
    assert!(matches!(error("neg_response_no_code"), ResponseError::Truncated(_)));
    assert!(matches!(error("neg_response_unknown_code"), ResponseError::UnknownCode(_)));
    assert!(matches!(Response::parse(&[0, 0, 0, 2, 0, 0]), Err(ResponseError::TrailingBytes(_))));
}

#[test]
fn sizes_that_cannot_be_are_ignored() {
    let Offer::Batched(offer) = Offer::parse(Version::V2, &vector("batched_offer_one_truncsha512").bytes).unwrap()
    else {
        panic!()
    };
    let good = offer.segments[0];
    let with = |hash_algorithm, block_size, segment_size| {
        SegmentDescriptor { hash_algorithm, block_size, segment_size, ..good }.block_count()
    };
    assert_eq!(with(4, 131_072, 131_072), Ok(1));
    assert_eq!(with(4, 131_073, 131_073), Err(Ignored::SegmentSize(131_073)));
    assert_eq!(with(1, 65_536, 32 << 20), Ok(512));
    assert_eq!(with(1, 65_536, (32 << 20) + 1), Err(Ignored::SegmentSize((32 << 20) + 1)));
    assert_eq!(with(1, 65_536, 1), Ok(1));
    assert_eq!(with(1, 65_536, 0), Err(Ignored::SegmentSize(0)));
    for block_size in [0, 65_535, 131_073, u32::MAX] {
        let segment_size = 32 << 20;
        assert_eq!(with(1, block_size, segment_size), Err(Ignored::BlockSize { block_size, segment_size }));
    }
    let odd = SegmentDescriptor { segment_size: 65_537, hash_algorithm: 1, ..good };
    assert_eq!((odd.block_count(), odd.block_length(0), odd.block_length(1)), (Ok(2), 65_536, 1));
    assert_eq!((odd.block_length(2), odd.block_length(u32::MAX)), (0, 0));
}

#[test]
fn descriptors_name_the_hashes_that_the_protocol_knows() {
    let tag = ContentTag::PEERDIST;
    let described = |name: &str| {
        let Offer::SegmentInfo(offer) = Offer::parse(Version::V1, &vector(name).bytes).unwrap() else { panic!() };
        let segment = offer.segment().unwrap().into_segment().unwrap();
        (SegmentDescriptor::new(&segment, tag), segment.id(), segment.length())
    };
    let (descriptor, segment_id, segment_size) = described("segment_info_sha256_two_blocks");
    let expected =
        SegmentDescriptor { block_size: 65_536, segment_size, content_tag: tag, hash_algorithm: 1, segment_id };
    assert_eq!(descriptor, Some(expected));
    assert_eq!(described("segment_info_sha384").0, None);
}

#[test]
fn the_hash_of_an_initial_offer_is_as_long_as_a_hash() {
    let good = vector("initial_offer_sha256").bytes;
    for size in [0, 1, 31, 32, 33, 47, 48, 49, 63, 64, 65] {
        let bytes = [&good[..16], &vec![7; size]].concat();
        let parsed = Offer::parse(Version::V1, &bytes.into());
        match size {
            32 | 48 | 64 => {
                assert!(matches!(parsed, Ok(Offer::Initial(offer)) if offer.segment_id.as_bytes().len() == size))
            }
            _ => assert_eq!(parsed, Err(OfferError::SegmentIdSize { size })),
        }
    }
}

#[test]
fn a_larger_message_than_any_is_refused_unread() {
    let size = MAX_MESSAGE_SIZE + 1;
    assert_eq!(Offer::parse(Version::V1, &vec![0; size].into()), Err(OfferError::TooLarge { size }));
}

/// Whatever comes is read without a panic, and what can be read is written as it was, padding aside.
#[test]
fn mutated_offers_are_read_or_refused() {
    let mut random = 1_u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize
    };
    for vector in vectors() {
        for _ in 0..2_000 {
            let mut bytes = vector.bytes.to_vec();
            for _ in 0..=next() % 3 {
                let at = next() % bytes.len();
                bytes[at] = next() as u8;
            }
            if next() % 4 == 0 {
                bytes.truncate(next() % (bytes.len() + 1));
            }
            let bytes = Bytes::from(bytes);
            for version in [Version::V1, Version::V2] {
                let Ok(offer) = Offer::parse(version, &bytes) else { continue };
                assert_eq!(Offer::parse(version, &offer.emit().into()).unwrap(), offer);
                match &offer {
                    Offer::SegmentInfo(offer) => _ = offer.segment().map(|segment| segment.into_segment().is_ok()),
                    Offer::Batched(offer) => {
                        for segment in &offer.segments {
                            let Ok(count) = segment.block_count() else { continue };
                            let total: u64 = (0..count).map(|index| u64::from(segment.block_length(index))).sum();
                            assert_eq!(total, u64::from(segment.segment_size));
                        }
                    }
                    Offer::Initial(_) => {}
                }
            }
            _ = Response::parse(&bytes);
        }
    }
}
