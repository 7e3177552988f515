//! Why a function failed, as a result and as a text; and the boundary that turns both over to the caller.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use peerdist_node::control::client::ClientError;
use peerdist_node::control::wire::ErrorCode;
use peerdist_node::feature::{FeatureError, FeatureFileError};

use super::types::{
    DISMAPI_E_PARENT_FEATURE_DISABLED, DISMAPI_E_UNKNOWN_FEATURE, E_ACCESSDENIED, E_FAIL, E_INVALIDARG, E_UNEXPECTED,
    HRESULT, INVALID_DATA, PATH_NOT_FOUND, S_OK, SERVICE_NOT_ACTIVE,
};

thread_local! {
    static LAST_MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Why a function failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: HRESULT,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(code: HRESULT, message: impl ToString) -> Self {
        Self { code, message: message.to_string() }
    }

    pub(super) fn argument(message: &str) -> Self {
        Self::new(E_INVALIDARG, message)
    }
}

/// The body of an exported function. No panic gets out, and what failed is this thread's last message.
pub(super) fn reporting(body: impl FnOnce() -> Result<(), Failure>) -> HRESULT {
    let (code, message) = outcome(body);
    LAST_MESSAGE.set(message);
    code
}

/// As [`reporting`], for the functions that leave the last message as it was.
pub(super) fn guarded(body: impl FnOnce() -> Result<(), Failure>) -> HRESULT {
    outcome(body).0
}

/// What failed just before on this thread.
pub(super) fn last_message() -> Option<String> {
    LAST_MESSAGE.with_borrow(Clone::clone)
}

fn outcome(body: impl FnOnce() -> Result<(), Failure>) -> (HRESULT, Option<String>) {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => (S_OK, None),
        Ok(Err(Failure { code, message })) => (code, Some(message)),
        Err(_) => (E_UNEXPECTED, Some("a defect of libpeerdist".to_owned())),
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::NoDaemon { .. } => SERVICE_NOT_ACTIVE,
            ClientError::NotPermitted { .. } => E_ACCESSDENIED,
            ClientError::Refused { error, .. } => match error {
                ErrorCode::UnknownFeature => DISMAPI_E_UNKNOWN_FEATURE,
                ErrorCode::ParentDisabled => DISMAPI_E_PARENT_FEATURE_DISABLED,
                ErrorCode::BadRequest => E_INVALIDARG,
                ErrorCode::Unavailable => SERVICE_NOT_ACTIVE,
                _ => E_FAIL,
            },
            ClientError::Connect { .. } | ClientError::HungUp { .. } | ClientError::Unexpected { .. } => E_FAIL,
        };
        Self::new(code, error)
    }
}

impl From<FeatureError> for Failure {
    fn from(error: FeatureError) -> Self {
        match error {
            FeatureError::UnknownFeature { .. } => Self::new(DISMAPI_E_UNKNOWN_FEATURE, error),
            FeatureError::ParentDisabled { .. } => Self::new(DISMAPI_E_PARENT_FEATURE_DISABLED, error),
            FeatureError::NoneNamed => Self::new(E_INVALIDARG, error),
            FeatureError::File(error) => error.into(),
        }
    }
}

impl From<FeatureFileError> for Failure {
    fn from(error: FeatureFileError) -> Self {
        let code = match &error {
            FeatureFileError::Garbage { .. } => INVALID_DATA,
            FeatureFileError::OutsideRoot { .. } => PATH_NOT_FOUND,
            FeatureFileError::Io { source, .. } | FeatureFileError::Root { source, .. } => match source.kind() {
                ErrorKind::PermissionDenied => E_ACCESSDENIED,
                ErrorKind::NotFound | ErrorKind::NotADirectory => PATH_NOT_FOUND,
                _ => E_FAIL,
            },
        };
        Self::new(code, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_result() {
        assert_eq!(reporting(|| panic!("on purpose")), E_UNEXPECTED);
        assert!(last_message().is_some());
    }

    #[test]
    fn the_message_is_that_of_the_failure_just_before_on_this_thread() {
        reporting(|| Err(Failure::argument("first")));
        guarded(|| Err(Failure::argument("second")));
        assert_eq!(last_message().unwrap(), "first");
        assert!(std::thread::spawn(last_message).join().unwrap().is_none());
        reporting(|| Ok(()));
        assert_eq!(last_message(), None, "it did not fail");
    }
}
