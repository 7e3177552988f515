//! What a download came to: the object that `peerdist get --json` prints.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fetch::Sources;

/// One finished download.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DownloadReport {
    /// The URL that was asked for.
    pub url: String,
    /// Where the content was written; `None` for standard output.
    pub file: Option<PathBuf>,
    /// The content's length in bytes.
    pub bytes: u64,
    /// The SHA-256 of the content as lower-case hexadecimal digits.
    pub sha256: String,
    /// From the first request to the last byte on disk.
    pub seconds: f64,
    /// `v1` or `v2`, or `None` where the origin gave none and everything came as it is.
    pub content_information: Option<String>,
    /// Where the bytes came from: bytes by source.
    pub sources: Sources,
    /// What was wrong with the node, where there was none or it stopped helping: the rest came from the origin as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_failure: Option<String>,
}
