//! The MessageIDs of the last seconds: each Probe is answered once (MS-PCCRD 3.2.4.1, SOAP-over-UDP).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::random::mix;
use super::{MessageId, Moment};

/// How long an id is remembered at least, unless too many come.
const MEMORY: Duration = Duration::from_secs(5);
/// How many ids one of the two generations holds; beyond it the older generation is forgotten early.
const GENERATION: usize = 1 << 17;

/// Whose MessageID it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Own,
    Foreign,
}

/// Two generations of keyed 64-bit hashes: the current one becomes the older one after [`MEMORY`].
#[derive(Debug)]
pub(super) struct Seen {
    key: u64,
    current: Generation,
    older: Generation,
    began: Moment,
}

type Generation = HashMap<u64, Origin, BuildHasherDefault<AsItIs>>;

impl Seen {
    pub(super) fn new(key: u64) -> Self {
        Self { key, current: Generation::default(), older: Generation::default(), began: Moment::ZERO }
    }

    /// Whose id it is if it was seen before; remembers it otherwise.
    pub(super) fn see(&mut self, now: Moment, id: &MessageId, origin: Origin) -> Option<Origin> {
        if now.saturating_sub(self.began) >= MEMORY || self.current.len() >= GENERATION {
            // Both generations are stale after a long silence.
            if now.saturating_sub(self.began) >= 2 * MEMORY {
                self.current.clear();
            }
            std::mem::swap(&mut self.current, &mut self.older);
            self.current.clear();
            self.began = now;
        }
        let mut hasher = DefaultHasher::new();
        (self.key, id).hash(&mut hasher);
        let hash = hasher.finish();
        let known = self.current.get(&hash).or_else(|| self.older.get(&hash)).copied();
        if known.is_none() {
            self.current.insert(hash, origin);
        }
        known
    }
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = mix(self.0 ^ u64::from(byte));
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_id_is_remembered_for_five_seconds_and_forgotten_after_ten() {
        let id = MessageId::from_uuid(7);
        // Whenever the generation began that takes the id in.
        for start in [0, 3, 4] {
            let mut seen = Seen::new(1);
            seen.see(SECOND * start, &MessageId::from_uuid(0), Origin::Foreign);
            assert_eq!(seen.see(4 * SECOND, &id, Origin::Foreign), None);
            assert_eq!(seen.see(9 * SECOND - Duration::from_nanos(1), &id, Origin::Foreign), Some(Origin::Foreign));
        }
        let mut seen = Seen::new(1);
        assert_eq!(seen.see(SECOND, &id, Origin::Own), None);
        assert_eq!(seen.see(2 * SECOND, &id, Origin::Foreign), Some(Origin::Own));
        assert_eq!(seen.see(30 * SECOND, &id, Origin::Foreign), None);
    }

    #[test]
    fn a_flood_of_ids_takes_bounded_memory() {
        let mut seen = Seen::new(1);
        for number in 0..3 * GENERATION as u128 {
            assert_eq!(seen.see(SECOND, &MessageId::from_uuid(number), Origin::Foreign), None);
        }
        assert!(seen.current.len() <= GENERATION && seen.older.len() <= GENERATION);
    }
}
