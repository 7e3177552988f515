//! Publishing: from a stream of bytes to content information that others can be given.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use peerdist_protocol::content::{HashOptions, Hashed, Hasher};
use peerdist_protocol::crypto::HashAlgorithm;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::life::Life;
use super::quota::{Hold, Kind};
use super::{Error, Instance, Uid, lock};

/// An identifier has at most so many bytes.
pub const MAX_IDENTIFIER_SIZE: usize = 4096;
/// Added pieces that wait to be hashed, so that the next one can come meanwhile.
const MAX_WAITING: usize = 4;

/// PEERDIST_PUBLICATION_OPTIONS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublicationOptions {
    /// Version 1: content information of version 1 alone.
    Version1,
    /// Version 2: of both versions.
    #[default]
    Version2,
}

impl PublicationOptions {
    /// The options of a `dwVersion`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for versions that do not exist.
    pub fn of(version: u32) -> Result<Self, Error> {
        match version {
            1 => Ok(Self::Version1),
            2 => Ok(Self::Version2),
            _ => Err(Error::InvalidParameter("publication options have version 1 or 2")),
        }
    }
}

type Name = (Uid, Vec<u8>);

/// What is published, by whom.
#[derive(Debug, Default)]
pub(super) struct Publications(Mutex<HashMap<Name, Publication>>);

#[derive(Debug)]
struct Publication {
    /// The instance that it goes with.
    instance: u64,
    /// Which stream made it, or is making it.
    stream: u64,
    hashed: Option<Arc<Hashed>>,
    hold: Hold,
}

/// What becomes of a publication that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completed {
    Stays,
    Goes,
}

impl Publications {
    pub(super) fn count(&self) -> usize {
        lock(&self.0).len()
    }

    /// The publications of an instance go.
    pub(super) fn remove_all(&self, instance: u64) {
        lock(&self.0).retain(|_, publication| publication.instance != instance);
    }

    /// What was published under a user's identifier, once it is complete.
    pub(super) fn find(&self, user: Uid, identifier: &[u8]) -> Option<Arc<Hashed>> {
        let publications = lock(&self.0);
        publications.get(&(user, identifier.to_vec()))?.hashed.clone()
    }

    fn reserve(&self, name: Name, instance: u64, stream: u64, hold: Hold) -> Result<(), Error> {
        match lock(&self.0).entry(name) {
            Entry::Occupied(_) => Err(Error::AlreadyExists),
            Entry::Vacant(entry) => {
                entry.insert(Publication { instance, stream, hashed: None, hold });
                Ok(())
            }
        }
    }

    /// The stream that made the reservation is complete.
    fn publish(&self, name: &Name, stream: u64, hashed: Arc<Hashed>) -> Result<(), Error> {
        let mut publications = lock(&self.0);
        let publication = publications.get_mut(name).filter(|publication| publication.stream == stream);
        let publication = publication.ok_or(Error::Aborted)?;
        publication.hold.resize(memory_of(&hashed))?;
        publication.hashed = Some(hashed);
        Ok(())
    }

    /// A stream ends: what it reserved goes, and what it completed if `completed` says so.
    fn abandon(&self, name: &Name, stream: u64, completed: Completed) {
        let mut publications = lock(&self.0);
        let goes = |known: &Publication| known.hashed.is_none() || completed == Completed::Goes;
        if publications.get(name).is_some_and(|known| known.stream == stream && goes(known)) {
            publications.remove(name);
        }
    }
}

/// What content information takes in memory.
fn memory_of(hashed: &Hashed) -> u64 {
    let each = [&hashed.v1, &hashed.v2].into_iter().flatten();
    each.map(|information| (size_of_val(information.segments()) + information.emit().len()) as u64).sum()
}

