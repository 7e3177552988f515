//! Files that were cut off or changed: every read gives the right bytes or nothing, and the store opens.

use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::entry::{ENTRY_SIZE, record_size};
use super::super::types::StoreError;
use super::*;

const BLOCKS: u32 = 6;
const SIZE: u32 = 200;

/// A store of a few small blocks in one pack, closed. Block 2 was removed and segment 3 was raised.
fn small() -> Bench {
    let mut bench = Bench::new();
    for number in 0..BLOCKS {
        bench.append(key(number, 2), 0, SIZE, if number == 3 { Trust::Claimed } else { Trust::Bound });
    }
    bench.store().remove(&key(2, 2).id).unwrap();
    bench.store().raise_to_bound(&key(3, 2).id);
    bench.close();
    bench
}

/// Opens the store, checks that it holds nothing wrong and nothing that was removed, and that it can be appended to
/// and opened again. Returns how many blocks were there.
fn check(bench: &mut Bench, context: &str) -> u32 {
    bench.open();
    bench.check_size(context);
    let mut found = 0;
    for number in 0..BLOCKS {
        if let Some(block) = bench.read(&key(number, 2).id, 0) {
            assert!(block == tail(&key(number, 2).id, 0, SIZE), "{context}");
            assert_ne!(number, 2, "{context}: a removed block came back");
            found += 1;
        }
    }
    let new = key(100, 2);
    bench.append(new, 1, SIZE, Trust::Bound);
    bench.reopen();
    assert!(bench.read(&new.id, 1) == Some(tail(&new.id, 1, SIZE)), "{context}: the new block is lost");
    for number in 0..BLOCKS {
        if let Some(block) = bench.read(&key(number, 2).id, 0) {
            assert!(block == tail(&key(number, 2).id, 0, SIZE), "{context}, opened again");
            assert_ne!(number, 2, "{context}: a removed block came back the second time");
        }
    }
    let stats = bench.store().stats();
    bench.store().verify(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!(bench.store().stats().corrupt, stats.corrupt, "{context}: reads had not found all damage");
    bench.close();
    found
}

fn file(bench: &Bench, extension: &str) -> (std::path::PathBuf, Vec<u8>) {
    let path = bench.files(extension).remove(0);
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes)
}

/// A closed store with the files of another one.
fn copy(from: &Bench) -> Bench {
    let mut bench = from.killed();
    bench.close();
    for (extension, copies) in [("pack", from.files("pack")), ("index", from.files("index"))] {
        bench.files(extension).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        for path in copies {
            std::fs::copy(&path, bench.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    bench
}

#[test]
fn a_pack_cut_off_anywhere() {
    let original = small();
    let (path, bytes) = file(&original, "pack");
    let record = record_size(SIZE, CryptoAlgoId::Aes128) as usize;
    for size in (0..bytes.len()).step_by(13) {
        let mut bench = copy(&original);
        std::fs::write(bench.path().join(path.file_name().unwrap()), &bytes[..size]).unwrap();
        let whole = size.saturating_sub(ENTRY_SIZE) / record;
        let expected = if size < ENTRY_SIZE { 0 } else { whole - usize::from(whole > 2) };
        assert_eq!(check(&mut bench, &format!("pack of {size} bytes")), expected as u32, "{size} bytes");
    }
}

#[test]
fn a_sidecar_cut_off_anywhere() {
    let original = small();
    let (path, bytes) = file(&original, "index");
    for size in (0..bytes.len()).step_by(7) {
        let mut bench = copy(&original);
        std::fs::write(bench.path().join(path.file_name().unwrap()), &bytes[..size]).unwrap();
        assert_eq!(check(&mut bench, &format!("sidecar of {size} bytes")), BLOCKS - 1);
    }
}

#[test]
fn a_changed_byte_anywhere() {
    let original = small();
    for extension in ["pack", "index"] {
        let (path, bytes) = file(&original, extension);
        for at in (0..bytes.len()).step_by(if extension == "pack" { 17 } else { 5 }) {
            let mut bench = copy(&original);
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            std::fs::write(bench.path().join(path.file_name().unwrap()), &changed).unwrap();
            let found = check(&mut bench, &format!("{extension} changed at {at}"));
            // A byte of the pack costs one record; a byte of the sidecar costs nothing.
            let lost = BLOCKS - 1 - found;
            assert!(lost <= u32::from(extension == "pack"), "{lost} blocks lost by {extension} changed at {at}");
        }
    }
}

#[test]
fn anything_at_all() {
    let original = small();
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..300 {
        let mut bench = copy(&original);
        for extension in ["pack", "index"] {
            let path = bench.files(extension).remove(0);
            scribble(&path, &mut random);
        }
        check(&mut bench, &format!("round {round}"));
    }
}

/// Overwrites, cuts off or extends a file at random.
fn scribble(path: &Path, random: &mut StdRng) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..length);
        match random.random_range(0..4) {
            0 => file.set_len(at).unwrap(),
            1 => file.set_len(length + at).unwrap(),
            2 => file.write_all_at(&vec![0; random.random_range(1..300)], at).unwrap(),
            _ => {
                let bytes: Vec<u8> = (0..random.random_range(1..300)).map(|_| random.random()).collect();
                file.write_all_at(&bytes, at).unwrap();
            }
        }
    }
}

