//! Fetching a content from the upstream server to hash it.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use hyper::{Method, Response, StatusCode};
use peerdist_protocol::content::Hashed;
use reqwest::Url;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Shared;
use super::jobs::{Cancellable, HashFailure, blocking};
use super::subject::Subject;
use super::upstream::Upstream;
use crate::hashing::hash_reader;

/// How many pieces of the body, as they come from the socket, wait for the hashing.
const PIECES_WAITING: usize = 8;

/// Fetches the whole content that `subject` is about, without any of the client's credentials, and hashes it.
///
/// The validators have to be the same before the first byte and after the last. The last request also shows that the
/// server does ranges: whoever takes content information depends on them.
pub(super) async fn hash(
    shared: Arc<Shared>,
    upstream: Upstream,
    url: Url,
    subject: Subject,
) -> Result<Hashed, HashFailure> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let whole = upstream.send(Method::GET, url.clone(), headers.clone(), None).await?;
    if whole.status() != StatusCode::OK {
        return Err(HashFailure::Status(whole.status()));
    }
    unchanged(&whole, &subject)?;
    let hashed = receive(&shared, whole, subject.length).await?;
    headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    if let Some(tag) = subject.strong_tag().and_then(|tag| HeaderValue::try_from(tag).ok()) {
        headers.insert(IF_RANGE, tag);
    }
    let first_byte = upstream.send(Method::GET, url, headers, None).await?;
    unchanged(&first_byte, &subject)?;
    match first_byte.status() {
        StatusCode::PARTIAL_CONTENT => Ok(hashed),
        status => Err(HashFailure::Status(status)),
    }
}

fn unchanged(response: &Response<reqwest::Body>, subject: &Subject) -> Result<(), HashFailure> {
    match Subject::of(response.status(), response.headers()) {
        Some(now) if now.is_same_content(subject) => Ok(()),
        Some(_) => Err(HashFailure::Changed),
        None => Err(HashFailure::Status(response.status())),
    }
}

/// Hashes the body while it comes. Memory is bounded by [`PIECES_WAITING`].
async fn receive(shared: &Arc<Shared>, response: Response<reqwest::Body>, length: u64) -> Result<Hashed, HashFailure> {
    let (pieces, received) = mpsc::channel(PIECES_WAITING);
    let with = shared.clone();
    let hashing = blocking(move || {
        let reader = Pieces { received, current: Bytes::new() };
        let reader = Cancellable { reader, closing: with.jobs.closing().clone() };
        hash_reader(reader, with.config.versions, &with.secret, with.config.hash_threads)
    });
    let receiving = async {
        let mut body = response.into_body();
        let mut left = length;
        loop {
            let frame = timeout(shared.config.limits.no_progress, body.frame()).await;
            let Some(frame) = frame.map_err(|_| HashFailure::Stalled)? else { break };
            let Ok(piece) = frame?.into_data() else { continue };
            left = left.checked_sub(piece.len() as u64).ok_or(HashFailure::Changed)?;
            if pieces.send(piece).await.is_err() {
                // The hashing ended with an error, which is the one to report.
                break;
            }
        }
        drop(pieces);
        Ok(())
    };
    let (hashed, received) = tokio::join!(hashing, receiving);
    received.and_then(|()| Ok(hashed??))
}

/// The pieces as one reader.
#[derive(Debug)]
struct Pieces {
    received: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.received.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current[..count]);
        self.current.advance(count);
        Ok(count)
    }
}
