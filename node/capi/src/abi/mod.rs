//! Types and constants of 64-bit Windows under their names there, laid out as there.
//!
//! The layouts are held by assertions at compile time and, in the tests, against the crate `windows-sys` and against
//! what a C compiler makes of `include/`.
#![allow(non_camel_case_types, non_snake_case, reason = "the names of the Windows headers")]

mod codes;
#[cfg(test)]
mod tests;

use std::ffi::c_void;
use std::mem::{align_of, offset_of, size_of};
use std::ptr;

pub use codes::*;

/// A number of the table in [`crate::handle`], in a pointer's clothes.
pub type HANDLE = *mut c_void;
/// Zero is FALSE, all else TRUE.
pub type BOOL = i32;
/// 32 bits, also where `unsigned long` has 64.
pub type DWORD = u32;
/// As wide as a pointer: completion keys.
pub type ULONG_PTR = usize;
/// What `OVERLAPPED.Internal` holds; negative is an error.
pub type NTSTATUS = i32;

/// [`BOOL`].
pub const FALSE: BOOL = 0;
/// [`BOOL`].
pub const TRUE: BOOL = 1;
/// No time limit.
pub const INFINITE: DWORD = 0xFFFF_FFFF;
/// The handle that is none, to some functions; to others that is NULL.
pub const INVALID_HANDLE_VALUE: HANDLE = ptr::without_provenance_mut(usize::MAX);

/// The state of an asynchronous operation. `Offset` and `OffsetHigh` share their place with a pointer in C.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct OVERLAPPED {
    /// [`NTSTATUS`] of the operation, [`STATUS_PENDING`] until its end.
    pub Internal: ULONG_PTR,
    /// Bytes transferred.
    pub InternalHigh: ULONG_PTR,
    /// Low half of the offset.
    pub Offset: DWORD,
    /// High half of the offset.
    pub OffsetHigh: DWORD,
    /// The event to set at the end. With bit 0 set: and post no packet.
    pub hEvent: HANDLE,
}

/// A completion, as GetQueuedCompletionStatusEx returns it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct OVERLAPPED_ENTRY {
    /// The key of the object that the operation was started on.
    pub lpCompletionKey: ULONG_PTR,
    /// The operation, or whatever was posted.
    pub lpOverlapped: *mut OVERLAPPED,
    /// [`NTSTATUS`] of the operation.
    pub Internal: ULONG_PTR,
    /// Bytes transferred.
    pub dwNumberOfBytesTransferred: DWORD,
}

/// A session, from PeerDistStartup.
pub type PEERDIST_INSTANCE_HANDLE = HANDLE;
/// A content that the client side reads.
pub type PEERDIST_CONTENT_HANDLE = HANDLE;
/// Content information that the server side gives out.
pub type PEERDIST_CONTENTINFO_HANDLE = HANDLE;
/// A publication in the making.
pub type PEERDIST_STREAM_HANDLE = HANDLE;

/// The client's own name for a content.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PEERDIST_CONTENT_TAG {
    /// Any bytes.
    pub Data: [u8; 16],
}

/// How to publish.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PEERDIST_PUBLICATION_OPTIONS {
    /// 1 or 2: the API version of the caller.
    pub dwVersion: DWORD,
    /// None is defined.
    pub dwFlags: DWORD,
}

/// The versions of content information that a client can process.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PEERDIST_RETRIEVAL_OPTIONS {
    /// 16.
    pub cbSize: DWORD,
    /// Lowest version.
    pub dwContentInfoMinVersion: DWORD,
    /// Highest version.
    pub dwContentInfoMaxVersion: DWORD,
    /// 0.
    pub dwReserved: DWORD,
}

/// Whether the service answers.
pub type PEERDIST_STATUS = i32;
/// Off by policy or configuration.
pub const PEERDIST_STATUS_DISABLED: PEERDIST_STATUS = 0;
/// Not ready to process requests.
pub const PEERDIST_STATUS_UNAVAILABLE: PEERDIST_STATUS = 1;
/// Ready.
pub const PEERDIST_STATUS_AVAILABLE: PEERDIST_STATUS = 2;

