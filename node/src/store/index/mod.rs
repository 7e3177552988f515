//! The index in memory: from segment ids to records, in shards that each have their own lock.
//!
//! A segment whose only block is block 0, as all of version 2 are, costs its id and its record: 48 bytes, and 6 to 9 in
//! the hash table. Any other segment has its records beside, sorted by block index.

mod shard;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;
use std::sync::RwLock;

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};

use super::entry::UnixTime;
use super::locks::{read, write};
use super::place::{Cell, PackSlot, Place, Record};
use super::types::Audience;
use shard::{ID_SIZE, Shard};

const SHARDS: usize = 64;

/// The index of a store.
pub(super) struct Index {
    hasher: Hasher,
    shards: Vec<RwLock<Shard>>,
}

/// What [`Index::insert`] found in the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    /// Nothing.
    New,
    /// This record, which is no longer in the index.
    Replaced(Record),
    /// The segment is known with so many blocks; nothing was inserted.
    BlockCountConflict(u32),
}

/// A record on its way into the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewRecord {
    pub(super) id: SegmentId,
    pub(super) block_count: u32,
    pub(super) record: Record,
}

/// A segment's records, copied out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentRecords {
    pub(super) id: SegmentId,
    pub(super) block_count: u32,
    /// Sorted by block index, never empty.
    pub(super) records: Vec<Record>,
}

/// What a probe asks of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) blocks: u32,
    pub(super) block_count: u32,
    pub(super) oldest: UnixTime,
}

