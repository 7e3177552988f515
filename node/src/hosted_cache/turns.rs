//! Whose turn it is, by what came of a source so far.
//!
//! Those that delivered come first and those that were slow last. A part of the places is kept for those that delivered,
//! and one for those of which nothing came yet, so that neither waits for the others, however many there are. Among
//! equals the next one is who held places for the shortest time: those that dawdle do not keep the others waiting.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What a run that goes on counts for until its time is known, and all runs of a source of which none has ended.
const EXPECTED: Duration = Duration::from_secs(1);
/// How often half of it is forgotten who held places.
const PERIOD: Duration = Duration::from_secs(10 * 60);
/// Sources of which that is remembered.
const MAX_HELD: usize = 65_536;

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
    /// What all hold at most of which something came.
    known_share: usize,
    /// What those that were slow hold at most.
    slow_share: usize,
    lanes: [Lane; 3],
    /// Turns that were given so far.
    count: u64,
    /// How long each source held places, and when that was halved.
    held: HashMap<IpAddr, Duration>,
    halved: Option<Instant>,
    /// Whether the last turn of those of which nothing came yet was the newest one's.
    was_newest: bool,
}

/// A turn that somebody waits for: how long its source held places, and its number.
pub(super) type Turn = (Duration, u64);

/// The sources of one standing.
#[derive(Debug, Default)]
struct Lane {
    /// The next one first.
    waiting: BTreeMap<Turn, IpAddr>,
    runs: usize,
}

impl Turns {
    /// Turns for so many runs at once.
    pub(super) fn new(runs: usize) -> Self {
        let share = (runs - (runs / 4).max(1)).max(1);
        let (slow_share, known_share) = (runs.div_ceil(2).min(share), runs - runs / 8);
        let (lanes, count, held, halved) = Default::default();
        Self { share, known_share, slow_share, lanes, count, held, halved, was_newest: true }
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
        let turn = if is_newest { waiting.pop_last() } else { waiting.pop_first() };
        turn.map(|(_, source)| (source, standing))
    }

    fn standing(&self) -> Option<Standing> {
        let [proven, fresh, slow] = &self.lanes;
        let may_others = fresh.runs + slow.runs < self.share;
        let may_known = proven.runs + slow.runs < self.known_share;
        if !proven.waiting.is_empty() && proven.runs < self.share && may_known {
            Some(Standing::Proven)
        } else if !fresh.waiting.is_empty() && may_others {
            Some(Standing::Fresh)
        } else {
            let may_slow = may_others && may_known && slow.runs < self.slow_share;
            (!slow.waiting.is_empty() && may_slow).then_some(Standing::Slow)
        }
    }

    /// A source that has so many runs waits for its turn.
    pub(super) fn wait(&mut self, source: IpAddr, standing: Standing, runs: usize) -> Turn {
        let held = match standing {
            Standing::Fresh => Duration::ZERO,
            Standing::Proven | Standing::Slow => {
                let runs = u32::try_from(runs).unwrap_or(u32::MAX);
                self.held.get(&source).copied().unwrap_or(EXPECTED).saturating_add(EXPECTED.saturating_mul(runs))
            }
        };
        self.count += 1;
        let turn = (held, self.count);
        self.lane_mut(standing).waiting.insert(turn, source);
        turn
    }

    /// A source waits no more.
    pub(super) fn leave(&mut self, standing: Standing, turn: Turn) {
        self.lane_mut(standing).waiting.remove(&turn);
    }

    /// A run of a source held its place for so long.
    pub(super) fn held(&mut self, source: IpAddr, time: Duration, now: Instant) {
        if self.held.len() >= MAX_HELD {
            self.held.clear();
        }
        if now.saturating_duration_since(*self.halved.get_or_insert(now)) >= PERIOD {
            self.halved = Some(now);
            self.held.values_mut().for_each(|time| *time /= 2);
        }
        *self.held.entry(source).or_default() += time;
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

    /// The runs that go on.
    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        self.lanes.iter().map(|lane| lane.runs).sum()
    }

    /// Whether nobody waits and no run goes on.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty() && lane.runs == 0)
    }
}
