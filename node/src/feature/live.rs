//! The features of a running daemon: what the file said at the start, and every change since.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Feature, FeatureError, FeatureFile, FeatureFileError, FeatureInfo, FeatureSet};

/// The features of this daemon. Clones are the same features.
#[derive(Debug, Clone)]
pub struct Features(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: FeatureFile,
    set: Mutex<FeatureSet>,
    is_on: watch::Sender<bool>,
}

impl Features {
    /// Reads the states from the file at `path`, where changes will be kept.
    pub fn open(path: &Path) -> Result<Self, FeatureFileError> {
        let file = FeatureFile::new(path);
        let set = file.load()?;
        let (is_on, _) = watch::channel(set.is_installed(Feature::PeerDist));
        Ok(Self(Arc::new(Inner { file, set: Mutex::new(set), is_on })))
    }

    /// Whether PeerDist is installed: whether the node is to take part.
    #[must_use]
    pub fn is_on(&self) -> bool {
        *self.0.is_on.borrow()
    }

    /// Follows [`Self::is_on`].
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.is_on.subscribe()
    }

    /// Every feature, installed or not.
    #[must_use]
    pub fn list(&self) -> Vec<FeatureInfo> {
        self.0.set.lock().unwrap_or_else(PoisonError::into_inner).list()
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
        // Held until the watchers know, so that they see changes in the order of the file's.
        let mut set = self.0.set.lock().unwrap_or_else(PoisonError::into_inner);
        // From the file: a command may have changed it while this daemon ran.
        *set = self.0.file.change(change)?;
        let is_on = set.is_installed(Feature::PeerDist);
        tracing::info!(installed = %set, "features");
        self.0.is_on.send_if_modified(|was_on| std::mem::replace(was_on, is_on) != is_on);
        Ok(set.list())
    }
}
