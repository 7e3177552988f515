//! Whatever makes blocks go: space, age, damage, requests.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use peerdist_protocol::content::{BlockIndex, SegmentId};

use super::core::{Core, Writer};
use super::entry::{Entry, RecordEntry};
use super::index::SegmentRecords;
use super::locks::lock;
use super::pack::Pack;
use super::place::Record;
use super::policy::{self, Candidate, Carry, DropReason, PackState, Room};
use super::types::{FileError, Tag};

impl Core {
    /// Drops packs until `need` more bytes fit. Returns whether there was anything to drop.
    pub(super) fn make_room(&self, need: u64) -> bool {
        let _evictor = lock(&self.evictor);
        loop {
            let packs = lock(&self.writer).packs.len();
            if policy::room(self.used(), need, self.limit_now(), packs) != Room::AfterDrop {
                return true;
            }
            if !self.drop_next(true) {
                return false;
            }
        }
    }

    /// Drops what is of no use, and packs ahead of need.
    pub(super) fn tidy(&self) {
        let _evictor = lock(&self.evictor);
        self.refresh_limit();
        self.erase_damaged();
        self.buffers.trim();
        while self.drop_next(policy::is_tight(self.used(), self.limit(), self.limit_now())) {}
    }

    /// Drops one pack. Returns whether there was one to drop. The caller is the evictor.
    fn drop_next(&self, need_space: bool) -> bool {
        let not_before = self.not_before();
        let (pack, reason) = {
            let mut writer = lock(&self.writer);
            let active = writer.active.as_ref().map(|active| active.sequence);
            let (packs, states): (Vec<_>, Vec<PackState>) = writer
                .packs
                .values()
                .filter(|pack| !(pack.is_empty() && active == Some(pack.sequence)))
                .map(|pack| (Arc::clone(pack), pack.state()))
                .unzip();
            let Some((at, reason)) = policy::next_drop(&states, not_before, need_space) else { return false };
            let pack = Arc::clone(&packs[at]);
            if active == Some(pack.sequence) {
                self.seal(&mut writer);
            }
            (pack, reason)
        };
        if reason == DropReason::Space {
            self.carry(&pack, not_before);
        }
        let dropped = self.delete_pack(&mut lock(&self.writer), &pack);
        match reason {
            DropReason::Dead => {}
            DropReason::Expired => self.counters.expired.add(dropped),
            DropReason::Space => self.counters.evicted.add(dropped),
        }
        true
    }

    /// Appends the records of a pack that were used since they were written once more.
    fn carry(&self, pack: &Pack, not_before: u32) {
        let budget = policy::carry_budget(self.used(), &pack.state(), self.limit_now());
        let mut carry = Carry::new(budget, not_before);
        let mut carried = self.index.records_of(pack.slot, |record| {
            carry.takes(Candidate {
                bytes: record.place.record_size(),
                used: record.place.is_used(),
                time: record.note.time(),
            })
        });
        carried.sort_unstable_by_key(|(_, record)| record.place.offset());
        for (id, record) in carried {
            let Ok(Some((entry, tail))) = self.read_entry(&id, record) else { continue };
            let mut writer = lock(&self.writer);
            let Some(now) = self.index.find(&id, record.note.index()).filter(|now| now.place.is_at(record.place))
            else {
                continue;
            };
            let entry = RecordEntry { trust: now.place.trust(), ..entry };
            if writer.closed || self.write(&mut writer, entry, &tail).is_err() {
                return;
            }
            self.counters.carried.add(1);
        }
    }

    /// Removes a pack with all its records. Returns how many there were.
    pub(super) fn delete_pack(&self, writer: &mut Writer, pack: &Arc<Pack>) -> u64 {
        if !writer.packs.contains_key(&pack.sequence) {
            return 0;
        }
        let dropped = self.forget_pack(pack.slot);
        self.take_pack(writer, pack);
        writer.directory_changed = true;
        if let Err(error) = pack.delete() {
            tracing::warn!(%error, "a part of the cache cannot be removed");
        }
        dropped
    }

    /// Removes damaged records from the files, so that they are not found again.
    pub(super) fn erase_damaged(&self) {
        let mut writer = lock(&self.writer);
        let damaged = std::mem::take(&mut *lock(&self.damaged));
        for damaged in damaged {
            let Some(pack) = writer.packs.get(&damaged.sequence).cloned() else { continue };
            let _ = self.erase_from_pack(&mut writer, &pack, &damaged.id, damaged.index, damaged.place.offset());
        }
    }

