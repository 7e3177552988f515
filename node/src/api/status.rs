//! The status of the service: PeerDistGetStatus(Ex), and the notifications of its changes.

use serde::{Deserialize, Serialize};

use super::{Api, Instance};

/// PEERDIST_STATUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum Status {
    /// Turned off, by the feature or the configuration.
    Disabled = 0,
    /// Not there yet, or on its way out.
    Unavailable = 1,
    /// At work.
    Available = 2,
}

/// PEERDIST_STATUS_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusInfo {
    /// The status.
    pub status: Status,
    /// The oldest version of content information that is handled.
    pub min_version: u32,
    /// The newest one.
    pub max_version: u32,
}

impl StatusInfo {
    /// The information that goes with a status.
    #[must_use]
    pub fn of(status: Status) -> Self {
        Self { status, min_version: 1, max_version: 2 }
    }
}

/// PeerDistRegisterForStatusChangeNotification, again and again: see [`Self::changed`].
#[derive(Debug)]
pub struct StatusChanges {
    watch: tokio::sync::watch::Receiver<StatusInfo>,
    notified: Status,
}

impl StatusChanges {
    /// The status as soon as it differs from the one that was told last; the first time, from [`Status::Disabled`]. A
    /// change and its undoing between two calls are not seen. `None` when the API is gone.
    pub async fn changed(&mut self) -> Option<StatusInfo> {
        let notified = self.notified;
        let info = *self.watch.wait_for(|info| info.status != notified).await.ok()?;
        self.notified = info.status;
        Some(info)
    }
}

impl Api {
    /// The changes of the status from now on.
    #[must_use]
    pub fn status_changes(&self) -> StatusChanges {
        StatusChanges { watch: self.0.status.subscribe(), notified: Status::Disabled }
    }
}

impl Instance {
    /// PeerDistGetStatusEx: works in every status.
    #[must_use]
    pub fn status(&self) -> StatusInfo {
        self.0.api.status()
    }
}
