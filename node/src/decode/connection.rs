//! Both directions of an HTTP connection: requests and their answers.

use std::net::SocketAddr;

use peerdist_protocol::hosted_cache::Version;
use peerdist_protocol::http::CONTENT_CODING;
use peerdist_protocol::schema::{
    Fault, Headers, Node, Structure, Tree, Value, dissect, dissect_headers, recognise, request_at, response_at, tables,
};

use super::ahead::{Ahead, Held};
use super::http::{Head, Reader, Received, Start, TOO_LARGE, Wish};
use super::message::{Answered, Over, Seen};
use super::packet::Segment;
use super::pending::{Asked, Packet, Pending, Said};
use super::tcp::{Budget, Direction, Piece};
use super::tls::{self, KeyLog, Session};
use super::{SealedConnection, file::Nanoseconds};

/// The most bytes of a message of MS-PCCRR or MS-PCHC that are looked at: more than the largest there is.
const MAX_MESSAGE: usize = 400 << 10;
/// The most bytes of content information that are looked at.
const MAX_CONTENT_INFORMATION: usize = 16 << 20;

/// What a message belongs to.
#[derive(Debug)]
pub(super) enum Context {
    Request(u64),
    Answer(Option<Box<Asked>>),
}

/// A TCP connection that speaks HTTP, or does not.
#[derive(Debug)]
pub(super) struct Connection {
    /// Who has sent the first packet that was seen, and to whom.
    ends: Option<[SocketAddr; 2]>,
    sides: [Side; 2],
    pending: Pending,
    /// A whole answer to a request that is not whole: it is handed on behind it.
    early: Option<Early>,
    /// Whether answers wait for their requests.
    waits: bool,
    /// Whether packets were lost, changed places, or came before the capture: the order of messages may be another one.
    is_doubtful: bool,
    /// What was taken from the budget for heads and requests.
    taken: usize,
    has_begun: bool,
    /// The first bytes of a side, as long as they are too few to say whether they are TLS.
    start: Vec<u8>,
    /// Whose they are.
    starts: usize,
    /// Where HTTP is inside TLS.
    tls: Option<Box<Session>>,
}

#[derive(Debug, Default)]
struct Side {
    pub(super) direction: Direction,
    ahead: Ahead,
    reader: Reader<Context>,
    /// What of the other side had been received when something was said last.
    answered: Option<u32>,
}

impl Side {
    /// Takes note of what it had received when it said this.
    fn note_answered(&mut self, segment: &Segment<'_>) {
        let is_behind = |one: u32, other: u32| (one.wrapping_sub(other) as i32).is_positive();
        if let Some(acknowledged) = segment.acknowledged
            && self.answered.is_none_or(|answered| is_behind(acknowledged, answered))
        {
            self.answered = Some(acknowledged);
        }
    }
}

/// An answer that waits for the end of its request.
#[derive(Debug)]
struct Early {
    side: usize,
    /// Which request it answers.
    id: u64,
    message: Received<Context>,
    /// What was taken from the budget for it.
    taken: usize,
}

/// What a message is, and what it answers; given to the decoder, which numbers it.
pub(super) struct Found<'a> {
    pub(super) tree: Tree<'a>,
    pub(super) seen: Option<Seen>,
    pub(super) answers: Option<Answered>,
    pub(super) is_request: bool,
    pub(super) is_cut: bool,
}

/// What the decoder lends to all connections.
pub(super) struct Around<'a> {
    pub(super) now: Nanoseconds,
    pub(super) budget: &'a mut Budget,
    pub(super) tls_keys: &'a KeyLog,
}

impl Connection {
    pub(super) fn new(ends: Option<[SocketAddr; 2]>) -> Self {
        Self {
            ends,
            sides: [Side::default(), Side::default()],
            pending: Pending::new(),
            early: None,
            waits: true,
            is_doubtful: false,
            taken: 0,
            has_begun: false,
            start: Vec::new(),
            starts: 0,
            tls: None,
        }
    }

    /// A connection whose answers are handed on when they are whole, even before their requests.
    pub(super) fn impatient(ends: [SocketAddr; 2]) -> Self {
        Self { waits: false, ..Self::new(Some(ends)) }
    }

    /// Which side sends from this address.
    pub(super) fn side_of(&self, source: SocketAddr) -> usize {
        usize::from(self.ends.is_none_or(|[first, _]| first != source))
    }

