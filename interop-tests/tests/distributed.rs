//! Distributed mode between hosts: a file crosses the WAN once, and then travels on the LAN.

use std::time::Duration;

use peerdist_interop_tests::hostile::{HostilePeer, Misbehaviour};
use peerdist_interop_tests::isolated;
use peerdist_interop_tests::lab::{Families, LAN, Lab, Plan, Shape};
use peerdist_interop_tests::nodes::{ContentServer, Download, Node, content};
use peerdist_interop_tests::process::{PATIENCE, wait_until};

const MIB: usize = 1024 * 1024;

/// What content information and headers may cost on the WAN, as a share of the content.
const OVERHEAD: f64 = 0.05;

#[test]
fn the_second_host_takes_it_from_the_first() {
    isolated::run(|| {
        let lab = Lab::new(Plan::default());
        let file = content(16 * MIB, 1);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let url = server.url("file");
        let [first, second] = [&lab.hosts[0], &lab.hosts[1]].map(Node::start);

        let download = first.get(&url, &file);
        assert_eq!(download.content_information.as_deref(), Some("v2"));
        assert_eq!((download.sources.from_peers(), download.sources.cache), (0, 0));

        let before = lab.wan_traffic().down;
        let download = second.get(&url, &file);
        let crossed = lab.wan_traffic().down - before;
        assert_eq!(download.sources.from_host(first.host()), file.len() as u64, "{:#}", download.explanation);
        assert!((crossed as f64) < OVERHEAD * file.len() as f64, "{crossed} bytes crossed the WAN");

        let download = second.get(&url, &file);
        assert_eq!(download.sources.cache, file.len() as u64);
    });
}

#[test]
fn ipv6_alone_is_enough() {
    isolated::run(|| {
        let lab = Lab::new(Plan { families: Families::V6, ..Plan::default() });
        let file = content(4 * MIB, 2);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let [first, second] = [&lab.hosts[0], &lab.hosts[1]].map(Node::start);
        first.get(&server.url("file"), &file);
        let download = second.get(&server.url("file"), &file);
        assert_eq!(download.sources.from_peers(), file.len() as u64, "{:#}", download.explanation);
        assert!(download.sources.peers.keys().all(std::net::SocketAddr::is_ipv6));
    });
}

#[test]
fn ipv4_alone_is_enough() {
    isolated::run(|| {
        let lab = Lab::new(Plan { families: Families::V4, ..Plan::default() });
        let file = content(4 * MIB, 3);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let [first, second] = [&lab.hosts[0], &lab.hosts[1]].map(Node::start);
        first.get(&server.url("file"), &file);
        let download = second.get(&server.url("file"), &file);
        assert_eq!(download.sources.from_host(first.host()), file.len() as u64, "{:#}", download.explanation);
    });
}

#[test]
fn ten_hosts_at_once_and_one_that_joins_late() {
    isolated::run(|| {
        let mut lab = Lab::new(Plan { hosts: 10, ..Plan::default() });
        let file = content(16 * MIB, 4);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let url = server.url("file");
        let nodes: Vec<Node> = lab.hosts.iter().map(Node::start).collect();
        nodes[0].get(&url, &file);

        let before = lab.wan_traffic().down;
        let running: Vec<_> = nodes[1..].iter().map(|node| node.start_get(&url)).collect();
        let downloads: Vec<Download> = running.into_iter().map(|download| download.finish(&file)).collect();
        let crossed = lab.wan_traffic().down - before;
        let all = (downloads.len() * file.len()) as f64;
        let from_peers: u64 = downloads.iter().map(|download| download.sources.from_peers()).sum();
        assert!(from_peers as f64 >= 0.95 * all, "{from_peers} of {all} bytes came from peers");
        assert!((crossed as f64) < (0.05 + OVERHEAD) * all, "{crossed} bytes crossed the WAN");

        let late = Node::start(lab.add_host());
        let before = lab.wan_traffic().down;
        let download = late.get(&url, &file);
        let crossed = lab.wan_traffic().down - before;
        assert_eq!(download.sources.from_peers(), file.len() as u64, "{:#}", download.explanation);
        assert!(download.sources.peers.len() > 1, "one of ten did all the work: {:?}", download.sources.peers);
        assert!((crossed as f64) < OVERHEAD * file.len() as f64, "{crossed} bytes crossed the WAN");
    });
}

#[test]
fn a_host_that_dies_in_the_middle_is_replaced_by_another() {
    isolated::run(|| {
        let lab = Lab::new(Plan { hosts: 3, ..Plan::default() });
        let file = content(16 * MIB, 5);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let url = server.url("file");
        let [mut dying, living, reader] = [0, 1, 2].map(|index: usize| Node::start(&lab.hosts[index]));
        dying.get(&url, &file);
        living.get(&url, &file);
        // Slow enough that the middle of the download can be hit.
        for node in [&dying, &living] {
            node.host().limit(LAN, Shape { rate: 40_000_000, queue: Duration::from_millis(50) });
        }

        let (_, sent_before) = dying.host().interface_bytes(LAN);
        let download = reader.start_get(&url);
        wait_until("the dying host to have sent 2 MiB", PATIENCE, || {
            let (_, sent) = dying.host().interface_bytes(LAN);
            (sent - sent_before > 2 * MIB as u64).then_some(())
        });
        dying.cut_power();
        let download = download.finish(&file);

        let sources = &download.sources;
        assert!(sources.from_host(dying.host()) > 0, "{sources:?}");
        assert!(sources.from_host(dying.host()) < file.len() as u64, "{sources:?}");
        assert!(sources.from_host(living.host()) > 0, "{sources:?}");
        assert_eq!(sources.origin, 0, "the other host had all of it: {:#}", download.explanation);
    });
}