impl Index {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::new(Shard::default())).collect();
        Self { hasher: Hasher::new(), shards }
    }

    /// The record of a block.
    pub(super) fn find(&self, id: &SegmentId, index: BlockIndex) -> Option<Record> {
        let (hash, shard) = self.shard(id);
        let shard = read(shard);
        shard.cell(shard.find(hash, id)?, index)?.get().ok()
    }

    /// Remembers that the record at `place` was read and is intact.
    pub(super) fn mark_used(&self, id: &SegmentId, index: BlockIndex, place: Place) {
        self.with_cell(id, index, |cell| cell.mark_used(place));
    }

    /// Remembers that the record at `place` is intact.
    pub(super) fn mark_checked(&self, id: &SegmentId, index: BlockIndex, place: Place) {
        self.with_cell(id, index, |cell| cell.mark_checked(place));
    }

    fn with_cell(&self, id: &SegmentId, index: BlockIndex, act: impl FnOnce(&Cell)) {
        let (hash, shard) = self.shard(id);
        let shard = read(shard);
        if let Some(cell) = shard.find(hash, id).and_then(|slot| shard.cell(slot, index)) {
            act(cell);
        }
    }

    /// How many blocks of a segment are bound and not older than `not_before`; `None` for none.
    pub(super) fn bound(&self, id: &SegmentId, not_before: UnixTime) -> Option<Bound> {
        let (hash, shard) = self.shard(id);
        let shard = read(shard);
        shard.bound(shard.find(hash, id)?, not_before)
    }

    /// The blocks of a segment that are for an audience and not older than `not_before`.
    pub(super) fn blocks_for(&self, id: &SegmentId, audience: Audience, not_before: UnixTime) -> BlockRanges {
        let (hash, shard) = self.shard(id);
        let shard = read(shard);
        shard.find(hash, id).map_or_else(BlockRanges::new, |slot| shard.blocks_for(slot, audience, not_before))
    }

    /// When the first of [`Self::blocks_for`] came.
    pub(super) fn oldest(&self, id: &SegmentId, audience: Audience, not_before: UnixTime) -> Option<UnixTime> {
        let (hash, shard) = self.shard(id);
        let shard = read(shard);
        shard.oldest(shard.find(hash, id)?, audience, not_before)
    }

    /// The first of [`Self::blocks_for`] after a block.
    pub(super) fn next_for(
        &self,
        id: &SegmentId,
        after: BlockIndex,
        audience: Audience,
        not_before: UnixTime,
    ) -> Option<BlockIndex> {
        let (hash, shard) = self.shard(id);
        let shard = read(shard);
        shard.next_for(shard.find(hash, id)?, after, audience, not_before)
    }

    /// Everything of a segment.
    pub(super) fn segment(&self, id: &SegmentId) -> Option<SegmentRecords> {
        let (hash, shard) = self.shard(id);
        let shard = read(shard);
        Some(shard.segment(shard.find(hash, id)?))
    }

    /// Puts a record in; `index` is below `block_count`.
    pub(super) fn insert(&self, id: &SegmentId, block_count: u32, record: Record) -> Inserted {
        let (hash, shard) = self.shard(id);
        write(shard).insert(&self.hasher, hash, id, block_count, record)
    }

    /// Puts many records in, and shows what [`Self::insert`] would return for each: much faster than one by one, since
    /// the processor waits for many places in memory at once.
    pub(super) fn insert_all(&self, batch: &[NewRecord], mut show: impl FnMut(&NewRecord, Inserted)) {
        let mut by_shard: Vec<Vec<(u64, &NewRecord)>> = vec![Vec::new(); SHARDS];
        for new in batch {
            let hash = self.hasher.hash(&prefix(&new.id));
            by_shard[shard_of(hash)].push((hash, new));
        }
        for (shard, batch) in self.shards.iter().zip(by_shard) {
            let mut shard = write(shard);
            black_box(batch.iter().map(|(hash, _)| shard.touch(*hash)).fold(0, u8::wrapping_add));
            for (hash, new) in batch {
                show(new, shard.insert(&self.hasher, hash, &new.id, new.block_count, new.record));
            }
        }
    }

    /// Takes a record out if it is the one at `place`. Returns what was taken.
    pub(super) fn remove(&self, id: &SegmentId, index: BlockIndex, place: Place) -> Option<Record> {
        let (hash, shard) = self.shard(id);
        let mut shard = write(shard);
        let slot = shard.find(hash, id)?;
        let found = shard.cell(slot, index)?.get().ok()?;
        if !found.place.is_at(place) {
            return None;
        }
        shard.retain(&self.hasher, slot, |record| record.note.index() != index);
        Some(found)
    }

    /// Makes every claimed record of a segment bound. Returns whether there was one.
    pub(super) fn raise(&self, id: &SegmentId) -> bool {
        let (hash, shard) = self.shard(id);
        let mut shard = write(shard);
        shard.find(hash, id).is_some_and(|slot| shard.raise(slot))
    }

    /// Takes out every record of a pack.
    pub(super) fn remove_pack(&self, pack: PackSlot, mut removed: impl FnMut(&Record)) {
        for shard in &self.shards {
            let mut shard = write(shard);
            for slot in 0..shard.end() {
                shard.retain(&self.hasher, slot, |record| {
                    let keep = record.place.slot() != pack;
                    if !keep {
                        removed(record);
                    }
                    keep
                });
            }
        }
    }

    /// Takes everything out.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            *write(shard) = Shard::default();
        }
    }

    /// The records of a pack that `take` says, with their ids.
    pub(super) fn records_of(&self, pack: PackSlot, mut take: impl FnMut(&Record) -> bool) -> Vec<(SegmentId, Record)> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let shard = read(shard);
            for slot in 0..shard.end() {
                let records = shard.records_of(slot).filter(|record| record.place.slot() == pack && take(record));
                taken.extend(records.map(|record| (shard.id(slot), record)));
            }
        }
        taken
    }

    /// Shows every segment to `visit`, without a lock. Segments that come or go meanwhile may be missed.
    pub(super) fn for_each(&self, mut visit: impl FnMut(SegmentRecords)) {
        const BATCH: u32 = 1024;
        for shard in &self.shards {
            let mut from = 0;
            loop {
                let (batch, end) = {
                    let shard = read(shard);
                    let to = shard.end().min(from + BATCH);
                    let batch: Vec<_> =
                        (from..to).filter(|slot| shard.is_taken(*slot)).map(|slot| shard.segment(slot)).collect();
                    (batch, to == shard.end())
                };
                batch.into_iter().for_each(&mut visit);
                if end {
                    break;
                }
                from += BATCH;
            }
        }
    }

    /// Segments and records held.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.shards
            .iter()
            .map(|shard| read(shard))
            .fold((0, 0), |(segments, records), shard| (segments + shard.segments(), records + shard.records()))
    }

    fn shard(&self, id: &SegmentId) -> (u64, &RwLock<Shard>) {
        let hash = self.hasher.hash(&prefix(id));
        (hash, &self.shards[shard_of(hash)])
    }
}

/// The table of a shard uses the lowest and the highest bits.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

/// A hash for ids, which are hashes themselves. Its keys are secret, so that nobody can choose ids that collide.
///
/// Ids that share their first 32 bytes share their hash: that takes a collision of the hash that made them.
struct Hasher([u64; 4]);

impl Hasher {
    fn new() -> Self {
        let random = RandomState::new();
        Self([0, 1, 2, 3].map(|key| random.hash_one(key)))
    }

    fn hash(&self, prefix: &[u8; ID_SIZE]) -> u64 {
        let (words, _) = prefix.as_chunks::<8>();
        let word = |at: usize| u64::from_le_bytes(words[at]) ^ self.0[at];
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        fold(fold(word(0), word(1)) ^ self.0[2], fold(word(2), word(3)) ^ self.0[1])
    }
}

fn prefix(id: &SegmentId) -> [u8; ID_SIZE] {
    if let Ok(whole) = id.as_bytes().try_into() {
        return whole;
    }
    let mut prefix = [0; ID_SIZE];
    let size = id.as_bytes().len().min(ID_SIZE);
    prefix[..size].copy_from_slice(&id.as_bytes()[..size]);
    prefix
}
