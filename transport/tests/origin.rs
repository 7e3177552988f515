//! The downloader's HTTP client against our content server, and against servers that do not behave.
#![allow(clippy::unwrap_used)]

mod content_server_support;

use std::ops::Range;
use std::time::Duration;

use content_server_support::{Request, Running, Scripted, content, file_answer, hashed};
use peerdist_protocol::content::ContentVersion;
use peerdist_protocol::http::{Asked, ContentVersions, MissingData, MissingDataFault, ResponseFault, Validators};
use peerdist_transport::origin::{Answer, Body, Fault, Identity, Origin, OriginError, OriginLimits, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

const LENGTH: usize = 300_000;

fn origin() -> Origin {
    Origin::new(OriginLimits::default()).unwrap()
}

fn url(address: std::net::SocketAddr, path: &str) -> Url {
    format!("http://{address}{path}").parse().unwrap()
}

fn asked(range: Option<Range<u64>>) -> Asked {
    Asked { content: ContentVersions::V1AndV2, range, is_hash_request: false }
}

async fn collect(mut body: Body) -> Result<Vec<u8>, OriginError> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await? {
        bytes.extend(piece);
    }
    Ok(bytes)
}

async fn identity(origin: &Origin, url: &Url, asked: &Asked) -> Identity {
    match origin.ask(url, asked).await.unwrap() {
        Answer::Identity(identity) => identity,
        answer @ Answer::ContentInformation { .. } => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn a_download_from_our_own_content_server() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(LENGTH);
    std::fs::write(folder.path().join("file"), &bytes).unwrap();
    let running = Running::folder(folder.path()).await;
    let (origin, url) = (origin(), url(running.address, "/file"));
    let first = identity(&origin, &url, &asked(None)).await;
    assert!(first.make_hash_request);
    assert_eq!((first.start, first.end, first.total), (0, Some(LENGTH as u64), Some(LENGTH as u64)));
    assert_eq!(collect(first.body).await.unwrap(), bytes);
    let again = Asked { is_hash_request: true, range: Some(0..1 << 30), ..asked(None) };
    let Answer::ContentInformation { content_information, total, validators, .. } =
        origin.ask(&url, &again).await.unwrap()
    else {
        panic!("a hash request waits for the hashing")
    };
    assert_eq!((Some(&content_information), total), (hashed(&bytes).v2.as_ref(), Some(LENGTH as u64)));
    let part = origin.ask(&url, &asked(Some(100_000..150_000))).await.unwrap();
    let Answer::ContentInformation { content_information: part, .. } = part else { panic!("{part:?}") };
    assert_eq!(part, content_information.slice(100_000..150_000).unwrap());
    let only_v1 = Asked { content: ContentVersions::V1, ..asked(None) };
    let old = origin.ask(&url, &only_v1).await.unwrap();
    let Answer::ContentInformation { content_information: old, .. } = old else { panic!("{old:?}") };
    assert_eq!(old.version(), ContentVersion::V1);
    let (kind, body) = origin.missing(&url, &(65_536..131_072), &validators).await.unwrap();
    assert_eq!((kind, collect(body).await.unwrap()), (MissingData::Range, bytes[65_536..131_072].to_vec()));
    let plain = origin.plain(&url, Some(&(299_000..u64::MAX))).await.unwrap();
    assert_eq!((plain.start, plain.end), (299_000, Some(LENGTH as u64)));
    assert_eq!(collect(plain.body).await.unwrap(), bytes[299_000..]);
    assert_eq!(running.server.counters().missing_data_requests, 1);

    std::fs::write(folder.path().join("file"), content(LENGTH - 1)).unwrap();
    let error = origin.missing(&url, &(0..1), &validators).await.unwrap_err();
    assert!(matches!(error, OriginError::MissingData(MissingDataFault::Changed)), "{error:?}");
    running.stop().await;
}

#[tokio::test]
async fn interim_responses_are_no_progress() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url(listener.local_addr().unwrap(), "/");
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let limits = OriginLimits { no_progress: Duration::from_millis(300), ..OriginLimits::default() };
    let origin = Origin::new(limits).unwrap();
    let asking = async { origin.plain(&url, None).await.unwrap_err() };
    let (error, ()) = timeout(Duration::from_secs(60), async { tokio::join!(asking, serving) }).await.unwrap();
    assert!(matches!(error, OriginError::TimedOut), "{error:?}");
}

