//! What fetching did since the node started.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::fetch::plan::Answer;
use crate::fetch::why::MissingReason;

/// What fetching did since the node started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FetchCounters {
    /// Contents opened.
    pub contents: u64,
    /// Verified bytes read from the cache.
    pub bytes_from_cache: u64,
    /// Verified bytes delivered by peers.
    pub bytes_from_peers: u64,
    /// Verified bytes that came from origins.
    pub bytes_from_origin: u64,
    /// Runs of blocks that had to come from an origin, by reason.
    pub missing: BTreeMap<MissingReason, u64>,
    /// Exchanges with peers that ended, by what came of them.
    pub exchanges: BTreeMap<&'static str, u64>,
    /// Probes sent.
    pub probes: u64,
    /// Probes that could not be sent.
    pub probes_failed: u64,
    /// Answers to Probes.
    pub matches: u64,
    /// Probes of other hosts.
    pub overheard: u64,
    /// Verified blocks that the cache did not take.
    pub not_cached: u64,
    /// Records of the cache that were not the block they should have been.
    pub bad_cache_records: u64,
    /// Blocks from an origin that are not what its content information describes.
    pub wrong_origin_blocks: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<FetchCounters>);

impl Counters {
    pub(super) fn update(&self, change: impl FnOnce(&mut FetchCounters)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn snapshot(&self) -> FetchCounters {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn answered(&self, answer: Answer, bytes: usize) {
        let name = match answer {
            Answer::Block => "block",
            Answer::Empty => "empty",
            Answer::TimedOut => "timed_out",
            Answer::Unreachable => "unreachable",
            Answer::Refused => "refused",
            Answer::BadHash => "bad_hash",
            Answer::Local => "local",
        };
        self.update(|counters| {
            *counters.exchanges.entry(name).or_default() += 1;
            counters.bytes_from_peers += bytes as u64;
        });
    }
}
