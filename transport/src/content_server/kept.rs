//! Content information that was made before: in memory up to a limit, and on disk across restarts.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use peerdist_protocol::content::{CHUNKER, ContentInformation, ContentVersion, HashOptions, Hashed, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::http::ContentVersions;
use peerdist_protocol::wire::{Put, Reader};

use super::counters::LiveCounters;

const MAGIC: &[u8; 8] = b"PDKEPT\0\x01";
const CHECKSUM: HashAlgorithm = HashAlgorithm::Sha256;

/// One state of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ContentKey {
    /// The path below the folder, or the upstream URL.
    pub(super) resource: Arc<[u8]>,
    /// The content's length in bytes.
    pub(super) length: u64,
    /// What differs as soon as the bytes do: validators and whatever else is known.
    pub(super) stamp: Arc<str>,
}

/// The content information of one state of a resource, in every version that was asked for.
pub(super) struct Kept {
    versions: Vec<Version>,
}

impl fmt::Debug for Kept {
    /// Says nothing: content information holds keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

struct Version {
    parsed: ContentInformation,
    whole: Bytes,
}

impl Kept {
    /// `None` where it does not describe exactly `length` bytes.
    fn new(versions: impl IntoIterator<Item = ContentInformation>, length: u64) -> Option<Self> {
        let version = |parsed: ContentInformation| Version { whole: parsed.emit().into(), parsed };
        let versions: Vec<_> = versions.into_iter().map(version).collect();
        let is_whole = versions.iter().all(|version| version.parsed.range() == (0..length));
        (is_whole && !versions.is_empty()).then_some(Self { versions })
    }

    pub(super) fn from_hashed(hashed: Hashed) -> Option<Self> {
        Self::new(hashed.v1.into_iter().chain(hashed.v2), hashed.length)
    }

    /// The body of a `peerdist` answer, in the newest version that is acceptable and there. `None` where there is no
    /// such version, or where the bytes themselves are no longer than what describes them.
    pub(super) fn describe(&self, accepted: ContentVersions, range: &Range<u64>) -> Option<Bytes> {
        let version = accepted.preferred().find_map(|version| self.version(version))?;
        let body = if version.parsed.range() == *range {
            version.whole.clone()
        } else {
            version.parsed.slice(range.clone()).ok()?.emit().into()
        };
        ((body.len() as u64) < range.end - range.start).then_some(body)
    }

    fn version(&self, wanted: ContentVersion) -> Option<&Version> {
        self.versions.iter().find(|version| version.parsed.version() == wanted)
    }

    /// About how many bytes it takes in memory.
    fn weight(&self) -> u64 {
        let weight = |version: &Version| version.whole.len() * 2 + size_of_val(version.parsed.segments());
        self.versions.iter().map(|version| weight(version) as u64).sum()
    }
}

/// All content information that is kept.
#[derive(Debug)]
pub(super) struct KeptContent {
    memory: Mutex<Memory>,
    disk: Option<Disk>,
    counters: Arc<LiveCounters>,
}

impl KeptContent {
    /// `state` is a directory and the number of bytes it may hold. What it holds of another secret, other options or
    /// another chunker does not count.
    pub(super) fn open(
        memory: u64,
        state: Option<(&Path, u64)>,
        options: HashOptions,
        secret: &ServerSecret,
        counters: Arc<LiveCounters>,
    ) -> io::Result<Self> {
        let memory = Mutex::new(Memory { limit: memory, ..Memory::default() });
        let disk = state.map(|(directory, limit)| Disk::open(directory, limit, options, secret)).transpose()?;
        Ok(Self { memory, disk, counters })
    }

    /// What is kept of this state of the resource. Blocks if it has to come from disk.
    pub(super) fn get(&self, key: &ContentKey) -> Option<Arc<Kept>> {
        if let Some(kept) = self.get_from_memory(key) {
            return Some(kept);
        }
        let disk = self.disk.as_ref()?;
        // Whoever comes second finds in memory what the first one read.
        let _reading = disk.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = self.get_from_memory(key) {
            return Some(kept);
        }
        let kept = match disk.read(key) {
            Ok(kept) => Arc::new(kept?),
            Err(error) => {
                self.counters.state_failures.add(1);
                tracing::warn!(%error, "cannot read kept content information");
                return None;
            }
        };
        self.memory().put(key, kept.clone());
        Some(kept)
    }

    /// What is in memory, without a look at the disk.
    pub(super) fn get_from_memory(&self, key: &ContentKey) -> Option<Arc<Kept>> {
        self.memory().get(key)
    }

    /// The state of the resource that is in memory, be it current or not.
    pub(super) fn last_state(&self, resource: &[u8]) -> Option<(ContentKey, Arc<Kept>)> {
        self.memory().entries.get(resource).map(|entry| (entry.key.clone(), entry.kept.clone()))
    }

