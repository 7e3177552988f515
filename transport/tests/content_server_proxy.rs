//! The content server before another HTTP server, over real connections.
#![allow(clippy::unwrap_used)]

mod content_server_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use content_server_support::{
    HASH_REQUEST, MISSING_DATA, OFFER, OFFER_1_0, Request, Running, Scripted, content, file_answer, hashed, send,
};
use peerdist_transport::content_server::{ContentServerConfig, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LENGTH: usize = 300_000;
const TAGGED: &str = "ETag: \"one\"\r\nContent-Type: video/mp4\r\n";

/// A server of one file under every path.
async fn file_server(lines: &'static str) -> (Scripted, Vec<u8>) {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    (Scripted::start(move |request| file_answer(request, lines, &served)).await, bytes)
}

#[tokio::test]
async fn the_second_offer_is_answered_with_content_information() {
    let (upstream, bytes) = file_server(TAGGED).await;
    let expected = hashed(&bytes);
    let running = Running::start(upstream.config()).await;
    let first = running.get("/dir/file?x=y", OFFER).await;
    assert_eq!((first.status, &first.body[..]), (200, &bytes[..]));
    assert_eq!(first.header("x-p2p-peerdistex").as_deref(), Some("MakeHashRequest=true"));
    assert_eq!(first.header("content-length").unwrap(), LENGTH.to_string());
    assert!(first.is_varied());
    running.server.wait_idle().await;
    let second = running.get("/dir/file?x=y", OFFER).await;
    assert_eq!(second.content_information(), expected.v2.clone().unwrap());
    assert_eq!(second.header("etag").as_deref(), Some("\"one\""));
    assert_eq!(second.header("content-type").as_deref(), Some("video/mp4"));
    let old = running.get("/dir/file?x=y", OFFER_1_0).await;
    assert_eq!(old.content_information(), expected.v1.unwrap());
    let range = running.get("/dir/file?x=y", &format!("Range: bytes=100000-199999\r\n{OFFER}")).await;
    assert_eq!((range.status, range.header("content-range")), (206, Some("bytes 100000-199999/300000".into())));
    assert_eq!(range.content_information(), expected.v2.unwrap().slice(100_000..200_000).unwrap());
    let other = running.get("/dir/file?x=z", OFFER).await;
    assert_eq!(other.header("content-encoding"), None, "another resource");
    for request in upstream.requests() {
        assert_eq!(request.header("accept-encoding"), Some("identity"), "{request:?}");
        assert_eq!(request.header("x-p2p-peerdist"), None, "{request:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_described_content_costs_upstream_a_byte_per_answer() {
    let (upstream, bytes) = file_server(TAGGED).await;
    let running = Running::start(upstream.config()).await;
    running.get_described("/file", OFFER).await.content_information();
    let confirmed = upstream.last("GET");
    assert_eq!(confirmed.header("range"), Some("bytes=0-0"));
    running.get("/file", &format!("Range: bytes=100000-199999\r\n{OFFER}")).await.content_information();
    assert_eq!(upstream.last("GET").header("range"), Some("bytes=100000-100000"));
    let before = upstream.requests().len();
    let short = running.get("/file", &format!("Range: bytes=5-24\r\n{OFFER}")).await;
    assert_eq!((short.status, &short.body[..]), (206, &bytes[5..25]));
    let outdated = running.get("/file", &format!("Range: bytes=100000-199999\r\nIf-Range: \"old\"\r\n{OFFER}")).await;
    assert_eq!(upstream.last("GET").header("if-range"), Some("\"old\""));
    assert_eq!(outdated.status, 206, "the server of this test does not know If-Range");
    assert_eq!(upstream.requests().len() - before, 2);
    running.stop().await;
}

#[tokio::test]
async fn what_upstream_says_to_a_described_content_counts() {
    let (state, bytes) = (Arc::new(AtomicUsize::new(0)), content(LENGTH));
    let (now, served) = (state.clone(), bytes.clone());
    let upstream = Scripted::start(move |request| match now.load(Ordering::Relaxed) {
        0 => file_answer(request, TAGGED, &served),
        1 => b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone".to_vec(),
        2 => b"HTTP/1.1 416 X\r\nContent-Length: 0\r\n\r\n".to_vec(),
        3 => file_answer(request, "ETag: \"two\"\r\n", &served),
        _ => file_answer(request, "ETag: \"one\"\r\nCache-Control: private\r\n", &served),
    })
    .await;
    let running = Running::start(upstream.config()).await;
    running.get_described("/file", OFFER).await.content_information();
    for (now, status, body) in [(1, 404, &b"gone"[..]), (2, 416, b""), (3, 200, &bytes), (4, 200, &bytes)] {
        state.store(now, Ordering::Relaxed);
        let reply = running.get("/file", OFFER).await;
        assert_eq!((reply.status, &reply.body[..]), (status, body), "state {now}");
        running.server.wait_idle().await;
        state.store(0, Ordering::Relaxed);
        running.get("/file", OFFER).await;
        running.server.wait_idle().await;
        running.get("/file", OFFER).await.content_information();
    }
    running.stop().await;
}

#[tokio::test]
async fn digests_of_the_content_do_not_come_with_content_information() {
    let digests = "ETag: \"one\"\r\nContent-MD5: a\r\nDigest: b\r\nContent-Digest: c\r\nRepr-Digest: d\r\n";
    let (upstream, _) = file_server(digests).await;
    let running = Running::start(upstream.config()).await;
    let names = ["content-md5", "digest", "content-digest", "repr-digest"];
    let plain = running.get("/file", "").await;
    assert!(names.iter().all(|name| plain.header(name).is_some()));
    let described = running.get_described("/file", OFFER).await;
    described.content_information();
    assert!(names.iter().all(|name| described.header(name).is_none()), "{described:?}");
    running.stop().await;
}

#[tokio::test]
async fn what_upstream_gets_and_what_comes_back() {
    let upstream = Scripted::start(|request| match request.line.as_str() {
        "POST /form HTTP/1.1" => {
            let body = request.body.iter().rev().copied().collect::<Vec<u8>>();
            let mut answer = format!(
                "HTTP/1.1 201 Created\r\nContent-Length: {}\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n",
                body.len()
            )
            .into_bytes();
            answer.extend(body);
            answer
        }
        "GET /chunked HTTP/1.1" => {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n"
                .to_vec()
        }
        "GET /old HTTP/1.1" => b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end".to_vec(),
        "GET /moved HTTP/1.1" => format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{}/new\r\nContent-Length: 0\r\n\r\n",
            request.header("host").unwrap()
        )
        .into_bytes(),
        "GET /changed HTTP/1.1" => b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_vec(),
        "DELETE /thing HTTP/1.1" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "HEAD /file HTTP/1.1" => b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nETag: \"a\"\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone".to_vec(),
    })
    .await;
    let running = Running::start(upstream.config()).await;
    let form = running.send("POST /form HTTP/1.1\r\n", "Content-Length: 5\r\nCookie: c=3\r\n\r\nabcde").await;
    assert_eq!((form.status, &form.body[..]), (201, &b"edcba"[..]));
    assert_eq!(form.header("set-cookie").as_deref(), Some("a=1, b=2"));
    let seen = upstream.last("POST");
    assert_eq!((seen.header("cookie"), seen.header("content-length")), (Some("c=3"), Some("5")));
    assert_eq!(seen.header("host"), Some(upstream.address.to_string().as_str()));
    assert_eq!((seen.header("x-forwarded-host"), seen.header("x-forwarded-for")), (Some("test"), Some("127.0.0.1")));
    assert_eq!(seen.header("via"), Some("1.1 peerdist"));
    let chunks = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n";
    let chunked =
        send(running.address, &format!("POST /form HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{chunks}\r\n")).await;
    assert!(chunked.status == 100 && chunked.body.ends_with(b"edcba"), "{chunked:?}");
    assert_eq!(upstream.last("POST").header("expect"), None);
    let reply = running.get("/chunked", "").await;
    assert_eq!((reply.status, &reply.body[..], reply.header("trailer")), (200, &b"hello"[..], None));
    assert_eq!(&running.get("/old", "").await.body[..], b"until the end");
    assert_eq!(running.get("/moved", "").await.header("location").as_deref(), Some("/new"));
    let unchanged = running.get("/changed", "If-None-Match: \"a\"\r\n").await;
    assert_eq!((unchanged.status, unchanged.header("etag").as_deref()), (304, Some("\"a\"")));
    assert!(unchanged.is_varied());
    assert_eq!(running.send("DELETE /thing HTTP/1.1\r\n", "").await.status, 204);
    let head = running.send("HEAD /file HTTP/1.1\r\n", OFFER).await;
    assert_eq!((head.status, head.header("content-length").as_deref(), head.body.len()), (200, Some("100000"), 0));
    assert!(head.is_varied());
    let missing = running.get("/missing", OFFER).await;
    assert_eq!((missing.status, &missing.body[..]), (404, &b"gone"[..]));
    assert!(!missing.is_varied());
    let codings = "Accept-Encoding: gzip, peerdist\r\n";
    running.get("/missing", codings).await;
    assert_eq!(upstream.last("GET /missing").header("accept-encoding"), Some("gzip"));
    assert_eq!(running.send("CONNECT evil.example:80 HTTP/1.1\r\n", "").await.status, 400);
    running.stop().await;
}

#[tokio::test]
async fn what_is_never_hashed() {
    for lines in [
        "",
        "ETag: W/\"weak\"\r\n",
        "ETag: \"a\"\r\nContent-Encoding: gzip\r\n",
        "ETag: \"a\"\r\nCache-Control: no-store\r\n",
        "ETag: \"a\"\r\nCache-Control: private\r\n",
        "ETag: \"a\"\r\nSet-Cookie: a=b\r\n",
        "ETag: \"a\"\r\nVary: *\r\n",
        "ETag: \"a\"\r\nAccept-Ranges: none\r\n",
    ] {
        let (upstream, bytes) = file_server(lines).await;
        let running = Running::start(upstream.config()).await;
        let reply = running.get("/file", OFFER).await;
        assert_eq!((&reply.body[..], reply.header("x-p2p-peerdistex")), (&bytes[..], None), "{lines}");
        assert!(!reply.is_varied(), "{lines}");
        assert_eq!(running.server.counters().hash_jobs_started, 0, "{lines}");
        running.stop().await;
    }
}

#[tokio::test]
async fn requests_with_credentials_get_identity() {
    let (upstream, bytes) = file_server(TAGGED).await;
    let running = Running::start(upstream.config()).await;
    running.get_described("/file", OFFER).await.content_information();
    let reply = running.get("/file", &format!("Authorization: Basic eDp5\r\n{OFFER}")).await;
    assert_eq!(&reply.body[..], bytes);
    running.stop().await;
}

#[tokio::test]
async fn access_rules_stay_those_of_upstream() {
    let bytes = content(LENGTH);
    let answer = move |request: &Request| match request.header("cookie") {
        Some("friend") => file_answer(request, TAGGED, &bytes),
        _ => b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec(),
    };
    let upstream = Scripted::start(answer).await;
    let running = Running::start(upstream.config()).await;
    for _ in 0..2 {
        let friend = running.get("/file", &format!("Cookie: friend\r\n{OFFER}")).await;
        assert_eq!((friend.status, friend.header("content-encoding")), (200, None), "hashing has no credentials");
        running.server.wait_idle().await;
        assert_eq!(running.get("/file", OFFER).await.status, 403);
    }
    assert_eq!(running.server.counters().hash_jobs_failed, 1, "and it is not tried again at once");
    running.stop().await;
}

#[tokio::test]
async fn content_that_changes_while_it_is_hashed() {
    let count = Arc::new(AtomicUsize::new(0));
    let (bytes, counting) = (content(LENGTH), count.clone());
    let answer = move |request: &Request| {
        let tag = match counting.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => "ETag: \"one\"\r\n",
            _ => "ETag: \"two\"\r\n",
        };
        file_answer(request, tag, &bytes)
    };
    let upstream = Scripted::start(answer).await;
    let running = Running::start(upstream.config()).await;
    // The tag is "one" for the client and at the start of hashing, and "two" at its end.
    running.get("/file", OFFER).await;
    running.server.wait_idle().await;
    assert_eq!(running.server.counters().hash_jobs_failed, 1);
    let two = running.get_described("/file", OFFER).await;
    two.content_information();
    assert_eq!(two.header("etag").as_deref(), Some("\"two\""));
    running.stop().await;
}

#[tokio::test]
async fn a_changed_resource_is_hashed_anew() {
    let count = Arc::new(AtomicUsize::new(0));
    let (bytes, version) = ([content(LENGTH), content(LENGTH + 1)], count.clone());
    let (served, answering) = (bytes.clone(), version.clone());
    let upstream = Scripted::start(move |request| {
        let version = answering.load(Ordering::Relaxed);
        file_answer(request, ["ETag: \"0\"\r\n", "ETag: \"1\"\r\n"][version], &served[version])
    })
    .await;
    let running = Running::start(upstream.config()).await;
    let old = running.get_described("/file", OFFER).await;
    assert_eq!(old.content_information(), hashed(&bytes[0]).v2.unwrap());
    version.store(1, Ordering::Relaxed);
    let new = running.get_described("/file", OFFER).await;
    assert_eq!(new.content_information(), hashed(&bytes[1]).v2.unwrap());
    running.stop().await;
}

#[tokio::test]
async fn servers_without_ranges_are_not_described() {
    let bytes = content(LENGTH);
    let answer = move |_: &Request| {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nETag: \"a\"\r\n\r\n").into_bytes();
        answer.extend(&bytes);
        answer
    };
    let upstream = Scripted::start(answer).await;
    let running = Running::start(upstream.config()).await;
    let first = running.get("/file", OFFER).await;
    assert_eq!(first.header("x-p2p-peerdistex").as_deref(), Some("MakeHashRequest=true"));
    running.server.wait_idle().await;
    let second = running.get("/file", OFFER).await;
    assert_eq!((second.header("content-encoding"), second.header("x-p2p-peerdistex")), (None, None));
    running.stop().await;
}

