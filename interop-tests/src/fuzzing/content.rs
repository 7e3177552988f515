//! Content information of both versions, the segment of an offer, and the file of a server secret.

use bytes::Bytes;
use peerdist_protocol::content::{
    ContentInformation, MAX_BLOCKS_PER_SEGMENT, MAX_CONTENT_LENGTH, OfferedSegment, Segment, secret_file, v2,
};

/// The passphrase of the seeds' secret files.
pub(super) const PASSPHRASE: &str = "fuzz";

pub(super) fn run(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(information) = ContentInformation::parse(bytes.clone()) {
        judge(&information, &bytes);
    }
    if let Ok(segment) = OfferedSegment::parse(bytes.clone()) {
        let parts = (segment.id(), segment.length(), segment.block_count());
        if let Ok(segment) = segment.into_segment() {
            judge_segment(&segment);
            let again = OfferedSegment::parse(OfferedSegment::emit(&segment).into()).expect("what was written is read");
            assert_eq!((again.id(), again.length(), again.block_count()), parts);
            assert_eq!(again.into_segment().as_ref(), Ok(&segment));
        }
    }
    if let Ok(secret) = secret_file::read(&bytes, PASSPHRASE) {
        assert_eq!(secret_file::read(&secret_file::write(&secret, PASSPHRASE), PASSPHRASE), Ok(secret));
    }
}

/// Everything that follows from content information.
fn judge(information: &ContentInformation, bytes: &Bytes) {
    let again = ContentInformation::parse(information.emit().into());
    assert_eq!(again.as_ref(), Ok(information), "decoding what was encoded");
    // A segment takes 68 bytes and more: the bytes that came are the limit of the memory that is taken.
    let segments = information.segments();
    assert!(!segments.is_empty() && segments.len() <= bytes.len() / 64);
    let range = information.range();
    assert!(range.start < range.end && range.end <= MAX_CONTENT_LENGTH);
    // Version 2 may describe segments behind the end of its range, which is told.
    let within = information.segments_in(&range);
    assert!(!within.is_empty() && segments.starts_with(within));
    let told = match information {
        ContentInformation::V1(_) => false,
        ContentInformation::V2(information) => information.warnings().contains(&v2::Warning::SegmentBehindRange),
    };
    assert_eq!(within.len() < segments.len(), told, "segments behind the range");
    for pair in segments.windows(2) {
        assert_eq!(pair[0].range().end, pair[1].offset(), "segments without gaps");
    }
    segments.iter().take(64).for_each(judge_segment);

    let middle = range.start + (range.end - range.start) / 2;
    assert!(information.segment_at(middle).is_some_and(|segment| segment.range().contains(&middle)));
    for part in [range.start..middle.max(range.start + 1), middle..range.end, range.end - 1..range.end] {
        let slice = information.slice(part.clone());
        // Version 1 lists blocks: a range outside those listed has none to list.
        let Ok(slice) = slice else { continue };
        assert_eq!(slice.range(), part, "a slice describes what it was made for");
        assert_eq!(ContentInformation::parse(slice.emit().into()), Ok(slice));
    }
    assert!(information.slice(range.end..range.end + 1).is_err());
}

fn judge_segment(segment: &Segment) {
    assert!((1..=MAX_BLOCKS_PER_SEGMENT).contains(&segment.block_count()));
    let blocks = (0..segment.block_count()).map(|index| segment.block_range(index).expect("a range for every block"));
    let mut end = segment.offset();
    for block in blocks {
        assert!(block.start == end && block.start < block.end, "blocks without gaps");
        end = block.end;
    }
    assert_eq!(end, segment.range().end);
    assert!(segment.block_range(segment.block_count()).is_none());
    for index in segment.listed_blocks() {
        assert!(segment.block_check(index).is_some());
    }
    assert_eq!(segment.id(), segment.id());
}
