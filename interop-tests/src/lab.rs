//! A branch office in network namespaces.
//!
//! ```text
//! host 0 ─┐
//! host 1 ─┤ LAN: bridge, or      ┌────────┐  WAN: shaped by tbf  ┌────────┐
//! host 2 ─┼──────────────────────┤ router ├──────────────────────┤ origin │
//!   …    ─┘ the virtual switch   └────────┘                      └────────┘
//! ```
//!
//! Addresses are private to the lab, so that any number of labs may run at once, and a host may use any port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::netns::{Namespace, interface_index};
use crate::process::{Finished, PATIENCE, Process};
use crate::programs;
use crate::switch::{PortId, Switch};

/// The interface of hosts and router on the LAN.
pub const LAN: &str = "lan0";

/// The interface of router and origin on the WAN link.
pub const WAN: &str = "wan0";

/// The bridge's own interface, and where the virtual cables end.
const BRIDGE: &str = "br0";

/// From where Linux takes a port when it is asked for any.
pub const EPHEMERAL_PORTS: RangeInclusive<u16> = 32_768..=60_999;

/// The number of a host's address is this and its own.
const FIRST_HOST: u16 = 10;

const MAX_HOSTS: usize = 200;

/// Which addresses a lab has beside link-local ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4; IPv6 is switched off.
    V4,
    /// IPv6; there is no IPv4 address but loopback.
    V6,
    /// Both.
    Both,
}

/// What the LAN is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lan {
    /// The kernel's bridge: fast and loses nothing.
    Bridge,
    /// The virtual switch, whose chances follow from the seed.
    Switch(u64),
}

/// What limits an interface's transmission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rate in bits a second.
    pub rate: u64,
    /// How long a packet may wait before it is dropped.
    pub queue: Duration,
}

/// What a lab is like. The default is two hosts with both families on a bridge, and 100 Mbit/s to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Hosts on the LAN, beside router and origin.
    pub hosts: usize,
    /// Their addresses.
    pub families: Families,
    /// What connects them.
    pub lan: Lan,
    /// The link to the origin, in either direction.
    pub wan: Shape,
}

impl Default for Plan {
    fn default() -> Self {
        let wan = Shape { rate: 100_000_000, queue: Duration::from_millis(50) };
        Self { hosts: 2, families: Families::Both, lan: Lan::Bridge, wan }
    }
}

/// A running lab. On drop it goes away with everything that runs in it.
pub struct Lab {
    /// The hosts of the LAN.
    pub hosts: Vec<Host>,
    /// Between LAN and WAN.
    pub router: Host,
    /// Where downloads come from.
    pub origin: Host,
    plan: Plan,
    medium: Medium,
}

enum Medium {
    Bridge(Namespace),
    Switch(Switch),
}

/// Bytes that crossed the WAN link, packet headers included, as the router counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WanTraffic {
    /// From the origin.
    pub down: u64,
    /// To the origin.
    pub up: u64,
}

impl Lab {
    /// Builds a lab.
    ///
    /// # Panics
    /// If the kernel or the rights of the caller do not allow it; see [`isolated`](crate::isolated).
    pub fn new(plan: Plan) -> Self {
        let medium = match plan.lan {
            Lan::Bridge => Medium::Bridge(new_bridge()),
            Lan::Switch(seed) => Medium::Switch(Switch::new(seed)),
        };
        let router = Host::on_lan("router", 1, plan.families, &medium);
        let origin = connect_origin(&router, plan);
        let mut lab = Self { hosts: Vec::new(), router, origin, plan, medium };
        for _ in 0..plan.hosts {
            lab.add_host();
        }
        lab
    }

    /// Adds one more host to the LAN.
    pub fn add_host(&mut self) -> &Host {
        let index = self.hosts.len();
        assert!(index < MAX_HOSTS, "a lab has at most {MAX_HOSTS} hosts");
        let number = FIRST_HOST + u16::try_from(index).expect("MAX_HOSTS is small");
        let host = Host::on_lan(&format!("host{index}"), number, self.plan.families, &self.medium);
        let mut setup = String::new();
        if host.ipv4.is_some() {
            setup += &format!("route add default via {}\n", lan_ipv4(1));
        }
        if host.ipv6.is_some() {
            setup += &format!("route add default via {}\n", lan_ipv6(1));
        }
        host.namespace.ip_batch(&setup);
        self.hosts.push(host);
        &self.hosts[index]
    }

