//! A progress bar by source, on terminals alone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BytesFrom {
    /// The node's own cache.
    Cache,
    /// Other hosts of the LAN.
    Peers,
    /// The server that the content belongs to.
    Origin,
    /// A file on this host, for work that does not fetch.
    File,
}

impl fmt::Display for BytesFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cache => "cache",
            Self::Peers => "peers",
            Self::Origin => "origin",
            Self::File => "file",
        })
    }
}

/// The progress of one long piece of work on standard error. Nothing is drawn where that is no terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    by_source: Mutex<BTreeMap<BytesFrom, u64>>,
}

const WITH_LENGTH: &str = "{prefix} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} {msg}";
const WITHOUT_LENGTH: &str = "{prefix} {spinner} {bytes} {binary_bytes_per_sec} {msg}";

impl Progress {
    /// Shows `doing` and counts up to `length` bytes where that is known.
    #[must_use]
    pub fn new(doing: &'static str, length: Option<u64>) -> Self {
        // The target itself checks for a terminal.
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        let template = if length.is_some() { WITH_LENGTH } else { WITHOUT_LENGTH };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(doing);
        Self { bar, by_source: Mutex::default() }
    }

    /// The length became known, or changed.
    pub fn set_length(&self, length: u64) {
        self.bar.set_length(length);
        if let Ok(style) = ProgressStyle::with_template(WITH_LENGTH) {
            self.bar.set_style(style);
        }
    }

    /// Counts `bytes` that came from `source`.
    pub fn add(&self, source: BytesFrom, bytes: u64) {
        self.bar.inc(bytes);
        if self.bar.is_hidden() {
            return;
        }
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        *by_source.entry(source).or_default() += bytes;
        if by_source.len() > 1 || !by_source.contains_key(&BytesFrom::File) {
            self.bar.set_message(summary(&by_source));
        }
    }

    /// Runs `print` with the bar out of the way.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    /// The bar disappears, whatever way the work ended.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn summary(by_source: &BTreeMap<BytesFrom, u64>) -> String {
    let parts: Vec<_> = by_source.iter().map(|(source, bytes)| format!("{source} {}", HumanBytes(*bytes))).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_summed_up() {
        let by_source =
            BTreeMap::from([(BytesFrom::Origin, 1 << 20), (BytesFrom::Cache, 10), (BytesFrom::Peers, 3 << 30)]);
        assert_eq!(summary(&by_source), "cache 10 B, peers 3.00 GiB, origin 1.00 MiB");
    }
}
