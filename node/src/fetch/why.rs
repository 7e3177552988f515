//! Why: who was asked for which segment, who answered, who was skipped, and why bytes came from the origin.
//!
//! `Why` is what a plan writes down while it works, in bounded memory; [`Explanation`] is what people and programs
//! read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Moment;
use super::plan::PlannedSegment;

mod story;
mod text;

pub use story::{Explanation, Noted, ProbeAnswer, ProbeStory, SegmentStory, ServerAnswer};
pub(crate) use text::Size;

/// Segments with a record of their own; the bytes of further ones are in the sums alone.
const MAX_SEGMENTS: usize = 65_536;
/// Different things written down about one segment; equal ones are counted.
const MAX_NOTES: usize = 32;
/// Probes written down, and answers to one of them.
const MAX_PROBES: usize = 4096;
const MAX_ANSWERS: usize = 16;
/// Peers with a sum of their own.
const MAX_PEERS: usize = 1024;

/// Why a block has to come from the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// The reader asked for what the cache holds and nothing else.
    CacheOnly,
    /// Peers are not looked for.
    NoDiscovery,
    /// No host answered the Probe.
    NobodyAnswered,
    /// Hosts answered for other segments or blocks, but none holds this one.
    NobodyHoldsIt,
    /// Every host that holds it failed to deliver it.
    PeersFailed,
    /// Every host that holds it is out because of earlier failures or wrong bytes.
    PeersOut,
    /// The hosts that hold it were too slow or too busy.
    TooSlow,
    /// The hosted cache answered, and does not hold it.
    NotInHostedCache,
    /// The hosted cache holds it and failed to deliver it.
    HostedCacheFailed,
    /// The hosted cache that it belongs to could not be asked, being unreachable or out because of earlier failures; no
    /// other one holds it.
    HostedCachesOut,
}

impl MissingReason {
    /// Whether it tells of hosted caches.
    #[must_use]
    pub fn is_hosted(self) -> bool {
        matches!(self, Self::NotInHostedCache | Self::HostedCacheFailed | Self::HostedCachesOut)
    }
}

impl fmt::Display for MissingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CacheOnly => "the cache alone was asked",
            Self::NoDiscovery => "peers are not looked for",
            Self::NobodyAnswered => "no peer answered the probe",
            Self::NobodyHoldsIt => "no peer that answered holds it",
            Self::PeersFailed => "every peer that holds it failed",
            Self::PeersOut => "every peer that holds it is out because of earlier failures",
            Self::TooSlow => "whoever holds it was too slow or too busy",
            Self::NotInHostedCache => "the hosted cache does not hold it",
            Self::HostedCacheFailed => "the hosted cache failed to deliver it",
            Self::HostedCachesOut => "the hosted cache that may hold it was unreachable or failed",
        })
    }
}

/// What happened between this node and one peer over one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerNote {
    /// Not asked: it delivered wrong bytes within the last minutes.
    SkippedForBadHash,
    /// Not asked: it failed several times in a row.
    SkippedForFailures,
    /// Not asked: readers waited in vain for blocks that it says it holds.
    SkippedForWaiting,
    /// Not asked: it delivered wrong bytes for this content.
    SkippedForBadHashHere,
    /// It answered that it does not hold the block.
    NotHeld,
    /// It claims the block but sent none: busy.
    Busy,
    /// It made no progress in time.
    TimedOut,
    /// There was no connection, or it broke.
    Unreachable,
    /// Its answer was no answer to the request.
    Refused,
    /// Its bytes had the wrong hash.
    BadHash,
    /// This host had no means to ask it.
    NotAsked,
}

