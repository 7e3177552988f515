//! Opening a large cache, and what an idle daemon takes.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use peerdist_node::store::{SegmentKey, Store, StoreConfig, Tag, Trust};
use peerdist_protocol::content::CryptoAlgoId;
use peerdist_protocol::retrieval::{BlkTail, tail_size};
use serde_json::{Value, json};

use crate::probing::{MILLION, million_id, store_config};
use crate::row::{Row, rounds};
use crate::stage::{Node, run};
use crate::tools::memory;

/// The word that makes this program open a store, say what that took, and end.
pub(crate) const OPEN_STORE: &str = "open-store";

pub(crate) fn rows() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fill(&store_config(folder.path()), Trust::Bound);
    let (mut most_seconds, mut most_memory) = (0.0, 0.0);
    rounds(|| {
        let own = std::env::current_exe().expect("this program has a file");
        let report = run(Command::new(own).arg(OPEN_STORE).env("BENCH_STORE", folder.path()));
        let report: Value = serde_json::from_str(&report).expect("one JSON object");
        let figure = |name: &str| report[name].as_f64().expect("a number");
        most_seconds = figure("seconds").max(most_seconds);
        most_memory = figure("memory").max(most_memory);
        most_seconds
    });
    let idle = Node::start("0,1");
    vec![
        Row::at_most("opening a cache of one million segments", most_seconds, "s", 1.0, 0.3),
        Row::at_most("the same", most_memory, "MB resident", 150.0, 60.0),
        Row::at_most("the idle daemon, empty cache", memory(idle.id(), "VmRSS"), "MB resident", 25.0, 12.0),
    ]
}

/// One block for each of a million segments.
pub(crate) fn fill(config: &StoreConfig, trust: Trust) {
    let store = Store::open(config).expect("a new store");
    let algorithm = CryptoAlgoId::Aes128;
    let block = BlkTail { algorithm, size_of_block: 16, bytes: vec![0xa5; tail_size(16, algorithm)].into() };
    for number in 0..MILLION {
        let key = SegmentKey { id: million_id(number), block_count: 1 };
        store.append(&key, 0, &block, trust, Tag::NONE).expect("the disk has room");
    }
    store.close().expect("the disk works");
}

/// Opens the store that `BENCH_STORE` names and prints what that took.
pub(crate) fn open_store_and_report() {
    let folder = std::env::var_os("BENCH_STORE").expect("BENCH_STORE names a store");
    let began = Instant::now();
    let store = Store::open(&store_config(Path::new(&folder))).expect("the store opens");
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(store.stats().segments, u64::from(MILLION));
    println!("{}", json!({ "seconds": seconds, "memory": memory(std::process::id(), "VmRSS") }));
}
