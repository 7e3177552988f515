//! Which host is known to hold which segment, for how long, and which segments nobody holds.

use std::collections::{BTreeMap, HashMap};

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::discovery::Availability;

use super::HostId;
use crate::fetch::Moment;

/// How long a claim is believed ([MS-CCRSO] note 6).
pub const CLAIM_LIFETIME: Moment = Moment::from_secs(60);
/// How long "nobody answered" is believed ([MS-CCRSO] note 7).
pub const NEGATIVE_LIFETIME: Moment = Moment::from_secs(15);
/// How long it is believed that a segment's hosted caches could not be asked: until the first of them may be back.
pub const UNASKED_LIFETIME: Moment = Moment::from_secs(5);
/// Hosts kept per segment; the one heard least recently goes ([MS-CCRSO] note 8).
pub const MAX_HOLDERS: usize = 16;
/// Segments with an entry. Windows keeps 256, each a version 1 segment of 32 MiB; a version 2 segment is a
/// three-hundredth of that, and a run of them takes 16 entries.
pub const MAX_LISTS: usize = 4096;

/// What a host said it holds of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// Some or all blocks, by its answer to a Probe; not which.
    Claimed(Availability),
    /// Exactly these blocks, by its answer to a MSG_GETBLKLIST.
    Listed(Box<BlockRanges>),
    /// It did not say: a hosted cache that has no answer to MSG_GETSEGLIST may hold anything.
    Possible,
}

/// How sure it is that a host holds a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// It said so: an empty answer means that it is busy.
    Sure,
    /// It holds some of the segment's blocks, or may: an empty answer means that this is not one of them.
    Perhaps,
    /// It holds the neighbours: an empty answer means that it does not hold this one.
    Hint,
}

impl Holding {
    /// Whether it is all blocks of a segment of so many.
    #[must_use]
    pub fn is_all(&self, block_count: u32) -> bool {
        match self {
            // Some of one block is that block.
            Self::Claimed(availability) => block_count == 1 || availability.is_all_of(block_count),
            Self::Listed(blocks) => blocks.len() >= block_count,
            Self::Possible => false,
        }
    }

    /// How sure it is that the block is among them; `None` where it is not.
    #[must_use]
    pub fn basis(&self, block: BlockIndex, block_count: u32) -> Option<Basis> {
        match self {
            Self::Claimed(_) if self.is_all(block_count) => Some(Basis::Sure),
            Self::Claimed(_) => Some(Basis::Perhaps),
            Self::Listed(blocks) => blocks.contains(block).then_some(Basis::Sure),
            Self::Possible => Some(Basis::Perhaps),
        }
    }
}

/// What is known of a segment's holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// Nothing, or nothing that is still fresh: ask.
    Unknown,
    /// Nobody answered a moment ago.
    Nobody,
    /// Somebody holds at least some of it.
    Somebody,
}

#[derive(Debug)]
struct Holder {
    host: HostId,
    holding: Holding,
    seen: Moment,
}

#[derive(Debug, Default)]
struct List {
    holders: Vec<Holder>,
    /// Hosts that turned out not to hold it although their neighbours' claims hinted at it.
    absent: Vec<(HostId, Moment)>,
    nobody_until: Moment,
    /// Whether that is because somebody who may hold it could not be asked.
    unasked: bool,
    stamp: u64,
}

/// The lists of all segments, the ones not used for longest thrown out first.
#[derive(Debug, Default)]
pub(super) struct Claims {
    lists: HashMap<SegmentId, List>,
    by_use: BTreeMap<u64, SegmentId>,
    stamp: u64,
}

impl Claims {
    pub(super) fn claim(&mut self, now: Moment, id: &SegmentId, host: HostId, holding: Holding) {
        let list = self.list(id);
        list.nobody_until = Moment::ZERO;
        list.absent.retain(|(absent, _)| *absent != host);
        let known = list.holders.iter_mut().find(|holder| holder.host == host);
        if let Some(holder) = known {
            holder.seen = now;
            // A count says less than the list that is already there, unless it is a higher one.
            let keeps_list = match (&holder.holding, &holding) {
                (Holding::Listed(listed), Holding::Claimed(availability)) => {
                    availability.complete != Some(true) && availability.blocks.is_none_or(|n| n <= listed.len())
                }
                (_, Holding::Possible) => true,
                _ => false,
            };
            if !keeps_list {
                holder.holding = holding;
            }
            return;
        }
        if list.holders.len() >= MAX_HOLDERS
            && let Some(oldest) = (0..list.holders.len()).min_by_key(|i| list.holders[*i].seen)
        {
            list.holders.remove(oldest);
        }
        list.holders.push(Holder { host, holding, seen: now });
    }

