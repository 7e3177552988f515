//! The server functions of peerdist.h, exported.
#![allow(unsafe_code, reason = "follows the caller's pointers")]
#![allow(non_snake_case, reason = "the names of peerdist.h")]

use std::sync::Arc;

use peerdist_node::api::Wanted;
use peerdist_node::api::publish::MAX_IDENTIFIER_SIZE;

use super::super::{Child, ContentInfo, Stream, code_on_opening};
use super::{content_info, done, instance, remove, required, started, stream};
use crate::abi::{
    DWORD, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, ERROR_OPERATION_ABORTED, HANDLE, OVERLAPPED,
    PEERDIST_CONTENTINFO_HANDLE, PEERDIST_ERROR_OPERATION_NOTFOUND, PEERDIST_INSTANCE_HANDLE,
    PEERDIST_PUBLICATION_OPTIONS, PEERDIST_RETRIEVAL_OPTIONS, PEERDIST_STREAM_HANDLE, ULONG_PTR,
};
use crate::boundary::write_out;
use crate::handle::Object;
use crate::kernel::last_error;
use crate::operation::{Buffer, Offset, Operation, Target};

/// PeerDistServerPublishStream: reserves an identifier for a content whose bytes are added next.
///
/// # Safety
/// `pContentIdentifier` is NULL or points to `cbContentIdentifier` bytes, `pPublishOptions` is NULL or points to options,
/// `phStream` is NULL or points to room for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerPublishStream(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    cbContentIdentifier: DWORD,
    pContentIdentifier: *mut u8,
    cbContentLength: u64,
    pPublishOptions: *const PEERDIST_PUBLICATION_OPTIONS,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    phStream: *mut PEERDIST_STREAM_HANDLE,
) -> DWORD {
    done(|| {
        let instance = instance(hPeerDist)?;
        let target = Target::new(hCompletionPort, ulCompletionKey)?;
        // SAFETY: by the caller's word.
        let identifier = unsafe { identifier(cbContentIdentifier, pContentIdentifier)? };
        required(phStream)?;
        let version = if pPublishOptions.is_null() {
            2
        } else {
            // SAFETY: not NULL, valid by the caller's word.
            let options = unsafe { pPublishOptions.read_unaligned() };
            if !(1..=2).contains(&options.dwVersion) || options.dwFlags != 0 {
                return Err(ERROR_INVALID_PARAMETER);
            }
            options.dwVersion
        };
        let session = instance.session()?;
        let (opening, name) = (session.clone(), Arc::clone(&identifier));
        let remote = instance.wait_for(async move {
            opening.publish(&name, cbContentLength, version).await.map_err(|error| code_on_opening(&error))
        })?;
        let stream = Stream::new(Child::new(&instance, target, Some(identifier)), remote, cbContentLength);
        let handle = instance.adopt(&session, Object::Stream(Arc::new(stream)))?;
        // SAFETY: not NULL, room by the caller's word.
        unsafe { write_out(phStream, handle.to_raw()) }
    })
}

/// PeerDistServerPublishAddToStream: the next bytes of the content. Several calls wait for their turn. Where one is
/// cancelled after its turn has come, nobody knows what of it was added: then the stream can only be closed.
///
/// # Safety
/// `pBuffer` and `lpOverlapped` are NULL or stay where they are until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerPublishAddToStream(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hStream: PEERDIST_STREAM_HANDLE,
    cbNumberOfBytes: DWORD,
    pBuffer: *mut u8,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    started(|| {
        let stream = stream(hPeerDist, hStream)?;
        let buffer = Buffer::new(pBuffer, cbNumberOfBytes)?;
        let lane = Some(&stream.lane);
        // SAFETY: by the caller's word.
        unsafe {
            stream
                .child
                .begin(lpOverlapped, Offset::Reserved, lane, |operation| Arc::clone(&stream).add(operation, buffer))
        }
    })
}

/// PeerDistServerPublishCompleteStream: from its end on the content is published.
///
/// # Safety
/// `lpOverlapped` is NULL or stays where it is until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerPublishCompleteStream(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hStream: PEERDIST_STREAM_HANDLE,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    started(|| {
        let stream = stream(hPeerDist, hStream)?;
        let lane = Some(&stream.lane);
        // SAFETY: by the caller's word.
        unsafe { stream.child.begin(lpOverlapped, Offset::Reserved, lane, |_| Arc::clone(&stream).complete()) }
    })
}

