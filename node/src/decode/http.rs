//! HTTP/1.x taken apart: the messages of one direction of a connection, out of pieces of any size.

use super::file::Nanoseconds;
use super::tcp::{Budget, Piece};

/// The largest head that is read, in bytes.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 128;
/// The longest line of a chunked body that has a size or a trailer.
const MAX_LINE: usize = 8 << 10;
/// What a header line takes beside its text.
const PER_LINE: usize = 96;

/// What messages begin with.
const STARTS: [&[u8]; 9] =
    [b"HTTP/1.", b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PATCH "];

/// The head of a message.
#[derive(Debug, Clone)]
pub(super) struct Head {
    bytes: Vec<u8>,
    pub(super) start: Start,
    /// Offset of the value in the head, name, value.
    lines: Vec<(usize, String, String)>,
}

/// The first line of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Request { method: String, target: String, http_1_1: bool },
    Response { status: u16 },
}

/// A message, as far as it was there.
#[derive(Debug)]
pub(super) struct Received<C> {
    pub(super) head: Head,
    /// What [`Wish`] said of it.
    pub(super) context: C,
    /// The bytes of the body that were asked for, up to the first that is missing.
    pub(super) body: Vec<u8>,
    /// Why the body is not whole.
    pub(super) cut: Option<&'static str>,
    pub(super) began: Nanoseconds,
    pub(super) ended: Nanoseconds,
}

/// What is to be done with the body of a message.
#[derive(Debug)]
pub(super) struct Wish<C> {
    /// Whether there is one: the answer to HEAD has none, whatever its head says.
    pub(super) has_body: bool,
    /// How many bytes of it are wanted.
    pub(super) keep: usize,
    pub(super) context: C,
}

/// Reads one direction.
#[derive(Debug)]
pub(super) struct Reader<C> {
    state: State<C>,
}

#[derive(Debug)]
enum State<C> {
    /// A head that is not whole yet.
    Head {
        bytes: Vec<u8>,
        began: Nanoseconds,
    },
    Body(Box<Body<C>>),
    /// Not HTTP, or HTTP whose place was lost. A segment that begins like a message ends it.
    Lost,
}

#[derive(Debug)]
struct Body<C> {
    message: Received<C>,
    framing: Framing,
    keep: usize,
    /// What of `keep` was taken from the budget.
    taken: usize,
}

#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked(Chunk),
    Close,
}

#[derive(Debug)]
enum Chunk {
    /// The line with the next chunk's size.
    Size(Vec<u8>),
    Data(u64),
    /// The line end behind a chunk.
    End(u8),
    /// The lines behind the last chunk.
    Trailer(Vec<u8>),
}

impl<C> Default for Reader<C> {
    fn default() -> Self {
        Self { state: State::idle() }
    }
}

impl<C> State<C> {
    fn idle() -> Self {
        Self::Head { bytes: Vec::new(), began: 0 }
    }
}

impl<C> Reader<C> {
    /// Whether the place in the stream was lost, or it is no HTTP.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// The memory that is not taken from a budget: that of heads and lines. Bodies are.
    pub(super) fn held(&self) -> usize {
        match &self.state {
            State::Head { bytes, .. } => bytes.capacity(),
            State::Body(body) => body.message.head.held() + body.framing.held(),
            State::Lost => 0,
        }
    }

    /// Gives up what is held.
    pub(super) fn give_up(&mut self, budget: &mut Budget) {
        if let State::Body(body) = std::mem::replace(&mut self.state, State::Lost) {
            budget.give_back(body.taken);
        }
    }

    /// Takes a piece up to the end of the next message, which it returns; what follows is left in `piece`. `wish` is
    /// asked at every head.
    pub(super) fn next(
        &mut self,
        piece: &mut Piece<'_>,
        now: Nanoseconds,
        budget: &mut Budget,
        wish: &mut impl FnMut(&Head) -> Wish<C>,
    ) -> Option<Received<C>> {
        match std::mem::replace(piece, Piece::Data(&[])) {
            Piece::Data(mut data) => {
                let message = self.data(&mut data, now, budget, wish);
                *piece = Piece::Data(data);
                message
            }
            Piece::Gap(size) => self.gap(size, now, budget),
            Piece::End => self.end(now, budget),
        }
    }