#[test]
fn the_last_holder_dies_and_the_origin_gives_the_rest() {
    isolated::run(|| {
        let lab = Lab::new(Plan::default());
        let file = content(16 * MIB, 6);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let url = server.url("file");
        let [mut dying, reader] = [0, 1].map(|index: usize| Node::start(&lab.hosts[index]));
        dying.get(&url, &file);
        dying.host().limit(LAN, Shape { rate: 40_000_000, queue: Duration::from_millis(50) });

        let (_, sent_before) = dying.host().interface_bytes(LAN);
        let download = reader.start_get(&url);
        wait_until("the dying host to have sent 2 MiB", PATIENCE, || {
            let (_, sent) = dying.host().interface_bytes(LAN);
            (sent - sent_before > 2 * MIB as u64).then_some(())
        });
        dying.kill();
        let download = download.finish(&file);
        assert!(download.sources.from_host(dying.host()) > 0, "{:?}", download.sources);
        assert!(download.sources.origin > 0, "{:?}", download.sources);
    });
}

#[test]
fn wrong_bytes_never_reach_the_file_and_their_sender_is_not_asked_again() {
    isolated::run(|| {
        let lab = Lab::new(Plan { hosts: 3, families: Families::V4, ..Plan::default() });
        let file = content(8 * MIB, 8);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let [honest, reader] = [0, 1].map(|index: usize| Node::start(&lab.hosts[index]));
        honest.get(&server.url("file"), &file);
        let information = server.content_information("file");
        let hostile = HostilePeer::start(&lab.hosts[2], Misbehaviour::WrongBytes, &information, &file);

        // `get` compares every byte.
        let download = reader.get(&server.url("file"), &file);
        assert_eq!(download.sources.from_host(&lab.hosts[2]), 0, "{:?}", download.sources);
        assert_eq!(download.sources.from_host(honest.host()), file.len() as u64, "{:#}", download.explanation);
        let asked = hostile.times_asked();
        assert!(asked > 0, "nobody fell for it");
        // A few requests were under way to it when the first answer came.
        assert!(asked <= 32, "it was asked {asked} times");
    });
}

#[test]
fn wrong_bytes_alone_lead_to_the_origin() {
    isolated::run(|| {
        let lab = Lab::new(Plan { families: Families::V4, ..Plan::default() });
        let file = content(4 * MIB, 10);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let information = server.content_information("file");
        let hostile = HostilePeer::start(&lab.hosts[1], Misbehaviour::WrongBytes, &information, &file);
        let reader = Node::start(&lab.hosts[0]);
        let download = reader.get(&server.url("file"), &file);
        assert_eq!(download.sources.origin, file.len() as u64, "{:?}", download.sources);
        assert!(hostile.times_asked() > 0, "nobody fell for it");
    });
}

#[test]
fn peers_that_promise_and_do_not_deliver_cost_little() {
    isolated::run(|| {
        for misbehaviour in [Misbehaviour::Silence, Misbehaviour::EmptyPromise] {
            let lab = Lab::new(Plan { hosts: 3, families: Families::V4, ..Plan::default() });
            let file = content(8 * MIB, 11);
            let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
            let [honest, reader] = [0, 1].map(|index: usize| Node::start(&lab.hosts[index]));
            honest.get(&server.url("file"), &file);
            let information = server.content_information("file");
            let _hostile = HostilePeer::start(&lab.hosts[2], misbehaviour, &information, &file);
            let download = reader.get(&server.url("file"), &file);
            let from_honest = download.sources.from_host(honest.host()) as f64;
            assert!(from_honest >= 0.95 * file.len() as f64, "{misbehaviour:?}: {:#}", download.explanation);
        }
    });
}

#[test]
fn a_killed_node_keeps_what_it_had_flushed_and_serves_it_again() {
    isolated::run(|| {
        let lab = Lab::new(Plan::default());
        let file = content(16 * MIB, 7);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let url = server.url("file");
        let [mut first, second] = [0, 1].map(|index: usize| Node::start(&lab.hosts[index]));
        first.get(&url, &file);
        first.kill();
        first.restart();
        let again = first.get(&url, &file);
        assert!(again.sources.cache > 0, "{:?}", again.sources);
        let download = second.get(&url, &file);
        assert_eq!(download.sources.from_host(first.host()), file.len() as u64, "{:#}", download.explanation);
    });
}

#[test]
fn a_stopped_node_says_goodbye_with_status_zero() {
    isolated::run(|| {
        let lab = Lab::new(Plan { hosts: 1, ..Plan::default() });
        let mut node = Node::start(&lab.hosts[0]);
        node.stop().success();
    });
}
