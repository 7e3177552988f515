//! `peerdist craft`: what the decoder prints is made into the bytes that it was printed of.

use std::fs;
use std::future::pending;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use peerdist_node::decode::{Captured, Decoder, Event, packets};
use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::retrieval::{BlkTail, PATH};
use peerdist_transport::retrieval::server::{BlockSource, Server, ServerLimits};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::canned::Canned;
use crate::decode::capture::{Capture, Sender};
use crate::decode::{CLIENT, Content, Files, SERVER, get_blks, objects, ok, post, vector, vectors};
use crate::probe;
use crate::run::{Ran, command, peerdist};

/// Crafts JSON from standard input.
fn craft(input: &str, words: &[&str]) -> Ran {
    let files = Files::new();
    let input = fs::File::open(files.add("input", input.as_bytes())).unwrap();
    let mut command = command([&["craft"], words].concat());
    command.stdin(input);
    Ran::of(command)
}

/// The bytes of each message.
#[track_caller]
fn crafted(input: &str) -> Vec<Vec<u8>> {
    craft(input, &["--hex"]).stdout().lines().map(|line| hex::decode(line).unwrap()).collect()
}

/// What `decode --json` prints, as it prints it.
fn printed(path: &Path, words: &[&str]) -> Ran {
    peerdist([&["decode", path.to_str().unwrap(), "--json", "--secrets"], words].concat())
}

#[test]
fn every_vector_is_made_again_of_what_the_decoder_prints() {
    // Cut or spoilt where they would say what they are.
    let named = [
        ("bad_truncated_header", "MSG_GETBLKS"),
        ("bad_unknown_type", "MSG_GETBLKS"),
        ("bad_v1", "CONTENT_INFORMATION_1.0"),
        ("bad_v2", "CONTENT_INFORMATION_2.0"),
        ("neg_initial_offer", "INITIAL_OFFER_MESSAGE"),
        ("neg_response", "RESPONSE_MESSAGE"),
        ("struct_extensible_blob", "EXTENSIBLE_BLOB"),
    ];
    let (mut lines, mut expected) = (String::new(), Vec::new());
    for folder in ["pccrc", "pccrr", "pchc", "pccrd"] {
        for entry in fs::read_dir(vectors(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "bin" && extension != "xml") {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let form = named.iter().find(|(start, _)| name.starts_with(start)).map(|(_, form)| *form);
            let words = form.map_or(vec![], |form| vec!["--as", form]);
            let ran = printed(&path, &words);
            // Parts of messages are among the vectors, too.
            if ran.status == 8 {
                continue;
            }
            let text = ran.stdout();
            assert_eq!(text.lines().count(), 1, "{name}");
            // One side of an HTTP connection has a head that is no part of the message.
            if name.starts_with("http_") {
                continue;
            }
            lines.push_str(&text);
            expected.push((name, fs::read(path).unwrap()));
        }
    }
    assert!(expected.len() > 120, "{}", expected.len());
    let made = crafted(&lines);
    assert_eq!(made.len(), expected.len());
    for ((name, bytes), made) in expected.iter().zip(&made) {
        assert!(made == bytes, "{name}");
    }
}

/// Every message there is, some of them odd or cut.
fn everything() -> Vec<u8> {
    let content = Content::new();
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 5), Sender::new(SERVER, CLIENT, 7));
    let get = "GET /f HTTP/1.1\r\nHost: x\r\nUser-Agent: somebody\r\nAccept-Encoding: gzip, peerdist\r\n\
               Accept-Encoding: deflate\r\nX-P2P-PeerDist: Version=1.1\r\n\r\n";
    let length = content.information.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: peerdist\r\nContent-Length: {length}\r\n\
         X-P2P-PeerDist: Version=1.1, ContentLength=100000\r\n\r\n"
    );
    let mut exchange = |request: &[u8], answer: &[u8]| {
        client.say(&mut capture, request, 1460);
        server.say(&mut capture, answer, 1460);
    };
    exchange(get.as_bytes(), &[head.as_bytes(), &content.information].concat());
    exchange(&post(PATH, &get_blks(content.ids[0])), &ok(&content.blocks[0]));
    exchange(&post(PATH, &vector("pccrr/bad_unknown_type.bin")), b"HTTP/1.1 400 Bad Request\r\nServer: y\r\n\r\n");
    let own = "GET /g HTTP/1.1\r\nHost: x\r\nAccept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0\r\n\r\n";
    exchange(own.as_bytes(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
    let offers = ["pchc/batched_offer_three_mixed.bin", "pchc/neg_batched_offer_truncated.bin"];
    for offer in offers.map(vector) {
        exchange(&post("/0131501b-d67f-491b-9a40-c4bf27bcb4d4", &offer), &ok(&[0, 0, 0, 1, 0]));
    }
    let (path, offer) = ("/C574AC30-5794-4AEE-B1BB-6651C5315029", vector("pchc/segment_info_sha384.bin"));
    exchange(&post(path, &offer), b"HTTP/1.0 401\r\n\r\n");
    for name in ["probe_v1", "probe_v2_two", "bad_probe_types", "spec_probematch_v2_2012", "probematch_v2"] {
        let xml = vector(&format!("pccrd/{name}.xml"));
        capture.udp(CLIENT, "239.255.255.250:3702", &xml);
        let odd = String::from_utf8(xml).unwrap().replace("<soap:Body>", "<soap:Body>\n <!-- & -->");
        capture.udp(CLIENT, "239.255.255.250:3702", odd.as_bytes());
    }
    capture.udp(CLIENT, "239.255.255.250:3702", b"<PeerDist");
    // The last one is cut off.
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[1]))[..140], 1460);
    capture.bytes
}

