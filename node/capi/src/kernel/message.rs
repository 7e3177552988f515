//! What the errors mean, in words.

use crate::abi::*;

/// An HRESULT made of a Win32 error: failure, facility 7.
const HRESULT_WIN32: DWORD = 0x8007_0000;

/// The text for an error code or an HRESULT made of one.
#[must_use]
pub fn text(message: DWORD) -> Option<&'static str> {
    let code = if message & 0xFFFF_0000 == HRESULT_WIN32 { message & 0xFFFF } else { message };
    Some(match code {
        ERROR_SUCCESS => "Success.",
        ERROR_INVALID_HANDLE => "This is no handle, or not one of the right kind.",
        ERROR_NOT_ENOUGH_MEMORY => "There is not enough memory.",
        ERROR_NOT_SUPPORTED => "This is not supported here.",
        ERROR_INVALID_PARAMETER => "An argument is wrong.",
        ERROR_INSUFFICIENT_BUFFER => "The buffer is too small.",
        ERROR_MR_MID_NOT_FOUND => "There is no message for this number.",
        ERROR_ABANDONED_WAIT_0 => "The completion port was closed during the wait.",
        ERROR_OPERATION_ABORTED => "The operation was cancelled.",
        ERROR_IO_INCOMPLETE => "The operation has not ended yet.",
        ERROR_IO_PENDING => "The operation has started and goes on.",
        ERROR_NOT_FOUND => "There is nothing of that name.",
        ERROR_ACCESS_DISABLED_BY_POLICY => "The service is disabled by policy or configuration.",
        ERROR_INTERNAL_ERROR => "The library has a defect.",
        ERROR_NO_SYSTEM_RESOURCES => "There are not enough file descriptors or handles.",
        ERROR_TIMEOUT => "The time for the operation is over.",
        WAIT_TIMEOUT => "The time for the wait is over.",
        PEERDIST_ERROR_CONTENTINFO_VERSION_UNSUPPORTED => "This version of content information is not supported.",
        PEERDIST_ERROR_CANNOT_PARSE_CONTENTINFO => "The content information is malformed.",
        PEERDIST_ERROR_MISSING_DATA => "Neither the local cache nor any peer has the data.",
        PEERDIST_ERROR_NO_MORE => "There is no more data.",
        PEERDIST_ERROR_NOT_INITIALIZED => "The object is not initialised yet.",
        PEERDIST_ERROR_ALREADY_INITIALIZED => "The object is initialised already.",
        PEERDIST_ERROR_SHUTDOWN_IN_PROGRESS => "The instance is being shut down.",
        PEERDIST_ERROR_INVALIDATED => "The handle is dead since the service went away; close it.",
        PEERDIST_ERROR_ALREADY_EXISTS => "There is one of that name already, and it was kept.",
        PEERDIST_ERROR_OPERATION_NOTFOUND => "No such operation is under way.",
        PEERDIST_ERROR_ALREADY_COMPLETED => "This was done already.",
        PEERDIST_ERROR_OUT_OF_BOUNDS => "This is past the end of the data.",
        PEERDIST_ERROR_VERSION_UNSUPPORTED => "This version of the API is not supported.",
        PEERDIST_ERROR_INVALID_CONFIGURATION => "A value in the configuration is wrong.",
        PEERDIST_ERROR_NOT_LICENSED => "This edition is not licensed for that.",
        PEERDIST_ERROR_SERVICE_UNAVAILABLE => "The service does not run, or is not ready yet.",
        PEERDIST_ERROR_TRUST_FAILURE => "Peers are not asked for a while, after errors of theirs.",
        _ => return None,
    })
}
