//! Drives plans with discovery, the retrieval client and the store.
//!
//! | module | what it does |
//! |---|---|
//! | `node` | what all contents share; events of discovery |
//! | `content` | the handle of one content: reading and adding |
//! | `drive` | does what the plan of a content wants |
//! | `known` | content information as it comes |
//! | `staging` | added bytes that are no verified block yet |
//! | `work` | decrypting, hashing and storing, on threads that may wait |

mod content;
mod counters;
mod drive;
mod known;
mod node;
mod staging;
mod work;

pub use content::{AddContentInformationError, AddDataError, AddOutcome, Content, NextError, Read, VerifiedBytes};
pub use counters::FetchCounters;
pub use node::{ContentSummary, FetchConfig, Fetcher};
