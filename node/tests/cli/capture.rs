//! `peerdist capture`: what is in the file, who may have one, and what a slow reader loses.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use peerdist_node::control::client::ClientError;
use peerdist_node::control::wire::ErrorCode;
use peerdist_protocol::content::{CryptoAlgoId, SegmentId};
use peerdist_protocol::hosted_cache::{BatchedOffer, ContentTag, Offer, SegmentDescriptor, Version};
use peerdist_protocol::retrieval::{Exchange, PATH, VersionRange};
use peerdist_tap::{MAX_CAPTURES, MAX_WAITING};
use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::{Daemon, Home};
use crate::run::{Going, Ran, command};

const LIMIT: Duration = Duration::from_secs(60);

/// A hosted cache on the loopback, with its port.
fn hosted_cache() -> (Home, Daemon, u16) {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let home = Home::new(&format!(
        "node.mode = \"hosted-cache\"\nnode.listen = [\"127.0.0.1\"]\nnode.port = {port}\nhosted_cache.http_port = {port}\n\
         cache.keep_free = \"1 MiB\"\n"
    ));
    let daemon = home.start();
    (home, daemon, port)
}

fn segment() -> SegmentId {
    SegmentId::from_slice(&[7; 32]).unwrap()
}

fn request(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Sends a request on a connection of its own, and returns the status line of the answer.
fn ask(port: u16, path: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(&request(path, body)).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

fn offer() -> Vec<u8> {
    let segments = vec![SegmentDescriptor {
        block_size: 1000,
        segment_size: 1000,
        content_tag: ContentTag::WEBIO,
        hash_algorithm: 4,
        segment_id: segment(),
    }];
    // Nobody listens where the block would be.
    Offer::Batched(BatchedOffer { port: 1, segments }).emit()
}

/// Starts a capture, and waits until it goes on.
fn start(home: &Home, file: &Path, words: &[&str]) -> Going {
    let mut command = home.command(&["capture"]);
    command.args(words).arg("-o").arg(file);
    let going = Going::start(command);
    let deadline = Instant::now() + LIMIT;
    while fs::metadata(file).map_or(0, |file| file.len()) == 0 {
        assert!(Instant::now() < deadline, "the capture does not begin");
        thread::yield_now();
    }
    going
}

fn decoded(file: &Path) -> Vec<Value> {
    let mut decode = command(["decode", "--json"]);
    decode.arg(file);
    let decoded = Ran::of(decode);
    assert_eq!(decoded.status, 0, "{}", decoded.stderr);
    decoded.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Name and comment of every message.
fn comments(messages: &[Value]) -> Vec<(&str, &str)> {
    messages.iter().map(|message| (text(message, "message"), text(message, "comment"))).collect()
}

fn text<'v>(message: &'v Value, member: &str) -> &'v str {
    message[member].as_str().unwrap_or_default()
}

#[test]
fn a_capture_has_every_message_and_what_was_decided() {
    let (home, _daemon, port) = hosted_cache();
    let file = home.path("all.pcapng");
    let capture = start(&home, &file, &["--count", "9"]);
    let block = Exchange::get_block(segment(), 3, CryptoAlgoId::Aes128);
    assert!(ask(port, PATH, &Exchange::negotiate(VersionRange::ALL).body()).contains("200"));
    assert!(ask(port, PATH, &block.body()).contains("200"));
    assert!(ask(port, PATH, b"nonsense").contains("400"));
    assert!(ask(port, Version::V2.path(), &offer()).contains("200"));
    assert!(ask(port, "/elsewhere", b"").contains("404"));
    // The ninth message is the first one of another exchange.
    assert!(ask(port, PATH, &block.body()).contains("200"));
    let (status, said) = capture.wait();
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("packets\n") && !said.contains("lost"), "{said}");

    let messages = decoded(&file);
    let found = comments(&messages);
    for expected in [
        ("MSG_NEGO_REQ", "answered with the versions spoken here"),
        ("MSG_GETBLKS", "block 3 not held"),
        ("BATCHED_OFFER_MESSAGE", "offer taken, answered Ok"),
        ("MSG_NEGO_RESP", ""),
        ("MSG_BLK", ""),
        ("RESPONSE_MESSAGE", ""),
    ] {
        assert!(found.contains(&expected), "{expected:?} is not among {found:#?}");
    }
    let (_, refused) = found.iter().find(|(_, comment)| comment.starts_with("discarded: ")).unwrap();
    assert!(refused.ends_with("; refused: 400 Bad Request"), "{refused}");
    let mut text_form = command(["decode"]);
    text_form.arg(&file);
    assert!(Ran::of(text_form).stdout().contains("\n  comment: block 3 not held\n"));
    let negotiated = messages.iter().find(|message| message["message"] == "MSG_NEGO_RESP").unwrap();
    assert!(text(negotiated, "source").ends_with(&format!(":{port}")), "{negotiated}");
    assert!(negotiated["answers"].is_u64() && negotiated["took"].is_string(), "{negotiated}");
}

#[test]
fn a_filter_and_a_snap_length_leave_the_rest_out() {
    let (home, _daemon, port) = hosted_cache();
    let file = home.path("offers.pcapng");
    let capture = start(&home, &file, &["--count", "2", "--protocol", "hosted-cache", "--snaplen", "16"]);
    let answer = ask(port, PATH, &Exchange::negotiate(VersionRange::ALL).body());
    assert!(answer.contains("200"));
    ask(port, Version::V2.path(), &offer());
    assert_eq!(capture.wait().0, 0);
    let bytes = fs::read(&file).unwrap();
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(has(b"POST /0131501b-") && has(b"offer taken, answered Ok"));
    assert!(!has(b"Host: test") && !has(&[7; 32]) && !has(b"/116B50EB"));
}

