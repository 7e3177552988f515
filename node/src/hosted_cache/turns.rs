//! Whose turn it is, by what came of a source so far.
//!
//! Those that delivered come first and those that were slow last. A part of the places is kept for those that delivered,
//! and one for those of which nothing came yet, so that neither waits for the others, however many there are.

use std::collections::VecDeque;
use std::net::IpAddr;

/// What came of a source so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A block that was kept.
    Proven,
    /// Nothing yet.
    Fresh,
    /// A run that took too long, not long ago.
    Slow,
}

/// The sources that wait, and the runs that go on.
#[derive(Debug)]
pub(super) struct Turns {
    /// What those that delivered hold at most, and what all others hold at most together.
    share: usize,
    /// What those that were slow hold at most.
    slow_share: usize,
    lanes: [Lane; 3],
    /// Whether the last turn of those of which nothing came yet was the newest one's.
    was_newest: bool,
}

/// The sources of one standing.
#[derive(Debug, Default)]
struct Lane {
    /// The next one first; some among them that have no turn any more.
    waiting: VecDeque<IpAddr>,
    runs: usize,
}

impl Turns {
    /// Turns for so many runs at once.
    pub(super) fn new(runs: usize) -> Self {
        let share = (runs - (runs / 4).max(1)).max(1);
        Self { share, slow_share: runs.div_ceil(2).min(share), lanes: Default::default(), was_newest: true }
    }

    /// Whether a turn of somebody can begin.
    pub(super) fn any(&self) -> bool {
        self.standing().is_some()
    }

    /// The source whose turn it is, and in which standing it got its turn.
    pub(super) fn next(&mut self) -> Option<(IpAddr, Standing)> {
        let standing = self.standing()?;
        // Who comes behind many that never answer does not wait for all of these, and neither do the oldest for ever.
        let is_fresh = standing == Standing::Fresh;
        self.was_newest ^= is_fresh;
        let is_newest = is_fresh && self.was_newest;
        let waiting = &mut self.lane_mut(standing).waiting;
        let source = if is_newest { waiting.pop_back() } else { waiting.pop_front() };
        source.map(|source| (source, standing))
    }

    fn standing(&self) -> Option<Standing> {
        let [proven, fresh, slow] = &self.lanes;
        let has_place = fresh.runs + slow.runs < self.share;
        if !proven.waiting.is_empty() && proven.runs < self.share {
            Some(Standing::Proven)
        } else if !fresh.waiting.is_empty() && has_place {
            Some(Standing::Fresh)
        } else {
            (!slow.waiting.is_empty() && has_place && slow.runs < self.slow_share).then_some(Standing::Slow)
        }
    }

    /// A source waits for its turn.
    pub(super) fn wait(&mut self, source: IpAddr, standing: Standing) {
        self.lane_mut(standing).waiting.push_back(source);
    }

    /// A run begins.
    pub(super) fn begin(&mut self, standing: Standing) {
        self.lane_mut(standing).runs += 1;
    }

    /// So many runs end.
    pub(super) fn end(&mut self, standing: Standing, runs: usize) {
        self.lane_mut(standing).runs -= runs;
    }

    /// The runs of a source that go on count for another standing from now on.
    pub(super) fn pass(&mut self, from: Standing, to: Standing, runs: usize) {
        self.end(from, runs);
        self.lane_mut(to).runs += runs;
    }

    fn lane_mut(&mut self, standing: Standing) -> &mut Lane {
        let [proven, fresh, slow] = &mut self.lanes;
        match standing {
            Standing::Proven => proven,
            Standing::Fresh => fresh,
            Standing::Slow => slow,
        }
    }

    /// Whether nobody waits and no run goes on.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty() && lane.runs == 0)
    }
}
