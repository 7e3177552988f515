//! What is fetched next, and what follows from how it went.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerdist_protocol::content::{BlockIndex, SegmentId};

use super::desk::Desk;
use super::offered::{Held, Offered, size_in_memory};
use super::queue::{Content, Fetching, Next, Run};
use super::sources::{Host, Strikes};

/// A source whose run takes longer for each of its blocks is slow: no host is on a network of the branch.
const SLOW_BLOCK: Duration = Duration::from_millis(150);
/// Unless the run takes no longer than that.
const LEAST_SLOW: Duration = Duration::from_secs(2);

impl Desk {
    /// What is to be fetched next.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next> {
        let Self { queue, sources, copies, store, in_flight, counted, .. } = self;
        let mut shut = None;
        let mut overtaken = Vec::new();
        let next = queue.next(|host, offered| {
            let source = host.source;
            if let Err(reason) = sources.admit(source, now) {
                shut = Some((host, reason));
                counted.ignore(reason.as_str(), 1);
                return false;
            }
            let held = offered.held(store);
            let complaint = match copies.judge(store, source, offered) {
                // It was no complaint when it was made: somebody else gave the segment since then.
                Ok(true) if held == Held::Blind && !offered.complaint => Err("duplicate"),
                Err("held" | "repeated" | "complained") => Err("duplicate"),
                verdict => verdict,
            };
            match complaint {
                Ok(complaint) => {
                    counted.complaints += u64::from(complaint && !offered.complaint);
                    offered.complaint = complaint;
                }
                Err(reason) => {
                    counted.ignore(reason, 1);
                    return false;
                }
            }
            let standing = sources.standing(source, now);
            let Err(segment) = in_flight.begin(host, standing, offered, held == Held::Nothing) else { return true };
            counted.ignore("duplicate", 1);
            if std::mem::take(&mut segment.is_slow) {
                overtaken.push((segment.from.source, offered.id));
            }
            false
        });
        for (source, id) in overtaken {
            self.drop_segment(source, &id, now);
        }
        if let Some((host, reason)) = shut {
            self.give_up(host, reason.as_str(), now);
        }
        next
    }

    /// Forgets what waits for a host.
    fn give_up(&mut self, host: Host, reason: &'static str, now: Instant) {
        let (segments, ended) = self.queue.drop_host(host);
        self.counted.ignore(reason, segments as u64);
        for segment in ended {
            self.segment_ended(host.source, &segment, now);
        }
    }

    /// A host sent something wrong, or offers again what it gave. Returns whether nothing more of it is to be fetched.
    pub(super) fn strike(&mut self, host: Host, now: Instant) -> bool {
        self.counted.strikes += 1;
        let strikes = self.sources.strike(host.source, now);
        if strikes == Strikes::Few {
            return false;
        }
        self.give_up(host, "strikes", now);
        // Others may share its source.
        self.slow(host.source, now);
        if strikes == Strikes::Enough
            && let Some(unsaid) = self.struck.happened(now)
        {
            tracing::info!(
                source = %host.source,
                unsaid,
                "for ten minutes nothing is taken from this host, or little if it is a subnet: too much of it was wrong",
            );
        }
        true
    }

    /// A host could not be reached, or has nothing of what it offered.
    pub(super) fn failed(&mut self, host: Host, reason: &'static str, now: Instant) {
        if self.sources.failed(host.source, now) {
            self.give_up(host, reason, now);
        }
    }

    /// The cache takes no blocks now: a segment that is being fetched is to wait once more.
    pub(super) fn fetch_again(&mut self, id: &SegmentId) {
        if let Some(segment) = self.in_flight.get_mut(id) {
            segment.again = true;
        }
    }

    /// The first block of a segment was kept: the copy is no longer what it was.
    pub(super) fn first_kept(&mut self, source: IpAddr, segment: &Fetching, now: Instant) {
        let offered = &segment.offered;
        let was_empty = self.in_flight.get_mut(&offered.id).is_some_and(|segment| segment.was_empty);
        let is_sole = !offered.complaint && (was_empty || self.copies.is_giver(source, &offered.id));
        self.copies.set_giver(is_sole.then_some(source), &offered.id, now);
    }

    /// A block was kept. Returns whether more of its source can begin now.
    pub(super) fn delivered(&mut self, source: IpAddr, now: Instant) -> bool {
        let is_news = self.sources.delivered(source, now);
        if is_news {
            self.rank(source, now);
        }
        is_news
    }

    fn rank(&mut self, source: IpAddr, now: Instant) {
        let standing = self.sources.standing(source, now);
        self.queue.rank(source, standing);
    }

    /// A run held its place for so long, and is about to end.
    pub(super) fn held(&mut self, run: &Run, time: Duration, now: Instant) {
        let source = run.host.source;
        self.queue.held(source, time, now);
        if time > LEAST_SLOW.max(SLOW_BLOCK * (run.blocks.end - run.blocks.start)) {
            self.slow(source, now);
        }
    }

    /// Others come before this source for a while, and little of it waits.
    fn slow(&mut self, source: IpAddr, now: Instant) {
        self.sources.slow(source, now);
        self.rank(source, now);
        let dropped = self.queue.trim(source);
        self.counted.ignore("slow", dropped as u64);
    }

    /// A run has ended.
    pub(super) fn run_ended(&mut self, host: Host, segment: &Arc<Fetching>, now: Instant) {
        self.rank(host.source, now);
        self.queue.ended(host.source);
        if segment.run_ended() {
            self.segment_ended(host.source, segment, now);
            if segment.is_empty() {
                self.failed(host, "empty", now);
            }
        }
    }

    /// A run took too long. What is left of it is fetched once more, when nothing else of its source waits, unless
    /// somebody else has the segment.
    pub(super) fn run_too_slow(&mut self, run: Run, left: Range<BlockIndex>, now: Instant) {
        let host = run.host;
        let source = host.source;
        self.counted.pull_failed("slow");
        self.slow(source, now);
        let in_flight = self.in_flight.get_mut(&run.segment.offered.id);
        let has_others = in_flight.is_some_and(|segment| {
            segment.is_slow = true;
            !segment.others.is_empty()
        });
        if has_others {
            self.drop_segment(source, &run.segment.offered.id, now);
        }
        let is_vain = run.segment.kept() == 0;
        let waits = if run.again || has_others { Err(run) } else { self.queue.put_back(run, left) };
        match waits {
            Ok(()) => self.queue.ended(source),
            Err(run) => {
                run.segment.fall_short();
                self.run_ended(host, &run.segment, now);
            }
        }
        if is_vain {
            self.failed(host, "slow", now);
        }
    }

    /// Fetches no more of a segment from a slow source than what is under way.
    fn drop_segment(&mut self, source: IpAddr, id: &SegmentId, now: Instant) {
        if let Some(ended) = self.queue.drop_segment(source, id) {
            self.segment_ended(source, &ended, now);
        }
    }

    fn segment_ended(&mut self, source: IpAddr, segment: &Fetching, now: Instant) {
        let offered = &segment.offered;
        let Some(ended) = self.in_flight.end(&offered.id) else { return };
        let is_whole = !segment.fell_short() && matches!(offered.held(&self.store), Held::Blind | Held::Bound);
        if offered.complaint && segment.kept() > 0 && !ended.again {
            self.copies.complained(source, &offered.id, now);
            if is_whole {
                self.copies.set_giver(Some(source), &offered.id, now);
            }
        }
        if is_whole {
            self.counted.completed(offered.tag);
        } else if ended.again {
            self.wait_again(ended.from, offered.clone(), now);
        }
        for other in ended.others {
            // The first one that has it all makes duplicates of the rest.
            if !is_whole || other.offered.block_count != offered.block_count {
                self.wait_again(other.host, other.offered, now);
            }
        }
    }

    fn wait_again(&mut self, host: Host, offered: Offered, now: Instant) {
        let size = size_in_memory(&offered);
        if let Err(reason) = self.wait(host, Content::One(Some(offered), size), now) {
            self.counted.ignore(reason, 1);
        }
    }
}