    /// The virtual switch.
    ///
    /// # Panics
    /// If the plan asked for a bridge.
    pub fn switch(&self) -> &Switch {
        match &self.medium {
            Medium::Switch(switch) => switch,
            Medium::Bridge(_) => panic!("this lab has a bridge"),
        }
    }

    /// What crossed the WAN link so far.
    pub fn wan_traffic(&self) -> WanTraffic {
        let (down, up) = self.router.interface_bytes(WAN);
        WanTraffic { down, up }
    }
}

/// A host of the lab: a network namespace with its addresses. It lives until the last clone goes.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    namespace: Arc<Namespace>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    port: Option<PortId>,
}

impl Host {
    fn new(name: &str, families: Families, ipv4: Ipv4Addr, ipv6: Ipv6Addr) -> Self {
        Self {
            name: name.to_owned(),
            namespace: Arc::new(Namespace::new(name)),
            ipv4: (families != Families::V6).then_some(ipv4),
            ipv6: (families != Families::V4).then_some(ipv6),
            port: None,
        }
    }

    fn on_lan(name: &str, number: u16, families: Families, medium: &Medium) -> Self {
        let mut host = Self::new(name, families, lan_ipv4(number), lan_ipv6(number));
        match medium {
            Medium::Bridge(bridge) => {
                let cable = format!("port{number}");
                let host_namespace = host.namespace.name();
                bridge.ip_batch(&format!(
                    "link add {cable} type veth peer name {LAN} netns {host_namespace}\n\
                     link set {cable} master {BRIDGE} up\n"
                ));
            }
            Medium::Switch(switch) => host.port = Some(switch.plug_in(&host.namespace, LAN)),
        }
        host.bring_up(LAN);
        host
    }

    /// Gives an interface the host's addresses and switches it on.
    fn bring_up(&self, interface: &str) {
        let mut setup = String::new();
        if let Some(address) = self.ipv4 {
            setup += &format!("address add {address}/24 broadcast + dev {interface}\n");
        }
        match self.ipv6 {
            Some(address) => {
                let number = address.segments()[7];
                setup +=
                    &format!("link set {interface} address 02:00:00:00:{:02x}:{:02x}\n", number >> 8, number & 0xff);
                setup += &format!("address add {address}/64 dev {interface} nodad\n");
            }
            None => setup += &format!("link set {interface} addrgenmode none\n"),
        }
        setup += &format!("link set {interface} up\n");
        self.namespace.ip_batch(&setup);
    }

