//! TLS handshakes that are not done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Places;

/// All handshakes under way, with the places that they hold.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    /// The oldest first.
    by_age: BTreeMap<u64, (Places, CancellationToken)>,
}

/// One handshake, to its end.
#[derive(Debug)]
pub(super) struct Handshake {
    all: Arc<Handshakes>,
    number: u64,
    ended: CancellationToken,
}

impl Handshakes {
    pub(super) fn begin(all: &Arc<Self>, places: Places) -> Handshake {
        let ended = CancellationToken::new();
        let mut under_way = all.lock();
        let number = under_way.next;
        under_way.next += 1;
        under_way.by_age.insert(number, (places, ended.clone()));
        Handshake { all: Arc::clone(all), number, ended }
    }

    /// Ends the oldest handshake and gives its places back at once. Returns whether there was one.
    pub(super) fn end_oldest(&self) -> bool {
        let oldest = self.lock().by_age.pop_first();
        oldest.inspect(|(_, (_, ended))| ended.cancel()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake {
    /// Waits until somebody else needs its places.
    pub(super) async fn is_ended(&self) {
        self.ended.cancelled().await;
    }

    /// The places of the connection whose handshake is done, or `None` where somebody else got them.
    pub(super) fn finish(self) -> Option<Places> {
        self.take()
    }

    fn take(&self) -> Option<Places> {
        self.all.lock().by_age.remove(&self.number).map(|(places, _)| places)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.take();
    }
}
