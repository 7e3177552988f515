//! How long somebody waits for a block, what happens when that was in vain, and whose fault it is.

use std::time::Duration;

use peerdist_protocol::content::BlockIndex;

use super::near::{State, Trouble};
use super::{BlockAt, Missing, Moment, Plan, ProbeTicket};
use crate::fetch::peers::{Basis, HostId, OutCause, Outcome, PeerBook, Standing};
use crate::fetch::why::MissingReason;

/// How often patience is halved at most, and what is left at least.
const MAX_IMPATIENCE: u32 = 5;
const MIN_PATIENCE: Duration = Duration::from_millis(100);

/// What the reader waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) at: BlockAt,
    pub(super) since: Moment,
    /// How long; `None` as long as the plan has patience.
    pub(super) limit: Option<Duration>,
}

impl Plan {
    /// The reader waits for the block at `position`, for `limit` or as long as the plan has patience. Where the block
    /// was delivered before, it is looked for again. Returns whether the reader jumped.
    pub fn wait_at(&mut self, now: Moment, position: u64, limit: Option<Duration>) -> bool {
        self.has_reader = true;
        self.last_read = now;
        let jumped = self.move_to(position);
        let Some(index) = self.layout.index_at(position) else { return jumped };
        let segment = &self.layout.all()[index];
        let at = BlockAt { segment: segment.offset, block: segment.block_at(position) };
        match &mut self.waiting {
            Some(waiting) if waiting.at == at => waiting.limit = limit,
            _ => {
                self.waiting = Some(Waiting { at, since: now, limit });
                self.look_for_again(index, at.block);
            }
        }
        jumped
    }

