//! The client functions of peerdist.h, exported.
#![allow(unsafe_code, reason = "follows the caller's pointers")]
#![allow(non_snake_case, reason = "the names of peerdist.h")]

use std::ffi::c_void;
use std::sync::Arc;

use super::super::content::{flushed, timeout_of};
use super::super::{Child, Content, code_on_handle, code_on_opening};
use super::{content, done, instance, remove, required, started};
use crate::abi::{
    DWORD, ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, ERROR_OPERATION_ABORTED, HANDLE,
    OVERLAPPED, PEERDIST_CLIENT_BASIC_INFO, PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS, PEERDIST_CONTENT_HANDLE,
    PEERDIST_CONTENT_TAG, PEERDIST_ERROR_OPERATION_NOTFOUND, PEERDIST_INSTANCE_HANDLE, PeerDistClientBasicInfo,
    ULONG_PTR,
};
use crate::boundary::write_out;
use crate::handle::Object;
use crate::kernel::last_error;
use crate::operation::{Buffer, Offset, Operation, Target, position};

/// PeerDistClientOpenContent: a content that content information is added to.
///
/// # Safety
/// `pContentTag` is NULL or points to a tag, `phContentHandle` is NULL or points to room for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientOpenContent(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    pContentTag: *const PEERDIST_CONTENT_TAG,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    phContentHandle: *mut PEERDIST_CONTENT_HANDLE,
) -> DWORD {
    done(|| {
        let instance = instance(hPeerDist)?;
        let target = Target::new(hCompletionPort, ulCompletionKey)?;
        required(pContentTag)?;
        required(phContentHandle)?;
        // SAFETY: not NULL, valid by the caller's word.
        let tag = unsafe { pContentTag.read_unaligned() }.Data;
        let session = instance.session()?;
        let opening = session.clone();
        let remote = instance.wait_for(async move {
            opening.open_tagged(tag, "", Default::default()).await.map_err(|error| code_on_opening(&error))
        })?;
        let content = Content::new(Child::new(&instance, target, None), remote);
        let handle = instance.adopt(&session, Object::Content(Arc::new(content)))?;
        // SAFETY: not NULL, room by the caller's word.
        unsafe { write_out(phContentHandle, handle.to_raw()) }
    })
}

/// PeerDistClientCloseContent: what is pending is cancelled. Works on invalidated handles, too.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistClientCloseContent(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
) -> DWORD {
    done(|| {
        let content = content(hPeerDist, hContentHandle)?;
        if !remove(hContentHandle, &content.child) {
            return Err(ERROR_INVALID_HANDLE);
        }
        content.child.close();
        let remote = content.remote.clone();
        // The daemon holds an invalidated one until it is closed; a daemon that went away holds none.
        let _ = content.child.instance.daemon.wait_for(async move { remote.close().await.map_err(|_| 0) });
        Ok(())
    })
}

/// PeerDistClientGetInformationByHandle: of the one class there is, whether many fetch the same now.
///
/// # Safety
/// `lpInformation` is NULL or points to `dwBufferSize` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientGetInformationByHandle(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    PeerDistClientInfoClass: PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS,
    dwBufferSize: DWORD,
    lpInformation: *mut c_void,
) -> DWORD {
    done(|| {
        let content = content(hPeerDist, hContentHandle)?;
        required(lpInformation)?;
        if PeerDistClientInfoClass != PeerDistClientBasicInfo {
            return Err(ERROR_INVALID_PARAMETER);
        }
        if (dwBufferSize as usize) < size_of::<PEERDIST_CLIENT_BASIC_INFO>() {
            return Err(ERROR_INSUFFICIENT_BUFFER);
        }
        content.child.check()?;
        let remote = content.remote.clone();
        let state = async move { remote.state().await.map_err(|error| code_on_handle(&error)) };
        let state = content.child.instance.daemon.wait_for(state)?;
        let information = PEERDIST_CLIENT_BASIC_INFO { fFlashCrowd: state.flash_crowd.into() };
        // SAFETY: not NULL, room by the caller's word.
        unsafe { write_out(lpInformation.cast(), information) }
    })
}

/// PeerDistClientAddContentInformation: the next bytes of content information. Several calls wait for their turn.
///
/// # Safety
/// `pBuffer` and `lpOverlapped` are NULL or stay where they are until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientAddContentInformation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    cbNumberOfBytes: DWORD,
    pBuffer: *mut u8,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    started(|| {
        let content = content(hPeerDist, hContentHandle)?;
        let buffer = Buffer::new(pBuffer, cbNumberOfBytes)?;
        let lane = Some(&content.information);
        // SAFETY: by the caller's word.
        unsafe {
            content.child.begin(lpOverlapped, Offset::Reserved, lane, |operation| {
                Arc::clone(&content).add_content_information(operation, buffer)
            })
        }
    })
}

