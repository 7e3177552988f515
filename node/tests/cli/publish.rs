//! `peerdist publish`, `unpublish` and `publications`.

use std::fs;

use bytes::{Bytes, BytesMut};
use peerdist_node::api::Wanted;
use peerdist_node::control::client::{ClientError, RemoteRead, Session};
use peerdist_node::control::wire::ErrorCode;
use peerdist_protocol::content::ContentInformation;
use rustix::process::Signal;

use crate::daemon::Home;
use crate::fixture::content;
use crate::run::Going;

const LENGTH: usize = 2_500_000;

/// A home with a file in it, and the file's bytes.
fn home_with_a_file(extra: &str) -> (Home, String, Bytes) {
    let home = Home::new(extra);
    let bytes = content(LENGTH);
    let path = home.path("image");
    fs::write(&path, &bytes).unwrap();
    (home, path.to_str().unwrap().to_owned(), bytes.into())
}

fn publish(home: &Home, words: &[&str]) -> Going {
    Going::start(home.command(&[&["publish"], words].concat()))
}

async fn information(session: &Session, identifier: &[u8], version: u32) -> Result<Bytes, ClientError> {
    let wanted = Wanted { min_version: version, max_version: version, ..Wanted::default() };
    let open = session.open_information(identifier, &wanted).await?;
    let mut whole = BytesMut::new();
    while (whole.len() as u64) < open.size() {
        whole.extend_from_slice(&open.retrieve(whole.len() as u64, 1000).await?);
    }
    Ok(whole.freeze())
}

