//! `peerdist decode`, on messages and on captures that are made here.

pub(crate) mod capture;
mod cut;
mod elsewhere;
mod files;
mod secrets;
mod summary;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use peerdist_protocol::content::{
    BlockCheck, ContentInformation, CryptoAlgoId, EncryptedBlock, SegmentId, VerifiedBlock,
};
use peerdist_protocol::discovery::{Form, MessageId, Probe};
use peerdist_protocol::retrieval::{
    Blk, GetBlks, PATH, Request, RequestMessage, RequestedRange, Response, ResponseMessage,
};
use peerdist_protocol::schema::{Node, Value as Printed, compose, recognise};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::run::{Ran, command, peerdist};
use capture::{Capture, Sender};

pub(crate) const CLIENT: &str = "192.0.2.1:50000";
pub(crate) const SERVER: &str = "192.0.2.2:80";

pub(crate) fn vectors(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/vectors").join(folder)
}

pub(crate) fn vector(name: &str) -> Vec<u8> {
    fs::read(vectors(name)).unwrap()
}

pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn add(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn decode(bytes: &[u8], words: &[&str]) -> Ran {
    let files = Files::new();
    let file = files.add("file", bytes);
    peerdist([&["decode", &file], words].concat())
}

/// The objects that it prints, one a line.
#[track_caller]
pub(crate) fn objects(bytes: &[u8], words: &[&str]) -> Vec<Value> {
    let text = decode(bytes, &[&["--json"], words].concat()).stdout();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["message"].as_str().unwrap()).collect()
}

/// Content of two segments of version 2, and what travels of it.
pub(crate) struct Content {
    pub(crate) information: Vec<u8>,
    pub(crate) ids: Vec<SegmentId>,
    pub(crate) blocks: Vec<Bytes>,
}

impl Content {
    pub(crate) fn new() -> Self {
        let files = Files::new();
        let content: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let (content_file, out) = (files.add("content", &content), files.add("ci", b""));
        let hashed = peerdist(["hash", &content_file, "--content-info", "v2", "--secret-key-hex", "07", "-o", &out]);
        assert_eq!(hashed.status, 0, "{}", hashed.stderr);
        let information = fs::read(out).unwrap();
        let parsed = ContentInformation::parse(information.clone().into()).unwrap();
        let ids = parsed.segments().iter().map(|segment| segment.id()).collect();
        let blocks = parsed.segments().iter().map(|segment| {
            let range = segment.range();
            let plain = Bytes::copy_from_slice(&content[range.start as usize..range.end as usize]);
            let check: BlockCheck = segment.block_check(0).unwrap();
            let block = VerifiedBlock::verify(plain, &check).unwrap();
            let sealed = EncryptedBlock::seal(&block, segment.secret(), CryptoAlgoId::Aes128, [5; 16]).unwrap();
            let (iv, data) = (Some(sealed.iv), sealed.data);
            let blk = Blk { segment_id: segment.id(), index: 0, next: 0, block: data, iv };
            Bytes::from(ResponseMessage::new(Response::Blk(blk), CryptoAlgoId::Aes128).emit())
        });
        let blocks = blocks.collect();
        Self { information, ids, blocks }
    }

    fn secret(&self, index: usize) -> String {
        let parsed = ContentInformation::parse(self.information.clone().into()).unwrap();
        hex::encode(parsed.segments()[index].secret().as_bytes())
    }
}

pub(crate) fn get_blks(id: SegmentId) -> Vec<u8> {
    let ranges = vec![RequestedRange { index: 0, count: 1 }];
    RequestMessage::new(Request::GetBlks(GetBlks { segment_id: id, ranges }), CryptoAlgoId::Aes128).emit()
}