    /// A host turned out not to hold the segment.
    pub(super) fn withdraw(&mut self, now: Moment, id: &SegmentId, host: HostId) {
        let list = self.list(id);
        list.holders.retain(|holder| holder.host != host);
        list.absent.retain(|(absent, _)| *absent != host);
        if list.absent.len() >= MAX_HOLDERS {
            list.absent.remove(0);
        }
        list.absent.push((host, now));
    }

    /// A block came: the claim is true, and fresh again.
    pub(super) fn confirm(&mut self, now: Moment, id: &SegmentId, host: HostId) {
        if let Some(list) = self.lists.get_mut(id)
            && let Some(holder) = list.holders.iter_mut().find(|holder| holder.host == host)
        {
            holder.seen = now;
        }
    }

    /// Nobody holds it, unless somebody says that it does.
    pub(super) fn nobody(&mut self, now: Moment, id: &SegmentId) {
        self.nobody_for(now, id, NEGATIVE_LIFETIME, false);
    }

    /// As far as could be asked, nobody holds it.
    pub(super) fn unasked(&mut self, now: Moment, id: &SegmentId) {
        self.nobody_for(now, id, UNASKED_LIFETIME, true);
    }

    fn nobody_for(&mut self, now: Moment, id: &SegmentId, lifetime: Moment, unasked: bool) {
        let list = self.list(id);
        list.holders.retain(|holder| holder.seen + CLAIM_LIFETIME > now);
        // What is believed already for shorter is not news.
        if list.holders.is_empty() && list.nobody_until <= now {
            list.nobody_until = now + lifetime;
            list.unasked = unasked;
        }
    }

    /// Whether nobody is known to hold it because not everybody could be asked.
    pub(super) fn is_unasked(&self, now: Moment, id: &SegmentId) -> bool {
        self.lists.get(id).is_some_and(|list| list.unasked && list.nobody_until > now)
    }

    /// Somebody else asks for it: it may soon be on the LAN.
    pub(super) fn overheard(&mut self, id: &SegmentId) {
        if let Some(list) = self.lists.get_mut(id) {
            list.nobody_until = Moment::ZERO;
            list.absent.clear();
        }
    }

    /// A host does not hold a block that it listed.
    pub(super) fn lacks(&mut self, id: &SegmentId, host: HostId, block: BlockIndex) {
        let list = self.lists.get_mut(id);
        let holder = list.and_then(|list| list.holders.iter_mut().find(|holder| holder.host == host));
        if let Some(Holder { holding: Holding::Listed(blocks), .. }) = holder {
            blocks.remove(block);
        }
    }

    /// What a host claims does not count any more.
    pub(super) fn forget(&mut self, id: &SegmentId, host: HostId) {
        if let Some(list) = self.lists.get_mut(id) {
            list.holders.retain(|holder| holder.host != host);
        }
    }

    pub(super) fn nobody_since(&self, id: &SegmentId) -> Option<Moment> {
        let list = self.lists.get(id).filter(|list| !list.unasked)?;
        list.nobody_until.checked_sub(NEGATIVE_LIFETIME)
    }

    pub(super) fn knowledge(&self, now: Moment, id: &SegmentId) -> Knowledge {
        match self.lists.get(id) {
            Some(list) if list.holders.iter().any(|holder| holder.seen + CLAIM_LIFETIME > now) => Knowledge::Somebody,
            Some(list) if list.nobody_until > now => Knowledge::Nobody,
            _ => Knowledge::Unknown,
        }
    }

    pub(super) fn holders(&self, now: Moment, id: &SegmentId) -> impl Iterator<Item = (HostId, &Holding)> {
        let holders = self.lists.get(id).map_or(&[][..], |list| &list.holders);
        holders
            .iter()
            .filter(move |holder| holder.seen + CLAIM_LIFETIME > now)
            .map(|holder| (holder.host, &holder.holding))
    }

    pub(super) fn is_absent(&self, now: Moment, id: &SegmentId, host: HostId) -> bool {
        self.lists.get(id).is_some_and(|list| {
            list.absent.iter().any(|(absent, since)| *absent == host && *since + NEGATIVE_LIFETIME > now)
        })
    }

    fn list(&mut self, id: &SegmentId) -> &mut List {
        self.stamp += 1;
        let list = self.lists.entry(*id).or_default();
        self.by_use.remove(&list.stamp);
        list.stamp = self.stamp;
        self.by_use.insert(self.stamp, *id);
        while self.by_use.len() > MAX_LISTS
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.lists.remove(&oldest);
        }
        // The newest is never the one thrown out, so this only looks it up again.
        self.lists.entry(*id).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Holding = Holding::Claimed(Availability { blocks: None, complete: Some(true), age: None });

