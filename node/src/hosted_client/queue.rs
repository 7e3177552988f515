//! What waits to be offered: which segment to which hosted cache, and when.
//!
//! Pure: time is an argument. A segment of version 2 is offered when its block came, one of version 1 when 20, 40, 60, 80
//! and 100 % of its blocks are new ([MS-PCHC] note 9). Offers to one hosted cache go out together: as soon as 128 segments
//! wait for it, or when no further one came for a second.
//!
//! An offer that fails goes to the next hosted cache that is not left alone, and the one that failed is left alone for a
//! while, longer each time. Where no other is left, the segments wait for the first that is looked after again: a hosted
//! cache that is away for some minutes loses no offer. A segment that came 15 minutes ago is given up with the next
//! failure: it stays here, and other hosts of the branch will offer theirs.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, BlockRanges, Segment, SegmentId};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::hosted_cache::{ContentTag, MAX_SEGMENT_DESCRIPTORS, SegmentDescriptor, Version};

use super::servers::order;
use crate::config::ServerName;
use crate::fetch::Moment;
use crate::store::Tag;

/// How long further segments are waited for.
pub const SETTLE_TIME: Duration = Duration::from_secs(1);
/// Segments that wait for one hosted cache; the one that waits longest makes room.
pub const MAX_WAITING: usize = 16_384;
/// How long a hosted cache that failed is left alone, the first time; it doubles with every failure in a row.
pub const REST_TIME: Duration = Duration::from_secs(30);
/// How often it doubles.
const MAX_REST_DOUBLINGS: u32 = 2;
/// How long, where an administrator has to do something first.
pub const LONG_REST_TIME: Duration = Duration::from_secs(300);
/// A segment that has waited for longer is given up when the hosted cache that it waits for fails.
pub const MAX_AGE: Duration = Duration::from_secs(900);
/// Segments of version 1 of which the new blocks are counted.
const MAX_PARTIAL: usize = 4096;
/// A segment of version 1 is offered in so many steps.
const STEPS: u32 = 5;

/// A segment that is to be offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is said of it.
    pub what: What,
    /// When it was to be offered first.
    since: Moment,
}

/// What an offer says of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Version 2.0.
    Described(SegmentDescriptor),
    /// Version 1.0. It contains the segment's secret.
    Whole {
        /// The segment.
        segment: Box<Segment>,
        /// Whose content it is.
        tag: ContentTag,
    },
}

impl What {
    /// The segment's id.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        match self {
            Self::Described(descriptor) => descriptor.segment_id,
            Self::Whole { segment, .. } => segment.id(),
        }
    }
}

/// What one hosted cache is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// These, now. [`Queue::answered`] or [`Queue::failed`] follows.
    Send(Vec<Entry>),
    /// Nothing before this moment, or before something new comes.
    Wait(Option<Moment>),
}

/// Whether an offer that failed may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It may: nobody was there, or no answer came.
    Passing,
    /// An administrator has to do something first: the certificate is not trusted, or Windows authentication is wanted.
    Lasting,
}

/// What waits for the hosted caches of a node.
#[derive(Debug)]
pub struct Queue {
    version: Version,
    names: Vec<ServerName>,
    lines: Vec<Line>,
    partial: HashMap<SegmentId, Partial>,
    by_age: VecDeque<SegmentId>,
    counts: Counts,
}

/// What became of segments that were not sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Thrown out because too many waited.
    pub dropped: u64,
    /// Given up because offering them failed.
    pub given_up: u64,
    /// Not offered because the configured version of the protocol cannot name them.
    pub not_expressible: u64,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Entry>,
    ids: HashSet<SegmentId>,
    newest: Moment,
    rests_until: Moment,
    /// In a row.
    failures: u32,
}

/// A segment of version 1 of which some blocks are new.
#[derive(Debug, Default)]
struct Partial {
    new: BlockRanges,
    steps_offered: u32,
}

impl Queue {
    /// A queue for offers of a version to these hosted caches.
    #[must_use]
    pub fn new(version: Version, names: Vec<ServerName>) -> Self {
        let lines = names.iter().map(|_| Line::default()).collect();
        let (partial, by_age) = (HashMap::new(), VecDeque::new());
        Self { version, names, lines, partial, by_age, counts: Counts::default() }
    }

    /// A block is new here and may be offered. `held` says how many blocks of the segment are here. Returns the hosted
    /// cache that is to be looked after.
    pub fn is_new(
        &mut self,
        now: Moment,
        segment: &Segment,
        index: BlockIndex,
        tag: Tag,
        held: impl FnOnce() -> u32,
    ) -> Option<usize> {
        if segment.block_count() > 1 && !self.is_step(segment, index, held) {
            return None;
        }
        let tag = if tag.bytes == [0; 16] { ContentTag::PEERDIST } else { ContentTag(tag.bytes) };
        let Some(what) = self.what(segment, tag) else {
            self.counts.not_expressible += 1;
            return None;
        };
        let server = self.line_for(now, &what.id())?;
        self.push(now, server, Entry { what, since: now });
        Some(server)
    }

