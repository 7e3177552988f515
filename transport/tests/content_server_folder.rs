//! The content server before a folder, over real connections.
#![allow(clippy::unwrap_used)]

mod content_server_support;

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use content_server_support::{HASH_REQUEST, MISSING_DATA, OFFER, OFFER_1_0, Running, content, hashed, secret, send};
use peerdist_protocol::content::{ContentInformation, ContentVersion, HashOptions};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_transport::content_server::{ContentServer, ContentServerConfig, Source, StartError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LENGTH: usize = 300_000;

/// A folder with one file of [`LENGTH`] bytes.
fn folder() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(LENGTH);
    fs::write(folder.path().join("file.bin"), &bytes).unwrap();
    (folder, bytes)
}

fn config(folder: &tempfile::TempDir) -> ContentServerConfig {
    ContentServerConfig::new(Source::Folder(folder.path().to_owned()))
}

#[tokio::test]
async fn files_as_they_are() {
    let (folder, bytes) = folder();
    fs::write(folder.path().join("ein Bild.png"), "png").unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    let running = Running::folder(folder.path()).await;
    let reply = running.get("/file.bin", "").await;
    assert_eq!((reply.status, &reply.body[..]), (200, &bytes[..]));
    assert_eq!(reply.header("content-length").unwrap(), LENGTH.to_string());
    assert_eq!(reply.header("content-type").as_deref(), Some("application/octet-stream"));
    assert_eq!(reply.header("accept-ranges").as_deref(), Some("bytes"));
    assert!(reply.is_varied());
    let etag = reply.header("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"'));
    assert!(reply.header("last-modified").unwrap().ends_with(" GMT"));
    let head = running.send("HEAD /file.bin HTTP/1.1\r\n", OFFER).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length").unwrap(), LENGTH.to_string());
    assert_eq!(head.header("content-encoding"), None);
    assert_eq!(head.header("etag"), Some(etag));
    let image = running.get("/ein%20Bild.png?version=2", "").await;
    assert_eq!((image.status, &image.body[..]), (200, &b"png"[..]));
    assert_eq!(image.header("content-type").as_deref(), Some("image/png"));
    assert!(!image.is_varied(), "too small to be described");
    let empty = running.get("/empty", OFFER).await;
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    assert_eq!(empty.header("content-length").as_deref(), Some("0"));
    let old = running.send("GET /file.bin HTTP/1.0\r\n", OFFER).await;
    assert_eq!((old.status, &old.body[..]), (200, &bytes[..]));
    running.stop().await;
}

#[tokio::test]
async fn what_is_not_served() {
    let (folder, _) = folder();
    // Not a hidden name, which would be refused for that alone.
    let outside = tempfile::Builder::new().prefix("outside").tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join(".hidden"), "secret").unwrap();
    symlink(outside.path().join("secret"), folder.path().join("link")).unwrap();
    symlink(outside.path(), folder.path().join("links")).unwrap();
    let running = Running::folder(folder.path()).await;
    let escape = outside.path().join("secret");
    let escape = format!("/..{}", escape.to_str().unwrap());
    for (path, status) in [
        ("/", 404),
        ("/missing", 404),
        ("/sub", 404),
        ("/sub/", 404),
        ("/file.bin/", 404),
        ("/file.bin/x", 404),
        ("/.hidden", 404),
        ("/link", 404),
        ("/links/secret", 404),
        ("/../../../../etc/passwd", 404),
        ("/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/..%2f..%2f..%2fetc/passwd", 400),
        ("/file.bin%00.txt", 400),
        ("/%zz", 400),
        (&escape, 404),
    ] {
        let reply = running.get(path, OFFER).await;
        assert_eq!(reply.status, status, "{path}");
        assert!(!reply.body.windows(6).any(|six| six == b"secret"), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let reply = running.send(&format!("{method} /file.bin HTTP/1.1\r\n"), "Content-Length: 0\r\n").await;
        assert_eq!((reply.status, reply.header("allow").as_deref()), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(running.server.counters().hash_jobs_started, 0);
    running.stop().await;
}

#[tokio::test]
async fn ranges_and_conditions() {
    let (folder, bytes) = folder();
    let running = Running::folder(folder.path()).await;
    let plain = running.get("/file.bin", "").await;
    let (etag, date) = (plain.header("etag").unwrap(), plain.header("last-modified").unwrap());
    for (lines, status, range) in [
        ("Range: bytes=0-0".to_owned(), 206, 0..1),
        ("Range: bytes=100-199".to_owned(), 206, 100..200),
        ("Range: bytes=299999-".to_owned(), 206, LENGTH - 1..LENGTH),
        ("Range: bytes=-5".to_owned(), 206, LENGTH - 5..LENGTH),
        ("Range: bytes=200000-9999999".to_owned(), 206, 200_000..LENGTH),
        ("Range: lines=1-2".to_owned(), 200, 0..LENGTH),
        ("Range: bytes=5-1".to_owned(), 200, 0..LENGTH),
        (format!("Range: bytes=1-2\r\nIf-Range: {etag}"), 206, 1..3),
        (format!("Range: bytes=1-2\r\nIf-Range: {date}"), 206, 1..3),
        ("Range: bytes=1-2\r\nIf-Range: \"other\"".to_owned(), 200, 0..LENGTH),
        (format!("Range: bytes=1-2\r\nIf-Match: {etag}"), 206, 1..3),
        ("If-None-Match: \"other\"".to_owned(), 200, 0..LENGTH),
        ("If-Modified-Since: Mon, 01 Jan 1990 00:00:00 GMT".to_owned(), 200, 0..LENGTH),
    ] {
        let reply = running.get("/file.bin", &format!("{lines}\r\n")).await;
        assert_eq!((reply.status, &reply.body[..]), (status, &bytes[range.clone()]), "{lines}");
        let content_range = format!("bytes {}-{}/{LENGTH}", range.start, range.end - 1);
        assert_eq!(reply.header("content-range"), (status == 206).then_some(content_range), "{lines}");
    }
    for (lines, status) in [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: \"x\", W/{etag}"), 304),
        (format!("If-Modified-Since: {date}"), 304),
        ("If-Match: \"other\"".to_owned(), 412),
        ("If-Unmodified-Since: Mon, 01 Jan 1990 00:00:00 GMT".to_owned(), 412),
        ("Range: bytes=300000-".to_owned(), 416),
    ] {
        let reply = running.get("/file.bin", &format!("{lines}\r\n{OFFER}")).await;
        assert_eq!((reply.status, reply.body.len()), (status, 0), "{lines}");
        assert_eq!(reply.header("etag").as_ref(), Some(&etag), "{lines}");
        assert_eq!(reply.header("content-encoding"), None, "{lines}");
        assert!(reply.is_varied(), "{lines}");
        let content_range = (status == 416).then(|| format!("bytes */{LENGTH}"));
        assert_eq!(reply.header("content-range"), content_range, "{lines}");
    }
    running.stop().await;
}

#[tokio::test]
async fn several_ranges_at_once() {
    let (folder, bytes) = folder();
    let running = Running::folder(folder.path()).await;
    running.get_described("/file.bin", OFFER).await.content_information();
    let reply = running.get("/file.bin", &format!("Range: bytes=0-9,200000-299999,-1\r\n{OFFER}")).await;
    assert_eq!((reply.status, reply.header("content-encoding")), (206, None));
    let kind = reply.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = Vec::new();
    for range in [0..10, 200_000..LENGTH, LENGTH - 1..LENGTH] {
        let head = format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {}-{}/{LENGTH}\r\n\r\n",
            range.start,
            range.end - 1
        );
        expected.extend(head.into_bytes());
        expected.extend(&bytes[range]);
        expected.extend(b"\r\n");
    }
    expected.extend(format!("--{boundary}--\r\n").into_bytes());
    assert!(reply.body == expected);
    assert_eq!(reply.header("content-length").unwrap(), expected.len().to_string());
    let overlapping = running.get("/file.bin", "Range: bytes=0-,0-,0-\r\n").await;
    assert_eq!((overlapping.status, overlapping.body.len()), (200, LENGTH), "no small request for a large answer");
    running.stop().await;
}

