//! Discovery with WS-Discovery programs that others wrote: the WSDiscovery package probes our node, and wsdd holds
//! UDP 3702 beside it.

use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use peerdist_interop_tests::lab::{Families, Host, Lab, Plan};
use peerdist_interop_tests::nodes::{Node, content};
use peerdist_interop_tests::process::{PATIENCE, Process, wait_until};
use peerdist_interop_tests::{isolated, programs};
use serde::Deserialize;

const PEERDIST: &str = "http://schemas.microsoft.com/p2p/2007/09/PeerDistributionDiscovery";
const STRCMP0: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery/strcmp0";
const V2_RULE: &str = "http://schemas.microsoft.com/p2p/2010/05/PeerDistV2MatchingRule";
/// What wsdd is.
const DEVICES: &str = "http://schemas.xmlsoap.org/ws/2006/02/devprof";

/// The XAddrs of a node on the first host, at the port that Windows uses.
const FIRST_HOST: &str = "10.77.0.10:80";

#[test]
fn the_wsdiscovery_package_finds_who_holds_a_segment() {
    isolated::run(|| {
        let lab = Lab::new(Plan { families: Families::V4, ..Plan::default() });
        let (_node, ids) = holder(&lab.hosts[0]);
        let [id, another] = [&ids[0], &ids[1]];

        let found = probe(&lab.hosts[1], &[PEERDIST, "PeerDistData", STRCMP0, id]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].address.starts_with("urn:uuid:"), "{found:?}");
        assert_eq!(found[0].types, [[PEERDIST, "PeerDistData"]]);
        assert_eq!((&found[0].scopes[..], &found[0].xaddrs[..]), (&[id.clone()][..], &[FIRST_HOST.to_owned()][..]));

        // Of three ids the two that are held.
        let unknown = "0123456789ABCDEF".repeat(4);
        let found = probe(&lab.hosts[1], &[PEERDIST, "PeerDistData", STRCMP0, id, &unknown, another]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].scopes, [id.clone(), another.clone()]);

        // Nobody holds this one, and this type is none of ours: no answer at all.
        assert!(probe(&lab.hosts[1], &[PEERDIST, "PeerDistData", STRCMP0, &unknown]).is_empty());
        assert!(probe(&lab.hosts[1], &[DEVICES, "Device"]).is_empty());
    });
}

#[test]
fn the_wsdiscovery_package_probes_in_version_2() {
    isolated::run(|| {
        let lab = Lab::new(Plan { families: Families::V4, ..Plan::default() });
        let (_node, ids) = holder(&lab.hosts[0]);
        // Two ids, the second of which nobody holds.
        let array = [&[0, 32, 2][..], &hex::decode(&ids[0]).expect("hexadecimal digits"), &[7; 32]].concat();
        let found = probe(&lab.hosts[1], &[PEERDIST, "PeerDistDataV2", V2_RULE, &BASE64_STANDARD.encode(array)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].types, [[PEERDIST, "PeerDistDataV2"]]);
        // All of the first, nothing of the second: bits 11 00 and padding.
        assert_eq!(found[0].scopes, ["wA=="]);
        assert_eq!(found[0].xaddrs, [FIRST_HOST]);
    });
}

#[test]
fn wsdd_and_a_node_share_the_port_whoever_comes_first() {
    isolated::run(|| {
        for wsdd_first in [true, false] {
            let lab = Lab::new(Plan { families: Families::V4, ..Plan::default() });
            let [host, other] = &lab.hosts[..] else { panic!("there are two") };
            let before = wsdd_first.then(|| wsdd(host));
            let (_node, ids) = holder(host);
            let _wsdd = before.unwrap_or_else(|| wsdd(host));

            // wsdd looks for this prefix and no other. A device of which only the Hello was heard has no types: that
            // proves nothing about the port, so another Probe has to be answered.
            wait_until(&format!("wsdd to answer, wsdd first: {wsdd_first}"), PATIENCE, || {
                let devices = probe(other, &[DEVICES, "wsdp:Device"]);
                let device = [DEVICES, "Device"].map(str::to_owned);
                devices.iter().any(|found| found.types.contains(&device)).then_some(())
            });
            let peers = probe(other, &[PEERDIST, "PeerDistData", STRCMP0, &ids[0]]);
            assert_eq!(peers.len(), 1, "wsdd first: {wsdd_first}: {peers:?}");
            assert_eq!(peers[0].xaddrs, [FIRST_HOST]);
        }
    });
}

/// What the package says of a service that answered.
#[derive(Debug, Deserialize)]
struct Service {
    address: String,
    types: Vec<[String; 2]>,
    scopes: Vec<String>,
    xaddrs: Vec<String>,
}

/// Runs the package on a host: a namespace and a type, then the matching rule and scopes.
fn probe(host: &Host, words: &[&str]) -> Vec<Service> {
    let mut python = Command::new(programs::wsdiscovery_python());
    python.args(["-c", include_str!("probe.py")]).args(words);
    let printed = host.run(&mut python, PATIENCE).success().stdout;
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// A node on `host` that holds a content, and the ids of its segments.
fn holder(host: &Host) -> (Node, Vec<String>) {
    let node = Node::start(host);
    let information = node.add_to_cache(&content(1024 * 1024, 1), "v2");
    let ids = information.segments().iter().map(|segment| segment.id().to_string().to_ascii_uppercase()).collect();
    (node, ids)
}

/// christgau's wsdd on a host, once it serves.
fn wsdd(host: &Host) -> Process {
    let mut wsdd = host.spawn(Command::new(programs::find("wsdd")).args(["--interface", "lan0", "--ipv4only", "-v"]));
    wsdd.wait_listening(5357);
    wsdd
}
