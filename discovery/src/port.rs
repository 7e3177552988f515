//! The two sockets of one interface and family.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use peerdist_protocol::discovery::{GROUP_V4, GROUP_V6};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::interfaces::Link;

/// Messages stay on the link ([MS-PCCRD] 5).
const HOPS: u32 = 1;
/// Room for a burst of Probes; the system may grant less.
const RECEIVE_BUFFER: usize = 4 << 20;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4, 239.255.255.250.
    V4,
    /// IPv6, FF02::C.
    V6,
}

/// Whether a socket works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketState {
    /// It does.
    Open,
    /// It could not be opened and will be tried again.
    Failed(io::ErrorKind),
}

/// One interface and family that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceState {
    /// The interface's name.
    pub name: String,
    /// The interface's index.
    pub index: u32,
    /// The family.
    pub family: Family,
    /// This host's address there.
    pub address: IpAddr,
    /// Whether Probes of others are heard.
    pub listening: SocketState,
    /// Whether own Probes can be sent and answers received.
    pub probing: SocketState,
}

/// The sockets of one interface and family.
#[derive(Debug)]
pub(crate) struct Port {
    /// Never used twice, so that an answer does not leave on an interface that took the place of another.
    pub(crate) key: u32,
    pub(crate) link: Link,
    pub(crate) family: Family,
    group: SocketAddr,
    address: IpAddr,
    listening: Result<UdpSocket, io::ErrorKind>,
    probing: Result<UdpSocket, io::ErrorKind>,
    /// Whether the last failure to send was logged and nothing has been sent since.
    complained: bool,
}

impl Port {
    /// Opens the sockets of `link` for `family`, or `None` where it has no address of it.
    pub(crate) fn open(key: u32, link: Link, family: Family, port: u16) -> Option<Self> {
        let (address, group) = match family {
            Family::V4 => (link.v4()?.into(), SocketAddrV4::new(GROUP_V4, port).into()),
            Family::V6 => (link.v6()?.into(), SocketAddrV6::new(GROUP_V6, port, 0, link.index).into()),
        };
        let mut opened = Self {
            key,
            link,
            family,
            group,
            address,
            listening: Err(io::ErrorKind::NotConnected),
            probing: Err(io::ErrorKind::NotConnected),
            complained: false,
        };
        opened.open_missing();
        Some(opened)
    }

    /// Tries again what failed. A failure is logged when it is new.
    pub(crate) fn open_missing(&mut self) {
        if let Err(before) = self.listening {
            self.listening = match listening(&self.link, self.group) {
                Ok(socket) => Ok(socket),
                Err(error) => Err(self.failed("hear", before, &error)),
            };
        }
        if let Err(before) = self.probing {
            self.probing = match probing(&self.link, self.address) {
                Ok(socket) => Ok(socket),
                Err(error) => Err(self.failed("send", before, &error)),
            };
        }
    }

    fn failed(&self, what: &str, before: io::ErrorKind, error: &io::Error) -> io::ErrorKind {
        if error.kind() != before {
            let (interface, family) = (&self.link.name, self.family);
            tracing::warn!(%interface, ?family, %error, "cannot {what} Probes here; trying again");
        }
        error.kind()
    }

