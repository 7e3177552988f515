//! Hosted mode in a branch behind a slow link: one host gets a file over the WAN and offers it, a hosted cache fetches it
//! from there, and all others take it from the hosted cache.

mod support;

use std::time::Duration;

use peerdist_interop_tests::hosted::{
    Authority, client, hosted_cache, hosted_settings, secure_client, secure_hosted_cache,
};
use peerdist_interop_tests::hostile::{HostilePeer, Misbehaviour};
use peerdist_interop_tests::isolated;
use peerdist_interop_tests::lab::{Families, LAN, Plan, Shape};
use peerdist_interop_tests::nodes::{Download, Node};
use peerdist_interop_tests::process::{PATIENCE, wait_until};
use support::{Branch, FROM_ORIGIN, blocks_held, offer_to};

const MIB: usize = 1024 * 1024;

/// Ten hosts, of which the first one asks the origin and the others the hosted cache.
fn ten_hosts(branch: &Branch, hosted: &Node, clients: &[Node]) {
    let (first, others) = clients.split_first().expect("there are ten");
    let download = first.get(&branch.url, &branch.file);
    assert_eq!(download.sources.origin, branch.length(), "{:#}", download.explanation);
    branch.wait_until_held(hosted, 1);

    let before = branch.lab.wan_traffic().down;
    let running: Vec<_> = others.iter().map(|node| node.start_get(&branch.url)).collect();
    let downloads: Vec<Download> = running.into_iter().map(|download| download.finish(&branch.file)).collect();
    let crossed = branch.lab.wan_traffic().down - before;
    for download in &downloads {
        assert_eq!(download.sources.from_host(hosted.host()), branch.length(), "{:#}", download.explanation);
    }
    let limit = FROM_ORIGIN * (branch.file.len() * others.len()) as f64;
    assert!((crossed as f64) < limit, "{crossed} bytes crossed the WAN, {limit} are allowed");
}

#[test]
fn ten_hosts_fetch_a_file_once_in_version_2() {
    isolated::run(|| {
        let branch = Branch::new(11, "v2");
        let hosted = hosted_cache(&branch.lab.hosts[0], "");
        let clients: Vec<_> = branch.lab.hosts[1..].iter().map(|host| client(host, &[hosted.host()], "")).collect();
        ten_hosts(&branch, &hosted, &clients);
    });
}

#[test]
fn ten_hosts_fetch_a_file_once_in_version_1_with_every_block_verified() {
    isolated::run(|| ten_hosts_in_version_1(""));
}

#[test]
fn ten_hosts_fetch_a_file_once_in_version_1_kept_blind() {
    isolated::run(|| ten_hosts_in_version_1("blind = true\n"));
}

fn ten_hosts_in_version_1(settings: &str) {
    let branch = Branch::new(11, "v1");
    let authority = Authority::new();
    let hosted = secure_hosted_cache(&branch.lab.hosts[0], &authority, settings);
    let clients: Vec<_> =
        branch.lab.hosts[1..].iter().map(|host| secure_client(host, &[hosted.host()], &authority)).collect();
    ten_hosts(&branch, &hosted, &clients);
}

#[test]
fn a_restarted_or_killed_hosted_cache_has_everything_it_had() {
    isolated::run(|| {
        let branch = Branch::new(4, "v2");
        let mut hosted = hosted_cache(&branch.lab.hosts[0], "");
        let [first, second, third] = [1, 2, 3].map(|i: usize| client(&branch.lab.hosts[i], &[hosted.host()], ""));
        first.get(&branch.url, &branch.file);
        branch.wait_until_held(&hosted, 1);
        hosted.stop().success();
        hosted.restart();
        let download = second.get(&branch.url, &branch.file);
        assert_eq!(download.sources.from_host(hosted.host()), branch.length(), "{:#}", download.explanation);
        hosted.kill();
        hosted.restart();
        let download = third.get(&branch.url, &branch.file);
        assert_eq!(download.sources.from_host(hosted.host()), branch.length(), "{:#}", download.explanation);
    });
}

#[test]
fn a_hosted_cache_that_dies_in_the_middle_costs_time_and_nothing_else() {
    isolated::run(|| {
        let branch = Branch::new(3, "v2");
        let mut hosted = hosted_cache(&branch.lab.hosts[0], "");
        let [first, second] = [1, 2].map(|i: usize| client(&branch.lab.hosts[i], &[hosted.host()], ""));
        first.get(&branch.url, &branch.file);
        branch.wait_until_held(&hosted, 1);
        // Slow enough that the middle of the download can be hit.
        hosted.host().limit(LAN, Shape { rate: 40_000_000, queue: Duration::from_millis(50) });
        let (_, sent_before) = hosted.host().interface_bytes(LAN);
        let download = second.start_get(&branch.url);
        wait_until("the hosted cache to have sent 2 MiB", PATIENCE, || {
            let (_, sent) = hosted.host().interface_bytes(LAN);
            (sent - sent_before > 2 * MIB as u64).then_some(())
        });
        hosted.kill();
        let download = download.finish(&branch.file);
        assert!(download.sources.from_host(hosted.host()) > 0, "{:?}", download.sources);
        assert!(download.sources.origin > 0, "{:?}", download.sources);
    });
}

