//! What the fuzzers begin with: the vectors of the protocol's tests and the captures, cut into what each target takes.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use peerdist_node::config::DEFAULT_FILE;
use peerdist_node::decode::{Captured, packets};
use peerdist_protocol::content::{ServerSecret, secret_file};
use peerdist_protocol::hosted_cache::Version;
use peerdist_protocol::retrieval::PATH;
use peerdist_protocol::schema::{recognise, tables};
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use super::content::PASSPHRASE;
use super::conversation::script_of;

/// The longest seed in bytes: long inputs make fuzzers slow.
const MAX_SEED: usize = 16 << 10;
/// The offset of the segment in a SEGMENT_INFO_MESSAGE ([MS-PCHC] 2.2.1.4).
const SEGMENT_INFORMATION: usize = 32;

/// The seeds of a target. Panics where the tree's files cannot be read.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = all_seeds(target);
    seeds.retain(|seed| seed.len() <= MAX_SEED);
    seeds
}

fn all_seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "capture" => captures().into_iter().flat_map(|bytes| [legacy(&bytes), cut(bytes, MAX_SEED)]).collect(),
        "content" => {
            let offers = vectors("pchc", "bin").into_iter();
            let segments = offers.filter_map(|offer| Some(offer.get(SEGMENT_INFORMATION..)?.to_vec()));
            let secret = secret_file::write(&ServerSecret::from_passphrase("seed"), PASSPHRASE);
            vectors("pccrc", "bin").into_iter().chain(segments).chain([secret]).collect()
        }
        "conversation" => captures().iter().map(|bytes| conversation(bytes)).chain(posts()).collect(),
        "datagram" => vectors("pccrd", "xml").into_iter().chain(payloads(b"<?xml")).collect(),
        "hosted_cache" => vectors("pchc", "bin"),
        "http" => heads(),
        "retrieval" => vectors("pccrr", "bin"),
        "schema" => {
            let folders = ["pccrc", "pccrr", "pchc"].into_iter();
            folders.flat_map(|folder| vectors(folder, "bin")).filter_map(with_structure).collect()
        }
        "text" => vec![DEFAULT_FILE.into(), b"[features]\nPeerDist = true\nSMBHashGeneration = false\n".to_vec()],
        // Scripts: whatever the bytes are, something happens.
        _ => scripts(),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a folder with this extension, in the order of their names.
fn files(folder: &Path, extension: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed can be read")).collect()
}

fn vectors(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    files(&root().join("protocol/tests/vectors").join(folder), extension)
}

fn captures() -> Vec<Vec<u8>> {
    files(&root().join("pcaps"), "pcapng")
}

fn cut(mut bytes: Vec<u8>, size: usize) -> Vec<u8> {
    bytes.truncate(size);
    bytes
}

/// The first packets of a capture in the older format.
fn legacy(capture: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let each = |captured: Captured<'_>| {
        let Captured::Packet(packet) = captured else { return Ok(()) };
        if bytes.is_empty() {
            let numbers = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0x4_0000, packet.link as u32];
            bytes.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
        }
        let size = packet.data.len() as u32;
        if bytes.len() + packet.data.len() < MAX_SEED {
            bytes.extend([packet.number as u32, 0, size, size].into_iter().flat_map(u32::to_le_bytes));
            bytes.extend(packet.data);
        }
        Ok::<_, Infallible>(())
    };
    let Ok(_) = packets(capture, each);
    bytes
}

/// What packets of a capture carry, from where it begins like this. The headers before it are never longer.
fn carried(capture: &[u8], start: &[u8]) -> Vec<Vec<u8>> {
    const HEADERS: usize = 160;
    let mut found = Vec::new();
    let each = |captured: Captured<'_>| {
        let Captured::Packet(packet) = captured else { return Ok(()) };
        let at = packet.data.windows(start.len()).take(HEADERS).position(|window| window == start);
        found.extend(at.map(|at| packet.data[at..].to_vec()));
        Ok::<_, Infallible>(())
    };
    let Ok(_) = packets(capture, each);
    found
}

fn payloads(start: &[u8]) -> Vec<Vec<u8>> {
    captures().iter().flat_map(|capture| carried(capture, start)).collect()
}

/// All requests of a capture and all responses, as one connection.
fn conversation(capture: &[u8]) -> Vec<u8> {
    let requests = [carried(capture, b"GET /"), carried(capture, b"POST /")].concat().concat();
    let responses = carried(capture, b"HTTP/1.1 ").concat();
    script_of(&cut(requests, MAX_SEED / 4), &cut(responses, MAX_SEED / 2))
}

/// Every message of MS-PCCRR and MS-PCHC as a request and as a response.
fn posts() -> Vec<Vec<u8>> {
    let mut scripts = Vec::new();
    for folder in ["pccrr", "pchc"] {
        for body in vectors(folder, "bin") {
            let path = match (folder, body.as_slice()) {
                ("pccrr", _) => PATH,
                (_, [_, 1, ..]) => Version::V1.path(),
                _ => Version::V2.path(),
            };
            let length = body.len();
            let mut request = format!("POST {path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n").into_bytes();
            let mut response =
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n").into_bytes();
            request.extend(&body);
            response.extend(&body);
            response.extend(b"\r\n0\r\n\r\n");
            scripts.push(script_of(&request, &response));
        }
    }
    scripts
}

fn heads() -> Vec<Vec<u8>> {
    const HEADS: [&str; 8] = [
        "GET /f HTTP/1.1\r\nAccept-Encoding: gzip, peerdist;q=0.5\r\nX-P2P-PeerDist: Version=1.1\r\nX-P2P-PeerDistEx: \
         MinContentInformation=1.0, MaxContentInformation=2.0, HashRequest=true\r\nRange: bytes=5-9, -3\r\n\r\n",
        "GET /f HTTP/1.1\r\nX-P2P-PeerDist: Version=1.0, MissingDataRequest=true\r\nIf-Match: \"a\"\r\n\r\n",
        "HTTP/1.1 206 Partial\r\nContent-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1, ContentLength=95\r\n\
         Content-Range: bytes 5-99/100\r\nETag: W/\"x\"\r\nLast-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-P2P-PeerDistEx: MakeHashRequest=true\r\nContent-Type: multipart/byteranges\r\n\r\n",
        "bytes=0-4, 5-, -6",
        "bytes 0-99/100",
        "bytes 5-6/*",
        "W/\"tag\", \"other\"",
    ];
    let pieces = [&b"GET /"[..], b"POST /", b"HTTP/1.1 "].into_iter().flat_map(payloads);
    let mut heads: Vec<_> = HEADS.into_iter().map(Vec::from).chain(pieces).collect();
    heads.sort();
    heads.dedup();
    heads
}

fn with_structure(mut message: Vec<u8>) -> Option<Vec<u8>> {
    let structure = recognise(&message)?;
    let which = tables::ALL.iter().position(|known| known.name == structure.name)?;
    message.insert(0, u8::try_from(which).ok()?);
    Some(message)
}

fn scripts() -> Vec<Vec<u8>> {
    let mut random = SmallRng::seed_from_u64(1);
    let mut script = |_| {
        let mut bytes = vec![0; random.random_range(10..300)];
        random.fill_bytes(&mut bytes);
        bytes
    };
    (0..50).map(&mut script).collect()
}