pub(crate) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(10_007) {
        bytes.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

#[test]
fn every_vector_is_shown_and_only_bad_ones_have_faults() {
    let mut count = 0;
    for folder in ["pccrc", "pccrr", "pchc", "pccrd"] {
        for entry in fs::read_dir(vectors(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let is_message = path.extension().is_some_and(|extension| extension == "bin" || extension == "xml");
            let is_part = name.starts_with("struct_") || name.ends_with("_example");
            // These are spoilt where bytes say what they are.
            let is_nameless = ["bad_version_0101", "byteswapped", "v2_minor_1", "truncated_header", "unknown_type"]
                .iter()
                .chain(&["bad_type", "bad_version", "little_endian", "no_code", "http_response"])
                .any(|part| name.contains(part));
            if !is_message || is_part || (is_nameless && name != "bad_version_getblks") {
                continue;
            }
            count += 1;
            let text = peerdist(["decode".as_ref(), path.as_os_str(), "--json".as_ref()]).stdout();
            let object: Value = serde_json::from_str(&text).unwrap();
            let faults = object["faults"].as_array().unwrap();
            let is_bad = name.starts_with("bad_") || name.starts_with("neg_");
            // Receivers take a version that is not the type's, and a request that names no block.
            let is_refused = faults.iter().any(|fault| fault["tolerated"] == false);
            assert_eq!(is_bad && name != "bad_version_getblks", is_refused, "{name}: {text}");
            assert!(!is_bad || !faults.is_empty(), "{name}: {text}");
            let shown = peerdist(["decode".as_ref(), path.as_os_str()]).stdout();
            assert_eq!(is_refused, shown.contains("\n  fault: offset "), "{shown}");
            assert_eq!(faults.len(), shown.matches("\n  fault: ").count() + shown.matches("\n  odd: ").count());
        }
    }
    assert!(count > 80, "{count}");
}

#[test]
fn a_message_has_the_documents_names_and_says_where_fields_are() {
    let [object] = &objects(&vector("pccrr/getblks_pad2.bin"), &["--layout"])[..] else { panic!("one message") };
    assert_eq!((&object["protocol"], &object["message"]), (&json!("MS-PCCRR"), &json!("MSG_GETBLKS")));
    let header = json!({"ProtVer": "1.0", "MsgType": 3, "MsgSize": object["size"], "CryptoAlgoId": 1});
    assert_eq!(object["fields"]["MESSAGE_HEADER"], header);
    assert_eq!(object["fields"]["ZeroPad"], "0000");
    let layout = object["layout"].as_array().unwrap();
    assert!(layout.contains(&json!(["MESSAGE_HEADER.MsgType", 4, 4])), "{layout:?}");
    assert!(layout.iter().any(|place| place[0] == "ReqBlockRanges[0].Count"), "{layout:?}");
    let text = decode(&vector("pccrr/getblks_pad2.bin"), &[]).stdout();
    assert!(text.contains("       4    MsgType                          3 (MSG_GETBLKS)\n"), "{text}");
}

#[test]
fn standard_input_may_be_hexadecimal_digits() {
    let run = |input: &[u8], words: &[&str]| {
        let mut command = command([&["decode", "-"], words].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, text, _) = run(b"00 00 00 01\n01\n", &[]);
    assert_eq!(status, Some(0));
    assert!(text.contains("MS-PCHC RESPONSE_MESSAGE, INTERESTED"), "{text}");
    let (status, text, _) = run(&vector("pccrr/bad_unknown_type.bin"), &["--as", "MSG_GETBLKS"]);
    assert_eq!(status, Some(0));
    assert!(text.contains("fault: offset 4: MESSAGE_HEADER.MsgType"), "{text}");
    for bad in [&b""[..], b"hello", b"0", &[0xff; 100]] {
        let (status, text, error) = run(bad, &[]);
        assert_eq!((status, text.as_str()), (Some(8), ""), "{error}");
        assert!(error.contains("none of the formats") && error.contains("help:"), "{error}");
    }
    let get = b"GET / HTTP/1.1\r\nAccept-Encoding: peerdist\r\n\r\n";
    for name in ["response", "HTTP_RESPONSE"] {
        let (status, _, error) = run(get, &["--as", name]);
        assert!(status == Some(8) && error.contains("it is the head of a request, and no answer"), "{error}");
    }
    let (status, _, error) = run(b"HTTP/1.1 200 OK\r\n\r\n", &["--as", "request"]);
    assert!(status == Some(8) && error.contains("it is the head of an answer, and no request"), "{error}");
    let (status, _, error) = run(b"00", &["--as", "nonsense"]);
    assert_eq!(status, Some(2));
    assert!(error.contains("MSG_GETBLKS"), "{error}");
}

/// Two exchanges on one connection, the second answer in chunks.
fn two_exchanges(content: &Content, size: usize) -> (Vec<u8>, Vec<u8>) {
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, u32::MAX - 100), Sender::new(SERVER, CLIENT, 7));
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[0])), size);
    server.say(&mut capture, &ok(&content.blocks[0]), size);
    client.say(&mut capture, &post(&PATH.to_lowercase(), &get_blks(content.ids[1])), size);
    server.say(&mut capture, &chunked(&content.blocks[1]), size);
    client.end(&mut capture);
    server.end(&mut capture);
    (capture.bytes, content.information.clone())
}

