//! The decoder on packets that are made here.

use super::*;
use peerdist_protocol::retrieval::PATH;
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
        let mut builder = etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 1], 1).tcp(from, to, sequence, 1);
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

/// One side of a connection that says things in order.
struct Sender {
    from: (u32, u16),
    to: (u32, u16),
    next: u32,
    acknowledged: u32,
}

impl Sender {
    /// Both sides of a connection of client number `client`.
    fn pair(client: u32) -> [Self; 2] {
        let [client, server] = [(0x0a00_0000 | client, 1000), (0x0a01_0000, 80)];
        [(client, server), (server, client)].map(|(from, to)| Self { from, to, next: 1, acknowledged: 1 })
    }

    /// A packet at a sequence number.
    fn at(&self, sequence: u32, payload: &[u8], flags: &str) -> Vec<u8> {
        let address = |(address, _): (u32, u16)| address.to_be_bytes();
        let builder = etherparse::PacketBuilder::ipv4(address(self.from), address(self.to), 1);
        let mut builder = builder.tcp(self.from.1, self.to.1, sequence, 1000);
        for flag in flags.chars() {
            builder = match flag {
                'S' => builder.syn(),
                'F' => builder.fin(),
                _ => builder.ack(self.acknowledged),
            };
        }
        let mut packet = Vec::new();
        builder.write(&mut packet, payload).unwrap();
        packet
    }

    fn say(&mut self, payload: &[u8]) -> Vec<u8> {
        let packet = self.at(self.next, payload, "A");
        self.next = self.next.wrapping_add(payload.len() as u32);
        packet
    }
}

/// What a decoder says of packets: the messages with the number of what they answer, then requests without an answer.
#[derive(Default)]
struct Said {
    decoder: Decoder,
    messages: Vec<(u64, &'static str, Option<u64>)>,
    unanswered: Vec<Answered>,
    unpaired: Vec<u64>,
}

impl Said {
    fn packet(&mut self, data: &[u8]) {
        let packet = Packet { number: 1, time: 0, link: 101, data, comment: "" };
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.packet(&packet, &mut |event| self.note(event));
        self.decoder = decoder;
    }

    fn finish(&mut self) {
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.finish(&mut |event| self.note(event));
        self.decoder = decoder;
    }

