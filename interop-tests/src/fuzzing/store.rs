//! The files of the cache, damaged while nobody looked: whatever is left of them, opening goes on, and what is read is
//! what was stored.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use peerdist_node::store::{Audience, Limits, SegmentKey, SizeLimit, Store, StoreConfig, StoreError, Tag, Trust};
use peerdist_protocol::content::{CryptoAlgoId, SegmentId};
use peerdist_protocol::retrieval::{BlkTail, tail_size};
use peerdist_protocol::wire::{Reader, Truncated};
use tempfile::TempDir;

/// Entries of the files have this size and end in their CRC-32C.
const ENTRY_SIZE: usize = 128;
const SEGMENTS: u8 = 4;
const BLOCKS: u32 = 3;

/// For each change the file, what is done to it, the place in two bytes, and a value.
pub(super) fn run(bytes: &[u8]) {
    static WHOLE: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(whole);
    let mut files = WHOLE.clone();
    let mut reader = Reader::new(bytes);
    let mut forged = false;
    while let Ok(is_forgery) = change(&mut reader, &mut files) {
        forged |= is_forgery;
    }
    let dir = directory();
    for (name, bytes) in &files {
        std::fs::write(dir.path().join(name), bytes).expect("a file can be written");
    }
    // Twice: what the first opening mended, the second one finds in order.
    for _ in 0..2 {
        match open(dir.path()) {
            Ok(store) => judge(&store, forged),
            Err(StoreError::NewerFormat { .. }) if forged => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn change(reader: &mut Reader<'_>, files: &mut [(String, Vec<u8>)]) -> Result<bool, Truncated> {
    let [file, action] = reader.take_array()?;
    let (at, value) = (usize::from(reader.u16_le()?), reader.u8()?);
    let count = files.len();
    let Some((_, bytes)) = files.get_mut(usize::from(file) % count) else { return Ok(false) };
    let at = at % (bytes.len() + 1);
    match action % 5 {
        0 => bytes.truncate(at),
        1 => drop(bytes.splice(at..at, [value; 16])),
        2 => drop(bytes.drain(at..bytes.len().min(at + usize::from(value)))),
        3 => {
            if let Some(place) = bytes.get_mut(at) {
                *place = value;
            }
        }
        // With the right checksum, as nobody but the store itself makes it.
        _ => {
            let start = at / ENTRY_SIZE * ENTRY_SIZE;
            let Some(entry) = bytes.get_mut(start..start + ENTRY_SIZE) else { return Ok(false) };
            if let Some(place) = entry.get_mut(at - start) {
                *place = value;
            }
            let (fields, checksum) = entry.split_at_mut(ENTRY_SIZE - 4);
            checksum.copy_from_slice(&crc32c::crc32c(fields).to_le_bytes());
            return Ok(true);
        }
    }
    Ok(false)
}

fn judge(store: &Store, forged: bool) {
    for segment in store.list() {
        let held = store.blocks_for(&segment.id, Audience::Reader);
        for index in held.iter() {
            let read = store.read(&segment.id, index).expect("the file is there");
            let is_ours = |tail: &BlkTail| (1..=SEGMENTS).any(|n| id(n) == segment.id && block(n, index) == *tail);
            // A block that is damaged reads as none.
            assert!(forged || read.as_ref().is_none_or(is_ours), "block {index} of {}", segment.id);
        }
        assert!(!store.blocks_for(&segment.id, Audience::Peers).iter().any(|index| !held.contains(index)));
    }
    store.verify(|_| std::ops::ControlFlow::Continue(())).expect("the files are there");
    let key = SegmentKey { id: id(200), block_count: 1 };
    store.append(&key, 0, &block(200, 0), Trust::Bound, Tag::NONE).expect("there is room");
    assert_eq!(store.read(&key.id, 0).expect("the file is there"), Some(block(200, 0)));
    store.remove(&key.id).expect("it can be removed");
    store.close().expect("it can be closed");
}

/// The files of a store with a few blocks, some of them replaced, raised or removed.
fn whole() -> Vec<(String, Vec<u8>)> {
    let dir = directory();
    let store = open(dir.path()).expect("an empty directory is a store");
    for number in 1..=SEGMENTS {
        let key = SegmentKey { id: id(number), block_count: BLOCKS };
        let trust = [Trust::Claimed, Trust::Bound, Trust::Blind][usize::from(number) % 3];
        for index in 0..BLOCKS {
            store.append(&key, index, &block(number, index), trust, Tag::NONE).expect("there is room");
        }
    }
    store.raise_to_bound(&id(3));
    store.remove_block(&id(1), 1).expect("it can be removed");
    store.close().expect("it can be closed");
    drop(store);
    let files = std::fs::read_dir(dir.path()).expect("the directory can be read");
    let mut files: Vec<_> = files
        .map(|entry| {
            let entry = entry.expect("the directory can be read");
            (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file can be read"))
        })
        .collect();
    files.sort();
    files
}

fn open(dir: &Path) -> Result<Store, StoreError> {
    let limits = Limits { size: SizeLimit::Bytes(16 << 20), keep_free: 0, ..Limits::default() };
    Store::open(&StoreConfig { limits, ..StoreConfig::new(dir) })
}

fn directory() -> TempDir {
    tempfile::tempdir_in(in_memory()).expect("a temporary directory")
}

/// Where temporary files never meet a disk, if there is such a place.
pub(super) fn in_memory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn id(number: u8) -> SegmentId {
    SegmentId::from_slice(&[number; 32]).expect("32 bytes are an id")
}

fn block(number: u8, index: u32) -> BlkTail {
    let (algorithm, size_of_block) = (CryptoAlgoId::Aes128, 16 * (index + 1));
    let bytes = (0..).map(|byte: u32| (byte * 7 + u32::from(number) + index) as u8);
    let bytes: Vec<_> = bytes.take(tail_size(size_of_block, algorithm)).collect();
    BlkTail { algorithm, size_of_block, bytes: bytes.into() }
}
