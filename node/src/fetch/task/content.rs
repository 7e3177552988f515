//! The handle of one content: read it, and add what had to come from the origin.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use peerdist_protocol::content::{BlockIndex, ContentInformation, ContentVersion, SegmentId};
use peerdist_protocol::crypto::HashValue;
use thiserror::Error;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use super::drive::{Shared, State};
use super::known::Known;
use super::node::lock;
use super::work::{Given, Kept, Outcome, Work};
use crate::fetch::plan::{BlockAt, LayoutError, PlannedSegment};
use crate::fetch::why::{Explanation, MissingReason, Source};

/// Added blocks that are verified at once.
const MAX_VERIFYING: usize = 32;
/// A read gives no further block once it has this many bytes.
pub(super) const MAX_READ_SIZE: u64 = 1 << 20;

/// One content that is being fetched. Dropping it ends everything that is under way for it.
#[derive(Debug)]
pub struct Content {
    pub(super) shared: Arc<Shared>,
    clock: AbortHandle,
    /// Verifies what was staged until its hashes became known.
    background: TaskTracker,
}

/// What a read gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Verified bytes, or bytes that were added to this handle and cannot be verified.
    Data {
        /// Where they are in the content: from the position asked for to the end of a block, at most.
        range: Range<u64>,
        /// The bytes, cut at blocks; at most 1 MiB and a block.
        pieces: Vec<Bytes>,
        /// Where they came from.
        source: Source,
    },
    /// Nobody near can give these bytes: they have to come from the origin, in one request.
    Missing {
        /// From the position asked for to the end of the last block of the run.
        range: Range<u64>,
        /// Why the first of its blocks is missing.
        reason: MissingReason,
    },
}

/// Why a read makes no sense; the caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NextError {
    /// No content information says what is there.
    #[error("no content information describes byte {position}")]
    NotDescribed {
        /// The position asked for.
        position: u64,
    },
}

/// Why further content information was not taken; the origin's fault, or the caller's who mixed contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddContentInformationError {
    /// It is of another version or hash.
    #[error("the content has content information of version {has}, this is version {given} or has another hash")]
    OtherKind {
        /// The version of the content.
        has: ContentVersion,
        /// The version given.
        given: ContentVersion,
    },
    /// It contradicts what came before.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Why added bytes were not taken; the origin's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddDataError {
    /// They are not what content information describes. Blocks beside this one may have been taken.
    #[error("bytes {} to {} are not what content information describes: the content has changed", range.start, range.end)]
    WrongHash {
        /// The first block that is wrong.
        range: Range<u64>,
    },
}

/// What became of added bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddOutcome {
    /// Blocks that these bytes completed and that have the right hash, in content order.
    pub verified: Vec<VerifiedBytes>,
    /// How many of these bytes wait for the rest of their block, or for content information.
    pub staged: u64,
    /// How many of these bytes are of no segment that is known.
    pub ignored: u64,
}

/// A verified block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBytes {
    /// Where it is in the content.
    pub offset: u64,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A block that added bytes completed.
enum Added {
    /// Its hash is known.
    Listed(BlockAt, Range<u64>, Box<Work>, Bytes),
    /// It is not.
    Unlisted(BlockAt, Bytes),
}

enum Done {
    Verified(BlockAt, Range<u64>, Outcome),
    Hashed(BlockAt, HashValue),
    Nothing,
}

