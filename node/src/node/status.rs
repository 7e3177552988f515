//! What a node says about itself: `peerdist status`, and from the same numbers the metrics.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use peerdist_discovery::{Family, InterfaceState, SocketState};
use peerdist_transport::retrieval::server::ServerCounters;
use serde::Serialize;

use super::Inner;
use crate::config::Mode;
use crate::fetch::FetchCounters;
use crate::hosted_cache::HostedCacheStatus;
use crate::hosted_client::HostedClientStatus;
use crate::store::StoreStats;

/// A node's state and everything it counted since it started.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStatus {
    /// Whom the node works with.
    pub mode: Mode,
    /// How long it has been running, in seconds.
    pub uptime_seconds: u64,
    /// Where peers may fetch blocks.
    pub listeners: Vec<SocketAddr>,
    /// Probes, answers, and the interfaces they take; `None` where peers are not looked for.
    pub discovery: Option<DiscoveryStatus>,
    /// Offers and what came of them; `None` where the node is no hosted cache.
    pub hosted_cache: Option<HostedCacheStatus>,
    /// What was served to peers.
    pub serving: ServingStatus,
    /// What was fetched.
    pub fetching: FetchCounters,
    /// The hosted caches of a hosted client; `None` in other modes.
    pub hosted_client: Option<HostedClientStatus>,
    /// The cache.
    pub cache: StoreStats,
}

/// Discovery's part of the status. Reasons are those of [`peerdist_protocol::discovery::DropReason`].
#[derive(Debug, Clone, Serialize)]
pub struct DiscoveryStatus {
    /// One entry an interface and family.
    pub interfaces: Vec<InterfaceStatus>,
    /// Probe datagrams sent: a Probe counts once for each copy, interface and family.
    pub probes_sent: u64,
    /// Probe datagrams that could not be sent.
    pub probes_not_sent: u64,
    /// Answers to own Probes that were taken.
    pub answers_taken: u64,
    /// Answers to own Probes that were dropped, by reason.
    pub answers_dropped: BTreeMap<&'static str, u64>,
    /// Probes of other hosts, by what became of them.
    pub probes_heard: BTreeMap<&'static str, u64>,
    /// Datagrams to the discovery port that were dropped, by reason.
    pub probes_dropped: BTreeMap<&'static str, u64>,
    /// Answers sent.
    pub answers_sent: u64,
    /// Answers that could not be sent.
    pub answers_not_sent: u64,
    /// Errors of sockets while receiving.
    pub receive_errors: u64,
    /// Overheard Probes and matches that found no room on their way to the node.
    pub events_lost: u64,
}

/// Discovery on one interface, in one family.
#[derive(Debug, Clone, Serialize)]
pub struct InterfaceStatus {
    /// The interface's name.
    pub name: String,
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// This host's address there.
    pub address: IpAddr,
    /// Whether Probes of others are heard: `ok`, or why not.
    pub listening: String,
    /// Whether own Probes can be sent: `ok`, or why not.
    pub probing: String,
}

/// The retrieval server's part of the status. Reasons of discarded requests are those of
/// [`peerdist_protocol::retrieval::MessageError`].
#[derive(Debug, Clone, Serialize)]
pub struct ServingStatus {
    /// Connections open now.
    pub open_connections: u64,
    /// Answers under way now that carry something.
    pub uploads: u64,
    /// Connections served.
    pub connections: u64,
    /// Connections closed at once because there were too many, in all or from one address.
    pub connections_refused: u64,
    /// HTTP requests.
    pub requests: u64,
    /// Blocks sent.
    pub blocks: u64,
    /// Bytes of them.
    pub block_bytes: u64,
    /// Empty answers because a block is not held.
    pub not_held: u64,
    /// Empty answers because there were too many uploads.
    pub busy: u64,
    /// Requests without an answer, by reason.
    pub discarded: BTreeMap<&'static str, u64>,
    /// Requests refused, by HTTP status.
    pub refused: BTreeMap<u16, u64>,
    /// Connections that met a time limit, by phase.
    pub timed_out: BTreeMap<&'static str, u64>,
}

impl NodeStatus {
    pub(super) fn of(node: &Inner) -> Self {
        let serving = node.server.counters();
        Self {
            mode: node.mode,
            uptime_seconds: node.started.elapsed().as_secs(),
            listeners: node.listeners.clone(),
            discovery: node.discovery.as_ref().map(DiscoveryStatus::of),
            hosted_cache: node.hosted_cache.as_ref().map(|role| role.status(&serving)),
            serving: serving.into(),
            fetching: node.fetcher.counters(),
            hosted_client: node.fetcher.hosted_client(),
            cache: node.store.stats(),
        }
    }
}

impl DiscoveryStatus {
    fn of(discovery: &peerdist_discovery::Discovery) -> Self {
        let counters = discovery.counters();
        Self {
            interfaces: discovery.interfaces().into_iter().map(InterfaceStatus::from).collect(),
            probes_sent: counters.probes_sent,
            probes_not_sent: counters.probes_not_sent,
            answers_taken: counters.answers_taken,
            answers_dropped: happened(counters.answers_dropped_by_reason()),
            probes_heard: happened(counters.probes_heard_by_outcome()),
            probes_dropped: happened(counters.probes_dropped_by_reason()),
            answers_sent: counters.answers_sent,
            answers_not_sent: counters.answers_not_sent,
            receive_errors: counters.receive_errors,
            events_lost: counters.overheard_lost + counters.matches_lost,
        }
    }
}

fn happened(by_reason: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<&'static str, u64> {
    by_reason.filter(|(_, count)| *count > 0).collect()
}

impl From<InterfaceState> for InterfaceStatus {
    fn from(state: InterfaceState) -> Self {
        let text = |state: SocketState| match state {
            SocketState::Open => "ok".to_owned(),
            SocketState::Failed(kind) => kind.to_string(),
        };
        Self {
            name: state.name,
            family: match state.family {
                Family::V4 => "ipv4",
                Family::V6 => "ipv6",
            },
            address: state.address,
            listening: text(state.listening),
            probing: text(state.probing),
        }
    }
}

impl From<ServerCounters> for ServingStatus {
    fn from(counters: ServerCounters) -> Self {
        Self {
            open_connections: counters.open_connections,
            uploads: counters.uploads,
            connections: counters.connections,
            connections_refused: counters.connections_over_limit + counters.connections_over_source_limit,
            requests: counters.requests,
            blocks: counters.blocks,
            block_bytes: counters.block_bytes,
            not_held: counters.not_held,
            busy: counters.busy,
            discarded: counters.discarded,
            refused: counters.refused,
            timed_out: counters.timed_out,
        }
    }
}
