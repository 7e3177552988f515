//! The BranchCache (PeerDist) protocols without I/O.
//!
//! Every byte format, every rule and every hash of MS-PCCRC, MS-PCCRR, MS-PCCRD, MS-PCHC and MS-PCCRTP, and nothing
//! else: no clock, no randomness, no sockets, no files, no logging. Time and randomness are arguments.
//!
//! | module | document |
//! |---|---|
//! | [`content`] | MS-PCCRC, content information, key derivation, blocks |
//! | [`retrieval`] | MS-PCCRR, the eight messages of block retrieval |
//! | [`discovery`] | MS-PCCRD, Probe and ProbeMatches and their two state machines |
//! | [`hosted_cache`] | MS-PCHC, the offers that a client makes to a hosted cache |
//! | [`http`] | MS-PCCRTP, the `peerdist` content coding of HTTP |
//! | [`schema`] | the structures of all five as data: any message taken apart and put together |
//! | [`wire`] | the cursor under all binary codecs |
//! | [`crypto`] | the only file that names hash, HMAC and cipher crates |
//!
//! The document modules use `content`, `wire` and `crypto`, never each other; `schema` alone looks at several. Where this crate departs from a
//! document's letter, `SPEC-NOTES.md` says so and why.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod content;
pub mod crypto;
pub mod discovery;
pub mod hosted_cache;
pub mod http;
pub mod retrieval;
pub mod schema;
pub mod wire;
