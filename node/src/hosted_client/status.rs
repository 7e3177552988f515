//! What a hosted client says about itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::HostedClient;
use super::servers::Counters;
use crate::config::Fallback;
use crate::fetch::peers::{OutCause, PeerSummary};
use crate::fetch::why::Size;

/// The hosted client's part of the status. `Display` tells it to people.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    pub failed: BTreeMap<String, u64>,
    /// Segments that were not offered because too many waited.
    pub dropped: u64,
    /// Segments that were not offered because each attempt failed.
    pub given_up: u64,
    /// Segments that were not offered because the version cannot name them.
    pub not_expressible: u64,
}

/// One hosted cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where it was found last.
    pub addresses: Vec<SocketAddr>,
    /// Whether it speaks version 1.0 alone, so that it cannot be asked for lists of segments.
    pub has_no_list: bool,
    /// Why its name could not be looked up, where the last attempt failed.
    pub lookup_error: Option<String>,
    /// Whether it is asked.
    pub state: ServerState,
    /// Why blocks are not asked for there now.
    pub out: Option<OutCause>,
    /// For how many more seconds.
    pub out_for_s: Option<u64>,
    /// How often it was asked for anything but to take offers, and how that ended is known.
    pub asked: u64,
    /// How often that failed.
    pub failures: u64,
    /// Lists of segments that it was asked for and gave.
    pub lists: u64,
    /// Segments that it holds by these.
    pub segments_listed: u64,
    /// Verified blocks that it gave.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What went wrong since it answered last; `None` where nothing did.
    pub last_error: Option<String>,
    /// How many seconds ago that was.
    pub last_error_age_s: Option<u64>,
    /// Segments that wait to be offered to it.
    pub waiting: u64,
    /// Offers sent to it.
    pub offers_sent: u64,
    /// Offers that it answered.
    pub offers_answered: u64,
    /// Offers that it did not answer well, by reason.
    pub offers_failed: BTreeMap<String, u64>,
    /// For how many more seconds it is made no offers, because the last one failed.
    pub no_offers_for_s: Option<u64>,
    /// What went wrong with the last offer; `None` where nothing did.
    pub last_offer_error: Option<String>,
    /// How many seconds ago that was.
    pub last_offer_error_age_s: Option<u64>,
}

/// Whether a hosted cache is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// It was not asked for anything yet.
    NotAsked,
    /// It is asked, and has answered.
    InUse,
    /// It is asked, and has yet to answer: it failed at first, or was left alone.
    OnTrial,
    /// It is not asked for a while.
    LeftAlone,
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
                let Counters { asked, failures, lists, segments, blocks, bytes, last_error, .. } = server.counters();
                let state = match &host {
                    Some(host) if host.out.is_some() => ServerState::LeftAlone,
                    Some(host) if host.on_probation => ServerState::OnTrial,
                    _ if asked == 0 => ServerState::NotAsked,
                    _ if asked == failures => ServerState::OnTrial,
                    _ => ServerState::InUse,
                };
                let offers = self.offerer.counters(index);
                ServerStatus {
                    name: server.name().to_string(),
                    addresses: server.addresses(),
                    has_no_list: !self.has_lists() || server.has_no_list(),
                    lookup_error: server.lookup_error(),
                    state,
                    out: host.as_ref().and_then(|host| host.out),
                    out_for_s: host.as_ref().and_then(|host| host.out_for_s),
                    asked,
                    failures,
                    lists,
                    segments_listed: segments,
                    blocks,
                    bytes,
                    last_error_age_s: last_error.as_ref().map(|(_, at)| at.elapsed().as_secs()),
                    last_error: last_error.map(|(error, _)| error),
                    waiting: self.offerer.waiting(index),
                    offers_sent: offers.sent,
                    offers_answered: offers.answered,
                    offers_failed: offers.failed.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
                    no_offers_for_s: self.offerer.rests_for(index).map(|rest| rest.as_secs()),
                    last_offer_error_age_s: offers.last_error.as_ref().map(|(_, at)| at.elapsed().as_secs()),
                    last_offer_error: offers.last_error.map(|(error, _)| error),
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
            Fallback::Origin => "comes from the origin",
            Fallback::Distributed => "comes from peers, and from the origin what they do not have",
        };
        writeln!(f, "while no hosted cache can be reached, everything {fallback}")?;
        for server in &self.servers {
            write!(f, "\n{server}")?;
        }
        writeln!(f, "\noffers, of version {version}, in all")?;
        writeln!(f, "  {} sent, {} answered, of {} segments", offers.sent, offers.answered, offers.segments)?;
        writeln!(f, "  segments that wait: {}", offers.waiting)?;
        let never = [
            (offers.dropped, "too many waited"),
            (offers.given_up, "each attempt failed"),
            (offers.not_expressible, "the version has no words for them"),
        ];
        for (count, reason) in never.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "  segments that were not offered because {reason}: {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ServerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        for (index, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if index == 0 { " at " } else { ", " })?;
        }
        match &self.lookup_error {
            Some(error) if self.addresses.is_empty() => writeln!(f, " (name not found: {error})")?,
            Some(error) => writeln!(f, " (name not found any more: {error})")?,
            None if self.addresses.is_empty() => writeln!(f, " (address not known yet)")?,
            None => writeln!(f)?,
        }
        match self.state {
            ServerState::NotAsked => writeln!(f, "  not asked yet")?,
            ServerState::InUse => writeln!(f, "  in use")?,
            ServerState::OnTrial => writeln!(f, "  on trial: it has yet to prove that it works")?,
            ServerState::LeftAlone => {
                let reason = match self.out {
                    Some(OutCause::BadHash) => ", because it sent wrong bytes",
                    Some(OutCause::Failures) => ", because it failed or could not be reached",
                    Some(OutCause::KeptWaiting) => ", because it kept readers waiting for what it says it has",
                    None => "",
                };
                writeln!(f, "  left alone for {} s{reason}", self.out_for_s.unwrap_or_default())?;
            }
        }
        writeln!(f, "  gave {} in {} blocks", Size(self.bytes), self.blocks)?;
        if self.has_no_list {
            writeln!(f, "  cannot say which segments it has (version 1.0), and is asked for the blocks themselves")?;
        } else {
            writeln!(f, "  said {} times which segments it has: {} in all", self.lists, self.segments_listed)?;
        }
        if let Some(error) = &self.last_error {
            writeln!(f, "  last error{}: {error}", Ago(self.last_error_age_s))?;
        }
        writeln!(f, "  took {} of {} offers", self.offers_answered, self.offers_sent)?;
        for (reason, count) in &self.offers_failed {
            writeln!(f, "  offers that failed, {}: {count}", reason.replace('_', " "))?;
        }
        writeln!(f, "  segments that wait to be offered to it: {}", self.waiting)?;
        if let Some(error) = &self.last_offer_error {
            writeln!(f, "  last offer{}: {error}", Ago(self.last_offer_error_age_s))?;
            if let Some(seconds) = self.no_offers_for_s {
                writeln!(f, "  next offer in {seconds} s")?;
            }
        }
        Ok(())
    }
}