/// PeerDistServerCloseStreamHandle: what is pending is cancelled, and so is a publication that is not complete.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistServerCloseStreamHandle(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hStream: PEERDIST_STREAM_HANDLE,
) -> DWORD {
    done(|| {
        let stream = stream(hPeerDist, hStream)?;
        if !remove(hStream, &stream.child) {
            return Err(ERROR_INVALID_HANDLE);
        }
        stream.child.close();
        let daemon = stream.child.instance.daemon.clone();
        // The daemon holds an invalidated one until it is closed; a daemon that went away holds none.
        let _ = daemon.wait_for(async move { stream.close().await.map_err(|_| 0) });
        Ok(())
    })
}

/// PeerDistServerUnpublish: takes a publication of this user's back. What is pending on it in this instance is cancelled.
///
/// # Safety
/// `pContentIdentifier` is NULL or points to `cbContentIdentifier` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerUnpublish(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    cbContentIdentifier: DWORD,
    pContentIdentifier: *mut u8,
) -> DWORD {
    done(|| {
        let instance = instance(hPeerDist)?;
        // SAFETY: by the caller's word.
        let identifier = unsafe { identifier(cbContentIdentifier, pContentIdentifier)? };
        let session = instance.session()?;
        instance.unpublished(&identifier);
        instance.wait_for(async move { session.unpublish(&identifier).await.map_err(|error| code_on_opening(&error)) })
    })
}

/// PeerDistServerOpenContentInformation: content information of version 1, which every client understands.
///
/// # Safety
/// `pContentIdentifier` is NULL or points to `cbContentIdentifier` bytes, `phContentInfo` is NULL or points to room for a
/// handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerOpenContentInformation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    cbContentIdentifier: DWORD,
    pContentIdentifier: *mut u8,
    ullContentOffset: u64,
    cbContentLength: u64,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    phContentInfo: *mut PEERDIST_CONTENTINFO_HANDLE,
) -> DWORD {
    done(|| {
        let wanted = Wanted { offset: ullContentOffset, length: cbContentLength, ..Wanted::default() };
        // SAFETY: by the caller's word.
        unsafe {
            open_information(
                hPeerDist,
                cbContentIdentifier,
                pContentIdentifier,
                || Ok(wanted),
                hCompletionPort,
                ulCompletionKey,
                phContentInfo,
            )
        }
    })
}

/// PeerDistServerOpenContentInformationEx: content information of the newest version that the client understands.
///
/// # Safety
/// As of [`PeerDistServerOpenContentInformation`]; `pRetrievalOptions` is NULL or points to options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerOpenContentInformationEx(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    cbContentIdentifier: DWORD,
    pContentIdentifier: *mut u8,
    ullContentOffset: u64,
    cbContentLength: u64,
    pRetrievalOptions: *mut PEERDIST_RETRIEVAL_OPTIONS,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    phContentInfo: *mut PEERDIST_CONTENTINFO_HANDLE,
) -> DWORD {
    done(|| {
        let wanted = || {
            required(pRetrievalOptions)?;
            // SAFETY: not NULL, valid by the caller's word.
            let options = unsafe { pRetrievalOptions.read_unaligned() };
            let (min, max) = (options.dwContentInfoMinVersion, options.dwContentInfoMaxVersion);
            let size = size_of::<PEERDIST_RETRIEVAL_OPTIONS>() as DWORD;
            if options.cbSize != size || options.dwReserved != 0 || !(1..=max).contains(&min) || max > 2 {
                return Err(ERROR_INVALID_PARAMETER);
            }
            Ok(Wanted { offset: ullContentOffset, length: cbContentLength, min_version: min, max_version: max })
        };
        // SAFETY: by the caller's word.
        unsafe {
            open_information(
                hPeerDist,
                cbContentIdentifier,
                pContentIdentifier,
                wanted,
                hCompletionPort,
                ulCompletionKey,
                phContentInfo,
            )
        }
    })
}

