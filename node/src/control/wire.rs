//! What travels on the control sockets beside content: JSON bodies, headers and limits, for both sides.

use std::collections::BTreeMap;
use std::fmt;
use std::num::ParseIntError;
use std::ops::Range;
use std::str::FromStr;

use peerdist_protocol::content::SegmentId;
use serde::{Deserialize, Serialize};

use crate::fetch::why::MissingReason;
use crate::store::{SegmentListing, Store, StoreStats, Trust};

/// The header with the session's token.
pub const SESSION_HEADER: &str = "peerdist-session";
/// The header with a content's name, for people; longer ones than [`MAX_NAME_SIZE`] are cut.
pub const NAME_HEADER: &str = "peerdist-name";
/// The header that says where the bytes of an answer came from: `cache`, or `peer ADDRESS:PORT`.
pub const SOURCE_HEADER: &str = "peerdist-source";
/// The header with the range of the content that the bytes of an answer are: `FIRST-LAST`.
pub const RANGE_HEADER: &str = "peerdist-range";

/// How many bytes of a content's name are kept.
pub const MAX_NAME_SIZE: usize = 512;
/// How much data one `PUT` may carry, in bytes.
pub const MAX_DATA_SIZE: usize = 4 << 20;
/// How many segments one page of the cache's list has at most.
pub const MAX_PAGE: u32 = 1000;

/// The media type of a session's event stream: one JSON object a line.
pub const EVENTS_TYPE: &str = "application/x-ndjson";

/// Names a session to those who opened it: 128 random bits as hexadecimal digits. Worth nothing to other users.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token(String);

impl Token {
    /// The token of this text.
    #[must_use]
    pub fn of(text: String) -> Self {
        Self(text)
    }

    /// The text that goes into the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not printed: it is a capability.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Names an open content in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentId(u64);

impl ContentId {
    /// The content of this number.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ContentId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// One line of a session's event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first: the token that operations carry.
    Session {
        /// Worth nothing to other users.
        token: Token,
    },
    /// The daemon stops; the stream ends with this.
    Stopping,
}

/// Bytes of a content, both ends included, as HTTP counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
}

impl Bytes {
    /// The inclusive form of a range that is not empty.
    #[must_use]
    pub fn of(range: &Range<u64>) -> Self {
        Self { first: range.start, last: range.end.saturating_sub(1).max(range.start) }
    }

    /// The same as a range.
    #[must_use]
    pub fn range(self) -> Range<u64> {
        self.first..self.last.saturating_add(1)
    }
}

/// The answer to opening a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Names the content in its session.
    pub id: ContentId,
    /// What this content information describes.
    pub range: Bytes,
}

/// The answer to more content information.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// What this content information describes.
    pub range: Bytes,
}

/// The answer where bytes are to be had from the origin only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotThere {
    /// The bytes to fetch from the origin and to add.
    pub missing: Bytes,
    /// Why.
    pub reason: MissingReason,
}

/// A page of the cache's segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPage {
    /// In the order of their ids.
    pub segments: Vec<SegmentLine>,
    /// The `after` of the next page; none behind the last one.
    pub next: Option<String>,
}

/// A segment of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentLine {
    /// HoHoDk as hexadecimal digits.
    pub id: String,
    /// Blocks that are held.
    pub blocks: u32,
    /// Blocks of the whole segment.
    pub block_count: u32,
    /// Bytes that the held blocks take on disk.
    pub bytes: u64,
    /// Seconds since the first of them came.
    pub age_seconds: u64,
    /// The least trust of a held block.
    pub trust: Trust,
}

/// What all users hold on the api socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Users with a session.
    pub users: usize,
    /// Sessions.
    pub sessions: usize,
    /// Open contents.
    pub contents: usize,
    /// Bytes in memory for them.
    pub staged_bytes: u64,
}

/// What the api socket tells everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicStatus {
    /// Whether contents can be opened.
    pub status: ServiceStatus,
    /// The daemon's version.
    pub version: String,
}

