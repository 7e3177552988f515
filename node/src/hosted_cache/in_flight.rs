//! The segments that are being fetched, each from one host, and who else offered them meanwhile.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use peerdist_protocol::content::SegmentId;

use super::offered::Offered;

/// Other hosts that are remembered for a segment while it is fetched from one.
const MAX_OTHERS: usize = 4;

/// What is being fetched.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    segments: HashMap<SegmentId, Segment>,
}

/// A segment that is being fetched.
#[derive(Debug)]
pub(super) struct Segment {
    /// From where.
    pub(super) from: SocketAddr,
    /// Whether nothing of it was there.
    pub(super) was_empty: bool,
    /// Whether it is to wait once more when this ends, since the cache took nothing.
    pub(super) again: bool,
    /// Who else offered it, and as what.
    pub(super) others: VecDeque<(SocketAddr, Offered)>,
}

impl InFlight {
    /// Begins to fetch a segment, unless it is being fetched from somebody else: then this host may stand in later.
    /// Returns whether it begins.
    pub(super) fn begin(&mut self, from: SocketAddr, offered: &Offered, was_empty: bool) -> bool {
        let Some(segment) = self.segments.get_mut(&offered.id) else {
            let segment = Segment { from, was_empty, again: false, others: VecDeque::new() };
            self.segments.insert(offered.id, segment);
            return true;
        };
        let is_new = segment.from != from && segment.others.iter().all(|(other, _)| *other != from);
        if is_new && segment.others.len() < MAX_OTHERS {
            segment.others.push_back((from, offered.clone()));
        }
        false
    }

    pub(super) fn get_mut(&mut self, id: &SegmentId) -> Option<&mut Segment> {
        self.segments.get_mut(id)
    }

    /// A segment is no longer being fetched.
    pub(super) fn end(&mut self, id: &SegmentId) -> Option<Segment> {
        self.segments.remove(id)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}