#[test]
fn messages_over_many_segments_are_put_together_and_paired() {
    let content = Content::new();
    for size in [101, 1460, 60_000] {
        let (capture, _) = two_exchanges(&content, size);
        let found = objects(&capture, &[]);
        assert_eq!(names(&found), ["MSG_GETBLKS", "MSG_BLK", "MSG_GETBLKS", "MSG_BLK"], "{size}");
        assert!(found.iter().all(|object| object["faults"] == json!([])), "{size}");
        assert_eq!((&found[0]["source"], &found[0]["destination"]), (&json!(CLIENT), &json!(SERVER)));
        assert_eq!((&found[1]["source"], &found[1]["answers"]), (&json!(SERVER), &json!(1)));
        assert_eq!(found[3]["answers"], 3);
        assert_eq!(found[0]["time"], "1700000000.001000000");
        assert_eq!(found[3]["fields"]["SegmentId"], content.ids[1].to_string());
        let block = &content.blocks[1];
        assert_eq!(found[3]["size"], block.len());
        assert_eq!(found[3]["fields"]["IVBlock"], "05".repeat(16));
    }
}

#[test]
fn segments_out_of_order_twice_or_overlapping_make_no_difference() {
    let content = Content::new();
    let answer = ok(&content.blocks[0]);
    let mut capture = Capture::new();
    let mut client = Sender::new(CLIENT, SERVER, 1000);
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[0])), 5000);
    let server = Sender::new(SERVER, CLIENT, 0);
    capture.frame(&server.at(4_999, b"", Some('S')));
    let mut frames: Vec<_> = answer
        .chunks(1000)
        .enumerate()
        .map(|(index, _)| {
            let start = index * 1000;
            // Each segment has some bytes of the one before and of the one behind it.
            let (from, to) = (start.saturating_sub(10), (start + 1010).min(answer.len()));
            server.at(5000 + from as u32, &answer[from..to], None)
        })
        .collect();
    frames.rotate_left(7);
    frames.reverse();
    for frame in frames.iter().chain(&frames) {
        capture.frame(frame);
    }
    let found = objects(&capture.bytes, &["--secret", &format!("{}={}", content.ids[0], content.secret(0))]);
    assert_eq!(names(&found), ["MSG_GETBLKS", "MSG_BLK"]);
    assert_eq!(found[1]["block"]["verdict"], "right", "{}", found[1]["block"]);
}

