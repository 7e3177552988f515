//! Captures taken apart: packets, connections, HTTP, and the messages of the protocols in them.
//!
//! Memory is bounded whatever the capture: the number of connections, the bytes that wait for those before them, and
//! the bodies that are not whole yet. Nothing is kept of what was handed on, but for the Probes whose answers may come.
//!
//! ```text
//! file -> packet -> tcp -> (tls) -> http -> connection -> Event
//!               \-> UDP 3702 ---------------------------/
//! ```

mod connection;
mod conversation;
mod file;
mod http;
mod keys;
mod message;
mod packet;
mod summary;
mod tcp;
mod tls;

pub use conversation::Conversation;
pub use file::{Captured, End, Nanoseconds, Packet, is_capture, packets};
pub use keys::{KeyRing, Opened, Verdict, Working};
pub use message::{Answered, Event, Message, Over, Seen, derived_ids, short, what};
pub use summary::{Asking, Host, Summary, seconds};
pub use tls::KeyLog;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

use peerdist_protocol::discovery::PORT;
use peerdist_protocol::schema::{Form, Node, Tree, dissect, dissect_datagram};

use connection::{Around, Connection, Found};
use packet::{Carried, Segment, Skipped, Transport};
use tcp::{Budget, Piece};

/// The most connections that are followed at once; the one that was silent longest is given up for a new one.
const MAX_CONNECTIONS: usize = 16_384;
/// The most bytes that wait, or are in bodies that are not whole, of all connections together.
const MAX_HELD: usize = 64 << 20;
/// The most Probes whose answers may still come.
const MAX_PROBES: usize = 4096;

