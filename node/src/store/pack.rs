//! One pack: its two files and what is counted of them. Nothing here decides anything.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};

use super::entry::{ENTRY_SIZE, Entry, EntryBytes, FileKind, Header, UnixTime};
use super::locks::{lock, read, write};
use super::place::PackSlot;
use super::policy::PackState;
use super::types::{FileAction, FileError};

/// A pack that is part of an open store.
#[derive(Debug)]
pub(super) struct Pack {
    /// Packs are ordered by this, and named after it.
    pub(super) sequence: u64,
    pub(super) slot: PackSlot,
    pub(super) mark: u64,
    dir: Arc<Path>,
    data: RwLock<Option<Arc<File>>>,
    sidecar: Mutex<Sidecar>,
    /// Where the next record goes.
    data_end: AtomicU64,
    /// Bytes of the records in the index.
    live: AtomicU64,
    newest: AtomicU32,
    speaks_of_older: AtomicBool,
    /// The pack's bytes before this offset have reached the disk.
    synced: AtomicU64,
}

#[derive(Debug)]
struct Sidecar {
    /// Where the next entry goes.
    end: u64,
    file: SidecarFile,
    /// Whether entries were appended since it was forced to the disk.
    is_changed: bool,
}

#[derive(Debug)]
enum SidecarFile {
    Open(Arc<File>),
    Closed,
    /// It is gone or of no use; the next open makes a new one from the pack.
    Lost,
}

impl Sidecar {
    const LOST: Self = Self { end: 0, file: SidecarFile::Lost, is_changed: false };
}

/// The path of one of the files of a pack.
pub(super) fn path(dir: &Path, sequence: u64, kind: FileKind) -> PathBuf {
    let extension = match kind {
        FileKind::Pack => "pack",
        FileKind::Sidecar => "index",
    };
    dir.join(format!("{sequence:016x}.{extension}"))
}

/// The pack and the kind of a file's name, `None` for files that are no part of a store.
pub(super) fn parse_name(name: &str) -> Option<(u64, FileKind)> {
    let (digits, extension) = name.split_once('.')?;
    let kind = match extension {
        "pack" => FileKind::Pack,
        "index" => FileKind::Sidecar,
        _ => return None,
    };
    let sound = digits.len() == 16 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    sound.then(|| u64::from_str_radix(digits, 16).ok().map(|sequence| (sequence, kind)))?
}

/// Creates a file of a pack with its header. A file that cannot be completed is removed again.
pub(super) fn create_file(path: &Path, kind: FileKind, mark: u64) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(FileAction::Create.at(path))?;
    if let Err(error) = file.write_all_at(&Header::encode(kind, mark), 0) {
        let _ = std::fs::remove_file(path);
        return Err(FileAction::Write.at(path)(error));
    }
    Ok(file)
}

/// What is found out about a pack when a store is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) slot: PackSlot,
    pub(super) mark: u64,
}

impl Pack {
    /// A new pack with its two files.
    pub(super) fn create(dir: &Arc<Path>, found: Found, now: UnixTime) -> Result<Self, FileError> {
        let data_path = path(dir, found.sequence, FileKind::Pack);
        let data = create_file(&data_path, FileKind::Pack, found.mark)?;
        let sidecar = match create_file(&path(dir, found.sequence, FileKind::Sidecar), FileKind::Sidecar, found.mark) {
            Ok(sidecar) => sidecar,
            Err(error) => {
                let _ = std::fs::remove_file(data_path);
                return Err(error);
            }
        };
        let pack = Self::opened(dir, found);
        *write(&pack.data) = Some(Arc::new(data));
        *lock(&pack.sidecar) =
            Sidecar { end: ENTRY_SIZE as u64, file: SidecarFile::Open(Arc::new(sidecar)), is_changed: true };
        pack.newest.store(now, Ordering::Relaxed);
        Ok(pack)
    }

    /// A pack whose files are there.
    pub(super) fn opened(dir: &Arc<Path>, found: Found) -> Self {
        Self {
            sequence: found.sequence,
            slot: found.slot,
            mark: found.mark,
            dir: Arc::clone(dir),
            data: RwLock::new(None),
            sidecar: Mutex::new(Sidecar::LOST),
            data_end: AtomicU64::new(ENTRY_SIZE as u64),
            live: AtomicU64::new(0),
            newest: AtomicU32::new(0),
            speaks_of_older: AtomicBool::new(false),
            synced: AtomicU64::new(ENTRY_SIZE as u64),
        }
    }