#[test]
fn blocks_are_decrypted_and_verified() {
    let content = Content::new();
    let files = Files::new();
    let information = files.add("ci", &content.information);
    let mut spoilt = content.blocks[1].to_vec();
    spoilt[200] ^= 1;
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 0), Sender::new(SERVER, CLIENT, 0));
    for (id, block) in [(content.ids[0], &content.blocks[0][..]), (content.ids[1], &spoilt)] {
        client.say(&mut capture, &post(PATH, &get_blks(id)), 1460);
        server.say(&mut capture, &ok(block), 1460);
    }
    let verdicts = |words: &[&str]| {
        let found = objects(&capture.bytes, words);
        [1, 3].map(|index| found[index]["block"]["verdict"].as_str().unwrap_or("none").to_owned())
    };
    assert_eq!(verdicts(&[]), ["none", "none"]);
    assert_eq!(verdicts(&["--content-information", &information]), ["right", "wrong"]);
    let secret = format!("{}={}", content.ids[0], content.secret(0));
    assert_eq!(verdicts(&["--secret", &secret]), ["right", "cannot tell"]);
    let zeros = format!("{}={}", content.ids[0], "00".repeat(32));
    assert_eq!(verdicts(&["--secret", &zeros]), ["cannot tell", "cannot tell"]);

    let text = decode(&capture.bytes, &["--content-information", &information, "--working"]).stdout();
    for part in
        ["  block: right: ", "  block: wrong: ", "Ks ", "= unknown", "HoD ", "Kp ", "HoHoDk ", "IV ", "PKCS#7, "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let kp = content.secret(0).to_uppercase();
    assert!(text.contains(&format!("= {kp}\n")) && text.contains(&format!("= {}\n", &kp[..32])), "Kp and the AES key");
    assert!(!decode(&capture.bytes, &["--content-information", &information]).stdout().contains(&kp));
}

#[test]
fn content_information_in_the_capture_opens_the_blocks_after_it() {
    let content = Content::new();
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 0), Sender::new(SERVER, CLIENT, 0));
    let ask = "GET /file HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip, peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n\
        X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0\r\n\r\n";
    client.say(&mut capture, ask.as_bytes(), 50);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: peerdist\r\nContent-Length: {}\r\nETag: \"a\"\r\n\
         X-P2P-PeerDist: Version=1.1, ContentLength=100000\r\n\r\n",
        content.information.len()
    );
    server.say(&mut capture, &[head.as_bytes(), &content.information].concat(), 33);
    // The content itself is an answer, too.
    client.say(&mut capture, ask.as_bytes(), 1460);
    server.say(&mut capture, &ok(&[b'x'; 5000]), 1460);
    // Ordinary traffic on the same connection is nobody's business.
    client.say(&mut capture, b"GET /other HTTP/1.1\r\n\r\n", 1460);
    server.say(&mut capture, &ok(&[b'x'; 5000]), 1460);
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[0])), 1460);
    server.say(&mut capture, &ok(&content.blocks[0]), 1460);
    let found = objects(&capture.bytes, &[]);
    let expected =
        ["request", "response", "CONTENT_INFORMATION_2.0", "request", "HTTP_RESPONSE", "MSG_GETBLKS", "MSG_BLK"];
    assert_eq!(names(&found), expected);
    let exchanges = objects(&capture.bytes, &["--summary"]);
    let answers: Vec<_> = exchanges.iter().map(|exchange| exchange["answer"].as_str().unwrap_or("none")).collect();
    assert_eq!(answers, ["CONTENT_INFORMATION_2.0", "HTTP_RESPONSE", "MSG_BLK", "none"], "the last one has the hosts");
    let parameters = json!({"MinContentInformation": "1.0", "MaxContentInformation": "2.0"});
    assert_eq!(found[0]["fields"]["X-P2P-PeerDistEx"], parameters);
    assert_eq!(found[1]["fields"]["X-P2P-PeerDist"], json!({"Version": "1.1", "ContentLength": 100_000}));
    assert_eq!((&found[1]["answers"], &found[2]["answers"]), (&json!(1), &json!(1)));
    assert_eq!(found[2]["segment_ids"][0], content.ids[0].to_string());
    assert_eq!(found[6]["block"]["verdict"], "right");
}

#[test]
fn offers_to_a_hosted_cache_are_taken_apart() {
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 0), Sender::new(SERVER, CLIENT, 0));
    let offer = vector("pchc/batched_offer_three_mixed.bin");
    client.say(&mut capture, &post("/0131501b-d67f-491b-9a40-c4bf27bcb4d4", &offer), 1460);
    server.say(&mut capture, &ok(&[0, 0, 0, 1, 0]), 1460);
    client.say(
        &mut capture,
        &post("/C574AC30-5794-4AEE-B1BB-6651C5315029", &vector("pchc/initial_offer_sha256.bin")),
        1460,
    );
    server.say(&mut capture, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 1460);
    let found = objects(&capture.bytes, &[]);
    let expected = ["BATCHED_OFFER_MESSAGE", "RESPONSE_MESSAGE", "INITIAL_OFFER_MESSAGE", "HTTP_RESPONSE"];
    assert_eq!(names(&found), expected);
    assert_eq!(found[0]["fields"]["SegmentDescriptors"].as_array().unwrap().len(), 3);
    assert_eq!(found[3]["fields"]["Status"], 401);
}

