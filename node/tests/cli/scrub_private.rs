//! `peerdist scrub` on messages with words in them that are nobody's business.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;

use peerdist_node::pcapng::Wire;
use tempfile::TempDir;

use crate::run::command;

const CANARY: &str = "CANARY";

/// A capture that is made here, and what scrub makes of it.
struct Capture {
    wire: Wire<File>,
    clients: u16,
    folder: TempDir,
}

impl Capture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wire = Wire::new(File::create(folder.path().join("capture")).unwrap(), "test").unwrap();
        Self { wire, clients: 0, folder }
    }

    /// A client that nobody was before.
    fn client(&mut self) -> SocketAddr {
        self.clients += 1;
        SocketAddr::from(([10, 77, 0, 1], 20_000 + self.clients))
    }

    fn datagram(&mut self, payload: &[u8]) {
        let client = self.client();
        self.wire.datagram(0, client, SocketAddr::from(([239, 255, 255, 250], 3702)), payload).unwrap();
    }

    fn exchange(&mut self, request: &[u8], answer: &[u8]) {
        let (client, server) = (self.client(), SocketAddr::from(([10, 77, 0, 2], 80)));
        self.wire.stream(0, client, server, request).unwrap();
        if !answer.is_empty() {
            self.wire.stream(0, server, client, answer).unwrap();
        }
    }

    /// What is left, how many messages that is, and how many there are not.
    fn scrubbed(mut self) -> (Vec<u8>, usize, usize) {
        self.wire.flush().unwrap();
        let [capture, scrubbed] = ["capture", "scrubbed"].map(|name| self.folder.path().join(name));
        let mut scrub = command(["scrub"]);
        let output = scrub.args([&capture, &scrubbed]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut numbers = said.rsplit(": ").next().unwrap().split(' ').filter_map(|word| word.parse().ok());
        (fs::read(&scrubbed).unwrap(), numbers.next().unwrap(), numbers.next().unwrap())
    }
}

fn vector(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/vectors");
    fs::read(folder.join(name)).unwrap()
}

/// Every datagram of the vectors with a canary in one place.
fn datagrams() -> Vec<String> {
    let mut all = Vec::new();
    for name in ["probe_v1", "probe_v2", "probematch_v1", "probematch_v2"] {
        let text = String::from_utf8(vector(&format!("pccrd/{name}.xml"))).unwrap();
        let mut at = 0;
        while let Some(end) = text[at..].find("</").map(|end| at + end) {
            let start = text[..end].rfind('>').unwrap() + 1;
            let (before, inside, after) = (&text[..start], &text[start..end], &text[end..]);
            all.push(format!("{before}{CANARY}{after}"));
            all.push(format!("{before}{inside} {CANARY}{after}"));
            all.push(format!("{before}{inside} PeerDist:{CANARY}{after}"));
            all.push(format!("{before}<!--{CANARY}-->{inside}{after}"));
            all.push(format!("{} {CANARY}=\"{CANARY}\">{inside}{after}", &before[..start - 1]));
            at = end + 2;
        }
        for element in ["To", "Types", "MatchBy", "MetadataVersion", "BlockCount", "Address", "SegmentAges", "XAddrs"] {
            let foreign = format!("<z:{element} xmlns:z=\"urn:z\">{CANARY}</z:{element}></");
            all.push(text.replacen("</", &foreign, 1));
            let header = text.find("</soap:Header>").map_or(0, |at| at);
            all.push(format!("{}{foreign}{}", &text[..header], &text[header + 2..]));
        }
        for sequence in ["InstanceId=\"CANARY\"", "InstanceId=\"1\" MessageNumber=\"CANARY\"", "SequenceId=\"CANARY\""]
        {
            let Some(start) = text.find("<wsd:AppSequence ") else { continue };
            let end = start + text[start..].find('>').unwrap();
            all.push(format!("{}<wsd:AppSequence {sequence}{}", &text[..start], &text[end..]));
        }
    }
    all
}

/// Lines of a head, each with a canary in the place of a value, behind one, and in a list.
fn lines() -> Vec<String> {
    let mut lines = Vec::new();
    let plain = [
        "Host",
        "Accept-Encoding",
        "Content-Encoding",
        "Range",
        "If-Range",
        "If-Match",
        "If-None-Match",
        "Content-Range",
        "ETag",
        "Last-Modified",
        "Cookie",
        "Content-Type",
        "X-P2P-PeerDist",
        "X-P2P-PeerDistEx",
    ];
    for name in plain {
        for value in [
            "CANARY",
            "peerdist, CANARY",
            "bytes=CANARY",
            "bytes=0-CANARY",
            "bytes 0-4/CANARY",
            "peerdist;q=CANARY",
            "gzip;CANARY=1",
            "CANARY:1234",
            "*, \"CANARY\"",
            "u:CANARY@h:80",
        ] {
            lines.push(format!("{name}: {value}"));
        }
    }
    let parameters = [
        "Version",
        "ContentLength",
        "MissingDataRequest",
        "MinContentInformation",
        "MaxContentInformation",
        "MakeHashRequest",
        "HashRequest",
        "Other",
    ];
    for header in ["X-P2P-PeerDist", "X-P2P-PeerDistEx"] {
        for parameter in parameters {
            for value in ["CANARY", "1.CANARY", "1.1 CANARY", "true CANARY", "5 CANARY"] {
                lines.push(format!("{header}: Version=1.1, {parameter}={value}"));
            }
        }
    }
    lines
}

