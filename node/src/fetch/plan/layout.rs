//! The segments of a content in order, as far as content information told.

use std::ops::Range;

use peerdist_protocol::content::{BLOCK_SIZE_V1, BlockIndex, Segment, SegmentId};
use thiserror::Error;

/// What a plan has to know of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSegment {
    /// Its public name.
    pub id: SegmentId,
    /// Where it begins in the content, in bytes.
    pub offset: u64,
    /// The length of the whole segment in bytes, at least one.
    pub length: u32,
    /// The size of every block but the last in bytes.
    pub block_size: u32,
    /// The blocks whose hashes are known; only these can be fetched.
    pub listed: Range<BlockIndex>,
    /// Whether a wrong hash is the peer's fault beyond doubt.
    pub bound: bool,
}

impl PlannedSegment {
    /// A version 2 segment.
    #[must_use]
    pub fn v2(id: SegmentId, offset: u64, length: u32) -> Self {
        Self { id, offset, length, block_size: length, listed: 0..1, bound: true }
    }

    /// A version 1 segment with a complete list of block hashes.
    #[must_use]
    pub fn v1(id: SegmentId, offset: u64, length: u32) -> Self {
        let listed = 0..length.div_ceil(BLOCK_SIZE_V1);
        Self { id, offset, length, block_size: BLOCK_SIZE_V1, listed, bound: true }
    }

    /// The end of the segment in the content.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }

    /// The number of blocks of the whole segment.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.length.div_ceil(self.block_size)
    }

    /// The bytes of the content that a block covers; empty beyond the last block.
    #[must_use]
    pub fn block_range(&self, block: BlockIndex) -> Range<u64> {
        let start = self.offset + u64::from(block) * u64::from(self.block_size);
        start..(start + u64::from(self.block_size)).min(self.end()).max(start)
    }

    /// The block of a position inside the segment.
    #[must_use]
    pub fn block_at(&self, position: u64) -> BlockIndex {
        let block = position.saturating_sub(self.offset) / u64::from(self.block_size);
        BlockIndex::try_from(block).unwrap_or(BlockIndex::MAX)
    }
}

impl From<&Segment> for PlannedSegment {
    fn from(segment: &Segment) -> Self {
        Self {
            id: segment.id(),
            offset: segment.offset(),
            length: segment.length(),
            block_size: segment.block_size(),
            listed: segment.listed_blocks(),
            bound: segment.is_bound(),
        }
    }
}

/// Why further segments do not fit to the known ones; the content server's fault, or the caller's who mixed contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// Another segment is known at that place.
    #[error("the segment at byte {offset} contradicts the content information that came before")]
    Contradiction {
        /// Where the new segment begins.
        offset: u64,
    },
    /// Two lists of block hashes of one segment have a hole between them.
    #[error("the block hashes of the segment at byte {offset} do not adjoin the ones that came before")]
    Hole {
        /// Where the segment begins.
        offset: u64,
    },
}

/// The known segments, sorted, not overlapping, perhaps with gaps.
#[derive(Debug, Default)]
pub(super) struct Layout {
    segments: Vec<PlannedSegment>,
}

impl Layout {
    pub(super) fn all(&self) -> &[PlannedSegment] {
        &self.segments
    }

    pub(super) fn get(&self, index: usize) -> Option<&PlannedSegment> {
        self.segments.get(index)
    }

    /// The segment that covers a position.
    pub(super) fn index_at(&self, position: u64) -> Option<usize> {
        let index = self.segments.partition_point(|segment| segment.offset <= position).checked_sub(1)?;
        (position < self.segments[index].end()).then_some(index)
    }

    /// The segment that begins at an offset.
    pub(super) fn index_of(&self, offset: u64) -> Option<usize> {
        self.segments.binary_search_by_key(&offset, |segment| segment.offset).ok()
    }

    /// Takes in further segments, all of them or none. Returns whether the positions of known ones changed.
    pub(super) fn add(&mut self, more: Vec<PlannedSegment>) -> Result<bool, LayoutError> {
        for segment in &more {
            self.fits(segment)?;
        }
        let mut moved = false;
        for segment in more {
            match self.index_of(segment.offset) {
                Some(index) => {
                    let known = &mut self.segments[index];
                    // Blocks that are listed only now change what a plan knows of the segment.
                    moved |= known.listed != segment.listed;
                    known.listed =
                        known.listed.start.min(segment.listed.start)..known.listed.end.max(segment.listed.end);
                    known.bound |= segment.bound;
                }
                None => {
                    let index = self.segments.partition_point(|known| known.offset < segment.offset);
                    moved |= index < self.segments.len();
                    self.segments.insert(index, segment);
                }
            }
        }
        Ok(moved)
    }

