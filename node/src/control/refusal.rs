//! Refusals: what went wrong as an HTTP status and a JSON body.

use std::fmt::Display;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::sessions::SessionError;
use super::wire::{ErrorCode, Refusal};

impl Refusal {
    pub(super) fn new(error: ErrorCode, message: impl Display) -> Self {
        Self { error, message: message.to_string() }
    }

    fn status(&self) -> StatusCode {
        match self.error {
            ErrorCode::BadRequest | ErrorCode::NotContentInformation => StatusCode::BAD_REQUEST,
            ErrorCode::NoSession => StatusCode::UNAUTHORIZED,
            ErrorCode::NoContent | ErrorCode::NotFound | ErrorCode::UnknownFeature => StatusCode::NOT_FOUND,
            ErrorCode::ParentDisabled => StatusCode::CONFLICT,
            ErrorCode::OutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
            ErrorCode::WrongHash => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::Quota => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Cancelled => StatusCode::GONE,
            ErrorCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status(), Json(self)).into_response()
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        let code = match error {
            SessionError::NoSession => ErrorCode::NoSession,
            SessionError::NoContent => ErrorCode::NoContent,
            SessionError::TooManySessions { .. }
            | SessionError::TooManyContents { .. }
            | SessionError::TooManyBytes { .. } => ErrorCode::Quota,
            SessionError::NoRandomness => ErrorCode::Internal,
        };
        Self::new(code, error)
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ErrorCode::BadRequest, rejection.body_text())
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::new(ErrorCode::BadRequest, rejection.body_text())
    }
}

/// What every other path gets.
pub(super) async fn no_such_path() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "no such path on this socket")
}
