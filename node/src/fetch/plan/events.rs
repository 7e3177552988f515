//! What a plan is told.

use std::net::SocketAddr;

use peerdist_protocol::content::{BlockRanges, SegmentId};

use super::near::{State, Trouble};
use super::{BlockAt, Fetch, FetchId, Finding, Moment, Plan, ProbeTicket};
use crate::fetch::peers::{Basis, HostId, Outcome, PeerBook, Standing};
use crate::fetch::why::{PeerNote, ServerAnswer, Source};

/// How an exchange with a peer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A block with the right hash.
    Block,
    /// The empty answer.
    Empty,
    /// No progress, or no end, in time.
    TimedOut,
    /// No connection, or it broke.
    Unreachable,
    /// Not an answer to the request.
    Refused,
    /// A block with the wrong hash.
    BadHash,
    /// This host could not ask: no fault of the peer's.
    Local,
}

/// What becomes of a delivered block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// It is the first copy: give it to the reader.
    Wanted,
    /// It came already, or nobody waits for it.
    Ignored,
}

impl Plan {
    /// A host answered a Probe, of whomever. The peer book has been told already.
    pub fn matched(&mut self, now: Moment, peer: SocketAddr, ids: &[SegmentId]) {
        for asked in self.probes.values() {
            let count = asked.ids.iter().filter(|id| ids.contains(id)).count();
            if count > 0 {
                self.why.matched(now, asked.story, peer, count);
            }
        }
    }

    /// What asking a hosted cache for a Probe's segments came to. The peer book has been told already.
    pub fn hosted_cache_asked(&mut self, ticket: ProbeTicket, answer: ServerAnswer) {
        if let Some(asked) = self.probes.get(&ticket) {
            self.why.hosted_cache_asked(asked.story, answer);
        }
    }

    /// No further answer will come to a Probe.
    pub fn probe_ended(&mut self, now: Moment, book: &mut PeerBook, ticket: ProbeTicket) {
        let Some(asked) = self.probes.get(&ticket) else { return };
        for id in &asked.ids {
            book.nobody(now, id);
        }
        self.settle(now, book, ticket);
    }

    /// A Probe could not be sent. It is tried again, but nobody waits for that.
    pub fn probe_failed(&mut self, now: Moment, book: &PeerBook, ticket: ProbeTicket) {
        self.settle(now, book, ticket);
    }

    pub(super) fn end_overdue_probes(&mut self, now: Moment, book: &mut PeerBook) {
        let overdue = self.probes.iter().filter(|(_, asked)| asked.deadline <= now);
        let overdue: Vec<_> = overdue.map(|(ticket, _)| *ticket).collect();
        for ticket in overdue {
            if self.config.finding == Finding::HostedCaches
                && let Some(asked) = self.probes.get(&ticket)
            {
                // Silence of the LAN is an answer, that of a hosted cache is none.
                asked.ids.iter().for_each(|id| book.unasked(now, id));
            }
            self.probe_ended(now, book, ticket);
        }
    }

    fn settle(&mut self, now: Moment, book: &PeerBook, ticket: ProbeTicket) {
        let Some(asked) = self.probes.remove(&ticket) else { return };
        self.why.probe_ended(now, asked.story);
        for index in &asked.named {
            if let Some(near) = self.near.get_mut(index) {
                near.naming = false;
            }
        }
        let Some(at) = self.runs.iter().position(|run| run.id == asked.run) else { return };
        if self.runs[at].pending == Some(ticket) {
            let nobody = self.nobody_holds(now, book, &self.runs[at]);
            let run = &mut self.runs[at];
            run.pending = None;
            run.settled = true;
            run.nobody = nobody;
            if self.config.finding == Finding::HostedCaches {
                // One that answered may have gone out since.
                run.next_check = None;
            }
        }
    }

    /// A read from the cache ended, with a verified block or not.
    pub fn cache_read(&mut self, at: BlockAt, delivered: bool) -> Delivery {
        self.cache_reads = self.cache_reads.saturating_sub(1);
        let length = self.length_of(at);
        let Some(block) = self.block_mut(at) else { return Delivery::Ignored };
        if !matches!(block.state, State::Reading | State::Cached | State::Unknown) {
            return Delivery::Ignored;
        }
        if delivered {
            block.state = State::Have;
            self.why.bytes(at.segment, Source::Cache, length);
            Delivery::Wanted
        } else {
            block.bad_in_cache = true;
            block.state = State::Needed;
            Delivery::Ignored
        }
    }