impl fmt::Display for PeerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SkippedForBadHash => "skipped: sent wrong bytes lately",
            Self::SkippedForFailures => "skipped: failed several times in a row",
            Self::SkippedForWaiting => "skipped: kept readers waiting lately",
            Self::SkippedForBadHashHere => "skipped: sent wrong bytes for this content",
            Self::NotHeld => "does not hold it",
            Self::Busy => "busy",
            Self::TimedOut => "timed out",
            Self::Unreachable => "unreachable",
            Self::Refused => "sent no valid answer",
            Self::BadHash => "sent wrong bytes",
            Self::NotAsked => "could not be asked: this host has no means for another connection",
        })
    }
}

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The node's own cache.
    Cache,
    /// A host on the LAN.
    Peer(SocketAddr),
    /// The content server.
    Origin,
}

/// Bytes by source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// From the node's own cache.
    pub cache: u64,
    /// From each peer.
    pub peers: BTreeMap<SocketAddr, u64>,
    /// From peers beyond the first thousand.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_peers: u64,
    /// From the content server.
    pub origin: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Sources {
    /// Adds bytes of a source.
    pub fn add(&mut self, source: Source, bytes: u64) {
        match source {
            Source::Cache => self.cache += bytes,
            Source::Origin => self.origin += bytes,
            Source::Peer(peer) if self.peers.len() < MAX_PEERS || self.peers.contains_key(&peer) => {
                *self.peers.entry(peer).or_default() += bytes;
            }
            Source::Peer(_) => self.other_peers += bytes,
        }
    }

    /// Adds all that other sums hold.
    pub fn merge(&mut self, other: &Self) {
        self.add(Source::Cache, other.cache);
        self.add(Source::Origin, other.origin);
        other.peers.iter().for_each(|(peer, bytes)| self.add(Source::Peer(*peer), *bytes));
        self.other_peers += other.other_peers;
    }

    /// The bytes of all peers.
    #[must_use]
    pub fn all_peers(&self) -> u64 {
        self.peers.values().sum::<u64>() + self.other_peers
    }
}

/// What a plan writes down.
#[derive(Debug, Default)]
pub(super) struct Why {
    sources: Sources,
    origin_reasons: BTreeMap<MissingReason, u64>,
    probes: Vec<ProbeStory>,
    probes_omitted: u64,
    segments: BTreeMap<u64, Record>,
    peers: Vec<SocketAddr>,
    hosted_caches: BTreeSet<SocketAddr>,
}

#[derive(Debug, Default)]
struct Record {
    sources: Vec<(u16, u32)>,
    missing: Option<MissingReason>,
    remembered_s: Option<u64>,
    notes: Vec<Noted>,
    notes_omitted: u32,
}

const FROM_CACHE: u16 = 0;
const FROM_ORIGIN: u16 = 1;
const FROM_FIRST_PEER: u16 = 2;

impl Why {
    /// A Probe goes out for segments of `range`, naming `ids` of them. The result names it in later calls.
    pub(super) fn asked(&mut self, now: Moment, range: std::ops::Range<u64>, ids: usize) -> Option<usize> {
        if self.probes.len() >= MAX_PROBES {
            self.probes_omitted += 1;
            return None;
        }
        self.probes.push(ProbeStory {
            at_ms: millis(now),
            first: range.start,
            end: range.end,
            ids,
            answers: Vec::new(),
            hosted_caches: Vec::new(),
            ended_ms: None,
            unreachable: false,
        });
        Some(self.probes.len() - 1)
    }

    pub(super) fn hosted_cache_asked(&mut self, probe: Option<usize>, answer: ServerAnswer) {
        if let Some(probe) = probe.and_then(|index| self.probes.get_mut(index))
            && probe.hosted_caches.len() < MAX_ANSWERS
        {
            probe.hosted_caches.push(answer);
        }
    }

    pub(super) fn matched(&mut self, now: Moment, probe: Option<usize>, peer: SocketAddr, segments: usize) {
        if let Some(probe) = probe.and_then(|index| self.probes.get_mut(index))
            && probe.answers.len() < MAX_ANSWERS
        {
            probe.answers.push(ProbeAnswer { at_ms: millis(now), peer, segments });
        }
    }

