//! `peerdist scrub` where answers are left out, lost, or late: no other one is taken for them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use peerdist_node::pcapng::Wire;
use serde_json::Value;
use tempfile::TempDir;

use crate::run::{Ran, command};

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// It says that it is encoded, and is not.
const BAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Encoding: peerdist\r\nContent-Length: 0\r\n\r\n";
/// It is not captured.
const LOST: &[u8] = b"HTTP/1.1 200 Lost\r\nContent-Length: 0\r\n\r\n";

struct Capture {
    wire: Wire<File>,
    folder: TempDir,
}

impl Capture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wire = Wire::new(File::create(folder.path().join("capture")).unwrap(), "test").unwrap();
        Self { wire, folder }
    }

    fn client(&mut self, at: u64, bytes: &[u8]) -> &mut Self {
        self.wire.stream(at, CLIENT.into(), SERVER.into(), bytes).unwrap();
        self
    }

    fn server(&mut self, at: u64, bytes: &[u8]) -> &mut Self {
        self.wire.stream(at, SERVER.into(), CLIENT.into(), bytes).unwrap();
        self
    }

    /// The next segments are of another connection on the same ports.
    fn end(&mut self) -> &mut Self {
        self.wire.end(CLIENT.into(), SERVER.into());
        self
    }

    /// Takes the packets out that say that they were not captured.
    fn lose(&self) {
        let path = self.folder.path().join("capture");
        let bytes = fs::read(&path).unwrap();
        let (mut kept, mut rest) = (Vec::new(), &bytes[..]);
        while let Some(length) = rest.get(4..8) {
            let length = u32::from_le_bytes(length.try_into().unwrap());
            let (block, behind) = rest.split_at(usize::try_from(length).unwrap());
            if !block.windows(LOST.len()).any(|part| part == LOST) {
                kept.extend_from_slice(block);
            }
            rest = behind;
        }
        fs::write(path, kept).unwrap();
    }

    /// What `decode` says of what is left: how long the answer of each request took, in nanoseconds, if it has one.
    fn scrubbed(&mut self) -> Vec<Option<u64>> {
        self.wire.flush().unwrap();
        self.lose();
        let [capture, scrubbed] = ["capture", "scrubbed"].map(|name| self.folder.path().join(name));
        assert_eq!(Ran::of(with(&["scrub"], &[&capture, &scrubbed])).status, 0);
        let ran = Ran::of(with(&["decode", "--json", "--summary"], &[&scrubbed]));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let exchanges: BTreeMap<_, _> = lines
            .filter_map(|line| {
                let took = line["took"].as_str().map(|took| took.replace('.', "").parse().unwrap());
                Some((line["request_number"].as_u64()?, took))
            })
            .collect();
        exchanges.into_values().collect()
    }
}

const CLIENT: ([u8; 4], u16) = ([10, 77, 0, 1], 20_000);
const SERVER: ([u8; 4], u16) = ([10, 77, 0, 2], 80);

fn with(words: &[&str], files: &[&Path]) -> std::process::Command {
    let mut peerdist = command(words);
    peerdist.args(files);
    peerdist
}

fn get(name: &str) -> Vec<u8> {
    format!("GET /{name} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0\r\n\r\n")
        .into()
}

#[test]
fn an_answer_that_is_left_out_leaves_its_request_without_the_next_one() {
    let mut capture = Capture::new();
    capture.client(100, &get("a")).server(110, BAD).client(200, &get("b")).server(220, BAD);
    capture.client(300, &get("c")).server(330, GOOD).client(400, &get("d")).server(440, BAD);
    assert_eq!(capture.scrubbed(), [None, None, Some(30), None]);
}

#[test]
fn requests_that_are_asked_before_the_answer_comes_keep_theirs() {
    let mut capture = Capture::new();
    capture.client(100, &[get("a"), get("b"), get("c")].concat());
    capture.server(110, GOOD).server(120, BAD).server(130, GOOD);
    assert_eq!(capture.scrubbed(), [Some(10), None, Some(30)]);
}

#[test]
fn a_request_without_an_answer_gets_none_of_the_next_connection() {
    let mut capture = Capture::new();
    capture.client(100, &get("a")).end().client(200, &get("b")).server(210, GOOD);
    assert_eq!(capture.scrubbed(), [None, Some(10)]);
}

#[test]
fn a_lost_answer_leaves_its_request_without_the_next_one() {
    let mut capture = Capture::new();
    // Only the second request says that its answer came.
    capture.client(100, &get("a")).server(110, LOST).client(200, &get("b")).server(220, GOOD);
    capture.client(300, &get("c")).server(330, GOOD);
    assert_eq!(capture.scrubbed(), [None, Some(20), Some(30)]);
}

#[test]
fn a_message_of_many_packets_ends_when_it_did() {
    let mut capture = Capture::new();
    let request = get("a");
    let (first, rest) = request.split_at(10);
    let (head, end) = GOOD.split_at(GOOD.len() - 2);
    capture.client(100, first).client(130, rest).server(140, head).server(150, end);
    assert_eq!(capture.scrubbed(), [Some(50)]);
}