/// How long ago something was, where that is known.
struct Ago(Option<u64>);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(seconds @ 0..120) => write!(f, " {seconds} s ago"),
            Some(seconds @ 120..7200) => write!(f, " {} min ago", seconds / 60),
            Some(seconds) => write!(f, " {} h ago", seconds / 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerStatus {
        ServerStatus {
            name: "cache-1".to_owned(),
            addresses: vec!["192.0.2.1:80".parse().unwrap(), "[2001:db8::1]:80".parse().unwrap()],
            has_no_list: false,
            lookup_error: None,
            state: ServerState::InUse,
            out: None,
            out_for_s: None,
            asked: 124,
            failures: 0,
            lists: 4,
            segments_listed: 240,
            blocks: 120,
            bytes: 7_864_320,
            last_error: None,
            last_error_age_s: None,
            waiting: 0,
            offers_sent: 3,
            offers_answered: 3,
            offers_failed: BTreeMap::new(),
            no_offers_for_s: None,
            last_offer_error: None,
            last_offer_error_age_s: None,
        }
    }

    #[test]
    fn each_hosted_cache_is_a_few_short_lines_in_plain_words() {
        let failing = ServerStatus {
            addresses: Vec::new(),
            lookup_error: Some("nobody knows it".to_owned()),
            state: ServerState::LeftAlone,
            out: Some(OutCause::Failures),
            out_for_s: Some(5),
            last_error: Some("no connection".to_owned()),
            last_error_age_s: Some(20),
            offers_failed: BTreeMap::from([("timed_out".to_owned(), 2)]),
            last_offer_error: Some("no answer in time".to_owned()),
            last_offer_error_age_s: Some(180),
            no_offers_for_s: Some(30),
            ..server()
        };
        let status = HostedClientStatus {
            version: "2.0".to_owned(),
            fallback: Fallback::Origin,
            lists: 8,
            segments_listed: 480,
            blocks: 240,
            bytes: 15_728_640,
            offers: OffersStatus {
                waiting: 1,
                sent: 6,
                answered: 6,
                segments: 9,
                dropped: 2,
                ..OffersStatus::default()
            },
            servers: vec![server(), failing],
        };
        let expected = "\
while no hosted cache can be reached, everything comes from the origin

cache-1 at 192.0.2.1:80, [2001:db8::1]:80
  in use
  gave 7.5 MiB in 120 blocks
  said 4 times which segments it has: 240 in all
  took 3 of 3 offers
  segments that wait to be offered to it: 0

cache-1 (name not found: nobody knows it)
  left alone for 5 s, because it failed or could not be reached
  gave 7.5 MiB in 120 blocks
  said 4 times which segments it has: 240 in all
  last error 20 s ago: no connection
  took 3 of 3 offers
  offers that failed, timed out: 2
  segments that wait to be offered to it: 0
  last offer 3 min ago: no answer in time
  next offer in 30 s

offers, of version 2.0, in all
  6 sent, 6 answered, of 9 segments
  segments that wait: 1
  segments that were not offered because too many waited: 2
";
        assert_eq!(status.to_string(), expected);
        let again: HostedClientStatus = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
        assert_eq!(again.to_string(), expected);
    }

    #[test]
    fn what_is_not_known_yet_is_not_said() {
        let text = |server: ServerStatus| server.to_string().lines().take(2).collect::<Vec<_>>().join("|");
        let fresh = ServerStatus { addresses: Vec::new(), state: ServerState::NotAsked, ..server() };
        assert_eq!(text(fresh), "cache-1 (address not known yet)|  not asked yet");
        let tried = ServerStatus {
            addresses: vec!["192.0.2.1:80".parse().unwrap()],
            lookup_error: Some("timed out".to_owned()),
            state: ServerState::OnTrial,
            ..server()
        };
        let expected = "cache-1 at 192.0.2.1:80 (name not found any more: timed out)|  \
                        on trial: it has yet to prove that it works";
        assert_eq!(text(tried), expected);
    }
}
