//! CreateEvent, SetEvent, ResetEvent, CloseHandle, and the file descriptor of an event.
#![allow(unsafe_code, non_snake_case, reason = "exported to C under the names of Windows")]

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::Arc;

use crate::abi::{
    BOOL, DWORD, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_SUPPORTED,
    ERROR_SUCCESS, FALSE, HANDLE, TRUE,
};
use crate::boundary::reporting;
use crate::handle::{self, Handle, Object, TABLE};
use crate::kernel::{Event, last_error};

/// CreateEventEx: manual reset.
pub const CREATE_EVENT_MANUAL_RESET: DWORD = 1;
/// CreateEventEx: signalled from the start.
pub const CREATE_EVENT_INITIAL_SET: DWORD = 2;

/// CreateEventA. No names, no security attributes.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_CreateEventA(
    attributes: *const c_void,
    manual: BOOL,
    signalled: BOOL,
    name: *const c_char,
) -> HANDLE {
    reporting(ptr::null_mut(), || create(attributes.is_null() && name.is_null(), manual != FALSE, signalled != FALSE))
}

/// CreateEventW. No names, no security attributes.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_CreateEventW(
    attributes: *const c_void,
    manual: BOOL,
    signalled: BOOL,
    name: *const u16,
) -> HANDLE {
    reporting(ptr::null_mut(), || create(attributes.is_null() && name.is_null(), manual != FALSE, signalled != FALSE))
}

/// CreateEventExA. No names, no security attributes; all handles have all access.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_CreateEventExA(
    attributes: *const c_void,
    name: *const c_char,
    flags: DWORD,
    _access: DWORD,
) -> HANDLE {
    reporting(ptr::null_mut(), || create_ex(attributes.is_null() && name.is_null(), flags))
}

/// CreateEventExW. No names, no security attributes; all handles have all access.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_CreateEventExW(
    attributes: *const c_void,
    name: *const u16,
    flags: DWORD,
    _access: DWORD,
) -> HANDLE {
    reporting(ptr::null_mut(), || create_ex(attributes.is_null() && name.is_null(), flags))
}

fn create_ex(plain: bool, flags: DWORD) -> Result<HANDLE, DWORD> {
    if flags & !(CREATE_EVENT_MANUAL_RESET | CREATE_EVENT_INITIAL_SET) != 0 {
        return Err(ERROR_INVALID_PARAMETER);
    }
    create(plain, flags & CREATE_EVENT_MANUAL_RESET != 0, flags & CREATE_EVENT_INITIAL_SET != 0)
}

fn create(plain: bool, manual: bool, signalled: bool) -> Result<HANDLE, DWORD> {
    if !plain {
        return Err(ERROR_NOT_SUPPORTED);
    }
    let event = Event::new(manual, signalled).map_err(|_| ERROR_NO_SYSTEM_RESOURCES)?;
    let event = handle::open(Object::Event(Arc::new(event)));
    if event.is_null() {
        return Err(ERROR_NO_SYSTEM_RESOURCES);
    }
    // Callers look for ERROR_ALREADY_EXISTS also after a success.
    last_error::set(ERROR_SUCCESS);
    Ok(event)
}

/// SetEvent.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_SetEvent(event: HANDLE) -> BOOL {
    reporting(FALSE, || {
        handle::event(event).ok_or(ERROR_INVALID_HANDLE)?.set();
        Ok(TRUE)
    })
}

/// ResetEvent.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_ResetEvent(event: HANDLE) -> BOOL {
    reporting(FALSE, || {
        handle::event(event).ok_or(ERROR_INVALID_HANDLE)?.reset();
        Ok(TRUE)
    })
}

/// CloseHandle, of events and ports. PeerDist's handles have functions of their own for that.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_CloseHandle(object: HANDLE) -> BOOL {
    reporting(FALSE, || {
        let handle = Handle::from_raw(object).ok_or(ERROR_INVALID_HANDLE)?;
        let closed = TABLE.remove_if(handle, |object| matches!(object, Object::Event(_) | Object::Port(_)));
        if let Object::Port(port) = closed.ok_or(ERROR_INVALID_HANDLE)? {
            port.close();
        }
        Ok(TRUE)
    })
}

/// An extension: a file descriptor that is readable while the event is signalled; -1 if it is no event. It is to be
/// polled and not to be read, and is closed with the event's handle.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_event_fd(event: HANDLE) -> c_int {
    reporting(-1, || Ok(handle::event(event).ok_or(ERROR_INVALID_HANDLE)?.fd().as_raw_fd()))
}
