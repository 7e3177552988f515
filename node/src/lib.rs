//! The peerdist node: cache, fetch, serve, control plane, and the command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`api`] | the PeerDist API: sessions, publications, contents, status |
//! | [`store`] | encrypted blocks on disk, and which of them may be served |
//! | [`fetch`] | whom to ask for which block, and why |
//! | [`hosted_cache`] | takes offers of segments, fetches them and serves the branch |
//! | [`hosted_client`] | the hosted caches of a hosted client, and what it offers them |
//! | [`node`] | store, fetcher, discovery and retrieval server, put together |
//! | [`download`] | a URL's bytes: from the cache, from peers, from the origin |
//! | [`config`] | the TOML configuration |
//! | [`feature`] | what DISM turns on and off, and where its state is kept |
//! | [`control`] | HTTP over unix sockets: administration and the PeerDist API |
//! | [`decode`] | captures and bare messages taken apart, blocks in them decrypted |
//! | [`craft`] | messages made of JSON, and sent |
//! | [`capture`] | the node's own traffic as a capture |
//! | [`pcapng`] | captures written |
//! | [`scrub`] | captures without their secrets |
//! | [`daemon`] | orderly start, reload and stop of `peerdistd` |
//! | [`cli`] | the verbs of `peerdist` |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod capture;
pub mod cli;
pub mod config;
pub mod control;
pub mod craft;
pub mod daemon;
pub mod decode;
pub mod download;
pub mod feature;
pub mod fetch;
pub mod hosted_cache;
pub mod hosted_client;
pub mod node;
pub mod pcapng;
pub mod scrub;
pub mod store;
