//! The segments that are being fetched, each from one host, and who else offered them meanwhile.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use peerdist_protocol::content::SegmentId;

use super::offered::{Offered, size_in_memory};
use super::sources::Host;

/// Other hosts that are remembered for a segment while it is fetched from one: the newest.
const MAX_OTHERS: usize = 16;
/// Bytes of all that is remembered of others.
const MAX_OTHERS_BYTES: usize = 16 << 20;

/// What is being fetched.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    segments: HashMap<SegmentId, Segment>,
    others_bytes: usize,
}

/// A segment that is being fetched.
#[derive(Debug)]
pub(super) struct Segment {
    /// From where.
    pub(super) from: Host,
    /// Whether nothing of it was there.
    pub(super) was_empty: bool,
    /// Whether it is to wait once more when this ends, since the cache took nothing.
    pub(super) again: bool,
    /// Whether a run of it took too long.
    pub(super) is_slow: bool,
    /// Who else offered it, and as what, the newest first.
    pub(super) others: VecDeque<(Host, Offered)>,
}

impl InFlight {
    /// Begins to fetch a segment, unless it is being fetched from somebody else: then this host may stand in later, and
    /// what is being fetched comes back.
    pub(super) fn begin(&mut self, from: Host, offered: &Offered, was_empty: bool) -> Result<(), &mut Segment> {
        let segment = match self.segments.entry(offered.id) {
            Entry::Vacant(vacant) => {
                vacant.insert(Segment { from, was_empty, again: false, is_slow: false, others: VecDeque::new() });
                return Ok(());
            }
            Entry::Occupied(segment) => segment.into_mut(),
        };
        let others = &mut segment.others;
        if segment.from != from {
            self.others_bytes -= bytes(others);
            others.retain(|(other, _)| *other != from);
            others.truncate(MAX_OTHERS - 1);
            if self.others_bytes + bytes(others) + size_in_memory(offered) <= MAX_OTHERS_BYTES {
                others.push_front((from, offered.clone()));
            }
            self.others_bytes += bytes(others);
        }
        Err(segment)
    }

    pub(super) fn get_mut(&mut self, id: &SegmentId) -> Option<&mut Segment> {
        self.segments.get_mut(id)
    }

    /// A segment is no longer being fetched.
    pub(super) fn end(&mut self, id: &SegmentId) -> Option<Segment> {
        let segment = self.segments.remove(id)?;
        self.others_bytes -= bytes(&segment.others);
        Some(segment)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.others_bytes == 0
    }
}

fn bytes(others: &VecDeque<(Host, Offered)>) -> usize {
    others.iter().map(|(_, offered)| size_in_memory(offered)).sum()
}
