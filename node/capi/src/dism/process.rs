//! What of DISM is open in this process: whether it is initialised, its sessions, and the operations that run in them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::failure::Failure;
use super::image::Image;
use super::types::{
    DISMAPI_E_BUSY, DISMAPI_E_DISMAPI_ALREADY_INITIALIZED, DISMAPI_E_DISMAPI_NOT_INITIALIZED,
    DISMAPI_E_INVALID_DISM_SESSION, DISMAPI_E_OPEN_SESSION_HANDLES, DismSession,
};

static PROCESS: Mutex<Process> = Mutex::new(Process { initialised: false, last: 0, sessions: BTreeMap::new() });
/// An operation has ended.
static ENDED: Condvar = Condvar::new();

thread_local! {
    /// The sessions of the operations that run on this thread. More than one where a progress callback begins another.
    static RUNNING_HERE: RefCell<Vec<DismSession>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Process {
    initialised: bool,
    /// The newest session's number. Numbers are not used again, so an old one is found out.
    last: DismSession,
    sessions: BTreeMap<DismSession, Session>,
}

#[derive(Debug)]
struct Session {
    image: Arc<Image>,
    /// Operations under way.
    running: usize,
    /// DismCloseSession waits for them.
    closing: bool,
}

fn process() -> MutexGuard<'static, Process> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    fn initialised(&mut self) -> Result<&mut Self, Failure> {
        if self.initialised {
            return Ok(self);
        }
        Err(Failure::new(DISMAPI_E_DISMAPI_NOT_INITIALIZED, "DismInitialize was not called"))
    }

    /// A session that takes operations.
    fn session(&mut self, number: DismSession) -> Result<&mut Session, Failure> {
        let session = self.initialised()?.sessions.get_mut(&number).filter(|session| !session.closing);
        session.ok_or_else(|| {
            Failure::new(DISMAPI_E_INVALID_DISM_SESSION, format_args!("{number} is no open session").to_string())
        })
    }
}

/// Initialises, unless it was done before or `check` fails. Callers at the same time wait for each other.
pub(super) fn initialise(check: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let mut process = process();
    if process.initialised {
        return Err(Failure::new(DISMAPI_E_DISMAPI_ALREADY_INITIALIZED, "DismInitialize was called before"));
    }
    check()?;
    process.initialised = true;
    Ok(())
}

/// Fails where nothing is initialised.
pub(super) fn need_initialised() -> Result<(), Failure> {
    process().initialised().map(drop)
}

/// Undoes [`initialise`], unless sessions are open.
pub(super) fn shut_down() -> Result<(), Failure> {
    let mut process = process();
    match process.initialised()?.sessions.len() {
        0 => process.initialised = false,
        open => return Err(Failure::new(DISMAPI_E_OPEN_SESSION_HANDLES, format!("{open} sessions are open"))),
    }
    Ok(())
}

/// Opens a session about an image.
pub(super) fn open_session(image: Image) -> Result<DismSession, Failure> {
    let mut process = process();
    // Shut down while the image was opened?
    let process = process.initialised()?;
    process.last += 1;
    let session = Session { image: Arc::new(image), running: 0, closing: false };
    process.sessions.insert(process.last, session);
    Ok(process.last)
}

/// Closes a session when the operations that run in it have ended. From now on it takes no others.
pub(super) fn close_session(number: DismSession) -> Result<(), Failure> {
    let mut process = process();
    process.session(number)?;
    if RUNNING_HERE.with_borrow(|here| here.contains(&number)) {
        let message = "a progress callback cannot close the session of its own operation";
        return Err(Failure::new(DISMAPI_E_BUSY, message));
    }
    process.session(number)?.closing = true;
    let runs = |process: &mut Process| process.sessions.get(&number).is_some_and(|session| session.running > 0);
    let mut process = ENDED.wait_while(process, runs).unwrap_or_else(PoisonError::into_inner);
    process.sessions.remove(&number);
    Ok(())
}

/// An operation under way in a session, which stays open as long.
#[derive(Debug)]
pub(super) struct Operation {
    session: DismSession,
    image: Arc<Image>,
}

impl Operation {
    pub(super) fn begin(number: DismSession) -> Result<Self, Failure> {
        let mut process = process();
        let session = process.session(number)?;
        session.running += 1;
        RUNNING_HERE.with_borrow_mut(|here| here.push(number));
        Ok(Self { session: number, image: Arc::clone(&session.image) })
    }

    pub(super) fn image(&self) -> &Image {
        &self.image
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        RUNNING_HERE.with_borrow_mut(|here| here.pop());
        if let Some(session) = process().sessions.get_mut(&self.session) {
            session.running -= 1;
        }
        ENDED.notify_all();
    }
}
