//! The PeerDist API of peerdist.h, once: every door leads here.
//!
//! | module | functions of peerdist.h |
//! |---|---|
//! | `mod` | PeerDistStartup, PeerDistShutdown: [`Api`], [`Instance`] |
//! | [`status`] | PeerDistGetStatus(Ex), PeerDistRegisterForStatusChangeNotification(Ex) |
//! | [`publish`] | PeerDistServerPublishStream, ...AddToStream, ...CompleteStream, ...CloseStreamHandle, ...Unpublish |
//! | [`information`] | PeerDistServerOpenContentInformation(Ex), PeerDistServerRetrieveContentInformation |
//! | [`content`] | PeerDistClientOpenContent, ...AddContentInformation, ...CompleteContentInformation |
//! | [`read`] | PeerDistClientBlockRead, PeerDistClientStreamRead, PeerDistClientAddData |
//! | [`error`] | the error codes |
//! | [`quota`] | what one user may hold |
//!
//! What Windows does with a handle is done here by dropping its owner: dropping a [`Content`] closes it, dropping an
//! [`Instance`] shuts it down and takes its publications with it. An operation is a future; dropping that cancels it. An
//! operation under way on a handle that is closed elsewhere, or that a change of the status invalidates, ends with
//! [`Error::Aborted`] or [`Error::Invalidated`].
//!
//! A user is a uid. Publications, tags and quotas are of one user: another user's publication of the same identifier is
//! another publication.

mod ahead;
pub mod content;
pub mod error;
pub mod information;
mod life;
pub mod publish;
pub mod quota;
pub mod read;
pub mod status;

use std::collections::HashMap;
use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use peerdist_protocol::content::ServerSecret;
use peerdist_transport::content_server::secret::load_or_create;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use content::{Content, ContentInformationRange};
pub use error::Error;
pub use information::{ContentInfo, Wanted};
pub use publish::{PublicationOptions, Stream};
pub use quota::{Held, Quotas};
pub use read::{Outcome, StreamPosition};
pub use status::{Status, StatusChanges, StatusInfo};

use self::ahead::Room;
use self::life::Life;
use self::publish::Publications;
use self::quota::{Hold, Kind, Users};
use crate::node::Node;
use crate::store::Tag;

/// A user of the system, by uid.
pub type Uid = u32;
/// PEERDIST_CONTENT_TAG: 16 bytes that a client chooses for what it opens, to flush it by.
pub type ContentTag = [u8; 16];

/// The API of one node. Clones are the same.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    node: Node,
    /// The key file of what is published, and what is in it once somebody publishes.
    key: PathBuf,
    secret: OnceLock<ServerSecret>,
    /// Held while the key file is read or made: those who publish first may be several.
    loading: Mutex<()>,
    status: watch::Sender<StatusInfo>,
    /// Cancelled, and replaced, whenever the service goes: handles are of the time they were opened in.
    epoch: Mutex<CancellationToken>,
    users: Users,
    publications: Publications,
    next_instance: AtomicU64,
    room: Room,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("status", &*self.0.status.borrow()).finish_non_exhaustive()
    }
}

impl Api {
    /// The API of a running node, available at once. `key` is the file with Ks of [MS-PCCRC] for what is published; it is
    /// made when somebody publishes first.
    #[must_use]
    pub fn new(node: Node, key: PathBuf, quotas: Quotas) -> Self {
        let max_version = node.max_content_information_version();
        Self(Arc::new(Inner {
            node,
            key,
            secret: OnceLock::new(),
            loading: Mutex::default(),
            status: watch::Sender::new(StatusInfo { max_version, ..StatusInfo::of(Status::Available) }),
            epoch: Mutex::default(),
            users: Users::new(quotas),
            publications: Publications::default(),
            next_instance: AtomicU64::new(1),
            room: Room::default(),
        }))
    }

    /// PeerDistStartup: an instance for a user. Succeeds whatever the status is.
    ///
    /// # Errors
    /// [`Error::Quota`] where the user has too many.
    pub fn startup(&self, user: Uid) -> Result<Instance, Error> {
        let hold = self.0.users.hold(user, Kind::Session, 0)?;
        let number = self.0.next_instance.fetch_add(1, Ordering::Relaxed);
        Ok(Instance(Arc::new(Running {
            api: self.clone(),
            user,
            number,
            closed: CancellationToken::new(),
            unpublished: Mutex::default(),
            _hold: hold,
        })))
    }

    /// What the status is now.
    #[must_use]
    pub fn status(&self) -> StatusInfo {
        *self.0.status.borrow()
    }

    /// Moves the status. Where it is not [`Status::Available`] afterwards, every content, stream and content
    /// information handle is invalidated for good.
    pub fn set_status(&self, status: Status) {
        let changed = self.0.status.send_if_modified(|known| std::mem::replace(&mut known.status, status) != status);
        if changed && status != Status::Available {
            std::mem::take(&mut *lock(&self.0.epoch)).cancel();
        }
    }

    /// What users hold in all.
    #[must_use]
    pub fn held(&self) -> Held {
        self.0.users.held(self.0.publications.count())
    }

