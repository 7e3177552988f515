//! The sections of hosted mode: `[hosted_client]` and `[hosted_cache]`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::IpNet;
use peerdist_protocol::hosted_cache::Version;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::sections::{Node, count};
use super::value;

/// `[hosted_client]`: the hosted caches of the branch, and how they are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostedClient {
    /// The hosted caches.
    pub servers: Vec<ServerName>,
    /// The version of the offers.
    pub version: OfferVersion,
    /// The TCP port where they are asked for blocks.
    pub retrieval_port: u16,
    /// The TCP port of offers of version 2.0.
    pub http_port: u16,
    /// The TCP port of offers of version 1.0.
    pub https_port: u16,
    /// A PEM file with the certificates that are trusted; empty: those of the system.
    pub trust: PathBuf,
    /// Where the rest comes from while no hosted cache can be reached.
    pub fallback: Fallback,
}

impl Default for HostedClient {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            version: OfferVersion(Version::V2),
            retrieval_port: 80,
            http_port: 80,
            https_port: 443,
            trust: PathBuf::new(),
            fallback: Fallback::Origin,
        }
    }
}

impl HostedClient {
    /// What its keys say together that none of them says alone.
    pub(super) fn contradiction(&self) -> Option<Cow<'static, str>> {
        let Self { servers, version, retrieval_port, http_port, https_port, .. } = self;
        let (offer_key, offer_port) = match version.0 {
            Version::V1 => ("https_port", *https_port),
            Version::V2 => ("http_port", *http_port),
        };
        let mut names = HashSet::new();
        let mut twice = servers.iter().filter(|server| !names.insert(server.plain()));
        let is_nobody = |address: IpAddr| {
            address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
        };
        let nobody = servers.iter().find(|server| server.address().is_some_and(is_nobody));
        if servers.is_empty() {
            Some("node.mode is \"hosted-client\", and hosted_client.servers names no server".into())
        } else if let Some(server) = twice.next() {
            Some(format!("hosted_client.servers names {server} twice").into())
        } else if let Some(server) = nobody {
            Some(format!("hosted_client.servers names {server}, which is no address of a single host").into())
        } else if *retrieval_port == 0 {
            Some("hosted_client.retrieval_port is 0: name the port where the hosted caches serve blocks".into())
        } else if offer_port == 0 {
            Some(format!("hosted_client.{offer_key} is 0: name the port where the hosted caches take offers").into())
        } else if version.0 == Version::V1 && https_port == retrieval_port {
            Some("hosted_client.https_port and retrieval_port are one port: offers with TLS have their own".into())
        } else {
            None
        }
    }

    /// The file of the certificates that are trusted, where it is not the system that says which.
    #[must_use]
    pub fn trust_file(&self) -> Option<&Path> {
        (!self.trust.as_os_str().is_empty()).then_some(&self.trust)
    }
}

/// What a hosted client does while no hosted cache can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// It takes everything from the origin.
    Origin,
    /// It looks for peers, as in distributed mode.
    Distributed,
}

/// The name or the address of a hosted cache, without a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(String);

/// The text is no name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a server is a host name or an IP address, without a port")]
pub struct ParseServerNameError;

impl ServerName {
    /// The name as it was configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where it is one and no name.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok().map(|address: IpAddr| address.to_canonical())
    }

    /// One text for all ways to write the same name or address.
    fn plain(&self) -> String {
        let name = || self.0.trim_end_matches('.').to_ascii_lowercase();
        self.address().map_or_else(name, |address| address.to_string())
    }
}

impl FromStr for ServerName {
    type Err = ParseServerNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_name = name.len() <= 253 && name.split('.').all(is_label);
        let is_address = text.parse::<IpAddr>().is_ok();
        if is_name || is_address { Ok(Self(text.to_owned())) } else { Err(ParseServerNameError) }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of the hosted cache protocol, written as `"1.0"` or `"2.0"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferVersion(pub Version);

/// The text is no version of the hosted cache protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the version of the hosted cache protocol is \"1.0\" or \"2.0\"")]
pub struct ParseOfferVersionError;

impl FromStr for OfferVersion {
    type Err = ParseOfferVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = [Version::V1, Version::V2].into_iter().find(|version| version.to_string() == text);
        version.map(Self).ok_or(ParseOfferVersionError)
    }
}

impl fmt::Display for OfferVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A subnet, written as `"192.0.2.0/24"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet(pub IpNet);

/// The text is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseSubnetError {
    /// An address alone.
    #[error("a subnet has a prefix length: \"{0}\" is this address alone")]
    NoLength(IpNet),
    /// An address in a subnet.
    #[error("\"{0}\" is an address in a subnet, which is \"{network}\"; the address alone is \"{alone}\"",
        network = .0.trunc(), alone = IpNet::from(.0.addr()))]
    HostBits(IpNet),
    /// Anything else.
    #[error("a subnet is an address and a prefix length, as in \"192.0.2.0/24\" or \"2001:db8::/32\"")]
    Other,
}

