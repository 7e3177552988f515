//! What somebody sends to keep the dissector busy, or to make it fail.

use std::time::{Duration, Instant};

use peerdist_interop_tests::dissector;

use crate::capture::{Capture, Connection};
use crate::displaced::exchange;
use crate::{ok, read};

const POST: &str = "POST /116B50EB-ECE2-41ac-8429-9F9E963361B7/ HTTP/1.1\r\n";
/// The most requests of a connection that wait for their answers.
const MAX_ASKED: usize = 64;

/// How much longer tshark may take with the dissector. A pattern of quadratic time takes half a minute for each message.
const MORE: Duration = Duration::from_secs(10);

#[test]
fn blanks_and_zeros_without_end_take_no_more_time_than_others() {
    let (blanks, zeros, letters) = (" \t".repeat(30_000), "0".repeat(60_000), "a".repeat(60_000));
    let mut capture = Capture::new();
    for datagram in [
        format!("<Types>PeerDist{blanks}x</Types>"),
        format!("<a>PeerDist</a{blanks}x>"),
        format!("<Scopes>PeerDist</Scopes><Action>{letters}/</Action>"),
        format!("<MetadataVersion>{zeros}x</MetadataVersion><To>PeerDist</To>"),
    ] {
        capture.datagram(false, datagram.as_bytes());
    }
    for lines in [
        format!("X-P2P-PeerDist: a{blanks}x"),
        format!("X-P2P-PeerDist: Version=1.1\r\nOther: a{blanks}x"),
        format!("X-P2P-PeerDist: ContentLength={zeros}x"),
    ] {
        let mut connection = capture.connect();
        capture.ask(&mut connection, format!("GET /x HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes());
    }
    assert_takes_little(&mut capture);
}

#[track_caller]
fn assert_takes_little(capture: &mut Capture) {
    let took = |tshark: &dyn Fn() -> String| {
        let began = Instant::now();
        let text = tshark();
        assert!(!text.contains("the dissector failed"));
        began.elapsed()
    };
    let file = capture.file();
    let alone = took(&|| dissector::tshark_alone(file, &["-V"]));
    let with = took(&|| dissector::tshark(file, &["-V"]));
    assert!(with < alone + MORE, "{with:?} instead of {alone:?}");
}

#[test]
fn many_answers_during_a_request_without_end_take_no_more_time_than_others() {
    let mut capture = Capture::new();
    let mut connection = capture.connect();
    capture.ask(&mut connection, format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(450_000)).as_bytes());
    capture.answer(&mut connection, &ok("", b"").repeat(20_000));
    assert_takes_little(&mut capture);
}

#[test]
fn a_carriage_return_alone_makes_no_head_and_no_error_of_lua() {
    let head = format!("{POST}Host: x\r\nContent-Length: 0\r\n\r\n");
    let mut capture = Capture::new();
    for at in [4, POST.len() - 10, POST.len() + 5] {
        let mut broken = head.clone();
        broken.insert(at, '\r');
        let mut connection = capture.connect();
        // So that Wireshark takes it for HTTP.
        capture.ask(&mut connection, b"GET /x HTTP/1.1\r\n\r\n");
        capture.ask(&mut connection, broken.as_bytes());
        capture.end(&mut connection);
    }
    let text = dissector::tshark(capture.file(), &["-2", "-V"]);
    assert!(!text.contains("the dissector failed"), "{text}");
    assert!(dissector::messages(capture.file()).is_empty());
}

/// Asks or answers so many times.
fn times(capture: &mut Capture, connection: &mut Connection, asked: usize, answered: usize) {
    let [request, answer] = exchange(9);
    (0..asked).for_each(|_| capture.ask(connection, &request));
    (0..answered).for_each(|_| capture.answer(connection, &answer));
}

/// Which of the answers have a request.
fn paired(capture: &mut Capture) -> Vec<bool> {
    let shown = dissector::messages(capture.file());
    shown.iter().filter(|shown| shown.message == "MSG_BLK").map(|shown| shown.request_in.is_some()).collect()
}

#[test]
fn after_too_many_requests_no_answer_is_paired_until_all_have_theirs() {
    let mut capture = Capture::new();
    let mut connection = capture.connect();
    times(&mut capture, &mut connection, MAX_ASKED, MAX_ASKED);
    times(&mut capture, &mut connection, MAX_ASKED + 6, MAX_ASKED + 6);
    times(&mut capture, &mut connection, 1, 1);
    let expected = [vec![true; MAX_ASKED], vec![false; MAX_ASKED + 6], vec![true]].concat();
    assert_eq!(paired(&mut capture), expected);
}

#[test]
fn after_a_request_that_was_not_captured_no_answer_is_paired_until_all_have_theirs() {
    let [request, _] = exchange(9);
    for before in [0, 1] {
        let mut capture = Capture::new();
        let mut connection = capture.connect();
        times(&mut capture, &mut connection, 1, 1);
        times(&mut capture, &mut connection, before, 0);
        Capture::lose(&mut connection, &request);
        times(&mut capture, &mut connection, 2 - before, 3);
        times(&mut capture, &mut connection, 1, 1);
        assert_eq!(paired(&mut capture), [true, false, false, false, true], "{before}");
    }
}

#[test]
fn other_blanks_than_those_of_xml_and_http_belong_to_a_value() {
    let probe = String::from_utf8(read("pccrd/probe_v1.xml")).unwrap();
    let mut capture = Capture::new();
    for blank in ["\u{a0}", "\u{2028}", "\u{c}"] {
        for element in ["Types", "Scopes", "MessageID", "To"] {
            let end = probe.find(&format!("{element}>")).map_or(0, |at| at + element.len() + 1);
            let closing = probe[end..].find("</").unwrap() + end;
            let (before, after) = probe.split_at(closing);
            capture.datagram(false, format!("{before}{blank}{after}").as_bytes());
            capture.datagram(false, format!("{}{blank}{}", &probe[..end], &probe[end..]).as_bytes());
        }
    }
    for lines in ["ContentLength=\u{a0}5", "Version=1.1\u{2028}", "\u{a0}Version=1.1", "Version\u{a0}=1.1"] {
        let head = format!("GET /x HTTP/1.1\r\nAccept-Encoding: peerdist\r\nX-P2P-PeerDist: {lines}\r\n\r\n");
        let mut connection = capture.connect();
        capture.ask(&mut connection, head.as_bytes());
    }
    let shown = dissector::assert_agreement(capture.file());
    let has = |name: &str, value: &str| {
        shown.iter().flat_map(|shown| &shown.fields).any(|(known, text)| known == name && text == value)
    };
    assert!(has("pccrtp.contentlength.text", "\u{a0}5") && has("pccrtp.version", "1.1\u{2028}"), "{shown:#?}");
    assert_eq!(shown.iter().filter(|shown| shown.message == "request").map(|shown| shown.odd.len()).sum::<usize>(), 4);
}
