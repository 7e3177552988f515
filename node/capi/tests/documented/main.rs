//! The cases of the PeerDist API whose outcome is documented. Their ids are those of the project's list; what the
//! documentation leaves open and we chose is in the suite `chosen`.
#![allow(unsafe_code, reason = "calls the exported functions")]
#![allow(clippy::unwrap_used)]

mod block_read;
mod cancel;
mod client;
mod completion;
mod data;
mod information;
mod instance;
mod killed_client;
mod killed_daemon;
mod notification;
mod ports;
mod publication;
mod races;
mod ranges;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod users;