impl Content {
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let clock = tokio::spawn(Arc::clone(&shared).keep_time()).abort_handle();
        let background = TaskTracker::new();
        background.close();
        Self { shared, clock, background }
    }

    /// Done when what was staged is verified as far as it can be by now: until then, it is neither in the cache nor in the
    /// staging area.
    pub async fn settled(&self) {
        self.background.wait().await;
    }

    /// Takes in content information of a further part of the same content. Segments that are known already may come
    /// again, whole.
    pub fn add_content_information(&self, information: ContentInformation) -> Result<(), AddContentInformationError> {
        let mut state = lock(&self.shared.state);
        let mut known = lock(&self.shared.known);
        if !known.is_of(&information) {
            let (has, given) = (known.version(), information.version());
            return Err(AddContentInformationError::OtherKind { has, given });
        }
        let segments: Vec<_> = information.segments().iter().map(PlannedSegment::from).collect();
        state.plan.add_segments(segments.clone())?;
        for offset in known.add(information) {
            self.list_is_complete(&mut state, &mut known, offset);
        }
        let staged = segments.iter().flat_map(|segment| self.take_staged(&mut state, &known, segment.offset));
        let listed: Vec<_> = staged.collect();
        drop(known);
        if !listed.is_empty() {
            self.background.spawn(add_in_background(Arc::clone(&self.shared), listed));
        }
        self.shared.step(&mut state);
        drop(state);
        self.shared.areas.described(&segments);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// How far from `position` on content information describes the content without a gap; `position` itself where it
    /// does not.
    #[must_use]
    pub fn described_until(&self, position: u64) -> u64 {
        lock(&self.shared.known).described_at(position).map_or(position, |range| range.end)
    }

    /// Whether blocks are on their way to a reader who goes forward, or wait for it.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        let state = lock(&self.shared.state);
        !state.ready.is_empty() || state.plan.is_under_way()
    }

    /// The first byte that content information describes.
    #[must_use]
    pub fn first_described(&self) -> u64 {
        lock(&self.shared.known).first_described()
    }

    /// The first part of `range` that lies in segments that are known, up to a gap between them.
    pub(crate) fn known_within(&self, range: Range<u64>) -> Option<Range<u64>> {
        let state = lock(&self.shared.state);
        let segments = state.plan.segments();
        let mut segments = segments[segments.partition_point(|segment| segment.end() <= range.start)..].iter();
        let first = segments.next().filter(|segment| segment.offset < range.end)?;
        let mut end = first.end();
        for segment in segments.take_while(|segment| segment.offset < range.end) {
            if segment.offset != end {
                break;
            }
            end = segment.end();
        }
        Some(first.offset.max(range.start)..end.min(range.end))
    }

    /// The ids of all segments that are known, in content order.
    #[must_use]
    pub fn segment_ids(&self) -> Vec<SegmentId> {
        lock(&self.shared.state).plan.segments().iter().map(|segment| segment.id).collect()
    }

    /// The bytes at `position`, or the run of blocks from there on that has to come from the origin. Waits while
    /// somebody near may give them. One read at a time: a second one waits for the first.
    ///
    /// Blocks ahead of `position` are fetched meanwhile, and between reads.
    pub async fn next(&self, position: u64) -> Result<Read, NextError> {
        self.next_within(position, MAX_READ_SIZE, None).await
    }

    /// As [`Self::next`], but at most `max` bytes, and waiting for `limit` where one is given. Within a limit bytes that
    /// were added count as well where they cannot be verified yet, as they do in [`Self::read_here`].
    pub async fn next_within(&self, position: u64, max: u64, limit: Option<Duration>) -> Result<Read, NextError> {
        let _turn = self.shared.turn.lock().await;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // What happens between the look and the wait counts.
            changed.as_mut().enable();
            if let Some(mut read) = self.look(position, max.min(MAX_READ_SIZE), limit)? {
                if let (Read::Missing { range, .. }, Some(_)) = (&mut read, limit) {
                    range.end = self.run(position, range.end, false).max(position + 1);
                }
                return Ok(read);
            }
            changed.await;
        }
    }

    /// Gives bytes of the content that came from the origin, in any pieces. A block is verified as soon as all of it is
    /// there, and only then stored. The bytes of verified blocks come back, so that a caller that writes nothing else
    /// writes nothing wrong.
    pub async fn add_data(&self, offset: u64, bytes: Bytes) -> Result<AddOutcome, AddDataError> {
        let mut outcome = AddOutcome::default();
        let blocks = self.split(&mut lock(&self.shared.state), offset, &bytes, &mut outcome);
        let done: Vec<_> = stream::iter(blocks).map(|added| self.verify(added)).buffered(MAX_VERIFYING).collect().await;
        let mut wrong = None;
        let mut arrived = Vec::new();
        let mut state = lock(&self.shared.state);
        for done in done {
            match done {
                Done::Verified(at, range, Outcome::Verified(bytes, kept)) => {
                    self.shared.is_new(at, &kept);
                    self.shared.kept(kept);
                    self.shared.node.counters.update(|counters| counters.bytes_from_origin += bytes.len() as u64);
                    state.staging.remove(at);
                    state.plan.added(self.shared.node.now(), &mut self.shared.node.book(), at);
                    arrived.push(at);
                    outcome.verified.push(VerifiedBytes { offset: range.start, bytes });
                }
                Done::Verified(at, range, Outcome::Wrong | Outcome::Gone) => {
                    self.shared.node.counters.update(|counters| counters.wrong_origin_blocks += 1);
                    state.staging.remove(at);
                    wrong.get_or_insert(range);
                }
                Done::Hashed(at, hash) => {
                    let mut known = lock(&self.shared.known);
                    known.computed(at, hash);
                    if known.is_complete(at.segment) {
                        self.list_is_complete(&mut state, &mut known, at.segment);
                    }
                }
                Done::Nothing => {}
            }
        }
        self.shared.step(&mut state);
        drop(state);
        self.shared.changed.notify_waiters();
        arrived.into_iter().for_each(|at| self.shared.areas.arrived(at));
        if outcome.staged > 0 {
            self.shared.areas.look_again();
        }
        match wrong {
            Some(range) => Err(AddDataError::WrongHash { range }),
            None => Ok(outcome),
        }
    }

    /// Bytes in memory that were added and cannot be verified yet.
    #[must_use]
    pub fn staged_bytes(&self) -> u64 {
        lock(&self.shared.state).staging.size()
    }

    /// The whole story so far.
    #[must_use]
    pub fn explanation(&self) -> Explanation {
        self.shared.explanation()
    }

    /// What a read can say at the moment.
    fn look(&self, position: u64, max: u64, limit: Option<Duration>) -> Result<Option<Read>, NextError> {
        let mut state = lock(&self.shared.state);
        let state = &mut *state;
        let now = self.shared.node.now();
        while state.ready.first_key_value().is_some_and(|(start, ready)| start + ready.bytes.len() as u64 <= position) {
            state.ready.pop_first();
        }
        let (at, start, described) = {
            let known = lock(&self.shared.known);
            let (at, start) = block_around(&known, position).ok_or(NextError::NotDescribed { position })?;
            (at, start, known.described_at(position).filter(|_| known.check(at).is_some()))
        };
        let staged = |state: &State| {
            let mut bytes = state.staging.read(at, usize::try_from(position - start).ok()?)?;
            bytes.truncate(usize::try_from(max).unwrap_or(usize::MAX));
            let range = position..position + bytes.len() as u64;
            Some(Read::Data { range, pieces: vec![bytes], source: Source::Origin })
        };
        let Some(described) = described else {
            return staged(state).map(Some).ok_or(NextError::NotDescribed { position });
        };
        if let Some((run, source)) = ready_run(state, start, described.end.min(position.saturating_add(max))) {
            let range = position..run.end.min(described.end).min(position.saturating_add(max));
            let pieces = state.ready.range(run.clone()).map(|(start, ready)| ready.part(*start, &range)).collect();
            state.wanted = None;
            // A block that was not read to its end is read on from.
            let rest = state.ready.range(run.clone()).next_back().filter(|_| range.end < run.end.min(described.end));
            let next = rest.map_or(run.end, |(start, _)| *start);
            if state.plan.read_at(now, next) {
                state.ready.retain(|kept, _| run.contains(kept));
            }
            self.shared.step(state);
            return Ok(Some(Read::Data { range, pieces, source }));
        }
        if limit.is_some()
            && let Some(read) = staged(state)
        {
            state.wanted = None;
            return Ok(Some(read));
        }
        if state.plan.wait_at(now, position, limit) {
            state.ready.clear();
        }
        self.shared.step(state);
        let missing = state.plan.take_missing(now, &mut self.shared.node.book(), position);
        let Some(missing) = missing else {
            state.wanted = Some(position);
            return Ok(None);
        };
        state.wanted = None;
        self.shared.node.counters.update(|counters| *counters.missing.entry(missing.reason).or_default() += 1);
        let range = position..missing.range.end.min(described.end);
        Ok(Some(Read::Missing { range, reason: missing.reason }))
    }

    /// Cuts added bytes at blocks; what is less than a block is staged.
    fn split(&self, state: &mut State, offset: u64, bytes: &Bytes, outcome: &mut AddOutcome) -> Vec<Added> {
        let mut blocks = Vec::new();
        let mut done = 0;
        let known = lock(&self.shared.known);
        while done < bytes.len() {
            let position = offset + done as u64;
            let left = bytes.len() - done;
            let Some((at, range)) = block_around(&known, position).and_then(|(at, start)| {
                let segment = known.segment(at.segment)?;
                Some((at, start..segment.block_range(at.block)?.end))
            }) else {
                outcome.ignored += left as u64;
                break;
            };
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let skip = usize::try_from(position - range.start).unwrap_or(usize::MAX);
            let take = left.min(length - skip);
            let piece = bytes.slice(done..done + take);
            done += take;
            let work = self.shared.work_on(&known, at);
            let whole = if take == length && work.is_some() {
                Some(piece)
            } else {
                outcome.staged += take as u64;
                state.staging.add(at, length, skip, &piece)
            };
            match (whole, work) {
                (Some(whole), Some(work)) => blocks.push(Added::Listed(at, range, Box::new(work), whole)),
                (Some(whole), None) => blocks.push(Added::Unlisted(at, whole)),
                (None, _) => {}
            }
        }
        blocks
    }

    async fn verify(&self, added: Added) -> Done {
        let done = match added {
            Added::Listed(at, range, work, bytes) => {
                let outcome = self.shared.node.verify(*work, Given::Plain(bytes)).await;
                outcome.map(|outcome| Done::Verified(at, range, outcome))
            }
            Added::Unlisted(at, bytes) => {
                let segment = lock(&self.shared.known).segment(at.segment).map(|segment| segment.algorithm());
                let Some(algorithm) = segment else { return Done::Nothing };
                self.shared.node.work(move || Done::Hashed(at, algorithm.hash(&bytes))).await
            }
        };
        done.unwrap_or(Done::Nothing)
    }

    /// Raises a segment to Bound: the hashes of all its blocks are known by now, if they are those of its HoD.
    fn list_is_complete(&self, state: &mut State, known: &mut Known, offset: u64) {
        if !known.proven(offset) {
            known.forget_computed(offset);
            return;
        }
        state.plan.set_bound(offset);
        let staged = self.take_staged(state, known, offset);
        let Some(segment) = known.segment(offset) else { return };
        let (id, blocks) = (segment.id(), 0..segment.block_count());
        let works: Vec<_> =
            blocks.filter_map(|block| self.shared.work_on(known, BlockAt { segment: offset, block })).collect();
        let shared = Arc::clone(&self.shared);
        self.background.spawn(async move {
            add_in_background(Arc::clone(&shared), staged).await;
            let held = shared.node.cached(&id);
            for work in works.into_iter().filter(|work| held.contains(work.index)) {
                // Reading verifies, removes what is wrong, and raises the rest.
                shared.node.verify(work, Given::Cached).await;
            }
            for at in shared.take_unproven(offset) {
                shared.is_new(at, &Kept::Stored);
            }
        });
    }

    /// Takes those blocks of a segment out of the staging area whose hashes are known by now.
    fn take_staged(&self, state: &mut State, known: &Known, offset: u64) -> Vec<(BlockAt, Work, Bytes)> {
        let mut listed = Vec::new();
        for (at, bytes) in state.staging.whole_blocks(offset) {
            if let Some(work) = self.shared.work_on(known, at) {
                state.staging.remove(at);
                listed.push((at, work, bytes));
            }
        }
        listed
    }
}

