//! Reading: a look into the index, then one contiguous read.

use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use peerdist_protocol::content::{BlockIndex, SegmentId};
use peerdist_protocol::retrieval::{BlkTail, tail_size};
use rustix::io::{Errno, ReadWriteFlags};

use super::buffers::Buffer;
use super::core::{Core, Damaged};
use super::entry::{ENTRY_SIZE, Entry, EntryBytes, FileKind, RecordEntry};
use super::locks::lock;
use super::pack::Pack;
use super::place::Record;
use super::types::{Audience, FileAction, FileError};

/// A record that was found in the index and is about to be read.
pub(super) struct Located {
    id: SegmentId,
    index: BlockIndex,
    record: Record,
    pack: Arc<Pack>,
    buffer: Buffer,
    /// How much of the buffer was read.
    filled: usize,
}

/// What an attempt to read without waiting came to.
pub(super) enum Attempt {
    /// The record, or that it turned out to be none.
    Done(Option<BlkTail>),
    /// The disk has to be waited for.
    WouldBlock(Box<Located>),
}

impl Core {
    /// Finds a block that is for an audience. Does not touch the disk.
    pub(super) fn locate(&self, id: &SegmentId, index: BlockIndex, audience: Audience) -> Option<Located> {
        let not_before = self.not_before();
        let located = self
            .index
            .find(id, index)
            .filter(|record| audience.gets(record.place.trust()) && record.note.time() >= not_before)
            .and_then(|record| self.located(id, record));
        if located.is_none() {
            self.counters.misses.add(1);
        }
        located
    }

    /// A record of the index, ready to be read.
    pub(super) fn located(&self, id: &SegmentId, record: Record) -> Option<Located> {
        let pack = self.pack(record.place.slot())?;
        let size = ENTRY_SIZE + tail_size(record.place.size_of_block(), record.place.algorithm());
        let buffer = self.buffers.take(size);
        Some(Located { id: *id, index: record.note.index(), record, pack, buffer, filled: 0 })
    }

    /// Reads what is in the page cache.
    pub(super) fn try_read(&self, mut located: Located) -> Result<Attempt, FileError> {
        if self.is_in_memory {
            return self.read(located).map(Attempt::Done);
        }
        let Some(file) = self.open_to_read(&located)? else { return Ok(Attempt::Done(self.vanished(&located))) };
        let offset = u64::from(located.record.place.offset());
        while located.filled < located.buffer.as_ref().len() {
            let mut left = [IoSliceMut::new(&mut located.buffer.as_mut()[located.filled..])];
            let at = offset + located.filled as u64;
            match rustix::io::preadv2(&*file, &mut left, at, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Ok(Attempt::Done(self.damaged(&located))),
                Ok(read) => located.filled += read,
                Err(Errno::INTR) => {}
                // The pages are not there, or the file system cannot tell.
                Err(Errno::AGAIN | Errno::OPNOTSUPP) => return Ok(Attempt::WouldBlock(Box::new(located))),
                Err(error) => return Err(self.failed(&located, error.into())),
            }
        }
        Ok(Attempt::Done(self.finish(located)))
    }

    /// Reads, waiting for the disk.
    pub(super) fn read(&self, mut located: Located) -> Result<Option<BlkTail>, FileError> {
        let Some(file) = self.open_to_read(&located)? else { return Ok(self.vanished(&located)) };
        let at = u64::from(located.record.place.offset()) + located.filled as u64;
        match file.read_exact_at(&mut located.buffer.as_mut()[located.filled..], at) {
            Ok(()) => Ok(self.finish(located)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(self.damaged(&located)),
            Err(error) => Err(self.failed(&located, error)),
        }
    }

    /// Reads a record whatever its trust and age, counting neither a hit nor a use. For carrying and verifying.
    pub(super) fn read_entry(&self, id: &SegmentId, record: Record) -> Result<Option<(RecordEntry, Bytes)>, FileError> {
        let Some(mut located) = self.located(id, record) else { return Ok(None) };
        let Some(file) = self.open_to_read(&located)? else { return Ok(None) };
        match file.read_exact_at(located.buffer.as_mut(), record.place.offset().into()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.damaged(&located);
                return Ok(None);
            }
            Err(error) => return Err(self.failed(&located, error)),
        }
        let Some(entry) = sound_entry(&located, true) else {
            self.damaged(&located);
            return Ok(None);
        };
        self.index.mark_checked(&located.id, located.index, record.place);
        let bytes = located.buffer.freeze();
        Ok(Some((entry, bytes.slice(ENTRY_SIZE..))))
    }

