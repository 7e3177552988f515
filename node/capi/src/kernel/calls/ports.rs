//! CreateIoCompletionPort, GetQueuedCompletionStatus(Ex), PostQueuedCompletionStatus, and the file descriptor of a port.
#![allow(unsafe_code, non_snake_case, reason = "exported to C under the names of Windows")]

use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::Arc;

use crate::abi::{
    BOOL, DWORD, ERROR_ABANDONED_WAIT_0, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, ERROR_NO_SYSTEM_RESOURCES,
    ERROR_NOT_SUPPORTED, FALSE, HANDLE, INVALID_HANDLE_VALUE, OVERLAPPED, OVERLAPPED_ENTRY, STATUS_SUCCESS, TRUE,
    ULONG_PTR, WAIT_TIMEOUT, error_of, internal_of,
};
use crate::boundary::{reporting, write_out};
use crate::handle::{self, Object};
use crate::kernel::wait::Deadline;
use crate::kernel::{Packet, Port, Taken};

/// CreateIoCompletionPort, of a port without a file: there are no files to give to it. How many threads run is for the
/// scheduler to say.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_CreateIoCompletionPort(
    file: HANDLE,
    existing: HANDLE,
    _key: ULONG_PTR,
    _threads: DWORD,
) -> HANDLE {
    reporting(ptr::null_mut(), || {
        if file != INVALID_HANDLE_VALUE {
            return Err(ERROR_NOT_SUPPORTED);
        }
        if !existing.is_null() {
            return Err(ERROR_INVALID_PARAMETER);
        }
        let port = Port::new().map_err(|_| ERROR_NO_SYSTEM_RESOURCES)?;
        let port = handle::open(Object::Port(Arc::new(port)));
        if port.is_null() { Err(ERROR_NO_SYSTEM_RESOURCES) } else { Ok(port) }
    })
}

/// PostQueuedCompletionStatus. The values come out as they went in.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_PostQueuedCompletionStatus(
    port: HANDLE,
    bytes: DWORD,
    key: ULONG_PTR,
    overlapped: *mut OVERLAPPED,
) -> BOOL {
    reporting(FALSE, || {
        let port = handle::port(port).ok_or(ERROR_INVALID_HANDLE)?;
        port.post(Packet { bytes, key, overlapped, status: STATUS_SUCCESS });
        Ok(TRUE)
    })
}

/// GetQueuedCompletionStatus. Without a packet `*overlapped` is NULL and nothing else is written.
///
/// # Safety
///
/// The three out parameters are NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_GetQueuedCompletionStatus(
    port: HANDLE,
    bytes: *mut DWORD,
    key: *mut ULONG_PTR,
    overlapped: *mut *mut OVERLAPPED,
    milliseconds: DWORD,
) -> BOOL {
    reporting(FALSE, || {
        if bytes.is_null() || key.is_null() {
            return Err(ERROR_INVALID_PARAMETER);
        }
        // SAFETY: NULL is looked for, else it is valid by the caller's word.
        unsafe { write_out(overlapped, ptr::null_mut()) }?;
        let packets = take(port, 1, milliseconds)?;
        let packet = packets.first().ok_or(WAIT_TIMEOUT)?;
        // SAFETY: as above, for all three.
        unsafe {
            write_out(bytes, packet.bytes)?;
            write_out(key, packet.key)?;
            write_out(overlapped, packet.overlapped)?;
        }
        if packet.status < STATUS_SUCCESS { Err(error_of(packet.status)) } else { Ok(TRUE) }
    })
}

/// GetQueuedCompletionStatusEx. TRUE also with failed operations among the entries; `Internal` says which. There is
/// nothing to be alerted by.
///
/// # Safety
///
/// `entries` is NULL or has room for `count` of them, `removed` is NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_GetQueuedCompletionStatusEx(
    port: HANDLE,
    entries: *mut OVERLAPPED_ENTRY,
    count: DWORD,
    removed: *mut DWORD,
    milliseconds: DWORD,
    _alertable: BOOL,
) -> BOOL {
    reporting(FALSE, || {
        if entries.is_null() || count == 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        // SAFETY: NULL is looked for, else it is valid by the caller's word.
        unsafe { write_out(removed, 0) }?;
        let packets = take(port, count as usize, milliseconds)?;
        for (index, packet) in packets.iter().enumerate() {
            let entry = OVERLAPPED_ENTRY {
                lpCompletionKey: packet.key,
                lpOverlapped: packet.overlapped,
                Internal: internal_of(packet.status),
                dwNumberOfBytesTransferred: packet.bytes,
            };
            // SAFETY: there are no more packets than `count`, for which there is room by the caller's word.
            unsafe { write_out(entries.add(index), entry) }?;
        }
        // SAFETY: as above; the number fits, for it is at most `count`.
        unsafe { write_out(removed, packets.len() as DWORD) }?;
        Ok(TRUE)
    })
}

fn take(port: HANDLE, most: usize, milliseconds: DWORD) -> Result<Vec<Packet>, DWORD> {
    let port = handle::port(port).ok_or(ERROR_INVALID_HANDLE)?;
    match port.take(most, Deadline::after(milliseconds)) {
        Taken::Packets(packets) => Ok(packets),
        Taken::TimedOut => Err(WAIT_TIMEOUT),
        Taken::Closed => Err(ERROR_ABANDONED_WAIT_0),
    }
}

/// An extension: a file descriptor that is readable while packets are queued; -1 if it is no port. It is to be polled
/// and not to be read, and is closed with the port's handle.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_port_fd(port: HANDLE) -> c_int {
    reporting(-1, || Ok(handle::port(port).ok_or(ERROR_INVALID_HANDLE)?.fd().as_raw_fd()))
}
