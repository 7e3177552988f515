//! Both machines on a fake link with a hand-moved clock: loss, delay, duplication and reordering of Probes and answers.
//!
//! A failing run prints its seed; `SIM_SEED=… cargo test -p peerdist-protocol --test discovery_machines` repeats it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{
    Arrival, ClientConfig, ClientEvent, EndpointAddress, Form, Held, Message, Moment, Outcome, ProbeClient, ProbeKey,
    ProbeServer, ServerConfig,
};

const MS: Duration = Duration::from_millis(1);
const PORT: u16 = 80;

/// What the link does to datagrams.
#[derive(Debug, Clone, Copy)]
struct Weather {
    loss: f64,
    duplication: f64,
    delay: Duration,
}

const CALM: Weather = Weather { loss: 0.0, duplication: 0.0, delay: Duration::ZERO };

struct Host {
    client: ProbeClient,
    server: ProbeServer,
    address: EndpointAddress,
    held: BTreeMap<SegmentId, Held>,
    events: Vec<(Moment, ClientEvent)>,
    outcomes: Vec<Outcome>,
}

/// A broadcast domain: the position of a host is the last byte of its IP address.
struct Lan {
    now: Moment,
    weather: Weather,
    random: u64,
    hosts: Vec<Host>,
    flying: BinaryHeap<Reverse<(Moment, u64, Flight)>>,
    sent: u64,
    /// Every datagram as it was sent, with its sender and time.
    wire: Vec<(Moment, usize, Bytes)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Flight {
    Multicast { from: usize, to: usize, payload: Bytes },
    Unicast { from: usize, to: usize, payload: Bytes },
}

impl Lan {
    fn new(seed: u64, hosts: usize, weather: Weather, client: &ClientConfig) -> Self {
        let mut lan = Self {
            now: Duration::from_secs(10),
            weather,
            random: seed,
            hosts: vec![],
            flying: BinaryHeap::new(),
            sent: 0,
            wire: vec![],
        };
        for position in 0..hosts {
            let address = EndpointAddress::from_random(position as u128);
            let client = ClientConfig { own_address: Some(address.clone()), ..client.clone() };
            let host = Host {
                client: ProbeClient::new(client, seed ^ position as u64),
                server: ProbeServer::new(ServerConfig::new(address.clone(), 1, PORT), seed ^ 77 ^ position as u64),
                address,
                held: BTreeMap::new(),
                events: vec![],
                outcomes: vec![],
            };
            lan.hosts.push(host);
        }
        lan
    }

    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    fn send(&mut self, flight: Flight) {
        let copies = 1 + usize::from(self.chance() < self.weather.duplication);
        for _ in 0..copies {
            if self.chance() < self.weather.loss {
                continue;
            }
            let arrives = self.now + self.weather.delay.mul_f64(self.chance());
            self.sent += 1;
            self.flying.push(Reverse((arrives, self.sent, flight.clone())));
        }
    }

    /// Empties the machines' queues.
    fn drain(&mut self) {
        for from in 0..self.hosts.len() {
            while let Some(event) = self.hosts[from].client.poll_event() {
                if let ClientEvent::Match { host, segments, .. } = &event {
                    let ids = segments.iter().map(|(id, _)| id);
                    self.hosts[from].server.handle_match(self.now, host, ids);
                }
                self.hosts[from].events.push((self.now, event));
            }
            while let Some(probe) = self.hosts[from].client.poll_transmit() {
                self.hosts[from].server.handle_own_probe(self.now, &probe.message_id);
                self.wire.push((self.now, from, probe.payload.clone()));
                for to in 0..self.hosts.len() {
                    self.send(Flight::Multicast { from, to, payload: probe.payload.clone() });
                }
            }
            while let Some(reply) = self.hosts[from].server.poll_transmit() {
                self.wire.push((self.now, from, reply.payload.clone()));
                let to = position(reply.to.ip());
                self.send(Flight::Unicast { from, to, payload: reply.payload });
            }
        }
    }

    fn deliver(&mut self, flight: Flight) {
        match flight {
            Flight::Multicast { from, to, payload } => {
                let host = &mut self.hosts[to];
                let arrival = Arrival { from: socket(from), interface_key: 0, local: ip(to), on_link: true };
                let held = &host.held;
                match host.server.handle_datagram(self.now, &arrival, &payload, |id| held.get(id).copied()) {
                    Ok(heard) => {
                        assert_ne!(from, to, "own Probes are ignored");
                        host.client.handle_overheard(self.now);
                        host.outcomes.push(heard.outcome);
                    }
                    Err(reason) => assert!(["own", "duplicate"].contains(&reason.as_str()), "{reason}"),
                }
            }
            Flight::Unicast { from, to, payload } => {
                // Late, repeated and unsolicited answers are normal here.
                let _ = self.hosts[to].client.handle_datagram(self.now, socket(from), |_| true, &payload);
            }
        }
    }