/// # Safety
/// As of [`PeerDistServerOpenContentInformation`].
unsafe fn open_information(
    of: PEERDIST_INSTANCE_HANDLE,
    size: DWORD,
    name: *const u8,
    wanted: impl FnOnce() -> Result<Wanted, DWORD>,
    port: HANDLE,
    key: ULONG_PTR,
    out: *mut PEERDIST_CONTENTINFO_HANDLE,
) -> Result<(), DWORD> {
    let instance = instance(of)?;
    let target = Target::new(port, key)?;
    // SAFETY: by the caller's word.
    let identifier = unsafe { identifier(size, name)? };
    required(out)?;
    let wanted = wanted()?;
    if wanted.offset.checked_add(wanted.length).is_none() {
        return Err(ERROR_INVALID_PARAMETER);
    }
    let session = instance.session()?;
    let (opening, name) = (session.clone(), Arc::clone(&identifier));
    let remote = instance.wait_for(async move {
        opening.open_information(&name, &wanted).await.map_err(|error| code_on_opening(&error))
    })?;
    let information = ContentInfo::new(Child::new(&instance, target, Some(identifier)), remote);
    let handle = instance.adopt(&session, Object::ContentInfo(Arc::new(information)))?;
    // SAFETY: not NULL, room by the caller's word.
    unsafe { write_out(out, handle.to_raw()) }
}

/// PeerDistServerRetrieveContentInformation: the next bytes of content information. Several calls wait for their turn.
///
/// # Safety
/// As of [`PeerDistServerPublishAddToStream`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerRetrieveContentInformation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentInfo: PEERDIST_CONTENTINFO_HANDLE,
    cbMaxNumberOfBytes: DWORD,
    pBuffer: *mut u8,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    started(|| {
        let information = content_info(hPeerDist, hContentInfo)?;
        let buffer = Buffer::new(pBuffer, cbMaxNumberOfBytes)?;
        let lane = Some(&information.lane);
        // SAFETY: by the caller's word.
        unsafe {
            information.child.begin(lpOverlapped, Offset::Reserved, lane, |operation| {
                Arc::clone(&information).retrieve(operation, buffer)
            })
        }
    })
}

/// PeerDistServerCloseContentInformation: what is pending is cancelled. Never refused for the sake of the status.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistServerCloseContentInformation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentInfo: PEERDIST_CONTENTINFO_HANDLE,
) -> DWORD {
    done(|| {
        let information = content_info(hPeerDist, hContentInfo)?;
        if !remove(hContentInfo, &information.child) {
            return Err(ERROR_INVALID_HANDLE);
        }
        information.child.close();
        let remote = information.remote.clone();
        // The daemon holds an invalidated one until it is closed; a daemon that went away holds none.
        let _ = information.child.instance.daemon.wait_for(async move { remote.close().await.map_err(|_| 0) });
        Ok(())
    })
}

/// PeerDistServerCancelAsyncOperation: cancels one operation on a content, by its identifier.
///
/// # Safety
/// `pContentIdentifier` is NULL or points to `cbContentIdentifier` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerCancelAsyncOperation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    cbContentIdentifier: DWORD,
    pContentIdentifier: *mut u8,
    pOverlapped: *mut OVERLAPPED,
) -> DWORD {
    done(|| {
        let instance = instance(hPeerDist)?;
        // SAFETY: by the caller's word.
        let identifier = unsafe { identifier(cbContentIdentifier, pContentIdentifier)? };
        required(pOverlapped)?;
        instance.session()?;
        let operation = Operation::find(pOverlapped).filter(|operation| {
            let owner = operation.owner();
            owner.instance == instance.number && owner.identifier.as_ref() == Some(&identifier)
        });
        if !operation.is_some_and(|operation| operation.cancel()) {
            return Err(PEERDIST_ERROR_OPERATION_NOTFOUND);
        }
        // The documentation has callers look for it.
        last_error::set(ERROR_OPERATION_ABORTED);
        Ok(())
    })
}

/// A copy of an identifier.
///
/// # Safety
/// `name` is NULL or points to `size` bytes.
unsafe fn identifier(size: DWORD, name: *const u8) -> Result<Arc<[u8]>, DWORD> {
    required(name)?;
    if !(1..=MAX_IDENTIFIER_SIZE).contains(&(size as usize)) {
        return Err(ERROR_INVALID_PARAMETER);
    }
    // SAFETY: not NULL, and so many bytes by the caller's word.
    Ok(unsafe { std::slice::from_raw_parts(name, size as usize) }.into())
}
