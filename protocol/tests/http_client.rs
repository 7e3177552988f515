//! The downloader's side of MS-PCCRTP: its requests, and every reason to refuse a response.
#![allow(clippy::unwrap_used)]

use std::ops::Range;

use bytes::Bytes;
use peerdist_protocol::content::{ContentInformation, ContentVersion, HashOptions, Hasher, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::http::{
    Announced, Ask, Asked, ContentVersions, MissingData, MissingDataFault, PeerDistVersion, Received, ResponseFault,
    Validators, missing_data_headers, offer_headers, plain_headers, read_missing_data, read_request, read_response,
};

const LENGTH: u64 = 200_000;

fn asked(range: Option<Range<u64>>) -> Asked {
    Asked { content: ContentVersions::V1AndV2, range, is_hash_request: false }
}

fn content_information(version: ContentVersion) -> ContentInformation {
    let options = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: true };
    let mut hasher = Hasher::new(options, &ServerSecret::from_passphrase("no more secrets"));
    let content: Vec<u8> = (0..LENGTH).map(|i| (i * i / 7) as u8).collect();
    hasher.update(&content);
    let hashed = hasher.finish().unwrap();
    match version {
        ContentVersion::V1 => hashed.v1.unwrap(),
        ContentVersion::V2 => hashed.v2.unwrap(),
    }
}

fn pairs<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn our_requests_are_understood_by_our_server() {
    for content in [ContentVersions::V1, ContentVersions::V2, ContentVersions::V1AndV2] {
        for is_hash_request in [false, true] {
            let headers = offer_headers(&Asked { content, range: Some(5..10), is_hash_request });
            let Ask::Offer(offer) = read_request("GET", true, &pairs(&headers)) else { panic!("{headers:?}") };
            assert_eq!((offer.content, offer.is_hash_request), (content, is_hash_request));
            assert_eq!(offer.reply, PeerDistVersion::V1_1);
            assert!(headers.contains(&("Range", "bytes=5-9".to_owned())));
        }
    }
    let validators = Validators::read(&[("ETag", "\"a\"")]);
    let missing = missing_data_headers(&(65_536..131_072), &validators);
    assert_eq!(read_request("GET", true, &pairs(&missing)), Ask::MissingData);
    assert_eq!(
        missing,
        [
            ("Accept-Encoding", "identity".to_owned()),
            ("Range", "bytes=65536-131071".to_owned()),
            ("X-P2P-PeerDist", "Version=1.1, MissingDataRequest=true".to_owned()),
            ("If-Match", "\"a\"".to_owned()),
        ]
    );
    assert!(matches!(read_request("GET", true, &pairs(&plain_headers(None))), Ask::Nothing(_)));
    assert_eq!(plain_headers(Some(&(7..u64::MAX)))[1], ("Range", "bytes=7-".to_owned()));
}

#[test]
fn the_offer_is_spelled_as_the_document_does() {
    assert_eq!(
        offer_headers(&asked(None)),
        [
            ("Accept-Encoding", "peerdist".to_owned()),
            ("X-P2P-PeerDist", "Version=1.1".to_owned()),
            ("X-P2P-PeerDistEx", "MinContentInformation=1.0, MaxContentInformation=2.0".to_owned()),
        ]
    );
    let again = offer_headers(&Asked { is_hash_request: true, ..asked(None) });
    assert_eq!(again[2].1, "MinContentInformation=1.0, MaxContentInformation=2.0, HashRequest=true");
}

#[test]
fn identity_is_never_a_fault() {
    for (status, headers, make_hash_request) in [
        (200, vec![], false),
        (404, vec![("Content-Type", "text/html")], false),
        (206, vec![("Content-Encoding", "gzip")], false),
        (200, vec![("X-P2P-PeerDist", "garbage")], false),
        (200, vec![("X-P2P-PeerDistEx", "MakeHashRequest=true")], true),
        (200, vec![("x-p2p-peerdist", "Version=1.1"), ("x-p2p-peerdistex", ", makehashrequest=TRUE")], true),
        (200, vec![("X-P2P-PeerDistEx", "MakeHashRequest=false")], false),
    ] {
        let received = read_response(&asked(None), status, &headers);
        assert_eq!(received, Ok(Received::Identity { make_hash_request }), "{headers:?}");
    }
    let again = Asked { is_hash_request: true, ..asked(None) };
    let received = read_response(&again, 200, &[("X-P2P-PeerDistEx", "MakeHashRequest=true")]);
    assert_eq!(received, Ok(Received::Identity { make_hash_request: false }), "at most one repetition");
}