    fn count(blocks: u32) -> Holding {
        Holding::Claimed(Availability { blocks: Some(blocks), complete: None, age: None })
    }

    const fn s(seconds: u64) -> Moment {
        Moment::from_secs(seconds)
    }

    fn id(number: u32) -> SegmentId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        SegmentId::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_claim_is_believed_for_a_minute_and_a_delivery_renews_it() {
        let mut claims = Claims::default();
        claims.claim(s(0), &id(1), HostId(1), ALL);
        assert_eq!(claims.knowledge(s(59), &id(1)), Knowledge::Somebody);
        assert_eq!(claims.knowledge(s(60), &id(1)), Knowledge::Unknown);
        claims.confirm(s(50), &id(1), HostId(1));
        assert_eq!(claims.holders(s(109), &id(1)).count(), 1);
        assert_eq!(claims.holders(s(110), &id(1)).count(), 0);
    }

    #[test]
    fn nobody_is_believed_for_fifteen_seconds_and_cleared_by_any_news() {
        let mut claims = Claims::default();
        claims.nobody(s(0), &id(1));
        assert_eq!(claims.knowledge(s(14), &id(1)), Knowledge::Nobody);
        assert_eq!(claims.knowledge(s(15), &id(1)), Knowledge::Unknown);
        claims.nobody(s(20), &id(1));
        claims.overheard(&id(1));
        assert_eq!(claims.knowledge(s(20), &id(1)), Knowledge::Unknown);
        claims.nobody(s(20), &id(1));
        claims.claim(s(21), &id(1), HostId(1), ALL);
        assert_eq!(claims.knowledge(s(21), &id(1)), Knowledge::Somebody);
        // An expired Probe does not make a fresh claim untrue.
        claims.nobody(s(22), &id(1));
        assert_eq!(claims.knowledge(s(22), &id(1)), Knowledge::Somebody);
    }

    #[test]
    fn a_wrong_hint_is_remembered_until_the_host_claims_it() {
        let mut claims = Claims::default();
        claims.withdraw(s(0), &id(1), HostId(1));
        assert!(claims.is_absent(s(1), &id(1), HostId(1)));
        assert!(!claims.is_absent(s(1), &id(1), HostId(2)));
        assert!(!claims.is_absent(s(15), &id(1), HostId(1)));
        claims.claim(s(2), &id(1), HostId(1), ALL);
        assert!(!claims.is_absent(s(2), &id(1), HostId(1)));
    }

    #[test]
    fn lists_and_holders_are_bounded() {
        let mut claims = Claims::default();
        for host in 0..40 {
            claims.claim(s(host), &id(1), HostId(host), ALL);
            claims.withdraw(s(host), &id(2), HostId(host));
        }
        let kept: Vec<u64> = claims.holders(s(40), &id(1)).map(|(host, _)| host.0).collect();
        assert_eq!(kept, (24..40).collect::<Vec<_>>());
        assert!(!claims.is_absent(s(40), &id(2), HostId(0)));
        for number in 0..2 * MAX_LISTS as u32 {
            claims.nobody(s(1), &id(1000 + number));
            claims.claim(s(41), &id(1), HostId(1), ALL);
        }
        assert_eq!(claims.lists.len(), MAX_LISTS);
        assert_eq!(claims.by_use.len(), MAX_LISTS);
        assert_eq!(claims.knowledge(s(41), &id(1)), Knowledge::Somebody);
        assert_eq!(claims.knowledge(s(1), &id(1000)), Knowledge::Unknown);
    }

    #[test]
    fn a_list_of_blocks_is_not_forgotten_for_a_count() {
        let mut claims = Claims::default();
        let listed = Holding::Listed(Box::new([3, 5].into_iter().collect()));
        let basis = |claims: &Claims, block| claims.holders(s(0), &id(1)).next().unwrap().1.basis(block, 512);
        claims.claim(s(0), &id(1), HostId(1), count(2));
        assert_eq!(basis(&claims, 3), Some(Basis::Perhaps));
        claims.claim(s(0), &id(1), HostId(1), listed);
        claims.claim(s(0), &id(1), HostId(1), count(2));
        assert_eq!((basis(&claims, 3), basis(&claims, 4)), (Some(Basis::Sure), None));
        claims.claim(s(0), &id(1), HostId(1), count(3));
        assert_eq!(basis(&claims, 4), Some(Basis::Perhaps));
        claims.claim(s(0), &id(1), HostId(1), count(512));
        assert_eq!(basis(&claims, 4), Some(Basis::Sure));
        let part = Holding::Claimed(Availability { blocks: None, complete: Some(false), age: None });
        assert_eq!((part.basis(0, 1), part.basis(0, 2)), (Some(Basis::Sure), Some(Basis::Perhaps)));
    }
}
