//! Content information of ranges, of contents that nobody has, and what it describes.

use std::ops::Range;

use peerdist::abi::*;
use peerdist::peerdist::calls::server::PeerDistServerOpenContentInformationEx;
use peerdist_protocol::content::{BLOCK_SIZE_V1, ContentInformation, SegmentId};
use peerdist_protocol::crypto::HashAlgorithm;

use super::calls::*;
use super::content::retrieve_all;

/// Where the known bytes of [`huge`] begin.
pub(crate) const FOUR_GIB: u64 = 1 << 32;

/// Content information of a range of a published content, of one version.
pub(crate) fn information_of(instance: HANDLE, identifier: &[u8], range: &Range<u64>, version: DWORD) -> Vec<u8> {
    let mut options = PEERDIST_RETRIEVAL_OPTIONS {
        cbSize: 16,
        dwContentInfoMinVersion: version,
        dwContentInfoMaxVersion: version,
        dwReserved: 0,
    };
    let (size, name, length) = (identifier.len() as u32, identifier.as_ptr().cast_mut(), range.end - range.start);
    let mut handle = NULL;
    // SAFETY: valid.
    let code = unsafe {
        let (at, out) = (range.start, &mut handle);
        PeerDistServerOpenContentInformationEx(instance, size, name, at, length, &mut options, NULL, 0, out)
    };
    assert_eq!(code, ERROR_SUCCESS);
    retrieve_all(instance, handle)
}

/// The blocks that content information describes: of version 2 its segments.
pub(crate) fn blocks(information: &[u8]) -> Vec<Range<u64>> {
    let information = parsed(information);
    let segments = information.segments().iter();
    segments.flat_map(|segment| (0..segment.block_count()).filter_map(|block| segment.block_range(block))).collect()
}

/// The ids of the segments that content information describes.
pub(crate) fn segment_ids(information: &[u8]) -> Vec<SegmentId> {
    parsed(information).segments().iter().map(|segment| segment.id()).collect()
}

fn parsed(information: &[u8]) -> ContentInformation {
    ContentInformation::parse(information.to_vec().into()).unwrap()
}

/// Content information of a content of more than 4 GiB: from [`FOUR_GIB`] on it has the bytes of `tail`, at most 32 MiB;
/// what comes before has hashes that nothing has.
pub(crate) fn huge(version: DWORD, tail: &[u8]) -> Vec<u8> {
    let information = if version == 1 { huge_v1(tail) } else { huge_v2(tail) };
    assert_eq!(parsed(&information).range(), 0..FOUR_GIB + tail.len() as u64);
    information
}

/// The part of it that describes `tail`.
pub(crate) fn end_of_huge(version: DWORD, tail: &[u8]) -> Vec<u8> {
    parsed(&huge(version, tail)).slice(FOUR_GIB..FOUR_GIB + tail.len() as u64).unwrap().emit()
}

/// [MS-PCCRC] 2.3.
fn huge_v1(tail: &[u8]) -> Vec<u8> {
    const SEGMENT_SIZE: u32 = 512 * BLOCK_SIZE_V1;
    const SHA256: HashAlgorithm = HashAlgorithm::Sha256;
    let unknown = (FOUR_GIB / u64::from(SEGMENT_SIZE)) as u32;
    let unknown =
        (0..unknown).map(|segment| (SEGMENT_SIZE, (0..512).flat_map(|block| made_up(segment, block)).collect()));
    let blocks: Vec<u8> =
        tail.chunks(BLOCK_SIZE_V1 as usize).flat_map(|block| SHA256.hash(block).as_bytes().to_vec()).collect();
    let segments: Vec<(u32, Vec<u8>)> = unknown.chain([(tail.len() as u32, blocks)]).collect();

    let mut bytes = vec![0x00, 0x01];
    for field in [0x800C, 0, 0, segments.len() as u32] {
        bytes.extend(field.to_le_bytes());
    }
    for (offset, (length, hashes)) in (0_u64..).step_by(SEGMENT_SIZE as usize).zip(&segments) {
        bytes.extend(offset.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(BLOCK_SIZE_V1.to_le_bytes());
        bytes.extend(SHA256.hash(hashes).as_bytes());
        bytes.extend([7; 32]);
    }
    for (_, hashes) in &segments {
        bytes.extend((hashes.len() as u32 / 32).to_le_bytes());
        bytes.extend(hashes);
    }
    bytes
}

/// [MS-PCCRC] 2.4.
fn huge_v2(tail: &[u8]) -> Vec<u8> {
    const SEGMENT_SIZE: u32 = 131_072;
    let unknown = (FOUR_GIB / u64::from(SEGMENT_SIZE)) as u32;
    let unknown = (0..unknown).map(|segment| (SEGMENT_SIZE, made_up(segment, 0).to_vec()));
    let hash = |bytes: &[u8]| HashAlgorithm::TruncatedSha512.hash(bytes).as_bytes().to_vec();
    let known = tail.chunks(50_000).map(|segment| (segment.len() as u32, hash(segment)));
    let segments: Vec<(u32, Vec<u8>)> = unknown.chain(known).collect();

    let mut bytes = vec![0x00, 0x02, 0x04];
    bytes.extend([0; 8 + 8 + 4 + 8]);
    bytes.push(0);
    bytes.extend((segments.len() as u32 * 68).to_be_bytes());
    for (length, hash) in &segments {
        bytes.extend(length.to_be_bytes());
        bytes.extend(hash);
        bytes.extend([7; 32]);
    }
    bytes
}

/// No hash of anything.
fn made_up(segment: u32, block: u32) -> [u8; 32] {
    let mut hash = [0xAB; 32];
    hash[..4].copy_from_slice(&segment.to_le_bytes());
    hash[4..8].copy_from_slice(&block.to_le_bytes());
    hash
}
