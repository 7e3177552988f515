//! Bytes that are not content information, and the reason that is given for each.

use bytes::Bytes;
use peerdist_protocol::content::{ContentInformation, ParseError, v2};
use peerdist_protocol::wire::{TrailingBytes, Truncated};

use crate::support::{vector, vectors};

const SMALL: [&str; 6] = [
    "iis_85_png_v1",
    "iis_85_png_v2",
    "synth_v1_125KB_range_strict_blocks",
    "synth_v1_125KB_sha512",
    "synth_v2_189KB_range",
    "synth_v2_189KB_two_chunks",
];

fn refusal(bytes: impl Into<Bytes>) -> ParseError {
    ContentInformation::parse(bytes.into()).expect_err("malformed bytes were accepted")
}

/// `name` with the bytes at `offset` replaced.
fn altered(name: &str, offset: usize, with: &[u8]) -> Bytes {
    let mut bytes = vector(name).0.to_vec();
    bytes[offset..offset + with.len()].copy_from_slice(with);
    bytes.into()
}

#[test]
fn every_bad_vector_is_refused_for_its_reason() {
    for (name, bytes, json) in vectors("bad_") {
        let error = refusal(bytes);
        println!("{name}: {error} ({})", json["reason"]);
        let as_expected = match name.as_str() {
            "bad_v1_bad_hash_algo" | "bad_v2_hash_algo_1" => matches!(error, ParseError::HashAlgorithm { .. }),
            "bad_v1_bad_version_0101" => error == ParseError::Version { major: 1, minor: 1 },
            "bad_v2_minor_1" => error == ParseError::Version { major: 2, minor: 1 },
            "bad_v1_block_size" => matches!(error, ParseError::BlockSize { segment: 0, .. }),
            "bad_v1_cbSegment_over_32MB" | "bad_v1_zero_cbSegment" | "bad_v1_short_inner_segment" => {
                matches!(error, ParseError::SegmentSize { segment: 0, .. })
            }
            "bad_v2_cbSegment_131073" => {
                matches!(error, ParseError::SegmentSize { size: 131_073, allowed: (1, 131_072), .. })
            }
            "bad_v2_cbSegment_zero" => matches!(error, ParseError::SegmentSize { size: 0, .. }),
            "bad_v1_cblocks_overflow" | "bad_v1_cblocks_too_many" => {
                matches!(error, ParseError::BlockCount { first: 0, last: 1, total: 2, .. })
            }
            "bad_v1_hod_mismatch" => error == ParseError::HashOfData { segment: 0 },
            "bad_v1_huge_segments" | "bad_v1_truncated_segment" => {
                matches!(error, ParseError::SegmentCount { .. })
            }
            "bad_v1_noncontiguous" => matches!(error, ParseError::SegmentOffset { segment: 1, .. }),
            "bad_v1_offset_past_segment" | "bad_v2_offset_past_first" => {
                matches!(error, ParseError::OffsetInFirstSegment { .. })
            }
            "bad_v1_read_past_segment" | "bad_v2_len_overflow" | "bad_v2_len_past_end" => {
                matches!(error, ParseError::RangeEnd { .. })
            }
            "bad_v1_trailing_byte" => error == ParseError::TrailingBytes(TrailingBytes { offset: 166, count: 1 }),
            "bad_v1_truncated_cblocks"
            | "bad_v1_truncated_hash"
            | "bad_v1_truncated_header"
            | "bad_v2_truncated_header"
            | "bad_v2_truncated_chunk_header" => matches!(error, ParseError::Truncated(_)),
            "bad_v1_zero_segments" | "bad_v2_no_chunks" => error == ParseError::NoSegment,
            "bad_v2_byteswapped_header_le" | "bad_v2_chunk_len_huge" | "bad_v2_chunk_overrun" => {
                matches!(error, ParseError::ChunkOverrun { offset: 31, .. })
            }
            "bad_v2_chunk_len_not_68" | "bad_v2_chunk_len_zero" => {
                matches!(error, ParseError::ChunkLength { offset: 31, .. })
            }
            "bad_v2_chunk_type_1" => error == ParseError::ChunkType { offset: 31, value: 1 },
            _ => panic!("no expectation for {name}"),
        };
        assert!(as_expected, "{name}: {error:?}");
    }
}

#[test]
fn every_cut_is_refused() {
    for name in SMALL {
        let (bytes, _) = vector(name);
        for length in 0..bytes.len() {
            // Where a chunk ends, what is left is whole content information of a shorter range.
            match ContentInformation::parse(bytes.slice(..length)) {
                Ok(shorter) => assert!(name == "synth_v2_189KB_two_chunks" && length == 31 + 5 + 68, "{shorter:?}"),
                Err(ParseError::Truncated(Truncated { offset, needed, left })) => {
                    assert_eq!(offset + left, length);
                    assert!(needed > left);
                }
                Err(ParseError::SegmentCount { room: 0, .. } | ParseError::ChunkOverrun { .. }) => {}
                Err(ParseError::NoSegment) => assert_eq!(length, 31),
                Err(other) => panic!("{name} cut at {length}: {other}"),
            }
        }
    }
}

