//! The features on the admin socket: which are on, and turning them on and off.

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::admin::{Answer, blocking};
use super::wire::{ErrorCode, Refusal};
use super::{Context, paths};
use crate::feature::{FeatureError, FeatureInfo};

/// Every feature, as it is or as it is after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureList {
    /// Parents first.
    pub features: Vec<FeatureInfo>,
}

/// Which features to enable or to disable: all of them or, with an error, none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureNames {
    /// Names in any case; `BranchCache` is `PeerDist`.
    pub names: Vec<String>,
    /// Enable what these need as well. Disabling knows no such wish: what needs them goes with them in any case.
    #[serde(default)]
    pub all: bool,
}

pub(super) fn router() -> Router<Context> {
    Router::new()
        .route(paths::FEATURES, get(list))
        .route(paths::FEATURES_ENABLE, post(enable))
        .route(paths::FEATURES_DISABLE, post(disable))
}

async fn list(State(context): State<Context>) -> Json<FeatureList> {
    Json(FeatureList { features: context.features.list() })
}

async fn enable(State(context): State<Context>, body: Result<Bytes, BytesRejection>) -> Answer<FeatureList> {
    let FeatureNames { names, all } = parse(&body?)?;
    let features = blocking(move || context.features.enable(&names, all)).await??;
    Ok(Json(FeatureList { features }))
}

async fn disable(State(context): State<Context>, body: Result<Bytes, BytesRejection>) -> Answer<FeatureList> {
    let FeatureNames { names, .. } = parse(&body?)?;
    let features = blocking(move || context.features.disable(&names)).await??;
    Ok(Json(FeatureList { features }))
}

/// Takes any content type: `curl -d` sends that of a form.
fn parse(body: &Bytes) -> Result<FeatureNames, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::new(ErrorCode::BadRequest, format_args!("the body is not like {{\"names\": [\"PeerDist\"]}}: {error}"))
    })
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(ErrorCode::BadRequest, rejection.body_text())
    }
}

impl From<FeatureError> for Refusal {
    fn from(error: FeatureError) -> Self {
        let code = match error {
            FeatureError::UnknownFeature { .. } => ErrorCode::UnknownFeature,
            FeatureError::ParentDisabled { .. } => ErrorCode::ParentDisabled,
            FeatureError::NoneNamed => ErrorCode::BadRequest,
            FeatureError::File(error) => {
                tracing::warn!(%error, "the features stay as they were");
                // Whoever asks may well have the right that the daemon lacks.
                return Self::new(ErrorCode::Internal, format_args!("the daemon failed: {error}"));
            }
        };
        Self::new(code, error)
    }
}
