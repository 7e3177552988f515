//! Asks hosted caches which segments they hold, instead of the LAN.
//!
//! Each segment has its own order of hosted caches. The first that works is asked; where it fails, the next is asked for
//! the same segments at once. One that was out stands beside the others until it delivered something: it is asked again
//! in the background, so that nobody waits for a host that is down. One that failed is so even while nobody wants
//! anything, so that it is in use again by the time that somebody does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use peerdist_protocol::content::SegmentId;
use peerdist_protocol::retrieval::{Answer, Exchange, RequestId, VersionRange};
use peerdist_transport::retrieval::client::{ExchangeError, Wait};
use tokio::time::sleep;

use super::node::Node;
use crate::config::Fallback;
use crate::fetch::Moment;
use crate::fetch::peers::{HostId, Knowledge, Outcome, Standing};
use crate::fetch::plan::{Finding, ProbeTicket};
use crate::fetch::why::{ServerAnswer, ServerNote};
use crate::hosted_client::{HostedClient, Server};

/// How often it is looked whether a hosted cache that failed was left alone for long enough. It is asked after 5 s, then
/// after 10 s and so on, as the peer book says: once a minute at least.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The hosted caches, and what they are in the peer book.
#[derive(Debug)]
pub(super) struct HostedCaches {
    pub(super) client: Arc<HostedClient>,
    hosts: Vec<HostId>,
    /// Whether a hosted cache that was out is being asked in the background.
    checked: Vec<AtomicBool>,
}

/// Whether a hosted cache is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Now,
    /// Beside the others.
    Check,
    No,
}

impl HostedCaches {
    /// `hosts` are those that the peer book has for the client's servers, in their order.
    pub(super) fn new(client: Arc<HostedClient>, hosts: Vec<HostId>) -> Self {
        let checked = hosts.iter().map(|_| AtomicBool::new(false)).collect();
        Self { client, hosts, checked }
    }

    pub(super) fn hosts(&self) -> &[HostId] {
        &self.hosts
    }

    /// The hosted cache at an address.
    pub(super) fn at(&self, address: SocketAddr) -> Option<&Server> {
        self.client.servers().iter().find(|server| server.is_at(address))
    }
}

impl Node {
    /// Who is to be asked which segments are held.
    pub(super) fn finding(&self) -> Finding {
        match &self.hosted {
            None if self.discovery.is_some() => Finding::Peers,
            None => Finding::Nobody,
            Some(hosted)
                if hosted.client.fallback() == Fallback::Distributed
                    && self.discovery.is_some()
                    && self.book().has_lost_hosted_caches(self.now()) =>
            {
                Finding::Peers
            }
            Some(_) => Finding::HostedCaches,
        }
    }

    /// Asks hosted caches which of these segments they hold, and tells the content.
    pub(super) async fn ask_hosted_caches(
        self: &Arc<Self>,
        hosted: &Arc<HostedCaches>,
        content: u64,
        ticket: ProbeTicket,
        ids: Vec<SegmentId>,
    ) {
        let tell = |index: usize, note, asked, segments, since: Option<Moment>| {
            let Some(server) = hosted.client.servers().get(index) else { return };
            let answer = ServerAnswer::new(self.now(), server.name().as_str(), note, asked, segments);
            let host = hosted.hosts.get(index).copied();
            self.content(content, |shared| shared.hosted_cache_asked(ticket, answer, host.zip(since)));
        };
        let mut failed = vec![false; hosted.hosts.len()];
        let mut left: Vec<_> = ids.into_iter().map(|id| (id, hosted.client.order(&id))).collect();
        while !left.is_empty() {
            let uses = self.uses(hosted, &failed);
            let mut groups: BTreeMap<usize, Vec<_>> = BTreeMap::new();
            let mut checks: BTreeMap<usize, Vec<_>> = BTreeMap::new();
            let mut unasked = Vec::new();
            for (id, order) in left {
                let of = |wanted| order.iter().copied().find(|index| uses.get(*index) == Some(&wanted));
                if let Some(index) = of(Use::Check) {
                    checks.entry(index).or_default().push(id);
                }
                match of(Use::Now) {
                    Some(index) => groups.entry(index).or_default().push((id, order)),
                    None => unasked.push(id),
                }
            }
            for (index, ids) in checks {
                if self.check(hosted, index, ids.clone()) {
                    tell(index, ServerNote::AskedAgain, ids.len(), 0, None);
                }
            }
            // Peers are looked for instead, at once.
            let falls_back = self.finding() == Finding::Peers;
            if !unasked.is_empty() && !falls_back {
                for (index, used) in uses.iter().enumerate() {
                    if *used == Use::No && failed.get(index) == Some(&false) {
                        tell(index, ServerNote::Out, unasked.len(), 0, None);
                    }
                }
                let now = self.now();
                let mut book = self.book();
                unasked.iter().for_each(|id| book.unasked(now, id));
            }
            let asked = groups.into_iter().map(|(index, group)| async move {
                let ids: Vec<_> = group.iter().map(|(id, _)| *id).collect();
                let count = ids.len();
                let since = Some(self.now());
                match self.ask_hosted_cache(hosted, index, ids).await {
                    Ok((note, segments)) => {
                        self.stood_in(index, &group);
                        tell(index, note, count, segments, since);
                        (index, Vec::new())
                    }
                    Err(note) => {
                        tell(index, note, count, 0, since);
                        (index, group)
                    }
                }
            });
            left = Vec::new();
            let answers = join_all(asked).await;
            self.log_outages(hosted);
            for (index, group) in answers {
                if !group.is_empty() {
                    failed[index] = true;
                    left.extend(group);
                }
            }
        }
        if self.finding() == Finding::Peers {
            self.content(content, |shared| shared.probe_failed(ticket));
        } else {
            self.content(content, |shared| shared.probe_ended(ticket));
        }
    }

