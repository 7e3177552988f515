//! The cases of the PeerDist API whose outcome the documentation leaves open: what we chose, pinned. Their ids are those
//! of the project's list; what is documented is in the suite `documented`.
#![allow(unsafe_code, reason = "calls the exported functions")]
#![allow(clippy::unwrap_used)]

mod arguments;
mod block_read;
mod cancel;
mod client;
mod completion;
mod data;
mod handles;
mod information;
mod instance;
mod notification;
mod process;
mod publication;
mod ranges;
mod results;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod users;