#[tokio::test]
async fn the_second_offer_is_answered_with_content_information() {
    let (folder, bytes) = folder();
    let expected = hashed(&bytes);
    let running = Running::folder(folder.path()).await;
    let first = running.get("/file.bin", OFFER).await;
    assert_eq!((first.status, &first.body[..]), (200, &bytes[..]));
    assert_eq!(first.header("x-p2p-peerdist").as_deref(), Some("Version=1.1"));
    assert_eq!(first.header("x-p2p-peerdistex").as_deref(), Some("MakeHashRequest=true"));
    assert!(first.is_varied());
    running.server.wait_idle().await;
    let second = running.get("/file.bin", OFFER).await;
    assert_eq!(second.status, 200);
    assert_eq!(second.content_information(), expected.v2.unwrap());
    assert_eq!(second.header("x-p2p-peerdist").as_deref(), Some("Version=1.1, ContentLength=300000"));
    assert_eq!(second.header("x-p2p-peerdistex"), None);
    for name in ["etag", "last-modified", "content-type"] {
        assert_eq!(second.header(name), first.header(name), "{name}");
    }
    let old = running.get("/file.bin", OFFER_1_0).await;
    assert_eq!(old.content_information(), expected.v1.unwrap());
    assert_eq!(old.header("x-p2p-peerdist").as_deref(), Some("Version=1.0, ContentLength=300000"));
    let counters = running.server.counters();
    assert_eq!((counters.hash_jobs_started, counters.hash_jobs_done, counters.hash_jobs_failed), (1, 1, 0));
    assert_eq!((counters.requests, counters.content_information_answers, counters.make_hash_requests), (3, 2, 1));
    assert_eq!(counters.identity_bytes, LENGTH as u64);
    assert_eq!(counters.content_information_bytes, (second.body.len() + old.body.len()) as u64);
    running.stop().await;
}

