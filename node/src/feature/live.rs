//! The features of a running daemon: what the file said at the start, and every change since.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Feature, FeatureError, FeatureFile, FeatureFileError, FeatureInfo, FeatureSet};

/// The features of this daemon. Clones are the same features.
#[derive(Debug, Clone)]
pub struct Features(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: FeatureFile,
    state: Mutex<State>,
}

struct State {
    set: FeatureSet,
    /// Whoever does what the features say.
    follower: Option<Box<dyn Fn(bool) + Send>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("set", &self.set).finish_non_exhaustive()
    }
}

impl Features {
    /// Reads the states from the file at `path`, where changes will be kept.
    pub fn open(path: &Path) -> Result<Self, FeatureFileError> {
        let file = FeatureFile::new(path);
        let set = file.load()?;
        Ok(Self(Arc::new(Inner { file, state: Mutex::new(State { set, follower: None }) })))
    }

    /// Whether PeerDist is installed: whether the node is to take part.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.lock().is_on()
    }

    /// Has [`Self::is_on`] followed: `follower` is told now, and at each change before that returns. There is one.
    pub fn follow(&self, follower: impl Fn(bool) + Send + 'static) {
        let mut state = self.lock();
        follower(state.is_on());
        state.follower = Some(Box::new(follower));
    }

    /// Every feature, installed or not.
    #[must_use]
    pub fn list(&self) -> Vec<FeatureInfo> {
        self.lock().set.list()
    }

    /// Enables features as [`FeatureSet::enable`] does, and lists what is then. Writes a file.
    pub fn enable<N: AsRef<str>>(&self, names: &[N], with_parents: bool) -> Result<Vec<FeatureInfo>, FeatureError> {
        self.change(|set| set.enable(names, with_parents))
    }

    /// Disables features as [`FeatureSet::disable`] does, and lists what is then. Writes a file.
    pub fn disable<N: AsRef<str>>(&self, names: &[N]) -> Result<Vec<FeatureInfo>, FeatureError> {
        self.change(|set| set.disable(names))
    }

    fn change(
        &self,
        change: impl FnOnce(&FeatureSet) -> Result<FeatureSet, FeatureError>,
    ) -> Result<Vec<FeatureInfo>, FeatureError> {
        // Held until the follower knows, so that it sees changes in the order of the file's.
        let mut state = self.lock();
        let was_on = state.is_on();
        // From the file: a command may have changed it while this daemon ran.
        state.set = self.0.file.change(change)?;
        tracing::info!(installed = %state.set, "features");
        let is_on = state.is_on();
        if is_on != was_on
            && let Some(follower) = &state.follower
        {
            follower(is_on);
        }
        Ok(state.set.list())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_on(&self) -> bool {
        self.set.is_installed(Feature::PeerDist)
    }
}
