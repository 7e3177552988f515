//! The admin socket: what the node does and holds, and the administration of its cache.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use peerdist_protocol::content::ParseSegmentIdError;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::refusal::no_such_path;
use super::wire::{Cleared, ErrorCode, MAX_PAGE, Refusal, Reloaded, SegmentPage};
use super::{Context, capture, features, metrics, openapi, paths};
use crate::store::{StoreStats, VerifyProgress};

pub(super) type Answer<T> = Result<Json<T>, Refusal>;

pub(super) fn router(context: Context) -> Router {
    Router::new()
        .route(paths::STATUS, get(status))
        .route(paths::CACHE, get(cache))
        .route(paths::CACHE_SEGMENTS, get(segments))
        .route(paths::CACHE_VERIFY, post(verify))
        .route(paths::CACHE_CLEAR, post(clear))
        .route(paths::WHY, get(why))
        .route(paths::CAPTURE, get(capture::capture))
        .route(paths::METRICS, get(prometheus))
        .route(paths::RELOAD, post(reload))
        .route(paths::OPENAPI, get(openapi::document))
        .merge(features::router())
        .fallback(no_such_path)
        .with_state(context)
}

async fn status(State(context): State<Context>) -> Json<impl Serialize> {
    Json(context.status())
}

async fn cache(State(context): State<Context>) -> Json<StoreStats> {
    Json(context.node.store().stats())
}

#[derive(Debug, Deserialize)]
struct Page {
    after: Option<String>,
    limit: Option<u32>,
}

async fn segments(State(context): State<Context>, page: Result<Query<Page>, QueryRejection>) -> Answer<SegmentPage> {
    let Query(page) = page?;
    let after = page.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|error: ParseSegmentIdError| Refusal::new(ErrorCode::BadRequest, error))?;
    let limit = page.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let store = context.node.store().clone();
    blocking(move || SegmentPage::of(&store, after, limit as usize)).await.map(Json)
}

/// Goes on while the caller waits.
async fn verify(State(context): State<Context>) -> Answer<VerifyProgress> {
    let store = context.node.store().clone();
    let waiting = Arc::new(AtomicBool::new(true));
    let _hang_up = HangUp(Arc::clone(&waiting));
    let goes_on = move |_: &VerifyProgress| match waiting.load(Ordering::Relaxed) {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let verified = blocking(move || store.verify(goes_on)).await?;
    verified.map(Json).map_err(|error| Refusal::new(ErrorCode::Internal, error))
}

/// Tells a thread that nobody waits for it any more.
struct HangUp(Arc<AtomicBool>);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

async fn clear(State(context): State<Context>) -> Answer<Cleared> {
    let store = context.node.store().clone();
    let cleared = blocking(move || {
        let before = store.stats();
        store.clear().map(|()| Cleared::of(&before))
    });
    cleared.await?.map(Json).map_err(|error| Refusal::new(ErrorCode::Internal, error))
}

async fn why(State(context): State<Context>) -> Json<impl Serialize> {
    Json(context.node.fetcher().recent())
}

async fn prometheus(State(context): State<Context>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&context.status()))
}

async fn reload(State(context): State<Context>) -> Answer<Reloaded> {
    let (answer, reloaded) = oneshot::channel();
    let stopping = || Refusal::new(ErrorCode::Unavailable, "the daemon stops");
    context.reload.send(answer).await.map_err(|_| stopping())?;
    match reloaded.await.map_err(|_| stopping())? {
        Ok(reloaded) => Ok(Json(reloaded)),
        Err(error) => Err(Refusal::new(ErrorCode::BadRequest, error)),
    }
}

/// Runs what may wait for the disk on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::new(ErrorCode::Internal, error))
}
