//! Appending: one writer, one `pwritev` a record, then its entry in the sidecar.

use std::io;
use std::sync::Arc;

use peerdist_protocol::content::{BlockIndex, MAX_BLOCKS_PER_SEGMENT, SegmentId};
use peerdist_protocol::retrieval::{BlkTail, tail_size};

use super::core::{Core, Writer};
use super::entry::{ENTRY_SIZE, Entry, FileKind, MAX_SIZE_OF_BLOCK, RecordEntry};
use super::index::Inserted;
use super::locks::lock;
use super::maintain::Wake;
use super::pack::{Found, Pack};
use super::place::{Note, Place, Record};
use super::policy::{self, Room};
use super::types::{AppendError, FileAction, FileError, Malformed, Refusal, SegmentKey, Tag, Trust};

/// After a write failed, nothing is written for so many seconds.
const RETRY_AFTER: u32 = 30;

/// How a block comes into the store.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arrival {
    /// With this trust.
    New(Trust),
    /// Blind, in place of a blind one.
    Again,
}

impl Arrival {
    fn trust(self) -> Trust {
        match self {
            Self::New(trust) => trust,
            Self::Again => Trust::Blind,
        }
    }

    fn replaces(self, held: Trust) -> bool {
        match self {
            Self::New(trust) => trust.replaces(held),
            Self::Again => held != Trust::Bound,
        }
    }
}

impl Core {
    /// Appends a block unless one is held that it does not replace.
    pub(super) fn append(
        &self,
        key: &SegmentKey,
        index: BlockIndex,
        tail: &BlkTail,
        arrival: Arrival,
        tag: Tag,
    ) -> Result<(), AppendError> {
        check(key, index, tail)?;
        let trust = arrival.trust();
        let entry = RecordEntry {
            id: key.id,
            block_count: key.block_count,
            index,
            offset: 0,
            algorithm: tail.algorithm,
            size_of_block: tail.size_of_block,
            tail_crc: 0,
            trust,
            time: self.clock.now(),
            tag,
        };
        if self.is_held(&entry, arrival) {
            self.counters.duplicates.add(1);
            return Ok(());
        }
        let entry = RecordEntry { tail_crc: crc32c::crc32c(&tail.bytes), ..entry };
        loop {
            let mut writer = lock(&self.writer);
            self.admit(&writer).map_err(|refusal| self.counters.refuse(refusal))?;
            match self.room(&writer, &entry) {
                Room::Enough => {}
                Room::AfterDrop => {
                    drop(writer);
                    if !self.make_room(needed(&entry)) {
                        return Err(self.counters.refuse(Refusal::KeepFree).into());
                    }
                    continue;
                }
                Room::None(refusal) => return Err(self.counters.refuse(refusal).into()),
            }
            if self.is_held(&entry, arrival) {
                self.counters.duplicates.add(1);
                return Ok(());
            }
            self.resolve_block_count(&mut writer, &entry, arrival)?;
            self.write(&mut writer, entry, &tail.bytes).map_err(|refusal| self.counters.refuse(refusal))?;
            self.counters.appended.add(1);
            return Ok(());
        }
    }

    /// Whether the block is held, young enough, and stays.
    fn is_held(&self, entry: &RecordEntry, arrival: Arrival) -> bool {
        let not_before = self.not_before();
        self.index
            .find(&entry.id, entry.index)
            .is_some_and(|held| !arrival.replaces(held.place.trust()) && held.note.time() >= not_before)
    }

    fn admit(&self, writer: &Writer) -> Result<(), Refusal> {
        match writer.pause {
            _ if writer.closed => Err(Refusal::Closed),
            Some((refusal, until)) if self.clock.now() < until => Err(refusal),
            _ => Ok(()),
        }
    }

    fn room(&self, writer: &Writer, entry: &RecordEntry) -> Room {
        let room = || policy::room(self.used(), needed(entry), self.limit_now(), writer.packs.len());
        match room() {
            Room::None(_) => {
                // Others may have given space back.
                self.refresh_limit();
                room()
            }
            room => room,
        }
    }

    /// A segment has one number of blocks. Only who can prove theirs, or comes to replace what is there, may correct one
    /// that nobody proved.
    fn resolve_block_count(&self, writer: &mut Writer, entry: &RecordEntry, arrival: Arrival) -> Result<(), Malformed> {
        let Some(segment) = self.index.segment(&entry.id) else { return Ok(()) };
        if segment.block_count == entry.block_count {
            return Ok(());
        }
        let is_proven = segment.records.iter().any(|record| record.place.trust() == Trust::Bound);
        if is_proven || matches!(arrival, Arrival::New(Trust::Blind | Trust::Claimed)) {
            return Err(Malformed::BlockCountConflict { known: segment.block_count, given: entry.block_count });
        }
        self.erase(writer, &segment.id, &segment.records);
        Ok(())
    }

    /// Writes a record and puts it into the index; its offset is found here. Space was made before.
    pub(super) fn write(&self, writer: &mut Writer, entry: RecordEntry, tail: &[u8]) -> Result<(), Refusal> {
        let tag = self.tags.take(entry.tag).ok_or(Refusal::TooManyTags)?;
        let (pack, entry) = match self.write_files(writer, entry, tail) {
            Ok(written) => written,
            Err(error) => {
                self.tags.release(tag);
                return Err(self.pause(writer, &error));
            }
        };
        let record = Record {
            place: Place::new(pack.slot, entry.offset, entry.size_of_block, entry.algorithm, entry.trust),
            note: Note::new(entry.time, tag, entry.index),
        };
        if let Inserted::Replaced(old) = self.insert(&pack, &entry.id, entry.block_count, record) {
            self.erase_from_files(writer, &entry.id, &[old]);
        }
        writer.pause = None;
        Ok(())
    }

