//! The control sockets, spoken to with the library's client and by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use bytes::Bytes;
use peerdist_node::api::{Status, StatusInfo};
use peerdist_node::control::client::{ClientError, RemoteRead, Session};
use peerdist_node::control::wire::{ErrorCode, Event};
use peerdist_node::fetch::Source;
use peerdist_protocol::content::ContentVersion;
use rustix::process::Signal;

use crate::daemon::Home;
use crate::fixture::{content, information};

#[track_caller]
fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ErrorCode {
    match result {
        Err(ClientError::Refused { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_added_is_read_by_everybody() {
    let home = Home::new("");
    let _daemon = home.start();
    for version in [ContentVersion::V1, ContentVersion::V2] {
        let bytes = Bytes::from(content(300_000));
        let information = information(&bytes, version);
        let session = home.session().await;
        let first = session.open_content(information.emit().into()).await.unwrap();
        assert!(matches!(first.ranges(), [range] if *range == (0..300_000)));
        let RemoteRead::Missing { range, .. } = first.next(0).await.unwrap() else { panic!("it is not there") };
        assert_eq!(range.start, 0);
        assert_eq!(code(first.next(300_000).await), ErrorCode::NoMore);

        first.add_data(0, bytes.slice(..200_001)).await.unwrap();
        first.add_data(200_001, bytes.slice(200_001..)).await.unwrap();
        assert_eq!(read_all(&first).await, bytes);
        first.close().await.unwrap();

        let other_session = home.session().await;
        let second = other_session.open_content(information.emit().into()).await.unwrap();
        assert_eq!(read_all(&second).await, bytes, "from the cache");
        assert!(second.why().await.unwrap().is_object());
    }
    let stats = home.admin().cache_stats().await.unwrap();
    assert!(stats.blocks >= 5 + 3, "{stats:?}");
}

async fn read_all(content: &peerdist_node::control::client::RemoteContent) -> Vec<u8> {
    let mut all = Vec::new();
    let end = content.ranges().last().unwrap().end;
    while (all.len() as u64) < end {
        match content.next(all.len() as u64).await.unwrap() {
            RemoteRead::Data { range, bytes, source } => {
                assert_eq!((range.start, range.end), (all.len() as u64, (all.len() + bytes.len()) as u64));
                assert!(!matches!(source, Source::Peer(_)));
                all.extend_from_slice(&bytes);
            }
            RemoteRead::Missing { range, reason } => panic!("{range:?} is missing: {reason:?}"),
        }
    }
    all
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_not_read() {
    let home = Home::new("");
    let _daemon = home.start();
    let bytes = content(100_000);
    let information = information(&bytes, ContentVersion::V1);
    let session = home.session().await;
    let open = session.open_content(information.emit().into()).await.unwrap();
    let wrong = Bytes::from(vec![0; 65_536]);
    assert_eq!(code(open.add_data(0, wrong).await), ErrorCode::WrongHash);
    assert!(matches!(open.next(0).await.unwrap(), RemoteRead::Missing { .. }));
    assert_eq!(home.admin().cache_stats().await.unwrap().blocks, 0);
}

#[tokio::test]
async fn the_end_of_the_anchor_ends_the_session() {
    let home = Home::new("");
    let _daemon = home.start();
    let information = information(&content(1000), ContentVersion::V2);
    let session = home.session().await;
    let open = session.open_content(information.emit().into()).await.unwrap();
    drop(session);
    // The daemon learns of it from the closed connection, and counts the session no more.
    loop {
        let status = home.admin().status().await.unwrap();
        if status["api"]["sessions"] == 0 {
            assert_eq!(status["api"]["contents"], 0);
            assert_eq!(status["api"]["staged_bytes"], 0);
            break;
        }
    }
    assert_eq!(code(open.next(0).await), ErrorCode::NoSession);
    let other = home.session().await;
    assert_eq!(code(open.next(0).await), ErrorCode::NoSession, "another session does not help");
    drop(other);
}

/// A node that asks the loopback, where nobody answers, and waits for an hour.
fn patient() -> Home {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Home::new(&format!(
        "node.mode = \"client\"\ndiscovery.interfaces = [\"lo\"]\ndiscovery.port = {port}\nfetch.probe_timeout = \"1h\"\n"
    ))
}

/// Waits until the node has asked: then a read is under way.
async fn asked(home: &Home) {
    while home.admin().status().await.unwrap()["fetching"]["probes"] == 0 {}
}

#[tokio::test]
async fn closing_a_content_or_its_session_cancels_its_reads() {
    let home = patient();
    let daemon = home.start();
    let ci = Bytes::from(information(&content(100_000), ContentVersion::V1).emit());
    for ending in ["content", "session", "daemon"] {
        let session = home.session().await;
        let open = Arc::new(session.open_content(ci.clone()).await.unwrap());
        let reading = tokio::spawn({
            let open = Arc::clone(&open);
            async move { open.next(0).await }
        });
        asked(&home).await;
        assert!(!reading.is_finished());
        match ending {
            "content" => open.close().await.unwrap(),
            "session" => drop(session),
            _ => daemon.signal(Signal::TERM),
        }
        // A request that comes after the end finds nothing to read.
        let ended = code(reading.await.unwrap());
        assert!(
            matches!(
                ended,
                ErrorCode::Cancelled | ErrorCode::NoContent | ErrorCode::NoSession | ErrorCode::Invalidated
            ),
            "{ending}: {ended:?}"
        );
    }
    assert!(daemon.wait().success(), "{}", home.log());
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_is_in_nobodys_way() {
    let home = patient();
    let _daemon = home.start();
    let bytes = Bytes::from(content(100_000));
    let session = home.session().await;
    let open = session.open_content(information(&bytes, ContentVersion::V1).emit().into()).await.unwrap();
    tokio::select! {
        read = open.next(0) => panic!("nobody holds it: {read:?}"),
        () = asked(&home) => {}
    }
    open.add_data(0, bytes.clone()).await.unwrap();
    assert_eq!(read_all(&open).await, bytes);
}

#[tokio::test]
async fn a_stopping_daemon_says_so() {
    let home = Home::new("");
    let daemon = home.start();
    let mut session = home.session().await;
    let status = |status| Some(Event::Status(StatusInfo::of(status)));
    assert_eq!(session.next_event().await.unwrap(), status(Status::Available));
    daemon.signal(Signal::TERM);
    assert_eq!(session.next_event().await.unwrap(), Some(Event::Stopping));
    assert_eq!(session.next_event().await.unwrap(), None);
    assert!(daemon.wait().success(), "{}", home.log());
    assert!(matches!(Session::open(home.api_socket()).await, Err(ClientError::NoDaemon { .. })));
}

#[tokio::test]
async fn quotas_hold() {
    let home = Home::new("control.max_contents_per_user = 2\ncontrol.max_staged_per_user = \"64 KiB\"\n");
    let _daemon = home.start();
    let small = Bytes::from(information(&content(1000), ContentVersion::V2).emit());
    let session = home.session().await;
    let first = session.open_content(small.clone()).await.unwrap();
    let _second = session.open_content(small.clone()).await.unwrap();
    assert_eq!(code(session.open_content(small.clone()).await), ErrorCode::Quota);
    first.close().await.unwrap();
    let large = Bytes::from(information(&content(30_000_000), ContentVersion::V1).emit());
    assert_eq!(code(session.open_content(large).await), ErrorCode::Quota);
    session.open_content(small).await.unwrap();
    assert_eq!(home.admin().status().await.unwrap()["api"]["contents"], 2);
}

#[tokio::test]
async fn what_is_no_content_information_is_refused() {
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    assert_eq!(code(session.open_content(Bytes::from_static(b"PK")).await), ErrorCode::VersionUnsupported);
    assert_eq!(code(session.open_content(Bytes::from_static(b"\x00\x01PK")).await), ErrorCode::NotContentInformation);
}

#[tokio::test]
async fn the_counters_are_the_same_in_both_forms() {
    let home = Home::new("");
    let _daemon = home.start();
    let status = home.admin().status().await.unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let metrics = home.admin().metrics().await.unwrap();
    let limit = format!("peerdist_cache_limit {}\n", status["cache"]["limit"]);
    assert!(metrics.contains(&limit), "{metrics}");
    assert!(metrics.contains("peerdist_cache_hits_total 0\n"), "{metrics}");
    assert!(home.admin().why().await.is_ok());
}

/// Sends bytes as they are and reads until the daemon closes the connection.
pub(crate) fn raw(path: &std::path::Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_request_by_hand_gets_an_answer_whatever_it_is() {
    let home = Home::new("");
    let _daemon = home.start();
    let api = home.api_socket();
    let head = "Host: x\r\nConnection: close\r\n";
    for (request, status, said) in [
        (format!("GET /v1/status HTTP/1.1\r\n{head}\r\n"), "200", "\"status\":\"available\""),
        (format!("GET /nothing HTTP/1.1\r\n{head}\r\n"), "404", "not_found"),
        (format!("DELETE /v1/status HTTP/1.1\r\n{head}\r\n"), "405", ""),
        (format!("POST /v1/contents HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n"), "401", "no_session"),
        (format!("GET /v1/contents/1/data HTTP/1.1\r\n{head}Peerdist-Session: x\r\n\r\n"), "400", "bad_request"),
        (
            format!("GET /v1/contents/x/data?position=0 HTTP/1.1\r\n{head}Peerdist-Session: x\r\n\r\n"),
            "400",
            "bad_request",
        ),
        (
            format!("GET /v1/contents/1/data?position=0 HTTP/1.1\r\n{head}Peerdist-Session: x\r\n\r\n"),
            "401",
            "no_session",
        ),
        ("garbage\r\n\r\n".to_owned(), "400", ""),
    ] {
        let answer = raw(&api, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        assert!(answer.contains(said), "{request}: {answer}");
    }
    let admin = raw(&home.admin_socket(), &format!("GET /v1/cache/segments?after=xyz HTTP/1.1\r\n{head}\r\n"));
    assert!(admin.starts_with("HTTP/1.1 400"), "{admin}");
    let wrong_socket = raw(&api, &format!("POST /v1/cache/clear HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n"));
    assert!(wrong_socket.starts_with("HTTP/1.1 404"), "administration is not for everybody: {wrong_socket}");
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_comes() {
    let home = Home::new("");
    let _daemon = home.start();
    let api = home.api_socket();
    // The answer to this request is the session, so its connection stays open.
    let mut anchor = UnixStream::connect(&api).unwrap();
    anchor.write_all(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    let mut buffer = [0; 1024];
    while !answer.contains("\"token\":\"") || !answer.ends_with('\n') {
        let size = anchor.read(&mut buffer).unwrap();
        assert_ne!(size, 0, "{answer}");
        answer.push_str(std::str::from_utf8(&buffer[..size]).unwrap());
    }
    let token = answer.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap();
    let request = format!(
        "POST /v1/contents HTTP/1.1\r\nHost: x\r\nConnection: close\r\nPeerdist-Session: {token}\r\nContent-Length: 999999999999\r\n\r\n"
    );
    assert!(raw(&api, &request).starts_with("HTTP/1.1 413"));
    let chunked = format!(
        "POST /v1/contents HTTP/1.1\r\nHost: x\r\nConnection: close\r\nPeerdist-Session: {token}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    assert!(raw(&api, &chunked).starts_with("HTTP/1.1 400"));
}
