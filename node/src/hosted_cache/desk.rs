//! Where offers arrive: they are answered at once, from memory, and what follows from them waits in a queue.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use peerdist_protocol::content::SegmentId;
use peerdist_protocol::hosted_cache::{
    BatchedOffer, Ignored, InitialOffer, Offer, Response, SegmentDescriptor, SegmentInfo,
};

use super::known::KnownSegments;
use super::offered::{Held, Offered, Waiting, held, size_in_memory};
use super::queue::{Content, Fetching, Next, Queue, QueueLimits};
use super::sources::{Givers, Sources};
use super::status::HostedCacheStatus;
use crate::config;
use crate::store::Store;

/// Bytes of hashes that wait to be used.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// Other hosts that are remembered for a segment while it is fetched from one.
const MAX_OTHERS: usize = 4;

/// What offers change. There is one lock around it.
#[derive(Debug)]
pub(super) struct Desk {
    settings: config::HostedCache,
    pub(super) store: Store,
    queue: Queue,
    pub(super) sources: Sources,
    givers: Givers,
    known: KnownSegments,
    /// Segments that are fetched now, and who else offered them meanwhile.
    in_flight: HashMap<SegmentId, Vec<SocketAddr>>,
    pub(super) counted: HostedCacheStatus,
}

impl Desk {
    pub(super) fn new(settings: config::HostedCache, store: Store, known: KnownSegments, now: Instant) -> Self {
        let number = |count: std::num::NonZeroU32| count.get() as usize;
        let queue = Queue::new(QueueLimits {
            segments: number(settings.max_queued),
            segments_per_source: number(settings.max_queued_per_source),
            bytes: MAX_WAITING_BYTES,
            runs_per_source: number(settings.max_pulls_per_source),
        });
        // Or one source could have all that others gave make way within the hour.
        let max_bytes = settings.max_bytes_per_source.min(store.stats().limit / 2);
        Self {
            sources: Sources::new(max_bytes),
            settings,
            store,
            queue,
            givers: Givers::new(now),
            known,
            in_flight: HashMap::new(),
            counted: HostedCacheStatus::default(),
        }
    }

    /// Takes an offer that came from an address. `is_on` says whether offers are to lead to anything at all. With the
    /// answer comes the segment whose record is to be written.
    pub(super) fn take(
        &mut self,
        from: SocketAddr,
        offer: Offer,
        is_on: bool,
        now: Instant,
    ) -> (Response, Option<Offered>) {
        // The retrieval server is where the offer came from ([MS-PCHC] 3.1.5), at the port that it names.
        let mut address = from;
        address.set_ip(from.ip().to_canonical());
        address.set_port(offer.port());
        let refusal = self.refusal(address, is_on, now);
        match offer {
            Offer::Batched(offer) => {
                self.counted.offers.batched_offer += 1;
                self.batched(address, &offer, refusal);
                (Response::Ok, None)
            }
            Offer::Initial(offer) => {
                self.counted.offers.initial_offer += 1;
                (self.initial(address, &offer, refusal), None)
            }
            Offer::SegmentInfo(offer) => {
                self.counted.offers.segment_info += 1;
                self.count_tag(offer.content_tag.name(), 1);
                let record = self.segment_info(address, offer, refusal, now);
                (Response::Ok, record)
            }
        }
    }

