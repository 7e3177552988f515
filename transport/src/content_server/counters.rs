//! What a content server counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a content server counted since it was made.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(super) struct LiveCounters {
            $(pub(super) $name: Counter,)*
        }

        impl LiveCounters {
            pub(super) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Requests read to the end of their head.
    requests,
    /// Responses that are content information.
    content_information_answers,
    /// Bytes of content information sent.
    content_information_bytes,
    /// Bytes of identity bodies sent, without those of missing data.
    identity_bytes,
    /// Requests with MissingDataRequest.
    missing_data_requests,
    /// Bytes sent in answer to them.
    missing_data_bytes,
    /// Responses with MakeHashRequest.
    make_hash_requests,
    /// Contents whose hashing began.
    hash_jobs_started,
    /// Contents that were hashed.
    hash_jobs_done,
    /// Contents that could not be hashed.
    hash_jobs_failed,
    /// Kept content information that could not be written or read.
    state_failures,
    /// Requests answered with 502: no connection to the upstream server, or a broken one.
    upstream_failures,
    /// Requests answered with 504: the upstream server took too long.
    upstream_timeouts,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}
