//! Captures made here: connections and datagrams, one packet a millisecond.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};
use peerdist_node::pcapng::{Direction, InterfaceId, Writer};
use tempfile::TempDir;

/// The bytes of a TCP segment; small enough for every link.
const SEGMENT: usize = 1460;

/// A capture being written.
pub(crate) struct Capture {
    writer: Writer<BufWriter<File>>,
    interface: InterfaceId,
    now: SystemTime,
    connections: u16,
    /// How many bytes of a frame are captured.
    snaplen: usize,
    path: PathBuf,
    /// Frames that are not written yet, where they are held back.
    held: Option<Vec<Vec<u8>>>,
    /// The file goes with it.
    _folder: TempDir,
}

/// A TCP connection from a client to a server.
pub(crate) struct Connection {
    port: u16,
    next: [u32; 2],
}

impl Capture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.pcapng");
        let mut writer = Writer::new(BufWriter::new(File::create(&path).unwrap()), "peerdist").unwrap();
        let interface = writer.interface("lan").unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Self { writer, interface, now, connections: 0, snaplen: usize::MAX, path, held: None, _folder: folder }
    }

    /// The file with everything in it.
    pub(crate) fn file(&mut self) -> &Path {
        self.writer.flush().unwrap();
        &self.path
    }

    /// Frames are held back from now on, until [`Capture::held`].
    pub(crate) fn hold(&mut self) {
        self.held = Some(Vec::new());
    }

    /// The frames that were held back.
    pub(crate) fn held(&mut self) -> Vec<Vec<u8>> {
        self.held.take().unwrap_or_default()
    }

    pub(crate) fn frame(&mut self, frame: &[u8]) {
        if let Some(held) = &mut self.held {
            return held.push(frame.to_vec());
        }
        self.now += Duration::from_millis(1);
        let kept = frame.get(..self.snaplen).unwrap_or(frame);
        self.writer.commented(self.interface, self.now, Direction::Outbound, kept, frame.len(), "").unwrap();
    }

    /// No more than so many bytes of a frame are captured from now on.
    pub(crate) fn cut_at(&mut self, snaplen: usize) {
        self.snaplen = snaplen;
    }

    /// Nothing happens for a while.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn datagram(&mut self, is_answer: bool, payload: &[u8]) {
        let (from, to) = if is_answer { (3702, 50_000) } else { (50_000, 3702) };
        self.datagram_between([from, to], payload);
    }

    /// A datagram from one port to another.
    pub(crate) fn datagram_between(&mut self, [from, to]: [u16; 2], payload: &[u8]) {
        let mut frame = Vec::new();
        let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([192, 0, 2, 1], [192, 0, 2, 2], 1);
        ip.udp(from, to).write(&mut frame, payload).unwrap();
        self.frame(&frame);
    }

    /// A connection from its first packet on.
    pub(crate) fn connect(&mut self) -> Connection {
        let mut connection = self.begun();
        self.segment(&mut connection, 0, b"", |tcp, _| tcp.syn());
        connection.next[0] += 1;
        self.segment(&mut connection, 1, b"", |tcp, seen| tcp.syn().ack(seen));
        connection.next[1] += 1;
        connection
    }

    /// A connection that had begun before the capture did.
    pub(crate) fn begun(&mut self) -> Connection {
        self.connections += 1;
        Connection { port: 20_000 + self.connections, next: [1000, 5000] }
    }

    /// The client of a connection sends bytes.
    pub(crate) fn ask(&mut self, connection: &mut Connection, bytes: &[u8]) {
        self.say(connection, 0, bytes);
    }

    /// The client sends bytes that are not captured.
    pub(crate) fn lose(connection: &mut Connection, bytes: &[u8]) {
        connection.next[0] = connection.next[0].wrapping_add(bytes.len() as u32);
    }

    /// The server does.
    pub(crate) fn answer(&mut self, connection: &mut Connection, bytes: &[u8]) {
        self.say(connection, 1, bytes);
    }

    /// The client acknowledges what it has had, and says nothing.
    pub(crate) fn acknowledge(&mut self, connection: &mut Connection) {
        self.segment(connection, 0, b"", |tcp, seen| tcp.ack(seen));
    }

    /// The client of a connection ends it.
    pub(crate) fn end(&mut self, connection: &mut Connection) {
        self.segment(connection, 0, b"", |tcp, seen| tcp.fin().ack(seen));
        connection.next[0] += 1;
    }

    /// The server breaks it off.
    pub(crate) fn break_off(&mut self, connection: &mut Connection) {
        self.segment(connection, 1, b"", |tcp, seen| tcp.rst().ack(seen));
    }

    fn say(&mut self, connection: &mut Connection, side: usize, bytes: &[u8]) {
        for payload in bytes.chunks(SEGMENT) {
            self.segment(connection, side, payload, |tcp, seen| tcp.psh().ack(seen));
        }
    }

    fn segment(
        &mut self,
        connection: &mut Connection,
        side: usize,
        payload: &[u8],
        flags: fn(PacketBuilderStep<TcpHeader>, u32) -> PacketBuilderStep<TcpHeader>,
    ) {
        let ends = [([192, 0, 2, 1], connection.port), ([192, 0, 2, 2], 8008)];
        let ((from, from_port), (to, to_port)) = (ends[side], ends[1 - side]);
        let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from, to, 64);
        let tcp = ip.tcp(from_port, to_port, connection.next[side], 65_535);
        let mut frame = Vec::new();
        flags(tcp, connection.next[1 - side]).write(&mut frame, payload).unwrap();
        self.frame(&frame);
        connection.next[side] = connection.next[side].wrapping_add(payload.len() as u32);
    }
}
