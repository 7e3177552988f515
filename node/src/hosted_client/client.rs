//! Sends offers, and says whose fault it is where one leads to nothing.

use peerdist_protocol::hosted_cache::{Offer, Response};
use thiserror::Error;

use super::queue::Failure;
use crate::config::{self, ServerName};

/// The certificates that a hosted client trusts cannot be used. The remedy is the administrator's.
#[derive(Debug, Error)]
#[error("hosted_client.trust")]
pub struct TrustError;

/// Why an offer led to nothing.
#[derive(Debug)]
pub(super) struct Fault {
    /// A short name, for counters.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) text: String,
    pub(super) failure: Failure,
}

#[derive(Debug)]
pub(super) struct OfferClient;

impl OfferClient {
    pub(super) fn new(_config: &config::HostedClient) -> Result<Self, TrustError> {
        Ok(Self)
    }

    pub(super) async fn offer(&self, _name: &ServerName, _port: u16, _offer: &Offer) -> Result<Response, Fault> {
        std::future::ready(()).await;
        Err(Fault { reason: "unreachable", text: "unreachable".to_owned(), failure: Failure::Passing })
    }
}
