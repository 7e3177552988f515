//! Why a host is not asked for a while: what it did wrong, and what it cost those who waited for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::host::Kind;
use crate::fetch::Moment;

/// Failures in a row after which a host is out ([MS-CCRSO] 6.4.2: 3).
pub(super) const STRIKES: u32 = 3;
/// How long the first time; it doubles every time until it delivers.
const FIRST_OUTAGE: Duration = Duration::from_secs(10);
const MAX_OUTAGE: Duration = Duration::from_secs(600);
const MAX_OUTAGE_DOUBLINGS: u32 = 8;
/// How long a host that delivered wrong bytes is out.
const BAD_HASH_OUTAGE: Duration = Duration::from_secs(600);
/// How long a hosted cache that failed is out, the first time and at most: a whole branch misses it.
const FIRST_HOSTED_OUTAGE: Duration = Duration::from_secs(5);
const MAX_HOSTED_OUTAGE: Duration = Duration::from_secs(60);
/// What a wrong block of a hosted cache weighs; each right one takes one away again. With more than the tolerance it is
/// out for a while: it delivers nine wrong ones in a row, or for long more than one in nine.
const BAD_BLOCK: u32 = 8;
const BAD_BLOCK_TOLERANCE: u32 = 64;
/// How often a host may keep a reader waiting to no avail until it is out; once more whenever it is back.
const VAIN_WAITS: u32 = 2;
/// What is over sooner is not counted as a wait.
pub(super) const LEAST_WAIT: Duration = Duration::from_millis(500);
/// How long a hosted cache may be busy in all, the time of its answers included, until it is out for a while, and how
/// much of that each of its blocks makes good: one that is nearly always busy would cost as much time with each of them,
/// for as long as a download lasts.
const BUSY_TOLERANCE: Duration = Duration::from_secs(4);
const BUSY_PER_BLOCK: Duration = Duration::from_millis(20);
/// How long readers may wait in all for what a host was asked for, in vain or not, until it is out for a while, and how
/// much of that each of its blocks makes good. One wait that patience ends is no reason. One whose blocks come slowly but
/// one after the other, or late but many at once, stays: with blocks of 64 KiB these are 2 Mbit/s, and 7 of a hosted cache,
/// which stands for a whole LAN.
const SLOW_TOLERANCE: Duration = Duration::from_secs(6);
const SLOW_PER_BLOCK: Duration = Duration::from_millis(250);
const SLOW_PER_HOSTED_BLOCK: Duration = Duration::from_millis(80);
/// How long a host is out that spent one of these.
const SPENT_OUTAGE: Duration = Duration::from_secs(60);

/// Why a host is not asked at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutCause {
    /// It delivered bytes with the wrong hash.
    BadHash,
    /// It failed several times in a row.
    Failures,
    /// Readers waited for blocks that it says it holds: in vain, or for long.
    KeptWaiting,
}

/// Time that a host may cost.
#[derive(Debug)]
struct Budget {
    tolerance: Duration,
    per_block: Duration,
    /// Without what blocks made good.
    spent: Duration,
}

impl Budget {
    fn new(tolerance: Duration, per_block: Duration) -> Self {
        Self { tolerance, per_block, spent: Duration::ZERO }
    }

    fn block_came(&mut self) {
        self.spent = self.spent.saturating_sub(self.per_block);
    }

    /// Returns whether that was more than is tolerated; then half of it is left.
    fn spend(&mut self, time: Duration) -> bool {
        self.spent = self.spent.saturating_add(time);
        let is_spent = self.spent > self.tolerance;
        if is_spent {
            self.spent = self.tolerance / 2;
        }
        is_spent
    }
}

/// What one host did wrong, and until when it is out for it.
#[derive(Debug)]
pub(super) struct Outages {
    kind: Kind,
    out: Option<(Moment, OutCause)>,
    strikes: u32,
    /// How often in a row it was out for failures.
    failed: u32,
    bad_blocks: u32,
    kept_waiting: u32,
    /// Whether it was out for wrong blocks, or because it cost too much time, and has not delivered a block since.
    has_to_deliver: bool,
    /// Waits that began before this do not count.
    waits_count_from: Moment,
    busy: Budget,
    slow: Budget,
    /// Time that readers waited before this is in `slow`.
    slow_until: Moment,
}

impl Outages {
    pub(super) fn new(kind: Kind) -> Self {
        let slow_per_block = match kind {
            Kind::Peer => SLOW_PER_BLOCK,
            Kind::HostedCache => SLOW_PER_HOSTED_BLOCK,
        };
        Self {
            kind,
            out: None,
            strikes: 0,
            failed: 0,
            bad_blocks: 0,
            kept_waiting: 0,
            has_to_deliver: false,
            waits_count_from: Moment::ZERO,
            busy: Budget::new(BUSY_TOLERANCE, BUSY_PER_BLOCK),
            slow: Budget::new(SLOW_TOLERANCE, slow_per_block),
            slow_until: Moment::ZERO,
        }
    }

