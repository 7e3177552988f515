//! HTTP/1.x taken apart: the messages of one direction of a connection, out of pieces of any size.

#[cfg(test)]
mod tests;

use super::file::Nanoseconds;
use super::tcp::{Budget, Piece};

/// The largest head that is read, in bytes.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 128;
/// The longest line of a chunked body that has a size or a trailer.
const MAX_LINE: usize = 8 << 10;
/// What a header line takes beside its text.
const PER_LINE: usize = 96;

/// What messages begin with: the methods of HTTP, of WebDAV and of BITS, whose servers speak the protocols, too.
const STARTS: [&[u8]; 18] = [
    b"HTTP/1.",
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"PATCH ",
    b"TRACE ",
    b"PROPFIND ",
    b"PROPPATCH ",
    b"MKCOL ",
    b"COPY ",
    b"MOVE ",
    b"LOCK ",
    b"UNLOCK ",
    b"BITS_POST ",
];

/// The head of a message.
#[derive(Debug, Clone)]
pub(super) struct Head {
    bytes: Vec<u8>,
    pub(super) start: Start,
    /// Offset in the head, name, value.
    lines: Vec<(usize, String, String)>,
    /// What is wrong with it: it was read as far as it goes.
    pub(super) fault: Option<httparse::Error>,
    /// The memory that it takes.
    held: usize,
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
    /// How many bytes it had, whether they were asked for or not.
    pub(super) size: usize,
    /// Why the body is not whole.
    pub(super) cut: Option<&'static str>,
    pub(super) began: Nanoseconds,
    pub(super) ended: Nanoseconds,
}

/// Why the body of a message that is larger than what was asked for is not whole.
pub(super) const TOO_LARGE: &str = "it is larger than what is looked at, and its rules are not checked";

/// Why a message is not whole of which the capture has a part only.
pub(super) const LOST: &str = "bytes of it were not captured";

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
    /// Heads that could not be read.
    unread: u64,
    /// How often the place in the stream was lost.
    losses: u64,
    /// The bytes behind such places of which nobody knows what they are.
    skipped: u64,
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
        Self { state: State::idle(), unread: 0, losses: 0, skipped: 0 }
    }
}

impl<C> State<C> {
    fn idle() -> Self {
        Self::Head { bytes: Vec::new(), began: 0 }
    }
}

impl<C> Reader<C> {
    /// How often the place in the stream was lost: messages may be missing.
    pub(super) fn losses(&self) -> u64 {
        self.losses
    }

