//! What waits to be fetched: a queue for each source, and the sources take turns.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::vec;

use peerdist_protocol::content::{BlockIndex, SegmentId};

use super::offered::{Offered, Waiting};
use super::sources::{Host, MAX_IN_SUBNET, subnet};
use super::turns::{Standing, Turn, Turns};

/// Blocks that are fetched one after the other, so that several runs of a large segment go side by side.
const RUN: u32 = 32;
/// So many answers without a block are enough of a segment of which no block came.
const MAX_EMPTY: u32 = 16;
/// Segments that are looked at in one go.
const LOOK: usize = 256;
/// Runs that took too long and wait to go on.
const MAX_LEFT: usize = 4096;
/// What may wait of a slow source, and what a source of which no more waits finds room for when the others have filled
/// all but [`RESERVE`] of the queue.
const SMALL: usize = 1024;
/// The same in bytes of hashes.
const SMALL_BYTES: usize = 1 << 20;
/// The part of the queue that is for sources of which little waits.
const RESERVE: usize = 8;
/// Sources for which something may wait.
const MAX_LINES: usize = 65_536;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits {
    /// Segments in all.
    pub(super) segments: usize,
    /// Segments of one source.
    pub(super) segments_per_source: usize,
    /// Bytes of hashes in all.
    pub(super) bytes: usize,
    /// Bytes of one source.
    pub(super) bytes_per_source: usize,
    /// Runs at once.
    pub(super) runs: usize,
    /// Runs at once for one source that delivered; any other gets one at a time.
    pub(super) runs_per_source: usize,
}

/// What waits, by source.
#[derive(Debug)]
pub(super) struct Queue {
    limits: QueueLimits,
    lines: HashMap<IpAddr, Line>,
    /// How many of them each IPv6 subnet has.
    subnets: HashMap<Ipv6Addr, usize>,
    /// The sources for which a run can begin.
    turns: Turns,
    /// Runs that took too long and wait to go on.
    left: usize,
    segments: usize,
    bytes: usize,
}

/// What waits for one source.
#[derive(Debug)]
struct Line {
    standing: Standing,
    batches: VecDeque<Batch>,
    segments: usize,
    bytes: usize,
    runs: usize,
    /// Its turn, while it waits for that.
    turn: Option<Turn>,
}

/// What came with one offer.
#[derive(Debug)]
struct Batch {
    /// From where it is fetched.
    host: Host,
    content: Content,
    /// The segment whose runs are being given away, and its blocks that are left.
    current: Option<(Arc<Fetching>, Range<BlockIndex>)>,
    /// Whether the blocks that are left are those of a run that took too long.
    again: bool,
}

#[derive(Debug)]
pub(super) enum Content {
    Many(vec::IntoIter<Waiting>),
    One(Option<Offered>, usize),
    /// A segment whose hashes are on disk.
    Recorded(Option<SegmentId>),
}

/// A segment that is being fetched.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) offered: Offered,
    /// Runs of it that have not ended.
    runs: AtomicU32,
    /// Blocks that were fetched and kept.
    kept: AtomicU32,
    /// Answers without a block.
    empty: AtomicU32,
    /// Whether a run ended without all its blocks.
    fell_short: AtomicBool,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// Blocks to fetch.
    Run(Run),
    /// Hashes to read from disk.
    Record { host: Host, id: SegmentId },
    /// Nothing yet, but more waits: much of it was not admitted.
    Skipped,
}

/// Blocks to fetch one after the other.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) host: Host,
    pub(super) segment: Arc<Fetching>,
    pub(super) blocks: Range<BlockIndex>,
    /// Whether they are the rest of a run that took too long.
    pub(super) again: bool,
}

/// What was taken out of a line.
#[derive(Debug, Default)]
struct Taken {
    next: Option<Next>,
    segments: usize,
    bytes: usize,
}

/// There is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Content {
    fn segments(&self) -> usize {
        match self {
            Self::Many(segments) => segments.len(),
            Self::One(segment, _) => usize::from(segment.is_some()),
            Self::Recorded(id) => usize::from(id.is_some()),
        }
    }

    fn bytes(&self) -> usize {
        if let Self::One(Some(_), bytes) = self { *bytes } else { 0 }
    }
}

impl Line {
    fn new(standing: Standing) -> Self {
        Self { standing, batches: VecDeque::new(), segments: 0, bytes: 0, runs: 0, turn: None }
    }

