//! The server machine alone: what it drops, what it answers, when, and how much.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{
    Arrival, DropReason, EndpointAddress, Form, Held, MessageId, Moment, Outcome, Probe, ProbeMatches, ProbeServer,
    Segments, ServerConfig,
};

const NOW: Moment = Duration::from_secs(100);
const LATER: Moment = Duration::from_secs(101);
const ALL: Held = Held { blocks: 8, complete: true, age: None };

fn config() -> ServerConfig {
    ServerConfig::new(EndpointAddress::from_random(1), 1_700_000_000, 8080)
}

fn id(number: u8) -> SegmentId {
    SegmentId::from_slice(&[number; 32]).unwrap()
}

fn probe(message: u128, form: Form, ids: &[SegmentId]) -> Vec<u8> {
    Probe::new(MessageId::from_uuid(message), form, ids.iter().copied()).unwrap().emit()
}

fn arrival(from: &str) -> Arrival {
    let from: SocketAddr = from.parse().unwrap();
    let local: IpAddr = if from.is_ipv4() { "192.0.2.1" } else { "fe80::1" }.parse().unwrap();
    Arrival { from, interface_key: 7, local, on_link: true }
}

fn outcome(server: &mut ProbeServer, at: Moment, from: &str, payload: &[u8]) -> Result<Outcome, DropReason> {
    server.handle_datagram(at, &arrival(from), payload, |_| Some(ALL)).map(|heard| heard.outcome)
}

fn answers(server: &mut ProbeServer, at: Moment, lookup: impl Fn(&SegmentId) -> Option<Held>) -> Vec<ProbeMatches> {
    server.handle_timeout(at, lookup);
    std::iter::from_fn(|| server.poll_transmit()).map(|reply| ProbeMatches::parse(&reply.payload).unwrap()).collect()
}

#[test]
fn an_answer_goes_to_the_source_with_the_address_of_the_interface() {
    for (from, xaddr) in [("192.0.2.9:50000", "192.0.2.1:8080"), ("[fe80::9%3]:50000", "[fe80::1]:8080")] {
        let mut server = ProbeServer::new(config(), 1);
        assert_eq!(outcome(&mut server, NOW, from, &probe(1, Form::V1, &[id(1)])), Ok(Outcome::Scheduled));
        server.handle_timeout(LATER, |_| Some(ALL));
        let reply = server.poll_transmit().unwrap();
        assert_eq!((reply.to, reply.interface_key), (from.parse().unwrap(), 7));
        let matches = ProbeMatches::parse(&reply.payload).unwrap();
        assert_eq!(matches.xaddrs, [xaddr.parse().unwrap()]);
        assert_eq!(matches.relates_to, MessageId::from_uuid(1));
        assert_eq!(matches.address, config().address);
        assert_eq!(matches.metadata_version, Some(1));
        assert_eq!(matches.app_sequence.unwrap().instance_id, 1_700_000_000);
        assert_eq!(server.poll_transmit(), None);
        assert_eq!(server.poll_timeout(), None);
    }
}

#[test]
fn the_back_off_is_one_to_sixty_five_milliseconds() {
    let mut server = ProbeServer::new(config(), 1);
    let mut delays = vec![];
    for message in 0..200 {
        let at = NOW + Duration::from_secs(1) * u32::try_from(message).unwrap();
        assert_eq!(
            outcome(&mut server, at, "192.0.2.9:1", &probe(message, Form::V2, &[id(1)])),
            Ok(Outcome::Scheduled)
        );
        let due = server.poll_timeout().unwrap();
        assert_eq!(answers(&mut server, due - Duration::from_nanos(1), |_| Some(ALL)), []);
        assert_eq!(answers(&mut server, due, |_| Some(ALL)).len(), 1);
        delays.push(due - at);
    }
    delays.sort();
    let (first, last) = (delays[0], delays[delays.len() - 1]);
    assert!(first >= Duration::from_millis(1) && last <= Duration::from_millis(65), "{first:?} {last:?}");
    assert!(first < Duration::from_millis(5) && last > Duration::from_millis(60), "{first:?} {last:?}");
}