    fn data(
        &mut self,
        data: &mut &[u8],
        now: Nanoseconds,
        budget: &mut Budget,
        wish: &mut impl FnMut(&Head) -> Wish<C>,
    ) -> Option<Received<C>> {
        while !data.is_empty() {
            match &mut self.state {
                State::Lost if begins(data) => self.state = State::idle(),
                State::Lost => *data = &[],
                State::Head { bytes, began } => {
                    if bytes.is_empty() {
                        // Line ends between messages have no meaning (RFC 9112, 2.2).
                        while let [b'\r' | b'\n', rest @ ..] = data {
                            *data = rest;
                        }
                        *began = now;
                    }
                    let end = head_end(bytes, data);
                    let (head, rest) = data.split_at_checked(end.unwrap_or(data.len())).unwrap_or((data, &[]));
                    if bytes.len() + head.len() > MAX_HEAD {
                        self.state = State::Lost;
                        *data = &[];
                        continue;
                    }
                    bytes.extend_from_slice(head);
                    *data = rest;
                    if end.is_none() {
                        if !begins(bytes) {
                            self.state = State::Lost;
                        }
                        continue;
                    }
                    let (bytes, began) = (std::mem::take(bytes), *began);
                    let Some(head) = Head::read(bytes) else {
                        self.state = State::Lost;
                        continue;
                    };
                    let message = self.begin(head, began, now, wish);
                    if message.is_some() {
                        return message;
                    }
                }
                State::Body(body) => {
                    *data = body.data(data, budget);
                    if body.is_whole() {
                        return self.leave(None, State::idle(), now, budget);
                    }
                    if body.is_broken() {
                        let cut = Some("the chunks of the body are badly formed");
                        return self.leave(cut, State::Lost, now, budget);
                    }
                }
            }
        }
        None
    }

    /// A head is there: it is the message, or a body follows it.
    fn begin(
        &mut self,
        head: Head,
        began: Nanoseconds,
        now: Nanoseconds,
        wish: &mut impl FnMut(&Head) -> Wish<C>,
    ) -> Option<Received<C>> {
        let Wish { has_body, keep, context } = wish(&head);
        let framing = if has_body { head.framing() } else { None };
        let message = Received { head, context, body: Vec::new(), cut: None, began, ended: now };
        match framing {
            None | Some(Framing::Length(0)) => {
                self.state = State::idle();
                Some(message)
            }
            Some(framing) => {
                self.state = State::Body(Box::new(Body { message, framing, keep, taken: 0 }));
                None
            }
        }
    }

    fn gap(&mut self, size: u64, now: Nanoseconds, budget: &mut Budget) -> Option<Received<C>> {
        const LOST: &str = "bytes of it were not captured";
        let State::Body(body) = &mut self.state else {
            self.state = State::Lost;
            return None;
        };
        if !body.skip(size) {
            return self.leave(Some(LOST), State::Lost, now, budget);
        }
        body.message.cut.get_or_insert(LOST);
        if body.is_whole() { self.leave(None, State::idle(), now, budget) } else { None }
    }

    fn end(&mut self, now: Nanoseconds, budget: &mut Budget) -> Option<Received<C>> {
        let until_close = matches!(&self.state, State::Body(body) if matches!(body.framing, Framing::Close));
        let cut = (!until_close).then_some("the connection or the capture ends before it does");
        self.leave(cut, State::Lost, now, budget)
    }

