//! The api socket: sessions, and the contents that they hold open.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt as _;
use peerdist_protocol::content::{ContentInformation, MAX_CONTENT_INFORMATION_SIZE, MAX_CONTENT_LENGTH};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::refusal::no_such_path;
use super::server::Caller;
use super::sessions::{Anchor, Reservation};
use super::wire::{
    self, ContentId, Described, EVENTS_TYPE, ErrorCode, Event, MAX_DATA_SIZE, MAX_NAME_SIZE, NAME_HEADER, NotThere,
    Opened, RANGE_HEADER, Refusal, SESSION_HEADER, SOURCE_HEADER, Token,
};
use super::{Context, paths};
use crate::fetch::why::Source;
use crate::fetch::{Content, Read};

/// A body may take this long to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Parsed, content information of version 2 takes this many times its size; version 1 takes less.
const PARSED_FACTOR: u64 = 4;

pub(super) fn router(context: Context) -> Router {
    Router::new()
        .route(paths::STATUS, get(status))
        .route(paths::SESSIONS, post(open_session))
        .route(paths::CONTENTS, post(open_content))
        .route(paths::CONTENT, delete(close_content))
        .route(paths::CONTENT_INFORMATION, post(add_content_information))
        .route(paths::CONTENT_NEXT, get(next))
        .route(paths::CONTENT_DATA, put(add_data))
        .route(paths::CONTENT_WHY, get(why))
        .fallback(no_such_path)
        .with_state(context)
}

async fn status(State(context): State<Context>) -> Json<impl Serialize> {
    Json(context.public_status())
}

/// Answers with a stream of events that stays open: it is the session.
async fn open_session(State(context): State<Context>, caller: Caller) -> Result<Response, Refusal> {
    let anchor = context.sessions.open(caller.uid)?;
    let first = Event::Session { token: anchor.token().clone() };
    let events = stream::unfold(Some((anchor, Some(first), context.stop)), |state| async {
        let (anchor, event, stop): (Anchor<Content>, Option<Event>, CancellationToken) = state?;
        match event {
            Some(event) => Some((line(&event), Some((anchor, None, stop)))),
            None => {
                stop.cancelled().await;
                Some((line(&Event::Stopping), None))
            }
        }
    });
    Ok(([(CONTENT_TYPE, EVENTS_TYPE)], Body::from_stream(events)).into_response())
}

fn line(event: &Event) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    Ok(line.into())
}

/// The session that a request names.
#[derive(Debug)]
struct InSession {
    caller: Caller,
    token: Token,
}

impl<S: Sync> FromRequestParts<S> for InSession {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Ok(caller) = Caller::from_request_parts(parts, state).await;
        let token = parts.headers.get(SESSION_HEADER).and_then(|value| value.to_str().ok());
        let token = token.ok_or_else(|| {
            Refusal::new(ErrorCode::NoSession, "the request names no session (header Peerdist-Session)")
        })?;
        Ok(Self { caller, token: Token::of(token.to_owned()) })
    }
}

async fn open_content(
    State(context): State<Context>,
    session: InSession,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Opened>), Refusal> {
    context.sessions.admit(session.caller.uid, &session.token, 0)?;
    let (information, bytes) = read_content_information(&context, &session, &headers, body).await?;
    let range = wire::Bytes::of(&information.range());
    let content = context.node.fetcher().open_named(&name(&headers), information);
    let id = context.sessions.add(session.caller.uid, &session.token, bytes, content)?;
    Ok((StatusCode::CREATED, Json(Opened { id, range })))
}

