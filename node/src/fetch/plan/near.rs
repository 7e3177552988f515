//! What a plan keeps about the segments near the reader: the state of every block, and the runs they are asked in.

use std::ops::Range;

use peerdist_protocol::content::{BlockIndex, BlockRanges};

use super::layout::PlannedSegment;
use super::{ProbeTicket, RELIST_AFTER};
use crate::fetch::Moment;
use crate::fetch::peers::{Basis, HostId};

/// Where a block is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its hash is not known: nobody can fetch it.
    Unlisted,
    /// It was there and the reader wants it again: look where it is now.
    Unknown,
    /// The cache has it.
    Cached,
    /// It is being read from the cache.
    Reading,
    /// Nobody has been asked for it, or nobody delivered it yet.
    Needed,
    /// At least one peer was asked for it.
    Fetching,
    /// It was delivered, from the cache or a peer.
    Have,
    /// The reader was told to get it from the origin.
    AtOrigin,
    /// It came from the origin.
    Added,
}

/// A block that failed so many points' worth at one host is not asked for there again.
const EXHAUSTED: u8 = 6;

/// How badly asking a host for a block went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    NotHeld,
    Busy,
    Slow,
    Final,
}

impl Trouble {
    fn points(self) -> u8 {
        match self {
            Self::NotHeld => 0,
            Self::Final => EXHAUSTED,
            Self::Slow => EXHAUSTED / 2,
            Self::Busy => 1,
        }
    }
}

#[derive(Debug)]
struct Tried {
    host: HostId,
    points: u8,
    not_held: bool,
}

/// One block near the reader.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) state: State,
    /// The record in the cache turned out to be unreadable.
    pub(super) bad_in_cache: bool,
    tried: Vec<Tried>,
}

impl Block {
    pub(super) fn went_wrong(&mut self, host: HostId, trouble: Trouble) {
        let not_held = trouble == Trouble::NotHeld;
        match self.tried.iter_mut().find(|tried| tried.host == host) {
            Some(tried) => {
                tried.points = tried.points.saturating_add(trouble.points());
                tried.not_held |= not_held;
            }
            None => self.tried.push(Tried { host, points: trouble.points(), not_held }),
        }
    }

    /// Whether there is no use in asking the host once more. That it did not hold the block by a mere hint does not
    /// count any more once it claims it.
    pub(super) fn is_exhausted(&self, host: HostId, basis: Basis) -> bool {
        let tried = self.tried.iter().find(|tried| tried.host == host);
        tried.is_some_and(|tried| tried.points >= EXHAUSTED || (tried.not_held && basis != Basis::Sure))
    }

    /// Whether a host that was asked failed, or was busy.
    pub(super) fn failed_at(&self, host: HostId) -> bool {
        self.tried.iter().any(|tried| tried.host == host && tried.points > 0)
    }

    /// Whether some host that was asked failed, in contrast to not holding it.
    pub(super) fn failed_somewhere(&self) -> bool {
        self.tried.iter().any(|tried| tried.points > 0)
    }
}

#[derive(Debug)]
struct Listing {
    host: HostId,
    at: Moment,
    pending: bool,
}

/// One segment near the reader.
#[derive(Debug)]
pub(super) struct Near {
    pub(super) run: u64,
    pub(super) blocks: Vec<Block>,
    /// When the segment itself was last named in a Probe, beyond the samples of its run.
    pub(super) named: Option<Moment>,
    pub(super) naming: bool,
    listings: Vec<Listing>,
}

impl Near {
    pub(super) fn new(run: u64, segment: &PlannedSegment, cached: &BlockRanges) -> Self {
        let state = |block| match () {
            () if !segment.listed.contains(&block) => State::Unlisted,
            () if cached.contains(block) => State::Cached,
            () => State::Needed,
        };
        let blocks = (0..segment.block_count())
            .map(|block| Block { state: state(block), bad_in_cache: false, tried: Vec::new() })
            .collect();
        Self { run, blocks, named: None, naming: false, listings: Vec::new() }
    }

    pub(super) fn state(&self, block: BlockIndex) -> Option<State> {
        self.block(block).map(|block| block.state)
    }

    pub(super) fn block(&self, block: BlockIndex) -> Option<&Block> {
        self.blocks.get(block as usize)
    }

