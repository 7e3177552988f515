//! Content to hash, fetch and cache.

use peerdist_protocol::content::{ContentInformation, ContentVersion, HashOptions, Hasher, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;

/// Bytes that look random and are the same every time.
pub(crate) fn content(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut step).take(length.div_ceil(8)).flatten().collect();
    bytes.truncate(length);
    bytes
}

/// Content information of `content` under a secret that does not matter.
pub(crate) fn information(content: &[u8], version: ContentVersion) -> ContentInformation {
    let v1 = (version == ContentVersion::V1).then_some(HashAlgorithm::Sha256);
    let options = HashOptions { v1, v2: version == ContentVersion::V2 };
    let mut hasher = Hasher::new(options, &ServerSecret::from_passphrase("test"));
    hasher.update(content);
    let hashed = hasher.finish().unwrap();
    hashed.v1.or(hashed.v2).unwrap()
}
