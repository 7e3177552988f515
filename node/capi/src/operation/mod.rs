//! Asynchronous operations: from the call that starts one to its only completion.
//!
//! An operation is pending until one of completion and cancellation wins; the winner alone writes to the caller's memory
//! and signals, all under the operation's lock. Whoever holds the lock and finds the operation pending may copy into
//! the caller's buffer; nobody touches the caller's memory afterwards.
#![allow(
    unsafe_code,
    reason = "the caller's OVERLAPPED and buffers are the caller's until an operation starts, then ours"
)]

pub mod calls;

use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::abi::{
    DWORD, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, ERROR_OPERATION_ABORTED, HANDLE, OVERLAPPED, STATUS_PENDING,
    ULONG_PTR, internal_of, status_of,
};
use crate::handle::{self, overlapped_event};
use crate::kernel::wait::Deadline;
use crate::kernel::{Event, Packet, Port};

/// Where an operation's packet goes, unless it has an event: the port and the key given with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target(Option<(Arc<Port>, ULONG_PTR)>);

impl Target {
    /// The port of a function's arguments; none where `port` is NULL.
    ///
    /// # Errors
    /// ERROR_INVALID_HANDLE.
    pub(crate) fn new(port: HANDLE, key: ULONG_PTR) -> Result<Self, DWORD> {
        if port.is_null() {
            return Ok(Self(None));
        }
        Ok(Self(Some((handle::port(port).ok_or(ERROR_INVALID_HANDLE)?, key))))
    }
}

/// What an operation belongs to: cancelling and closing go by it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Owner {
    pub(crate) instance: u64,
    /// The content, stream or content information; 0 for operations of the instance.
    pub(crate) handle: u64,
    /// Of operations on a publication.
    pub(crate) identifier: Option<Arc<[u8]>>,
}

/// Whether an operation takes a position from OVERLAPPED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offset {
    /// It has to be zero.
    Reserved,
    /// It may be anything.
    Free,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) error: DWORD,
    pub(crate) bytes: DWORD,
    /// What is written to Offset and OffsetHigh.
    pub(crate) offset: Option<u64>,
}

impl Outcome {
    pub(crate) fn error(error: DWORD) -> Self {
        Self { error, ..Self::default() }
    }

    pub(crate) fn bytes(bytes: DWORD) -> Self {
        Self { bytes, ..Self::default() }
    }
}

/// What work came to, and what it changes on our side if that is how the operation ends: nothing where it was cancelled.
pub(crate) struct Done {
    outcome: Outcome,
    commit: Option<Box<dyn FnOnce() + Send>>,
}

impl Done {
    pub(crate) fn and(outcome: Outcome, commit: impl FnOnce() + Send + 'static) -> Self {
        Self { outcome, commit: Some(Box::new(commit)) }
    }
}

impl From<Outcome> for Done {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, commit: None }
    }
}

/// An operation under way, or ended.
#[derive(Debug)]
pub(crate) struct Operation {
    overlapped: *mut OVERLAPPED,
    event: Option<Arc<Event>>,
    target: Target,
    owner: Owner,
    pending: Mutex<bool>,
    ended: Condvar,
    /// Tells the task that works on it to stop.
    cancelled: Notify,
}

// SAFETY: the pointer is followed under the lock and while the operation is pending, when the memory is ours.
unsafe impl Send for Operation {}
// SAFETY: as above.
unsafe impl Sync for Operation {}

static PENDING: LazyLock<Mutex<HashMap<usize, Arc<Operation>>>> = LazyLock::new(Mutex::default);

fn pending() -> MutexGuard<'static, HashMap<usize, Arc<Operation>>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `Internal` as an atomic: programs poll it, and what they may do when it changes, they do at once.
///
/// # Safety
/// `overlapped` points to an OVERLAPPED that nobody frees meanwhile.
unsafe fn internal<'a>(overlapped: *mut OVERLAPPED) -> &'a AtomicUsize {
    // SAFETY: valid by the caller's word, aligned as checked when the operation started, and read and written by us
    // through this alone.
    unsafe { AtomicUsize::from_ptr(&raw mut (*overlapped).Internal) }
}

