//! Captures taken apart: packets, connections, HTTP, and the messages of the protocols in them.
//!
//! Memory is bounded whatever the capture: the number of connections, and what they hold together: bytes that wait for
//! those before them, heads and bodies that are not whole yet, requests without an answer. Nothing is kept of what was
//! handed on, but for the Probes whose answers may come.
//!
//! ```text
//! file -> packet -> tcp -> (tls) -> http -> connection -> Event
//!               \-> UDP ------------------------------/
//! ```

mod ahead;
mod asks;
mod connection;
mod conversation;
mod file;
mod http;
mod keys;
mod message;
mod packet;
mod passing;
mod pending;
mod summary;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;

pub use conversation::Conversation;
pub use file::{Captured, End, Nanoseconds, Packet, is_capture, packets};
pub use keys::{KeyRing, Opened, Verdict, Working};
pub use message::{Answered, Event, Message, Over, Seen, derived_ids, short, what};
pub use summary::{Asking, Host, Summary, seconds};
pub use tls::{KeyLog, Sealed};

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

use peerdist_protocol::discovery::PORT;
use peerdist_protocol::schema::{Form, Node, Tree, dissect, dissect_datagram};

use connection::{Around, Connection, Found};
use packet::{Carried, Segment, Skipped, Transport};
use tcp::{Budget, Piece};

/// The most connections that are followed at once; the one that was silent longest is given up for a new one.
const MAX_CONNECTIONS: usize = 16_384;
/// The most memory that all connections together hold for what waits or is not whole.
const MAX_HELD: usize = 64 << 20;
/// The most connections of TLS that are named since they could not be opened.
const MAX_SEALED: usize = 64;
/// What is left of it for a packet: the connections that were silent longest are given up for more.
const RESERVE: usize = 8 << 20;
/// How much of one side of a connection that came without packets is read at a time.
const PIECE: usize = 64 << 10;
/// How much of a datagram on any port says whether it is one of discovery.
const LOOKED_AT: usize = 512;
/// The namespace that every message of WS-Discovery names.
const WS_DISCOVERY: &[u8] = b"http://schemas.xmlsoap.org/ws/2005/04/discovery";
/// The most Probes whose answers may still come.
const MAX_PROBES: usize = 4096;
/// The longest MessageID of a Probe that answers are looked for, in bytes. That of a UUID has 45.
const MAX_MESSAGE_ID: usize = 256;

/// Whether bytes begin like a message of HTTP.
#[must_use]
pub fn is_http(bytes: &[u8]) -> bool {
    bytes.len() > 8 && http::begins(bytes)
}

/// Whether a datagram that neither comes from the document's port nor goes there may be one of discovery: XML that names
/// WS-Discovery near its begin.
fn is_discovery(payload: &[u8]) -> bool {
    let start = payload.get(..LOOKED_AT).unwrap_or(payload);
    let xml = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    xml.starts_with(b"<") && xml.windows(WS_DISCOVERY.len()).any(|part| part == WS_DISCOVERY)
}

/// What was seen beside messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets of a link layer that is not known.
    pub unknown_link: u64,
    /// Fragments of IP packets, which are not put together.
    pub fragments: u64,
    /// Bytes of TCP streams that were not captured.
    pub lost_bytes: u64,
    /// Heads of HTTP messages that are too large, or whose first line cannot be read.
    pub unread_heads: u64,
    /// TCP connections.
    pub connections: u64,
}

/// Takes packets and hands on messages.
#[derive(Debug)]
pub struct Decoder {
    connections: HashMap<Ends, (u64, Connection)>,
    /// Connections by when they were last heard of.
    heard: BTreeMap<u64, Ends>,
    clock: u64,
    budget: Budget,
    /// Probes by their MessageIDs.
    probes: HashMap<String, Probe>,
    probe_order: VecDeque<String>,
    messages: u64,
    now: Nanoseconds,
    counters: Counters,
    tls_keys: KeyLog,
    sealed: Vec<SealedConnection>,
    /// Those that are not named.
    sealed_more: u64,
}

/// A connection of TLS that could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedConnection {
    /// Who opened it.
    pub client: SocketAddr,
    /// Who was called.
    pub server: SocketAddr,
    /// Why it could not be opened.
    pub why: Sealed,
}

/// A Probe whose answers may still come.
#[derive(Debug)]
struct Probe {
    asked: Answered,
    is_answered: bool,
}

/// Both ends of a connection, the lower address first.
type Ends = [SocketAddr; 2];

