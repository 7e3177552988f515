//! Bytes that an application added and that are no verified block yet: pieces of blocks, and blocks whose hash is not
//! known. They can be read by the handle that they were added to, are never served, and go with it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;

use crate::fetch::plan::BlockAt;

/// The staging area of one content, bounded in bytes: the blocks that were begun first go first.
#[derive(Debug)]
pub(super) struct Staging {
    blocks: BTreeMap<BlockAt, Staged>,
    order: VecDeque<BlockAt>,
    size: u64,
    limit: u64,
}

#[derive(Debug)]
struct Staged {
    length: usize,
    /// Empty once the block is whole.
    buffer: Vec<u8>,
    /// Sorted, merged, not empty; positions in the block.
    there: Vec<Range<usize>>,
    whole: Option<Bytes>,
}

impl Staging {
    pub(super) fn new(limit: u64) -> Self {
        Self { blocks: BTreeMap::new(), order: VecDeque::new(), size: 0, limit }
    }

    /// Bytes that the blocks in it take.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes at a position in a block of `length` bytes. The whole block, once all of it is there; it stays until
    /// it is removed.
    pub(super) fn add(&mut self, at: BlockAt, length: usize, position: usize, bytes: &[u8]) -> Option<Bytes> {
        let staged = self.blocks.entry(at).or_insert_with(|| {
            self.order.push_back(at);
            self.size += length as u64;
            Staged { length, buffer: vec![0; length], there: Vec::new(), whole: None }
        });
        staged.add(position, bytes);
        let whole = staged.whole.clone();
        while self.size > self.limit
            && let Some(oldest) = self.order.front().copied().filter(|oldest| *oldest != at)
        {
            self.remove(oldest);
        }
        whole
    }

    /// The bytes from a position in a block on, as far as they are there.
    pub(super) fn read(&self, at: BlockAt, position: usize) -> Option<Bytes> {
        let staged = self.blocks.get(&at)?;
        let range = staged.there.iter().find(|range| range.contains(&position))?;
        match &staged.whole {
            Some(whole) => Some(whole.slice(position..)),
            None => Some(Bytes::copy_from_slice(&staged.buffer[position..range.end])),
        }
    }

    /// How many bytes are there from a position in a block on.
    pub(super) fn there(&self, at: BlockAt, position: usize) -> Option<usize> {
        let there = &self.blocks.get(&at)?.there;
        there.iter().find(|range| range.contains(&position)).map(|range| range.end - position)
    }

    /// Where in a block, behind a position, the next bytes are that are there.
    pub(super) fn next(&self, at: BlockAt, position: usize) -> Option<usize> {
        self.blocks.get(&at)?.there.iter().map(|range| range.start).find(|start| *start > position)
    }

    pub(super) fn remove(&mut self, at: BlockAt) {
        if let Some(staged) = self.blocks.remove(&at) {
            self.size -= staged.length as u64;
            self.order.retain(|other| *other != at);
        }
    }

    /// The whole blocks of a segment.
    pub(super) fn whole_blocks(&self, segment: u64) -> Vec<(BlockAt, Bytes)> {
        let first = BlockAt { segment, block: 0 };
        let last = BlockAt { segment, block: u32::MAX };
        let blocks = self.blocks.range(first..=last);
        blocks.filter_map(|(at, staged)| Some((*at, staged.whole.clone()?))).collect()
    }
}

impl Staged {
    fn add(&mut self, position: usize, bytes: &[u8]) {
        let end = (position + bytes.len()).min(self.length);
        if self.whole.is_some() || position >= end {
            return;
        }
        self.buffer[position..end].copy_from_slice(&bytes[..end - position]);
        self.merge(position..end);
        if self.there.first() == Some(&(0..self.length)) {
            self.whole = Some(Bytes::from(std::mem::take(&mut self.buffer)));
        }
    }

    fn merge(&mut self, new: Range<usize>) {
        let mut merged = new;
        self.there.retain(|range| {
            let touches = range.start <= merged.end && merged.start <= range.end;
            if touches {
                merged = range.start.min(merged.start)..range.end.max(merged.end);
            }
            !touches
        });
        let at = self.there.partition_point(|range| range.start < merged.start);
        self.there.insert(at, merged);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: BlockAt = BlockAt { segment: 0, block: 0 };

    #[test]
    fn the_oldest_block_goes_when_there_is_no_room() {
        let mut staging = Staging::new(30);
        for block in 0..5 {
            assert_eq!(staging.add(BlockAt { segment: 0, block }, 10, 0, &[1]), None);
        }
        assert_eq!(staging.size, 30);
        assert!(staging.read(BlockAt { segment: 0, block: 1 }, 0).is_none());
        assert!(staging.read(BlockAt { segment: 0, block: 2 }, 0).is_some());
        // One block is taken whatever its size.
        assert_eq!(staging.add(AT, 100, 0, &[2; 100]).unwrap(), vec![2; 100]);
        assert_eq!(staging.size, 100);
        staging.remove(AT);
        assert_eq!(staging.size, 0);
    }

    proptest! {
        #[test]
        fn any_split_in_any_order_makes_the_block(cuts in prop::collection::vec(0_usize..200, 0..10), seed: u64) {
            let block: Vec<u8> = (0..200).map(|i| i as u8).collect();
            let mut cuts = cuts;
            cuts.extend([0, 200]);
            cuts.sort_unstable();
            let mut pieces: Vec<_> = cuts.windows(2).map(|pair| pair[0]..pair[1]).filter(|p| !p.is_empty()).collect();
            let mut random = seed;
            for i in (1..pieces.len()).rev() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                pieces.swap(i, (random >> 33) as usize % (i + 1));
            }
            let mut staging = Staging::new(1000);
            let last = pieces.pop().unwrap();
            for piece in pieces {
                prop_assert_eq!(staging.add(AT, 200, piece.start, &block[piece.clone()]), None);
                prop_assert_eq!(&staging.read(AT, piece.start).unwrap()[..1], &block[piece.start..piece.start + 1]);
            }
            let whole = staging.add(AT, 200, last.start, &block[last.clone()]);
            prop_assert_eq!(whole.unwrap(), block);
        }
    }
}
