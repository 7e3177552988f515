//! Segments whose hashes are known, and how much their records may take on disk.
//!
//! What is forgotten costs little: the next INITIAL_OFFER is answered with INTERESTED, and the hashes come again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Instant;

use peerdist_protocol::content::SegmentId;

use super::offered::Offered;
use super::records::size_of_record;

/// Segments that are known at most.
const MAX_SEGMENTS: usize = 131_072;
/// Records take one of so many bytes that the cache may take, beside them.
const SHARE_OF_CACHE: u64 = 16;
/// Those that are there because of one source take one of so many bytes, and segments, of that.
const SHARE_OF_SOURCE: u64 = 8;

/// The segments whose complete lists of hashes are known.
#[derive(Debug, Default)]
pub(super) struct KnownSegments {
    segments: HashMap<SegmentId, Known>,
    all: Taken,
    by_source: HashMap<IpAddr, Taken>,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    /// What its record takes on disk.
    size: u64,
    /// Where it came from since the start.
    source: Option<IpAddr>,
    /// The segment while it is not on disk yet.
    unwritten: Option<Offered>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Taken {
    segments: usize,
    bytes: u64,
}

impl Taken {
    fn has_room(self, size: u64, cache_limit: u64, share: u64) -> bool {
        (self.segments as u64) < MAX_SEGMENTS as u64 / share
            && self.bytes + size <= cache_limit / SHARE_OF_CACHE / share
    }

    fn add(&mut self, size: u64) {
        self.segments += 1;
        self.bytes += size;
    }

    fn remove(&mut self, size: u64) {
        self.segments -= 1;
        self.bytes -= size;
    }
}

impl KnownSegments {
    /// Those that there are records of, with the sizes of these.
    pub(super) fn new(records: Vec<(SegmentId, u64)>, now: Instant) -> Self {
        let mut known = Self::default();
        for (id, size) in records {
            known.insert(id, Known { since: now, size, source: None, unwritten: None });
        }
        known
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn contains(&self, id: &SegmentId) -> bool {
        self.segments.contains_key(id)
    }

    /// A segment that is known and not on disk yet.
    pub(super) fn unwritten(&self, id: &SegmentId) -> Option<Offered> {
        self.segments.get(id)?.unwritten.clone()
    }

    /// Remembers the complete list of hashes that came from a source, where there is room in what the cache may take.
    /// Returns whether its record is to be written.
    pub(super) fn remember(&mut self, offered: &Offered, source: IpAddr, cache_limit: u64, now: Instant) -> bool {
        let size = size_of_record(offered);
        let of_source = self.by_source.get(&source).copied().unwrap_or_default();
        let is_new = offered.is_bound()
            && !self.contains(&offered.id)
            && self.all.has_room(size, cache_limit, 1)
            && of_source.has_room(size, cache_limit, SHARE_OF_SOURCE);
        if is_new {
            let unwritten = Some(offered.clone());
            self.insert(offered.id, Known { since: now, size, source: Some(source), unwritten });
        }
        is_new
    }

    fn insert(&mut self, id: SegmentId, known: Known) {
        self.all.add(known.size);
        if let Some(source) = known.source {
            self.by_source.entry(source).or_default().add(known.size);
        }
        self.segments.insert(id, known);
    }

    /// The record of a segment is on disk.
    pub(super) fn written(&mut self, id: &SegmentId) {
        if let Some(known) = self.segments.get_mut(id) {
            known.unwritten = None;
        }
    }

    pub(super) fn forget(&mut self, id: &SegmentId) {
        let Some(Known { size, source, .. }) = self.segments.remove(id) else { return };
        self.all.remove(size);
        if let Some(source) = source
            && let Entry::Occupied(mut taken) = self.by_source.entry(source)
        {
            taken.get_mut().remove(size);
            if taken.get().segments == 0 {
                taken.remove();
            }
        }
    }

    /// Forgets those that are known since before `then`, are on disk, and are gone. Returns them.
    pub(super) fn forget_before(&mut self, then: Instant, is_gone: impl Fn(&SegmentId) -> bool) -> Vec<SegmentId> {
        let is_over =
            |(id, known): &(&SegmentId, &Known)| known.since <= then && known.unwritten.is_none() && is_gone(id);
        let gone: Vec<_> = self.segments.iter().filter(is_over).map(|(id, _)| *id).collect();
        gone.iter().for_each(|id| self.forget(id));
        gone
    }
}

#[cfg(test)]
mod tests {
    use peerdist_protocol::content::{HashOptions, Hasher, ServerSecret};
    use peerdist_protocol::crypto::HashAlgorithm;
    use peerdist_protocol::hosted_cache::{ContentTag, SegmentInfo};

    use super::*;

    fn offered(number: u8) -> Offered {
        let options = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: false };
        let mut hasher = Hasher::new(options, &ServerSecret::from_passphrase("known"));
        hasher.update(&[number; 1000]);
        let information = hasher.finish().unwrap().v1.unwrap();
        let offer = SegmentInfo::new(1, ContentTag::BITS, &information.segments()[0]);
        Offered::verified(offer.segment().unwrap(), ContentTag::BITS).unwrap()
    }

    fn source(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn records_have_a_share_of_the_cache_and_each_source_one_of_that() {
        let now = Instant::now();
        let size = size_of_record(&offered(0));
        // Sixteen records, two of them from one source.
        let limit = size * 16 * SHARE_OF_CACHE;
        let mut known = KnownSegments::default();
        let mut remember = |number| known.remember(&offered(number), source(number % 10), limit, now);
        let remembered: Vec<u8> = (0..30).filter(|number| remember(*number)).collect();
        assert_eq!(remembered, (0..16).collect::<Vec<u8>>(), "all of it");
        assert!(!remember(0), "it is known");
        (10..15).for_each(|number| known.forget(&offered(number).id));
        let mut remember = |number| known.remember(&offered(number), source(number % 10), limit, now);
        let remembered: Vec<u8> = (20..30).filter(|number| remember(*number)).collect();
        assert_eq!(remembered, [20, 21, 22, 23, 24], "then all is taken");
        known.forget(&offered(9).id);
        assert!(!known.remember(&offered(40), source(0), limit, now), "this source has two");
        assert!(known.remember(&offered(40), source(9), limit, now));
        assert_eq!((known.len(), known.all.bytes), (16, size * 16));
    }

    #[test]
    fn what_was_there_at_the_start_counts_and_is_forgotten_once_it_is_gone() {
        let now = Instant::now();
        let size = size_of_record(&offered(0));
        let limit = size * 8 * SHARE_OF_CACHE;
        let records = (0..8).map(|number| (offered(number).id, size)).collect();
        let mut known = KnownSegments::new(records, now);
        assert!(!known.remember(&offered(8), source(1), limit, now));
        let gone = offered(3).id;
        assert_eq!(known.forget_before(now, |id| *id == gone), [gone]);
        assert!(known.remember(&offered(8), source(1), limit, now));
        // It is not on disk yet.
        assert!(known.forget_before(now, |id| *id == offered(8).id).is_empty());
        known.written(&offered(8).id);
        assert_eq!(known.forget_before(now, |_| true).len(), 8);
        assert_eq!((known.len(), known.all.bytes, known.by_source.len()), (0, 0, 0));
    }
}
