//! A client of hosted caches, with real sockets: whom it asks, what it offers, and what it does when they fail.
#![allow(clippy::unwrap_used)]

mod answers;
mod fetching;
#[path = "../logged/mod.rs"]
mod logged;
mod offering;
mod outages;
mod support;
mod whole;
