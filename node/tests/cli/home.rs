//! A directory where a daemon could be, and a cache of the user's own.

use std::path::PathBuf;

use peerdist_node::control::client::{ADMIN_SOCKET_VARIABLE, API_SOCKET_VARIABLE};
use tempfile::TempDir;

use crate::run::{Ran, command};

pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new(_: &str) -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `peerdist` with these words, which finds no daemon and the cache in this directory.
    pub(crate) fn peerdist(&self, words: &[&str]) -> Ran {
        let mut command = command(words);
        command
            .env(ADMIN_SOCKET_VARIABLE, self.path("admin.sock"))
            .env(API_SOCKET_VARIABLE, self.path("api.sock"))
            .env("XDG_CACHE_HOME", self.path("own"));
        Ran::of(command)
    }
}
