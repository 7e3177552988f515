//! The exported functions, called as C calls them and told in Rust.

use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{ptr, thread};

use peerdist::abi::*;
use peerdist::kernel::calls::*;
use peerdist::operation::calls::{PeerDistGetOverlappedResult, peerdist_GetOverlappedResult};
use peerdist::peerdist::calls::{client::*, common::*, server::*};
use peerdist_node::control::client::API_SOCKET_VARIABLE;

pub(crate) const NULL: HANDLE = ptr::null_mut();

/// An OVERLAPPED that stays where it is until its operation has ended.
pub(crate) struct Overlapped(ManuallyDrop<Box<UnsafeCell<OVERLAPPED>>>);

/// A handle on its way to another thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried(usize);

impl Carried {
    pub(crate) fn new(handle: HANDLE) -> Self {
        Self(handle.addr())
    }

    pub(crate) fn get(self) -> HANDLE {
        ptr::without_provenance_mut(self.0)
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) error: DWORD,
    pub(crate) bytes: DWORD,
    pub(crate) offset: u64,
}

// SAFETY: what is read of it is read with the library's functions, which take any thread.
unsafe impl Send for Overlapped {}
// SAFETY: as above.
unsafe impl Sync for Overlapped {}

impl Overlapped {
    /// Zero but for the event, which may be NULL.
    pub(crate) fn new(event: HANDLE) -> Self {
        Self::at(0, event)
    }

    pub(crate) fn at(offset: u64, event: HANDLE) -> Self {
        let (low, high) = (offset as u32, (offset >> 32) as u32);
        let overlapped = OVERLAPPED { Internal: 0, InternalHigh: 0, Offset: low, OffsetHigh: high, hEvent: event };
        Self(ManuallyDrop::new(Box::new(overlapped.into())))
    }

    pub(crate) fn raw(&self) -> *mut OVERLAPPED {
        self.0.get()
    }

    /// Sets the offset of an operation that has ended, or not begun.
    pub(crate) fn set_offset(&self, offset: u64) {
        // SAFETY: it is not pending.
        unsafe {
            (*self.raw()).Offset = offset as u32;
            (*self.raw()).OffsetHigh = (offset >> 32) as u32;
        }
    }

    pub(crate) fn internal(&self) -> ULONG_PTR {
        // SAFETY: read as a program polls it, with the macro of windows.h.
        unsafe { AtomicUsize::from_ptr(&raw mut (*self.raw()).Internal) }.load(Ordering::Acquire)
    }

    /// HasOverlappedIoCompleted, the other way round.
    pub(crate) fn is_pending(&self) -> bool {
        self.internal() == internal_of(STATUS_PENDING)
    }

    fn offset(&self) -> u64 {
        // SAFETY: called when the operation has ended.
        unsafe { u64::from((*self.raw()).OffsetHigh) << 32 | u64::from((*self.raw()).Offset) }
    }

    /// PeerDistGetOverlappedResult with bWait: how the operation ended.
    pub(crate) fn wait(&self) -> Ended {
        self.result(true).expect("it waits")
    }

    /// PeerDistGetOverlappedResult; `None` while it is pending.
    pub(crate) fn result(&self, wait: bool) -> Option<Ended> {
        let mut bytes = 0xDEAD_BEEF;
        // SAFETY: both are valid.
        let good = unsafe { PeerDistGetOverlappedResult(self.raw(), &mut bytes, wait.into()) };
        let error = if good == TRUE { ERROR_SUCCESS } else { last_error() };
        (error != ERROR_IO_INCOMPLETE).then(|| Ended { error, bytes, offset: self.offset() })
    }

    /// GetOverlappedResult, as programs for Windows 7 call it.
    pub(crate) fn result_of_windows_7(&self) -> Ended {
        let mut bytes = 0;
        // SAFETY: both are valid.
        let good = unsafe { peerdist_GetOverlappedResult(NULL, self.raw(), &mut bytes, TRUE) };
        Ended { error: if good == TRUE { 0 } else { last_error() }, bytes, offset: self.offset() }
    }
}

