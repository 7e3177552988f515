//! The downloader's requests and its judgement of responses ([MS-PCCRTP] 3.1).

use std::ops::Range;

use bytes::Bytes;
use thiserror::Error;

use super::headers::{TooLong, elements, lines, single};
use super::params::{Found, PeerDistExParams, PeerDistParams};
use super::{
    CONTENT_CODING, ContentRange, ContentVersions, PEERDIST, PEERDIST_EX, PeerDistVersion, Validators, headers,
};
use crate::content::{ContentInformation, ContentVersion, ParseError};

/// A GET that offers to take content information ([MS-PCCRTP] 3.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The versions of content information that are understood.
    pub content: ContentVersions,
    /// The range of the identity content that was asked for, `None` for all of it. An end of `u64::MAX` is the end of
    /// the content, wherever that is.
    pub range: Option<Range<u64>>,
    /// Whether this repeats a request after `MakeHashRequest`.
    pub is_hash_request: bool,
}

/// The headers of a request that takes content information, `Range` among them.
#[must_use]
pub fn offer_headers(asked: &Asked) -> Vec<(&'static str, String)> {
    let hash_request = if asked.is_hash_request { ", HashRequest=true" } else { "" };
    let mut headers = vec![
        ("Accept-Encoding", CONTENT_CODING.to_owned()),
        (PEERDIST, format!("Version={}", PeerDistVersion::V1_1)),
        (PEERDIST_EX, format!("{}{hash_request}", asked.content.header_value())),
    ];
    headers.extend(range_header(asked.range.as_ref()));
    headers
}

/// The headers of a request for bytes that no peer had ([MS-PCCRTP] 2.2): identity, one range, guarded by the
/// validators of the response that carried the content information.
#[must_use]
pub fn missing_data_headers(range: &Range<u64>, validators: &Validators) -> Vec<(&'static str, String)> {
    let mut headers = plain_headers(Some(range));
    headers.push((PEERDIST, format!("Version={}, MissingDataRequest=true", PeerDistVersion::V1_1)));
    headers.extend(validators.guard());
    headers
}

/// The headers of a request for identity that does not speak of `peerdist` at all.
#[must_use]
pub fn plain_headers(range: Option<&Range<u64>>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("Accept-Encoding", "identity".to_owned())];
    headers.extend(range_header(range));
    headers
}

fn range_header(range: Option<&Range<u64>>) -> Option<(&'static str, String)> {
    range.map(|range| {
        let last = match range.end {
            u64::MAX => String::new(),
            end => end.saturating_sub(1).to_string(),
        };
        ("Range", format!("bytes={}-{last}", range.start))
    })
}

/// What a response to an [`Asked`] carries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Received {
    /// Content information; the body goes to [`Announced::accept`].
    ContentInformation(Announced),
    /// The content itself, or an error page.
    Identity {
        /// The server is hashing: ask once more, later, with `HashRequest` ([MS-PCCRTP] 3.1.5.1).
        make_hash_request: bool,
    },
}

/// What the head of a `peerdist` response announces of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    content: ContentVersions,
    range: Range<u64>,
    total: Option<u64>,
}

/// Why a response that claims to be `peerdist` is not taken. All are the server's fault; the remedy for all is to ask
/// again without `peerdist`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResponseFault {
    /// The status is neither 200 nor 206.
    #[error("content information with the status {0}")]
    Status(u16),
    /// Another coding lies over or under this one.
    #[error("peerdist is stacked with another content coding")]
    StackedCoding,
    /// The body is `multipart/byteranges`.
    #[error("content information as multipart/byteranges")]
    Multipart,
    /// A header is longer than [`super::MAX_HEADER_SIZE`] or [`super::MAX_HEADER_ELEMENTS`].
    #[error("a header is too long")]
    HeaderTooLong,
    /// X-P2P-PeerDist or its Version is absent or malformed.
    #[error("X-P2P-PeerDist has no valid Version")]
    NoVersion,
    /// The version is above the one that was offered, or its major number is not 1.
    #[error("PeerDist version {0} was not offered")]
    Version(PeerDistVersion),
    /// ContentLength is absent, malformed or zero.
    #[error("X-P2P-PeerDist has no valid ContentLength")]
    NoContentLength,
    /// A 206 without a valid Content-Range.
    #[error("status 206 without a valid Content-Range")]
    NoContentRange,
    /// A 206 although no range was asked for, or of other bytes than those asked for.
    #[error("the range {0:?} was not asked for")]
    RangeNotAsked(Range<u64>),
    /// ContentLength is not the length of Content-Range.
    #[error("ContentLength is {content_length}, Content-Range has {range:?}")]
    ContentLengthNotRange {
        /// X-P2P-PeerDist's ContentLength in bytes.
        content_length: u64,
        /// Content-Range in content offsets.
        range: Range<u64>,
    },
    /// The body is no content information.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Content information of a version that was not offered.
    #[error("content information {0} was not offered")]
    ContentVersion(ContentVersion),
    /// Content information of other bytes than the head announces.
    #[error("the content information describes {described:?}, the response {announced:?}")]
    OtherRange {
        /// In content offsets, as content information says.
        described: Range<u64>,
        /// In content offsets, as the head says.
        announced: Range<u64>,
    },
}

impl From<TooLong> for ResponseFault {
    fn from(_: TooLong) -> Self {
        Self::HeaderTooLong
    }
}

