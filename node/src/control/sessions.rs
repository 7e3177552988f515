//! Who holds what on the api socket: sessions, their contents, and the quotas of their users.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::wire::{ContentId, Held, Token};
use crate::config;

/// The user at the other end of a connection, as the kernel says.
pub(super) type Uid = u32;

/// What one user may hold on the api socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quotas {
    /// Sessions.
    pub sessions: u32,
    /// Open contents in all sessions.
    pub contents: u32,
    /// Bytes in memory for them.
    pub staged: u64,
}

impl From<&config::Control> for Quotas {
    fn from(config: &config::Control) -> Self {
        Self {
            sessions: config.max_sessions_per_user.get(),
            contents: config.max_contents_per_user.get(),
            staged: config.max_staged_per_user,
        }
    }
}

/// Why a session or content is not to be had. The caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SessionError {
    /// The token is none of this user's sessions.
    #[error("no such session: it ended, or it is not yours")]
    NoSession,
    /// The session has no such content.
    #[error("the session has no such content")]
    NoContent,
    /// The user's quota of sessions is used up.
    #[error("you hold {limit} sessions, which is all that one user may hold")]
    TooManySessions {
        /// The quota.
        limit: u32,
    },
    /// The user's quota of contents is used up.
    #[error("you hold {limit} open contents, which is all that one user may hold")]
    TooManyContents {
        /// The quota.
        limit: u32,
    },
    /// The user's quota of bytes is used up.
    #[error("your contents would hold more than {limit} bytes in memory, which is all that one user may hold")]
    TooManyBytes {
        /// The quota.
        limit: u64,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// All sessions of the api socket with their contents of type `T`. Cheap to clone.
#[derive(Debug)]
pub(super) struct Sessions<T> {
    table: Arc<Mutex<Table<T>>>,
}

impl<T> Clone for Sessions<T> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table) }
    }
}

#[derive(Debug)]
struct Table<T> {
    quotas: Quotas,
    sessions: HashMap<Token, Session<T>>,
    users: HashMap<Uid, Usage>,
    next_content: u64,
}

#[derive(Debug)]
struct Session<T> {
    uid: Uid,
    contents: HashMap<ContentId, Entry<T>>,
    ended: CancellationToken,
}

#[derive(Debug)]
struct Entry<T> {
    content: Arc<T>,
    /// Held for its content information.
    described: u64,
    /// Held for data that is not verified yet.
    staged: u64,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct Usage {
    sessions: u32,
    contents: u32,
    bytes: u64,
}

/// An open content, and when to stop working on it.
#[derive(Debug)]
pub(super) struct OpenContent<T> {
    pub(super) content: Arc<T>,
    /// Cancelled when the content is closed or its session ends.
    pub(super) closed: CancellationToken,
}

impl<T> Sessions<T> {
    pub(super) fn new(quotas: Quotas) -> Self {
        let table = Table { quotas, sessions: HashMap::new(), users: HashMap::new(), next_content: 1 };
        Self { table: Arc::new(Mutex::new(table)) }
    }

    /// What users hold beyond new quotas stays theirs.
    pub(super) fn set_quotas(&self, quotas: Quotas) {
        self.lock().quotas = quotas;
    }

    pub(super) fn held(&self) -> Held {
        let table = self.lock();
        Held {
            users: table.users.len(),
            sessions: table.sessions.len(),
            contents: table.sessions.values().map(|session| session.contents.len()).sum(),
            staged_bytes: table.users.values().map(|usage| usage.bytes).sum(),
        }
    }

    /// A new session, which ends when the anchor is dropped.
    pub(super) fn open(&self, uid: Uid) -> Result<Anchor<T>, SessionError> {
        let token = new_token().map_err(|_| SessionError::NoRandomness)?;
        let mut table = self.lock();
        let limit = table.quotas.sessions;
        if table.users.get(&uid).is_some_and(|usage| usage.sessions >= limit) {
            return Err(SessionError::TooManySessions { limit });
        }
        table.users.entry(uid).or_default().sessions += 1;
        let session = Session { uid, contents: HashMap::new(), ended: CancellationToken::new() };
        table.sessions.insert(token.clone(), session);
        Ok(Anchor { sessions: self.clone(), token })
    }

