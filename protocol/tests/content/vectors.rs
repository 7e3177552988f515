//! Every field of every good vector.

use peerdist_protocol::content::{ContentInformation, ContentVersion, Segment, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use serde_json::Value;

use crate::support::{BOTH, generated_content, hashed, vector, vectors};

fn number(value: &Value) -> Option<u64> {
    match value.as_str() {
        Some(text) => u64::from_str_radix(text.trim_start_matches("0x"), 16).ok(),
        None => value.as_u64(),
    }
}

fn assert_number(json: &Value, field: &str, actual: impl Into<u64>) {
    let Some(expected) = json.get(field) else { return };
    assert_eq!(number(expected), Some(actual.into()), "{field}");
}

fn assert_bytes(json: &Value, field: &str, actual: &[u8]) {
    let Some(expected) = json.get(field) else { return };
    assert_eq!(expected.as_str().unwrap(), hex::encode(actual), "{field}");
}

fn server_secret(json: &Value) -> ServerSecret {
    match json.get("server_secret_key") {
        Some(key) => ServerSecret::from_bytes(hex::decode(key.as_str().unwrap()).unwrap()),
        None => ServerSecret::from_bytes(json["server_secret_key_ascii"].as_str().unwrap()),
    }
}

fn assert_header(json: &Value, information: &ContentInformation) {
    let range = information.range();
    assert_number(json, "range_start", range.start);
    assert_number(json, "range_end_exclusive", range.end);
    match information {
        ContentInformation::V1(v1) => {
            assert_number(json, "dwOffsetInFirstSegment", v1.offset_in_first_segment());
            assert_number(json, "dwReadBytesInLastSegment", v1.read_bytes_in_last_segment());
            assert_number(json, "cSegments", v1.segments().len() as u64);
        }
        ContentInformation::V2(v2) => {
            assert_number(json, "ullStartInContent", v2.start_in_content());
            assert_number(json, "ullIndexOfFirstSegment", v2.index_of_first_segment());
            assert_number(json, "dwOffsetInFirstSegment", v2.offset_in_first_segment());
            assert_number(json, "ullLengthOfRange", v2.length_of_range());
            assert_eq!(v2.warnings(), []);
        }
    }
}

fn assert_segment(json: &Value, segment: &Segment, server: &ServerSecret) {
    assert_number(json, "ullOffsetInContent", segment.offset());
    assert_number(json, "start", segment.offset());
    assert_number(json, "cbSegment", segment.length());
    assert_number(json, "cbBlockSize", segment.block_size());
    assert_bytes(json, "HoD", segment.hash_of_data().as_bytes());
    assert_bytes(json, "Kp", segment.secret().as_bytes());
    assert_bytes(json, "HoHoDk", segment.id().as_bytes());
    let derived = server.hashed(segment.algorithm()).segment_secret(segment.hash_of_data());
    assert_eq!(segment.secret(), &derived);

    let listed = segment.listed_blocks();
    assert_number(json, "cBlocks", listed.end - listed.start);
    assert_number(json, "first_listed_block_index", listed.start);
    let hash_of = |index| segment.block_check(index).unwrap().hash;
    assert_bytes(json, "first_block_hash", hash_of(listed.start).as_bytes());
    assert_bytes(json, "last_block_hash", hash_of(listed.end - 1).as_bytes());
    for block in json.get("blocks").and_then(Value::as_array).into_iter().flatten() {
        let index = u32::try_from(number(&block["index"]).unwrap()).unwrap();
        let range = segment.block_range(index).unwrap();
        assert_number(block, "start", range.start);
        assert_number(block, "end", range.end);
        assert_bytes(block, "hash", hash_of(index).as_bytes());
    }
}

#[test]
fn every_field_is_read_and_every_byte_written_again() {
    let mut seen = 0;
    for (name, bytes, json) in vectors("iis_").into_iter().chain(vectors("synth_")) {
        println!("{name}");
        assert_number(&json, "length_bytes", bytes.len() as u64);
        let information = ContentInformation::parse(bytes.clone()).unwrap();
        assert_eq!(information.emit(), bytes);
        assert_header(&json, &information);

        let server = server_secret(&json);
        assert_bytes(&json, "Ks", server.hashed(information.algorithm()).as_bytes());
        let segments: Vec<&Value> = match json.get("chunks") {
            Some(chunks) => chunks.as_array().unwrap().iter().flat_map(|c| c["segments"].as_array().unwrap()).collect(),
            None => json["segments"].as_array().unwrap().iter().collect(),
        };
        assert_eq!(segments.len(), information.segments().len());
        for (json, segment) in segments.into_iter().zip(information.segments()) {
            assert_segment(json, segment, &server);
            seen += 1;
        }
    }
    assert!(seen > 20);
}

#[test]
fn the_contents_of_the_synthetic_vectors_have_the_hashes_they_say() {
    for (name, bytes, json) in vectors("synth_") {
        println!("{name}");
        let content = generated_content(usize::try_from(number(&json["content_length"]).unwrap()).unwrap());
        for segment in ContentInformation::parse(bytes).unwrap().segments() {
            for index in segment.listed_blocks() {
                let check = segment.block_check(index).unwrap();
                let range = segment.block_range(index).unwrap();
                let block = &content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
                assert_eq!(block.len(), check.length as usize);
                assert_eq!(check.algorithm.hash(block), check.hash);
            }
        }
    }
}

#[test]
fn our_hasher_makes_the_version_1_vectors_byte_for_byte() {
    let content = generated_content(128_000);
    for (algorithm, name) in [
        (HashAlgorithm::Sha256, "synth_v1_125KB_sha256"),
        (HashAlgorithm::Sha384, "synth_v1_125KB_sha384"),
        (HashAlgorithm::Sha512, "synth_v1_125KB_sha512"),
    ] {
        let options = peerdist_protocol::content::HashOptions { v1: Some(algorithm), v2: false };
        assert_eq!(hashed(&content, options).v1.unwrap().emit(), vector(name).0, "{name}");
    }
}

#[test]
fn ranges_are_cut_as_the_examples_show() {
    let whole = hashed(&generated_content(131_072_000), BOTH).v1.unwrap();
    // The vector names the whole length where we write zero; all else is the same.
    let (expected, parsed) = vector("synth_v1_125MB_explicit_len");
    assert_eq!(whole.segments(), parsed.segments());
    assert_eq!(whole.emit()[..10], expected[..10]);
    assert_eq!(whole.emit()[14..], expected[14..]);
    assert_eq!(whole.slice(102_400..130_023_424).unwrap().emit(), vector("synth_v1_125MB_range").0);

    let whole = hashed(&generated_content(128_000), BOTH).v1.unwrap();
    let range = whole.slice(102_400..128_000).unwrap();
    assert_eq!(range.emit(), vector("synth_v1_125KB_range_leading_blocks").0);
    assert_eq!(whole.slice(70_000..71_000).unwrap().emit(), vector("synth_v1_125KB_range_mid").0);

    let (_, whole) = vector("synth_v2_189KB");
    assert_eq!(whole.slice(102_400..112_640).unwrap().emit(), vector("synth_v2_189KB_range").0);
    assert_eq!(whole.slice(0..193_536).unwrap().emit(), vector("synth_v2_189KB").0);
    let (_, two_chunks) = vector("synth_v2_189KB_two_chunks");
    assert_eq!(two_chunks.segments(), whole.segments());
}

#[test]
fn only_complete_lists_are_bound() {
    let bound = |name| vector(name).1.segments().iter().map(Segment::is_bound).collect::<Vec<_>>();
    assert_eq!(bound("synth_v1_125KB_sha256"), [true]);
    assert_eq!(bound("synth_v1_125KB_range_leading_blocks"), [true]);
    assert_eq!(bound("synth_v1_125KB_range_strict_blocks"), [false]);
    assert_eq!(bound("synth_v1_125MB_range"), [true, true, true, false]);
    assert_eq!(bound("synth_v2_189KB_range"), [true]);
}

#[test]
fn versions_have_names() {
    for version in [ContentVersion::V1, ContentVersion::V2] {
        assert_eq!(version.to_string().parse(), Ok(version));
    }
    assert!("V1".parse::<ContentVersion>().is_err());
    assert_eq!(vector("iis_85_png_v1").1.version(), ContentVersion::V1);
    assert_eq!(vector("iis_85_png_v2").1.version(), ContentVersion::V2);
}
