//! The simulated LAN, WAN and hosts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use peerdist_protocol::content::{BLOCK_SIZE_V1, BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::discovery::{Availability, EndpointAddress, Form};

use super::Random;
use crate::fetch::Moment;
use crate::fetch::peers::{HostId, PeerBook, Standing};
use crate::fetch::plan::{
    Action, Answer, BlockAt, Delivery, FetchId, Finding, Plan, PlanConfig, PlannedSegment, ProbeTicket, Step,
};

/// One way through the switch and both stacks.
const HOP: Duration = Duration::from_micros(200);
/// The no-progress timer of the retrieval client.
const NO_PROGRESS: Duration = Duration::from_secs(2);
const ORIGIN_LATENCY: Duration = Duration::from_millis(50);

/// How a host treats those who ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Honest,
    /// Claims everything and never answers a request.
    Mute,
    /// Claims everything and always says that it is busy.
    Busy,
    /// Honest, but busy most of the time: so many per cent.
    OftenBusy(u64),
    /// Honest, but every block takes so long, however many are under way at once.
    Late(Duration),
    /// Claims everything and delivers wrong bytes.
    Forger,
    /// Claims everything and answers nonsense.
    Babbler,
}

pub(super) struct Host {
    pub(super) kind: Kind,
    pub(super) holds: BTreeMap<usize, BlockRanges>,
    /// Bytes a second.
    pub(super) uplink: u64,
    pub(super) upload_limit: u32,
    pub(super) dies_at: Option<Moment>,
    uplink_free: Moment,
    uploads: u32,
    pub(super) client: Option<Client>,
}

impl Host {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            holds: BTreeMap::new(),
            uplink: 125_000_000,
            upload_limit: 64,
            dies_at: None,
            uplink_free: Moment::ZERO,
            uploads: 0,
            client: None,
        }
    }

    fn is_dead(&self, now: Moment) -> bool {
        self.dies_at.is_some_and(|at| at <= now)
    }

    fn has(&self, segment: usize, block: BlockIndex) -> bool {
        self.holds.get(&segment).is_some_and(|blocks| blocks.contains(block))
    }
}

/// The downloading side of a host, and what it measures.
pub(super) struct Client {
    plan: Plan,
    book: PeerBook,
    position: u64,
    ready: BTreeSet<BlockAt>,
    at_origin: u64,
    origin_free: Moment,
    next_wake: Option<Moment>,
    probes: BTreeMap<ProbeTicket, Probe>,
    forgers: BTreeSet<SocketAddr>,
    /// The hosted cache that is asked instead of the LAN, with its number.
    hosted_cache: Option<(HostId, usize)>,
    waiting_since: Option<Moment>,
    pub(super) started: Moment,
    pub(super) finished: Option<Moment>,
    pub(super) from_origin: u64,
    pub(super) from_peers: u64,
    pub(super) longest_wait: Duration,
    /// All waits for what a host did or did not deliver.
    pub(super) waited: Duration,
    pub(super) probes_sent: usize,
    pub(super) wasted: usize,
}

impl Client {
    fn waited_for(&mut self, now: Moment) {
        if let Some(since) = self.waiting_since.take() {
            self.longest_wait = self.longest_wait.max(now - since);
            self.waited += now - since;
        }
    }
}

struct Probe {
    ids: Vec<SegmentId>,
    answered: BTreeSet<usize>,
}

enum Event {
    Start,
    Wake,
    ProbeCopy(ProbeTicket),
    Match { from: usize, ticket: ProbeTicket },
    Expired(ProbeTicket),
    Request { from: usize, id: FetchId, at: BlockAt },
    UploadEnds,
    Answer { from: usize, id: FetchId, answer: Answer },
    Listed { id: FetchId, result: Result<BlockRanges, Answer> },
    CacheRead(BlockAt),
    FromOrigin { at: BlockAt, last: bool },
}

/// Everything.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) hosts: Vec<Host>,
    /// Per cent of the copies of a Probe, and of the answers, that get lost at each host.
    pub(super) loss: u64,
    /// Bytes a second from the origin to each host.
    pub(super) wan: u64,
    seed: u64,
    form: Form,
    segments: Vec<PlannedSegment>,
    by_id: BTreeMap<SegmentId, usize>,
    now: Moment,
    events: BTreeMap<u64, (usize, Event)>,
    queue: BinaryHeap<Reverse<(Moment, u64)>>,
    sequence: u64,
}