    /// Moves the clock from event to event up to `end`.
    fn run_until(&mut self, end: Moment) {
        loop {
            self.drain();
            let flight = self.flying.peek().map(|Reverse((at, ..))| *at);
            let timers = self.hosts.iter().flat_map(|host| [host.client.poll_timeout(), host.server.poll_timeout()]);
            let Some(next) = timers.flatten().chain(flight).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while self.flying.peek().is_some_and(|Reverse((at, ..))| *at <= self.now) {
                let Reverse((_, _, flight)) = self.flying.pop().unwrap();
                self.deliver(flight);
            }
            for host in &mut self.hosts {
                host.client.handle_timeout(self.now);
                let held = &host.held;
                host.server.handle_timeout(self.now, |id| held.get(id).copied());
            }
        }
        self.now = end;
    }

    fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    fn find(&mut self, host: usize, ids: &[SegmentId], form: Form) -> ProbeKey {
        self.hosts[host].client.find(self.now, ids.to_vec(), form).unwrap()
    }

    fn hold(&mut self, host: usize, id: SegmentId, blocks: u32, complete: bool) {
        self.hosts[host].held.insert(id, Held { blocks, complete, age: Some(Duration::from_secs(3)) });
    }

    /// The MessageIDs of Probes and what each answer relates to, by sender.
    fn answered(&self) -> Vec<(usize, String)> {
        let answers = self.wire.iter().filter_map(|(_, from, payload)| match Message::parse(payload).unwrap() {
            Message::ProbeMatches(matches) => Some((*from, matches.relates_to.as_str().to_owned())),
            Message::Probe(_) => None,
        });
        answers.collect()
    }

    fn probes_sent_by(&self, host: usize) -> Vec<Moment> {
        let probes = self.wire.iter().filter(|(_, from, payload)| {
            *from == host && matches!(Message::parse(payload).unwrap(), Message::Probe(_))
        });
        probes.map(|(at, ..)| *at).collect()
    }

    fn hosts_found_by(&self, host: usize, probe: ProbeKey) -> BTreeSet<EndpointAddress> {
        let found = self.hosts[host].events.iter().filter_map(|(_, event)| match event {
            ClientEvent::Match { probe: key, host, .. } if *key == probe => Some(host.clone()),
            _ => None,
        });
        found.collect()
    }
}

fn ip(position: usize) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, u8::try_from(position + 1).unwrap()).into()
}

fn position(ip: IpAddr) -> usize {
    match ip {
        IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        IpAddr::V6(_) => panic!("the link is IPv4"),
    }
}

fn socket(position: usize) -> SocketAddr {
    SocketAddr::new(ip(position), 50_000)
}

fn id(number: u16) -> SegmentId {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    SegmentId::from_slice(&bytes).unwrap()
}

/// Runs `simulation` with many seeds, or with the one of `SIM_SEED`.
fn with_seeds(simulation: impl Fn(u64)) {
    let seeds = match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=40).collect(),
    };
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| simulation(seed));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("failed with SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn two_hosts_find_each_other_in_both_forms() {
    for form in [Form::V1, Form::V2] {
        let mut lan = Lan::new(1, 2, CALM, &ClientConfig::default());
        lan.hold(1, id(1), 512, true);
        lan.hold(1, id(3), 7, false);
        let start = lan.now;
        let key = lan.find(0, &[id(1), id(2), id(3), id(1)], form);
        lan.run_for(Duration::from_secs(1));
        let [(found_at, ClientEvent::Match { probe, host, peers, segments }), (expired_at, expired)] =
            lan.hosts[0].events.as_slice()
        else {
            panic!("{:?}", lan.hosts[0].events);
        };
        assert_eq!(
            (*probe, host, peers.as_slice()),
            (key, &lan.hosts[1].address, [SocketAddr::new(ip(1), PORT)].as_slice())
        );
        assert!((MS..=65 * MS).contains(&(*found_at - start)));
        assert_eq!(segments.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id(1), id(3)]);
        let (first, second) = (segments[0].1, segments[1].1);
        match form {
            Form::V1 => {
                assert_eq!((first.blocks, first.complete, first.age), (Some(512), None, None));
                assert_eq!((second.blocks, second.complete), (Some(7), None));
            }
            Form::V2 => {
                assert_eq!((first.blocks, first.complete, first.age), (None, Some(true), Some(Duration::from_secs(3))));
                assert_eq!((second.blocks, second.complete), (None, Some(false)));
            }
        }
        assert!(first.is_all_of(512) && !second.is_all_of(8));
        assert_eq!(*expired, ClientEvent::Expired { probe: key, unanswered: vec![id(2)] });
        assert_eq!(*expired_at - start, 300 * MS);
    }
}

