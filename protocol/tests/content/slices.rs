//! Content information of ranges.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use peerdist_protocol::content::{BLOCK_SIZE_V1, ContentInformation, RangeError, Segment};
use proptest::prelude::*;

use crate::support::{BOTH, generated_content, hashed, vector};

/// Two segments of 32 MiB and a third that ends within a block.
const LENGTH: u64 = (64 << 20) + 100_000;

static WHOLE: LazyLock<[ContentInformation; 2]> = LazyLock::new(|| {
    let hashed = hashed(&generated_content(LENGTH as usize), BOTH);
    [hashed.v1.unwrap(), hashed.v2.unwrap()]
});

/// What a client needs of `range` is in `slice`, and equal to what the whole says.
fn assert_slice(whole: &ContentInformation, slice: &ContentInformation, range: &Range<u64>) {
    assert_eq!(&slice.range(), range);
    let parsed = ContentInformation::parse(Bytes::from(slice.emit())).unwrap();
    assert_eq!(&parsed, slice);
    let expected = whole.segments_in(range);
    assert_eq!(slice.segments().len(), expected.len());
    for (part, full) in slice.segments().iter().zip(expected) {
        assert_eq!((part.id(), part.range(), part.secret()), (full.id(), full.range(), full.secret()));
        for index in 0..full.block_count() {
            let block = full.block_range(index).unwrap();
            assert_eq!(part.block_range(index), Some(block.clone()));
            let check = part.block_check(index);
            if block.start < range.end && block.end > range.start {
                assert_eq!(check, full.block_check(index));
            } else {
                assert!(check.is_none() || check == full.block_check(index));
            }
        }
        assert_eq!(part.is_bound(), (0..full.block_count()).all(|index| part.block_check(index).is_some()));
    }
}

/// An offset near a boundary of a segment or block as often as anywhere.
fn offset() -> impl Strategy<Value = u64> {
    let near =
        |multiple: u64| (0..=LENGTH / multiple, 0..3u64).prop_map(move |(n, d)| (n * multiple + d).saturating_sub(1));
    prop_oneof![0..=LENGTH, near(u64::from(BLOCK_SIZE_V1)), near(32 << 20), Just(0), Just(LENGTH)]
        .prop_map(|offset| offset.min(LENGTH))
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (offset(), offset()).prop_filter("not empty", |(a, b)| a != b).prop_map(|(a, b)| a.min(b)..a.max(b))
}

proptest! {
    #[test]
    fn a_slice_says_of_its_range_what_the_whole_says(range in range()) {
        for whole in WHOLE.iter() {
            assert_slice(whole, &whole.slice(range.clone()).unwrap(), &range);
        }
    }

    #[test]
    fn a_slice_of_a_slice_is_a_slice(outer in range(), first in 0.0..1.0, last in 0.0..1.0) {
        let length = (outer.end - outer.start) as f64;
        let start = outer.start + (length * first) as u64;
        let inner = start..start + 1 + ((outer.end - start - 1) as f64 * last) as u64;
        for whole in WHOLE.iter() {
            let twice = whole.slice(outer.clone()).unwrap().slice(inner.clone()).unwrap();
            assert_slice(whole, &twice, &inner);
            // Only the zero that stands for the whole resource depends on the way.
            if inner != (0..LENGTH) {
                assert_eq!(twice, whole.slice(inner.clone()).unwrap());
            }
        }
    }
}

#[test]
fn a_slice_of_the_whole_is_the_whole() {
    for whole in WHOLE.iter() {
        assert_eq!(&whole.slice(0..LENGTH).unwrap(), whole);
    }
}

#[test]
fn zero_stands_for_the_whole_resource_only() {
    let length = |range| match WHOLE[1].slice(range).unwrap() {
        ContentInformation::V2(slice) => slice.length_of_range(),
        ContentInformation::V1(_) => unreachable!(),
    };
    assert_eq!(length(0..LENGTH), 0);
    assert_eq!(length(1..LENGTH), LENGTH - 1);
    assert_eq!(length(0..LENGTH - 1), LENGTH - 1);
    let (_, explicit) = vector("synth_v2_189KB_explicit_len");
    assert_eq!(explicit.slice(0..193_536).unwrap(), explicit);
}

#[test]
fn lists_without_leading_blocks_stay_without() {
    let (_, strict) = vector("synth_v1_125KB_range_strict_blocks");
    let slice = strict.slice(110_000..111_000).unwrap();
    assert_eq!(slice.segments()[0].listed_blocks(), 1..2);
    assert_eq!(slice.segments()[0].block_check(0), None);
    assert_eq!(ContentInformation::parse(slice.emit().into()).unwrap(), slice);
    assert!(!slice.segments().iter().any(Segment::is_bound));
}

#[test]
fn what_is_not_described_cannot_be_cut_out() {
    let (_, slice) = vector("synth_v1_125KB_range_mid");
    let described = 70_000..71_000;
    for asked in [69_999..70_001, 70_999..71_001, 0..1, 0..u64::MAX, u64::MAX - 1..u64::MAX] {
        let expected = RangeError::Outside { asked: asked.clone(), described: described.clone() };
        assert_eq!(slice.slice(asked), Err(expected));
    }
    assert_eq!(slice.slice(70_500..70_500), Err(RangeError::Empty));
    #[expect(clippy::reversed_empty_ranges)]
    let reversed = 70_600..70_500;
    assert_eq!(slice.slice(reversed), Err(RangeError::Empty));
}

#[test]
fn segments_are_found_by_range() {
    let [v1, _] = &*WHOLE;
    let found = |range: Range<u64>| v1.segments_in(&range).iter().map(Segment::offset).collect::<Vec<_>>();
    assert_eq!(found(0..1), [0]);
    assert_eq!(found((32 << 20) - 1..(32 << 20) + 1), [0, 32 << 20]);
    assert_eq!(found(32 << 20..64 << 20), [32 << 20]);
    assert_eq!(found(LENGTH..LENGTH + 1), [0; 0]);
    assert_eq!(found(5..5), [0; 0]);
    let at = |position| v1.segment_at(position).map(Segment::offset);
    assert_eq!([0, (32 << 20) - 1, 32 << 20, LENGTH - 1].map(at), [0, 0, 32 << 20, (LENGTH - 1) >> 25 << 25].map(Some));
    assert_eq!(at(LENGTH), None);
    let later = v1.slice((32 << 20) + 5..LENGTH).unwrap();
    assert_eq!(later.segment_at((32 << 20) - 1).map(Segment::offset), None);
}
