//! Whole nodes in the mode hosted-client.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use peerdist_node::api::{Api, Quotas, Status};
use peerdist_node::config::{self, Config, Fallback, HostedClient, Interfaces, Mode};
use peerdist_node::download::Backend;
use peerdist_node::node::Node;
use peerdist_protocol::content::CryptoAlgoId;
use peerdist_protocol::hosted_cache::{Offer, Version};
use peerdist_protocol::http::ContentVersions;
use peerdist_protocol::retrieval::{Answer, BlkTail, Exchange};
use peerdist_transport::retrieval::client::{Client, ClientLimits};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::support::{Blocks, Cache, Closed, configured, read, sample, until};

const LENGTH: usize = 3_000_000;

/// A node on the loopback network; others are found on the UDP port.
fn config(dir: &Path, mode: Mode, hosted: HostedClient, udp_port: u16) -> Config {
    let mut config = Config { hosted_client: hosted, ..Config::default() };
    config.node.mode = mode;
    config.node.listen = vec![Ipv4Addr::LOCALHOST.into()];
    config.node.port = 0;
    config.cache.dir = dir.join("cache");
    config.discovery.interfaces = Interfaces::Only(vec!["lo".to_owned()]);
    config.discovery.ipv6 = false;
    config.discovery.port = udp_port;
    config
}

struct Host {
    node: Node,
    _dir: TempDir,
}

impl Host {
    async fn start(mode: Mode, hosted: HostedClient, udp_port: u16) -> Self {
        let dir = TempDir::new().unwrap();
        let node = Node::start(config(dir.path(), mode, hosted, udp_port)).await.unwrap();
        Self { node, _dir: dir }
    }

    fn address(&self) -> SocketAddr {
        self.node.listeners()[0]
    }
}

