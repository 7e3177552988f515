//! The common functions of peerdist.h, exported.
#![allow(unsafe_code, reason = "writes through the caller's pointers")]
#![allow(non_snake_case, reason = "the names of peerdist.h")]

use std::sync::Arc;

use peerdist_node::api::StatusInfo;

use super::super::instance::Tell;
use super::{Instance, done, instance, required, started};
use crate::abi::{
    DWORD, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, ERROR_NO_SYSTEM_RESOURCES, HANDLE, OVERLAPPED,
    PEERDIST_ERROR_VERSION_UNSUPPORTED, PEERDIST_INSTANCE_HANDLE, PEERDIST_STATUS, PEERDIST_STATUS_INFO,
    PEERDIST_VERSION, ULONG_PTR,
};
use crate::boundary::write_out;
use crate::handle::{Handle, Object, TABLE, open};
use crate::operation::{Offset, Operation, Target};

/// cbSize of PEERDIST_STATUS_INFO.
const STATUS_INFO_SIZE: DWORD = size_of::<PEERDIST_STATUS_INFO>() as DWORD;

/// PeerDistStartup: an instance. Succeeds whether or not the daemon runs.
///
/// # Safety
/// `phPeerDist` and `pdwSupportedVersion` are NULL or point to room for what they name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistStartup(
    dwVersionRequested: DWORD,
    phPeerDist: *mut PEERDIST_INSTANCE_HANDLE,
    pdwSupportedVersion: *mut DWORD,
) -> DWORD {
    done(|| {
        required(phPeerDist)?;
        let (major, minor) = (dwVersionRequested & 0xFF, dwVersionRequested >> 8);
        if major == 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        if !pdwSupportedVersion.is_null() {
            // SAFETY: not NULL, room by the caller's word.
            unsafe { write_out(pdwSupportedVersion, PEERDIST_VERSION)? };
        }
        // A minor version in the upper word counts as one, too.
        let (our_major, our_minor) = (PEERDIST_VERSION & 0xFF, PEERDIST_VERSION >> 8);
        if major > our_major || (major == our_major && minor > our_minor) {
            return Err(PEERDIST_ERROR_VERSION_UNSUPPORTED);
        }
        let handle = open(Object::Instance(Instance::start()?));
        if handle.is_null() {
            return Err(ERROR_NO_SYSTEM_RESOURCES);
        }
        // SAFETY: checked above.
        unsafe { write_out(phPeerDist, handle) }
    })
}

/// PeerDistShutdown: cancels everything, takes the publications back, and ends all handles of the instance.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistShutdown(hPeerDist: PEERDIST_INSTANCE_HANDLE) -> DWORD {
    done(|| {
        instance(hPeerDist)?;
        let handle = Handle::from_raw(hPeerDist).ok_or(ERROR_INVALID_HANDLE)?;
        match TABLE.remove_if(handle, |object| matches!(object, Object::Instance(_))) {
            Some(Object::Instance(instance)) => {
                instance.shut_down();
                Ok(())
            }
            _ => Err(ERROR_INVALID_HANDLE),
        }
    })
}

/// PeerDistGetStatus: works in every status.
///
/// # Safety
/// `pPeerDistStatus` is NULL or points to room for a status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistGetStatus(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    pPeerDistStatus: *mut PEERDIST_STATUS,
) -> DWORD {
    done(|| {
        let instance = instance(hPeerDist)?;
        required(pPeerDistStatus)?;
        // SAFETY: not NULL, room by the caller's word.
        unsafe { write_out(pPeerDistStatus, status_of(instance.status())) }
    })
}

/// PeerDistGetStatusEx: the status, and the versions of content information that the service handles.
///
/// # Safety
/// `pPeerDistStatus` is NULL or points to a PEERDIST_STATUS_INFO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistGetStatusEx(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    pPeerDistStatus: *mut PEERDIST_STATUS_INFO,
) -> DWORD {
    done(|| {
        let instance = instance(hPeerDist)?;
        // SAFETY: by the caller's word.
        unsafe {
            check_size(pPeerDistStatus)?;
            write_out(pPeerDistStatus, status_info_of(instance.status()))
        }
    })
}