impl Drop for Overlapped {
    /// Memory that the library may still write to is nobody else's: a case that leaves some behind is wrong.
    fn drop(&mut self) {
        if self.is_pending() {
            assert!(thread::panicking(), "an operation is pending at the end of its OVERLAPPED");
        } else {
            // SAFETY: once, and nothing is read of it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.0) }
        }
    }
}

pub(crate) fn last_error() -> DWORD {
    peerdist_GetLastError()
}

pub(crate) fn set_last_error(error: DWORD) {
    peerdist_SetLastError(error);
}

/// A manual-reset event that is not signalled.
pub(crate) fn event() -> HANDLE {
    event_of(true, false)
}

pub(crate) fn event_of(manual: bool, signalled: bool) -> HANDLE {
    let event = peerdist_CreateEventA(ptr::null_mut(), manual.into(), signalled.into(), ptr::null());
    assert!(!event.is_null());
    event
}

pub(crate) fn set(event: HANDLE) {
    assert_eq!(peerdist_SetEvent(event), TRUE);
}

/// Whether an event is signalled; an auto-reset one is not any more then.
pub(crate) fn is_set(event: HANDLE) -> bool {
    wait_for(event, 0)
}

pub(crate) fn wait_for(event: HANDLE, milliseconds: DWORD) -> bool {
    match peerdist_WaitForSingleObject(event, milliseconds) {
        WAIT_OBJECT_0 => true,
        WAIT_TIMEOUT => false,
        other => panic!("{other:#x}, {}", last_error()),
    }
}

pub(crate) fn close(handle: HANDLE) {
    assert_eq!(peerdist_CloseHandle(handle), TRUE);
}

pub(crate) fn port() -> HANDLE {
    let port = peerdist_CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    assert!(!port.is_null());
    port
}

/// A packet of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) error: DWORD,
    pub(crate) bytes: DWORD,
    pub(crate) key: ULONG_PTR,
    pub(crate) overlapped: *mut OVERLAPPED,
}

/// GetQueuedCompletionStatus; `None` when the time has passed.
pub(crate) fn take(port: HANDLE, milliseconds: DWORD) -> Option<Taken> {
    let (mut bytes, mut key, mut overlapped) = (0, 0, ptr::null_mut());
    // SAFETY: all are valid.
    let good = unsafe { peerdist_GetQueuedCompletionStatus(port, &mut bytes, &mut key, &mut overlapped, milliseconds) };
    let error = if good == TRUE { ERROR_SUCCESS } else { last_error() };
    if overlapped.is_null() && good != TRUE {
        assert_eq!(error, WAIT_TIMEOUT);
        return None;
    }
    Some(Taken { error, bytes, key, overlapped })
}

/// PeerDistStartup. Where a daemon runs it is waited for, so that a slow machine does not take it for one that is away.
pub(crate) fn startup() -> HANDLE {
    let instance = startup_only();
    let socket = std::env::var_os(API_SOCKET_VARIABLE).unwrap();
    if UnixStream::connect(socket).is_ok() {
        wait_until(instance, |status| status != PEERDIST_STATUS_UNAVAILABLE);
    }
    instance
}

/// PeerDistStartup and no more: what the status is may not be known yet.
pub(crate) fn startup_only() -> HANDLE {
    let mut instance = NULL;
    // SAFETY: valid.
    assert_eq!(unsafe { PeerDistStartup(PEERDIST_VERSION, &mut instance, ptr::null_mut()) }, ERROR_SUCCESS);
    assert!(!instance.is_null());
    instance
}

pub(crate) fn startup_of(version: DWORD) -> (DWORD, HANDLE, DWORD) {
    let (mut instance, mut supported) = (NULL, 0);
    // SAFETY: valid.
    let code = unsafe { PeerDistStartup(version, &mut instance, &mut supported) };
    (code, instance, supported)
}

pub(crate) fn shutdown(instance: HANDLE) -> DWORD {
    PeerDistShutdown(instance)
}

pub(crate) fn status(instance: HANDLE) -> PEERDIST_STATUS {
    let mut status = -1;
    // SAFETY: valid.
    assert_eq!(unsafe { PeerDistGetStatus(instance, &mut status) }, ERROR_SUCCESS);
    status
}

/// Waits until an instance knows of a status.
pub(crate) fn wait_for_status(instance: HANDLE, wanted: PEERDIST_STATUS) {
    wait_until(instance, |status| status == wanted);
}

