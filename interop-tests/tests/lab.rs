//! The lab itself: that its hosts reach each other, and that its WAN link is as thin as it says.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use peerdist_interop_tests::lab::{Families, Host, LAN, Lab, Lan, Plan, Shape};
use peerdist_interop_tests::process::{PATIENCE, wait_until};
use peerdist_interop_tests::{isolated, programs};

/// The group and port of WS-Discovery.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);
const DISCOVERY_PORT: u16 = 3702;

#[test]
fn hosts_reach_each_other_and_the_origin_on_every_medium() {
    isolated::run(|| {
        for lan in [Lan::Bridge, Lan::Switch(1)] {
            let lab = Lab::new(Plan { hosts: 2, lan, ..Plan::default() });
            for server in [&lab.hosts[1], &lab.origin] {
                for address in server.addresses() {
                    assert_eq!(ask(&lab.hosts[0], server, address), b"hello", "{lan:?}: {address}");
                }
            }
        }
    });
}

#[test]
fn link_local_addresses_are_known() {
    isolated::run(|| {
        for lan in [Lan::Bridge, Lan::Switch(1)] {
            let lab = Lab::new(Plan { hosts: 1, lan, ..Plan::default() });
            let host = &lab.hosts[0];
            let address = host.link_local().expect("the lab has IPv6").octets();
            let address: String = address.iter().map(|byte| format!("{byte:02x}")).collect();
            let table = || std::fs::read_to_string("/proc/thread-self/net/if_inet6").expect("Linux lists addresses");
            wait_until("the kernel to make the address", PATIENCE, || {
                host.enter(table).contains(&address).then_some(())
            });
        }
    });
}

#[test]
fn a_family_that_is_not_asked_for_is_not_there() {
    isolated::run(|| {
        for (families, absent) in [
            (Families::V4, SocketAddr::from((GROUP_V6, DISCOVERY_PORT))),
            (Families::V6, SocketAddr::from((GROUP_V4, DISCOVERY_PORT))),
        ] {
            let lab = Lab::new(Plan { hosts: 2, families, ..Plan::default() });
            let host = &lab.hosts[0];
            assert_eq!(host.addresses().len(), 1);
            assert_eq!(ask(host, &lab.hosts[1], host_address(&lab.hosts[1])), b"hello");
            assert_eq!(ask(host, &lab.origin, host_address(&lab.origin)), b"hello");
            let any: IpAddr =
                if absent.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let sent = host.enter(|| UdpSocket::bind((any, 0)).and_then(|socket| socket.send_to(b"x", absent)));
            assert!(sent.is_err(), "{families:?} reached {absent}");
        }
    });
}

#[test]
fn multicast_reaches_every_other_host() {
    isolated::run(|| {
        for lan in [Lan::Bridge, Lan::Switch(1)] {
            let lab = Lab::new(Plan { hosts: 4, lan, ..Plan::default() });
            let (sender, receivers) = lab.hosts.split_first().expect("there are four");
            let own = sender.ipv4().expect("the lab has IPv4");
            let listening: Vec<_> = receivers.iter().map(join_v4).collect();
            sender.enter(|| {
                let socket = UdpSocket::bind((own, 0)).expect("a socket");
                socket.send_to(b"four", (GROUP_V4, DISCOVERY_PORT)).expect("a route for multicast");
            });
            for socket in listening {
                assert_eq!(receive(&socket), (b"four".to_vec(), IpAddr::V4(own)));
            }

            let scope = sender.interface_index(LAN);
            let listening: Vec<_> = receivers.iter().map(join_v6).collect();
            sender.enter(|| {
                let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a socket");
                let group = SocketAddrV6::new(GROUP_V6, DISCOVERY_PORT, 0, scope);
                socket.send_to(b"six", group).expect("a route for multicast");
            });
            for socket in listening {
                let (payload, from) = receive(&socket);
                assert_eq!(payload, b"six");
                assert!(matches!(from, IpAddr::V6(from) if from.is_unicast_link_local()), "{from}");
            }
        }
    });
}

#[test]
fn the_wan_link_is_as_thin_as_asked_for() {
    isolated::run(|| {
        let rate = 8_000_000;
        let wan = Shape { rate, queue: Duration::from_millis(50) };
        let lab = Lab::new(Plan { hosts: 1, wan, ..Plan::default() });
        let payload = 2_000_000;
        let before = lab.wan_traffic();
        let start = Instant::now();
        let received = transfer(&lab.origin, &lab.hosts[0], payload);
        let elapsed = start.elapsed();
        let crossed = lab.wan_traffic().down - before.down;

        assert_eq!(received, payload);
        // Two seconds at this rate, less what the bucket lets pass at once, and never as fast as without a limit.
        assert!(elapsed > Duration::from_millis(1700), "{elapsed:?}");
        // Headers are a few per cent; what is lost and sent again does not cross the link twice, since the
        // bucket stands before it.
        let payload = payload as u64;
        assert!((payload..payload + payload / 10).contains(&crossed), "{crossed}");
    });
}