    /// Until when it is out, and why.
    pub(super) fn out(&self, now: Moment) -> Option<(Moment, OutCause)> {
        self.out.filter(|(until, _)| *until > now)
    }

    /// Whether it was out and has not delivered anything since: a block, where it was out for want of blocks.
    pub(super) fn is_on_probation(&self) -> bool {
        self.failed > 0 || self.kept_waiting >= VAIN_WAITS || self.has_to_deliver
    }

    /// Whether it was out because it failed, and has not answered since.
    pub(super) fn has_yet_to_answer(&self) -> bool {
        self.failed > 0
    }

    /// What went wrong since it last did well.
    pub(super) fn faults(&self) -> u32 {
        self.strikes + self.kept_waiting
    }

    /// It delivered a block.
    pub(super) fn block_came(&mut self, now: Moment) {
        self.busy.block_came();
        self.slow.block_came();
        self.bad_blocks = self.bad_blocks.saturating_sub(1);
        self.kept_waiting = 0;
        self.has_to_deliver = false;
        self.waits_count_from = now;
    }

    /// It delivered something.
    pub(super) fn works(&mut self) {
        self.strikes = 0;
        self.failed = 0;
    }

    /// It answered that it does not hold something.
    pub(super) fn answered(&mut self) {
        self.strikes = 0;
    }

    /// It failed; after `allowed` failures in a row it is out.
    pub(super) fn strike(&mut self, now: Moment, allowed: u32) {
        if self.is_out(now) {
            return;
        }
        self.strikes += 1;
        if self.strikes >= allowed {
            self.out = Some((now + self.outage(self.failed), OutCause::Failures));
            self.failed += 1;
            // Back on probation: the next failure puts it out again.
            self.strikes = STRIKES - 1;
        }
    }

    /// It delivered a block with the wrong hash.
    pub(super) fn sent_wrong_bytes(&mut self, now: Moment) {
        if self.kind == Kind::HostedCache {
            self.bad_blocks += BAD_BLOCK;
            if self.bad_blocks <= BAD_BLOCK_TOLERANCE {
                return;
            }
            self.bad_blocks = 0;
            self.out = Some((now + MAX_HOSTED_OUTAGE, OutCause::BadHash));
        } else {
            self.out = Some((now + BAD_HASH_OUTAGE, OutCause::BadHash));
        }
        self.has_to_deliver = true;
    }

    /// A reader waited since then for a block that the host says it holds: in vain, and it was the host's turn. A wait
    /// during which the host delivered anything does not count, and waits at the same time count once.
    pub(super) fn kept_waiting(&mut self, now: Moment, since: Moment) {
        let is_counted = since >= self.waits_count_from && since + LEAST_WAIT <= now;
        if !is_counted || self.is_out(now) {
            return;
        }
        self.waits_count_from = now;
        self.kept_waiting += 1;
        if let Some(times) = self.kept_waiting.checked_sub(VAIN_WAITS) {
            self.out = Some((now + self.outage(times), OutCause::KeptWaiting));
            self.kept_waiting = self.kept_waiting.min(VAIN_WAITS + MAX_OUTAGE_DOUBLINGS);
        }
    }

    /// It said that it is busy, and is not asked for so long. Peers are many: others take the place of one that is busy.
    pub(super) fn was_busy(&mut self, now: Moment, time: Duration) {
        if self.kind == Kind::HostedCache && !self.is_out(now) && self.busy.spend(time) {
            self.has_cost_too_much(now);
        }
    }

    /// A reader waited since then for what the host was asked for. Time that several readers waited counts once.
    pub(super) fn was_waited_for(&mut self, now: Moment, since: Moment) {
        let waited = now.saturating_sub(since.max(self.slow_until));
        self.slow_until = now;
        if !self.is_out(now) && self.slow.spend(waited) {
            self.has_cost_too_much(now);
        }
    }

    fn has_cost_too_much(&mut self, now: Moment) {
        self.out = Some((now + SPENT_OUTAGE, OutCause::KeptWaiting));
        self.has_to_deliver = true;
    }

    fn is_out(&self, now: Moment) -> bool {
        self.out(now).is_some()
    }

    /// How long it is out after so many times.
    fn outage(&self, times: u32) -> Duration {
        let (first, longest) = match self.kind {
            Kind::Peer => (FIRST_OUTAGE, MAX_OUTAGE),
            Kind::HostedCache => (FIRST_HOSTED_OUTAGE, MAX_HOSTED_OUTAGE),
        };
        (first * (1 << times.min(MAX_OUTAGE_DOUBLINGS))).min(longest)
    }
}
