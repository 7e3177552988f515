//! Whom a hosted client asks for blocks, and what it does without an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peerdist_node::config;
use peerdist_node::fetch::peers::OutCause;
use peerdist_node::fetch::why::ServerNote;
use peerdist_node::fetch::{FetchConfig, MissingReason, Read};
use peerdist_node::hosted_client::{ServerState, order};
use peerdist_protocol::content::SegmentId;
use peerdist_protocol::hosted_cache::{Response, Version};
use peerdist_protocol::retrieval::{ProtocolVersion, VersionRange};
use peerdist_transport::retrieval::server::{Listener, ServerLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{BLOCK, Blocks, Cache, Closed, Sealed, User, configured, listener, pair, plain, sample, until};

const LENGTH: usize = 5_000_000;

fn holds(blocks: Sealed) -> Blocks {
    Blocks { blocks: blocks.into(), ..Blocks::default() }
}

fn notes(reading: &super::support::Reading) -> BTreeSet<ServerNote> {
    let explanation = reading.content.explanation();
    explanation.probes.iter().flat_map(|probe| &probe.hosted_caches).map(|answer| answer.note).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_from_the_hosted_cache_and_the_story_says_so() {
    let sample = sample(LENGTH);
    for information in sample.both() {
        let cache = Cache::start(1, 0, holds(sample.sealed(&information))).await;
        let user = User::new(&configured(&[1], cache.address.port()));
        let reading = user.read(&information, &sample).await;
        assert_eq!(reading.sources.peers, BTreeMap::from([(cache.address, LENGTH as u64)]));
        assert_eq!(notes(&reading), BTreeSet::from([ServerNote::Answered]));
        let text = reading.content.explanation().to_string();
        assert!(text.contains("hosted caches asked at ") && text.contains("127.0.0.1 holds "), "{text}");
        let status = user.status();
        assert_eq!((status.bytes, status.blocks), (LENGTH as u64, cache.server.counters().blocks));
        assert_eq!(status.segments_listed, information.segments().len() as u64);
        let server = &status.servers[0];
        assert_eq!((server.last_error.as_deref(), server.out, server.state), (None, None, ServerState::InUse));
        // A question for the blocks of a segment may come to these.
        assert!((0..=4).contains(&(server.asked - status.lists - status.blocks)) && server.failures == 0, "{server:?}");
        // What a hosted cache gave is not offered to it.
        assert_eq!(status.offers.waiting + status.offers.sent, 0);
        // 32 blocks and 4 questions at once take so many.
        assert!(cache.server.counters().connections <= 36, "connections are kept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_spread_over_two_hosted_caches() {
    let sample = sample(LENGTH);
    let [first, second] = pair().await;
    let config = configured(&[1, 2], first.local_addr().unwrap().port());
    let all = sample.sealed(&sample.v2);
    let of = |server: usize| -> Sealed {
        let own = all.iter().filter(|((id, _), _)| order(&config.servers, id)[0] == server);
        own.map(|(at, tail)| (*at, tail.clone())).collect()
    };
    let caches = [plain(first, holds(of(0))), plain(second, holds(of(1)))];
    let user = User::new(&config);
    let reading = user.read(&sample.v2, &sample).await;
    // Each holds its own alone, so that every segment was asked for at the right one.
    assert_eq!(reading.sources.origin, 0);
    assert!(caches.iter().all(|cache| cache.server.counters().blocks >= 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hosted_cache_that_is_down_costs_a_few_connects_and_no_bytes_of_the_origin() {
    let sample = sample(LENGTH);
    let (cache, _down) = Cache::beside_nobody(holds(sample.sealed(&sample.v2))).await;
    let user = User::new(&configured(&[2, 1], cache.address.port()));
    for _ in 0..2 {
        let reading = user.read(&sample.v2, &sample).await;
        assert_eq!(reading.sources.origin, 0, "{:?}", reading.missing);
        user.store.clear().unwrap();
    }
    // One for each question that was under way before the first failed.
    assert!((1..=4).contains(&user.refused()), "{} connects", user.refused());
    let status = user.status();
    assert!(status.servers[0].out.is_some() && status.servers[0].last_error.is_some());
    assert!(status.to_string().contains("127.0.0.2 at 127.0.0.2:"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_one_that_stands_in_does_not_hold_is_not_said_to_be_in_no_hosted_cache() {
    let sample = sample(LENGTH);
    let (cache, _down) = Cache::beside_nobody(Blocks::default()).await;
    let config = configured(&[1, 2], cache.address.port());
    let user = User::new(&config);
    let reading = user.read(&sample.v2, &sample).await;
    let length = |server: usize| -> u64 {
        let own = sample.v2.segments().iter().filter(|segment| order(&config.servers, &segment.id())[0] == server);
        own.map(|segment| u64::from(segment.length())).sum()
    };
    let expected = [(MissingReason::NotInHostedCache, length(0)), (MissingReason::HostedCachesOut, length(1))];
    let explanation = reading.content.explanation();
    assert_eq!(explanation.origin_reasons, BTreeMap::from(expected));
    let text = explanation.to_string();
    assert!(text.lines().count() < 30 && text.contains(" from hosted caches, "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_of_two_hosted_caches_is_short_and_does_not_call_them_peers() {
    let sample = sample(20_000_000);
    let [first, second] = pair().await;
    let config = configured(&[1, 2], first.local_addr().unwrap().port());
    let all = sample.sealed(&sample.v2);
    let _caches = [plain(first, holds(all.clone())), plain(second, holds(all))];
    let user = User::new(&config);
    let reading = user.read(&sample.v2, &sample).await;
    assert_eq!(reading.sources.peers.len(), 2);
    let text = reading.content.explanation().to_string();
    assert!(text.lines().count() < 40 && !text.contains("peer"), "{text}");
    assert!(text.contains(" from hosted cache 127.0.0.1:"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_hosted_cache_takes_over_where_one_dies_midway() {
    let sample = sample(LENGTH);
    let [first, second] = pair().await;
    let config = configured(&[1, 2], first.local_addr().unwrap().port());
    let all = sample.sealed(&sample.v2);
    let dies = plain(first, Blocks { dies_after: 5, ..holds(all.clone()) });
    let lives = plain(second, holds(all));
    let user = User::new(&config);
    let reading = user.read(&sample.v2, &sample).await;
    assert_eq!(reading.sources.origin, 0, "{:?}\n{}", reading.missing, reading.content.explanation());
    assert!(lives.server.counters().blocks > dies.server.counters().blocks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hosted_cache_does_not_hold_is_not_asked_for_again_soon() {
    let sample = sample(1_000_000);
    let cache = Cache::start(1, 0, Blocks::default()).await;
    let user = User::new(&configured(&[1], cache.address.port()));
    let reading = user.read(&sample.v2, &sample).await;
    assert_eq!(reading.sources.origin, 1_000_000);
    assert_eq!(reading.missing, BTreeSet::from([MissingReason::NotInHostedCache]));
    let asked = cache.requests();
    assert_eq!(asked, 1, "one list for a run");
    user.store.clear().unwrap();
    let again = user.read(&sample.v2, &sample).await;
    assert_eq!(again.missing, BTreeSet::from([MissingReason::NotInHostedCache]));
    let [first, text] = [&reading, &again].map(|reading| reading.content.explanation().to_string());
    assert!(!first.contains("remembered") && text.contains("does not hold it (remembered from 0 s ago)"), "{text}");
    // Offers come to the same port, but for the retrieval path there was nothing more.
    let offered = cache.offers.lock().unwrap().len() as u64;
    assert_eq!(cache.requests(), asked + offered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_poisoned_segment_is_fetched_from_the_origin_and_offered_again() {
    let sample = sample(LENGTH);
    let bad = sample.v2.segments()[3].id();
    let blocks = Blocks { poisoned: BTreeSet::from([bad]), ..holds(sample.sealed(&sample.v2)) };
    let cache = Cache::start(1, 0, blocks).await;
    let user = User::new(&configured(&[1], cache.address.port()));
    let reading = user.read(&sample.v2, &sample).await;
    assert_eq!(reading.sources.origin, u64::from(sample.v2.segments()[3].length()));
    assert_eq!(reading.missing, BTreeSet::from([MissingReason::HostedCacheFailed]));
    assert_eq!(user.status().servers[0].out, None, "it is good for all the others");
    // That is the complaint that heals it.
    let offers = cache.offered(|offers| !offers.is_empty()).await;
    let [(_, peerdist_protocol::hosted_cache::Offer::Batched(offer))] = &offers[..] else { panic!("{offers:?}") };
    assert_eq!(offer.segments.iter().map(|segment| segment.segment_id).collect::<Vec<_>>(), [bad]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_hosted_caches_the_origin_gives_everything_at_once() {
    let sample = sample(LENGTH);
    let down = Closed::new(1, 0);
    let user = User::new(&configured(&[1], down.port()));
    let reading = user.read(&sample.v2, &sample).await;
    assert_eq!(reading.sources.origin, LENGTH as u64);
    assert_eq!(reading.missing, BTreeSet::from([MissingReason::HostedCachesOut]));
    assert!(notes(&reading).contains(&ServerNote::Unreachable), "{:?}", notes(&reading));
    assert!(user.refused() <= 4, "{} connects", user.refused());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_nowhere_is_a_hosted_cache_that_is_down() {
    let sample = sample(1_000_000);
    let mut config = configured(&[], 1);
    config.servers = vec!["no-such-host.invalid".parse().unwrap()];
    let user = User::new(&config);
    let fresh = user.status();
    assert_eq!((fresh.servers[0].state, fresh.servers[0].asked), (ServerState::NotAsked, 0));
    assert!(fresh.to_string().contains("no-such-host.invalid (address not known yet)\n  not asked yet\n"), "{fresh}");
    let reading = user.read(&sample.v2, &sample).await;
    assert_eq!(reading.sources.origin, 1_000_000);
    assert_eq!(notes(&reading), BTreeSet::from([ServerNote::NotFound]));
    let status = user.status();
    let server = &status.servers[0];
    let error = server.last_error.clone().unwrap();
    assert!(error.contains("resolved"), "{error}");
    assert_ne!(server.state, ServerState::InUse);
    assert!(server.failures > 0 && server.failures == server.asked);
    let text = status.to_string();
    let said = format!("no-such-host.invalid (name not found: {})\n", server.lookup_error.as_ref().unwrap());
    assert!(text.contains(&said) && !text.contains("in use"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hosted_cache_that_answers_garbage_is_no_hindrance() {
    let sample = sample(1_000_000);
    for garbage in
        ["", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", "HTTP/1.1 500 No\r\n\r\n"]
    {
        let listener = listener(1, 0).await;
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // The client may have gone by then.
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(garbage.as_bytes()).await;
            }
        });
        let user = User::new(&configured(&[1], port));
        let reading = user.read(&sample.v2, &sample).await;
        assert_eq!(reading.sources.origin, 1_000_000);
        assert_eq!(
            reading.missing,
            BTreeSet::from([MissingReason::HostedCachesOut]),
            "it did not say that it lacks it"
        );
        assert!(user.status().servers[0].last_error.is_some(), "{garbage:?}");
        serving.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hosted_cache_is_too_slow_to_give_comes_from_the_origin_and_is_not_offered_to_it() {
    let sample = sample(200_000);
    let blocks = Blocks { stalls: true, ..holds(sample.sealed(&sample.v2)) };
    let cache = Cache::start(1, 0, blocks).await;
    let patience = Duration::from_millis(200);
    let fetch = FetchConfig { patience, ..FetchConfig::default() };
    let user = User::with(&configured(&[1], cache.address.port()), fetch);
    let reading = user.read(&sample.v2, &sample).await;
    assert_eq!(reading.missing, BTreeSet::from([MissingReason::TooSlow]));
    assert_eq!(reading.sources.origin, 200_000);
    let offers = user.status().offers;
    assert_eq!((offers.waiting, offers.sent), (0, 0), "it says that it has it: an offer would be a complaint");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hosted_cache_that_claims_everything_and_is_always_busy_costs_two_waits() {
    let sample = sample(10_000_000);
    for information in sample.both() {
        let blocks = Blocks { is_busy: true, ..holds(sample.sealed(&information)) };
        let cache = Cache::start(1, 0, blocks).await;
        let user = User::new(&configured(&[1], cache.address.port()));
        let begun = Instant::now();
        for _ in 0..3 {
            let reading = user.read(&information, &sample).await;
            assert_eq!(reading.sources.origin, 10_000_000);
            user.store.clear().unwrap();
        }
        // Twice the patience of five seconds, and once more when it is back; without an end to it 35 s.
        assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
        let status = user.status();
        assert_eq!(status.servers[0].out, Some(OutCause::KeptWaiting));
    }
}

/// Forwards connections to `to`, and what comes from there in drops: one every half second on each connection.
async fn dripping(to: SocketAddr, drop: usize) -> SocketAddr {
    let listener = listener(1, 0).await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut requests, mut answers) = client.into_split();
                let (mut from, mut to) = TcpStream::connect(to).await.unwrap().into_split();
                tokio::spawn(async move { tokio::io::copy(&mut requests, &mut to).await });
                let mut bytes = vec![0; drop];
                while let Ok(length @ 1..) = from.read(&mut bytes).await {
                    if answers.write_all(&bytes[..length]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hosted_cache_that_lets_every_block_drip_is_soon_left_alone() {
    let sample = sample(12_000_000);
    let cache = Cache::start(1, 0, holds(sample.sealed(&sample.v2))).await;
    // About eight seconds for a block.
    let slow = dripping(cache.address, 4096).await;
    let user = User::new(&configured(&[1], slow.port()));
    let begun = Instant::now();
    user.read(&sample.v2, &sample).await;
    // Two waits, of 5 s and 2.5 s; without an end to it 37 s.
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
    assert_eq!(user.status().servers[0].out, Some(OutCause::KeptWaiting));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_at_any_place_do_not_wait_for_a_busy_hosted_cache_for_ever() {
    let sample = sample(2_000_000);
    let blocks = Blocks { is_busy: true, ..holds(sample.sealed(&sample.v2)) };
    let cache = Cache::start(1, 0, blocks).await;
    let user = User::new(&configured(&[1], cache.address.port()));
    let content = user.fetcher.open(sample.v2.clone());
    let begun = Instant::now();
    for segment in &sample.v2.segments()[..8] {
        let read = content.read_at(segment.offset(), BLOCK, Duration::from_secs(5)).await.unwrap();
        assert!(matches!(read, Read::Missing { .. }), "{read:?}");
    }
    // Two waits; eight would take 36 s.
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_never_ends_to_the_question_for_segments_is_cut_off() {
    let sample = sample(1_000_000);
    let listener = listener(1, 0).await;
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // What comes before the request is no answer to it.
                assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
                let mut written = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n").await;
                while written.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    written = stream.write_all(b"x").await;
                }
            });
        }
    });
    let user = User::new(&configured(&[1], port));
    let begun = Instant::now();
    let reading = user.read(&sample.v2, &sample).await;
    assert_eq!(reading.sources.origin, 1_000_000);
    assert_eq!(notes(&reading), BTreeSet::from([ServerNote::TimedOut]));
    assert_eq!(reading.missing, BTreeSet::from([MissingReason::HostedCachesOut]));
    // Twice the two seconds in which some progress has to be made; the plan itself gives up after 20.
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

/// The hosted cache of Windows Server 2008 R2: no list of segments.
fn old() -> ServerLimits {
    let versions = VersionRange { min: ProtocolVersion::V1, max: ProtocolVersion::V1 };
    ServerLimits { versions, ..ServerLimits::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hosted_cache_of_version_1_is_asked_for_blocks_instead_of_lists() {
    let sample = sample(LENGTH);
    for (information, configured_version) in
        [(&sample.v1, Version::V2), (&sample.v2, Version::V2), (&sample.v1, Version::V1)]
    {
        let blocks = holds(sample.sealed(information));
        let cache = Cache::of(listener(1, 0).await, blocks, old(), Response::Ok, Listener::retrieval);
        let mut config = configured(&[1], cache.address.port());
        config.version.0 = configured_version;
        let user = User::new(&config);
        let reading = user.read(information, &sample).await;
        assert_eq!(reading.sources.origin, 0, "{:?}", reading.missing);
        assert!(notes(&reading).contains(&ServerNote::NoList));
        let status = user.status();
        assert_eq!((status.lists, status.servers[0].has_no_list), (0, true));
        assert_eq!(status.bytes, LENGTH as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hosted_cache_of_version_1_lacks_is_found_out_once() {
    let sample = sample(LENGTH);
    let mut blocks = sample.sealed(&sample.v1);
    // One segment, of which it holds every other block.
    blocks.retain(|(_, index), _| index % 2 == 0);
    let cache = Cache::of(listener(1, 0).await, holds(blocks), old(), Response::Ok, Listener::retrieval);
    let user = User::new(&configured(&[1], cache.address.port()));
    let reading = user.read(&sample.v1, &sample).await;
    let held = (0..(LENGTH as u64).div_ceil(BLOCK)).step_by(2).count() as u64 * BLOCK;
    assert_eq!(reading.sources.all_peers(), held.min(reading.sources.all_peers()));
    assert!(reading.sources.origin > 0 && reading.sources.all_peers() > LENGTH as u64 / 3);
    assert!(reading.missing.contains(&MissingReason::NotInHostedCache), "{:?}", reading.missing);

    let nothing = Cache::of(listener(1, 0).await, Blocks::default(), old(), Response::Ok, Listener::retrieval);
    let user = User::new(&configured(&[1], nothing.address.port()));
    for (information, most) in [(&sample.v1, 4), (&sample.v2, 4 + 70)] {
        let reading = user.read(information, &sample).await;
        assert_eq!(reading.sources.origin, LENGTH as u64);
        assert!(nothing.requests() <= most, "{} requests", nothing.requests());
    }
    let asked = nothing.requests();
    user.store.clear().unwrap();
    user.read(&sample.v1, &sample).await;
    assert_eq!(nothing.requests(), asked, "not again within 15 s");

    let mut config = configured(&[1], nothing.address.port());
    config.version.0 = Version::V1;
    let user = User::new(&config);
    user.read(&sample.v1, &sample).await;
    assert_eq!(user.status().servers[0].state, ServerState::InUse, "it has answered");
}

#[tokio::test]
async fn a_hosted_cache_that_comes_back_is_in_use_before_anybody_wants_anything() {
    let sample = sample(1_000_000);
    for limits in [ServerLimits::default(), old()] {
        let (down, takes_no_offers) = (Closed::new(1, 0), Closed::new(1, 0));
        let port = down.port();
        let config = config::HostedClient { http_port: takes_no_offers.port(), ..configured(&[1], port) };
        let user = User::new(&config);
        user.read(&sample.v2, &sample).await;
        assert_eq!(user.status().servers[0].state, ServerState::LeftAlone);
        drop(down);
        let blocks = holds(sample.sealed(&sample.v2));
        let back = Cache::of(listener(1, port).await, blocks, limits, Response::Ok, Listener::retrieval);
        until(|| user.status().servers[0].state == ServerState::InUse).await;
        assert!(!user.status().to_string().contains("last error"), "{}", user.status());
        // While it works, nobody looks after it.
        let asked = back.requests();
        for _ in 0..10 {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(10)).await;
            tokio::time::resume();
            tokio::task::yield_now().await;
        }
        assert_eq!(back.requests(), asked);
        user.store.clear().unwrap();
        let reading = user.read(&sample.v2, &sample).await;
        assert_eq!(reading.sources.origin, 0, "{}", reading.content.explanation());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hosted_cache_that_comes_back_is_used_again() {
    let sample = sample(1_000_000);
    let all = sample.sealed(&sample.v2);
    let [first, second] = pair().await;
    let port = first.local_addr().unwrap().port();
    let config = configured(&[1, 2], port);
    drop(first);
    let spare = plain(second, holds(all.clone()));
    let user = User::new(&config);
    // Those who read find out, and nobody else.
    user.on.store(false, Ordering::Relaxed);
    let ids: Vec<SegmentId> = sample.v2.segments().iter().map(|segment| segment.id()).collect();
    assert!(ids.iter().any(|id| order(&config.servers, id)[0] == 0), "some segment has to be the first one's");
    user.read(&sample.v2, &sample).await;
    assert!(user.status().servers[0].out.is_some());
    let back = Cache::start(1, port, holds(all)).await;
    until(|| user.status().servers[0].out.is_none()).await;
    assert_eq!(user.status().servers[0].state, ServerState::OnTrial);
    let more = self::sample(200_000);
    spare.source.blocks.lock().unwrap().extend(more.sealed(&more.v2));
    let reading = user.read(&more.v2, &more).await;
    assert_eq!(reading.sources.peers.keys().collect::<Vec<_>>(), [&spare.address], "nobody waits for the first one");
    assert!(notes(&reading).contains(&ServerNote::AskedAgain), "{:?}", notes(&reading));
    until(|| user.status().servers[0].lists > 0).await;
    drop(spare);
    user.store.clear().unwrap();
    let reading = user.read(&sample.v2, &sample).await;
    assert_eq!(reading.sources.origin, 0, "{}", reading.content.explanation());
    assert!(back.server.counters().blocks > 0);
}