/// Fetches everything that was offered so far, as a hosted cache does.
async fn pull(cache: &Cache) {
    let client = Client::new(ClientLimits::default());
    let offers = std::mem::take(&mut *cache.offers.lock().unwrap());
    for (from, offer) in offers {
        let Offer::Batched(offer) = offer else { panic!("{offer:?}") };
        let source = SocketAddr::new(from.ip(), offer.port);
        for segment in &offer.segments {
            for index in 0..segment.block_count().unwrap() {
                let exchange = Exchange::get_block(segment.segment_id, index, CryptoAlgoId::Aes128);
                let answer = client.exchange(source, &exchange).await.unwrap();
                let Answer::Block(block, _) = answer else { panic!("{answer:?}") };
                let mut blocks = cache.source.blocks.lock().unwrap();
                blocks.insert((segment.segment_id, index), BlkTail::from(&block));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_host_gets_it_from_the_origin_and_the_second_everything_from_the_hosted_cache() {
    let sample = sample(LENGTH);
    for information in sample.both() {
        let cache = Cache::start(1, 0, Blocks::default()).await;
        let hosted = configured(&[1], cache.address.port());
        let first = Host::start(Mode::HostedClient, hosted.clone(), 0).await;
        let end = LENGTH as u64;
        let (sources, _) = read(&first.node.fetcher().open(information.clone()), &sample.bytes, 0..end).await;
        assert_eq!(sources.origin, end);
        let blocks: u32 = information.segments().iter().map(|segment| segment.block_count()).sum();
        until(|| first.node.status().hosted_client.unwrap().offers.answered > 0).await;
        let port = first.address().port();
        assert!(cache.offers.lock().unwrap().iter().all(|(_, offer)| offer.port() == port));
        // A segment of version 1 may be offered several times, as it grows.
        while cache.source.blocks.lock().unwrap().len() < blocks as usize {
            until(|| !cache.offers.lock().unwrap().is_empty()).await;
            pull(&cache).await;
        }

        let second = Host::start(Mode::HostedClient, hosted, 0).await;
        let (sources, missing) = read(&second.node.fetcher().open(information), &sample.bytes, 0..end).await;
        assert_eq!((sources.origin, sources.peers.get(&cache.address)), (0, Some(&end)), "{missing:?}");
        let status = second.node.status();
        assert!(status.discovery.is_none(), "nobody is looked for but the hosted cache");
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["hosted_client"]["servers"][0]["name"], "127.0.0.1");
        assert_eq!(json["hosted_client"]["bytes"], end);
        first.node.stop().await;
        second.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_hosted_caches_it_is_a_host_of_distributed_mode_if_it_may_be() {
    let sample = sample(LENGTH);
    let end = LENGTH as u64;
    let taken = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    taken.set_reuse_address(true).unwrap();
    taken.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let udp_port = taken.local_addr().unwrap().as_socket().unwrap().port();
    let peer = Host::start(Mode::Distributed, HostedClient::default(), udp_port).await;
    peer.node.fetcher().open(sample.v2.clone()).add_data(0, sample.bytes.clone()).await.unwrap();

    let down = Closed::new(1, 0);
    let port = down.port();
    let hosted = HostedClient { fallback: Fallback::Distributed, ..configured(&[1], port) };
    let host = Host::start(Mode::HostedClient, hosted, udp_port).await;
    let content = host.node.fetcher().open(sample.v2.clone());
    let (sources, missing) = read(&content, &sample.bytes, 0..end).await;
    let story = content.explanation();
    assert_eq!(sources.peers.get(&peer.address()), Some(&end), "{missing:?}\n{story}");
    // What peers gave is new to the hosted cache.
    let offers = || host.node.status().hosted_client.unwrap().offers;
    until(|| offers().failed.contains_key("unreachable")).await;
    assert_eq!(offers().waiting, sample.v2.segments().len() as u64);

    // It serves peers meanwhile.
    peer.node.stop().await;
    let other = Host::start(Mode::Distributed, HostedClient::default(), udp_port).await;
    let (sources, missing) = read(&other.node.fetcher().open(sample.v2.clone()), &sample.bytes, 0..end).await;
    assert_eq!(sources.peers.get(&host.address()), Some(&end), "{missing:?}");

    // It finds out by itself that the hosted cache is back, while it looks for other things among peers.
    drop(down);
    let back = Cache::start(1, port, Blocks { blocks: sample.sealed(&sample.v2).into(), ..Blocks::default() }).await;
    for more in 0..200 {
        let wanted = self::sample(100_000 + more);
        let content = host.node.fetcher().open(wanted.v2.clone());
        read(&content, &wanted.bytes, 0..wanted.bytes.len() as u64).await;
        if host.node.status().hosted_client.unwrap().lists > 0 {
            break;
        }
    }
    assert!(back.requests() > 0);
    host.node.store().clear().unwrap();
    let another = self::sample(LENGTH + 1);
    back.source.blocks.lock().unwrap().extend(another.sealed(&another.v2));
    let (sources, missing) = read(&host.node.fetcher().open(another.v2), &another.bytes, 0..end + 1).await;
    assert_eq!(sources.peers.get(&back.address), Some(&(end + 1)), "{missing:?}");
    other.node.stop().await;
    host.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_information_of_version_1_is_asked_for_where_hosted_caches_are_of_version_1() {
    let down = Closed::new(1, 0);
    for (version, max, asked) in [(Version::V1, 1, ContentVersions::V1), (Version::V2, 2, ContentVersions::V1AndV2)] {
        let mut hosted = configured(&[1], down.port());
        hosted.version.0 = version;
        let Host { node, _dir: dir } = Host::start(Mode::HostedClient, hosted, 0).await;
        let api = Api::new(node.clone(), dir.path().join("key"), Quotas::from(&config::Control::default()));
        assert_eq!(api.status().max_version, max);
        api.set_status(Status::Disabled);
        api.set_status(Status::Available);
        assert_eq!((api.status().min_version, api.status().max_version), (1, max));
        assert_eq!(Backend::Embedded(node.clone()).content_versions().await, asked);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_offered_while_the_node_is_off_or_once_it_has_stopped() {
    let sample = sample(LENGTH);
    let cache = Cache::start(1, 0, Blocks::default()).await;
    let host = Host::start(Mode::HostedClient, configured(&[1], cache.address.port()), 0).await;
    let offers = || host.node.status().hosted_client.unwrap().offers;
    host.node.set_enabled(false);
    let content = host.node.fetcher().open(sample.v2.clone());
    content.add_data(0, sample.bytes.slice(..1_000_000)).await.unwrap();
    assert_eq!((offers().waiting, offers().sent), (0, 0));
    host.node.set_enabled(true);
    content.add_data(0, sample.bytes.clone()).await.unwrap();
    assert!(offers().waiting > 0);
    host.node.stop().await;
    let sent = offers().sent;
    tokio::time::sleep(2 * peerdist_node::hosted_client::queue::SETTLE_TIME).await;
    assert_eq!(offers().sent, sent);
}