    /// Somebody wants a block that may have been delivered, or given up, before.
    pub(super) fn look_for_again(&mut self, index: usize, block: BlockIndex) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.segments.contains(&index)) {
            run.next_check = None;
        }
        if let Some(block) = self.near.get_mut(&index).and_then(|near| near.block_mut(block)) {
            block.state = match block.state {
                State::Have | State::Added => State::Unknown,
                State::AtOrigin => State::Needed,
                state => state,
            };
        }
    }

    /// The run of blocks from `position` on that is known to be missing, and from now on the reader's to get: peers are
    /// not asked for it until the reader waits for it again.
    pub fn take_missing(&mut self, now: Moment, book: &mut PeerBook, position: u64) -> Option<Missing> {
        let missing = self.missing(now, book, position)?;
        if let Some(Waiting { at, since, limit }) = self.waiting.take() {
            if missing.reason == MissingReason::TooSlow && limit.is_none() {
                self.impatience = (self.impatience + 1).min(MAX_IMPATIENCE);
            }
            self.was_in_vain(now, book, at, since, limit, missing.reason);
        }
        Some(missing)
    }

    /// Somebody who waited for a demanded block, as long as `limit` says, did not get it.
    pub fn gave_up(&mut self, now: Moment, book: &mut PeerBook, at: BlockAt, limit: Duration) {
        if let Some(since) = self.demanded.as_ref().and_then(|demanded| demanded.get(&at)).copied() {
            self.was_in_vain(now, book, at, since, Some(limit), MissingReason::TooSlow);
        }
    }

    /// Nobody delivered a block that was waited for: who holds it, and was busy or did not come to an end with it, is to
    /// blame. That a reader has less patience than the plan is nobody's fault, but its time counts.
    pub(super) fn was_in_vain(
        &mut self,
        now: Moment,
        book: &mut PeerBook,
        at: BlockAt,
        since: Moment,
        limit: Option<Duration>,
        reason: MissingReason,
    ) {
        self.was_waited_for(now, book, at, since);
        let is_hasty = match reason {
            MissingReason::TooSlow => limit.is_some_and(|limit| limit < self.config.patience),
            MissingReason::PeersFailed | MissingReason::HostedCacheFailed => false,
            _ => return,
        };
        for host in self.to_blame(now, book, at, since) {
            book.was_waited_for(now, host, since);
            if !is_hasty {
                book.kept_waiting(now, host, since);
            }
            self.look_for_others(now, book, host);
        }
    }

    /// Somebody waited since then for a block: that counts against those who were asked for it, or for a list, from when
    /// on they were.
    pub(super) fn was_waited_for(&mut self, now: Moment, book: &mut PeerBook, at: BlockAt, since: Moment) {
        let fetches = self.fetches.values().filter(|fetch| fetch.at == at).map(|fetch| (fetch.host, fetch.since));
        let listings = self.listings.values().filter(|list| list.segment == at.segment);
        let asked: Vec<_> = fetches.chain(listings.map(|list| (list.host, list.since))).collect();
        for (host, asked) in asked {
            book.was_waited_for(now, host, since.max(asked));
            self.look_for_others(now, book, host);
        }
    }

    /// A hosted cache was asked since then for the segments of a Probe: that counts against it where somebody waits for one
    /// of them.
    pub fn was_asked(&mut self, now: Moment, book: &mut PeerBook, ticket: ProbeTicket, host: HostId, since: Moment) {
        let Some(asked) = self.probes.get(&ticket) else { return };
        let waiting = self.waiting.iter().map(|waiting| (waiting.at, waiting.since));
        let demanded = self.demanded.iter().flatten().map(|(at, since)| (*at, *since));
        let is_asked = |at: BlockAt| {
            let segment = self.layout.index_of(at.segment).and_then(|index| self.layout.get(index));
            segment.is_some_and(|segment| asked.ids.contains(&segment.id))
        };
        let awaited = waiting.chain(demanded).filter(|(at, _)| is_asked(*at)).map(|(_, since)| since).min();
        if let Some(awaited) = awaited {
            book.was_waited_for(now, host, since.max(awaited));
            self.look_for_others(now, book, host);
        }
    }

    /// Ends what is under way at hosts that are out because they keep readers waiting.
    pub(super) fn leave_slow_hosts(&mut self, now: Moment, book: &mut PeerBook) {
        let is_left =
            |host| matches!(book.standing(now, host), Some(Standing::Out { cause: OutCause::KeptWaiting, .. }));
        let left: Vec<_> = self.fetches.iter().filter(|(_, fetch)| is_left(fetch.host)).map(|(id, _)| *id).collect();
        for id in left {
            let Some(fetch) = self.fetches.remove(&id) else { continue };
            self.cancelled.push(id);
            book.finish(now, fetch.host, Outcome::Cancelled);
            self.went_wrong(fetch.at, fetch.host, Trouble::Slow);
        }
    }

    fn to_blame(&self, now: Moment, book: &PeerBook, at: BlockAt, since: Moment) -> Vec<HostId> {
        let Some(index) = self.layout.index_of(at.segment) else { return Vec::new() };
        let Some((segment, near)) = self.layout.get(index).zip(self.near.get(&index)) else { return Vec::new() };
        // Or it has other requests of ours and comes to no end with them.
        let is_busy = |host| {
            let answered = near.block(at.block).is_some_and(|block| block.failed_at(host));
            answered || matches!(book.standing(now, host), Some(Standing::Busy { .. } | Standing::Full))
        };
        let claims = book.holders(now, &segment.id).filter(|(host, holding)| {
            holding.basis(at.block, segment.block_count()) == Some(Basis::Sure) && is_busy(*host)
        });
        // For most of the wait.
        let is_long = |begun: Moment| now.saturating_sub(begun) * 2 >= now.saturating_sub(since);
        let fetches = self.fetches.values().filter(|fetch| fetch.at == at && is_long(fetch.since));
        let listings = self.listings.values().filter(|list| list.segment == at.segment && is_long(list.since));
        let under_way = fetches.map(|fetch| fetch.host).chain(listings.map(|list| list.host));
        let mut hosts: Vec<_> = claims.map(|(host, _)| host).chain(under_way).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    pub(super) fn patience(&self) -> Duration {
        let own = (self.config.patience / (1 << self.impatience)).max(MIN_PATIENCE);
        self.waiting.and_then(|waiting| waiting.limit).unwrap_or(own)
    }

    /// Whether somebody waits for a block.
    pub(super) fn is_awaited(&self, at: BlockAt) -> bool {
        self.awaited_since(at).is_some()
    }

    /// Since when somebody waits for a block.
    pub(super) fn awaited_since(&self, at: BlockAt) -> Option<Moment> {
        let waiting = self.waiting.filter(|waiting| waiting.at == at).map(|waiting| waiting.since);
        waiting.or_else(|| self.demanded.as_ref()?.get(&at).copied())
    }

    /// A block of a segment that somebody waits for, and since when.
    pub(super) fn awaited_in(&self, segment: u64) -> Option<(BlockAt, Moment)> {
        let waiting = self.waiting.filter(|waiting| waiting.at.segment == segment);
        let all = BlockAt { segment, block: 0 }..=BlockAt { segment, block: BlockIndex::MAX };
        let demanded =
            || self.demanded.as_ref()?.range(all).map(|(at, since)| (*at, *since)).min_by_key(|(_, since)| *since);
        waiting.map(|waiting| (waiting.at, waiting.since)).or_else(demanded)
    }
}
