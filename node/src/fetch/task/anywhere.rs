//! Reading at any place of a content, many readers at once, and what of it is here already.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerdist_protocol::content::{BlockRanges, SegmentId};
use tokio::time::{Instant, timeout_at};

use super::areas::Demand;
use super::content::{Content, MAX_READ_SIZE, NextError, Read, block_around};
use super::drive::Shared;
use super::node::lock;
use super::work::{Outcome, Work};
use crate::fetch::plan::BlockAt;
use crate::fetch::why::{MissingReason, Source};

/// A block that is here: in the cache, or its beginning in the staging area.
enum Here {
    Cached { at: BlockAt, work: Box<Work> },
    Staged { bytes: Bytes },
}

impl Content {
    /// The bytes at `position` that are here already, without asking anybody: verified ones from the cache, or ones that
    /// were added to this handle. At most `max` of them, and at most 1 MiB. `None` where the first of them is not here.
    pub async fn read_here(&self, position: u64, max: u64) -> Result<Option<Read>, NextError> {
        self.read_range_here(position..position.saturating_add(max.min(MAX_READ_SIZE))).await
    }

    /// As [`Self::read_here`], however long the range is.
    pub async fn read_range_here(&self, range: Range<u64>) -> Result<Option<Read>, NextError> {
        let position = range.start;
        let end = self.described(position)?.end.min(range.end);
        let blocks = self.here(position..end);
        let is_staged = matches!(blocks.first(), Some((_, Here::Staged { .. })));
        let (mut ranges, mut works, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
        for (range, here) in blocks {
            match here {
                Here::Cached { at, work } if !is_staged => {
                    ranges.push((range, at));
                    works.push(*work);
                }
                Here::Staged { bytes } if is_staged => pieces.push(bytes),
                // One source at a time.
                _ => break,
            }
        }
        let outcomes = if works.is_empty() { Vec::new() } else { self.shared.node.read_cached(works).await };
        for (outcome, (range, at)) in outcomes.into_iter().zip(ranges) {
            let Outcome::Verified(bytes, kept) = outcome else {
                self.shared.node.counters.update(|counters| counters.bad_cache_records += 1);
                break;
            };
            self.shared.kept(kept);
            let skip = position.saturating_sub(range.start) as usize;
            let piece = bytes.slice(skip..bytes.len().min((end - range.start) as usize));
            self.shared.node.counters.update(|counters| counters.bytes_from_cache += piece.len() as u64);
            lock(&self.shared.state).plan.read_from_cache(at, piece.len() as u32);
            pieces.push(piece);
        }
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let source = if is_staged { Source::Origin } else { Source::Cache };
        Ok((length > 0).then_some(Read::Data { range: position..position + length, pieces, source }))
    }

    /// How many bytes are here from `position` on without a gap.
    pub fn run_here(&self, position: u64) -> Result<u64, NextError> {
        let described = self.described(position)?;
        Ok(self.run(position, described.end, true) - position)
    }

    /// Up to where all bytes from `position` on are here, looking no further than `end`.
    pub fn here_until(&self, position: u64, end: u64) -> Result<u64, NextError> {
        let described = self.described(position)?;
        Ok(self.run(position, described.end.min(end), true))
    }

    /// Where the last of `count` blocks ends, the first of which has the byte at `position`; earlier where less is described.
    pub fn end_of_blocks(&self, position: u64, count: usize) -> Result<u64, NextError> {
        let known = lock(&self.shared.known);
        let mut end = position;
        for _ in 0..count {
            let Some((_, range)) = block_with_range(&known, end) else { break };
            end = range.end;
        }
        if end > position { Ok(end) } else { Err(NextError::NotDescribed { position }) }
    }

    /// The bytes from `position` on that are not here: up to the next one that is, or to the end of what is described.
    pub fn run_missing(&self, position: u64) -> Result<Range<u64>, NextError> {
        let described = self.described(position)?;
        Ok(position..self.run(position, described.end, false))
    }

    /// The bytes at `position`, from here or from a peer, as soon as there are any: at most `max`, and at most 1 MiB. Or
    /// which bytes nobody near has, or none that came within `limit`. Any number of readers may wait at once.
    pub async fn read_at(&self, position: u64, max: u64, limit: Duration) -> Result<Read, NextError> {
        let deadline = Instant::now() + limit;
        if let Some(read) = self.read_here(position, max).await? {
            return Ok(read);
        }
        let too_slow = || Ok(Read::Missing { range: self.run_missing(position)?, reason: MissingReason::TooSlow });
        let Some((at, start)) = block_around(&lock(&self.shared.known), position) else {
            return Err(NextError::NotDescribed { position });
        };
        if lock(&self.shared.known).check(at).is_none() {
            // Of a block that is described in part nothing can be verified, so that nobody is asked.
            return Ok(Read::Missing { range: self.run_missing(position)?, reason: MissingReason::NobodyHoldsIt });
        }
        let Ok(demand) = timeout_at(deadline, Demand::new(&self.shared, at)).await else { return too_slow() };
        loop {
            let changed = demand.area.changed.notified();
            tokio::pin!(changed);
            // What happens between the look and the wait counts.
            changed.as_mut().enable();
            if let Some(read) = self.look_at(&demand, position, start, max)? {
                return Ok(read);
            }
            if self.here_until(position, position + 1)? > position
                && let Some(read) = self.read_here(position, max).await?
            {
                return Ok(read);
            }
            if timeout_at(deadline, changed).await.is_err() {
                let node = &self.shared.node;
                lock(&demand.area.state).plan.gave_up(node.now(), &mut node.book(), at, limit);
                return too_slow();
            }
        }
    }

    /// What the area of a demanded block can say at the moment.
    fn look_at(&self, demand: &Demand, position: u64, start: u64, max: u64) -> Result<Option<Read>, NextError> {
        let mut state = lock(&demand.area.state);
        if let Some(ready) = state.ready.get(&start) {
            let end = self.described(position)?.end.min(position.saturating_add(max));
            let bytes = ready.part(start, &(position..end));
            let range = position..position + bytes.len() as u64;
            return Ok(Some(Read::Data { range, pieces: vec![bytes], source: ready.source }));
        }
        let missing = state.plan.missing_at(self.shared.node.now(), &mut self.shared.node.book(), position);
        drop(state);
        let Some(missing) = missing else { return Ok(None) };
        let here = self.run_missing(position)?;
        self.shared.node.counters.update(|counters| *counters.missing.entry(missing.reason).or_default() += 1);
        Ok(Some(Read::Missing {
            range: position..missing.range.end.min(here.end).max(position + 1),
            reason: missing.reason,
        }))
    }

    fn described(&self, position: u64) -> Result<Range<u64>, NextError> {
        lock(&self.shared.known).described_at(position).ok_or(NextError::NotDescribed { position })
    }

    /// Up to where all bytes from `position` on are here, or none of them.
    pub(super) fn run(&self, position: u64, end: u64, wanted: bool) -> u64 {
        let state = lock(&self.shared.state);
        let known = lock(&self.shared.known);
        let mut cached = Cached::new(&self.shared);
        let mut at_byte = position;
        while at_byte < end {
            let Some((at, range)) = block_with_range(&known, at_byte) else { break };
            let is_cached = known.check(at).is_some() && cached.has(known.segment(at.segment).map(|s| s.id()), at);
            if is_cached {
                if !wanted {
                    break;
                }
                at_byte = range.end;
                continue;
            }
            let skip = (at_byte - range.start) as usize;
            match (state.staging.there(at, skip), wanted) {
                (Some(length), true) => at_byte += length as u64,
                (None, false) => {
                    at_byte = state.staging.next(at, skip).map_or(range.end, |next| range.start + next as u64);
                }
                (Some(_), false) | (None, true) => break,
            }
        }
        at_byte.min(end)
    }

    /// The blocks of a range that are here, without a gap, and where they are in the content.
    fn here(&self, range: Range<u64>) -> Vec<(Range<u64>, Here)> {
        let state = lock(&self.shared.state);
        let known = lock(&self.shared.known);
        let mut cached = Cached::new(&self.shared);
        let mut blocks = Vec::new();
        let mut next = range.start;
        while next < range.end {
            let Some((at, block)) = block_with_range(&known, next) else { break };
            if cached.has(known.segment(at.segment).map(|segment| segment.id()), at)
                && let Some(work) = self.shared.work_on(&known, at)
            {
                next = block.end;
                blocks.push((block, Here::Cached { at, work: Box::new(work) }));
                continue;
            }
            let Some(mut bytes) = state.staging.read(at, (next - block.start) as usize) else { break };
            bytes.truncate((range.end - next) as usize);
            let end = next + bytes.len() as u64;
            blocks.push((next..end, Here::Staged { bytes }));
            next = end;
        }
        blocks
    }
}

/// Which blocks the cache has, of the segment that was asked about last.
struct Cached<'a> {
    shared: &'a Arc<Shared>,
    last: Option<(SegmentId, BlockRanges)>,
}

impl<'a> Cached<'a> {
    fn new(shared: &'a Arc<Shared>) -> Self {
        Self { shared, last: None }
    }

    fn has(&mut self, id: Option<SegmentId>, at: BlockAt) -> bool {
        let Some(id) = id else { return false };
        if self.last.as_ref().is_none_or(|(last, _)| *last != id) {
            self.last = Some((id, self.shared.node.cached(&id)));
        }
        self.last.as_ref().is_some_and(|(_, blocks)| blocks.contains(at.block))
    }
}

fn block_with_range(known: &super::known::Known, position: u64) -> Option<(BlockAt, Range<u64>)> {
    let (at, start) = block_around(known, position)?;
    let end = known.segment(at.segment)?.block_range(at.block)?.end;
    Some((at, start..end))
}