    /// Takes new quotas. What users hold beyond them stays theirs.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.0.users.set_quotas(quotas);
    }

    fn secret(&self) -> Result<&ServerSecret, Error> {
        if let Some(secret) = self.0.secret.get() {
            return Ok(secret);
        }
        let _loading = lock(&self.0.loading);
        if let Some(secret) = self.0.secret.get() {
            return Ok(secret);
        }
        let secret = load_or_create_in_folder(&self.0.key).map_err(|error| {
            tracing::warn!(%error, "nothing can be published");
            // Whoever publishes may well have the right that the daemon lacks.
            Error::Internal(format!("the daemon failed: {error}; `[control] publish_key` names the file"))
        })?;
        Ok(self.0.secret.get_or_init(|| secret))
    }

    fn available(&self) -> Result<(), Error> {
        match self.status().status {
            Status::Available => Ok(()),
            Status::Disabled => Err(Error::Disabled),
            Status::Unavailable => Err(Error::ServiceUnavailable),
        }
    }
}

/// PEERDIST_INSTANCE_HANDLE: what one program does. Clones are the same; dropping the last one is PeerDistShutdown, and
/// so is [`Self::shutdown`].
#[derive(Debug, Clone)]
pub struct Instance(Arc<Running>);

struct Running {
    api: Api,
    user: Uid,
    number: u64,
    closed: CancellationToken,
    /// What ends operations on a publication that this instance opened when this instance takes it back.
    unpublished: Mutex<HashMap<Vec<u8>, Weak<CancellationToken>>>,
    _hold: Hold,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("user", &self.user).field("number", &self.number).finish_non_exhaustive()
    }
}

impl Instance {
    /// PeerDistShutdown: cancels every operation, invalidates nothing but takes all publications of this instance back.
    pub fn shutdown(&self) {
        self.0.end();
    }

    /// The API that this is an instance of.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.0.api
    }

    /// The user that it is of.
    #[must_use]
    pub fn user(&self) -> Uid {
        self.0.user
    }

    /// Done when the instance was shut down.
    pub async fn ended(&self) {
        self.0.closed.cancelled().await;
    }

    /// PeerDistClientFlushContent: removes from the cache what was added under a tag of this user's. Returns how many
    /// blocks that were. Handles stay open; what they read from now on is missing.
    ///
    /// # Errors
    /// [`Error::Disabled`], [`Error::ServiceUnavailable`], [`Error::Internal`].
    pub async fn client_flush_content(&self, tag: ContentTag) -> Result<u64, Error> {
        let life = self.life(None);
        self.available()?;
        let store = self.0.api.0.node.store().clone();
        let tag = self.tag(tag);
        let flushed = tokio::task::spawn_blocking(move || store.remove_tag(tag));
        life.run(async {
            let flushed = flushed.await.map_err(|error| Error::Internal(error.to_string()))?;
            flushed.map_err(|error| Error::Internal(error.to_string()))
        })
        .await
    }

    /// The tag as the store knows it.
    fn tag(&self, tag: ContentTag) -> Tag {
        match (Tag { owner: self.0.user, bytes: tag }) {
            // That is what blocks without a tag have; nobody is this user.
            Tag::NONE => Tag { owner: Uid::MAX, bytes: tag },
            tag => tag,
        }
    }

    /// The life of a handle that is opened now, or of an operation of the instance.
    fn life(&self, unpublished: Option<Arc<CancellationToken>>) -> Life {
        Life::new(self.0.closed.child_token(), lock(&self.0.api.0.epoch).clone(), unpublished)
    }

    fn available(&self) -> Result<(), Error> {
        if self.0.closed.is_cancelled() {
            return Err(Error::InvalidHandle);
        }
        self.0.api.available()
    }
}

impl Running {
    fn end(&self) {
        self.closed.cancel();
        self.api.0.publications.remove_all(self.number);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// The folder is made where there is none, for its owner alone.
fn load_or_create_in_folder(key: &Path) -> Result<ServerSecret, String> {
    if let Some(folder) = key.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    }
    load_or_create(key).map_err(|error| error.to_string())
}

/// No critical section leaves its data half changed, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Mode};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn several_may_publish_first_where_there_is_no_folder_for_the_key() {
        let home = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.mode = Mode::Local;
        config.cache.dir = home.path().join("cache");
        let quotas = Quotas::from(&config.control);
        let node = Node::start(config).await.unwrap();
        for round in 0..20 {
            let api = Api::new(node.clone(), home.path().join(format!("state{round}/publish.key")), quotas);
            let barrier = Arc::new(std::sync::Barrier::new(4));
            let publishing: Vec<_> = (0..4)
                .map(|number: u8| {
                    let (instance, barrier) = (api.startup(1).unwrap(), Arc::clone(&barrier));
                    tokio::task::spawn_blocking(move || {
                        barrier.wait();
                        let stream = instance.server_publish_stream(&[number], 0, PublicationOptions::default());
                        stream.map(drop)
                    })
                })
                .collect();
            for stream in publishing {
                assert_eq!(stream.await.unwrap(), Ok(()));
            }
        }
        node.stop().await;
    }
}