#[tokio::test]
async fn missing_data_and_hash_requests() {
    let (upstream, bytes) = file_server(TAGGED).await;
    let running = Running::start(upstream.config()).await;
    running.get("/file", HASH_REQUEST).await.content_information();
    let reply =
        running.get("/file", &format!("Range: bytes=65536-131071\r\nIf-Match: \"one\"\r\n{MISSING_DATA}")).await;
    assert_eq!((reply.status, &reply.body[..]), (206, &bytes[65_536..131_072]));
    let counters = running.server.counters();
    assert_eq!((counters.missing_data_requests, counters.missing_data_bytes), (1, 65_536));
    assert_eq!(upstream.last("GET").header("if-match"), Some("\"one\""));
    running.stop().await;
}

#[tokio::test]
async fn an_upstream_server_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let running = Running::start(ContentServerConfig::new(Source::Upstream(nobody.parse().unwrap()))).await;
    assert_eq!(running.get("/file", OFFER).await.status, 502);
    assert_eq!(running.server.counters().upstream_failures, 1);
    running.stop().await;
}

#[tokio::test]
async fn an_upstream_server_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let mut config = ContentServerConfig::new(Source::Upstream(silent.parse().unwrap()));
    config.limits.no_progress = Duration::from_millis(200);
    let running = Running::start(config).await;
    assert_eq!(running.get("/file", OFFER).await.status, 504);
    assert_eq!(running.server.counters().upstream_timeouts, 1);
    running.stop().await;
}

