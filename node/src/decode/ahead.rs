//! Packets that a capture has before those that they answer: those of several queues or interfaces may change places.

use std::collections::VecDeque;

use super::file::Nanoseconds;
use super::packet::Segment;
use super::tcp::Budget;

/// The most packets of one connection that wait.
const MAX_PACKETS: usize = 16;
/// How long they wait, in the time of the capture.
const MAX_WAIT: Nanoseconds = 100_000_000;
/// What a packet that waits takes beside its bytes.
const PER_PACKET: usize = size_of::<Held>();

/// The packets of one side that acknowledge bytes which the capture has not had yet, and those behind them.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// In the order of their sequence numbers.
    packets: VecDeque<Held>,
}

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) time: Nanoseconds,
    pub(super) comment: Box<str>,
    payload: Box<[u8]>,
    /// All but the payload.
    segment: Segment<'static>,
}

impl Ahead {
    /// Whether packets wait that stand before this one.
    pub(super) fn is_before(&self, segment: &Segment<'_>) -> bool {
        self.first().is_some_and(|first| !is_later(first, segment))
    }

    /// Whether no more may wait, or those that do have waited long enough.
    pub(super) fn is_over(&self, now: Nanoseconds) -> bool {
        let is_old = |held: &Held| now.saturating_sub(held.time) > MAX_WAIT;
        self.packets.len() >= MAX_PACKETS || self.packets.iter().any(is_old)
    }

    /// What the first one says, without its payload.
    pub(super) fn first(&self) -> Option<&Segment<'static>> {
        self.packets.front().map(|held| &held.segment)
    }

    /// Lets a packet wait, if there is memory for it.
    pub(super) fn hold(
        &mut self,
        segment: &Segment<'_>,
        comment: &str,
        time: Nanoseconds,
        budget: &mut Budget,
    ) -> bool {
        let (comment, payload) = (Box::from(comment), Box::from(segment.payload));
        let held = Held { time, comment, payload, segment: Segment { payload: &[], ..*segment } };
        let may = budget.take(held.cost());
        if may {
            let place = self.packets.iter().position(|held| is_later(&held.segment, segment));
            self.packets.insert(place.unwrap_or(self.packets.len()), held);
        }
        may
    }

    /// The first one, which waits no longer.
    pub(super) fn pop(&mut self, budget: &mut Budget) -> Option<Held> {
        let held = self.packets.pop_front()?;
        budget.give_back(held.cost());
        Some(held)
    }
}

/// Whether a segment begins behind another one.
fn is_later(segment: &Segment<'_>, other: &Segment<'_>) -> bool {
    segment.sequence.wrapping_sub(other.sequence) as i32 > 0
}

impl Held {
    pub(super) fn segment(&self) -> Segment<'_> {
        Segment { payload: &self.payload, ..self.segment }
    }

    fn cost(&self) -> usize {
        PER_PACKET + self.comment.len() + self.payload.len()
    }
}
