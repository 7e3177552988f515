//! What the switch does to a frame, without any device: learning, flooding, and everything that a bad LAN does.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Bytes of an Ethernet header.
const HEADER: usize = 14;

/// Addresses that the switch remembers; a host has one or two.
const MAX_ADDRESSES: usize = 1024;

/// A port of the switch, numbered from 0 in the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub usize);

/// What happens to frames on their way from one port to another. The default is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Impairment {
    /// The share of frames that is lost.
    pub loss: f64,
    /// The share of frames that arrives twice.
    pub duplicate: f64,
    /// How long every frame takes.
    pub delay: Duration,
    /// The share of frames that is held back by `hold_back` on top of that, so that later ones overtake it.
    pub reorder: f64,
    /// How long such a frame is held back.
    pub hold_back: Duration,
}

/// One copy of a frame that leaves the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) port: PortId,
    pub(super) after: Duration,
}

/// What became of frames, counted per port they were meant for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Copies that left the switch.
    pub delivered: u64,
    /// Frames lost by chance.
    pub lost: u64,
    /// Second copies.
    pub duplicated: u64,
    /// Frames held back.
    pub held_back: u64,
    /// Frames that a partition stopped.
    pub partitioned: u64,
    /// Frames shorter than an Ethernet header.
    pub runts: u64,
    /// Copies that the port (its interface is down, or full) or the delay line (it is full) did not take.
    pub refused: u64,
}

type MacAddress = [u8; 6];

/// A learning switch. Each pair of ports draws its chances from its own stream of the seed, so that the fate of the
/// nth frame between two hosts does not depend on what other hosts send meanwhile.
#[derive(Debug)]
pub(super) struct Fabric {
    seed: u64,
    ports: usize,
    addresses: HashMap<MacAddress, PortId>,
    general: Impairment,
    special: HashMap<(PortId, PortId), Impairment>,
    severed: HashSet<(PortId, PortId)>,
    chances: HashMap<(PortId, PortId), StdRng>,
    pub(super) counters: Counters,
}

impl Fabric {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            ports: 0,
            addresses: HashMap::new(),
            general: Impairment::default(),
            special: HashMap::new(),
            severed: HashSet::new(),
            chances: HashMap::new(),
            counters: Counters::default(),
        }
    }

    pub(super) fn add_port(&mut self) -> PortId {
        self.ports += 1;
        PortId(self.ports - 1)
    }

    /// Sets what happens between all ports that have nothing of their own. All chances start anew from the seed.
    pub(super) fn impair(&mut self, impairment: Impairment) {
        self.chances.clear();
        self.general = impairment;
    }

    /// Sets what happens from one port to another, in this direction. Its chances start anew from the seed.
    pub(super) fn impair_link(&mut self, from: PortId, to: PortId, impairment: Impairment) {
        self.chances.remove(&(from, to));
        self.special.insert((from, to), impairment);
    }

    /// Lets nothing pass between ports of different groups. Ports in no group reach everybody.
    pub(super) fn partition(&mut self, groups: &[&[PortId]]) {
        self.severed.clear();
        for (number, group) in groups.iter().enumerate() {
            let others = groups.iter().enumerate().filter(|(other, _)| *other != number).flat_map(|(_, group)| *group);
            for to in others {
                self.severed.extend(group.iter().map(|from| (*from, *to)));
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.severed.clear();
    }

    /// Decides where copies of a frame go, and when.
    pub(super) fn forward(&mut self, from: PortId, frame: &[u8]) -> Vec<Delivery> {
        let Some((to, source)) = addresses(frame) else {
            self.counters.runts += 1;
            return Vec::new();
        };
        if !is_group(source) && (self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(&source)) {
            self.addresses.insert(source, from);
        }
        let mut deliveries = Vec::new();
        match self.addresses.get(&to).filter(|_| !is_group(to)) {
            Some(port) if *port == from => {}
            Some(port) => self.carry(from, *port, &mut deliveries),
            None => {
                for port in (0..self.ports).map(PortId).filter(|port| *port != from) {
                    self.carry(from, port, &mut deliveries);
                }
            }
        }
        deliveries
    }

    fn carry(&mut self, from: PortId, to: PortId, deliveries: &mut Vec<Delivery>) {
        if self.severed.contains(&(from, to)) {
            self.counters.partitioned += 1;
            return;
        }
        let impairment = self.special.get(&(from, to)).unwrap_or(&self.general);
        let seed = self.seed;
        let chances = self.chances.entry((from, to)).or_insert_with(|| StdRng::from_seed(link_seed(seed, from, to)));
        // All three are drawn for every frame: a setting changes the fate of frames, not the meaning of later draws.
        let lost = chances.random_bool(impairment.loss);
        let duplicated = chances.random_bool(impairment.duplicate);
        let held_back = chances.random_bool(impairment.reorder);
        if lost {
            self.counters.lost += 1;
            return;
        }
        let after = impairment.delay + if held_back { impairment.hold_back } else { Duration::ZERO };
        self.counters.held_back += u64::from(held_back);
        self.counters.duplicated += u64::from(duplicated);
        for _ in 0..1 + usize::from(duplicated) {
            self.counters.delivered += 1;
            deliveries.push(Delivery { port: to, after });
        }
    }
}

fn link_seed(seed: u64, from: PortId, to: PortId) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&(from.0 as u64).to_le_bytes());
    bytes[16..24].copy_from_slice(&(to.0 as u64).to_le_bytes());
    bytes
}

/// Destination and source of an Ethernet frame.
fn addresses(frame: &[u8]) -> Option<(MacAddress, MacAddress)> {
    let header = frame.get(..HEADER)?;
    Some((header[..6].try_into().ok()?, header[6..12].try_into().ok()?))
}