#[test]
fn traffic_between_hosts_does_not_cross_the_wan_link() {
    isolated::run(|| {
        let lab = Lab::new(Plan::default());
        let before = lab.wan_traffic();
        assert_eq!(transfer(&lab.hosts[0], &lab.hosts[1], 1_000_000), 1_000_000);
        let after = lab.wan_traffic();
        assert!(after.down - before.down < 10_000 && after.up - before.up < 10_000, "{before:?} {after:?}");
    });
}

#[test]
fn a_late_host_and_a_pulled_cable() {
    isolated::run(|| {
        let mut lab = Lab::new(Plan { hosts: 1, families: Families::V4, ..Plan::default() });
        lab.add_host();
        let [early, late] = &lab.hosts[..] else { panic!("there are two") };
        assert_eq!(ask(late, early, host_address(early)), b"hello");
        late.set_link(LAN, false);
        let unreachable = late.enter(|| TcpStream::connect((host_address(early), 1)));
        assert_eq!(unreachable.map_err(|error| error.kind()).err(), Some(std::io::ErrorKind::NetworkUnreachable));
        late.set_link(LAN, true);
        assert_eq!(ask(late, early, host_address(early)), b"hello");
    });
}

#[test]
fn programs_run_on_their_host_and_die_with_the_lab() {
    isolated::run(|| {
        let lab = Lab::new(Plan { hosts: 1, families: Families::V4, ..Plan::default() });
        let host = &lab.hosts[0];
        let links = host.run(Command::new("cat").arg("/proc/net/dev"), PATIENCE).success().stdout;
        assert!(links.contains(LAN) && !links.contains("wan0"), "{links}");
        // Its child is nobody's but the namespace's.
        let mut shell = host.spawn(Command::new("sh").args(["-c", "sleep 600 & echo $!; wait"]));
        let child = shell.wait_for_line("").trim().to_owned();
        drop(lab);
        wait_until("the child to die", PATIENCE, || (!Path::new("/proc").join(&child).exists()).then_some(()));
    });
}

#[test]
fn what_a_killed_test_left_is_removed() {
    isolated::run(|| {
        // A process that has ended, and whose id might be in use again by one that started later.
        let mut dead = Command::new("true").spawn().expect("it starts");
        let name = format!("peerdist-lab-{}-1-0-left", dead.id());
        dead.wait().expect("it ends");
        let added = Command::new(programs::find("ip")).args(["netns", "add", &name]).status();
        assert!(added.expect("ip starts").success());
        isolated::run(|| assert!(!Path::new("/run/netns").join(&name).exists()));
    });
}

/// Connects from a host to an address of another, where a thread waits for it.
fn ask(client: &Host, server: &Host, address: IpAddr) -> Vec<u8> {
    let listener = server.enter(|| TcpListener::bind((address, 0)).expect("the address is the server's"));
    let target = listener.local_addr().expect("it is bound");
    std::thread::scope(|scope| {
        scope.spawn(|| listener.accept().expect("somebody connects").0.write_all(b"hello").expect("it listens"));
        client.enter(|| {
            let mut stream = TcpStream::connect_timeout(&target, PATIENCE).expect("the server is reachable");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("the server ends its answer");
            answer
        })
    })
}

/// Sends `length` bytes from one host to another and returns how many arrived.
fn transfer(from: &Host, to: &Host, length: usize) -> usize {
    let address = host_address(from);
    let listener = from.enter(|| TcpListener::bind((address, 0)).expect("the address is the host's"));
    let target = listener.local_addr().expect("it is bound");
    std::thread::scope(|scope| {
        scope.spawn(|| listener.accept().expect("somebody connects").0.write_all(&vec![7; length]).expect("it reads"));
        to.enter(|| {
            let mut stream = TcpStream::connect_timeout(&target, PATIENCE).expect("the host is reachable");
            std::io::copy(&mut stream, &mut std::io::sink()).expect("the transfer ends") as usize
        })
    })
}

fn host_address(host: &Host) -> IpAddr {
    host.addresses()[0]
}

fn join_v4(host: &Host) -> UdpSocket {
    let own = host.ipv4().expect("the lab has IPv4");
    host.enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, DISCOVERY_PORT)).expect("the port is free on this host");
        socket.join_multicast_v4(&GROUP_V4, &own).expect("the interface takes part in multicast");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        socket
    })
}

fn join_v6(host: &Host) -> UdpSocket {
    let index = host.interface_index(LAN);
    host.enter(|| {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, DISCOVERY_PORT)).expect("the port is free on this host");
        socket.join_multicast_v6(&GROUP_V6, index).expect("the interface takes part in multicast");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        socket
    })
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, IpAddr) {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer).expect("the datagram arrives");
    (buffer[..length].to_vec(), from.ip())
}
