//! Conditional requests (RFC 9110 13).

use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use peerdist_protocol::http::{ByteRangeSet, Resolved, Validators};

/// What the conditions of a GET or HEAD make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// They hold, or there are none.
    Pass,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluates the conditions in the order of RFC 9110 13.2.2, `If-Range` aside.
pub(super) fn evaluate(headers: &HeaderMap, validators: &Validators) -> Condition {
    let modified = validators.last_modified.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
    let date = |name| text(headers, name).and_then(|date| httpdate::parse_http_date(&date).ok());
    if let Some(tags) = text(headers, IF_MATCH) {
        if !validators.if_match(&tags) {
            return Condition::Failed;
        }
    } else if let (Some(date), Some(modified)) = (date(IF_UNMODIFIED_SINCE), modified)
        && modified > date
    {
        return Condition::Failed;
    }
    if let Some(tags) = text(headers, IF_NONE_MATCH) {
        if !validators.if_none_match(&tags) {
            return Condition::NotModified;
        }
    } else if let (Some(date), Some(modified)) = (date(IF_MODIFIED_SINCE), modified)
        && modified <= date
    {
        return Condition::NotModified;
    }
    Condition::Pass
}

/// What `Range` and `If-Range` select of a content of `length` bytes.
pub(super) fn selected(headers: &HeaderMap, validators: &Validators, length: u64) -> Resolved {
    let Some(ranges) = text(headers, RANGE).and_then(|header| ByteRangeSet::parse(&header)) else {
        return Resolved::Whole;
    };
    match text(headers, IF_RANGE) {
        Some(condition) if !validators.if_range(&condition) => Resolved::Whole,
        _ => ranges.resolve(length),
    }
}

/// All lines of a header as one list; `None` where it is absent or no text.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str()).collect::<Result<_, _>>().ok()?;
    (!lines.is_empty()).then(|| lines.join(","))
}

/// An HTTP date, `None` for times that it cannot say or that a response must not carry: before 1970 and in the
/// future (RFC 9110 8.8.2.1).
pub(super) fn http_date((seconds, _): (i64, i64), now: SystemTime) -> Option<String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))?;
    (time <= now).then(|| httpdate::fmt_http_date(time))
}

#[cfg(test)]
mod tests {
    use peerdist_protocol::http::EntityTag;

    use super::*;

    const EARLIER: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
    const OWN: &str = "Mon, 01 Jan 2024 00:00:01 GMT";
    const LATER: &str = "Mon, 01 Jan 2024 00:00:02 GMT";

    fn validators() -> Validators {
        Validators { etag: EntityTag::strong("a"), last_modified: Some(OWN.into()) }
    }

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn conditions_in_their_order() {
        use Condition::{Failed, NotModified, Pass};
        for (lines, expected) in [
            (vec![], Pass),
            (vec![(IF_MATCH, "\"a\"")], Pass),
            (vec![(IF_MATCH, "\"b\""), (IF_MATCH, "\"a\"")], Pass),
            (vec![(IF_MATCH, "*")], Pass),
            (vec![(IF_MATCH, "\"b\"")], Failed),
            (vec![(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, EARLIER)], Pass),
            (vec![(IF_UNMODIFIED_SINCE, EARLIER)], Failed),
            (vec![(IF_UNMODIFIED_SINCE, OWN)], Pass),
            (vec![(IF_UNMODIFIED_SINCE, "garbage")], Pass),
            (vec![(IF_NONE_MATCH, "\"a\"")], NotModified),
            (vec![(IF_NONE_MATCH, "W/\"a\"")], NotModified),
            (vec![(IF_NONE_MATCH, "*")], NotModified),
            (vec![(IF_NONE_MATCH, "\"b\"")], Pass),
            (vec![(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, LATER)], Pass),
            (vec![(IF_MODIFIED_SINCE, OWN)], NotModified),
            (vec![(IF_MODIFIED_SINCE, LATER)], NotModified),
            (vec![(IF_MODIFIED_SINCE, EARLIER)], Pass),
            (vec![(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")], Failed),
        ] {
            assert_eq!(evaluate(&headers(&lines), &validators()), expected, "{lines:?}");
        }
    }

    #[test]
    fn ranges_with_and_without_if_range() {
        for (lines, expected) in [
            (vec![], Resolved::Whole),
            (vec![(RANGE, "bytes=0-4")], Resolved::Single(0..5)),
            (vec![(RANGE, "bytes=0-0,2-2")], Resolved::Several(vec![0..1, 2..3])),
            (vec![(RANGE, "bytes=10-")], Resolved::Unsatisfiable),
            (vec![(RANGE, "pages=1")], Resolved::Whole),
            (vec![(RANGE, "bytes=0-4"), (IF_RANGE, "\"a\"")], Resolved::Single(0..5)),
            (vec![(RANGE, "bytes=0-4"), (IF_RANGE, OWN)], Resolved::Single(0..5)),
            (vec![(RANGE, "bytes=0-4"), (IF_RANGE, "\"b\"")], Resolved::Whole),
            (vec![(RANGE, "bytes=0-4"), (IF_RANGE, LATER)], Resolved::Whole),
            (vec![(RANGE, "bytes=10-"), (IF_RANGE, "\"b\"")], Resolved::Whole),
        ] {
            assert_eq!(selected(&headers(&lines), &validators(), 10), expected, "{lines:?}");
        }
    }

    #[test]
    fn dates_that_cannot_be_said() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_201);
        assert_eq!(http_date((1_704_067_201, 5), now).as_deref(), Some(OWN));
        assert_eq!(http_date((1_704_067_202, 0), now), None);
        assert_eq!(http_date((-1, 0), now), None);
        assert_eq!(http_date((i64::MAX, 0), now), None);
    }
}