impl World {
    /// A content of about so many bytes and nobody yet.
    pub(super) fn new(seed: u64, form: Form, size: u64) -> Self {
        let mut random = Random(seed);
        let mut segments = Vec::new();
        let mut offset = 0;
        while offset < size {
            let number = segments.len();
            let mut id = [0; 32];
            id[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let id = SegmentId::from_slice(&id).unwrap();
            let segment = match form {
                Form::V1 => {
                    let left = u32::try_from((size - offset).min(128 * u64::from(BLOCK_SIZE_V1))).unwrap();
                    PlannedSegment::v1(id, offset, left)
                }
                Form::V2 => PlannedSegment::v2(id, offset, 60_000 + random.below(71_000) as u32),
            };
            offset = segment.end();
            segments.push(segment);
        }
        let by_id = segments.iter().enumerate().map(|(index, segment)| (segment.id, index)).collect();
        Self {
            random,
            hosts: Vec::new(),
            loss: 0,
            wan: 12_500_000,
            seed,
            form,
            segments,
            by_id,
            now: Moment::ZERO,
            events: BTreeMap::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.segments.last().unwrap().end()
    }

    pub(super) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn block_count(&self, segment: usize) -> u32 {
        self.segments[segment].block_count()
    }

    /// Adds a host that holds everything, or says so.
    pub(super) fn add_seeder(&mut self, kind: Kind) -> &mut Host {
        let mut host = Host::new(kind);
        host.holds = self.segments.iter().enumerate().map(|(i, s)| (i, BlockRanges::first(s.block_count()))).collect();
        self.hosts.push(host);
        self.hosts.last_mut().unwrap()
    }

    /// Adds a host that begins to download at a moment.
    pub(super) fn add_client(&mut self, start: Moment) -> usize {
        let mut host = Host::new(Kind::Honest);
        let mut plan = Plan::new(PlanConfig::default(), self.form, self.random.next());
        plan.add_segments(self.segments.clone()).unwrap();
        host.client = Some(Client {
            plan,
            book: PeerBook::new(),
            position: 0,
            ready: BTreeSet::new(),
            at_origin: 0,
            origin_free: Moment::ZERO,
            next_wake: None,
            probes: BTreeMap::new(),
            forgers: BTreeSet::new(),
            hosted_cache: None,
            waiting_since: None,
            started: start,
            finished: None,
            from_origin: 0,
            from_peers: 0,
            longest_wait: Duration::ZERO,
            waited: Duration::ZERO,
            probes_sent: 0,
            wasted: 0,
        });
        self.hosts.push(host);
        self.schedule(start, self.hosts.len() - 1, Event::Start);
        self.hosts.len() - 1
    }

    /// Adds a host that asks a hosted cache.
    pub(super) fn add_client_of(&mut self, cache: usize, start: Moment) -> usize {
        let number = self.add_client(start);
        let client = self.hosts[number].client.as_mut().unwrap();
        let id = client.book.add_hosted_cache(start);
        client.book.set_addresses(id, vec![address(cache)]);
        client.plan.set_finding(start, Finding::HostedCaches);
        client.hosted_cache = Some((id, cache));
        number
    }

    pub(super) fn client(&self, host: usize) -> &Client {
        self.hosts[host].client.as_ref().unwrap()
    }

    /// Lets everything happen until nothing does, and sees that every content is complete.
    pub(super) fn run(&mut self) {
        while let Some(Reverse((at, sequence))) = self.queue.pop() {
            assert!(at < Moment::from_secs(3600), "an hour was not enough");
            assert!(at >= self.now);
            self.now = at;
            let (host, event) = self.events.remove(&sequence).unwrap();
            if !self.hosts[host].is_dead(at) {
                self.happen(host, event);
            }
        }
        for host in self.hosts.iter().filter(|host| host.dies_at.is_none()) {
            if let Some(client) = &host.client {
                assert!(client.finished.is_some(), "stopped at {} of {}", client.position, self.size());
                assert_eq!(client.from_origin + client.from_peers, self.size());
            }
        }
    }

    fn schedule(&mut self, at: Moment, host: usize, event: Event) {
        self.sequence += 1;
        self.events.insert(self.sequence, (host, event));
        self.queue.push(Reverse((at, self.sequence)));
    }

    fn happen(&mut self, host: usize, event: Event) {
        let now = self.now;
        match event {
            Event::Start => {}
            Event::Wake => {
                let client = self.hosts[host].client.as_mut().unwrap();
                if client.next_wake != Some(now) {
                    return;
                }
                client.next_wake = None;
            }
            Event::ProbeCopy(ticket) => return self.probe_copy(host, ticket),
            Event::Match { from, ticket } => self.matches(host, from, ticket),
            Event::Expired(ticket) => {
                let client = self.hosts[host].client.as_mut().unwrap();
                let asked = client.probes.remove(&ticket);
                if let Some((id, cache)) = client.hosted_cache {
                    let ids = asked.map_or(Vec::new(), |probe| probe.ids);
                    self.has_segments(host, id, cache, &ids);
                }
                let client = self.hosts[host].client.as_mut().unwrap();
                client.plan.probe_ended(now, &mut client.book, ticket);
            }
            Event::Request { from, id, at } => return self.request(host, from, id, at),
            Event::UploadEnds => {
                self.hosts[host].uploads -= 1;
                return;
            }
            Event::Answer { from, id, answer } => self.answer(host, from, id, answer),
            Event::Listed { id, result } => {
                let client = self.hosts[host].client.as_mut().unwrap();
                client.plan.listed(now, &mut client.book, id, result);
            }
            Event::CacheRead(at) => {
                let client = self.hosts[host].client.as_mut().unwrap();
                if client.plan.cache_read(at, true) == Delivery::Wanted {
                    client.ready.insert(at);
                }
            }
            Event::FromOrigin { at, last } => self.comes_from_origin(host, at, last),
        }
        self.drive(host);
    }

    /// Lets the reader of a host read what it can, and does what its plan wants.
    fn drive(&mut self, host: usize) {
        let size = self.size();
        loop {
            let now = self.now;
            let client = self.hosts[host].client.as_mut().unwrap();
            if client.finished.is_some() || client.at_origin > client.position {
                break;
            }
            let index = self.segments.partition_point(|s| s.offset <= client.position) - 1;
            let segment = &self.segments[index];
            let at = BlockAt { segment: segment.offset, block: segment.block_at(client.position) };
            if client.ready.remove(&at) {
                client.waited_for(now);
                client.position = segment.block_range(at.block).end;
                client.plan.read_at(now, client.position);
                if client.position == size {
                    client.finished = Some(now);
                }
                continue;
            }
            client.waiting_since.get_or_insert(now);
            client.plan.wait_at(now, client.position, None);
            self.poll(host);
            let client = self.hosts[host].client.as_mut().unwrap();
            let Some(missing) = client.plan.take_missing(now, &mut client.book, client.position) else { break };
            assert_eq!(missing.range.start, client.position);
            assert!(!missing.range.is_empty());
            client.waited_for(now);
            client.at_origin = missing.range.end;
            let mut free = client.origin_free.max(now) + ORIGIN_LATENCY;
            let mut blocks = Vec::new();
            for segment in self.segments.iter().filter(|s| s.end() > missing.range.start) {
                for block in 0..segment.block_count() {
                    let range = segment.block_range(block);
                    if range.start < missing.range.start || range.start >= missing.range.end {
                        continue;
                    }
                    free += Duration::from_secs_f64((range.end - range.start) as f64 / self.wan as f64);
                    blocks.push((free, BlockAt { segment: segment.offset, block }, range.end == missing.range.end));
                }
                if segment.end() >= missing.range.end {
                    break;
                }
            }
            client.origin_free = free;
            for (at, block, last) in blocks {
                self.schedule(at, host, Event::FromOrigin { at: block, last });
            }
        }
        self.poll(host);
    }

    fn poll(&mut self, host: usize) {
        let now = self.now;
        let Host { client, holds, .. } = &mut self.hosts[host];
        let client = client.as_mut().unwrap();
        if client.finished.is_some() {
            client.plan.close(now, &mut client.book);
            return;
        }
        let by_id = &self.by_id;
        let step: Step = client.plan.poll(now, &mut client.book, |id| {
            by_id.get(id).and_then(|index| holds.get(index)).copied().unwrap_or_default()
        });
        if let Some(wake) = step.wake
            && client.next_wake.is_none_or(|next| wake < next || next <= now)
        {
            client.next_wake = Some(wake);
            self.schedule(wake, host, Event::Wake);
        }
        for action in step.actions {
            self.act(host, action);
        }
    }

    fn act(&mut self, host: usize, action: Action) {
        let now = self.now;
        match action {
            Action::Probe { ticket, ids, .. } => {
                let client = self.hosts[host].client.as_mut().unwrap();
                let fits = client.hosted_cache.is_some() || ids.len() <= self.form.max_ids_per_datagram();
                assert!(fits && !ids.is_empty());
                client.probes_sent += 1;
                client.probes.insert(ticket, Probe { ids, answered: BTreeSet::new() });
                if client.hosted_cache.is_some() {
                    return self.schedule(now + 2 * HOP, host, Event::Expired(ticket));
                }
                self.schedule(now + HOP, host, Event::ProbeCopy(ticket));
                self.schedule(now + Duration::from_millis(75), host, Event::ProbeCopy(ticket));
                self.schedule(now + Duration::from_millis(300), host, Event::Expired(ticket));
            }
            Action::Read(at) => self.schedule(now + Duration::from_micros(100), host, Event::CacheRead(at)),
            Action::Fetch { id, at, peer } => {
                let to = number(peer);
                assert_ne!(to, host, "asked itself");
                let client = self.hosts[host].client.as_ref().unwrap();
                assert!(!client.forgers.contains(&peer), "asked a forger again");
                if self.hosts[to].is_dead(now) {
                    let answer = Answer::Unreachable;
                    self.schedule(now + NO_PROGRESS, host, Event::Answer { from: to, id, answer });
                } else {
                    self.schedule(now + HOP, to, Event::Request { from: host, id, at });
                }
            }
            Action::List { id, segment, blocks, peer } => {
                let to = &self.hosts[number(peer)];
                let index = self.segments.partition_point(|s| s.offset < segment);
                let (after, result) = match to.kind {
                    _ if to.is_dead(now) => (NO_PROGRESS, Err(Answer::Unreachable)),
                    Kind::Mute => (NO_PROGRESS, Err(Answer::TimedOut)),
                    Kind::Babbler => (2 * HOP, Err(Answer::Refused)),
                    _ => (2 * HOP, Ok(to.holds.get(&index).copied().unwrap_or_default().intersection(&blocks))),
                };
                self.schedule(now + after, host, Event::Listed { id, result });
            }
            Action::Cancel(_) => {}
        }
    }

    fn probe_copy(&mut self, host: usize, ticket: ProbeTicket) {
        let Some(probe) = self.hosts[host].client.as_ref().and_then(|client| client.probes.get(&ticket)) else {
            return;
        };
        let (ids, second) = (probe.ids.clone(), !probe.answered.is_empty());
        // The second copy goes only where no answer came.
        if second {
            return;
        }
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            if self.random.chance(self.loss) || self.hosts[other].is_dead(self.now) {
                continue;
            }
            if let Some(client) = &mut self.hosts[other].client {
                ids.iter().for_each(|id| client.book.overheard(id));
            }
            let holds = &self.hosts[other].holds;
            let knows = ids.iter().any(|id| holds.get(&self.by_id[id]).is_some_and(|blocks| !blocks.is_empty()));
            if knows && !self.random.chance(self.loss) {
                let after = Duration::from_micros(1000 + self.random.below(64_000));
                self.schedule(self.now + after, host, Event::Match { from: other, ticket });
            }
        }
    }

    /// A hosted cache lists what it holds, unless it is left alone.
    fn has_segments(&mut self, host: usize, id: HostId, cache: usize, ids: &[SegmentId]) {
        let holds = &self.hosts[cache].holds;
        let held: Vec<_> = ids.iter().filter(|id| holds.contains_key(&self.by_id[id])).copied().collect();
        let book = &mut self.hosts[host].client.as_mut().unwrap().book;
        match book.standing(self.now, id) {
            Some(Standing::Out { .. }) => ids.iter().for_each(|id| book.unasked(self.now, id)),
            _ => book.has_segments(self.now, id, &held),
        }
    }

    fn matches(&mut self, host: usize, from: usize, ticket: ProbeTicket) {
        let now = self.now;
        let Some(probe) = self.hosts[host].client.as_mut().and_then(|client| client.probes.get_mut(&ticket)) else {
            return;
        };
        if !probe.answered.insert(from) {
            return;
        }
        let mut claims = Vec::new();
        for id in probe.ids.clone() {
            let index = self.by_id[&id];
            let Some(blocks) = self.hosts[from].holds.get(&index).filter(|blocks| !blocks.is_empty()) else { continue };
            let complete = blocks.len() == self.segments[index].block_count();
            let availability = match self.form {
                Form::V1 => Availability { blocks: Some(blocks.len()), complete: None, age: None },
                Form::V2 => Availability { blocks: None, complete: Some(complete), age: None },
            };
            claims.push((id, availability));
        }
        let client = self.hosts[host].client.as_mut().unwrap();
        let ids: Vec<_> = claims.iter().map(|(id, _)| *id).collect();
        client.book.matched(now, &EndpointAddress::from_random(from as u128 + 1), &[address(from)], claims);
        client.plan.matched(now, address(from), &ids);
    }

    /// A request arrives at a host.
    fn request(&mut self, host: usize, from: usize, id: FetchId, at: BlockAt) {
        let now = self.now;
        let index = self.segments.partition_point(|s| s.offset < at.segment);
        let range = self.segments[index].block_range(at.block);
        // All that ask at once find it so.
        let moment = Random((self.seed << 32) | (now.as_millis() as u64 / 10)).next();
        let is_busy = matches!(self.hosts[host].kind, Kind::OftenBusy(per_cent) if moment % 100 < per_cent);
        let it = &mut self.hosts[host];
        let (when, answer) = match it.kind {
            Kind::OftenBusy(_) if is_busy => (now + HOP, Answer::Empty),
            Kind::Mute => (now + NO_PROGRESS, Answer::TimedOut),
            Kind::Busy => (now + HOP, Answer::Empty),
            Kind::Babbler => (now + HOP, Answer::Refused),
            Kind::Forger => (now + 2 * HOP, Answer::BadHash),
            Kind::Honest | Kind::OftenBusy(_) | Kind::Late(_)
                if it.uploads >= it.upload_limit || !it.has(index, at.block) =>
            {
                (now + HOP, Answer::Empty)
            }
            Kind::Late(time) => {
                it.uploads += 1;
                self.schedule(now + time, host, Event::UploadEnds);
                (now + time + HOP, Answer::Block)
            }
            Kind::Honest | Kind::OftenBusy(_) => {
                let line = Duration::from_secs_f64((range.end - range.start) as f64 / it.uplink as f64);
                let begin = it.uplink_free.max(now);
                if begin - now > NO_PROGRESS {
                    (now + NO_PROGRESS, Answer::TimedOut)
                } else if it.dies_at.is_some_and(|dies| dies < begin + line) {
                    (it.dies_at.unwrap().max(now) + NO_PROGRESS, Answer::TimedOut)
                } else {
                    it.uploads += 1;
                    it.uplink_free = begin + line;
                    self.schedule(begin + line, host, Event::UploadEnds);
                    (begin + line + HOP, Answer::Block)
                }
            }
        };
        self.schedule(when, from, Event::Answer { from: host, id, answer });
    }

    fn answer(&mut self, host: usize, from: usize, id: FetchId, answer: Answer) {
        let now = self.now;
        let client = self.hosts[host].client.as_mut().unwrap();
        let before = client.plan.at_of(id);
        if answer == Answer::BadHash && before.is_some() {
            client.forgers.insert(address(from));
        }
        if client.plan.answered(now, &mut client.book, id, answer) == Delivery::Wanted {
            let at = before.unwrap();
            assert_eq!(answer, Answer::Block);
            let index = self.segments.partition_point(|s| s.offset < at.segment);
            let range = self.segments[index].block_range(at.block);
            client.from_peers += range.end - range.start;
            client.ready.insert(at);
            self.hosts[host].holds.entry(index).or_default().insert(at.block);
        } else if answer == Answer::Block {
            client.wasted += 1;
        }
    }

    fn comes_from_origin(&mut self, host: usize, at: BlockAt, last: bool) {
        let now = self.now;
        let size = self.size();
        let index = self.segments.partition_point(|s| s.offset < at.segment);
        let range = self.segments[index].block_range(at.block);
        let client = self.hosts[host].client.as_mut().unwrap();
        client.plan.added(now, &mut client.book, at);
        client.from_origin += range.end - range.start;
        client.position = range.end;
        assert_eq!(last, client.position == client.at_origin);
        if client.position == size {
            client.finished = Some(now);
        }
        self.hosts[host].holds.entry(index).or_default().insert(at.block);
    }
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, (number >> 8) as u8, number as u8], 80))
}

fn number(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(address) => {
            let [_, _, high, low] = address.ip().octets();
            usize::from(high) << 8 | usize::from(low)
        }
        SocketAddr::V6(_) => unreachable!("no such host"),
    }
}