#[test]
fn probes_and_their_answers_are_paired_on_both_families() {
    let mut capture = Capture::new();
    capture.udp("192.0.2.1:50001", "239.255.255.250:3702", &vector("pccrd/probe_v1.xml"));
    let ids = [SegmentId::from_slice(&[7; 32]).unwrap()];
    let message_id = MessageId::new("urn:uuid:11111111-2222-4333-8444-555555555599").unwrap();
    let probe = Probe::new(message_id, Form::V2, ids).unwrap().emit();
    capture.udp("[fe80::1]:50001", "[ff02::c]:3702", &probe);
    capture.udp("192.0.2.9:50001", "239.255.255.250:3702", b"<Envelope>a printer</Envelope>");
    capture.udp("192.0.2.2:3702", "192.0.2.1:50001", &vector("pccrd/probematch_v1.xml"));
    let found = objects(&capture.bytes, &[]);
    assert_eq!(names(&found), ["Probe", "Probe", "ProbeMatches"]);
    assert_eq!(found[1]["source"], "[fe80::1]:50001");
    assert_eq!(found[1]["fields"]["Scopes"]["SegmentIDs"], json!(["07".repeat(32)]));
    assert_eq!(found[2]["transport"], "udp");
    assert_eq!((&found[2]["answers"], &found[2]["took"]), (&json!(1), &json!("0.003000000")));
}

#[test]
fn the_summary_says_who_asked_whom_for_what_and_how_long_it_took() {
    let content = Content::new();
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 0), Sender::new(SERVER, CLIENT, 0));
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[0])), 1460);
    server.say(&mut capture, &ok(&content.blocks[0]), 60_000);
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[1])), 1460);
    let files = Files::new();
    let information = files.add("ci", &content.information);
    let found = objects(&capture.bytes, &["--summary", "--content-information", &information]);
    let [first, second, hosts] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&first["client"], &first["server"]), (&json!(CLIENT), &json!(SERVER)));
    assert_eq!((&first["request"], &first["answer"]), (&json!("MSG_GETBLKS"), &json!("MSG_BLK")));
    assert!(first["result"].as_str().unwrap().ends_with(", right"), "{first}");
    assert!(first["took"].as_str().unwrap().starts_with("0.00"), "{first}");
    assert_eq!((&second["answer"], &second["result"]), (&Value::Null, &json!("no answer seen")));
    assert_eq!(hosts["hosts"]["192.0.2.2"]["blocks_right"], 1);
    assert_eq!(hosts["hosts"]["192.0.2.1"]["asked"], 2);
    assert_eq!(hosts["hosts"]["192.0.2.1"]["unanswered"], 1);
    let text = decode(&capture.bytes, &["--summary"]).stdout();
    assert!(text.contains("192.0.2.1:50000 asks 192.0.2.2:80: MSG_GETBLKS segment"), "{text}");
    assert!(text.contains("192.0.2.2: asked 0"), "{text}");
}

