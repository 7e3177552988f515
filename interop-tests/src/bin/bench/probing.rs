//! Probes answered from an index of one million segments.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use peerdist_node::store::{Limits, SegmentKey, SizeLimit, Store, StoreConfig, Tag, Trust};
use peerdist_protocol::content::{CryptoAlgoId, SegmentId};
use peerdist_protocol::discovery::{Arrival, EndpointAddress, Form, MessageId, Probe, ProbeServer, ServerConfig};
use peerdist_protocol::retrieval::{BlkTail, tail_size};

use crate::row::{Row, rounds};
use crate::tools::seconds;

pub(crate) const MILLION: u32 = 1_000_000;
/// Probes in one round; every one is different, as on a real LAN.
const PROBES: u32 = 200_000;
const IDS: u32 = 16;

/// Limits that keep everything.
pub(crate) fn store_config(folder: &Path) -> StoreConfig {
    let limits = Limits { size: SizeLimit::Bytes(64 << 30), keep_free: 0, ..Limits::default() };
    StoreConfig { limits, ..StoreConfig::new(folder.join("store")) }
}

/// Ids that look like hashes: splitmix64 of a counter.
pub(crate) fn million_id(number: u32) -> SegmentId {
    let mut state = u64::from(number);
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state = word ^ (word >> 31);
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    SegmentId::from_slice(&bytes).expect("32 bytes are an id")
}

pub(crate) fn rows() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&store_config(folder.path())).expect("a new store");
    let algorithm = CryptoAlgoId::Aes128;
    let block = BlkTail { algorithm, size_of_block: 16, bytes: vec![0xa5; tail_size(16, algorithm)].into() };
    for number in 0..MILLION {
        let key = SegmentKey { id: million_id(number), block_count: 1 };
        store.append(&key, 0, &block, Trust::Bound, Tag::NONE).expect("the disk has room");
    }
    let probes: Vec<Vec<u8>> = (0..PROBES).map(probe).collect();
    let rate = rounds(|| f64::from(PROBES) / seconds(|| answer_all(&store, &probes)));
    let row = Row::at_least(
        "Probes of 16 ids answered from one million segments, one core",
        rate,
        "/s",
        100_000.0,
        200_000.0,
    );
    vec![row]
}

fn probe(number: u32) -> Vec<u8> {
    let ids = (0..IDS).map(|at| million_id(number.wrapping_mul(IDS).wrapping_add(at) % MILLION));
    let message_id = MessageId::from_uuid(u128::from(number) << 32 | 1);
    Probe::new(message_id, Form::V2, ids).expect("16 ids make a Probe").emit()
}

/// Parses, looks up, waits its back-off in the machine's own time, looks up again and writes the answer.
fn answer_all(store: &Store, probes: &[Vec<u8>]) {
    let address = EndpointAddress::from_random(7);
    let config = ServerConfig {
        replies_per_second_and_source: u32::MAX,
        replies_per_second: u32::MAX,
        replies_wanted: None,
        ..ServerConfig::new(address, 1, 80)
    };
    let mut server = ProbeServer::new(config, 7);
    let arrival = Arrival {
        from: SocketAddr::from((Ipv4Addr::new(10, 0, 0, 2), 50_000)),
        interface_key: 0,
        local: IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)),
        on_link: true,
    };
    let mut now = Duration::ZERO;
    let mut answers = 0;
    for probe in probes {
        now += Duration::from_micros(5);
        let _ = server.handle_datagram(now, &arrival, probe, |id| store.availability(id)).expect("a good Probe");
        server.handle_timeout(now, |id| store.availability(id));
        while server.poll_transmit().is_some() {
            answers += 1;
        }
    }
    server.handle_timeout(now + Duration::from_secs(1), |id| store.availability(id));
    while server.poll_transmit().is_some() {
        answers += 1;
    }
    assert_eq!(answers, probes.len(), "every Probe is answered");
}
