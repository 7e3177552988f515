//! Publications and their content information: the server's part of the API.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{Body_, InSession, Path, Query};
use crate::api::{PublicationOptions, Stream, Wanted};
use crate::control::sessions::Handle;
use crate::control::wire::{
    ErrorCode, HandleId, Identifier, InformationOpened, Length, MAX_DATA_SIZE, OpenInformation, PublicationLine,
    Publications, Publish, Refusal, StreamOpened,
};

pub(super) async fn open_stream(
    session: InSession,
    body: Body_<Publish>,
) -> Result<(StatusCode, Json<StreamOpened>), Refusal> {
    let Json(publish) = body?;
    let options = PublicationOptions::of(publish.version)?;
    let stream = session.instance()?.server_publish_stream(&publish.identifier.0, publish.length, options)?;
    let id = session.context.sessions.add(session.caller.uid, &session.token, stream)?;
    Ok((StatusCode::CREATED, Json(StreamOpened { id })))
}

#[derive(Debug, Deserialize)]
pub(super) struct Position {
    position: Option<u64>,
}

pub(super) async fn add(
    session: InSession,
    id: Path<HandleId>,
    query: Query<Position>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Length>, Refusal> {
    let (axum::extract::Path(id), axum::extract::Query(Position { position })) = (id?, query?);
    let stream = session.stream(id)?;
    let bytes = session.read_body(&headers, body, MAX_DATA_SIZE, 1).await?;
    Ok(Json(Length { length: stream.add_at(position, bytes).await? }))
}

pub(super) async fn complete(session: InSession, id: Path<HandleId>) -> Result<Json<Length>, Refusal> {
    let stream = session.stream(id?.0)?;
    Ok(Json(Length { length: stream.server_publish_complete_stream().await? }))
}

#[derive(Debug, Deserialize)]
pub(super) struct Close {
    #[serde(default)]
    cancel: bool,
}

pub(super) async fn close_stream(
    session: InSession,
    id: Path<HandleId>,
    query: Query<Close>,
) -> Result<StatusCode, Refusal> {
    let (axum::extract::Path(id), axum::extract::Query(Close { cancel })) = (id?, query?);
    if cancel {
        session.stream(id)?.cancel();
    }
    let is_stream = |handle: &Handle| matches!(handle, Handle::Stream(_));
    session.context.sessions.close(session.caller.uid, &session.token, id, is_stream)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn list(session: InSession) -> Result<Json<Publications>, Refusal> {
    let publications = session.instance()?.publications().into_iter();
    let lines = publications.map(|(name, length)| PublicationLine { identifier: Identifier(name), length });
    Ok(Json(Publications { publications: lines.collect() }))
}

pub(super) async fn unpublish(session: InSession, identifier: Path<String>) -> Result<StatusCode, Refusal> {
    let identifier = hex::decode(identifier?.0)
        .map_err(|_| Refusal::new(ErrorCode::BadRequest, "an identifier is written as hexadecimal digits"))?;
    session.instance()?.server_unpublish(&identifier)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn open_information(
    session: InSession,
    body: Body_<OpenInformation>,
) -> Result<(StatusCode, Json<InformationOpened>), Refusal> {
    let Json(open) = body?;
    let OpenInformation { identifier, offset, length, min_version, max_version } = open;
    let wanted = Wanted { offset, length, min_version, max_version };
    let information = session.instance()?.server_open_content_information(&identifier.0, &wanted).await?;
    let size = information.size();
    let id = session.context.sessions.add(session.caller.uid, &session.token, information)?;
    Ok((StatusCode::CREATED, Json(InformationOpened { id, size })))
}

#[derive(Debug, Deserialize)]
pub(super) struct Piece {
    #[serde(default)]
    offset: u64,
    max: Option<usize>,
}

pub(super) async fn retrieve(
    session: InSession,
    id: Path<HandleId>,
    query: Query<Piece>,
) -> Result<axum::body::Bytes, Refusal> {
    let (axum::extract::Path(id), axum::extract::Query(Piece { offset, max })) = (id?, query?);
    let information = session.context.sessions.information(session.caller.uid, &session.token, id)?;
    Ok(information.server_retrieve_content_information(offset, max.unwrap_or(usize::MAX))?)
}

pub(super) async fn close_information(session: InSession, id: Path<HandleId>) -> Result<StatusCode, Refusal> {
    let is_information = |handle: &Handle| matches!(handle, Handle::Information(_));
    session.context.sessions.close(session.caller.uid, &session.token, id?.0, is_information)?;
    Ok(StatusCode::NO_CONTENT)
}

impl InSession {
    fn stream(&self, id: HandleId) -> Result<Arc<Stream>, Refusal> {
        Ok(self.context.sessions.stream(self.caller.uid, &self.token, id)?)
    }
}
