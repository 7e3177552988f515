//! Opening a store: from the files to the index.

use std::collections::{BTreeMap, HashSet};
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use peerdist_protocol::content::SegmentId;
use rustix::fs::{FlockOperation, flock};

use super::core::{Clock, Core, Writer, disk};
use super::entry::{ENTRY_SIZE, Entry, FileKind, Header, RecordEntry};
use super::index::NewRecord;
use super::locks::lock;
use super::pack::{self, Found, Pack};
use super::place::{Note, PackSlot, Place, Record};
use super::policy;
use super::scan::{self, Scanned};
use super::types::{FileAction, FileError, Limits, StoreConfig, StoreError};

/// Opens the store of a directory, which is created if it is missing.
pub(super) fn open(config: &StoreConfig, clock: Clock) -> Result<Core, StoreError> {
    let dir: Arc<Path> = Arc::from(config.dir.as_path());
    let dir_file = open_directory(&dir)?;
    let files = list(&dir)?;
    restrict(&dir, &dir_file, files.foreign)?;
    let limit = policy::configured_limit(&config.limits, disk(&dir_file, &dir)?)?;
    let core = Core::new(dir, dir_file, clock, &config.limits, limit);
    load(&core, files.packs)?;
    core.set_limits(&config.limits, limit);
    Ok(core)
}

/// The limit in bytes that follows from other limits than those the store was opened with.
pub(super) fn limit(core: &Core, limits: &Limits) -> Result<u64, StoreError> {
    policy::configured_limit(limits, core.disk()?)
}

fn open_directory(dir: &Path) -> Result<File, StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(FileAction::Create.at(dir))?;
    let file = File::open(dir).map_err(FileAction::Open.at(dir))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse { dir: dir.to_owned() }),
        Err(error) => Err(FileAction::Lock.at(dir)(error.into()).into()),
    }
}

/// The files of a directory.
struct Files {
    /// Which files there are of each pack.
    packs: BTreeMap<u64, Pair>,
    /// A file that is no part of a store.
    foreign: Option<std::ffi::OsString>,
}

#[derive(Default)]
struct Pair {
    has_pack: bool,
    has_sidecar: bool,
}

fn list(dir: &Path) -> Result<Files, FileError> {
    let mut files = Files { packs: BTreeMap::new(), foreign: None };
    for entry in std::fs::read_dir(dir).map_err(FileAction::Read.at(dir))? {
        let name = entry.map_err(FileAction::Read.at(dir))?.file_name();
        match name.to_str().and_then(pack::parse_name) {
            Some((sequence, FileKind::Pack)) => files.packs.entry(sequence).or_default().has_pack = true,
            Some((sequence, FileKind::Sidecar)) => files.packs.entry(sequence).or_default().has_sidecar = true,
            None => files.foreign = Some(name),
        }
    }
    Ok(files)
}

/// Makes the directory its owner's. One that holds other files as well may be anything: it is left as it is.
fn restrict(dir: &Path, dir_file: &File, foreign: Option<std::ffi::OsString>) -> Result<(), StoreError> {
    let mode = dir_file.metadata().map_err(FileAction::Inspect.at(dir))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if let Some(name) = foreign {
        return Err(StoreError::Foreign { dir: dir.to_owned(), name });
    }
    let restricted = dir_file.set_permissions(Permissions::from_mode(0o700));
    Ok(restricted.map_err(FileAction::Restrict.at(dir))?)
}

/// What is still to be done to the files once everything was read.
#[derive(Default)]
struct Later {
    /// Records that a later one replaced, of which no tombstone is known.
    replaced: HashSet<(PackSlot, u32, SegmentId, u32)>,
    /// Records whose bytes are not those that were written.
    damaged: Vec<(PackSlot, RecordEntry)>,
}

fn load(core: &Core, packs: BTreeMap<u64, Pair>) -> Result<(), StoreError> {
    let mut writer = lock(&core.writer);
    writer.next_sequence = packs.keys().next_back().map_or(1, |last| last.saturating_add(1));
    let mut later = Later::default();
    let mut last = None;
    for (sequence, pair) in packs {
        if !pair.has_pack {
            remove(&pack::path(&core.dir, sequence, FileKind::Sidecar));
            continue;
        }
        last = load_pack(core, &mut writer, sequence, pair.has_sidecar, &mut later)?;
    }
    // A pack whose end is as its sidecar says goes on growing.
    writer.active = last;
    for (slot, record) in later.damaged {
        if let Some(pack) = core.pack(slot) {
            core.counters.corrupt.add(1);
            core.remove(&record.id, record.index, place(&pack, &record));
            core.erase_from_pack(&mut writer, &pack, &record.id, record.index, record.offset);
        }
    }
    for (slot, offset, id, index) in later.replaced {
        if let Some(pack) = core.pack(slot) {
            core.erase_from_pack(&mut writer, &pack, &id, index, offset);
        }
    }
    Ok(())
}

