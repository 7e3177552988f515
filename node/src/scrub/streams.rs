//! Connections as they are written. HTTP says by the order alone which request an answer belongs to: a request is written
//! when the one before it has its answer, and one whose answer is not here is followed by a head that says so.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::SocketAddr;

use crate::decode::Nanoseconds;
use crate::pcapng::Wire;

/// What stands for an answer that is not here: a head without a status, which nobody takes for an answer.
const NO_ANSWER: &[u8] = b"HTTP/1.1 left-out\r\nContent-Length: 0\r\n\r\n";

/// The most connections on which requests wait for their answers.
const MAX_CONNECTIONS: usize = 65_536;
/// The most bytes of requests that wait for the answer of the one before them.
const MAX_HELD: usize = 16 << 20;
/// What such a request takes beside its bytes.
const PER_REQUEST: usize = 128;

/// A message as it is written.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) began: Nanoseconds,
    pub(super) ended: Nanoseconds,
    pub(super) bytes: Vec<u8>,
}

/// Writes the messages of connections.
#[derive(Debug)]
pub(super) struct Streams<W> {
    pub(super) wire: Wire<W>,
    /// The connections on which a request waits for its answer, by the lower and the higher end.
    waiting: HashMap<[SocketAddr; 2], Waiting>,
    /// What the requests behind it take.
    held: usize,
}

#[derive(Debug)]
struct Waiting {
    /// The number of the request that was written.
    request: u64,
    from: SocketAddr,
    to: SocketAddr,
    ended: Nanoseconds,
    /// Those that were asked before its answer came.
    behind: VecDeque<(u64, Part)>,
}

impl<W: Write> Streams<W> {
    pub(super) fn new(wire: Wire<W>) -> Self {
        Self { wire, waiting: HashMap::new(), held: 0 }
    }

    /// A request. Returns whether there is room for it.
    pub(super) fn request(&mut self, number: u64, part: Part) -> io::Result<bool> {
        let ends = ends(part.from, part.to);
        let count = self.waiting.len();
        let Some(waiting) = self.waiting.get_mut(&ends) else {
            if count >= MAX_CONNECTIONS {
                return Ok(false);
            }
            self.begin(number, part, VecDeque::new())?;
            return Ok(true);
        };
        let size = part.bytes.len() + PER_REQUEST;
        if self.held + size > MAX_HELD {
            return Ok(false);
        }
        self.held += size;
        waiting.behind.push_back((number, part));
        Ok(true)
    }

    /// Whether a request waits for its answer.
    pub(super) fn waits(&self, number: u64, one: SocketAddr, other: SocketAddr) -> bool {
        self.waiting.get(&ends(one, other)).is_some_and(|waiting| {
            waiting.request == number || waiting.behind.iter().any(|(behind, _)| *behind == number)
        })
    }

    /// The answer to a request of this number. Returns whether it was written: only where the request waits for it.
    pub(super) fn answer(&mut self, number: u64, part: &Part) -> io::Result<bool> {
        let ends = ends(part.from, part.to);
        if !self.waits(number, part.from, part.to) {
            return Ok(false);
        }
        while self.waiting.get(&ends).is_some_and(|waiting| waiting.request != number) {
            self.lose(ends)?;
        }
        self.write(part)?;
        self.next(ends)?;
        Ok(true)
    }

    /// An answer to a request that nobody knows: it is not that of one that waits.
    pub(super) fn lone_answer(&mut self, part: &Part) -> io::Result<()> {
        let ends = ends(part.from, part.to);
        while self.waiting.contains_key(&ends) {
            self.lose(ends)?;
        }
        self.write(part)
    }

    /// An interim answer, behind which the answer comes.
    pub(super) fn interim(&mut self, part: &Part) -> io::Result<()> {
        self.write(part)
    }

    /// The answer of a request is not here, or nobody knows which one it is.
    pub(super) fn no_answer(&mut self, number: u64, from: SocketAddr, to: SocketAddr) -> io::Result<()> {
        while self.waits(number, from, to) {
            self.lose(ends(from, to))?;
        }
        Ok(())
    }

    /// A request got no answer until its connection ended.
    pub(super) fn ended(&mut self, number: u64, from: SocketAddr, to: SocketAddr) -> io::Result<()> {
        if !self.waits(number, from, to) {
            return Ok(());
        }
        let Some(waiting) = self.waiting.remove(&ends(from, to)) else { return Ok(()) };
        for (_, part) in waiting.behind {
            self.held -= part.bytes.len() + PER_REQUEST;
            self.write(&part)?;
        }
        self.wire.end(from, to);
        Ok(())
    }

    /// There is no more.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            for (_, part) in waiting.behind {
                self.write(&part)?;
            }
        }
        self.wire.flush()
    }

    /// The answer that is due is not here.
    fn lose(&mut self, ends: [SocketAddr; 2]) -> io::Result<()> {
        if let Some(Waiting { from, to, ended, .. }) = self.waiting.get(&ends) {
            self.wire.stream(*ended, *to, *from, NO_ANSWER)?;
        }
        self.next(ends)
    }

    /// The request that waits has its answer.
    fn next(&mut self, ends: [SocketAddr; 2]) -> io::Result<()> {
        let Some(mut waiting) = self.waiting.remove(&ends) else { return Ok(()) };
        let Some((number, part)) = waiting.behind.pop_front() else { return Ok(()) };
        self.held -= part.bytes.len() + PER_REQUEST;
        self.begin(number, part, waiting.behind)
    }

    fn begin(&mut self, request: u64, part: Part, behind: VecDeque<(u64, Part)>) -> io::Result<()> {
        self.write(&part)?;
        let Part { from, to, ended, .. } = part;
        self.waiting.insert(ends(from, to), Waiting { request, from, to, ended, behind });
        Ok(())
    }

    /// Writes a message in two pieces where its first byte did not come with its last one.
    fn write(&mut self, part: &Part) -> io::Result<()> {
        let Part { from, to, began, ended, bytes } = part;
        let first_line = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (first, rest) = if began == ended { (&bytes[..], &[][..]) } else { bytes.split_at(first_line) };
        self.wire.stream(*began, *from, *to, first)?;
        self.wire.stream(*ended, *from, *to, rest)
    }
}

/// Both ends of a connection, the lower one first.
fn ends(one: SocketAddr, other: SocketAddr) -> [SocketAddr; 2] {
    if one <= other { [one, other] } else { [other, one] }
}