#[test]
fn a_second_copy_goes_only_where_an_id_is_unanswered() {
    let mut lan = Lan::new(2, 2, CALM, &ClientConfig::default());
    lan.hold(1, id(1), 1, true);
    let start = lan.now;
    lan.find(0, &[id(2)], Form::V2);
    lan.run_for(Duration::from_secs(1));
    let sent = lan.probes_sent_by(0);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], start);
    assert!((50 * MS..=100 * MS).contains(&(sent[1] - sent[0])));
    assert_eq!(lan.wire[0].2, lan.wire[1].2, "both copies are the same datagram");
    assert_eq!(lan.hosts[1].outcomes, [Outcome::NotHeld]);

    // An answer that takes longer than 65 ms to come could not hold back the copy; this one comes in time.
    let config = ClientConfig { repeat_after_min: 70 * MS, ..ClientConfig::default() };
    let mut lan = Lan::new(2, 2, CALM, &config);
    lan.hold(1, id(1), 1, true);
    lan.find(0, &[id(1)], Form::V2);
    lan.run_for(Duration::from_secs(1));
    assert_eq!(lan.probes_sent_by(0).len(), 1);
}

#[test]
fn the_second_copy_makes_up_for_a_lost_first_one() {
    with_seeds(|seed| {
        let mut lan = Lan::new(seed, 2, Weather { loss: 1.0, ..CALM }, &ClientConfig::default());
        lan.hold(1, id(1), 1, true);
        let key = lan.find(0, &[id(1)], Form::V1);
        lan.run_for(20 * MS);
        lan.weather = CALM;
        lan.run_for(Duration::from_secs(1));
        assert_eq!(lan.hosts_found_by(0, key).len(), 1);
    });
}

#[test]
fn rough_weather_breaks_no_rule() {
    with_seeds(|seed| {
        let weather = Weather { loss: 0.2, duplication: 0.3, delay: 40 * MS };
        let mut lan = Lan::new(seed, 6, weather, &ClientConfig::default());
        for number in 0..40 {
            for host in 0..6 {
                if (number + host) % 3 == 0 {
                    lan.hold(host as usize, id(number), u32::from(number) + 1, number % 2 == 0);
                }
            }
        }
        let mut keys = BTreeMap::new();
        for round in 0..10u16 {
            for host in 0..6 {
                let ids: Vec<_> = (round * 4..round * 4 + 4).map(id).collect();
                let form = if host % 2 == 0 { Form::V1 } else { Form::V2 };
                keys.insert((host, lan.find(host, &ids, form)), ids);
            }
            lan.run_for(37 * MS);
        }
        lan.run_for(Duration::from_secs(2));

        let answers = lan.answered();
        let distinct: BTreeSet<_> = answers.iter().collect();
        assert_eq!(distinct.len(), answers.len(), "no MessageID is answered twice by one host");
        let mut found = 0;
        for ((host, key), ids) in keys {
            let mut matched = BTreeMap::new();
            let mut expired = 0;
            for (_, event) in &lan.hosts[host].events {
                match event {
                    ClientEvent::Match { probe, host: peer, segments, .. } if *probe == key => {
                        assert_eq!(expired, 0, "nothing is reported after the timer");
                        let known = matched.insert(peer.clone(), segments.clone());
                        assert_eq!(known, None, "a host is reported once");
                        let peer = lan.hosts.iter().find(|host| host.address == *peer).unwrap();
                        let right: Vec<_> = ids.iter().filter(|id| peer.held.contains_key(id)).copied().collect();
                        assert_eq!(segments.iter().map(|(id, _)| *id).collect::<Vec<_>>(), right);
                    }
                    ClientEvent::Expired { probe, unanswered } if *probe == key => {
                        expired += 1;
                        let answered: BTreeSet<_> = matched.values().flatten().map(|(id, _)| *id).collect();
                        assert!(ids.iter().all(|id| unanswered.contains(id) != answered.contains(id)));
                    }
                    _ => {}
                }
            }
            assert_eq!(expired, 1);
            found += matched.len();
        }
        // Four consecutive ids meet every other host. An answer gets through with 0.96 * 0.8 or more.
        assert!((180..=300).contains(&found), "{found} of 300");
    });
}