#[tokio::test]
async fn an_upstream_server_that_breaks_off() {
    let answer = |_: &Request| b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf".to_vec();
    let upstream = Scripted::start(answer).await;
    let running = Running::start(upstream.config()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.to_ascii_lowercase().contains("content-length: 100") && !reply.contains("0\r\n\r\n0"), "{reply}");
    assert!(reply.len() < 300, "the client sees that it is short");
    running.stop().await;
}

#[tokio::test]
async fn an_upstream_server_that_stalls_within_a_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nETag: \"a\"\r\n\r\nhalf");
            // What comes before the request is no answer to it.
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
            open.push(stream);
        }
    });
    let mut config = ContentServerConfig::new(Source::Upstream(url.parse().unwrap()));
    config.limits.no_progress = Duration::from_millis(200);
    let running = Running::start(config).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{OFFER}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    assert!(reply.ends_with(b"half"));
    running.server.wait_idle().await;
    assert_eq!(running.server.counters().hash_jobs_failed, 1);
    running.stop().await;
}

#[tokio::test]
async fn large_uploads_may_take_longer_than_the_limit() {
    let upstream = Scripted::start(|request| {
        let length = request.body.len().to_string();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{length}", length.len()).into_bytes()
    })
    .await;
    let mut config = upstream.config();
    config.limits.no_progress = Duration::from_millis(1500);
    let running = Running::start(config).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n").await.unwrap();
    // Six times the pace that would still be fast enough, longer than the limit in all.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        stream.write_all(b"x").await.unwrap();
    }
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 200") && reply.ends_with(b"\r\n\r\n10"));
    running.stop().await;
}

#[tokio::test]
async fn a_content_server_behind_a_content_server() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(LENGTH);
    std::fs::write(folder.path().join("file"), &bytes).unwrap();
    let behind = Running::folder(folder.path()).await;
    let url = format!("http://{}/", behind.address).parse().unwrap();
    let running = Running::start(ContentServerConfig::new(Source::Upstream(url))).await;
    let described = running.get_described("/file", OFFER).await;
    assert_eq!(described.content_information(), hashed(&bytes).v2.unwrap());
    assert_eq!(behind.server.counters().hash_jobs_started, 0, "one of them describes, not both");
    let etag = described.header("etag").unwrap();
    let unchanged = running.get("/file", &format!("If-None-Match: {etag}\r\n{OFFER}")).await;
    assert_eq!(unchanged.status, 304);
    let reply = running.get("/file", &format!("Range: bytes=0-1,5-6\r\n{OFFER}")).await;
    assert_eq!((reply.status, reply.header("content-encoding")), (206, None));
    running.stop().await;
    behind.stop().await;
}