const GET: &str = "GET /x HTTP/1.1\r\nHost: h\r\nAccept-Encoding: peerdist\r\n";
const ANSWER: &str = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\nContent-Encoding: peerdist\r\n\
    X-P2P-PeerDist: Version=1.0, ContentLength=99710\r\n";

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn ok(lines: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[test]
fn a_canary_in_any_text_of_any_message_is_nowhere_in_what_is_left() {
    let mut capture = Capture::new();
    datagrams().iter().for_each(|datagram| capture.datagram(datagram.as_bytes()));
    let information = vector("pccrc/iis_85_png_v1.bin");
    for line in lines() {
        let size = information.len();
        let answer = [format!("{ANSWER}Content-Length: {size}\r\n\r\n").as_bytes(), &information].concat();
        capture.exchange(format!("{GET}{line}\r\n\r\n").as_bytes(), &answer);
        let answer = [format!("{ANSWER}{line}\r\nContent-Length: {size}\r\n\r\n").as_bytes(), &information].concat();
        capture.exchange(format!("{GET}\r\n").as_bytes(), &answer);
    }
    for start in ["GET /CANARY?CANARY HTTP/1.1", "CANARY / HTTP/1.1", "GET http://CANARY@CANARY:80/ HTTP/1.1"] {
        capture.exchange(GET.replace("GET /x HTTP/1.1", start).as_bytes(), b"");
    }
    capture.exchange(format!("{GET}\r\n").as_bytes(), b"HTTP/1.1 404 CANARY\r\nContent-Length: 6\r\n\r\nCANARY");
    let (bytes, written, left_out) = capture.scrubbed();
    let has_canary = |form: &[u8]| bytes.windows(form.len()).any(|part| part.eq_ignore_ascii_case(form));
    assert!(!has_canary(CANARY.as_bytes()) && !has_canary(hex::encode(CANARY).as_bytes()));
    assert!(written > 300 && left_out > 100, "{written} {left_out}");
}

#[test]
fn bytes_that_anybody_may_choose_are_chosen_anew() {
    let hosted_cache = "/0131501b-d67f-491b-9a40-c4bf27bcb4d4";
    let mut offer = vector("pchc/batched_offer_one_truncsha512.bin");
    let tag = offer.len() - 16 - 1 - 32;
    let mut capture = Capture::new();
    for content_tag in [*b"CANARYcontenttag", *b"WebIO\0CANARY\0\0\0\0"] {
        offer[tag..tag + 16].copy_from_slice(&content_tag);
        capture.exchange(&post(hosted_cache, &offer), &ok("", &vector("pchc/response_ok.bin")));
    }
    let retrieval = "/116B50EB-ECE2-41ac-8429-9F9E963361B7/";
    let mut block = vector("pccrr/blk_aes128_65536.bin");
    let iv = block.len() - 16;
    block[iv..iv + 6].copy_from_slice(CANARY.as_bytes());
    capture.exchange(&post(retrieval, &vector("pccrr/getblks_block0.bin")), &ok("", &block));
    let (bytes, written, left_out) = capture.scrubbed();
    assert_eq!((written, left_out), (6, 0));
    let has = |form: &[u8]| bytes.windows(form.len()).any(|part| part == form);
    assert!(!has(CANARY.as_bytes()));
    assert!(has(b"WebIO\0\0\0\0\0\0\0\0\0\0\0") && has(b"tag-000000000000"));
}

#[test]
fn the_head_of_malformed_content_information_goes_with_it() {
    let mut information = vector("pccrc/iis_85_png_v1.bin");
    information.truncate(100);
    let headers = "Content-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0, ContentLength=99710\r\n";
    let mut capture = Capture::new();
    capture.exchange(format!("{GET}\r\n").as_bytes(), &ok(headers, &information));
    let (bytes, written, left_out) = capture.scrubbed();
    assert_eq!((written, left_out), (1, 2));
    assert!(!bytes.windows(6).any(|part| part == b"200 OK"));
}
