//! `peerdist replay`: the requests of a capture, against hosts that answer the same, or do not.

use std::time::{Duration, Instant};

use peerdist_protocol::retrieval::PATH;
use serde_json::{Value, json};

use crate::canned::Canned;
use crate::decode::capture::{Capture, Sender};
use crate::decode::{CLIENT, Content, Files, SERVER, get_blks, ok, post, vector};
use crate::run::{Ran, command, peerdist};

const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const GET: &[u8] = b"GET /f HTTP/1.1\r\nHost: x\r\nAccept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n\r\n";

/// Two blocks asked for, the second one not there, and a GET in between.
fn capture(content: &Content) -> Vec<u8> {
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 5), Sender::new(SERVER, CLIENT, 7));
    let requests = [post(PATH, &get_blks(content.ids[0])), GET.to_vec(), post(PATH, &get_blks(content.ids[1]))];
    for (request, answer) in requests.into_iter().zip(answers(content)) {
        client.say(&mut capture, &request, 1460);
        server.say(&mut capture, &answer, 1460);
    }
    capture.bytes
}

fn answers(content: &Content) -> Vec<Vec<u8>> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: peerdist\r\nContent-Length: {}\r\n\
         X-P2P-PeerDist: Version=1.1, ContentLength=100000\r\n\r\n",
        content.information.len()
    );
    vec![ok(&content.blocks[0]), [head.as_bytes(), &content.information].concat(), NOT_FOUND.to_vec()]
}

fn replay(capture: &[u8], to: &str, words: &[&str]) -> Ran {
    let files = Files::new();
    let file = files.add("capture", capture);
    peerdist([&["replay", &file, "--to", to], words].concat())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn requests_are_sent_in_order_and_the_same_answers_are_success() {
    let content = Content::new();
    let host = Canned::http(answers(&content));
    let began = Instant::now();
    let text = replay(&capture(&content), &host.address.to_string(), &["--json", "--rate", "2"]).stdout();
    // The second and the third waited.
    assert!(began.elapsed() >= Duration::from_secs(1));
    let [first, second, third, total] = &lines(&text)[..] else { panic!("{text}") };
    assert_eq!((&first["number"], &first["request"]["message"]), (&json!(1), &json!("MSG_GETBLKS")));
    assert_eq!(
        (&first["answer"], &first["captured"], &first["same"]),
        (&json!("MSG_BLK"), &json!("MSG_BLK"), &json!(true))
    );
    assert_eq!(first["answers"][0]["fields"]["SegmentId"], content.ids[0].to_string());
    assert_eq!(second["answer"], "response 200, CONTENT_INFORMATION_2.0");
    assert_eq!(second["answers"].as_array().unwrap().len(), 2);
    assert_eq!(third["captured"], "HTTP_RESPONSE 404");
    assert_eq!(*total, json!({ "requests": 3, "same": 3, "different": 0, "unanswered": 0, "skipped": 0 }));
    let authority = host.address.to_string();
    let heard = host.heard();
    let as_sent =
        |body: &[u8]| String::from_utf8_lossy(&post(PATH, body)).replace("Host: x", &format!("Host: {authority}"));
    assert_eq!(String::from_utf8_lossy(&heard[0]), as_sent(&get_blks(content.ids[0])));
    assert_eq!(heard[1], GET);
    assert_eq!(String::from_utf8_lossy(&heard[2]), as_sent(&get_blks(content.ids[1])));
}

#[test]
fn another_answer_or_none_is_told_and_has_an_exit_status() {
    let content = Content::new();
    let host = Canned::http(vec![NOT_FOUND.to_vec(), b"".to_vec(), NOT_FOUND.to_vec()]);
    let ran = replay(&capture(&content), &host.address.to_string(), &["--rate", "1000"]);
    assert_eq!(ran.status, 10, "{}", ran.stderr);
    let text = ran.stdout;
    for said in [
        "MS-PCCRR MSG_GETBLKS, segment",
        "  other: HTTP_RESPONSE 404, where the capture has MSG_BLK\n",
        "without an answer",
        "  other: nothing, where the capture has response 200, CONTENT_INFORMATION_2.0\n",
        "  same: HTTP_RESPONSE 404\n",
        "3 requests: 1 answered as in the capture, 1 differently, 1 not, 0 left out\n",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(ran.stderr.contains("2 of 3 requests were not answered as in the capture"), "{}", ran.stderr);
}

#[test]
fn only_what_is_wanted_is_sent() {
    let content = Content::new();
    let host = Canned::http(vec![NOT_FOUND.to_vec()]);
    let ran = replay(&capture(&content), &host.address.to_string(), &["--only", "ms-pccrtp", "--json"]);
    assert_eq!((ran.status, lines(&ran.stdout).len()), (10, 2), "{}", ran.stderr);
    assert_eq!(host.heard(), [GET]);
    let said = replay(&capture(&content), "127.0.0.1:9", &["--only", "MSG_NEGO_REQ"]).error(8);
    assert!(said.contains("there is no such request"), "{said}");
}

#[test]
fn probes_go_where_datagrams_are_sent_to() {
    let mut capture = Capture::new();
    capture.udp("192.0.2.1:50001", "239.255.255.250:3702", &vector("pccrd/probe_v1.xml"));
    capture.udp("192.0.2.2:3702", "192.0.2.1:50001", &vector("pccrd/probematch_v1.xml"));
    let host = Canned::udp(vec![vector("pccrd/probematch_v1.xml")]);
    let to = host.address.to_string();
    let text = replay(&capture.bytes, "127.0.0.1:9", &["--datagrams-to", &to]).stdout();
    assert!(text.contains("  same: ProbeMatches\n"), "{text}");
    assert_eq!(host.heard(), [vector("pccrd/probe_v1.xml")]);
}

#[test]
fn a_request_that_cannot_be_sent_has_no_answer() {
    let content = Content::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = replay(&capture(&content), &closed.to_string(), &["--json", "--rate", "1000"]);
    assert_eq!(ran.status, 10, "{}", ran.stderr);
    let lines = lines(&ran.stdout);
    for line in &lines[..3] {
        assert!(line.get("answer").is_none() && line["answers"] == json!([]), "{line}");
    }
    assert_eq!((&lines[3]["different"], &lines[3]["unanswered"]), (&json!(0), &json!(3)));
}

#[test]
fn a_probe_that_nobody_answers_is_the_same_as_in_the_capture_and_comes_first() {
    let content = Content::new();
    let mut capture = Capture::new();
    capture.udp("192.0.2.1:50001", "239.255.255.250:3702", &vector("pccrd/probe_v1.xml"));
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 5), Sender::new(SERVER, CLIENT, 7));
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[0])), 1460);
    server.say(&mut capture, NOT_FOUND, 1460);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let host = Canned::http(vec![NOT_FOUND.to_vec()]);
    let words = ["--datagrams-to", &silent.local_addr().unwrap().to_string(), "--timeout", "0.5", "--json"];
    let text = replay(&capture.bytes, &host.address.to_string(), &words).stdout();
    let [probe, block, total] = &lines(&text)[..] else { panic!("{text}") };
    assert_eq!((&probe["request"]["message"], &probe["captured"]), (&json!("Probe"), &Value::Null));
    assert!(probe["error"].as_str().unwrap().contains("did not answer in time"), "{probe}");
    assert_eq!((&block["answer"], &total["same"]), (&json!("HTTP_RESPONSE 404"), &json!(2)));
}

