//! The server's side ([MS-PCCRD] 3.2).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::hearing::{Bucket, SourceBuckets, interval};
use super::holders::Holders;
use super::random::Random;
use super::reason::countable;
use super::seen::{Origin, Seen};
use super::{
    AppSequence, AvailabilityBits, DropReason, EndpointAddress, Form, Held, MessageId, Moment, Probe, ProbeMatches,
    SegmentAges, Segments,
};
use crate::content::SegmentId;

/// How a [`ProbeServer`] answers.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// This peer's endpoint Address, new at each start of the service (2.2.3.4).
    pub address: EndpointAddress,
    /// Grows with every start of the service: its start time in seconds since 1970 (2.2.3.6).
    pub instance_id: u64,
    /// The TCP port of the retrieval server, for XAddrs.
    pub retrieval_port: u16,
    /// The longest back-off before an answer, APP_MAX_DELAY (3.2.2). 65 ms.
    pub backoff_max: Duration,
    /// Answers a second to one source address. 2,000: iPXE sends up to 1,000 Probes a second over two families.
    pub replies_per_second_and_source: u32,
    /// Answers a second in all. 20,000.
    pub replies_per_second: u32,
    /// How many answers may wait for their back-off. 16,384.
    pub max_pending: usize,
    /// How many ids the waiting answers may have in all; an id takes 88 bytes. 262,144.
    pub max_pending_ids: usize,
    /// So many answers to one Probe are plenty: where more hosts are expected to hold a segment, each of them answers
    /// some of the Probes only. 16; `None` answers always.
    pub replies_wanted: Option<u32>,
}

impl ServerConfig {
    /// The usual limits.
    #[must_use]
    pub fn new(address: EndpointAddress, instance_id: u64, retrieval_port: u16) -> Self {
        Self {
            address,
            instance_id,
            retrieval_port,
            backoff_max: Duration::from_millis(65),
            replies_per_second_and_source: 2_000,
            replies_per_second: 20_000,
            max_pending: 16_384,
            max_pending_ids: 262_144,
            replies_wanted: Some(16),
        }
    }
}

/// How a datagram came in.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its source, which is where an answer goes.
    pub from: SocketAddr,
    /// Whatever tells the caller which interface and family it came in on; comes back in [`Reply::interface_key`].
    pub interface_key: u32,
    /// This host's address on that interface and of that family, for XAddrs.
    pub local: IpAddr,
    /// Whether the source belongs to a subnet of that interface.
    pub on_link: bool,
}

/// A Probe of somebody else, first copy.
#[derive(Debug, Clone)]
#[must_use]
pub struct Heard {
    /// The Probe.
    pub probe: Arc<Probe>,
    /// What becomes of it.
    pub outcome: Outcome,
}

countable! {
    /// Whether a Probe will be answered, and why not.
    Outcome {
        /// After the back-off, if the segments are still held then.
        Scheduled => "scheduled",
        /// None of its segments is held; there are no negative answers (3.2.4.1).
        NotHeld => "not_held",
        /// Enough other holders are expected to answer.
        Thinned => "thinned",
        /// The source gets no more answers for the moment.
        SourceLimit => "source_limit",
        /// Nobody gets more answers for the moment.
        TotalLimit => "total_limit",
        /// Too many answers wait for their back-off.
        TooManyPending => "too_many_pending",
    }
}

/// An answer to be sent from any port of the interface and family it names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Reply {
    /// The source of the Probe.
    pub to: SocketAddr,
    /// As in [`Arrival::interface_key`].
    pub interface_key: u32,
    /// The datagram.
    pub payload: Bytes,
    /// When the Probe was heard.
    pub heard_at: Moment,
}

/// The server machine: recognises Probes for segments held, waits its back-off, answers each of them once.
#[derive(Debug)]
pub struct ProbeServer {
    config: ServerConfig,
    random: Random,
    seen: Seen,
    holders: Holders,
    sources: SourceBuckets,
    total: Bucket,
    pending: BinaryHeap<Reverse<Pending>>,
    pending_ids: usize,
    message_number: u64,
    replies: VecDeque<Reply>,
}

#[derive(Debug)]
struct Pending {
    heard_at: Moment,
    due: Moment,
    to: SocketAddr,
    interface_key: u32,
    local: IpAddr,
    probe: Arc<Probe>,
}

