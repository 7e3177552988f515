//! Whether an offer names the hosted cache itself: it would fetch from itself what it has not got.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Where this host serves blocks.
#[derive(Debug)]
pub(super) struct Own(pub(super) Vec<SocketAddr>);

impl Own {
    pub(super) fn includes(&self, address: SocketAddr) -> bool {
        self.0
            .iter()
            .filter(|own| own.port() == address.port())
            .any(|own| own.ip() == address.ip() || own.ip().is_unspecified() && is_of_this_host(address))
    }
}

/// Whether an address is one of this host. Nothing is sent.
fn is_of_this_host(address: SocketAddr) -> bool {
    // The system reaches its own addresses from themselves.
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let local = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(address)?;
        socket.local_addr()
    };
    address.ip().is_loopback() || local().is_ok_and(|local| local.ip() == address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_address_of_this_host_at_a_port_where_it_serves() {
        let [one, other, far] = ["127.0.0.1:80", "127.0.0.2:80", "192.0.2.1:80"].map(|text| text.parse().unwrap());
        let any = Own(vec!["0.0.0.0:80".parse().unwrap(), "[::]:80".parse().unwrap()]);
        assert_eq!([one, other, far].map(|address| any.includes(address)), [true, true, false]);
        assert!(any.includes("[::1]:80".parse().unwrap()) && !any.includes("127.0.0.1:81".parse().unwrap()));
        let chosen = Own(vec![one]);
        assert_eq!([one, other, far].map(|address| chosen.includes(address)), [true, false, false]);
        // Where a test can see an address of this host that is not of the loopback.
        let seen = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect(far)?;
            socket.local_addr()
        });
        if let Ok(seen) = seen {
            assert!(any.includes((seen.ip(), 80).into()));
        }
    }
}