/// The status, and the versions of content information that the service supports.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PEERDIST_STATUS_INFO {
    /// 16, set by the caller.
    pub cbSize: DWORD,
    /// The status.
    pub status: PEERDIST_STATUS,
    /// Lowest version.
    pub dwMinVer: DWORD,
    /// Highest version.
    pub dwMaxVer: DWORD,
}

/// What to ask of a content handle.
pub type PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS = i32;
/// [`PEERDIST_CLIENT_BASIC_INFO`].
#[allow(non_upper_case_globals, reason = "the names of the Windows headers")]
pub const PeerDistClientBasicInfo: PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS = 0;
/// One past the last.
#[allow(non_upper_case_globals, reason = "the names of the Windows headers")]
pub const MaximumPeerDistClientInfoByHandlesClass: PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS = 1;

/// Answer to [`PeerDistClientBasicInfo`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PEERDIST_CLIENT_BASIC_INFO {
    /// TRUE: many clients fetch this content now, so what is missing may soon be there.
    pub fFlashCrowd: BOOL,
}

/// Version 2.0 of the API: major in the low byte, minor in the next.
pub const PEERDIST_VERSION: DWORD = 0x0002;
/// [`PEERDIST_PUBLICATION_OPTIONS::dwVersion`] of this version.
pub const PEERDIST_PUBLICATION_OPTIONS_VERSION: DWORD = PEERDIST_PUBLICATION_OPTIONS_VERSION_2;
/// Windows 7.
pub const PEERDIST_PUBLICATION_OPTIONS_VERSION_1: DWORD = 1;
/// Windows 8.
pub const PEERDIST_PUBLICATION_OPTIONS_VERSION_2: DWORD = 2;
/// The highest version of content information.
pub const PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION: DWORD = PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_2;
/// The format of Windows 7.
pub const PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_1: DWORD = 1;
/// The format of Windows 8.
pub const PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_2: DWORD = 2;
/// Ask no peer: there is no time limit of zero milliseconds.
pub const PEERDIST_READ_TIMEOUT_LOCAL_CACHE_ONLY: DWORD = 0;
/// Five seconds. Not [`INFINITE`].
pub const PEERDIST_READ_TIMEOUT_DEFAULT: DWORD = 0xFFFF_FFFE;

const _: () = {
    assert!(size_of::<HANDLE>() == 8 && size_of::<ULONG_PTR>() == 8);
    assert!(size_of::<OVERLAPPED>() == 32 && align_of::<OVERLAPPED>() == 8);
    assert!(offset_of!(OVERLAPPED, InternalHigh) == 8 && offset_of!(OVERLAPPED, Offset) == 16);
    assert!(offset_of!(OVERLAPPED, OffsetHigh) == 20 && offset_of!(OVERLAPPED, hEvent) == 24);
    assert!(size_of::<OVERLAPPED_ENTRY>() == 32 && align_of::<OVERLAPPED_ENTRY>() == 8);
    assert!(offset_of!(OVERLAPPED_ENTRY, lpOverlapped) == 8 && offset_of!(OVERLAPPED_ENTRY, Internal) == 16);
    assert!(offset_of!(OVERLAPPED_ENTRY, dwNumberOfBytesTransferred) == 24);
    assert!(size_of::<PEERDIST_CONTENT_TAG>() == 16 && align_of::<PEERDIST_CONTENT_TAG>() == 1);
    assert!(size_of::<PEERDIST_PUBLICATION_OPTIONS>() == 8 && align_of::<PEERDIST_PUBLICATION_OPTIONS>() == 4);
    assert!(size_of::<PEERDIST_RETRIEVAL_OPTIONS>() == 16 && align_of::<PEERDIST_RETRIEVAL_OPTIONS>() == 4);
    assert!(size_of::<PEERDIST_STATUS_INFO>() == 16 && align_of::<PEERDIST_STATUS_INFO>() == 4);
    assert!(size_of::<PEERDIST_CLIENT_BASIC_INFO>() == 4);
};