#[test]
fn the_same_seed_gives_the_same_datagrams() {
    let run = |seed| {
        let weather = Weather { loss: 0.1, duplication: 0.1, delay: 20 * MS };
        let mut lan = Lan::new(seed, 3, weather, &ClientConfig::default());
        lan.hold(1, id(1), 1, true);
        lan.hold(2, id(1), 1, true);
        lan.find(0, &[id(1), id(2)], Form::V1);
        lan.find(2, &[id(1), id(2)], Form::V2);
        lan.run_for(Duration::from_secs(1));
        lan.wire
    };
    assert_eq!(run(4), run(4));
    assert_ne!(run(4), run(5));
}

#[test]
fn discoveries_are_paced_and_bounded() {
    let mut lan = Lan::new(3, 1, CALM, &ClientConfig::default());
    let start = lan.now;
    let mut accepted = 0;
    while lan.hosts[0].client.find(start, vec![id(accepted)], Form::V2).is_ok() {
        accepted += 1;
    }
    // The burst leaves at once, the rest waits for its turn; one more is refused.
    assert_eq!(accepted, 32 + 256);
    lan.run_for(Duration::from_secs(4));
    let first_copies: Vec<_> = {
        let mut known = BTreeSet::new();
        lan.wire.iter().filter(|(_, _, payload)| known.insert(payload.clone())).map(|(at, ..)| *at).collect()
    };
    assert_eq!(first_copies.len(), 288);
    let within = |time| first_copies.iter().filter(|at| **at - start <= time).count();
    assert_eq!(within(Duration::ZERO), 32);
    assert_eq!(within(Duration::from_secs(1)), 32 + 100);
    assert_eq!(within(Duration::from_secs(2)), 32 + 200);
}

#[test]
fn a_loud_lan_slows_discoveries_down() {
    let sent_in_a_second = |overheard: u32| {
        let mut client = ProbeClient::new(ClientConfig { burst: 1, ..ClientConfig::default() }, 1);
        let start = Duration::from_secs(5);
        for _ in 0..overheard {
            client.handle_overheard(start);
        }
        for number in 0..200 {
            client.find(start, vec![id(number)], Form::V2).unwrap();
        }
        let mut now = start;
        while let Some(next) = client.poll_timeout().filter(|next| *next < start + Duration::from_secs(1)) {
            now = now.max(next);
            client.handle_timeout(now);
        }
        let mut first_copies = BTreeSet::new();
        while let Some(probe) = client.poll_transmit() {
            first_copies.insert(probe.message_id);
        }
        first_copies.len()
    };
    assert_eq!(sent_in_a_second(0), 100);
    assert_eq!(sent_in_a_second(500), 100);
    assert_eq!(sent_in_a_second(1_000), 50);
    assert_eq!(sent_in_a_second(1_000_000), 5);
}

#[test]
fn as_many_discoveries_are_outstanding_as_allowed() {
    let config = ClientConfig { max_outstanding: 4, burst: 100, ..ClientConfig::default() };
    let mut lan = Lan::new(3, 1, CALM, &config);
    let start = lan.now;
    for number in 0..6 {
        lan.find(0, &[id(number)], Form::V1);
    }
    lan.run_for(299 * MS);
    let distinct = |lan: &Lan| lan.wire.iter().map(|(_, _, payload)| payload.clone()).collect::<BTreeSet<_>>().len();
    assert_eq!(distinct(&lan), 4);
    lan.run_for(Duration::from_secs(1));
    assert_eq!(distinct(&lan), 6);
    let ends: Vec<_> = lan.hosts[0].events.iter().map(|(at, _)| *at - start).collect();
    assert_eq!(ends, [300 * MS, 300 * MS, 300 * MS, 300 * MS, 600 * MS, 600 * MS]);
}

#[test]
fn many_holders_thin_their_answers_but_never_all_fall_silent() {
    let config = ClientConfig { burst: 400, ..ClientConfig::default() };
    let holders = 80;
    let mut lan = Lan::new(9, holders + 1, CALM, &config);
    for host in 0..holders {
        lan.hold(host, id(1), 1, true);
    }
    // Each holder got the segment from the others and saw how many they are; before that, all of them answer.
    for host in 0..holders {
        let key = lan.find(host, &[id(1)], Form::V2);
        lan.run_for(400 * MS);
        if host == 0 {
            assert_eq!(lan.hosts_found_by(host, key).len(), holders - 1);
        }
    }
    let mut fewest = usize::MAX;
    let mut total = 0;
    for _ in 0..20 {
        let key = lan.find(holders, &[id(1)], Form::V2);
        lan.run_for(400 * MS);
        let found = lan.hosts_found_by(holders, key).len();
        fewest = fewest.min(found);
        total += found;
    }
    assert!(fewest >= 3, "{fewest}");
    assert!((10 * 20..=30 * 20).contains(&total), "{total} answers to 20 Probes, 16 each are wanted");
}