#[tokio::test]
async fn requests_that_get_identity_all_the_same() {
    let (folder, bytes) = folder();
    let running = Running::folder(folder.path()).await;
    running.get_described("/file.bin", OFFER).await.content_information();
    for lines in [
        "",
        "Accept-Encoding: peerdist\r\n",
        "Accept-Encoding: gzip\r\nX-P2P-PeerDist: Version=1.1\r\n",
        "Accept-Encoding: peerdist;q=0\r\nX-P2P-PeerDist: Version=1.1\r\n",
        "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=999.999\r\n",
        "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0, MissingDataRequest=InvalidValue\r\n",
        "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0, MissingDataRequest=true\r\n",
        "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n\
         X-P2P-PeerDistEx: MinContentInformation=900.0, MaxContentInformation=999.0\r\n",
        "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1\u{ff}\r\n",
    ] {
        let reply = running.get("/file.bin", lines).await;
        assert_eq!((reply.status, &reply.body[..]), (200, &bytes[..]), "{lines}");
        assert_eq!(reply.header("x-p2p-peerdistex"), None, "{lines}");
        assert!(reply.is_varied(), "{lines}");
    }
    let not_false = "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0, MissingDataRequest=false\r\n";
    running.get("/file.bin", not_false).await.content_information();
    let http_1_0 = running.send("GET /file.bin HTTP/1.0\r\n", OFFER).await;
    assert_eq!(&http_1_0.body[..], bytes);
    running.stop().await;
}

#[tokio::test]
async fn ranges_of_content_information() {
    let (folder, bytes) = folder();
    let expected = hashed(&bytes);
    let running = Running::folder(folder.path()).await;
    running.get_described("/file.bin", OFFER).await.content_information();
    for (header, range) in
        [("bytes=100000-199999", 100_000..200_000), ("bytes=0-", 0..300_000), ("bytes=-1000", 299_000..300_000)]
    {
        for (offer, whole) in [(OFFER, &expected.v2), (OFFER_1_0, &expected.v1)] {
            let reply = running.get("/file.bin", &format!("Range: {header}\r\n{offer}")).await;
            assert_eq!(reply.status, 206);
            assert_eq!(reply.content_information(), whole.as_ref().unwrap().slice(range.clone()).unwrap(), "{header}");
            let content_range = format!("bytes {}-{}/{LENGTH}", range.start, range.end - 1);
            assert_eq!(reply.header("content-range"), Some(content_range));
        }
    }
    let short = running.get("/file.bin", &format!("Range: bytes=5-24\r\n{OFFER}")).await;
    assert_eq!((short.status, &short.body[..]), (206, &bytes[5..25]), "shorter than its description");
    running.stop().await;
}