    fn note(&mut self, event: Event<'_>) {
        match event {
            Event::Message(Message { number, answers, tree, .. }) => {
                self.messages.push((number, tree.name, answers.map(|answered| answered.number)));
            }
            Event::Unanswered(answered) => self.unanswered.push(answered),
            Event::Unpaired(answered) => self.unpaired.push(answered.number),
        }
    }
}

const GET: &[u8] = b"GET /f HTTP/1.1\r\nAccept-Encoding: peerdist\r\n\r\n";
const NONE: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

#[test]
fn connections_whose_heads_never_end_make_room_for_others() {
    let mut said = Said::default();
    for client in 1..1500 {
        let [mut asks, _] = Sender::pair(client);
        said.packet(&asks.say(&[b"GET /", &[b'a'; 60_000][..]].concat()));
    }
    assert!(said.decoder.connections.len() < MAX_HELD / 60_000, "{}", said.decoder.connections.len());
    let [mut asks, mut answers] = Sender::pair(0);
    said.packet(&asks.say(GET));
    answers.acknowledged = asks.next;
    said.packet(&answers.say(NONE));
    assert_eq!(said.messages, [(1, "request", None), (2, "HTTP_RESPONSE", Some(1))]);
    said.finish();
    assert!(said.decoder.budget == Budget::new(MAX_HELD));
}

#[test]
fn little_is_kept_of_a_request_with_a_long_target() {
    let (mut said, [mut asks, _]) = (Said::default(), Sender::pair(0));
    let target = "\u{e9}".repeat(20_000);
    let request = format!("GET /{target} HTTP/1.1\r\nAccept-Encoding: peerdist\r\n\r\n");
    said.packet(&asks.say(request.as_bytes()));
    assert!(MAX_HELD - said.decoder.budget.left() < 2000, "{:?}", said.decoder.budget);
    said.finish();
    let what = &said.unanswered[0].what;
    assert!(what.starts_with("GET /\u{e9}") && what.ends_with("..") && what.len() <= 256, "{what}");
}

#[test]
fn a_probe_with_a_huge_id_is_shown_and_not_kept() {
    let mut decoder = Decoder::new();
    let mut count = 0;
    for size in [10, 64_000] {
        let id = "a".repeat(size);
        let probe = format!(
            "<Envelope><Header><Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</Action>\
             <MessageID>{id}</MessageID></Header><Body><Probe><Types>PeerDist:PeerDistDataV2</Types></Probe></Body>\
             </Envelope>"
        );
        decoder.datagram(probe.as_bytes(), None, &mut |_| count += 1);
    }
    assert_eq!((count, decoder.probes.len()), (2, 1));
}

/// An exchange after the handshake, from these sequence numbers on.
fn connection(said: &mut Said, first: [u32; 2]) -> [Sender; 2] {
    let [mut asks, mut answers] = Sender::pair(0);
    for (side, first) in [&mut asks, &mut answers].into_iter().zip(first) {
        side.next = first.wrapping_add(1);
    }
    // The SYN comes twice.
    said.packet(&asks.at(first[0], b"", "S"));
    said.packet(&asks.at(first[0], b"", "S"));
    asks.acknowledged = answers.next;
    said.packet(&answers.at(first[1], b"", "SA"));
    said.packet(&asks.say(GET));
    answers.acknowledged = asks.next;
    said.packet(&answers.say(NONE));
    asks.acknowledged = answers.next;
    [asks, answers]
}

#[test]
fn the_same_ports_again_are_another_connection() {
    for (second, end) in [([1000, 5000], ""), ([900_000, 5_000_000], ""), ([1000, 5000], "F"), ([100_000, 7], "F")] {
        let mut said = Said::default();
        let [asks, _] = connection(&mut said, [100_000, 200_000]);
        if !end.is_empty() {
            said.packet(&asks.at(asks.next, b"", "FA"));
        }
        connection(&mut said, second);
        said.finish();
        let pairs: Vec<_> = said.messages.iter().map(|(number, _, answers)| (*number, *answers)).collect();
        assert_eq!(pairs, [(1, None), (2, Some(1)), (3, None), (4, Some(3))], "{second:?} {end}");
        assert_eq!(said.decoder.counters(), Counters { connections: 2, ..Counters::default() }, "{second:?} {end}");
    }
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nX-P2P-PeerDist: Version=1.1\r\nContent-Length: 0\r\n\r\n";

#[test]
fn answers_to_more_requests_than_are_kept_are_not_paired_until_all_have_come() {
    let count = pending::MAX_ASKED + 6;
    let (mut said, [mut asks, mut answers]) = (Said::default(), Sender::pair(0));
    (0..count).for_each(|_| said.packet(&asks.say(GET)));
    answers.acknowledged = asks.next;
    (0..count).for_each(|_| said.packet(&answers.say(HEAD)));
    assert_eq!(said.messages.len(), 2 * count);
    assert!(said.messages.iter().all(|(.., answers)| answers.is_none()));
    assert_eq!(said.unpaired, (1..=count as u64).collect::<Vec<_>>());
    asks.acknowledged = answers.next;
    said.packet(&asks.say(GET));
    answers.acknowledged = asks.next;
    said.packet(&answers.say(HEAD));
    let asked = 2 * count as u64 + 1;
    assert_eq!(said.messages.last(), Some(&(asked + 1, "response", Some(asked))));
    said.finish();
    assert!(said.unanswered.is_empty() && said.unpaired.len() == count);
}

#[test]
fn answers_are_not_paired_where_a_request_among_several_was_not_captured() {
    for lost in 0..3 {
        let (mut said, [mut asks, mut answers]) = (Said::default(), Sender::pair(0));
        said.packet(&asks.at(0, b"", "S"));
        for request in 0..3 {
            let packet = asks.say(GET);
            if request != lost {
                said.packet(&packet);
            }
        }
        answers.acknowledged = asks.next;
        (0..3).for_each(|_| said.packet(&answers.say(HEAD)));
        let pairs: Vec<_> =
            said.messages.iter().filter_map(|(number, _, answers)| answers.map(|to| (to, *number))).collect();
        assert_eq!(pairs, [], "{lost}");
        asks.acknowledged = answers.next;
        said.packet(&asks.say(GET));
        answers.acknowledged = asks.next;
        said.packet(&answers.say(HEAD));
        assert_eq!(said.messages.last(), Some(&(7, "response", Some(6))), "{lost}");
        said.finish();
        assert_eq!((said.unpaired.len(), said.unanswered.len()), (2, 0), "{lost}");
    }
}

#[test]
fn an_answer_that_was_captured_before_its_request_is_paired_with_it() {
    for (count, behind) in [(1, 1), (2, 1), (5, 3)] {
        let (mut said, [mut asks, mut answers]) = (Said::default(), Sender::pair(0));
        said.packet(&asks.at(0, b"", "S"));
        for _ in 0..3 {
            let requests: Vec<_> = (0..count).map(|_| asks.say(GET)).collect();
            answers.acknowledged = asks.next;
            let answered: Vec<_> = (0..count).map(|_| answers.say(HEAD)).collect();
            asks.acknowledged = answers.next;
            let (in_time, late) = requests.split_at(count - behind);
            in_time.iter().chain(&answered).chain(late).for_each(|packet| said.packet(packet));
        }
        said.finish();
        let pairs: Vec<_> = said.messages.iter().map(|(_, name, answers)| (*name, answers.is_some())).collect();
        let round = [vec![("request", false); count], vec![("response", true); count]].concat();
        assert_eq!(pairs, round.repeat(3), "{count} {behind}");
        assert_eq!(said.decoder.counters().lost_bytes, 0);
        assert!(said.decoder.budget == Budget::new(MAX_HELD));
    }
}

#[test]
fn an_answer_does_not_wait_for_ever_for_a_request_that_was_not_captured() {
    // Until the client goes on, the server has sent much, time has passed, or the capture ends.
    for case in 0..4 {
        let (mut said, [mut asks, mut answers]) = (Said::default(), Sender::pair(0));
        said.packet(&asks.at(0, b"", "S"));
        let _lost = asks.say(GET);
        answers.acknowledged = asks.next;
        said.packet(&answers.say(HEAD));
        assert_eq!(said.messages.len(), 0, "{case}");
        asks.acknowledged = answers.next;
        match case {
            0 => said.packet(&asks.say(GET)),
            1 => (0..20).for_each(|_| said.packet(&answers.say(HEAD))),
            2 => {
                let data = answers.at(answers.next, b"", "A");
                let late = Packet { number: 1, time: 200_000_000, link: 101, data: &data, comment: "" };
                let mut decoder = std::mem::take(&mut said.decoder);
                decoder.packet(&late, &mut |event| said.note(event));
                said.decoder = decoder;
            }
            _ => said.finish(),
        }
        assert_eq!(said.messages.first(), Some(&(1, "response", None)), "{case}");
        assert_eq!(said.decoder.counters().lost_bytes, GET.len() as u64, "{case}");
        said.finish();
        assert!(said.decoder.budget == Budget::new(MAX_HELD));
    }
}

#[test]
fn a_message_beyond_the_limit_is_cut_off_and_not_malformed() {
    let head = b"POST /116B50EB-ECE2-41ac-8429-9F9E963361B7/ HTTP/1.1\r\nContent-Length: 500000\r\n\r\n";
    let bytes = [&head[..], &[0; 500_000]].concat();
    let mut found = Vec::new();
    Decoder::new().http(&bytes, &mut |event| {
        let Event::Message(Message { is_cut, tree, .. }) = event else { panic!("{event:?}") };
        found.push((is_cut, tree.size, tree.faults.iter().map(|fault| fault.rule.clone()).collect::<Vec<_>>()));
    });
    let rule = format!("the message is not whole: {}", http::TOO_LARGE);
    assert_eq!(found, [(true, 500_000, vec![rule])]);
}

#[test]
fn the_summary_does_not_say_that_nobody_answered_where_that_is_not_known() {
    let (mut decoder, mut summary, mut said) = (Decoder::new(), Summary::default(), Vec::new());
    let [mut asks, _] = Sender::pair(0);
    for _ in 0..=pending::MAX_ASKED {
        let packet = asks.say(GET);
        let packet = Packet { number: 1, time: 0, link: 101, data: &packet, comment: "" };
        decoder.packet(&packet, &mut |event| said.extend(summary.event(&event, None)));
    }
    assert_eq!(said.len(), pending::MAX_ASKED + 1);
    assert!(said.iter().all(|asking| asking.result == "answer not known" && asking.took.is_none()));
    assert_eq!(summary.hosts().map(|(_, host)| host.unanswered).sum::<u64>(), 0);
}

#[test]
fn answers_are_not_paired_after_a_request_that_cannot_be_read() {
    let (mut said, [mut asks, mut answers]) = (Said::default(), Sender::pair(0));
    said.packet(&asks.say(&[GET, b"GET /\r\n\r\n", GET].concat()));
    (0..3).for_each(|_| said.packet(&answers.say(HEAD)));
    assert!(said.messages.iter().all(|(.., answers)| answers.is_none()), "{:?}", said.messages);
    asks.acknowledged = answers.next;
    said.packet(&asks.say(GET));
    answers.acknowledged = asks.next;
    said.packet(&answers.say(HEAD));
    assert_eq!(said.messages.last(), Some(&(7, "response", Some(6))));
    said.finish();
    assert_eq!(said.decoder.counters().unread_heads, 1);
}

/// A request for a block, and an answer with one.
fn exchange(asked: u32, told: u32) -> [Vec<u8>; 2] {
    let id = [&[0, 0, 0, 32][..], &[7; 32]].concat();
    let message = |kind: u8, parts: &[&[u8]]| {
        let body = [&id[..], &parts.concat()].concat();
        [&[0, 0, 0, 1, 0, 0, 0, kind][..], &(16 + body.len() as u32).to_be_bytes(), &[0, 0, 0, 1], &body].concat()
    };
    let request = message(3, &[&[0, 0, 0, 1], &asked.to_be_bytes(), &[0, 0, 0, 1], &[0; 4]]);
    let block = message(5, &[&told.to_be_bytes(), &[0, 0, 0, 0, 0, 0, 0, 16], &[1; 16], &[0; 8]]);
    let answer = [&(block.len() as u32).to_be_bytes()[..], &block].concat();
    [
        [format!("POST {PATH} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", request.len()).into_bytes(), request].concat(),
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len()).into_bytes(), answer].concat(),
    ]
}

