//! The index in memory: from segment ids to records, in shards that each have their own lock.
//!
//! A segment whose only block is block 0, as all of version 2 are, costs its id and its record: 48 bytes, and 6 to 9 in
//! the hash table. Any other segment has its records beside, sorted by block index.

use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;
use std::sync::RwLock;

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};

use super::entry::UnixTime;
use super::locks::{read, write};
use super::place::{Cell, PackSlot, Place, Record};
use super::table::Table;
use super::types::Trust;

const SHARDS: usize = 64;
const ID_SIZE: usize = 32;

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

    /// The blocks of a segment that are bound and not older than `not_before`.
    pub(super) fn bound_blocks(&self, id: &SegmentId, not_before: UnixTime) -> BlockRanges {
        let (hash, shard) = self.shard(id);
        let shard = read(shard);
        shard.find(hash, id).map_or_else(BlockRanges::new, |slot| shard.bound_blocks(slot, not_before))
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
            black_box(batch.iter().map(|(hash, _)| shard.table.touch(*hash)).fold(0, u8::wrapping_add));
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

    /// Makes every record of a segment bound. Returns whether one was not.
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
            .fold((0, 0), |(segments, records), shard| (segments + shard.table.len() as u64, records + shard.records))
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

#[derive(Default)]
struct Shard {
    /// Slot numbers by id.
    table: Table,
    slots: Vec<Slot>,
    free: Vec<u32>,
    many: Vec<Many>,
    free_many: Vec<u32>,
    records: u64,
}

/// A segment: the first 32 bytes of its id, and its record if it is block 0 of 1 and the id is 32 bytes long. Otherwise
/// a link to its [`Many`], or [`VACANT`].
struct Slot {
    id: [u8; ID_SIZE],
    cell: Cell,
}

const VACANT: u32 = u32::MAX;

/// What does not fit into a [`Slot`].
#[derive(Default)]
struct Many {
    id_size: u8,
    id_rest: Box<[u8]>,
    block_count: u16,
    /// How many records are bound, and the entry time of the oldest of them: answers to probes without a walk.
    bound: u16,
    oldest_bound: UnixTime,
    /// Sorted by block index.
    cells: Vec<Cell>,
}

impl Shard {
    fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// One more than the last slot.
    fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    fn many(&self, link: u32) -> Option<&Many> {
        self.many.get(link as usize)
    }

    fn is_taken(&self, slot: u32) -> bool {
        self.slot(slot).cell.get() != Err(VACANT)
    }

    fn find(&self, hash: u64, id: &SegmentId) -> Option<u32> {
        let (bytes, prefix) = (id.as_bytes(), prefix(id));
        let is_it = |slot: u32| {
            let slot = self.slot(slot);
            slot.id == prefix
                && match slot.cell.get() {
                    Ok(_) => bytes.len() == ID_SIZE,
                    Err(link) => self.many(link).is_some_and(|many| {
                        usize::from(many.id_size) == bytes.len() && *many.id_rest == bytes[bytes.len().min(ID_SIZE)..]
                    }),
                }
        };
        self.table.find(hash, is_it)
    }

    fn cell(&self, slot: u32, index: BlockIndex) -> Option<&Cell> {
        let cell = &self.slot(slot).cell;
        match cell.get() {
            Ok(record) => (record.note.index() == index).then_some(cell),
            Err(link) => {
                let many = self.many(link)?;
                many.position(index).ok().map(|at| &many.cells[at])
            }
        }
    }

    fn bound(&self, slot: u32, not_before: UnixTime) -> Option<Bound> {
        match self.slot(slot).cell.get() {
            Ok(record) => (record.place.trust() == Trust::Bound && record.note.time() >= not_before).then_some(Bound {
                blocks: 1,
                block_count: 1,
                oldest: record.note.time(),
            }),
            Err(link) => self.many(link)?.bound(not_before),
        }
    }

    fn bound_blocks(&self, slot: u32, not_before: UnixTime) -> BlockRanges {
        let is_bound = |record: &Record| record.place.trust() == Trust::Bound && record.note.time() >= not_before;
        match self.slot(slot).cell.get() {
            Ok(record) => is_bound(&record).then_some(record.note.index()).into_iter().collect(),
            Err(link) => {
                let records = self.many(link).into_iter().flat_map(Many::records);
                records.filter(is_bound).map(|record| record.note.index()).collect()
            }
        }
    }

    fn segment(&self, slot: u32) -> SegmentRecords {
        let found = self.slot(slot);
        let (id, block_count, records) = match found.cell.get() {
            Ok(record) => (SegmentId::from_slice(&found.id), 1, vec![record]),
            Err(link) => {
                let many = &self.many[link as usize];
                let size = usize::from(many.id_size);
                let id = [&found.id[..size.min(ID_SIZE)], &many.id_rest].concat();
                (SegmentId::from_slice(&id), u32::from(many.block_count), many.records().collect())
            }
        };
        let id = id.expect("the bytes were taken from an id");
        SegmentRecords { id, block_count, records }
    }

    fn insert(&mut self, hasher: &Hasher, hash: u64, id: &SegmentId, block_count: u32, record: Record) -> Inserted {
        let Some(slot) = self.find(hash, id) else {
            self.insert_segment(hasher, hash, id, block_count, record);
            self.records += 1;
            return Inserted::New;
        };
        let replaced = match self.slot(slot).cell.get() {
            Ok(_) if block_count != 1 => return Inserted::BlockCountConflict(1),
            Ok(old) => {
                self.slot_mut(slot).cell = record.into();
                Some(old)
            }
            Err(link) => {
                let many = &mut self.many[link as usize];
                if u32::from(many.block_count) != block_count {
                    return Inserted::BlockCountConflict(many.block_count.into());
                }
                many.insert(record)
            }
        };
        match replaced {
            Some(old) => Inserted::Replaced(old),
            None => {
                self.records += 1;
                Inserted::New
            }
        }
    }

    fn insert_segment(&mut self, hasher: &Hasher, hash: u64, id: &SegmentId, block_count: u32, record: Record) {
        let bytes = id.as_bytes();
        let cell = if bytes.len() == ID_SIZE && block_count == 1 {
            record.into()
        } else {
            let mut many = Many {
                id_size: bytes.len() as u8,
                id_rest: bytes[bytes.len().min(ID_SIZE)..].into(),
                block_count: block_count as u16,
                ..Many::default()
            };
            many.insert(record);
            Cell::link(self.add_many(many))
        };
        if self.table.is_full() {
            let taken = self.slots.iter().zip(0..).filter(|(slot, _)| slot.cell.get() != Err(VACANT));
            self.table.grow(taken.map(|(slot, number)| (hasher.hash(&slot.id), number)));
        }
        let slot = self.add_slot(Slot { id: prefix(id), cell });
        self.table.insert(hash, slot);
    }

    fn add_many(&mut self, many: Many) -> u32 {
        if let Some(link) = self.free_many.pop() {
            self.many[link as usize] = many;
            return link;
        }
        self.many.push(many);
        (self.many.len() - 1) as u32
    }

    fn add_slot(&mut self, new: Slot) -> u32 {
        if let Some(slot) = self.free.pop() {
            *self.slot_mut(slot) = new;
            return slot;
        }
        self.slots.push(new);
        self.end() - 1
    }

    /// Keeps the records of a slot that `keep` says, and frees the slot with its last record.
    fn retain(&mut self, hasher: &Hasher, slot: u32, mut keep: impl FnMut(&Record) -> bool) {
        let (before, after) = match self.slot(slot).cell.get() {
            Ok(record) => (1, usize::from(keep(&record))),
            Err(VACANT) => return,
            Err(link) => {
                let many = &mut self.many[link as usize];
                let before = many.cells.len();
                many.cells.retain(|cell| cell.get().is_ok_and(|record| keep(&record)));
                if many.cells.len() != before {
                    many.recount();
                }
                (before, many.cells.len())
            }
        };
        self.records -= (before - after) as u64;
        if after == 0 {
            self.free_slot(hasher, slot);
        }
    }

    fn free_slot(&mut self, hasher: &Hasher, slot: u32) {
        self.table.remove(hasher.hash(&self.slot(slot).id), slot);
        if let Err(link) = self.slot(slot).cell.get() {
            self.many[link as usize] = Many::default();
            self.free_many.push(link);
        }
        self.slot_mut(slot).cell = Cell::link(VACANT);
        self.free.push(slot);
    }

    fn raise(&mut self, slot: u32) -> bool {
        let raise = |cell: &mut Cell| match cell.get() {
            Ok(record) if record.place.trust() != Trust::Bound => {
                cell.set_place(record.place.bound());
                true
            }
            _ => false,
        };
        match self.slot(slot).cell.get() {
            Ok(_) => raise(&mut self.slot_mut(slot).cell),
            Err(link) => {
                let many = &mut self.many[link as usize];
                let raised = many.cells.iter_mut().map(raise).filter(|raised| *raised).count();
                many.recount();
                raised > 0
            }
        }
    }
}

impl Many {
    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.cells.iter().filter_map(|cell| cell.get().ok())
    }

    fn position(&self, index: BlockIndex) -> Result<usize, usize> {
        self.cells.binary_search_by_key(&Ok(index), |cell| cell.get().map(|record| record.note.index()))
    }

    fn insert(&mut self, record: Record) -> Option<Record> {
        let replaced = match self.position(record.note.index()) {
            Ok(at) => std::mem::replace(&mut self.cells[at], record.into()).get().ok(),
            Err(at) => {
                self.cells.insert(at, record.into());
                None
            }
        };
        self.recount();
        replaced
    }

    fn bound(&self, not_before: UnixTime) -> Option<Bound> {
        let (blocks, oldest) = if self.oldest_bound >= not_before {
            (u32::from(self.bound), self.oldest_bound)
        } else {
            self.count_bound(not_before)
        };
        (blocks > 0).then_some(Bound { blocks, block_count: self.block_count.into(), oldest })
    }

    fn count_bound(&self, not_before: UnixTime) -> (u32, UnixTime) {
        self.records()
            .filter(|record| record.place.trust() == Trust::Bound && record.note.time() >= not_before)
            .fold((0, UnixTime::MAX), |(count, oldest), record| (count + 1, oldest.min(record.note.time())))
    }

    fn recount(&mut self) {
        let (bound, oldest) = self.count_bound(0);
        self.bound = bound as u16;
        self.oldest_bound = oldest;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use peerdist_protocol::content::CryptoAlgoId;
    use proptest::prelude::*;

    use super::super::place::Note;
    use super::*;

    fn id(number: u8, size: usize) -> SegmentId {
        let mut bytes = vec![0x55; size];
        *bytes.last_mut().unwrap() = number;
        SegmentId::from_slice(&bytes).unwrap()
    }

    fn record(pack: u16, offset: u32, trust: Trust, time: u32, index: u32) -> Record {
        Record { place: Place::new(pack, offset, 48, CryptoAlgoId::Aes128, trust), note: Note::new(time, 0, index) }
    }

    #[test]
    fn ids_that_share_a_beginning_are_different() {
        let index = Index::new();
        let ids = [id(1, 32), id(1, 33), id(2, 33), id(1, 64), id(2, 64), id(0x55, 31), id(0x55, 64)];
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(index.insert(id, 1, record(0, at as u32 * 16, Trust::Bound, 5, 0)), Inserted::New);
        }
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(index.find(id, 0).unwrap().place.offset(), at as u32 * 16);
            assert_eq!(index.segment(id).unwrap().id, *id);
        }
        assert_eq!(index.counts(), (7, 7));
    }

    #[test]
    fn a_segment_has_one_block_count() {
        let index = Index::new();
        index.insert(&id(1, 32), 3, record(0, 0, Trust::Claimed, 5, 2));
        let conflict = index.insert(&id(1, 32), 4, record(0, 16, Trust::Claimed, 5, 1));
        assert_eq!(conflict, Inserted::BlockCountConflict(3));
        index.insert(&id(2, 32), 1, record(0, 0, Trust::Claimed, 5, 0));
        let conflict = index.insert(&id(2, 32), 2, record(0, 16, Trust::Claimed, 5, 0));
        assert_eq!(conflict, Inserted::BlockCountConflict(1));
    }

    #[test]
    fn only_bound_and_young_blocks_are_counted() {
        let index = Index::new();
        let id = id(1, 32);
        index.insert(&id, 4, record(0, 0, Trust::Claimed, 5, 0));
        assert_eq!(index.bound(&id, 0), None);
        index.insert(&id, 4, record(0, 16, Trust::Bound, 7, 1));
        index.insert(&id, 4, record(0, 32, Trust::Bound, 9, 2));
        assert_eq!(index.bound(&id, 0), Some(Bound { blocks: 2, block_count: 4, oldest: 7 }));
        assert_eq!(index.bound(&id, 8), Some(Bound { blocks: 1, block_count: 4, oldest: 9 }));
        assert_eq!(index.bound(&id, 10), None);
        assert_eq!(index.bound_blocks(&id, 8), [2].into_iter().collect());
        assert!(index.raise(&id) && !index.raise(&id));
        assert_eq!(index.bound(&id, 0), Some(Bound { blocks: 3, block_count: 4, oldest: 5 }));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u8, bool, u32, u16),
        Remove(u8, bool, u32),
        RemovePack(u16),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            20 => (0..40u8, any::<bool>(), 0..4u32, 0..5u16).prop_map(|(i, l, b, p)| Step::Insert(i, l, b, p)),
            5 => (0..40u8, any::<bool>(), 0..4u32).prop_map(|(i, l, b)| Step::Remove(i, l, b)),
            2 => (0..5u16).prop_map(Step::RemovePack),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec(step(), 1..400)) {
            let index = Index::new();
            let mut model: BTreeMap<(SegmentId, u32), Record> = BTreeMap::new();
            // Half of the segments have one block, which takes another path than the rest.
            let shape = |number: u8, long: bool| {
                (id(number, if long { 48 } else { 32 }), if number.is_multiple_of(2) { 1 } else { 4 })
            };
            for (at, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(number, long, block, pack) => {
                        let (id, count) = shape(number, long);
                        let block = block % count;
                        let new = record(pack, at as u32 * 16, Trust::Bound, 1, block);
                        let expected = model.insert((id, block), new).map_or(Inserted::New, Inserted::Replaced);
                        prop_assert_eq!(index.insert(&id, count, new), expected);
                    }
                    Step::Remove(number, long, block) => {
                        let (id, _) = shape(number, long);
                        let elsewhere = Place::new(9, 0, 48, CryptoAlgoId::Aes128, Trust::Bound);
                        prop_assert_eq!(index.remove(&id, block, elsewhere), None);
                        let expected = model.remove(&(id, block));
                        let place = expected.map_or(elsewhere, |record| record.place);
                        prop_assert_eq!(index.remove(&id, block, place), expected);
                    }
                    Step::RemovePack(pack) => {
                        let mut removed = 0;
                        index.remove_pack(pack, |_| removed += 1);
                        let before = model.len();
                        model.retain(|_, record| record.place.slot() != pack);
                        prop_assert_eq!(removed, before - model.len());
                    }
                    Step::Clear => {
                        index.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!(index.counts().1, model.len() as u64);
            }
            let mut listed = BTreeMap::new();
            index.for_each(|segment| {
                for record in segment.records {
                    listed.insert((segment.id, record.note.index()), record);
                }
            });
            prop_assert_eq!(listed, model);
        }
    }
}
