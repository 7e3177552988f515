//! Real multicast on the loopback interface, each test with a port of its own.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use peerdist_discovery::{Config, Discovery, Event, Family, Interfaces, ProbeError, SocketState};
use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{
    ClientConfig, DropReason, FindError, Form, GROUP_V4, Held, MessageId, Outcome, Probe, ProbeMatches,
};
use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn id(number: u8) -> SegmentId {
    SegmentId::from_slice(&[number; 32]).unwrap()
}

/// A UDP port that nobody uses; it stays taken by the socket, which others can share.
fn free_port() -> (u16, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap().port(), socket)
}

fn config(port: u16) -> Config {
    Config {
        interfaces: Interfaces::Only(vec!["lo".to_owned()]),
        ipv6: false,
        port,
        retrieval_port: 8080,
        // A loaded machine may take its time.
        client: Some(ClientConfig { request_timer: Duration::from_secs(3), ..ClientConfig::default() }),
        ..Config::default()
    }
}

fn start(config: Config, held: &[SegmentId]) -> (Discovery, Receiver<Event>) {
    let held: BTreeMap<_, _> =
        held.iter().map(|id| (*id, Held { blocks: 2, complete: true, age: Some(Duration::from_secs(9)) })).collect();
    Discovery::start(config, Arc::new(move |id: &SegmentId| held.get(id).copied())).unwrap()
}

