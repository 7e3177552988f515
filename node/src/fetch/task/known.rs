//! What content information said of a content: its segments, their keys, and the hashes of their blocks.

use std::collections::BTreeMap;
use std::ops::Range;

use peerdist_protocol::content::{
    BlockCheck, BlockIndex, ContentInformation, ContentVersion, Segment, SegmentHashOfData,
};
use peerdist_protocol::crypto::{HashAlgorithm, HashValue};

use crate::fetch::plan::BlockAt;

/// All content information of one content, and the block hashes that were computed where it says too little.
#[derive(Debug)]
pub(super) struct Known {
    version: ContentVersion,
    algorithm: HashAlgorithm,
    /// By the offset of its first segment. Two may hold the same segment with different parts of its list.
    information: BTreeMap<u64, Vec<ContentInformation>>,
    described: Vec<Range<u64>>,
    /// The block hashes of segments whose list is partial, by the segment's offset.
    partial: BTreeMap<u64, Vec<Option<HashValue>>>,
}

impl Known {
    pub(super) fn new(information: ContentInformation) -> Self {
        let mut known = Self {
            version: information.version(),
            algorithm: information.algorithm(),
            information: BTreeMap::new(),
            described: Vec::new(),
            partial: BTreeMap::new(),
        };
        known.add(information);
        known
    }

    pub(super) fn version(&self) -> ContentVersion {
        self.version
    }

    pub(super) fn is_of(&self, information: &ContentInformation) -> bool {
        (self.version, self.algorithm) == (information.version(), information.algorithm())
    }

    /// Takes in further content information that was found to fit. Returns the segments, by their offsets, of which all
    /// hashes are known now and were not before.
    pub(super) fn add(&mut self, information: ContentInformation) -> Vec<u64> {
        self.describe(information.range());
        let mut complete = Vec::new();
        for segment in information.segments() {
            let offset = segment.offset();
            if segment.is_bound() {
                complete.extend(self.partial.remove(&offset).map(|_| offset));
                continue;
            }
            if self.segment(offset).is_some_and(Segment::is_bound) {
                continue;
            }
            let was_complete = self.is_complete(offset);
            let hashes = self.partial.entry(offset).or_insert_with(|| vec![None; segment.block_count() as usize]);
            for (index, hash) in (0..).zip(hashes) {
                if let Some(check) = segment.block_check(index) {
                    *hash = Some(check.hash);
                }
            }
            if !was_complete && self.is_complete(offset) {
                complete.push(offset);
            }
        }
        if let Some(first) = information.segments().first() {
            self.information.entry(first.offset()).or_default().push(information);
        }
        complete
    }

    /// The first byte that is described.
    pub(super) fn first_described(&self) -> u64 {
        self.described.first().map_or(0, |range| range.start)
    }

    /// The described range that covers a position.
    pub(super) fn described_at(&self, position: u64) -> Option<Range<u64>> {
        self.described.iter().find(|range| range.contains(&position)).cloned()
    }

    /// The segment that begins at an offset: the one with a complete list, if there are several.
    pub(super) fn segment(&self, offset: u64) -> Option<&Segment> {
        self.segment_around(offset).filter(|segment| segment.offset() == offset)
    }

    /// The segment that covers a position, as [`Self::segment`] chooses it.
    pub(super) fn segment_around(&self, position: u64) -> Option<&Segment> {
        let mut all = self.segments_at(position);
        let first = all.next()?;
        if first.is_bound() { Some(first) } else { all.find(|segment| segment.is_bound()).or(Some(first)) }
    }

    /// What a block's plaintext has to be, where its hash is known.
    pub(super) fn check(&self, at: BlockAt) -> Option<BlockCheck> {
        let segment = self.segment(at.segment)?;
        segment.block_check(at.block).or_else(|| {
            let hash = (*self.partial.get(&at.segment)?.get(at.block as usize)?)?;
            let range = segment.block_range(at.block)?;
            Some(BlockCheck { algorithm: self.algorithm, hash, length: u32::try_from(range.end - range.start).ok()? })
        })
    }

    /// Writes down the computed hash of a block that is not listed. It proves nothing by itself: see [`Self::proven`].
    pub(super) fn computed(&mut self, at: BlockAt, hash: HashValue) {
        if let Some(slot) = self.partial.get_mut(&at.segment).and_then(|hashes| hashes.get_mut(at.block as usize)) {
            slot.get_or_insert(hash);
        }
    }