impl ProbeServer {
    /// A server. The same seed gives the same delays and MessageIDs.
    #[must_use]
    pub fn new(config: ServerConfig, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            seen: Seen::new(random.next()),
            holders: Holders::new(random.next()),
            sources: SourceBuckets::new(random.next()),
            config,
            random,
            total: Bucket::default(),
            pending: BinaryHeap::new(),
            pending_ids: 0,
            message_number: 0,
            replies: VecDeque::new(),
        }
    }

    /// A Probe of this host is about to be sent; it will come back and is not to be answered.
    pub fn handle_own_probe(&mut self, now: Moment, message_id: &MessageId) {
        self.seen.see(now, message_id, Origin::Own);
    }

    /// Another host answered a Probe of this host: it holds these segments.
    pub fn handle_match<'i>(
        &mut self,
        now: Moment,
        host: &EndpointAddress,
        ids: impl IntoIterator<Item = &'i SegmentId>,
    ) {
        for id in ids {
            self.holders.note(now, id, host);
        }
    }

    /// Takes a datagram that came to the port of WS-Discovery (3.2.4.1).
    ///
    /// `lookup` says what is held of a segment at the moment; it is called again when the answer is due.
    pub fn handle_datagram(
        &mut self,
        now: Moment,
        arrival: &Arrival,
        payload: &[u8],
        lookup: impl Fn(&SegmentId) -> Option<Held>,
    ) -> Result<Heard, DropReason> {
        if !arrival.on_link {
            return Err(DropReason::OffLink);
        }
        let probe = Arc::new(Probe::parse(payload)?);
        match self.seen.see(now, probe.message_id(), Origin::Foreign) {
            None => {}
            Some(Origin::Own) => return Err(DropReason::Own),
            Some(Origin::Foreign) => return Err(DropReason::Duplicate),
        }
        let outcome = self.schedule(now, arrival, &probe, lookup);
        Ok(Heard { probe, outcome })
    }

    /// Builds the answers that are due, with what is held now.
    pub fn handle_timeout(&mut self, now: Moment, lookup: impl Fn(&SegmentId) -> Option<Held>) {
        while self.pending.peek().is_some_and(|Reverse(pending)| pending.due <= now) {
            let Some(Reverse(pending)) = self.pending.pop() else { return };
            self.pending_ids -= pending.probe.ids().len();
            if let Some(segments) = segments(&pending.probe, &lookup) {
                let payload = self.answer(&pending, segments).emit().into();
                let Pending { heard_at, to, interface_key, .. } = pending;
                self.replies.push_back(Reply { to, interface_key, payload, heard_at });
            }
        }
    }

    /// The next answer to send.
    pub fn poll_transmit(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.pending.peek().map(|Reverse(pending)| pending.due)
    }

    fn schedule(
        &mut self,
        now: Moment,
        arrival: &Arrival,
        probe: &Arc<Probe>,
        lookup: impl Fn(&SegmentId) -> Option<Held>,
    ) -> Outcome {
        let held = |id: &&SegmentId| lookup(id).is_some_and(|held| held.blocks > 0);
        let Some(first) = probe.ids().find(held) else {
            return Outcome::NotHeld;
        };
        if self.leaves_to_others(now, probe, first, held) {
            return Outcome::Thinned;
        }
        if self.pending.len() >= self.config.max_pending
            || self.pending_ids + probe.ids().len() > self.config.max_pending_ids
        {
            return Outcome::TooManyPending;
        }
        let (each, all) = (self.config.replies_per_second_and_source, self.config.replies_per_second);
        let source = self.sources.of(arrival.from.ip());
        // The burst is a tenth of a second's worth: 32 Probes in the first millisecond are normal.
        if source.ready_at(interval(each), burst(each)) > now {
            return Outcome::SourceLimit;
        }
        if self.total.ready_at(interval(all), burst(all)) > now {
            return Outcome::TotalLimit;
        }
        source.take(now, interval(each));
        self.total.take(now, interval(all));

        let longest = u64::try_from(self.config.backoff_max.as_micros()).unwrap_or(u64::MAX);
        let due = now + Duration::from_micros(self.random.between(1_000.min(longest), longest));
        self.pending_ids += probe.ids().len();
        self.pending.push(Reverse(Pending {
            heard_at: now,
            due,
            to: arrival.from,
            interface_key: arrival.interface_key,
            local: arrival.local,
            probe: probe.clone(),
        }));
        Outcome::Scheduled
    }

    /// Of `n` expected holders each answers with a probability of `replies_wanted / n`, drawn from the MessageID and
    /// the own Address, so that every copy of a Probe meets the same decision. The rarest segment held decides.
    fn leaves_to_others(
        &self,
        now: Moment,
        probe: &Probe,
        first: &SegmentId,
        held: impl Fn(&&SegmentId) -> bool,
    ) -> bool {
        let Some(wanted) = self.config.replies_wanted else { return false };
        let expected = |id: &SegmentId| self.holders.expected(now, id).saturating_add(1);
        if expected(first) <= wanted {
            return false;
        }
        let fewest = probe.ids().filter(held).map(expected).min().unwrap_or(0);
        if fewest <= wanted {
            return false;
        }
        let mut hasher = DefaultHasher::new();
        (probe.message_id(), &self.config.address).hash(&mut hasher);
        hasher.finish() % u64::from(fewest) >= u64::from(wanted)
    }

    fn answer(&mut self, pending: &Pending, segments: Segments) -> ProbeMatches {
        self.message_number += 1;
        ProbeMatches {
            message_id: MessageId::random(&mut self.random),
            relates_to: pending.probe.message_id().clone(),
            app_sequence: Some(AppSequence {
                instance_id: self.config.instance_id,
                message_number: self.message_number,
            }),
            address: self.config.address.clone(),
            xaddrs: vec![SocketAddr::new(pending.local, self.config.retrieval_port)],
            metadata_version: Some(match pending.probe.form() {
                Form::V1 => 1,
                Form::V2 => 2,
            }),
            segments,
        }
    }
}

/// What is held of a Probe's ids, in the form asked for; `None` where it is nothing (any more).
fn segments(probe: &Probe, lookup: impl Fn(&SegmentId) -> Option<Held>) -> Option<Segments> {
    let held = |id: &SegmentId| lookup(id).filter(|held| held.blocks > 0);
    match probe.form() {
        Form::V1 => {
            let scopes =
                probe.scopes().iter().filter_map(|scope| Some((scope.clone(), Some(held(&scope.id())?.blocks))));
            Some(scopes.collect::<Vec<_>>()).filter(|scopes| !scopes.is_empty()).map(Segments::V1)
        }
        Form::V2 => {
            let held: Vec<_> = probe.ids().map(held).collect();
            held.iter()
                .any(Option::is_some)
                .then(|| Segments::V2 { bits: AvailabilityBits::of(&held), ages: SegmentAges::of(&held) })
        }
    }
}

fn burst(per_second: u32) -> u32 {
    (per_second / 10).max(1)
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}
impl Eq for Pending {}
