//! What a hosted cache says about itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use peerdist_protocol::hosted_cache::ContentTag;
use serde::Serialize;

/// The hosted cache's part of the status.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HostedCacheStatus {
    /// Where offers are taken.
    pub listeners: Vec<OfferListener>,
    /// Offers, by kind.
    pub offers: Offers,
    /// Offers without an answer because they are none, by reason ([`peerdist_protocol::hosted_cache::OfferError`]).
    pub offers_discarded: BTreeMap<&'static str, u64>,
    /// Connections for offers of version 1.0 that did not come to a TLS session.
    pub tls_failures: u64,
    /// Segments offered by BATCHED_OFFER and SEGMENT_INFO, and by an INITIAL_OFFER that needs no SEGMENT_INFO.
    pub segments_offered: u64,
    /// Offered segments that led to nothing, by reason.
    pub ignored: BTreeMap<&'static str, u64>,
    /// Segments that wait to be fetched now.
    pub queued: u64,
    /// Runs of blocks that are being fetched now.
    pub pulling: u64,
    /// Segments fetched, and complete since then.
    pub pulled_segments: u64,
    /// Blocks fetched and kept.
    pub pulled_blocks: u64,
    /// Bytes of them.
    pub pulled_bytes: u64,
    /// Fetches of blocks that failed, by reason. `empty` counts blocks that the offering host does not have, or not yet.
    pub pulls_failed: BTreeMap<&'static str, u64>,
    /// Offers of segments that were complete already or have another number of blocks: somebody says that what is held is
    /// no good.
    pub complaints: u64,
    /// Answers that were wrong, and offers of what the same host gave and is held.
    pub strikes: u64,
    /// Hosts that nothing is taken from now because of their strikes.
    pub sources_out: u64,
    /// Segments whose hashes are known, from offers of version 1.0.
    pub known_segments: u64,
    /// The same by content tag.
    pub tags: BTreeMap<&'static str, TagStatus>,
}

/// A port where offers are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfferListener {
    /// The address.
    pub address: SocketAddr,
    /// The version of the offers there.
    pub version: String,
}

/// Offers by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Offers {
    /// INITIAL_OFFER, version 1.0.
    pub initial_offer: u64,
    /// SEGMENT_INFO, version 1.0.
    pub segment_info: u64,
    /// BATCHED_OFFER, version 2.0.
    pub batched_offer: u64,
}

/// What came under one content tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TagStatus {
    /// Offers that name it; a BATCHED_OFFER counts for the tag of its first segment.
    pub offers: u64,
    /// Segments offered.
    pub segments_offered: u64,
    /// Segments fetched, and complete since then.
    pub pulled_segments: u64,
    /// Blocks fetched and kept.
    pub pulled_blocks: u64,
    /// Bytes of them.
    pub pulled_bytes: u64,
}

impl HostedCacheStatus {
    pub(super) fn ignore(&mut self, reason: &'static str, segments: u64) {
        if segments > 0 {
            *self.ignored.entry(reason).or_default() += segments;
        }
    }

    pub(super) fn pull_failed(&mut self, reason: &'static str) {
        *self.pulls_failed.entry(reason).or_default() += 1;
    }

    pub(super) fn offered(&mut self, name: &'static str, segments: u64) {
        self.segments_offered += segments;
        self.tags.entry(name).or_default().segments_offered += segments;
    }

    pub(super) fn pulled(&mut self, tag: ContentTag, bytes: u64) {
        self.pulled_blocks += 1;
        self.pulled_bytes += bytes;
        let tag = self.tags.entry(tag.name()).or_default();
        tag.pulled_blocks += 1;
        tag.pulled_bytes += bytes;
    }

    pub(super) fn completed(&mut self, tag: ContentTag) {
        self.pulled_segments += 1;
        self.tags.entry(tag.name()).or_default().pulled_segments += 1;
    }
}