    /// Whether the hashes known by now are all of the segment's, and are what its HoD stands for. Then they are as good
    /// as a complete list.
    pub(super) fn proven(&self, segment: u64) -> bool {
        let Some(hashes) = self.partial.get(&segment) else {
            return self.segment(segment).is_some_and(Segment::is_bound);
        };
        let Some(segment) = self.segment(segment) else { return false };
        let mut list = Vec::with_capacity(hashes.len() * self.algorithm.size());
        for hash in hashes {
            let Some(hash) = hash else { return false };
            list.extend_from_slice(hash.as_bytes());
        }
        SegmentHashOfData::of(self.algorithm, &list) == *segment.hash_of_data()
    }

    /// Forgets the computed hashes of a segment: they turned out not to be those of its HoD.
    pub(super) fn forget_computed(&mut self, segment: u64) {
        let listed: Vec<Option<HashValue>> = match self.partial.get(&segment) {
            Some(hashes) => (0..).zip(hashes).map(|(index, _)| self.listed_hash(segment, index)).collect(),
            None => return,
        };
        self.partial.insert(segment, listed);
    }

    /// Whether every hash of the segment's list is known, right or not.
    pub(super) fn is_complete(&self, segment: u64) -> bool {
        self.partial.get(&segment).is_some_and(|hashes| hashes.iter().all(Option::is_some))
    }

    fn listed_hash(&self, segment: u64, index: BlockIndex) -> Option<HashValue> {
        let mut all = self.segments_at(segment).filter(|known| known.offset() == segment);
        all.find_map(|known| known.block_check(index)).map(|check| check.hash)
    }

    /// Every description of the segment around a position.
    fn segments_at(&self, position: u64) -> impl Iterator<Item = &Segment> {
        let before = self.information.range(..=position).rev().flat_map(|(_, information)| information);
        before.filter_map(move |information| information.segment_at(position))
    }

    fn describe(&mut self, new: Range<u64>) {
        let mut merged = new;
        self.described.retain(|range| {
            let touches = range.start <= merged.end && merged.start <= range.end;
            if touches {
                merged = range.start.min(merged.start)..range.end.max(merged.end);
            }
            !touches
        });
        let at = self.described.partition_point(|range| range.start < merged.start);
        self.described.insert(at, merged);
    }
}

#[cfg(test)]
mod tests {
    use peerdist_protocol::content::{BLOCK_SIZE_V1, HashOptions, Hasher, ServerSecret};

    use super::*;

    fn information(blocks: usize) -> (Vec<u8>, ContentInformation) {
        let content: Vec<u8> = (0..blocks * BLOCK_SIZE_V1 as usize).map(|i| (i / 1000) as u8).collect();
        let options = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: false };
        let mut hasher = Hasher::new(options, &ServerSecret::from_bytes(*b"secret"));
        hasher.update(&content);
        let v1 = hasher.finish().unwrap().v1.unwrap();
        (content, v1)
    }

    #[test]
    fn ranges_grow_together() {
        let (_, whole) = information(10);
        let block = u64::from(BLOCK_SIZE_V1);
        let mut known = Known::new(whole.slice(0..3 * block).unwrap());
        assert_eq!(known.described_at(0), Some(0..3 * block));
        assert_eq!(known.described_at(3 * block), None);
        assert!(known.check(BlockAt { segment: 0, block: 5 }).is_none());
        known.add(whole.slice(5 * block..6 * block).unwrap());
        assert_eq!(known.described_at(5 * block), Some(5 * block..6 * block));
        assert!(known.check(BlockAt { segment: 0, block: 5 }).is_some());
        known.add(whole.slice(2 * block..6 * block).unwrap());
        assert_eq!(known.described_at(5 * block), Some(0..6 * block));
        assert!(!known.proven(0));
        known.add(whole);
        assert!(known.proven(0));
        assert!(known.segment_around(9 * block).unwrap().is_bound());
    }

    #[test]
    fn computed_hashes_complete_a_list_only_if_they_are_right() {
        let (content, whole) = information(4);
        let block = u64::from(BLOCK_SIZE_V1);
        let mut known = Known::new(whole.slice(0..3 * block).unwrap());
        let at = BlockAt { segment: 0, block: 3 };
        known.computed(at, HashAlgorithm::Sha256.hash(b"something else"));
        assert!(known.is_complete(0) && !known.proven(0));
        known.forget_computed(0);
        assert!(!known.is_complete(0));
        assert!(known.check(BlockAt { segment: 0, block: 2 }).is_some());
        known.computed(at, HashAlgorithm::Sha256.hash(&content[3 * BLOCK_SIZE_V1 as usize..]));
        assert!(known.is_complete(0) && known.proven(0));
        assert_eq!(known.check(at).unwrap().length, BLOCK_SIZE_V1);
    }
}