    /// An exchange for a block ended.
    pub fn answered(&mut self, now: Moment, book: &mut PeerBook, id: FetchId, answer: Answer) -> Delivery {
        let is_its_doing = !matches!(answer, Answer::Empty | Answer::Local);
        if let Some(at) = self.at_of(id).filter(|_| is_its_doing)
            && let Some(since) = self.awaited_since(at)
        {
            self.was_waited_for(now, book, at, since);
        }
        let Some(fetch) = self.fetches.remove(&id) else { return Delivery::Ignored };
        let Fetch { at, host, peer, basis, since, .. } = fetch;
        let segment = self.layout.index_of(at.segment).and_then(|index| self.layout.get(index));
        let (segment_id, bound) = segment.map_or((None, false), |segment| (Some(segment.id), segment.bound));
        let is_whole = segment.is_some_and(|segment| segment.block_count() == 1);
        let is_hosted_cache = book.is_hosted_cache(host);
        let (outcome, trouble, note) = match answer {
            Answer::Block => {
                book.finish(now, host, Outcome::Delivered { took: now.saturating_sub(since) });
                if let Some(id) = segment_id {
                    book.confirm(now, &id, host, basis);
                }
                return self.delivered(now, book, fetch);
            }
            Answer::Empty if basis == Basis::Sure => {
                (Outcome::Busy { took: now.saturating_sub(since) }, Trouble::Busy, PeerNote::Busy)
            }
            Answer::Empty => (Outcome::NotHeld, Trouble::NotHeld, PeerNote::NotHeld),
            Answer::TimedOut => (Outcome::TimedOut, Trouble::Slow, PeerNote::TimedOut),
            Answer::Unreachable => (Outcome::Unreachable, Trouble::Slow, PeerNote::Unreachable),
            Answer::Refused => (Outcome::Refused, Trouble::Final, PeerNote::Refused),
            Answer::Local => (Outcome::Cancelled, Trouble::Slow, PeerNote::NotAsked),
            Answer::BadHash if bound => (Outcome::BadHash, Trouble::Final, PeerNote::BadHash),
            Answer::BadHash => {
                // The list that says so proves nothing: it counts against the peer here and nowhere else.
                // Not even here against a hosted cache, which may have all other blocks right.
                if !is_hosted_cache {
                    self.distrusted.insert(host);
                }
                (Outcome::Cancelled, Trouble::Final, PeerNote::BadHash)
            }
        };
        book.finish(now, host, outcome);
        self.why.note(now, at.segment, peer, note);
        self.look_for_others(now, book, host);
        // Of a hosted cache that cannot be asked for a list of segments, this is the answer. One that holds poison is not
        // asked for it again soon, by whomever; its other segments may be all right.
        let is_absent = match (trouble, basis) {
            (Trouble::NotHeld, Basis::Hint) => true,
            (Trouble::NotHeld, _) => is_hosted_cache && is_whole,
            _ => is_hosted_cache && is_whole && note == PeerNote::BadHash,
        };
        match segment_id {
            Some(id) if is_absent => self.is_absent(now, book, &id, host),
            Some(id) if is_hosted_cache && note == PeerNote::BadHash => book.lacks(&id, host, at.block),
            _ => {}
        }
        self.went_wrong(at, host, trouble);
        Delivery::Ignored
    }

    /// An exchange that has ended brought no block.
    pub(super) fn went_wrong(&mut self, at: BlockAt, host: HostId, trouble: Trouble) {
        let others = self.fetches.values().any(|other| other.at == at);
        if let Some(block) = self.block_mut(at) {
            block.went_wrong(host, trouble);
            if block.state == State::Fetching && !others {
                block.state = State::Needed;
            }
        }
    }

    /// An exchange for a list ended: with the blocks that the peer holds, or not.
    pub fn listed(&mut self, now: Moment, book: &mut PeerBook, id: FetchId, result: Result<BlockRanges, Answer>) {
        let awaited = self.listings.get(&id).and_then(|listing| self.awaited_in(listing.segment));
        if let Some((at, since)) = awaited {
            self.was_waited_for(now, book, at, since);
        }
        let Some(listing) = self.listings.remove(&id) else { return };
        let index = self.layout.index_of(listing.segment);
        if let Some(near) = index.and_then(|index| self.near.get_mut(&index)) {
            near.listing_ended(now, listing.host);
        }
        let failure = match result {
            Ok(blocks) => {
                book.finish(now, listing.host, Outcome::Listed { took: now.saturating_sub(listing.since) });
                let Some(segment) = index.and_then(|index| self.layout.get(index)) else { return };
                let id = segment.id;
                if blocks.is_empty() && book.is_hosted_cache(listing.host) {
                    self.why.note(now, listing.segment, listing.peer, PeerNote::NotHeld);
                    self.is_absent(now, book, &id, listing.host);
                } else {
                    book.listed(now, &id, listing.host, blocks);
                }
                return;
            }
            Err(Answer::TimedOut) => (Outcome::TimedOut, PeerNote::TimedOut),
            Err(Answer::Unreachable) => (Outcome::Unreachable, PeerNote::Unreachable),
            Err(Answer::Local) => (Outcome::Cancelled, PeerNote::NotAsked),
            Err(_) => (Outcome::Refused, PeerNote::Refused),
        };
        book.finish(now, listing.host, failure.0);
        self.why.note(now, listing.segment, listing.peer, failure.1);
        self.look_for_others(now, book, listing.host);
    }

