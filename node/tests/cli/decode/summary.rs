//! `peerdist decode --summary`: requests that nobody answered, answers that came early, messages alone.

use serde_json::{Value, json};

use super::capture::{Capture, Sender};
use super::{CLIENT, Content, PATH, SERVER, decode, get_blks, objects, ok, post, vector};

fn line(bytes: &[u8]) -> String {
    decode(bytes, &["--summary"]).stdout().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_probe_that_nobody_answers_has_a_line() {
    let mut capture = Capture::new();
    // It is sent twice, as the document wants.
    for _ in 0..2 {
        capture.udp(CLIENT, "239.255.255.250:3702", &vector("pccrd/probe_v1.xml"));
    }
    let found = objects(&capture.bytes, &["--summary"]);
    let [asking, hosts] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&asking["request"], &asking["answer"]), (&json!("Probe"), &Value::Null));
    assert_eq!((&asking["result"], &asking["server"]), (&json!("no answer seen"), &json!("239.255.255.250:3702")));
    assert_eq!(hosts["hosts"]["192.0.2.1"]["unanswered"], 1);
    capture.udp("192.0.2.2:3702", CLIENT, &vector("pccrd/probematch_v1.xml"));
    let found = objects(&capture.bytes, &["--summary"]);
    let [asking, hosts] = &found[..] else { panic!("{found:?}") };
    assert_eq!(asking["answer"], "ProbeMatches");
    assert_eq!(hosts["hosts"]["192.0.2.1"]["unanswered"], 0);
}

#[test]
fn lines_have_a_date_and_say_when_there_was_no_answer() {
    let content = Content::new();
    let mut capture = Capture::new();
    let mut client = Sender::new(CLIENT, SERVER, 0);
    client.say(&mut capture, &post(PATH, &get_blks(content.ids[0])), 1460);
    let id = &content.ids[0].to_string()[..16];
    let expected = format!(
        "2023-11-14 22:13:20.001000Z  {CLIENT} asks {SERVER}: MSG_GETBLKS segment {id}.. block 0 -> no answer seen"
    );
    assert_eq!(line(&capture.bytes), expected);
}

#[test]
fn an_answer_whose_request_was_not_seen_says_so_without_stray_blanks() {
    let mut capture = Capture::new();
    let answer = vector("pccrd/probematch_v1.xml");
    let spoilt = String::from_utf8(answer).unwrap().replace("MessageID", "MessageId");
    capture.udp("192.0.2.2:3702", CLIENT, spoilt.as_bytes());
    let line = line(&capture.bytes);
    let asked = format!("Z  {CLIENT} asks 192.0.2.2:3702: a request that was not seen -> ProbeMatches ");
    assert!(line.contains(&asked) && line.ends_with(", malformed"), "{line}");
    assert!(!line.contains(" ,") && !line.contains('?') && !line[28..].contains("  "), "{line}");
}

#[test]
fn a_message_that_came_alone_has_a_line_without_hosts() {
    let content = Content::new();
    let id = &content.ids[0].to_string()[..16];
    let request = get_blks(content.ids[0]);
    for bytes in [request.clone(), post(PATH, &request)] {
        assert_eq!(line(&bytes), format!("MSG_GETBLKS segment {id}.. block 0 -> no answer seen"));
    }
    // The last word but one is the Count of its range.
    let mut none = request;
    let count = none.len() - 8;
    none[count..count + 4].fill(0);
    assert_eq!(line(&none), format!("MSG_GETBLKS segment {id}.. no blocks -> no answer seen"));
    assert_eq!(line(&[0, 0, 0, 1, 1]), "RESPONSE_MESSAGE INTERESTED");
    assert_eq!(line(&content.information), "CONTENT_INFORMATION_2.0 2 segments");
    let expected = "Probe -> no answer seen";
    let probe = line(&vector("pccrd/probe_v1.xml"));
    assert!(probe.starts_with("Probe segment ") && probe.ends_with(&expected[5..]), "{probe}");
    assert_eq!(objects(&none, &["--summary"])[0]["result"], "no answer seen");
}

#[test]
fn an_answer_that_comes_before_the_end_of_its_request_is_paired_with_it() {
    let content = Content::new();
    let refused = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\nno";
    let request = post(PATH, &get_blks(content.ids[0]));
    // How much of the request comes before the answer and behind it, and whether the answer comes at once.
    let half = request.len() - 5;
    for (before, is_whole, at_once) in
        [(half, false, true), (half, true, true), (half, true, false), (half, false, false)]
    {
        let mut capture = Capture::new();
        let (mut client, mut server) = (Sender::new(CLIENT, SERVER, 0), Sender::new(SERVER, CLIENT, 0));
        client.say(&mut capture, &request[..before], 1460);
        server.acknowledged = client.next;
        let head = if at_once { refused.len() } else { refused.len() - 2 };
        server.say(&mut capture, &refused[..head], 1460);
        if is_whole {
            client.say(&mut capture, &request[before..], 1460);
            server.acknowledged = client.next;
        }
        server.say(&mut capture, &refused[head..], 1460);
        if is_whole {
            // The connection goes on.
            client.say(&mut capture, &post(PATH, &get_blks(content.ids[1])), 1460);
            server.say(&mut capture, &ok(&content.blocks[1]), 1460);
        } else {
            capture.frame(&server.at(server.next, b"", Some('R')));
        }
        let place = format!("{is_whole} {at_once}");
        let found = objects(&capture.bytes, &[]);
        let pairs: Vec<_> =
            found.iter().map(|object| (object["message"].as_str(), object["answers"].as_u64())).collect();
        let expected = [
            (Some("MSG_GETBLKS"), None),
            (Some("HTTP_RESPONSE"), Some(1)),
            (Some("MSG_GETBLKS"), None),
            (Some("MSG_BLK"), Some(3)),
        ];
        assert_eq!(pairs, expected[..if is_whole { 4 } else { 2 }], "{place}");
        assert_eq!(found[0]["faults"].as_array().unwrap().is_empty(), is_whole, "{place}");
        let found = objects(&capture.bytes, &["--summary"]);
        assert_eq!(found.len(), if is_whole { 3 } else { 2 }, "{place}: {found:?}");
        assert_eq!(found[0]["result"], "status 413", "{place}");
        assert_eq!(found[0]["request"], "MSG_GETBLKS", "{place}");
    }
}