    pub(super) fn probe_ended(&mut self, now: Moment, probe: Option<usize>) {
        if let Some(probe) = probe.and_then(|index| self.probes.get_mut(index)) {
            probe.ended_ms = Some(millis(now));
        }
    }

    /// No hosted cache could be reached any more, and peers are asked instead.
    pub(super) fn unreachable(&mut self, now: Moment, probe: Option<usize>) {
        self.probe_ended(now, probe);
        if let Some(probe) = probe.and_then(|index| self.probes.get_mut(index)) {
            probe.unreachable = true;
        }
    }

    /// Who is at this address is a hosted cache.
    pub(super) fn is_hosted_cache(&mut self, peer: SocketAddr) {
        if self.hosted_caches.len() < MAX_PEERS {
            self.hosted_caches.insert(peer);
        }
    }

    pub(super) fn note(&mut self, now: Moment, segment: u64, peer: SocketAddr, note: PeerNote) {
        let Some(record) = self.record(segment) else { return };
        if let Some(noted) = record.notes.iter_mut().find(|noted| noted.peer == peer && noted.note == note) {
            noted.count += 1;
        } else if record.notes.len() < MAX_NOTES {
            record.notes.push(Noted { at_ms: millis(now), peer, note, count: 1 });
        } else {
            record.notes_omitted += 1;
        }
    }

    /// Writes something down that is the same however often it is looked at.
    pub(super) fn note_once(&mut self, now: Moment, segment: u64, peer: SocketAddr, note: PeerNote) {
        let known = self.segments.get(&segment).is_some_and(|record| {
            record.notes.len() >= MAX_NOTES || record.notes.iter().any(|n| n.peer == peer && n.note == note)
        });
        if !known {
            self.note(now, segment, peer, note);
        }
    }

    /// Why a segment has to come from the origin; `known_for` is how long the reason has been known.
    pub(super) fn missing(&mut self, segment: u64, reason: MissingReason, known_for: Option<Moment>) {
        let is_asked = self.probes.iter().any(|probe| probe.first <= segment && segment < probe.end);
        if let Some(record) = self.record(segment) {
            record.missing = Some(reason);
            record.remembered_s = known_for.filter(|_| !is_asked).map(|age| age.as_secs());
        }
    }

    pub(super) fn bytes(&mut self, segment: u64, source: Source, bytes: u32) {
        self.sources.add(source, bytes.into());
        let index = match source {
            Source::Cache => FROM_CACHE,
            Source::Origin => FROM_ORIGIN,
            Source::Peer(peer) => {
                let known = self.peers.iter().position(|known| *known == peer);
                let index = known.unwrap_or_else(|| {
                    if self.peers.len() < MAX_PEERS {
                        self.peers.push(peer);
                    }
                    self.peers.len() - 1
                });
                FROM_FIRST_PEER + u16::try_from(index).unwrap_or(u16::MAX - FROM_FIRST_PEER)
            }
        };
        let Some(record) = self.record(segment) else { return };
        match record.sources.iter_mut().find(|(known, _)| *known == index) {
            Some((_, sum)) => *sum = sum.saturating_add(bytes),
            None => record.sources.push((index, bytes)),
        }
        if source == Source::Origin
            && let Some(reason) = record.missing
        {
            *self.origin_reasons.entry(reason).or_default() += u64::from(bytes);
        }
    }

    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    pub(super) fn origin_reasons(&self) -> &BTreeMap<MissingReason, u64> {
        &self.origin_reasons
    }

