//! The client machine alone: which answers it takes, and what it makes of their addresses.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{
    AvailabilityBits, ClientConfig, ClientEvent, DropReason, EndpointAddress, FindError, Form, Held, MessageId, Moment,
    Probe, ProbeClient, ProbeError, ProbeMatches, Scope, Segments,
};

const NOW: Moment = Duration::from_secs(100);
const SOURCE: &str = "192.0.2.9:3702";

fn id(number: u8) -> SegmentId {
    SegmentId::from_slice(&[number; 32]).unwrap()
}

/// A client with one Probe for ids 1 and 2 under way, and the MessageID of that Probe.
fn probing(form: Form) -> (ProbeClient, MessageId) {
    let config = ClientConfig { own_address: Some(EndpointAddress::from_random(1)), ..ClientConfig::default() };
    let mut client = ProbeClient::new(config, 1);
    let _key = client.find(NOW, vec![id(1), id(2)], form).unwrap();
    let sent = client.poll_transmit().unwrap();
    assert_eq!(*Probe::parse(&sent.payload).unwrap().message_id(), sent.message_id);
    (client, sent.message_id)
}

fn v1_answer(relates_to: &MessageId, host: u128, xaddrs: &[&str], segments: &[(u8, u32)]) -> ProbeMatches {
    ProbeMatches {
        message_id: MessageId::from_uuid(host),
        relates_to: relates_to.clone(),
        app_sequence: None,
        address: EndpointAddress::from_random(host),
        xaddrs: xaddrs.iter().map(|xaddr| xaddr.parse().unwrap()).collect(),
        metadata_version: None,
        segments: Segments::V1(
            segments.iter().map(|(number, count)| (Scope::from(id(*number)), Some(*count))).collect(),
        ),
    }
}

fn on_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [192, 0, 2],
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn take(client: &mut ProbeClient, from: &str, answer: &ProbeMatches) -> Result<(), DropReason> {
    client.handle_datagram(NOW, from.parse().unwrap(), on_link, &answer.emit())
}