    /// The pack's file, `None` where the pack was dropped meanwhile.
    fn open_to_read(&self, located: &Located) -> Result<Option<Arc<std::fs::File>>, FileError> {
        match located.pack.data(&self.open_files) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                self.counters.failed_reads.add(1);
                Err(error)
            }
        }
    }

    /// Checks what was read, and gives the tail.
    fn finish(&self, located: Located) -> Option<BlkTail> {
        let place = located.record.place;
        if sound_entry(&located, !place.is_checked()).is_none() {
            return self.damaged(&located);
        }
        if !(place.is_checked() && place.is_used()) {
            self.index.mark_used(&located.id, located.index, place);
        }
        self.counters.hits.add(1);
        let bytes = located.buffer.freeze();
        Some(BlkTail {
            algorithm: place.algorithm(),
            size_of_block: place.size_of_block(),
            bytes: bytes.slice(ENTRY_SIZE..),
        })
    }

    /// What was read is not what was written. Takes the record out of the index, unless it had just been dropped and
    /// something else is there now.
    fn damaged(&self, located: &Located) -> Option<BlkTail> {
        let place = located.record.place;
        if self.is_current(&located.pack) && self.remove(&located.id, located.index, place).is_some() {
            self.counters.corrupt.add(1);
            tracing::warn!(
                segment = %located.id,
                block = located.index,
                pack = %located.pack.path(FileKind::Pack).display(),
                offset = place.offset(),
                "a block in the cache is damaged"
            );
            let sequence = located.pack.sequence;
            lock(&self.damaged).push(Damaged { id: located.id, index: located.index, place, sequence });
        }
        self.counters.misses.add(1);
        None
    }

    fn vanished(&self, located: &Located) -> Option<BlkTail> {
        // The pack may also have been removed by somebody else; then its records are gone.
        if self.is_current(&located.pack) {
            self.remove(&located.id, located.index, located.record.place);
        }
        self.counters.misses.add(1);
        None
    }

    /// Whether the pack still is the one in its slot.
    fn is_current(&self, pack: &Pack) -> bool {
        self.pack(pack.slot).is_some_and(|now| now.sequence == pack.sequence)
    }

    fn failed(&self, located: &Located, error: io::Error) -> FileError {
        self.counters.failed_reads.add(1);
        FileAction::Read.at(&located.pack.path(FileKind::Pack))(error)
    }
}

/// The entry at the beginning of the buffer, if it is the right one and the bytes after it are its own.
fn sound_entry(located: &Located, check_tail: bool) -> Option<RecordEntry> {
    let (bytes, tail) = located.buffer.as_ref().split_at_checked(ENTRY_SIZE)?;
    let bytes: &EntryBytes = bytes.try_into().ok()?;
    let Entry::Record(entry) = Entry::decode(bytes, located.pack.mark)? else { return None };
    let place = located.record.place;
    let is_it = entry.id == located.id
        && entry.index == located.index
        && entry.offset == place.offset()
        && entry.size_of_block == place.size_of_block()
        && entry.algorithm == place.algorithm();
    (is_it && (!check_tail || crc32c::crc32c(tail) == entry.tail_crc)).then_some(entry)
}
