//! Multicast discovery on tokio: sockets, interfaces and timers around `peerdist_protocol::discovery`.
//!
//! [`Discovery::start`] opens two sockets for each interface and family, one that hears the Probes of others and one
//! that Probes are sent from, and runs both machines of MS-PCCRD in one task. What it finds out comes as [`Event`]s.
//! A socket that cannot be opened is logged once, shown in [`InterfaceState`] and tried again; it ends nothing else.

mod changes;
mod config;
mod counters;
mod driver;
mod engine;
mod handle;
mod interfaces;
mod port;
mod tapped;

pub use config::{Config, Interfaces};
pub use counters::Counters;
pub use handle::{Discovery, Event, ProbeError, StartError};
pub use port::{Family, InterfaceState, SocketState};

use std::sync::Arc;

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::Held;

/// Says what is held of a segment. Called from the discovery task for every id of every Probe: it must not wait.
pub type Lookup = Arc<dyn Fn(&SegmentId) -> Option<Held> + Send + Sync>;