#[tokio::test]
async fn missing_data_is_counted() {
    let (folder, bytes) = folder();
    let running = Running::folder(folder.path()).await;
    running.get_described("/file.bin", OFFER).await.content_information();
    let before = running.server.counters();
    let reply = running.get("/file.bin", &format!("Range: bytes=65536-131071\r\n{MISSING_DATA}")).await;
    assert_eq!((reply.status, &reply.body[..]), (206, &bytes[65_536..131_072]));
    let both = running.get("/file.bin", &format!("Accept-Encoding: peerdist\r\n{MISSING_DATA}")).await;
    assert_eq!((both.status, &both.body[..]), (200, &bytes[..]));
    let after = running.server.counters();
    assert_eq!(after.missing_data_requests - before.missing_data_requests, 2);
    assert_eq!(after.missing_data_bytes - before.missing_data_bytes, 65_536 + LENGTH as u64);
    assert_eq!(after.identity_bytes, before.identity_bytes);
    running.stop().await;
}

#[tokio::test]
async fn a_hash_request_waits_for_the_hashing() {
    let (folder, _) = folder();
    let running = Running::folder(folder.path()).await;
    let reply = running.get("/file.bin", HASH_REQUEST).await;
    reply.content_information();
    running.stop().await;
    let impatient = ContentServerConfig { hash_request_wait: Duration::ZERO, ..config(&folder) };
    fs::write(folder.path().join("file.bin"), content(LENGTH + 1)).unwrap();
    let running = Running::start(impatient).await;
    let reply = running.get("/file.bin", HASH_REQUEST).await;
    assert_eq!(reply.header("content-encoding"), None);
    assert_eq!(reply.header("x-p2p-peerdistex"), None, "asked once, not twice");
    running.server.wait_idle().await;
    let without_accept_encoding = HASH_REQUEST.replace("Accept-Encoding: peerdist\r\n", "");
    running.get("/file.bin", &without_accept_encoding).await.content_information();
    running.stop().await;
}

#[tokio::test]
async fn a_changed_file_is_hashed_anew() {
    let (folder, bytes) = folder();
    let running = Running::folder(folder.path()).await;
    let old = running.get_described("/file.bin", OFFER).await;
    assert_eq!(old.content_information(), hashed(&bytes).v2.unwrap());
    let mut changed = bytes;
    changed[150_000] ^= 1;
    fs::write(folder.path().join("file.bin"), &changed).unwrap();
    let first = running.get("/file.bin", OFFER).await;
    assert_eq!(&first.body[..], changed);
    assert_ne!(first.header("etag"), old.header("etag"));
    running.server.wait_idle().await;
    let new = running.get("/file.bin", OFFER).await;
    assert_eq!(new.content_information(), hashed(&changed).v2.unwrap());
    let stale = format!("If-Match: {}\r\nRange: bytes=0-9\r\n{MISSING_DATA}", old.header("etag").unwrap());
    assert_eq!(running.get("/file.bin", &stale).await.status, 412);
    running.stop().await;
}

#[tokio::test]
async fn hashing_ahead_and_across_restarts() {
    let (folder, bytes) = folder();
    fs::create_dir_all(folder.path().join("deep/er")).unwrap();
    fs::write(folder.path().join("deep/er/other"), content(70_000)).unwrap();
    fs::write(folder.path().join("small"), content(1000)).unwrap();
    fs::create_dir(folder.path().join(".git")).unwrap();
    fs::write(folder.path().join(".git/pack"), content(70_001)).unwrap();
    let state = tempfile::tempdir().unwrap();
    let ahead =
        ContentServerConfig { hash_ahead: true, state_directory: Some(state.path().join("state")), ..config(&folder) };
    let running = Running::start(ahead.clone()).await;
    running.server.wait_idle().await;
    assert_eq!(running.server.counters().hash_jobs_done, 2);
    let described = running.get("/file.bin", OFFER).await;
    assert_eq!(described.content_information(), hashed(&bytes).v2.unwrap());
    running.get("/deep/er/other", OFFER_1_0).await.content_information();
    assert_eq!(running.get("/small", OFFER).await.header("content-encoding"), None);
    running.stop().await;

    let again = Running::start(ahead.clone()).await;
    again.server.wait_idle().await;
    assert_eq!(again.server.counters().hash_jobs_started, 0, "everything was kept");
    assert_eq!(again.get("/file.bin", OFFER).await.body, described.body);
    again.stop().await;

    for file in fs::read_dir(state.path().join("state")).unwrap() {
        fs::write(file.unwrap().path(), "damaged").unwrap();
    }
    let damaged = Running::start(ContentServerConfig { hash_ahead: false, ..ahead.clone() }).await;
    assert_eq!(damaged.get_described("/file.bin", OFFER).await.body, described.body);
    damaged.stop().await;

    let other_versions = HashOptions { v1: Some(HashAlgorithm::Sha512), v2: false };
    let other = Running::start(ContentServerConfig { versions: other_versions, ..ahead }).await;
    other.server.wait_idle().await;
    let reply = other.get("/file.bin", OFFER).await;
    let content_information = reply.content_information();
    assert_eq!(content_information.version(), ContentVersion::V1);
    assert_eq!(content_information.algorithm(), HashAlgorithm::Sha512);
    other.stop().await;
}