/// Stores blocks that were staged until their hashes became known.
async fn add_in_background(shared: Arc<Shared>, blocks: Vec<(BlockAt, Work, Bytes)>) {
    for (at, work, bytes) in blocks {
        let length = bytes.len() as u64;
        if let Some(Outcome::Verified(_, kept)) = shared.node.verify(work, Given::Plain(bytes)).await {
            shared.is_new(at, &kept);
            shared.kept(kept);
            shared.node.counters.update(|counters| counters.bytes_from_origin += length);
            lock(&shared.state).plan.added(shared.node.now(), &mut shared.node.book(), at);
            shared.areas.arrived(at);
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.clock.abort();
        self.shared.close();
        // The summary tells of the areas, too.
        self.shared.node.remember(self.shared.summary(false));
        self.shared.areas.close();
        self.shared.node.forget(self.shared.id);
    }
}

/// The blocks from one source that are ready from `start` on without a gap and begin before `end`.
fn ready_run(state: &State, start: u64, end: u64) -> Option<(Range<u64>, Source)> {
    let source = state.ready.get(&start)?.source;
    let mut next = start;
    for (at, ready) in state.ready.range(start..end.min(start + MAX_READ_SIZE)) {
        if *at != next || ready.source != source {
            break;
        }
        next += ready.bytes.len() as u64;
    }
    Some((start..next, source))
}

/// The block around a position, and where it begins.
pub(super) fn block_around(known: &Known, position: u64) -> Option<(BlockAt, u64)> {
    let segment = known.segment_around(position)?;
    let index = (position - segment.offset()) / u64::from(segment.block_size());
    let block = BlockIndex::try_from(index).ok()?;
    Some((BlockAt { segment: segment.offset(), block }, segment.block_range(block)?.start))
}
