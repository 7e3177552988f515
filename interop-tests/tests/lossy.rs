//! Distributed mode on a bad LAN: the virtual switch loses, delays, doubles and reorders frames, or is cut in two.

use std::time::Duration;

use peerdist_interop_tests::isolated;
use peerdist_interop_tests::lab::{Host, Lab, Lan, Plan};
use peerdist_interop_tests::nodes::{ContentServer, Node, content};
use peerdist_interop_tests::switch::{Impairment, PortId};

const MIB: usize = 1024 * 1024;

/// The share of a file that peers have to give although the LAN is bad: a segment whose Probe and its repetition are
/// lost comes from the origin.
const GOOD_ENOUGH: f64 = 0.9;

#[test]
fn a_lan_that_loses_frames() {
    survives(1, Impairment { loss: 0.02, ..Impairment::default() });
}

#[test]
fn a_slow_lan() {
    survives(2, Impairment { delay: Duration::from_millis(10), ..Impairment::default() });
}

#[test]
fn a_lan_that_doubles_and_reorders_frames() {
    let hold_back = Duration::from_millis(2);
    survives(3, Impairment { duplicate: 0.1, reorder: 0.05, hold_back, ..Impairment::default() });
}

fn survives(seed: u64, impairment: Impairment) {
    isolated::run(move || {
        let lab = Lab::new(Plan { hosts: 3, lan: Lan::Switch(seed), ..Plan::default() });
        let file = content(8 * MIB, seed);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let url = server.url("file");
        let nodes: Vec<Node> = lab.hosts.iter().map(Node::start).collect();
        nodes[0].get(&url, &file);
        // The way to the origin stays good: this is about the LAN between hosts.
        between_hosts(&lab, |from, to| lab.switch().impair_link(from, to, impairment));
        for node in &nodes[1..] {
            let download = node.get(&url, &file);
            let from_peers = download.sources.from_peers() as f64;
            assert!(
                from_peers >= GOOD_ENOUGH * file.len() as f64,
                "{:?}: {:#}",
                download.sources,
                download.explanation
            );
        }
    });
}

#[test]
fn a_partition_costs_bytes_from_the_origin_and_its_end_saves_them_again() {
    isolated::run(|| {
        let lab = Lab::new(Plan { hosts: 3, lan: Lan::Switch(4), ..Plan::default() });
        let [file, other] = [5, 6].map(|seed| content(4 * MIB, seed));
        let server = ContentServer::folder(&lab.origin, &[("file", &file), ("other", &other)]);
        let [holder, left, right] = [0, 1, 2].map(|index: usize| Node::start(&lab.hosts[index]));
        holder.get(&server.url("file"), &file);
        holder.get(&server.url("other"), &other);

        lab.switch().partition(&[&[holder.host().port()], &[left.host().port(), right.host().port()]]);
        let alone = left.get(&server.url("file"), &file);
        assert_eq!(alone.sources.from_peers(), 0, "{:?}", alone.sources);
        let beside = right.get(&server.url("file"), &file);
        assert_eq!(beside.sources.from_host(left.host()), file.len() as u64, "{:#}", beside.explanation);

        lab.switch().heal();
        let healed = left.get(&server.url("other"), &other);
        assert_eq!(healed.sources.from_host(holder.host()), other.len() as u64, "{:#}", healed.explanation);
    });
}

/// Calls `work` with every pair of ports of hosts, in both directions.
fn between_hosts(lab: &Lab, work: impl Fn(PortId, PortId)) {
    for from in lab.hosts.iter().map(Host::port) {
        for to in lab.hosts.iter().map(Host::port).filter(|to| *to != from) {
            work(from, to);
        }
    }
}
