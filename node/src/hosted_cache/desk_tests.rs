use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, CryptoAlgoId, EncryptedBlock, HashOptions, Hasher, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::hosted_cache::{ContentTag, Version};
use peerdist_protocol::retrieval::BlkTail;
use tempfile::TempDir;

use super::super::offered::Kept;
use super::super::queue::{Fetching, Next, Run};
use super::super::turns::Standing;
use super::*;
use crate::store::{Limits, SegmentKey, SizeLimit, StoreConfig, Tag, Trust};

/// Dropped in this order.
struct Bench {
    desk: Desk,
    now: Instant,
    _directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { size: SizeLimit::Bytes(16 << 20), keep_free: 0, ..Limits::default() };
        let store = StoreConfig { limits, ..StoreConfig::new(directory.path().join("cache")) };
        let store = Store::open(&store).unwrap();
        let now = Instant::now();
        let desk = Desk::new(config::HostedCache::default(), store, KnownSegments::default(), now);
        Self { desk, now, _directory: directory }
    }

    fn offer(&mut self, host: u8, segments: Vec<SegmentDescriptor>) {
        let offer = Offer::Batched(BatchedOffer { port: 80, segments });
        let (response, record) = self.desk.take(address(host), offer, None, self.now);
        assert!(response == Response::Ok && record.is_none());
    }

    /// A block of a host was kept, of something else.
    fn prove(&mut self, host: u8) {
        let ip = address(host).ip();
        self.desk.sources.sent(ip, 1, self.now);
        self.desk.delivered(ip, self.now);
    }

    /// The next run, passing over what is not admitted.
    fn next(&mut self) -> Option<(u8, Arc<Fetching>)> {
        loop {
            match self.desk.next(self.now)? {
                Next::Run(Run { host, segment, .. }) => {
                    let IpAddr::V4(ip) = host.source else { panic!() };
                    return Some((ip.octets()[3], segment));
                }
                Next::Skipped => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn next_run(&mut self) -> Run {
        match self.desk.next(self.now) {
            Some(Next::Run(run)) => run,
            other => panic!("{other:?}"),
        }
    }

    /// Hosts and first blocks of all runs that follow. Each ends at once.
    fn all_runs(&mut self) -> Vec<(u8, BlockIndex)> {
        let mut runs = Vec::new();
        while let Some(Next::Run(run)) = self.desk.next(self.now) {
            let IpAddr::V4(ip) = run.host.source else { panic!() };
            runs.push((ip.octets()[3], run.blocks.start));
            self.desk.run_ended(run.host, &run.segment, self.now);
        }
        runs
    }

    fn end(&mut self, host: u8, segment: &Arc<Fetching>) {
        self.desk.run_ended(peer(host), segment, self.now);
    }

    /// A host gives blocks of a segment, which say whom they are from.
    fn give(&mut self, host: u8, segment: &Fetching, blocks: Range<BlockIndex>) {
        for index in blocks {
            let block = EncryptedBlock { algorithm: CryptoAlgoId::None, iv: [0; 16], data: vec![host; 1000].into() };
            assert!(matches!(segment.offered.keep(&self.desk.store, index, &block), Kept::Yes));
            if segment.keep() {
                self.desk.first_kept(address(host).ip(), segment, self.now);
            }
            self.prove(host);
        }
    }

    /// A host offers a segment and gives all of it. Returns whether it is asked.
    fn offer_and_give(&mut self, host: u8, descriptor: SegmentDescriptor) -> bool {
        self.offer(host, vec![descriptor]);
        let Some((asked, segment)) = self.next() else { return false };
        assert_eq!(asked, host);
        self.give(host, &segment, 0..segment.offered.block_count);
        self.end(host, &segment);
        assert!(self.desk.is_empty());
        true
    }

    /// Who gave the blocks that are held.
    fn held(&self, descriptor: &SegmentDescriptor) -> Vec<u8> {
        let read = |index| Some(self.desk.store.read(&descriptor.segment_id, index).unwrap()?.bytes[20]);
        (0..512).filter_map(read).collect()
    }

    fn ignored(&self, reason: &str) -> u64 {
        self.desk.counted.ignored.get(reason).copied().unwrap_or(0)
    }
}

fn peer(number: u8) -> Host {
    Host { address: address(number), source: address(number).ip() }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

fn descriptor(number: u32) -> SegmentDescriptor {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    SegmentDescriptor {
        block_size: 1000,
        segment_size: 1000,
        content_tag: ContentTag::WEBIO,
        hash_algorithm: 4,
        segment_id: SegmentId::from_slice(&id).unwrap(),
    }
}

#[test]
fn a_segment_that_several_hosts_offer_at_once_is_fetched_from_one() {
    let mut bench = Bench::new();
    (1..=3).for_each(|host| bench.offer(host, vec![descriptor(1)]));
    let (host, segment) = bench.next().unwrap();
    assert_eq!(host, 1);
    assert!(bench.next().is_none());
    bench.give(1, &segment, 0..1);
    bench.end(1, &segment);
    assert!(bench.next().is_none(), "the others offered what was not there yet: that is no complaint");
    let status = bench.desk.status(bench.now);
    assert_eq!((status.pulled_segments, status.complaints, status.queued), (1, 0, 0));
    assert!(bench.desk.is_empty());
}

#[test]
fn another_host_stands_in_for_one_that_gave_nothing() {
    let mut bench = Bench::new();
    (1..=3).for_each(|host| bench.offer(host, vec![descriptor(1)]));
    let mut hosts = Vec::new();
    while let Some((host, segment)) = bench.next() {
        hosts.push(host);
        assert!(bench.next().is_none());
        if host == 2 {
            bench.give(host, &segment, 0..1);
        }
        bench.end(host, &segment);
    }
    assert_eq!(hosts, [1, 3, 2], "the newest first");
    assert_eq!(bench.desk.status(bench.now).pulled_segments, 1);
}

#[test]
fn many_hosts_that_give_nothing_do_not_shut_out_the_one_that_has_it() {
    for position in [1, 7, 19] {
        let mut bench = Bench::new();
        bench.offer(0, vec![descriptor(1)]);
        let (_, first) = bench.next().unwrap();
        for host in 1..20 {
            bench.offer(if host == position { 99 } else { host }, vec![descriptor(1)]);
            assert!(bench.next().is_none());
        }
        // Whoever was early among so many offers again.
        bench.offer(99, vec![descriptor(1)]);
        assert!(bench.next().is_none());
        bench.end(0, &first);
        let mut tried = 0;
        while let Some((host, segment)) = bench.next() {
            tried += 1;
            if host == 99 {
                bench.give(host, &segment, 0..1);
            }
            bench.end(host, &segment);
        }
        assert_eq!((bench.held(&descriptor(1)), tried <= 2), (vec![99], true));
        assert!(bench.desk.is_empty());
    }
}

#[test]
fn liars_do_not_push_an_honest_host_out_of_those_that_stand_in() {
    // One that delivered before holds its place among any number of them, one that is new among some.
    for (liars, is_known) in [(17, true), (100, true), (17, false)] {
        let mut bench = Bench::new();
        if is_known {
            bench.prove(200);
        }
        bench.offer(0, vec![descriptor(1)]);
        let (_, first) = bench.next().unwrap();
        for host in std::iter::once(200).chain(1..=liars) {
            bench.offer(host, vec![descriptor(1)]);
            assert!(bench.next().is_none());
        }
        bench.end(0, &first);
        let mut tried = 0;
        while let Some((host, segment)) = bench.next() {
            tried += 1;
            if host == 200 {
                bench.give(host, &segment, 0..1);
            }
            bench.end(host, &segment);
        }
        assert_eq!(bench.held(&descriptor(1)), [200], "{liars} {is_known}");
        assert!(tried == 1 || !is_known, "{tried}");
        assert!(bench.desk.is_empty());
    }
}

#[test]
fn a_liar_has_one_place_among_those_that_stand_in_at_however_many_ports_it_offers() {
    let mut bench = Bench::new();
    bench.offer(0, vec![descriptor(1)]);
    let (_, first) = bench.next().unwrap();
    bench.offer(200, vec![descriptor(1)]);
    assert!(bench.next().is_none());
    for port in 1..1000 {
        let offer = Offer::Batched(BatchedOffer { port, segments: vec![descriptor(1)] });
        bench.desk.take(address(1), offer, None, bench.now);
        assert!(bench.next().is_none());
    }
    bench.end(0, &first);
    let hosts: Vec<_> = bench.all_runs().into_iter().map(|(host, _)| host).collect();
    assert!(hosts == [1, 200] || hosts == [200, 1], "{hosts:?}");
    assert!(bench.desk.is_empty());
}

#[test]
fn a_segment_of_a_slow_host_goes_to_another_one_that_offered_it() {
    let mut bench = Bench::new();
    bench.prove(1);
    bench.offer(1, vec![large(1, 150)]);
    let mut runs = vec![bench.next_run()];
    bench.offer(2, vec![large(1, 100)]);
    runs.extend((0..2).map(|_| bench.next_run()));
    for run in runs {
        assert_eq!(run.host.address, address(1));
        let left = run.blocks.clone();
        bench.desk.run_too_slow(run, left, bench.now);
    }
    assert_eq!(bench.all_runs(), [(2, 0), (2, 32), (2, 64), (2, 96)]);
    assert!(bench.desk.is_empty());
}

#[test]
fn a_segment_of_a_slow_host_goes_to_another_one_that_offers_it_now() {
    let mut bench = Bench::new();
    bench.offer(1, vec![large(1, 100)]);
    let run = bench.next_run();
    bench.desk.run_too_slow(run, 5..32, bench.now);
    bench.offer(2, vec![large(1, 100)]);
    assert_eq!(bench.all_runs(), [(1, 32), (2, 0), (2, 32), (2, 64), (2, 96)]);
    assert!(bench.desk.is_empty());
}

#[test]
fn a_host_that_is_given_up_takes_nothing_of_others_along() {
    let mut bench = Bench::new();
    bench.prove(2);
    bench.offer(1, (0..20).map(descriptor).collect());
    let (host, first) = bench.next().unwrap();
    bench.offer(2, vec![descriptor(0), descriptor(30)]);
    assert_eq!(host, 1);
    (0..3).for_each(|_| bench.desk.failed(peer(1), "unreachable", bench.now));
    bench.end(1, &first);
    let rest: Vec<_> = std::iter::from_fn(|| bench.next()).map(|(host, segment)| (host, segment.offered.id)).collect();
    assert_eq!(rest, [(2, descriptor(0).segment_id), (2, descriptor(30).segment_id)]);
    assert_eq!(bench.desk.status(bench.now).ignored["unreachable"], 19);
}

#[test]
fn a_quarter_of_a_million_segments_wait_without_one_being_lost() {
    let mut bench = Bench::new();
    for number in 0..2000 {
        let segments = (0..128).map(|index| descriptor(number * 128 + index)).collect();
        let bytes = Offer::Batched(BatchedOffer { port: 80, segments }).emit().into();
        let offer = Offer::parse(Version::V2, &bytes).unwrap();
        assert_eq!(bench.desk.take(address(1), offer, None, bench.now).0, Response::Ok);
    }
    let status = bench.desk.status(bench.now);
    assert_eq!((status.queued, status.segments_offered), (256_000, 256_000));
    assert_eq!((status.tags["WebIO"].offers, status.ignored.len()), (2000, 0));
}

/// A segment of blocks of 1000 bytes.
fn large(number: u32, blocks: u32) -> SegmentDescriptor {
    SegmentDescriptor { segment_size: 1000 * blocks, hash_algorithm: 1, ..descriptor(number) }
}

#[test]
fn another_number_of_blocks_than_what_is_held_unproven_has_is_a_complaint() {
    for lie in [1, 5] {
        let (mut bench, truth, lie) = (Bench::new(), large(1, 3), large(1, lie));
        let lies = |host| vec![host; lie.block_count().unwrap() as usize];
        assert!(bench.offer_and_give(1, lie));
        assert_eq!(bench.held(&truth), lies(1));
        assert!(bench.offer_and_give(2, truth));
        assert_eq!(bench.held(&truth), [2; 3]);
        // Each is heard once in a while, so that those who say the same win.
        assert!(bench.offer_and_give(1, lie));
        assert_eq!(bench.held(&truth), lies(1));
        assert!(!bench.offer_and_give(2, truth));
        assert!(bench.offer_and_give(3, truth));
        assert!(!bench.offer_and_give(1, lie));
        assert_eq!(bench.held(&truth), [3; 3]);
        let status = bench.desk.status(bench.now);
        assert_eq!((status.complaints, status.strikes, status.pulled_segments), (3, 0, 4));
        assert_eq!(bench.ignored("complained"), 2);
        // Nothing of that is for ever.
        for number in 2..4 {
            bench.now += Duration::from_secs(40 * 60);
            assert!(bench.offer_and_give(8, large(number, 1)) && bench.offer_and_give(9, large(number, 2)));
        }
        assert!(bench.offer_and_give(2, truth));
    }
}

#[test]
fn a_lie_about_the_number_of_blocks_is_found_when_it_won_the_race() {
    let (mut bench, truth, lie) = (Bench::new(), large(1, 3), large(1, 1));
    bench.offer(1, vec![lie]);
    bench.offer(2, vec![truth]);
    let (host, segment) = bench.next().unwrap();
    assert_eq!((host, bench.next().is_none()), (1, true));
    bench.give(1, &segment, 0..1);
    bench.end(1, &segment);
    let (host, segment) = bench.next().unwrap();
    assert_eq!((host, segment.offered.block_count), (2, 3), "as it was offered");
    bench.give(2, &segment, 0..3);
    bench.end(2, &segment);
    assert_eq!(bench.held(&truth), [2; 3]);
}

#[test]
fn what_is_proven_has_the_number_of_blocks_that_it_has() {
    let (mut bench, lie) = (Bench::new(), large(1, 3));
    let block = EncryptedBlock { algorithm: CryptoAlgoId::None, iv: [0; 16], data: vec![1; 1000].into() };
    let key = SegmentKey { id: lie.segment_id, block_count: 2 };
    bench.desk.store.append(&key, 0, &BlkTail::from(&block), Trust::Bound, Tag::NONE).unwrap();
    assert!(!bench.offer_and_give(1, lie));
    assert_eq!(bench.ignored("contradiction"), 1);
}

#[test]
fn who_corrects_another_hosts_copy_is_not_struck() {
    let (mut bench, segment) = (Bench::new(), descriptor(1));
    assert!(bench.offer_and_give(1, segment));
    assert!(bench.offer_and_give(2, segment));
    assert_eq!(bench.held(&segment), [2]);
    assert!(bench.offer_and_give(1, segment), "the copy is no longer its own");
    assert_eq!((bench.held(&segment), bench.desk.counted.strikes), (vec![1], 0));
    assert!(!bench.offer_and_give(2, segment), "two hosts do not go on for ever");
    assert_eq!((bench.ignored("complained"), bench.desk.counted.strikes), (1, 0));
    assert!(!bench.offer_and_give(1, segment));
    assert_eq!((bench.ignored("repeated"), bench.desk.counted.strikes), (1, 1));
}

#[test]
fn who_complains_while_a_copy_is_being_replaced_is_not_struck() {
    let (mut bench, segment) = (Bench::new(), large(1, 2));
    assert!(bench.offer_and_give(1, segment));
    bench.offer(2, vec![segment]);
    let (_, fetching) = bench.next().unwrap();
    bench.give(2, &fetching, 0..1);
    bench.offer(1, vec![segment]);
    assert_eq!(bench.desk.counted.strikes, 0);
    // The other gives no more: what it began is no copy of anybody, and it was heard.
    fetching.fall_short();
    bench.end(2, &fetching);
    let (host, fetching) = bench.next().unwrap();
    assert_eq!(host, 1);
    bench.give(1, &fetching, 0..2);
    bench.end(1, &fetching);
    assert_eq!(bench.held(&segment), [1; 2]);
    assert!(!bench.offer_and_give(2, segment));
    assert_eq!(bench.ignored("complained"), 1);
}

#[test]
fn a_complaint_that_the_cache_did_not_take_is_heard_again() {
    let (mut bench, segment) = (Bench::new(), large(1, 2));
    assert!(bench.offer_and_give(1, segment));
    bench.offer(2, vec![segment]);
    for blocks in [1, 2] {
        let (host, fetching) = bench.next().unwrap();
        assert_eq!((host, fetching.offered.complaint), (2, true));
        bench.give(2, &fetching, 0..blocks);
        if blocks < 2 {
            bench.desk.fetch_again(&segment.segment_id);
            fetching.fall_short();
        }
        bench.end(2, &fetching);
    }
    assert!(bench.next().is_none());
    assert_eq!((bench.held(&segment), bench.desk.counted.complaints), (vec![2; 2], 1));
    assert!(!bench.offer_and_give(2, segment));
    assert_eq!(bench.ignored("repeated"), 1);
}

#[test]
fn hashes_that_are_not_on_disk_yet_count_when_they_wait() {
    let mut bench = Bench::new();
    let options = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: false };
    let mut hasher = Hasher::new(options, &ServerSecret::from_passphrase("desk"));
    hasher.update(&[1; 1000]);
    let segment = SegmentInfo::new(80, ContentTag::BITS, &hasher.finish().unwrap().v1.unwrap().segments()[0]);
    let offered = Offered::verified(segment.segment().unwrap(), ContentTag::BITS).unwrap();
    assert!(bench.desk.remember(&offered, address(1).ip(), bench.now).is_some());
    let most = MAX_WAITING_BYTES_OF_SOURCE / size_in_memory(&offered);
    for _ in 0..=most {
        let offer = Offer::Initial(InitialOffer { port: 80, segment_id: offered.id });
        assert_eq!(bench.desk.take(address(2), offer, None, bench.now).0, Response::Ok);
    }
    assert_eq!((bench.ignored("queue_full"), bench.desk.queue.len()), (1, most));
}

#[test]
fn one_host_fills_no_more_than_half_of_the_cache_in_an_hour() {
    let mut bench = Bench::new();
    let half = bench.desk.store.stats().limit / 2;
    bench.desk.sources.sent(address(1).ip(), half - 1, bench.now);
    bench.offer(1, vec![descriptor(1)]);
    bench.desk.sources.sent(address(1).ip(), 1, bench.now);
    bench.offer(1, vec![descriptor(2)]);
    let status = bench.desk.status(bench.now);
    assert_eq!((status.queued, status.ignored.get("quota")), (1, Some(&1)));
}

#[test]
fn the_addresses_of_an_ipv6_subnet_beyond_some_are_one_source_everywhere() {
    let mut bench = Bench::new();
    let at = |number: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, number], 80));
    for number in 1..=2000 {
        let offer = Offer::Batched(BatchedOffer { port: 80, segments: vec![descriptor(number.into())] });
        bench.desk.take(at(number), offer, None, bench.now);
    }
    let mut sources = std::collections::HashSet::new();
    while let Some(next) = bench.desk.next(bench.now) {
        if let Next::Run(run) = next {
            sources.insert(run.host.source);
            bench.desk.run_ended(run.host, &run.segment, bench.now);
        }
    }
    assert_eq!(sources.len(), 257);
}