    /// The body has ended, where there is one.
    fn leave(
        &mut self,
        cut: Option<&'static str>,
        next: State<C>,
        now: Nanoseconds,
        budget: &mut Budget,
    ) -> Option<Received<C>> {
        let State::Body(body) = std::mem::replace(&mut self.state, next) else { return None };
        let Body { mut message, taken, .. } = *body;
        budget.give_back(taken);
        message.cut = message.cut.or(cut);
        message.ended = now;
        Some(message)
    }
}

impl<C> Body<C> {
    /// Takes what belongs to the body and returns what follows it.
    fn data<'d>(&mut self, data: &'d [u8], budget: &mut Budget) -> &'d [u8] {
        match &mut self.framing {
            Framing::Close => {
                self.keep(data, budget);
                &[]
            }
            Framing::Length(left) => {
                let (body, rest) = split(data, *left);
                *left -= body.len() as u64;
                self.keep(body, budget);
                rest
            }
            Framing::Chunked(Chunk::Data(left)) => {
                let (body, rest) = split(data, *left);
                *left -= body.len() as u64;
                if *left == 0 {
                    self.framing = Framing::Chunked(Chunk::End(0));
                }
                self.keep(body, budget);
                rest
            }
            Framing::Chunked(chunk) => chunk.line(data),
        }
    }

    fn keep(&mut self, data: &[u8], budget: &mut Budget) {
        let body = &mut self.message.body;
        let room = self.keep.saturating_sub(body.len());
        let wanted = data.get(..room).unwrap_or(data);
        if self.message.cut.is_some() || wanted.is_empty() {
            return;
        }
        let more = (body.len() + wanted.len()).saturating_sub(body.capacity());
        if more > 0 {
            // What is reserved is what is taken from the budget.
            let more = more.max(body.capacity() / 4).min(self.keep - body.capacity());
            if !budget.take(more) {
                self.message.cut = Some("the memory for bodies is used up");
                return;
            }
            self.taken += more;
            body.reserve_exact(body.capacity() + more - body.len());
        }
        body.extend_from_slice(wanted);
    }

    /// Goes on behind bytes that are not there, where they are within the body.
    fn skip(&mut self, size: u64) -> bool {
        match &mut self.framing {
            Framing::Length(left) if *left >= size => {
                *left -= size;
                true
            }
            Framing::Chunked(Chunk::Data(left)) if *left > size => {
                *left -= size;
                true
            }
            Framing::Close => true,
            _ => false,
        }
    }

    fn is_whole(&self) -> bool {
        match &self.framing {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(Chunk::Trailer(line)) => line.as_slice() == b"\n" || line.as_slice() == b"\r\n",
            Framing::Chunked(_) | Framing::Close => false,
        }
    }

    fn is_broken(&self) -> bool {
        match &self.framing {
            Framing::Chunked(Chunk::Size(line) | Chunk::Trailer(line)) => line.len() >= MAX_LINE,
            Framing::Chunked(Chunk::End(count)) => *count > 2,
            _ => false,
        }
    }
}

impl Framing {
    fn held(&self) -> usize {
        match self {
            Self::Chunked(Chunk::Size(line) | Chunk::Trailer(line)) => line.capacity(),
            _ => 0,
        }
    }
}

impl Chunk {
    /// Takes bytes up to a line end and returns what follows.
    fn line<'d>(&mut self, data: &'d [u8]) -> &'d [u8] {
        let end = data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |at| at + 1);
        let (line, rest) = data.split_at_checked(end).unwrap_or((data, &[]));
        let is_line = line.ends_with(b"\n");
        match self {
            Self::Size(known) => {
                known.extend_from_slice(line.get(..MAX_LINE).unwrap_or(line));
                if is_line {
                    *self = match chunk_size(known) {
                        Some(0) => Self::Trailer(Vec::new()),
                        Some(size) => Self::Data(size),
                        // Too many line ends: badly formed.
                        None => Self::End(u8::MAX),
                    };
                }
            }
            Self::End(count) => {
                let blank = line.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
                *count =
                    if blank { count.saturating_add(u8::try_from(line.len()).unwrap_or(u8::MAX)) } else { u8::MAX };
                if is_line && *count <= 2 {
                    *self = Self::Size(Vec::new());
                }
            }
            Self::Trailer(known) => {
                if known.ends_with(b"\n") {
                    known.clear();
                }
                known.extend_from_slice(line.get(..MAX_LINE).unwrap_or(line));
            }
            Self::Data(_) => return data,
        }
        rest
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text.split(';').next()?.trim();
    u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
}

