//! MS-PCHC: offers of both versions, and the answers to them.

use bytes::Bytes;
use peerdist_protocol::content::MAX_BLOCKS_PER_SEGMENT;
use peerdist_protocol::hosted_cache::{MAX_MESSAGE_SIZE, MAX_SEGMENT_DESCRIPTORS, Offer, Response, Version};

pub(super) fn run(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    for version in [Version::V1, Version::V2] {
        let Ok(offer) = Offer::parse(version, &bytes) else { continue };
        assert!(bytes.len() <= MAX_MESSAGE_SIZE && offer.version() == version);
        assert_eq!(Offer::parse(version, &offer.emit().into()).as_ref(), Ok(&offer));
        match &offer {
            Offer::Initial(_) => {}
            Offer::SegmentInfo(offer) => {
                if let Ok(segment) = offer.segment() {
                    assert!((1..=MAX_BLOCKS_PER_SEGMENT).contains(&segment.block_count()));
                }
            }
            Offer::Batched(offer) => {
                assert!((1..=MAX_SEGMENT_DESCRIPTORS).contains(&offer.segments.len()));
                for segment in &offer.segments {
                    let Ok(count) = segment.block_count() else { continue };
                    assert!((1..=MAX_BLOCKS_PER_SEGMENT).contains(&count));
                    let sum: u64 = (0..count).map(|index| u64::from(segment.block_length(index))).sum();
                    assert_eq!(sum, u64::from(segment.segment_size), "the blocks are the segment");
                }
            }
        }
    }
    if let Ok(response) = Response::parse(&bytes) {
        assert_eq!(response.emit(), bytes);
    }
}