#[test]
fn a_file_is_its_owners_alone_and_overwritten_by_force_alone() {
    let (home, _daemon, port) = hosted_cache();
    let file = home.path("own.pcapng");
    fs::write(&file, "precious").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let path = file.to_str().unwrap();
    let said = home.peerdist(&["capture", "-o", path, "--seconds", "1"]).error(1);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    let capture = home.command(&["capture", "-o", path, "--force", "--count", "1"]);
    let mut capture = Going::start(capture);
    let deadline = Instant::now() + LIMIT;
    while fs::read(&file).unwrap().first() != Some(&0x0a) {
        assert!(Instant::now() < deadline, "the capture does not begin");
        thread::yield_now();
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    ask(port, PATH, &Exchange::negotiate(VersionRange::ALL).body());
    assert_eq!(capture.rest(), "");
    assert_eq!(capture.wait().0, 0);
    assert!(!decoded(&file).is_empty());
}

#[test]
fn a_capture_ends_in_time_and_on_a_signal_and_with_the_daemon() {
    let (home, daemon, _) = hosted_cache();
    let timed = home.path("timed");
    let said = home.peerdist(&["capture", "--seconds", "1", "-o", timed.to_str().unwrap()]);
    assert_eq!((said.status, said.stdout.as_str()), (0, ""), "{}", said.stderr);
    assert_eq!(decoded(&timed), Vec::<Value>::new());
    let files = ["signal", "daemon"].map(|name| home.path(name));
    let [signalled, ended] = files.each_ref().map(|file| start(&home, file, &[]));
    signalled.signal(Signal::INT);
    assert_eq!(signalled.wait().0, 0);
    daemon.signal(Signal::TERM);
    assert_eq!(ended.wait().0, 0);
    assert!(daemon.wait().success());
    for file in files {
        assert_eq!(decoded(&file), Vec::<Value>::new());
    }
}

#[test]
fn there_are_few_captures_at_once_and_one_that_ends_makes_room() {
    let (home, _daemon, _) = hosted_cache();
    let mut captures: Vec<_> =
        (0..MAX_CAPTURES).map(|number| start(&home, &home.path(&format!("{number}.pcapng")), &[])).collect();
    let one_more = home.path("more.pcapng");
    let path = one_more.to_str().unwrap();
    let said = home.peerdist(&["capture", "-o", path]).error(1);
    assert!(said.contains("captures already"), "{said}");
    assert!(!one_more.exists());
    // Gone without a word.
    let gone = captures.pop().unwrap();
    gone.signal(Signal::KILL);
    drop(gone);
    let deadline = Instant::now() + LIMIT;
    while home.peerdist(&["capture", "-o", path, "--force", "--seconds", "1"]).status != 0 {
        assert!(Instant::now() < deadline, "the place of a capture that is gone stays taken");
    }
}

#[tokio::test]
async fn words_that_mean_nothing_are_refused() {
    let (home, _daemon, _) = hosted_cache();
    home.peerdist(&["capture", "--protocol", "everything"]).error(2);
    home.peerdist(&["capture", "--seconds", "0"]).error(2);
    for snaplen in ["0", "262145", "9999999"] {
        let error = home.peerdist(&["capture", "--snaplen", snaplen]).error(2);
        assert!(error.contains("1..=262144"), "{error}");
    }
    for query in ["protocol=everything", "seconds=x", "snaplen=0", "snaplen=262145", "nonsense=1"] {
        let refused = home.admin().capture(query).await.unwrap_err();
        assert!(matches!(refused, ClientError::Refused { error: ErrorCode::BadRequest, .. }), "{query}: {refused}");
    }
}

#[test]
fn who_does_not_read_loses_messages_and_delays_nobody() {
    let (home, _daemon, port) = hosted_cache();
    let mut command = home.command(&["capture", "--protocol", "retrieval"]);
    let mut capture = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut blocks = capture.stdout.take().unwrap();
    // The section header: the capture has begun.
    let mut start = [0; 4];
    blocks.read_exact(&mut start).unwrap();

    // What waits in pipes and sockets beside the queue is less than as much again.
    let exchanges = 2 * MAX_WAITING;
    let body = Exchange::get_block(segment(), 0, CryptoAlgoId::Aes128).body();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request = request(PATH, &body);
    let mut answer = [0; 4096];
    for _ in 0..exchanges {
        stream.write_all(&request).unwrap();
        assert!(stream.read(&mut answer).unwrap() > 0, "the node answers on");
    }

    let mut bytes = start.to_vec();
    let lost = loop {
        let mut piece = [0; 65_536];
        let size = blocks.read(&mut piece).unwrap();
        assert!(size > 0, "the losses are told");
        bytes.extend_from_slice(&piece[..size]);
        if let Some(lost) = told(&bytes) {
            break lost;
        }
    };
    assert!(lost > 0 && lost < 2 * exchanges as u64, "{lost}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&capture), Signal::INT).unwrap();
    blocks.read_to_end(&mut bytes).unwrap();
    let ended = capture.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success() && said.contains(&format!("{lost} messages lost")), "{said}");
    let file = home.path("lossy.pcapng");
    fs::write(&file, bytes).unwrap();
    let messages = decoded(&file).len();
    assert!(messages > 1000 && messages < 2 * exchanges, "{messages}");
}

/// What the last Interface Statistics Block of a capture says was dropped.
fn told(bytes: &[u8]) -> Option<u64> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().unwrap()));
    let (mut at, mut lost) = (0, None);
    while let (Some(kind), Some(size)) = (number(at), number(at + 4)) {
        if kind == 5 {
            lost = number(at + 36).map(u64::from).or(lost);
        }
        at += size as usize;
    }
    lost
}