/// Loads a pack. Returns it if it may go on growing.
fn load_pack(
    core: &Core,
    writer: &mut Writer,
    sequence: u64,
    has_sidecar: bool,
    later: &mut Later,
) -> Result<Option<Arc<Pack>>, StoreError> {
    let paths = [FileKind::Pack, FileKind::Sidecar].map(|kind| pack::path(&core.dir, sequence, kind));
    let data = match File::options().read(true).write(true).open(&paths[0]) {
        Ok(data) => data,
        Err(error) => {
            tracing::warn!(path = %paths[0].display(), %error, "a part of the cache cannot be opened");
            core.counters.lost_packs.add(1);
            return Ok(None);
        }
    };
    let length = data.metadata().map_err(FileAction::Inspect.at(&paths[0]))?.len();
    let sidecar = if has_sidecar { File::options().read(true).write(true).open(&paths[1]).ok() } else { None };
    let pack_header = scan::read_header(&data, FileKind::Pack);
    let sidecar_header = sidecar.as_ref().and_then(|file| scan::read_header(file, FileKind::Sidecar));
    for (header, path) in [pack_header, sidecar_header].into_iter().zip(&paths) {
        if let Some(Header::Newer(version)) = header {
            return Err(StoreError::NewerFormat { path: path.clone(), version });
        }
    }
    let Some(Header::Mark(mark)) = pack_header.or(sidecar_header) else {
        if length > ENTRY_SIZE as u64 {
            tracing::warn!(path = %paths[0].display(), "a part of the cache is unreadable and given up");
            core.counters.lost_packs.add(1);
        }
        paths.iter().for_each(|path| remove(path));
        return Ok(None);
    };
    let Some(slot) = core.free_slot() else {
        core.counters.lost_packs.add(1);
        return Ok(None);
    };
    let pack = Arc::new(Pack::opened(&core.dir, Found { sequence, slot, mark }));
    core.add_pack(writer, &pack);
    core.remove_used(pack.bytes());

    let sidecar = sidecar.filter(|_| sidecar_header == Some(Header::Mark(mark)));
    let mut loader = Loader {
        core,
        pack: &pack,
        data: &data,
        length,
        later,
        end: ENTRY_SIZE as u64,
        synced: 0,
        unsynced: Vec::new(),
        batch: Vec::with_capacity(BATCH),
    };
    let is_sound = sidecar.as_ref().is_some_and(|sidecar| loader.replay(sidecar));
    if is_sound {
        loader.read_rest();
    } else {
        loader.rescan(sidecar.as_ref());
    }
    let can_grow = loader.cut_off_rest();
    let end = loader.end.min(length);
    pack.set_data_end(end);
    pack.set_synced(end);
    core.add_used(pack.bytes());
    Ok((is_sound && can_grow && pack_header.is_some()).then_some(pack))
}

/// Loads one pack.
struct Loader<'a> {
    core: &'a Core,
    pack: &'a Arc<Pack>,
    data: &'a File,
    /// The pack's size.
    length: u64,
    later: &'a mut Later,
    /// Where the last record ends.
    end: u64,
    /// Up to where it is known that the pack reached the disk, and records after that.
    synced: u64,
    unsynced: Vec<RecordEntry>,
    /// Records on their way into the index.
    batch: Vec<NewRecord>,
}

const BATCH: usize = 4096;

