//! Captures made here: pcapng with Ethernet frames.

use std::net::SocketAddr;

use etherparse::PacketBuilder;

const SECOND: u64 = 1_000_000_000;

/// A capture being written, one packet a millisecond.
pub(crate) struct Capture {
    pub(crate) bytes: Vec<u8>,
    now: u64,
}

impl Capture {
    pub(crate) fn new() -> Self {
        let mut capture = Self { bytes: Vec::new(), now: 1_700_000_000 * SECOND };
        let section = [&0x1A2B_3C4D_u32.to_le_bytes()[..], &[1, 0, 0, 0], &u64::MAX.to_le_bytes()].concat();
        capture.block(0x0A0D_0D0A, &section);
        // Ethernet, no limit, nanoseconds.
        capture.block(1, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        capture
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let length = (body.len() as u32 + 12).to_le_bytes();
        self.bytes.extend([&kind.to_le_bytes()[..], &length, body, &length].concat());
    }

    pub(crate) fn frame(&mut self, frame: &[u8]) {
        self.now += SECOND / 1000;
        let size = (frame.len() as u32).to_le_bytes();
        let halves = [((self.now >> 32) as u32).to_le_bytes(), (self.now as u32).to_le_bytes()].concat();
        let mut body = [&[0; 4][..], &halves, &size, &size, frame].concat();
        body.resize(body.len().next_multiple_of(4), 0);
        self.block(6, &body);
    }

    pub(crate) fn udp(&mut self, from: &str, to: &str, payload: &[u8]) {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let mut frame = Vec::new();
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        match (from, to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                let ip = ethernet.ipv4(from.ip().octets(), to.ip().octets(), 1);
                ip.udp(from.port(), to.port()).write(&mut frame, payload).unwrap();
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                let ip = ethernet.ipv6(from.ip().octets(), to.ip().octets(), 1);
                ip.udp(from.port(), to.port()).write(&mut frame, payload).unwrap();
            }
            _ => panic!("two families"),
        }
        self.frame(&frame);
    }
}

/// One direction of a TCP connection, whose segments go into a capture as the test says.
pub(crate) struct Sender {
    from: SocketAddr,
    to: SocketAddr,
    pub(crate) next: u32,
    /// What it acknowledges.
    pub(crate) acknowledged: u32,
}

impl Sender {
    pub(crate) fn new(from: &str, to: &str, first: u32) -> Self {
        Self { from: from.parse().unwrap(), to: to.parse().unwrap(), next: first, acknowledged: 0 }
    }

    /// The frame of a segment at a sequence number.
    pub(crate) fn at(&self, sequence: u32, payload: &[u8], flag: Option<char>) -> Vec<u8> {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (self.from, self.to) else { panic!("IPv4") };
        let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from.ip().octets(), to.ip().octets(), 64);
        let tcp = ip.tcp(from.port(), to.port(), sequence, 65_535);
        let tcp = match flag {
            Some('S') => tcp.syn(),
            Some('F') => tcp.fin(),
            Some('R') => tcp.rst(),
            _ => tcp,
        };
        let mut frame = Vec::new();
        tcp.ack(self.acknowledged).write(&mut frame, payload).unwrap();
        frame
    }

    /// Sends bytes in order, in segments of `size`.
    pub(crate) fn say(&mut self, capture: &mut Capture, bytes: &[u8], size: usize) {
        for payload in bytes.chunks(size) {
            capture.frame(&self.at(self.next, payload, None));
            self.next = self.next.wrapping_add(payload.len() as u32);
        }
    }

    pub(crate) fn end(&mut self, capture: &mut Capture) {
        capture.frame(&self.at(self.next, b"", Some('F')));
    }
}
