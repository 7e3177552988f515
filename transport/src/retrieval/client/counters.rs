//! What a retrieval client did.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::ExchangeError;

/// What a retrieval client did since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCounters {
    /// Exchanges begun.
    pub exchanges: u64,
    /// Connections opened.
    pub connections: u64,
    /// Requests sent over a connection that was kept.
    pub reused: u64,
    /// Requests sent again because a kept connection was closed by then.
    pub retried: u64,
    /// Bytes of the responses' bodies.
    pub bytes_received: u64,
    /// Exchanges that failed, by kind ([`ExchangeError::as_str`]).
    pub failed: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<ClientCounters>);

impl Counters {
    pub(super) fn update(&self, change: impl FnOnce(&mut ClientCounters)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn snapshot(&self) -> ClientCounters {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn failed(&self, error: &ExchangeError) {
        self.update(|counters| *counters.failed.entry(error.as_str()).or_default() += 1);
    }
}