/// The packets of a connection: its handshake, and exchanges one after the other, each of a request and its answer.
fn packets_of(exchanges: impl IntoIterator<Item = [Vec<u8>; 2]>) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let [mut asks, mut answers] = Sender::pair(0);
    let handshake = vec![asks.at(0, b"", "S"), answers.at(0, b"", "SA")];
    let mut packets = Vec::new();
    for [request, answer] in exchanges {
        packets.push(asks.say(&request));
        answers.acknowledged = asks.next;
        packets.push(answers.say(&answer));
        asks.acknowledged = answers.next;
    }
    (handshake, packets)
}

#[test]
fn an_answer_that_cannot_be_to_a_request_is_paired_with_it_only_where_nothing_was_lost() {
    let (handshake, packets) = packets_of([exchange(1, 2)]);
    for (handshake, pairs, unpaired) in [(&handshake[..], Some(1), &[][..]), (&[], None, &[1])] {
        let mut said = Said::default();
        handshake.iter().chain(&packets).for_each(|packet| said.packet(packet));
        assert_eq!(said.messages, [(1, "MSG_GETBLKS", None), (2, "MSG_BLK", pairs)]);
        said.finish();
        assert_eq!((&said.unpaired[..], said.unanswered.len()), (unpaired, 0));
        assert!(said.decoder.budget == Budget::new(MAX_HELD));
    }
    let (_, packets) = packets_of([exchange(1, 1)]);
    let mut said = Said::default();
    packets.iter().for_each(|packet| said.packet(packet));
    assert_eq!(said.messages.last(), Some(&(2, "MSG_BLK", Some(1))));
}