#[track_caller]
fn refused(result: Result<Bytes, ClientError>) -> ErrorCode {
    match result {
        Err(ClientError::Refused { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_published_can_be_opened_filled_and_read_by_others() {
    let (home, file, bytes) = home_with_a_file("");
    let _daemon = home.start();
    let mut publishing = publish(&home, &[&file, "--id", "image 1"]);
    assert_eq!(publishing.line(), format!("{file}: 2,500,000 bytes published as \"image 1\""));
    let session = home.session().await;
    for version in [1, 2] {
        let information = information(&session, b"image 1", version).await.unwrap();
        let content = session.open_content(information).await.unwrap();
        assert!(matches!(content.ranges(), [range] if *range == (0..LENGTH as u64)));
        for at in (0..LENGTH).step_by(1 << 20) {
            content.add_data(at as u64, bytes.slice(at..LENGTH.min(at + (1 << 20)))).await.unwrap();
        }
        let mut read = BytesMut::new();
        while read.len() < LENGTH {
            match content.next(read.len() as u64).await.unwrap() {
                RemoteRead::Data { bytes, .. } => read.extend_from_slice(&bytes),
                RemoteRead::Missing { range, reason } => panic!("{range:?} is missing: {reason:?}"),
            }
        }
        assert!(read == bytes, "version {version}");
    }
    publishing.signal(Signal::INT);
    assert_eq!(publishing.wait(), (0, String::new()));
    assert_eq!(refused(information(&session, b"image 1", 1).await), ErrorCode::NotPublished);
}

#[tokio::test]
async fn every_session_of_the_user_takes_it_back() {
    let (home, file, _) = home_with_a_file("");
    let _daemon = home.start();
    assert_eq!(home.peerdist(&["publications"]).stdout(), "");
    let mut first = publish(&home, &[&file, "--id", "text", "--json"]);
    let mut second = publish(&home, &[&file, "--id-hex", "00FF"]);
    assert_eq!(second.line(), format!("{file}: 2,500,000 bytes published as hex 00ff"));
    let mut json = String::new();
    while !json.ends_with('}') {
        json.push_str(&first.line());
    }
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let line = serde_json::json!({"identifier": "74657874", "text": "text", "length": LENGTH});
    let mut with_file = line.clone();
    with_file["file"] = file.into();
    assert_eq!(json, with_file);

    let listed = home.peerdist(&["publications"]).stdout();
    let listed: Vec<_> = listed.lines().map(str::trim_start).collect();
    assert_eq!(listed, ["2,500,000 bytes  hex 00ff", "2,500,000 bytes  \"text\""]);
    let listed = home.peerdist(&["publications", "--json"]).json();
    assert_eq!(listed["publications"][1], line);
    assert_eq!(listed["publications"][0]["text"], serde_json::Value::Null);

    let session = home.session().await;
    information(&session, b"text", 2).await.unwrap();
    assert_eq!(home.peerdist(&["unpublish", "--id", "text"]).stdout(), "");
    assert_eq!(refused(information(&session, b"text", 2).await), ErrorCode::NotPublished);
    let error = home.peerdist(&["unpublish", "--id", "text"]).error(1);
    assert!(error.contains("nothing is published") && error.contains("peerdist publications"), "{error}");
    information(&session, &[0, 255], 2).await.unwrap();
    // The one that published it has nothing left to do, and ends as it would have.
    for publishing in [first, second] {
        publishing.signal(Signal::TERM);
        assert_eq!(publishing.wait(), (0, String::new()));
    }
    assert_eq!(home.peerdist(&["publications"]).stdout(), "");
}

#[test]
fn an_identifier_is_taken_once() {
    let (home, file, _) = home_with_a_file("");
    let _daemon = home.start();
    let mut first = publish(&home, &[&file, "--id", "image"]);
    first.line();
    let error = home.peerdist(&["publish", &file, "--id", "image"]).error(1);
    assert!(error.contains("published under this identifier already") && error.contains("unpublish"), "{error}");
    let error = home.peerdist(&["publish", &file, "--id", &"x".repeat(4097)]).error(1);
    assert!(error.contains("1 to 4096 bytes"), "{error}");
}

#[tokio::test]
async fn content_information_is_written_beside() {
    let (home, file, bytes) = home_with_a_file("");
    let _daemon = home.start();
    for (words, version) in [(&[][..], 1), (&["--content-info", "v2"][..], 2)] {
        let out = home.path(&format!("ci{version}"));
        let words = [&[&file, "--id", "image", "--out", out.to_str().unwrap()], words].concat();
        let mut publishing = publish(&home, &words);
        publishing.line();
        let written = Bytes::from(fs::read(&out).unwrap());
        assert_eq!(publishing.line(), format!("{}: {} bytes of content information", out.display(), written.len()));
        assert_eq!(information(&home.session().await, b"image", version).await.unwrap(), written);
        let parsed = ContentInformation::parse(written).unwrap();
        assert_eq!(parsed.range(), 0..bytes.len() as u64);
        assert_eq!(parsed.version().to_string(), format!("v{version}"));
        publishing.signal(Signal::INT);
        assert_eq!(publishing.wait().0, 0);
    }
    let mut publishing = publish(&home, &[&file, "--id", "image", "--version", "1"]);
    publishing.line();
    let session = home.session().await;
    assert_eq!(refused(information(&session, b"image", 2).await), ErrorCode::VersionUnsupported);
    information(&session, b"image", 1).await.unwrap();
}

#[test]
fn a_daemon_that_goes_away_ends_it() {
    let (home, file, _) = home_with_a_file("");
    let error = home.peerdist(&["publish", &file, "--id", "image"]).error(5);
    assert!(error.contains("no daemon at") && error.contains("PEERDIST_SOCKET names this socket"), "{error}");
    for signal in [Signal::TERM, Signal::KILL] {
        let daemon = home.start();
        let mut publishing = publish(&home, &[&file, "--id", "image"]);
        publishing.line();
        daemon.signal(signal);
        let (status, error) = publishing.wait();
        assert_eq!(status, 5, "{error}");
        assert!(error.contains("the daemon went away") && error.contains("peerdist watch"), "{error}");
        if signal == Signal::TERM {
            assert!(home.notified().starts_with("STOPPING=1"));
        }
        daemon.wait();
    }
}

#[test]
fn what_cannot_be_published_is_said() {
    let (home, file, _) = home_with_a_file("");
    let _daemon = home.start();
    let empty = home.path("empty");
    fs::write(&empty, "").unwrap();
    assert!(home.peerdist(&["publish", empty.to_str().unwrap(), "--id", "x"]).error(1).contains("it is empty"));
    assert!(home.peerdist(&["publish", "/nowhere", "--id", "x"]).error(1).contains("cannot read /nowhere"));
    let both = ["publish", &file, "--id", "x", "--version", "1", "--content-info", "v2", "--out", "-"];
    assert!(home.peerdist(&both).error(2).contains("--version 1"));
    assert!(home.peerdist(&["unpublish", "--id-hex", "0"]).error(2).contains("--id-hex"));
    for none in ["--id", "--id-hex"] {
        assert!(home.peerdist(&["publish", &file, none, ""]).error(2).contains("1 to 4096 bytes"));
    }
    assert_eq!(home.peerdist(&["publications"]).stdout(), "");
}

#[test]
fn where_the_daemon_cannot_keep_its_key_it_says_so_of_itself() {
    let (home, file, _) = home_with_a_file("");
    fs::create_dir(home.path("publish.key")).unwrap();
    let _daemon = home.start();
    let error = home.peerdist(&["publish", &file, "--id", "image"]).error(1);
    assert!(error.contains("the daemon failed: ") && error.contains("[control] publish_key"), "{error}");
    assert!(home.log().contains("nothing can be published"), "{}", home.log());
}

#[tokio::test]
async fn a_pipe_is_published_until_it_ends() {
    let (home, _, bytes) = home_with_a_file("");
    let _daemon = home.start();
    let mut command = home.command(&["publish", "/dev/stdin", "--id", "pipe"]);
    let (read, mut write) = std::io::pipe().unwrap();
    command.stdin(read);
    let mut publishing = Going::start(command);
    let written = bytes.clone();
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut write, &written).unwrap());
    assert_eq!(publishing.line(), "/dev/stdin: 2,500,000 bytes published as \"pipe\"");
    writing.join().unwrap();
    let information = information(&home.session().await, b"pipe", 1).await.unwrap();
    assert_eq!(ContentInformation::parse(information).unwrap().range(), 0..bytes.len() as u64);
}

#[tokio::test]
async fn what_ends_it_half_way_is_said() {
    let (home, _, bytes) = home_with_a_file("");
    let daemon = home.start();
    for (ending, status, said) in
        [("unpublish", 1, "taken back"), ("interrupt", 1, "interrupted before"), ("daemon", 5, "the daemon went away")]
    {
        let mut command = home.command(&["publish", "/dev/stdin", "--id", "pipe"]);
        let (read, mut write) = std::io::pipe().unwrap();
        command.stdin(read);
        let publishing = Going::start(command);
        std::io::Write::write_all(&mut write, &bytes).unwrap();
        // Unfinished ones are counted, too.
        while home.admin().status().await.unwrap()["api"]["publications"] != 1 {}
        match ending {
            "unpublish" => {
                home.peerdist(&["unpublish", "--id", "pipe"]).stdout();
                drop(write);
            }
            "interrupt" => publishing.signal(Signal::INT),
            _ => daemon.signal(Signal::TERM),
        }
        let ended = publishing.wait();
        assert!(ended.0 == status && ended.1.contains(said), "{ending}: {ended:?}");
    }
}
