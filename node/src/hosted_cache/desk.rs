//! Where offers arrive: they are answered at once, from memory, and what follows from them waits in a queue.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use peerdist_protocol::content::SegmentId;
use peerdist_protocol::hosted_cache::{
    BatchedOffer, Ignored, InitialOffer, Offer, Response, SegmentDescriptor, SegmentInfo,
};

use super::copies::{Copies, Refused};
use super::in_flight::InFlight;
use super::known::KnownSegments;
use super::offered::{Offered, Waiting, held, size_in_memory};
use super::queue::{Content, Full, Queue, QueueLimits};
use super::seldom::Seldom;
use super::sources::{Host, Sources};
use super::status::HostedCacheStatus;
use crate::config;
use crate::store::Store;

/// Bytes of hashes that wait to be used.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// Those of one source.
const MAX_WAITING_BYTES_OF_SOURCE: usize = 8 << 20;

/// What offers change. There is one lock around it.
#[derive(Debug)]
pub(super) struct Desk {
    settings: config::HostedCache,
    pub(super) store: Store,
    pub(super) queue: Queue,
    pub(super) sources: Sources,
    pub(super) copies: Copies,
    known: KnownSegments,
    /// Segments that are fetched now.
    pub(super) in_flight: InFlight,
    /// Sources that got too many strikes.
    pub(super) struck: Seldom,
    pub(super) counted: HostedCacheStatus,
}

/// The retrieval server is where the offer came from ([MS-PCHC] 3.1.5), at the port that it names.
pub(super) fn retrieval_address(from: SocketAddr, offer: &Offer) -> SocketAddr {
    let mut address = from;
    address.set_ip(from.ip().to_canonical());
    address.set_port(offer.port());
    address
}

impl Desk {
    pub(super) fn new(settings: config::HostedCache, store: Store, known: KnownSegments, now: Instant) -> Self {
        let number = |count: std::num::NonZeroU32| count.get() as usize;
        let queue = Queue::new(QueueLimits {
            segments: number(settings.max_queued),
            segments_per_source: number(settings.max_queued_per_source),
            bytes: MAX_WAITING_BYTES,
            bytes_per_source: MAX_WAITING_BYTES_OF_SOURCE,
            runs: number(settings.max_pulls),
            runs_per_source: number(settings.max_pulls_per_source),
        });
        // Or one source could have all that others gave make way within the hour.
        let max_bytes = settings.max_bytes_per_source.min(store.stats().limit / 2);
        Self {
            sources: Sources::new(max_bytes),
            settings,
            store,
            queue,
            copies: Copies::new(now),
            known,
            in_flight: InFlight::default(),
            struck: Seldom::default(),
            counted: HostedCacheStatus::default(),
        }
    }

    /// Takes an offer that came from an address. `refused` says why offers from there lead to nothing at all. With the
    /// answer comes the segment whose record is to be written.
    pub(super) fn take(
        &mut self,
        from: SocketAddr,
        offer: Offer,
        refused: Option<Refused>,
        now: Instant,
    ) -> (Response, Option<Offered>) {
        let address = retrieval_address(from, &offer);
        let refusal = refused.or_else(|| self.refusal(address, now));
        let mut host = self.sources.host(address, now);
        host.source = self.queue.source(host.source, self.sources.standing(host.source, now));
        match offer {
            Offer::Batched(offer) => {
                self.counted.offers.batched_offer += 1;
                self.batched(host, &offer, refusal, now);
                (Response::Ok, None)
            }
            Offer::Initial(offer) => {
                self.counted.offers.initial_offer += 1;
                (self.initial(host, &offer, refusal, now), None)
            }
            Offer::SegmentInfo(offer) => {
                self.counted.offers.segment_info += 1;
                self.count_tag(offer.content_tag.name(), 1);
                let record = self.segment_info(host, offer, refusal, now);
                (Response::Ok, record)
            }
        }
    }

    /// Why nothing is taken from a source now.
    fn refusal(&mut self, address: SocketAddr, now: Instant) -> Option<Refused> {
        if !self.settings.takes_from(address.ip()) {
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

    /// Lets an offer wait.
    pub(super) fn wait(&mut self, host: Host, content: Content, now: Instant) -> Result<(), Refused> {
        let standing = self.sources.standing(host.source, now);
        self.queue.push(host, standing, content).map_err(|Full| "queue_full")
    }

    fn batched(&mut self, host: Host, offer: &BatchedOffer, refusal: Option<Refused>, now: Instant) {
        self.count_tags(&offer.segments);
        if let Some(reason) = refusal {
            return self.counted.ignore(reason, offer.segments.len() as u64);
        }
        let source = host.source;
        let mut room = self.queue.room(source, self.sources.standing(source, now));
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
        if repeats && self.strike(host, now) {
            return self.counted.ignore("strikes", waiting.len() as u64);
        }
        let count = waiting.len() as u64;
        if let Err(reason) = self.wait(host, Content::Many(waiting.into_iter()), now) {
            self.counted.ignore(reason, count);
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
    fn judge(&self, source: IpAddr, descriptor: &SegmentDescriptor) -> Result<bool, Refused> {
        let block_count = descriptor.block_count().map_err(|ignored| ignored.as_str())?;
        let id = &descriptor.segment_id;
        self.copies.judge_held(held(&self.store, id, block_count), source, id)
    }

    fn initial(&mut self, host: Host, offer: &InitialOffer, refusal: Option<Refused>, now: Instant) -> Response {
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
                Some(offered) => {
                    let size = size_in_memory(&offered);
                    Content::One(Some(offered), size)
                }
                None => Content::Recorded(Some(id)),
            };
            self.wait(host, content, now).err()
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
        host: Host,
        offer: SegmentInfo,
        refusal: Option<Refused>,
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
        let record = self.store.held(&offered.id).and_then(|_| self.remember(&offered, host.source, now));
        let reason = match self.copies.judge(&self.store, host.source, &offered) {
            Err(reason) => {
                if reason == "repeated" {
                    self.strike(host, now);
                }
                Some(reason)
            }
            Ok(complaint) => {
                self.counted.complaints += u64::from(complaint);
                offered.complaint = complaint;
                let size = size_in_memory(&offered);
                self.wait(host, Content::One(Some(offered), size), now).err()
            }
        };
        if let Some(reason) = reason {
            self.counted.ignore(reason, 1);
        }
        record
    }

    fn read(&self, offer: &SegmentInfo) -> Result<Offered, Refused> {
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
    pub(super) fn record_read(&mut self, host: Host, id: &SegmentId, record: Option<Offered>, now: Instant) {
        self.queue.ended(host.source);
        let Some(offered) = record else {
            self.known.forget(id);
            return self.counted.ignore("record", 1);
        };
        let size = size_in_memory(&offered);
        if let Err(reason) = self.wait(host, Content::One(Some(offered), size), now) {
            self.counted.ignore(reason, 1);
        }
    }

    /// The segments that are known since before `then` and of which nothing is held. They are forgotten.
    pub(super) fn forget_before(&mut self, then: Instant) -> Vec<SegmentId> {
        let store = &self.store;
        self.known.forget_before(then, |id| store.held(id).is_none())
    }

    /// Whether nothing waits and nothing is being fetched.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
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
#[path = "desk_tests.rs"]
mod tests;
