//! A process that is killed while it uses the store, again and again on the same directory.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use peerdist_node::store::{Limits, SegmentKey, SizeLimit, Store, StoreConfig, Tag, Trust};
use peerdist_protocol::content::{CryptoAlgoId, SegmentId};
use peerdist_protocol::retrieval::{BlkTail, tail_size};
use rand::RngExt as _;

/// Names the store that a child process works on, and the number of its first segment.
const DIRECTORY: &str = "PEERDIST_KILL_DIRECTORY";
const FIRST: &str = "PEERDIST_KILL_FIRST";
/// Segments of one child begin at a multiple of this.
const STRIDE: u32 = 1_000_000;
const ROUNDS: u32 = 20;

fn config(dir: &Path) -> StoreConfig {
    let limits = Limits { size: SizeLimit::Bytes(16 << 20), keep_free: 0, ..Limits::default() };
    StoreConfig { limits, sync_interval: Duration::from_millis(20), ..StoreConfig::new(dir) }
}

fn key(number: u32) -> SegmentKey {
    let mut bytes = [0xc3; 32];
    bytes[10..14].copy_from_slice(&number.to_be_bytes());
    SegmentKey { id: SegmentId::from_slice(&bytes).unwrap(), block_count: 2 }
}

/// The bytes of block 0 of a segment.
fn tail(number: u32) -> BlkTail {
    let algorithm = CryptoAlgoId::Aes256;
    let size_of_block = 1 + number.wrapping_mul(2_654_435_761) % 60_000;
    let size = tail_size(size_of_block, algorithm) as u32;
    let bytes: Vec<u8> = (0..size).map(|at| (at.wrapping_mul(number | 1) >> 3) as u8).collect();
    BlkTail { algorithm, size_of_block, bytes: bytes.into() }
}

/// What is removed right after it was appended.
fn is_removed(number: u32) -> bool {
    number % 30 == 3
}

/// The child's work: appends, reads and removes, and says on standard output what it has done.
#[test]
fn work_until_killed() {
    let (Ok(dir), Ok(first)) = (std::env::var(DIRECTORY), std::env::var(FIRST)) else { return };
    let first: u32 = first.parse().unwrap();
    let store = Store::open(&config(Path::new(&dir))).unwrap();
    // The harness holds standard output while a test prints; the line goes out at once with a write of its own.
    let say = |number: u32| {
        use std::io::Write as _;
        std::io::stdout().write_all(format!("done {number}\n").as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
    };
    for number in first.. {
        store.append(&key(number), 0, &tail(number), Trust::Bound, Tag::NONE).unwrap();
        if is_removed(number) {
            store.remove(&key(number).id).unwrap();
        }
        // Keeps some blocks in use, so that they are carried forward.
        if let Some(found) = store.read(&key(number - number % 50).id, 0).unwrap() {
            assert!(found == tail(number - number % 50));
        }
        say(number);
    }
}

fn start_child(dir: &Path, first: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["work_until_killed", "--exact", "--nocapture"])
        .env(DIRECTORY, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a child do some work, kills it in the middle of more, and returns the number of the last segment that it
/// finished.
fn kill_one(dir: &Path, first: u32) -> u32 {
    let mut child = start_child(dir, first);
    let enough = first + rand::rng().random_range(1..300);
    let (mut last, mut killed) = (first, false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Some(number) = line.unwrap().strip_prefix("done ").and_then(|number| number.parse().ok()) else {
            continue;
        };
        last = number;
        if number >= enough && !killed {
            // SIGKILL, while it goes on working.
            child.kill().unwrap();
            killed = true;
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(killed, "the child ended by itself after {last}");
    last
}

#[test]
fn nothing_that_was_finished_is_lost_or_wrong() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let first = (round + 1) * STRIDE;
        let last = kill_one(dir.path(), first);
        let store = Store::open(&config(dir.path())).unwrap();
        let stats = store.stats();
        assert_eq!((stats.corrupt, stats.rescanned_packs, stats.lost_packs), (0, 0, 0), "round {round}");
        assert!(stats.bytes_on_disk <= 16 << 20, "round {round}: {stats:?}");
        // The last hundred are never dropped for space.
        for number in last.saturating_sub(100).max(first)..=last {
            let found = store.read(&key(number).id, 0).unwrap();
            if is_removed(number) {
                assert!(found.is_none(), "round {round}: {number} came back");
            } else {
                assert!(found == Some(tail(number)), "round {round}: {number}, the last was {last}");
            }
        }
        let mut blocks = 0;
        for segment in store.list() {
            let number = u32::from_be_bytes(segment.id.as_bytes()[10..14].try_into().unwrap());
            assert!(store.read(&segment.id, 0).unwrap() == Some(tail(number)), "round {round}: {number}");
            assert!(!is_removed(number) || number > last, "round {round}: {number} came back");
            blocks += 1;
        }
        assert_eq!(store.stats().blocks, blocks);
    }
}