impl Default for Decoder {
    fn default() -> Self {
        Self {
            connections: HashMap::new(),
            heard: BTreeMap::new(),
            clock: 0,
            budget: Budget::new(MAX_HELD),
            probes: HashMap::new(),
            probe_order: VecDeque::new(),
            messages: 0,
            now: 0,
            counters: Counters::default(),
            tls_keys: KeyLog::default(),
            sealed: Vec::new(),
            sealed_more: 0,
        }
    }
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was seen beside messages.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The connections of TLS that have ended and could not be opened, the first ones by name, and how many more.
    #[must_use]
    pub fn sealed(&self) -> (&[SealedConnection], u64) {
        (&self.sealed, self.sealed_more)
    }

    /// Takes a key log of TLS ([`KeyLog`]): it has to come before the connections that it opens.
    pub fn tls_keys(&mut self, log: &[u8]) {
        self.tls_keys.add(log);
    }

    /// Takes a packet.
    pub fn packet(&mut self, packet: &Packet<'_>, out: &mut impl FnMut(Event<'_>)) {
        self.now = packet.time;
        match packet::parse(packet.link, packet.data) {
            Ok(Carried { source, destination, transport: Transport::Tcp(segment) }) => {
                self.segment(source, destination, &segment, packet.comment, out);
            }
            Ok(Carried { source, destination, transport: Transport::Udp(payload, is_cut) }) => {
                if source.port() == PORT || destination.port() == PORT || is_discovery(payload) {
                    let now = self.now;
                    let seen = Seen { began: now, ended: now, source, destination, over: Over::Udp };
                    self.discovery(payload, is_cut, Some(seen), packet.comment, out);
                }
            }
            Err(Skipped::Fragment) => self.counters.fragments += 1,
            Err(Skipped::Link) => self.counters.unknown_link += 1,
            Err(Skipped::Other) => {}
        }
    }

    /// Takes a datagram of discovery.
    pub fn datagram(&mut self, payload: &[u8], seen: Option<Seen>, out: &mut impl FnMut(Event<'_>)) {
        self.discovery(payload, false, seen, "", out);
    }

    fn discovery(
        &mut self,
        payload: &[u8],
        is_cut: bool,
        seen: Option<Seen>,
        comment: &str,
        out: &mut impl FnMut(Event<'_>),
    ) {
        let Some(mut tree) = dissect_datagram(payload) else { return };
        if is_cut {
            cut_off(&mut tree);
        }
        let text = |name| tree.find(name).and_then(Node::text).map(str::to_owned);
        let answers = text("RelatesTo").and_then(|id| self.probes.get_mut(&id)).map(|probe| {
            probe.is_answered = true;
            probe.asked.clone()
        });
        let is_request = tree.name == "Probe";
        let id = text("MessageID").filter(|id| id.len() <= MAX_MESSAGE_ID);
        self.messages += 1;
        let number = self.messages;
        let asked = Answered::new(number, &tree, seen);
        out(Event::Message(Message { number, seen, answers, is_request, is_cut, comment, tree }));
        if let (true, Some(id)) = (is_request, id)
            && !self.probes.contains_key(&id)
        {
            if self.probe_order.len() == MAX_PROBES {
                self.forget_probe(out);
            }
            self.probe_order.push_back(id.clone());
            self.probes.insert(id, Probe { asked, is_answered: false });
        }
    }

    /// Waits no longer for answers to the oldest Probe; returns whether there was one.
    fn forget_probe(&mut self, out: &mut impl FnMut(Event<'_>)) -> bool {
        let Some(id) = self.probe_order.pop_front() else { return false };
        if let Some(Probe { asked, is_answered: false }) = self.probes.remove(&id) {
            out(Event::Unanswered(asked));
        }
        true
    }

    /// Takes one side of an HTTP connection that came without packets.
    pub fn http(&mut self, bytes: &[u8], out: &mut impl FnMut(Event<'_>)) {
        let (mut connection, mut budget) = (Connection::new(None), Budget::new(MAX_HELD));
        let mut around = Around { now: 0, budget: &mut budget, tls_keys: &self.tls_keys };
        // In pieces, so that what is to be said of requests does not wait for the end.
        let pieces = bytes.chunks(PIECE).map(Piece::Data).chain([Piece::End]);
        for piece in pieces {
            connection.piece(0, &piece, &mut around, &mut |found| number(found, "", &mut self.messages, out));
            // Answers are on the other side.
            connection.unpaired();
        }
    }

    /// Takes bytes that came alone as the message of this form. Heads of HTTP without a word of the protocols, and
    /// other messages of WS-Discovery, are none.
    pub fn message(&mut self, form: Form, bytes: &[u8], out: &mut impl FnMut(Event<'_>)) {
        let mut found = |tree: Tree<'_>| {
            self.messages += 1;
            let is_request = tree.name == "request";
            let (number, is_cut) = (self.messages, false);
            let message = Message { number, seen: None, answers: None, is_request, is_cut, comment: "", tree };
            out(Event::Message(message));
        };
        match form {
            Form::Structure(structure) => found(dissect(structure, bytes)),
            Form::Headers(name) => {
                connection::head(name, bytes, found);
            }
            Form::Datagram(_) => self.datagram(bytes, None, out),
        }
    }

    /// There are no more packets.
    pub fn finish(&mut self, out: &mut impl FnMut(Event<'_>)) {
        while let Some((_, ends)) = self.heard.pop_first() {
            self.close(ends, out);
        }
        while self.forget_probe(out) {}
    }

    fn segment(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        segment: &Segment<'_>,
        comment: &str,
        out: &mut impl FnMut(Event<'_>),
    ) {
        let ends = if source <= destination { [source, destination] } else { [destination, source] };
        if self.connections.get(&ends).is_some_and(|(_, connection)| connection.is_over(source, segment)) {
            self.forget(ends, out);
        }
        self.clock += 1;
        if !self.connections.contains_key(&ends) {
            if segment.payload.is_empty() && !segment.syn {
                return;
            }
            if self.connections.len() == MAX_CONNECTIONS
                && let Some((_, silent)) = self.heard.pop_first()
            {
                self.close(silent, out);
            }
            self.counters.connections += 1;
            self.connections.insert(ends, (self.clock, Connection::new(Some([source, destination]))));
        }
        let Some((heard, connection)) = self.connections.get_mut(&ends) else { return };
        self.heard.remove(heard);
        *heard = self.clock;
        self.heard.insert(self.clock, ends);
        let side = connection.side_of(source);
        let (messages, counters) = (&mut self.messages, &mut self.counters);
        let mut around = Around { now: self.now, budget: &mut self.budget, tls_keys: &self.tls_keys };
        let mut hand_on = |found: Found<'_>, comment: &str| number(found, comment, messages, out);
        let next = Some((side, segment));
        passing::release(connection, next, &mut around, counters, &mut hand_on);
        if !connection.hold(side, segment, comment, &mut around) {
            passing::take(connection, side, segment, comment, &mut around, counters, &mut hand_on);
        }
        passing::release(connection, next, &mut around, counters, &mut hand_on);
        connection.unpaired().into_iter().for_each(|asked| out(Event::Unpaired(asked)));
        if segment.rst {
            self.forget(ends, out);
        }
        while self.budget.left() < RESERVE && self.connections.len() > 1 {
            let Some((_, silent)) = self.heard.pop_first() else { break };
            self.close(silent, out);
        }
    }

    fn forget(&mut self, ends: Ends, out: &mut impl FnMut(Event<'_>)) {
        if let Some((heard, _)) = self.connections.get(&ends) {
            self.heard.remove(heard);
        }
        self.close(ends, out);
    }

    fn close(&mut self, ends: Ends, out: &mut impl FnMut(Event<'_>)) {
        let Some((_, mut connection)) = self.connections.remove(&ends) else { return };
        let (messages, counters) = (&mut self.messages, &mut self.counters);
        let mut around = Around { now: self.now, budget: &mut self.budget, tls_keys: &self.tls_keys };
        let mut hand_on = |found: Found<'_>, comment: &str| number(found, comment, messages, out);
        passing::release(&mut connection, None, &mut around, counters, &mut hand_on);
        // Requests first, so that answers find them.
        for side in 0..2 {
            passing::end(&mut connection, side, &mut around, counters, &mut hand_on);
        }
        counters.unread_heads += connection.unread();
        match connection.sealed() {
            Some(sealed) if self.sealed.len() < MAX_SEALED => self.sealed.push(sealed),
            sealed => self.sealed_more += u64::from(sealed.is_some()),
        }
        connection.unpaired().into_iter().for_each(|asked| out(Event::Unpaired(asked)));
        connection.unanswered(around.budget).for_each(|asked| out(Event::Unanswered(asked)));
    }
}

/// Takes from a datagram without its end what was not read whole.
fn cut_off(tree: &mut Tree<'_>) {
    let end = tree.bytes.trim_ascii_end().len();
    tree.fields.retain(|field| field.offset + field.size < end);
    // The XML is not what is wrong.
    tree.faults.clear();
    connection::not_whole(tree, http::LOST);
}

/// Numbers a message and hands it on.
fn number(found: Found<'_>, comment: &str, messages: &mut u64, out: &mut impl FnMut(Event<'_>)) -> u64 {
    *messages += 1;
    let Found { tree, seen, answers, is_request, is_cut } = found;
    out(Event::Message(Message { number: *messages, seen, answers, is_request, is_cut, comment, tree }));
    *messages
}
