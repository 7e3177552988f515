//! Names in the place of others: the same one always for the same one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The most names that are told apart; all others become one.
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
    texts: HashMap<String, usize>,
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

    /// Addresses of a ProbeMatch. What is no address becomes one that is nobody's.
    pub(super) fn addresses(&mut self, text: &str) -> String {
        let mut one = |word: &str| match word.parse() {
            Ok(address) => self.address(address).to_string(),
            Err(_) => SocketAddr::from(([0, 0, 0, 0], 0)).to_string(),
        };
        text.split_whitespace().map(&mut one).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn uuid(&mut self, text: &str) -> String {
        let number = number(&mut self.texts, text.to_owned());
        format!("urn:uuid:00000000-0000-4000-8000-{number:012x}")
    }

    /// The value of a header, or the target of a request.
    pub(super) fn http(&mut self, name: &str, text: &str) -> String {
        match name {
            // Ports are no secret, and have a meaning.
            "Host" => match text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
                Some((host, port)) => format!("host-{}:{port}", number(&mut self.texts, host.to_owned())),
                None => format!("host-{}", number(&mut self.texts, text.to_owned())),
            },
            "Target" => format!("/{}", number(&mut self.texts, text.to_owned())),
            "Last-Modified" | "If-Modified-Since" => "Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
            _ if text.trim() == "*" => text.to_owned(),
            // Several tags become one.
            _ => format!("\"{}\"", number(&mut self.texts, text.to_owned())),
        }
    }
}