fn split(data: &[u8], at: u64) -> (&[u8], &[u8]) {
    usize::try_from(at).ok().and_then(|at| data.split_at_checked(at)).unwrap_or((data, &[]))
}

/// Whether bytes are, or may become, the begin of a message.
pub(super) fn begins(bytes: &[u8]) -> bool {
    STARTS.iter().any(|start| bytes.starts_with(start) || start.starts_with(bytes))
}

/// Where a head ends in `data`, when `before` is there of it already.
fn head_end(before: &[u8], data: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    // The end may begin in what is there.
    let across = (1..END.len()).rev().find(|known| {
        let (first, rest) = END.split_at(*known);
        before.ends_with(first) && data.starts_with(rest)
    });
    let within = || data.windows(END.len()).position(|window| window == END).map(|at| at + END.len());
    across.map(|known| END.len() - known).or_else(within)
}

impl Head {
    fn read(bytes: Vec<u8>) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let (start, headers) = if bytes.starts_with(b"HTTP/") {
            let mut response = httparse::Response::new(&mut headers);
            response.parse(&bytes).ok()?.is_complete().then_some(())?;
            (Start::Response { status: response.code? }, response.headers)
        } else {
            let mut request = httparse::Request::new(&mut headers);
            request.parse(&bytes).ok()?.is_complete().then_some(())?;
            let (method, target) = (request.method?.to_owned(), request.path?.to_owned());
            (Start::Request { method, target, http_1_1: request.version == Some(1) }, request.headers)
        };
        let origin = bytes.as_ptr() as usize;
        let mut lines = Vec::with_capacity(headers.len());
        for header in headers.iter() {
            let offset = (header.name.as_ptr() as usize).saturating_sub(origin);
            lines.push((offset, header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()));
        }
        Some(Self { bytes, start, lines })
    }

    /// Bytes that are a head and nothing else.
    pub(super) fn alone(bytes: &[u8]) -> Option<Self> {
        let is_whole = bytes.len() <= MAX_HEAD && head_end(&[], bytes) == Some(bytes.len());
        is_whole.then(|| Self::read(bytes.to_vec())).flatten()
    }

    fn held(&self) -> usize {
        let lines = self.lines.iter().map(|(_, name, value)| name.len() + value.len() + PER_LINE);
        self.bytes.capacity() + lines.sum::<usize>()
    }

    /// Its bytes, up to the empty line and with it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each header line begins, its name and its value.
    pub(super) fn lines(&self) -> Vec<(usize, &str, &str)> {
        self.lines.iter().map(|(offset, name, value)| (*offset, name.as_str(), value.as_str())).collect()
    }

    fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        self.lines
            .iter()
            .filter(move |(_, known, _)| known.eq_ignore_ascii_case(name))
            .map(|(.., value)| value.as_str())
    }

    /// Whether a list header names this token.
    pub(super) fn lists(&self, name: &str, token: &str) -> bool {
        self.values(name).flat_map(|value| value.split(',')).any(|known| known.trim().eq_ignore_ascii_case(token))
    }

    /// The length that the head announces.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.values("Content-Length").next()?.trim().parse().ok()
    }

    /// How the body ends; none where there is none (RFC 9112, 6.3).
    fn framing(&self) -> Option<Framing> {
        if self.lists("Transfer-Encoding", "chunked") {
            return Some(Framing::Chunked(Chunk::Size(Vec::new())));
        }
        match (self.content_length(), &self.start) {
            (Some(length), _) => Some(Framing::Length(length)),
            (None, Start::Request { .. }) => None,
            (None, Start::Response { .. }) => Some(Framing::Close),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[Piece<'_>]) -> Vec<Received<()>> {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        let mut budget = Budget::new(1 << 20);
        let mut wish =
            |head: &Head| Wish { has_body: head.start != Start::Response { status: 304 }, keep: 1 << 16, context: () };
        for (now, piece) in pieces.iter().enumerate() {
            let mut piece = *piece;
            while let Some(message) = reader.next(&mut piece, now as u64, &mut budget, &mut wish) {
                out.push(message);
            }
        }
        out
    }

    fn bodies(received: &[Received<()>]) -> Vec<(&str, bool)> {
        let body = |message: &'_ Received<()>| {
            (std::str::from_utf8(&message.body).unwrap().to_owned().leak() as &str, message.cut.is_some())
        };
        received.iter().map(body).collect()
    }

    const TWO: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\nPOST /b HTTP/1.1\r\n\
        Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n01\r\nf\r\n0\r\nTrailer: 1\r\n\r\nGET /c HTTP/1.1\r\n\r\n";

    #[test]
    fn messages_come_out_of_pieces_of_any_size() {
        for size in 1..TWO.len() {
            let pieces: Vec<_> = TWO.chunks(size).map(Piece::Data).collect();
            let received = read(&pieces);
            assert_eq!(bodies(&received), [("abc", false), ("def", false), ("", false)], "{size}");
        }
    }

    #[test]
    fn a_head_keeps_no_memory_for_what_follows_it() {
        let head = b"HTTP/1.1 304 Not Modified\r\n\r\n";
        let received = read(&[Piece::Data(&head.repeat(100))]);
        assert_eq!(received.len(), 100);
        assert!(received.iter().all(|message| message.head.bytes.capacity() < 2 * head.len()));
    }

    #[test]
    fn a_response_may_end_with_the_connection() {
        let head = b"HTTP/1.0 200 OK\r\n\r\n";
        let received = read(&[Piece::Data(head), Piece::Data(b"abc"), Piece::Data(b"def"), Piece::End]);
        assert_eq!(bodies(&received), [("abcdef", false)]);
        assert_eq!((received[0].began, received[0].ended), (0, 3));
        let none = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(bodies(&read(&[Piece::Data(none), Piece::Data(none)])).len(), 2);
    }

    #[test]
    fn what_is_missing_cuts_one_message_alone() {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab";
        let next = b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nz";
        let received = read(&[Piece::Data(head), Piece::Gap(3), Piece::Data(b"cdef"), Piece::Data(next)]);
        assert_eq!(bodies(&received), [("ab", true), ("z", false)]);
        let received = read(&[Piece::Data(head), Piece::Gap(30), Piece::Data(b"cdef"), Piece::Data(next)]);
        assert_eq!(bodies(&received), [("ab", true), ("z", false)]);
        let received = read(&[Piece::Data(head), Piece::End]);
        assert_eq!(bodies(&received), [("ab", true)]);
    }

    #[test]
    fn other_protocols_and_bad_chunks_are_left_alone() {
        assert!(read(&[Piece::Data(b"\x16\x03\x01\x02\x00"), Piece::Data(&[0; 1000]), Piece::End]).is_empty());
        assert!(read(&[Piece::Data(b"SSH-2.0-x\r\n\r\n")]).is_empty());
        for bad in ["zz\r\n", "-1\r\n", "+1\r\n", "1\r\nabc"] {
            let text = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{bad}");
            let received = read(&[Piece::Data(text.as_bytes()), Piece::Data(TWO)]);
            assert_eq!(received.len(), 4, "{bad}");
            assert!(received[0].cut.is_some());
        }
        let long = "a".repeat(MAX_HEAD);
        let text = format!("POST / HTTP/1.1\r\nX: {long}\r\n\r\n");
        assert_eq!(read(&[Piece::Data(text.as_bytes()), Piece::Data(TWO)]).len(), 3);
    }
}