/// Which block every answer has that was paired, and which one was asked for.
fn pairs(packets: &[Vec<u8>]) -> (Vec<(u64, u64)>, Said) {
    let (mut said, mut blocks, mut pairs) = (Said::default(), HashMap::new(), Vec::new());
    let mut note = |event: Event<'_>| {
        let Event::Message(message) = event else { return };
        let asked =
            message.tree.find("ReqBlockRanges").and_then(|ranges| ranges.children()[0].child("Index")?.integer());
        if let Some(block) = asked.or(message.tree.integer("BlockIndex")) {
            blocks.insert(message.number, block);
            pairs.extend(message.answers.map(|request| (blocks[&request.number], block)));
        }
    };
    for data in packets {
        said.decoder.packet(&Packet { number: 1, time: 0, link: 101, data, comment: "" }, &mut note);
    }
    said.decoder.finish(&mut note);
    assert!(said.decoder.budget == Budget::new(MAX_HELD));
    (pairs, said)
}

#[test]
fn packets_that_changed_places_in_both_directions_wait_for_each_other() {
    let (handshake, packets) = packets_of((1..=8).map(|block| exchange(block, block)));
    for order in [[3, 2, 1, 0], [1, 3, 0, 2], [3, 1, 0, 2]] {
        let mut changed = [&handshake[..], &packets].concat();
        for (place, from) in (8..).zip(order) {
            changed[place].clone_from(&packets[6 + from]);
        }
        let (pairs, said) = pairs(&changed);
        assert_eq!(pairs, (1..=8).map(|block| (block, block)).collect::<Vec<_>>(), "{order:?}");
        assert_eq!(said.decoder.counters().lost_bytes, 0, "{order:?}");
    }
}