    /// Fails unless the token is a session of this user with room for one more content of this many bytes. Asked before
    /// the work of opening one is done.
    pub(super) fn admit(&self, uid: Uid, token: &Token, bytes: u64) -> Result<(), SessionError> {
        self.lock().admit(uid, token, bytes)
    }

    /// Adds a content for which `bytes` are held in memory.
    pub(super) fn add(&self, uid: Uid, token: &Token, bytes: u64, content: T) -> Result<ContentId, SessionError> {
        let mut table = self.lock();
        table.admit(uid, token, bytes)?;
        let id = ContentId::of(table.next_content);
        table.next_content += 1;
        let session = table.sessions.get_mut(token).ok_or(SessionError::NoSession)?;
        let closed = session.ended.child_token();
        session.contents.insert(id, Entry { content: Arc::new(content), described: bytes, staged: 0, closed });
        let usage = table.users.entry(uid).or_default();
        usage.contents += 1;
        usage.bytes += bytes;
        Ok(id)
    }

    pub(super) fn content(&self, uid: Uid, token: &Token, id: ContentId) -> Result<OpenContent<T>, SessionError> {
        let table = self.lock();
        let entry = table.session(uid, token)?.contents.get(&id).ok_or(SessionError::NoContent)?;
        Ok(OpenContent { content: Arc::clone(&entry.content), closed: entry.closed.clone() })
    }

    /// Counts `bytes` more that the content holds in memory until it is closed.
    pub(super) fn charge(&self, uid: Uid, token: &Token, id: ContentId, bytes: u64) -> Result<(), SessionError> {
        let mut table = self.lock();
        table.has_room(uid, bytes)?;
        table.session(uid, token)?;
        let session = table.sessions.get_mut(token).ok_or(SessionError::NoSession)?;
        session.contents.get_mut(&id).ok_or(SessionError::NoContent)?.described += bytes;
        table.users.entry(uid).or_default().bytes += bytes;
        Ok(())
    }

    /// Says how many bytes of data the content holds unverified now. Nothing happens where it was closed meanwhile.
    pub(super) fn set_staged(&self, uid: Uid, token: &Token, id: ContentId, staged: u64) {
        let mut table = self.lock();
        let entry = table.sessions.get_mut(token).and_then(|session| session.contents.get_mut(&id));
        let Some(entry) = entry else { return };
        let before = std::mem::replace(&mut entry.staged, staged);
        let usage = table.users.entry(uid).or_default();
        usage.bytes = usage.bytes.saturating_sub(before) + staged;
    }

    /// Counts `bytes` while a request holds them.
    pub(super) fn reserve(&self, uid: Uid, bytes: u64) -> Result<Reservation<T>, SessionError> {
        let mut table = self.lock();
        table.has_room(uid, bytes)?;
        table.users.entry(uid).or_default().bytes += bytes;
        Ok(Reservation { sessions: self.clone(), uid, bytes })
    }

    /// Closes a content and cancels what is under way on it.
    pub(super) fn close(&self, uid: Uid, token: &Token, id: ContentId) -> Result<(), SessionError> {
        let mut table = self.lock();
        table.session(uid, token)?;
        let session = table.sessions.get_mut(token).ok_or(SessionError::NoSession)?;
        let entry = session.contents.remove(&id).ok_or(SessionError::NoContent)?;
        entry.closed.cancel();
        table.release(uid, 0, 1, entry.bytes());
        drop(table);
        // Dropped without the lock: a content may take long to let go.
        drop(entry);
        Ok(())
    }

