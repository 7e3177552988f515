//! What travels on the control sockets beside content: JSON bodies, headers and limits, for both sides.

use std::collections::BTreeMap;
use std::fmt;
use std::num::ParseIntError;
use std::ops::Range;
use std::str::FromStr;

use peerdist_protocol::content::SegmentId;
use serde::{Deserialize, Serialize};

use crate::api::{Error, StatusInfo};
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

/// Names an open content, stream or content information handle in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HandleId(u64);

impl HandleId {
    /// The handle of this number.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for HandleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HandleId {
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
    /// The status, at the beginning and whenever it changes.
    Status(StatusInfo),
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
    pub id: HandleId,
    /// What the content information in the request describes; none without.
    pub range: Option<Bytes>,
}

/// What is known of an open content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentState {
    /// PEERDIST_CLIENT_BASIC_INFO: whether several other hosts ask for the same now.
    pub flash_crowd: bool,
}

/// How many bytes are in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available {
    /// From the position on, without a gap.
    pub bytes: u64,
}

/// How many blocks were flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// Blocks that left the cache.
    pub blocks: u64,
}

/// A binary identifier, as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier(pub Vec<u8>);

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl Serialize for Identifier {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What PeerDistServerPublishStream takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The name of the publication.
    pub identifier: Identifier,
    /// How many bytes will come; 0 where that is not known yet.
    #[serde(default)]
    pub length: u64,
    /// The version of the options, 1 or 2; 2 makes content information of both versions.
    #[serde(default = "newest")]
    pub version: u32,
}

fn newest() -> u32 {
    2
}

/// The answer to opening a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOpened {
    /// Names the stream in its session.
    pub id: HandleId,
}

/// How many bytes a stream has by now, or a publication in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Length {
    /// Bytes.
    pub length: u64,
}

/// The user's publications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publications {
    /// In the order of their identifiers.
    pub publications: Vec<PublicationLine>,
}

/// A finished publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationLine {
    /// Its name.
    pub identifier: Identifier,
    /// Bytes of the content.
    pub length: u64,
}

/// What PeerDistServerOpenContentInformationEx takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenInformation {
    /// The name of the publication.
    pub identifier: Identifier,
    /// The first byte of the content to describe.
    #[serde(default)]
    pub offset: u64,
    /// How many bytes to describe; 0 for all from there on.
    #[serde(default)]
    pub length: u64,
    /// The oldest version of content information that is understood.
    #[serde(default = "oldest")]
    pub min_version: u32,
    /// The newest one.
    #[serde(default = "oldest")]
    pub max_version: u32,
}

fn oldest() -> u32 {
    1
}

/// The answer to opening content information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InformationOpened {
    /// Names the handle in its session.
    pub id: HandleId,
    /// Bytes of content information.
    pub size: u64,
}

/// The answer to more content information.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// What this content information describes; none where more of it is to come.
    pub range: Option<Bytes>,
}

/// The answer where bytes are to be had from the origin only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotThere {
    /// The bytes to fetch from the origin and to add.
    pub missing: Bytes,
    /// Why; [`MissingReason::TooSlow`] stands for ERROR_TIMEOUT, all else for PEERDIST_ERROR_MISSING_DATA.
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

/// What the api socket tells everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicStatus {
    /// PEERDIST_STATUS_INFO.
    #[serde(flatten)]
    pub info: StatusInfo,
    /// The daemon's version.
    pub version: String,
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
    /// The Win32 error code that peerdist.h has for it.
    pub code: u32,
    /// What happened, for people.
    pub message: String,
}

/// Kinds of refusals. Names are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request makes no sense.
    BadRequest,
    /// The body, or what it completes, is no content information, or of another content.
    NotContentInformation,
    /// Content information of a version that nobody handles.
    VersionUnsupported,
    /// The token is no session of the caller's.
    NoSession,
    /// The session has no such content, stream or content information.
    NoContent,
    /// No such path.
    NotFound,
    /// The user published nothing under the identifier.
    NotPublished,
    /// The user published something under the identifier already.
    AlreadyExists,
    /// It was completed before.
    AlreadyCompleted,
    /// The content information was not completed yet.
    NotInitialized,
    /// Nothing describes the position, or it lies behind the end.
    NoMore,
    /// Beyond the end of the content, or not as long as was declared.
    OutOfBounds,
    /// Data does not have the hash that content information names.
    WrongHash,
    /// A quota of the user's is used up.
    Quota,
    /// The body is larger than allowed.
    TooLarge,
    /// The handle was closed, or its session ended, while the operation was under way.
    Cancelled,
    /// The service went away since the handle was opened.
    Invalidated,
    /// The service is turned off.
    Disabled,
    /// The service is not ready, or stops.
    Unavailable,
    /// No feature has this name.
    UnknownFeature,
    /// The feature needs another one that is disabled.
    ParentDisabled,
    /// The node failed; the message says how.
    Internal,
}

impl ErrorCode {
    /// The Win32 error code that peerdist.h has for it.
    #[must_use]
    pub fn win32(self) -> u32 {
        match self {
            Self::WrongHash => 0,
            Self::NoSession | Self::NoContent => 6,
            Self::Quota => 8,
            Self::BadRequest | Self::NotFound | Self::TooLarge | Self::UnknownFeature | Self::ParentDisabled => 87,
            Self::Cancelled => 995,
            Self::NotPublished => 1168,
            Self::Disabled => 1260,
            Self::Internal => 1359,
            Self::VersionUnsupported => 4050,
            Self::NotContentInformation => 4051,
            Self::NoMore => 4053,
            Self::NotInitialized => 4054,
            Self::Invalidated => 4057,
            Self::AlreadyExists => 4058,
            Self::AlreadyCompleted => 4060,
            Self::OutOfBounds => 4061,
            Self::Unavailable => 4065,
        }
    }
}

impl From<&Error> for ErrorCode {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidHandle => Self::NoContent,
            Error::Quota(_) => Self::Quota,
            Error::InvalidParameter(_) => Self::BadRequest,
            Error::Aborted => Self::Cancelled,
            Error::NotFound => Self::NotPublished,
            Error::Disabled => Self::Disabled,
            Error::ServiceUnavailable => Self::Unavailable,
            Error::ContentInfoVersionUnsupported(_) => Self::VersionUnsupported,
            Error::CannotParseContentInfo(_) => Self::NotContentInformation,
            Error::NoMore => Self::NoMore,
            Error::NotInitialized => Self::NotInitialized,
            Error::Invalidated => Self::Invalidated,
            Error::AlreadyExists => Self::AlreadyExists,
            Error::AlreadyCompleted => Self::AlreadyCompleted,
            Error::OutOfBounds(_) => Self::OutOfBounds,
            Error::Internal(_) => Self::Internal,
        }
    }
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
