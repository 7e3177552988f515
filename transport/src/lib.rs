//! Retrieval (MS-PCCRR), hosted cache offers (MS-PCHC) and content information (MS-PCCRTP) over HTTP, on tokio.
//!
//! | module | what it does |
//! |---|---|
//! | [`retrieval`] | asks peers for blocks, and answers peers that ask |
//! | [`hosted_cache`] | what offers to hosted caches need beside the server: the certificate, and the client |
//! | [`content_server`] | a folder or another HTTP server, with content information for whoever understands it |
//! | [`origin`] | the downloader's HTTP client: content information, missing data, plain bodies |
//! | [`hashing`] | files to content information, on several threads |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod content_server;
mod excess;
pub mod hashing;
pub mod hosted_cache;
mod http_client;
pub mod origin;
pub mod retrieval;
