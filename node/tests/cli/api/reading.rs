//! Reading: many at once, from the cache alone, forward over holes, and not at all.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use peerdist_node::control::client::RemoteContent;
use peerdist_node::control::wire::ErrorCode;
use peerdist_node::fetch::MissingReason;
use peerdist_protocol::content::ContentVersion;
use tokio::task::JoinSet;

use super::{BLOCK, Got, HERE, PATIENCE, code, got, held, patient, probes, read};
use crate::daemon::Home;
use crate::fixture::{content, information};

#[tokio::test]
async fn reads_and_queries_of_the_cache_ask_nobody() {
    let home = patient();
    let _daemon = home.start();
    let session = home.session().await;
    let bytes = Bytes::from(content(5 * BLOCK as usize));
    let open = session.open_content(information(&bytes, ContentVersion::V1).emit().into()).await.unwrap();
    let missing = |range| Got::Missing(range, MissingReason::CacheOnly);
    assert_eq!(got(open.block_read(10, 1, HERE).await).await.unwrap(), missing(10..5 * BLOCK));
    assert_eq!(got(open.stream_read(10, 1, HERE).await).await.unwrap(), missing(10..5 * BLOCK));
    assert_eq!(open.available(0).await.unwrap(), 0);
    assert_eq!(code(open.block_read(0, 0, HERE).await), ErrorCode::BadRequest);

    open.add_data(BLOCK, bytes.slice(BLOCK as usize..3 * BLOCK as usize)).await.unwrap();
    for (position, run) in [(0, 0), (BLOCK, 2 * BLOCK), (BLOCK + 1, 2 * BLOCK - 1), (3 * BLOCK - 1, 1), (3 * BLOCK, 0)]
    {
        assert_eq!(open.available(position).await.unwrap(), run, "{position}");
    }
    assert_eq!(got(open.block_read(0, 1 << 20, HERE).await).await.unwrap(), missing(0..BLOCK));
    let here = got(open.block_read(BLOCK + 5, 10, HERE).await).await.unwrap();
    assert_eq!(here, Got::Data(BLOCK + 5, bytes.slice(BLOCK as usize + 5..BLOCK as usize + 15)));
    assert_eq!(probes(&home).await, 0, "nobody was asked");
}

/// Starts a read that waits for an hour, if it has to.
fn start(reads: &mut JoinSet<(u64, Got)>, open: &RemoteContent, position: u64) {
    let open = open.clone();
    reads.spawn(async move { (position, got(open.block_read(position, 100, PATIENCE).await).await.unwrap()) });
}

/// Waits for all reads. Each gave bytes from its position on.
async fn all_read(mut reads: JoinSet<(u64, Got)>, bytes: &Bytes) {
    while let Some(done) = reads.join_next().await {
        let (position, Got::Data(at, data)) = done.unwrap() else { panic!("all is here") };
        assert_eq!(at, position);
        assert!(!data.is_empty() && bytes[position as usize..].starts_with(&data));
    }
}

#[tokio::test]
async fn reads_that_wait_are_in_nobodys_way() {
    const BLOCKS: u64 = 60;
    let home = patient();
    let _daemon = home.start();
    let session = home.session().await;
    let bytes = Bytes::from(content((BLOCKS * BLOCK) as usize));
    let open = session.open_content(information(&bytes, ContentVersion::V1).emit().into()).await.unwrap();
    let (mut waiting, mut here) = (JoinSet::new(), JoinSet::new());
    let (even, odd): (Vec<_>, Vec<_>) = (0..BLOCKS).map(|block| block * BLOCK).partition(|at| at % (2 * BLOCK) == 0);
    odd.iter().for_each(|block| start(&mut waiting, &open, block + 30_000));
    while probes(&home).await == 0 {}
    even.iter().for_each(|block| start(&mut here, &open, block + 65_535));
    for block in &even {
        open.add_data(*block, bytes.slice(*block as usize..(block + BLOCK) as usize)).await.unwrap();
    }
    all_read(here, &bytes).await;
    assert!(waiting.try_join_next().is_none(), "the others wait");
    for block in &odd {
        open.add_data(*block, bytes.slice(*block as usize..(block + BLOCK) as usize)).await.unwrap();
    }
    all_read(waiting, &bytes).await;
}

#[tokio::test]
async fn reads_of_many_segments_wait_for_theirs() {
    let home = patient();
    let _daemon = home.start();
    let session = home.session().await;
    let bytes = Bytes::from(content(4_000_000));
    let open = session.open_content(information(&bytes, ContentVersion::V2).emit().into()).await.unwrap();
    let (mut first, mut second) = (JoinSet::new(), JoinSet::new());
    (0..2_000_000).step_by(50_000).for_each(|position| start(&mut first, &open, position));
    // The last segment of the first half goes on behind it.
    (2_200_000..4_000_000).step_by(50_000).for_each(|position| start(&mut second, &open, position));
    while probes(&home).await == 0 {}
    open.add_data(0, bytes.slice(..2_200_000)).await.unwrap();
    all_read(first, &bytes).await;
    open.add_data(2_200_000, bytes.slice(2_200_000..)).await.unwrap();
    all_read(second, &bytes).await;
}

