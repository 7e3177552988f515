//! Counters by reason.

use peerdist_protocol::discovery::{DropReason, Outcome};

/// What happened since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Probe datagrams sent: a Probe counts once for each copy, interface and family.
    pub probes_sent: u64,
    /// Probe datagrams that could not be sent.
    pub probes_not_sent: u64,
    /// ProbeMatches taken.
    pub answers_taken: u64,
    /// ProbeMatches dropped, indexed by `DropReason as usize`.
    pub answers_dropped: [u64; DropReason::ALL.len()],
    /// Probes of others, first copies, indexed by `Outcome as usize`.
    pub probes_heard: [u64; Outcome::ALL.len()],
    /// Datagrams to the port of WS-Discovery dropped, indexed by `DropReason as usize`.
    pub probes_dropped: [u64; DropReason::ALL.len()],
    /// ProbeMatches sent.
    pub answers_sent: u64,
    /// ProbeMatches that could not be sent.
    pub answers_not_sent: u64,
    /// Errors of sockets while receiving.
    pub receive_errors: u64,
    /// Events about Probes overheard that found no room.
    pub overheard_lost: u64,
    /// Events about matches that found no room.
    pub matches_lost: u64,
}

impl Counters {
    pub(crate) const ZERO: Self = Self {
        probes_sent: 0,
        probes_not_sent: 0,
        answers_taken: 0,
        answers_dropped: [0; DropReason::ALL.len()],
        probes_heard: [0; Outcome::ALL.len()],
        probes_dropped: [0; DropReason::ALL.len()],
        answers_sent: 0,
        answers_not_sent: 0,
        receive_errors: 0,
        overheard_lost: 0,
        matches_lost: 0,
    };

    /// [`Self::answers_dropped`] with names.
    pub fn answers_dropped_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(DropReason::ALL.iter().map(|reason| reason.as_str()), &self.answers_dropped)
    }

    /// [`Self::probes_dropped`] with names.
    pub fn probes_dropped_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(DropReason::ALL.iter().map(|reason| reason.as_str()), &self.probes_dropped)
    }

    /// [`Self::probes_heard`] with names.
    pub fn probes_heard_by_outcome(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(Outcome::ALL.iter().map(|outcome| outcome.as_str()), &self.probes_heard)
    }
}

fn named<'c>(
    names: impl Iterator<Item = &'static str> + 'c,
    counts: &'c [u64],
) -> impl Iterator<Item = (&'static str, u64)> + 'c {
    names.zip(counts.iter().copied())
}