/// PeerDistRegisterForStatusChangeNotification: one at a time, and for one change.
///
/// # Safety
/// `lpOverlapped` and `pPeerDistStatus` are NULL or stay where they are until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistRegisterForStatusChangeNotification(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    lpOverlapped: *mut OVERLAPPED,
    pPeerDistStatus: *mut PEERDIST_STATUS,
) -> DWORD {
    started(|| {
        let instance = instance(hPeerDist)?;
        let target = Target::new(hCompletionPort, ulCompletionKey)?;
        required(pPeerDistStatus)?;
        let out = Out(pPeerDistStatus);
        // SAFETY: it is told under the operation's lock while it is pending, when the memory is ours.
        let tell: Tell = Box::new(move |info| unsafe { out.write(status_of(info)) });
        // SAFETY: by the caller's word.
        instance.register(|owner| unsafe { Operation::start(lpOverlapped, Offset::Free, &target, owner) }, tell)
    })
}

/// PeerDistRegisterForStatusChangeNotificationEx: shares the one place for a registration with the plain function.
///
/// # Safety
/// As of [`PeerDistRegisterForStatusChangeNotification`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistRegisterForStatusChangeNotificationEx(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    lpOverlapped: *mut OVERLAPPED,
    pPeerDistStatus: *mut PEERDIST_STATUS_INFO,
) -> DWORD {
    started(|| {
        let instance = instance(hPeerDist)?;
        let target = Target::new(hCompletionPort, ulCompletionKey)?;
        // SAFETY: by the caller's word.
        unsafe { check_size(pPeerDistStatus)? };
        let out = Out(pPeerDistStatus);
        // SAFETY: it is told under the operation's lock while it is pending, when the memory is ours.
        let tell: Tell = Box::new(move |info| unsafe { out.write(status_info_of(info)) });
        // SAFETY: by the caller's word.
        instance.register(|owner| unsafe { Operation::start(lpOverlapped, Offset::Free, &target, owner) }, tell)
    })
}

/// PeerDistUnregisterForStatusChangeNotification: the registered operation is cancelled, if there is one.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistUnregisterForStatusChangeNotification(hPeerDist: PEERDIST_INSTANCE_HANDLE) -> DWORD {
    done(|| {
        let instance: Arc<Instance> = instance(hPeerDist)?;
        instance.unregister();
        Ok(())
    })
}

/// Where a status goes when it changes.
struct Out<T>(*mut T);

// SAFETY: see where it is written.
unsafe impl<T> Send for Out<T> {}

impl<T> Out<T> {
    /// # Safety
    /// The pointer is still the caller's promise.
    unsafe fn write(self, value: T) {
        // SAFETY: by the caller's word, and not NULL, as was checked.
        unsafe { self.0.write_unaligned(value) };
    }
}

/// # Safety
/// `info` is NULL or points to a PEERDIST_STATUS_INFO.
unsafe fn check_size(info: *const PEERDIST_STATUS_INFO) -> Result<(), DWORD> {
    required(info)?;
    // SAFETY: not NULL, valid by the caller's word.
    let size = unsafe { (&raw const (*info).cbSize).read_unaligned() };
    if size == STATUS_INFO_SIZE { Ok(()) } else { Err(ERROR_INVALID_PARAMETER) }
}

fn status_of(info: StatusInfo) -> PEERDIST_STATUS {
    info.status as PEERDIST_STATUS
}

fn status_info_of(info: StatusInfo) -> PEERDIST_STATUS_INFO {
    PEERDIST_STATUS_INFO {
        cbSize: STATUS_INFO_SIZE,
        status: status_of(info),
        dwMinVer: info.min_version,
        dwMaxVer: info.max_version,
    }
}