    pub(super) fn set_bound(&mut self, offset: u64) {
        if let Some(index) = self.index_of(offset) {
            self.segments[index].bound = true;
        }
    }

    fn fits(&self, segment: &PlannedSegment) -> Result<(), LayoutError> {
        let offset = segment.offset;
        if let Some(index) = self.index_of(offset) {
            let known = &self.segments[index];
            if known.id != segment.id || known.length != segment.length || known.block_size != segment.block_size {
                return Err(LayoutError::Contradiction { offset });
            }
            let hole = segment.listed.start > known.listed.end || known.listed.start > segment.listed.end;
            return if hole { Err(LayoutError::Hole { offset }) } else { Ok(()) };
        }
        let next = self.segments.partition_point(|known| known.offset < offset);
        let overlaps_next = self.segments.get(next).is_some_and(|known| segment.end() > known.offset);
        let overlaps_last = next.checked_sub(1).is_some_and(|last| self.segments[last].end() > offset);
        if overlaps_next || overlaps_last { Err(LayoutError::Contradiction { offset }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u8, offset: u64, length: u32) -> PlannedSegment {
        PlannedSegment::v2(SegmentId::from_slice(&[number; 32]).unwrap(), offset, length)
    }

    #[test]
    fn positions_map_to_segments_and_blocks() {
        let mut layout = Layout::default();
        layout.add(vec![segment(1, 100, 50), segment(2, 150, 10), segment(3, 200, 10)]).unwrap();
        assert_eq!(layout.index_at(99), None);
        assert_eq!(layout.index_at(100), Some(0));
        assert_eq!(layout.index_at(149), Some(0));
        assert_eq!(layout.index_at(150), Some(1));
        assert_eq!(layout.index_at(160), None);
        assert_eq!(layout.index_at(209), Some(2));
        let v1 = PlannedSegment::v1(SegmentId::from_slice(&[1]).unwrap(), 1 << 25, 3 * BLOCK_SIZE_V1 + 1);
        assert_eq!(v1.block_count(), 4);
        assert_eq!(v1.block_at((1 << 25) + 65_536), 1);
        assert_eq!(v1.block_range(3), (1 << 25) + 3 * 65_536..(1 << 25) + 3 * 65_536 + 1);
        assert!(v1.block_range(4).is_empty());
    }

    #[test]
    fn what_contradicts_is_refused_as_a_whole() {
        let mut layout = Layout::default();
        assert!(!layout.add(vec![segment(1, 100, 50)]).unwrap());
        assert!(!layout.add(vec![segment(1, 100, 50), segment(2, 150, 50)]).unwrap());
        for bad in
            [segment(3, 100, 50), segment(1, 100, 49), segment(3, 120, 10), segment(3, 90, 11), segment(3, 0, 101)]
        {
            let offset = bad.offset;
            let both = vec![segment(9, 200, 10), bad];
            assert_eq!(layout.add(both), Err(LayoutError::Contradiction { offset }));
        }
        assert_eq!(layout.all().len(), 2);
        assert!(layout.add(vec![segment(3, 0, 100)]).unwrap());
        assert_eq!(layout.index_of(100), Some(1));
    }

    #[test]
    fn partial_lists_of_one_segment_grow_together() {
        let part = |listed: Range<u32>| {
            let whole = PlannedSegment::v1(SegmentId::from_slice(&[1]).unwrap(), 0, 10 * BLOCK_SIZE_V1);
            PlannedSegment { bound: listed == (0..10), listed, ..whole }
        };
        let mut layout = Layout::default();
        layout.add(vec![part(0..3)]).unwrap();
        assert_eq!(layout.add(vec![part(5..6)]), Err(LayoutError::Hole { offset: 0 }));
        assert!(layout.add(vec![part(3..6)]).unwrap());
        assert_eq!(layout.all()[0].listed, 0..6);
        assert!(!layout.all()[0].bound);
        layout.add(vec![part(0..10)]).unwrap();
        assert!(layout.all()[0].bound);
    }
}
