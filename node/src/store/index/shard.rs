//! One part of the index, with what only its own lock guards.

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};

use super::super::entry::UnixTime;
use super::super::place::{Cell, Record};
use super::super::table::Table;
use super::super::types::{Audience, Trust};
use super::{Bound, Hasher, Inserted, SegmentRecords, prefix};

/// Bytes of an id that are kept in a slot: all of them, but for version 1 with SHA-384 and SHA-512.
pub(super) const ID_SIZE: usize = 32;

#[derive(Default)]
pub(super) struct Shard {
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

    pub(super) fn segments(&self) -> u64 {
        self.table.len() as u64
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// As [`Table::touch`].
    pub(super) fn touch(&self, hash: u64) -> u8 {
        self.table.touch(hash)
    }

    /// One more than the last slot.
    pub(super) fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    fn many(&self, link: u32) -> Option<&Many> {
        self.many.get(link as usize)
    }

    pub(super) fn is_taken(&self, slot: u32) -> bool {
        self.slot(slot).cell.get() != Err(VACANT)
    }

    pub(super) fn find(&self, hash: u64, id: &SegmentId) -> Option<u32> {
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

    pub(super) fn cell(&self, slot: u32, index: BlockIndex) -> Option<&Cell> {
        let cell = &self.slot(slot).cell;
        match cell.get() {
            Ok(record) => (record.note.index() == index).then_some(cell),
            Err(link) => {
                let many = self.many(link)?;
                many.position(index).ok().map(|at| &many.cells[at])
            }
        }
    }

    pub(super) fn bound(&self, slot: u32, not_before: UnixTime) -> Option<Bound> {
        match self.slot(slot).cell.get() {
            Ok(record) => {
                is_bound(&record, not_before).then_some(Bound { blocks: 1, block_count: 1, oldest: record.note.time() })
            }
            Err(link) => self.many(link)?.bound(not_before),
        }
    }

    pub(super) fn blocks_for(&self, slot: u32, audience: Audience, not_before: UnixTime) -> BlockRanges {
        let records = self.records_of(slot).filter(|record| is_for(record, audience, not_before));
        records.map(|record| record.note.index()).collect()
    }

    pub(super) fn oldest(&self, slot: u32, audience: Audience, not_before: UnixTime) -> Option<UnixTime> {
        let records = self.records_of(slot).filter(|record| is_for(record, audience, not_before));
        records.map(|record| record.note.time()).min()
    }

    pub(super) fn next_for(
        &self,
        slot: u32,
        after: BlockIndex,
        audience: Audience,
        not_before: UnixTime,
    ) -> Option<BlockIndex> {
        let many = self.slot(slot).cell.get().err().and_then(|link| self.many(link))?;
        let from = many.cells.partition_point(|cell| cell.get().is_ok_and(|record| record.note.index() <= after));
        let records = many.cells[from..].iter().filter_map(|cell| cell.get().ok());
        records.filter(|record| is_for(record, audience, not_before)).map(|record| record.note.index()).next()
    }

    /// The id of a slot that is taken.
    pub(super) fn id(&self, slot: u32) -> SegmentId {
        let found = self.slot(slot);
        let id = match found.cell.get().err().and_then(|link| self.many(link)) {
            None => SegmentId::from_slice(&found.id),
            Some(many) => {
                let size = usize::from(many.id_size).min(ID_SIZE);
                SegmentId::from_slice(&[&found.id[..size], &many.id_rest].concat())
            }
        };
        id.expect("the bytes were taken from an id")
    }

    /// The records of a slot, sorted by block index; none of one that is vacant.
    pub(super) fn records_of(&self, slot: u32) -> impl Iterator<Item = Record> + '_ {
        let cell = &self.slot(slot).cell;
        let many = cell.get().err().and_then(|link| self.many(link));
        cell.get().into_iter().chain(many.into_iter().flat_map(Many::records))
    }

    pub(super) fn segment(&self, slot: u32) -> SegmentRecords {
        let many = self.slot(slot).cell.get().err().and_then(|link| self.many(link));
        SegmentRecords {
            id: self.id(slot),
            block_count: many.map_or(1, |many| many.block_count.into()),
            records: self.records_of(slot).collect(),
        }
    }

    pub(super) fn insert(
        &mut self,
        hasher: &Hasher,
        hash: u64,
        id: &SegmentId,
        block_count: u32,
        record: Record,
    ) -> Inserted {
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
    pub(super) fn retain(&mut self, hasher: &Hasher, slot: u32, mut keep: impl FnMut(&Record) -> bool) {
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

    pub(super) fn raise(&mut self, slot: u32) -> bool {
        let raise = |cell: &mut Cell| match cell.get() {
            // Nobody here looked at what is blind.
            Ok(record) if record.place.trust() == Trust::Claimed => {
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

fn is_bound(record: &Record, not_before: UnixTime) -> bool {
    is_for(record, Audience::Peers, not_before)
}

fn is_for(record: &Record, audience: Audience, not_before: UnixTime) -> bool {
    audience.gets(record.place.trust()) && record.note.time() >= not_before
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
            .filter(|record| is_bound(record, not_before))
            .fold((0, UnixTime::MAX), |(count, oldest), record| (count + 1, oldest.min(record.note.time())))
    }

    fn recount(&mut self) {
        let (bound, oldest) = self.count_bound(0);
        self.bound = bound as u16;
        self.oldest_bound = oldest;
    }
}