#[test]
fn the_summary_counts_what_is_cut_off_apart_from_what_is_malformed() {
    let content = Content::new();
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 0), Sender::new(SERVER, CLIENT, 0));
    // Whatever comes on a connection that was captured from its beginning is the answer.
    for side in [&mut client, &mut server] {
        side.acknowledged = 0;
        capture.frame(&side.at(u32::MAX, b"", Some('S')));
    }
    client.say(&mut capture, &post(PATH, &vector("pccrr/bad_msgsize.bin")), 1460);
    server.say(&mut capture, &ok(&content.blocks[0]), 1460);
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[0])), 1460);
    server.say(&mut capture, &ok(&content.blocks[0])[..3000], 1460);
    let found = objects(&capture.bytes, &["--summary"]);
    let [_, cut, hosts] = &found[..] else { panic!("{found:?}") };
    assert!(cut["result"].as_str().unwrap().ends_with(", cut off"), "{cut}");
    let of = |host: &str| ["malformed", "cut_off"].map(|kind| hosts["hosts"][host][kind].clone());
    assert_eq!((of("192.0.2.1"), of("192.0.2.2")), ([json!(1), json!(0)], [json!(0), json!(1)]));
    let text = decode(&capture.bytes, &["--summary"]).stdout();
    assert!(text.contains("0 malformed messages, 1 cut off\n"), "{text}");
}

#[test]
fn a_list_of_segments_is_called_by_the_first_and_their_number() {
    let found = decode(&vector("pccrr/getseglist_two.bin"), &[]).stdout();
    assert!(found.starts_with("#1  MS-PCCRR MSG_GETSEGLIST, segment A0A1A2A3A4A5A6A7.. and 1 more\n"), "{found}");
}

#[test]
fn what_was_not_captured_is_noted_and_cuts_one_message_alone() {
    let content = Content::new();
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 0), Sender::new(SERVER, CLIENT, 0));
    // The capture began in the middle of some answer.
    server.say(&mut capture, b"of an answer before", 1460);
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[0])), 1460);
    let answer = ok(&content.blocks[0]);
    server.say(&mut capture, &answer[..3000], 1000);
    server.next += 500;
    server.say(&mut capture, &answer[3500..], 1000);
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[1])), 1460);
    server.say(&mut capture, &ok(&content.blocks[1]), 1000);
    let ran = decode(&capture.bytes, &["--json"]);
    assert_eq!(ran.status, 0);
    assert!(ran.stderr.contains("500 bytes of TCP connections were not captured"), "{}", ran.stderr);
    let found: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let cut = found.iter().find(|object| object["fields"]["SegmentId"] == content.ids[0].to_string()).unwrap();
    let faults = cut["faults"].to_string();
    assert!(faults.contains("cut off") && faults.contains("not captured"), "{faults}");
    let whole = found.iter().find(|object| object["fields"]["SegmentId"] == content.ids[1].to_string()).unwrap();
    assert_eq!(whole["faults"], json!([]));
}

#[test]
fn answers_after_one_that_was_not_captured_belong_to_their_own_requests() {
    let content = Content::new();
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 0), Sender::new(SERVER, CLIENT, 0));
    for round in 0..4 {
        client.say(&mut capture, &post(PATH, &get_blks(content.ids[round % 2])), 1460);
        server.acknowledged = client.next;
        let answer = ok(&content.blocks[round % 2]);
        match round {
            // Nothing of it, and then nothing but its end.
            1 => server.next += answer.len() as u32,
            2 => {
                server.next += 1000;
                server.say(&mut capture, &answer[1000..], 1000);
            }
            _ => server.say(&mut capture, &answer, 1000),
        }
        client.acknowledged = server.next;
    }
    let ran = decode(&capture.bytes, &["--json"]);
    let found: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let pairs: Vec<_> = found.iter().map(|object| (object["number"].as_u64(), object["answers"].as_u64())).collect();
    assert_eq!(
        pairs,
        [(Some(1), None), (Some(2), Some(1)), (Some(3), None), (Some(4), None), (Some(5), None), (Some(6), Some(5))]
    );
    assert_eq!(found[5]["fields"]["SegmentId"], content.ids[1].to_string());
    assert!(found.iter().all(|object| object["faults"] == json!([])));
}

/// The value of a field as it was printed.
fn node(name: &str, value: &Value) -> Node<'static> {
    let name: &'static str = name.to_owned().leak();
    let value = match value {
        Value::Number(number) => Printed::Integer(number.as_u64().unwrap()),
        Value::String(text) => Printed::Text(text.clone().into()),
        Value::Array(items) => Printed::List(items.iter().map(|item| node("item", item)).collect()),
        Value::Object(fields) => Printed::Record(fields.iter().map(|(name, value)| node(name, value)).collect()),
        other => panic!("{other}"),
    };
    Node::new(name, value)
}