    /// What a hosted cache that stands in for another does not hold, the one that could not be asked may.
    fn stood_in(&self, index: usize, asked: &[(SegmentId, Vec<usize>)]) {
        if self.finding() == Finding::Peers {
            return;
        }
        let (now, mut book) = (self.now(), self.book());
        for (id, _) in asked.iter().filter(|(_, order)| order.first() != Some(&index)) {
            if book.knowledge(now, id) != Knowledge::Somebody {
                book.unasked(now, id);
            }
        }
    }

    /// Looks whether hosted caches that failed are back, whatever they hold.
    fn look_after_hosted_caches(self: &Arc<Self>, hosted: &Arc<HostedCaches>) {
        let now = self.now();
        for (index, host) in hosted.hosts.iter().enumerate() {
            if self.book().is_to_be_looked_after(now, *host) {
                // It has to be asked for something ([MS-PCCRR] 2.2.4.4): for a segment that nobody holds.
                self.check(hosted, index, any_segment_id().into_iter().collect());
            }
        }
    }

    /// Looks whether hosted caches are back, while others are asked instead of them.
    pub(super) fn check_hosted_caches(self: &Arc<Self>, hosted: &Arc<HostedCaches>, ids: &[SegmentId]) {
        let now = self.now();
        for (index, host) in hosted.hosts.iter().enumerate() {
            let is_due = {
                let book = self.book();
                book.is_on_probation(*host) && !matches!(book.standing(now, *host), Some(Standing::Out { .. }))
            };
            if is_due {
                self.check(hosted, index, ids.to_vec());
            }
        }
    }

    fn uses(&self, hosted: &HostedCaches, failed: &[bool]) -> Vec<Use> {
        let (now, book) = (self.now(), self.book());
        let mut uses: Vec<_> = hosted
            .hosts
            .iter()
            .zip(failed)
            .map(|(host, failed)| match book.standing(now, *host) {
                _ if *failed => Use::No,
                None | Some(Standing::Out { .. }) => Use::No,
                Some(_) if book.is_on_probation(*host) => Use::Check,
                Some(_) => Use::Now,
            })
            .collect();
        drop(book);
        self.log_outages(hosted);
        if !uses.contains(&Use::Now) {
            // There is nobody else to ask.
            for used in &mut uses {
                *used = if *used == Use::Check { Use::Now } else { *used };
            }
        }
        uses
    }

    /// Logs what began or ended since this was called last.
    fn log_outages(&self, hosted: &HostedCaches) {
        let (now, book) = (self.now(), self.book());
        for (server, host) in hosted.client.servers().iter().zip(&hosted.hosts) {
            match book.standing(now, *host) {
                Some(Standing::Out { cause, .. }) => server.is_out(cause),
                // It has yet to prove that it is back.
                _ if book.is_on_probation(*host) => {}
                _ => server.is_in_use(),
            }
        }
    }

    /// Asks a hosted cache that was out in the background, unless that is being done.
    fn check(self: &Arc<Self>, hosted: &Arc<HostedCaches>, index: usize, ids: Vec<SegmentId>) -> bool {
        if hosted.checked.get(index).is_none_or(|checked| checked.swap(true, Ordering::Relaxed)) {
            return false;
        }
        let (node, hosted) = (Arc::clone(self), Arc::clone(hosted));
        tokio::spawn(async move {
            let answer = node.ask_hosted_cache(&hosted, index, ids).await;
            node.log_outages(&hosted);
            if let Some(checked) = hosted.checked.get(index) {
                checked.store(false, Ordering::Relaxed);
            }
            if answer.is_ok() {
                node.all_contents(|shared| shared.look_again());
            }
        });
        true
    }