    /// Whether a socket is missing.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.listening.is_err() || self.probing.is_err()
    }

    /// Whether this port can go on under what `link` has become.
    pub(crate) fn fits(&self, link: &Link) -> bool {
        let address = match self.family {
            Family::V4 => link.v4().map(IpAddr::from),
            Family::V6 => link.v6().map(IpAddr::from),
        };
        (self.link.index, &self.link.name, Some(self.address)) == (link.index, &link.name, address)
    }

    pub(crate) fn listening(&self) -> Option<&UdpSocket> {
        self.listening.as_ref().ok()
    }

    pub(crate) fn probing(&self) -> Option<&UdpSocket> {
        self.probing.as_ref().ok()
    }

    /// Where Probes go, and come from others.
    pub(crate) fn group(&self) -> SocketAddr {
        self.group
    }

    /// Where answers leave from.
    pub(crate) fn answering_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.group.port())
    }

    /// Where own Probes leave from and their answers come.
    pub(crate) fn probing_address(&self) -> SocketAddr {
        let bound = self.probing().and_then(|socket| socket.local_addr().ok());
        SocketAddr::new(self.address, bound.map_or(0, |bound| bound.port()))
    }

    /// Multicasts a Probe.
    pub(crate) fn send_probe(&mut self, payload: &[u8]) -> bool {
        self.send(payload, self.group, true)
    }

    /// Sends an answer, from the port that Probes go to.
    pub(crate) fn send_answer(&mut self, payload: &[u8], to: SocketAddr) -> bool {
        self.send(payload, to, false)
    }

    fn send(&mut self, payload: &[u8], to: SocketAddr, probe: bool) -> bool {
        let socket = if probe { &self.probing } else { &self.listening };
        let Ok(socket) = socket else { return false };
        match socket.try_send_to(payload, to) {
            Ok(_) => {
                self.complained = false;
                true
            }
            Err(error) => {
                // A full buffer is the network's pace, not a fault of the interface.
                if error.kind() != io::ErrorKind::WouldBlock && !self.complained {
                    self.complained = true;
                    let (interface, family) = (&self.link.name, self.family);
                    tracing::warn!(%interface, ?family, %to, %error, "cannot send here; saying it again only after it has worked");
                }
                false
            }
        }
    }

    pub(crate) fn state(&self) -> InterfaceState {
        let state = |socket: &Result<UdpSocket, io::ErrorKind>| match socket {
            Ok(_) => SocketState::Open,
            Err(kind) => SocketState::Failed(*kind),
        };
        InterfaceState {
            name: self.link.name.clone(),
            index: self.link.index,
            family: self.family,
            address: self.address,
            listening: state(&self.listening),
            probing: state(&self.probing),
        }
    }
}

/// A socket bound to the group itself: it shares the port with other WS-Discovery software, receives what is sent to
/// the group on this interface, and never takes a unicast datagram away from them.
fn listening(link: &Link, group: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    match group {
        SocketAddr::V4(_) => {
            // Where the kernel reserves this for root, the membership below alone selects the interface.
            let _ = socket.bind_device(Some(link.name.as_bytes()));
            socket.set_multicast_all_v4(false)?;
            socket.bind(&group.into())?;
            socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(link.index))?;
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_multicast_all_v6(false)?;
            // The scope in the address binds the socket to the interface.
            socket.bind(&group.into())?;
            socket.join_multicast_v6(&GROUP_V6, link.index)?;
        }
    }
    UdpSocket::from_std(socket.into())
}

/// A socket with a port of its own for Probes and their answers. Not bound to the device: an answer of another process
/// on this host comes over the loopback.
fn probing(link: &Link, address: IpAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    match address {
        IpAddr::V4(address) => {
            socket.set_multicast_if_v4(&address)?;
            socket.set_multicast_ttl_v4(HOPS)?;
            socket.set_multicast_loop_v4(true)?;
        }
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_multicast_if_v6(link.index)?;
            socket.set_multicast_hops_v6(HOPS)?;
            socket.set_multicast_loop_v6(true)?;
        }
    }
    socket.bind(&any.into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use socket2::SockRef;

    use super::*;
    use crate::Interfaces;
    use crate::interfaces::list;

    #[tokio::test]
    async fn probes_do_not_leave_the_link() {
        let [link] = &list(&Interfaces::Only(vec!["lo".to_owned()])).unwrap()[..] else { panic!("one loopback") };
        let socket = probing(link, Ipv4Addr::LOCALHOST.into()).unwrap();
        assert_eq!(SockRef::from(&socket).multicast_ttl_v4().unwrap(), 1);
        // A host may be without IPv6.
        if let Ok(socket) = probing(link, Ipv6Addr::LOCALHOST.into()) {
            assert_eq!(SockRef::from(&socket).multicast_hops_v6().unwrap(), 1);
        }
    }
}
