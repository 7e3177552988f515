//! Where the log goes, and changing what is in it while the daemon runs.

use std::io::IsTerminal;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::LogFilter;

/// The environment variable that wins over the configured filter.
pub const LOG_VARIABLE: &str = "PEERDIST_LOG";

/// Changes the filter of the running log.
#[derive(Debug)]
pub(super) struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Log {
    /// Starts the process's log on standard error. A log that runs already (in tests) stays as it is.
    pub(super) fn start(configured: &LogFilter) -> Self {
        let (filter, handle) = reload::Layer::new(effective(configured));
        let journal = std::env::var_os("JOURNAL_STREAM").is_some();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = std::io::stderr().is_terminal() && !plain;
        let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(colour);
        // The journal knows the time.
        let started = if journal {
            tracing_subscriber::registry().with(filter).with(layer.without_time()).try_init()
        } else {
            tracing_subscriber::registry().with(filter).with(layer).try_init()
        };
        if let Err(error) = started {
            tracing::warn!(%error, "a log runs already");
        }
        Self { filter: handle }
    }

    pub(super) fn set_filter(&self, configured: &LogFilter) {
        if let Err(error) = self.filter.reload(effective(configured)) {
            tracing::warn!(%error, "cannot change the log filter");
        }
    }
}

fn effective(configured: &LogFilter) -> EnvFilter {
    EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(configured.as_str()))
}