    /// How many bytes came where the place in the stream was lost.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether a head has begun that is not whole yet.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(&self.state, State::Head { bytes, .. } if !bytes.is_empty())
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        self.losses += 1;
    }

    /// How many heads were too large, or could not be read at all.
    pub(super) fn unread(&self) -> u64 {
        self.unread
    }

    /// The memory that is not taken from a budget: that of heads and lines. Bodies are.
    pub(super) fn held(&self) -> usize {
        match &self.state {
            State::Head { bytes, .. } => bytes.capacity(),
            State::Body(body) => body.message.head.held + body.framing.held(),
            State::Lost => 0,
        }
    }

    /// Gives up what is held, and says what message it was.
    pub(super) fn give_up(&mut self, budget: &mut Budget) -> Option<C> {
        let State::Body(body) = std::mem::replace(&mut self.state, State::Lost) else { return None };
        budget.give_back(body.taken);
        Some(body.message.context)
    }

    /// The message whose body is not whole yet.
    pub(super) fn context(&self) -> Option<&C> {
        if let State::Body(body) = &self.state { Some(&body.message.context) } else { None }
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
                State::Lost => {
                    self.skipped += data.len() as u64;
                    *data = &[];
                }
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
                        self.unread += u64::from(begins(if bytes.is_empty() { head } else { bytes }));
                        self.lose();
                        *data = &[];
                        continue;
                    }
                    bytes.extend_from_slice(head);
                    *data = rest;
                    if !begins(bytes) {
                        self.lose();
                        continue;
                    }
                    if end.is_none() {
                        continue;
                    }
                    let (bytes, began) = (std::mem::take(bytes), *began);
                    let Some(head) = Head::read(bytes) else {
                        self.unread += 1;
                        self.lose();
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
                        self.losses += 1;
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
        let message = Received { head, context, body: Vec::new(), size: 0, cut: None, began, ended: now };
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
        let State::Body(body) = &mut self.state else {
            self.lose();
            return None;
        };
        if !body.skip(size) {
            self.losses += 1;
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

impl<C> Received<C> {
    /// The memory that it takes.
    pub(super) fn held(&self) -> usize {
        size_of::<Self>() + self.body.capacity() + self.head.held
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
        self.message.size = self.message.size.saturating_add(data.len());
        let body = &mut self.message.body;
        let room = self.keep.saturating_sub(body.len());
        let wanted = data.get(..room).unwrap_or(data);
        if self.message.cut.is_some() || self.keep == 0 {
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
        if wanted.len() < data.len() {
            self.message.cut = Some(TOO_LARGE);
        }
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
    let text = std::str::from_utf8(without_end(line)).ok()?;
    let digits = trim(text.split(';').next()?);
    u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
}

/// What HTTP takes for white space within a line (RFC 9112, 5): nothing else may stand around names and values.
const BLANKS: [char; 2] = [' ', '\t'];

fn trim(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

/// A line without its end.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn split(data: &[u8], at: u64) -> (&[u8], &[u8]) {
    usize::try_from(at).ok().and_then(|at| data.split_at_checked(at)).unwrap_or((data, &[]))
}

/// Whether bytes are, or may become, the begin of a message.
pub(super) fn begins(bytes: &[u8]) -> bool {
    STARTS.iter().any(|start| bytes.starts_with(start) || start.starts_with(bytes))
}

/// Where a head ends in `data`, when `before` is there of it already: behind an empty line. A line may end with LF alone
/// (RFC 9112, 2.2).
fn head_end(before: &[u8], data: &[u8]) -> Option<usize> {
    let mut is_empty = matches!(before, [.., b'\n'] | [.., b'\n', b'\r']);
    let mut start = 0;
    for (end, _) in data.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let line = data.get(start..end).unwrap_or_default();
        if is_empty && matches!(line, b"" | b"\r") {
            return Some(end + 1);
        }
        (is_empty, start) = (true, end + 1);
    }
    None
}

impl Start {
    /// Reads the first line of a head.
    fn read(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once(' ')?;
        if first.starts_with("HTTP/1.") {
            let status = rest.trim_start_matches(BLANKS).split(' ').next()?.parse().ok()?;
            return Some(Self::Response { status });
        }
        let (target, version) = rest.rsplit_once(' ')?;
        let http_1_1 = version != "HTTP/1.0";
        version.starts_with("HTTP/1.").then(|| Self::Request {
            method: first.to_owned(),
            target: trim(target).to_owned(),
            http_1_1,
        })
    }
}

impl Head {
    /// Reads a head, and one that HTTP does not allow as far as it goes. None where its first line says nothing.
    fn read(bytes: Vec<u8>) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let fault = if bytes.starts_with(b"HTTP/") {
            httparse::Response::new(&mut headers).parse(&bytes).err()
        } else {
            httparse::Request::new(&mut headers).parse(&bytes).err()
        };
        let mut lines: Vec<(usize, String, String)> = Vec::new();
        let mut offset = 0;
        let mut start = None;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(without_end(line));
            let text = trim(&text);
            match line {
                _ if offset == 0 => start = Some(Start::read(text)?),
                // A line that goes on (RFC 9112, 5.2).
                [b' ' | b'\t', ..] => {
                    if let Some((.., value)) = lines.last_mut() {
                        value.push(' ');
                        value.push_str(text);
                    }
                }
                _ if text.is_empty() => {}
                _ => {
                    let (name, value) = text.split_once(':').unwrap_or((text, ""));
                    lines.push((offset, trim(name).to_owned(), trim(value).to_owned()));
                }
            }
            offset += line.len();
        }
        lines.shrink_to_fit();
        let texts = lines.iter().map(|(_, name, value)| name.capacity() + value.capacity() + PER_LINE);
        let held = bytes.capacity() + texts.sum::<usize>();
        Some(Self { start: start?, lines, fault, held, bytes })
    }

    /// Bytes that are a head and nothing else.
    pub(super) fn alone(bytes: &[u8]) -> Option<Self> {
        let is_whole = bytes.len() <= MAX_HEAD && head_end(&[], bytes) == Some(bytes.len());
        is_whole.then(|| Self::read(bytes.to_vec())).flatten()
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
        self.values(name).flat_map(|value| value.split(',')).any(|known| trim(known).eq_ignore_ascii_case(token))
    }

    /// The length that the head announces.
    pub(super) fn content_length(&self) -> Option<u64> {
        let digits = trim(self.values("Content-Length").next()?);
        digits.parse().ok().filter(|_| !digits.starts_with('+'))
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
