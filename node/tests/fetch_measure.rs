//! How fast a content comes from one peer, and what it costs. Not a test of speed: the figures are printed.
//!
//! `cargo test --release -p peerdist-node --test fetch_measure -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::future::pending;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerdist_discovery::{Config, Discovery, Interfaces};
use peerdist_node::fetch::{FetchConfig, Fetcher, Read};
use peerdist_node::store::{Limits, SegmentKey, SizeLimit, Store, StoreConfig, Tag, Trust};
use peerdist_protocol::content::{
    BlockIndex, BlockRanges, ContentInformation, CryptoAlgoId, EncryptedBlock, HashOptions, Hasher, SegmentId,
    ServerSecret, VerifiedBlock,
};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::retrieval::BlkTail;
use peerdist_transport::retrieval::client::{Client, ClientLimits};
use peerdist_transport::retrieval::server::{BlockSource, Server, ServerLimits};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Names the store that a child process serves.
const SERVE: &str = "PEERDIST_MEASURE_SERVE";
const PORT: &str = "PEERDIST_MEASURE_PORT";
const MIB: usize = 1 << 20;

fn store(dir: &Path) -> Store {
    let limits = Limits { size: SizeLimit::Bytes(64 << 30), keep_free: 0, ..Limits::default() };
    Store::open(&StoreConfig { limits, ..StoreConfig::new(dir) }).unwrap()
}

struct Source(Store);

impl BlockSource for Source {
    fn held(&self, segment: &SegmentId) -> BlockRanges {
        self.0.bound_blocks(segment)
    }

    async fn read(&self, segment: &SegmentId, index: BlockIndex) -> Option<BlkTail> {
        self.0.read_bound_async(segment, index).await.unwrap()
    }
}

fn discovery(
    store: &Store,
    port: u16,
    retrieval_port: u16,
) -> (Discovery, tokio::sync::mpsc::Receiver<peerdist_discovery::Event>) {
    let held = store.clone();
    let interfaces = Interfaces::Only(vec!["lo".to_owned()]);
    let config = Config { interfaces, ipv6: false, port, retrieval_port, ..Config::default() };
    Discovery::start(config, Arc::new(move |id: &SegmentId| held.availability(id))).unwrap()
}

/// The other host: this program again, with a store to serve.
#[test]
#[ignore = "the child of the measurement"]
fn serve() {
    let Ok(dir) = std::env::var(SERVE) else { return };
    let port = std::env::var(PORT).unwrap().parse().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = store(Path::new(&dir));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (_discovery, mut events) = discovery(&store, port, listener.local_addr().unwrap().port());
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        println!("ready");
        Server::new(Arc::new(Source(store)), ServerLimits::default()).serve(vec![listener], pending()).await;
    });
}

/// User and system time of a process and the most memory it had resident.
fn cost(pid: u32) -> (Duration, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<u64> =
        stat.rsplit(") ").next().unwrap().split(' ').map(|field| field.parse().unwrap_or_default()).collect();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB").parse().unwrap();
    (Duration::from_millis((fields[11] + fields[12]) * 10), peak)
}

/// The content, piece by piece, so that it is never whole in memory.
fn pieces(size: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..size.div_ceil(MIB)).map(move |_| {
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        })
        .take(MIB / 8)
        .flat_map(u64::to_le_bytes)
        .collect()
    })
}

fn hash(size: usize) -> [ContentInformation; 2] {
    let options = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: true };
    let mut hasher = Hasher::new(options, &ServerSecret::from_bytes(*b"a secret"));
    pieces(size).for_each(|piece| hasher.update(&piece));
    let hashed = hasher.finish().unwrap();
    [hashed.v1.unwrap(), hashed.v2.unwrap()]
}

/// Fills a store with all blocks of the content.
fn fill(store: &Store, size: usize, information: &ContentInformation) {
    let mut pieces = pieces(size);
    let mut waiting: Vec<u8> = Vec::new();
    for segment in information.segments() {
        for index in 0..segment.block_count() {
            let range = segment.block_range(index).unwrap();
            let length = (range.end - range.start) as usize;
            while waiting.len() < length {
                waiting.extend(pieces.next().unwrap());
            }
            let rest = waiting.split_off(length);
            let plain = std::mem::replace(&mut waiting, rest);
            let block = VerifiedBlock::verify(plain.into(), &segment.block_check(index).unwrap()).unwrap();
            let sealed = EncryptedBlock::seal(&block, segment.secret(), CryptoAlgoId::Aes128, [7; 16]).unwrap();
            let key = SegmentKey { id: segment.id(), block_count: segment.block_count() };
            store.append(&key, index, &BlkTail::from(&sealed), Trust::Bound, Tag::NONE).unwrap();
        }
    }
}

#[test]
#[ignore = "prints figures"]
fn one_peer() {
    let size = std::env::var("MIB").map_or(1024, |mib| mib.parse::<usize>().unwrap()) * MIB;
    for information in hash(size) {
        let there = TempDir::new().unwrap();
        {
            let store = store(there.path());
            fill(&store, size, &information);
            store.close().unwrap();
        }
        let port = 20_000 + (std::process::id() % 20_000) as u16;
        let mut peer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serve", "--ignored", "--nocapture"])
            .env(SERVE, there.path())
            .env(PORT, port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(peer.stdout.take().unwrap()).lines();
        while !lines.next().unwrap().unwrap().contains("ready") {}
        let version = information.version();
        let here = TempDir::new().unwrap();
        let (own, _) = cost(std::process::id());
        let (theirs, _) = cost(peer.id());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (took, slowest) = runtime.block_on(async {
            let store = store(&here.path().join("store"));
            let client = Client::new(ClientLimits { idle_per_peer: 16, ..ClientLimits::default() });
            let fetcher = Fetcher::new(store.clone(), Some(discovery(&store, port, 9)), client, FetchConfig::default());
            let mut output = std::fs::File::create(here.path().join("output")).unwrap();
            let began = Instant::now();
            let content = fetcher.open(information);
            let (mut position, mut slowest) = (0, Duration::ZERO);
            while position < size as u64 {
                let asked = Instant::now();
                let Read::Data { range, bytes, .. } = content.next(position).await.unwrap() else { panic!("missing") };
                slowest = slowest.max(asked.elapsed());
                output.write_all(&bytes).unwrap();
                position = range.end;
            }
            println!("{:?}", fetcher.counters());
            (began.elapsed(), slowest)
        });
        let (own, peak) = (cost(std::process::id()).0 - own, cost(std::process::id()).1);
        let theirs = cost(peer.id()).0 - theirs;
        peer.kill().unwrap();
        peer.wait().unwrap();
        let rate = size as f64 / took.as_secs_f64() / 1e6;
        println!(
            "{version}: {rate:.0} MB/s, {took:?}; processor time here {own:?}, there {theirs:?}; longest wait {slowest:?}; peak {peak} kB"
        );
    }
}
