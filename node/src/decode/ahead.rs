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

/// The packets of one side that acknowledge bytes which the capture has not had yet.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    side: usize,
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
    /// Whether packets of this side wait.
    pub(super) fn is_of(&self, side: usize) -> bool {
        self.side == side && !self.packets.is_empty()
    }

    /// Whether no more may wait, or those that do have waited long enough.
    pub(super) fn is_over(&self, now: Nanoseconds) -> bool {
        let oldest = self.packets.front();
        self.packets.len() >= MAX_PACKETS || oldest.is_some_and(|held| now.saturating_sub(held.time) > MAX_WAIT)
    }

    /// What the first one acknowledges, with the side that it is of.
    pub(super) fn first(&self) -> Option<(usize, &Segment<'static>)> {
        self.packets.front().map(|held| (self.side, &held.segment))
    }

    /// Lets a packet wait, if there is memory for it and none of the other side waits.
    pub(super) fn hold(
        &mut self,
        side: usize,
        segment: &Segment<'_>,
        comment: &str,
        time: Nanoseconds,
        budget: &mut Budget,
    ) -> bool {
        let (comment, payload) = (Box::from(comment), Box::from(segment.payload));
        let held = Held { time, comment, payload, segment: Segment { payload: &[], ..*segment } };
        let may = (self.packets.is_empty() || self.side == side) && budget.take(held.cost());
        if may {
            self.side = side;
            self.packets.push_back(held);
        }
        may
    }

    /// The first one, which waits no longer, with the side that it is of.
    pub(super) fn pop(&mut self, budget: &mut Budget) -> Option<(usize, Held)> {
        let held = self.packets.pop_front()?;
        budget.give_back(held.cost());
        Some((self.side, held))
    }
}

impl Held {
    pub(super) fn segment(&self) -> Segment<'_> {
        Segment { payload: &self.payload, ..self.segment }
    }

    fn cost(&self) -> usize {
        PER_PACKET + self.comment.len() + self.payload.len()
    }
}
