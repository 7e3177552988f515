//! Names in the place of others: the same one always for the same one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::hosted_cache::ContentTag;

/// The most names that are told apart; all others become one. Each takes some 40 bytes, however long it is.
const MAX_NAMES: usize = 1 << 20;

/// Blocks of IPv4 addresses for documentation (RFC 5737).
const BLOCKS: [[u8; 3]; 3] = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
/// How many hosts a block has.
const HOSTS: usize = 254;
/// An address that Windows and others give themselves: it says no more than the link.
const LINK_LOCAL: [u16; 4] = [0xfe80, 0, 0, 0];

#[derive(Debug, Default)]
pub(super) struct Names {
    hosts: HashMap<IpAddr, usize>,
    /// By the start of their hashes: names may be long.
    texts: HashMap<[u8; 16], usize>,
}

fn number<K: std::hash::Hash + Eq>(known: &mut HashMap<K, usize>, key: K) -> usize {
    let next = known.len();
    if next >= MAX_NAMES {
        return known.get(&key).copied().unwrap_or(MAX_NAMES);
    }
    *known.entry(key).or_insert(next)
}

impl Names {
    pub(super) fn address(&mut self, address: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.ip(address.ip()), address.port())
    }

    fn ip(&mut self, ip: IpAddr) -> IpAddr {
        if ip.is_multicast() || ip.is_unspecified() {
            return ip;
        }
        let number = number(&mut self.hosts, ip);
        match ip {
            IpAddr::V4(_) => match BLOCKS.get(number / HOSTS) {
                Some([a, b, c]) => Ipv4Addr::new(*a, *b, *c, (number % HOSTS + 1) as u8).into(),
                // Benchmarks' (RFC 2544), for captures of more hosts than the others hold.
                None => {
                    let [_, b, c, d] = (number as u32).to_be_bytes();
                    Ipv4Addr::new(198, 18 + (b & 1), c, d).into()
                }
            },
            IpAddr::V6(ip) => {
                let [a, b, c, d] = if ip.is_unicast_link_local() { LINK_LOCAL } else { [0x2001, 0xdb8, 0, 0] };
                let number = number + 1;
                Ipv6Addr::new(a, b, c, d, 0, 0, (number >> 16) as u16, number as u16).into()
            }
        }
    }

    fn named(&mut self, name: &[u8]) -> usize {
        let hash = HashAlgorithm::Sha256.hash(name);
        let start = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        number(&mut self.texts, start)
    }

    /// A tag of the documents, or a numbered one.
    pub(super) fn content_tag(&mut self, bytes: &[u8]) -> Vec<u8> {
        let tag = <[u8; 16]>::try_from(bytes).map(ContentTag).unwrap_or_default();
        let known = [ContentTag::WININET, ContentTag::WEBIO, ContentTag::BITS, ContentTag::SMB, ContentTag::PEERDIST];
        // What fills a short one may be anything.
        match known.into_iter().find(|known| known.name() == tag.name()) {
            Some(known) => known.0.to_vec(),
            None => format!("tag-{:012}", self.named(bytes)).into_bytes(),
        }
    }

    /// A RequestID, the same in a request and its answer.
    pub(super) fn request_id(&mut self, bytes: &[u8]) -> Vec<u8> {
        (self.named(bytes) as u128).to_be_bytes().to_vec()
    }

    /// Addresses of a ProbeMatch. What is no address becomes one that is nobody's.
    pub(super) fn addresses(&mut self, text: &str) -> String {
        let mut one = |word: &str| match word.parse() {
            Ok(address) => self.address(address).to_string(),
            Err(_) => SocketAddr::from(([0, 0, 0, 0], 0)).to_string(),
        };
        let words = text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
        words.map(&mut one).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn uuid(&mut self, text: &str) -> String {
        let number = self.named(text.as_bytes());
        format!("urn:uuid:00000000-0000-4000-8000-{number:012x}")
    }

    /// The value of a header, or the target of a request.
    pub(super) fn http(&mut self, name: &str, text: &str) -> String {
        match name {
            // Ports are no secret, and have a meaning.
            "Host" => match text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) {
                Some((host, port)) => format!("host-{}:{port}", self.named(host.as_bytes())),
                None => format!("host-{}", self.named(text.as_bytes())),
            },
            "Target" => format!("/{}", self.named(text.as_bytes())),
            "Last-Modified" | "If-Modified-Since" => "Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
            _ if text.trim_matches([' ', '\t']) == "*" => "*".to_owned(),
            // Several tags become one.
            _ => format!("\"{}\"", self.named(text.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_told_apart_and_not_kept() {
        let mut names = Names::default();
        let long = ["a", "b"].map(|end| "x".repeat(65_000) + end);
        let numbered = ["/0", "/1", "/0"];
        assert_eq!([0, 1, 0].map(|index: usize| names.http("Target", &long[index])), numbered);
        assert!(format!("{names:?}").len() < 1000);
    }
}
