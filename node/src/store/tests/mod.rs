//! Tests of the whole store on a real directory, with a clock that is moved by hand.

mod behaviour;
mod damage;
mod model;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use peerdist_protocol::content::{CryptoAlgoId, SegmentId};
use peerdist_protocol::retrieval::{BlkTail, tail_size};
use tempfile::TempDir;

use super::core::Clock;
use super::locks::lock;
use super::policy::MIN_LIMIT;
use super::{Audience, Limits, SegmentKey, SizeLimit, Store, StoreConfig, Tag, Trust};

const NOW: u32 = 1_800_000_000;
const DAY: u32 = 24 * 60 * 60;

/// A store in a directory of its own. In the background packs are dropped for space, and nothing else happens.
struct Bench {
    /// Dropped before the directory.
    store: Option<Store>,
    dir: TempDir,
    now: Arc<AtomicU32>,
    limits: Limits,
}

impl Bench {
    fn new() -> Self {
        Self::with_limit(MIN_LIMIT)
    }

    fn with_limit(limit: u64) -> Self {
        let limits =
            Limits { size: SizeLimit::Bytes(limit), keep_free: 0, max_age: Duration::from_secs(28 * u64::from(DAY)) };
        let mut bench =
            Self { dir: tempfile::tempdir().unwrap(), now: Arc::new(AtomicU32::new(NOW)), limits, store: None };
        bench.reopen();
        bench
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn config(&self) -> StoreConfig {
        // Longer than any test: whatever the background would do, tests do themselves.
        let sync_interval = Duration::from_secs(3600);
        StoreConfig { dir: self.path().to_owned(), limits: self.limits, sync_interval }
    }

    /// Closes the store in order and opens it again.
    fn reopen(&mut self) {
        self.close();
        self.open();
    }

    fn close(&mut self) {
        if let Some(store) = self.store.take() {
            store.close().unwrap();
        }
    }

    fn open(&mut self) {
        self.store = Some(Store::open_with(&self.config(), Clock::Manual(Arc::clone(&self.now))).unwrap());
    }

    /// A copy of the directory as a process that is killed now would leave it.
    fn killed(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // No pack may be dropped between listing the files and copying them.
        let _evictor = self.store.as_ref().map(|store| lock(&store.0.core.evictor));
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        let mut bench = Self { dir, now: Arc::clone(&self.now), limits: self.limits, store: None };
        bench.open();
        bench
    }

    fn pass(&self, seconds: u32) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    fn append(&self, key: SegmentKey, index: u32, size: u32, trust: Trust) {
        self.store().append(&key, index, &tail(&key.id, index, size), trust, Tag::NONE).unwrap();
    }

    fn read(&self, id: &SegmentId, index: u32) -> Option<BlkTail> {
        self.store().read(id, index).unwrap()
    }

    /// The files are as large as the store says. In the background nothing is written or dropped meanwhile.
    fn check_size(&self, context: &str) {
        let core = &self.store().0.core;
        let (_evictor, _writer) = (lock(&core.evictor), lock(&core.writer));
        let files = self.files("pack").into_iter().chain(self.files("index"));
        let size: u64 = files.map(|path| std::fs::metadata(path).unwrap().len()).sum();
        assert_eq!(core.used(), size, "{context}");
    }

    /// Files with an extension, in order.
    fn files(&self, extension: &str) -> Vec<std::path::PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect();
        files.sort();
        files
    }
}

/// A segment of its own for every number, with an id of 32 bytes.
fn key(number: u32, block_count: u32) -> SegmentKey {
    let mut bytes = [0x5a; 32];
    bytes[3..7].copy_from_slice(&number.to_be_bytes());
    SegmentKey { id: SegmentId::from_slice(&bytes).unwrap(), block_count }
}

/// The bytes that belong to a block: different for every block and size.
fn tail(id: &SegmentId, index: u32, size_of_block: u32) -> BlkTail {
    let algorithm = CryptoAlgoId::Aes128;
    let seed = crc32c::crc32c(id.as_bytes()) ^ index.wrapping_mul(0x9e37_79b9) ^ size_of_block;
    let mut state = u64::from(seed) | 1;
    let mut bytes = Vec::with_capacity(tail_size(size_of_block, algorithm) + 8);
    while bytes.len() < tail_size(size_of_block, algorithm) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    bytes.truncate(tail_size(size_of_block, algorithm));
    BlkTail { algorithm, size_of_block, bytes: bytes.into() }
}
