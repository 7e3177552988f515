//! The Wireshark dissector in tshark, on captures that are made here.
#![allow(clippy::unwrap_used, reason = "a failure is a failure of the test")]

mod capture;
mod displaced;
mod hostile;
mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use capture::Capture;
use peerdist_interop_tests::dissector;
use peerdist_protocol::retrieval::PATH;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tls::Tls;

const OFFERS_1: &str = "/C574AC30-5794-4AEE-B1BB-6651C5315029";
const OFFERS_2: &str = "/0131501b-d67f-491b-9a40-c4bf27bcb4d4";

/// A vector and where it travels.
struct Vector {
    name: String,
    carrier: Carrier,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Datagram,
    /// The body of a POST.
    Request(&'static str),
    /// The body of the answer to one.
    Answer(&'static str),
    /// The body of an answer with the coding.
    ContentInformation,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/vectors").join(name)
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder(name)).unwrap()
}

/// Every vector that is a whole message or content information.
fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for document in ["pccrc", "pccrd", "pccrr", "pchc"] {
        for entry in fs::read_dir(folder(document)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let is_message = path.extension().is_some_and(|extension| extension == "bin" || extension == "xml");
            if !is_message
                || ["struct_", "http_"].iter().any(|part| name.starts_with(part))
                || name.ends_with("_example")
            {
                continue;
            }
            let carrier = match document {
                "pccrc" => Carrier::ContentInformation,
                "pccrd" => Carrier::Datagram,
                "pccrr" if ["blk", "seglist", "nego_resp"].iter().any(|start| name.starts_with(start)) => {
                    Carrier::Answer(PATH)
                }
                "pccrr" => Carrier::Request(PATH),
                _ if name.contains("response") => Carrier::Answer(OFFERS_2),
                _ if name.contains("batched") => Carrier::Request(OFFERS_2),
                _ => Carrier::Request(OFFERS_1),
            };
            vectors.push(Vector { name, carrier, bytes: fs::read(path).unwrap() });
        }
    }
    vectors.sort_by(|one, other| one.name.cmp(&other.name));
    vectors
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(10_007) {
        bytes.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

const GET: &[u8] =
    b"GET /file HTTP/1.1\r\nHost: x\r\nAccept-Encoding: peerdist, gzip\r\nX-P2P-PeerDist: Version=1.1\r\n\
    X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0\r\n\r\n";
const ENCODED: &str = "Content-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1, ContentLength=1234\r\n";

/// Puts a message into a capture, with what has to be around it. How many messages are around it.
fn add(capture: &mut Capture, carrier: Carrier, bytes: &[u8]) -> usize {
    let mut connection = capture.connect();
    match carrier {
        Carrier::Datagram => {
            capture.datagram(false, bytes);
            return 0;
        }
        Carrier::Request(path) => {
            capture.ask(&mut connection, &post(path, bytes));
            return 0;
        }
        Carrier::Answer(PATH) => {
            capture.ask(&mut connection, &post(PATH, &read("pccrr/getblks_block0.bin")));
            capture.answer(&mut connection, &ok("", bytes));
        }
        Carrier::Answer(path) => {
            capture.ask(&mut connection, &post(path, &read("pchc/batched_offer_one_truncsha512.bin")));
            capture.answer(&mut connection, &ok("", bytes));
        }
        Carrier::ContentInformation => {
            capture.ask(&mut connection, GET);
            capture.answer(&mut connection, &ok(ENCODED, bytes));
            return 2;
        }
    }
    1
}

#[test]
fn every_vector_is_shown_as_the_decoder_shows_it_and_only_bad_ones_have_faults() {
    let mut capture = Capture::new();
    let mut expected = Vec::new();
    for vector in vectors() {
        // Nothing in it says that it is of this protocol.
        if vector.carrier == Carrier::Datagram && !String::from_utf8_lossy(&vector.bytes).contains("PeerDist") {
            continue;
        }
        let before = add(&mut capture, vector.carrier, &vector.bytes);
        expected.extend((0..before).map(|_| None).chain([Some(vector.name)]));
    }
    let shown = dissector::assert_agreement(capture.file());
    assert!(shown.len() > 150, "{}", shown.len());
    assert_eq!(shown.len(), expected.len());
    for (shown, name) in shown.iter().zip(&expected) {
        let name = name.as_deref().unwrap_or_default();
        // Receivers take a version that is not the type's.
        let is_bad = (name.starts_with("bad_") || name.starts_with("neg_")) && name != "bad_version_getblks";
        assert_eq!(is_bad, !shown.faults.is_empty(), "{name}: {shown:?}");
    }
    // No dissector finds anything else to be malformed.
    let malformed = dissector::tshark(capture.file(), &["-Y", "_ws.malformed", "-T", "fields", "-e", "frame.number"]);
    let mut bad: Vec<_> = shown.iter().filter(|shown| !shown.faults.is_empty()).map(|shown| shown.frame).collect();
    bad.dedup();
    assert_eq!(malformed.lines().map(|line| line.parse().unwrap()).collect::<Vec<u64>>(), bad);
}

#[test]
fn the_info_column_calls_a_list_of_segments_by_the_first_and_their_number() {
    let mut capture = Capture::new();
    add(&mut capture, Carrier::Request(PATH), &read("pccrr/getseglist_two.bin"));
    let info = dissector::tshark(capture.file(), &["-T", "fields", "-e", "_ws.col.Info"]);
    assert!(info.contains("MSG_GETSEGLIST segment A0A1A2A3A4A5A6A7 and 1 more"), "{info}");
}

#[test]
fn segments_behind_the_range_are_odd_and_no_fault() {
    let mut information = read("pccrc/iis_85_png_v2.bin");
    // ullLengthOfRange ends inside the first of two segments.
    information[23..31].copy_from_slice(&100u64.to_be_bytes());
    let mut capture = Capture::new();
    add(&mut capture, Carrier::ContentInformation, &information);
    let shown = dissector::assert_agreement(capture.file());
    let [.., last] = &shown[..] else { panic!("content information") };
    assert_eq!((last.message.as_str(), &last.faults[..]), ("CONTENT_INFORMATION_2.0", &[][..]));
    assert!(last.odd.len() == 1 && last.odd[0].contains("the last segment lies behind the range"), "{last:?}");
}

#[test]
fn what_is_never_whole_is_shown_as_far_as_it_goes() {
    let request = read("pccrr/getblks_block0.bin");
    let whole = post(PATH, &request);
    let announced = |size: usize, body: &[u8]| {
        [format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n").as_bytes(), body].concat()
    };
    let refused = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let mut capture = Capture::new();
    // The client ends, in the middle of a later segment.
    let mut ended = capture.connect();
    capture.ask(&mut ended, &whole[..whole.len() - 30]);
    capture.ask(&mut ended, &whole[whole.len() - 30..whole.len() - 20]);
    capture.end(&mut ended);
    // The server breaks off, behind a whole request and a part of the next in one segment.
    let mut broken = capture.connect();
    capture.ask(&mut broken, &[&whole[..], &whole[..whole.len() - 5]].concat());
    capture.break_off(&mut broken);
    // A gigabyte is announced and refused before it comes.
    let mut refusal = capture.connect();
    capture.ask(&mut refusal, &announced(1 << 30, &request));
    capture.answer(&mut refusal, refused);
    capture.end(&mut refusal);
    // The same, and the request goes on all the same, with another behind it.
    let mut early = capture.connect();
    capture.ask(&mut early, &whole[..whole.len() - 5]);
    capture.answer(&mut early, refused);
    capture.ask(&mut early, &whole[whole.len() - 5..]);
    capture.ask(&mut early, &whole);
    capture.answer(&mut early, &ok("", &read("pccrr/blk_missing.bin")));
    // The capture ends inside an answer, in chunks and not, and inside content information.
    for answer in [ok("", &read("pccrr/blk_missing.bin")), chunked(&read("pccrr/blk_missing.bin"))] {
        let mut last = capture.connect();
        capture.ask(&mut last, &whole);
        capture.answer(&mut last, &answer[..answer.len() - 12]);
    }
    let mut last = capture.connect();
    capture.ask(&mut last, GET);
    capture.answer(&mut last, &ok(ENCODED, &read("pccrc/iis_85_png_v1.bin"))[..230]);

    let shown = dissector::assert_agreement(capture.file());
    let cut = |shown: &&dissector::Shown| shown.faults.iter().any(|fault| fault.contains("the message is not whole"));
    let cut: Vec<_> = shown.iter().filter(cut).map(|shown| shown.message.as_str()).collect();
    let expected = ["MSG_GETBLKS", "MSG_GETBLKS", "MSG_GETBLKS", "MSG_BLK", "MSG_BLK", "CONTENT_INFORMATION_1.0"];
    assert_eq!(cut, expected);
    assert_eq!(shown.iter().filter(|shown| shown.message == "HTTP_RESPONSE").count(), 2);
    // What ends before the capture does needs no second pass.
    let first = dissector::tshark(
        capture.file(),
        &["-Y", "_ws.expert.message contains \"not whole\"", "-T", "fields", "-e", "frame.number"],
    );
    assert_eq!(first.lines().count(), 3, "{first}");
}

#[test]
fn what_is_cut_off_in_the_capture_says_so_and_is_not_counted() {
    let probe = read("pccrd/probe_v1.xml");
    let asked = post(PATH, &read("pccrr/getblks_block0.bin"));
    let answer = ok("", &read("pccrr/blk_missing.bin"));
    let mut capture = Capture::new();
    // Ethernet, IP and TCP have 54 bytes. The message ends in the segment, then in the size of the block.
    for missing in [50, 14] {
        let mut connection = capture.connect();
        capture.ask(&mut connection, &asked);
        capture.cut_at(54 + answer.len() - missing);
        capture.answer(&mut connection, &answer);
        capture.cut_at(usize::MAX);
    }
    capture.cut_at(42 + probe.len() / 2);
    capture.datagram(false, &probe);
    let words = ["-2", "-Y", "pccrr.cut || pccrd.cut", "-T", "fields", "-e", "_ws.col.Info"];
    let seen = dissector::tshark(capture.file(), &words);
    let ends: Vec<_> = seen.lines().map(|line| line.rsplit("| ").next().unwrap()).collect();
    assert_eq!(ends, ["MSG_BLK cut off", "MSG_BLK segment A0A1A2A3A4A5A6A7 block 9, cut off", "Envelope cut off"]);
    let statistics = dissector::tshark(capture.file(), &["-q", "-o", "peerdist.statistics:TRUE"]);
    let line = statistics.lines().find(|line| line.starts_with("MS-PCCRR MSG_BLK ")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[2..], ["0", "2", "0", "0"]);
    assert!(!statistics.contains("192.0.2.2"), "{statistics}");
}

#[test]
fn an_answer_without_a_status_is_nobody_elses() {
    let asked = post(PATH, &read("pccrr/getblks_block0.bin"));
    let answer = ok("", &read("pccrr/blk_missing.bin"));
    let mut capture = Capture::new();
    let mut connection = capture.connect();
    capture.ask(&mut connection, &asked);
    capture.answer(&mut connection, b"HTTP/1.1 left-out\r\nContent-Length: 0\r\n\r\n");
    capture.ask(&mut connection, &asked);
    capture.answer(&mut connection, &answer);
    let shown = dissector::assert_agreement(capture.file());
    let requests: Vec<_> = shown.iter().map(|shown| shown.request_in).collect();
    assert_eq!(requests, [None, None, Some(5)]);
}

#[test]
fn messages_are_found_however_http_carries_them() {
    let mut capture = Capture::new();
    let (block, get_blks) = (read("pccrr/blk_aes128_65536.bin"), read("pccrr/getblks_block0.bin"));
    let mut connection = capture.connect();
    // Many segments, in chunks, two requests at once, whole URLs, other letters, an unasked answer between.
    capture.ask(&mut connection, &post(PATH, &get_blks));
    capture.answer(&mut connection, &ok("Content-Type: application/octet-stream\r\n", &block));
    let two = [post(&PATH.to_lowercase(), &get_blks), post(&format!("http://x{PATH}?q"), &get_blks)].concat();
    capture.ask(&mut connection, &two);
    capture.answer(&mut connection, b"HTTP/1.1 100 Continue\r\n\r\n");
    capture.answer(&mut connection, &chunked(&block));
    capture.answer(&mut connection, &ok("Content-Type: text/xml\r\n", &read("pccrr/blk_missing.bin")));
    // Errors, answers without a body, and content instead of content information.
    for answer in ["503 Service Unavailable", "404 Not Found", "200 OK"] {
        capture.ask(&mut connection, &post(PATH, &get_blks));
        capture.answer(&mut connection, format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    }
    capture.ask(&mut connection, &String::from_utf8_lossy(GET).replacen("GET", "HEAD", 1).into_bytes());
    capture.answer(&mut connection, format!("HTTP/1.1 200 OK\r\n{ENCODED}Content-Length: 70\r\n\r\n").as_bytes());
    capture.ask(&mut connection, GET);
    capture.answer(&mut connection, &ok("", b"the content"));
    capture.ask(&mut connection, b"GET /other HTTP/1.1\r\n\r\n");
    capture.answer(&mut connection, &ok("", b"nothing of ours"));
    capture.ask(&mut connection, &post(OFFERS_1, &read("pchc/initial_offer_sha256.bin")));
    capture.answer(&mut connection, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    capture.ask(&mut connection, &post(&format!("{OFFERS_2}/"), &read("pchc/batched_offer_three_mixed.bin")));
    capture.answer(&mut connection, &ok("", &read("pchc/response_ok.bin")));
    // Answers whose requests were not captured.
    for name in ["pccrr/blk_plain_5_pad3.bin", "pchc/response_interested.bin", "pccrr/seglist_two_ranges_blob.bin"] {
        let mut connection = capture.begun();
        capture.answer(&mut connection, &ok("", &read(name)));
    }
    let shown = dissector::assert_agreement(capture.file());
    let names: Vec<_> = shown.iter().map(|shown| shown.message.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "MSG_BLK").count(), 4, "{names:?}");
    assert_eq!(names.iter().filter(|name| **name == "HTTP_RESPONSE").count(), 4, "{names:?}");
    // The one that is empty is taken for the first of the answers.
    let faulty: Vec<_> = shown.iter().filter(|shown| !shown.faults.is_empty()).map(|shown| &shown.message).collect();
    assert_eq!(faulty, ["MSG_NEGO_RESP"]);
    link_and_statistics(&mut capture);
}

#[test]
fn offers_within_tls_are_shown_with_the_key_log() {
    let mut capture = Capture::new();
    let mut tls = Tls::new(&mut capture);
    tls.ask(&mut capture, &post(OFFERS_1, &read("pchc/initial_offer_sha256.bin")));
    tls.answer(&mut capture, &ok("", &read("pchc/response_interested.bin")));
    tls.ask(&mut capture, &post(OFFERS_1, &read("pchc/segment_info_sha256_two_blocks.bin")));
    tls.answer(&mut capture, &ok("", &read("pchc/response_ok.bin")));
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, tls.keys()).unwrap();
    let keys = format!("tls.keylog_file:{}", keys.display());
    let words = ["-Y", "pchc", "-T", "fields", "-e", "peerdist.message", "-e", "pchc.responsecode", "-e", "pchc.fault"];
    let seen = dissector::tshark(capture.file(), &words);
    assert_eq!(seen, "");
    let seen = dissector::tshark(capture.file(), &[&["-o", &keys], &words[..]].concat());
    let lines: Vec<_> = seen.lines().map(str::trim_end).collect();
    let response = ["RESPONSE_MESSAGE\t1", "RESPONSE_MESSAGE\t0"];
    assert_eq!(lines, ["INITIAL_OFFER_MESSAGE", response[0], "SEGMENT_INFO_MESSAGE", response[1]]);
}

#[test]
fn what_is_never_whole_within_tls_is_shown_as_far_as_it_goes() {
    let offer = post(OFFERS_1, &read("pchc/initial_offer_sha256.bin"));
    let mut capture = Capture::new();
    let mut tls = Tls::new(&mut capture);
    tls.ask(&mut capture, &offer);
    tls.answer(&mut capture, &ok("", &read("pchc/response_interested.bin")));
    // A whole one and the begin of the next in one record.
    tls.ask(&mut capture, &[&offer[..], &offer[..offer.len() - 30]].concat());
    tls.ask(&mut capture, &offer[offer.len() - 30..offer.len() - 10]);
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, tls.keys()).unwrap();
    let keys = format!("tls.keylog_file:{}", keys.display());
    let words = ["-2", "-o", &keys, "-Y", "pchc", "-T", "fields", "-e", "pchc.cut", "-e", "pchc.hash"];
    let seen = dissector::tshark(capture.file(), &words);
    let hash = hex::encode(&read("pchc/initial_offer_sha256.bin")[16..]);
    let whole = format!("\t{hash}");
    let cut = format!("1\t{}", &hash[..2 * (hash.len() / 2 - 10)]);
    assert_eq!(seen.lines().collect::<Vec<_>>(), [&whole, "\t", &whole, &cut]);
}

/// Both passes of tshark, and neither with a tree.
fn link_and_statistics(capture: &mut Capture) {
    let fields = ["-e", "peerdist.message", "-e", "peerdist.response_in", "-e", "peerdist.request_in"];
    let words = [&["-2", "-Y", "peerdist.message == MSG_GETBLKS", "-T", "fields"], &fields[..4]].concat();
    let asked = dissector::tshark(capture.file(), &words);
    let words = [&["-Y", "peerdist.request_in && pccrr", "-T", "fields", "-e", "frame.number"], &fields[4..]].concat();
    let answered = dissector::tshark(capture.file(), &words);
    // Two requests are in one frame, and two answers to them.
    let (answers, requests): (Vec<_>, Vec<_>) = answered.lines().map(|line| line.split_once('\t').unwrap()).unzip();
    assert_eq!(answers.len(), 6, "{answered}");
    assert!(requests.iter().all(|request| !request.is_empty()), "{answered}");
    let listed: Vec<_> = asked.lines().flat_map(|line| line.split('\t').nth(1).unwrap().split(',')).collect();
    assert_eq!(listed, answers, "{asked}");

    let counted = dissector::tshark(
        capture.file(),
        &["-q", "-z", "io,stat,0,pccrr.blockindex,SUM(pccrr.sizeofblock)pccrr.sizeofblock"],
    );
    let expected = format!("{}", 2 * 65_552 + 5);
    assert!(counted.contains(&expected), "{counted}");
    let statistics = dissector::tshark(capture.file(), &["-q", "-o", "peerdist.statistics:TRUE"]);
    let line = |start: &str| {
        let line = statistics.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{statistics}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("MS-PCCRR MSG_BLK ")[2..6], ["4", "0", "0", "0"]);
    assert_eq!(line("MS-PCCRR MSG_NEGO_RESP ")[2..6], ["1", "0", "1", "0"]);
    assert_eq!(line("segment A0A1A2A3A4A5A6A7")[2..], ["6", "3", "1", "131109"]);
    assert_eq!(line("192.0.2.2")[1..], ["3", "1", "131109"]);
}

/// Heads, each with one thing that is unusual or wrong.
fn heads() -> Vec<(bool, String)> {
    let request = |lines: &str| (true, format!("GET /x HTTP/1.1\r\n{lines}\r\n"));
    let old = |lines: &str| (true, format!("GET /x HTTP/1.0\r\n{lines}\r\n"));
    let response = |status: &str, lines: &str| {
        (false, format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nContent-Encoding: peerdist\r\n{lines}\r\n"))
    };
    let offer = "Accept-Encoding: peerdist\r\n";
    let version = "X-P2P-PeerDist: Version=1.1\r\n";
    vec![
        request(offer),
        old(&format!("{offer}{version}")),
        request(&format!("{offer}X-P2P-PeerDist: version = 1.0 , Nothing=5, , ContentLength=x\r\n")),
        request(&format!("{offer}X-P2P-PeerDist: Version=2.0\r\n")),
        request(&format!("{offer}X-P2P-PeerDist: Version=1\r\n")),
        request(&format!("{offer}X-P2P-PeerDist: Version=1.1, Version=1.0\r\n")),
        request(&format!("{offer}X-P2P-PeerDist: Version=1.1\r\nX-P2P-PeerDist: Version=1.01\r\n")),
        request(&format!("{offer}X-P2P-PeerDist: Version=1.1, MissingDataRequest=true\r\nRange: bytes=1-2\r\n")),
        request("Accept-Encoding: identity\r\nX-P2P-PeerDist: Version=1.1, MissingDataRequest=TRUE\r\n"),
        request("X-P2P-PeerDist: Version=1.1, MissingDataRequest=maybe\r\n"),
        request(&format!("{offer}{version}X-P2P-PeerDistEx: MinContentInformation=1.0\r\n")),
        request(&format!("{offer}{version}X-P2P-PeerDistEx: MinContentInformation=2.0, MaxContentInformation=2.0\r\n")),
        request(&format!(
            "{offer}X-P2P-PeerDist: Version=1.0\r\nX-P2P-PeerDistEx: MinContentInformation=2.0, MaxContentInformation=2.0\r\n"
        )),
        request(&format!("{version}X-P2P-PeerDistEx: HashRequest=true\r\n")),
        request(&format!("Accept-Encoding: gzip, peerdist;q=0\r\n{version}")),
        request(&format!("Accept-Encoding: gzip, PeerDist;q=0.5\r\n{version}")),
        request(&format!("{offer}X-P2P-PeerDist: {}\r\n", "a=b,".repeat(65))),
        request(&format!("{offer}X-P2P-PeerDist: Version=1.1{}\r\n", " ".repeat(9000))),
        request(&format!("{offer}X-P2P-PeerDist: Version=1.1, {}=1\r\n", "n".repeat(9000))),
        response("200 OK", version),
        response("200 OK", "X-P2P-PeerDist: Version=1.1, ContentLength=0\r\n"),
        response("200 OK", "X-P2P-PeerDist: Version=1.1, ContentLength=99999999999999999999\r\n"),
        response("200 OK", "X-P2P-PeerDist: Version=1.2, ContentLength=5\r\n"),
        response("200 OK", "X-P2P-PeerDist: ContentLength=5\r\n"),
        response("404 Not Found", "X-P2P-PeerDist: Version=1.1, ContentLength=5\r\n"),
        response("206 Partial Content", "X-P2P-PeerDist: Version=1.1, ContentLength=5\r\n"),
        response(
            "206 Partial Content",
            "X-P2P-PeerDist: Version=1.1, ContentLength=5\r\nContent-Range: bytes 5-9/20\r\nETag: \"1\"\r\n",
        ),
        response(
            "206 Partial Content",
            "X-P2P-PeerDist: Version=1.1, ContentLength=5\r\nContent-Range: bytes 5-4/20\r\n",
        ),
        response(
            "200 OK",
            "X-P2P-PeerDist: Version=1.1, ContentLength=5\r\nContent-Type: multipart/byteranges; boundary=x\r\n",
        ),
        (false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Encoding: gzip, peerdist\r\n\r\n".to_owned()),
        (false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-P2P-PeerDistEx: MakeHashRequest=true\r\n\r\n".to_owned()),
    ]
}

#[test]
fn headers_are_judged_as_the_decoder_judges_them() {
    let mut capture = Capture::new();
    for (is_request, head) in heads() {
        let mut connection = capture.connect();
        if is_request {
            capture.ask(&mut connection, head.as_bytes());
        } else {
            capture.ask(&mut connection, GET);
            capture.answer(&mut connection, head.as_bytes());
        }
    }
    let shown = dissector::assert_agreement(capture.file());
    let count =
        |list: fn(&dissector::Shown) -> &Vec<String>| shown.iter().filter(|shown| !list(shown).is_empty()).count();
    // The empty bodies are no content information.
    assert!(count(|shown| &shown.faults) >= 10 && count(|shown| &shown.odd) >= 8, "{shown:#?}");
}

#[test]
fn datagrams_are_judged_as_the_decoder_judges_them() {
    let probe = String::from_utf8(read("pccrd/probe_v1.xml")).unwrap();
    let matches = String::from_utf8(read("pccrd/probematch_v2.xml")).unwrap();
    let mut texts = Vec::new();
    for text in [&probe, &matches] {
        let mut change = |from: &str, to: &str| {
            if text.contains(from) {
                texts.push(text.replacen(from, to, 1).into_bytes());
            }
        };
        for element in
            ["Action", "MessageID", "Types", "Scopes", "Address", "XAddrs", "RelatesTo", "Body", "Envelope", "Header"]
        {
            // Gone, twice, with another name, of another namespace, empty.
            let start = text.find(&format!(":{element}")).and_then(|at| text[..at].rfind('<'));
            let Some(start) = start else { continue };
            let name: String = text[start + 1..].chars().take_while(|c| !c.is_whitespace() && *c != '>').collect();
            let closing = format!("</{name}>");
            let Some(end) = text.find(&closing).map(|at| at + closing.len()) else { continue };
            let whole = text[start..end].to_owned();
            let opening = &whole[..=whole.find('>').unwrap()];
            change(&whole, "");
            change(&whole, &format!("{whole}{whole}"));
            change(&whole, &whole.replace(&name, "other"));
            change(&whole, &whole.replace(&name, "none:other"));
            change(&whole, &format!("{opening}{closing}"));
            change(&whole, &whole.replace(&closing, &format!("<!-- a comment --> &amp; &#65;<![CDATA[<]]>{closing}")));
            change(&whole, &whole.replace(&closing, &format!("&none;{closing}")));
            change(&whole, &whole.replace(&closing, &format!("<a/>{closing}")));
            change(&whole, &whole.replace(&closing, &format!("<?pi?>{closing}")));
            change(&whole, &whole.replace(&closing, &format!("\u{e9}\u{1f600}{closing}")));
        }
        change("<?xml", "<!DOCTYPE a><?xml");
        change("strcmp0", "strcmp1");
        change("PeerDistData", "PeerDistDataX");
        change("InstanceId=\"", "InstanceId=\"x");
        for size in (0..text.len()).step_by(97) {
            texts.push(text.as_bytes()[..size].to_vec());
        }
        texts.push([text.as_bytes(), b"<more/>"].concat());
        texts.push([text.as_bytes(), &[0xff]].concat());
    }
    let mut capture = Capture::new();
    texts.iter().for_each(|text| capture.datagram(false, text));

    let shown = dissector::assert_agreement(capture.file());
    assert!(shown.iter().filter(|shown| !shown.faults.is_empty()).count() > 60, "{}", shown.len());
}

#[test]
fn spoilt_messages_never_end_in_an_error_of_lua_and_are_judged_as_the_decoder_judges_them() {
    let mut random = StdRng::seed_from_u64(5);
    let (mut capture, mut datagrams) = (Capture::new(), Capture::new());
    let vectors: Vec<_> = vectors().into_iter().filter(|vector| vector.bytes.len() < 8192).collect();
    for round in 0..600 {
        let vector = &vectors[round % vectors.len()];
        let mut bytes = vector.bytes.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..=bytes.len());
            match random.random_range(0..5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, random.random()),
                2 => bytes.extend((0..random.random_range(0..9)).map(|_| 0)),
                // Numbers at their limits, where the sizes and counts are.
                3 if bytes.len() > 4 => {
                    let at = random.random_range(0..bytes.len().min(100) - 3);
                    let value: u32 = [0, 1, 64, 65, 512, 0x0002_0000, 0x7fff_ffff, u32::MAX][random.random_range(0..8)];
                    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
                }
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.random()),
            }
        }
        let is_datagram = vector.carrier == Carrier::Datagram;
        add(if is_datagram { &mut datagrams } else { &mut capture }, vector.carrier, &bytes);
    }
    let shown = dissector::assert_agreement(capture.file());
    assert!(shown.iter().filter(|shown| !shown.faults.is_empty()).count() > 200, "{}", shown.len());
    // Two readers of XML may see the fault in another place.
    let shown = dissector::messages(datagrams.file());
    assert!(shown.iter().filter(|shown| !shown.faults.is_empty()).count() > 20, "{}", shown.len());
}

#[test]
fn discovery_is_found_on_every_port() {
    let probe = read("pccrd/probe_v1.xml");
    let mut capture = Capture::new();
    capture.datagram_between([50_001, 13_702], &[b"\xef\xbb\xbf\r\n", &probe[..]].concat());
    capture.datagram_between([13_702, 50_001], &read("pccrd/probematch_v1.xml"));
    for other in [&b"PeerDist"[..], b"<PeerDist/>", b"", b"<"] {
        capture.datagram_between([50_001, 13_702], other);
    }
    let shown = dissector::messages(capture.file());
    let numbers: Vec<_> = shown.iter().map(|shown| (shown.frame, shown.request_in)).collect();
    assert_eq!(numbers, [(1, None), (2, Some(1))]);
}

#[test]
fn every_field_has_a_meaning() {
    let prefixes = ["peerdist.", "pccrr.", "pccrd.", "pchc.", "pccrtp.", "pccrc."];
    let known = dissector::filters();
    let ours: Vec<_> = known.iter().filter(|(name, _)| prefixes.iter().any(|start| name.starts_with(start))).collect();
    assert!(ours.len() > 100, "{}", ours.len());
    for (name, meaning) in ours {
        // Expert information is called by what it means, and has no other text.
        let is_expert = [".fault", ".odd", ".cut"].iter().any(|end| name.ends_with(end));
        assert!(is_expert || !meaning.is_empty(), "{name}");
    }
}

#[test]
fn fields_and_commands_of_the_page_work() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dissector.md")).unwrap();
    let mut capture = Capture::new();
    for name in ["getblks_block0", "bad_msgsize"] {
        add(&mut capture, Carrier::Request(PATH), &read(&format!("pccrr/{name}.bin")));
    }
    let mut connection = capture.connect();
    capture.ask(&mut connection, &post(PATH, &read("pccrr/getblks_block0.bin")));
    capture.wait(Duration::from_millis(200));
    capture.answer(&mut connection, &ok("", &read("pccrr/blk_missing.bin")));
    let file = capture.file().to_owned();
    let known = dissector::filters();
    let words = page.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
    let prefixes = ["peerdist.", "pccrr.", "pccrd.", "pchc.", "pccrtp.", "pccrc."];
    let filters: Vec<_> = words
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
        .filter(|word| !["peerdist.lua", "peerdist.statistics"].contains(word))
        .collect();
    assert!(filters.len() > 40, "{filters:?}");
    for filter in filters {
        assert!(known.iter().any(|(known, _)| known == filter), "{filter}");
    }
    let mut count = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("tshark -r lan.pcapng ")) {
        // Words of a shell that has nothing but single quotes.
        let parts = line.split('\'').enumerate();
        let words: Vec<&str> = parts
            .flat_map(|(index, part)| if index % 2 == 1 { vec![part] } else { part.split(' ').collect() })
            .collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        assert_ne!(dissector::tshark(&file, &words), "", "{line}");
        count += 1;
    }
    assert_eq!(count, 7);
}