    /// The reassembly of a side.
    pub(super) fn direction(&mut self, side: usize) -> Option<&mut Direction> {
        self.sides.get_mut(side).map(|side| &mut side.direction)
    }

    /// Whether a segment begins another connection on the same ports. A SYN that comes twice does not.
    pub(super) fn is_over(&self, source: SocketAddr, segment: &Segment<'_>) -> bool {
        let has_end = || segment.acknowledged.is_none() && self.sides.iter().any(|side| side.direction.has_end());
        let known = self.sides.get(self.side_of(source));
        let is_another = || known.is_some_and(|side| side.direction.is_begun_by_another(segment.sequence));
        segment.syn && (is_another() || has_end())
    }

    /// Whether a packet of a side acknowledges bytes of the other one that have not been there yet.
    fn is_ahead(&self, side: usize, segment: &Segment<'_>) -> bool {
        let lacks = |sequence| self.sides.get(1 - side).is_some_and(|other| other.direction.lacks(sequence));
        segment.acknowledged.is_some_and(lacks)
    }

    /// Whether a packet of a side has bytes that have not been there yet.
    pub(super) fn is_new(&self, side: usize, segment: &Segment<'_>) -> bool {
        self.sides.get(side).is_some_and(|side| side.direction.is_new(segment))
    }

    /// Whether it begins where bytes are due, or before.
    fn is_due(&self, side: usize, segment: &Segment<'_>) -> bool {
        self.sides.get(side).is_some_and(|side| side.direction.is_due(segment))
    }

    /// Takes note of a packet that is taken next: what it says of the order of messages.
    pub(super) fn note(&mut self, side: usize, segment: &Segment<'_>) {
        let [first, second] = &mut self.sides;
        let (own, other) = if side == 0 { (first, second) } else { (second, first) };
        if let Some(sequence) = segment.acknowledged.filter(|_| segment.syn || !segment.payload.is_empty()) {
            other.direction.note_acknowledged(sequence);
        }
        if !own.direction.is_new(segment) {
            return;
        }
        self.is_doubtful |= !own.direction.is_due(segment);
        let has_had_all = segment.acknowledged.is_none_or(|sequence| other.direction.is_before(sequence));
        let is_answered = |answered: u32| (segment.sequence.wrapping_sub(answered) as i32).is_negative();
        self.pending.says(Said {
            side,
            is_fresh: has_had_all && !other.answered.is_some_and(is_answered),
            is_late: own.direction.is_late(segment),
            // What waits behind a packet came in others.
            is_alone: !own.direction.waits(),
            packet: segment.acknowledged.filter(|_| self.is_doubtful).map(|acknowledged| Packet {
                start: segment.sequence,
                end: segment.sequence.wrapping_add(segment.payload.len() as u32),
                acknowledged,
            }),
        });
        if other.reader.is_in_head() {
            self.pending.interrupt(1 - side);
        }
        own.direction.see(segment);
        own.note_answered(segment);
    }

    /// Lets a packet wait for bytes that it acknowledges. Returns whether it does.
    pub(super) fn hold(&mut self, side: usize, segment: &Segment<'_>, comment: &str, around: &mut Around<'_>) -> bool {
        let is_ahead = self.is_ahead(side, segment);
        let Some(Side { direction, ahead, .. }) = self.sides.get_mut(side) else { return false };
        let waits = direction.is_new(segment) && (is_ahead || ahead.is_before(segment));
        let held = waits && !ahead.is_over(around.now) && ahead.hold(segment, comment, around.now, around.budget);
        self.is_doubtful |= held;
        if held && let Some(side) = self.sides.get_mut(side) {
            side.note_answered(segment);
        }
        held
    }

