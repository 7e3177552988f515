//! The api socket: sessions, and what they have open.
//!
//! Every operation is a request that names its session in the header `Peerdist-Session`. Dropping its future, which is
//! what a reset stream or a closed connection does, cancels it.

mod anchor;
mod contents;
mod publications;

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::Serialize;

use super::refusal::no_such_path;
use super::server::Caller;
use super::wire::{ErrorCode, HandleId, Refusal, SESSION_HEADER, Token};
use super::{Context, openapi, paths};
use crate::api::{Content, Instance};

/// A body may take this long to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

type Path<T> = Result<axum::extract::Path<T>, PathRejection>;
type Query<T> = Result<axum::extract::Query<T>, QueryRejection>;
type Body_<T> = Result<Json<T>, JsonRejection>;

pub(super) fn router(context: Context) -> Router {
    Router::new()
        .route(paths::STATUS, get(status))
        .route(paths::OPENAPI, get(openapi::document))
        .route(paths::SESSIONS, post(anchor::open).delete(end_session))
        .route(paths::CONTENTS, post(contents::open))
        .route(paths::CONTENT, get(contents::state).delete(contents::close))
        .route(paths::CONTENT_INFORMATION, post(contents::add_content_information))
        .route(paths::CONTENT_DATA, get(contents::read).put(contents::add_data))
        .route(paths::CONTENT_AVAILABLE, get(contents::available))
        .route(paths::CONTENT_WHY, get(contents::why))
        .route(paths::TAG, delete(contents::flush))
        .route(paths::STREAMS, post(publications::open_stream))
        .route(paths::STREAM, delete(publications::close_stream))
        .route(paths::STREAM_DATA, put(publications::add))
        .route(paths::STREAM_COMPLETE, post(publications::complete))
        .route(paths::PUBLICATIONS, get(publications::list))
        .route(paths::PUBLICATION, delete(publications::unpublish))
        .route(paths::INFORMATION, post(publications::open_information))
        .route(paths::INFORMATION_HANDLE, get(publications::retrieve).delete(publications::close_information))
        .fallback(no_such_path)
        .with_state(context)
}

async fn status(State(context): State<Context>) -> Json<impl Serialize> {
    Json(context.public_status())
}

/// Ends the session before its anchor does; when the answer comes, everything is closed.
async fn end_session(session: InSession) -> Result<StatusCode, Refusal> {
    session.context.sessions.end_by(session.caller.uid, &session.token)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The session that a request names.
#[derive(Debug)]
struct InSession {
    context: Context,
    caller: Caller,
    token: Token,
}

impl FromRequestParts<Context> for InSession {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Refusal> {
        let Ok(caller) = Caller::from_request_parts(parts, context).await;
        let token = parts.headers.get(SESSION_HEADER).and_then(|value| value.to_str().ok());
        let token = token.ok_or_else(|| {
            Refusal::new(ErrorCode::NoSession, "the request names no session (header Peerdist-Session)")
        })?;
        Ok(Self { context: context.clone(), caller, token: Token::of(token.to_owned()) })
    }
}

impl InSession {
    fn instance(&self) -> Result<Instance, Refusal> {
        Ok(self.context.sessions.instance(self.caller.uid, &self.token)?)
    }

    fn content(&self, id: HandleId) -> Result<std::sync::Arc<Content>, Refusal> {
        Ok(self.context.sessions.content(self.caller.uid, &self.token, id)?)
    }

    /// Reads a body of at most `limit` bytes. `factor` times its size counts against the user's quota meanwhile.
    async fn read_body(
        &self,
        headers: &HeaderMap,
        mut body: Body,
        limit: usize,
        factor: u64,
    ) -> Result<Bytes, Refusal> {
        let too_large = || Refusal::new(ErrorCode::TooLarge, format_args!("a body has at most {limit} bytes here"));
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let length = length.ok_or_else(|| Refusal::new(ErrorCode::BadRequest, "the request needs a Content-Length"))?;
        if length > limit {
            return Err(too_large());
        }
        let _reservation = self.instance()?.reserve(length as u64 * factor)?;
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
        Ok(bytes.freeze())
    }
}