/// The position in an OVERLAPPED.
///
/// # Safety
/// `overlapped` is NULL or points to an OVERLAPPED of the caller's.
pub(crate) unsafe fn position(overlapped: *const OVERLAPPED) -> u64 {
    if overlapped.is_null() {
        return 0;
    }
    // SAFETY: not NULL, and so valid by the caller's word.
    let (low, high) = unsafe {
        (ptr::read_unaligned(&raw const (*overlapped).Offset), ptr::read_unaligned(&raw const (*overlapped).OffsetHigh))
    };
    u64::from(high) << 32 | u64::from(low)
}

impl Operation {
    /// Looks at an OVERLAPPED as [`Self::start`] does, and returns its event.
    ///
    /// # Errors
    /// As of [`Self::start`].
    ///
    /// # Safety
    /// As of [`Self::start`].
    pub(crate) unsafe fn check(overlapped: *mut OVERLAPPED, offset: Offset) -> Result<Option<Arc<Event>>, DWORD> {
        if overlapped.is_null() || !overlapped.is_aligned() {
            return Err(ERROR_INVALID_PARAMETER);
        }
        // SAFETY: checked above, valid by the caller's word.
        let (event, position) = unsafe { ((*overlapped).hEvent, position(overlapped)) };
        if offset == Offset::Reserved && position != 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        if event.is_null() {
            return Ok(None);
        }
        // An event is the means of completion whether or not a packet is suppressed by its low bit.
        overlapped_event(event).map(|(event, _)| Some(event)).ok_or(ERROR_INVALID_HANDLE)
    }

    /// Starts an operation: from now on `overlapped` is ours. The event is reset. The caller begins the work afterwards.
    ///
    /// # Errors
    /// ERROR_INVALID_PARAMETER for NULL, a misaligned pointer, an OVERLAPPED that is pending already, or an offset where
    /// none may be; ERROR_INVALID_HANDLE for an event that is none. Nothing was touched then.
    ///
    /// # Safety
    /// `overlapped` is NULL or points to an OVERLAPPED that stays where it is until the operation has ended.
    pub(crate) unsafe fn start(
        overlapped: *mut OVERLAPPED,
        offset: Offset,
        target: &Target,
        owner: Owner,
    ) -> Result<Arc<Self>, DWORD> {
        // SAFETY: the caller's word is the same.
        let event = unsafe { Self::check(overlapped, offset)? };
        let operation = Arc::new(Self {
            overlapped,
            event,
            target: target.clone(),
            owner,
            pending: Mutex::new(true),
            ended: Condvar::new(),
            cancelled: Notify::new(),
        });
        let mut pending = pending();
        if let Some(known) = pending.get(&overlapped.addr()).cloned() {
            // It may be past its last write and not off the list yet.
            if *known.lock() {
                return Err(ERROR_INVALID_PARAMETER);
            }
        }
        // SAFETY: nobody else has it: it is not pending.
        unsafe {
            (*overlapped).InternalHigh = 0;
            internal(overlapped).store(internal_of(STATUS_PENDING), Ordering::Relaxed);
        }
        if let Some(event) = &operation.event {
            event.reset();
        }
        pending.insert(overlapped.addr(), Arc::clone(&operation));
        Ok(operation)
    }

    /// The operation that an OVERLAPPED is pending for.
    pub(crate) fn find(overlapped: *const OVERLAPPED) -> Option<Arc<Self>> {
        pending().get(&overlapped.addr()).cloned()
    }

