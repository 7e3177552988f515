//! Instances: a session with the daemon that is opened again when the daemon comes back, and the status meanwhile.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peerdist_node::api::{Status, StatusInfo};
use peerdist_node::control::client::{ClientError, SessionHandle};
use peerdist_node::control::wire::Event;
use tokio::sync::Notify;

use super::child::Child;
use crate::abi::{
    DWORD, ERROR_ACCESS_DISABLED_BY_POLICY, ERROR_INVALID_HANDLE, ERROR_NO_SYSTEM_RESOURCES,
    PEERDIST_ERROR_ALREADY_EXISTS, PEERDIST_ERROR_INVALIDATED, PEERDIST_ERROR_SERVICE_UNAVAILABLE,
};
use crate::daemon::Daemon;
use crate::handle::{Handle, Object, TABLE};
use crate::operation::{Operation, Outcome, Owner};

/// So long a function waits for the first word of the daemon.
const FIRST_WORD: Duration = Duration::from_secs(2);
/// A daemon that is not there is looked for again after so long, twice as long each time, up to the second.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number that no instance and no handle had before.
pub(super) fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// PEERDIST_INSTANCE_HANDLE.
pub struct Instance {
    pub(super) number: u64,
    pub(super) daemon: Daemon,
    state: Mutex<State>,
    /// The first word of the daemon, or that it is not there.
    settled: Condvar,
    ended: Notify,
}

#[derive(Default)]
struct State {
    /// `None` until the daemon said something, or was not there.
    status: Option<StatusInfo>,
    session: Option<SessionHandle>,
    children: HashSet<Handle>,
    registered: Option<Registered>,
    /// What the program was told last.
    notified: Option<Status>,
    closed: bool,
}

/// Who waits for the status to change, and where the status goes.
struct Registered {
    operation: Arc<Operation>,
    tell: Tell,
}