#[test]
fn where_a_capture_begins_with_answers_before_their_requests_none_is_paired_with_another_one() {
    let packets = packets_of([(); 6].map(|()| [GET.to_vec(), HEAD.to_vec()])).1;
    let requests: Vec<_> = packets.iter().step_by(2).collect();
    let answers: Vec<_> = packets.iter().skip(1).step_by(2).collect();
    for late in 1..4 {
        let mut said = Said::default();
        answers[..late].iter().for_each(|answer| said.packet(answer));
        for (request, answer) in requests.iter().zip(&answers[late..]) {
            said.packet(request);
            said.packet(answer);
        }
        said.finish();
        let of = |wanted| said.messages.iter().filter(move |(_, name, _)| *name == wanted);
        let mut pairs = of("request").zip(of("response"));
        assert!(pairs.all(|(asked, told)| told.2.is_none_or(|to| to == asked.0)), "{late}: {:?}", said.messages);
    }
    // One whose request came before the capture.
    let mut said = Said::default();
    packets[1..4].iter().for_each(|packet| said.packet(packet));
    assert_eq!(said.messages, [(1, "response", None), (2, "request", None), (3, "response", Some(2))]);
}

#[test]
fn a_request_that_was_not_captured_among_several_shifts_no_answers() {
    let (mut said, [mut asks, mut answers]) = (Said::default(), Sender::pair(0));
    said.packet(&asks.at(0, b"", "S"));
    said.packet(&answers.at(0, b"", "SA"));
    said.packet(&asks.say(GET));
    let _lost = asks.say(GET);
    said.packet(&asks.say(GET));
    answers.acknowledged = asks.next;
    (0..2).for_each(|_| said.packet(&answers.say(HEAD)));
    asks.acknowledged = answers.next;
    said.packet(&asks.say(GET));
    (0..2).for_each(|_| said.packet(&answers.say(HEAD)));
    assert!(said.messages.iter().all(|(.., answers)| answers.is_none()), "{:?}", said.messages);
    asks.acknowledged = answers.next;
    said.packet(&asks.say(GET));
    answers.acknowledged = asks.next;
    said.packet(&answers.say(HEAD));
    assert_eq!(said.messages.last(), Some(&(9, "response", Some(8))));
}
