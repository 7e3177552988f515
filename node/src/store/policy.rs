//! What a store keeps and what it drops, decided without a disk.

use super::entry::UnixTime;
use super::types::{Limits, Refusal, SizeLimit, StoreError};

/// The least size of a store in bytes.
pub(super) const MIN_LIMIT: u64 = 16 << 20;
const MIN_PACK: u64 = 1 << 20;
const MAX_PACK: u64 = 256 << 20;
/// More packs than this are never open; the index could name 65,536.
const MAX_PACKS: u64 = 65_000;
/// At most so many records are carried out of a dropped pack, whatever their size.
const MAX_CARRIED: usize = 16_384;

/// The volume that holds the store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) size: u64,
    pub(super) free: u64,
}

/// The limit that was configured, in bytes.
pub(super) fn configured_limit(limits: &Limits, disk: Disk) -> Result<u64, StoreError> {
    let limit = match limits.size {
        SizeLimit::Bytes(limit) if limit < MIN_LIMIT => return Err(StoreError::LimitTooSmall { limit }),
        SizeLimit::Bytes(limit) => limit,
        SizeLimit::PercentOfDisk(percent) => (disk.size / 100 * u64::from(percent.min(100))).max(MIN_LIMIT),
    };
    Ok(limit.min(MAX_PACKS * MAX_PACK))
}

/// The limit that holds now: less than the configured one where others need the space.
pub(super) fn limit_now(configured: u64, keep_free: u64, used: u64, disk: Disk) -> u64 {
    configured.min(used.saturating_add(disk.free).saturating_sub(keep_free))
}

/// How large a pack grows.
pub(super) fn pack_size(limit: u64) -> u64 {
    (limit / 64).clamp(MIN_PACK, MAX_PACK)
}

/// Whether there is room for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Enough,
    /// There is once a pack was dropped.
    AfterDrop,
    /// There is none.
    None(Refusal),
}

/// Whether `need` more bytes fit. A quarter of a pack stays free for what is carried out of a dropped one.
pub(super) fn room(used: u64, need: u64, limit: u64, packs: usize) -> Room {
    if limit < MIN_LIMIT {
        Room::None(Refusal::KeepFree)
    } else if (packs as u64) < MAX_PACKS && used + need + pack_size(limit) / 4 <= limit {
        Room::Enough
    } else {
        Room::AfterDrop
    }
}

/// Whether a pack should be dropped: ahead of need, so that no append has to wait for it, or because others need the
/// space.
pub(super) fn is_tight(used: u64, configured: u64, limit_now: u64) -> bool {
    // The pack that is begun now and what is carried out of the one that is dropped next.
    let ahead = pack_size(configured) / 4 * 5;
    used + ahead > configured || used > limit_now
}

/// What there is to know of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackState {
    /// Bytes of its two files.
    pub(super) bytes: u64,
    /// Bytes of them that can still be read.
    pub(super) live: u64,
    /// When its youngest record entered the store.
    pub(super) newest: UnixTime,
    /// Its sidecar says something of older packs: it may not go before them.
    pub(super) speaks_of_older: bool,
}

/// Why a pack is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DropReason {
    /// Nothing in it can be read.
    Dead,
    /// All of it is too old.
    Expired,
    /// Its space is needed.
    Space,
}

/// Which pack to drop, of packs in the order of their age, and why. Space is taken from the oldest alone.
pub(super) fn next_drop(packs: &[PackState], not_before: UnixTime, need_space: bool) -> Option<(usize, DropReason)> {
    let reason_of = |pack: &PackState| match pack {
        PackState { live: 0, .. } => Some(DropReason::Dead),
        PackState { newest, .. } if *newest < not_before => Some(DropReason::Expired),
        _ => None,
    };
    let useless = packs.iter().enumerate().find_map(|(at, pack)| {
        let may_go = at == 0 || !pack.speaks_of_older;
        reason_of(pack).filter(|_| may_go).map(|reason| (at, reason))
    });
    useless.or_else(|| (need_space && !packs.is_empty()).then_some((0, DropReason::Space)))
}

/// How many bytes of a dropped pack may be carried forward: a quarter of it, and no more than the limit allows.
pub(super) fn carry_budget(used: u64, pack: &PackState, limit: u64) -> u64 {
    let after = used.saturating_sub(pack.bytes);
    (pack.bytes / 4).min(limit.saturating_sub(after))
}

/// A record that could be carried forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) bytes: u64,
    /// Read since it was written.
    pub(super) used: bool,
    pub(super) time: UnixTime,
}

/// Chooses what is carried forward, as candidates come.
#[derive(Debug)]
pub(super) struct Carry {
    budget: u64,
    left: usize,
    not_before: UnixTime,
}

impl Carry {
    pub(super) fn new(budget: u64, not_before: UnixTime) -> Self {
        Self { budget, left: MAX_CARRIED, not_before }
    }

    /// Whether this record is carried forward.
    pub(super) fn takes(&mut self, candidate: Candidate) -> bool {
        let takes =
            candidate.used && candidate.time >= self.not_before && self.left > 0 && candidate.bytes <= self.budget;
        if takes {
            self.budget -= candidate.bytes;
            self.left -= 1;
        }
        takes
    }
}

