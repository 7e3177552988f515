//! What becomes of an offer to take content information.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use peerdist_protocol::content::Hashed;
use peerdist_protocol::http::Offer;

use super::Shared;
use super::jobs::{HashFailure, blocking};
use super::kept::{ContentKey, Kept};

/// What an offer is answered with.
pub(super) enum Answered {
    /// Content information.
    Described(Bytes),
    /// Identity, and hashing is under way.
    TryLater,
    /// Identity.
    Identity,
}

impl Shared {
    /// Looks for content information of `range` of the content, and starts to make it if there is none. Only a hash
    /// request waits for that.
    pub(super) async fn answer_offer<F>(
        self: &Arc<Self>,
        offer: &Offer,
        key: &ContentKey,
        range: &Range<u64>,
        hash: F,
    ) -> Answered
    where
        F: Future<Output = Result<Hashed, HashFailure>> + Send + 'static,
    {
        if !offer.content.preferred().any(|version| self.makes(version)) {
            return Answered::Identity;
        }
        let mut kept = self.kept(key).await;
        if kept.is_none() {
            if !self.jobs.start(key.clone(), hash) {
                return Answered::Identity;
            }
            if !offer.is_hash_request {
                return Answered::TryLater;
            }
            let _ = tokio::time::timeout(self.config.hash_request_wait, self.jobs.wait_for(&key.resource)).await;
            kept = self.kept(key).await;
        }
        kept.and_then(|kept| kept.describe(offer.content, range)).map_or(Answered::Identity, Answered::Described)
    }

    async fn kept(self: &Arc<Self>, key: &ContentKey) -> Option<Arc<Kept>> {
        match self.kept.get_from_memory(key) {
            None if self.kept.has_disk() => {
                let (shared, key) = (self.clone(), key.clone());
                blocking(move || shared.kept.get(&key)).await.ok().flatten()
            }
            kept => kept,
        }
    }
}

/// What an upstream server may say about the bytes of its body, which are not those of ours.
const DIGESTS: [&str; 4] = ["content-md5", "digest", "content-digest", "repr-digest"];

/// Puts the headers of a content information answer in place of those of the identity response.
pub(super) fn describe_headers(headers: &mut HeaderMap, offer: &Offer, content_length: u64, body: &Bytes) {
    for name in DIGESTS {
        headers.remove(name);
    }
    headers.insert(CONTENT_LENGTH, body.len().into());
    put(headers, offer.answer_headers(content_length));
}

/// Adds the headers that ask the client to come again. `false` if this client is not to be asked.
pub(super) fn try_later_headers(headers: &mut HeaderMap, offer: &Offer) -> bool {
    let lines = offer.try_later_headers();
    let asked = lines.is_some();
    put(headers, lines.into_iter().flatten());
    asked
}

fn put(headers: &mut HeaderMap, lines: impl IntoIterator<Item = (&'static str, String)>) {
    for (name, value) in lines {
        // Both are made of our own constants and digits.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}

/// A request's or response's headers as text. A value that is no text becomes one that no header understands.
pub(super) fn header_pairs(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?"))).collect()
}