/// The captures of the repository, and one that is made here.
fn captures(files: &Files) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps");
    let stored = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "pcapng");
    stored.filter(is_capture).chain([files.add("everything", &everything()).into()]).collect()
}

#[test]
fn every_message_of_a_capture_is_made_again_and_decoded_to_the_same() {
    let files = Files::new();
    for path in captures(&files) {
        let (mut decoder, mut expected) = (Decoder::new(), Vec::new());
        let mut take = |event: Event<'_>| {
            if let Event::Message(message) = event {
                expected.push((message.tree.name, message.tree.bytes.to_vec()));
            }
        };
        let read = packets(fs::File::open(&path).unwrap(), |captured| {
            match captured {
                Captured::Packet(packet) => decoder.packet(&packet, &mut take),
                Captured::TlsKeys(log) => decoder.tls_keys(log),
            }
            Ok::<(), ()>(())
        });
        assert_eq!(read.unwrap().damage, None);
        decoder.finish(&mut take);

        let text = printed(&path, &[]).stdout();
        let made = crafted(&text);
        assert_eq!(made.len(), expected.len(), "{}", path.display());
        for (((name, bytes), made), line) in expected.iter().zip(&made).zip(text.lines()) {
            assert!(made == bytes, "{}: {name}: {line}", path.display());
            let was: Value = serde_json::from_str(line).unwrap();
            let is = objects(made, &["--as", name, "--secrets"]).remove(0);
            for key in ["message", "size", "fields", "raw", "segment_ids"] {
                assert_eq!(is[key], was[key], "{}: {name}: {key}", path.display());
            }
        }
    }
}

#[test]
fn text_that_is_not_written_as_we_write_it_has_its_bytes_in_raw() {
    let found = objects(&everything(), &[]);
    let raw = |message: &str| -> Vec<bool> {
        found.iter().filter(|object| object["message"] == message).map(|object| object["raw"].is_string()).collect()
    };
    assert_eq!(raw("request"), [true, false]);
    assert_eq!(raw("response"), [false]);
    assert_eq!(raw("Probe"), [false, true, false, true, false, true]);
    assert_eq!(raw("ProbeMatches"), [true, true, false, true]);
    assert_eq!(raw("MSG_GETBLKS"), [false, false]);
    assert!(found.iter().any(|object| object["message"] == "Envelope" && object["raw"].is_string()));
}

