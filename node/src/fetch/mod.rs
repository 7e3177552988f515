//! Fetching: whom to ask for which block, when to give up, and why.
//!
//! | module | what it does |
//! |---|---|
//! | [`peers`] | what the node knows of the hosts around it |
//! | [`plan`] | which peer is asked for which block of a content next |
//! | [`why`] | what happened, for people to read |
//!
//! The pure parts know no clock: every moment is a [`Duration`](std::time::Duration) since a start of the caller's.

pub mod peers;
pub mod plan;
#[cfg(test)]
mod sim;
pub mod why;

/// A point in time, as the time since an arbitrary start that the caller chose once.
pub type Moment = std::time::Duration;
