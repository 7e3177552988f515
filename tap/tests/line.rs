//! A connection as captures see it: whole turns, each with what was decided about it.
#![allow(clippy::unwrap_used)]

use peerdist_tap::{Capture, Carrier, Direction, Line, Place, Protocol, Record, Tap, Tapped, Wish};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// Both ends of a connection, of which the second one is seen: a server's.
fn connection(tap: &Tap) -> (DuplexStream, Tapped<DuplexStream>, Line) {
    let (client, server) = tokio::io::duplex(1 << 16);
    let [own, peer] = ["192.0.2.1:80", "192.0.2.2:1000"].map(|address| address.parse().unwrap());
    let line = Line::new(tap, Protocol::Retrieval, own, peer, false, false);
    (client, Tapped::new(server, line.clone()), line)
}

async fn receive(client: &mut DuplexStream, server: &mut Tapped<DuplexStream>, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
    server.read_exact(&mut vec![0; text.len()]).await.unwrap();
}

async fn send(server: &mut Tapped<DuplexStream>, text: &str) {
    server.write_all(text.as_bytes()).await.unwrap();
    server.flush().await.unwrap();
}

/// Direction, bytes and comment of what waits.
async fn seen(capture: &mut Capture) -> Vec<(Direction, String, String)> {
    let mut seen = Vec::new();
    while !capture.is_empty() {
        let Record { direction, payload, comment, .. } = capture.next().await.unwrap();
        seen.push((direction, String::from_utf8(payload.to_vec()).unwrap(), comment));
    }
    seen
}

fn turn(direction: Direction, text: &str, comment: &str) -> (Direction, String, String) {
    (direction, text.to_owned(), comment.to_owned())
}

use Direction::{Received, Sent};

#[tokio::test]
async fn a_decision_stands_with_the_request_that_it_is_about() {
    let tap = Tap::default();
    let mut capture = tap.capture(Wish::default()).unwrap();
    let (mut client, mut server, line) = connection(&tap);
    receive(&mut client, &mut server, "as").await;
    receive(&mut client, &mut server, "k").await;
    line.decided(|| "busy".to_owned());
    line.decided(|| "refused".to_owned());
    assert!(capture.is_empty(), "more of the request may come");
    send(&mut server, "answer").await;
    assert_eq!(seen(&mut capture).await, [turn(Received, "ask", "busy; refused"), turn(Sent, "answer", "")]);
    line.decided(|| "too late".to_owned());
    receive(&mut client, &mut server, "again").await;
    drop(server);
    assert_eq!(seen(&mut capture).await, [turn(Received, "again", ""), turn(Sent, "", "")]);
}

#[tokio::test]
async fn a_failure_stands_with_what_was_being_received_or_with_the_end() {
    let tap = Tap::default();
    let mut capture = tap.capture(Wish::default()).unwrap();
    let (mut client, mut server, line) = connection(&tap);
    receive(&mut client, &mut server, "half").await;
    line.failed(|| "its time is up".to_owned());
    drop(server);
    assert_eq!(seen(&mut capture).await, [turn(Received, "half", "its time is up"), turn(Sent, "", "")]);

    let (mut client, mut server, line) = connection(&tap);
    receive(&mut client, &mut server, "ask").await;
    let verdict = line.verdict();
    send(&mut server, "answer").await;
    line.failed(|| "nobody takes it".to_owned());
    verdict.say(|| "good".to_owned());
    drop(server);
    let expected = [turn(Received, "ask", "good"), turn(Sent, "answer", ""), turn(Sent, "", "nobody takes it")];
    assert_eq!(seen(&mut capture).await, expected);
}