#[test]
fn sizes_and_counts_may_be_left_out_or_given_wrong() {
    let message = |fields: Value| json!({ "message": "MSG_NEGO_REQ", "fields": fields }).to_string();
    let bare = json!({ "MinSupportedProtocolVersion": "1.0", "MaxSupportedProtocolVersion": "2.0" });
    let nego = "000000010000000000000018000000000000000100000002";
    assert_eq!(craft(&message(bare.clone()), &["--hex"]).stdout(), format!("{nego}\n"));
    let mut wrong = bare;
    wrong["MESSAGE_HEADER"] = json!({ "MsgSize": 7, "MsgType": 0, "CryptoAlgoId": "AES_128" });
    let made = crafted(&message(wrong));
    assert_eq!(hex::encode(&made[0]), nego.replace("0000001800000000", "0000000700000001"));
    let probe = json!({ "message": "Probe", "fields": {
        "MessageID": "urn:uuid:11111111-2222-4333-8444-555555555501",
        "Types": "PeerDist:PeerDistDataV2",
        "Scopes": { "SegmentIDs": ["A1".repeat(32)] },
    } });
    let [probe] = &crafted(&probe.to_string())[..] else { panic!("one message") };
    let found = objects(probe, &[]).remove(0);
    assert_eq!(found["faults"], json!([]));
    assert_eq!(found["fields"]["Scopes"]["SegmentHashCount"], 1);
}

#[test]
fn what_is_left_out_before_a_given_field_is_made_where_bytes_follow_the_last_one_too() {
    let made = |fields: Value| crafted(&json!({ "message": "RESPONSE_MESSAGE", "fields": fields }).to_string());
    let whole = made(json!({ "ResponseCode": 1 })).remove(0);
    let longer = made(json!({ "ResponseCode": 1, "_rest": "FFFF" })).remove(0);
    assert_eq!((longer.len(), longer[4..].to_vec()), (whole.len() + 2, [&whole[4..], &[0xFF, 0xFF]].concat()));
    // Where no field is given it is cut off before the first one.
    assert_eq!(made(json!({ "_rest": "FFFF" })), [[0xFF, 0xFF]]);
    let blocks = json!({ "message": "MSG_GETBLKS", "fields": { "ReqBlockRanges": [], "_rest": "FF" } });
    assert!(craft(&blocks.to_string(), &[]).error(8).contains("SegmentID is missing"));
}

#[test]
fn messages_go_to_standard_output_or_to_a_file() {
    let files = Files::new();
    let out = files.add("out", b"");
    let input = r#"{ "message": "RESPONSE_MESSAGE", "fields": { "ResponseCode": "INTERESTED" } }"#;
    let two = files.add("in", format!("{input}{input}\n\n").as_bytes());
    assert_eq!(peerdist(["craft", &two, "--output", &out]).stdout(), "");
    assert_eq!(fs::read(&out).unwrap(), [0, 0, 0, 1, 1, 0, 0, 0, 1, 1]);
    assert_eq!(peerdist(["craft", &two]).stdout(), "\0\0\0\u{1}\u{1}\0\0\0\u{1}\u{1}");
    assert_eq!(peerdist(["craft", &two, "--hex"]).stdout(), "0000000101\n0000000101\n");
}

