//! Block indexes and sets of them ([MS-PCCRR] 2.2.1.1, 2.2.1.3).

/// The zero-based index of a block in its segment. Version 2 segments have block 0 alone.
pub type BlockIndex = u32;

/// A version 1 segment has at most this many blocks ([MS-PCCRR] 2.2.1.1).
pub const MAX_BLOCKS_PER_SEGMENT: u32 = 512;

/// BLOCK_RANGE ([MS-PCCRR] 2.2.1.1): `count` blocks from `index` on, never empty and never beyond block 511.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockRange {
    index: BlockIndex,
    count: u32,
}

impl BlockRange {
    /// `None` where the range is empty or leaves the segment.
    #[must_use]
    pub fn new(index: BlockIndex, count: u32) -> Option<Self> {
        let end = index.checked_add(count)?;
        (count > 0 && end <= MAX_BLOCKS_PER_SEGMENT).then_some(Self { index, count })
    }

    /// The first block.
    #[must_use]
    pub fn index(self) -> BlockIndex {
        self.index
    }

    /// How many blocks, at least one.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }
}

const WORDS: usize = MAX_BLOCKS_PER_SEGMENT as usize / 64;

/// A set of blocks of one segment. Iterating yields BLOCK_RANGEs that are sorted and merged by construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct BlockRanges {
    bits: [u64; WORDS],
}

impl BlockRanges {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { bits: [0; WORDS] }
    }

    /// Blocks 0 to `count` - 1; more than 512 are cut.
    #[must_use]
    pub fn first(count: u32) -> Self {
        (0..count.min(MAX_BLOCKS_PER_SEGMENT)).collect()
    }

    /// Adds a block. Returns whether it was new; an index beyond 511 is never a member.
    pub fn insert(&mut self, index: BlockIndex) -> bool {
        let Some(word) = self.bits.get_mut(index as usize / 64) else { return false };
        let bit = 1 << (index % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Removes a block. Returns whether it was there.
    pub fn remove(&mut self, index: BlockIndex) -> bool {
        let Some(word) = self.bits.get_mut(index as usize / 64) else { return false };
        let bit = 1 << (index % 64);
        let there = *word & bit != 0;
        *word &= !bit;
        there
    }

    /// Adds all blocks of a range.
    pub fn insert_range(&mut self, range: BlockRange) {
        for index in range.index..range.index + range.count {
            self.insert(index);
        }
    }

    /// Whether the block is a member.
    #[must_use]
    pub fn contains(&self, index: BlockIndex) -> bool {
        self.bits.get(index as usize / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// How many blocks.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.bits.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|word| *word == 0)
    }

    /// The blocks that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = *self;
        both.bits.iter_mut().zip(other.bits).for_each(|(word, other)| *word &= other);
        both
    }

    /// The first member at or after `index`.
    #[must_use]
    pub fn next_at_or_after(&self, index: BlockIndex) -> Option<BlockIndex> {
        let first = index as usize / 64;
        // Only of the first word some bits lie before the index.
        let from = |at: usize, word: u64| if at == first { word & (u64::MAX << (index % 64)) } else { word };
        let words = self.bits.iter().enumerate().skip(first).map(|(at, word)| (at, from(at, *word)));
        let (at, word) = words.into_iter().find(|(_, word)| *word != 0)?;
        Some(at as u32 * 64 + word.trailing_zeros())
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = BlockIndex> + '_ {
        std::iter::successors(self.next_at_or_after(0), |index| self.next_at_or_after(index + 1))
    }

    /// The members as ranges: sorted, merged, not overlapping; at most 256 of them.
    pub fn ranges(&self) -> impl Iterator<Item = BlockRange> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let index = self.next_at_or_after(at)?;
            let end = (index..MAX_BLOCKS_PER_SEGMENT).find(|i| !self.contains(*i)).unwrap_or(MAX_BLOCKS_PER_SEGMENT);
            at = end;
            BlockRange::new(index, end - index)
        })
    }
}

impl FromIterator<BlockIndex> for BlockRanges {
    fn from_iter<I: IntoIterator<Item = BlockIndex>>(indexes: I) -> Self {
        let mut set = Self::new();
        for index in indexes {
            set.insert(index);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_stays_inside_the_segment() {
        assert_eq!(BlockRange::new(0, 0), None);
        assert_eq!(BlockRange::new(511, 2), None);
        assert_eq!(BlockRange::new(u32::MAX, 1), None);
        assert!(BlockRange::new(0, 512).is_some());
    }

    #[test]
    fn ranges_are_sorted_and_merged() {
        let mut set: BlockRanges = [5, 0, 1, 64, 63, 511].into_iter().collect();
        set.insert_range(BlockRange::new(1, 3).unwrap());
        let ranges: Vec<_> = set.ranges().map(|r| (r.index(), r.count())).collect();
        assert_eq!(ranges, [(0, 4), (5, 1), (63, 2), (511, 1)]);
        assert_eq!(set.len(), 8);
        assert_eq!(set.next_at_or_after(6), Some(63));
        assert_eq!(
            [65, 511, 512, u32::MAX].map(|index| set.next_at_or_after(index)),
            [Some(511), Some(511), None, None]
        );
        assert!(!set.insert(512));
        assert!(set.remove(0) && !set.remove(0));
    }

    #[test]
    fn every_second_block_is_the_most_ranges() {
        let set: BlockRanges = (0..512).step_by(2).collect();
        assert_eq!(set.ranges().count(), 256);
        assert_eq!(BlockRanges::first(1000).len(), 512);
    }
}