#[tokio::test]
async fn places_are_those_in_the_streams() {
    let tap = Tap::default();
    let mut capture = tap.capture(Wish::default()).unwrap();
    let (mut client, mut server, _) = connection(&tap);
    receive(&mut client, &mut server, "ask").await;
    send(&mut server, "answer").await;
    receive(&mut client, &mut server, "more").await;
    drop(server);
    let place = |offset, acknowledged, is_request| Place { offset, acknowledged, is_request, is_tls: false };
    let expected = [
        Carrier::Stream(place(0, 0, true)),
        Carrier::Stream(place(0, 3, false)),
        Carrier::Stream(place(3, 6, true)),
        Carrier::End(place(6, 7, false)),
    ];
    for carrier in expected {
        assert_eq!(capture.next().await.unwrap().carrier, carrier);
    }
    assert!(capture.is_empty());
}

#[tokio::test]
async fn a_capture_that_begins_in_the_middle_begins_with_the_next_request() {
    let tap = Tap::default();
    let (mut client, mut server, line) = connection(&tap);
    receive(&mut client, &mut server, "half a ").await;
    let mut capture = tap.capture(Wish::default()).unwrap();
    receive(&mut client, &mut server, "request").await;
    line.decided(|| "of another time".to_owned());
    send(&mut server, "answer").await;
    assert!(capture.is_empty());
    receive(&mut client, &mut server, "ask").await;
    send(&mut server, "answer").await;
    assert_eq!(seen(&mut capture).await, [turn(Received, "ask", ""), turn(Sent, "answer", "")]);
}

#[tokio::test]
async fn what_waited_for_one_capture_is_not_given_to_the_next() {
    let tap = Tap::default();
    let (mut client, mut server, _) = connection(&tap);
    let first = tap.capture(Wish::default()).unwrap();
    receive(&mut client, &mut server, "secret").await;
    drop(first);
    send(&mut server, "answer").await;
    let mut second = tap.capture(Wish::default()).unwrap();
    receive(&mut client, &mut server, "ask").await;
    send(&mut server, "answer").await;
    assert_eq!(seen(&mut second).await, [turn(Received, "ask", ""), turn(Sent, "answer", "")]);
}

#[tokio::test]
async fn what_follows_waits_for_a_verdict_also_behind_the_end() {
    let tap = Tap::default();
    let mut capture = tap.capture(Wish::default()).unwrap();
    let (mut client, mut server, line) = connection(&tap);
    receive(&mut client, &mut server, "first").await;
    let first = line.verdict();
    send(&mut server, "answer").await;
    receive(&mut client, &mut server, "second").await;
    let second = line.verdict();
    drop(server);
    assert!(capture.is_empty());
    second.say(|| "wrong".to_owned());
    assert!(capture.is_empty());
    drop(first);
    let expected =
        [turn(Received, "first", ""), turn(Sent, "answer", ""), turn(Received, "second", "wrong"), turn(Sent, "", "")];
    assert_eq!(seen(&mut capture).await, expected);
}

#[tokio::test]
async fn verdicts_that_do_not_come_hold_few_turns_up() {
    let tap = Tap::default();
    let mut capture = tap.capture(Wish::default()).unwrap();
    let (mut client, mut server, line) = connection(&tap);
    let mut verdicts = Vec::new();
    for _ in 0..20 {
        receive(&mut client, &mut server, "ask").await;
        verdicts.push(line.verdict());
        send(&mut server, "answer").await;
    }
    let turns = seen(&mut capture).await.len();
    assert_eq!(turns, 40 - 16);
}

#[tokio::test]
async fn pieces_that_are_written_together_are_seen_together() {
    let tap = Tap::default();
    let mut capture = tap.capture(Wish::default()).unwrap();
    let (mut client, mut server, _) = connection(&tap);
    receive(&mut client, &mut server, "ask").await;
    let pieces = [std::io::IoSlice::new(b"he"), std::io::IoSlice::new(b""), std::io::IoSlice::new(b"ad")];
    let mut written = server.write_vectored(&pieces).await.unwrap();
    written += server.write(b"tail").await.unwrap();
    server.flush().await.unwrap();
    let mut sent = vec![0; written];
    client.read_exact(&mut sent).await.unwrap();
    let sent = String::from_utf8(sent).unwrap();
    assert_eq!(seen(&mut capture).await, [turn(Received, "ask", ""), turn(Sent, &sent, "")]);
}