    fn end(&self, token: &Token) {
        let mut table = self.lock();
        let Some(session) = table.sessions.remove(token) else { return };
        session.ended.cancel();
        let contents = u32::try_from(session.contents.len()).unwrap_or(u32::MAX);
        let bytes = session.contents.values().map(Entry::bytes).sum();
        table.release(session.uid, 1, contents, bytes);
        drop(table);
        drop(session);
    }

    fn lock(&self) -> MutexGuard<'_, Table<T>> {
        // No code between lock and unlock panics half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Entry<T> {
    fn bytes(&self) -> u64 {
        self.described + self.staged
    }
}

impl<T> Table<T> {
    fn session(&self, uid: Uid, token: &Token) -> Result<&Session<T>, SessionError> {
        self.sessions.get(token).filter(|session| session.uid == uid).ok_or(SessionError::NoSession)
    }

    fn admit(&self, uid: Uid, token: &Token, bytes: u64) -> Result<(), SessionError> {
        self.session(uid, token)?;
        let limit = self.quotas.contents;
        if self.users.get(&uid).is_some_and(|usage| usage.contents >= limit) {
            return Err(SessionError::TooManyContents { limit });
        }
        self.has_room(uid, bytes)
    }

    fn has_room(&self, uid: Uid, bytes: u64) -> Result<(), SessionError> {
        let used = self.users.get(&uid).map_or(0, |usage| usage.bytes);
        let limit = self.quotas.staged;
        if used.saturating_add(bytes) > limit { Err(SessionError::TooManyBytes { limit }) } else { Ok(()) }
    }

    fn release(&mut self, uid: Uid, sessions: u32, contents: u32, bytes: u64) {
        let Some(usage) = self.users.get_mut(&uid) else { return };
        usage.sessions = usage.sessions.saturating_sub(sessions);
        usage.contents = usage.contents.saturating_sub(contents);
        usage.bytes = usage.bytes.saturating_sub(bytes);
        if usage.sessions == 0 && usage.bytes == 0 {
            self.users.remove(&uid);
        }
    }
}

fn new_token() -> Result<Token, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(Token::of(hex::encode(bytes)))
}

/// Keeps a session alive. Dropping it closes the session's contents and cancels what is under way.
#[derive(Debug)]
pub(super) struct Anchor<T> {
    sessions: Sessions<T>,
    token: Token,
}

impl<T> Anchor<T> {
    pub(super) fn token(&self) -> &Token {
        &self.token
    }
}

impl<T> Drop for Anchor<T> {
    fn drop(&mut self) {
        self.sessions.end(&self.token);
    }
}

/// Bytes that a request holds in memory, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Reservation<T> {
    sessions: Sessions<T>,
    uid: Uid,
    bytes: u64,
}

