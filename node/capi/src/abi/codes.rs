//! Results: the error codes of winerror.h that this library uses, and their form as NTSTATUS.

use super::{DWORD, NTSTATUS, ULONG_PTR};

/// No error.
pub const ERROR_SUCCESS: DWORD = 0;
/// Not a handle, or of another type.
pub const ERROR_INVALID_HANDLE: DWORD = 6;
/// Out of memory.
pub const ERROR_NOT_ENOUGH_MEMORY: DWORD = 8;
/// Not offered here.
pub const ERROR_NOT_SUPPORTED: DWORD = 50;
/// An argument is wrong.
pub const ERROR_INVALID_PARAMETER: DWORD = 87;
/// The caller's buffer is too small.
pub const ERROR_INSUFFICIENT_BUFFER: DWORD = 122;
/// No message for this number.
pub const ERROR_MR_MID_NOT_FOUND: DWORD = 317;
/// The port was closed under the waiting thread.
pub const ERROR_ABANDONED_WAIT_0: DWORD = 735;
/// The operation was cancelled.
pub const ERROR_OPERATION_ABORTED: DWORD = 995;
/// Asked for the result of an operation that goes on.
pub const ERROR_IO_INCOMPLETE: DWORD = 996;
/// Started; a completion follows.
pub const ERROR_IO_PENDING: DWORD = 997;
/// Nothing of that name.
pub const ERROR_NOT_FOUND: DWORD = 1168;
/// Off by policy or configuration.
pub const ERROR_ACCESS_DISABLED_BY_POLICY: DWORD = 1260;
/// A defect of this library.
pub const ERROR_INTERNAL_ERROR: DWORD = 1359;
/// Out of file descriptors, or of handles.
pub const ERROR_NO_SYSTEM_RESOURCES: DWORD = 1450;
/// The time limit passed.
pub const ERROR_TIMEOUT: DWORD = 1460;

/// The waited-for object was signalled; with several, plus its index.
pub const WAIT_OBJECT_0: DWORD = 0;
/// The time limit of a wait passed.
pub const WAIT_TIMEOUT: DWORD = 258;
/// The wait could not be done; the last error says why.
pub const WAIT_FAILED: DWORD = 0xFFFF_FFFF;
/// The most objects of one wait.
pub const MAXIMUM_WAIT_OBJECTS: DWORD = 64;

/// Content information of a version not handled.
pub const PEERDIST_ERROR_CONTENTINFO_VERSION_UNSUPPORTED: DWORD = 4050;
/// Malformed content information.
pub const PEERDIST_ERROR_CANNOT_PARSE_CONTENTINFO: DWORD = 4051;
/// Neither in the local cache nor at peers.
pub const PEERDIST_ERROR_MISSING_DATA: DWORD = 4052;
/// The end, or outside the range.
pub const PEERDIST_ERROR_NO_MORE: DWORD = 4053;
/// Not initialised yet.
pub const PEERDIST_ERROR_NOT_INITIALIZED: DWORD = 4054;
/// Initialised twice.
pub const PEERDIST_ERROR_ALREADY_INITIALIZED: DWORD = 4055;
/// The instance is being shut down.
pub const PEERDIST_ERROR_SHUTDOWN_IN_PROGRESS: DWORD = 4056;
/// The service went away under the handle.
pub const PEERDIST_ERROR_INVALIDATED: DWORD = 4057;
/// There is one already, and it was kept.
pub const PEERDIST_ERROR_ALREADY_EXISTS: DWORD = 4058;
/// Nothing to cancel (any more).
pub const PEERDIST_ERROR_OPERATION_NOTFOUND: DWORD = 4059;
/// Done before.
pub const PEERDIST_ERROR_ALREADY_COMPLETED: DWORD = 4060;
/// Past the end of the data.
pub const PEERDIST_ERROR_OUT_OF_BOUNDS: DWORD = 4061;
/// An API version that this library does not have.
pub const PEERDIST_ERROR_VERSION_UNSUPPORTED: DWORD = 4062;
/// A wrong value in the configuration.
pub const PEERDIST_ERROR_INVALID_CONFIGURATION: DWORD = 4063;
/// Not licensed.
pub const PEERDIST_ERROR_NOT_LICENSED: DWORD = 4064;
/// The service does not answer yet.
pub const PEERDIST_ERROR_SERVICE_UNAVAILABLE: DWORD = 4065;
/// Peers are blocked for a while after their errors.
pub const PEERDIST_ERROR_TRUST_FAILURE: DWORD = 4066;

/// Done.
pub const STATUS_SUCCESS: NTSTATUS = 0;
/// Under way.
pub const STATUS_PENDING: NTSTATUS = 0x103;
/// Cancelled.
pub const STATUS_CANCELLED: NTSTATUS = 0xC000_0120_u32.cast_signed();

/// An error, facility NTWIN32: the low half is a Win32 code.
const NTWIN32: u32 = 0xC007_0000;

/// The status that stands for a Win32 error.
#[must_use]
pub const fn status_of(error: DWORD) -> NTSTATUS {
    match error {
        ERROR_SUCCESS => STATUS_SUCCESS,
        ERROR_IO_PENDING => STATUS_PENDING,
        ERROR_OPERATION_ABORTED => STATUS_CANCELLED,
        _ => (NTWIN32 | error & 0xFFFF).cast_signed(),
    }
}

/// The Win32 error that a status stands for; [`ERROR_MR_MID_NOT_FOUND`] for errors that [`status_of`] does not make.
#[must_use]
pub const fn error_of(status: NTSTATUS) -> DWORD {
    match status {
        STATUS_PENDING => ERROR_IO_PENDING,
        STATUS_CANCELLED => ERROR_OPERATION_ABORTED,
        0.. => ERROR_SUCCESS,
        _ if status.cast_unsigned() & 0xFFFF_0000 == NTWIN32 => status.cast_unsigned() & 0xFFFF,
        _ => ERROR_MR_MID_NOT_FOUND,
    }
}

/// A status as `Internal` holds it: the upper half is zero, also of errors.
#[must_use]
pub const fn internal_of(status: NTSTATUS) -> ULONG_PTR {
    status.cast_unsigned() as ULONG_PTR
}

/// The status in a member `Internal`.
#[must_use]
pub const fn status_in(internal: ULONG_PTR) -> NTSTATUS {
    (internal as u32).cast_signed()
}