#[test]
fn without_a_sidecar_a_damaged_record_costs_itself_alone() {
    for at in [3, 40, ENTRY_SIZE + 20] {
        let mut bench = small();
        let (path, mut bytes) = file(&bench, "pack");
        let record = record_size(SIZE, CryptoAlgoId::Aes128) as usize;
        bytes[ENTRY_SIZE + record + at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        std::fs::remove_file(file(&bench, "index").0).unwrap();
        assert_eq!(check(&mut bench, &format!("changed at {at}")), BLOCKS - 2, "changed at {at}");
    }
}

#[test]
fn what_came_after_a_segment_was_raised_is_not_raised_by_damage() {
    let mut bench = Bench::new();
    bench.append(key(1, 2), 0, SIZE, Trust::Claimed);
    bench.store().raise_to_bound(&key(1, 2).id);
    bench.append(key(1, 2), 1, SIZE, Trust::Claimed);
    bench.close();
    let (path, mut bytes) = file(&bench, "index");
    let last = bytes.len() - ENTRY_SIZE + 50;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    for _ in 0..3 {
        bench.reopen();
        assert_eq!(bench.store().held(&key(1, 2).id).unwrap().blocks.len(), 2);
        assert!(!bench.store().blocks_for(&key(1, 2).id, Audience::Peers).contains(1));
    }
}

#[test]
fn damage_is_found_when_a_block_is_read_and_costs_it_alone() {
    let mut bench = small();
    let (path, mut bytes) = file(&bench, "pack");
    let record = record_size(SIZE, CryptoAlgoId::Aes128) as usize;
    bytes[ENTRY_SIZE + 4 * record + ENTRY_SIZE + 20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    bench.open();
    assert!(bench.store().availability(&key(4, 2).id).is_some());
    assert_eq!(bench.read(&key(4, 2).id, 0), None);
    assert_eq!(bench.store().availability(&key(4, 2).id), None);
    assert!(bench.read(&key(5, 2).id, 0).is_some());
    assert_eq!(bench.store().stats().corrupt, 1);
    // It is forgotten for good, and may come again.
    bench.reopen();
    assert_eq!(bench.store().availability(&key(4, 2).id), None);
    bench.append(key(4, 2), 0, SIZE, Trust::Bound);
    bench.reopen();
    assert!(bench.read(&key(4, 2).id, 0) == Some(tail(&key(4, 2).id, 0, SIZE)));
}

#[test]
fn verification_finds_all_damage() {
    let mut bench = small();
    let (path, mut bytes) = file(&bench, "pack");
    let record = record_size(SIZE, CryptoAlgoId::Aes128) as usize;
    bytes[ENTRY_SIZE + record + 10] ^= 1;
    bytes[ENTRY_SIZE + 4 * record + ENTRY_SIZE + 20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    bench.open();
    let mut steps = 0;
    let done = bench.store().verify(|_| {
        steps += 1;
        ControlFlow::Continue(())
    });
    let done = done.unwrap();
    assert_eq!((done.packs, done.packs_total, done.blocks, done.corrupt), (1, 1, 3, 2));
    assert!(steps >= 2);
    assert_eq!(bench.store().stats().blocks, 3);
    bench.reopen();
    assert_eq!(bench.store().stats().blocks, 3);
    let stopped = bench.store().verify(|_| ControlFlow::Break(())).unwrap();
    assert_eq!((stopped.packs, stopped.blocks), (0, 0));
}

#[test]
fn a_killed_process_loses_nothing_that_was_appended() {
    let mut bench = Bench::new();
    for number in 0..50 {
        bench.append(key(number, 1), 0, 40_000, Trust::Bound);
        let killed = bench.killed();
        assert_eq!(killed.store().stats().blocks, u64::from(number) + 1);
        assert!(killed.read(&key(number, 1).id, 0) == Some(tail(&key(number, 1).id, 0, 40_000)));
    }
    bench.reopen();
    assert_eq!(bench.store().stats().blocks, 50);
}

#[test]
fn data_that_did_not_reach_the_disk_is_found_when_the_store_is_opened() {
    let mut bench = Bench::new();
    bench.append(key(1, 1), 0, SIZE, Trust::Bound);
    bench.store().sync().unwrap();
    bench.append(key(2, 1), 0, SIZE, Trust::Bound);
    bench.append(key(3, 1), 0, SIZE, Trust::Bound);
    // As after a power failure: the sidecar knows of the second block, whose pages were never written.
    let mut failed = bench.killed();
    let (path, mut bytes) = file(&bench, "pack");
    failed.store = None;
    let record = record_size(SIZE, CryptoAlgoId::Aes128) as usize;
    bytes[ENTRY_SIZE + record..ENTRY_SIZE + 2 * record].fill(0);
    std::fs::write(failed.path().join(path.file_name().unwrap()), &bytes).unwrap();
    std::fs::copy(file(&bench, "index").0, failed.files("index").remove(0)).unwrap();
    failed.open();
    assert!(failed.store().availability(&key(1, 1).id).is_some());
    assert_eq!(failed.store().availability(&key(2, 1).id), None);
    assert!(failed.store().availability(&key(3, 1).id).is_some());
    assert_eq!(failed.store().stats().corrupt, 1);
    bench.close();
}

#[test]
fn a_record_inside_a_block_is_never_taken_for_one() {
    let mut bench = Bench::new();
    bench.append(key(1, 1), 0, SIZE, Trust::Bound);
    bench.close();
    // Somebody who knows everything but the mark sends a block that looks like a record of another segment.
    let (_, real) = file(&bench, "pack");
    let forged = &real[ENTRY_SIZE..];
    let mut bytes = vec![0; 16];
    bytes.extend_from_slice(forged);
    bytes[16..24].fill(0x77);
    let size_of_block = bytes.len() as u32;
    bytes.resize(peerdist_protocol::retrieval::tail_size(size_of_block, CryptoAlgoId::None), 0);
    let block = BlkTail { algorithm: CryptoAlgoId::None, size_of_block, bytes: bytes.into() };
    let mut bench = Bench::new();
    bench.store().append(&key(9, 1), 0, &block, Trust::Bound, Tag::NONE).unwrap();
    bench.close();
    // The sidecar is lost and so is the head of the block: the scan walks through its bytes.
    std::fs::remove_file(file(&bench, "index").0).unwrap();
    let (path, mut pack) = file(&bench, "pack");
    pack[ENTRY_SIZE + 40] ^= 1;
    std::fs::write(path, pack).unwrap();
    bench.open();
    assert_eq!(bench.store().stats().blocks, 0);
}

#[test]
fn both_copies_of_a_block_that_was_being_carried_are_removed() {
    // As if the process had been killed after the block was carried into a new pack, before the old one was removed.
    let mut old = Bench::new();
    old.append(key(1, 1), 0, SIZE, Trust::Bound);
    old.append(key(2, 1), 0, SIZE, Trust::Bound);
    old.close();
    let mut new = Bench::new();
    new.append(key(1, 1), 0, SIZE, Trust::Bound);
    new.close();
    for (extension, name) in [("pack", "0000000000000009.pack"), ("index", "0000000000000009.index")] {
        std::fs::copy(file(&new, extension).0, old.path().join(name)).unwrap();
    }
    old.open();
    assert_eq!(old.store().stats().blocks, 2);
    assert!(old.read(&key(1, 1).id, 0) == Some(tail(&key(1, 1).id, 0, SIZE)));
    old.store().remove(&key(1, 1).id).unwrap();
    for lose_sidecars in [false, true] {
        old.close();
        if lose_sidecars {
            old.files("index").iter().for_each(|path| std::fs::remove_file(path).unwrap());
        }
        old.open();
        assert_eq!(old.read(&key(1, 1).id, 0), None);
        assert!(old.read(&key(2, 1).id, 0).is_some());
    }
}

#[test]
fn a_newer_format_is_left_alone() {
    let mut bench = small();
    let (path, mut bytes) = file(&bench, "pack");
    bytes[8] = 200;
    let crc = crc32c::crc32c(&bytes[..ENTRY_SIZE - 4]);
    bytes[ENTRY_SIZE - 4..ENTRY_SIZE].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let opened = Store::open(&bench.config());
    assert!(matches!(opened, Err(StoreError::NewerFormat { version: 200, .. })), "{opened:?}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    bench.store = None;
}

#[test]
fn raised_segments_stay_raised_when_their_pack_is_read_anew() {
    let mut bench = Bench::new();
    bench.append(key(1, 2), 0, SIZE, Trust::Claimed);
    // Fills the first pack, so that the entry that raises the segment is in the sidecar of the second.
    for number in 10..21 {
        bench.append(key(number, 1), 0, 100_000, Trust::Bound);
    }
    assert!(bench.files("pack").len() >= 2);
    bench.store().raise_to_bound(&key(1, 2).id);
    bench.close();
    let (path, mut bytes) = (bench.files("index").pop().unwrap(), Vec::new());
    bytes.extend_from_slice(&std::fs::read(&path).unwrap());
    bytes[ENTRY_SIZE + 50] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        bench.reopen();
        assert!(bench.store().availability(&key(1, 2).id).is_some());
    }
}
