//! `peerdist decode` and messages of which the capture has a part only: with `--snaplen`, or since the stream ends.

use serde_json::{Value, json};

use super::capture::{Capture, Sender};
use super::{CLIENT, Content, PATH, SERVER, decode, get_blks, objects, ok, post, vector};

/// A capture of one exchange of which these bytes of the bodies were captured; the packets say how long they were.
fn cut(request: &[u8], of_request: usize, answer: &[u8], of_answer: usize) -> Vec<u8> {
    let (request, answer) = ((post(PATH, request), request), (ok(answer), answer));
    let mut capture = Capture::new();
    let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 0), Sender::new(SERVER, CLIENT, 0));
    for (sender, (bytes, body), kept) in [(&mut client, request, of_request), (&mut server, answer, of_answer)] {
        let kept = bytes.len() - body.len().saturating_sub(kept);
        sender.say(&mut capture, &bytes[..kept - 1], 30_000);
        // The packet with the last byte has lost others.
        let last = &bytes[kept - 1..][..100.min(bytes.len() - kept + 1)];
        let frame = sender.at(sender.next, last, None);
        capture.frame(&frame[..frame.len() - last.len() + 1]);
        sender.next = bytes.len() as u32;
    }
    client.end(&mut capture);
    server.end(&mut capture);
    capture.bytes
}

/// The first lines of the messages, from their names on.
fn lines(capture: &[u8]) -> Vec<String> {
    let text = decode(capture, &[]).stdout;
    let line =
        |line: &str| line.split_once(" MS-PCCR").map(|(_, line)| line.split(" after ").next().unwrap().to_owned());
    text.lines().filter(|line| line.starts_with('#')).map(|text| line(text).unwrap()).collect()
}

#[test]
fn of_a_message_that_is_cut_off_inside_a_field_only_what_was_read_whole_is_told() {
    let content = Content::new();
    let (request, answer) = (get_blks(content.ids[0]), &content.blocks[0]);
    let id = content.ids[0].to_string()[..16].to_owned();
    let size = answer.len() - 100;
    // The answer's size stands before it; header, size of the id, the id.
    let (block, asked) = (4 + 16 + 4 + 32, 16 + 4 + 32);
    for (of_request, of_answer, expected) in [
        (asked - 1, block - 1, ["", ""]),
        (asked, block, ["segment ID..", "segment ID.."]),
        (asked + 3, block + 3, ["segment ID..", "segment ID.."]),
        (asked + 4, block + 4, ["segment ID..", "segment ID.. block 0"]),
        (asked + 4 + 7, block + 11, ["segment ID..", "segment ID.. block 0"]),
        (asked + 4 + 8, size, ["segment ID.. block 0", "segment ID.. block 0, SIZE bytes"]),
    ] {
        let capture = cut(&request, of_request, answer, of_answer);
        let sealed = objects(&cut(&request, 1000, answer, answer.len()), &[])[1]["fields"]["SizeOfBlock"].to_string();
        let of = |name: &str, what: &str| {
            let what = what.replace("ID", &id).replace("SIZE", &sealed);
            format!("R {name}{}{what}", if what.is_empty() { "" } else { ", " })
        };
        let [asked, answered] = &lines(&capture)[..] else { panic!("{of_request} {of_answer}") };
        assert_eq!(*asked, of("MSG_GETBLKS", expected[0]) + ", cut off", "{of_request}");
        assert_eq!(*answered, of("MSG_BLK", expected[1]) + ", cut off, to #1", "{of_answer}");
        // What is missing is noted on standard error.
        let text = decode(&capture, &["--summary", "--json"]).stdout;
        let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [asking, hosts] = &found[..] else { panic!("{found:?}") };
        assert!(asking["result"].as_str().unwrap().ends_with("cut off"), "{asking}");
        assert!(!asking.to_string().contains("not held") && !asking.to_string().contains("no blocks"), "{asking}");
        let host = &hosts["hosts"]["192.0.2.2"];
        let counted = ["answered", "cut_off", "malformed", "blocks_sent", "block_bytes_sent", "blocks_not_held"];
        assert_eq!(counted.map(|name| host[name].as_u64().unwrap()), [1, 1, 0, 0, 0, 0], "{host}");
    }
}

#[test]
fn versions_that_were_not_captured_are_not_zero() {
    let [request, answer] = ["req", "resp"].map(|kind| vector(&format!("pccrr/nego_{kind}_1_0_only.bin")));
    let whole = lines(&cut(&request, request.len(), &answer, answer.len()));
    assert_eq!(whole, ["R MSG_NEGO_REQ, 1.0 to 1.0", "R MSG_NEGO_RESP, 1.0 to 1.0, to #1"]);
    let cut = lines(&cut(&request, request.len() - 1, &answer, answer.len() - 1));
    assert_eq!(cut, ["R MSG_NEGO_REQ, cut off", "R MSG_NEGO_RESP, cut off, to #1"]);
}

#[test]
fn a_datagram_without_its_end_is_cut_off_and_has_no_field_that_was_not_read_whole() {
    let probe = vector("pccrd/probe_v1.xml");
    let mut whole = Capture::new();
    whole.udp(CLIENT, "239.255.255.250:3702", &probe);
    let fields = objects(&whole.bytes, &[])[0]["fields"].clone();
    let types = probe.windows(8).position(|window| window == b"PeerDist").unwrap();
    // The name of the protocol stands in a namespace before all fields.
    for kept in (types + 8..probe.len()).step_by(7).chain([probe.len() - 1]) {
        let mut capture = Capture::new();
        let mut packet = Vec::new();
        let ip = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([192, 0, 2, 1], [239, 255, 255, 250], 1);
        ip.udp(50_000, 3702).write(&mut packet, &probe).unwrap();
        capture.frame(&packet[..packet.len() - (probe.len() - kept)]);
        let found = objects(&capture.bytes, &["--full"]);
        let [object] = &found[..] else { panic!("{found:?}") };
        for (name, value) in object["fields"].as_object().unwrap() {
            assert_eq!(*value, fields[name], "{kept}");
        }
        let rules: Vec<_> = object["faults"].as_array().unwrap().iter().map(|fault| fault["rule"].clone()).collect();
        assert_eq!(rules, [json!("the message is not whole: bytes of it were not captured")], "{kept}");
        assert!(decode(&capture.bytes, &[]).stdout().lines().next().unwrap().ends_with(", cut off"));
        let hosts = objects(&capture.bytes, &["--summary"]).last().unwrap()["hosts"]["192.0.2.1"].clone();
        assert_eq!([&hosts["malformed"], &hosts["cut_off"]], [&Value::from(0), &Value::from(1)]);
    }
}