    /// Asks one hosted cache, at all its addresses, which segments it holds; the peer book learns what it says. Returns how
    /// many of them.
    async fn ask_hosted_cache(
        &self,
        hosted: &HostedCaches,
        index: usize,
        ids: Vec<SegmentId>,
    ) -> Result<(ServerNote, usize), ServerNote> {
        let (Some(server), Some(host)) = (hosted.client.servers().get(index), hosted.hosts.get(index).copied()) else {
            return Err(ServerNote::NotFound);
        };
        let was_out = self.book().is_on_probation(host);
        if was_out {
            // Another one may stand there now.
            server.set_has_no_list(false);
        }
        let addresses = match server.resolve(was_out).await {
            Ok(addresses) => addresses,
            Err(error) => {
                let mut book = self.book();
                book.begin(self.now(), host);
                book.finish(self.now(), host, Outcome::Unreachable);
                drop(book);
                server.failed(format!("its name cannot be resolved: {error}"));
                return Err(ServerNote::NotFound);
            }
        };
        let tries = addresses.len().max(1);
        self.book().set_addresses(host, addresses);
        let has_list = hosted.client.has_lists() && !server.has_no_list();
        if !has_list && !was_out {
            self.book().may_have_segments(self.now(), host, &ids);
            return Ok((ServerNote::NoList, ids.len()));
        }
        let exchange = if has_list {
            Exchange::get_segment_list(request_id(), ids.clone()).map_err(|_| ServerNote::NotAsked)?
        } else {
            Exchange::negotiate(VersionRange::ALL)
        };
        let mut failure = ServerNote::Unreachable;
        for _ in 0..tries {
            let Some(peer) = self.book().address(host) else { break };
            let since = self.now();
            self.book().begin(since, host);
            let answer = self.client.exchange_within(peer, &exchange, self.client.limits().progress_time * 2).await;
            let now = self.now();
            let took = Outcome::Listed { took: now.saturating_sub(since) };
            let mut book = self.book();
            match answer {
                Ok(Answer::SegmentList { held }) => {
                    book.finish(now, host, took);
                    book.has_segments(now, host, held.iter().map(|(id, _)| id));
                    drop(book);
                    server.listed(held.len());
                    return Ok((ServerNote::Answered, held.len()));
                }
                Ok(Answer::Negotiate(_)) | Err(ExchangeError::Incompatible { .. }) => {
                    book.finish(now, host, took);
                    book.may_have_segments(now, host, &ids);
                    drop(book);
                    server.set_has_no_list(true);
                    server.answered();
                    return Ok((ServerNote::NoList, ids.len()));
                }
                Ok(_) => {
                    book.finish(now, host, Outcome::Refused);
                    drop(book);
                    server.failed("its answer is none to a request for a list of segments".to_owned());
                    return Err(ServerNote::Refused);
                }
                Err(error) => {
                    let (outcome, note) = outcome_of(&error);
                    book.finish(now, host, outcome);
                    drop(book);
                    server.failed(format!("{peer}: {error}"));
                    failure = note;
                    if !matches!(note, ServerNote::Unreachable | ServerNote::NotAsked) {
                        break;
                    }
                }
            }
        }
        Err(failure)
    }
}

/// Has hosted caches that failed asked again when they were left alone for long enough, for as long as the node lives. While
/// all of them work, nothing is sent.
pub(super) async fn look_after(node: Weak<Node>, hosted: Arc<HostedCaches>) {
    loop {
        tokio::select! {
            () = hosted.client.stopped() => return,
            () = sleep(LOOK_EVERY) => {}
        }
        let Some(node) = node.upgrade() else { return };
        if hosted.client.is_on() {
            node.look_after_hosted_caches(&hosted);
        }
    }
}

fn outcome_of(error: &ExchangeError) -> (Outcome, ServerNote) {
    match error {
        // A family that this host lacks is as good as a host that is not there: its other addresses count.
        ExchangeError::Local(_) => (Outcome::Unreachable, ServerNote::NotAsked),
        ExchangeError::TimedOut(Wait::Connect) => (Outcome::Unreachable, ServerNote::Unreachable),
        ExchangeError::TimedOut(_) => (Outcome::TimedOut, ServerNote::TimedOut),
        ExchangeError::Connect(_) | ExchangeError::Http(_) => (Outcome::Unreachable, ServerNote::Unreachable),
        ExchangeError::Status(_)
        | ExchangeError::TooLarge { .. }
        | ExchangeError::Rejected(_)
        | ExchangeError::Incompatible { .. } => (Outcome::Refused, ServerNote::Refused),
    }
}

fn request_id() -> RequestId {
    let mut id = [0; 16];
    // It tells answers apart, and a connection has one at a time: no harm without randomness.
    let _ = getrandom::fill(&mut id);
    RequestId(id)
}

/// An id that no segment has.
fn any_segment_id() -> Option<SegmentId> {
    let mut id = [0; 32];
    // Zeros would do as well.
    let _ = getrandom::fill(&mut id);
    SegmentId::from_slice(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_id_comes_twice() {
        let mut ids: Vec<_> = (0..1000).map(|_| request_id().0).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1000);
    }
}