    /// Removes a segment, or one block of it. Once this returns it does not come back, whatever happens.
    pub(super) fn remove_blocks(&self, id: &SegmentId, which: impl Fn(&Record) -> bool) -> Result<u64, FileError> {
        let mut writer = lock(&self.writer);
        let Some(segment) = self.index.segment(id) else { return Ok(0) };
        let records: Vec<_> = segment.records.into_iter().filter(|record| which(record)).collect();
        if records.is_empty() {
            return Ok(0);
        }
        let touched = self.erase(&mut writer, id, &records);
        drop(writer);
        self.counters.removed.add(records.len() as u64);
        self.finish_removal(touched)?;
        Ok(records.len() as u64)
    }

    /// Removes all blocks with a tag.
    pub(super) fn remove_tag(&self, tag: Tag) -> Result<u64, FileError> {
        let Some(number) = self.tags.find(tag) else { return Ok(0) };
        let (mut touched, mut removed) = (BTreeMap::new(), 0);
        self.index.for_each(|SegmentRecords { id, records, .. }| {
            if records.iter().all(|record| record.note.tag() != number) {
                return;
            }
            let mut writer = lock(&self.writer);
            // The number may mean another tag by now, if its last record went.
            let Some(segment) = self.index.segment(&id).filter(|_| self.tags.find(tag) == Some(number)) else {
                return;
            };
            let records: Vec<_> = segment.records.into_iter().filter(|record| record.note.tag() == number).collect();
            removed += records.len() as u64;
            touched.extend(self.erase(&mut writer, &id, &records));
        });
        self.counters.removed.add(removed);
        self.finish_removal(touched)?;
        Ok(removed)
    }

    /// Drops the packs that removals emptied and forces what was changed in others to the disk.
    fn finish_removal(&self, touched: BTreeMap<u64, Arc<Pack>>) -> Result<(), FileError> {
        self.tidy();
        for pack in touched.values() {
            match pack.force_data(&self.open_files).and_then(|()| pack.sync_sidecar()) {
                // It was dropped.
                Err(error) if error.source.kind() == ErrorKind::NotFound => {}
                result => result?,
            }
        }
        self.sync_directory()
    }

    /// Takes records out of the index and the files. Returns the packs that were changed.
    pub(super) fn erase(&self, writer: &mut Writer, id: &SegmentId, records: &[Record]) -> BTreeMap<u64, Arc<Pack>> {
        for record in records {
            self.remove(id, record.note.index(), record.place);
        }
        self.erase_from_files(writer, id, records)
    }

    /// Takes records that are out of the index out of the files.
    pub(super) fn erase_from_files(
        &self,
        writer: &mut Writer,
        id: &SegmentId,
        records: &[Record],
    ) -> BTreeMap<u64, Arc<Pack>> {
        let mut touched = BTreeMap::new();
        for record in records {
            let Some(pack) = self.pack(record.place.slot()) else { continue };
            if self.erase_from_pack(writer, &pack, id, record.note.index(), record.place.offset()) {
                touched.insert(pack.sequence, pack);
            }
        }
        touched
    }

    /// Inverts the mark of a record and says so in the sidecar. A pack in which that is not possible is removed whole:
    /// what was flushed must not come back. Returns whether the pack is still there.
    pub(super) fn erase_from_pack(
        &self,
        writer: &mut Writer,
        pack: &Arc<Pack>,
        id: &SegmentId,
        index: BlockIndex,
        offset: u32,
    ) -> bool {
        let inverted = pack.data(&self.open_files).and_then(|file| pack.invert_mark(&file, offset));
        if let Err(error) = inverted {
            tracing::warn!(%error, "a block cannot be removed alone; its whole pack goes");
            self.delete_pack(writer, pack);
            return false;
        }
        if let Err(error) = self.append_entry(pack, &Entry::Tombstone { id: *id, index, offset }) {
            tracing::warn!(%error, "a sidecar cannot be written; it will be made anew");
            if writer.active.as_ref().is_some_and(|active| active.sequence == pack.sequence) {
                self.seal(writer);
            }
            self.remove_used(pack.lose_sidecar());
        }
        self.sync_later(writer, pack);
        true
    }

    /// Removes everything.
    pub(super) fn clear(&self) -> Result<(), FileError> {
        let _evictor = lock(&self.evictor);
        let mut writer = lock(&self.writer);
        let (_, records) = self.index.counts();
        let packs: Vec<_> = writer.packs.values().cloned().collect();
        self.forget_all(&mut writer);
        self.counters.removed.add(records);
        let failed = packs.iter().fold(None, |failed, pack| pack.delete().err().or(failed));
        drop(writer);
        self.sync_directory()?;
        failed.map_or(Ok(()), Err)
    }
}
