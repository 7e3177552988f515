//! The file that keeps the features' states: read with care, replaced at once.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use thiserror::Error;

use super::{Feature, FeatureError, FeatureSet};

/// Where the states are kept unless the configuration says otherwise.
pub const DEFAULT_PATH: &str = "/var/lib/peerdist/features.toml";

/// A larger file is refused: it holds a few lines.
pub const MAX_FILE_SIZE: u64 = 64 << 10;

/// Everybody may know which features are on.
const MODE: u32 = 0o644;

const HEAD: &str = "# The features of peerdist. `peerdist feature enable` and `disable` change them.\n";

/// Why the states could not be read or kept. For the administrator to mend.
#[derive(Debug, Error)]
pub enum FeatureFileError {
    /// The system refused.
    #[error("cannot {doing} the feature states in {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} does not hold feature states: {reason}", path.display())]
    Garbage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The root of the offline system cannot be used.
    #[error("{} is not the root of a system: {source}", path.display())]
    Root {
        /// What was given as the root.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A link in the offline system leads out of it.
    #[error("{} leads out of {}", path.display(), root.display())]
    OutsideRoot {
        /// Where the file would be.
        path: PathBuf,
        /// The root of the offline system.
        root: PathBuf,
    },
}

/// The file at a path. Missing, it stands for the default states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureFile {
    path: PathBuf,
}

/// What the file looks like. Features that it does not name have their default states.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileText {
    features: FeatureTable,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FeatureTable {
    #[serde(rename = "PeerDist")]
    peer_dist: Option<bool>,
    #[serde(rename = "SMBHashGeneration")]
    smb_hash_generation: Option<bool>,
}

impl FeatureFile {
    /// The file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file of the system whose root directory is `root`: the one that runs, or one that does not. Links in that
    /// system that lead out of it are refused; they would change another system.
    pub fn of_system(root: &Path) -> Result<Self, FeatureFileError> {
        let fail = |source| FeatureFileError::Root { path: root.to_owned(), source };
        let root = root.canonicalize().map_err(fail)?;
        if !root.is_dir() {
            return Err(fail(ErrorKind::NotADirectory.into()));
        }
        let path = root.join(DEFAULT_PATH.trim_start_matches('/'));
        let existing = path.ancestors().find_map(|part| fs::canonicalize(part).ok());
        if existing.is_none_or(|existing| !existing.starts_with(&root)) {
            return Err(FeatureFileError::OutsideRoot { path, root });
        }
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the states.
    pub fn load(&self) -> Result<FeatureSet, FeatureFileError> {
        match self.read() {
            Ok(text) => self.parse(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(FeatureSet::default()),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(self.garbage(&error)),
            Err(source) => Err(FeatureFileError::Io { doing: "read", path: self.path.clone(), source }),
        }
    }

    /// Replaces the states by what `change` makes of them, and returns that. Of two processes that do so at the same
    /// moment the later one wins.
    pub fn change(
        &self,
        change: impl FnOnce(&FeatureSet) -> Result<FeatureSet, FeatureError>,
    ) -> Result<FeatureSet, FeatureError> {
        let old = self.load()?;
        let new = change(&old)?;
        if new != old {
            self.store(&new)?;
        }
        Ok(new)
    }

    fn read(&self) -> io::Result<String> {
        let mut text = String::new();
        let size = fs::File::open(&self.path)?.take(MAX_FILE_SIZE + 1).read_to_string(&mut text)?;
        if size as u64 > MAX_FILE_SIZE {
            return Err(io::Error::new(ErrorKind::InvalidData, "it is too large"));
        }
        Ok(text)
    }

    fn parse(&self, text: &str) -> Result<FeatureSet, FeatureFileError> {
        let FileText { features } = toml::from_str(text).map_err(|error| self.garbage(&error.message()))?;
        let default = FeatureSet::default();
        let stated = |feature| match feature {
            Feature::PeerDist => features.peer_dist,
            Feature::SmbHashGeneration => features.smb_hash_generation,
        };
        let is_on = |feature: &Feature| stated(*feature).unwrap_or_else(|| default.is_installed(*feature));
        let installed: BTreeSet<_> = Feature::ALL.into_iter().filter(is_on).collect();
        FeatureSet::of(installed).map_err(|error| self.garbage(&error))
    }

    /// The new file takes the place of the old one when it is complete and on the disk.
    fn store(&self, set: &FeatureSet) -> Result<(), FeatureFileError> {
        let features = FeatureTable {
            peer_dist: Some(set.is_installed(Feature::PeerDist)),
            smb_hash_generation: Some(set.is_installed(Feature::SmbHashGeneration)),
        };
        // Two tables of truth values, which TOML can hold.
        let text = toml::to_string(&FileText { features }).unwrap_or_default();
        self.replace(&format!("{HEAD}{text}")).map_err(|source| FeatureFileError::Io {
            doing: "write",
            path: self.path.clone(),
            source,
        })
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(MODE))?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        fs::File::open(folder)?.sync_all()
    }

    fn garbage(&self, reason: &dyn ToString) -> FeatureFileError {
        FeatureFileError::Garbage { path: self.path.clone(), reason: reason.to_string() }
    }
}