#[tokio::test]
async fn a_version_that_is_not_made_is_not_waited_for() {
    let (folder, _) = folder();
    let only_v2 = ContentServerConfig { versions: HashOptions { v1: None, v2: true }, ..config(&folder) };
    let running = Running::start(only_v2).await;
    let reply = running.get("/file.bin", OFFER_1_0).await;
    assert_eq!(reply.header("content-encoding"), None);
    assert_eq!(running.server.counters().hash_jobs_started, 0);
    running.stop().await;
}

#[tokio::test]
async fn the_size_limits_decide() {
    let (folder, _) = folder();
    for (minimum_size, maximum_size, is_described) in
        [(300_000, 300_000, true), (300_001, u64::MAX, false), (0, 299_999, false)]
    {
        let running = Running::start(ContentServerConfig { minimum_size, maximum_size, ..config(&folder) }).await;
        running.get("/file.bin", OFFER).await;
        running.server.wait_idle().await;
        let reply = running.get("/file.bin", OFFER).await;
        assert_eq!(reply.header("content-encoding").is_some(), is_described, "{minimum_size} {maximum_size}");
        assert_eq!(reply.is_varied(), is_described);
        running.stop().await;
    }
}

#[tokio::test]
async fn clones_of_a_file_by_link_share_its_content_information() {
    let (folder, _) = folder();
    symlink("file.bin", folder.path().join("alias")).unwrap();
    let running = Running::folder(folder.path()).await;
    let described = running.get_described("/file.bin", OFFER).await;
    assert_eq!(running.get("/alias", OFFER).await.body, described.body);
    running.stop().await;
}

#[tokio::test]
async fn many_requests_on_one_connection() {
    let (folder, bytes) = folder();
    let running = Running::folder(folder.path()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    for at in 0..20 {
        let request = format!("GET /file.bin HTTP/1.1\r\nHost: x\r\nRange: bytes={at}-{}\r\n\r\n", at + 99);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(&bytes[at..at + 100]) {
            assert_ne!(stream.read_buf(&mut reply).await.unwrap(), 0);
        }
    }
    assert_eq!(running.server.counters().connections, 1);
    running.stop().await;
}

#[tokio::test]
async fn connections_wait_for_their_turn_and_heads_have_a_time_limit() {
    let (folder, bytes) = folder();
    let mut config = config(&folder);
    config.limits.connections = 1.try_into().unwrap();
    config.limits.head = Duration::from_millis(300);
    let running = Running::start(config).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    silent.write_all(b"GET /file.bin HT").await.unwrap();
    // Served once the silent connection has run into its limit.
    let reply = running.get("/file.bin", "").await;
    assert_eq!(&reply.body[..], bytes);
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    running.stop().await;
}

#[tokio::test]
async fn a_reader_that_stops_loses_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("large")).unwrap();
    file.set_len(1 << 30).unwrap();
    let mut config = config(&folder);
    config.limits.no_progress = Duration::from_millis(300);
    config.limits.connections = 1.try_into().unwrap();
    let running = Running::start(config).await;
    let mut stopped = TcpStream::connect(running.address).await.unwrap();
    stopped.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stopped.read_exact(&mut [0; 1000]).await.unwrap();
    // There is one place, and the reader that stopped has it until it is thrown out.
    assert_eq!(running.get("/large", "Range: bytes=0-0\r\n").await.status, 206);
    running.stop().await;
}