/// PeerDistClientCompleteContentInformation: from its end on what was added can be read.
///
/// # Safety
/// `lpOverlapped` is NULL or stays where it is until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientCompleteContentInformation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    started(|| {
        let content = content(hPeerDist, hContentHandle)?;
        let lane = Some(&content.information);
        // SAFETY: by the caller's word.
        unsafe {
            content
                .child
                .begin(lpOverlapped, Offset::Reserved, lane, |_| Arc::clone(&content).complete_content_information())
        }
    })
}

/// PeerDistClientAddData: bytes of the content at the offset in `lpOverlapped`.
///
/// # Safety
/// As of [`PeerDistClientAddContentInformation`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientAddData(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    cbNumberOfBytes: DWORD,
    pBuffer: *mut u8,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    started(|| {
        let content = content(hPeerDist, hContentHandle)?;
        let buffer = Buffer::new(pBuffer, cbNumberOfBytes)?;
        // SAFETY: by the caller's word.
        unsafe {
            let offset = position(lpOverlapped);
            content.child.begin(lpOverlapped, Offset::Free, None, |operation| {
                Arc::clone(&content).add_data(operation, buffer, offset)
            })
        }
    })
}

/// PeerDistClientBlockRead: bytes from the offset in `lpOverlapped` on, as soon as there are any.
///
/// # Safety
/// As of [`PeerDistClientAddContentInformation`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientBlockRead(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    cbMaxNumberOfBytes: DWORD,
    pBuffer: *mut u8,
    dwTimeoutInMilliseconds: DWORD,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    started(|| {
        let content = content(hPeerDist, hContentHandle)?;
        let buffer = Buffer::new(pBuffer, cbMaxNumberOfBytes)?;
        let timeout = timeout_of(dwTimeoutInMilliseconds);
        // SAFETY: by the caller's word.
        unsafe {
            let offset = position(lpOverlapped);
            content.child.begin(lpOverlapped, Offset::Free, None, |operation| {
                Arc::clone(&content).block_read(operation, buffer, offset, timeout)
            })
        }
    })
}

/// PeerDistClientStreamRead: the next bytes of the content. What is missing is skipped.
///
/// # Safety
/// As of [`PeerDistClientAddContentInformation`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientStreamRead(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    cbMaxNumberOfBytes: DWORD,
    pBuffer: *mut u8,
    dwTimeoutInMilliseconds: DWORD,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    started(|| {
        let content = content(hPeerDist, hContentHandle)?;
        let buffer = Buffer::new(pBuffer, cbMaxNumberOfBytes)?;
        let timeout = timeout_of(dwTimeoutInMilliseconds);
        let lane = Some(&content.stream);
        // SAFETY: by the caller's word.
        unsafe {
            content.child.begin(lpOverlapped, Offset::Free, lane, |operation| {
                Arc::clone(&content).stream_read(operation, buffer, timeout)
            })
        }
    })
}

/// PeerDistClientFlushContent: removes from the cache what was added under a tag.
///
/// # Safety
/// `pContentTag` is NULL or points to a tag, `lpOverlapped` is NULL or stays where it is until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientFlushContent(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    pContentTag: *const PEERDIST_CONTENT_TAG,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    started(|| {
        let instance = instance(hPeerDist)?;
        let target = Target::new(hCompletionPort, ulCompletionKey)?;
        required(pContentTag)?;
        // SAFETY: by the caller's word.
        unsafe { Operation::check(lpOverlapped, Offset::Reserved)? };
        let session = instance.session()?;
        // SAFETY: not NULL, valid by the caller's word.
        let tag = unsafe { pContentTag.read_unaligned() }.Data;
        let start = |owner| {
            // SAFETY: by the caller's word.
            unsafe { Operation::start(lpOverlapped, Offset::Reserved, &target, owner) }
        };
        let operation = instance.begin(start)?;
        instance.daemon.spawn(async move { operation.run(async { flushed(session.flush(tag).await) }).await });
        Ok(())
    })
}

/// PeerDistClientCancelAsyncOperation: cancels one operation of a content, or all where `pOverlapped` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistClientCancelAsyncOperation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    pOverlapped: *mut OVERLAPPED,
) -> DWORD {
    done(|| {
        let content = content(hPeerDist, hContentHandle)?;
        content.child.check()?;
        if pOverlapped.is_null() {
            content.child.cancel_all();
        } else {
            let operation = Operation::find(pOverlapped).filter(|operation| content.child.owns(operation));
            if !operation.is_some_and(|operation| operation.cancel()) {
                return Err(PEERDIST_ERROR_OPERATION_NOTFOUND);
            }
        }
        // The documentation has callers look for it.
        last_error::set(ERROR_OPERATION_ABORTED);
        Ok(())
    })
}