/// Multicast and broadcast.
fn is_group(address: MacAddress) -> bool {
    address[0] & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROADCAST: MacAddress = [0xff; 6];
    const MULTICAST: MacAddress = [0x01, 0x00, 0x5e, 0x7f, 0xff, 0xfa];

    fn host(number: u8) -> MacAddress {
        [2, 0, 0, 0, 0, number]
    }

    fn frame(to: MacAddress, from: MacAddress) -> Vec<u8> {
        [&to[..], &from[..], &[0x08, 0x00], &[0; 46]].concat()
    }

    fn fabric(ports: usize) -> Fabric {
        let mut fabric = Fabric::new(7);
        for _ in 0..ports {
            fabric.add_port();
        }
        fabric
    }

    fn ports(deliveries: &[Delivery]) -> Vec<usize> {
        deliveries.iter().map(|delivery| delivery.port.0).collect()
    }

    #[test]
    fn unknown_addresses_are_flooded_and_known_ones_are_not() {
        let mut fabric = fabric(3);
        assert_eq!(ports(&fabric.forward(PortId(0), &frame(host(2), host(0)))), [1, 2]);
        assert_eq!(ports(&fabric.forward(PortId(2), &frame(host(0), host(2)))), [0]);
        assert_eq!(ports(&fabric.forward(PortId(0), &frame(host(2), host(0)))), [2]);
    }

    #[test]
    fn groups_are_flooded_and_never_learned() {
        let mut fabric = fabric(3);
        assert_eq!(ports(&fabric.forward(PortId(1), &frame(MULTICAST, MULTICAST))), [0, 2]);
        assert_eq!(ports(&fabric.forward(PortId(2), &frame(MULTICAST, host(2)))), [0, 1]);
        assert_eq!(ports(&fabric.forward(PortId(2), &frame(BROADCAST, host(2)))), [0, 1]);
    }

    #[test]
    fn a_frame_for_a_host_behind_its_own_port_stays_there() {
        let mut fabric = fabric(2);
        fabric.forward(PortId(0), &frame(BROADCAST, host(0)));
        assert_eq!(fabric.forward(PortId(0), &frame(host(0), host(9))), []);
    }

    #[test]
    fn runts_are_counted() {
        let mut fabric = fabric(2);
        assert_eq!(fabric.forward(PortId(0), &[0; HEADER - 1]), []);
        assert_eq!(fabric.counters.runts, 1);
    }

    #[test]
    fn partitions_stop_both_directions_until_healed() {
        let mut fabric = fabric(4);
        fabric.partition(&[&[PortId(0), PortId(1)], &[PortId(2)]]);
        assert_eq!(ports(&fabric.forward(PortId(0), &frame(MULTICAST, host(0)))), [1, 3]);
        assert_eq!(ports(&fabric.forward(PortId(2), &frame(MULTICAST, host(2)))), [3]);
        assert_eq!(ports(&fabric.forward(PortId(3), &frame(MULTICAST, host(3)))), [0, 1, 2]);
        assert_eq!(fabric.counters.partitioned, 3);
        fabric.heal();
        assert_eq!(ports(&fabric.forward(PortId(2), &frame(MULTICAST, host(2)))), [0, 1, 3]);
    }

    #[test]
    fn chances_are_kept_over_many_frames() {
        let mut fabric = fabric(2);
        fabric.impair(Impairment {
            loss: 0.1,
            duplicate: 0.2,
            delay: Duration::from_millis(3),
            reorder: 0.3,
            hold_back: Duration::from_millis(5),
        });
        let mut copies = 0;
        let mut late = 0;
        for _ in 0..10_000 {
            let deliveries = fabric.forward(PortId(0), &frame(BROADCAST, host(0)));
            copies += deliveries.len();
            late += usize::from(deliveries.iter().any(|delivery| delivery.after == Duration::from_millis(8)));
            assert!(deliveries.iter().all(|delivery| delivery.after >= Duration::from_millis(3)));
        }
        // 10,000 draws stay within five standard deviations of their expectation.
        assert!((850..1150).contains(&fabric.counters.lost), "{:?}", fabric.counters);
        assert!((1600..2000).contains(&fabric.counters.duplicated), "{:?}", fabric.counters);
        assert!((2450..2950).contains(&late), "{late}");
        assert_eq!(copies as u64, 10_000 - fabric.counters.lost + fabric.counters.duplicated);
    }

    #[test]
    fn the_same_seed_gives_the_same_fate_whatever_others_send() {
        let fates = |noise: bool| {
            let mut fabric = fabric(3);
            fabric.impair(Impairment { loss: 0.5, ..Impairment::default() });
            fabric.forward(PortId(1), &frame(BROADCAST, host(1)));
            let mut fates = Vec::new();
            for _ in 0..64 {
                if noise {
                    fabric.forward(PortId(2), &frame(host(1), host(2)));
                }
                fates.push(fabric.forward(PortId(0), &frame(host(1), host(0))).len());
            }
            fates
        };
        assert_eq!(fates(false), fates(true));
        assert!(fates(false).contains(&0) && fates(false).contains(&1));
    }

    #[test]
    fn a_link_of_its_own_is_one_direction_only() {
        let mut fabric = fabric(2);
        fabric.impair_link(PortId(0), PortId(1), Impairment { loss: 1.0, ..Impairment::default() });
        assert_eq!(fabric.forward(PortId(0), &frame(BROADCAST, host(0))), []);
        assert_eq!(ports(&fabric.forward(PortId(1), &frame(BROADCAST, host(1)))), [0]);
    }
}