#[tokio::test]
async fn a_shutdown_finishes_what_is_under_way() {
    let (folder, bytes) = folder();
    let running = Running::folder(folder.path()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /file.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut reply = Vec::new();
    stream.read_buf(&mut reply).await.unwrap();
    let address = running.address;
    let stopping = tokio::spawn(running.stop());
    stream.read_to_end(&mut reply).await.unwrap();
    assert!(reply.ends_with(&bytes));
    stopping.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_file_that_shrinks_ends_the_connection_early() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("large")).unwrap();
    file.set_len(64 << 20).unwrap();
    let running = Running::folder(folder.path()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    file.set_len(1000).unwrap();
    let mut rest = Vec::new();
    // A close or a reset, but never the announced length.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 64 << 20);
    running.stop().await;
}

#[tokio::test]
async fn hashing_can_be_stopped() {
    let (folder, bytes) = folder();
    let running = Running::folder(folder.path()).await;
    running.server.stop_hashing().await;
    let reply = running.get("/file.bin", OFFER).await;
    assert_eq!((&reply.body[..], reply.header("x-p2p-peerdistex")), (&bytes[..], None));
    running.server.wait_idle().await;
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_begin_says_why() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let start = |config| ContentServer::new(config, secret()).unwrap_err();
    let missing = ContentServerConfig::new(Source::Folder(folder.path().join("missing")));
    assert!(matches!(start(missing), StartError::Folder { .. }));
    let state = ContentServerConfig { state_directory: Some(folder.path().join("file/state")), ..config(&folder) };
    assert!(matches!(start(state), StartError::StateDirectory { .. }));
    for url in ["ftp://host/", "http://host/?query", "unix:/socket"] {
        let upstream = ContentServerConfig::new(Source::Upstream(url.parse().unwrap()));
        assert!(matches!(start(upstream), StartError::UpstreamUrl { .. }), "{url}");
    }
}

#[tokio::test]
async fn curl_and_wget_fetch_files() {
    let (folder, bytes) = folder();
    let running = Running::folder(folder.path()).await;
    let url = format!("http://{}/file.bin", running.address);
    let to = tempfile::tempdir().unwrap();
    let run = |program: &'static str, arguments: &[&str]| {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env_remove("http_proxy").current_dir(to.path());
        command.output()
    };
    let Ok(output) = run("curl", &["-sS", "-f", "-o", "whole", &url]).await else { return };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(to.path().join("whole")).unwrap(), bytes);
    fs::write(to.path().join("resumed"), &bytes[..1000]).unwrap();
    let output = run("curl", &["-sS", "-f", "-C", "-", "-o", "resumed", &url]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(to.path().join("resumed")).unwrap(), bytes);
    running.server.wait_idle().await;
    run("curl", &["-sS", "-H", "Accept-Encoding: peerdist", "-H", "X-P2P-PeerDist: Version=1.0", &url]).await.unwrap();
    running.server.wait_idle().await;
    let arguments =
        ["-sS", "-f", "-H", "Accept-Encoding: peerdist", "-H", "X-P2P-PeerDist: Version=1.0", "-o", "ci", &url];
    let output = run("curl", &arguments).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let content_information = ContentInformation::parse(fs::read(to.path().join("ci")).unwrap().into()).unwrap();
    assert_eq!(Some(content_information), hashed(&bytes).v1);
    if let Ok(output) = run("wget", &["-q", "-O", "wgot", &url]).await {
        assert!(output.status.success(), "{output:?}");
        assert_eq!(fs::read(to.path().join("wgot")).unwrap(), bytes);
    }
    running.stop().await;
}

#[tokio::test]
async fn broken_http_gets_an_end() {
    let (folder, _) = folder();
    let running = Running::folder(folder.path()).await;
    for request in [
        "GET\r\n\r\n",
        "GET /file.bin HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /file.bin HTTP/1.1\r\nbad header\r\n\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
    ] {
        assert_eq!(send(running.address, request).await.status, 400, "{request:?}");
    }
    running.stop().await;
}
