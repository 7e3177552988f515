//! How many hosts hold a segment, as far as they answered this host's own Probes: the ground for thinning answers
//! (MS-PCCRD note <8> has the rule of Windows, which silences the sixth dual-stack holder for good; this one never
//! silences anybody).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::{EndpointAddress, Moment};
use crate::content::SegmentId;

/// For how long an answer is taken as a sign that its sender still holds the segment.
const MEMORY: Duration = Duration::from_secs(600);
/// How many segments are remembered; newer ones take the places of older ones. 160 KiB once the first answer came.
const PLACES: usize = 4096;
const BITS: u32 = u64::BITS;

/// For each segment a bit map of hashed endpoint Addresses, read by linear counting.
#[derive(Debug)]
pub(super) struct Holders {
    key: u64,
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    segment: u64,
    hosts: u64,
    until: Moment,
}

impl Holders {
    pub(super) fn new(key: u64) -> Self {
        Self { key, places: Vec::new() }
    }

    /// A host said that it holds the segment.
    pub(super) fn note(&mut self, now: Moment, id: &SegmentId, host: &EndpointAddress) {
        self.places.resize(PLACES, Place::default());
        let (segment, host) = (self.hash(id), self.hash(host));
        let Some(place) = self.places.get_mut(segment as usize % PLACES) else { return };
        if place.segment != segment || place.until <= now {
            *place = Place { segment, hosts: 0, until: now };
        }
        place.hosts |= 1 << (host % u64::from(BITS));
        place.until = now.saturating_add(MEMORY);
    }

    /// How many hosts other than this one are believed to hold the segment; counts above 60 are rough.
    pub(super) fn expected(&self, now: Moment, id: &SegmentId) -> u32 {
        if self.places.is_empty() {
            return 0;
        }
        let segment = self.hash(id);
        match self.places.get(segment as usize % PLACES) {
            Some(place) if place.segment == segment && place.until > now => {
                // The expected number of distinct hosts behind so many empty bits; a full map counts as half a bit.
                let empty = f64::from(place.hosts.count_zeros()).max(0.5);
                (f64::from(BITS) * (f64::from(BITS) / empty).ln()).round() as u32
            }
            _ => 0,
        }
    }

    fn hash(&self, value: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        value.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_hosts_are_counted_and_forgotten() {
        let mut holders = Holders::new(1);
        let id = SegmentId::from_slice(&[1; 32]).unwrap();
        let other = SegmentId::from_slice(&[2; 32]).unwrap();
        assert_eq!(holders.expected(Moment::ZERO, &id), 0);
        for host in 0..40 {
            for _ in 0..3 {
                holders.note(Moment::ZERO, &id, &EndpointAddress::from_random(host));
            }
        }
        let expected = holders.expected(Moment::ZERO, &id);
        assert!((30..=50).contains(&expected), "{expected}");
        assert_eq!(holders.expected(Moment::ZERO, &other), 0);
        assert_eq!(holders.expected(MEMORY, &id), 0);
        holders.note(MEMORY, &id, &EndpointAddress::from_random(1));
        assert_eq!(holders.expected(MEMORY, &id), 1);
    }
}
