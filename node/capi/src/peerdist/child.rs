//! What contents, streams and content information have in common: an instance, a target for packets, pending
//! operations, and an end.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc;

use super::instance::{Instance, next_number};
use crate::abi::{DWORD, ERROR_INVALID_HANDLE, OVERLAPPED, PEERDIST_ERROR_INVALIDATED};
use crate::operation::{Done, Offset, Operation, Owner, Target};

/// The part of a handle that peerdist.h says the same of for all kinds.
pub struct Child {
    pub(super) instance: Arc<Instance>,
    target: Target,
    owner: Owner,
    gate: RwLock<Gate>,
}

/// Whether operations may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Invalidated,
    Closed,
}

/// Operations that go on one at a time, in the order in which they were started.
#[derive(Debug, Clone)]
pub(super) struct Lane(mpsc::UnboundedSender<Job>);

type Job = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl Lane {
    pub(super) fn new(instance: &Instance) -> Self {
        let (sender, mut jobs) = mpsc::unbounded_channel::<Job>();
        instance.daemon.spawn(async move {
            while let Some(job) = jobs.recv().await {
                job.await;
            }
        });
        Self(sender)
    }

    /// What is not spawned, because the runtime ended with the process, is nobody's concern.
    fn push(&self, job: Job) {
        let _ = self.0.send(job);
    }
}

impl Child {
    pub(super) fn new(instance: &Arc<Instance>, target: Target, identifier: Option<Arc<[u8]>>) -> Self {
        let owner = Owner { instance: instance.number, handle: next_number(), identifier };
        Self { instance: Arc::clone(instance), target, owner, gate: RwLock::new(Gate::Open) }
    }

    /// Whether operations may begin.
    pub(super) fn check(&self) -> Result<(), DWORD> {
        match self.gate() {
            Gate::Open => Ok(()),
            Gate::Invalidated => Err(PEERDIST_ERROR_INVALIDATED),
            Gate::Closed => Err(ERROR_INVALID_HANDLE),
        }
    }

    /// Starts an operation and what it does, in a lane or at once.
    ///
    /// # Errors
    /// Those of [`Operation::start`], and what [`Self::check`] says.
    ///
    /// # Safety
    /// As of [`Operation::start`].
    #[allow(unsafe_code, reason = "hands the caller's OVERLAPPED on")]
    pub(super) unsafe fn begin<W: Future<Output: Into<Done>> + Send + 'static>(
        &self,
        overlapped: *mut OVERLAPPED,
        offset: Offset,
        lane: Option<&Lane>,
        work: impl FnOnce(Arc<Operation>) -> W,
    ) -> Result<(), DWORD> {
        // Held until the operation is on the list: who closes the gate finds it there.
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        if *gate == Gate::Closed {
            return Err(ERROR_INVALID_HANDLE);
        }
        // A wrong argument is told before an invalidated handle, so that is looked at first.
        if *gate == Gate::Invalidated {
            // SAFETY: the caller's word is the same; it is not started.
            unsafe { Operation::check(overlapped, offset)? };
            return Err(PEERDIST_ERROR_INVALIDATED);
        }
        // SAFETY: the caller's word is the same.
        let operation = unsafe { Operation::start(overlapped, offset, &self.target, self.owner.clone())? };
        let work = work(Arc::clone(&operation));
        let job = async move { operation.run(work).await };
        match lane {
            Some(lane) => lane.push(Box::pin(job)),
            None => self.instance.daemon.spawn(job),
        }
        Ok(())
    }

    /// Whether an operation is of this handle.
    pub(super) fn owns(&self, operation: &Operation) -> bool {
        operation.owner().handle == self.owner.handle
    }

    /// Cancels all that is pending. Returns how many operations that were.
    pub(super) fn cancel_all(&self) -> usize {
        let own = |owner: &Owner| owner.handle == self.owner.handle;
        Operation::all(own).iter().filter(|operation| operation.cancel()).count()
    }

    /// The service went: what is pending ends, and nothing begins any more.
    pub(super) fn invalidate(&self) {
        self.set_gate(Gate::Invalidated);
        let own = |owner: &Owner| owner.handle == self.owner.handle;
        for operation in Operation::all(own) {
            operation.end(PEERDIST_ERROR_INVALIDATED);
        }
    }

    /// The handle goes: what is pending is cancelled.
    pub(super) fn close(&self) {
        self.set_gate(Gate::Closed);
        self.cancel_all();
    }

    pub(super) fn identifier(&self) -> Option<&Arc<[u8]>> {
        self.owner.identifier.as_ref()
    }

    fn gate(&self) -> Gate {
        *self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_gate(&self, gate: Gate) {
        let mut known = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        // Closed is for good.
        if *known != Gate::Closed {
            *known = gate;
        }
    }
}
