//! The sections of the configuration, their defaults, and the values that are not plain numbers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use tracing_subscriber::EnvFilter;

use crate::store::{Limits, SizeLimit, StoreConfig};

use super::value::{self, ParseSizeError, parse_size, size_text};

/// `[node]`: the node's part in the LAN and where it listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Whether the node works at all. While it does not, the daemon runs and the status of the API is disabled.
    pub enabled: bool,
    /// Whom the node works with.
    pub mode: Mode,
    /// The addresses on which peers may fetch blocks.
    pub listen: Vec<IpAddr>,
    /// The TCP port for it; 0 takes any free one. Peers learn it from the answers to their Probes.
    pub port: u16,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: Mode::Distributed,
            listen: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            port: 80,
        }
    }
}

/// Whom the node works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Fetches from peers and serves them.
    Distributed,
    /// Fetches from peers and serves nobody.
    Client,
    /// Uses its own cache alone.
    Local,
    /// Fetches from hosted caches and offers them what it got from elsewhere.
    HostedClient,
    /// Is a hosted cache.
    HostedCache,
}

impl Mode {
    /// Whether peers are looked for.
    #[must_use]
    pub fn asks_peers(self) -> bool {
        matches!(self, Self::Distributed | Self::Client)
    }

    /// Whether Probes are answered.
    #[must_use]
    pub fn answers_probes(self) -> bool {
        self == Self::Distributed
    }

    /// Whether blocks are served: to peers, to the clients of a hosted cache, or to the hosted cache that was made an
    /// offer.
    #[must_use]
    pub fn serves_blocks(self) -> bool {
        matches!(self, Self::Distributed | Self::HostedClient | Self::HostedCache)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Distributed => "distributed",
            Self::Client => "client",
            Self::Local => "local",
            Self::HostedClient => "hosted-client",
            Self::HostedCache => "hosted-cache",
        })
    }
}

/// `[discovery]`: how peers are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// Where Probes are sent and heard.
    pub interfaces: Interfaces,
    /// Whether 239.255.255.250 is used.
    pub ipv4: bool,
    /// Whether FF02::C is used.
    pub ipv6: bool,
    /// The UDP port of the LAN; other than 3702 only where all hosts agree, as in tests.
    pub port: u16,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { interfaces: Interfaces::All, ipv4: true, ipv6: true, port: 3702 }
    }
}

/// The interfaces that take part in discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// Every one that is up, can do multicast and is not the loopback.
    All,
    /// These alone.
    Only(Vec<String>),
}

impl Serialize for Interfaces {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => to.serialize_str("all"),
            Self::Only(names) => names.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Interfaces {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Interfaces;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"all\" or a list of interface names such as [\"eth0\"]")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Interfaces, E> {
                if text == "all" {
                    Ok(Interfaces::All)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut names: A) -> Result<Interfaces, A::Error> {
                let mut only = Vec::new();
                while let Some(name) = names.next_element::<String>()? {
                    only.push(name);
                }
                if only.is_empty() {
                    return Err(de::Error::invalid_length(0, &self));
                }
                Ok(Interfaces::Only(only))
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// `[cache]`: the cache on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// The directory. One process at a time uses it.
    pub dir: PathBuf,
    /// How large it may grow.
    pub size: CacheSize,
    /// Bytes of the file system that are left to others: the cache shrinks rather than take them.
    #[serde(with = "value::bytes")]
    pub keep_free: u64,
    /// Blocks older than this are dropped.
    #[serde(with = "value::duration")]
    pub max_age: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/var/cache/peerdist"),
            size: CacheSize::Percent(5),
            keep_free: 256 << 20,
            max_age: Duration::from_secs(28 * 86_400),
        }
    }
}

impl From<&Cache> for Limits {
    fn from(cache: &Cache) -> Self {
        let size = match cache.size {
            CacheSize::Bytes(bytes) => SizeLimit::Bytes(bytes),
            CacheSize::Percent(percent) => SizeLimit::PercentOfDisk(percent),
        };
        Self { size, keep_free: cache.keep_free, max_age: cache.max_age }
    }
}

impl From<&Cache> for StoreConfig {
    fn from(cache: &Cache) -> Self {
        Self { limits: Limits::from(cache), ..Self::new(&cache.dir) }
    }
}

/// The smallest cache, in bytes.
pub const MIN_CACHE_SIZE: u64 = 16 << 20;

/// How large the cache may grow. Whatever the form, it is 16 MiB at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheSize {
    /// This many bytes.
    Bytes(u64),
    /// This many per cent, 1 to 100, of the file system's size.
    Percent(u8),
}

/// The text is not a cache size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a cache size is \"10 GiB\" (16 MiB or more), \"5 %\" (of the file system, 1 to 100)")]
pub struct ParseCacheSizeError;

impl From<ParseSizeError> for ParseCacheSizeError {
    fn from(_: ParseSizeError) -> Self {
        Self
    }
}