impl Instance {
    /// PeerDistServerPublishStream: reserves an identifier for this user and takes the bytes of a content. `length` in
    /// bytes must be what is added in all; 0 where it is not known yet.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::InvalidParameter`] for an empty or overlong identifier, [`Error::Disabled`],
    /// [`Error::ServiceUnavailable`], [`Error::Quota`].
    pub fn server_publish_stream(
        &self,
        identifier: &[u8],
        length: u64,
        options: PublicationOptions,
    ) -> Result<Stream, Error> {
        check_identifier(identifier)?;
        // First, so that what happens from here on ends it.
        let life = self.life(Some(self.until_unpublished(identifier)));
        self.available()?;
        let api = &self.0.api.0;
        let secret = self.0.api.secret()?;
        let handle = api.users.hold(self.0.user, Kind::Content, 0)?;
        let publication = api.users.hold(self.0.user, Kind::Publication, 0)?;
        let name = (self.0.user, identifier.to_vec());
        let number = api.next_instance.fetch_add(1, Ordering::Relaxed);
        api.publications.reserve(name.clone(), self.0.number, number, publication)?;
        let options = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: options == PublicationOptions::Version2 };
        let (pieces, waiting) = mpsc::channel(MAX_WAITING);
        let (done, hashed) = watch::channel(None);
        tokio::spawn(hash(Hasher::new(options, secret), waiting, done));
        Ok(Stream {
            life,
            instance: self.clone(),
            name,
            number,
            length,
            adding: tokio::sync::Mutex::new(Adding { pieces: Some(pieces), added: 0, completed: false }),
            hashed,
            _hold: handle,
        })
    }

    /// PeerDistServerUnpublish: takes a publication of this user's back, whichever instance made it. Operations of this
    /// instance on it end with [`Error::Aborted`], and its handles can only be closed from then on.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidParameter`], [`Error::Disabled`], [`Error::ServiceUnavailable`].
    pub fn server_unpublish(&self, identifier: &[u8]) -> Result<(), Error> {
        self.available()?;
        check_identifier(identifier)?;
        let name = (self.0.user, identifier.to_vec());
        let removed = lock(&self.0.api.0.publications.0).remove(&name);
        let token = lock(&self.0.unpublished).remove(identifier);
        if let Some(token) = token.and_then(|token| token.upgrade()) {
            token.cancel();
        }
        removed.map(drop).ok_or(Error::NotFound)
    }

    /// The identifiers of this user's finished publications, with their lengths in bytes.
    #[must_use]
    pub fn publications(&self) -> Vec<(Vec<u8>, u64)> {
        let publications = lock(&self.0.api.0.publications.0);
        let own = publications.iter().filter(|((user, _), _)| *user == self.0.user);
        let mut own: Vec<_> = own
            .filter_map(|((_, name), publication)| Some((name.clone(), publication.hashed.as_ref()?.length)))
            .collect();
        own.sort();
        own
    }

    /// Cancelled when this instance takes the publication back.
    pub(super) fn until_unpublished(&self, identifier: &[u8]) -> Arc<CancellationToken> {
        let mut unpublished = lock(&self.0.unpublished);
        if let Some(token) = unpublished.get(identifier).and_then(Weak::upgrade) {
            return token;
        }
        unpublished.retain(|_, token| token.strong_count() > 0);
        let token = Arc::default();
        unpublished.insert(identifier.to_vec(), Arc::downgrade(&token));
        token
    }
}

pub(super) fn check_identifier(identifier: &[u8]) -> Result<(), Error> {
    if identifier.is_empty() || identifier.len() > MAX_IDENTIFIER_SIZE {
        return Err(Error::InvalidParameter("an identifier has 1 to 4096 bytes"));
    }
    Ok(())
}

/// PEERDIST_STREAM_HANDLE: a content on its way to being published. Dropping it before it is complete takes the
/// reservation of its identifier back; afterwards the publication stays.
pub struct Stream {
    life: Life,
    instance: Instance,
    name: Name,
    number: u64,
    length: u64,
    adding: tokio::sync::Mutex<Adding>,
    hashed: watch::Receiver<Option<Result<Arc<Hashed>, Error>>>,
    _hold: Hold,
}