#[test]
fn what_makes_no_message_is_named_with_its_path() {
    let error = |input: &Value| craft(&input.to_string(), &[]).error(8);
    let fields = |message: &str, fields: Value| json!({ "message": message, "fields": fields });
    let cases = [
        (fields("MSG_GETBLKS", json!({})), "SegmentID is missing"),
        (fields("MSG_BLK", json!({ "SegmentID": "00" })), "SegmentID is no field of MSG_BLK"),
        (fields("MSG_BLK", json!({ "MESSAGE_HEADER": { "Msgsize": 1 } })), "MESSAGE_HEADER.Msgsize is no member"),
        (
            fields("MSG_SEGLIST", json!({ "SegmentRanges": [{ "Index": 1 }, { "Index": -1 }] })),
            "SegmentRanges[1].Index has to be a natural number",
        ),
        (
            fields("CONTENT_INFORMATION_2.0", json!({ "chunks": [{ "segments": [{ "SegmentSecret": "hidden" }] }] })),
            "chunks[0].segments[0].SegmentSecret is hidden: decode with --secrets",
        ),
        (
            fields("CONTENT_INFORMATION_2.0", json!({ "chunks": [{ "segments": [{ "_rest": "hidden" }] }] })),
            "chunks[0].segments[0]._rest is hidden: decode with --secrets",
        ),
        (fields("Probe", json!({ "Types": "PeerDist:PeerDistData", "Scopes": "00" })), "MessageID is missing"),
        (
            fields("request", json!({ "Method": "GET", "Target": "/ HTTP/1.0\r\nAccept-Encoding: peerdist\r\nX: " })),
            "Target is not what the message",
        ),
        (json!({ "message": "MSG_BLKS", "fields": {} }), "message has to be the name of one"),
        (json!({ "fields": {} }), "message has to be the name of one"),
        (json!({ "message": "MSG_BLK", "feilds": {} }), "feilds is no member of any message"),
        (json!({ "message": "MSG_BLK", "raw": "00" }), "raw is for messages that are text"),
        (json!({ "message": "Probe", "raw": "0" }), "raw has to be hexadecimal digits"),
        (json!({ "message": "Probe", "raw": "00" }), "message is not what"),
        (json!([]), "a message has to be an object"),
    ];
    for (input, expected) in cases {
        let said = error(&input);
        assert!(said.contains(expected), "{input}: {said}");
        assert!(said.contains("message 1 of -"), "{said}");
    }
    assert!(craft("", &[]).error(8).contains("there is no message"));
    assert!(craft("{", &[]).error(8).contains("the JSON cannot be read"));
    let response = json!({ "message": "RESPONSE_MESSAGE", "fields": { "ResponseCode": 1 } });
    let said = craft(&format!("{response}\n\n{{\n\"message\": }}"), &["--hex"]);
    assert!(said.stderr.contains("message 2 of -") && said.stderr.contains("at line 4 column 12"), "{}", said.stderr);
}

#[test]
fn fields_that_say_something_else_than_raw_are_refused() {
    let found = objects(&everything(), &[]);
    let mut probe =
        found.iter().find(|object| object["message"] == "Probe" && object["raw"].is_string()).unwrap().clone();
    probe["fields"]["MessageID"] = json!("urn:uuid:other");
    let said = craft(&probe.to_string(), &[]).error(8);
    assert!(said.contains("MessageID is not what the message says with the other members"), "{said}");
    probe.as_object_mut().unwrap().remove("raw");
    let made = crafted(&probe.to_string());
    assert_eq!(objects(&made[0], &[])[0]["fields"], probe["fields"]);
    probe["fields"]["Scopes"]["SegmentIDs"][0] = json!("00");
    let said = craft(&probe.to_string(), &[]).error(8);
    assert!(said.contains("Scopes.SegmentIDs[0] is not what the message says"), "{said}");
    probe["fields"]["Scopes"].as_object_mut().unwrap().remove("text");
    assert_eq!(crafted(&probe.to_string()).len(), 1);
}

#[test]
fn a_request_is_posted_to_its_path_and_the_answer_decoded() {
    let content = Content::new();
    let answers = vec![ok(&content.blocks[0]), b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()];
    let host = Canned::http(answers);
    let request = objects(&get_blks(content.ids[0]), &[]).remove(0).to_string();
    let target = format!("http://{}", host.address);
    let ran = craft(&[request.clone(), request].concat(), &["--send", &target, "--json"]);
    let answers: Vec<Value> = ran.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&answers[0]["message"], &answers[1]["message"]), (&json!("MSG_BLK"), &json!("HTTP_RESPONSE")));
    assert_eq!(answers[0]["fields"]["SegmentId"], content.ids[0].to_string());
    assert_eq!(answers[0]["source"], host.address.to_string());
    assert_eq!(answers[1]["fields"]["Status"], 404);
    let authority = host.address;
    for heard in host.heard() {
        let body = get_blks(content.ids[0]);
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {}\r\n\r\n", body.len());
        assert_eq!(heard, [head.as_bytes(), &body].concat());
    }
}

