//! Vectors and contents.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use peerdist_protocol::content::{ContentInformation, HashOptions, Hashed, Hasher, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use serde_json::Value;

/// The vectors whose names begin with `prefix`, with what is said of them.
pub(crate) fn vectors(prefix: &str) -> Vec<(String, Bytes, Value)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pccrc");
    let mut vectors: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().unwrap().strip_suffix(".bin").map(String::from))
        .filter(|name| name.starts_with(prefix))
        .map(|name| {
            let bytes = fs::read(directory.join(format!("{name}.bin"))).unwrap();
            let json = fs::read(directory.join(format!("{name}.json"))).unwrap();
            (name, Bytes::from(bytes), serde_json::from_slice(&json).unwrap())
        })
        .collect();
    vectors.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!vectors.is_empty(), "no vector is called {prefix}*");
    vectors
}

pub(crate) fn vector(name: &str) -> (Bytes, ContentInformation) {
    let (_, bytes, _) = vectors(name).into_iter().find(|(found, ..)| found == name).unwrap();
    let parsed = ContentInformation::parse(bytes.clone()).unwrap();
    (bytes, parsed)
}

/// The content of the synthetic vectors: SHA-256 of a counter, again and again.
pub(crate) fn generated_content(length: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(length + 32);
    for counter in 0u64.. {
        if content.len() >= length {
            break;
        }
        content.extend_from_slice(HashAlgorithm::Sha256.hash(&counter.to_le_bytes()).as_bytes());
    }
    content.truncate(length);
    content
}

pub(crate) fn server_secret() -> ServerSecret {
    ServerSecret::from_bytes(*b"no more secrets")
}

pub(crate) const BOTH: HashOptions = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: true };

pub(crate) fn hashed(content: &[u8], options: HashOptions) -> Hashed {
    let mut hasher = Hasher::new(options, &server_secret());
    hasher.update(content);
    hasher.finish().unwrap()
}
