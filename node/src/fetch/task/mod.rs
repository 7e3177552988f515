//! Drives plans with discovery, the retrieval client and the store.
//!
//! | module | what it does |
//! |---|---|
//! | `node` | what all contents share; events of discovery |
//! | `content` | the handle of one content: reading forward, and adding |
//! | `anywhere` | the same handle: reading at any place, and what is here already |
//! | `areas` | parts of a content that are read in any order |
//! | `crowd` | who else wants the same |
//! | `drive` | does what the plan of a content wants |
//! | `hosted` | asks hosted caches instead of the LAN |
//! | `known` | content information as it comes |
//! | `staging` | added bytes that are no verified block yet |
//! | `work` | decrypting, hashing and storing, on threads that may wait |

mod anywhere;
mod areas;
mod content;
mod counters;
mod crowd;
mod drive;
mod hosted;
mod known;
mod node;
mod staging;
mod work;

pub use content::{AddContentInformationError, AddDataError, AddOutcome, Content, NextError, Read, VerifiedBytes};
pub use counters::FetchCounters;
pub use node::{ContentSummary, FetchConfig, Fetcher};