#[test]
fn heads_that_are_refused() {
    use ResponseFault as Fault;
    let coding = ("Content-Encoding", "peerdist");
    let params = ("X-P2P-PeerDist", "Version=1.1, ContentLength=100");
    let range = ("Content-Range", "bytes 100-199/1000");
    let long = "a".repeat(peerdist_protocol::http::MAX_HEADER_SIZE + 1);
    for (range_asked, status, headers, fault) in [
        (None, 404, vec![coding, params], Fault::Status(404)),
        (None, 304, vec![coding, params], Fault::Status(304)),
        (None, 200, vec![("Content-Encoding", "gzip, peerdist"), params], Fault::StackedCoding),
        (None, 200, vec![coding, coding, params], Fault::StackedCoding),
        (
            Some(100..200),
            206,
            vec![coding, params, range, ("Content-Type", "Multipart/ByteRanges; boundary=x")],
            Fault::Multipart,
        ),
        (None, 200, vec![coding, ("X-P2P-PeerDist", &long)], Fault::HeaderTooLong),
        (None, 200, vec![coding], Fault::NoVersion),
        (None, 200, vec![coding, ("X-P2P-PeerDist", "ContentLength=100")], Fault::NoVersion),
        (None, 200, vec![coding, ("X-P2P-PeerDist", "Version=x, ContentLength=100")], Fault::NoVersion),
        (
            None,
            200,
            vec![coding, ("X-P2P-PeerDist", "Version=1.2, ContentLength=100")],
            Fault::Version(PeerDistVersion { major: 1, minor: 2 }),
        ),
        (
            None,
            200,
            vec![coding, ("X-P2P-PeerDist", "Version=0.9, ContentLength=100")],
            Fault::Version(PeerDistVersion { major: 0, minor: 9 }),
        ),
        (None, 200, vec![coding, ("X-P2P-PeerDist", "Version=1.1")], Fault::NoContentLength),
        (None, 200, vec![coding, ("X-P2P-PeerDist", "Version=1.1, ContentLength=1e9")], Fault::NoContentLength),
        (None, 200, vec![coding, ("X-P2P-PeerDist", "Version=1.1, ContentLength=0")], Fault::NoContentLength),
        (
            None,
            200,
            vec![coding, ("X-P2P-PeerDist", "Version=1.1, ContentLength=99999999999999999999")],
            Fault::NoContentLength,
        ),
        (
            None,
            200,
            vec![coding, ("X-P2P-PeerDist", "Version=1.1, ContentLength=1, ContentLength=2")],
            Fault::NoContentLength,
        ),
        (Some(100..200), 206, vec![coding, params], Fault::NoContentRange),
        (Some(100..200), 206, vec![coding, params, ("Content-Range", "bytes */1000")], Fault::NoContentRange),
        (Some(100..200), 206, vec![coding, params, range, ("Content-Range", "bytes 0-99/1000")], Fault::NoContentRange),
        (None, 206, vec![coding, params, range], Fault::RangeNotAsked(100..200)),
        (Some(100..150), 206, vec![coding, params, range], Fault::RangeNotAsked(100..200)),
        (Some(101..200), 206, vec![coding, params, range], Fault::RangeNotAsked(100..200)),
        (Some(100..300), 206, vec![coding, params, range], Fault::RangeNotAsked(100..200)),
        (
            Some(100..200),
            206,
            vec![coding, ("X-P2P-PeerDist", "Version=1.1, ContentLength=1000"), range],
            Fault::ContentLengthNotRange { content_length: 1000, range: 100..200 },
        ),
    ] {
        assert_eq!(read_response(&asked(range_asked), status, &headers), Err(fault), "{status} {headers:?}");
    }
}

