//! The content server's decisions ([MS-PCCRTP] 3.2).

use thiserror::Error;

use super::headers::{TooLong, elements, lines, trim};
use super::params::{Found, PeerDistExParams, PeerDistParams};
use super::{CONTENT_CODING, ContentVersions, PEERDIST, PEERDIST_EX, PeerDistVersion, Validators};

/// What a request asks of a content server, as far as `peerdist` is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Ask {
    /// The response may be content information.
    Offer(Offer),
    /// A peer could not get these bytes from other peers: identity, and worth counting.
    MissingData,
    /// Identity.
    Nothing(NoOffer),
}

/// A request that takes content information for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The `Version` of the response, never above the request's.
    pub reply: PeerDistVersion,
    /// The versions of content information that the client takes.
    pub content: ContentVersions,
    /// The client repeats a request because it was told so; it is not told so again.
    pub is_hash_request: bool,
}

/// Why a request gets identity whatever the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum NoOffer {
    /// `peerdist` is not among the accepted codings, or has the weight 0.
    #[error("peerdist is not offered")]
    NotOffered,
    /// The method is not GET.
    #[error("only GET is answered with content information")]
    Method,
    /// The request is HTTP/1.0 ([MS-PCCRTP] 1.6).
    #[error("only HTTP/1.1 is answered with content information")]
    Http10,
    /// X-P2P-PeerDist or its Version is absent.
    #[error("X-P2P-PeerDist has no Version")]
    NoVersion,
    /// Version is malformed, or its major number is not 1.
    #[error("the PeerDist version is not supported")]
    Version,
    /// MissingDataRequest is neither true nor false.
    #[error("MissingDataRequest is neither true nor false")]
    MissingDataRequest,
    /// The versions of content information that the client takes are malformed, or there is none of that kind.
    #[error("the versions of content information are not supported")]
    ContentInformation,
    /// A header is longer than [`super::MAX_HEADER_SIZE`] or [`super::MAX_HEADER_ELEMENTS`].
    #[error("a header is too long")]
    TooLong,
}

