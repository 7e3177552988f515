//! How fast the store is and what it takes. Not a test of speed: the figures are printed.
//!
//! `cargo test --release -p peerdist-node --test store_measure -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use peerdist_node::store::{Limits, SegmentKey, SizeLimit, Store, StoreConfig, Tag, Trust};
use peerdist_protocol::content::{CryptoAlgoId, SegmentId};
use peerdist_protocol::retrieval::{BlkTail, tail_size};

const MILLION: u32 = 1_000_000;
/// Names the store that a child process opens.
const OPEN: &str = "PEERDIST_MEASURE_OPEN";

fn config(dir: &Path) -> StoreConfig {
    let limits = Limits { size: SizeLimit::Bytes(64 << 30), keep_free: 0, ..Limits::default() };
    StoreConfig { limits, ..StoreConfig::new(dir) }
}

/// Ids that look like hashes.
fn id(number: u32) -> SegmentId {
    let mut state = u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        state ^= state >> 30;
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 27;
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    SegmentId::from_slice(&bytes).unwrap()
}

fn tail(size_of_block: u32) -> BlkTail {
    let algorithm = CryptoAlgoId::Aes128;
    BlkTail { algorithm, size_of_block, bytes: vec![0xa5; tail_size(size_of_block, algorithm)].into() }
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Measures wall time, and the time this thread had a processor: on a busy machine the two are far apart.
struct Stopwatch {
    start: Instant,
    busy: Duration,
}

impl Stopwatch {
    fn start() -> Self {
        Self { start: Instant::now(), busy: busy() }
    }

    fn report(&self, what: &str, count: u32, bytes: u64) {
        let (wall, busy) = (self.start.elapsed().as_secs_f64(), (busy() - self.busy).as_secs_f64());
        let count = f64::from(count);
        println!(
            "{what}: {wall:.3} s ({busy:.3} s busy), {:.0}/s, {:.0} ns busy each, {:.2} GB/s busy",
            count / wall,
            busy * 1e9 / count,
            bytes as f64 / busy / 1e9
        );
    }
}

fn busy() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
#[ignore = "prints figures; meant for a release build on a quiet machine"]
fn a_million_segments() {
    if let Ok(dir) = std::env::var(OPEN) {
        return open_a_million(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&config(dir.path())).unwrap();
    let block = tail(16);
    let watch = Stopwatch::start();
    for number in 0..MILLION {
        let key = SegmentKey { id: id(number), block_count: 1 };
        store.append(&key, 0, &block, Trust::Bound, Tag::NONE).unwrap();
    }
    watch.report("append a block of 16 bytes", MILLION, u64::from(MILLION) * 176);
    store.close().unwrap();
    for _ in 0..3 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["a_million_segments", "--exact", "--ignored", "--nocapture"])
            .env(OPEN, dir.path())
            .status();
        assert!(child.unwrap().success());
    }
}

fn open_a_million(dir: &Path) {
    let before = resident_mib();
    let watch = Stopwatch::start();
    let store = Store::open(&config(dir)).unwrap();
    watch.report("open a million segments", MILLION, 0);
    let after = resident_mib();
    assert_eq!(store.stats().segments, u64::from(MILLION));
    println!("{after:.1} MiB resident, {:.1} MiB more than before", after - before);
    // In an order that no cache can foresee.
    let ids: Vec<_> = (0..MILLION).map(|number| id(number.wrapping_mul(0x9e37_79b1) % MILLION)).collect();
    let watch = Stopwatch::start();
    let held = ids.iter().filter(|id| store.availability(id).is_some()).count();
    watch.report("availability of a held segment", MILLION, 0);
    assert_eq!(held, MILLION as usize);
    let ids: Vec<_> = (0..MILLION).map(|number| id(number + MILLION)).collect();
    let watch = Stopwatch::start();
    let held = ids.iter().filter(|id| store.availability(id).is_some()).count();
    watch.report("availability of a segment not held", MILLION, 0);
    assert_eq!(held, 0);
}

#[test]
#[ignore = "prints figures; meant for a release build on a quiet machine"]
fn blocks_of_64_and_128_kib() {
    const COUNT: u32 = 10_000;
    for size in [65_552, 131_088] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&config(dir.path())).unwrap();
        let block = tail(size);
        let bytes = u64::from(COUNT) * u64::from(size);
        let keys: Vec<_> = (0..COUNT).map(|number| SegmentKey { id: id(number), block_count: 1 }).collect();
        let watch = Stopwatch::start();
        for key in &keys {
            store.append(key, 0, &block, Trust::Bound, Tag::NONE).unwrap();
        }
        watch.report(&format!("append {size}"), COUNT, bytes);
        for round in ["first read, checksum compared,", "second read"] {
            let watch = Stopwatch::start();
            for key in &keys {
                assert_eq!(store.read(&key.id, 0).unwrap().unwrap().size_of_block, size);
            }
            watch.report(&format!("{round} {size}"), COUNT, bytes);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let watch = Stopwatch::start();
        runtime.block_on(async {
            for key in &keys {
                assert!(store.read_bound_async(&key.id, 0).await.unwrap().is_some());
            }
        });
        watch.report(&format!("asynchronous read {size}"), COUNT, bytes);
    }
}
