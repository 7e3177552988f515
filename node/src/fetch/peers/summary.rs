//! Hosts of the book, for people to read.

use std::net::SocketAddr;

use serde::Serialize;

use super::host::{Host, Standing};
use super::outages::OutCause;
use crate::fetch::Moment;

/// One host of the book, for people to read.
#[derive(Debug, Clone, Serialize)]
pub struct PeerSummary {
    /// Where it can be asked; the first one that works is used.
    pub addresses: Vec<SocketAddr>,
    /// Blocks and lists that it delivered.
    pub delivered: u64,
    /// Requests under way.
    pub in_flight: u32,
    /// Requests that it may have at once.
    pub limit: u32,
    /// How long a request takes, in milliseconds, where it answered any.
    pub latency_ms: Option<u64>,
    /// Why it is not asked now.
    pub out: Option<OutCause>,
    /// For how many more seconds.
    pub out_for_s: Option<u64>,
    /// Whether it was out and has not delivered anything since.
    pub on_probation: bool,
}

impl PeerSummary {
    pub(super) fn of(host: &Host, now: Moment) -> Self {
        let out = match host.standing(now) {
            Standing::Out { until, cause } => Some((cause, until.saturating_sub(now).as_secs())),
            _ => None,
        };
        Self {
            addresses: host.addresses.clone(),
            delivered: host.delivered(),
            in_flight: host.in_flight(),
            limit: host.limit(),
            latency_ms: host.latency().map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
            out: out.map(|(cause, _)| cause),
            out_for_s: out.map(|(_, seconds)| seconds),
            on_probation: host.is_on_probation(),
        }
    }
}