    fn write_files(
        &self,
        writer: &mut Writer,
        entry: RecordEntry,
        tail: &[u8],
    ) -> Result<(Arc<Pack>, RecordEntry), FileError> {
        let size = entry.record_size();
        let pack = self.pack_for(writer, size)?;
        let file = pack.data(&self.open_files)?;
        let entry = RecordEntry { offset: pack.data_end() as u32, ..entry };
        let bytes = Entry::Record(entry).encode(pack.mark);
        let written = pack
            .write_record(&file, &bytes, tail, size)
            .map_err(|error| FileAction::Write.at(&pack.path(FileKind::Pack))(error))
            .and_then(|()| self.append_entry(&pack, &Entry::Record(entry)));
        match written {
            Ok(()) => {
                pack.set_data_end(entry.end());
                self.add_used(size);
                Ok((pack, entry))
            }
            Err(error) => {
                // Gives back what was written of the record. Where that fails too, it is written over or cut off later.
                let _ = file.set_len(pack.data_end());
                if !is_disk_full(&error.source) {
                    self.seal(writer);
                }
                Err(error)
            }
        }
    }

    /// Makes every block of a segment bound, for good.
    pub(super) fn raise(&self, id: &SegmentId) -> bool {
        let mut writer = lock(&self.writer);
        if !self.index.raise(id) {
            return false;
        }
        // The youngest pack outlives all records there are now, wherever they are.
        let Some(youngest) = writer.packs.values().next_back().cloned() else { return true };
        if let Err(error) = self.append_entry(&youngest, &Entry::Raised { id: *id }) {
            tracing::warn!(%error, "that a segment is bound is forgotten with the process");
        }
        self.sync_later(&mut writer, &youngest);
        true
    }

    /// The pack that has room for `size` more bytes: the active one or a new one.
    fn pack_for(&self, writer: &mut Writer, size: u64) -> Result<Arc<Pack>, FileError> {
        if let Some(active) = &writer.active {
            if active.is_empty() || active.data_end() + size <= policy::pack_size(self.limit()) {
                return Ok(Arc::clone(active));
            }
            self.seal(writer);
            self.refresh_limit();
            if policy::is_tight(self.used(), self.limit(), self.limit_now()) {
                self.signal.raise(Wake::Maintain);
            }
        }
        let found = Found {
            sequence: writer.next_sequence,
            slot: self
                .free_slot()
                .ok_or(io::ErrorKind::QuotaExceeded.into())
                .map_err(FileAction::Create.at(&self.dir))?,
            mark: random_mark().map_err(FileAction::Create.at(&self.dir))?,
        };
        writer.next_sequence += 1;
        let pack = Arc::new(Pack::create(&self.dir, found, self.clock.now())?);
        self.add_pack(writer, &pack);
        writer.active = Some(Arc::clone(&pack));
        writer.directory_changed = true;
        Ok(pack)
    }

    /// Ends the active pack.
    pub(super) fn seal(&self, writer: &mut Writer) {
        if let Some(pack) = writer.active.take() {
            self.open_files.opened(&pack);
            self.sync_later(writer, &pack);
        }
    }

    /// Has the next sync take care of a pack.
    pub(super) fn sync_later(&self, writer: &mut Writer, pack: &Arc<Pack>) {
        let is_active = writer.active.as_ref().is_some_and(|active| active.sequence == pack.sequence);
        if !is_active && writer.unsynced.iter().all(|unsynced| unsynced.sequence != pack.sequence) {
            writer.unsynced.push(Arc::clone(pack));
        }
    }

    /// Stops appending for a while.
    fn pause(&self, writer: &mut Writer, error: &FileError) -> Refusal {
        let refusal = if is_disk_full(&error.source) { Refusal::DiskFull } else { Refusal::WriteFailed };
        tracing::warn!(%error, retry_after_seconds = RETRY_AFTER, "the cache takes no blocks");
        writer.pause = Some((refusal, self.clock.now().saturating_add(RETRY_AFTER)));
        refusal
    }
}

fn check(key: &SegmentKey, index: BlockIndex, tail: &BlkTail) -> Result<(), Malformed> {
    let block_count = key.block_count;
    if !(1..=MAX_BLOCKS_PER_SEGMENT).contains(&block_count) {
        return Err(Malformed::BlockCount(block_count));
    }
    if index >= block_count {
        return Err(Malformed::Index { index, block_count });
    }
    let (size, size_of_block) = (tail.bytes.len(), tail.size_of_block);
    let is_block = (1..=MAX_SIZE_OF_BLOCK).contains(&size_of_block) && size == tail_size(size_of_block, tail.algorithm);
    if is_block { Ok(()) } else { Err(Malformed::Size { size, size_of_block }) }
}

/// What an append adds to the files.
fn needed(entry: &RecordEntry) -> u64 {
    // The entry in the sidecar, and a tombstone for a record of less trust.
    entry.record_size() + 2 * ENTRY_SIZE as u64
}

fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A mark that nobody outside knows.
fn random_mark() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::from)
}