    /// Its name, as `host0`, `router`, `origin`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 address, if the lab has that family.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.ipv4
    }

    /// Its global IPv6 address, if the lab has that family.
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.ipv6
    }

    /// Its link-local address on the LAN, if the lab has IPv6: the one that follows from the interface's hardware address.
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.ipv6.map(|address| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, address.segments()[7]))
    }

    /// All of its addresses but loopback and link-local ones.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6)).collect()
    }

    /// A socket address on this host; IPv4 where it has both families.
    pub fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses()[0], port)
    }

    /// Its port of the virtual switch.
    ///
    /// # Panics
    /// If the lab has none, or the host is not on the LAN.
    pub fn port(&self) -> PortId {
        self.port.expect("the host is plugged into a virtual switch")
    }

    /// Runs `work` on a thread in this host's namespace: sockets that it opens belong to this host.
    ///
    /// # Panics
    /// If `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(work)
    }

    /// Starts a program on this host.
    ///
    /// # Panics
    /// If it does not start.
    pub fn spawn(&self, command: &mut Command) -> Process {
        let program = std::path::Path::new(command.get_program());
        let program = program.file_name().unwrap_or(command.get_program()).to_string_lossy();
        let name = format!("{program} on {}", self.name);
        self.enter(|| Process::start(name, command))
    }

    /// Runs a program on this host to its end.
    ///
    /// # Panics
    /// If it does not start or runs longer than `limit`.
    #[track_caller]
    pub fn run(&self, command: &mut Command, limit: Duration) -> Finished {
        self.spawn(command).wait(limit)
    }

    /// Switches an interface on or off, as if its cable had been pulled. Global IPv6 addresses are lost by that.
    pub fn set_link(&self, interface: &str, up: bool) {
        let state = if up { "up" } else { "down" };
        self.namespace.ip_batch(&format!("link set {interface} {state}\n"));
    }

    /// Limits what leaves this host on an interface.
    ///
    /// # Panics
    /// If the kernel cannot do that.
    pub fn limit(&self, interface: &str, shape: Shape) {
        // A token bucket must hold what falls due between two ticks of a 100 Hz clock, and a few full packets.
        let burst = (shape.rate / 8 / 100).max(16 * 1024);
        let mut command = Command::new(programs::find("tc"));
        command.args(["qdisc", "add", "dev", interface, "root", "tbf", "rate", &format!("{}bit", shape.rate)]);
        command.args(["burst", &format!("{burst}b"), "latency", &format!("{}us", shape.queue.as_micros())]);
        self.run(&mut command, PATIENCE).success();
    }

    /// The index of an interface on this host.
    ///
    /// # Panics
    /// If there is no such interface.
    pub fn interface_index(&self, name: &str) -> u32 {
        self.enter(|| interface_index(name))
    }

    /// Bytes received and sent by an interface, headers included.
    ///
    /// # Panics
    /// If there is no such interface.
    pub fn interface_bytes(&self, interface: &str) -> (u64, u64) {
        // The plain /proc/net is that of the process's first thread, which is not in this namespace.
        let table = self.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev").expect("Linux counts bytes"));
        let line = table.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
        let numbers: Vec<u64> = line.expect("the interface exists").split_whitespace().flat_map(str::parse).collect();
        // Eight columns on reception, then eight on transmission, each starting with bytes.
        (numbers[0], numbers[8])
    }
}

fn new_bridge() -> Namespace {
    let namespace = Namespace::new("bridge");
    // Snooping would need a querier to keep multicast flowing; small networks flood it.
    namespace.ip_batch(&format!(
        "link add {BRIDGE} type bridge mcast_snooping 0 stp_state 0 forward_delay 0\n\
         link set {BRIDGE} up\n"
    ));
    namespace
}

fn connect_origin(router: &Host, plan: Plan) -> Host {
    let origin = Host::new("origin", plan.families, wan_ipv4(2), wan_ipv6(2));
    router.namespace.ip_batch(&format!("link add {WAN} type veth peer name {WAN} netns {}\n", origin.namespace.name()));
    let families = plan.families;
    if families != Families::V6 {
        router.namespace.ip_batch(&format!("address add {}/24 dev {WAN}\n", wan_ipv4(1)));
    }
    if families != Families::V4 {
        router.namespace.ip_batch(&format!("address add {}/64 dev {WAN} nodad\n", wan_ipv6(1)));
    }
    router.namespace.ip_batch(&format!("link set {WAN} up\n"));
    origin.bring_up(WAN);
    if families != Families::V6 {
        origin.namespace.ip_batch(&format!("route add default via {}\n", wan_ipv4(1)));
        router.enter(|| forward_packets("/proc/sys/net/ipv4/ip_forward"));
    }
    if families != Families::V4 {
        origin.namespace.ip_batch(&format!("route add default via {}\n", wan_ipv6(1)));
        router.enter(|| forward_packets("/proc/sys/net/ipv6/conf/all/forwarding"));
    }
    for host in [router, &origin] {
        host.limit(WAN, plan.wan);
    }
    origin
}

fn forward_packets(setting: &str) {
    std::fs::write(setting, "1").unwrap_or_else(|error| panic!("{setting}: {error}"));
}

fn lan_ipv4(number: u16) -> Ipv4Addr {
    let [_, number] = number.to_be_bytes();
    Ipv4Addr::new(10, 77, 0, number)
}

fn lan_ipv6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, number)
}

/// From the block for documentation.
fn wan_ipv4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number)
}

/// From the block for documentation.
fn wan_ipv6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number)
}