#[test]
fn heads_are_sent_as_they_are_and_offers_to_the_path_of_their_version() {
    let content = Content::new();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: peerdist\r\nContent-Length: {}\r\n\
         X-P2P-PeerDist: Version=1.1, ContentLength=100000\r\n\r\n",
        content.information.len()
    );
    let host = Canned::http(vec![[head.as_bytes(), &content.information].concat(), ok(&[0, 0, 0, 1, 1])]);
    let get = r#"{"message":"request","fields":{"Method":"GET","Target":"/f","Host":"x","Accept-Encoding":"peerdist",
        "X-P2P-PeerDist":{"Version":"1.1"}}}"#;
    let offer = objects(&vector("pchc/initial_offer_sha256.bin"), &[]).remove(0).to_string();
    let text = craft(&format!("{get}{offer}"), &["--send", &format!("http://{}", host.address)]).stdout();
    for name in ["MS-PCCRTP response", "MS-PCCRC CONTENT_INFORMATION_2.0", "RESPONSE_MESSAGE, INTERESTED"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    let heard: Vec<_> = host.heard().iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    assert_eq!(
        heard[0],
        "GET /f HTTP/1.1\r\nHost: x\r\nAccept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n\r\n"
    );
    assert!(heard[1].starts_with("POST /C574AC30-5794-4AEE-B1BB-6651C5315029/ HTTP/1.1\r\n"), "{}", heard[1]);
}

#[test]
fn a_probe_is_sent_and_its_answer_printed_but_no_other() {
    let other = String::from_utf8(vector("pccrd/probematch_v1.xml")).unwrap().replace("555555555501", "555555555999");
    let answers = vec![b"nonsense".to_vec(), other.into_bytes(), vector("pccrd/probematch_v1.xml")];
    let host = Canned::udp(answers);
    let probe = objects(&vector("pccrd/probe_v1.xml"), &[]).remove(0).to_string();
    let said = craft(&probe, &["--send", &format!("udp://{}", host.address), "--json"]).json();
    assert_eq!((&said["message"], &said["answers"]), (&json!("ProbeMatches"), &json!(1)));
    assert_eq!(host.heard(), [vector("pccrd/probe_v1.xml")]);
}

#[test]
fn who_does_not_answer_has_its_own_exit_status_and_what_cannot_be_sent_is_told() {
    let nego = r#"{"message":"MSG_NEGO_REQ","fields":{"MinSupportedProtocolVersion":"1.0","MaxSupportedProtocolVersion":"1.0"}}"#;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}", silent.local_addr().unwrap());
    let said = craft(nego, &["--send", &target, "--timeout", "0.2"]).error(9);
    assert!(said.contains("did not answer in time"), "{said}");
    drop(silent);
    assert!(craft(nego, &["--send", &target]).error(9).contains("cannot connect to"));
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = format!("udp://{}", silent.local_addr().unwrap());
    let probe = objects(&vector("pccrd/probe_v1.xml"), &[]).remove(0).to_string();
    assert!(craft(&probe, &["--send", &target, "--timeout", "0.2"]).error(9).contains("did not answer in time"));
    assert!(craft(nego, &["--send", &target]).error(2).contains("MSG_NEGO_REQ is no datagram"));
    assert!(craft(&probe, &["--send", "http://127.0.0.1"]).error(2).contains("Probe is no request of HTTP"));
    let cut = Canned::http(vec![b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()]);
    let said = craft(nego, &["--send", &format!("http://{}", cut.address)]).error(9);
    assert!(said.contains("without an answer"), "{said}");
    for to in ["udp://[ff02::c]:3702", "udp://[fe80::1]:3702"] {
        let said = craft(&probe, &["--send", to]).error(2);
        assert!(said.contains("give the number of one") && said.contains("%2]:3702"), "{said}");
    }
    for bad in ["x:80", "udp://x", "http://", "https://", "ftp://x"] {
        assert!(craft(nego, &["--send", bad]).error(2).contains("udp://HOST:PORT"), "{bad}");
    }
}

