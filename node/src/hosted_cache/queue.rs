//! What waits to be fetched: a queue for each source, and the sources take turns.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::vec;

use peerdist_protocol::content::{BlockIndex, SegmentId};

use super::offered::{Offered, Waiting};

/// Blocks that are fetched one after the other, so that several runs of a large segment go side by side.
const RUN: u32 = 32;
/// Segments that are looked at in one go.
const LOOK: usize = 256;
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
    /// Runs at once for one source.
    pub(super) runs_per_source: usize,
}

/// What waits, by source.
#[derive(Debug)]
pub(super) struct Queue {
    limits: QueueLimits,
    lines: HashMap<IpAddr, Line>,
    /// The sources for which a run can begin, the next one first; some that were dropped among them.
    turns: VecDeque<IpAddr>,
    segments: usize,
    bytes: usize,
}

/// What waits for one source.
#[derive(Debug, Default)]
struct Line {
    batches: VecDeque<Batch>,
    segments: usize,
    runs: usize,
    /// Whether it is among the turns.
    has_turn: bool,
}

/// What came with one offer.
#[derive(Debug)]
struct Batch {
    /// Where it is fetched.
    address: SocketAddr,
    content: Content,
    /// The segment whose runs are being given away, and its next block.
    current: Option<(Arc<Fetching>, BlockIndex)>,
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
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// Blocks to fetch.
    Run { address: SocketAddr, segment: Arc<Fetching>, blocks: Range<BlockIndex> },
    /// Hashes to read from disk.
    Record { address: SocketAddr, id: SegmentId },
    /// Nothing yet, but more waits: much of it was not admitted.
    Skipped,
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
    /// Looks at so many segments and batches at most.
    fn next(&mut self, look: &mut usize, mut admits: impl FnMut(SocketAddr, &Offered) -> bool) -> Taken {
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
            let address = batch.address;
            let admits = |offered: &Offered| admits(address, offered);
            match &mut batch.content {
                Content::Recorded(id) => {
                    taken.next = id.take().map(|id| Next::Record { address, id });
                    break;
                }
                Content::One(segment, bytes) => {
                    taken.bytes += *bytes;
                    batch.current = segment.take().filter(admits).map(Fetching::begin);
                }
                Content::Many(segments) => {
                    let offered = segments.next().and_then(|waiting| waiting.offered());
                    batch.current = offered.filter(admits).map(Fetching::begin);
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
    fn next_run(&mut self) -> Option<Next> {
        let (segment, from) = self.current.take()?;
        let end = segment.offered.listed().end;
        let to = end.min(from + RUN);
        if to < end {
            self.current = Some((Arc::clone(&segment), to));
        }
        Some(Next::Run { address: self.address, segment, blocks: from..to })
    }
}

impl Fetching {
    fn begin(offered: Offered) -> (Arc<Self>, BlockIndex) {
        let blocks = offered.listed();
        let runs = AtomicU32::new((blocks.end - blocks.start).div_ceil(RUN));
        (Arc::new(Self { offered, runs }), blocks.start)
    }

    /// Gives up the runs from a block on. Returns whether all others have ended.
    fn ends_before(&self, next: BlockIndex) -> bool {
        let runs = (self.offered.listed().end - next).div_ceil(RUN);
        self.runs.fetch_sub(runs, Ordering::AcqRel) == runs
    }

    /// Whether the run that just ended was the last one.
    pub(super) fn run_ended(&self) -> bool {
        self.runs.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { limits, lines: HashMap::new(), turns: VecDeque::new(), segments: 0, bytes: 0 }
    }

    /// Segments that wait.
    pub(super) fn len(&self) -> usize {
        self.segments
    }

    /// How many more segments fit in for a source.
    pub(super) fn room(&self, source: IpAddr) -> usize {
        let waiting = self.lines.get(&source).map_or(0, |line| line.segments);
        let own = self.limits.segments_per_source.saturating_sub(waiting);
        own.min(self.limits.segments.saturating_sub(self.segments))
    }

    /// Lets an offer wait whose segments fit in.
    pub(super) fn push(&mut self, address: SocketAddr, content: Content) -> Result<(), Full> {
        let source = address.ip();
        let (segments, bytes) = (content.segments(), content.bytes());
        if segments > self.room(source) || self.bytes + bytes > self.limits.bytes {
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
        let line = self.lines.entry(source).or_default();
        line.segments += segments;
        line.batches.push_back(Batch { address, content, current: None });
        self.settle(source);
        Ok(())
    }

    /// Gives a source its turn where a run of it can begin, and forgets it where nothing is left of it.
    fn settle(&mut self, source: IpAddr) {
        let Some(line) = self.lines.get_mut(&source) else { return };
        if line.has_turn {
            return;
        }
        if !line.batches.is_empty() && line.runs < self.limits.runs_per_source {
            line.has_turn = true;
            self.turns.push_back(source);
        } else if line.batches.is_empty() && line.runs == 0 {
            self.lines.remove(&source);
        }
    }

    /// Takes out what comes next, source by source; `admits` says of a segment whether it is to be fetched at all.
    /// [`Self::ended`] has to follow for every run and every record.
    pub(super) fn next(&mut self, mut admits: impl FnMut(SocketAddr, &Offered) -> bool) -> Option<Next> {
        let mut look = LOOK;
        while look > 0 {
            let source = self.turns.pop_front()?;
            look -= 1;
            let Some(line) = self.lines.get_mut(&source) else { continue };
            line.has_turn = false;
            let taken = line.next(&mut look, &mut admits);
            self.segments -= taken.segments;
            self.bytes -= taken.bytes;
            line.runs += usize::from(taken.next.is_some());
            self.settle(source);
            if taken.next.is_some() {
                return taken.next;
            }
        }
        (!self.turns.is_empty()).then_some(Next::Skipped)
    }

    /// A run, or the reading of a record, has ended.
    pub(super) fn ended(&mut self, source: IpAddr) {
        if let Some(line) = self.lines.get_mut(&source) {
            line.runs = line.runs.saturating_sub(1);
            self.settle(source);
        }
    }

    /// Forgets what waits for a source. Returns how many segments that were, and those that had begun and thereby end.
    pub(super) fn drop_source(&mut self, source: IpAddr) -> (usize, Vec<Arc<Fetching>>) {
        let Some(line) = self.lines.get_mut(&source) else { return (0, Vec::new()) };
        let segments = std::mem::take(&mut line.segments);
        self.segments -= segments;
        let batches = std::mem::take(&mut line.batches);
        self.bytes -= batches.iter().map(|batch| batch.content.bytes()).sum::<usize>();
        let current = batches.into_iter().filter_map(|batch| batch.current);
        let ended = current.filter(|(segment, next)| segment.ends_before(*next)).map(|(segment, _)| segment).collect();
        self.settle(source);
        (segments, ended)
    }
}

#[cfg(test)]
mod tests {
    use peerdist_protocol::hosted_cache::{ContentTag, SegmentDescriptor};

    use super::*;

    const LIMITS: QueueLimits = QueueLimits { segments: 10, segments_per_source: 6, bytes: 1000, runs_per_source: 2 };

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 80))
    }

    fn descriptor(number: u8, segment_size: u32) -> SegmentDescriptor {
        SegmentDescriptor {
            block_size: segment_size.min(65_536),
            segment_size,
            content_tag: ContentTag::BITS,
            hash_algorithm: 1,
            segment_id: SegmentId::from_slice(&[number; 32]).unwrap(),
        }
    }

    fn many(numbers: Range<u8>) -> Content {
        let waiting: Vec<_> = numbers.filter_map(|number| Waiting::new(&descriptor(number, 1000), false)).collect();
        Content::Many(waiting.into_iter())
    }

    /// Host and segment of the next run.
    fn next(queue: &mut Queue) -> Option<(u8, u8)> {
        match queue.next(|_, _| true)? {
            Next::Run { address, segment, .. } => {
                let IpAddr::V4(ip) = address.ip() else { panic!() };
                Some((ip.octets()[3], segment.offered.id.as_bytes()[0]))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sources_take_turns_and_each_has_its_own_limit_of_runs() {
        let mut queue = Queue::new(LIMITS);
        queue.push(address(1), many(0..5)).unwrap();
        queue.push(address(2), many(10..12)).unwrap();
        assert_eq!(queue.len(), 7);
        let taken: Vec<_> = std::iter::from_fn(|| next(&mut queue)).collect();
        assert_eq!(taken, [(1, 0), (2, 10), (1, 1), (2, 11)]);
        queue.ended(address(1).ip());
        assert_eq!(next(&mut queue), Some((1, 2)));
        assert_eq!(next(&mut queue), None);
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.drop_source(address(1).ip()).0, 2);
        (0..2).for_each(|_| queue.ended(address(1).ip()));
        (0..2).for_each(|_| queue.ended(address(2).ip()));
        assert!(queue.lines.is_empty() && queue.turns.is_empty());
    }

    #[test]
    fn it_is_bounded_in_all_by_source_and_in_bytes() {
        let mut queue = Queue::new(LIMITS);
        assert_eq!(queue.push(address(1), many(0..7)), Err(Full));
        queue.push(address(1), many(0..6)).unwrap();
        assert_eq!((queue.room(address(1).ip()), queue.room(address(2).ip())), (0, 4));
        assert_eq!(queue.push(address(1), many(0..1)), Err(Full));
        assert_eq!(queue.push(address(2), many(0..5)), Err(Full));
        queue.push(address(2), many(0..2)).unwrap();
        let one = || Content::One(Some(Offered::described(&descriptor(9, 1000), false).unwrap()), 600);
        queue.push(address(3), one()).unwrap();
        assert_eq!(queue.push(address(3), one()), Err(Full));
        while let Some((host, _)) = next(&mut queue) {
            queue.ended(address(host).ip());
        }
        assert_eq!((queue.len(), queue.bytes), (0, 0));
        queue.push(address(3), one()).unwrap();
        queue.drop_source(address(3).ip());
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn a_large_segment_is_fetched_in_runs_and_ends_once() {
        let mut queue = Queue::new(LIMITS);
        let offered = Offered::described(&descriptor(1, 65_536 * 70), false).unwrap();
        queue.push(address(1), Content::One(Some(offered), 0)).unwrap();
        let mut runs = Vec::new();
        let mut last = Vec::new();
        while let Some(Next::Run { blocks, segment, .. }) = queue.next(|_, _| true) {
            runs.push(blocks);
            queue.ended(address(1).ip());
            last.push(segment.run_ended());
        }
        assert_eq!(runs, [0..32, 32..64, 64..70]);
        assert_eq!(last, [false, false, true]);
    }

    #[test]
    fn a_segment_that_has_begun_ends_with_its_source() {
        let mut queue = Queue::new(LIMITS);
        let large = || Content::One(Some(Offered::described(&descriptor(1, 65_536 * 70), false).unwrap()), 10);
        let begin = |queue: &mut Queue| match queue.next(|_, _| true) {
            Some(Next::Run { segment, .. }) => segment,
            other => panic!("{other:?}"),
        };
        queue.push(address(1), large()).unwrap();
        let segment = begin(&mut queue);
        assert!(queue.drop_source(address(1).ip()).1.is_empty(), "a run is under way");
        assert!(segment.run_ended());
        queue.ended(address(1).ip());

        queue.push(address(1), large()).unwrap();
        assert!(!begin(&mut queue).run_ended());
        assert_eq!(queue.drop_source(address(1).ip()).1.len(), 1);
        queue.ended(address(1).ip());
        assert_eq!(next(&mut queue), None);
        assert!(queue.lines.is_empty() && queue.turns.is_empty());
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn what_is_not_admitted_is_passed_over_in_bounded_steps() {
        let limits = QueueLimits { segments: 1000, segments_per_source: 1000, ..LIMITS };
        let mut queue = Queue::new(limits);
        (0..4).for_each(|_| queue.push(address(1), many(0..200)).unwrap());
        queue.push(address(1), many(200..201)).unwrap();
        let mut steps = 0;
        loop {
            match queue.next(|_, offered| offered.id.as_bytes()[0] == 200) {
                Some(Next::Skipped) => steps += 1,
                Some(Next::Run { segment, .. }) => break assert_eq!(segment.offered.id.as_bytes()[0], 200),
                other => panic!("{other:?}"),
            }
        }
        assert!(steps >= 3, "{steps}");
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn many_sources_without_anything_that_is_admitted_are_passed_over_in_bounded_steps() {
        let limits = QueueLimits { segments: 10_000, ..LIMITS };
        let mut queue = Queue::new(limits);
        let source = |number: u16| SocketAddr::from(([10, 0, number.to_be_bytes()[0], number.to_be_bytes()[1]], 80));
        (0..2000).for_each(|number| queue.push(source(number), many(0..1)).unwrap());
        (0..1000).for_each(|number| drop(queue.drop_source(source(number).ip())));
        let mut steps = 0;
        loop {
            let mut looked = 0;
            let next = queue.next(|_, _| {
                looked += 1;
                false
            });
            assert!(looked <= LOOK, "{looked}");
            match next {
                Some(Next::Skipped) => steps += 1,
                None => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(steps >= 2000 / LOOK, "{steps}");
        assert!(queue.lines.is_empty() && queue.turns.is_empty());
    }
}