impl FromStr for Subnet {
    type Err = ParseSubnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<IpNet>() {
            Ok(net) if net == net.trunc() => Ok(Self(net)),
            Ok(net) => Err(ParseSubnetError::HostBits(net)),
            Err(_) => Err(text
                .parse::<IpAddr>()
                .map_or(ParseSubnetError::Other, |address| ParseSubnetError::NoLength(address.into()))),
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

value::as_text! {
    ServerName: "a host name or an IP address in quotes",
    OfferVersion: "\"1.0\" or \"2.0\", in quotes",
    Subnet: "a subnet in quotes such as \"192.0.2.0/24\"",
}

/// `[hosted_cache]`: which offers a hosted cache takes, and how much of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostedCache {
    /// The TCP port of offers of version 2.0; 0: none. It may be that of retrieval.
    pub http_port: u16,
    /// The TCP port of offers of version 1.0, where there is a certificate; 0: none.
    pub https_port: u16,
    /// A PEM file with the certificate chain, or empty.
    pub certificate: PathBuf,
    /// A PEM file with its private key, or empty.
    pub private_key: PathBuf,
    /// Whether segments of version 1.0 offers are kept unverified.
    pub blind: bool,
    /// The sources whose offers are taken; none means all.
    pub allow: Vec<Subnet>,
    /// The sources whose offers are refused in any case.
    pub deny: Vec<Subnet>,
    /// Blocks on their way to clients at once.
    pub max_uploads: NonZeroU32,
    /// Blocks fetched from clients at once.
    pub max_pulls: NonZeroU32,
    /// Blocks fetched from one client at once.
    pub max_pulls_per_source: NonZeroU32,
    /// Offered segments that wait to be fetched.
    pub max_queued: NonZeroU32,
    /// Offered segments of one client that wait to be fetched.
    pub max_queued_per_source: NonZeroU32,
    /// Bytes that are fetched from one client in an hour, and half of the cache's size at most.
    #[serde(with = "value::bytes")]
    pub max_bytes_per_source: u64,
}

impl Default for HostedCache {
    fn default() -> Self {
        Self {
            http_port: 80,
            https_port: 443,
            certificate: PathBuf::new(),
            private_key: PathBuf::new(),
            blind: false,
            allow: Vec::new(),
            deny: Vec::new(),
            max_uploads: count(1024),
            max_pulls: count(64),
            max_pulls_per_source: count(8),
            max_queued: count(1_000_000),
            max_queued_per_source: count(262_144),
            max_bytes_per_source: 256 << 30,
        }
    }
}

impl HostedCache {
    /// What its keys, and those of `[node]`, say together that none of them says alone.
    pub(super) fn contradiction(&self, node: &Node) -> Option<&'static str> {
        let node_port = node.port;
        let https_port = if self.certificate_files().is_some() { self.https_port } else { 0 };
        if self.http_port == 0 && https_port == 0 {
            Some("node.mode is \"hosted-cache\", and neither version's offers can be taken")
        } else if node_port == 0 {
            Some("node.port is 0, which takes any free port: the clients of a hosted cache have to know it")
        } else if https_port == self.http_port {
            Some("hosted_cache.https_port and hosted_cache.http_port are one port: offers with TLS need their own")
        } else if https_port == node_port {
            Some("hosted_cache.https_port and node.port are one port: offers with TLS need their own")
        } else if self.max_bytes_per_source == 0 {
            Some("hosted_cache.max_bytes_per_source is 0: nothing would be fetched from any client")
        } else if self.denies_everybody(node) {
            Some("hosted_cache.deny has all sources that hosted_cache.allow has: nobody's offers would be taken")
        } else {
            None
        }
    }

    /// The files of the certificate chain and its key, where offers of version 1.0 are taken.
    #[must_use]
    pub fn certificate_files(&self) -> Option<(&Path, &Path)> {
        let are_taken = self.https_port != 0 && !self.certificate.as_os_str().is_empty();
        are_taken.then_some((&self.certificate, &self.private_key))
    }

    /// Whether offers from a source are taken.
    #[must_use]
    pub fn takes_from(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        let is_in = |nets: &[Subnet]| nets.iter().any(|net| net.0.contains(&source));
        (self.allow.is_empty() || is_in(&self.allow)) && !is_in(&self.deny)
    }
}