    pub(super) fn block_mut(&mut self, block: BlockIndex) -> Option<&mut Block> {
        self.blocks.get_mut(block as usize)
    }

    pub(super) fn count(&self, state: State) -> usize {
        self.blocks.iter().filter(|block| block.state == state).count()
    }

    pub(super) fn needs_any(&self) -> bool {
        self.blocks.iter().any(|block| block.state == State::Needed)
    }

    /// The blocks that a MSG_GETBLKLIST should ask for.
    pub(super) fn needed(&self) -> BlockRanges {
        let blocks = self.blocks.iter().zip(0..);
        blocks.filter(|(block, _)| matches!(block.state, State::Needed)).map(|(_, index)| index).collect()
    }

    pub(super) fn listing_begins(&mut self, now: Moment, host: HostId) {
        self.listings.retain(|listing| listing.host != host);
        self.listings.push(Listing { host, at: now, pending: true });
    }

    pub(super) fn listing_ended(&mut self, now: Moment, host: HostId) {
        if let Some(listing) = self.listings.iter_mut().find(|listing| listing.host == host) {
            listing.pending = false;
            listing.at = now;
        }
    }

    pub(super) fn is_listing(&self, host: HostId) -> bool {
        self.listings.iter().any(|listing| listing.host == host && listing.pending)
    }

    pub(super) fn was_listed(&self, host: HostId) -> bool {
        self.listings.iter().any(|listing| listing.host == host && !listing.pending)
    }

    /// Whether a host that lacks a block may hold it by now.
    pub(super) fn list_is_stale(&self, now: Moment, host: HostId) -> bool {
        !self.listings.iter().any(|listing| listing.host == host && listing.at + RELIST_AFTER > now)
    }
}

/// Neighbouring segments that one Probe with sampled ids asks about.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: u64,
    pub(super) segments: Range<usize>,
    /// The segments that the Probe names, sorted.
    pub(super) samples: Vec<usize>,
    /// When to see again whether a Probe is in order; at once where it is `None`.
    pub(super) next_check: Option<Moment>,
    pub(super) pending: Option<ProbeTicket>,
    /// Whether a Probe ended, or none was necessary.
    pub(super) settled: bool,
    /// Whether nobody is known to hold anything since. Further Probes go out in the background: nobody waits for them.
    pub(super) nobody: bool,
}

impl Run {
    /// `candidates` are the segments of which something is needed.
    pub(super) fn new(id: u64, segments: Range<usize>, candidates: &[usize], max_ids: usize) -> Self {
        let last = candidates.len().saturating_sub(1);
        let samples = if candidates.len() <= max_ids {
            candidates.to_vec()
        } else {
            // Evenly spread, with both ends, so that every other segment lies between two named ones.
            (0..max_ids).filter_map(|i| candidates.get(i * last / (max_ids - 1).max(1))).copied().collect()
        };
        Self { id, segments, samples, next_check: None, pending: None, settled: false, nobody: false }
    }

    pub(super) fn is_sample(&self, index: usize) -> bool {
        self.samples.binary_search(&index).is_ok()
    }

    /// The named segments on both sides of one that is not.
    pub(super) fn neighbours(&self, index: usize) -> impl Iterator<Item = usize> {
        let after = self.samples.partition_point(|sample| *sample < index);
        let before = after.checked_sub(1).and_then(|i| self.samples.get(i));
        before.into_iter().chain(self.samples.get(after)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_with_both_ends() {
        let all: Vec<usize> = (10..138).collect();
        let run = Run::new(0, 10..138, &all, 16);
        assert_eq!(run.samples.len(), 16);
        assert_eq!((run.samples[0], run.samples[15]), (10, 137));
        assert!(run.samples.windows(2).all(|pair| (8..=9).contains(&(pair[1] - pair[0]))));
        assert_eq!(run.neighbours(11).collect::<Vec<_>>(), [10, 18]);
        let few = Run::new(0, 10..138, &[12, 20], 16);
        assert_eq!(few.samples, [12, 20]);
        assert_eq!(few.neighbours(11).collect::<Vec<_>>(), [12]);
        assert_eq!(Run::new(0, 0..5, &[0, 1, 2], 1).samples, [0]);
    }
}