#[tokio::test]
async fn redirections_are_followed_and_remembered() {
    let upstream = Scripted::start(|request| match request.line.as_str() {
        "GET /new HTTP/1.1" => file_answer(request, "ETag: \"a\"\r\n", b"content"),
        "GET /old HTTP/1.1" => b"HTTP/1.1 301 Moved\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "GET /ftp HTTP/1.1" => b"HTTP/1.1 301 Moved\r\nLocation: ftp://host/\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 302 Found\r\nLocation: /circle\r\nContent-Length: 0\r\n\r\n".to_vec(),
    })
    .await;
    let origin = origin();
    let new = url(upstream.address, "/new");
    let moved = identity(&origin, &url(upstream.address, "/old"), &asked(Some(0..3))).await;
    assert_eq!((moved.url, moved.end, moved.total), (new, Some(3), Some(7)));
    let last = upstream.last("GET /new");
    assert_eq!(last.header("accept-encoding"), Some("peerdist"));
    assert_eq!(last.header("x-p2p-peerdist"), Some("Version=1.1"));
    assert_eq!(last.header("range"), Some("bytes=0-2"));
    let error = origin.ask(&url(upstream.address, "/circle"), &asked(None)).await.unwrap_err();
    assert!(matches!(error, OriginError::Redirections(_)), "{error:?}");
    assert_eq!(error.fault(), Fault::Origin);
    let error = origin.ask(&url(upstream.address, "/ftp"), &asked(None)).await.unwrap_err();
    assert!(!error.is_passing(), "{error:?}");
}

#[tokio::test]
async fn whose_fault_it_is() {
    let upstream = Scripted::start(|request| {
        let status = request.line.split(['/', ' ']).nth(2).unwrap();
        format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").into_bytes()
    })
    .await;
    let origin = origin();
    for (status, fault, is_passing) in [
        (404, Fault::Caller, false),
        (403, Fault::Caller, false),
        (503, Fault::Origin, true),
        (501, Fault::Origin, false),
    ] {
        let error = origin.ask(&url(upstream.address, &format!("/{status}")), &asked(None)).await.unwrap_err();
        assert!(matches!(error, OriginError::Status(got) if got == status), "{error:?}");
        assert_eq!((error.fault(), error.is_passing()), (fault, is_passing), "{status}");
    }
    let error = origin.ask(&"ftp://127.0.0.1/".parse().unwrap(), &asked(None)).await.unwrap_err();
    assert!(matches!(&error, OriginError::Url { scheme } if scheme == "ftp"));
    assert_eq!(error.fault(), Fault::Caller);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let secret = format!("http://user:password@{nobody}/").parse().unwrap();
    let error = origin.ask(&secret, &asked(None)).await.unwrap_err();
    assert!(matches!(&error, OriginError::Connect { host, .. } if host == "127.0.0.1"), "{error:?}");
    assert_eq!((error.fault(), error.is_passing()), (Fault::Network, true));
    assert!(!format!("{error} {error:?}").contains("password"), "{error:?}");
}

#[tokio::test]
async fn content_information_that_cannot_be_used() {
    let bytes = content(LENGTH);
    let described = hashed(&bytes).v2.unwrap().emit();
    let upstream = Scripted::start(move |request: &Request| {
        if request.header("accept-encoding") == Some("identity") {
            return file_answer(request, "", &bytes);
        }
        let (length, body) = match request.line.as_str() {
            "GET /garbage HTTP/1.1" => (LENGTH, &b"garbage"[..]),
            "GET /other HTTP/1.1" => (LENGTH - 1, &described[..]),
            "GET /cut HTTP/1.1" => (LENGTH, &described[..described.len() - 1]),
            _ => (LENGTH, &described[..]),
        };
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1, ContentLength={length}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend(body);
        answer
    })
    .await;
    let origin = origin();
    for path in ["/garbage", "/other", "/cut"] {
        let url = url(upstream.address, path);
        let error = origin.ask(&url, &asked(None)).await.unwrap_err();
        let OriginError::ContentInformation(fault) = &error else { panic!("{error:?}") };
        assert_eq!(matches!(fault, ResponseFault::OtherRange { .. }), path == "/other", "{fault:?}");
        assert!(error.is_about_content_information());
        let plain = origin.plain(&url, None).await.unwrap();
        assert_eq!(collect(plain.body).await.unwrap(), content(LENGTH));
    }
    let small = Origin::new(OriginLimits { content_information_size: 100, ..OriginLimits::default() }).unwrap();
    let error = small.ask(&url(upstream.address, "/good"), &asked(None)).await.unwrap_err();
    assert!(matches!(error, OriginError::ContentInformationSize { limit: 100 }));
    assert!(error.is_about_content_information());
}

