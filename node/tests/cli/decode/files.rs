//! `peerdist decode` and files: what a capture may have beside packets, and captures that grow.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::capture::{Capture, Sender};
use super::{CLIENT, Content, SERVER, decode, names, objects, post, two_exchanges, vector};
use crate::run::command;

const NEGO_REQ: &str = "pccrr/nego_req_1_0_only.bin";

/// A pcapng file in either byte order.
struct Sections {
    bytes: Vec<u8>,
    is_big: bool,
}

impl Sections {
    /// A file with a section header and nothing else.
    fn new(is_big: bool) -> Self {
        let mut file = Self { bytes: Vec::new(), is_big };
        let header = [file.long(0x1A2B_3C4D), file.short(1), file.short(0), vec![0xff; 8]].concat();
        file.block(0x0A0D_0D0A, &header);
        file
    }

    fn short(&self, number: u16) -> Vec<u8> {
        if self.is_big { number.to_be_bytes() } else { number.to_le_bytes() }.to_vec()
    }

    fn long(&self, number: u32) -> Vec<u8> {
        if self.is_big { number.to_be_bytes() } else { number.to_le_bytes() }.to_vec()
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let length = self.long(body.len() as u32 + 12);
        self.bytes.extend([self.long(kind), length.clone(), body.to_vec(), length].concat());
    }

    /// A raw IP interface with these options.
    fn interface(&mut self, options: &[(u16, &[u8])]) {
        let mut body = [self.short(101), self.short(0), self.long(0)].concat();
        for (code, value) in options {
            body.extend([self.short(*code), self.short(value.len() as u16), value.to_vec()].concat());
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body);
    }

    /// The Probe of an interface, at these units.
    fn probe(&mut self, interface: u32, units: u64) {
        let packet = probe();
        let (high, low, size) = (self.long((units >> 32) as u32), self.long(units as u32), packet.len() as u32);
        let mut body = [self.long(interface), high, low, self.long(size), self.long(size), packet].concat();
        body.resize(body.len().next_multiple_of(4), 0);
        self.block(6, &body);
    }
}

/// An IP packet with a Probe.
fn probe() -> Vec<u8> {
    let mut packet = Vec::new();
    let ip = etherparse::PacketBuilder::ipv4([192, 0, 2, 1], [239, 255, 255, 250], 1).udp(5000, 3702);
    ip.write(&mut packet, &vector("pccrd/probe_v1.xml")).unwrap();
    packet
}

fn time_of_first(file: &[u8]) -> Value {
    objects(file, &[])[0]["time"].clone()
}

#[test]
fn times_have_the_resolution_and_the_offset_of_their_interface_in_both_byte_orders() {
    const IF_TSRESOL: u16 = 9;
    const IF_TSOFFSET: u16 = 14;
    let cases: [(u8, u64, &str); 8] = [
        (6, 1_700_000_000_500_000, "1700000000.500000000"),
        (0, 1_700_000_000, "1700000000.000000000"),
        (0x80, 1_700_000_000, "1700000000.000000000"),
        (0x80 | 20, 1_700_000_000 << 20 | 1 << 18, "1700000000.250000000"),
        (0x80 | 62, 3 << 61, "1.500000000"),
        (0x80 | 127, u64::MAX, "0.000000000"),
        (19, 15_000_000_000_000_000_000, "1.500000000"),
        (20, 15_000_000_000_000_000_000, "0.150000000"),
    ];
    for is_big in [false, true] {
        for (resolution, units, expected) in cases {
            let mut file = Sections::new(is_big);
            file.interface(&[(IF_TSRESOL, &[resolution])]);
            file.probe(0, units);
            assert_eq!(time_of_first(&file.bytes), expected, "{resolution:#x}");
        }
        let mut file = Sections::new(is_big);
        let offset = if is_big { 1_700_000_000_i64.to_be_bytes() } else { 1_700_000_000_i64.to_le_bytes() };
        file.interface(&[(IF_TSRESOL, &[127]), (IF_TSOFFSET, &offset)]);
        file.probe(0, u64::MAX);
        assert_eq!(time_of_first(&file.bytes), "1700000000.000000000");
    }
}