#[test]
fn trailing_bytes_are_refused() {
    for name in SMALL {
        let (bytes, parsed) = vector(name);
        for trailing in [&[0][..], &[0; 4], &[0xff; 100]] {
            let error = refusal([&bytes, trailing].concat());
            let as_expected = match parsed {
                ContentInformation::V1(_) => {
                    error == TrailingBytes { offset: bytes.len(), count: trailing.len() }.into()
                }
                // Whatever follows a chunk is another chunk.
                ContentInformation::V2(_) => {
                    matches!(
                        error,
                        ParseError::Truncated(_) | ParseError::ChunkLength { .. } | ParseError::ChunkType { .. }
                    )
                }
            };
            assert!(as_expected, "{name}: {error:?}");
        }
    }
}

#[test]
fn sizes_have_limits() {
    use peerdist_protocol::content::MAX_CONTENT_INFORMATION_SIZE;
    let size = MAX_CONTENT_INFORMATION_SIZE + 1;
    assert_eq!(refusal(vec![0; size]), ParseError::TooLarge { size });
    assert!(matches!(refusal(vec![0; size - 1]), ParseError::Version { major: 0, minor: 0 }));
}

#[test]
fn offsets_do_not_overflow() {
    // ullOffsetInContent of version 1: the last multiple of 32 MiB, and something between two of them.
    let last = (u64::MAX << 25).to_le_bytes();
    assert_eq!(refusal(altered("iis_85_png_v1", 18, &last)), ParseError::ContentLength { segment: 0 });
    let odd = 65_536u64.to_le_bytes();
    assert_eq!(refusal(altered("iis_85_png_v1", 18, &odd)), ParseError::SegmentAlignment { offset: 65_536 });
    let far = (1u64 << 40).to_le_bytes();
    let parsed = ContentInformation::parse(altered("iis_85_png_v1", 18, &far)).unwrap();
    assert_eq!(parsed.range(), 1 << 40..(1 << 40) + 99_710);
    // ullStartInContent of version 2.
    assert_eq!(refusal(altered("iis_85_png_v2", 3, &[0xff; 8])), ParseError::ContentLength { segment: 0 });
    let start = ((1u64 << 63) - 39_390).to_be_bytes();
    assert_eq!(refusal(altered("iis_85_png_v2", 3, &start)), ParseError::ContentLength { segment: 1 });
    // ullLengthOfRange, the whole and one more.
    assert!(ContentInformation::parse(altered("iis_85_png_v2", 23, &99_710u64.to_be_bytes())).is_ok());
    let error = refusal(altered("iis_85_png_v2", 23, &99_711u64.to_be_bytes()));
    assert_eq!(error, ParseError::RangeEnd { length: 99_711, available: 99_710 });
}

#[test]
fn a_single_segment_counts_from_the_start_of_the_range() {
    // dwOffsetInFirstSegment 1000: up to 98,710 bytes are left.
    let with = |read: u32| [1000u32.to_le_bytes(), read.to_le_bytes()].concat();
    let parsed = ContentInformation::parse(altered("iis_85_png_v1", 6, &with(98_710))).unwrap();
    assert_eq!(parsed.range(), 1000..99_710);
    let error = refusal(altered("iis_85_png_v1", 6, &with(98_711)));
    assert_eq!(error, ParseError::RangeEnd { length: 98_711, available: 98_710 });
    let parsed = ContentInformation::parse(altered("iis_85_png_v1", 6, &with(0))).unwrap();
    assert_eq!(parsed.range(), 1000..99_710);
}

#[test]
fn harmless_oddities_are_warnings() {
    let warnings = |bytes| match ContentInformation::parse(bytes) {
        Ok(ContentInformation::V2(information)) => information.warnings(),
        other => panic!("{other:?}"),
    };
    // ullLengthOfRange ends inside the first of two segments.
    let behind = altered("iis_85_png_v2", 23, &100u64.to_be_bytes());
    assert_eq!(warnings(behind), [v2::Warning::SegmentBehindRange]);
    let impossible = |start, index| vec![v2::Warning::StartAndIndex { start, index }];
    assert_eq!(warnings(altered("iis_85_png_v2", 18, &[1])), impossible(0, 1));
    assert_eq!(warnings(altered("iis_85_png_v2", 10, &[1])), impossible(1, 0));
    let far = [&131_073u64.to_be_bytes()[..], &1u64.to_be_bytes()].concat();
    assert_eq!(warnings(altered("iis_85_png_v2", 3, &far)), impossible(131_073, 1));
    let possible = [&131_072u64.to_be_bytes()[..], &1u64.to_be_bytes()].concat();
    assert_eq!(warnings(altered("iis_85_png_v2", 3, &possible)), []);
}

#[test]
fn parsing_never_panics_on_altered_bytes() {
    for name in SMALL {
        let (bytes, _) = vector(name);
        for offset in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut altered = bytes.to_vec();
                altered[offset] = value;
                if let Ok(parsed) = ContentInformation::parse(altered.clone().into()) {
                    assert_eq!(parsed.emit(), altered);
                    assert!(!parsed.range().is_empty());
                }
            }
        }
    }
}
