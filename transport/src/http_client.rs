//! What all HTTP clients here have in common.

use reqwest::{Client, ClientBuilder};

/// Builds a client. On a host without CA certificates it still speaks `http`, and trusts no `https` server.
pub(crate) fn build(configure: impl Fn(ClientBuilder) -> ClientBuilder) -> reqwest::Result<Client> {
    configure(Client::builder()).build().or_else(|error| {
        let client = configure(Client::builder().tls_certs_only([])).build()?;
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, "cannot verify https servers on this host: are there CA certificates?");
        Ok(client)
    })
}