/// Judges the head of a response to a request made with [`offer_headers`].
///
/// An `Err` means that the body cannot be used; a response without the coding is never an error here, whatever its
/// status.
pub fn read_response(asked: &Asked, status: u16, headers: &[(&str, &str)]) -> Result<Received, ResponseFault> {
    let codings = elements(headers, "Content-Encoding")?;
    let is_peerdist = |coding: &&str| coding.eq_ignore_ascii_case(CONTENT_CODING);
    if !codings.iter().any(is_peerdist) {
        let make_hash_request = PeerDistExParams::read(headers)
            .is_ok_and(|ex| ex.make_hash_request == Found::Valid(true) && !asked.is_hash_request);
        return Ok(Received::Identity { make_hash_request });
    }
    if codings.len() != 1 {
        return Err(ResponseFault::StackedCoding);
    }
    if !matches!(status, 200 | 206) {
        return Err(ResponseFault::Status(status));
    }
    if is_multipart(headers) {
        return Err(ResponseFault::Multipart);
    }
    let params = PeerDistParams::read(headers)?;
    let Found::Valid(version) = params.version else { return Err(ResponseFault::NoVersion) };
    if version.major != 1 || version > PeerDistVersion::V1_1 {
        return Err(ResponseFault::Version(version));
    }
    let Found::Valid(content_length @ 1..) = params.content_length else { return Err(ResponseFault::NoContentLength) };
    let (range, total) = match status {
        206 => {
            let content_range = content_range(headers).ok_or(ResponseFault::NoContentRange)?;
            let range = content_range.range();
            if !asked.range.as_ref().is_some_and(|asked| answers(asked, &content_range)) {
                return Err(ResponseFault::RangeNotAsked(range));
            }
            if content_length != range.end - range.start {
                return Err(ResponseFault::ContentLengthNotRange { content_length, range });
            }
            (range, content_range.total())
        }
        _ => (0..content_length, Some(content_length)),
    };
    Ok(Received::ContentInformation(Announced { content: asked.content, range, total }))
}

impl Announced {
    /// The bytes that the content information has to describe, in content offsets.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The length of the whole content in bytes, where the server tells.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Takes the whole body. The version is read from the body itself, never from the headers.
    pub fn accept(&self, body: Bytes) -> Result<ContentInformation, ResponseFault> {
        let content_information = ContentInformation::parse(body)?;
        if !self.content.contains(content_information.version()) {
            return Err(ResponseFault::ContentVersion(content_information.version()));
        }
        let described = content_information.range();
        if described != self.range {
            return Err(ResponseFault::OtherRange { described, announced: self.range.clone() });
        }
        Ok(content_information)
    }
}

/// What a response to [`missing_data_headers`] carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum MissingData {
    /// Exactly the range that was asked for.
    Range,
    /// The whole content from its first byte on: the server does not do ranges.
    Whole,
}

/// Why a response to a request for missing data is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MissingDataFault {
    /// 412, 416, or other validators: the content is no longer the one that content information describes. The
    /// download has to begin anew.
    #[error("the content changed on the server")]
    Changed,
    /// The status is neither 200 nor 206 and does not mean a change.
    #[error("the server answered missing data with the status {0}")]
    Status(u16),
    /// The body is coded although identity was asked for.
    #[error("missing data came in a content coding")]
    Coded,
    /// A 206 without a valid Content-Range, or as `multipart/byteranges`.
    #[error("status 206 without a valid Content-Range")]
    NoContentRange,
    /// Other bytes than those asked for.
    #[error("the server sent the range {0:?}, which was not asked for")]
    OtherRange(Range<u64>),
}

/// Judges the head of a response to a request made with [`missing_data_headers`].
pub fn read_missing_data(
    range: &Range<u64>,
    validators: &Validators,
    status: u16,
    headers: &[(&str, &str)],
) -> Result<MissingData, MissingDataFault> {
    match status {
        200 | 206 if validators.contradict(&Validators::read(headers)) => return Err(MissingDataFault::Changed),
        200 | 206 => {}
        412 | 416 => return Err(MissingDataFault::Changed),
        status => return Err(MissingDataFault::Status(status)),
    }
    let codings = elements(headers, "Content-Encoding").map_err(|TooLong| MissingDataFault::Coded)?;
    if codings.iter().any(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(MissingDataFault::Coded);
    }
    if status == 200 {
        return Ok(MissingData::Whole);
    }
    let sent = content_range(headers).filter(|_| !is_multipart(headers)).ok_or(MissingDataFault::NoContentRange)?;
    if sent.range() == *range { Ok(MissingData::Range) } else { Err(MissingDataFault::OtherRange(sent.range())) }
}

/// Whether a partial answer is the one asked for: from the same byte on, and shorter only where the content ends.
fn answers(asked: &Range<u64>, sent: &ContentRange) -> bool {
    let range = sent.range();
    range.start == asked.start
        && (range.end == asked.end || (range.end < asked.end && sent.total().is_none_or(|total| total == range.end)))
}

fn content_range(headers: &[(&str, &str)]) -> Option<ContentRange> {
    ContentRange::parse(single(headers, "Content-Range")?)
}

fn is_multipart(headers: &[(&str, &str)]) -> bool {
    lines(headers, "Content-Type").any(|value| {
        headers::trim(value).get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"))
            && value.to_ascii_lowercase().contains("byteranges")
    })
}