    /// Why nothing is taken from a source now.
    fn refusal(&mut self, address: SocketAddr, is_on: bool, now: Instant) -> Option<&'static str> {
        if !is_on {
            Some("disabled")
        } else if !self.settings.takes_from(address.ip()) {
            Some("source")
        } else if address.port() == 0 {
            Some("port")
        } else {
            self.sources.admit(address.ip(), now).err().map(|shut| shut.as_str())
        }
    }

    fn count_tag(&mut self, name: &'static str, segments: u64) {
        self.counted.offered(name, segments);
        self.counted.tags.entry(name).or_default().offers += 1;
    }

    fn batched(&mut self, address: SocketAddr, offer: &BatchedOffer, refusal: Option<&'static str>) {
        self.count_tags(&offer.segments);
        if let Some(reason) = refusal {
            return self.counted.ignore(reason, offer.segments.len() as u64);
        }
        let source = address.ip();
        let mut room = self.queue.room(source);
        let mut waiting = Vec::with_capacity(offer.segments.len().min(room));
        let mut repeats = false;
        for descriptor in &offer.segments {
            let taken = match self.judge(source, descriptor) {
                Ok(_) if room == 0 => Err("queue_full"),
                taken => taken,
            };
            match taken {
                Ok(complaint) => {
                    self.counted.complaints += u64::from(complaint);
                    room -= 1;
                    waiting.extend(Waiting::new(descriptor, complaint));
                }
                Err(reason) => {
                    repeats |= reason == "repeated";
                    self.counted.ignore(reason, 1);
                }
            }
        }
        if repeats {
            self.strike(source, Instant::now());
        }
        let count = waiting.len() as u64;
        if self.queue.push(address, Content::Many(waiting.into_iter())).is_err() {
            self.counted.ignore("queue_full", count);
        }
    }

    fn count_tags(&mut self, segments: &[SegmentDescriptor]) {
        let mut rest = segments;
        let mut is_first = true;
        while let Some(SegmentDescriptor { content_tag, .. }) = rest.first() {
            let same = rest.iter().take_while(|other| other.content_tag == *content_tag).count();
            if std::mem::take(&mut is_first) {
                self.count_tag(content_tag.name(), same as u64);
            } else {
                self.counted.offered(content_tag.name(), same as u64);
            }
            rest = &rest[same..];
        }
    }

    /// Whether a segment is to be fetched: if so, whether the offer is a complaint; if not, why.
    fn judge(&self, source: IpAddr, descriptor: &SegmentDescriptor) -> Result<bool, &'static str> {
        let block_count = descriptor.block_count().map_err(|ignored| ignored.as_str())?;
        self.judge_held(source, &descriptor.segment_id, block_count)
    }

    fn judge_held(&self, source: IpAddr, id: &SegmentId, block_count: u32) -> Result<bool, &'static str> {
        match held(&self.store, id, block_count) {
            Held::Partly => Ok(false),
            Held::Bound => Err("held"),
            Held::Blind if self.givers.has_given(source, id) => Err("repeated"),
            Held::Blind => Ok(true),
        }
    }

    fn initial(&mut self, address: SocketAddr, offer: &InitialOffer, refusal: Option<&'static str>) -> Response {
        let id = offer.segment_id;
        if refusal.is_none() && !self.known.contains(&id) {
            return Response::Interested;
        }
        let reason = if refusal.is_some() {
            refusal
        } else if self.is_proven(&id) {
            None
        } else {
            self.counted.segments_offered += 1;
            let content = match self.known.unwritten(&id) {
                Some(offered) => Content::One(Some(offered), 0),
                None => Content::Recorded(Some(id)),
            };
            self.queue.push(address, content).err().map(|_| "queue_full")
        };
        if let Some(reason) = reason {
            self.counted.ignore(reason, 1);
        }
        Response::Ok
    }

    fn is_proven(&self, id: &SegmentId) -> bool {
        self.store.availability(id).is_some_and(|held| held.complete)
    }

    fn segment_info(
        &mut self,
        address: SocketAddr,
        offer: SegmentInfo,
        refusal: Option<&'static str>,
        now: Instant,
    ) -> Option<Offered> {
        // The buffer that the whole message was read into is not kept.
        let segment_information = Bytes::copy_from_slice(&offer.segment_information);
        let offer = SegmentInfo { segment_information, ..offer };
        let read = if let Some(reason) = refusal { Err(reason) } else { self.read(&offer) };
        let mut offered = match read {
            Ok(offered) => offered,
            Err(reason) => {
                self.counted.ignore(reason, 1);
                return None;
            }
        };
        // A segment of which nothing came yet takes nothing on disk.
        let record = self.store.held(&offered.id).and_then(|_| self.remember(&offered, address.ip(), now));
        let verdict = match self.judge_held(address.ip(), &offered.id, offered.block_count) {
            // What is held blind can be proven now.
            Ok(_) | Err("repeated") if offered.is_bound() => Ok(false),
            verdict => verdict,
        };
        let reason = match verdict {
            Err(reason) => {
                if reason == "repeated" {
                    self.strike(address.ip(), now);
                }
                Some(reason)
            }
            Ok(complaint) => {
                self.counted.complaints += u64::from(complaint);
                offered.complaint = complaint;
                let size = size_in_memory(&offered);
                self.queue.push(address, Content::One(Some(offered), size)).err().map(|_| "queue_full")
            }
        };
        if let Some(reason) = reason {
            self.counted.ignore(reason, 1);
        }
        record
    }

    fn read(&self, offer: &SegmentInfo) -> Result<Offered, &'static str> {
        let segment = offer.segment().map_err(|ignored| ignored.as_str())?;
        if self.settings.blind {
            return Ok(Offered::blind(&segment, offer.content_tag));
        }
        Offered::verified(segment, offer.content_tag).map_err(|error| Ignored::from(error).as_str())
    }

    /// Remembers the hashes of a segment of which something is held, where they are complete. Returns the segment where
    /// its record is to be written.
    pub(super) fn remember(&mut self, offered: &Offered, source: IpAddr, now: Instant) -> Option<Offered> {
        self.known.remember(offered, source, self.store.limit_now(), now).then(|| offered.clone())
    }

    /// A record is on disk, or could not be written.
    pub(super) fn recorded(&mut self, id: &SegmentId, is_written: bool) {
        if is_written {
            self.known.written(id);
        } else {
            self.known.forget(id);
        }
    }

    /// A record was read.
    pub(super) fn record_read(&mut self, address: SocketAddr, id: &SegmentId, record: Option<Offered>) {
        self.queue.ended(address.ip());
        let Some(offered) = record else {
            self.known.forget(id);
            return self.counted.ignore("record", 1);
        };
        let size = size_in_memory(&offered);
        if self.queue.push(address, Content::One(Some(offered), size)).is_err() {
            self.counted.ignore("queue_full", 1);
        }
    }

    /// The segments that are known since before `then` and of which nothing is held. They are forgotten.
    pub(super) fn forget_before(&mut self, then: Instant) -> Vec<SegmentId> {
        let store = &self.store;
        self.known.forget_before(then, |id| store.held(id).is_none())
    }

    /// What is to be fetched next.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next> {
        let Self { queue, sources, givers, store, in_flight, counted, .. } = self;
        let mut shut = None;
        let next = queue.next(|address, offered| {
            let source = address.ip();
            if let Err(reason) = sources.admit(source, now) {
                shut = Some((source, reason));
                counted.ignore(reason.as_str(), 1);
                return false;
            }
            let is_wanted = match offered.held(store) {
                Held::Partly => true,
                Held::Bound => false,
                Held::Blind => offered.is_bound() || offered.complaint && !givers.has_given(source, &offered.id),
            };
            if !is_wanted {
                counted.ignore("duplicate", 1);
                return false;
            }
            match in_flight.entry(offered.id) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Vec::new());
                    true
                }
                Entry::Occupied(mut others) => {
                    // It is being fetched from somebody else: who stands in if that comes to nothing.
                    if others.get().len() < MAX_OTHERS && !others.get().contains(&address) {
                        others.get_mut().push(address);
                    }
                    counted.ignore("duplicate", 1);
                    false
                }
            }
        });
        if let Some((source, reason)) = shut {
            self.give_up(source, reason.as_str(), now);
        }
        next
    }

    /// Forgets what waits for a source.
    pub(super) fn give_up(&mut self, source: IpAddr, reason: &'static str, now: Instant) {
        let (segments, ended) = self.queue.drop_source(source);
        self.counted.ignore(reason, segments as u64);
        for segment in ended {
            self.segment_ended(source, &segment, now);
        }
    }

    /// A source sent something wrong, or complains about what it gave.
    pub(super) fn strike(&mut self, source: IpAddr, now: Instant) {
        self.counted.strikes += 1;
        if self.sources.strike(source, now) {
            tracing::info!(%source, "nothing is taken from this host for ten minutes: too much of it was wrong");
            self.give_up(source, "strikes", now);
        }
    }

    /// A source could not be reached.
    pub(super) fn unreachable(&mut self, source: IpAddr, now: Instant) {
        if self.sources.failed(source, now) {
            self.give_up(source, "unreachable", now);
        }
    }

    /// The cache takes no blocks now: a segment that is being fetched is to wait once more.
    pub(super) fn fetch_again(&mut self, address: SocketAddr, id: &SegmentId) {
        if let Some(others) = self.in_flight.get_mut(id)
            && !others.contains(&address)
        {
            others.insert(0, address);
        }
    }

    /// A run has ended.
    pub(super) fn run_ended(&mut self, source: IpAddr, segment: &Arc<Fetching>, now: Instant) {
        self.queue.ended(source);
        if segment.run_ended() {
            self.segment_ended(source, segment, now);
        }
    }

    fn segment_ended(&mut self, source: IpAddr, segment: &Fetching, now: Instant) {
        let offered = &segment.offered;
        let others = self.in_flight.remove(&offered.id).unwrap_or_default();
        if offered.held(&self.store) != Held::Partly {
            self.givers.gave(source, &offered.id, now);
            return self.counted.completed(offered.tag);
        }
        let size = size_in_memory(offered);
        for address in others {
            // The first one that has it all makes duplicates of the rest.
            if self.queue.push(address, Content::One(Some(offered.clone()), size)).is_err() {
                self.counted.ignore("queue_full", 1);
            }
        }
    }

    /// The numbers of now.
    pub(super) fn status(&self, now: Instant) -> HostedCacheStatus {
        HostedCacheStatus {
            queued: self.queue.len() as u64,
            sources_out: self.sources.out(now) as u64,
            known_segments: self.known.len() as u64,
            ..self.counted.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use peerdist_protocol::content::{CryptoAlgoId, EncryptedBlock};
    use peerdist_protocol::hosted_cache::{ContentTag, Version};
    use tempfile::TempDir;

    use super::super::offered::Kept;
    use super::*;
    use crate::store::{Limits, SizeLimit, StoreConfig};

    /// Dropped in this order.
    struct Bench {
        desk: Desk,
        now: Instant,
        _directory: TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let limits = Limits { size: SizeLimit::Bytes(16 << 20), keep_free: 0, ..Limits::default() };
            let store = StoreConfig { limits, ..StoreConfig::new(directory.path().join("cache")) };
            let store = Store::open(&store).unwrap();
            let now = Instant::now();
            let desk = Desk::new(config::HostedCache::default(), store, KnownSegments::default(), now);
            Self { desk, now, _directory: directory }
        }

        fn offer(&mut self, host: u8, segments: Vec<SegmentDescriptor>) {
            let offer = Offer::Batched(BatchedOffer { port: 80, segments });
            let (response, record) = self.desk.take(address(host), offer, true, self.now);
            assert!(response == Response::Ok && record.is_none());
        }

        /// The next run, passing over what is not admitted.
        fn next(&mut self) -> Option<(u8, Arc<Fetching>)> {
            loop {
                match self.desk.next(self.now)? {
                    Next::Run { address: SocketAddr::V4(address), segment, .. } => {
                        return Some((address.ip().octets()[3], segment));
                    }
                    Next::Skipped => {}
                    other => panic!("{other:?}"),
                }
            }
        }

        fn end(&mut self, host: u8, segment: &Arc<Fetching>) {
            self.desk.run_ended(address(host).ip(), segment, self.now);
        }

        fn keep(&self, segment: &Fetching) {
            let block = EncryptedBlock { algorithm: CryptoAlgoId::None, iv: [0; 16], data: vec![1; 1000].into() };
            assert!(matches!(segment.offered.keep(&self.desk.store, 0, &block), Kept::Yes));
        }
    }

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 80))
    }

    fn descriptor(number: u32) -> SegmentDescriptor {
        let mut id = [7; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        SegmentDescriptor {
            block_size: 1000,
            segment_size: 1000,
            content_tag: ContentTag::WEBIO,
            hash_algorithm: 4,
            segment_id: SegmentId::from_slice(&id).unwrap(),
        }
    }

    #[test]
    fn a_segment_that_several_hosts_offer_at_once_is_fetched_from_one() {
        let mut bench = Bench::new();
        (1..=3).for_each(|host| bench.offer(host, vec![descriptor(1)]));
        let (host, segment) = bench.next().unwrap();
        assert_eq!(host, 1);
        assert!(bench.next().is_none());
        bench.keep(&segment);
        bench.end(1, &segment);
        assert!(bench.next().is_none(), "the others offered what was not there yet: that is no complaint");
        let status = bench.desk.status(bench.now);
        assert_eq!((status.pulled_segments, status.complaints, status.queued), (1, 0, 0));
        assert!(bench.desk.in_flight.is_empty());
    }

    #[test]
    fn another_host_stands_in_for_one_that_gave_nothing() {
        let mut bench = Bench::new();
        (1..=3).for_each(|host| bench.offer(host, vec![descriptor(1)]));
        let mut hosts = Vec::new();
        while let Some((host, segment)) = bench.next() {
            hosts.push(host);
            assert!(bench.next().is_none());
            if host == 2 {
                bench.keep(&segment);
            }
            bench.end(host, &segment);
        }
        assert_eq!(hosts, [1, 2]);
        assert_eq!(bench.desk.status(bench.now).pulled_segments, 1);
    }

    #[test]
    fn a_host_that_is_given_up_takes_nothing_of_others_along() {
        let mut bench = Bench::new();
        bench.offer(1, (0..20).map(descriptor).collect());
        bench.offer(2, vec![descriptor(0), descriptor(30)]);
        let (host, first) = bench.next().unwrap();
        assert_eq!(host, 1);
        (0..3).for_each(|_| bench.desk.unreachable(address(1).ip(), bench.now));
        bench.end(1, &first);
        let rest: Vec<_> =
            std::iter::from_fn(|| bench.next()).map(|(host, segment)| (host, segment.offered.id)).collect();
        assert_eq!(rest, [(2, descriptor(0).segment_id), (2, descriptor(30).segment_id)]);
        assert_eq!(bench.desk.status(bench.now).ignored["unreachable"], 19);
    }

    #[test]
    fn one_host_fills_no_more_than_half_of_the_cache_in_an_hour() {
        let mut bench = Bench::new();
        let half = bench.desk.store.stats().limit / 2;
        bench.desk.sources.sent(address(1).ip(), half - 1, bench.now);
        bench.offer(1, vec![descriptor(1)]);
        bench.desk.sources.sent(address(1).ip(), 1, bench.now);
        bench.offer(1, vec![descriptor(2)]);
        let status = bench.desk.status(bench.now);
        assert_eq!((status.queued, status.ignored.get("quota")), (1, Some(&1)));
    }

    #[test]
    fn a_quarter_of_a_million_segments_wait_without_one_being_lost() {
        let mut bench = Bench::new();
        for number in 0..2000 {
            let segments = (0..128).map(|index| descriptor(number * 128 + index)).collect();
            let bytes = Offer::Batched(BatchedOffer { port: 80, segments }).emit().into();
            let offer = Offer::parse(Version::V2, &bytes).unwrap();
            assert_eq!(bench.desk.take(address(1), offer, true, bench.now).0, Response::Ok);
        }
        let status = bench.desk.status(bench.now);
        assert_eq!((status.queued, status.segments_offered), (256_000, 256_000));
        assert_eq!((status.tags["WebIO"].offers, status.ignored.len()), (2000, 0));
    }
}
