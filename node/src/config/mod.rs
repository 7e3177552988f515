//! The configuration: one TOML file, every key optional, unknown keys refused.
//!
//! The text forms of sizes and times are in [`value`]; the annotated file with every key and its default is
//! [`DEFAULT_FILE`], which `peerdist check-config --print-default` prints.

mod error;
mod hosted;
mod notes;
mod sections;
pub mod value;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use hosted::{Fallback, HostedCache, HostedClient, OfferVersion, ServerName, Subnet};
pub use sections::{
    Cache, CacheSize, Control, Discovery, Fetch, Interfaces, Log, LogFilter, MIN_CACHE_SIZE, Mode, Node, Retrieval,
    SocketMode,
};

/// Where `peerdistd` looks for its configuration unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/peerdist/peerdist.toml";

/// The annotated configuration with every key at its default.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

/// A configuration file larger than this many bytes is refused before it is read.
pub const MAX_FILE_SIZE: u64 = 1 << 20;

/// Everything that can be configured. `Config::default()` is the empty file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The node's part in the LAN and where it listens.
    pub node: Node,
    /// How peers are found.
    pub discovery: Discovery,
    /// The cache on disk.
    pub cache: Cache,
    /// Limits on what is served to peers.
    pub retrieval: Retrieval,
    /// How blocks are fetched from peers.
    pub fetch: Fetch,
    /// The hosted caches that a hosted client uses.
    pub hosted_client: HostedClient,
    /// What a hosted cache takes.
    pub hosted_cache: HostedCache,
    /// The two control sockets.
    pub control: Control,
    /// What is logged.
    pub log: Log,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read_error = |error| ConfigError::Read { path: path.to_owned(), error };
        let size = std::fs::metadata(path).map_err(read_error)?.len();
        if size > MAX_FILE_SIZE {
            return Err(ConfigError::TooLarge { path: path.to_owned(), size });
        }
        let bytes = std::fs::read(path).map_err(read_error)?;
        let text = String::from_utf8(bytes).map_err(|error| ConfigError::NotText { path: path.to_owned(), error })?;
        Self::parse(&text, path)
    }

    /// Checks the text of a configuration. `path` names it in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
        match config.contradiction() {
            None => Ok(config),
            Some(message) => Err(ConfigError::Contradiction { path: path.to_owned(), message }),
        }
    }

    /// What keys say together that none of them says alone.
    fn contradiction(&self) -> Option<Cow<'static, str>> {
        let HostedCache { certificate, private_key, .. } = &self.hosted_cache;
        if certificate.as_os_str().is_empty() != private_key.as_os_str().is_empty() {
            return Some("hosted_cache.certificate and hosted_cache.private_key need each other".into());
        }
        if self.node.mode.serves_blocks() && self.node.listen.is_empty() {
            return Some("node.listen names no address: nobody could fetch a block".into());
        }
        match self.node.mode {
            Mode::HostedClient => self.hosted_client.contradiction(),
            Mode::HostedCache => self.hosted_cache.contradiction(&self.node).map(Cow::from),
            Mode::Distributed | Mode::Client | Mode::Local => None,
        }
    }

    /// The sections that say something for a mode other than the one that is chosen.
    #[must_use]
    pub fn unused_sections(&self) -> Vec<&'static str> {
        let client = self.node.mode != Mode::HostedClient && self.hosted_client != HostedClient::default();
        let cache = self.node.mode != Mode::HostedCache && self.hosted_cache != HostedCache::default();
        [("hosted_client", client), ("hosted_cache", cache)]
            .into_iter()
            .filter_map(|(name, is)| is.then_some(name))
            .collect()
    }

    /// The configuration as a file, without comments.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // A configuration is made of tables, texts and numbers, all of which TOML can hold.
        toml::to_string(self).unwrap_or_default()
    }

    /// The configuration of a node that a command hosts in its own process where no daemon runs: it asks peers, serves
    /// nobody, and keeps a cache of the user's own under `$XDG_CACHE_HOME` or `$HOME/.cache`.
    pub fn embedded() -> Result<Self, ConfigError> {
        let mut config = Self::default();
        config.node.mode = Mode::Client;
        config.cache.dir = user_cache_dir().ok_or(ConfigError::NoHome)?.join("peerdist");
        Ok(config)
    }
}

fn user_cache_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
}

#[cfg(test)]
mod tests;
