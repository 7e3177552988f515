//! The virtual switch with real hosts behind it: what it does to their datagrams, and what its captures hold.

use std::net::UdpSocket;
use std::time::Duration;

use peerdist_interop_tests::lab::{Families, Host, Lab, Lan, Plan};
use peerdist_interop_tests::process::{PATIENCE, wait_until};
use peerdist_interop_tests::switch::{Impairment, PortId};
use peerdist_interop_tests::{isolated, tshark};

/// Datagrams whose fate is looked at.
const DATAGRAMS: u16 = 500;

/// Datagrams sent in a row: few enough for the buffers of every device and socket on the way.
const BURST: usize = 50;

#[test]
fn loss_and_duplication_follow_the_seed() {
    isolated::run(|| {
        let fates = |seed| {
            let lab = switched_lab(seed);
            let link = Link::between(&lab.hosts[0], &lab.hosts[1]);
            let impairment = Impairment { loss: 0.2, duplicate: 0.2, ..Impairment::default() };
            lab.switch().impair_link(lab.hosts[0].port(), lab.hosts[1].port(), impairment);
            link.survivors()
        };
        let [first, again, other] = [1, 1, 2].map(fates);
        assert_eq!(first, again);
        assert_ne!(first, other);
        let missing = (0..DATAGRAMS).filter(|number| !first.contains(number)).count();
        let doubled = first.windows(2).filter(|pair| pair[0] == pair[1]).count();
        // 500 draws stay within five standard deviations of their expectation.
        assert!((55..145).contains(&missing), "{missing} of {DATAGRAMS} lost");
        assert!((40..120).contains(&doubled), "{doubled} of {DATAGRAMS} doubled");
    });
}

#[test]
fn frames_held_back_are_overtaken_and_delayed_ones_are_not() {
    isolated::run(|| {
        let lab = switched_lab(3);
        let link = Link::between(&lab.hosts[0], &lab.hosts[1]);
        let numbers: Vec<u16> = (0..).take(BURST).collect();
        let delay = Duration::from_millis(20);
        lab.switch().impair(Impairment { delay, ..Impairment::default() });
        assert_eq!(link.exchange(&numbers), numbers);
        lab.switch().impair(Impairment { reorder: 0.2, hold_back: delay, ..Impairment::default() });
        let mut mixed = link.exchange(&numbers);
        assert!(!mixed.is_sorted());
        mixed.sort_unstable();
        assert_eq!(mixed, numbers);
    });
}

#[test]
fn a_partition_stops_datagrams_until_it_heals() {
    isolated::run(|| {
        let lab = switched_lab(5);
        let [sender, receiver] = &lab.hosts[..] else { panic!("there are two") };
        let link = Link::between(sender, receiver);
        lab.switch().partition(&[&[sender.port()], &[receiver.port(), lab.router.port()]]);
        link.send(&[1]);
        wait_until("the switch to stop it", PATIENCE, || (lab.switch().counters().partitioned > 0).then_some(()));
        lab.switch().heal();
        assert_eq!(link.exchange(&[2]), [2]);
    });
}

#[test]
fn captures_hold_what_one_host_saw_and_tshark_reads_them() {
    isolated::run(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let capture = folder.path().join("lan.pcapng");
        let lab = switched_lab(6);
        let [sender, receiver] = &lab.hosts[..] else { panic!("there are two") };
        let link = Link::between(sender, receiver);
        lab.switch().start_capture(&capture, &[receiver.port()]);
        let numbers: Vec<u16> = (0..).take(BURST).collect();
        assert_eq!(link.exchange(&numbers), numbers);
        lab.switch().stop_capture();

        // As the receiver saw it: each datagram once, coming in, on the interface of its port.
        let PortId(port) = receiver.port();
        let expected = format!("port{port}\t{}\t10", receiver.ipv4().expect("the lab has IPv4"));
        let seen = tshark::fields(&capture, "udp", &["frame.interface_name", "ip.dst", "udp.length"]);
        assert_eq!(seen, vec![expected; BURST]);
        assert_eq!(tshark::count(&capture, "udp && frame.packet_flags_direction == 1"), BURST);
        assert_eq!(tshark::count(&capture, "udp.checksum.status == 0"), 0);
        assert_eq!(tshark::malformed(&capture), [""; 0]);
    });
}

fn switched_lab(seed: u64) -> Lab {
    Lab::new(Plan { hosts: 2, lan: Lan::Switch(seed), families: Families::V4, ..Plan::default() })
}

/// A socket on each of two hosts, which know each other's hardware addresses.
struct Link {
    from: UdpSocket,
    to: UdpSocket,
}

impl Link {
    fn between(sender: &Host, receiver: &Host) -> Self {
        let [from, to] = [sender, receiver].map(|host| {
            let socket = host.enter(|| UdpSocket::bind(host.socket(0))).expect("the address is the host's");
            socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
            socket
        });
        let link = Self { from, to };
        assert_eq!(link.exchange(&[0]), [0]);
        link
    }

    fn send(&self, numbers: &[u16]) {
        let target = self.to.local_addr().expect("it is bound");
        for number in numbers {
            self.from.send_to(&number.to_be_bytes(), target).expect("the buffer has room");
        }
    }

    fn receive(&self) -> u16 {
        let mut number = [0; 2];
        self.to.recv(&mut number).expect("a datagram arrives");
        u16::from_be_bytes(number)
    }

    /// Sends datagrams over a switch that loses none, and returns them as they arrive.
    fn exchange(&self, numbers: &[u16]) -> Vec<u16> {
        self.send(numbers);
        numbers.iter().map(|_| self.receive()).collect()
    }

    /// Sends all the datagrams over a switch that keeps their order, and returns those that arrive.
    fn survivors(&self) -> Vec<u16> {
        let numbers: Vec<u16> = (0..DATAGRAMS).collect();
        let mut survivors = Vec::new();
        for (burst, numbers) in (u16::MAX / 2..).zip(numbers.chunks(BURST)) {
            self.send(numbers);
            // The first of these that arrives says that nothing else of this burst will.
            self.send(&[burst; 10]);
            let received = std::iter::repeat_with(|| self.receive()).take_while(|number| *number != burst);
            survivors.extend(received.filter(|number| *number < DATAGRAMS));
        }
        survivors
    }
}