    /// Looks at so many segments and batches at most.
    fn next(&mut self, look: &mut usize, mut admits: impl FnMut(Host, &mut Offered) -> bool) -> Taken {
        let mut taken = Taken::default();
        while *look > 0 {
            *look -= 1;
            let Some(batch) = self.batches.front_mut() else { break };
            if let Some(run) = batch.next_run() {
                taken.next = Some(run);
                break;
            }
            if batch.content.segments() == 0 {
                self.batches.pop_front();
                continue;
            }
            taken.segments += 1;
            self.segments -= 1;
            let host = batch.host;
            let begin = |mut offered| admits(host, &mut offered).then(|| Fetching::begin(offered));
            match &mut batch.content {
                Content::Recorded(id) => {
                    taken.next = id.take().map(|id| Next::Record { host, id });
                    break;
                }
                Content::One(segment, bytes) => {
                    taken.bytes += *bytes;
                    self.bytes -= *bytes;
                    batch.current = segment.take().and_then(begin);
                }
                Content::Many(segments) => {
                    let offered = segments.next().and_then(|waiting| waiting.offered());
                    batch.current = offered.and_then(begin);
                }
            }
        }
        while self.batches.front().is_some_and(|batch| batch.current.is_none() && batch.content.segments() == 0) {
            self.batches.pop_front();
        }
        taken
    }
}

impl Batch {
    /// Whether it is what is left of a run that took too long.
    fn is_left(&self) -> bool {
        self.again && self.current.is_some()
    }

    fn next_run(&mut self) -> Option<Next> {
        let (segment, left) = self.current.take()?;
        let to = left.end.min(left.start + RUN);
        if to < left.end {
            self.current = Some((Arc::clone(&segment), to..left.end));
        }
        Some(Next::Run(Run { host: self.host, segment, blocks: left.start..to, again: self.again }))
    }
}

impl Fetching {
    fn begin(offered: Offered) -> (Arc<Self>, Range<BlockIndex>) {
        let blocks = offered.listed();
        let runs = AtomicU32::new(runs(&blocks));
        let (kept, empty, fell_short) = Default::default();
        (Arc::new(Self { offered, runs, kept, empty, fell_short }), blocks)
    }

    /// Gives up the runs of blocks that were left. Returns whether all others have ended.
    fn ends_without(&self, left: &Range<BlockIndex>) -> bool {
        self.fall_short();
        let runs = runs(left);
        self.runs.fetch_sub(runs, Ordering::AcqRel) == runs
    }

