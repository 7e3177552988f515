use std::mem::{align_of, offset_of, size_of};

use windows_sys::Win32::Foundation;
use windows_sys::Win32::NetworkManagement::P2P;
use windows_sys::Win32::System::{IO, SystemServices, Threading};

use super::*;

/// Compares size, alignment and every member's offset.
macro_rules! same_layout {
    ($module:ident :: $name:ident { $($member:ident),* }) => {
        assert_eq!(size_of::<$name>(), size_of::<$module::$name>(), stringify!($name));
        assert_eq!(align_of::<$name>(), align_of::<$module::$name>(), stringify!($name));
        $(assert_eq!(offset_of!($name, $member), offset_of!($module::$name, $member), stringify!($name.$member));)*
    };
}

macro_rules! same_values {
    ($($module:ident { $($name:ident),* $(,)? })*) => {
        $($(assert_eq!($name as i64 as u32, $module::$name as i64 as u32, stringify!($name));)*)*
    };
}

#[test]
fn t106_layouts_are_those_of_windows() {
    same_layout!(IO::OVERLAPPED { Internal, InternalHigh, hEvent });
    assert_eq!(offset_of!(OVERLAPPED, Offset), offset_of!(IO::OVERLAPPED, Anonymous));
    assert_eq!(offset_of!(OVERLAPPED, OffsetHigh), offset_of!(IO::OVERLAPPED, Anonymous.Anonymous.OffsetHigh));
    same_layout!(IO::OVERLAPPED_ENTRY { lpCompletionKey, lpOverlapped, Internal, dwNumberOfBytesTransferred });
    same_layout!(P2P::PEERDIST_CONTENT_TAG { Data });
    same_layout!(P2P::PEERDIST_PUBLICATION_OPTIONS { dwVersion, dwFlags });
    same_layout!(P2P::PEERDIST_RETRIEVAL_OPTIONS {
        cbSize,
        dwContentInfoMinVersion,
        dwContentInfoMaxVersion,
        dwReserved
    });
    same_layout!(P2P::PEERDIST_STATUS_INFO { cbSize, status, dwMinVer, dwMaxVer });
    same_layout!(P2P::PEERDIST_CLIENT_BASIC_INFO { fFlashCrowd });
}

#[test]
fn t108_constants_are_those_of_windows() {
    same_values! {
        P2P {
            PEERDIST_STATUS_DISABLED, PEERDIST_STATUS_UNAVAILABLE, PEERDIST_STATUS_AVAILABLE,
            PeerDistClientBasicInfo, MaximumPeerDistClientInfoByHandlesClass,
            PEERDIST_PUBLICATION_OPTIONS_VERSION, PEERDIST_PUBLICATION_OPTIONS_VERSION_1,
            PEERDIST_PUBLICATION_OPTIONS_VERSION_2, PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION,
            PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_1, PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_2,
            PEERDIST_READ_TIMEOUT_LOCAL_CACHE_ONLY, PEERDIST_READ_TIMEOUT_DEFAULT,
        }
        Threading { INFINITE }
        SystemServices { MAXIMUM_WAIT_OBJECTS }
        Foundation {
            FALSE, TRUE, ERROR_SUCCESS, ERROR_INVALID_HANDLE, ERROR_NOT_ENOUGH_MEMORY, ERROR_NOT_SUPPORTED,
            ERROR_INVALID_PARAMETER, ERROR_INSUFFICIENT_BUFFER, ERROR_MR_MID_NOT_FOUND, ERROR_ABANDONED_WAIT_0,
            ERROR_OPERATION_ABORTED, ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, ERROR_NOT_FOUND,
            ERROR_ACCESS_DISABLED_BY_POLICY, ERROR_INTERNAL_ERROR, ERROR_NO_SYSTEM_RESOURCES, ERROR_TIMEOUT,
            WAIT_OBJECT_0, WAIT_TIMEOUT, WAIT_FAILED, STATUS_SUCCESS, STATUS_PENDING, STATUS_CANCELLED,
            PEERDIST_ERROR_CONTENTINFO_VERSION_UNSUPPORTED, PEERDIST_ERROR_CANNOT_PARSE_CONTENTINFO,
            PEERDIST_ERROR_MISSING_DATA, PEERDIST_ERROR_NO_MORE, PEERDIST_ERROR_NOT_INITIALIZED,
            PEERDIST_ERROR_ALREADY_INITIALIZED, PEERDIST_ERROR_SHUTDOWN_IN_PROGRESS, PEERDIST_ERROR_INVALIDATED,
            PEERDIST_ERROR_ALREADY_EXISTS, PEERDIST_ERROR_OPERATION_NOTFOUND, PEERDIST_ERROR_ALREADY_COMPLETED,
            PEERDIST_ERROR_OUT_OF_BOUNDS, PEERDIST_ERROR_VERSION_UNSUPPORTED, PEERDIST_ERROR_INVALID_CONFIGURATION,
            PEERDIST_ERROR_NOT_LICENSED, PEERDIST_ERROR_SERVICE_UNAVAILABLE, PEERDIST_ERROR_TRUST_FAILURE,
        }
    }
    assert_eq!(INVALID_HANDLE_VALUE, Foundation::INVALID_HANDLE_VALUE);
}

#[test]
fn errors_survive_the_way_through_a_status() {
    for error in 0..=u32::from(u16::MAX) {
        let status = status_of(error);
        assert_eq!(error_of(status), error);
        assert_eq!(status_in(internal_of(status)), status);
        assert_eq!(status < 0, error != ERROR_SUCCESS && error != ERROR_IO_PENDING, "{error}");
    }
    assert_eq!(internal_of(status_of(PEERDIST_ERROR_MISSING_DATA)), 0xC007_0FD4);
    assert_eq!(internal_of(status_of(PEERDIST_ERROR_NO_MORE)), 0xC007_0FD5);
    assert_eq!(internal_of(status_of(ERROR_TIMEOUT)), 0xC007_05B4);
    assert_eq!(internal_of(status_of(ERROR_OPERATION_ABORTED)), 0xC000_0120);
}

#[test]
fn a_foreign_status_is_an_error_when_negative_only() {
    let access_violation = 0xC000_0005_u32.cast_signed();
    assert_eq!(error_of(access_violation), ERROR_MR_MID_NOT_FOUND);
    let status_timeout = 0x102;
    assert_eq!(error_of(status_timeout), ERROR_SUCCESS);
}