#[test]
fn what_is_printed_has_every_byte_of_the_message() {
    let mut count = 0;
    for folder in ["pccrc", "pccrr", "pchc"] {
        for entry in fs::read_dir(vectors(folder)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let Some(structure) = recognise(&bytes).filter(|_| path.extension().is_some_and(|e| e == "bin")) else {
                continue;
            };
            count += 1;
            let fields = &objects(&bytes, &["--secrets"])[0]["fields"];
            let node = node("message", fields);
            assert_eq!(compose(structure, node.children()).unwrap(), bytes, "{}", path.display());
        }
    }
    assert!(count > 80, "{count}");
}

fn is_harmless(letter: char) -> bool {
    letter == '\n' || !(letter.is_control() || ['\u{2028}', '\u{202e}'].contains(&letter))
}

#[test]
fn text_of_strangers_cannot_move_the_cursor() {
    let mut capture = Capture::new();
    let mut client = Sender::new(CLIENT, SERVER, 0);
    client.say(
        &mut capture,
        "GET /\u{9b}31m HTTP/1.1\r\nAccept-Encoding: peerdist\r\nHost: \u{9b}2J\r\n\r\n".as_bytes(),
        1460,
    );
    let datagram = "<a><Types>PeerDist\x1b[2J\u{7f}\u{2028}\u{202e}</Types></a>";
    capture.udp("192.0.2.1:50001", "239.255.255.250:3702", datagram.as_bytes());
    for words in [&[][..], &["--json"], &["--summary"], &["--summary", "--json"]] {
        let text = decode(&capture.bytes, words).stdout();
        assert!(text.chars().all(is_harmless), "{text:?}");
    }
    // Errors repeat names.
    let files = Files::new();
    let cut = files.add("a\x1b[2J\u{9b}\u{202e}.pcapng", &capture.bytes[..capture.bytes.len() - 1]);
    let json = files.add("b.json", br#"{ "message": "RESPONSE_MESSAGE", "fields": { "\u001b[2J\u202e": 1 } }"#);
    for (words, named) in
        [(["decode", &cut], "note: "), (["decode", &format!("{cut}x")], "cannot read"), (["craft", &json], "2J")]
    {
        let stderr = peerdist(words).stderr;
        assert!(stderr.contains(named) && stderr.chars().all(is_harmless), "{stderr:?}");
    }
}

#[test]
fn a_large_capture_takes_constant_memory() {
    const SIZE: usize = 256 << 20;
    let mut child = command(["decode", "-", "--summary", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let content = Content::new();
    let body = vec![b'x'; 60_000];
    let mut written = 0;
    let mut capture = Capture::new();
    let mut round = 0_u32;
    let mut download = Sender::new("192.0.2.3:80", CLIENT, 0);
    download.say(&mut capture, b"HTTP/1.1 200 OK\r\n\r\n", 1460);
    while written < SIZE {
        round += 1;
        // A download that never ends, an exchange, and two connections that stop in the middle: one in a body, one
        // with a segment that is never captured.
        (0..16).for_each(|_| download.say(&mut capture, &body, 60_000));
        let client = format!("10.{}.{}.{}:5000", round >> 16, round >> 8 & 255, round & 255);
        let (mut asks, mut answers) = (Sender::new(&client, SERVER, 0), Sender::new(SERVER, &client, 0));
        asks.say(&mut capture, &post(PATH, &get_blks(content.ids[0])), 1460);
        answers.say(&mut capture, &ok(&content.blocks[0]), 60_000);
        asks.say(&mut capture, &post(PATH, &get_blks(content.ids[1])), 1460);
        let answer = ok(&content.blocks[1]);
        answers.say(&mut capture, &answer[..answer.len() / 2], 60_000);
        answers.next += 1;
        answers.say(&mut capture, &body, 60_000);
        stdin.write_all(&capture.bytes).unwrap();
        written += capture.bytes.len();
        capture.bytes.clear();
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert!(peak < 128 << 10, "{peak} kB");
}