#[test]
fn blocks_that_nobody_needs_are_skipped_whatever_is_in_them() {
    for is_big in [false, true] {
        let mut file = Sections::new(is_big);
        file.interface(&[]);
        // Names without the record that ends them, custom blocks without a number, and types of other programs.
        let records = [file.short(1), file.short(8), b"\x01\x02\x03\x04abc\0".to_vec()].concat();
        let blocks = [
            (4, &records[..]),
            (0xBAD, b""),
            (0x4000_0BAD, b""),
            (5, b""),
            (9, b""),
            (0x201, b""),
            (0x8000_0001, b"1234"),
        ];
        for (kind, body) in blocks {
            file.block(kind, body);
            file.probe(0, 0);
        }
        file.block(0xBAD, &vec![7; 40 << 20]);
        file.probe(0, 0);
        // An old program's packet.
        let packet = probe();
        let size = file.long(packet.len() as u32);
        let head = [file.short(0), file.short(0), file.long(0), file.long(7), size.clone(), size].concat();
        let mut body = [head, packet].concat();
        body.resize(body.len().next_multiple_of(4), 0);
        file.block(2, &body);
        let ran = decode(&file.bytes, &["--json"]);
        assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (blocks.len() + 2, ""));
        let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(last["time"], "0.000007000");
    }
}

#[test]
fn packets_of_interfaces_that_are_not_described_are_counted() {
    let mut file = Sections::new(false);
    file.interface(&[]);
    file.probe(1, 0);
    file.probe(0, 0);
    let mut body = file.long(7);
    body.extend([0; 24]);
    file.block(2, &body);
    let ran = decode(&file.bytes, &["--json"]);
    assert_eq!((ran.status, ran.stdout.lines().count()), (0, 1));
    assert!(ran.stderr.contains("2 packets of interfaces that the capture does not describe"), "{}", ran.stderr);
}

#[test]
fn blocks_that_lie_about_their_size_end_the_reading() {
    let cases: [(u32, Vec<u8>, &str); 4] = [
        (6, vec![0xff; 40], "a block is damaged"),
        (2, vec![0xff; 40], "a block is damaged"),
        (1, vec![], "a block is damaged"),
        (6, vec![0; 17 << 20], "a block is larger than any packet"),
    ];
    for (kind, body, why) in cases {
        let mut file = Sections::new(false);
        file.interface(&[]);
        file.probe(0, 0);
        file.block(kind, &body);
        file.probe(0, 0);
        let ran = decode(&file.bytes, &["--json"]);
        assert_eq!((ran.status, ran.stdout.lines().count()), (0, 1), "{why}");
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    }
    // Both lengths of a block are the same.
    let mut file = Sections::new(false);
    file.interface(&[]);
    file.block(0xBAD, b"1234");
    *file.bytes.last_mut().unwrap() = 1;
    assert!(decode(&file.bytes, &[]).stderr.contains("a block is damaged"));
    for length in [0, 8, 11] {
        let mut file = Sections::new(false);
        file.interface(&[]);
        file.bytes.extend([file.long(0xBAD), file.long(length), file.long(length)].concat());
        assert!(decode(&file.bytes, &[]).stderr.contains("a block is damaged"));
    }
}

#[test]
fn a_capture_that_is_cut_off_is_read_as_far_as_it_goes() {
    let (capture, _) = two_exchanges(&Content::new(), 1460);
    for length in (100..capture.len()).step_by(capture.len() / 40) {
        let ran = decode(&capture[..length], &["--json"]);
        let is_clean = ran.stderr.is_empty();
        assert!(is_clean || ran.stderr.contains("ends inside a block"), "{}", ran.stderr);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
    }
    let ran = decode(&capture[..capture.len() - 1], &["--json"]);
    assert_eq!((ran.status, ran.stdout.lines().count()), (0, 4));
    assert!(ran.stderr.contains("it ends inside a block"), "{}", ran.stderr);
    let mut spoilt = capture.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle..].fill(0xff);
    let ran = decode(&spoilt, &["--json"]);
    assert_eq!(ran.status, 0);
    assert!(ran.stdout.contains("MSG_GETBLKS") && !ran.stderr.is_empty(), "{}", ran.stderr);
    let header_only = [&capture[..4], &[0x55; 500]].concat();
    assert!(decode(&header_only, &[]).error(8).contains("begins like a capture"));
}