fn matched(client: &mut ProbeClient) -> (Vec<SocketAddr>, Vec<SegmentId>) {
    match client.poll_event() {
        Some(ClientEvent::Match { peers, segments, .. }) => (peers, segments.into_iter().map(|(id, _)| id).collect()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn addresses_are_on_link_or_that_of_the_datagram() {
    let (mut client, probe) = probing(Form::V1);
    let xaddrs = ["198.51.100.1:80", "192.0.2.10:81", "192.0.2.10:81", "[2001:db8::1]:80", "[fe80::1]:80"];
    assert_eq!(take(&mut client, SOURCE, &v1_answer(&probe, 2, &xaddrs, &[(1, 1)])), Ok(()));
    // IPv4 does not say which link fe80::1 is on.
    assert_eq!(matched(&mut client).0, ["192.0.2.10:81".parse().unwrap()]);

    assert_eq!(take(&mut client, "[fe80::9%4]:3702", &v1_answer(&probe, 3, &["[fe80::1]:80"], &[(1, 1)])), Ok(()));
    assert_eq!(matched(&mut client).0, ["[fe80::1%4]:80".parse().unwrap()]);

    // A source that is on-link through a route of its own may name itself.
    let answer = v1_answer(&probe, 4, &["203.0.113.5:80"], &[(1, 1)]);
    let only_source = |ip: IpAddr| ip == "203.0.113.5".parse::<IpAddr>().unwrap();
    assert_eq!(client.handle_datagram(NOW, "203.0.113.5:9".parse().unwrap(), only_source, &answer.emit()), Ok(()));
    assert_eq!(matched(&mut client).0, ["203.0.113.5:80".parse().unwrap()]);

    for (from, xaddrs, reason) in [
        ("198.51.100.1:3702", ["192.0.2.10:80"].as_slice(), DropReason::OffLink),
        (SOURCE, &["198.51.100.1:80"], DropReason::OffLink),
        (SOURCE, &[], DropReason::NoAddress),
    ] {
        assert_eq!(take(&mut client, from, &v1_answer(&probe, 5, xaddrs, &[(1, 1)])), Err(reason));
    }
    assert_eq!(client.poll_event(), None);
}

#[test]
fn answers_have_to_relate_to_an_outstanding_probe() {
    let (mut client, probe) = probing(Form::V1);
    let good = v1_answer(&probe, 2, &["192.0.2.9:80"], &[(1, 1)]);
    let unknown = ProbeMatches { relates_to: MessageId::from_uuid(1), ..good.clone() };
    assert_eq!(take(&mut client, SOURCE, &unknown), Err(DropReason::Unsolicited));
    let own = ProbeMatches { address: EndpointAddress::from_random(1), ..good.clone() };
    assert_eq!(take(&mut client, SOURCE, &own), Err(DropReason::Own));
    let other_form = Segments::V2 { bits: AvailabilityBits::from_bytes([0xff]), ages: None };
    let other_form = ProbeMatches { segments: other_form, ..good.clone() };
    assert_eq!(take(&mut client, SOURCE, &other_form), Err(DropReason::OtherForm));
    for segments in [[(3, 1)].as_slice(), &[(1, 0)]] {
        let nothing = v1_answer(&probe, 2, &["192.0.2.9:80"], segments);
        assert_eq!(take(&mut client, SOURCE, &nothing), Err(DropReason::NoSegment));
    }
    let probe_back = Probe::new(probe, Form::V1, [id(1)]).unwrap().emit();
    let refused = client.handle_datagram(NOW, SOURCE.parse().unwrap(), on_link, &probe_back);
    assert_eq!(refused, Err(DropReason::OtherAction));
    assert_eq!(client.poll_event(), None);

    let at_the_end = NOW + Duration::from_millis(300);
    let late = client.handle_datagram(at_the_end, SOURCE.parse().unwrap(), on_link, &good.emit());
    assert_eq!(late, Err(DropReason::Unsolicited));
    client.handle_timeout(at_the_end);
    assert!(matches!(client.poll_event(), Some(ClientEvent::Expired { unanswered, .. }) if unanswered.len() == 2));
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn a_host_is_reported_again_only_with_something_new() {
    let (mut client, probe) = probing(Form::V1);
    let over_v4 = v1_answer(&probe, 2, &["192.0.2.9:80"], &[(1, 1)]);
    assert_eq!(take(&mut client, SOURCE, &over_v4), Ok(()));
    assert_eq!(take(&mut client, SOURCE, &over_v4), Err(DropReason::Repeated));
    let over_v6 = v1_answer(&probe, 2, &["[fe80::9]:80"], &[(1, 1)]);
    assert_eq!(take(&mut client, "[fe80::9%2]:3702", &over_v6), Ok(()));
    let more = v1_answer(&probe, 2, &["192.0.2.9:80"], &[(1, 1), (2, 1)]);
    assert_eq!(take(&mut client, SOURCE, &more), Ok(()));
    let hosts: Vec<_> = std::iter::from_fn(|| client.poll_event())
        .map(|event| match event {
            ClientEvent::Match { host, .. } => host,
            ClientEvent::Expired { .. } => panic!("too early"),
        })
        .collect();
    assert_eq!(hosts, vec![EndpointAddress::from_random(2); 3]);
}

#[test]
fn so_many_hosts_are_reported_of_one_probe() {
    let (mut client, probe) = probing(Form::V1);
    for host in 0..256 {
        assert_eq!(take(&mut client, SOURCE, &v1_answer(&probe, 2 + host, &["192.0.2.9:80"], &[(1, 1)])), Ok(()));
    }
    let one_more = v1_answer(&probe, 999, &["192.0.2.9:80"], &[(1, 1)]);
    assert_eq!(take(&mut client, SOURCE, &one_more), Err(DropReason::TooManyHosts));
    let known = v1_answer(&probe, 2, &["192.0.2.8:80"], &[(1, 1)]);
    assert_eq!(take(&mut client, SOURCE, &known), Ok(()));
}

#[test]
fn version_2_answers_are_read_in_the_order_of_the_probe() {
    let (mut client, probe) = probing(Form::V2);
    let held = [None, Some(Held { blocks: 1, complete: true, age: None })];
    let answer = ProbeMatches {
        segments: Segments::V2 { bits: AvailabilityBits::of(&held), ages: None },
        ..v1_answer(&probe, 2, &["192.0.2.9:80"], &[])
    };
    assert_eq!(take(&mut client, SOURCE, &answer), Ok(()));
    assert_eq!(matched(&mut client).1, [id(2)]);
}

#[test]
fn every_probe_has_a_message_id_of_its_own() {
    let mut client = ProbeClient::new(ClientConfig::default(), 1);
    for _ in 0..20 {
        let _key = client.find(NOW, vec![id(1)], Form::V1).unwrap();
    }
    let sent: BTreeSet<_> = std::iter::from_fn(|| client.poll_transmit()).map(|sent| sent.message_id).collect();
    assert_eq!(sent.len(), 20);
    assert!(sent.iter().all(|message_id| message_id.as_str().starts_with("urn:uuid:")));
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let mut client = ProbeClient::new(ClientConfig::default(), 1);
    let mut find = |ids: Vec<SegmentId>, form| client.find(NOW, ids, form).err();
    assert_eq!(find(vec![], Form::V1), Some(FindError::Probe(ProbeError::NoIds)));
    assert_eq!(find((0..10).map(id).collect(), Form::V1), None);
    assert!(matches!(find((0..11).map(id).collect(), Form::V1), Some(FindError::TooLarge { .. })));
    assert_eq!(find((0..16).map(id).collect(), Form::V2), None);
    assert!(matches!(find((0..17).map(id).collect(), Form::V2), Some(FindError::TooLarge { .. })));
    assert_eq!(find(vec![id(1); 300], Form::V2), None, "the same id 300 times is one id");
}