/// PEERDIST_STATUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceStatus {
    /// Turned off.
    Disabled,
    /// Not there yet, or on its way out.
    Unavailable,
    /// At work.
    Available,
}

/// What was dropped when the cache was emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// Segments.
    pub segments: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Cleared {
    /// A store in this state was emptied.
    #[must_use]
    pub fn of(stats: &StoreStats) -> Self {
        Self { segments: stats.segments, blocks: stats.blocks, bytes: stats.bytes_on_disk }
    }
}

/// What came of reading the configuration again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Keys with new values that apply now.
    pub applied: Vec<String>,
    /// Keys with new values that apply after a restart.
    pub needs_restart: Vec<String>,
}

impl SegmentPage {
    /// The `limit` smallest ids of a store behind `after`. Looks at every segment and remembers one page.
    #[must_use]
    pub fn of(store: &Store, after: Option<SegmentId>, limit: usize) -> Self {
        let mut page = BTreeMap::new();
        let mut more = false;
        store.for_each_segment(|segment| {
            if after.is_some_and(|after| segment.id <= after) {
                return;
            }
            page.insert(segment.id, segment);
            if page.len() > limit {
                page.pop_last();
                more = true;
            }
        });
        let next = page.last_key_value().filter(|_| more).map(|(id, _)| id.to_string());
        Self { segments: page.values().map(SegmentLine::of).collect(), next }
    }
}

impl SegmentLine {
    fn of(segment: &SegmentListing) -> Self {
        Self {
            id: segment.id.to_string(),
            blocks: segment.blocks,
            block_count: segment.block_count,
            bytes: segment.bytes,
            age_seconds: segment.age.as_secs(),
            trust: segment.trust,
        }
    }
}

/// The body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind it is, for programs.
    pub error: ErrorCode,
    /// What happened, for people.
    pub message: String,
}

/// Kinds of refusals. Names are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request makes no sense.
    BadRequest,
    /// The body is no content information.
    NotContentInformation,
    /// The token is no session of the caller's.
    NoSession,
    /// The session has no such content.
    NoContent,
    /// No such path.
    NotFound,
    /// The position lies behind the end of what is described.
    OutOfRange,
    /// Data does not have the hash that content information names.
    WrongHash,
    /// A quota of the user's is used up.
    Quota,
    /// The body is larger than allowed.
    TooLarge,
    /// The content was closed, or its session ended, while the operation was under way.
    Cancelled,
    /// No feature has this name.
    UnknownFeature,
    /// The feature needs another one that is disabled.
    ParentDisabled,
    /// The daemon stops.
    Stopping,
    /// The node failed; the message says how.
    Internal,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use peerdist_protocol::content::{CryptoAlgoId, EncryptedBlock};
    use peerdist_protocol::retrieval::BlkTail;

    use super::*;
    use crate::store::{SegmentKey, StoreConfig, Tag};

    #[test]
    fn pages_have_every_segment_once_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::new(dir.path())).unwrap();
        let data = Bytes::from_static(&[0; 16]);
        let tail = BlkTail::from(&EncryptedBlock { algorithm: CryptoAlgoId::Aes128, iv: [0; 16], data });
        let mut ids: Vec<_> = (0..250_u16)
            .map(|n| SegmentId::from_slice(&n.wrapping_mul(40503).to_be_bytes().repeat(16)).unwrap())
            .collect();
        for id in &ids {
            store.append(&SegmentKey { id: *id, block_count: 1 }, 0, &tail, Trust::Bound, Tag::NONE).unwrap();
        }
        ids.sort();
        for limit in [1, 100, 249, 250, 251] {
            let mut listed = Vec::new();
            let mut after = None;
            loop {
                let page = SegmentPage::of(&store, after, limit);
                assert!(page.segments.len() <= limit);
                listed.extend(page.segments.into_iter().map(|line| line.id));
                let Some(next) = page.next else { break };
                after = Some(next.parse().unwrap());
            }
            assert_eq!(listed, ids.iter().map(SegmentId::to_string).collect::<Vec<_>>(), "{limit} a page");
        }
    }
}
