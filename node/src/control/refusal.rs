//! Refusals: what went wrong as an HTTP status and a JSON body.

use std::fmt::Display;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::sessions::SessionError;
use super::wire::{ErrorCode, Refusal};
use crate::api::Error;

impl Refusal {
    pub(super) fn new(error: ErrorCode, message: impl Display) -> Self {
        Self { error, code: error.win32(), message: message.to_string() }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self.error {
            ErrorCode::BadRequest | ErrorCode::NotContentInformation | ErrorCode::VersionUnsupported => {
                StatusCode::BAD_REQUEST
            }
            ErrorCode::NoSession => StatusCode::UNAUTHORIZED,
            ErrorCode::NoContent | ErrorCode::NotFound | ErrorCode::NotPublished | ErrorCode::UnknownFeature => {
                StatusCode::NOT_FOUND
            }
            ErrorCode::AlreadyExists
            | ErrorCode::AlreadyCompleted
            | ErrorCode::NotInitialized
            | ErrorCode::ParentDisabled => StatusCode::CONFLICT,
            ErrorCode::NoMore | ErrorCode::OutOfBounds => StatusCode::RANGE_NOT_SATISFIABLE,
            ErrorCode::WrongHash => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::Quota => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Cancelled | ErrorCode::Invalidated => StatusCode::GONE,
            ErrorCode::Disabled => StatusCode::FORBIDDEN,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
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
        let code = match &error {
            SessionError::NoSession => ErrorCode::NoSession,
            SessionError::NoHandle => ErrorCode::NoContent,
            SessionError::NoRandomness => ErrorCode::Internal,
            SessionError::Api(error) => ErrorCode::from(error),
        };
        Self::new(code, error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(ErrorCode::from(&error), error)
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(ErrorCode::BadRequest, rejection.body_text())
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