#[test]
fn an_answer_says_what_is_held_when_it_leaves() {
    let mut server = ProbeServer::new(config(), 1);
    let ids = [id(1), id(2), id(3)];
    assert_eq!(outcome(&mut server, NOW, "192.0.2.9:1", &probe(1, Form::V1, &ids)), Ok(Outcome::Scheduled));
    let now = |held: &SegmentId| match *held {
        held if held == id(1) => Some(Held { blocks: 5, complete: false, age: None }),
        held if held == id(2) => Some(Held { blocks: 0, complete: false, age: None }),
        _ => None,
    };
    let [answer] = answers(&mut server, LATER, now).try_into().unwrap();
    let Segments::V1(segments) = answer.segments else { panic!("asked in version 1") };
    assert_eq!(segments.iter().map(|(scope, blocks)| (scope.id(), *blocks)).collect::<Vec<_>>(), [(id(1), Some(5))]);

    // All gone: silence, and no message number is used up.
    assert_eq!(outcome(&mut server, LATER, "192.0.2.9:1", &probe(2, Form::V2, &ids)), Ok(Outcome::Scheduled));
    assert_eq!(answers(&mut server, LATER * 2, |_| None), []);
    let later = LATER * 2;
    assert_eq!(outcome(&mut server, later, "192.0.2.9:1", &probe(3, Form::V2, &ids)), Ok(Outcome::Scheduled));
    let [answer] = answers(&mut server, later * 2, |_| Some(ALL)).try_into().unwrap();
    assert_eq!(answer.app_sequence.unwrap().message_number, 2);
    assert_eq!(answer.metadata_version, Some(2));
}

#[test]
fn every_answer_has_a_message_id_and_a_number_of_its_own() {
    let mut server = ProbeServer::new(config(), 1);
    let mut ids = BTreeSet::new();
    for message in 1..=20 {
        let at = NOW + Duration::from_secs(1) * u32::try_from(message).unwrap();
        let form = if message % 2 == 0 { Form::V1 } else { Form::V2 };
        assert_eq!(outcome(&mut server, at, "192.0.2.9:1", &probe(message, form, &[id(1)])), Ok(Outcome::Scheduled));
        let [answer] = answers(&mut server, at + LATER, |_| Some(ALL)).try_into().unwrap();
        assert!(answer.message_id.as_str().starts_with("urn:uuid:"));
        assert!(ids.insert(answer.message_id.as_str().to_owned()), "a MessageID came twice");
        assert_eq!(u128::from(answer.app_sequence.unwrap().message_number), message);
    }
}

#[test]
fn tokens_come_back_as_they_were_written() {
    let mut server = ProbeServer::new(config(), 1);
    let payload = String::from_utf8(probe(1, Form::V1, &[id(0xab), id(0xcd)])).unwrap();
    let mixed = payload.replace(&id(0xab).to_string(), &"aB".repeat(32));
    assert_eq!(outcome(&mut server, NOW, "192.0.2.9:1", mixed.as_bytes()), Ok(Outcome::Scheduled));
    server.handle_timeout(LATER, |_| Some(ALL));
    let reply = server.poll_transmit().unwrap().payload;
    let expected = format!("<wsd:Scopes>{} {}</wsd:Scopes>", "aB".repeat(32), "CD".repeat(32));
    assert!(std::str::from_utf8(&reply).unwrap().contains(&expected));
}

