//! The story as it is handed on, and how the stories of several readers become one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{MAX_NOTES, MAX_PROBES, MAX_SEGMENTS, MissingReason, PeerNote, ServerNote, Sources, millis};
use crate::fetch::Moment;

/// The whole story of a content, so far. `Display` tells it to people, serde to programs. Times are milliseconds since the
/// content was opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    /// Bytes by source.
    pub sources: Sources,
    /// Which of the peers are hosted caches.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hosted_caches: BTreeSet<SocketAddr>,
    /// Why bytes came from the origin.
    pub origin_reasons: BTreeMap<MissingReason, u64>,
    /// The Probes, in the order they went out.
    pub probes: Vec<ProbeStory>,
    /// Further Probes that were not written down.
    pub probes_omitted: u64,
    /// The segments that were touched, in content order, at most 65,536.
    pub segments: Vec<SegmentStory>,
}

impl Explanation {
    /// Counts all times from a moment on instead of from the node's start.
    pub(in crate::fetch) fn count_from(&mut self, start: Moment) {
        let start = millis(start);
        let count = |at: &mut u64| *at = at.saturating_sub(start);
        for probe in &mut self.probes {
            count(&mut probe.at_ms);
            probe.ended_ms.as_mut().map(count);
            probe.answers.iter_mut().for_each(|answer| count(&mut answer.at_ms));
            probe.hosted_caches.iter_mut().for_each(|answer| count(&mut answer.at_ms));
        }
        self.segments.iter_mut().flat_map(|story| &mut story.notes).for_each(|noted| count(&mut noted.at_ms));
    }

    /// Adds the story of other readers of the same content.
    pub(in crate::fetch) fn merge(&mut self, other: Self) {
        self.sources.merge(&other.sources);
        self.hosted_caches.extend(other.hosted_caches);
        for (reason, bytes) in other.origin_reasons {
            *self.origin_reasons.entry(reason).or_default() += bytes;
        }
        let before = self.probes.len();
        let room = MAX_PROBES.saturating_sub(before);
        self.probes_omitted += other.probes_omitted + other.probes.len().saturating_sub(room) as u64;
        self.probes.extend(other.probes.into_iter().take(room));
        for mut story in other.segments {
            story.probes.iter_mut().for_each(|probe| *probe += before);
            story.probes.retain(|probe| *probe < self.probes.len());
            match self.segments.binary_search_by_key(&story.offset, |known| known.offset) {
                Ok(at) => self.segments[at].merge(story),
                Err(at) if self.segments.len() < MAX_SEGMENTS => self.segments.insert(at, story),
                Err(_) => {}
            }
        }
    }
}

impl SegmentStory {
    fn merge(&mut self, other: Self) {
        self.probes.extend(other.probes);
        self.sources.merge(&other.sources);
        let room = MAX_NOTES.saturating_sub(self.notes.len());
        self.notes_omitted += other.notes_omitted + other.notes.len().saturating_sub(room) as u32;
        self.notes.extend(other.notes.into_iter().take(room));
        if other.missing.is_some() {
            (self.missing, self.remembered_s) = (other.missing, other.remembered_s);
        }
    }
}

/// One Probe, or hosted caches that were asked instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStory {
    /// When it went out.
    pub at_ms: u64,
    /// The content offset of the first segment that it asks about.
    pub first: u64,
    /// The end of the last one.
    pub end: u64,
    /// How many segments it names; the others lie between named ones.
    pub ids: usize,
    /// Who answered, at most 16.
    pub answers: Vec<ProbeAnswer>,
    /// Which hosted caches were asked instead of the LAN, in this order, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosted_caches: Vec<ServerAnswer>,
    /// When the wait for answers ended.
    pub ended_ms: Option<u64>,
    /// Whether no hosted cache could be reached any more, so that peers were asked instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreachable: bool,
}

/// A host's answer to a Probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// When it came.
    pub at_ms: u64,
    /// Where the host can be asked.
    pub peer: SocketAddr,
    /// How many of the named segments it holds some of.
    pub segments: usize,
}

/// What asking a hosted cache came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAnswer {
    /// When it ended.
    pub at_ms: u64,
    /// The hosted cache's name in the configuration.
    pub server: String,
    /// What came of it.
    pub note: ServerNote,
    /// How many segments it was asked for.
    pub asked: usize,
    /// How many of them it holds some of.
    pub segments: usize,
}

impl ServerAnswer {
    pub(in crate::fetch) fn new(now: Moment, server: &str, note: ServerNote, asked: usize, segments: usize) -> Self {
        Self { at_ms: millis(now), server: server.to_owned(), note, asked, segments }
    }
}

/// What happened with a peer, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Noted {
    /// When it happened first.
    pub at_ms: u64,
    /// With whom.
    pub peer: SocketAddr,
    /// What.
    pub note: PeerNote,
    /// How often.
    pub count: u32,
}

/// The story of one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentStory {
    /// HoHoDk in hexadecimal digits.
    pub id: String,
    /// Where it begins in the content.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u32,
    /// The Probes that asked about it, as positions in [`Explanation::probes`].
    pub probes: Vec<usize>,
    /// Bytes by source.
    pub sources: Sources,
    /// Who failed or was skipped, and why.
    pub notes: Vec<Noted>,
    /// Further notes that were not written down.
    pub notes_omitted: u32,
    /// Why the latest of its blocks that had to come from the origin had to.
    pub missing: Option<MissingReason>,
    /// How many seconds before that it was found out, where nobody was asked for this content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembered_s: Option<u64>,
}
