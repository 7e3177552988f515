//! The hasher: the same content information whatever the portions, the threads and their order.

use std::sync::LazyLock;
use std::thread;

use bytes::Bytes;
use peerdist_protocol::content::{
    Assembler, ContentInformation, HashError, HashOptions, Hashed, Hasher, PieceHashes, SegmentHashOfData,
    SegmentSecret, Splitter,
};
use peerdist_protocol::crypto::HashAlgorithm;
use proptest::prelude::*;

use crate::support::{BOTH, generated_content, hashed, server_secret};

const LENGTH: usize = 9_000_001;
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| generated_content(LENGTH));
static HASHED: LazyLock<Hashed> = LazyLock::new(|| hashed(&CONTENT, BOTH));

/// All pieces, hashed, in order.
fn pieces(content: &[u8], options: HashOptions) -> Vec<PieceHashes> {
    let mut splitter = Splitter::new(options);
    let mut pieces = Vec::new();
    let mut left = content;
    while !left.is_empty() {
        let space = splitter.space();
        let (portion, rest) = left.split_at(left.len().min(space.len()));
        space[..portion.len()].copy_from_slice(portion);
        pieces.extend(splitter.advance(portion.len()));
        left = rest;
    }
    pieces.push(splitter.finish());
    // Every piece on a thread of its own.
    thread::scope(|scope| {
        let threads: Vec<_> = pieces.into_iter().map(|piece| scope.spawn(move || piece.hash())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn assemble(pieces: Vec<PieceHashes>) -> Result<Hashed, HashError> {
    let mut assembler = Assembler::new(BOTH, &server_secret());
    for piece in pieces {
        assembler.add(piece);
    }
    assembler.finish()
}

/// The content information that the definitions of [MS-PCCRC] 2.2 give, computed directly.
fn assert_is_content_information_of(hashed: &Hashed, content: &[u8]) {
    assert_eq!(hashed.length, content.len() as u64);
    for information in [&hashed.v1, &hashed.v2].into_iter().flatten() {
        let algorithm = information.algorithm();
        assert_eq!(information.range(), 0..content.len() as u64);
        assert_eq!(&ContentInformation::parse(Bytes::from(information.emit())).unwrap(), information);
        let mut end = 0;
        for segment in information.segments() {
            assert_eq!(segment.offset(), end);
            end = segment.range().end;
            let bytes = &content[segment.offset() as usize..end as usize];
            let hash_of_data = match information {
                ContentInformation::V2(_) => SegmentHashOfData::of(algorithm, bytes),
                ContentInformation::V1(_) => {
                    let hashes: Vec<u8> =
                        bytes.chunks(65_536).flat_map(|block| algorithm.hash(block).as_bytes().to_vec()).collect();
                    SegmentHashOfData::of(algorithm, &hashes)
                }
            };
            assert_eq!(segment.hash_of_data(), &hash_of_data);
            assert_eq!(segment.secret(), &SegmentSecret::derive(algorithm, &server_secret(), &hash_of_data));
            assert!(segment.is_bound());
        }
        assert_eq!(end, content.len() as u64);
    }
}

#[test]
fn both_versions_follow_from_the_definitions() {
    assert_is_content_information_of(&HASHED, &CONTENT);
}

#[test]
fn lengths_around_every_boundary() {
    let content = &*CONTENT;
    let boundaries = [1, 65_536, 131_072, 2 << 20, (2 << 20) + 65_536, 4 << 20];
    for length in boundaries.into_iter().flat_map(|length| [length - 1, length, length + 1]).filter(|l| *l > 0) {
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
            let options = HashOptions { v1: Some(algorithm), v2: algorithm == HashAlgorithm::Sha256 };
            assert_is_content_information_of(&hashed(&content[..length], options), &content[..length]);
        }
    }
}

#[test]
fn several_segments_of_version_1() {
    let content = generated_content((32 << 20) + 1);
    assert_is_content_information_of(&hashed(&content, BOTH), &content);
    assert_is_content_information_of(&hashed(&content[..32 << 20], BOTH), &content[..32 << 20]);
}

#[test]
fn one_version_alone_is_the_same_as_both_in_one_pass() {
    let v1 = hashed(&CONTENT, HashOptions { v2: false, ..BOTH });
    assert_eq!(v1, Hashed { v2: None, ..HASHED.clone() });
    let v2 = hashed(&CONTENT, HashOptions { v1: None, ..BOTH });
    assert_eq!(v2, Hashed { v1: None, ..HASHED.clone() });
    let none = hashed(&CONTENT, HashOptions { v1: None, v2: false });
    assert_eq!(none, Hashed { v1: None, v2: None, length: LENGTH as u64 });
}

#[test]
fn segments_are_neither_empty_nor_too_long() {
    let v2 = HASHED.v2.as_ref().unwrap();
    let (last, others) = v2.segments().split_last().unwrap();
    assert!(others.iter().all(|segment| (65_536..=131_072).contains(&segment.length())));
    assert!((1..=131_072).contains(&last.length()));
    assert!(others.iter().any(|segment| segment.length() < 131_072), "no boundary comes from the content");
}

#[test]
fn nothing_has_no_content_information() {
    assert_eq!(Hasher::new(BOTH, &server_secret()).finish(), Err(HashError::Empty));
}

#[test]
fn the_hash_of_version_2_is_none_of_version_1() {
    let mut hasher = Hasher::new(HashOptions { v1: Some(HashAlgorithm::TruncatedSha512), v2: false }, &server_secret());
    hasher.update(b"content");
    assert_eq!(hasher.finish(), Err(HashError::NotVersion1));
}

#[test]
fn a_missing_piece_is_noticed() {
    let count = pieces(&CONTENT, BOTH).len();
    assert!(count > 4);
    for missing in 0..count {
        let mut pieces = pieces(&CONTENT, BOTH);
        pieces.remove(missing);
        assert_eq!(assemble(pieces), Err(HashError::MissingPiece { sequence: missing as u64 }));
    }
}

#[test]
fn memory_is_used_again() {
    let mut splitter = Splitter::new(BOTH);
    let mut assembler = Assembler::new(BOTH, &server_secret());
    let mut places = std::collections::HashSet::new();
    for _ in 0..200 {
        let space = splitter.space();
        let length = space.len();
        places.insert(space.as_ptr_range().end);
        let piece = splitter.advance(length).expect("a full space is a piece");
        splitter.recycle(assembler.add(piece.hash()));
    }
    assert_eq!(places.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn portions_do_not_matter(portions in prop::collection::vec(1..1_500_000usize, 1..20)) {
        let mut hasher = Hasher::new(BOTH, &server_secret());
        let mut left = CONTENT.as_slice();
        for portion in portions {
            let (portion, rest) = left.split_at(portion.min(left.len()));
            hasher.update(portion);
            left = rest;
        }
        hasher.update(left);
        prop_assert!(hasher.finish().unwrap() == *HASHED);
    }

    #[test]
    fn the_order_of_the_pieces_does_not_matter(order in Just(()).prop_perturb(|(), random| random)) {
        let mut order = order;
        let mut pieces = pieces(&CONTENT, BOTH);
        for index in (1..pieces.len()).rev() {
            pieces.swap(index, order.random_range(0..=index));
        }
        prop_assert!(assemble(pieces).unwrap() == *HASHED);
    }
}

#[test]
fn single_bytes_are_portions_too() {
    let content = &CONTENT[..200_000];
    let mut hasher = Hasher::new(BOTH, &server_secret());
    content.iter().for_each(|byte| hasher.update(&[*byte]));
    assert_eq!(hasher.finish().unwrap(), hashed(content, BOTH));
}
