//! The content server's side of MS-PCCRTP: every row of the decision tables.
#![allow(clippy::unwrap_used)]

use peerdist_protocol::content::ContentVersion;
use peerdist_protocol::http::{
    Ask, Asked, ByteRangeSet, ContentRange, ContentVersions, EntityTag, MAX_HEADER_ELEMENTS, MAX_HEADER_SIZE, NoOffer,
    Offer, PeerDistVersion, Representation, Resolved, Unsuitable, Validators, may_encode, read_missing_data,
    read_request, read_response,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const V1_0: PeerDistVersion = PeerDistVersion::V1_0;
const V1_1: PeerDistVersion = PeerDistVersion::V1_1;

fn offer(reply: PeerDistVersion, content: ContentVersions) -> Ask {
    Ask::Offer(Offer { reply, content, is_hash_request: false })
}

fn get(headers: &[(&str, &str)]) -> Ask {
    read_request("GET", true, headers)
}

/// A GET with the coding offered and these two headers; an empty text leaves the header out.
fn offered(peerdist: &str, ex: &str) -> Ask {
    let mut headers = vec![("Accept-Encoding", "gzip, deflate, peerdist")];
    if !peerdist.is_empty() {
        headers.push(("X-P2P-PeerDist", peerdist));
    }
    if !ex.is_empty() {
        headers.push(("X-P2P-PeerDistEx", ex));
    }
    get(&headers)
}

#[test]
fn version_matrix() {
    use ContentVersions::{V1, V1AndV2, V2};
    let ex_1_1 = "MinContentInformation=1.0, MaxContentInformation=1.0";
    let ex_1_2 = "MinContentInformation=1.0, MaxContentInformation=2.0";
    let ex_2_2 = "MinContentInformation=2.0, MaxContentInformation=2.0";
    let none = |reason| Ask::Nothing(reason);
    for (peerdist, ex, expected) in [
        ("Version=1.0", "", offer(V1_0, V1)),
        ("Version=1.1", ex_1_1, offer(V1_1, V1)),
        ("Version=1.1", ex_1_2, offer(V1_1, V1AndV2)),
        ("Version=1.1", "", offer(V1_1, V1)),
        ("Version=1.0", ex_1_2, offer(V1_0, V1)),
        ("Version=1.0", ex_1_1, offer(V1_0, V1)),
        ("Version=1.0", ex_2_2, none(NoOffer::ContentInformation)),
        ("Version=1.1", ex_2_2, offer(V1_1, V2)),
        ("Version=1.1", "MinContentInformation=900.0, MaxContentInformation=999.0", none(NoOffer::ContentInformation)),
        ("Version=1.1", "MinContentInformation=2.0, MaxContentInformation=1.0", none(NoOffer::ContentInformation)),
        ("Version=1.1", "MinContentInformation=1.0, MaxContentInformation=3.0", none(NoOffer::ContentInformation)),
        ("Version=1.1", "MinContentInformation=one, MaxContentInformation=2.0", none(NoOffer::ContentInformation)),
        ("Version=1.1", "MinContentInformation=1.0", none(NoOffer::ContentInformation)),
        ("Version=1.1", "MaxContentInformation=2.0", none(NoOffer::ContentInformation)),
        ("Version=999.999", "", none(NoOffer::Version)),
        ("Version=999.999", ex_1_2, none(NoOffer::Version)),
        ("Version=2.0", ex_1_2, none(NoOffer::Version)),
        ("Version=0.9", "", none(NoOffer::Version)),
        ("Version=1.7", ex_1_2, offer(V1_1, V1AndV2)),
        ("Version=1.23", "", offer(V1_1, V1)),
        ("", ex_1_2, none(NoOffer::NoVersion)),
        ("ContentLength=5", "", none(NoOffer::NoVersion)),
        ("Version=", "", none(NoOffer::Version)),
        ("Version=1", "", none(NoOffer::Version)),
        ("Version=1.1.1", "", none(NoOffer::Version)),
        ("Version=1. 1", "", none(NoOffer::Version)),
        ("Version=1.0, Version=1.1", "", none(NoOffer::Version)),
        ("Version=1.99999999999999999999999", "", none(NoOffer::Version)),
    ] {
        assert_eq!(offered(peerdist, ex), expected, "{peerdist:?} {ex:?}");
    }
}

#[test]
fn the_reply_is_never_above_the_request() {
    for (major, minor) in [(1, 0), (1, 1), (1, 2), (1, 100)] {
        let Ask::Offer(offer) = offered(&format!("Version={major}.{minor}"), "") else { panic!("1.{minor}") };
        assert!(offer.reply <= PeerDistVersion { major, minor });
    }
}

#[test]
fn missing_data_request_values() {
    for (value, expected) in [
        ("true", Ask::MissingData),
        ("TRUE", Ask::MissingData),
        ("false", offer(V1_1, ContentVersions::V1)),
        ("InvalidValue", Ask::Nothing(NoOffer::MissingDataRequest)),
        ("", Ask::Nothing(NoOffer::MissingDataRequest)),
        ("1", Ask::Nothing(NoOffer::MissingDataRequest)),
    ] {
        assert_eq!(offered(&format!("Version=1.1,MissingDataRequest={value}"), ""), expected, "{value}");
        assert_eq!(offered(&format!("MissingDataRequest = {value} , Version=1.1"), ""), expected, "{value}");
    }
    let alone = [("X-P2P-PeerDist", "Version=1.1, MissingDataRequest=true"), ("Range", "bytes=0-65535")];
    assert_eq!(get(&alone), Ask::MissingData);
}

#[test]
fn accept_encoding() {
    for (value, listed) in [
        ("peerdist", true),
        ("PeerDist", true),
        ("gzip,deflate,peerdist", true),
        ("gzip, , peerdist ;q=0.5", true),
        ("peerdist;q=1.000", true),
        ("peerdist; Q = 0.001", true),
        ("peerdist;q=0", false),
        ("peerdist;q=0.000", false),
        ("peerdist;q=2", false),
        ("peerdist;q=0.0001", false),
        ("peerdist;q=x", false),
        ("peerdist;level=1", false),
        ("peerdist, peerdist;q=0", false),
        ("*", false),
        ("gzip", false),
        ("xpeerdist, peerdist2", false),
        ("", false),
    ] {
        let ask = get(&[("accept-encoding", value), ("x-p2p-peerdist", "Version=1.0")]);
        let expected = if listed { offer(V1_0, ContentVersions::V1) } else { Ask::Nothing(NoOffer::NotOffered) };
        assert_eq!(ask, expected, "{value:?}");
    }
    assert_eq!(get(&[("X-P2P-PeerDist", "Version=1.1")]), Ask::Nothing(NoOffer::NotOffered));
    let two_lines = [("Accept-Encoding", "gzip"), ("X-P2P-PeerDist", "Version=1.0"), ("Accept-Encoding", "peerdist")];
    assert_eq!(get(&two_lines), offer(V1_0, ContentVersions::V1));
}

#[test]
fn methods_and_http_versions() {
    let headers = [("Accept-Encoding", "peerdist"), ("X-P2P-PeerDist", "Version=1.1")];
    for method in ["HEAD", "POST", "PUT", "get", ""] {
        assert_eq!(read_request(method, true, &headers), Ask::Nothing(NoOffer::Method), "{method}");
    }
    assert_eq!(read_request("GET", false, &headers), Ask::Nothing(NoOffer::Http10));
}

#[test]
fn hash_requests() {
    let ex = "MinContentInformation=1.0, MaxContentInformation=2.0, HashRequest=true";
    let expected = Ask::Offer(Offer { reply: V1_1, content: ContentVersions::V1AndV2, is_hash_request: true });
    let version = ("X-P2P-PeerDist", "Version=1.1");
    for (headers, expected) in [
        (vec![version, ("X-P2P-PeerDistEx", ex)], expected),
        (vec![version, ("X-P2P-PeerDistEx", ex), ("Accept-Encoding", "peerdist")], expected),
        (vec![version, ("X-P2P-PeerDistEx", ex), ("Accept-Encoding", "gzip")], Ask::Nothing(NoOffer::NotOffered)),
        (vec![version, ("X-P2P-PeerDistEx", ex), ("Accept-Encoding", "")], Ask::Nothing(NoOffer::NotOffered)),
        (vec![("X-P2P-PeerDistEx", ex)], Ask::Nothing(NoOffer::NoVersion)),
        (vec![version, ("X-P2P-PeerDistEx", "HashRequest=maybe")], Ask::Nothing(NoOffer::NotOffered)),
    ] {
        assert_eq!(get(&headers), expected, "{headers:?}");
    }
}

#[test]
fn hostile_headers_are_only_ignored() {
    let long = format!("Version=1.1,{}", "a".repeat(MAX_HEADER_SIZE));
    assert_eq!(offered(&long, ""), Ask::Nothing(NoOffer::TooLong));
    let many = format!("Version=1.1{}", ",a".repeat(MAX_HEADER_ELEMENTS));
    assert_eq!(offered(&many, ""), Ask::Nothing(NoOffer::TooLong));
    assert_eq!(offered("Version=1.1", &many), Ask::Nothing(NoOffer::TooLong));
    assert_eq!(
        offered("Version=1.1, ContentLength=7, Newer=x", "MakeHashRequest=true"),
        offer(V1_1, ContentVersions::V1)
    );
    for garbage in [",", "=", "==,=", ";;;", "Version=1.1\u{0}", "\u{1F980}=1", "Version=\u{661}.\u{661}"] {
        assert!(matches!(offered(garbage, garbage), Ask::Nothing(_)), "{garbage:?}");
    }
}

#[test]
fn which_responses_may_be_peerdist() {
    let date = Validators { etag: None, last_modified: Some("Mon, 01 Jan 2024 00:00:00 GMT".into()) };
    let strong = Validators { etag: EntityTag::strong("a"), last_modified: None };
    let weak = Validators { etag: EntityTag::parse("W/\"a\""), last_modified: None };
    let none = Validators::default();
    let good =
        |validators| Representation { status: 200, multipart: false, validators, content_encoding: None, length: 1 };
    for (response, expected) in [
        (good(&date), Ok(())),
        (good(&strong), Ok(())),
        (Representation { status: 206, ..good(&strong) }, Ok(())),
        (Representation { content_encoding: Some("Identity"), ..good(&strong) }, Ok(())),
        (good(&none), Err(Unsuitable::NoValidator)),
        (good(&weak), Err(Unsuitable::NoValidator)),
        (Representation { content_encoding: Some("gzip"), ..good(&strong) }, Err(Unsuitable::Coded)),
        (Representation { multipart: true, status: 206, ..good(&strong) }, Err(Unsuitable::Multipart)),
        (Representation { length: 0, ..good(&strong) }, Err(Unsuitable::Empty)),
        (Representation { status: 203, ..good(&strong) }, Err(Unsuitable::Status)),
        (Representation { status: 304, ..good(&strong) }, Err(Unsuitable::Status)),
        (Representation { status: 404, ..good(&strong) }, Err(Unsuitable::Status)),
        (Representation { status: 412, ..good(&strong) }, Err(Unsuitable::Status)),
        (Representation { status: 416, ..good(&strong) }, Err(Unsuitable::Status)),
    ] {
        assert_eq!(may_encode(&response), expected, "{response:?}");
    }
}

#[test]
fn response_headers() {
    let offer = |reply, is_hash_request| Offer { reply, content: ContentVersions::V1, is_hash_request };
    let text = |headers: &[(&str, String)]| -> Vec<String> {
        headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    };
    assert_eq!(
        text(&offer(V1_1, false).answer_headers(184_946)),
        ["Content-Encoding: peerdist", "X-P2P-PeerDist: Version=1.1, ContentLength=184946"]
    );
    assert_eq!(text(&offer(V1_0, true).answer_headers(1))[1], "X-P2P-PeerDist: Version=1.0, ContentLength=1");
    assert_eq!(
        text(&offer(V1_1, false).try_later_headers().unwrap()),
        ["X-P2P-PeerDist: Version=1.1", "X-P2P-PeerDistEx: MakeHashRequest=true"]
    );
    assert_eq!(offer(V1_1, true).try_later_headers(), None);
    assert_eq!(offer(V1_0, false).try_later_headers(), None);
}

#[test]
fn the_newest_version_that_is_available_is_sent() {
    let first = |content: ContentVersions, available: &[ContentVersion]| {
        content.preferred().find(|version| available.contains(version))
    };
    use ContentVersion::{V1, V2};
    assert_eq!(first(ContentVersions::V1AndV2, &[V1, V2]), Some(V2));
    assert_eq!(first(ContentVersions::V1AndV2, &[V1]), Some(V1));
    assert_eq!(first(ContentVersions::V2, &[V1]), None);
    assert_eq!(first(ContentVersions::V1, &[V1, V2]), Some(V1));
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let name = select(vec![
        "Accept-Encoding",
        "X-P2P-PeerDist",
        "X-P2P-PeerDistEx",
        "Content-Encoding",
        "Content-Range",
        "Content-Type",
        "ETag",
        "Last-Modified",
    ]);
    let element = select(vec![
        "peerdist",
        "Version=1.1",
        "MissingDataRequest=true",
        "ContentLength=5",
        "MinContentInformation=1.0",
        "MaxContentInformation=2.0",
        "HashRequest=true",
        "MakeHashRequest=true",
        "bytes 0-4/5",
        "multipart/byteranges",
        "W/\"a\"",
        ",",
        "=",
        ";q=0.5",
        "\u{1F980}",
        "18446744073709551615",
        "",
    ]);
    let value = vec(prop_oneof![element.prop_map(str::to_owned), ".{0,20}"], 0..6).prop_map(|parts| parts.concat());
    vec((name, value), 0..6)
}

proptest! {
    #[test]
    fn no_header_makes_trouble(headers in headers(), status in 0u16..1000, range in ".{0,30}") {
        let pairs: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let _ = read_request("GET", true, &pairs);
        let asked = Asked { content: ContentVersions::V1AndV2, range: Some(0..5), is_hash_request: false };
        let _ = read_response(&asked, status, &pairs);
        let validators = Validators::read(&pairs);
        let _ = read_missing_data(&(0..5), &validators, status, &pairs);
        let _ = (validators.if_match(&range), validators.if_none_match(&range), validators.if_range(&range));
        let _ = ContentRange::parse(&format!("bytes {range}"));
    }

    #[test]
    fn ranges_stay_inside(header in "bytes=([0-9]{0,21}-[0-9]{0,21}[, ]{0,2}){0,4}", length in 0u64..1000) {
        match ByteRangeSet::parse(&header).map(|set| set.resolve(length)) {
            Some(Resolved::Single(range)) => prop_assert!(range.start < range.end && range.end <= length),
            Some(Resolved::Several(ranges)) => {
                prop_assert!(ranges.len() > 1);
                prop_assert!(ranges.iter().all(|range| range.start < range.end && range.end <= length));
                prop_assert!(ranges.iter().map(|range| range.end - range.start).sum::<u64>() <= length);
            }
            Some(Resolved::Whole | Resolved::Unsatisfiable) | None => {}
        }
    }
}
