//! The headers of MS-PCCRTP, of requests and of responses.

use peerdist_node::decode::{Decoder, Event};
use peerdist_protocol::http::{
    Announced, Ask, Asked, ByteRangeSet, ContentRange, ContentVersions, EntityTag, MAX_BYTE_RANGES, Received,
    Representation, Resolved, Validators, may_encode, missing_data_headers, offer_headers, plain_headers,
    read_missing_data, read_request, read_response,
};
use peerdist_protocol::schema::{Headers, dissect_headers};

/// A head as it travels, lines ending as they like; what is no head is tried as the value of a header.
pub(super) fn run(bytes: &[u8]) {
    Decoder::new().http(bytes, &mut |_: Event<'_>| {});
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.lines();
    let start = lines.next().unwrap_or_default();
    let headers: Vec<_> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect();
    let headers = headers.get(..256).unwrap_or(&headers);
    let numbered: Vec<_> = headers.iter().map(|(name, value)| (0, *name, *value)).collect();
    let mut words = start.split_ascii_whitespace();
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if first.starts_with("HTTP/") {
        let status = second.parse().unwrap_or(200);
        response(status, headers);
        let _ = dissect_headers(Headers::Response { status }, &numbered, bytes);
    } else {
        let http_1_1 = !start.ends_with("1.0");
        request(first, http_1_1, headers);
        let head = Headers::Request { method: first, target: second, http_1_1 };
        let _ = dissect_headers(head, &numbered, bytes);
    }
    value(start);
}

fn request(method: &str, http_1_1: bool, headers: &[(&str, &str)]) {
    let Ask::Offer(offer) = read_request(method, http_1_1, headers) else { return };
    // Whoever offered takes the answer.
    let asked = Asked { range: None, content: ContentVersions::V1AndV2, is_hash_request: false };
    let answer = offer.answer_headers(1000);
    let answer: Vec<_> = answer.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let Ok(Received::ContentInformation(announced)) = read_response(&asked, 200, &answer) else {
        panic!("{answer:?} is not taken")
    };
    assert_eq!((announced.range(), announced.total()), (0..1000, Some(1000)));
    if let Some(later) = offer.try_later_headers() {
        let later: Vec<_> = later.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(read_response(&asked, 200, &later), Ok(Received::Identity { make_hash_request: true }));
    }
}

fn response(status: u16, headers: &[(&str, &str)]) {
    let validators = Validators::read(headers);
    for range in [None, Some(0..100), Some(5..u64::MAX)] {
        let asked = Asked { range: range.clone(), content: ContentVersions::V1AndV2, is_hash_request: false };
        if let Ok(Received::ContentInformation(announced)) = read_response(&asked, status, headers) {
            judge(&announced);
        }
        let offered = offer_headers(&asked);
        let offered: Vec<_> = offered.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert!(matches!(read_request("GET", true, &offered), Ask::Offer(_)), "{offered:?}");
        let _ = plain_headers(range.as_ref());
        if let Some(range) = range {
            let missing = missing_data_headers(&range, &validators);
            let missing: Vec<_> = missing.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert!(matches!(read_request("GET", true, &missing), Ask::MissingData), "{missing:?}");
            let _ = read_missing_data(&range, &validators, status, headers);
        }
    }
    let representation =
        Representation { status, multipart: false, validators: &validators, content_encoding: None, length: 1 };
    if may_encode(&representation).is_ok() {
        assert!(validators.guard().is_some(), "what is encoded can be guarded");
    }
    assert!(!validators.contradict(&validators));
}

fn judge(announced: &Announced) {
    let range = announced.range();
    assert!(range.start < range.end && announced.total().is_none_or(|total| range.end <= total));
}

/// The values that have a grammar of their own.
fn value(text: &str) {
    if let Some(range) = ContentRange::parse(text) {
        assert_eq!(ContentRange::parse(&range.to_string()), Some(range));
    }
    if let Some(tag) = EntityTag::parse(text) {
        assert_eq!(tag.to_string(), text);
        assert!(EntityTag::list(text).next().is_some_and(|first| first == tag));
        let _ = Validators { etag: Some(tag), last_modified: None }.if_none_match(text);
    }
    assert!(EntityTag::list(text).count() <= text.len() / 2);
    let Some(set) = ByteRangeSet::parse(text) else { return };
    assert!((1..=MAX_BYTE_RANGES).contains(&set.ranges().len()));
    for length in [0, 1, 100, u64::MAX] {
        let ranges = match set.resolve(length) {
            Resolved::Whole | Resolved::Unsatisfiable => continue,
            Resolved::Single(range) => vec![range],
            Resolved::Several(ranges) => ranges,
        };
        assert!(ranges.iter().all(|range| range.start < range.end && range.end <= length));
        let sum: u128 = ranges.iter().map(|range| u128::from(range.end - range.start)).sum();
        assert!(sum <= u128::from(length), "no more bytes than there are");
    }
}