#[test]
fn each_message_id_is_answered_once() {
    let mut server = ProbeServer::new(config(), 1);
    let payload = probe(1, Form::V1, &[id(1)]);
    assert_eq!(outcome(&mut server, NOW, "192.0.2.9:1", &payload), Ok(Outcome::Scheduled));
    // The second copy, also over the other family, and after the answer has left.
    assert_eq!(outcome(&mut server, NOW, "192.0.2.9:1", &payload), Err(DropReason::Duplicate));
    assert_eq!(outcome(&mut server, NOW, "[fe80::9%3]:1", &payload), Err(DropReason::Duplicate));
    assert_eq!(answers(&mut server, LATER, |_| Some(ALL)).len(), 1);
    let at_the_end = NOW + Duration::from_millis(4_999);
    assert_eq!(outcome(&mut server, at_the_end, "192.0.2.9:1", &payload), Err(DropReason::Duplicate));
    server.handle_own_probe(LATER, &MessageId::from_uuid(2));
    assert_eq!(outcome(&mut server, LATER, "192.0.2.1:1", &probe(2, Form::V1, &[id(1)])), Err(DropReason::Own));
}

#[test]
fn what_is_not_for_us_is_dropped_for_its_reason() {
    let mut server = ProbeServer::new(config(), 1);
    let good = String::from_utf8(probe(1, Form::V1, &[id(1)])).unwrap();
    let mut off_link = arrival("198.51.100.1:1");
    off_link.on_link = false;
    let heard = server.handle_datagram(NOW, &off_link, good.as_bytes(), |_| Some(ALL));
    assert_eq!(heard.map(|heard| heard.outcome), Err(DropReason::OffLink));
    for (from, to, reason) in [
        ("PeerDist:PeerDistData<", "wsd:Printer<", DropReason::OtherType),
        ("strcmp0", "rfc2396", DropReason::OtherMatchBy),
        ("discovery/Probe<", "discovery/Resolve<", DropReason::OtherAction),
        (&id(1).to_string(), "", DropReason::BadScopes),
        ("wsa:MessageID", "wsa:Other", DropReason::BadElement),
        ("</wsd:Probe>", "", DropReason::NotWellFormed),
        ("2003/05", "1999/05", DropReason::NotAnEnvelope),
        ("urn:uuid:", "&x;", DropReason::Entity),
        ("<soap:Envelope", "<!DOCTYPE x><soap:Envelope", DropReason::Doctype),
    ] {
        assert_eq!(outcome(&mut server, NOW, "192.0.2.9:1", good.replace(from, to).as_bytes()), Err(reason), "{to}");
    }
    assert_eq!(outcome(&mut server, NOW, "192.0.2.9:1", b"\xff"), Err(DropReason::NotUtf8));
    let nothing = server.handle_datagram(NOW, &arrival("192.0.2.9:1"), good.as_bytes(), |_| None);
    assert_eq!(nothing.map(|heard| heard.outcome), Ok(Outcome::NotHeld));
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn a_client_with_a_thousand_probes_a_second_is_answered_and_a_flood_is_not() {
    let scheduled = |from: &str, per_second: u32| {
        let mut server = ProbeServer::new(config(), 1);
        let mut count = 0;
        // In bunches of 32 within the first millisecond, as iPXE sends them.
        for number in 0..2 * per_second {
            let at = NOW + Duration::from_secs(1) * (number / 32 * 32) / per_second;
            server.handle_timeout(at, |_| Some(ALL));
            while server.poll_transmit().is_some() {}
            let payload = probe(u128::from(number), Form::V1, &[id(1)]);
            count += u32::from(outcome(&mut server, at, from, &payload) == Ok(Outcome::Scheduled));
        }
        count
    };
    assert_eq!(scheduled("192.0.2.9:1", 1_000), 2_000);
    let answered = scheduled("192.0.2.9:1", 8_000);
    assert!((4_000..=4_300).contains(&answered), "{answered}");
}

#[test]
fn one_flooding_source_leaves_room_for_others_and_the_total_is_bounded() {
    let mut server = ProbeServer::new(config(), 1);
    let mut message = 0;
    let mut send = |server: &mut ProbeServer, from: &str| {
        message += 1;
        outcome(server, NOW, from, &probe(message, Form::V2, &[id(1)])).unwrap()
    };
    let flood: Vec<_> = (0..1_000).map(|_| send(&mut server, "192.0.2.9:1")).collect();
    assert_eq!(flood.iter().filter(|outcome| **outcome == Outcome::Scheduled).count(), 200);
    assert_eq!(flood[999], Outcome::SourceLimit);
    assert_eq!(send(&mut server, "192.0.2.10:1"), Outcome::Scheduled);
    let many: Vec<_> = (0..4_000u16).map(|number| send(&mut server, &format!("[2001:db8::{number:x}]:1"))).collect();
    let scheduled = many.iter().filter(|outcome| **outcome == Outcome::Scheduled).count();
    assert_eq!(scheduled, 2_000 - 201);
    assert!(many.contains(&Outcome::TotalLimit));
}

#[test]
fn pending_answers_are_bounded_in_number_and_ids() {
    let limits = ServerConfig { max_pending: 3, max_pending_ids: 20, ..config() };
    let mut server = ProbeServer::new(limits, 1);
    let ten: Vec<_> = (0..10).map(id).collect();
    let send = |server: &mut ProbeServer, message, ids: &[SegmentId]| {
        outcome(server, NOW, "192.0.2.9:1", &probe(message, Form::V2, ids)).unwrap()
    };
    assert_eq!(send(&mut server, 1, &ten), Outcome::Scheduled);
    assert_eq!(send(&mut server, 2, &ten), Outcome::Scheduled);
    assert_eq!(send(&mut server, 3, &ten[..1]), Outcome::TooManyPending);
    assert_eq!(answers(&mut server, LATER, |_| Some(ALL)).len(), 2);
    for (message, expected) in [(4, Outcome::Scheduled), (5, Outcome::Scheduled), (6, Outcome::Scheduled)] {
        assert_eq!(send(&mut server, message, &ten[..1]), expected);
    }
    assert_eq!(send(&mut server, 7, &ten[..1]), Outcome::TooManyPending);
}

#[test]
fn answers_are_thinned_only_where_many_hold_every_segment() {
    let mut server = ProbeServer::new(ServerConfig { replies_wanted: Some(4), ..config() }, 1);
    let note = |server: &mut ProbeServer, hosts: u128, id: SegmentId| {
        for host in 100..100 + hosts {
            server.handle_match(NOW, &EndpointAddress::from_random(host), [&id]);
        }
    };
    note(&mut server, 3, id(1));
    note(&mut server, 40, id(2));
    let scheduled = |server: &mut ProbeServer, ids: &[SegmentId], first: u128| {
        let outcomes = (first..first + 100).map(|message| {
            outcome(server, NOW + Duration::from_millis(message as u64), "192.0.2.9:1", &probe(message, Form::V2, ids))
        });
        outcomes.filter(|outcome| *outcome == Ok(Outcome::Scheduled)).count()
    };
    assert_eq!(scheduled(&mut server, &[id(1)], 1_000), 100, "four holders are not many");
    assert_eq!(scheduled(&mut server, &[id(2), id(1)], 2_000), 100, "the rarest segment decides");
    let thinned = scheduled(&mut server, &[id(2)], 3_000);
    assert!((2..=25).contains(&thinned), "{thinned} of about 10");
    // The same Probe meets the same decision in a machine with another seed and the same Address.
    let decide = |seed| {
        let mut server = ProbeServer::new(ServerConfig { replies_wanted: Some(1), ..config() }, seed);
        server.handle_match(NOW, &EndpointAddress::from_random(5), [&id(2)]);
        (0..50u128)
            .map(|message| outcome(&mut server, NOW, "192.0.2.9:1", &probe(message, Form::V1, &[id(2)])))
            .collect::<Vec<_>>()
    };
    assert_eq!(decide(1), decide(2));
    assert!(decide(1).contains(&Ok(Outcome::Thinned)));
}
