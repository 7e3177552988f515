//! Idle connections, by peer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ClientLimits;
use super::connection::Connection;

/// Connections that wait for the next request. Each is used by one exchange at a time.
#[derive(Debug)]
pub(super) struct Pool {
    idle_per_peer: usize,
    idle_connections: usize,
    idle_time: Duration,
    idle: Mutex<IdleConnections>,
}

#[derive(Debug, Default)]
struct IdleConnections {
    count: usize,
    by_peer: HashMap<SocketAddr, Vec<(Connection, Instant)>>,
    /// Whether a task will come and close what stays idle.
    swept: bool,
}

impl Pool {
    pub(super) fn new(limits: &ClientLimits) -> Self {
        let ClientLimits { idle_per_peer, idle_connections, idle_time, .. } = *limits;
        Self { idle_per_peer, idle_connections, idle_time, idle: Mutex::default() }
    }

    /// The connection to this peer that was used last.
    pub(super) fn take(&self, peer: SocketAddr) -> Option<Connection> {
        let mut idle = self.lock();
        let connections = idle.by_peer.get_mut(&peer)?;
        let (connection, since) = connections.pop()?;
        if connections.is_empty() {
            idle.by_peer.remove(&peer);
        }
        idle.count -= 1;
        (since.elapsed() < self.idle_time).then_some(connection)
    }

    /// Keeps a connection, unless there are enough.
    pub(super) fn put(self: &Arc<Self>, peer: SocketAddr, connection: Connection) {
        let mut idle = self.lock();
        if idle.count >= self.idle_connections {
            return;
        }
        let connections = idle.by_peer.entry(peer).or_default();
        if connections.len() >= self.idle_per_peer {
            return;
        }
        connections.push((connection, Instant::now()));
        idle.count += 1;
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_time));
        }
    }

    /// Closes what was idle for too long. Returns whether something is left to come back for.
    fn close_expired(&self) -> bool {
        let mut idle = self.lock();
        idle.by_peer.retain(|_, connections| {
            connections.retain(|(_, since)| since.elapsed() < self.idle_time);
            !connections.is_empty()
        });
        idle.count = idle.by_peer.values().map(Vec::len).sum();
        idle.swept = idle.count > 0;
        idle.swept
    }

    fn lock(&self) -> MutexGuard<'_, IdleConnections> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(pool: Weak<Pool>, idle_time: Duration) {
    loop {
        sleep(idle_time).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_expired()) {
            break;
        }
    }
}
