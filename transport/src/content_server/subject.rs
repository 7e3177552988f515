//! Which responses of an upstream server may be described.

use std::ops::Range;

use hyper::StatusCode;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, SET_COOKIE, VARY,
};
use peerdist_protocol::http::{ContentRange, Representation, Validators, may_encode};
use reqwest::Url;

use super::kept::ContentKey;
use super::offered::header_pairs;

/// A content that may be described, as a response to anybody's request shows it.
///
/// What is meant for one user is not: `Cache-Control: private` and `no-store`, cookies that are set, `Vary: *`. A
/// request with `Authorization` is answered with identity besides. Every other request goes upstream itself before
/// content information is given, so that access rules are those of the upstream server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// The whole content's length in bytes.
    pub(super) length: u64,
    /// What of it the response has, in content offsets.
    pub(super) range: Range<u64>,
    validators: Validators,
}

impl Subject {
    /// `None` if the response is not one that content information may stand for.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let forbids = lists(headers, CACHE_CONTROL, &["no-store", "private"])
            || lists(headers, VARY, &["*"])
            || lists(headers, ACCEPT_RANGES, &["none"])
            || headers.contains_key(SET_COOKIE);
        if forbids {
            return None;
        }
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let (length, range) = match status {
            StatusCode::PARTIAL_CONTENT => {
                let content_range = ContentRange::parse(text(CONTENT_RANGE)?)?;
                (content_range.total()?, content_range.range())
            }
            _ => {
                let length = text(CONTENT_LENGTH)?.parse().ok()?;
                (length, 0..length)
            }
        };
        let validators = Validators::read(&header_pairs(headers));
        let representation = Representation {
            status: status.as_u16(),
            multipart: text(CONTENT_TYPE)
                .is_some_and(|kind| kind.to_ascii_lowercase().contains("multipart/byteranges")),
            validators: &validators,
            content_encoding: text(CONTENT_ENCODING),
            length: range.end - range.start,
        };
        may_encode(&representation).is_ok().then_some(Self { length, range, validators })
    }

    /// Whether two responses show the same state of the content.
    pub(super) fn is_same_content(&self, other: &Self) -> bool {
        self.length == other.length && self.validators == other.validators
    }

    /// The tag as a condition for a request, if it can be one.
    pub(super) fn strong_tag(&self) -> Option<String> {
        self.validators.etag.as_ref().filter(|tag| !tag.is_weak()).map(ToString::to_string)
    }

    /// Under which content information of this state is kept.
    pub(super) fn key(&self, url: &Url) -> ContentKey {
        let tag = self.validators.etag.as_ref().map(ToString::to_string).unwrap_or_default();
        let date = self.validators.last_modified.as_deref().unwrap_or_default();
        ContentKey {
            resource: url.as_str().as_bytes().into(),
            length: self.length,
            stamp: format!("{tag}\n{date}").into(),
        }
    }
}

/// Whether a list header has one of these words, with or without an argument.
fn lists(headers: &HeaderMap, name: HeaderName, words: &[&str]) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |element| {
            let word = element.split_once('=').map_or(element, |(word, _)| word).trim();
            words.iter().any(|listed| word.eq_ignore_ascii_case(listed))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_everybody_may_be_described() {
        let subject = |status: u16, lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            Subject::of(StatusCode::from_u16(status).unwrap(), &headers)
        };
        let (length, tag) = (("content-length", "100"), ("etag", "\"a\""));
        let range = ("content-range", "bytes 10-19/100");
        assert_eq!(subject(200, &[length, tag]).map(|subject| (subject.range, subject.length)), Some((0..100, 100)));
        assert_eq!(subject(206, &[tag, range]).map(|subject| (subject.range, subject.length)), Some((10..20, 100)));
        assert!(subject(200, &[length, ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")]).is_some());
        assert!(subject(200, &[length, tag, ("cache-control", "public, max-age=5")]).is_some());
        assert!(subject(200, &[length, tag, ("vary", "Accept-Encoding")]).is_some());
        for (status, lines) in [
            (200, vec![tag]),
            (200, vec![length]),
            (200, vec![length, ("etag", "W/\"a\"")]),
            (200, vec![length, tag, ("content-encoding", "gzip")]),
            (200, vec![length, tag, ("cache-control", "max-age=5, No-Store")]),
            (200, vec![length, tag, ("cache-control", "private=\"x\"")]),
            (200, vec![length, tag, ("set-cookie", "a=b")]),
            (200, vec![length, tag, ("vary", "accept"), ("vary", "*")]),
            (200, vec![length, tag, ("accept-ranges", "none")]),
            (200, vec![("content-length", "0"), tag]),
            (206, vec![length, tag]),
            (206, vec![tag, ("content-range", "bytes 10-19/*")]),
            (206, vec![tag, range, ("content-type", "multipart/byteranges; boundary=x")]),
            (404, vec![length, tag]),
            (304, vec![length, tag]),
        ] {
            assert_eq!(subject(status, &lines), None, "{status} {lines:?}");
        }
    }
}