#[test]
fn a_host_that_answers_byte_by_byte_does_not_outlast_the_time_limit() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let trickle = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut next = &b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"[..];
        while stream.write_all(next).is_ok() {
            next = b"x";
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let nego = r#"{"message":"MSG_NEGO_REQ","fields":{"MinSupportedProtocolVersion":"1.0","MaxSupportedProtocolVersion":"1.0"}}"#;
    let said = craft(nego, &["--send", &target, "--timeout", "0.3"]).error(9);
    assert!(said.contains("did not answer in time"), "{said}");
    trickle.join().unwrap();
}

/// Holds nothing.
/// A host that holds no block.
pub(crate) struct Nothing;

impl BlockSource for Nothing {
    fn held(&self, _: &SegmentId) -> BlockRanges {
        BlockRanges::default()
    }

    async fn read(&self, _: &SegmentId, _: BlockIndex) -> Option<BlkTail> {
        None
    }
}

#[tokio::test]
async fn our_own_hosts_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::new(Arc::new(Nothing), ServerLimits::default());
    tokio::spawn(async move { server.serve(vec![listener.into()], pending()).await });
    let input = r#"
        {"message":"MSG_NEGO_REQ","fields":{"MinSupportedProtocolVersion":"1.0","MaxSupportedProtocolVersion":"2.0"}}
        {"message":"MSG_GETBLKLIST","fields":{"SegmentID":"0707","NeededBlockRanges":[{"Index":0,"Count":1}]}}
        {"message":"MSG_GETSEGLIST","fields":{"RequestID":"00000000000000000000000000000001","SegmentIDs":[{"SegmentID":"0707"}]}}"#;
    let said = async |input: &str, words: &[&str]| {
        let (input, words) = (input.to_owned(), words.iter().map(ToString::to_string).collect::<Vec<_>>());
        let ran = tokio::task::spawn_blocking(move || {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            craft(&input, &[&["--json", "--send"], &words[..]].concat())
        });
        let text = ran.await.unwrap().stdout();
        let name = |line: &str| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned();
        text.lines().map(name).collect::<Vec<_>>()
    };
    assert_eq!(said(input, &[&target]).await, ["MSG_NEGO_RESP", "MSG_BLKLIST", "MSG_SEGLIST"]);
    let (host, port) = probe::host().await;
    let held = probe::HELD;
    let input = format!(
        r#"{{"message":"Probe","fields":{{"MessageID":"urn:uuid:00000000-0000-4000-8000-00000000000a",
        "Types":"PeerDist:PeerDistData","Scopes":{{"SegmentIDs":["{held}"]}}}}}}"#
    );
    // A group is heard until the time is over.
    let words = [&format!("udp://239.255.255.250:{port}")[..], "--from", "127.0.0.1", "--timeout", "2"];
    assert_eq!(said(&input, &words).await, ["ProbeMatches"]);
    host.shutdown().await;
}

#[test]
fn the_answer_from_another_path_is_decoded_as_well() {
    let content = Content::new();
    let host = Canned::http(vec![ok(&content.blocks[0])]);
    let request = objects(&get_blks(content.ids[0]), &[]).remove(0).to_string();
    let said = craft(&request, &["--send", &format!("http://{}/elsewhere", host.address), "--json"]).json();
    assert_eq!((&said["message"], &said["faults"]), (&json!("MSG_BLK"), &json!([])));
    assert!(host.heard()[0].starts_with(b"POST /elsewhere HTTP/1.1\r\n"));
}
