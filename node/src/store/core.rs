//! What all parts of an open store share, and the rule in which order its locks are taken: evictor, writer, then a
//! shard of the index, then the rest, none of which is held while another is taken.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use peerdist_protocol::content::{BlockIndex, SegmentId};
use rustix::time::{ClockId, clock_gettime};

use super::buffers::Buffers;
use super::entry::{Entry, UnixTime};
use super::index::{Index, Inserted, NewRecord};
use super::locks::{lock, read, write};
use super::maintain::Signal;
use super::pack::{OpenFiles, Pack};
use super::place::{PackSlot, Place, Record};
use super::policy::{self, Disk};
use super::stats::Counters;
use super::tags::Tags;
use super::types::{FileAction, FileError, Limits, Refusal};

/// The type of a tmpfs, of statfs(2).
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// An open store.
pub(super) struct Core {
    pub(super) dir: Arc<Path>,
    /// The directory; the lock on it goes with this.
    pub(super) dir_file: File,
    pub(super) clock: Clock,
    max_age: AtomicU32,
    keep_free: AtomicU64,
    /// The limit that was configured and the one that holds now, in bytes.
    limit: AtomicU64,
    limit_now: AtomicU64,
    /// Bytes of all files.
    used: AtomicU64,
    pub(super) index: Index,
    pub(super) tags: Tags,
    packs: RwLock<Vec<Option<Arc<Pack>>>>,
    pub(super) open_files: OpenFiles,
    pub(super) buffers: Buffers,
    pub(super) counters: Counters,
    /// Held by whoever drops packs for space.
    pub(super) evictor: Mutex<()>,
    pub(super) writer: Mutex<Writer>,
    /// Wakes the thread that maintains the store.
    pub(super) signal: Signal,
    /// Whether the files are in memory: then no read waits for a disk.
    pub(super) is_in_memory: bool,
    /// Records that were found damaged: out of the index, but not yet out of the files.
    pub(super) damaged: Mutex<Vec<Damaged>>,
}

/// What only one thread at a time may change.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Every pack by its sequence, the oldest first.
    pub(super) packs: BTreeMap<u64, Arc<Pack>>,
    /// The pack that grows.
    pub(super) active: Option<Arc<Pack>>,
    pub(super) next_sequence: u64,
    /// Packs that no longer grow but have not reached the disk.
    pub(super) unsynced: Vec<Arc<Pack>>,
    /// Files were created or removed since the directory was synced.
    pub(super) directory_changed: bool,
    /// Why nothing is appended, and until when.
    pub(super) pause: Option<(Refusal, UnixTime)>,
    pub(super) closed: bool,
}

/// A record to be removed from the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Damaged {
    pub(super) id: SegmentId,
    pub(super) index: BlockIndex,
    pub(super) place: Place,
    pub(super) sequence: u64,
}

/// Where the time comes from.
#[derive(Debug, Clone, Default)]
pub(super) enum Clock {
    #[default]
    System,
    #[cfg(test)]
    Manual(Arc<AtomicU32>),
}

impl Clock {
    pub(super) fn now(&self) -> UnixTime {
        match self {
            // Seconds do, and this clock is ticked by the kernel anyway.
            Self::System => u32::try_from(clock_gettime(ClockId::RealtimeCoarse).tv_sec).unwrap_or(UnixTime::MAX),
            #[cfg(test)]
            Self::Manual(now) => now.load(Ordering::Relaxed),
        }
    }
}

impl Core {
    pub(super) fn new(dir: Arc<Path>, dir_file: File, clock: Clock, limits: &Limits, limit: u64) -> Self {
        // Such files cannot say whether a read would wait.
        let is_in_memory = rustix::fs::fstatfs(&dir_file).is_ok_and(|volume| volume.f_type == TMPFS_MAGIC);
        Self {
            dir,
            dir_file,
            clock,
            max_age: AtomicU32::new(policy::max_age(limits)),
            keep_free: AtomicU64::new(limits.keep_free),
            limit: AtomicU64::new(limit),
            limit_now: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            index: Index::new(),
            tags: Tags::default(),
            packs: RwLock::default(),
            open_files: OpenFiles::default(),
            buffers: Buffers::default(),
            counters: Counters::default(),
            evictor: Mutex::default(),
            writer: Mutex::default(),
            signal: Signal::default(),
            is_in_memory,
            damaged: Mutex::default(),
        }
    }

    /// The entry time from which blocks are young enough to be read.
    pub(super) fn not_before(&self) -> UnixTime {
        self.not_before_at(self.clock.now())
    }