fn announced(asked: &Asked, status: u16, headers: &[(&str, &str)]) -> Announced {
    match read_response(asked, status, headers) {
        Ok(Received::ContentInformation(announced)) => announced,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whole_contents() {
    for version in [ContentVersion::V1, ContentVersion::V2] {
        let body = Bytes::from(content_information(version).emit());
        for peerdist in ["Version=1.1, ContentLength=200000", "contentlength = 200000 ,, version=1.0"] {
            let headers = [("content-encoding", "PeerDist"), ("x-p2p-peerdist", peerdist)];
            for range in [None, Some(5..10)] {
                let announced = announced(&asked(range), 200, &headers);
                assert_eq!((announced.range(), announced.total()), (0..LENGTH, Some(LENGTH)));
                assert_eq!(announced.accept(body.clone()).unwrap().version(), version);
            }
        }
    }
}

#[test]
fn ranges() {
    let range = 70_000..150_000;
    for version in [ContentVersion::V1, ContentVersion::V2] {
        let part = Bytes::from(content_information(version).slice(range.clone()).unwrap().emit());
        let headers = |content_range: &'static str| {
            [
                ("Content-Encoding", "peerdist"),
                ("X-P2P-PeerDist", "Version=1.1, ContentLength=80000"),
                ("Content-Range", content_range),
            ]
        };
        let full = announced(&asked(Some(range.clone())), 206, &headers("bytes 70000-149999/200000"));
        assert_eq!((full.range(), full.total()), (range.clone(), Some(LENGTH)));
        assert_eq!(full.accept(part.clone()).unwrap().range(), range);
        let unknown = announced(&asked(Some(range.clone())), 206, &headers("bytes 70000-149999/*"));
        assert_eq!(unknown.total(), None);
        let cut = announced(&asked(Some(70_000..900_000)), 206, &headers("bytes 70000-149999/150000"));
        assert_eq!(cut.range(), range);
        let other = announced(&asked(Some(70_001..150_001)), 206, &headers("bytes 70001-150000/200000"));
        assert_eq!(
            other.accept(part).unwrap_err(),
            ResponseFault::OtherRange { described: range.clone(), announced: 70_001..150_001 }
        );
    }
}

#[test]
fn bodies_that_are_refused() {
    let headers = [("Content-Encoding", "peerdist"), ("X-P2P-PeerDist", "Version=1.1, ContentLength=200000")];
    let v2 = Bytes::from(content_information(ContentVersion::V2).emit());
    let only_v1 = Asked { content: ContentVersions::V1, ..asked(None) };
    assert_eq!(
        announced(&only_v1, 200, &headers).accept(v2.clone()).unwrap_err(),
        ResponseFault::ContentVersion(ContentVersion::V2)
    );
    let announced = announced(&asked(None), 200, &headers);
    for cut in [0, 1, 30, v2.len() - 1] {
        assert!(matches!(announced.accept(v2.slice(..cut)), Err(ResponseFault::Parse(_))), "{cut}");
    }
    let part = content_information(ContentVersion::V2).slice(0..100_000).unwrap();
    assert_eq!(
        announced.accept(part.emit().into()).unwrap_err(),
        ResponseFault::OtherRange { described: 0..100_000, announced: 0..LENGTH }
    );
}

#[test]
fn missing_data() {
    use MissingDataFault as Fault;
    let validators = Validators::read(&[("ETag", "\"a\"")]);
    let range = ("Content-Range", "bytes 100-199/1000");
    for (status, headers, expected) in [
        (206, vec![range, ("ETag", "\"a\"")], Ok(MissingData::Range)),
        (206, vec![range], Ok(MissingData::Range)),
        (206, vec![range, ("Content-Encoding", "identity")], Ok(MissingData::Range)),
        (200, vec![("ETag", "\"a\"")], Ok(MissingData::Whole)),
        (206, vec![range, ("ETag", "\"b\"")], Err(Fault::Changed)),
        (200, vec![("ETag", "\"b\"")], Err(Fault::Changed)),
        (412, vec![], Err(Fault::Changed)),
        (416, vec![], Err(Fault::Changed)),
        (404, vec![], Err(Fault::Status(404))),
        (302, vec![], Err(Fault::Status(302))),
        (206, vec![range, ("Content-Encoding", "peerdist")], Err(Fault::Coded)),
        (200, vec![("Content-Encoding", "gzip")], Err(Fault::Coded)),
        (206, vec![], Err(Fault::NoContentRange)),
        (206, vec![range, ("Content-Type", "multipart/byteranges; boundary=x")], Err(Fault::NoContentRange)),
        (206, vec![("Content-Range", "bytes 100-198/1000")], Err(Fault::OtherRange(100..199))),
        (206, vec![("Content-Range", "bytes 0-199/1000")], Err(Fault::OtherRange(0..200))),
    ] {
        assert_eq!(read_missing_data(&(100..200), &validators, status, &headers), expected, "{status} {headers:?}");
    }
}
