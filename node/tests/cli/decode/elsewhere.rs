//! `peerdist decode` and messages in places of their own: other ports and paths, and connections of TLS.

use serde_json::json;

use super::capture::{Capture, Sender};
use super::{CLIENT, SERVER, decode, names, objects, post, vector};

#[test]
fn discovery_is_recognised_on_every_port() {
    let mut capture = Capture::new();
    let probe = vector("pccrd/probe_v1.xml");
    capture.udp("192.0.2.1:50001", "239.255.255.250:13702", &[b"\xef\xbb\xbf", &probe[..]].concat());
    capture.udp("192.0.2.2:13702", "192.0.2.1:50001", &vector("pccrd/probematch_v1.xml"));
    // What does not begin like it, or does not name WS-Discovery soon enough, is somebody else's.
    let late = [b"<a b='", &[b'x'; 600][..], b"'/>", &probe].concat();
    for other in [&b"PeerDist"[..], &probe[1..], &late, b"<PeerDist/>", b"", b"<"] {
        capture.udp("192.0.2.1:50001", "192.0.2.2:13702", other);
    }
    let found = objects(&capture.bytes, &[]);
    assert_eq!(names(&found), ["Probe", "ProbeMatches"]);
    assert_eq!(found[1]["answers"], 1);
    let text = decode(&capture.bytes, &[]).stdout();
    let at = 3 + 3 + probe.windows(3).position(|window| window == b"To>").unwrap();
    assert!(text.contains(&format!("  {at:>6}  To ")), "behind the mark: {text}");
}

#[test]
fn a_segment_info_at_the_path_of_version_2_is_one_in_the_wrong_place() {
    let mut capture = Capture::new();
    let mut client = Sender::new(CLIENT, SERVER, 0);
    let info = vector("pchc/segment_info_sha256_two_blocks.bin");
    client.say(&mut capture, &post("/0131501b-d67f-491b-9a40-c4bf27bcb4d4", &info), 1460);
    client.say(&mut capture, &post("/C574AC30-5794-4AEE-B1BB-6651C5315029", &info), 1460);
    let found = objects(&capture.bytes, &["--full"]);
    assert_eq!(names(&found), ["SEGMENT_INFO_MESSAGE"; 2]);
    assert_eq!(found[0]["fields"], found[1]["fields"]);
    assert_eq!(found[0]["faults"][0]["rule"], "a message of version 1.0, at the path of version 2.0");
    assert_eq!((found[0]["faults"].as_array().unwrap().len(), &found[1]["faults"]), (1, &json!([])));
    let secret = hex::encode_upper(&info[98..130]);
    assert!(!found[0].to_string().contains(&secret), "{}", found[0]);
}

/// Both hellos of a connection with this cipher suite.
fn hellos(suite: [u8; 2]) -> [Vec<u8>; 2] {
    let hello = |kind, rest: &[u8]| {
        let body = [&[3, 3][..], &[7; 32], rest].concat();
        let message = [&[kind, 0, 0, body.len() as u8][..], &body].concat();
        [&[22, 3, 3, 0, message.len() as u8][..], &message].concat()
    };
    [hello(1, &[0]), hello(2, &[0, suite[0], suite[1], 0])]
}

#[test]
fn every_connection_of_tls_that_is_not_opened_is_noted() {
    const MANY: u16 = 70;
    let mut capture = Capture::new();
    for port in 0..MANY {
        let client = format!("192.0.2.1:{}", 50_000 + port);
        let (mut asks, mut answers) =
            (Sender::new(&client, "192.0.2.2:443", 0), Sender::new("192.0.2.2:443", &client, 0));
        let [question, answer] = hellos(if port == 0 { [0xC0, 0x28] } else { [0xC0, 0x2F] });
        // Of the second one nothing is there but data.
        if port != 1 {
            asks.say(&mut capture, &question, 1460);
            answers.say(&mut capture, &answer, 1460);
        }
        asks.say(&mut capture, &[23, 3, 3, 0, 4, 1, 2, 3, 4], 1460);
    }
    let ran = decode(&capture.bytes, &[]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""));
    let note = |port: u16, why: &str| format!("192.0.2.1:{} to 192.0.2.2:443 is TLS: {why}", 50_000 + port);
    for (port, why) in [
        (0, "its cipher suite 0xC028 is not one of those that are opened"),
        (1, "its handshake was not captured"),
        (2, "its keys are missing (--tls-keys)"),
    ] {
        assert!(ran.stderr.contains(&note(port, why)), "{port}: {}", ran.stderr);
    }
    assert_eq!(ran.stderr.lines().count(), 65, "{}", ran.stderr);
    assert!(ran.stderr.ends_with(&format!(": {} more connections are TLS that was not opened\n", MANY - 64)));
}