#[test]
fn what_the_capture_does_not_hold_is_left_out() {
    let content = Content::new();
    let mut capture = Capture::new();
    let mut client = Sender::new(CLIENT, SERVER, 5);
    let odd = "POST /f HTTP/1.1\r\nContent-Length: 2\r\nAccept-Encoding: peerdist\r\n\r\nab";
    client.say(&mut capture, odd.as_bytes(), 1460);
    let request = post(PATH, &get_blks(content.ids[0]));
    client.say(&mut capture, &request[..request.len() - 5], 1460);
    let text = replay(&capture.bytes, "127.0.0.1:9", &[]).stdout();
    assert!(text.contains("request 1, request, is left out: its body is not looked at"), "{text}");
    assert!(text.contains("request 2, MSG_GETBLKS, is left out: bytes of it are missing in the capture"), "{text}");
    assert!(text.contains("2 requests: 0 answered as in the capture, 0 differently, 0 not, 2 left out"), "{text}");
}

#[test]
fn arguments_without_a_sense_are_refused() {
    for (words, said) in [(["--rate", "0"], "100000"), (["--timeout", "0"], "3600"), (["--rate", "NaN"], "100000")] {
        assert!(replay(b"", "127.0.0.1", &words).error(2).contains(said), "{words:?}");
    }
    assert!(replay(b"nothing", "127.0.0.1", &[]).error(8).contains("none of the formats"));
    assert!(replay(b"", "no host", &[]).error(1).contains("cannot find"));
    for to in ["127.0.0.1:99999", "[::1]:99999", "host:", "host:http"] {
        assert!(replay(b"", to, &[]).error(2).contains("a port is a number up to 65535"), "{to}");
    }
}

#[test]
fn nothing_is_sent_when_nobody_reads_what_comes_of_it() {
    let content = Content::new();
    let host = Canned::http(answers(&content)[..1].to_vec());
    let files = Files::new();
    let file = files.add("capture", &capture(&content));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(["replay", &file, "--to", &host.address.to_string(), "--rate", "1000"]);
    // The second request would have no answer, and the status would say so.
    assert!(command.stdout(writer).status().unwrap().success());
    assert_eq!(host.heard().len(), 1);
}
