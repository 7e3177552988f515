//! The interfaces of this host: which of them take part, and what is on-link there.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use if_addrs::{IfAddr, Ifv4Addr, Ifv6Addr};

use crate::changes::{self, Flags};
use crate::config::Interfaces;

/// An interface that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) index: u32,
    v4: Vec<(Ipv4Addr, Ipv4Addr)>,
    v6: Vec<(Ipv6Addr, Ipv6Addr)>,
}

/// The interfaces that are up and chosen by `interfaces`, with their addresses.
pub(crate) fn list(interfaces: &Interfaces) -> io::Result<Vec<Link>> {
    let flags = changes::flags()?;
    let mut links = BTreeMap::<u32, Link>::new();
    for interface in if_addrs::get_if_addrs()? {
        let Some(index) = interface.index else { continue };
        if !takes_part(interfaces, &interface.name, flags.get(&index).copied().unwrap_or_default()) {
            continue;
        }
        let link = links.entry(index).or_insert_with(|| Link { name: interface.name, index, v4: vec![], v6: vec![] });
        match interface.addr {
            IfAddr::V4(Ifv4Addr { ip, netmask, .. }) => link.v4.push((ip, netmask)),
            IfAddr::V6(Ifv6Addr { ip, netmask, .. }) => link.v6.push((ip, netmask)),
        }
    }
    Ok(links.into_values().collect())
}

fn takes_part(interfaces: &Interfaces, name: &str, flags: Flags) -> bool {
    flags.up
        && match interfaces {
            Interfaces::All => flags.multicast && !flags.loopback,
            Interfaces::Only(names) => names.iter().any(|chosen| chosen == name),
        }
}

impl Link {
    /// The first IPv4 address.
    pub(crate) fn v4(&self) -> Option<Ipv4Addr> {
        self.v4.first().map(|(ip, _)| *ip)
    }

    /// The IPv6 address that multicasts leave from: the link-local one, except on the loopback, which has none.
    pub(crate) fn v6(&self) -> Option<Ipv6Addr> {
        let addresses = || self.v6.iter().map(|(ip, _)| *ip);
        addresses().find(Ipv6Addr::is_unicast_link_local).or_else(|| addresses().next())
    }

    /// Whether an address belongs to a subnet of this interface.
    pub(crate) fn on_link(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.iter().any(|(own, mask)| ip & mask == own & mask),
            IpAddr::V6(ip) => self.v6.iter().any(|(own, mask)| ip & mask == own & mask),
        }
    }

    /// The same for the source of a datagram, which names the link of a link-local address.
    pub(crate) fn is_source_on_link(&self, source: SocketAddr) -> bool {
        let elsewhere = match source {
            SocketAddr::V6(source) if source.ip().is_unicast_link_local() => source.scope_id() != self.index,
            _ => false,
        };
        !elsewhere && self.on_link(source.ip())
    }

    /// This host's address to tell to `peer`: the one on its subnet.
    pub(crate) fn address_for(&self, peer: IpAddr) -> Option<IpAddr> {
        match peer {
            IpAddr::V4(peer) => {
                let near = self.v4.iter().find(|(own, mask)| peer & mask == own & mask);
                near.or(self.v4.first()).map(|(own, _)| (*own).into())
            }
            IpAddr::V6(peer) => {
                let near = self.v6.iter().find(|(own, mask)| peer & mask == own & mask);
                near.or(self.v6.first()).map(|(own, _)| (*own).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn link() -> Link {
        Link {
            name: "lan".to_owned(),
            index: 3,
            v4: vec![
                ("192.0.2.1".parse().unwrap(), "255.255.255.0".parse().unwrap()),
                ("198.51.100.1".parse().unwrap(), "255.255.255.128".parse().unwrap()),
            ],
            v6: vec![
                ("2001:db8::1".parse().unwrap(), "ffff:ffff:ffff:ffff::".parse().unwrap()),
                ("fe80::1".parse().unwrap(), "ffff:ffff:ffff:ffff::".parse().unwrap()),
            ],
        }
    }

    #[test]
    fn on_link_is_what_a_prefix_covers() {
        for (ip, expected) in [
            ("192.0.2.200", true),
            ("192.0.3.1", false),
            ("198.51.100.127", true),
            ("198.51.100.128", false),
            ("2001:db8::abcd", true),
            ("2001:db8:0:1::1", false),
            ("fe80::9", true),
            ("::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(link().on_link(ip.parse().unwrap()), expected, "{ip}");
        }
        assert!(link().is_source_on_link("[fe80::9%3]:1".parse().unwrap()));
        assert!(!link().is_source_on_link("[fe80::9%4]:1".parse().unwrap()));
        assert!(link().is_source_on_link("192.0.2.9:1".parse().unwrap()));
    }

    #[test]
    fn a_peer_is_told_the_address_on_its_subnet() {
        for (peer, own) in [
            ("198.51.100.9", "198.51.100.1"),
            ("192.0.2.9", "192.0.2.1"),
            ("fe80::9", "fe80::1"),
            ("::9", "2001:db8::1"),
        ] {
            assert_eq!(link().address_for(peer.parse().unwrap()), Some(own.parse().unwrap()));
        }
        assert_eq!(link().v6(), Some("fe80::1".parse().unwrap()));
    }

    #[test]
    fn the_loopback_takes_part_only_by_its_name() {
        let named = |names: &[&str]| Interfaces::Only(names.iter().map(ToString::to_string).collect());
        let loopback = Flags { up: true, loopback: true, multicast: false };
        let lan = Flags { up: true, loopback: false, multicast: true };
        assert!(takes_part(&Interfaces::All, "lan", lan));
        assert!(!takes_part(&Interfaces::All, "lan", Flags { up: false, ..lan }));
        assert!(!takes_part(&Interfaces::All, "lan", Flags { multicast: false, ..lan }));
        assert!(!takes_part(&Interfaces::All, "lo", Flags { multicast: true, ..loopback }));
        assert!(takes_part(&named(&["lo"]), "lo", loopback));
        assert!(!takes_part(&named(&["lo"]), "lo", Flags { up: false, ..loopback }));
        assert!(!takes_part(&named(&["lo"]), "lan", lan));
    }

    #[test]
    fn this_host_has_a_loopback() {
        let links = list(&Interfaces::Only(vec!["lo".to_owned()])).unwrap();
        assert!(links.iter().all(|link| link.name == "lo"));
        assert!(links.iter().any(|link| link.on_link("127.0.0.1".parse().unwrap())));
        assert!(list(&Interfaces::All).unwrap().iter().all(|link| link.name != "lo"));
    }
}