    /// The next hosted cache takes the place of one that is out, at once.
    pub(super) fn look_for_others(&mut self, now: Moment, book: &PeerBook, host: HostId) {
        if book.is_hosted_cache(host) && matches!(book.standing(now, host), Some(Standing::Out { .. })) {
            self.runs.iter_mut().for_each(|run| run.next_check = None);
        }
    }

    /// A host turned out not to hold a segment. Hosted caches are not asked about it for a while.
    fn is_absent(&mut self, now: Moment, book: &mut PeerBook, id: &SegmentId, host: HostId) {
        book.withdraw(now, id, host);
        if book.is_hosted_cache(host) {
            book.nobody(now, id);
        }
    }

    /// A block came from the origin and was verified. The reader has its bytes, unless it waits for them: then somebody
    /// else added them, and they are to be read from the cache.
    pub fn added(&mut self, now: Moment, book: &mut PeerBook, at: BlockAt) {
        let length = self.length_of(at);
        self.why.bytes(at.segment, Source::Origin, length);
        let awaited = self.is_awaited(at);
        if let Some(block) = self.block_mut(at) {
            block.state = if awaited { State::Unknown } else { State::Added };
        }
        self.cancel_others(now, book, at);
        self.last_read = now;
        self.follow_the_origin();
    }

    /// The block that an exchange asks for, while anybody waits for it.
    #[must_use]
    pub fn at_of(&self, id: FetchId) -> Option<BlockAt> {
        self.fetches.get(&id).map(|fetch| fetch.at)
    }

    /// The content is closed: what is under way counts as cancelled.
    pub fn close(&mut self, now: Moment, book: &mut PeerBook) {
        let hosts = self.fetches.values().map(|fetch| fetch.host);
        for host in hosts.chain(self.listings.values().map(|listing| listing.host)) {
            book.finish(now, host, Outcome::Cancelled);
        }
        self.fetches.clear();
        self.listings.clear();
    }

    fn delivered(&mut self, now: Moment, book: &mut PeerBook, fetch: Fetch) -> Delivery {
        let at = fetch.at;
        self.impatience = self.impatience.saturating_sub(1);
        self.cancel_others(now, book, at);
        let length = self.length_of(at);
        let Some(block) = self.block_mut(at) else { return Delivery::Ignored };
        if matches!(block.state, State::Have | State::Added) {
            return Delivery::Ignored;
        }
        block.state = State::Have;
        self.why.bytes(at.segment, Source::Peer(fetch.peer), length);
        Delivery::Wanted
    }

    pub(super) fn cancel_others(&mut self, now: Moment, book: &mut PeerBook, at: BlockAt) {
        let others = self.fetches.iter().filter(|(_, fetch)| fetch.at == at);
        let others: Vec<_> = others.map(|(id, fetch)| (*id, fetch.host)).collect();
        for (id, host) in others {
            self.fetches.remove(&id);
            self.cancelled.push(id);
            book.finish(now, host, Outcome::Cancelled);
        }
    }

    /// Bytes that came from the origin move the reader, who has them already.
    fn follow_the_origin(&mut self) {
        if self.demanded.is_some() {
            return;
        }
        let mut position = self.position;
        while let Some(index) = self.layout.index_at(position) {
            let Some(segment) = self.layout.get(index) else { break };
            let block = segment.block_at(position);
            if self.near.get(&index).and_then(|near| near.state(block)) != Some(State::Added) {
                break;
            }
            position = segment.block_range(block).end;
        }
        if self.layout.index_at(position).is_some() {
            self.move_to(position);
        }
    }

    pub(super) fn block_mut(&mut self, at: BlockAt) -> Option<&mut super::near::Block> {
        let index = self.layout.index_of(at.segment)?;
        self.near.get_mut(&index)?.block_mut(at.block)
    }

    fn length_of(&self, at: BlockAt) -> u32 {
        let segment = self.layout.index_of(at.segment).and_then(|index| self.layout.get(index));
        let range = segment.map_or(0..0, |segment| segment.block_range(at.block));
        u32::try_from(range.end - range.start).unwrap_or_default()
    }
}
