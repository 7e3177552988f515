//! Content information from a file in the page cache, against `openssl speed`.

use std::num::NonZeroUsize;
use std::path::Path;

use peerdist_protocol::content::{HashOptions, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_transport::hashing::hash_file;

use crate::row::{Row, in_turns, rounds};
use crate::stage::write_content;
use crate::tools::{MB, openssl_speed, seconds};

/// The length of the file in bytes.
const LENGTH: u64 = 512 << 20;

const V1: HashOptions = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: false };
const V2: HashOptions = HashOptions { v1: None, v2: true };
const BOTH: HashOptions = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: true };

pub(crate) fn rows() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("content");
    write_content(&file, LENGTH);
    let hash = |options: HashOptions, threads: usize| throughput(&file, options, threads);
    let (v1, sha256) = in_turns(|| hash(V1, 1), || openssl_speed("sha256"));
    let (v2, sha512) = in_turns(|| hash(V2, 1), || openssl_speed("sha512"));
    let both = rounds(|| hash(BOTH, 1));
    let harmonic = 1.0 / (1.0 / sha256 + 1.0 / sha512);
    let (two_cores, one_core) = in_turns(|| hash(BOTH, 2), || hash(BOTH, 1));
    vec![
        Row::against("content information v1, one core", v1, "openssl sha256", sha256, "MB/s", 0.9, 1.5),
        Row::against("content information v2, one core", v2, "openssl sha512", sha512, "MB/s", 0.7, 1.5),
        Row::against("both in one pass, one core", both, "harmonic sum of the two", harmonic, "MB/s", 0.9, 1.4),
        Row::against("both in one pass, two cores", two_cores, "on one core", one_core, "MB/s", 1.9, 2.0),
    ]
}

/// In MB/s.
fn throughput(file: &Path, options: HashOptions, threads: usize) -> f64 {
    let threads = NonZeroUsize::new(threads).expect("not zero");
    let secret = ServerSecret::from_passphrase("benchmark");
    LENGTH as f64 / MB / seconds(|| _ = hash_file(file, options, &secret, threads).expect("the file can be hashed"))
}
