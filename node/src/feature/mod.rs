//! The features that the DISM subset turns on and off, and the file that keeps their states.
//!
//! DISM is the layer of Windows that installs the component behind the PeerDist API. Two features of its name space
//! belong to that component: `PeerDist`, without which the API is disabled, and `SMBHashGeneration`. No document says how
//! they hang together; here `PeerDist` is the parent.

mod file;
mod live;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use file::{DEFAULT_PATH, FeatureFile, FeatureFileError, MAX_FILE_SIZE};
pub use live::Features;

/// A feature of the component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Feature {
    /// The node takes part: fetches, serves, and answers the PeerDist API. Server Manager calls it BranchCache.
    PeerDist,
    /// Hash publication for file shares. This node serves no shares, so it has no effect beyond its state.
    #[serde(rename = "SMBHashGeneration")]
    SmbHashGeneration,
}

impl Feature {
    /// Every feature, parents first.
    pub const ALL: [Self; 2] = [Self::PeerDist, Self::SmbHashGeneration];

    /// The feature of this name; case does not matter. `BranchCache` is another name of [`Self::PeerDist`].
    pub fn find(name: &str) -> Result<Self, FeatureError> {
        if name.eq_ignore_ascii_case("BranchCache") {
            return Ok(Self::PeerDist);
        }
        let named = Self::ALL.into_iter().find(|feature| feature.name().eq_ignore_ascii_case(name));
        named.ok_or_else(|| FeatureError::UnknownFeature { name: name.to_owned() })
    }

    /// Its name in DISM.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerDist => "PeerDist",
            Self::SmbHashGeneration => "SMBHashGeneration",
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn display_name(self) -> &'static str {
        match self {
            Self::PeerDist => "BranchCache",
            Self::SmbHashGeneration => "BranchCache for network files",
        }
    }

    /// What it is for.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::PeerDist => "Takes content from hosts of the LAN that have it already, and passes it on to others.",
            Self::SmbHashGeneration => "Publishes content information of shared files. No effect here: no shares.",
        }
    }

    /// The feature that has to be on for this one.
    #[must_use]
    pub const fn parent(self) -> Option<Self> {
        match self {
            Self::PeerDist => None,
            Self::SmbHashGeneration => Some(Self::PeerDist),
        }
    }

    fn children(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |feature| feature.parent() == Some(self))
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// DismPackageFeatureState: those of its values that occur here, where nothing waits for a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureState {
    /// There, and off.
    Staged = 2,
    /// On.
    Installed = 4,
}

/// DismRestartType: what a change of a feature asks for, of which nothing but the first value occurs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartType {
    /// A change holds at once.
    No = 0,
}

/// Why features were not changed. The caller's fault, except for the last.
#[derive(Debug, Error)]
pub enum FeatureError {
    /// There is no such feature.
    #[error("there is no feature {name:?}, only PeerDist (or BranchCache) and SMBHashGeneration")]
    UnknownFeature {
        /// What was asked for.
        name: String,
    },
    /// A feature was to be enabled whose parent is off.
    #[error("{feature} needs {parent}, which is disabled: enable it too, or all that is needed")]
    ParentDisabled {
        /// What was to be enabled.
        feature: Feature,
        /// What it needs.
        parent: Feature,
    },
    /// No feature was named.
    #[error("no feature is named")]
    NoneNamed,
    /// The states cannot be read or kept.
    #[error(transparent)]
    File(#[from] FeatureFileError),
}

/// Which features are installed. A feature never is without its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSet(BTreeSet<Feature>);

/// What a host has that never changed anything: it was set up to take part.
impl Default for FeatureSet {
    fn default() -> Self {
        Self([Feature::PeerDist].into())
    }
}

impl fmt::Display for FeatureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|feature| feature.name()).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(" "))
    }
}

impl FeatureSet {
    /// These features, unless one of them lacks its parent.
    fn of(installed: BTreeSet<Feature>) -> Result<Self, FeatureError> {
        for feature in &installed {
            if let Some(parent) = feature.parent().filter(|parent| !installed.contains(parent)) {
                return Err(FeatureError::ParentDisabled { feature: *feature, parent });
            }
        }
        Ok(Self(installed))
    }

    /// Whether the feature is installed.
    #[must_use]
    pub fn is_installed(&self, feature: Feature) -> bool {
        self.0.contains(&feature)
    }

    /// The set with these features too: all of them or, with an error, none. A parent has to be on already or among the
    /// names, in any order, unless `with_parents` enables those as well.
    pub fn enable<N: AsRef<str>>(&self, names: &[N], with_parents: bool) -> Result<Self, FeatureError> {
        let mut installed = self.0.clone();
        for feature in find_all(names)? {
            installed.insert(feature);
            if with_parents {
                installed.extend(std::iter::successors(feature.parent(), |parent| parent.parent()));
            }
        }
        Self::of(installed)
    }

    /// The set without these features: all of them or, with an error, none. What needs one of them goes with it, as it
    /// does in DISM.
    pub fn disable<N: AsRef<str>>(&self, names: &[N]) -> Result<Self, FeatureError> {
        let mut installed = self.0.clone();
        let mut unwanted = find_all(names)?;
        while let Some(feature) = unwanted.pop() {
            installed.remove(&feature);
            unwanted.extend(feature.children());
        }
        Ok(Self(installed))
    }

    /// Every feature, installed or not.
    #[must_use]
    pub fn list(&self) -> Vec<FeatureInfo> {
        let info = |feature: Feature| FeatureInfo {
            name: feature,
            state: if self.is_installed(feature) { FeatureState::Installed } else { FeatureState::Staged },
            parent: feature.parent(),
            display_name: feature.display_name().to_owned(),
            description: feature.description().to_owned(),
            restart_required: RestartType::No,
        };
        Feature::ALL.map(info).into()
    }
}

fn find_all<N: AsRef<str>>(names: &[N]) -> Result<Vec<Feature>, FeatureError> {
    if names.is_empty() {
        return Err(FeatureError::NoneNamed);
    }
    names.iter().map(|name| Feature::find(name.as_ref())).collect()
}

/// What is told of a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureInfo {
    /// Its name in DISM.
    pub name: Feature,
    /// Whether it is on.
    pub state: FeatureState,
    /// What has to be on for it.
    pub parent: Option<Feature>,
    /// Its name for people.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Whether a change waits for a restart.
    pub restart_required: RestartType,
}