#[test]
fn a_host_that_delivered_keeps_its_own_place_however_many_of_its_subnet_wait() {
    let mut bench = Bench::new();
    let at = |number: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, number], 80));
    let good = at(5000);
    bench.desk.sources.sent(good.ip(), 1, bench.now);
    bench.desk.delivered(good.ip(), bench.now);
    for host in (1..=500).map(at).chain([good]) {
        let offer = Offer::Batched(BatchedOffer { port: 80, segments: vec![descriptor(1)] });
        bench.desk.take(host, offer, None, bench.now);
    }
    assert_eq!(bench.next_run().host.source, good.ip());
}

/// A bench that knows as many hosts of an IPv6 subnet as are known each by itself.
fn crowded() -> (Bench, impl Fn(u16) -> SocketAddr) {
    let mut bench = Bench::new();
    let at = |number: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, number], 80));
    (1..=256).for_each(|number| bench.desk.sources.sent(at(number).ip(), 1, bench.now));
    (bench, at)
}

#[test]
fn liars_of_a_subnet_do_not_shut_its_other_hosts_out() {
    let (mut bench, at) = crowded();
    let offer = |bench: &mut Bench, number: u16, ids: Range<u32>| {
        let offer = Offer::Batched(BatchedOffer { port: 80, segments: ids.map(descriptor).collect() });
        bench.desk.take(at(number), offer, None, bench.now);
    };
    // The honest host offers before, among and behind twenty that send something wrong.
    offer(&mut bench, 1000, 0..1);
    let liars = 2000..2020;
    liars.clone().for_each(|liar| offer(&mut bench, liar, u32::from(liar) * 10..u32::from(liar) * 10 + 5));
    offer(&mut bench, 1000, 1..2);
    let (mut fetched, mut lies) = (Vec::new(), 0);
    while let Some(next) = bench.desk.next(bench.now) {
        let Next::Run(run) = next else { continue };
        assert_eq!(run.host.source, IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, 0]));
        assert!(bench.desk.next(bench.now).is_none(), "one at a time");
        if run.host.address == at(1000) {
            fetched.push(run.segment.offered.id);
        } else {
            lies += 1;
            assert_eq!(bench.desk.strike(run.host, bench.now), lies >= 16);
        }
        bench.desk.run_ended(run.host, &run.segment, bench.now);
    }
    assert_eq!(fetched, [0, 1].map(|number| descriptor(number).segment_id));
    // Three had lied five times and one was the sixteenth: this and all others after it are asked once.
    assert_eq!((lies, bench.ignored("strikes")), (15 + 17, 17 * 4));
    offer(&mut bench, 1000, 2..3);
    assert_eq!(bench.next_run().host.address, at(1000));
    assert_eq!(bench.desk.status(bench.now).sources_out, 0);
}