impl Loader<'_> {
    /// Follows the sidecar. Returns whether all of it is sound.
    fn replay(&mut self, sidecar: &File) -> bool {
        let mark = self.pack.mark;
        // After an orderly end the last entry says that everything before it reached the disk.
        if let Some(Entry::Synced { offset }) = scan::last_entry(sidecar, mark) {
            self.synced = offset.into();
        }
        let mut is_sound = true;
        let end = scan::sidecar(sidecar, mark, |entry| match entry {
            Some(entry) => self.apply(entry),
            None => is_sound = false,
        });
        self.flush();
        // The next entry goes where the last whole one ends, also where part of another cannot be cut off.
        if let Ok(end) = end {
            let _ = sidecar.set_len(end);
        }
        self.pack.set_sidecar(end.as_ref().ok().copied());
        is_sound && end.is_ok()
    }

    fn apply(&mut self, entry: Entry) {
        if !matches!(entry, Entry::Record(_)) {
            self.flush();
        }
        match entry {
            Entry::Record(record) => {
                self.insert(&record);
                if record.end() > self.synced {
                    self.unsynced.push(record);
                }
            }
            Entry::Tombstone { id, index, offset } => {
                self.later.replaced.remove(&(self.pack.slot, offset, id, index));
                if let Some(held) = self.core.index.find(&id, index)
                    && held.place.slot() == self.pack.slot
                    && held.place.offset() == offset
                {
                    self.core.remove(&id, index, held.place);
                }
            }
            Entry::Raised { id } => {
                self.core.index.raise(&id);
                self.pack.set_speaks_of_older();
            }
            Entry::Synced { offset } => {
                self.synced = self.synced.max(offset.into());
                self.unsynced.retain(|record| record.end() > u64::from(offset));
            }
        }
    }

    fn insert(&mut self, record: &RecordEntry) {
        self.end = self.end.max(record.end());
        if record.end() > self.length {
            self.core.counters.corrupt.add(1);
            return;
        }
        let Some(tag) = self.core.tags.take(record.tag) else { return };
        let new = Record { place: place(self.pack, record), note: Note::new(record.time, tag, record.index) };
        self.batch.push(NewRecord { id: record.id, block_count: record.block_count, record: new });
        if self.batch.len() == BATCH {
            self.flush();
        }
    }

    /// Puts the records that were gathered into the index.
    fn flush(&mut self) {
        let later = &mut *self.later;
        self.core.insert_all(self.pack, &self.batch, |new, old| {
            later.replaced.insert((old.place.slot(), old.place.offset(), new.id, new.record.note.index()));
        });
        self.batch.clear();
    }

    /// Compares what may not have reached the disk, and takes up records that the sidecar does not know yet.
    fn read_rest(&mut self) {
        let mut buffer = Vec::new();
        for record in std::mem::take(&mut self.unsynced) {
            let held = self.core.index.find(&record.id, record.index);
            let is_held = held.is_some_and(|held| held.place.is_at(place(self.pack, &record)));
            if is_held && !scan::has_right_tail(self.data, &record, &mut buffer).unwrap_or(false) {
                self.later.damaged.push((self.pack.slot, record));
            }
        }
        for record in self.scan().0 {
            // Where this fails, the next open finds the record as this one did.
            let _ = self.pack.append_entry(&Entry::Record(record));
        }
    }

    /// Reads the whole pack and makes its sidecar anew.
    fn rescan(&mut self, old_sidecar: Option<&File>) {
        let (core, mark) = (self.core, self.pack.mark);
        core.counters.rescanned_packs.add(1);
        core.forget_pack(self.pack.slot);
        self.unsynced.clear();
        self.end = ENTRY_SIZE as u64;
        let mut entries = Vec::new();
        if let Some(old) = old_sidecar {
            // What it says of older packs is nowhere else. Before the records of this pack, it cannot raise them: which
            // of them it meant is no longer known.
            let _ =
                scan::sidecar(old, mark, |entry| entries.extend(entry.filter(|e| matches!(e, Entry::Raised { .. }))));
        }
        if !entries.is_empty() {
            self.pack.set_speaks_of_older();
        }
        let (records, damaged) = self.scan();
        core.counters.corrupt.add(damaged);
        tracing::warn!(
            pack = %self.pack.path(FileKind::Pack).display(),
            records = records.len(),
            damaged,
            "a sidecar of the cache is damaged or missing and made anew"
        );
        entries.extend(records.into_iter().map(Entry::Record));
        entries.push(Entry::Synced { offset: self.end as u32 });
        let end = self.write_sidecar(&entries);
        if let Err(error) = &end {
            tracing::warn!(%error, "the sidecar cannot be written");
        }
        self.pack.set_sidecar(end.ok());
    }

    /// Takes up the records from the end on. Returns them, and how many places held something else.
    fn scan(&mut self) -> (Vec<RecordEntry>, u64) {
        let (mut records, mut damaged) = (Vec::new(), 0);
        let end = scan::records(self.data, self.pack.mark, self.end, self.length, |scanned| match scanned {
            Scanned::Record(record) => records.push(record),
            Scanned::Removed => {}
            Scanned::Damaged => damaged += 1,
        });
        records.iter().for_each(|record| self.insert(record));
        self.flush();
        if let Ok(end) = end {
            self.end = self.end.max(end);
        }
        (records, damaged)
    }

    /// A sidecar that is cut off while it is written is no harm: the next open goes on where it ends.
    fn write_sidecar(&self, entries: &[Entry]) -> Result<u64, FileError> {
        let path = self.pack.path(FileKind::Sidecar);
        remove(&path);
        let file = pack::create_file(&path, FileKind::Sidecar, self.pack.mark)?;
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.encode(self.pack.mark)).collect();
        file.write_all_at(&bytes, ENTRY_SIZE as u64).map_err(FileAction::Write.at(&path))?;
        Ok((ENTRY_SIZE + bytes.len()) as u64)
    }

    /// Cuts off what is no record. Returns whether the pack ends where its last record does.
    fn cut_off_rest(&self) -> bool {
        self.length == self.end || self.length > self.end && self.data.set_len(self.end).is_ok()
    }
}

fn place(pack: &Pack, record: &RecordEntry) -> Place {
    Place::new(pack.slot, record.offset, record.size_of_block, record.algorithm, record.trust)
}

/// Removes a file that is of no use; where that fails it stays of no use.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a useless file of the cache cannot be removed");
    }
}