#[tokio::test]
async fn ranges_that_were_not_asked_for() {
    let upstream = Scripted::start(|request| {
        let content_range = match request.line.as_str() {
            "GET /other HTTP/1.1" => "Content-Range: bytes 1-10/100\r\n",
            "GET /more HTTP/1.1" => "Content-Range: bytes 0-10/100\r\n",
            "GET /none HTTP/1.1" => "",
            _ => "Content-Range: bytes 0-9/100\r\n",
        };
        format!("HTTP/1.1 206 Partial\r\nContent-Length: 10\r\n{content_range}\r\n0123456789").into_bytes()
    })
    .await;
    let origin = origin();
    for path in ["/other", "/more", "/none"] {
        let error = origin.plain(&url(upstream.address, path), Some(&(0..10))).await.unwrap_err();
        assert!(matches!(error, OriginError::Range { .. }), "{path}: {error:?}");
        let error = origin.missing(&url(upstream.address, path), &(0..10), &Validators::default()).await.unwrap_err();
        assert!(matches!(error, OriginError::MissingData(_)), "{path}: {error:?}");
    }
    let error = origin.plain(&url(upstream.address, "/right"), None).await.unwrap_err();
    assert!(matches!(error, OriginError::Range { asked: None, .. }));
    let right = origin.plain(&url(upstream.address, "/right"), Some(&(0..10))).await.unwrap();
    assert_eq!(collect(right.body).await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn bodies_of_the_wrong_length() {
    let upstream = Scripted::start(|request| {
        let chunks = if request.line.contains("short") { "3\r\nabc\r\n0\r\n\r\n" } else { "5\r\nabcde\r\n0\r\n\r\n" };
        let head = "HTTP/1.1 206 Partial\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 0-3/100\r\n\r\n";
        format!("{head}{chunks}").into_bytes()
    })
    .await;
    let origin = origin();
    for (path, sent) in [("/short", 3), ("/long", 5)] {
        let (_, body) = origin.missing(&url(upstream.address, path), &(0..4), &Validators::default()).await.unwrap();
        let error = collect(body).await.unwrap_err();
        assert!(matches!(error, OriginError::Length { expected: 4, sent: got } if got == sent), "{error:?}");
        assert!(error.is_passing());
    }
    let breaks =
        Scripted::start(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc".to_vec()).await;
    let plain = origin.plain(&url(breaks.address, "/"), None).await.unwrap();
    assert!(matches!(collect(plain.body).await.unwrap_err(), OriginError::Broken(_)));
}

#[tokio::test]
async fn origins_without_ranges_send_all() {
    let upstream =
        Scripted::start(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\ncontent".to_vec()).await;
    let validators = Validators::read(&[("ETag", "\"a\"")]);
    let (kind, body) = origin().missing(&url(upstream.address, "/"), &(3..5), &validators).await.unwrap();
    assert_eq!((kind, collect(body).await.unwrap()), (MissingData::Whole, b"content".to_vec()));
    assert_eq!(upstream.last("GET").header("if-match"), Some("\"a\""));
    let other = Validators::read(&[("ETag", "\"b\"")]);
    let error = origin().missing(&url(upstream.address, "/"), &(3..5), &other).await.unwrap_err();
    assert!(matches!(error, OriginError::MissingData(MissingDataFault::Changed)));
}

#[tokio::test]
async fn origins_that_stand_still() {
    let hasty = OriginLimits { no_progress: Duration::from_secs(1), ..OriginLimits::default() };
    let origin = Origin::new(hasty).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = origin.plain(&url(silent.local_addr().unwrap(), "/"), None).await.unwrap_err();
    assert!(matches!(error, OriginError::TimedOut), "{error:?}");
    let upstream = Scripted::start(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_vec()).await;
    let plain = origin.plain(&url(upstream.address, "/"), None).await.unwrap();
    let error = collect(plain.body).await.unwrap_err();
    assert!(matches!(error, OriginError::TimedOut), "{error:?}");
    assert_eq!(error.fault(), Fault::Network);
}