    /// Whether there is a disk to look at beyond memory.
    pub(super) fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Keeps it, in place of every earlier state of the resource. Blocks.
    pub(super) fn put(&self, key: &ContentKey, kept: Kept) {
        let kept = Arc::new(kept);
        self.memory().put(key, kept.clone());
        if let Some(disk) = &self.disk
            && let Err(error) = disk.write(key, &kept)
        {
            self.counters.state_failures.add(1);
            tracing::warn!(%error, "cannot keep content information across restarts");
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The least recently used goes first when the limit is passed. What passes the limit by itself stays until the next
/// one comes: reading it anew for every request would take as much memory, and seconds.
#[derive(Debug, Default)]
struct Memory {
    limit: u64,
    used: u64,
    clock: u64,
    entries: HashMap<Arc<[u8]>, Entry>,
    by_use: BTreeMap<u64, Arc<[u8]>>,
}

#[derive(Debug)]
struct Entry {
    key: ContentKey,
    kept: Arc<Kept>,
    weight: u64,
    used: u64,
}

impl Memory {
    fn get(&mut self, key: &ContentKey) -> Option<Arc<Kept>> {
        let entry = self.entries.get_mut(&key.resource).filter(|entry| entry.key == *key)?;
        self.clock += 1;
        self.by_use.remove(&entry.used);
        entry.used = self.clock;
        self.by_use.insert(entry.used, key.resource.clone());
        Some(entry.kept.clone())
    }

    fn put(&mut self, key: &ContentKey, kept: Arc<Kept>) {
        self.remove(&key.resource);
        if self.limit == 0 {
            return;
        }
        let weight = kept.weight() + (key.resource.len() + key.stamp.len()) as u64;
        while self.used + weight > self.limit
            && let Some((_, oldest)) = self.by_use.first_key_value()
        {
            self.remove(&oldest.clone());
        }
        self.clock += 1;
        self.used += weight;
        self.by_use.insert(self.clock, key.resource.clone());
        self.entries.insert(key.resource.clone(), Entry { key: key.clone(), kept, weight, used: self.clock });
    }

    fn remove(&mut self, resource: &Arc<[u8]>) {
        if let Some(entry) = self.entries.remove(resource) {
            self.used -= entry.weight;
            self.by_use.remove(&entry.used);
        }
    }
}

/// One file per resource: magic, key, content information of both versions, checksum. A file that is not as it should
/// be counts as none, and the next hashing replaces it.
#[derive(Debug)]
struct Disk {
    directory: PathBuf,
    limit: u64,
    used: AtomicU64,
    reading: Mutex<()>,
    /// Secret, options and chunker: with other ones, content information is another.
    generation: Vec<u8>,
}

impl Disk {
    fn open(directory: &Path, limit: u64, options: HashOptions, secret: &ServerSecret) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut used = 0;
        for file in fs::read_dir(directory)? {
            let file = file?;
            let metadata = file.metadata()?;
            match file.path().extension().and_then(|extension| extension.to_str()) {
                Some("kept") => used += metadata.len(),
                // Left over by a process that was killed.
                Some("new") => fs::remove_file(file.path())?,
                _ => {}
            }
        }
        let key_id = CHECKSUM.hmac(secret.as_bytes(), &[b"peerdist key id"]);
        let generation = format!("{CHUNKER}\n{options:?}\n{key_id:?}").into_bytes();
        Ok(Self {
            directory: directory.to_owned(),
            limit,
            used: AtomicU64::new(used),
            reading: Mutex::new(()),
            generation,
        })
    }

    fn path(&self, resource: &[u8]) -> PathBuf {
        self.directory.join(format!("{:?}.kept", CHECKSUM.hash(resource)))
    }

    fn key_bytes(&self, key: &ContentKey) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [&self.generation, key.stamp.as_bytes(), &key.resource] {
            bytes.put_u64_be(part.len() as u64);
            bytes.put(part);
        }
        bytes.put_u64_be(key.length);
        bytes
    }

    fn read(&self, key: &ContentKey) -> io::Result<Option<Kept>> {
        let path = self.path(&key.resource);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(self.parse(&bytes, key))
    }

    fn parse(&self, bytes: &Bytes, key: &ContentKey) -> Option<Kept> {
        let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM.size())?)?;
        let mut reader = Reader::new(content);
        let key_bytes = self.key_bytes(key);
        // The key first: of an outdated file nothing else matters, and hashing it would take its time.
        if reader.take(MAGIC.len()).ok()? != MAGIC || reader.take(key_bytes.len()).ok()? != key_bytes {
            return None;
        }
        if CHECKSUM.hash(content).as_bytes() != checksum {
            tracing::warn!("kept content information is corrupt and will be made anew");
            return None;
        }
        let mut versions = Vec::new();
        while reader.left() > 0 {
            let size = usize::try_from(reader.u64_be().ok()?).ok()?;
            let body = bytes.slice_ref(reader.take(size).ok()?);
            versions.push(ContentInformation::parse(body).ok()?);
        }
        Kept::new(versions, key.length)
    }

    fn write(&self, key: &ContentKey, kept: &Kept) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.put(&self.key_bytes(key));
        for version in &kept.versions {
            bytes.put_u64_be(version.whole.len() as u64);
            bytes.put(&version.whole);
        }
        let checksum = CHECKSUM.hash(&bytes);
        bytes.put(checksum.as_bytes());
        let size = bytes.len() as u64;
        self.make_room(size)?;
        let path = self.path(&key.resource);
        let replaced = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.directory)?.sync_all()?;
        self.used.fetch_add(size, Ordering::Relaxed);
        self.forget(replaced);
        Ok(())
    }

    /// Removes the files written longest ago until `size` more bytes fit.
    fn make_room(&self, size: u64) -> io::Result<()> {
        if self.used.load(Ordering::Relaxed) + size <= self.limit {
            return Ok(());
        }
        let mut files = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            let file = file?;
            if file.path().extension().is_some_and(|extension| extension == "kept") {
                let metadata = file.metadata()?;
                files.push((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), file.path()));
            }
        }
        files.sort();
        for (_, _, length, path) in files {
            if self.used.load(Ordering::Relaxed) + size <= self.limit {
                return Ok(());
            }
            fs::remove_file(path)?;
            self.forget(length);
        }
        if size > self.limit { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn forget(&self, size: u64) {
        let _ = self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(size)));
    }
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
