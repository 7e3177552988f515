//! What a store counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::types::Refusal;

/// A counter that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters behind [`StoreStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) appended: Counter,
    pub(super) duplicates: Counter,
    pub(super) evicted: Counter,
    pub(super) expired: Counter,
    pub(super) carried: Counter,
    pub(super) removed: Counter,
    pub(super) corrupt: Counter,
    pub(super) rescanned_packs: Counter,
    pub(super) lost_packs: Counter,
    pub(super) failed_reads: Counter,
    refused: [Counter; Refusal::ALL.len()],
}

impl Counters {
    /// Counts an append that was refused.
    pub(super) fn refuse(&self, refusal: Refusal) -> Refusal {
        self.refused[refusal as usize].add(1);
        refusal
    }

    pub(super) fn refused(&self) -> RefusedAppends {
        let count = |refusal: Refusal| self.refused[refusal as usize].get();
        RefusedAppends {
            disk_full: count(Refusal::DiskFull),
            keep_free: count(Refusal::KeepFree),
            write_failed: count(Refusal::WriteFailed),
            too_many_tags: count(Refusal::TooManyTags),
            closed: count(Refusal::Closed),
        }
    }
}

/// The state of a store, and what happened since it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStats {
    /// Bytes of all files.
    pub bytes_on_disk: u64,
    /// Bytes of them that can be read: records that were not removed, replaced or too old.
    pub live_bytes: u64,
    /// The limit in bytes that was configured.
    pub limit: u64,
    /// The limit in bytes that holds now: less where the volume has to be kept free.
    pub limit_now: u64,
    /// Segments of which at least one block is held.
    pub segments: u64,
    /// Blocks held.
    pub blocks: u64,
    /// Packs.
    pub packs: u64,
    /// Blocks read.
    pub hits: u64,
    /// Reads of blocks that are not held, too old, or of too little trust.
    pub misses: u64,
    /// Blocks appended.
    pub appended: u64,
    /// Appends of blocks that were held already.
    pub duplicates: u64,
    /// Blocks dropped for space.
    pub evicted: u64,
    /// Blocks dropped because of their age.
    pub expired: u64,
    /// Blocks carried forward because they were used.
    pub carried: u64,
    /// Blocks removed by request.
    pub removed: u64,
    /// Blocks found damaged.
    pub corrupt: u64,
    /// Packs read anew because their sidecar was missing or damaged.
    pub rescanned_packs: u64,
    /// Packs given up because neither file could be made sense of.
    pub lost_packs: u64,
    /// Reads that the system failed.
    pub failed_reads: u64,
    /// Appends refused, by reason.
    pub refused: RefusedAppends,
    /// Why nothing is appended at the moment.
    pub paused: Option<Refusal>,
}

/// Appends refused, by reason: the reasons of [`Refusal`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAppends {
    /// [`Refusal::DiskFull`].
    pub disk_full: u64,
    /// [`Refusal::KeepFree`].
    pub keep_free: u64,
    /// [`Refusal::WriteFailed`].
    pub write_failed: u64,
    /// [`Refusal::TooManyTags`].
    pub too_many_tags: u64,
    /// [`Refusal::Closed`].
    pub closed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let counters = Counters::default();
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, at);
            (0..=at).for_each(|_| _ = counters.refuse(refusal));
        }
        let expected = RefusedAppends { disk_full: 1, keep_free: 2, write_failed: 3, too_many_tags: 4, closed: 5 };
        assert_eq!(counters.refused(), expected);
    }
}