impl FromStr for CacheSize {
    type Err = ParseCacheSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.trim_end().parse().map_err(|_| ParseCacheSizeError)?;
            return (1..=100).contains(&percent).then_some(Self::Percent(percent)).ok_or(ParseCacheSizeError);
        }
        let bytes = parse_size(text)?;
        (bytes >= MIN_CACHE_SIZE).then_some(Self::Bytes(bytes)).ok_or(ParseCacheSizeError)
    }
}

impl fmt::Display for CacheSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&size_text(*bytes)),
            Self::Percent(percent) => write!(f, "{percent} %"),
        }
    }
}

/// `[retrieval]`: limits on what is served to peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retrieval {
    /// Blocks on their way to peers at once; a request beyond it gets the empty answer, which means "busy".
    pub max_uploads: NonZeroU32,
    /// Open connections from all peers together.
    pub max_connections: NonZeroU32,
    /// Open connections from one address.
    pub max_connections_per_peer: NonZeroU32,
    /// How long a connection may be silent between two requests.
    #[serde(with = "value::duration")]
    pub idle_timeout: Duration,
    /// How long one request may take to arrive, and one answer to be taken.
    #[serde(with = "value::duration")]
    pub request_timeout: Duration,
}

impl Default for Retrieval {
    fn default() -> Self {
        Self {
            max_uploads: count(64),
            max_connections: count(1024),
            max_connections_per_peer: count(64),
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(15),
        }
    }
}

/// `[fetch]`: how blocks are fetched from peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// How far ahead of the reader blocks are fetched, in bytes: what one download takes in memory.
    #[serde(with = "value::bytes")]
    pub look_ahead: u64,
    /// Blocks asked for at once for one content, from all peers together.
    pub max_in_flight: NonZeroU32,
    /// A block request without progress for this long is given up.
    #[serde(with = "value::duration")]
    pub request_timeout: Duration,
    /// How long answers to a Probe are waited for.
    #[serde(with = "value::duration")]
    pub probe_timeout: Duration,
    /// How long a reader waits for peers that claim to hold a block before the origin is asked for it.
    #[serde(with = "value::duration")]
    pub patience: Duration,
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            look_ahead: 8 << 20,
            max_in_flight: count(32),
            request_timeout: Duration::from_secs(2),
            probe_timeout: Duration::from_millis(300),
            patience: Duration::from_secs(5),
        }
    }
}

/// `[control]`: the two control sockets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// The socket for administration.
    pub admin_socket: PathBuf,
    /// Its permissions.
    pub admin_mode: SocketMode,
    /// The socket for programs.
    pub api_socket: PathBuf,
    /// Its permissions.
    pub api_mode: SocketMode,
    /// The key file of what is published through the API. It is made when somebody publishes first.
    pub publish_key: PathBuf,
    /// Sessions that one user may hold on the api socket.
    pub max_sessions_per_user: NonZeroU32,
    /// Contents that one user may hold open.
    pub max_contents_per_user: NonZeroU32,
    /// Publications that one user may have.
    pub max_publications_per_user: NonZeroU32,
    /// Bytes in memory that one user's contents may hold: content information, and data that is not verified yet.
    #[serde(with = "value::bytes")]
    pub max_staged_per_user: u64,
    /// Where the states of the features are kept.
    pub feature_file: PathBuf,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            admin_socket: PathBuf::from("/run/peerdist/admin.sock"),
            admin_mode: SocketMode(0o600),
            api_socket: PathBuf::from("/run/peerdist/api.sock"),
            api_mode: SocketMode(0o666),
            publish_key: PathBuf::from("/var/lib/peerdist/publish.key"),
            max_sessions_per_user: count(64),
            max_contents_per_user: count(1024),
            max_publications_per_user: count(1024),
            max_staged_per_user: 256 << 20,
            feature_file: PathBuf::from(crate::feature::DEFAULT_PATH),
        }
    }
}

/// The permission bits of a socket, written as `"0600"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketMode(pub u32);

/// The text is not an octal mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a mode is three or four octal digits in quotes, \"0000\" to \"0777\"")]
pub struct ParseSocketModeError;

impl FromStr for SocketMode {
    type Err = ParseSocketModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 3 || text.len() == 4 && text.starts_with('0');
        let mode = u32::from_str_radix(text, 8).map_err(|_| ParseSocketModeError)?;
        (digits && mode <= 0o777).then_some(Self(mode)).ok_or(ParseSocketModeError)
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// `[log]`: what is logged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged; the environment variable `PEERDIST_LOG` wins over it.
    pub filter: LogFilter,
}

/// Directives of `tracing`: a level, or a list such as `"info,peerdist_discovery=debug"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The directives as text that is known to parse.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::builder().parse(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

value::as_text! {
    CacheSize: "a size in quotes such as \"10 GiB\" or \"5 %\"",
    SocketMode: "a mode in quotes such as \"0600\"",
    LogFilter: "a level in quotes such as \"info\"",
}

pub(super) const fn count(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}
