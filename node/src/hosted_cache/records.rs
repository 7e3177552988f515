//! What version 1.0 offers said of segments, on disk: their hashes and their secrets.
//!
//! One file a segment, named by its id, in a directory of its own: the content tag and SegmentInformation as it came
//! ([MS-PCHC] 2.2.1.4). Files and directory are their owner's alone.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerdist_protocol::content::{OfferedSegment, SegmentId};
use peerdist_protocol::hosted_cache::{ContentTag, MAX_MESSAGE_SIZE, SegmentInfo};

use super::offered::{Offered, size_in_memory};

/// The directory's name in that of the cache.
const DIRECTORY: &str = "offered";
/// How the name of a whole file ends.
const EXTENSION: &str = "segment";
/// How that of one ends which is being written.
const UNFINISHED: &str = "new";
const TAG_SIZE: usize = 16;
/// A file takes a multiple of it.
const FILE_UNIT: u64 = 4096;

/// Records can be written again once none failed for so long.
const QUIET: Duration = Duration::from_secs(60);

/// A time in which records cannot be written. It is said when it begins and when it ends, not for each segment that
/// somebody offers, also where small records find room on a full disk and large ones do not.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failed_at: Option<Instant>,
}

impl Outage {
    /// A record was written, or could not be. Returns whether an outage thereby ends or begins.
    pub(super) fn changes(&mut self, is_written: bool, now: Instant) -> bool {
        let is_over = self.failed_at.is_some_and(|at| now.saturating_duration_since(at) >= QUIET);
        match (is_written, self.failed_at) {
            (true, Some(_)) if is_over => self.failed_at.take().is_some(),
            (true, _) => false,
            (false, _) => self.failed_at.replace(now).is_none(),
        }
    }
}

/// What the record of a segment takes on disk, at most.
pub(super) fn size_of_record(offered: &Offered) -> u64 {
    // The rest of it is smaller than what it becomes in memory.
    on_disk(size_in_memory(offered) as u64)
}

fn on_disk(size: u64) -> u64 {
    size.next_multiple_of(FILE_UNIT)
}

/// The records of a cache.
#[derive(Debug)]
pub(super) struct Records {
    dir: PathBuf,
}

impl Records {
    /// Opens the records in the directory of a cache.
    pub(super) fn open(cache: &Path) -> io::Result<Self> {
        let dir = cache.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        Ok(Self { dir })
    }

    /// The segments that there are records of, with what these take on disk. What was not finished is removed.
    pub(super) fn list(&self) -> io::Result<Vec<(SegmentId, u64)>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let path = entry.path();
            let id: Option<SegmentId> =
                path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(EXTENSION) => records.extend(id.zip(Some(on_disk(entry.metadata()?.len())))),
                Some(UNFINISHED) if id.is_some() => fs::remove_file(&path)?,
                _ => {}
            }
        }
        Ok(records)
    }

    /// Writes the record of a segment whose hashes are known, in place of an older one.
    pub(super) fn write(&self, offered: &Offered) -> io::Result<()> {
        let Some(segment) = &offered.proof else { return Ok(()) };
        let (id, tag) = (&offered.id, offered.tag);
        let segment_information = &SegmentInfo::new(0, tag, segment).segment_information;
        let unfinished = self.path(id, UNFINISHED);
        let written = write_file(&unfinished, tag, segment_information)
            .and_then(|()| fs::rename(&unfinished, self.path(id, EXTENSION)));
        if written.is_err() {
            // What cannot be removed is when the records are opened again.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// What a record says; `None` where it is not there or says nothing of this segment.
    pub(super) fn read(&self, id: &SegmentId) -> Option<Offered> {
        let mut bytes = Vec::new();
        let file = File::open(self.path(id, EXTENSION)).ok()?;
        file.take(MAX_MESSAGE_SIZE as u64).read_to_end(&mut bytes).ok()?;
        let bytes = Bytes::from(bytes);
        let (tag, _) = bytes.split_first_chunk::<TAG_SIZE>()?;
        let segment = OfferedSegment::parse(bytes.slice(TAG_SIZE..)).ok()?;
        Offered::verified(segment, ContentTag(*tag)).ok().filter(|offered| offered.id == *id)
    }

    /// Removes records. Where some cannot be removed, that is said once.
    pub(super) fn remove(&self, ids: &[SegmentId]) {
        let remove = |id| fs::remove_file(self.path(id, EXTENSION)).err();
        let failed: Vec<_> =
            ids.iter().filter_map(remove).filter(|error| error.kind() != io::ErrorKind::NotFound).collect();
        if let Some(error) = failed.first() {
            let count = failed.len();
            tracing::warn!(count, %error, "records of offered segments cannot be removed");
        }
    }

    fn path(&self, id: &SegmentId, extension: &str) -> PathBuf {
        self.dir.join(format!("{id}.{extension}"))
    }
}

fn write_file(path: &Path, tag: ContentTag, segment_information: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&tag.0)?;
    file.write_all(segment_information)
}

#[cfg(test)]
mod tests {
    use peerdist_protocol::content::{HashOptions, Hasher, ServerSecret};
    use peerdist_protocol::crypto::HashAlgorithm;

    use super::*;

    #[test]
    fn an_outage_begins_and_ends_once_however_writes_alternate() {
        let start = Instant::now();
        let mut outage = Outage::default();
        let mut changes = |is_written, seconds| outage.changes(is_written, start + Duration::from_secs(seconds));
        assert!(!changes(true, 0));
        assert!(changes(false, 0));
        let alternating = (1..100).filter(|second| changes(second % 2 == 0, *second)).count();
        assert_eq!(alternating, 0);
        assert!(!changes(true, 158), "the last one failed a minute ago, not longer");
        assert_eq!([159, 160].map(|second| changes(true, second)), [true, false]);
        assert!(changes(false, 161));
    }

    #[test]
    fn records_are_their_owners_and_damaged_ones_say_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let records = Records::open(cache.path()).unwrap();
        let mut hasher = Hasher::new(
            HashOptions { v1: Some(HashAlgorithm::Sha512), v2: false },
            &ServerSecret::from_passphrase("records"),
        );
        hasher.update(&vec![5; 100_000]);
        let information = hasher.finish().unwrap().v1.unwrap();
        let segment = &information.segments()[0];
        let id = segment.id();
        let offered = |tag| Offered::verified(SegmentInfo::new(1, tag, segment).segment().unwrap(), tag).unwrap();
        assert!(records.read(&id).is_none());
        records.write(&offered(ContentTag::BITS)).unwrap();
        records.write(&offered(ContentTag::SMB)).unwrap();
        fs::write(records.path(&id, UNFINISHED), "half").unwrap();

        let records = Records::open(cache.path()).unwrap();
        assert_eq!(records.list().unwrap(), [(id, size_of_record(&offered(ContentTag::SMB)))]);
        assert_eq!(fs::read_dir(&records.dir).unwrap().count(), 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = records.path(&id, EXTENSION);
        assert_eq!((mode(&path), mode(&records.dir)), (0o600, 0o700));
        let offered = records.read(&id).unwrap();
        assert_eq!((offered.id, offered.block_count, offered.tag), (id, 2, ContentTag::SMB));
        assert!(offered.is_bound());

        let whole = fs::read(&path).unwrap();
        for at in [TAG_SIZE, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert!(records.read(&id).is_none(), "{at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(records.read(&id).is_none(), "{at}");
        }
        records.remove(&[id]);
        records.remove(&[id]);
        assert_eq!(records.list().unwrap(), []);
    }
}