    pub(super) fn path(&self, kind: FileKind) -> PathBuf {
        path(&self.dir, self.sequence, kind)
    }

    /// The pack's file, opened if it is not.
    pub(super) fn data(self: &Arc<Self>, open_files: &OpenFiles) -> Result<Arc<File>, FileError> {
        if let Some(file) = &*read(&self.data) {
            return Ok(Arc::clone(file));
        }
        let path = self.path(FileKind::Pack);
        let mut slot = write(&self.data);
        if let Some(file) = &*slot {
            return Ok(Arc::clone(file));
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(FileAction::Open.at(&path))?;
        let file = Arc::new(file);
        *slot = Some(Arc::clone(&file));
        drop(slot);
        open_files.opened(self);
        Ok(file)
    }

    /// Writes a record at the end of the pack. The end stays where it is: [`Self::set_data_end`].
    pub(super) fn write_record(&self, file: &File, entry: &EntryBytes, tail: &[u8], size: u64) -> io::Result<()> {
        const PADDING: [u8; 15] = [0; 15];
        let padding = size as usize - ENTRY_SIZE - tail.len();
        let mut parts = [IoSlice::new(entry), IoSlice::new(tail), IoSlice::new(&PADDING[..padding])];
        let (mut parts, mut at) = (&mut parts[..], self.data_end());
        while !parts.is_empty() {
            match rustix::io::pwritev(file, parts, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes the record at `offset` one that was removed, whether or not there is a sidecar to say so.
    pub(super) fn invert_mark(&self, file: &File, offset: u32) -> Result<(), FileError> {
        let written = file.write_all_at(&(!self.mark).to_le_bytes(), offset.into());
        written.map_err(|error| FileAction::Write.at(&self.path(FileKind::Pack))(error))
    }

    /// Appends to the sidecar. Returns by how much it grew: nothing where it was lost.
    pub(super) fn append_entry(&self, entry: &Entry) -> Result<u64, FileError> {
        let mut sidecar = lock(&self.sidecar);
        if matches!(sidecar.file, SidecarFile::Closed) {
            let path = self.path(FileKind::Sidecar);
            let file = OpenOptions::new().write(true).open(&path).map_err(FileAction::Open.at(&path))?;
            sidecar.file = SidecarFile::Open(Arc::new(file));
        }
        let SidecarFile::Open(file) = &sidecar.file else { return Ok(0) };
        let written = file.write_all_at(&entry.encode(self.mark), sidecar.end);
        written.map_err(|error| FileAction::Write.at(&self.path(FileKind::Sidecar))(error))?;
        sidecar.end += ENTRY_SIZE as u64;
        sidecar.is_changed = true;
        if matches!(entry, Entry::Raised { .. }) {
            self.speaks_of_older.store(true, Ordering::Relaxed);
        }
        Ok(ENTRY_SIZE as u64)
    }

    /// Says that the sidecar ends at `end` and is sound, or that there is none.
    pub(super) fn set_sidecar(&self, end: Option<u64>) {
        *lock(&self.sidecar) = match end {
            Some(end) => Sidecar { end, file: SidecarFile::Closed, is_changed: false },
            None => Sidecar::LOST,
        };
    }

    /// Removes a sidecar that no longer tells the truth. Returns by how much the pack shrank.
    pub(super) fn lose_sidecar(&self) -> u64 {
        let sidecar = std::mem::replace(&mut *lock(&self.sidecar), Sidecar::LOST);
        // What fails here fails later: without a right to remove it, the next open finds it as it is.
        let _ = std::fs::remove_file(self.path(FileKind::Sidecar));
        sidecar.end
    }

    pub(super) fn has_sidecar(&self) -> bool {
        !matches!(lock(&self.sidecar).file, SidecarFile::Lost)
    }

    /// Closes the sidecar until the next entry, if it has reached the disk.
    pub(super) fn close_sidecar(&self) {
        let mut sidecar = lock(&self.sidecar);
        if matches!(sidecar.file, SidecarFile::Open(_)) && !sidecar.is_changed {
            sidecar.file = SidecarFile::Closed;
        }
    }

    /// Forces the pack to the disk. Returns up to which offset, `None` where nothing was written since.
    pub(super) fn sync_data(self: &Arc<Self>, open_files: &OpenFiles) -> Result<Option<u64>, FileError> {
        let end = self.data_end();
        if self.synced.load(Ordering::Acquire) >= end {
            return Ok(None);
        }
        self.force_data(open_files)?;
        self.synced.store(end, Ordering::Release);
        Ok(Some(end))
    }

    /// Forces the pack to the disk, whatever was changed in it.
    pub(super) fn force_data(self: &Arc<Self>, open_files: &OpenFiles) -> Result<(), FileError> {
        let synced = self.data(open_files)?.sync_data();
        synced.map_err(|error| FileAction::Sync.at(&self.path(FileKind::Pack))(error))
    }

    /// Forces the sidecar to the disk. An entry about records goes there after the records. Entries can be appended
    /// meanwhile.
    pub(super) fn sync_sidecar(&self) -> Result<(), FileError> {
        let file = {
            let mut sidecar = lock(&self.sidecar);
            let SidecarFile::Open(file) = &sidecar.file else { return Ok(()) };
            let file = Arc::clone(file);
            if !std::mem::take(&mut sidecar.is_changed) {
                return Ok(());
            }
            file
        };
        file.sync_data().map_err(|error| {
            lock(&self.sidecar).is_changed = true;
            FileAction::Sync.at(&self.path(FileKind::Sidecar))(error)
        })
    }

    /// Removes both files. A pack that cannot be removed is emptied.
    pub(super) fn delete(&self) -> Result<(), FileError> {
        let path = self.path(FileKind::Pack);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
            && OpenOptions::new().write(true).truncate(true).open(&path).is_err()
        {
            return Err(FileAction::Remove.at(&path)(error));
        }
        self.lose_sidecar();
        Ok(())
    }

    pub(super) fn data_end(&self) -> u64 {
        self.data_end.load(Ordering::Acquire)
    }

    pub(super) fn set_data_end(&self, end: u64) {
        self.data_end.store(end, Ordering::Release);
    }

    pub(super) fn set_synced(&self, end: u64) {
        self.synced.store(end, Ordering::Release);
    }

    /// Counts records that came into the index, of this size altogether.
    pub(super) fn add_live(&self, size: u64, newest: UnixTime) {
        self.live.fetch_add(size, Ordering::Relaxed);
        self.newest.fetch_max(newest, Ordering::Relaxed);
    }

    /// Counts a record that left the index.
    pub(super) fn remove_live(&self, size: u64) {
        self.live.fetch_sub(size, Ordering::Relaxed);
    }

    /// The sidecar has an entry about records of older packs.
    pub(super) fn set_speaks_of_older(&self) {
        self.speaks_of_older.store(true, Ordering::Relaxed);
    }

    /// Whether nothing was written since the pack was created.
    pub(super) fn is_empty(&self) -> bool {
        self.data_end() == ENTRY_SIZE as u64
    }

    /// Bytes of both files.
    pub(super) fn bytes(&self) -> u64 {
        self.data_end() + lock(&self.sidecar).end
    }

    pub(super) fn state(&self) -> PackState {
        PackState {
            bytes: self.bytes(),
            live: self.live.load(Ordering::Relaxed),
            newest: self.newest.load(Ordering::Relaxed),
            speaks_of_older: self.speaks_of_older.load(Ordering::Relaxed),
        }
    }

    fn close(&self) {
        *write(&self.data) = None;
    }
}

/// Keeps the number of open packs below what a process may have open.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    queue: Mutex<VecDeque<Weak<Pack>>>,
}

impl OpenFiles {
    const MAX: usize = 256;

    /// Notes that a pack was opened, and closes the one that was opened first if they are too many.
    pub(super) fn opened(&self, pack: &Arc<Pack>) {
        let mut queue = lock(&self.queue);
        queue.push_back(Arc::downgrade(pack));
        let first = if queue.len() > Self::MAX { queue.pop_front() } else { None };
        drop(queue);
        if let Some(first) = first.and_then(|pack| pack.upgrade()) {
            first.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_as_they_are_made() {
        for kind in [FileKind::Pack, FileKind::Sidecar] {
            let path = path(Path::new("/d"), 0xabc, kind);
            assert_eq!(parse_name(path.file_name().unwrap().to_str().unwrap()), Some((0xabc, kind)));
        }
        for foreign in ["", "x.pack", "0000000000000abc", "0000000000000ABC.pack", "0000000000000abc.pack.tmp"] {
            assert_eq!(parse_name(foreign), None, "{foreign}");
        }
    }
}
