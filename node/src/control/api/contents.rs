//! Contents: the client's part of the API.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use peerdist_protocol::content::MAX_CONTENT_INFORMATION_SIZE;
use serde::{Deserialize, Serialize};

use super::{InSession, Path, Query};
use crate::api::{ContentTag, Outcome};
use crate::control::sessions::Handle;
use crate::control::wire::{
    self, Available, ContentState, Described, ErrorCode, Flushed, HandleId, MAX_DATA_SIZE, MAX_NAME_SIZE, NAME_HEADER,
    NotThere, Opened, RANGE_HEADER, Refusal, SOURCE_HEADER,
};
use crate::fetch::why::{MissingReason, Source};

/// A read gives at most so many bytes, however many are asked for.
const MAX_READ: u64 = 1 << 20;

#[derive(Debug, Deserialize)]
pub(super) struct Tagged {
    tag: Option<String>,
}

pub(super) async fn open(
    session: InSession,
    query: Query<Tagged>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Opened>), Refusal> {
    let axum::extract::Query(Tagged { tag }) = query?;
    let tag = tag.as_deref().map_or(Ok(ContentTag::default()), tag_of)?;
    let content = session.instance()?.client_open_named(tag, &name(&headers))?;
    let piece = session.read_body(&headers, body, MAX_CONTENT_INFORMATION_SIZE, 1).await?;
    let range = if piece.is_empty() {
        None
    } else {
        content.client_add_content_information(&piece)?;
        drop(piece);
        Some(wire::Bytes::of(&content.client_complete_content_information().await?.range))
    };
    let id = session.context.sessions.add(session.caller.uid, &session.token, content)?;
    Ok((StatusCode::CREATED, Json(Opened { id, range })))
}

fn name(headers: &HeaderMap) -> String {
    let name = headers.get(NAME_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    name.chars().take(MAX_NAME_SIZE).collect()
}

fn tag_of(digits: &str) -> Result<ContentTag, Refusal> {
    let mut tag = ContentTag::default();
    hex::decode_to_slice(digits, &mut tag)
        .map_err(|_| Refusal::new(ErrorCode::BadRequest, "a tag has 32 hexadecimal digits"))?;
    Ok(tag)
}

pub(super) async fn state(session: InSession, id: Path<HandleId>) -> Result<Json<ContentState>, Refusal> {
    let content = session.content(id?.0)?;
    Ok(Json(ContentState { flash_crowd: content.flash_crowd()? }))
}

#[derive(Debug, Deserialize)]
pub(super) struct More {
    #[serde(default)]
    more: bool,
}

pub(super) async fn add_content_information(
    session: InSession,
    id: Path<HandleId>,
    query: Query<More>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Described>, Refusal> {
    let (axum::extract::Path(id), axum::extract::Query(More { more })) = (id?, query?);
    let content = session.content(id)?;
    let piece = session.read_body(&headers, body, MAX_CONTENT_INFORMATION_SIZE, 1).await?;
    content.client_add_content_information(&piece)?;
    drop(piece);
    if more {
        return Ok(Json(Described { range: None }));
    }
    let described = content.client_complete_content_information().await?;
    Ok(Json(Described { range: Some(wire::Bytes::of(&described.range)) }))
}

#[derive(Debug, Deserialize)]
pub(super) struct ReadQuery {
    position: u64,
    max: Option<u64>,
    /// Milliseconds; 0 for the cache alone.
    timeout: Option<u64>,
    #[serde(default)]
    stream: bool,
}

/// PEERDIST_READ_TIMEOUT_DEFAULT.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits for peers. Closing the connection, the content or the session cancels it.
pub(super) async fn read(session: InSession, id: Path<HandleId>, query: Query<ReadQuery>) -> Result<Response, Refusal> {
    let (axum::extract::Path(id), axum::extract::Query(query)) = (id?, query?);
    let content = session.content(id)?;
    let max = query.max.unwrap_or(MAX_READ).min(MAX_READ);
    let timeout = query.timeout.map(Duration::from_millis);
    let outcome = if query.stream {
        content.stream_read_at(query.position, max, timeout).await?
    } else {
        content.client_block_read(query.position, max, timeout.unwrap_or(DEFAULT_TIMEOUT)).await?
    };
    Ok(match outcome {
        Outcome::Data { range, pieces, source } => {
            let length = (range.end - range.start).to_string();
            let range = format!("{}-{}", range.start, range.end - 1);
            let headers = [
                (HeaderName::from_static(RANGE_HEADER), range),
                (HeaderName::from_static(SOURCE_HEADER), source_text(source)),
                (CONTENT_LENGTH, length),
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
            ];
            let pieces = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
            (headers, Body::from_stream(pieces)).into_response()
        }
        Outcome::Missing { range, reason } => not_there(&range, reason),
        Outcome::TimedOut { range } => not_there(&range, MissingReason::TooSlow),
    })
}

fn not_there(range: &std::ops::Range<u64>, reason: MissingReason) -> Response {
    (StatusCode::NOT_FOUND, Json(NotThere { missing: wire::Bytes::of(range), reason })).into_response()
}

fn source_text(source: Source) -> String {
    match source {
        Source::Cache => "cache".to_owned(),
        Source::Origin => "origin".to_owned(),
        Source::Peer(address) => format!("peer {address}"),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Offset {
    offset: u64,
}

pub(super) async fn add_data(
    session: InSession,
    id: Path<HandleId>,
    query: Query<Offset>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let (axum::extract::Path(id), axum::extract::Query(Offset { offset })) = (id?, query?);
    let content = session.content(id)?;
    let bytes = session.read_body(&headers, body, MAX_DATA_SIZE, 1).await?;
    if content.client_add_data(offset, bytes).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::new(ErrorCode::WrongHash, "these bytes are not what content information describes"))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Position {
    position: u64,
}

pub(super) async fn available(
    session: InSession,
    id: Path<HandleId>,
    query: Query<Position>,
) -> Result<Json<Available>, Refusal> {
    let (axum::extract::Path(id), axum::extract::Query(Position { position })) = (id?, query?);
    Ok(Json(Available { bytes: session.content(id)?.query(position).await? }))
}

pub(super) async fn why(session: InSession, id: Path<HandleId>) -> Result<Json<impl Serialize>, Refusal> {
    Ok(Json(session.content(id?.0)?.explanation()?))
}

pub(super) async fn close(session: InSession, id: Path<HandleId>) -> Result<StatusCode, Refusal> {
    let is_content = |handle: &Handle| matches!(handle, Handle::Content(_));
    session.context.sessions.close(session.caller.uid, &session.token, id?.0, is_content)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn flush(session: InSession, tag: Path<String>) -> Result<Json<Flushed>, Refusal> {
    let tag = tag_of(&tag?.0)?;
    Ok(Json(Flushed { blocks: session.instance()?.client_flush_content(tag).await? }))
}