impl From<TooLong> for NoOffer {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// Reads a request by the version matrix of [MS-PCCRTP] 3.2.5.1 and the fact that an identity answer is always legal.
pub fn read_request(method: &str, http_1_1: bool, headers: &[(&str, &str)]) -> Ask {
    ask(method, http_1_1, headers).unwrap_or_else(Ask::Nothing)
}

fn ask(method: &str, http_1_1: bool, headers: &[(&str, &str)]) -> Result<Ask, NoOffer> {
    if method != "GET" {
        return Err(NoOffer::Method);
    }
    let params = PeerDistParams::read(headers)?;
    match params.missing_data_request {
        Found::Valid(true) => return Ok(Ask::MissingData),
        Found::Invalid => return Err(NoOffer::MissingDataRequest),
        Found::Valid(false) | Found::Absent => {}
    }
    let ex = PeerDistExParams::read(headers)?;
    let is_hash_request = ex.hash_request == Found::Valid(true);
    match acceptance(headers)? {
        Acceptance::Listed => {}
        // The document's example of a hash request has no Accept-Encoding, so none is needed there.
        Acceptance::NoHeader if is_hash_request => {}
        Acceptance::NoHeader | Acceptance::NotListed => return Err(NoOffer::NotOffered),
    }
    if !http_1_1 {
        return Err(NoOffer::Http10);
    }
    let requested = match params.version {
        Found::Valid(version) if version.major == 1 => version,
        Found::Valid(_) | Found::Invalid => return Err(NoOffer::Version),
        Found::Absent => return Err(NoOffer::NoVersion),
    };
    let reply = requested.min(PeerDistVersion::V1_1);
    let content = content_versions(reply, &ex).ok_or(NoOffer::ContentInformation)?;
    Ok(Ask::Offer(Offer { reply, content, is_hash_request }))
}

fn content_versions(reply: PeerDistVersion, ex: &PeerDistExParams) -> Option<ContentVersions> {
    const V1: PeerDistVersion = PeerDistVersion { major: 1, minor: 0 };
    const V2: PeerDistVersion = PeerDistVersion { major: 2, minor: 0 };
    let taken = match (ex.min_content_information, ex.max_content_information) {
        (Found::Absent, Found::Absent) | (Found::Valid(V1), Found::Valid(V1)) => ContentVersions::V1,
        (Found::Valid(V1), Found::Valid(V2)) => ContentVersions::V1AndV2,
        (Found::Valid(V2), Found::Valid(V2)) => ContentVersions::V2,
        _ => return None,
    };
    // Version 1.0 of the extension knows content information of version 1 alone.
    match (reply < PeerDistVersion::V1_1, taken) {
        (false, taken) => Some(taken),
        (true, ContentVersions::V1 | ContentVersions::V1AndV2) => Some(ContentVersions::V1),
        (true, ContentVersions::V2) => None,
    }
}

enum Acceptance {
    NoHeader,
    NotListed,
    Listed,
}

/// Whether `Accept-Encoding` (RFC 9110 12.5.3) lists the coding by name: `*` does not mean a coding that needs
/// headers of its own. A weight that is none counts as a refusal.
fn acceptance(headers: &[(&str, &str)]) -> Result<Acceptance, TooLong> {
    if lines(headers, "Accept-Encoding").next().is_none() {
        return Ok(Acceptance::NoHeader);
    }
    let mut acceptance = Acceptance::NotListed;
    for element in elements(headers, "Accept-Encoding")? {
        let (coding, weight) = match element.split_once(';') {
            Some((coding, weight)) => (trim(coding), Some(weight)),
            None => (element, None),
        };
        if coding.eq_ignore_ascii_case(CONTENT_CODING) {
            if weight.is_some_and(|weight| !is_positive(weight)) {
                return Ok(Acceptance::NotListed);
            }
            acceptance = Acceptance::Listed;
        }
    }
    Ok(acceptance)
}

/// Whether `q=…` is a weight above 0 (RFC 9110 12.4.2).
fn is_positive(weight: &str) -> bool {
    let Some((name, value)) = weight.split_once('=') else { return false };
    let (whole, fraction) = trim(value).split_once('.').unwrap_or((trim(value), ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let zeros = fraction.bytes().all(|byte| byte == b'0');
    trim(name).eq_ignore_ascii_case("q") && digits && ((whole == "0" && !zeros) || (whole == "1" && zeros))
}

/// The identity response that content information would stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Representation<'a> {
    /// 200, or 206 with a single range.
    pub status: u16,
    /// Whether the body is `multipart/byteranges`.
    pub multipart: bool,
    /// Its validators.
    pub validators: &'a Validators,
    /// Its `Content-Encoding`, if any.
    pub content_encoding: Option<&'a str>,
    /// The length of its body in bytes.
    pub length: u64,
}

/// Why a response stays identity whatever the request offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Unsuitable {
    /// The status is neither 200 nor 206.
    #[error("only 200 and 206 are sent as content information")]
    Status,
    /// Several ranges at once cannot be expressed ([MS-PCCRC] 1.3).
    #[error("content information describes one range")]
    Multipart,
    /// Neither `ETag` nor `Last-Modified` ([MS-PCCRTP] 3.2), or a weak tag alone.
    #[error("the response has no validator")]
    NoValidator,
    /// The body already has another content coding, and codings are not stacked.
    #[error("the response has another content coding")]
    Coded,
    /// Empty content cannot be expressed ([MS-PCCRC] 2.3).
    #[error("the response is empty")]
    Empty,
}

/// Whether a response may be sent as content information, or hashed to be sent so later.
pub fn may_encode(response: &Representation<'_>) -> Result<(), Unsuitable> {
    if !matches!(response.status, 200 | 206) {
        Err(Unsuitable::Status)
    } else if response.multipart {
        Err(Unsuitable::Multipart)
    } else if !response.validators.identify_bytes() {
        Err(Unsuitable::NoValidator)
    } else if response.content_encoding.is_some_and(|coding| !trim(coding).eq_ignore_ascii_case("identity")) {
        Err(Unsuitable::Coded)
    } else if response.length == 0 {
        Err(Unsuitable::Empty)
    } else {
        Ok(())
    }
}

impl Offer {
    /// The headers of a response whose body is content information ([MS-PCCRTP] 3.2.5.1). `content_length` is the
    /// length in bytes of the identity body of this response, of the range where it is a 206. All other headers stay
    /// those of the identity response but for `Content-Length`, which is that of the content information.
    #[must_use]
    pub fn answer_headers(&self, content_length: u64) -> [(&'static str, String); 2] {
        [
            ("Content-Encoding", CONTENT_CODING.to_owned()),
            (PEERDIST, format!("Version={}, ContentLength={content_length}", self.reply)),
        ]
    }

    /// The headers of an identity response that asks the client to come again because hashing has begun, or `None` if
    /// this client must not be asked: it does not know the parameter, or was asked before ([MS-PCCRTP] 3.2.5.1).
    #[must_use]
    pub fn try_later_headers(&self) -> Option<[(&'static str, String); 2]> {
        (self.reply >= PeerDistVersion::V1_1 && !self.is_hash_request)
            .then(|| [(PEERDIST, format!("Version={}", self.reply)), (PEERDIST_EX, "MakeHashRequest=true".to_owned())])
    }
}