    /// Everything, in content order.
    pub(super) fn explain(&self, segments: &[PlannedSegment]) -> Explanation {
        let mut stories = Vec::with_capacity(self.segments.len());
        for segment in segments {
            let Some(record) = self.segments.get(&segment.offset) else { continue };
            let mut sources = Sources::default();
            for (source, bytes) in &record.sources {
                let source = match *source {
                    FROM_CACHE => Source::Cache,
                    FROM_ORIGIN => Source::Origin,
                    peer => match self.peers.get(usize::from(peer - FROM_FIRST_PEER)) {
                        Some(peer) => Source::Peer(*peer),
                        None => continue,
                    },
                };
                sources.add(source, u64::from(*bytes));
            }
            let probes = self.probes.iter().enumerate();
            let covers = |probe: &ProbeStory| probe.first <= segment.offset && segment.offset < probe.end;
            stories.push(SegmentStory {
                id: segment.id.to_string(),
                offset: segment.offset,
                length: segment.length,
                probes: probes.filter(|(_, probe)| covers(probe)).map(|(index, _)| index).collect(),
                sources,
                notes: record.notes.clone(),
                notes_omitted: record.notes_omitted,
                missing: record.missing,
                remembered_s: record.remembered_s,
            });
        }
        Explanation {
            sources: self.sources.clone(),
            hosted_caches: self.hosted_caches.clone(),
            origin_reasons: self.origin_reasons.clone(),
            probes: self.probes.clone(),
            probes_omitted: self.probes_omitted,
            segments: stories,
        }
    }

    fn record(&mut self, segment: u64) -> Option<&mut Record> {
        if self.segments.len() >= MAX_SEGMENTS && !self.segments.contains_key(&segment) {
            return None;
        }
        Some(self.segments.entry(segment).or_default())
    }
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}

/// What came of asking a hosted cache which segments it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerNote {
    /// It said which.
    Answered,
    /// It is of version 1.0 and has no list of segments: it is asked for the blocks themselves.
    NoList,
    /// It was asked to see whether it is back, beside another one.
    AskedAgain,
    /// Its name leads nowhere.
    NotFound,
    /// There was no connection, or it broke.
    Unreachable,
    /// It made no progress in time.
    TimedOut,
    /// Its answer was no answer to the request.
    Refused,
    /// This host had no means to ask it.
    NotAsked,
    /// Not asked: it failed a moment ago.
    Out,
}

impl fmt::Display for ServerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "answered",
            Self::NoList => "has no list of segments and is asked for blocks",
            Self::AskedAgain => "failed before and is asked again meanwhile",
            Self::NotFound => "its name cannot be resolved",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed out",
            Self::Refused => "sent no valid answer",
            Self::NotAsked => "could not be asked: this host has no means for another connection",
            Self::Out => "skipped: failed a moment ago",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn equal_notes_are_counted_and_different_ones_bounded() {
        let mut why = Why::default();
        for port in 0..100 {
            why.note(Moment::ZERO, 0, peer(port), PeerNote::Busy);
            why.note(Moment::ZERO, 0, peer(0), PeerNote::Busy);
        }
        let record = &why.segments[&0];
        assert_eq!(record.notes.len(), MAX_NOTES);
        assert_eq!(record.notes[0].count, 101);
        assert_eq!(record.notes_omitted as usize, 100 - MAX_NOTES);
    }

    #[test]
    fn everything_is_bounded_and_the_sums_stay_right() {
        let mut why = Why::default();
        let many = MAX_SEGMENTS as u64 + 10;
        for segment in 0..many {
            why.missing(segment, MissingReason::NobodyAnswered, None);
            why.bytes(segment, Source::Origin, 10);
            why.asked(Moment::ZERO, segment..segment + 1, 1);
        }
        for port in 0..2 * MAX_PEERS as u16 {
            why.bytes(0, Source::Peer(peer(port)), 1);
        }
        assert_eq!(why.segments.len(), MAX_SEGMENTS);
        assert_eq!(why.probes.len(), MAX_PROBES);
        assert_eq!(why.sources.origin, many * 10);
        assert_eq!(why.sources.all_peers(), 2 * MAX_PEERS as u64);
        assert_eq!(why.sources.other_peers, MAX_PEERS as u64);
        assert_eq!(why.origin_reasons[&MissingReason::NobodyAnswered], MAX_SEGMENTS as u64 * 10);
        let explanation = why.explain(&[]);
        assert_eq!(explanation.probes_omitted, many - MAX_PROBES as u64);
    }
}