#[tokio::test]
async fn a_stream_of_reads_skips_what_is_missing() {
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    let bytes = Bytes::from(content(5 * BLOCK as usize - 100));
    let open = session.open_content(information(&bytes, ContentVersion::V1).emit().into()).await.unwrap();
    open.add_data(0, bytes.slice(..2 * BLOCK as usize)).await.unwrap();
    open.add_data(3 * BLOCK, bytes.slice(3 * BLOCK as usize..)).await.unwrap();
    let (mut position, mut all, mut holes) = (0, Vec::new(), Vec::new());
    let end = loop {
        match open.stream_read(position, 50_000, PATIENCE).await {
            Ok(read) => match got(Ok(read)).await.unwrap() {
                Got::Data(at, data) => {
                    assert!(at == position && data.len() <= 50_000);
                    position += data.len() as u64;
                    all.extend_from_slice(&data);
                }
                Got::Missing(range, reason) => {
                    assert_eq!((range.start, reason), (position, MissingReason::NoDiscovery));
                    position = range.end;
                    all.extend_from_slice(&bytes[range.start as usize..range.end as usize]);
                    holes.push(range);
                }
            },
            Err(error) => break error,
        }
    };
    assert_eq!(code(Err::<(), _>(end)), ErrorCode::NoMore);
    assert!(matches!(&holes[..], [hole] if *hole == (2 * BLOCK..3 * BLOCK)), "{holes:?}");
    assert_eq!(all, bytes);
}

#[tokio::test]
async fn a_tag_is_flushed_and_no_other() {
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    let mut open = Vec::new();
    for (tag, seed) in [([1; 16], 1), ([2; 16], 2)] {
        let bytes = Bytes::from(content(3 * BLOCK as usize + seed)).slice(seed..);
        let ci = information(&bytes, ContentVersion::V1).emit();
        let content = session.open_tagged(tag, "", ci.into()).await.unwrap();
        content.add_data(0, bytes.clone()).await.unwrap();
        open.push((content, bytes));
    }
    assert_eq!(session.flush([3; 16]).await.unwrap(), 0, "nobody used this one");
    assert_eq!(session.flush([1; 16]).await.unwrap(), 3);
    let (flushed, bytes) = &open[0];
    let everything = Got::Missing(0..3 * BLOCK, MissingReason::CacheOnly);
    assert_eq!(got(flushed.block_read(0, 1, HERE).await).await.unwrap(), everything);
    assert_eq!(read(&open[1].0, 0..3 * BLOCK).await, open[1].1);
    flushed.add_data(0, bytes.clone()).await.unwrap();
    assert_eq!(read(flushed, 0..3 * BLOCK).await, *bytes, "the handle stays open");
}

/// A session by hand: its anchor, and its token.
fn anchor(home: &Home) -> (UnixStream, String) {
    let mut anchor = UnixStream::connect(home.api_socket()).unwrap();
    anchor.write_all(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut said = String::new();
    while !said.contains("\"available\"") {
        let mut buffer = [0; 1024];
        let size = anchor.read(&mut buffer).unwrap();
        assert_ne!(size, 0, "{said}");
        said += std::str::from_utf8(&buffer[..size]).unwrap();
    }
    let token = said.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    (anchor, token)
}

#[tokio::test]
async fn a_closed_connection_cancels_what_it_asked_for() {
    let home = patient();
    let _daemon = home.start();
    let (_anchor, token) = anchor(&home);
    let head = format!("HTTP/1.1\r\nHost: x\r\nPeerdist-Session: {token}\r\n");
    let mut half = UnixStream::connect(home.api_socket()).unwrap();
    half.write_all(format!("POST /v1/contents {head}Content-Length: 1000\r\n\r\nsome").as_bytes()).unwrap();
    while held(&home, "staged_bytes").await != 1000 {}
    drop(half);
    while held(&home, "staged_bytes").await != 0 {}
}

/// A user may have 512 connections. Reads whose connections are gone do not count.
#[tokio::test]
async fn reads_of_closed_connections_take_no_place() {
    let home = patient();
    let _daemon = home.start();
    let (_anchor, token) = anchor(&home);
    let head = format!("HTTP/1.1\r\nHost: x\r\nPeerdist-Session: {token}\r\n");
    let ci = information(&content(1000), ContentVersion::V1).emit();
    let mut open = UnixStream::connect(home.api_socket()).unwrap();
    let request = format!("POST /v1/contents {head}Connection: close\r\nContent-Length: {}\r\n\r\n", ci.len());
    open.write_all(&[request.as_bytes(), &ci].concat()).unwrap();
    let mut said = String::new();
    open.read_to_string(&mut said).unwrap();
    let id = said.split("\"id\":").nth(1).unwrap().split(',').next().unwrap();
    drop(open);

    let request = format!("GET /v1/contents/{id}/data?position=0&timeout=3000000 {head}\r\n");
    let status = "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = || {
        let mut stream = UnixStream::connect(home.api_socket()).unwrap();
        let mut answer = String::new();
        // A connection too many is closed at once.
        stream.write_all(status.as_bytes()).is_ok() && stream.read_to_string(&mut answer).is_ok_and(|size| size > 0)
    };
    let mut waiting = Vec::new();
    while waiting.len() < 512 {
        let mut stream = UnixStream::connect(home.api_socket()).unwrap();
        let _ = stream.write_all(request.as_bytes());
        waiting.push(stream);
    }
    while probes(&home).await == 0 {}
    assert!(!answers(), "all places are taken");
    drop(waiting);
    while !answers() {}
}