impl<T> Drop for Reservation<T> {
    fn drop(&mut self) {
        self.sessions.lock().release(self.uid, 0, 0, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Uid = 1000;
    const BOB: Uid = 1001;

    fn sessions() -> Sessions<&'static str> {
        Sessions::new(Quotas { sessions: 2, contents: 3, staged: 100 })
    }

    #[test]
    fn the_end_of_the_anchor_is_the_end_of_everything() {
        let sessions = sessions();
        let anchor = sessions.open(ALICE).unwrap();
        let token = anchor.token().clone();
        let id = sessions.add(ALICE, &token, 60, "content").unwrap();
        let open = sessions.content(ALICE, &token, id).unwrap();
        assert_eq!(*open.content, "content");
        assert_eq!(sessions.held(), Held { users: 1, sessions: 1, contents: 1, staged_bytes: 60 });
        drop(anchor);
        assert!(open.closed.is_cancelled());
        assert_eq!(sessions.content(ALICE, &token, id).unwrap_err(), SessionError::NoSession);
        assert_eq!(sessions.held(), Held { users: 0, sessions: 0, contents: 0, staged_bytes: 0 });
    }

    #[test]
    fn closing_a_content_cancels_it_alone() {
        let sessions = sessions();
        let anchor = sessions.open(ALICE).unwrap();
        let [first, second] = [1, 2].map(|_| sessions.add(ALICE, anchor.token(), 10, "content").unwrap());
        let closed = [first, second].map(|id| sessions.content(ALICE, anchor.token(), id).unwrap().closed);
        sessions.close(ALICE, anchor.token(), first).unwrap();
        assert_eq!(closed.map(|closed| closed.is_cancelled()), [true, false]);
        assert_eq!(sessions.close(ALICE, anchor.token(), first), Err(SessionError::NoContent));
        assert_eq!(sessions.held().staged_bytes, 10);
    }

    #[test]
    fn a_token_is_worth_nothing_to_another_user() {
        let sessions = sessions();
        let alice = sessions.open(ALICE).unwrap();
        let id = sessions.add(ALICE, alice.token(), 1, "content").unwrap();
        assert_eq!(sessions.content(BOB, alice.token(), id).unwrap_err(), SessionError::NoSession);
        assert_eq!(sessions.add(BOB, alice.token(), 1, "content"), Err(SessionError::NoSession));
        assert_eq!(sessions.close(BOB, alice.token(), id), Err(SessionError::NoSession));
        assert_eq!(sessions.charge(BOB, alice.token(), id, 1), Err(SessionError::NoSession));
        let bob = sessions.open(BOB).unwrap();
        assert_eq!(sessions.content(BOB, bob.token(), id).unwrap_err(), SessionError::NoContent);
        assert_eq!(format!("{:?}", alice.token()), "Token(..)");
    }

    #[test]
    fn quotas_are_per_user_and_come_back() {
        let sessions = sessions();
        let first = sessions.open(ALICE).unwrap();
        let second = sessions.open(ALICE).unwrap();
        assert_eq!(sessions.open(ALICE).unwrap_err(), SessionError::TooManySessions { limit: 2 });
        let bob = sessions.open(BOB).unwrap();
        for anchor in [&first, &second, &first] {
            sessions.add(ALICE, anchor.token(), 20, "content").unwrap();
        }
        let one_more = sessions.add(ALICE, second.token(), 1, "content");
        assert_eq!(one_more, Err(SessionError::TooManyContents { limit: 3 }));
        assert!(sessions.add(BOB, bob.token(), 100, "content").is_ok());
        let reservation = sessions.reserve(ALICE, 40).unwrap();
        assert_eq!(sessions.reserve(ALICE, 1).unwrap_err(), SessionError::TooManyBytes { limit: 100 });
        drop(reservation);
        drop(first);
        assert_eq!(sessions.reserve(ALICE, 81).unwrap_err(), SessionError::TooManyBytes { limit: 100 });
        assert!(sessions.reserve(ALICE, 80).is_ok());
        sessions.set_quotas(Quotas { sessions: 1, contents: 1, staged: 1 });
        assert_eq!(sessions.reserve(ALICE, 1).unwrap_err(), SessionError::TooManyBytes { limit: 1 });
    }

    #[test]
    fn a_charge_lasts_as_long_as_its_content() {
        let sessions = sessions();
        let anchor = sessions.open(ALICE).unwrap();
        let id = sessions.add(ALICE, anchor.token(), 1, "content").unwrap();
        sessions.charge(ALICE, anchor.token(), id, 99).unwrap();
        assert_eq!(sessions.charge(ALICE, anchor.token(), id, 1), Err(SessionError::TooManyBytes { limit: 100 }));
        sessions.set_staged(ALICE, anchor.token(), id, 50);
        sessions.set_staged(ALICE, anchor.token(), id, 20);
        assert_eq!(sessions.held().staged_bytes, 120);
        sessions.close(ALICE, anchor.token(), id).unwrap();
        assert_eq!(sessions.held().staged_bytes, 0);
        sessions.set_staged(ALICE, anchor.token(), id, 50);
        assert_eq!(sessions.held().staged_bytes, 0);
    }
}