/// Whether bytes begin like a message of HTTP.
#[must_use]
pub fn is_http(bytes: &[u8]) -> bool {
    bytes.len() > 8 && http::begins(bytes)
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
    /// The MessageIDs of Probes.
    probes: HashMap<String, Answered>,
    probe_order: VecDeque<String>,
    messages: u64,
    now: Nanoseconds,
    counters: Counters,
    tls_keys: KeyLog,
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
            Ok(Carried { source, destination, transport: Transport::Udp(payload) }) => {
                if source.port() == PORT || destination.port() == PORT {
                    let now = self.now;
                    let seen = Seen { began: now, ended: now, source, destination, over: Over::Udp };
                    self.discovery(payload, Some(seen), packet.comment, out);
                }
            }
            Err(Skipped::Fragment) => self.counters.fragments += 1,
            Err(Skipped::Link) => self.counters.unknown_link += 1,
            Err(Skipped::Other) => {}
        }
    }

    /// Takes a datagram of discovery.
    pub fn datagram(&mut self, payload: &[u8], seen: Option<Seen>, out: &mut impl FnMut(Event<'_>)) {
        self.discovery(payload, seen, "", out);
    }

    fn discovery(&mut self, payload: &[u8], seen: Option<Seen>, comment: &str, out: &mut impl FnMut(Event<'_>)) {
        let Some(tree) = dissect_datagram(payload) else { return };
        let text = |name| tree.find(name).and_then(Node::text).map(str::to_owned);
        let answers = text("RelatesTo").and_then(|id| self.probes.get(&id)).cloned();
        let is_probe = tree.name == "Probe";
        let (name, what, id) = (tree.name, what(&tree), text("MessageID"));
        self.messages += 1;
        let number = self.messages;
        let is_request = is_probe;
        out(Event::Message(Message { number, seen, answers, is_request, is_cut: false, comment, tree }));
        if let (true, Some(id)) = (is_probe, id)
            && !self.probes.contains_key(&id)
        {
            if self.probe_order.len() == MAX_PROBES
                && let Some(oldest) = self.probe_order.pop_front()
            {
                self.probes.remove(&oldest);
            }
            self.probe_order.push_back(id.clone());
            self.probes.insert(id, Answered { number, name, what, seen });
        }
    }

    /// Takes one side of an HTTP connection that came without packets.
    pub fn http(&mut self, bytes: &[u8], out: &mut impl FnMut(Event<'_>)) {
        let (mut connection, mut budget) = (Connection::new(None), Budget::new(MAX_HELD));
        let mut around = Around { now: 0, budget: &mut budget, tls_keys: &self.tls_keys };
        for piece in [Piece::Data(bytes), Piece::End] {
            connection.piece(0, &piece, &mut around, &mut |found| number(found, "", &mut self.messages, out));
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
        // The same ports again are another connection; a SYN that comes twice is not.
        let begins = segment.syn && segment.acknowledged.is_none();
        if begins && self.connections.get(&ends).is_some_and(|(_, connection)| connection.has_ended()) {
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
        let mut hand_on = |found: Found<'_>, comment| number(found, comment, messages, out);
        // Who sends on has had what it acknowledges.
        if let Some(acknowledged) = segment.acknowledged.filter(|_| !segment.payload.is_empty()) {
            let step = Step::Acknowledged(acknowledged);
            reassemble(connection, 1 - side, &step, &mut around, counters, &mut |found| hand_on(found, ""));
        }
        let step = Step::Segment(segment);
        reassemble(connection, side, &step, &mut around, counters, &mut |found| hand_on(found, comment));
        if segment.rst {
            self.forget(ends, out);
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
        // Requests first, so that answers find them.
        for side in 0..2 {
            reassemble(&mut connection, side, &Step::End, &mut around, counters, &mut |found| {
                number(found, "", messages, out)
            });
        }
        connection.unanswered().for_each(|asked| out(Event::Unanswered(asked)));
    }
}

/// What happens to a direction of a connection.
enum Step<'a> {
    Segment(&'a Segment<'a>),
    Acknowledged(u32),
    End,
}

/// Hands a step through the reassembly to the readers of HTTP.
fn reassemble(
    connection: &mut Connection,
    side: usize,
    step: &Step<'_>,
    around: &mut Around<'_>,
    counters: &mut Counters,
    hand_on: &mut impl FnMut(Found<'_>) -> u64,
) {
    let Some(direction) = connection.direction(side) else { return };
    let mut direction = std::mem::take(direction);
    // The reader needs the budget for bodies while the reassembly has it for what waits.
    let mut ready = Vec::new();
    let mut collect = |piece: Piece<'_>| {
        ready.push(match piece {
            Piece::Data(data) => Ready::Data(data.to_vec()),
            Piece::Gap(size) => Ready::Gap(size),
            Piece::End => Ready::End,
        });
    };
    match step {
        Step::Segment(segment) => direction.segment(segment, around.budget, &mut collect),
        Step::Acknowledged(sequence) => direction.acknowledged(*sequence, around.budget, &mut collect),
        Step::End => direction.finish(around.budget, &mut collect),
    }
    if let Some(place) = connection.direction(side) {
        *place = direction;
    }
    for piece in &ready {
        let piece = match piece {
            Ready::Data(data) => Piece::Data(data),
            Ready::Gap(size) => {
                counters.lost_bytes = counters.lost_bytes.saturating_add(*size);
                Piece::Gap(*size)
            }
            Ready::End => Piece::End,
        };
        connection.piece(side, &piece, around, hand_on);
    }
}

/// A [`Piece`] with bytes of its own.
enum Ready {
    Data(Vec<u8>),
    Gap(u64),
    End,
}

/// Numbers a message and hands it on.
fn number(found: Found<'_>, comment: &str, messages: &mut u64, out: &mut impl FnMut(Event<'_>)) -> u64 {
    *messages += 1;
    let Found { tree, seen, answers, is_request, is_cut } = found;
    out(Event::Message(Message { number: *messages, seen, answers, is_request, is_cut, comment, tree }));
    *messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Packets of a few connections, of which the headers mostly make sense.
    fn packets() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let texts = prop::sample::select(vec![
            &b"POST /116B50EB-ECE2-41ac-8429-9F9E963361B7/ HTTP/1.1\r\nContent-Length: 68\r\n\r\n"[..],
            b"POST /0131501b-d67f-491b-9a40-c4bf27bcb4d4 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: peerdist\r\n\r\n\x00\x01",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0\0\0\x01\0",
            b"GET / HTTP/1.1\r\nAccept-Encoding: peerdist\r\n\r\n",
        ]);
        let payload = prop_oneof![texts.prop_map(<[u8]>::to_vec), prop::collection::vec(any::<u8>(), 0..100)];
        let packet = (any::<bool>(), 0..3u16, 0..400u32, any::<u8>(), payload);
        let build = |(back, port, sequence, flags, payload): (bool, u16, u32, u8, Vec<u8>)| {
            let (from, to) = if back { (80, 1000 + port) } else { (1000 + port, 80) };
            let mut builder =
                etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 1], 1).tcp(from, to, sequence, 1);
            if flags & 0x0f == 0 {
                builder = builder.syn();
            }
            if flags & 0xf0 == 0 {
                builder = builder.fin();
            }
            let mut packet = Vec::new();
            builder.write(&mut packet, &payload).unwrap();
            packet
        };
        prop::collection::vec(
            prop_oneof![4 => packet.prop_map(build), 1 => prop::collection::vec(any::<u8>(), 0..60)],
            0..40,
        )
    }

    proptest! {
        #[test]
        fn whatever_is_captured_nothing_panics_and_all_memory_is_given_back(packets in packets()) {
            let mut decoder = Decoder::new();
            let mut numbers = Vec::new();
            let mut out = |event: Event<'_>| if let Event::Message(message) = event { numbers.push(message.number) };
            for (number, data) in (1..).zip(&packets) {
                decoder.packet(&Packet { number, time: number, link: 101, data, comment: "" }, &mut out);
            }
            decoder.finish(&mut out);
            prop_assert!(decoder.connections.is_empty() && decoder.heard.is_empty());
            prop_assert!(decoder.budget == Budget::new(MAX_HELD));
            prop_assert_eq!(&numbers, &(1..=numbers.len() as u64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_connection_that_was_silent_longest_makes_room() {
        let mut decoder = Decoder::new();
        let request = b"POST /116B50EB-ECE2-41ac-8429-9F9E963361B7/ HTTP/1.1\r\nContent-Length: 4\r\n\r\nabc";
        let mut events = Vec::new();
        for connection in 0..MAX_CONNECTIONS as u32 + 10 {
            let [_, _, high, low] = connection.to_be_bytes();
            let mut packet = Vec::new();
            let builder = etherparse::PacketBuilder::ipv4([10, 0, high, low], [10, 1, 0, 1], 1).tcp(1000, 80, 1, 1);
            builder.write(&mut packet, request).unwrap();
            let packet = Packet { number: 1, time: 0, link: 101, data: &packet, comment: "" };
            decoder.packet(&packet, &mut |event| events.push(matches!(event, Event::Message(_))));
        }
        // Each that was given up says what there was of its request, and that nobody has answered it.
        assert_eq!(events, [true, false].repeat(10));
        assert_eq!(decoder.connections.len(), MAX_CONNECTIONS);
    }
}
