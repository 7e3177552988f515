//! The sessions of the api socket: a token for each, and the handles that it has open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::wire::{HandleId, Token};
use crate::api::{Api, Content, ContentInfo, Error, Instance, Stream, Uid};

/// Why a session or handle is not to be had. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SessionError {
    /// The token is none of this user's sessions.
    #[error("no such session: it ended, or it is not yours")]
    NoSession,
    /// The session has no such handle.
    #[error("the session has no such handle")]
    NoHandle,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The API refused.
    #[error(transparent)]
    Api(#[from] Error),
}

/// All sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    api: Api,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<Token, Session>,
    next_handle: u64,
}

#[derive(Debug)]
struct Session {
    instance: Instance,
    handles: HashMap<HandleId, Handle>,
}

/// What a session has open.
#[derive(Debug, Clone)]
pub(super) enum Handle {
    Content(Arc<Content>),
    Stream(Arc<Stream>),
    Information(Arc<ContentInfo>),
}

impl Handle {
    /// Ends what is under way on it.
    fn close(&self) {
        match self {
            Self::Content(content) => content.close(),
            Self::Stream(stream) => stream.close(),
            Self::Information(information) => information.close(),
        }
    }
}

impl From<Content> for Handle {
    fn from(content: Content) -> Self {
        Self::Content(Arc::new(content))
    }
}

impl From<Stream> for Handle {
    fn from(stream: Stream) -> Self {
        Self::Stream(Arc::new(stream))
    }
}

impl From<ContentInfo> for Handle {
    fn from(information: ContentInfo) -> Self {
        Self::Information(Arc::new(information))
    }
}

impl Sessions {
    pub(super) fn new(api: Api) -> Self {
        Self { api, table: Arc::default() }
    }

    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    /// A new session, which ends when the anchor is dropped.
    pub(super) fn open(&self, user: Uid) -> Result<Anchor, SessionError> {
        let token = new_token().map_err(|_| SessionError::NoRandomness)?;
        let instance = self.api.startup(user)?;
        let session = Session { instance: instance.clone(), handles: HashMap::new() };
        self.lock().sessions.insert(token.clone(), session);
        Ok(Anchor { sessions: self.clone(), token, instance })
    }

    pub(super) fn instance(&self, user: Uid, token: &Token) -> Result<Instance, SessionError> {
        Ok(self.lock().session(user, token)?.instance.clone())
    }

    /// Gives a handle to a session.
    pub(super) fn add(&self, user: Uid, token: &Token, handle: impl Into<Handle>) -> Result<HandleId, SessionError> {
        let mut table = self.lock();
        table.next_handle += 1;
        let id = HandleId::of(table.next_handle);
        table.session(user, token)?.handles.insert(id, handle.into());
        Ok(id)
    }

    pub(super) fn content(&self, user: Uid, token: &Token, id: HandleId) -> Result<Arc<Content>, SessionError> {
        match self.lock().session(user, token)?.handles.get(&id) {
            Some(Handle::Content(content)) => Ok(Arc::clone(content)),
            _ => Err(SessionError::NoHandle),
        }
    }

    pub(super) fn stream(&self, user: Uid, token: &Token, id: HandleId) -> Result<Arc<Stream>, SessionError> {
        match self.lock().session(user, token)?.handles.get(&id) {
            Some(Handle::Stream(stream)) => Ok(Arc::clone(stream)),
            _ => Err(SessionError::NoHandle),
        }
    }

    pub(super) fn information(&self, user: Uid, token: &Token, id: HandleId) -> Result<Arc<ContentInfo>, SessionError> {
        match self.lock().session(user, token)?.handles.get(&id) {
            Some(Handle::Information(information)) => Ok(Arc::clone(information)),
            _ => Err(SessionError::NoHandle),
        }
    }

    /// Closes a handle of the right kind and cancels what is under way on it.
    pub(super) fn close(
        &self,
        user: Uid,
        token: &Token,
        id: HandleId,
        is_kind: impl FnOnce(&Handle) -> bool,
    ) -> Result<(), SessionError> {
        let mut table = self.lock();
        let handles = &mut table.session(user, token)?.handles;
        if !handles.get(&id).is_some_and(is_kind) {
            return Err(SessionError::NoHandle);
        }
        let handle = handles.remove(&id);
        // Closed without the lock: a content may take long to let go.
        drop(table);
        handle.iter().for_each(Handle::close);
        Ok(())
    }

    /// Ends a session of the user's.
    pub(super) fn end_by(&self, user: Uid, token: &Token) -> Result<(), SessionError> {
        self.lock().session(user, token)?;
        self.end(token);
        Ok(())
    }

    fn end(&self, token: &Token) {
        let session = self.lock().sessions.remove(token);
        if let Some(session) = session {
            session.instance.shutdown();
            session.handles.values().for_each(Handle::close);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code between lock and unlock panics half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn session(&mut self, user: Uid, token: &Token) -> Result<&mut Session, SessionError> {
        self.sessions.get_mut(token).filter(|session| session.instance.user() == user).ok_or(SessionError::NoSession)
    }
}

fn new_token() -> Result<Token, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(Token::of(hex::encode(bytes)))
}

/// Keeps a session alive. Dropping it closes the session's handles, takes its publications back and cancels what is under
/// way.
#[derive(Debug)]
pub(super) struct Anchor {
    sessions: Sessions,
    token: Token,
    instance: Instance,
}

impl Anchor {
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    pub(super) fn instance(&self) -> &Instance {
        &self.instance
    }
}

impl Drop for Anchor {
    fn drop(&mut self) {
        self.sessions.end(&self.token);
    }
}
