//! What a hosted client offers ([MS-PCHC] 3.2), and what it makes of the answers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use peerdist_node::config;
use peerdist_node::hosted_client::order;
use peerdist_node::hosted_client::queue::{MAX_AGE, REST_TIME};
use peerdist_node::store::Tag;
use peerdist_protocol::content::SegmentId;
use peerdist_protocol::hosted_cache::{BatchedOffer, ContentTag, Offer, Response, Version};
use peerdist_tap::Tap;
use peerdist_transport::hosted_cache::Certificate;
use peerdist_transport::retrieval::server::{Listener, ServerLimits};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::support::{
    BLOCK, Blocks, Cache, Closed, PORT, Sample, User, configured, listener, pair, plain, read, sample, until,
};

fn ids(offers: &[BatchedOffer]) -> Vec<SegmentId> {
    offers.iter().flat_map(|offer| &offer.segments).map(|segment| segment.segment_id).collect()
}

fn batches(cache: &Cache) -> Vec<BatchedOffer> {
    let offers = cache.offers.lock().unwrap();
    let batched = offers.iter().map(|(_, offer)| match offer {
        Offer::Batched(offer) => offer.clone(),
        other => panic!("{other:?}"),
    });
    batched.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_segments_are_offered_in_batches_of_128_with_the_port_and_the_tag() {
    let sample = sample(30_000_000);
    let segments = sample.v2.segments();
    assert!(segments.len() > 256);
    let cache = Cache::start(1, 0, Blocks::default()).await;
    let user = User::new(&configured(&[1], cache.address.port()));
    user.read(&sample.v2, &sample).await;
    until(|| ids(&batches(&cache)).len() >= segments.len()).await;
    let offers = batches(&cache);
    let sizes: Vec<_> = offers.iter().map(|offer| offer.segments.len()).collect();
    // On a machine that halts for a second in the middle, a batch may be smaller; none is ever larger.
    assert!(sizes.contains(&128) && sizes.iter().all(|size| *size <= 128), "{sizes:?}");
    assert!(offers.iter().all(|offer| offer.port == PORT));
    let offered: BTreeSet<_> = ids(&offers).into_iter().collect();
    assert_eq!(offered, segments.iter().map(|segment| segment.id()).collect());
    assert_eq!(ids(&offers).len(), segments.len(), "each of them once");
    for (descriptor, segment) in offers.iter().flat_map(|offer| &offer.segments).zip(segments) {
        assert_eq!(descriptor.content_tag, ContentTag::PEERDIST);
        assert_eq!((descriptor.hash_algorithm, descriptor.block_count()), (0x04, Ok(1)));
        assert_eq!((descriptor.segment_id, descriptor.segment_size), (segment.id(), segment.length()));
    }
    let from: BTreeSet<_> = cache.offers.lock().unwrap().iter().map(|(from, _)| from.ip()).collect();
    assert_eq!(from, BTreeSet::from([IpAddr::from([127, 0, 0, 1])]));
    until(|| user.status().offers.answered == offers.len() as u64).await;
    let status = user.status().offers;
    assert_eq!((status.sent, status.segments, status.waiting), (offers.len() as u64, segments.len() as u64, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_cache_already_is_not_offered_again_and_tags_of_applications_are_kept() {
    let sample = sample(1_000_000);
    let cache = Cache::start(1, 0, Blocks::default()).await;
    let user = User::new(&configured(&[1], cache.address.port()));
    let tag = Tag { owner: 1000, bytes: *b"sixteen letters." };
    for _ in 0..2 {
        let content = user.fetcher.open_tagged("", tag, sample.v2.clone());
        content.add_data(0, sample.bytes.clone()).await.unwrap();
    }
    until(|| ids(&batches(&cache)).len() >= sample.v2.segments().len()).await;
    assert_eq!(user.status().offers.waiting, 0);
    let offers = batches(&cache);
    assert_eq!(ids(&offers).len(), sample.v2.segments().len());
    let tags = offers.iter().flat_map(|offer| &offer.segments).map(|segment| segment.content_tag);
    assert!(tags.into_iter().all(|tag| tag == ContentTag(*b"sixteen letters.")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_of_version_1_is_offered_from_a_fifth_of_its_blocks_on() {
    let sample = sample(10 * BLOCK as usize);
    let cache = Cache::start(1, 0, Blocks::default()).await;
    let user = User::new(&configured(&[1], cache.address.port()));
    let content = user.fetcher.open(sample.v1.clone());
    let add = async |blocks: std::ops::Range<u64>| {
        let bytes = sample.bytes.slice((blocks.start * BLOCK) as usize..(blocks.end * BLOCK) as usize);
        content.add_data(blocks.start * BLOCK, bytes).await.unwrap();
    };
    add(0..1).await;
    assert_eq!(user.status().offers.waiting, 0, "a tenth is too little");
    add(1..2).await;
    assert_eq!(user.status().offers.waiting, 1);
    until(|| batches(&cache).len() == 1).await;
    add(2..3).await;
    assert_eq!(user.status().offers.waiting, 0);
    add(3..10).await;
    until(|| batches(&cache).len() == 2).await;
    let id = sample.v1.segments()[0].id();
    assert_eq!(ids(&batches(&cache)), [id, id]);
    let descriptor = batches(&cache)[0].segments[0];
    assert_eq!((descriptor.hash_algorithm, descriptor.block_size), (0x01, BLOCK as u32));
    assert_eq!(descriptor.segment_size, 10 * BLOCK as u32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_a_partial_list_are_offered_once_the_list_is_proven() {
    let sample = sample(10 * BLOCK as usize);
    let cache = Cache::start(1, 0, Blocks::default()).await;
    let user = User::new(&configured(&[1], cache.address.port()));
    let content = user.fetcher.open(sample.v1.slice(0..5 * BLOCK).unwrap());
    read(&content, &sample.bytes, 0..5 * BLOCK).await;
    assert_eq!(user.status().offers.waiting, 0, "nobody else could verify them");
    content.add_content_information(sample.v1.clone()).unwrap();
    content.settled().await;
    assert_eq!(user.status().offers.waiting, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_fails_goes_to_the_next_hosted_cache() {
    let sample = sample(3_000_000);
    let (cache, _down) = Cache::beside_nobody(Blocks::default()).await;
    let config = configured(&[1, 2], cache.address.port());
    let user = User::new(&config);
    let all: BTreeSet<_> = sample.v2.segments().iter().map(|segment| segment.id()).collect();
    let moved = all.iter().filter(|id| order(&config.servers, id)[0] == 1).count();
    assert!(moved > 0);
    user.read(&sample.v2, &sample).await;
    until(|| ids(&batches(&cache)).len() >= all.len()).await;
    assert_eq!(ids(&batches(&cache)).into_iter().collect::<BTreeSet<_>>(), all);
    let status = user.status();
    assert_eq!(status.servers[1].offers_failed["unreachable"], status.servers[1].offers_sent);
    assert_eq!(status.servers[1].offers_sent, 1, "it is left alone then");
    assert!(status.servers[1].no_offers_for_s.is_some_and(|seconds| seconds <= 30));
    assert_eq!((status.offers.given_up, status.offers.dropped), (0, 0));
}

/// A server that answers every request with the same bytes, or not at all, and counts them.
async fn scripted(answer: &'static str) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = listener(1, 0).await;
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut piece).await {
                    Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
            seen.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            // The client may have gone by then.
            let _ = stream.write_all(answer.as_bytes()).await;
            open.push(stream);
        }
    });
    (port, requests)
}

fn offers_only(port: u16) -> config::HostedClient {
    static NOWHERE: LazyLock<Closed> = LazyLock::new(|| Closed::new(1, 0));
    config::HostedClient { retrieval_port: NOWHERE.port(), ..configured(&[1], port) }
}

const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nServer: Microsoft-HTTPAPI/2.0\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_401_is_said_to_be_the_wish_for_windows_authentication_and_disturbs_nothing_else() {
    let sample = sample(1_000_000);
    let (port, requests) = scripted(UNAUTHORIZED).await;
    let user = User::new(&offers_only(port));
    let reading = user.read(&sample.v2, &sample).await;
    assert_eq!(reading.sources.origin, 1_000_000);
    until(|| user.status().offers.failed.contains_key("unauthorized")).await;
    let status = user.status();
    let error = status.servers[0].last_offer_error.clone().unwrap();
    assert!(error.contains("Negotiate") && error.contains("Set-BCAuthentication -Mode None"), "{error}");
    assert!(status.to_string().contains("Set-BCAuthentication"), "{status}");
    assert_eq!(status.offers.waiting, sample.v2.segments().len() as u64, "nobody else is there to take them");
    assert_eq!(requests.lock().unwrap().len(), 1);
    assert!(status.servers[0].no_offers_for_s.is_some_and(|seconds| seconds > 60), "an administrator has to act");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_response_is_dropped_and_counted() {
    let sample = sample(200_000);
    for answer in
        ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0\0\0\u{1}\u{7}", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
    {
        let (port, requests) = scripted(answer).await;
        let user = User::new(&offers_only(port));
        user.read(&sample.v2, &sample).await;
        until(|| !user.status().offers.failed.is_empty()).await;
        assert_eq!(user.status().offers.failed["response"], 1);
        let requests = requests.lock().unwrap();
        assert!(requests[0].starts_with("POST /0131501b-d67f-491b-9a40-c4bf27bcb4d4/ HTTP/1.1\r\n"), "{requests:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interested_in_answer_to_a_batch_is_an_answer_and_no_more() {
    let sample = sample(200_000);
    let (port, requests) = scripted("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0\0\0\u{1}\u{1}").await;
    let user = User::new(&offers_only(port));
    user.read(&sample.v2, &sample).await;
    until(|| user.status().offers.answered == 1).await;
    assert_eq!((user.status().offers.sent, user.status().offers.waiting), (1, 0));
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_offer_without_an_answer_expires_and_is_offered_again_for_15_minutes() {
    let sample = sample(200_000);
    let (port, requests) = scripted("").await;
    let user = User::new(&offers_only(port));
    let begun = Instant::now();
    let content = user.fetcher.open(sample.v2.clone());
    content.add_data(0, sample.bytes.clone()).await.unwrap();
    let segments = sample.v2.segments().len() as u64;
    // The clock is the test's own: it takes 1 s to gather, 15 s to expire, 30 s to rest, then 60 and 120.
    until(|| user.status().offers.failed.get("timed_out") == Some(&1)).await;
    assert_eq!((user.status().offers.waiting, user.status().offers.given_up), (segments, 0));
    while user.status().offers.given_up == 0 {
        assert!(begun.elapsed() < MAX_AGE + 5 * REST_TIME);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(begun.elapsed() >= MAX_AGE, "{:?}", begun.elapsed());
    let status = user.status().offers;
    assert_eq!((status.waiting, status.given_up), (0, segments));
    assert_eq!(status.failed.get("timed_out"), Some(&status.sent));
    assert!((5..12).contains(&status.sent), "{} offers", status.sent);
    assert_eq!(requests.lock().unwrap().len() as u64, status.sent);
}

#[tokio::test]
async fn a_hosted_cache_that_is_away_for_some_minutes_loses_no_offer() {
    let sample = sample(1_000_000);
    let down = Closed::new(1, 0);
    let port = down.port();
    let user = User::new(&configured(&[1], port));
    user.fetcher.open(sample.v2.clone()).add_data(0, sample.bytes.clone()).await.unwrap();
    let rest = async |failures: u32| {
        until(|| user.status().servers[0].offers_failed.get("unreachable") == Some(&u64::from(failures))).await;
        tokio::time::pause();
        tokio::time::advance(REST_TIME * (1 << (failures - 1))).await;
        tokio::time::resume();
    };
    rest(1).await;
    rest(2).await;
    until(|| user.status().offers.failed["unreachable"] == 3).await;
    drop(down);
    let back = Cache::start(1, port, Blocks::default()).await;
    rest(3).await;
    let all: BTreeSet<_> = sample.v2.segments().iter().map(|segment| segment.id()).collect();
    until(|| ids(&batches(&back)).len() >= all.len()).await;
    assert_eq!(ids(&batches(&back)).into_iter().collect::<BTreeSet<_>>(), all);
    until(|| user.status().offers.answered == 1).await;
    assert_eq!((user.status().offers.waiting, user.status().offers.given_up), (0, 0));
}

/// A hosted cache of version 1.0 on 127.0.0.1, and what its clients have to trust.
struct Tls {
    cache: Cache,
    trust: PathBuf,
    _dir: TempDir,
}

impl Tls {
    async fn start(initial: Response) -> Self {
        let dir = TempDir::new().unwrap();
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
        std::fs::write(&chain, cert.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let certificate = Certificate::load(&chain, &key).unwrap();
        let listen = |socket: TcpListener| Listener::offers_over_tls(socket, certificate);
        let cache = Cache::of(listener(1, 0).await, Blocks::default(), ServerLimits::default(), initial, listen);
        Self { cache, trust: chain, _dir: dir }
    }

    fn user(&self) -> User {
        let mut config = offers_only(self.cache.address.port());
        config.version.0 = Version::V1;
        config.trust.clone_from(&self.trust);
        User::new(&config)
    }
}

async fn add(user: &User, sample: &Sample) {
    user.fetcher.open(sample.v1.clone()).add_data(0, sample.bytes.clone()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interested_is_answered_with_the_segment_once_over_tls() {
    let sample = sample(10 * BLOCK as usize - 17);
    let tls = Tls::start(Response::Interested).await;
    let user = tls.user();
    add(&user, &sample).await;
    until(|| user.status().offers.answered == 2).await;
    let offers = tls.cache.offers.lock().unwrap().clone();
    let [(_, Offer::Initial(initial)), (_, Offer::SegmentInfo(info))] = &offers[..] else { panic!("{offers:?}") };
    let segment = &sample.v1.segments()[0];
    assert_eq!((initial.port, initial.segment_id), (PORT, segment.id()));
    assert_eq!((info.port, info.content_tag), (PORT, ContentTag::PEERDIST));
    let described = info.segment().unwrap().into_segment().unwrap();
    assert_eq!(described, *segment);
    let status = user.status().offers;
    assert_eq!((status.sent, status.segments, status.waiting), (2, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ok_to_an_initial_offer_ends_it() {
    let sample = sample(3 * BLOCK as usize);
    let tls = Tls::start(Response::Ok).await;
    let user = tls.user();
    add(&user, &sample).await;
    until(|| user.status().offers.answered == 1).await;
    let offers = tls.cache.offers.lock().unwrap().clone();
    assert!(matches!(&offers[..], [(_, Offer::Initial(_))]), "{offers:?}");
    // What version 1.0 cannot name is not offered.
    user.fetcher.open(sample.v2.clone()).add_data(0, sample.bytes.clone()).await.unwrap();
    assert_eq!(user.status().offers.not_expressible, sample.v2.segments().len() as u64);
    assert_eq!(user.status().offers.sent, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_trusted_is_a_reason_of_its_own() {
    let sample = sample(BLOCK as usize);
    let (tls, other) = (Tls::start(Response::Ok).await, Tls::start(Response::Ok).await);
    let mut config = offers_only(tls.cache.address.port());
    config.version.0 = Version::V1;
    config.trust.clone_from(&other.trust);
    let user = User::new(&config);
    add(&user, &sample).await;
    until(|| !user.status().offers.failed.is_empty()).await;
    assert_eq!(user.status().offers.failed.keys().collect::<Vec<_>>(), ["tls_not_trusted"]);
    let error = user.status().servers[0].last_offer_error.clone().unwrap();
    assert!(error.contains("hosted_client.trust"), "{error}");
}

#[tokio::test]
async fn trusted_certificates_that_cannot_be_read_stop_the_start() {
    let config = config::HostedClient { trust: "/nonexistent/trust.pem".into(), ..configured(&[1], 1) };
    let on = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let error = peerdist_node::hosted_client::HostedClient::start(&config, &[], PORT, on, Tap::default()).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/trust.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosted_caches_are_each_offered_their_own() {
    let sample = sample(3_000_000);
    let [first, second] = pair().await;
    let config = configured(&[1, 2], first.local_addr().unwrap().port());
    let caches = [plain(first, Blocks::default()), plain(second, Blocks::default())];
    let user = User::new(&config);
    user.read(&sample.v2, &sample).await;
    let all = || caches.iter().map(|cache| ids(&batches(cache)).len()).sum::<usize>();
    until(|| all() >= sample.v2.segments().len()).await;
    for (server, cache) in caches.iter().enumerate() {
        let offered = ids(&batches(cache));
        assert!(!offered.is_empty() && offered.iter().all(|id| order(&config.servers, id)[0] == server));
    }
}
