//! Fetching: whom to ask for which block, when to give up, and why.
//!
//! | module | what it does |
//! |---|---|
//! | [`peers`] | what the node knows of the hosts around it |
//!
//! The pure parts know no clock: every moment is a [`Duration`](std::time::Duration) since a start of the caller's.

pub mod peers;

/// A point in time, as the time since an arbitrary start that the caller chose once.
pub type Moment = std::time::Duration;
