//! The functions of peerdist.h, exported.
//!
//! | module | functions |
//! |---|---|
//! | [`common`] | Startup, Shutdown, status and its notification |
//! | [`client`] | contents |
//! | [`server`] | streams and content information |

pub mod client;
pub mod common;
pub mod server;

use std::sync::Arc;

use super::{Child, Content, ContentInfo, Instance, Stream};
use crate::abi::{
    DWORD, ERROR_INTERNAL_ERROR, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, ERROR_IO_PENDING, ERROR_SUCCESS, HANDLE,
};
use crate::boundary::guarded;
use crate::handle::{Handle, Object, TABLE, object};

/// The body of a function that has done its work when it returns.
fn done(body: impl FnOnce() -> Result<(), DWORD>) -> DWORD {
    guarded(ERROR_INTERNAL_ERROR, || body().err().unwrap_or(ERROR_SUCCESS))
}

/// The body of a function that starts an operation.
fn started(body: impl FnOnce() -> Result<(), DWORD>) -> DWORD {
    guarded(ERROR_INTERNAL_ERROR, || body().err().unwrap_or(ERROR_IO_PENDING))
}

/// An instance of this process. A forked child starts one of its own: the thread that serves its parent's does not run here.
fn instance(handle: HANDLE) -> Result<Arc<Instance>, DWORD> {
    match object(handle) {
        Some(Object::Instance(instance)) if instance.daemon.is_of_this_process() => Ok(instance),
        _ => Err(ERROR_INVALID_HANDLE),
    }
}

fn content(of: HANDLE, handle: HANDLE) -> Result<Arc<Content>, DWORD> {
    match object(handle) {
        Some(Object::Content(content)) => checked(of, &content.child).map(|()| Arc::clone(&content)),
        _ => Err(ERROR_INVALID_HANDLE),
    }
}

fn stream(of: HANDLE, handle: HANDLE) -> Result<Arc<Stream>, DWORD> {
    match object(handle) {
        Some(Object::Stream(stream)) => checked(of, &stream.child).map(|()| Arc::clone(&stream)),
        _ => Err(ERROR_INVALID_HANDLE),
    }
}

fn content_info(of: HANDLE, handle: HANDLE) -> Result<Arc<ContentInfo>, DWORD> {
    match object(handle) {
        Some(Object::ContentInfo(information)) => checked(of, &information.child).map(|()| Arc::clone(&information)),
        _ => Err(ERROR_INVALID_HANDLE),
    }
}

/// A handle is of one instance and of no other.
fn checked(of: HANDLE, child: &Child) -> Result<(), DWORD> {
    if Arc::ptr_eq(&instance(of)?, &child.instance) { Ok(()) } else { Err(ERROR_INVALID_HANDLE) }
}

/// Takes a child's handle off the table. Of several who close it one gets `true`.
fn remove(raw: HANDLE, child: &Child) -> bool {
    let Some(handle) = Handle::from_raw(raw) else { return false };
    child.instance.forget(handle);
    TABLE.remove_if(handle, |_| true).is_some()
}

/// A pointer that may not be NULL.
fn required<T>(pointer: *const T) -> Result<(), DWORD> {
    if pointer.is_null() { Err(ERROR_INVALID_PARAMETER) } else { Ok(()) }
}