fn name(headers: &HeaderMap) -> String {
    let name = headers.get(NAME_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    name.chars().take(MAX_NAME_SIZE).collect()
}

async fn add_content_information(
    State(context): State<Context>,
    session: InSession,
    id: Result<Path<ContentId>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Described>, Refusal> {
    let Path(id) = id?;
    let open = context.sessions.content(session.caller.uid, &session.token, id)?;
    let (information, bytes) = read_content_information(&context, &session, &headers, body).await?;
    let range = wire::Bytes::of(&information.range());
    context.sessions.charge(session.caller.uid, &session.token, id, bytes)?;
    open.content
        .add_content_information(information)
        .map_err(|error| Refusal::new(ErrorCode::NotContentInformation, error))?;
    Ok(Json(Described { range }))
}

#[derive(Debug, Deserialize)]
struct Position {
    position: u64,
}

/// Waits for peers. Closing the connection, the content or the session cancels it.
async fn next(
    State(context): State<Context>,
    session: InSession,
    id: Result<Path<ContentId>, PathRejection>,
    query: Result<Query<Position>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (Path(id), Query(Position { position })) = (id?, query?);
    let open = context.sessions.content(session.caller.uid, &session.token, id)?;
    let read = tokio::select! {
        read = open.content.next(position) => read.map_err(|error| Refusal::new(ErrorCode::OutOfRange, error))?,
        () = open.closed.cancelled() => return Err(Refusal::new(ErrorCode::Cancelled, "the content was closed")),
    };
    Ok(match read {
        Read::Data { range, pieces, source } => {
            let length = (range.end - range.start).to_string();
            let range = format!("{}-{}", range.start, range.end - 1);
            let headers = [
                (HeaderName::from_static(RANGE_HEADER), range),
                (HeaderName::from_static(SOURCE_HEADER), source_text(source)),
                (CONTENT_LENGTH, length),
            ];
            let pieces = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
            (headers, Body::from_stream(pieces)).into_response()
        }
        Read::Missing { range, reason } => {
            (StatusCode::NOT_FOUND, Json(NotThere { missing: wire::Bytes::of(&range), reason })).into_response()
        }
    })
}

fn source_text(source: Source) -> String {
    match source {
        Source::Cache => "cache".to_owned(),
        Source::Origin => "origin".to_owned(),
        Source::Peer(address) => format!("peer {address}"),
    }
}

#[derive(Debug, Deserialize)]
struct Offset {
    offset: u64,
}

async fn add_data(
    State(context): State<Context>,
    session: InSession,
    id: Result<Path<ContentId>, PathRejection>,
    query: Result<Query<Offset>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let (Path(id), Query(Offset { offset })) = (id?, query?);
    let open = context.sessions.content(session.caller.uid, &session.token, id)?;
    let (body, _reservation) = read_body(&context, &session, &headers, body, MAX_DATA_SIZE, 1).await?;
    if offset.checked_add(body.len() as u64).is_none_or(|end| end > MAX_CONTENT_LENGTH) {
        return Err(Refusal::new(ErrorCode::OutOfRange, "no content is that long"));
    }
    let added = tokio::select! {
        added = open.content.add_data(offset, body) => added,
        () = open.closed.cancelled() => return Err(Refusal::new(ErrorCode::Cancelled, "the content was closed")),
    };
    context.sessions.set_staged(session.caller.uid, &session.token, id, open.content.staged_bytes());
    added.map_err(|error| Refusal::new(ErrorCode::WrongHash, error))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn why(
    State(context): State<Context>,
    session: InSession,
    id: Result<Path<ContentId>, PathRejection>,
) -> Result<Json<impl Serialize>, Refusal> {
    let Path(id) = id?;
    let open = context.sessions.content(session.caller.uid, &session.token, id)?;
    Ok(Json(open.content.explanation()))
}

async fn close_content(
    State(context): State<Context>,
    session: InSession,
    id: Result<Path<ContentId>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    let Path(id) = id?;
    context.sessions.close(session.caller.uid, &session.token, id)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads content information and says how many bytes it takes in memory.
async fn read_content_information(
    context: &Context,
    session: &InSession,
    headers: &HeaderMap,
    body: Body,
) -> Result<(ContentInformation, u64), Refusal> {
    let limit = MAX_CONTENT_INFORMATION_SIZE;
    let (body, reservation) = read_body(context, session, headers, body, limit, 1 + PARSED_FACTOR).await?;
    let size = body.len();
    // Parsing derives an id for every segment, and a large content has a million.
    let parsed = tokio::task::spawn_blocking(move || {
        let parsed = ContentInformation::parse(body);
        // Held until here even where the caller has gone.
        drop(reservation);
        parsed
    });
    let information = parsed
        .await
        .map_err(|error| Refusal::new(ErrorCode::Internal, error))?
        .map_err(|error| Refusal::new(ErrorCode::NotContentInformation, error))?;
    let bytes = size + std::mem::size_of_val(information.segments());
    Ok((information, bytes as u64))
}

/// Reads a body of at most `limit` bytes. `factor` times its size counts against the user's quota until the reservation
/// is dropped.
async fn read_body(
    context: &Context,
    session: &InSession,
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    factor: u64,
) -> Result<(Bytes, Reservation<Content>), Refusal> {
    let too_large = || Refusal::new(ErrorCode::TooLarge, format_args!("a body has at most {limit} bytes here"));
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let length = length.ok_or_else(|| Refusal::new(ErrorCode::BadRequest, "the request needs a Content-Length"))?;
    if length > limit {
        return Err(too_large());
    }
    let reservation = context.sessions.reserve(session.caller.uid, length as u64 * factor)?;
    let mut bytes = BytesMut::with_capacity(length);
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::new(ErrorCode::BadRequest, error))?;
            let Ok(data) = frame.into_data() else { continue };
            bytes.extend_from_slice(&data);
        }
        Ok::<(), Refusal>(())
    };
    let in_time = tokio::time::timeout(BODY_TIMEOUT, read).await;
    in_time.map_err(|_| Refusal::new(ErrorCode::BadRequest, "the body took too long to arrive"))??;
    Ok((bytes.freeze(), reservation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_content_information_is_counted_in_full() {
        // A segment description of version 2 has 68 bytes ([MS-PCCRC] 2.4.1.2).
        let factor = std::mem::size_of::<peerdist_protocol::content::Segment>() as u64;
        assert!(factor <= PARSED_FACTOR * 68, "a segment takes {factor} bytes");
    }
}