    /// A block was kept. Returns whether it is the first one.
    pub(super) fn keep(&self) -> bool {
        self.kept.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Blocks that were kept.
    pub(super) fn kept(&self) -> u32 {
        self.kept.load(Ordering::Relaxed)
    }

    /// An answer was without a block.
    pub(super) fn miss(&self) {
        self.empty.fetch_add(1, Ordering::Relaxed);
        self.fall_short();
    }

    /// Whether its host answers, but has no block of it so far.
    pub(super) fn is_empty(&self) -> bool {
        self.kept() == 0 && self.empty.load(Ordering::Relaxed) > 0
    }

    /// Whether its host was asked in vain often enough.
    pub(super) fn is_hopeless(&self) -> bool {
        self.kept() == 0 && self.empty.load(Ordering::Relaxed) >= MAX_EMPTY
    }

    /// A run ends without all its blocks.
    pub(super) fn fall_short(&self) {
        self.fell_short.store(true, Ordering::Relaxed);
    }

    /// Whether a run ended without all its blocks.
    pub(super) fn fell_short(&self) -> bool {
        self.fell_short.load(Ordering::Relaxed)
    }

    /// Whether the run that just ended was the last one.
    pub(super) fn run_ended(&self) -> bool {
        self.runs.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

fn runs(blocks: &Range<BlockIndex>) -> u32 {
    blocks.end.saturating_sub(blocks.start).div_ceil(RUN)
}

/// How much more of a source fits in: so much of it waits already, `taken` of all.
fn room(standing: Standing, waiting: usize, per_source: usize, small: usize, taken: usize, all: usize) -> usize {
    let free = all.saturating_sub(taken);
    let shared = free.saturating_sub(all / RESERVE);
    let small = small.saturating_sub(waiting);
    match standing {
        Standing::Slow => small.min(per_source.saturating_sub(waiting)).min(shared),
        Standing::Proven | Standing::Fresh => per_source.saturating_sub(waiting).min(shared.max(small.min(free))),
    }
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        let (lines, subnets, turns) = (HashMap::new(), HashMap::new(), Turns::new(limits.runs));
        Self { limits, lines, subnets, turns, left: 0, segments: 0, bytes: 0 }
    }

    /// Segments that wait.
    pub(super) fn len(&self) -> usize {
        self.segments
    }

    /// Whether nothing waits and nothing that was taken out goes on.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let counts = (self.segments, self.bytes, self.left);
        self.lines.is_empty() && self.subnets.is_empty() && self.turns.is_empty() && counts == (0, 0, 0)
    }

    /// As which source an address waits: its own, unless it delivered nothing yet and its subnet has many already.
    pub(super) fn source(&self, ip: IpAddr, standing: Standing) -> IpAddr {
        match subnet(ip) {
            Some(subnet) if standing != Standing::Proven && !self.lines.contains_key(&ip) => {
                let is_full = self.subnets.get(&subnet).is_some_and(|count| *count >= MAX_IN_SUBNET);
                if is_full { subnet.into() } else { ip }
            }
            _ => ip,
        }
    }

    /// How many more segments fit in for a source.
    pub(super) fn room(&self, source: IpAddr, standing: Standing) -> usize {
        let waiting = self.lines.get(&source).map_or(0, |line| line.segments);
        let QueueLimits { segments, segments_per_source, .. } = self.limits;
        room(standing, waiting, segments_per_source, SMALL, self.segments, segments)
    }

    /// How many more bytes of hashes.
    fn room_in_bytes(&self, source: IpAddr, standing: Standing) -> usize {
        let waiting = self.lines.get(&source).map_or(0, |line| line.bytes);
        let QueueLimits { bytes, bytes_per_source, .. } = self.limits;
        room(standing, waiting, bytes_per_source, SMALL_BYTES, self.bytes, bytes)
    }

    /// Lets an offer wait whose segments fit in.
    pub(super) fn push(&mut self, host: Host, standing: Standing, content: Content) -> Result<(), Full> {
        let source = host.source;
        let (segments, bytes) = (content.segments(), content.bytes());
        if segments > self.room(source, standing) || bytes > self.room_in_bytes(source, standing) {
            return Err(Full);
        }
        if segments == 0 {
            return Ok(());
        }
        if self.lines.len() >= MAX_LINES && !self.lines.contains_key(&source) {
            return Err(Full);
        }
        self.segments += segments;
        self.bytes += bytes;
        let batch = Batch { host, content, current: None, again: false };
        self.rank(source, standing);
        self.line_up(source, standing, batch, segments, bytes);
        Ok(())
    }

    /// The standing of a source is this from now on.
    pub(super) fn rank(&mut self, source: IpAddr, standing: Standing) {
        let Some(line) = self.lines.get_mut(&source).filter(|line| line.standing != standing) else { return };
        self.turns.pass(line.standing, standing, line.runs);
        if let Some(turn) = line.turn.take() {
            self.turns.leave(line.standing, turn);
        }
        line.standing = standing;
        self.settle(source);
    }

    /// Forgets what waits last for a source beyond what may wait of a slow one. Returns how many segments that were.
    pub(super) fn trim(&mut self, source: IpAddr) -> usize {
        let Some(line) = self.lines.get_mut(&source) else { return 0 };
        let before = (line.segments, line.bytes);
        while (line.segments > SMALL || line.bytes > SMALL_BYTES)
            && let Some(batch) = line.batches.pop_back_if(|batch| batch.current.is_none())
        {
            line.segments -= batch.content.segments();
            line.bytes -= batch.content.bytes();
        }
        let dropped = before.0 - line.segments;
        self.segments -= dropped;
        self.bytes -= before.1 - line.bytes;
        dropped
    }

    /// What is left of a run waits behind all else of its source. Gives the run back where too much of that waits.
    pub(super) fn put_back(&mut self, run: Run, left: Range<BlockIndex>) -> Result<(), Run> {
        if self.left >= MAX_LEFT {
            return Err(run);
        }
        self.left += 1;
        let Run { host, segment, .. } = run;
        let batch = Batch { host, content: Content::One(None, 0), current: Some((segment, left)), again: true };
        self.line_up(host.source, Standing::Slow, batch, 0, 0);
        Ok(())
    }

    fn line_up(&mut self, source: IpAddr, standing: Standing, batch: Batch, segments: usize, bytes: usize) {
        if !self.lines.contains_key(&source)
            && let Some(subnet) = subnet(source)
        {
            *self.subnets.entry(subnet).or_default() += 1;
        }
        let line = self.lines.entry(source).or_insert_with(|| Line::new(standing));
        line.segments += segments;
        line.bytes += bytes;
        line.batches.push_back(batch);
        self.settle(source);
    }

    /// Has a source wait for its turn where a run of it can begin, and forgets it where nothing is left of it.
    fn settle(&mut self, source: IpAddr) {
        let Some(line) = self.lines.get_mut(&source) else { return };
        let max_runs = if line.standing == Standing::Proven { self.limits.runs_per_source } else { 1 };
        match (line.turn, !line.batches.is_empty() && line.runs < max_runs) {
            (None, true) => line.turn = Some(self.turns.wait(source, line.standing, line.runs)),
            (Some(turn), false) => {
                self.turns.leave(line.standing, turn);
                line.turn = None;
            }
            _ => {}
        }
        if line.batches.is_empty() && line.runs == 0 {
            self.lines.remove(&source);
            if let Some(subnet) = subnet(source)
                && let Entry::Occupied(mut count) = self.subnets.entry(subnet)
            {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    /// Takes out what comes next, source by source; `admits` says of a segment whether it is to be fetched at all.
    /// [`Self::ended`] has to follow for every run and every record.
    pub(super) fn next(&mut self, mut admits: impl FnMut(Host, &mut Offered) -> bool) -> Option<Next> {
        let mut look = LOOK;
        while look > 0 {
            let (source, standing) = self.turns.next()?;
            look -= 1;
            let Some(line) = self.lines.get_mut(&source) else { continue };
            line.turn = None;
            let taken = line.next(&mut look, &mut admits);
            self.segments -= taken.segments;
            self.bytes -= taken.bytes;
            if matches!(&taken.next, Some(Next::Run(run)) if run.again) {
                self.left -= 1;
            }
            if taken.next.is_some() {
                line.runs += 1;
                self.turns.begin(standing);
            }
            self.settle(source);
            if taken.next.is_some() {
                return taken.next;
            }
        }
        self.turns.any().then_some(Next::Skipped)
    }

    /// A run of a source held its place for so long.
    pub(super) fn held(&mut self, source: IpAddr, time: Duration, now: Instant) {
        self.turns.held(source, time, now);
    }

    /// A run, or the reading of a record, has ended.
    pub(super) fn ended(&mut self, source: IpAddr) {
        if let Some(line) = self.lines.get_mut(&source)
            && line.runs > 0
        {
            line.runs -= 1;
            self.turns.end(line.standing, 1);
            self.settle(source);
        }
    }

    /// Forgets what is left of a segment that has begun. Returns it if it thereby ends.
    pub(super) fn drop_segment(&mut self, source: IpAddr, id: &SegmentId) -> Option<Arc<Fetching>> {
        let mut ended = None;
        for batch in &mut self.lines.get_mut(&source)?.batches {
            let is_left = batch.is_left();
            if let Some((segment, blocks)) = batch.current.take_if(|(segment, _)| segment.offered.id == *id) {
                self.left -= usize::from(is_left);
                ended = segment.ends_without(&blocks).then_some(segment).or(ended);
            }
        }
        ended
    }

    /// Forgets what waits for a host, and nothing of others that are the same source. Returns how many segments that
    /// were, and those that had begun and thereby end.
    pub(super) fn drop_host(&mut self, host: Host) -> (usize, Vec<Arc<Fetching>>) {
        let Some(line) = self.lines.get_mut(&host.source) else { return (0, Vec::new()) };
        let is_its = |batch: &Batch| batch.host.address.ip() == host.address.ip();
        let batches: VecDeque<_>;
        (batches, line.batches) = std::mem::take(&mut line.batches).into_iter().partition(is_its);
        let segments = batches.iter().map(|batch| batch.content.segments()).sum();
        let bytes: usize = batches.iter().map(|batch| batch.content.bytes()).sum();
        line.segments -= segments;
        line.bytes -= bytes;
        self.segments -= segments;
        self.bytes -= bytes;
        self.left -= batches.iter().filter(|batch| batch.is_left()).count();
        let current = batches.into_iter().filter_map(|batch| batch.current);
        let ended = current.filter(|(segment, left)| segment.ends_without(left)).map(|(segment, _)| segment).collect();
        self.settle(host.source);
        (segments, ended)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