/// The next event that `pick` takes.
async fn event<T>(events: &mut Receiver<Event>, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let picked = timeout(PATIENCE, async {
        loop {
            if let Some(picked) = pick(events.recv().await.unwrap()) {
                return picked;
            }
        }
    });
    picked.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_find_each_other_in_both_forms() {
    let (port, _taken) = free_port();
    let (one, mut one_events) = start(config(port), &[id(1), id(3)]);
    let (two, mut two_events) = start(Config { retrieval_port: 9090, ..config(port) }, &[id(2)]);
    for (asking, events, answering, wanted, held, retrieval_port) in [
        (&two, &mut two_events, &one, vec![id(1), id(2), id(3)], vec![id(1), id(3)], 8080),
        (&one, &mut one_events, &two, vec![id(2)], vec![id(2)], 9090),
    ] {
        let mut asked = BTreeMap::new();
        for form in [Form::V1, Form::V2] {
            asked.insert(asking.probe(wanted.clone(), form).await.unwrap(), form);
        }
        let mut matched = vec![];
        let mut expired = vec![];
        while expired.len() < 2 {
            match event(events, Some).await {
                Event::Match { probe, host, peers, segments } => {
                    assert_eq!(host, *answering.address());
                    assert_eq!(peers, [SocketAddr::from((Ipv4Addr::LOCALHOST, retrieval_port))]);
                    assert_eq!(segments.iter().map(|(id, _)| *id).collect::<Vec<_>>(), held);
                    let said = segments[0].1;
                    match asked[&probe] {
                        Form::V1 => assert_eq!((said.blocks, said.complete, said.age), (Some(2), None, None)),
                        Form::V2 => assert_eq!((said.complete, said.age), (Some(true), Some(Duration::from_secs(9)))),
                    }
                    matched.push(probe);
                }
                Event::Expired { probe, unanswered } => {
                    assert!(wanted.iter().all(|id| held.contains(id) != unanswered.contains(id)));
                    expired.push(probe);
                }
                // The other node asks too.
                Event::Overheard { .. } => {}
            }
        }
        matched.sort();
        assert!(matched.iter().eq(asked.keys()), "one match for each: {matched:?}");
    }
    let counters = one.counters();
    assert!(counters.answers_sent >= 2 && counters.answers_taken >= 2, "{counters:?}");
    assert!(counters.probes_dropped[DropReason::Own as usize] >= 2, "own Probes come back: {counters:?}");
    assert_eq!(
        counters.probes_dropped_by_reason().map(|(_, count)| count).sum::<u64>(),
        counters.probes_dropped.iter().sum()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_probes_are_events_and_counted() {
    let (port, _taken) = free_port();
    let (node, mut events) = start(config(port), &[id(1)]);
    let other = foreign_client();
    let group = SocketAddr::from((GROUP_V4, port));
    let probe = |message, ids: &[SegmentId]| {
        Probe::new(MessageId::from_uuid(message), Form::V2, ids.iter().copied()).unwrap().emit()
    };
    other.send_to(b"<nonsense", group).unwrap();
    other.send_to(&probe(1, &[id(7)]), group).unwrap();
    other.send_to(&probe(2, &[id(1)]), group).unwrap();
    other.send_to(&probe(2, &[id(1)]), group).unwrap();
    for (message, asked) in [(1, id(7)), (2, id(1))] {
        let (from, message_id, form, ids) = event(&mut events, |event| match event {
            Event::Overheard { from, message_id, form, ids } => Some((from, message_id, form, ids)),
            _ => None,
        })
        .await;
        assert_eq!((from, message_id), (other.local_addr().unwrap(), MessageId::from_uuid(message)));
        assert_eq!((form, ids), (Form::V2, vec![asked]));
    }
    let mut buffer = [0; 4096];
    let (size, _) = other.recv_from(&mut buffer).unwrap();
    assert_eq!(ProbeMatches::parse(&buffer[..size]).unwrap().relates_to, MessageId::from_uuid(2));
    // An answer that was not asked for.
    other.send_to(&buffer[..size], group).unwrap();
    other.send_to(&probe(3, &[id(7)]), group).unwrap();
    event(&mut events, |event| matches!(event, Event::Overheard { .. }).then_some(())).await;
    node.clone().shutdown().await;
    let counters = node.counters();
    assert_eq!(counters.probes_heard[Outcome::NotHeld as usize], 2);
    assert_eq!(counters.probes_heard[Outcome::Scheduled as usize], 1);
    assert_eq!(counters.probes_dropped[DropReason::NotWellFormed as usize], 1);
    assert_eq!(counters.probes_dropped[DropReason::Duplicate as usize], 1);
    assert_eq!(counters.probes_dropped[DropReason::OtherAction as usize], 1);
    assert_eq!(counters.answers_sent, 1);
}

/// wsdd and others hold the port with SO_REUSEADDR, some of them bound to every address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_programs_keep_the_port() {
    let (port, taken) = free_port();
    let other = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    other.set_reuse_address(true).unwrap();
    other.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).unwrap();
    other.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Address(Ipv4Addr::LOCALHOST)).unwrap();
    let other = blocking(other);
    drop(taken);

    let (node, mut events) = start(config(port), &[id(1)]);
    let client = foreign_client();
    let probe = Probe::new(MessageId::from_uuid(1), Form::V1, [id(1)]).unwrap().emit();
    client.send_to(&probe, (GROUP_V4, port)).unwrap();
    // Both hear the Probe, and the node answers it.
    event(&mut events, |event| matches!(event, Event::Overheard { .. }).then_some(())).await;
    let mut buffer = [0; 4096];
    let (size, from) = other.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..size], from), (probe.as_slice(), client.local_addr().unwrap()));
    client.recv_from(&mut buffer).unwrap();
    // What is sent to the other program alone is not taken from it, whoever bound last.
    client.send_to(b"for you alone", (Ipv4Addr::LOCALHOST, port)).unwrap();
    let (size, _) = other.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..size], b"for you alone");
    node.clone().shutdown().await;
    assert_eq!(node.counters().probes_dropped.iter().sum::<u64>(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_chosen_interfaces_take_part() {
    let (port, _taken) = free_port();
    let (node, _events) = start(config(port), &[]);
    let states = node.interfaces();
    assert_eq!(states.len(), 1);
    assert_eq!((states[0].name.as_str(), states[0].family), ("lo", Family::V4));
    assert_eq!(states[0].address, IpAddr::from(Ipv4Addr::LOCALHOST));
    assert_eq!((states[0].listening, states[0].probing), (SocketState::Open, SocketState::Open));

    let all = Config { interfaces: Interfaces::All, ipv6: true, ..config(port) };
    let (everywhere, _events) = start(all, &[]);
    assert!(everywhere.interfaces().iter().all(|state| state.name != "lo"));

    let absent = Config { interfaces: Interfaces::Only(vec!["no-such-interface".to_owned()]), ..config(port) };
    let (nowhere, mut events) = start(absent, &[]);
    assert!(nowhere.interfaces().is_empty());
    let key = nowhere.probe(vec![id(1)], Form::V2).await.unwrap();
    let expired = event(&mut events, |event| match event {
        Event::Expired { probe, unanswered } => Some((probe, unanswered)),
        _ => None,
    });
    assert_eq!(expired.await, (key, vec![id(1)]));
    // The interface it is told about later is taken.
    nowhere.set_interfaces(Interfaces::Only(vec!["lo".to_owned()])).await;
    nowhere.probe(vec![id(1)], Form::V2).await.unwrap();
    assert_eq!(nowhere.interfaces(), states);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_the_task_and_frees_the_port() {
    let (port, taken) = free_port();
    let (node, mut events) = start(config(port), &[]);
    let other_handle = node.clone();
    node.shutdown().await;
    assert_eq!(timeout(PATIENCE, events.recv()).await.unwrap(), None);
    assert_eq!(other_handle.probe(vec![id(1)], Form::V1).await, Err(ProbeError::Stopped));
    other_handle.shutdown().await;
    drop(taken);
    // Without SO_REUSEADDR this works only if nobody holds the port.
    UdpSocket::bind((GROUP_V4, port)).unwrap();

    let (node, mut events) = start(config(port), &[]);
    drop(node);
    assert_eq!(timeout(PATIENCE, events.recv()).await.unwrap(), None, "the last handle is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_ask_or_serve_is_silent() {
    let (port, _taken) = free_port();
    let (listener, mut events) = start(Config { client: None, serve: false, ..config(port) }, &[id(1)]);
    assert_eq!(listener.probe(vec![id(1)], Form::V1).await, Err(ProbeError::NotAClient));
    let (asking, mut answers) = start(config(port), &[]);
    let key = asking.probe(vec![id(1)], Form::V1).await.unwrap();
    event(&mut events, |event| matches!(event, Event::Overheard { .. }).then_some(())).await;
    let end = event(&mut answers, Some).await;
    assert_eq!(end, Event::Expired { probe: key, unanswered: vec![id(1)] });
    assert!(matches!(asking.probe(vec![], Form::V1).await, Err(ProbeError::Find(FindError::Probe(_)))));
}

/// Nobody takes the events: memory stays bounded, answers go on, and what was asked ends in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_event_queue_loses_only_what_was_overheard() {
    let (port, _taken) = free_port();
    let (node, mut events) = start(Config { event_queue: 8, ..config(port) }, &[id(1)]);
    let client = foreign_client();
    let mut buffer = [0; 4096];
    for message in 0..20 {
        let probe = Probe::new(MessageId::from_uuid(message), Form::V1, [id(1)]).unwrap().emit();
        client.send_to(&probe, (GROUP_V4, port)).unwrap();
        client.recv_from(&mut buffer).unwrap();
    }
    let mut keys = vec![];
    for number in 0..20 {
        keys.push(node.probe(vec![id(100 + number)], Form::V2).await.unwrap());
    }
    let mut expired = vec![];
    let mut overheard = 0;
    while expired.len() < keys.len() {
        match event(&mut events, Some).await {
            Event::Expired { probe, .. } => expired.push(probe),
            Event::Overheard { .. } => overheard += 1,
            Event::Match { .. } => panic!("nobody else is there"),
        }
    }
    assert_eq!(expired, keys);
    assert_eq!(overheard, 4);
    assert_eq!(node.counters().overheard_lost, 16);
}

/// What the driver does for IPv6 where the loopback can do it; a LAN of its own is for the lab.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_works_or_fails_alone() {
    let (port, _taken) = free_port();
    let both = Config { ipv6: true, ..config(port) };
    let (one, _one_events) = start(both.clone(), &[id(1)]);
    let (two, mut events) = start(both, &[]);
    let key = two.probe(vec![id(1)], Form::V1).await.unwrap();
    let (host, peers) = event(&mut events, |event| match event {
        Event::Match { probe, host, peers, .. } if probe == key => Some((host, peers)),
        _ => None,
    })
    .await;
    assert_eq!(host, *one.address());
    assert!(peers.iter().all(|peer| peer.ip().is_loopback() && peer.port() == 8080), "{peers:?}");
}

/// A WS-Discovery client that is not ours: a plain socket that multicasts on the loopback.
fn foreign_client() -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    blocking(socket)
}

fn blocking(socket: Socket) -> UdpSocket {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}