/// Writes a status where the program wants it.
pub(super) type Tell = Box<dyn FnOnce(StatusInfo) + Send>;

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Instance {
    pub(super) fn start() -> Result<Arc<Self>, DWORD> {
        let instance = Arc::new(Self {
            number: next_number(),
            daemon: Daemon::of_process()?,
            state: Mutex::default(),
            settled: Condvar::new(),
            ended: Notify::new(),
        });
        instance.daemon.spawn(Arc::clone(&instance).keep_session());
        Ok(instance)
    }

    /// The status; the first time it waits a moment for the daemon.
    pub(super) fn status(&self) -> StatusInfo {
        let state = self.lock();
        let settled = self.settled.wait_timeout_while(state, FIRST_WORD, |state| state.status.is_none());
        let (state, _) = settled.unwrap_or_else(PoisonError::into_inner);
        state.status.unwrap_or(StatusInfo::of(Status::Unavailable))
    }

    /// The session, while the service works.
    ///
    /// # Errors
    /// ERROR_INVALID_HANDLE after the shutdown, ERROR_ACCESS_DISABLED_BY_POLICY, PEERDIST_ERROR_SERVICE_UNAVAILABLE.
    pub(super) fn session(&self) -> Result<SessionHandle, DWORD> {
        match self.status().status {
            _ if self.lock().closed => Err(ERROR_INVALID_HANDLE),
            Status::Disabled => Err(ERROR_ACCESS_DISABLED_BY_POLICY),
            Status::Unavailable => Err(PEERDIST_ERROR_SERVICE_UNAVAILABLE),
            Status::Available => self.lock().session.clone().ok_or(PEERDIST_ERROR_SERVICE_UNAVAILABLE),
        }
    }

    /// Does something on the thread, and waits for it. What fails where the instance is shut down meanwhile says that.
    ///
    /// # Errors
    /// ERROR_INVALID_HANDLE, or those of `task` and of [`Daemon::wait_for`].
    pub(super) fn wait_for<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, DWORD>> + Send + 'static,
    ) -> Result<T, DWORD> {
        self.daemon.wait_for(task).map_err(|code| if self.lock().closed { ERROR_INVALID_HANDLE } else { code })
    }

    /// Puts a new child into the table.
    ///
    /// # Errors
    /// Where the instance is shut down, the service went meanwhile, or the table is full.
    pub(super) fn adopt(&self, session: &SessionHandle, object: Object) -> Result<Handle, DWORD> {
        let mut state = self.lock();
        if state.closed {
            return Err(ERROR_INVALID_HANDLE);
        }
        // What was opened in a session that is over is dead already.
        if !state.session.as_ref().is_some_and(|current| current.is_same(session)) {
            return Err(PEERDIST_ERROR_SERVICE_UNAVAILABLE);
        }
        let handle = TABLE.insert(object).ok_or(ERROR_NO_SYSTEM_RESOURCES)?;
        state.children.insert(handle);
        Ok(handle)
    }

    pub(super) fn forget(&self, handle: Handle) {
        self.lock().children.remove(&handle);
    }

    /// Starts an operation of the instance itself.
    ///
    /// # Errors
    /// ERROR_INVALID_HANDLE where it is shut down, or what `start` says.
    pub(super) fn begin(
        &self,
        start: impl FnOnce(Owner) -> Result<Arc<Operation>, DWORD>,
    ) -> Result<Arc<Operation>, DWORD> {
        let state = self.lock();
        if state.closed {
            return Err(ERROR_INVALID_HANDLE);
        }
        start(Owner { instance: self.number, ..Owner::default() })
    }

    /// A publication is being taken back: what is pending on it here is cancelled, and its handles can only be closed.
    pub(super) fn unpublished(&self, identifier: &Arc<[u8]>) {
        let children: Vec<_> = self.lock().children.iter().filter_map(|handle| TABLE.get(*handle)).collect();
        for child in children.iter().filter_map(Object::child) {
            if child.identifier() == Some(identifier) {
                child.cancel_all();
                child.invalidate();
            }
        }
    }

    /// PeerDistRegisterForStatusChangeNotification(Ex): one at a time.
    pub(super) fn register(
        &self,
        start: impl FnOnce(Owner) -> Result<Arc<Operation>, DWORD>,
        tell: Tell,
    ) -> Result<(), DWORD> {
        let mut state = self.lock();
        if state.closed {
            return Err(ERROR_INVALID_HANDLE);
        }
        if state.registered.is_some() {
            return Err(PEERDIST_ERROR_ALREADY_EXISTS);
        }
        let operation = start(Owner { instance: self.number, ..Owner::default() })?;
        state.registered = Some(Registered { operation, tell });
        state.notify();
        Ok(())
    }

    /// PeerDistUnregisterForStatusChangeNotification.
    pub(super) fn unregister(&self) {
        let mut state = self.lock();
        if let Some(registered) = state.registered.take() {
            // Under the lock, so that whoever finds the place empty finds the operation ended.
            registered.operation.cancel();
        }
    }

    /// PeerDistShutdown: everything that is pending ends, every handle goes, and so do the publications.
    pub(super) fn shut_down(&self) {
        let (session, children) = {
            let mut state = self.lock();
            state.closed = true;
            (state.session.take(), std::mem::take(&mut state.children))
        };
        for child in children.iter().filter_map(|handle| TABLE.remove_if(*handle, |_| true)) {
            if let Some(child) = child.child() {
                child.close();
            }
        }
        self.unregister();
        let own = |owner: &Owner| owner.instance == self.number;
        for operation in Operation::all(own) {
            operation.cancel();
        }
        if let Some(session) = session {
            // A daemon that does not answer any more has nothing to take back.
            let _ = self.daemon.wait_for(async move { session.end().await.map_err(|_| 0) });
        }
        self.ended.notify_one();
    }

    /// Opens a session, follows its events, and opens another one when it is over.
    async fn keep_session(self: Arc<Self>) {
        let mut pause = LOOK_AGAIN.0;
        loop {
            tokio::select! {
                () = self.ended.notified() => return,
                result = self.one_session() => match result {
                    Ok(()) => pause = LOOK_AGAIN.0,
                    Err(_) => pause = (pause * 2).min(LOOK_AGAIN.1),
                },
            }
            self.status_is(StatusInfo::of(Status::Unavailable), None);
            tokio::select! {
                () = self.ended.notified() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One session, until the daemon ends it.
    async fn one_session(&self) -> Result<(), ClientError> {
        let (session, mut events) = self.daemon.connection.open_session().await?.split();
        while let Ok(Some(event)) = events.next().await {
            match event {
                Event::Status(info) => self.status_is(info, Some(&session)),
                Event::Stopping => break,
                Event::Session { .. } => {}
            }
        }
        Ok(())
    }

    fn status_is(&self, info: StatusInfo, session: Option<&SessionHandle>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.status = Some(info);
        state.session = session.cloned();
        if info.status != Status::Available {
            let children: Vec<_> = state.children.iter().filter_map(|handle| TABLE.get(*handle)).collect();
            children.iter().filter_map(Object::child).for_each(Child::invalidate);
            // Operations of the instance itself, but not the one that waits for this.
            let waits = state.registered.as_ref().map(|registered| Arc::clone(&registered.operation));
            let own = |owner: &Owner| owner.instance == self.number && owner.handle == 0;
            for operation in Operation::all(own) {
                if !waits.as_ref().is_some_and(|waits| Arc::ptr_eq(waits, &operation)) {
                    operation.end(PEERDIST_ERROR_INVALIDATED);
                }
            }
        }
        state.notify();
        drop(state);
        self.settled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells who waits for it that the status is not what was told last; at first that is DISABLED.
    fn notify(&mut self) {
        let Some(info) = self.status else { return };
        if info.status == self.notified.unwrap_or(Status::Disabled) {
            return;
        }
        let Some(registered) = self.registered.take() else { return };
        let tell = registered.tell;
        if registered.operation.complete_with(Outcome::default(), || tell(info)) {
            self.notified = Some(info.status);
        }
    }
}

impl Object {
    fn child(&self) -> Option<&Child> {
        match self {
            Self::Content(content) => Some(&content.child),
            Self::Stream(stream) => Some(&stream.child),
            Self::ContentInfo(information) => Some(&information.child),
            Self::Event(_) | Self::Port(_) | Self::Instance(_) => None,
        }
    }
}