    /// What a hosted cache is to be sent now.
    pub fn next(&mut self, now: Moment, server: usize) -> Next {
        let Some(line) = self.lines.get_mut(server).filter(|line| !line.waiting.is_empty()) else {
            return Next::Wait(None);
        };
        if line.rests_until > now {
            return Next::Wait(Some(line.rests_until));
        }
        let due = line.newest + SETTLE_TIME;
        if line.waiting.len() < MAX_SEGMENT_DESCRIPTORS && due > now {
            return Next::Wait(Some(due));
        }
        let count = line.waiting.len().min(MAX_SEGMENT_DESCRIPTORS);
        let entries: Vec<_> = line.waiting.drain(..count).collect();
        for entry in &entries {
            line.ids.remove(&entry.what.id());
        }
        Next::Send(entries)
    }

    /// A hosted cache took what it was sent.
    pub fn answered(&mut self, server: usize) {
        if let Some(line) = self.lines.get_mut(server) {
            (line.rests_until, line.failures) = (Moment::ZERO, 0);
        }
    }

    /// A hosted cache did not take these: what waits for it goes elsewhere, too, where it can. Returns the hosted caches
    /// that are to be looked after.
    pub fn failed(&mut self, now: Moment, server: usize, entries: Vec<Entry>, failure: Failure) -> BTreeSet<usize> {
        let mut changed = BTreeSet::from([server]);
        let Some(line) = self.lines.get_mut(server) else { return changed };
        let rest = match failure {
            Failure::Passing => REST_TIME * (1 << line.failures.min(MAX_REST_DOUBLINGS)),
            Failure::Lasting => LONG_REST_TIME,
        };
        line.rests_until = now + rest;
        line.failures = line.failures.saturating_add(1);
        line.ids.clear();
        let waiting = std::mem::take(&mut line.waiting);
        for entry in entries.into_iter().chain(waiting) {
            match self.line_for(now, &entry.what.id()) {
                Some(next) if entry.since + MAX_AGE > now => {
                    self.push(now, next, entry);
                    changed.insert(next);
                }
                _ => self.counts.given_up += 1,
            }
        }
        changed
    }

    /// Segments that wait for a hosted cache.
    #[must_use]
    pub fn waiting(&self, server: usize) -> usize {
        self.lines.get(server).map_or(0, |line| line.waiting.len())
    }

    /// Until when a hosted cache is left alone.
    #[must_use]
    pub fn rests_until(&self, now: Moment, server: usize) -> Option<Moment> {
        self.lines.get(server).map(|line| line.rests_until).filter(|until| *until > now)
    }

    /// What became of segments that were not sent.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the new blocks of a segment of version 1 have come to the next step.
    fn is_step(&mut self, segment: &Segment, index: BlockIndex, held: impl FnOnce() -> u32) -> bool {
        let (id, count) = (segment.id(), segment.block_count());
        if !self.partial.contains_key(&id) {
            if self.by_age.len() >= MAX_PARTIAL
                && let Some(oldest) = self.by_age.pop_front()
            {
                self.partial.remove(&oldest);
            }
            self.by_age.push_back(id);
        }
        let partial = self.partial.entry(id).or_default();
        partial.new.insert(index);
        // What others gave before may be more than a fifth: the rest would never be offered.
        let is_complete = held() >= count;
        let steps = if is_complete { STEPS } else { partial.new.len() * STEPS / count };
        if steps <= partial.steps_offered {
            return false;
        }
        partial.steps_offered = steps;
        if is_complete {
            self.partial.remove(&id);
            self.by_age.retain(|known| *known != id);
        }
        true
    }

    fn what(&self, segment: &Segment, tag: ContentTag) -> Option<What> {
        match self.version {
            Version::V2 => SegmentDescriptor::new(segment, tag).map(What::Described),
            // A segment of version 2 has no list of hashes that SEGMENT_INFO could carry.
            Version::V1 if segment.algorithm() == HashAlgorithm::TruncatedSha512 => None,
            Version::V1 => Some(What::Whole { segment: Box::new(segment.clone()), tag }),
        }
    }

    /// The hosted cache that a segment goes to: its first one that is not left alone; else the one that is left alone for
    /// the shortest time, to wait there.
    fn line_for(&self, now: Moment, id: &SegmentId) -> Option<usize> {
        order(&self.names, id).into_iter().min_by_key(|server| self.rests_until(now, *server))
    }

    fn push(&mut self, now: Moment, server: usize, entry: Entry) {
        let Some(line) = self.lines.get_mut(server) else { return };
        if !line.ids.insert(entry.what.id()) {
            return;
        }
        if line.waiting.len() >= MAX_WAITING
            && let Some(oldest) = line.waiting.pop_front()
        {
            line.ids.remove(&oldest.what.id());
            self.counts.dropped += 1;
        }
        line.newest = now;
        line.waiting.push_back(entry);
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