#[test]
fn classic_pcap_is_read_in_both_byte_orders() {
    let datagram = vector("pccrd/probe_v1.xml");
    let mut frame = Vec::new();
    let ip = etherparse::PacketBuilder::ipv4([192, 0, 2, 1], [239, 255, 255, 250], 1).udp(5000, 3702);
    ip.write(&mut frame, &datagram).unwrap();
    type Encode = fn(u32) -> [u8; 4];
    for (encode, half) in [(u32::to_le_bytes as Encode, [2, 0, 4, 0]), (u32::to_be_bytes, [0, 2, 0, 4])] {
        for (magic, expected) in [(0xa1b2_c3d4_u32, "5.000007000"), (0xa1b2_3c4d, "5.000000007")] {
            let header = [&encode(magic)[..], &half, &[0; 8], &encode(65_535), &encode(101)].concat();
            let size = encode(frame.len() as u32);
            let file = [&header[..], &encode(5), &encode(7), &size, &size, &frame].concat();
            let found = objects(&file, &[]);
            assert_eq!(names(&found), ["Probe"]);
            assert_eq!(found[0]["time"], expected);
        }
    }
}

#[test]
fn a_capture_that_ends_inside_its_first_packet_is_one_without_packets() {
    let mut sections = Sections::new(false);
    sections.interface(&[]);
    let before = sections.bytes.len();
    sections.probe(0, 0);
    let header = [&0xa1b2_c3d4_u32.to_le_bytes()[..], &[2, 0, 4, 0], &[0; 12], &101_u32.to_le_bytes()].concat();
    let classic = [&header[..], &[0; 8], &[200, 0, 0, 0, 200, 0, 0, 0], &[7; 50]].concat();
    for (file, complete) in [(&sections.bytes[..before + 40], before), (&classic, header.len())] {
        let cut = decode(file, &[]);
        assert_eq!((cut.status, cut.stdout.as_str()), (0, ""), "{}", cut.stderr);
        assert!(cut.stderr.contains("it ends inside a block; 0 packets were read"), "{}", cut.stderr);
        let empty = decode(&file[..complete], &[]);
        assert_eq!((empty.status, empty.stderr.as_str()), (0, ""));
        assert!(decode(&file[..20], &[]).error(8).contains("begins like a capture, but it ends"));
    }
}

/// A `peerdist decode -` that is fed piece by piece.
struct Live {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Live {
    fn new(words: &[&str]) -> Self {
        let piped = || Stdio::piped();
        let mut child = command([&["decode", "-"], words].concat()).stdin(piped()).stdout(piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// The next line; the process waits for more input meanwhile.
    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(60)).expect("a line while the capture grows")
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_capture_that_grows_is_shown_message_by_message() {
    for words in [&["--json"][..], &[], &["--summary"]] {
        let mut live = Live::new(words);
        let (mut capture, mut asks) = (Capture::new(), Sender::new(CLIENT, SERVER, 0));
        let mut answers = Sender::new(SERVER, CLIENT, 0);
        for _ in 0..3 {
            asks.say(&mut capture, &post(peerdist_protocol::retrieval::PATH, &vector(NEGO_REQ)), 1460);
            answers.say(&mut capture, &super::ok(&vector("pccrr/nego_resp_1_0_only.bin")), 1460);
            live.write(&std::mem::take(&mut capture.bytes));
            while !live.line().contains("MSG_NEGO_RESP") {}
        }
    }
}
