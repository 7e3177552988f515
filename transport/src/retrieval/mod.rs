//! Retrieval ([MS-PCCRR]) over HTTP: asking peers for blocks, and answering peers that ask.

pub mod client;
pub mod server;
