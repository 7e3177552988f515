//! Who gave what is held unproven, and who complained about it: nobody can say which copy is right, so that the newest
//! is served, and nobody has the last word again and again.
//!
//! Nothing here is for ever. Whoever complains is heard once in a while, so that a segment with one liar and several
//! others ends as the others have it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use peerdist_protocol::content::SegmentId;

use super::offered::{Held, Offered};
use super::sources::is_shared;
use crate::store::Store;

/// What is remembered of copies and of complaints. Hashes stand for hosts and segments.
#[derive(Debug)]
pub(super) struct Copies {
    hasher: RandomState,
    /// By segment: the one source of all blocks that are held.
    givers: Generations<u64>,
    /// By source and segment.
    complaints: Generations<()>,
}

/// An offer that is not followed, and why.
pub(super) type Refused = &'static str;

impl Copies {
    pub(super) fn new(now: Instant) -> Self {
        Self { hasher: RandomState::new(), givers: Generations::new(now), complaints: Generations::new(now) }
    }

    /// Whether an offered segment is to be fetched: if so, whether the offer is a complaint about what is held.
    pub(super) fn judge(&self, store: &Store, source: IpAddr, offered: &Offered) -> Result<bool, Refused> {
        match self.judge_held(offered.held(store), source, &offered.id) {
            // What is held blind can be proven now.
            Ok(_) | Err("repeated" | "complained") if offered.is_bound() => Ok(false),
            verdict => verdict,
        }
    }

    /// The same of an offer that proves nothing, by what is held of its segment.
    pub(super) fn judge_held(&self, held: Held, source: IpAddr, id: &SegmentId) -> Result<bool, Refused> {
        match held {
            Held::Nothing | Held::Partly => Ok(false),
            Held::Bound => Err("held"),
            Held::Otherwise => Err("contradiction"),
            Held::Blind if self.is_giver(source, id) => Err("repeated"),
            Held::Blind | Held::Differently if self.has_complained(source, id) => Err("complained"),
            Held::Blind | Held::Differently => Ok(true),
        }
    }

    /// Whether all that is held of a segment came from a source.
    pub(super) fn is_giver(&self, source: IpAddr, id: &SegmentId) -> bool {
        self.givers.get(self.hasher.hash_one(id)) == Some(&self.hasher.hash_one(source))
    }

    /// From now on all that is held of a segment is from a source, or from several. Of a source that hosts share nobody
    /// knows which one it was.
    pub(super) fn set_giver(&mut self, source: Option<IpAddr>, id: &SegmentId, now: Instant) {
        let id = self.hasher.hash_one(id);
        match source.filter(|source| !is_shared(*source)) {
            Some(source) => self.givers.insert(id, self.hasher.hash_one(source), now),
            None => self.givers.remove(id),
        }
    }

    pub(super) fn has_complained(&self, source: IpAddr, id: &SegmentId) -> bool {
        self.complaints.get(self.hasher.hash_one((source, id))).is_some()
    }

    /// A source complained and gave something else.
    pub(super) fn complained(&mut self, source: IpAddr, id: &SegmentId, now: Instant) {
        self.complaints.insert(self.hasher.hash_one((source, id)), (), now);
    }
}

/// What is remembered for half an hour to an hour.
#[derive(Debug)]
struct Generations<V> {
    recent: HashMap<u64, V>,
    older: HashMap<u64, V>,
    since: Instant,
}

impl<V> Generations<V> {
    /// What one generation holds at most, and for how long.
    const MAX: usize = 262_144;
    const TIME: Duration = Duration::from_secs(30 * 60);

    fn new(now: Instant) -> Self {
        Self { recent: HashMap::new(), older: HashMap::new(), since: now }
    }

    fn get(&self, key: u64) -> Option<&V> {
        self.recent.get(&key).or_else(|| self.older.get(&key))
    }

    fn insert(&mut self, key: u64, value: V, now: Instant) {
        if self.recent.len() >= Self::MAX || now.saturating_duration_since(self.since) >= Self::TIME {
            self.older = std::mem::take(&mut self.recent);
            self.since = now;
        }
        self.recent.insert(key, value);
    }

    fn remove(&mut self, key: u64) {
        self.recent.remove(&key);
        self.older.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_forgotten_after_a_while() {
        let start = Instant::now();
        let mut remembered = Generations::new(start);
        let time = Generations::<()>::TIME;
        remembered.insert(1, "a", start);
        assert_eq!((remembered.get(1), remembered.get(2)), (Some(&"a"), None));
        remembered.insert(1, "b", start + time);
        assert_eq!(remembered.get(1), Some(&"b"));
        remembered.insert(2, "c", start + time * 2);
        assert_eq!((remembered.get(1), remembered.get(2)), (Some(&"b"), Some(&"c")));
        remembered.insert(3, "d", start + time * 3);
        assert_eq!((remembered.get(1), remembered.get(2)), (None, Some(&"c")));
        remembered.remove(2);
        assert_eq!(remembered.get(2), None);
    }
}