    pub(super) fn not_before_at(&self, now: UnixTime) -> UnixTime {
        now.saturating_sub(self.max_age.load(Ordering::Relaxed))
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn limit_now(&self) -> u64 {
        self.limit_now.load(Ordering::Relaxed)
    }

    pub(super) fn set_limits(&self, limits: &Limits, limit: u64) {
        self.max_age.store(policy::max_age(limits), Ordering::Relaxed);
        self.keep_free.store(limits.keep_free, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        self.refresh_limit();
    }

    /// Finds out how much others left of the volume.
    pub(super) fn refresh_limit(&self) {
        let keep_free = self.keep_free.load(Ordering::Relaxed);
        if let Ok(disk) = self.disk() {
            self.limit_now.store(policy::limit_now(self.limit(), keep_free, self.used(), disk), Ordering::Relaxed);
        }
    }

    pub(super) fn disk(&self) -> Result<Disk, FileError> {
        disk(&self.dir_file, &self.dir)
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn add_used(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove_used(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The pack in a slot.
    pub(super) fn pack(&self, slot: PackSlot) -> Option<Arc<Pack>> {
        read(&self.packs).get(usize::from(slot)).cloned().flatten()
    }

    /// A slot that no pack has. Only the writer gives slots away.
    pub(super) fn free_slot(&self) -> Option<PackSlot> {
        let packs = read(&self.packs);
        let free = packs.iter().position(Option::is_none).unwrap_or(packs.len());
        PackSlot::try_from(free).ok()
    }

    /// Puts a pack into its slot and among the writer's.
    pub(super) fn add_pack(&self, writer: &mut Writer, pack: &Arc<Pack>) {
        let mut packs = write(&self.packs);
        let slot = usize::from(pack.slot);
        if slot >= packs.len() {
            packs.resize(slot + 1, None);
        }
        packs[slot] = Some(Arc::clone(pack));
        drop(packs);
        writer.packs.insert(pack.sequence, Arc::clone(pack));
        self.add_used(pack.bytes());
    }

    /// Takes a pack out of its slot and from the writer. Its records are out of the index already.
    pub(super) fn take_pack(&self, writer: &mut Writer, pack: &Arc<Pack>) {
        if writer.packs.remove(&pack.sequence).is_none() {
            return;
        }
        self.remove_used(pack.bytes());
        write(&self.packs)[usize::from(pack.slot)] = None;
        writer.unsynced.retain(|unsynced| unsynced.sequence != pack.sequence);
        if writer.active.as_ref().is_some_and(|active| active.sequence == pack.sequence) {
            writer.active = None;
        }
    }

    /// Puts a record of a pack into the index and counts it.
    pub(super) fn insert(&self, pack: &Pack, id: &SegmentId, block_count: u32, record: Record) -> Inserted {
        let inserted = self.index.insert(id, block_count, record);
        match &inserted {
            Inserted::New => {}
            Inserted::Replaced(old) => self.forget(old),
            Inserted::BlockCountConflict(_) => {
                self.tags.release(record.note.tag());
                return inserted;
            }
        }
        pack.add_live(record.place.record_size(), record.note.time());
        inserted
    }

    /// Puts many records of a pack into the index and counts them. Shows those that they replaced.
    pub(super) fn insert_all(&self, pack: &Pack, batch: &[NewRecord], mut replaced: impl FnMut(&NewRecord, &Record)) {
        let mut replacements = Vec::new();
        let (mut size, mut newest) = (0, 0);
        self.index.insert_all(batch, |new, inserted| {
            if let Inserted::BlockCountConflict(_) = inserted {
                self.tags.release(new.record.note.tag());
                return;
            }
            size += new.record.place.record_size();
            newest = newest.max(new.record.note.time());
            if let Inserted::Replaced(old) = inserted {
                replacements.push((*new, old));
            }
        });
        pack.add_live(size, newest);
        for (new, old) in replacements {
            self.forget(&old);
            replaced(&new, &old);
        }
    }

    /// Takes a record out of the index, if it is still the one at `place`.
    pub(super) fn remove(&self, id: &SegmentId, index: BlockIndex, place: Place) -> Option<Record> {
        let removed = self.index.remove(id, index, place)?;
        self.forget(&removed);
        Some(removed)
    }

    /// Counts a record that left the index.
    pub(super) fn forget(&self, record: &Record) {
        self.tags.release(record.note.tag());
        if let Some(pack) = self.pack(record.place.slot()) {
            pack.remove_live(record.place.record_size());
        }
    }

    /// Takes every record of a pack out of the index. Returns how many there were.
    pub(super) fn forget_pack(&self, slot: PackSlot) -> u64 {
        let mut count = 0;
        self.index.remove_pack(slot, |record| {
            self.forget(record);
            count += 1;
        });
        count
    }

    /// Makes everything gone but the files.
    pub(super) fn forget_all(&self, writer: &mut Writer) {
        self.index.clear();
        self.tags.clear();
        write(&self.packs).clear();
        writer.packs.clear();
        writer.unsynced.clear();
        writer.active = None;
        self.used.store(0, Ordering::Relaxed);
        lock(&self.damaged).clear();
    }

    /// Appends an entry to the sidecar of a pack.
    pub(super) fn append_entry(&self, pack: &Pack, entry: &Entry) -> Result<(), FileError> {
        self.add_used(pack.append_entry(entry)?);
        Ok(())
    }

    /// Forces the names of the files to the disk.
    pub(super) fn sync_directory(&self) -> Result<(), FileError> {
        self.dir_file.sync_all().map_err(FileAction::Sync.at(&self.dir))
    }
}

/// The volume of an open directory.
pub(super) fn disk(dir_file: &File, dir: &Path) -> Result<Disk, FileError> {
    let volume = rustix::fs::fstatvfs(dir_file).map_err(|error| FileAction::Inspect.at(dir)(error.into()))?;
    Ok(Disk {
        size: volume.f_blocks.saturating_mul(volume.f_frsize),
        free: volume.f_bavail.saturating_mul(volume.f_frsize),
    })
}
