//! Discovery between nodes, asked for by `peerdist probe`: families, forms, and interfaces that come and go.

use std::net::{IpAddr, SocketAddr};

use peerdist_interop_tests::isolated;
use peerdist_interop_tests::lab::{Families, Host, LAN, Lab, Plan};
use peerdist_interop_tests::nodes::{Node, content};
use peerdist_interop_tests::process::{PATIENCE, wait_until};
use peerdist_interop_tests::programs;

#[test]
fn a_holder_answers_both_forms_on_every_family() {
    isolated::run(|| {
        for families in [Families::V4, Families::V6, Families::Both] {
            let lab = Lab::new(Plan { families, ..Plan::default() });
            let [host, other] = &lab.hosts[..] else { panic!("there are two") };
            let (_node, [v1, v2]) = holder(host);
            for (id, form) in [(&v1, None), (&v1, Some("--v2")), (&v2, None), (&v2, Some("--v2"))] {
                let found = probe(other, id, form);
                // A Probe that came over both families is answered once, over the one that was faster.
                assert_eq!(found.len(), 1, "{families:?} {form:?}: {found:?}");
                match (families, found[0].ip()) {
                    (Families::V4 | Families::Both, IpAddr::V4(address)) => assert_eq!(Some(address), host.ipv4()),
                    (Families::V6 | Families::Both, IpAddr::V6(_)) => {}
                    (families, address) => panic!("{address} in a lab of {families:?}"),
                }
            }
            let unknown = "0123456789abcdef".repeat(4);
            assert_eq!(probe(other, &unknown, None), []);
        }
    });
}

#[test]
fn an_interface_that_comes_late_and_goes_and_comes_back() {
    isolated::run(|| {
        let lab = Lab::new(Plan { families: Families::V4, ..Plan::default() });
        let [host, other] = &lab.hosts[..] else { panic!("there are two") };
        host.set_link(LAN, false);
        let (_node, [_, id]) = holder(host);
        assert_eq!(probe(other, &id, None), []);
        for _ in 0..2 {
            host.set_link(LAN, true);
            wait_until("an answer over the interface that is up", PATIENCE, || {
                Some(probe(other, &id, None)).filter(|found| !found.is_empty())
            });
            host.set_link(LAN, false);
            assert_eq!(probe(other, &id, None), []);
        }
    });
}

#[test]
fn an_interface_that_was_not_chosen_stays_silent() {
    isolated::run(|| {
        let lab = Lab::new(Plan { hosts: 1, families: Families::V4, ..Plan::default() });
        let node = Node::start_with(&lab.router, &format!("[discovery]\ninterfaces = [\"{LAN}\"]\n"));
        let information = node.add_to_cache(&content(100_000, 1), "v2");
        let id = information.segments()[0].id().to_string();
        assert_eq!(probe(&lab.hosts[0], &id, None).len(), 1);
        assert_eq!(probe(&lab.origin, &id, None), []);
    });
}

/// A node that holds a content in both versions, and a segment id of each.
fn holder(host: &Host) -> (Node, [String; 2]) {
    let node = Node::start(host);
    let ids = ["v1", "v2"].map(|version| {
        let information = node.add_to_cache(&content(300_000, 1), version);
        information.segments()[0].id().to_string()
    });
    (node, ids)
}

/// Who answers a Probe from a host, by address.
fn probe(host: &Host, id: &str, form: Option<&str>) -> Vec<SocketAddr> {
    let mut command = std::process::Command::new(programs::peerdist());
    command.args(["probe", id, "--json"]).args(form);
    let finished = host.run(&mut command, PATIENCE);
    let found: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", finished.stdout, finished.stderr);
    });
    let hosts = found["hosts"].as_object().expect("an object of hosts");
    assert_eq!(finished.status.success(), !hosts.is_empty(), "{finished:?}");
    let addresses = hosts.values().flat_map(|host| host["addresses"].as_array().expect("a list").iter());
    addresses.map(|address| address.as_str().and_then(|text| text.parse().ok()).expect("a socket address")).collect()
}
