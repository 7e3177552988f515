//! GetOverlappedResult and its kin, exported.
#![allow(unsafe_code, reason = "reads the caller's OVERLAPPED")]

use std::sync::atomic::Ordering;

use super::{Operation, internal};
use crate::abi::{
    BOOL, DWORD, ERROR_INVALID_PARAMETER, ERROR_IO_INCOMPLETE, ERROR_SUCCESS, FALSE, HANDLE, INFINITE, OVERLAPPED,
    STATUS_PENDING, TRUE, WAIT_TIMEOUT, error_of, status_in,
};
use crate::boundary::{reporting, write_out};
use crate::kernel::wait::Deadline;

/// PeerDistGetOverlappedResult: the result of an operation, and how many bytes it moved, also where it failed. FALSE with
/// the operation's error, or with ERROR_IO_INCOMPLETE while it is pending and `bWait` is FALSE.
///
/// # Safety
/// `lpOverlapped` is NULL or an OVERLAPPED that was used for an operation; `lpNumberOfBytesTransferred` is NULL or points
/// to a DWORD.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the names of peerdist.h")]
pub unsafe extern "C" fn PeerDistGetOverlappedResult(
    lpOverlapped: *mut OVERLAPPED,
    lpNumberOfBytesTransferred: *mut DWORD,
    bWait: BOOL,
) -> BOOL {
    // SAFETY: the caller's word is the same.
    reporting(FALSE, || unsafe { result(lpOverlapped, lpNumberOfBytesTransferred, Wait::of(bWait)) })
}

/// How long to wait for the end of an operation.
enum Wait {
    Not,
    Until(Deadline),
}

impl Wait {
    fn of(wait: BOOL) -> Self {
        if wait == FALSE { Self::Not } else { Self::Until(Deadline::after(INFINITE)) }
    }
}

/// # Safety
/// As of [`PeerDistGetOverlappedResult`].
unsafe fn result(overlapped: *mut OVERLAPPED, transferred: *mut DWORD, wait: Wait) -> Result<BOOL, DWORD> {
    if overlapped.is_null() || !overlapped.is_aligned() || transferred.is_null() {
        return Err(ERROR_INVALID_PARAMETER);
    }
    let timed_out = match (wait, Operation::find(overlapped)) {
        (Wait::Until(deadline), Some(operation)) => !operation.wait(deadline),
        _ => false,
    };
    // SAFETY: the caller's, who asks for its result.
    let status = status_in(unsafe { internal(overlapped) }.load(Ordering::Acquire));
    if status == STATUS_PENDING {
        return Err(if timed_out { WAIT_TIMEOUT } else { ERROR_IO_INCOMPLETE });
    }
    // SAFETY: the operation has ended, so nobody writes to it.
    let bytes = unsafe { (*overlapped).InternalHigh };
    // SAFETY: not NULL, checked above.
    unsafe { write_out(transferred, bytes as DWORD)? };
    match error_of(status) {
        ERROR_SUCCESS => Ok(TRUE),
        error => Err(error),
    }
}

/// GetOverlappedResult: as [`PeerDistGetOverlappedResult`]; which file it was is not looked at.
///
/// # Safety
/// As of [`PeerDistGetOverlappedResult`].
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the names of windows.h")]
pub unsafe extern "C" fn peerdist_GetOverlappedResult(
    _hFile: HANDLE,
    lpOverlapped: *mut OVERLAPPED,
    lpNumberOfBytesTransferred: *mut DWORD,
    bWait: BOOL,
) -> BOOL {
    // SAFETY: the caller's word is the same.
    reporting(FALSE, || unsafe { result(lpOverlapped, lpNumberOfBytesTransferred, Wait::of(bWait)) })
}

/// GetOverlappedResultEx: waits for at most `dwMilliseconds`; WAIT_TIMEOUT where that was not enough. There are no
/// alertable waits.
///
/// # Safety
/// As of [`PeerDistGetOverlappedResult`].
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the names of windows.h")]
pub unsafe extern "C" fn peerdist_GetOverlappedResultEx(
    _hFile: HANDLE,
    lpOverlapped: *mut OVERLAPPED,
    lpNumberOfBytesTransferred: *mut DWORD,
    dwMilliseconds: DWORD,
    _bAlertable: BOOL,
) -> BOOL {
    reporting(FALSE, || {
        let wait = if dwMilliseconds == 0 { Wait::Not } else { Wait::Until(Deadline::after(dwMilliseconds)) };
        // SAFETY: the caller's word is the same.
        unsafe { result(lpOverlapped, lpNumberOfBytesTransferred, wait) }
    })
}