fn wait_until(instance: HANDLE, wanted: impl Fn(PEERDIST_STATUS) -> bool) {
    let began = std::time::Instant::now();
    while !wanted(status(instance)) {
        assert!(began.elapsed() < super::LIMIT, "the status stays {}", status(instance));
        thread::yield_now();
    }
}

pub(crate) fn register(
    instance: HANDLE,
    port: HANDLE,
    key: usize,
    at: &Overlapped,
    out: &mut PEERDIST_STATUS,
) -> DWORD {
    // SAFETY: the caller keeps both until the operation has ended.
    unsafe { PeerDistRegisterForStatusChangeNotification(instance, port, key, at.raw(), out) }
}

pub(crate) fn unregister(instance: HANDLE) -> DWORD {
    PeerDistUnregisterForStatusChangeNotification(instance)
}

/// PeerDistClientOpenContent with a tag of one byte, over and over.
pub(crate) fn open_content(instance: HANDLE, tag: u8, port: HANDLE, key: usize) -> Result<HANDLE, DWORD> {
    let (tag, mut content) = (PEERDIST_CONTENT_TAG { Data: [tag; 16] }, NULL);
    // SAFETY: valid.
    match unsafe { PeerDistClientOpenContent(instance, &tag, port, key, &mut content) } {
        ERROR_SUCCESS => Ok(content),
        error => Err(error),
    }
}

pub(crate) fn close_content(instance: HANDLE, content: HANDLE) -> DWORD {
    PeerDistClientCloseContent(instance, content)
}

pub(crate) fn add_information(instance: HANDLE, content: HANDLE, bytes: &[u8], at: &Overlapped) -> DWORD {
    // SAFETY: the caller keeps both until the operation has ended.
    unsafe {
        PeerDistClientAddContentInformation(instance, content, bytes.len() as u32, bytes.as_ptr().cast_mut(), at.raw())
    }
}

pub(crate) fn complete_information(instance: HANDLE, content: HANDLE, at: &Overlapped) -> DWORD {
    // SAFETY: as above.
    unsafe { PeerDistClientCompleteContentInformation(instance, content, at.raw()) }
}

pub(crate) fn add_data(instance: HANDLE, content: HANDLE, bytes: &[u8], at: &Overlapped) -> DWORD {
    // SAFETY: as above.
    unsafe { PeerDistClientAddData(instance, content, bytes.len() as u32, bytes.as_ptr().cast_mut(), at.raw()) }
}

pub(crate) fn block_read(
    instance: HANDLE,
    content: HANDLE,
    buffer: &mut [u8],
    timeout: DWORD,
    at: &Overlapped,
) -> DWORD {
    let start = if buffer.is_empty() { ptr::null_mut() } else { buffer.as_mut_ptr() };
    // SAFETY: as above.
    unsafe { PeerDistClientBlockRead(instance, content, buffer.len() as u32, start, timeout, at.raw()) }
}

pub(crate) fn stream_read(
    instance: HANDLE,
    content: HANDLE,
    buffer: &mut [u8],
    timeout: DWORD,
    at: &Overlapped,
) -> DWORD {
    let start = if buffer.is_empty() { ptr::null_mut() } else { buffer.as_mut_ptr() };
    // SAFETY: as above.
    unsafe { PeerDistClientStreamRead(instance, content, buffer.len() as u32, start, timeout, at.raw()) }
}

pub(crate) fn flush(instance: HANDLE, tag: u8, port: HANDLE, key: usize, at: &Overlapped) -> DWORD {
    let tag = PEERDIST_CONTENT_TAG { Data: [tag; 16] };
    // SAFETY: as above; the tag is copied.
    unsafe { PeerDistClientFlushContent(instance, &tag, port, key, at.raw()) }
}

pub(crate) fn cancel(instance: HANDLE, content: HANDLE, at: Option<&Overlapped>) -> DWORD {
    PeerDistClientCancelAsyncOperation(instance, content, at.map_or(ptr::null_mut(), Overlapped::raw))
}

/// PeerDistServerPublishStream without options and port.
pub(crate) fn publish_stream(instance: HANDLE, identifier: &[u8], length: u64) -> Result<HANDLE, DWORD> {
    publish_stream_to(instance, identifier, length, None, NULL, 0)
}

