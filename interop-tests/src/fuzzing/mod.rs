//! What the fuzzers run: for every parser of bytes from outside, and for both machines of discovery, a function that
//! takes any bytes and panics where a promise is broken.
//!
//! The programs of `interop-tests/fuzz` call them with the bytes that libFuzzer chooses; an ordinary test calls them
//! with [`seeds()`], with the inputs kept in `interop-tests/fuzz/regressions`, and with [`mutate()`]d ones.

mod capture;
mod content;
mod conversation;
mod datagram;
mod discovery_client;
mod discovery_server;
mod hosted_cache;
mod http;
mod message;
mod mutate;
mod retrieval;
mod schema;
mod seeds;
mod store;
mod text;

pub use mutate::mutate;
pub use seeds::seeds;

/// A function that fuzzers run.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of the program in `interop-tests/fuzz/fuzz_targets` too.
    pub name: &'static str,
    /// Takes any bytes; panics where a promise is broken.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 12] = [
    Target { name: "capture", run: capture::run },
    Target { name: "content", run: content::run },
    Target { name: "conversation", run: conversation::run },
    Target { name: "datagram", run: datagram::run },
    Target { name: "discovery_client", run: discovery_client::run },
    Target { name: "discovery_server", run: discovery_server::run },
    Target { name: "hosted_cache", run: hosted_cache::run },
    Target { name: "http", run: http::run },
    Target { name: "retrieval", run: retrieval::run },
    Target { name: "schema", run: schema::run },
    Target { name: "store", run: store::run },
    Target { name: "text", run: text::run },
];

/// Runs the target of this name. Panics where there is none, or where it does.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(bytes);
}
