//! What a hosted client says about itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use super::HostedClient;
use super::servers::Counters;
use crate::config::Fallback;
use crate::fetch::peers::{OutCause, PeerSummary};

/// The hosted client's part of the status. `Display` tells it to people.
#[derive(Debug, Clone, Serialize)]
pub struct HostedClientStatus {
    /// The version of the offers: `1.0` or `2.0`.
    pub version: String,
    /// Where the rest comes from while no hosted cache can be reached.
    pub fallback: Fallback,
    /// Lists of segments that hosted caches were asked for and gave.
    pub lists: u64,
    /// Segments that they hold by these.
    pub segments_listed: u64,
    /// Verified blocks that they gave.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Offers, to all of them.
    pub offers: OffersStatus,
    /// Each of them, in the order of the configuration.
    pub servers: Vec<ServerStatus>,
}

/// Offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OffersStatus {
    /// Segments that wait to be offered.
    pub waiting: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages answered.
    pub answered: u64,
    /// Segments in them.
    pub segments: u64,
    /// Messages without a good answer, by reason.
    pub offers_failed: BTreeMap<&'static str, u64>,
    /// Segments that were not offered because too many waited.
    pub dropped: u64,
    /// Segments that were not offered because two attempts failed.
    pub given_up: u64,
    /// Segments that were not offered because the version cannot name them.
    pub not_expressible: u64,
}

/// One hosted cache.
#[derive(Debug, Clone, Serialize)]
pub struct ServerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where it was found last.
    pub addresses: Vec<SocketAddr>,
    /// Whether it speaks version 1.0 alone, so that it cannot be asked for lists of segments.
    pub has_no_list: bool,
    /// Why blocks are not asked for there now.
    pub out: Option<OutCause>,
    /// For how many more seconds.
    pub out_for_s: Option<u64>,
    /// Lists of segments that it was asked for and gave.
    pub lists: u64,
    /// Segments that it holds by these.
    pub segments_listed: u64,
    /// Verified blocks that it gave.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What went wrong when it was asked last; `None` where nothing did.
    pub last_error: Option<String>,
    /// Segments that wait to be offered to it.
    pub waiting: u64,
    /// Offers sent to it.
    pub offers_sent: u64,
    /// Offers that it answered.
    pub offers_answered: u64,
    /// Offers that it did not answer well, by reason.
    pub offers_failed: BTreeMap<&'static str, u64>,
    /// For how many more seconds it is made no offers, because the last one failed.
    pub no_offers_for_s: Option<u64>,
    /// What went wrong with the last offer; `None` where nothing did.
    pub last_offer_error: Option<String>,
}

impl HostedClient {
    /// What was done so far. `hosts` is what the peer book has of each server.
    #[must_use]
    pub fn status(&self, hosts: Vec<Option<PeerSummary>>) -> HostedClientStatus {
        let servers: Vec<_> = self
            .servers
            .iter()
            .zip(hosts)
            .enumerate()
            .map(|(index, (server, host))| {
                let Counters { lists, segments, blocks, bytes, last_error } = server.counters();
                let offers = self.offerer.counters(index);
                ServerStatus {
                    name: server.name().to_string(),
                    addresses: server.addresses(),
                    has_no_list: !self.has_lists() || server.has_no_list(),
                    out: host.as_ref().and_then(|host| host.out),
                    out_for_s: host.as_ref().and_then(|host| host.out_for_s),
                    lists,
                    segments_listed: segments,
                    blocks,
                    bytes,
                    last_error,
                    waiting: self.offerer.waiting(index),
                    offers_sent: offers.sent,
                    offers_answered: offers.answered,
                    offers_failed: offers.failed,
                    no_offers_for_s: self.offerer.rests_for(index).map(|rest| rest.as_secs()),
                    last_offer_error: offers.last_error,
                }
            })
            .collect();
        let sum = |number: fn(&ServerStatus) -> u64| servers.iter().map(number).sum();
        HostedClientStatus {
            version: self.version.to_string(),
            fallback: self.fallback,
            lists: sum(|server| server.lists),
            segments_listed: sum(|server| server.segments_listed),
            blocks: sum(|server| server.blocks),
            bytes: sum(|server| server.bytes),
            offers: self.offerer.status(),
            servers,
        }
    }
}

impl fmt::Display for HostedClientStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, fallback, offers, .. } = self;
        let fallback = match fallback {
            Fallback::Origin => "the origin",
            Fallback::Distributed => "peers, then the origin",
        };
        writeln!(f, "hosted client, offers of version {version}; without hosted caches: {fallback}")?;
        for server in &self.servers {
            write!(f, "{server}")?;
        }
        writeln!(
            f,
            "offers: {} answered of {} sent, {} segments; {} waiting, {} dropped, {} given up, {} not expressible",
            offers.answered,
            offers.sent,
            offers.segments,
            offers.waiting,
            offers.dropped,
            offers.given_up,
            offers.not_expressible
        )
    }
}

impl fmt::Display for ServerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let addresses = if addresses.is_empty() { "not looked up yet".to_owned() } else { addresses.join(", ") };
        let state = match (self.out, self.out_for_s) {
            (Some(OutCause::BadHash), Some(seconds)) => format!("out for {seconds} s: it sent wrong bytes"),
            (Some(OutCause::Failures), Some(seconds)) => format!("out for {seconds} s: it failed"),
            (Some(OutCause::KeptWaiting), Some(seconds)) => format!("out for {seconds} s: it kept readers waiting"),
            _ => "ready".to_owned(),
        };
        writeln!(f, "{} ({addresses}): {state}", self.name)?;
        let lists = if self.has_no_list {
            "no lists of segments (version 1.0)".to_owned()
        } else {
            format!("{} lists of segments, {} segments held", self.lists, self.segments_listed)
        };
        writeln!(f, "  fetched: {lists}, {} blocks, {} bytes", self.blocks, self.bytes)?;
        if let Some(error) = &self.last_error {
            writeln!(f, "  last error: {error}")?;
        }
        write!(
            f,
            "  offers: {} answered of {} sent, {} segments waiting",
            self.offers_answered, self.offers_sent, self.waiting
        )?;
        for (reason, count) in &self.offers_failed {
            write!(f, ", {count} failed: {}", reason.replace('_', " "))?;
        }
        writeln!(f)?;
        if let Some(error) = &self.last_offer_error {
            write!(f, "  last offer: {error}")?;
            match self.no_offers_for_s {
                Some(seconds) => writeln!(f, "; the next one in {seconds} s")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