#[test]
fn hosts_that_share_a_source_are_not_struck_for_what_another_of_them_gave() {
    let (mut bench, at) = crowded();
    let segment = descriptor(1);
    for (number, is_fetched) in [(1000, true), (2000, true), (1000, false), (2000, false)] {
        let offer = Offer::Batched(BatchedOffer { port: 80, segments: vec![segment] });
        bench.desk.take(at(number), offer, None, bench.now);
        let Some(Next::Run(run)) = bench.desk.next(bench.now) else {
            assert!(!is_fetched, "{number}");
            continue;
        };
        assert!(is_fetched && run.host.address == at(number));
        let block = EncryptedBlock { algorithm: CryptoAlgoId::None, iv: [0; 16], data: vec![1; 1000].into() };
        assert!(matches!(run.segment.offered.keep(&bench.desk.store, 0, &block), Kept::Yes));
        assert!(run.segment.keep());
        bench.desk.first_kept(run.host.source, &run.segment, bench.now);
        bench.desk.run_ended(run.host, &run.segment, bench.now);
    }
    assert_eq!((bench.desk.counted.strikes, bench.desk.counted.complaints, bench.ignored("complained")), (0, 1, 2));
}

#[test]
fn a_host_that_takes_long_for_each_block_comes_behind_the_others() {
    for (time, standing) in [(4700, Standing::Proven), (4900, Standing::Slow)] {
        let mut bench = Bench::new();
        bench.prove(1);
        bench.offer(1, vec![large(1, 100)]);
        let run = bench.next_run();
        assert_eq!(run.blocks.end - run.blocks.start, 32);
        bench.desk.held(&run, Duration::from_millis(time), bench.now);
        bench.desk.run_ended(run.host, &run.segment, bench.now);
        assert_eq!(bench.desk.sources.standing(address(1).ip(), bench.now), standing);
    }
}