    /// All pending operations of some owners.
    pub(crate) fn all(wanted: impl Fn(&Owner) -> bool) -> Vec<Arc<Self>> {
        pending().values().filter(|operation| wanted(&operation.owner)).cloned().collect()
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Ends the operation, unless it has ended. `write` fills what else the caller gets. Returns whether this was the end.
    pub(crate) fn complete_with(&self, outcome: Outcome, write: impl FnOnce()) -> bool {
        {
            let mut pending = self.lock();
            if !*pending {
                return false;
            }
            write();
            // SAFETY: it is pending, so the memory is still ours.
            unsafe {
                if let Some(offset) = outcome.offset {
                    (*self.overlapped).Offset = offset as u32;
                    (*self.overlapped).OffsetHigh = (offset >> 32) as u32;
                }
                (*self.overlapped).InternalHigh = outcome.bytes as ULONG_PTR;
                // The last write: who sees it may free the memory.
                internal(self.overlapped).store(internal_of(status_of(outcome.error)), Ordering::Release);
            }
            *pending = false;
            // Under the lock, so that a cancel that comes too late returns after the signal.
            match (&self.event, &self.target.0) {
                (Some(event), _) => event.set(),
                (None, Some((port, key))) => {
                    let (key, overlapped) = (*key, self.overlapped);
                    port.post(Packet { bytes: outcome.bytes, key, overlapped, status: status_of(outcome.error) });
                }
                (None, None) => {}
            }
            self.ended.notify_all();
        }
        let mut pending = pending();
        if pending.get(&self.overlapped.addr()).is_some_and(|known| ptr::eq(&**known, self)) {
            pending.remove(&self.overlapped.addr());
        }
        true
    }

    pub(crate) fn complete(&self, outcome: Outcome) -> bool {
        self.complete_with(outcome, || {})
    }

    /// Ends the operation before its time, and the work on it. Returns whether this was the end.
    pub(crate) fn end(&self, error: DWORD) -> bool {
        let ended = self.complete(Outcome::error(error));
        if ended {
            self.cancelled.notify_one();
        }
        ended
    }

    /// [`Self::end`] with ERROR_OPERATION_ABORTED.
    pub(crate) fn cancel(&self) -> bool {
        self.end(ERROR_OPERATION_ABORTED)
    }

    /// Does something with the caller's buffer if the operation is still pending.
    pub(crate) fn with_buffer<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let pending = self.lock();
        pending.then(work)
    }

    /// Does the work of the operation until it is cancelled; then the work is dropped.
    pub(crate) async fn run(&self, work: impl Future<Output: Into<Done>>) {
        if !*self.lock() {
            return;
        }
        tokio::select! {
            biased;
            () = self.cancelled.notified() => {}
            done = work => {
                let Done { outcome, commit } = done.into();
                self.complete_with(outcome, || commit.into_iter().for_each(|commit| commit()));
            }
        }
    }

    /// Waits for the end. `false` when the time has passed.
    pub(crate) fn wait(&self, deadline: Deadline) -> bool {
        let mut pending = self.lock();
        while *pending {
            pending = match deadline.left() {
                None => self.ended.wait(pending).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => self.ended.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer of the caller's that an operation reads or fills. Touched under the operation's lock alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffer {
    start: *mut u8,
    length: usize,
}

// SAFETY: it is followed under the lock of a pending operation, while the memory is ours.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// # Errors
    /// ERROR_INVALID_PARAMETER where bytes are announced and there is no buffer.
    pub(crate) fn new(start: *mut u8, length: DWORD) -> Result<Self, DWORD> {
        if start.is_null() && length > 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        Ok(Self { start, length: length as usize })
    }

    pub(crate) fn len(self) -> usize {
        self.length
    }

    /// Fills the buffer from `at` on; what has no room is left out. Returns `None` when the operation has ended.
    pub(crate) fn fill(self, operation: &Operation, at: usize, bytes: &[u8]) -> Option<usize> {
        let count = bytes.len().min(self.length.saturating_sub(at));
        operation.with_buffer(|| {
            // SAFETY: `at + count` is within the buffer, which is ours while the operation is pending; the bytes are ours
            // anyway, so the two do not overlap.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(at), count) };
            count
        })
    }

    /// A copy of at most `most` bytes from `at` on. `None` when the operation has ended.
    pub(crate) fn read(self, operation: &Operation, at: usize, most: usize) -> Option<Vec<u8>> {
        let count = most.min(self.length.saturating_sub(at));
        operation.with_buffer(|| {
            if count == 0 {
                return Vec::new();
            }
            // SAFETY: as in `fill`; the caller does not write to it meanwhile.
            unsafe { std::slice::from_raw_parts(self.start.add(at), count) }.to_vec()
        })
    }
}