#[derive(Debug)]
struct Adding {
    pieces: Option<mpsc::Sender<Bytes>>,
    added: u64,
    completed: bool,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Stream {
    /// PeerDistServerPublishAddToStream: the next bytes of the content. One call at a time goes on, the others wait for
    /// their turn. Returns how many bytes were added in all.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] beyond the declared length, [`Error::AlreadyCompleted`]; nothing was added then.
    pub async fn server_publish_add_to_stream(&self, bytes: Bytes) -> Result<u64, Error> {
        self.add_at(None, bytes).await
    }

    /// The same for a caller who counts: fails with [`Error::InvalidParameter`] unless `position` bytes were added so
    /// far.
    pub async fn add_at(&self, position: Option<u64>, bytes: Bytes) -> Result<u64, Error> {
        let adding = async {
            let mut adding = self.adding.lock().await;
            let pieces = adding.pieces.as_ref().ok_or(Error::AlreadyCompleted)?;
            if position.is_some_and(|position| position != adding.added) {
                return Err(Error::InvalidParameter("the stream is at another position"));
            }
            let added = adding.added + bytes.len() as u64;
            if self.length != 0 && added > self.length {
                return Err(Error::OutOfBounds("more bytes than were declared"));
            }
            let room = pieces.reserve().await.map_err(|_| Error::Internal("the hasher ended".to_owned()))?;
            // From here on nothing waits, so that a cancelled call added all of its bytes or none.
            room.send(bytes);
            adding.added = added;
            Ok(added)
        };
        self.life.run(adding).await
    }

    /// PeerDistServerPublishCompleteStream: publishes. Returns the content's length in bytes. Where it is cancelled, the
    /// stream can be completed once more.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] where less was added than declared, [`Error::InvalidParameter`] for an empty content, which
    /// content information cannot describe, [`Error::AlreadyCompleted`].
    pub async fn server_publish_complete_stream(&self) -> Result<u64, Error> {
        let completing = async {
            let mut adding = self.adding.lock().await;
            if adding.completed {
                return Err(Error::AlreadyCompleted);
            }
            if self.length != 0 && adding.added < self.length {
                return Err(Error::OutOfBounds("fewer bytes than were declared"));
            }
            if adding.added == 0 {
                return Err(Error::InvalidParameter("an empty content cannot be published"));
            }
            adding.pieces = None;
            let mut hashed = self.hashed.clone();
            let ended = hashed.wait_for(Option::is_some).await.ok().and_then(|hashed| hashed.clone());
            let hashed = ended.unwrap_or_else(|| Err(Error::Internal("the hasher ended".to_owned())))?;
            let length = hashed.length;
            self.instance.0.api.0.publications.publish(&self.name, self.number, hashed)?;
            adding.completed = true;
            Ok(length)
        };
        self.life.run(completing).await
    }

    /// PeerDistServerCloseStreamHandle, where others may be using the stream: their operations end with
    /// [`Error::Aborted`].
    pub fn close(&self) {
        self.end(Completed::Stays);
    }

    /// [`Self::close`] for a caller who was not told that the stream is complete: its publication goes even if it is.
    pub fn cancel(&self) {
        self.end(Completed::Goes);
    }

    fn end(&self, completed: Completed) {
        self.life.close();
        self.instance.0.api.0.publications.abandon(&self.name, self.number, completed);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

/// Hashes pieces in their order, away from threads that must not wait.
async fn hash(
    mut hasher: Hasher,
    mut pieces: mpsc::Receiver<Bytes>,
    done: watch::Sender<Option<Result<Arc<Hashed>, Error>>>,
) {
    let panicked = || Error::Internal("the hasher failed".to_owned());
    while let Some(piece) = pieces.recv().await {
        let mut more = vec![piece];
        while let Ok(piece) = pieces.try_recv() {
            more.push(piece);
        }
        let hashed = tokio::task::spawn_blocking(move || {
            more.iter().for_each(|piece| hasher.update(piece));
            hasher
        });
        let Ok(back) = hashed.await else {
            done.send_replace(Some(Err(panicked())));
            return;
        };
        hasher = back;
    }
    // Nobody waits for a stream that was closed.
    if done.is_closed() {
        return;
    }
    let finished = tokio::task::spawn_blocking(move || hasher.finish()).await;
    let result = match finished {
        Ok(finished) => finished.map(Arc::new).map_err(|error| Error::Internal(error.to_string())),
        Err(_) => Err(panicked()),
    };
    done.send_replace(Some(result));
}