pub(crate) fn publish_stream_to(
    instance: HANDLE,
    identifier: &[u8],
    length: u64,
    options: Option<PEERDIST_PUBLICATION_OPTIONS>,
    port: HANDLE,
    key: usize,
) -> Result<HANDLE, DWORD> {
    let mut stream = NULL;
    let options = options.as_ref().map_or(ptr::null(), ptr::from_ref);
    let (size, name) = (identifier.len() as u32, identifier.as_ptr().cast_mut());
    // SAFETY: valid.
    match unsafe { PeerDistServerPublishStream(instance, size, name, length, options, port, key, &mut stream) } {
        ERROR_SUCCESS => Ok(stream),
        error => Err(error),
    }
}

pub(crate) fn add_to_stream(instance: HANDLE, stream: HANDLE, bytes: &[u8], at: &Overlapped) -> DWORD {
    // SAFETY: the caller keeps both until the operation has ended.
    unsafe {
        PeerDistServerPublishAddToStream(instance, stream, bytes.len() as u32, bytes.as_ptr().cast_mut(), at.raw())
    }
}

pub(crate) fn complete_stream(instance: HANDLE, stream: HANDLE, at: &Overlapped) -> DWORD {
    // SAFETY: as above.
    unsafe { PeerDistServerPublishCompleteStream(instance, stream, at.raw()) }
}

pub(crate) fn close_stream(instance: HANDLE, stream: HANDLE) -> DWORD {
    PeerDistServerCloseStreamHandle(instance, stream)
}

pub(crate) fn unpublish(instance: HANDLE, identifier: &[u8]) -> DWORD {
    // SAFETY: valid.
    unsafe { PeerDistServerUnpublish(instance, identifier.len() as u32, identifier.as_ptr().cast_mut()) }
}

/// PeerDistServerOpenContentInformation without a port.
pub(crate) fn open_information(instance: HANDLE, identifier: &[u8], offset: u64, length: u64) -> Result<HANDLE, DWORD> {
    open_information_to(instance, identifier, offset, length, NULL, 0)
}

pub(crate) fn open_information_to(
    instance: HANDLE,
    identifier: &[u8],
    offset: u64,
    length: u64,
    port: HANDLE,
    key: usize,
) -> Result<HANDLE, DWORD> {
    let mut information = NULL;
    let (size, name) = (identifier.len() as u32, identifier.as_ptr().cast_mut());
    // SAFETY: valid.
    let code = unsafe {
        PeerDistServerOpenContentInformation(instance, size, name, offset, length, port, key, &mut information)
    };
    if code == ERROR_SUCCESS { Ok(information) } else { Err(code) }
}

/// PeerDistServerOpenContentInformationEx without a port, of a whole content.
pub(crate) fn open_information_ex(
    instance: HANDLE,
    identifier: &[u8],
    mut options: PEERDIST_RETRIEVAL_OPTIONS,
) -> Result<HANDLE, DWORD> {
    let mut information = NULL;
    let (size, name) = (identifier.len() as u32, identifier.as_ptr().cast_mut());
    // SAFETY: valid.
    let code = unsafe {
        PeerDistServerOpenContentInformationEx(instance, size, name, 0, 0, &mut options, NULL, 0, &mut information)
    };
    if code == ERROR_SUCCESS { Ok(information) } else { Err(code) }
}

pub(crate) fn retrieve(instance: HANDLE, information: HANDLE, buffer: &mut [u8], at: &Overlapped) -> DWORD {
    let (size, start) = (buffer.len() as u32, buffer.as_mut_ptr());
    // SAFETY: the caller keeps both until the operation has ended.
    unsafe { PeerDistServerRetrieveContentInformation(instance, information, size, start, at.raw()) }
}

pub(crate) fn close_information(instance: HANDLE, information: HANDLE) -> DWORD {
    PeerDistServerCloseContentInformation(instance, information)
}

pub(crate) fn server_cancel(instance: HANDLE, identifier: &[u8], at: *mut OVERLAPPED) -> DWORD {
    // SAFETY: valid.
    unsafe { PeerDistServerCancelAsyncOperation(instance, identifier.len() as u32, identifier.as_ptr().cast_mut(), at) }
}
