//! The vectors of `vectors/pccrd`, decoded and, where they are in this crate's form, written again byte for byte.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{
    AppSequence, EndpointAddress, Form, Message, MessageId, ParseError, Probe, ProbeMatches, SegmentAges, Segments,
};
use serde_json::Value;

#[test]
fn every_message_decodes_to_what_its_description_says_and_is_written_the_same() {
    let mut seen = 0;
    for (name, vector) in vectors() {
        let bytes = payload(&vector);
        let decoded = &vector["decoded"];
        match decoded["kind"].as_str() {
            Some("Probe") => {
                let probe = Probe::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(probe.message_id().as_str(), decoded["message_id"], "{name}");
                assert_eq!(probe.form(), form(decoded), "{name}");
                assert_eq!(probe.ids().copied().collect::<Vec<_>>(), ids(decoded), "{name}");
                assert_eq!(text(&probe.emit()), text(&bytes), "{name}");
            }
            Some("ProbeMatches") => {
                let matches = ProbeMatches::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
                compare_matches(&name, &matches, decoded);
                if decoded["container"].is_null() {
                    assert_eq!(text(&matches.emit()), text(&bytes), "{name}");
                } else {
                    // The container of the 2012 edition is read; the one of the newest is written.
                    assert_eq!(ProbeMatches::parse(&matches.emit()), Ok(matches), "{name}");
                }
            }
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 13);
}

#[test]
fn bad_probes_are_refused_for_the_reason_that_their_description_gives() {
    for (name, reason) in [
        ("bad_probe_empty_scopes", ParseError::BadScopes),
        ("bad_probe_types", ParseError::OtherType),
        ("bad_probe_v2_short", ParseError::BadScopes),
    ] {
        let (_, vector) = vectors().find(|(found, _)| found == name).unwrap();
        assert_eq!(Message::parse(&payload(&vector)), Err(reason), "{name}");
    }
}

#[test]
fn the_short_scope_example_is_what_a_version_2_probe_carries() {
    let (_, vector) = vectors().find(|(name, _)| name == "scope_v2_short_example").unwrap();
    let probe = Probe::new(MessageId::from_uuid(1), Form::V2, ids(&vector["decoded"])).unwrap();
    let base64 = vector["decoded"]["base64"].as_str().unwrap();
    assert!(text(&probe.emit()).contains(&format!(">{base64}</wsd:Scopes>")));
}

#[test]
fn counts_of_four_digits_are_read_like_those_of_eight() {
    let (_, vector) = vectors().find(|(name, _)| name == "blockcount_16bit_example").unwrap();
    let digits = text(&payload(&vector)).to_owned();
    let three = |tokens: &str, digits: &str| {
        let (_, sample) = vectors().find(|(name, _)| name == "probematch_v1").unwrap();
        let sample = text(&payload(&sample)).to_owned();
        let token = sample.split("<wsd:Scopes>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        let changed = sample.replace(&token, tokens).replace("0000002A", digits);
        match ProbeMatches::parse(changed.as_bytes()).unwrap().segments {
            Segments::V1(segments) => segments.into_iter().map(|(_, blocks)| blocks).collect::<Vec<_>>(),
            Segments::V2 { .. } => panic!("a version 1 answer"),
        }
    };
    assert_eq!(three("AA BB CC", &digits), [Some(25), Some(4), Some(16)]);
    assert_eq!(three("AA BB", "0000000100000002"), [Some(1), Some(2)]);
    // One scope and eight digits, or two scopes and eight digits: the width follows from the number of scopes.
    assert_eq!(three("AA", "00010002"), [Some(0x0001_0002)]);
    assert_eq!(three("AA BB", "00010002"), [Some(1), Some(2)]);
    for unreadable in ["", "000000010", "0000000G00000001", "+000000100000001"] {
        assert_eq!(three("AA BB", unreadable), [None, None], "{unreadable}");
    }
}

/// What iPXE searches for as plain bytes, and what would make it ignore an answer.
#[test]
fn answers_carry_the_literal_tags_that_clients_search_for() {
    let (_, vector) = vectors().find(|(name, _)| name == "probematch_v1_two_ipv6").unwrap();
    let written = ProbeMatches::parse(&payload(&vector)).unwrap().emit();
    let written = text(&written);
    for tag in ["<wsd:Scopes>", "</wsd:Scopes>", "<wsd:XAddrs>", "</wsd:XAddrs>", "<PeerDist:BlockCount>"] {
        assert_eq!(written.matches(tag).count(), 1, "{tag}");
    }
    assert!(!written.contains("/>") && !written.contains('\n'));
}

fn compare_matches(name: &str, matches: &ProbeMatches, decoded: &Value) {
    assert_eq!(matches.message_id.as_str(), decoded["message_id"], "{name}");
    assert_eq!(matches.relates_to.as_str(), decoded["relates_to"], "{name}");
    assert_eq!(matches.address, EndpointAddress::new(decoded["address"].as_str().unwrap()).unwrap(), "{name}");
    let sequence = AppSequence {
        instance_id: decoded["instance_id"].as_u64().unwrap(),
        message_number: decoded["message_number"].as_u64().unwrap(),
    };
    assert_eq!(matches.app_sequence, Some(sequence), "{name}");
    assert_eq!(matches.metadata_version, decoded["metadata_version"].as_u64(), "{name}");
    let xaddrs: Vec<_> = array(&decoded["xaddrs"]).map(|value| value.as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(matches.xaddrs, xaddrs, "{name}");
    assert_eq!(matches.form(), form(decoded), "{name}");
    match &matches.segments {
        Segments::V1(segments) => {
            let found: Vec<_> = segments.iter().map(|(scope, _)| scope.id()).collect();
            assert_eq!(found, ids(decoded), "{name}");
            let counts: Vec<_> = array(&decoded["block_counts"]).map(|count| count.as_u64().unwrap()).collect();
            let found: Vec<_> = segments.iter().map(|(_, blocks)| u64::from(blocks.unwrap())).collect();
            assert_eq!(found, counts, "{name}");
        }
        Segments::V2 { bits, ages } => {
            let count = usize::try_from(decoded["segments_in_probe"].as_u64().unwrap()).unwrap();
            let found: Vec<_> = (0..count)
                .map(|index| match bits.get(index, count) {
                    None => "none",
                    Some(false) => "partial",
                    Some(true) => "full",
                })
                .collect();
            assert_eq!(found, array(&decoded["availability"]).collect::<Vec<_>>(), "{name}");
            let ages: &SegmentAges = ages.as_ref().unwrap();
            assert_eq!(ages.units() as u64, decoded["ages"]["units"].as_u64().unwrap(), "{name}");
            let expected: Vec<_> = array(&decoded["ages"]["ages"])
                .map(|age| {
                    let hundredths = age[1].as_u64().unwrap();
                    (usize::try_from(age[0].as_u64().unwrap()).unwrap(), Duration::from_millis(hundredths * 10))
                })
                .collect();
            assert_eq!(ages.iter().collect::<Vec<_>>(), expected, "{name}");
        }
    }
}

fn vectors() -> impl Iterator<Item = (String, Value)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert_eq!(files.len(), 18);
    files.into_iter().map(|path| {
        let vector: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        (vector["name"].as_str().unwrap().to_owned(), vector)
    })
}

fn payload(vector: &Value) -> Vec<u8> {
    std::fs::read(directory().join(vector["file"].as_str().unwrap())).unwrap()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pccrd")
}

fn form(decoded: &Value) -> Form {
    if decoded["version"] == 1 { Form::V1 } else { Form::V2 }
}

fn ids(decoded: &Value) -> Vec<SegmentId> {
    array(&decoded["segment_ids"]).map(|id| id.as_str().unwrap().parse().unwrap()).collect()
}

fn array(value: &Value) -> std::slice::Iter<'_, Value> {
    value.as_array().unwrap().iter()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
