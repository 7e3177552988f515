//! Fetching: whom to ask for which block, when to give up, and why.
//!
//! | module | what it does |
//! |---|---|
//! | [`peers`] | what the node knows of the hosts around it |
//! | [`plan`] | which peer is asked for which block of a content next |
//! | [`why`] | what happened, for people to read |
//! | `task` | drives plans with discovery, the retrieval client and the store: [`Fetcher`], [`Content`] |
//!
//! The pure parts know no clock: every moment is a [`Duration`](std::time::Duration) since a start of the caller's.

pub mod peers;
pub mod plan;
#[cfg(test)]
mod sim;
mod task;
pub mod why;

pub use task::{
    AddContentInformationError, AddDataError, AddOutcome, Content, ContentSummary, FetchConfig, FetchCounters, Fetcher,
    NextError, Read, VerifiedBytes,
};
pub use why::{Explanation, MissingReason, Source, Sources};

/// A point in time, as the time since an arbitrary start that the caller chose once.
pub type Moment = std::time::Duration;