#[test]
fn a_full_disk_stops_the_hosted_cache_from_keeping_and_nobody_from_downloading() {
    isolated::run(|| {
        let branch = Branch::new(5, "v2");
        let hosted = Node::start_on_disk(&branch.lab.hosts[0], 48 * MIB, &hosted_settings(""));
        let clients = [1, 2, 3, 4].map(|i: usize| client(&branch.lab.hosts[i], &[hosted.host()], ""));
        let filler = hosted.fill_disk();
        clients[0].get(&branch.url, &branch.file);
        wait_until("the cache to refuse blocks", PATIENCE, || {
            let refused = hosted.status()["cache"]["refused"].clone();
            refused.as_object().expect("reasons").values().any(|count| *count != 0).then_some(())
        });
        let download = clients[1].get(&branch.url, &branch.file);
        assert!(download.sources.origin > 0, "{:?}", download.sources);
        std::fs::remove_file(filler).expect("it is still there");
        // Once there is room again the next offers are kept.
        clients[2].get(&branch.url, &branch.file);
        branch.wait_until_held(&hosted, 1);
        let download = clients[3].get(&branch.url, &branch.file);
        assert_eq!(download.sources.from_host(hosted.host()), branch.length(), "{:#}", download.explanation);
    });
}

#[test]
fn an_offering_host_that_is_gone_before_the_pull_is_no_harm() {
    isolated::run(|| {
        let branch = Branch::new(4, "v2");
        let hosted = hosted_cache(&branch.lab.hosts[0], "");
        // Nobody listens there, whatever the offer says.
        let gone = &branch.lab.hosts[3];
        for offer in branch.offers(9) {
            assert_eq!(offer_to(gone, hosted.host(), &offer), "200 OK");
        }
        wait_until("the pull to fail", PATIENCE, || {
            let failed = hosted.status()["hosted_cache"]["pulls_failed"].clone();
            failed.as_object().is_some_and(|failed| failed.values().any(|count| count != 0)).then_some(())
        });
        let [first, second] = [1, 2].map(|i: usize| client(&branch.lab.hosts[i], &[hosted.host()], ""));
        first.get(&branch.url, &branch.file);
        branch.wait_until_held(&hosted, 1);
        let download = second.get(&branch.url, &branch.file);
        assert_eq!(download.sources.from_host(hosted.host()), branch.length(), "{:#}", download.explanation);
    });
}

#[test]
fn garbage_in_the_hosted_cache_is_replaced_by_what_the_next_host_offers() {
    isolated::run(|| {
        let branch = Branch::with(Plan { hosts: 4, families: Families::V4, ..Plan::default() }, "v2");
        let hosted = hosted_cache(&branch.lab.hosts[0], "");
        let hostile =
            HostilePeer::start(&branch.lab.hosts[3], Misbehaviour::WrongBytes, &branch.information, &branch.file);
        for offer in branch.offers(hostile.address().port()) {
            assert_eq!(offer_to(&branch.lab.hosts[3], hosted.host(), &offer), "200 OK");
        }
        branch.wait_until_held(&hosted, 1);
        // Nobody but a reader can tell.
        let [first, second] = [1, 2].map(|i: usize| client(&branch.lab.hosts[i], &[hosted.host()], ""));
        let download = first.get(&branch.url, &branch.file);
        assert_eq!(download.sources.origin, branch.length(), "{:#}", download.explanation);
        // The first one's offers are complaints about what is there.
        branch.wait_until_held(&hosted, 2);
        let download = second.get(&branch.url, &branch.file);
        assert_eq!(download.sources.from_host(hosted.host()), branch.length(), "{:#}", download.explanation);
    });
}

#[test]
fn of_two_hosted_caches_each_has_its_share_and_one_stands_in_for_the_other() {
    isolated::run(|| {
        let branch = Branch::new(6, "v2");
        let [one, mut two] = [0, 1].map(|i: usize| hosted_cache(&branch.lab.hosts[i], ""));
        let servers = [one.host().clone(), two.host().clone()];
        let servers = [&servers[0], &servers[1]];
        let clients: Vec<_> = branch.lab.hosts[2..].iter().map(|host| client(host, &servers, "")).collect();
        clients[0].get(&branch.url, &branch.file);
        wait_until("both to hold their share", PATIENCE, || {
            let held = [&one, &two].map(blocks_held);
            (held.iter().sum::<u64>() == branch.blocks()).then_some(held)
        })
        .into_iter()
        .for_each(|held| assert!(held > branch.blocks() / 5, "the choice of the server is lopsided: {held}"));
        let download = clients[1].get(&branch.url, &branch.file);
        for node in [&one, &two] {
            assert!(download.sources.from_host(node.host()) > 0, "{:?}", download.sources);
        }
        assert_eq!(download.sources.origin, 0, "{:#}", download.explanation);

        two.kill();
        // Its share crosses the WAN once more, and then the other has it.
        clients[2].get(&branch.url, &branch.file);
        branch.wait_until_held(&one, 1);
        let before = branch.lab.wan_traffic().down;
        let download = clients[3].get(&branch.url, &branch.file);
        let crossed = branch.lab.wan_traffic().down - before;
        assert_eq!(download.sources.from_host(one.host()), branch.length(), "{:#}", download.explanation);
        assert!((crossed as f64) < FROM_ORIGIN * branch.file.len() as f64, "{crossed} bytes crossed the WAN");
    });
}