    /// A packet that waits no longer: what it waits for is there, or not to be waited for any more when this packet of a
    /// side comes, or, without one, at all.
    pub(super) fn held(
        &mut self,
        next: Option<(usize, &Segment<'_>)>,
        now: Nanoseconds,
        budget: &mut Budget,
    ) -> Option<(usize, Held)> {
        let first = |of: usize| self.sides.get(of).and_then(|side| side.ahead.first());
        let is_ready = |of: &usize| first(*of).is_some_and(|segment| !self.is_ahead(*of, segment));
        let is_over = |of: &usize| {
            first(*of)
                .is_some_and(|segment| next.is_none_or(|next| self.is_waited_for_no_more(*of, segment, next, now)))
        };
        let of = (0..2).find(is_ready).or_else(|| (0..2).find(is_over))?;
        let held = self.sides.get_mut(of)?.ahead.pop(budget)?;
        Some((of, held))
    }

    /// Whether the first packet of a side has waited long enough when this packet comes.
    fn is_waited_for_no_more(
        &self,
        of: usize,
        first: &Segment<'_>,
        (side, segment): (usize, &Segment<'_>),
        now: Nanoseconds,
    ) -> bool {
        // Who goes on with what waits will not say again what it asked before.
        let behind = segment.acknowledged.map(|sequence| sequence.wrapping_sub(first.sequence) as i32);
        let goes_on = self.is_new(side, segment) && behind.is_some_and(|behind| behind > 0);
        self.sides.get(of).is_some_and(|of| of.ahead.is_over(now))
            || side != of && goes_on && !self.is_due(side, segment)
    }

    /// Takes a piece of a side's bytes and hands on the messages that are whole with it. `hand_on` gives the number
    /// of the message.
    pub(super) fn piece(
        &mut self,
        side: usize,
        piece: &Piece<'_>,
        around: &mut Around<'_>,
        hand_on: &mut impl FnMut(Found<'_>) -> u64,
    ) {
        if !self.has_begun {
            return self.begin(side, piece, around, hand_on);
        }
        let Some(tls) = &mut self.tls else { return self.http(side, piece, around, hand_on) };
        let mut opened = Vec::new();
        match piece {
            Piece::Data(data) => {
                tls.data(side, data, around.tls_keys, around.budget, &mut |bytes| opened.extend_from_slice(bytes));
                self.http(side, &Piece::Data(&opened), around, hand_on);
            }
            Piece::Gap(_) | Piece::End => {
                tls.lose(around.budget);
                self.http(side, piece, around, hand_on);
            }
        }
    }

    /// Takes the first bytes, which say whether they are TLS when there are enough of them.
    fn begin(
        &mut self,
        side: usize,
        piece: &Piece<'_>,
        around: &mut Around<'_>,
        hand_on: &mut impl FnMut(Found<'_>) -> u64,
    ) {
        let is_same_side = self.start.is_empty() || self.starts == side;
        if let Piece::Data(data) = piece
            && is_same_side
        {
            self.starts = side;
            self.start.extend_from_slice(data);
            if tls::may_begin(&self.start) {
                return;
            }
        }
        self.has_begun = true;
        let (first, start) = (self.starts, std::mem::take(&mut self.start));
        if tls::begins(&start) {
            self.tls = Some(Box::new(Session::new(first)));
        }
        if !start.is_empty() {
            self.piece(first, &Piece::Data(&start), around, hand_on);
        }
        if !(is_same_side && matches!(piece, Piece::Data(_))) {
            self.piece(side, piece, around, hand_on);
        }
    }

    fn http(
        &mut self,
        side: usize,
        piece: &Piece<'_>,
        around: &mut Around<'_>,
        hand_on: &mut impl FnMut(Found<'_>) -> u64,
    ) {
        self.is_doubtful |= matches!(piece, Piece::Gap(_));
        let mut rest = *piece;
        let [losses, skipped] = self.losses(side);
        if self.sides.get(side).is_some_and(|side| !side.reader.is_in_head()) {
            self.pending.begin(side);
        }
        while let Some(reader) = self.sides.get_mut(side).map(|side| &mut side.reader)
            && let Some(message) =
                reader.next(&mut rest, around.now, around.budget, &mut |head| wish(head, side, &mut self.pending))
        {
            self.message(side, message, around.budget, hand_on);
            self.hand_on_early(around.budget, hand_on);
        }
        // Its request may have been given up.
        self.hand_on_early(around.budget, hand_on);
        // A capture may begin in the middle of a message: what follows is in order.
        let may_lose = matches!(piece, Piece::Gap(_)) || self.pending.has_begun();
        let [losses_now, skipped_now] = self.losses(side);
        if may_lose && losses_now > losses {
            let lost = if let Piece::Gap(size) = piece { *size } else { 0 };
            self.pending.lose(side, lost);
        }
        if self.pending.is_astray() && skipped_now > skipped {
            self.pending.skip(side, skipped_now - skipped);
        }
        self.settle(around.budget);
    }

    /// How often a side's place in the stream was lost, and how many bytes came while it was.
    fn losses(&self, side: usize) -> [u64; 2] {
        self.sides.get(side).map_or([0; 2], |side| [side.reader.losses(), side.reader.skipped()])
    }

    /// Accounts for heads and requests; where there is no memory for them they are given up.
    fn settle(&mut self, budget: &mut Budget) {
        budget.give_back(std::mem::take(&mut self.taken));
        let heads: usize = self.sides.iter().map(|side| side.reader.held()).sum();
        let held = heads + self.pending.held();
        if budget.take(held) {
            self.taken = held;
        } else {
            for side in &mut self.sides {
                if let Some(Context::Answer(Some(asked))) = side.reader.give_up(budget) {
                    self.pending.give_up(*asked);
                }
            }
            self.pending.go_astray();
        }
    }

    /// What it is called, where it is TLS that could not be opened.
    pub(super) fn sealed(&self) -> Option<SealedConnection> {
        let (client, why) = self.tls.as_ref()?.sealed()?;
        let [first, second] = self.ends?;
        let (client, server) = if client == 0 { (first, second) } else { (second, first) };
        Some(SealedConnection { client, server, why })
    }

    /// How many heads could not be read.
    pub(super) fn unread(&self) -> u64 {
        self.sides.iter().map(|side| side.reader.unread()).sum()
    }

    /// Requests whose answers cannot be told from others, since the last call.
    pub(super) fn unpaired(&mut self) -> Vec<Answered> {
        self.pending.unpaired()
    }

    /// The requests that got no answer.
    pub(super) fn unanswered(self, budget: &mut Budget) -> impl Iterator<Item = Answered> {
        budget.give_back(self.taken);
        self.pending.unanswered()
    }

    /// Hands on an answer that waits, when its request comes no more, or has come.
    fn hand_on_early(&mut self, budget: &mut Budget, hand_on: &mut impl FnMut(Found<'_>) -> u64) {
        let is_due = |early: &Early| !self.is_being_asked(early.side, early.id);
        if !self.early.as_ref().is_some_and(is_due) {
            return;
        }
        if let Some(Early { side, message, taken, .. }) = self.early.take() {
            budget.give_back(taken);
            self.message(side, message, budget, hand_on);
        }
    }

    /// Whether the request that a side answers is not whole yet.
    fn is_being_asked(&self, answers: usize, id: u64) -> bool {
        let asks = self.sides.get(1 - answers).and_then(|side| side.reader.context());
        matches!(asks, Some(Context::Request(asked)) if *asked == id)
    }

    fn message(
        &mut self,
        side: usize,
        mut message: Received<Context>,
        budget: &mut Budget,
        hand_on: &mut impl FnMut(Found<'_>) -> u64,
    ) {
        if let Context::Answer(Some(asked)) = &mut message.context
            && asked.shown.is_none()
        {
            let id = asked.id;
            asked.shown = self.pending.shown_since(id);
            let waits = self.waits && self.early.is_none() && self.is_being_asked(side, id);
            let taken = message.held();
            if waits && budget.take(taken) {
                self.early = Some(Early { side, id, message, taken });
                return;
            }
        }
        let Received { head, context, body, size, cut, began, ended } = message;
        let whole = Whole { size, cut, fault: head.fault };
        let is_cut = cut.is_some();
        let over = if self.tls.is_some() { Over::Tls } else { Over::Tcp };
        let seen = self.ends.map(|[first, second]| {
            let (source, destination) = if side == 0 { (first, second) } else { (second, first) };
            Seen { began, ended, source, destination, over }
        });
        match context {
            Context::Request(id) => {
                let Start::Request { method, target, http_1_1 } = &head.start else { return };
                let structure = (method == "POST").then(|| request_at(path(target), &body)).flatten();
                let lines = head.lines();
                let tree = match structure {
                    Some(structure) => {
                        let mut tree = read_body(structure, &body, &whole);
                        if tree.name == SEGMENT_INFO_MESSAGE && Version::of_path(path(target)) == Some(Version::V2) {
                            misplaced(&mut tree);
                        }
                        Some(tree)
                    }
                    None => {
                        let start = Headers::Request { method, target, http_1_1: *http_1_1 };
                        dissect_headers(start, &lines, head.bytes()).map(|tree| with_fault(tree, head.fault))
                    }
                };
                let Some(tree) = tree else { return };
                let mut shown = Answered::new(0, &tree, seen);
                shown.number = hand_on(Found { tree, seen, answers: None, is_request: true, is_cut });
                self.pending.shown(id, shown);
            }
            Context::Answer(asked) => {
                let Start::Response { status } = head.start else { return };
                let mut answers = asked.as_ref().and_then(|asked| asked.shown.clone());
                let path = asked.as_ref().and_then(|asked| asked.path.as_deref());
                let ours = path.and_then(|path| response_at(path, &body));
                match ours {
                    Some(structure) if status == 200 => {
                        let tree = read_body(structure, &body, &whole);
                        // On a connection of which all was seen, in order, it is a wrong answer.
                        let is_of_another = |answers: &mut Answered| self.is_doubtful && !answers.asks.fits(&tree);
                        if answers.take_if(is_of_another).is_some()
                            && let Some(asked) = asked
                        {
                            self.pending.reject(*asked);
                        }
                        hand_on(Found { tree, seen, answers, is_request: false, is_cut });
                    }
                    Some(structure) => {
                        let tree = plain_answer(structure.protocol, structure.section, status, &head);
                        hand_on(Found { tree, seen, answers, is_request: false, is_cut: false });
                    }
                    None => {
                        let is_head = asked.as_ref().is_some_and(|asked| asked.is_head);
                        let body = (!is_head && status != 304).then_some(&body[..]);
                        answer(&head, status, asked.is_some(), body, &whole, seen, answers, hand_on);
                    }
                }
            }
        }
    }
}

/// What is to be said of a body beside what is in it.
struct Whole {
    size: usize,
    cut: Option<&'static str>,
    /// What is wrong with the head.
    fault: Option<httparse::Error>,
}

/// An answer of ordinary HTTP, or one whose request was not seen.
#[allow(clippy::too_many_arguments)]
fn answer(
    head: &Head,
    status: u16,
    is_paired: bool,
    body: Option<&[u8]>,
    whole: &Whole,
    seen: Option<Seen>,
    answers: Option<Answered>,
    hand_on: &mut impl FnMut(Found<'_>) -> u64,
) {
    let found = |tree, answers, is_cut| Found { tree, seen, answers, is_request: false, is_cut };
    let lines = head.lines();
    if let Some(tree) = dissect_headers(Headers::Response { status }, &lines, head.bytes()) {
        hand_on(found(with_fault(tree, head.fault), answers.clone(), false));
        if let Some(body) = body.filter(|_| head.lists("Content-Encoding", CONTENT_CODING)) {
            let structure = match body {
                [0, 2, ..] => &tables::CONTENT_INFORMATION_2,
                _ => &tables::CONTENT_INFORMATION_1,
            };
            hand_on(found(read_body(structure, body, whole), answers, whole.cut.is_some()));
        }
    } else if let Some(body) = body.filter(|_| !is_paired)
        && let Some(structure) = recognise(body)
    {
        hand_on(found(read_body(structure, body, whole), answers, whole.cut.is_some()));
    } else if answers.is_some() {
        // The content itself, though content information would have done.
        hand_on(found(plain_answer("MS-PCCRTP", "2.2", status, head), answers, false));
    }
}

/// A head that came alone, as the message of this name.
pub(super) fn head<R>(name: &str, bytes: &[u8], take: impl FnOnce(Tree<'_>) -> R) -> Option<R> {
    let head = Head::alone(bytes)?;
    let lines = head.lines();
    let start = match &head.start {
        Start::Response { status } if name == "HTTP_RESPONSE" => {
            return Some(take(plain_answer("MS-PCCRTP", "2.2", *status, &head)));
        }
        Start::Response { status } => Headers::Response { status: *status },
        Start::Request { method, target, http_1_1 } => Headers::Request { method, target, http_1_1: *http_1_1 },
    };
    dissect_headers(start, &lines, head.bytes()).map(|tree| take(with_fault(tree, head.fault)))
}

/// What is wanted of the body of a message with this head; keeps the account of requests.
fn wish(head: &Head, side: usize, pending: &mut Pending) -> Wish<Context> {
    match &head.start {
        Start::Request { method, target, .. } => {
            let path = Some(path(target)).filter(|path| method == "POST" && request_at(path, &[]).is_some());
            let keep = if path.is_some() { MAX_MESSAGE } else { 0 };
            let size = (head.bytes().len() as u64).saturating_add(head.content_length().unwrap_or(0));
            let id = pending.request(side, size, method == "HEAD", path);
            Wish { has_body: true, keep, context: Context::Request(id) }
        }
        // An interim answer is none.
        Start::Response { status: 100..=199 } => Wish { has_body: false, keep: 0, context: Context::Answer(None) },
        Start::Response { status } => {
            let asked = pending.answer(side);
            let is_head = asked.as_ref().is_some_and(|asked| asked.is_head);
            let keep = match &asked {
                _ if head.lists("Content-Encoding", CONTENT_CODING) => MAX_CONTENT_INFORMATION,
                Some(asked) if asked.path.is_none() => 0,
                _ => MAX_MESSAGE,
            };
            Wish {
                has_body: !is_head && !matches!(status, 204 | 304),
                keep,
                context: Context::Answer(asked.map(Box::new)),
            }
        }
    }
}

/// The path of a request target, which may be a whole URL.
fn path(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    };
    target.split('?').next().unwrap_or(target)
}

/// A body, with a word on what is missing of it, and on its head.
fn read_body<'b>(structure: &'static Structure, body: &'b [u8], whole: &Whole) -> Tree<'b> {
    let mut tree = dissect(structure, body);
    if let Some(reason) = whole.cut {
        if reason == TOO_LARGE {
            // What is said of its end would be of ours.
            tree.faults.clear();
            tree.size = whole.size;
        }
        not_whole(&mut tree, reason);
    }
    with_fault(tree, whole.fault)
}

const SEGMENT_INFO_MESSAGE: &str = tables::SEGMENT_INFO_MESSAGE.name;

/// Says of a message of version 1.0 that it went where those of version 2.0 go.
fn misplaced(tree: &mut Tree<'_>) {
    let rule = "a message of version 1.0, at the path of version 2.0".to_owned();
    let section = format!("{} 2.1", tree.protocol);
    tree.faults.push(Fault { offset: 0, field: String::new(), rule, section, tolerated: false });
}

/// Says of a message that it is not whole.
pub(super) fn not_whole(tree: &mut Tree<'_>, reason: &str) {
    let section = format!("{} {}", tree.protocol, tree.section);
    let rule = format!("the message is not whole: {reason}");
    tree.faults.push(Fault { offset: tree.bytes.len(), field: String::new(), rule, section, tolerated: false });
}

/// A message whose head HTTP does not allow says so.
fn with_fault<'t>(mut tree: Tree<'t>, fault: Option<httparse::Error>) -> Tree<'t> {
    if let Some(fault) = fault {
        let rule = format!("the head is badly formed: {fault}");
        let section = "RFC 9112 2.1".to_owned();
        tree.faults.push(Fault { offset: 0, field: String::new(), rule, section, tolerated: false });
    }
    tree
}

/// An answer that is none of the protocol's.
fn plain_answer<'h>(protocol: &'static str, section: &'static str, status: u16, head: &'h Head) -> Tree<'h> {
    let fields = vec![Node::new("Status", Value::Integer(status.into()))];
    let bytes = head.bytes();
    let tree = Tree { name: "HTTP_RESPONSE", protocol, section, size: bytes.len(), bytes, fields, faults: Vec::new() };
    with_fault(tree, head.fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_recognised_in_first_segments_of_any_size() {
        for (pieces, is_tls) in [
            (&[(0, &b"\x16"[..]), (0, b"\x03"), (0, b"\x01\x00\x00")][..], true),
            (&[(0, b"\x16\x03"), (0, b"\x01")], true),
            (&[(0, b"\x16"), (1, b"\x03\x01")], false),
            (&[(0, b"G"), (0, b"\x16\x03\x01")], false),
        ] {
            let mut connection = Connection::new(None);
            let (mut budget, keys) = (Budget::new(1000), KeyLog::default());
            let mut around = Around { now: 0, budget: &mut budget, tls_keys: &keys };
            for (side, data) in pieces {
                connection.piece(*side, &Piece::Data(data), &mut around, &mut |_| 0);
            }
            assert_eq!(connection.tls.is_some(), is_tls, "{pieces:?}");
        }
    }
}
