//! The segments that are being fetched, each from one host, and who else offered them meanwhile.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use peerdist_protocol::content::SegmentId;

use super::offered::{Offered, size_in_memory};
use super::sources::Host;
use super::turns::Standing;

/// Other sources that are remembered for a segment while it is fetched from one: the newest, and those first that
/// delivered something.
const MAX_OTHERS: usize = 64;
/// Bytes of all that is remembered of others, half of them at most for who delivered nothing.
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
    pub(super) others: VecDeque<Other>,
}

/// A host that offered a segment while it was being fetched from another one.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) host: Host,
    pub(super) offered: Offered,
    /// Whether it had delivered something when it offered.
    is_proven: bool,
}

impl InFlight {
    /// Begins to fetch a segment, unless it is being fetched from somebody else: then this host may stand in later, and
    /// what is being fetched comes back.
    pub(super) fn begin(
        &mut self,
        from: Host,
        standing: Standing,
        offered: &Offered,
        was_empty: bool,
    ) -> Result<(), &mut Segment> {
        let segment = match self.segments.entry(offered.id) {
            Entry::Vacant(vacant) => {
                vacant.insert(Segment { from, was_empty, again: false, is_slow: false, others: VecDeque::new() });
                return Ok(());
            }
            Entry::Occupied(segment) => segment.into_mut(),
        };
        if segment.from != from {
            self.others_bytes -= bytes(&segment.others);
            let is_proven = standing == Standing::Proven;
            let max_bytes = if is_proven { MAX_OTHERS_BYTES } else { MAX_OTHERS_BYTES / 2 };
            let max_bytes = max_bytes.saturating_sub(self.others_bytes);
            segment.stands_in(Other { host: from, offered: offered.clone(), is_proven }, max_bytes);
            self.others_bytes += bytes(&segment.others);
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

impl Segment {
    /// Another host may stand in, if there is room for what it offered.
    fn stands_in(&mut self, other: Other, max_bytes: usize) {
        let others = &mut self.others;
        // A source has one place, at however many ports it offers.
        others.retain(|known| known.host.source != other.host.source);
        if others.len() >= MAX_OTHERS {
            let oldest = others.iter().rposition(|known| !known.is_proven);
            let Some(out) = oldest.or(other.is_proven.then_some(others.len() - 1)) else { return };
            others.remove(out);
        }
        if bytes(others) + size_in_memory(&other.offered) <= max_bytes {
            others.push_front(other);
        }
    }
}

fn bytes(others: &VecDeque<Other>) -> usize {
    others.iter().map(|other| size_in_memory(&other.offered)).sum()
}
