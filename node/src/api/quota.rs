//! What one user may hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::{Error, Uid, lock};
use crate::config;

/// What one user may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Instances.
    pub sessions: u32,
    /// Open content, stream and content information handles in all of them.
    pub contents: u32,
    /// Publications.
    pub publications: u32,
    /// Bytes in memory for all that: content information, and data that is not verified yet.
    pub bytes: u64,
}

impl From<&config::Control> for Quotas {
    fn from(config: &config::Control) -> Self {
        Self {
            sessions: config.max_sessions_per_user.get(),
            contents: config.max_contents_per_user.get(),
            publications: config.max_publications_per_user.get(),
            bytes: config.max_staged_per_user,
        }
    }
}

/// What all users hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Users that hold something.
    pub users: usize,
    /// Instances.
    pub sessions: u64,
    /// Open handles.
    pub contents: u64,
    /// Publications, unfinished ones included.
    pub publications: usize,
    /// Bytes in memory for them.
    pub staged_bytes: u64,
}

/// What is counted beside bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Session,
    Content,
    Publication,
    /// Bytes alone.
    Bytes,
}

#[derive(Debug, Clone)]
pub(super) struct Users(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    quotas: Quotas,
    users: HashMap<Uid, Usage>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Usage {
    sessions: u32,
    contents: u32,
    publications: u32,
    reservations: u32,
    bytes: u64,
}

/// Something that a user holds, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    users: Users,
    user: Uid,
    kind: Kind,
    bytes: u64,
}

impl Users {
    pub(super) fn new(quotas: Quotas) -> Self {
        Self(Arc::new(Mutex::new(Table { quotas, users: HashMap::new() })))
    }

    pub(super) fn set_quotas(&self, quotas: Quotas) {
        lock(&self.0).quotas = quotas;
    }

    pub(super) fn held(&self, publications: usize) -> Held {
        let table = lock(&self.0);
        let users = table.users.values();
        Held {
            users: table.users.len(),
            sessions: users.clone().map(|usage| u64::from(usage.sessions)).sum(),
            contents: users.clone().map(|usage| u64::from(usage.contents)).sum(),
            publications,
            staged_bytes: users.map(|usage| usage.bytes).sum(),
        }
    }

    /// Counts one more of a kind, and `bytes` with it.
    pub(super) fn hold(&self, user: Uid, kind: Kind, bytes: u64) -> Result<Hold, Error> {
        let mut table = lock(&self.0);
        let quotas = table.quotas;
        let usage = table.users.get(&user).copied().unwrap_or_default();
        let (count, limit, what) = match kind {
            Kind::Session => (usage.sessions, quotas.sessions, "sessions"),
            Kind::Content => (usage.contents, quotas.contents, "open contents"),
            Kind::Publication => (usage.publications, quotas.publications, "publications"),
            Kind::Bytes => (usage.reservations, u32::MAX, "requests"),
        };
        if count >= limit {
            return Err(Error::Quota(format!("you hold {count} {what}, which is all that one user may hold")));
        }
        fits(usage.bytes, bytes, quotas.bytes)?;
        let usage = table.users.entry(user).or_default();
        *usage.count(kind) += 1;
        usage.bytes += bytes;
        Ok(Hold { users: self.clone(), user, kind, bytes })
    }
}

fn fits(held: u64, more: u64, limit: u64) -> Result<(), Error> {
    if held.saturating_add(more) > limit {
        return Err(Error::Quota(format!(
            "your contents would hold more than {limit} bytes in memory, which is all that one user may hold"
        )));
    }
    Ok(())
}

impl Usage {
    fn count(&mut self, kind: Kind) -> &mut u32 {
        match kind {
            Kind::Session => &mut self.sessions,
            Kind::Content => &mut self.contents,
            Kind::Publication => &mut self.publications,
            Kind::Bytes => &mut self.reservations,
        }
    }
}

impl Hold {
    /// Counts another number of bytes from now on.
    pub(super) fn resize(&mut self, bytes: u64) -> Result<(), Error> {
        let mut table = lock(&self.users.0);
        let limit = table.quotas.bytes;
        let usage = table.users.entry(self.user).or_default();
        if bytes > self.bytes {
            fits(usage.bytes, bytes - self.bytes, limit)?;
        }
        usage.bytes = usage.bytes - self.bytes + bytes;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut table = lock(&self.users.0);
        let Some(usage) = table.users.get_mut(&self.user) else { return };
        *usage.count(self.kind) -= 1;
        usage.bytes -= self.bytes;
        if *usage == Usage::default() {
            table.users.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTAS: Quotas = Quotas { sessions: 2, contents: 1, publications: 1, bytes: 100 };

    #[test]
    fn each_user_has_quotas_of_their_own_and_gets_back_what_is_let_go() {
        let users = Users::new(QUOTAS);
        let first = users.hold(1, Kind::Session, 0).unwrap();
        let _second = users.hold(1, Kind::Session, 60).unwrap();
        assert!(matches!(users.hold(1, Kind::Session, 0), Err(Error::Quota(_))));
        assert!(matches!(users.hold(1, Kind::Content, 50), Err(Error::Quota(_))));
        let mut content = users.hold(1, Kind::Content, 40).unwrap();
        assert!(content.resize(41).is_err());
        content.resize(10).unwrap();
        let other = users.hold(2, Kind::Content, 100).unwrap();
        drop(first);
        assert_eq!(users.held(0).sessions, 1);
        drop((content, other));
        assert_eq!(users.held(0), Held { users: 1, sessions: 1, contents: 0, publications: 0, staged_bytes: 60 });
    }

    #[test]
    fn smaller_quotas_take_nothing_away() {
        let users = Users::new(QUOTAS);
        let mut hold = users.hold(1, Kind::Content, 80).unwrap();
        users.set_quotas(Quotas { bytes: 10, ..QUOTAS });
        hold.resize(70).unwrap();
        assert!(hold.resize(71).is_err());
        drop(hold);
        assert_eq!(users.held(0).users, 0);
    }
}