/// The age from which a block is too old, in seconds.
pub(super) fn max_age(limits: &Limits) -> u32 {
    u32::try_from(limits.max_age.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Disk = Disk { size: 1 << 40, free: 1 << 39 };

    fn limits(size: SizeLimit) -> Limits {
        Limits { size, ..Limits::default() }
    }

    #[test]
    fn limits_are_bytes_or_a_share_of_the_volume() {
        let limit = |size| configured_limit(&limits(size), DISK);
        assert_eq!(limit(SizeLimit::Bytes(MIN_LIMIT)).unwrap(), MIN_LIMIT);
        assert!(matches!(
            limit(SizeLimit::Bytes(MIN_LIMIT - 1)),
            Err(StoreError::LimitTooSmall { limit }) if limit == MIN_LIMIT - 1
        ));
        assert_eq!(limit(SizeLimit::PercentOfDisk(5)).unwrap(), (1 << 40) / 100 * 5);
        assert_eq!(limit(SizeLimit::PercentOfDisk(0)).unwrap(), MIN_LIMIT);
        assert_eq!(limit(SizeLimit::Bytes(u64::MAX)).unwrap(), MAX_PACKS * MAX_PACK);
    }

    #[test]
    fn the_store_gives_way_to_others() {
        let disk = Disk { size: 100 << 30, free: 2 << 30 };
        assert_eq!(limit_now(10 << 30, 1 << 30, 0, disk), 1 << 30);
        assert_eq!(limit_now(10 << 30, 1 << 30, 5 << 30, disk), 6 << 30);
        assert_eq!(limit_now(10 << 30, 8 << 30, 5 << 30, disk), 0);
        assert_eq!(limit_now(1 << 30, 1 << 30, 5 << 30, disk), 1 << 30);
    }

    #[test]
    fn a_pack_is_a_64th_of_the_limit_within_bounds() {
        assert_eq!(pack_size(MIN_LIMIT), 1 << 20);
        assert_eq!(pack_size(1 << 30), 16 << 20);
        assert_eq!(pack_size(1 << 50), 256 << 20);
    }

    #[test]
    fn room_leaves_a_quarter_of_a_pack() {
        let (limit, reserve) = (64 << 20, 256 << 10);
        assert_eq!(room(limit - reserve - 100, 100, limit, 64), Room::Enough);
        assert_eq!(room(limit - reserve - 100, 101, limit, 64), Room::AfterDrop);
        assert_eq!(room(0, 1, limit, MAX_PACKS as usize), Room::AfterDrop);
        assert_eq!(room(0, 1, MIN_LIMIT - 1, 0), Room::None(Refusal::KeepFree));
        let ahead = 5 << 18;
        assert!(!is_tight(limit - ahead, limit, limit) && is_tight(limit - ahead + 1, limit, limit));
        // A full volume alone is no reason to drop anything, space that is to be kept free is.
        assert!(!is_tight(30 << 20, limit, 30 << 20) && is_tight(30 << 20, limit, 29 << 20));
    }

    #[test]
    fn useless_packs_go_first_then_the_oldest() {
        let good = PackState { bytes: 100, live: 50, newest: 1000, speaks_of_older: false };
        let dead = PackState { live: 0, ..good };
        let old = PackState { newest: 10, ..good };
        assert_eq!(next_drop(&[], 500, true), None);
        assert_eq!(next_drop(&[good, good], 500, false), None);
        assert_eq!(next_drop(&[good, good], 500, true), Some((0, DropReason::Space)));
        assert_eq!(next_drop(&[good, dead], 500, true), Some((1, DropReason::Dead)));
        assert_eq!(next_drop(&[good, old], 500, false), Some((1, DropReason::Expired)));
        let speaking = PackState { speaks_of_older: true, ..dead };
        assert_eq!(next_drop(&[good, speaking], 500, false), None);
        assert_eq!(next_drop(&[speaking, good], 500, false), Some((0, DropReason::Dead)));
    }

    #[test]
    fn a_quarter_is_carried_unless_the_limit_shrank() {
        let pack = PackState { bytes: 1000, live: 1000, newest: 0, speaks_of_older: false };
        assert_eq!(carry_budget(10_000, &pack, 10_000), 250);
        assert_eq!(carry_budget(10_000, &pack, 9_100), 100);
        assert_eq!(carry_budget(10_000, &pack, 5_000), 0);
    }

    #[test]
    fn only_used_and_young_records_are_carried() {
        let mut carry = Carry::new(250, 100);
        let candidate = Candidate { bytes: 100, used: true, time: 100 };
        assert!(!carry.takes(Candidate { used: false, ..candidate }));
        assert!(!carry.takes(Candidate { time: 99, ..candidate }));
        assert!(carry.takes(candidate) && carry.takes(candidate));
        assert!(!carry.takes(candidate));
        assert!(carry.takes(Candidate { bytes: 50, ..candidate }));
    }
}
