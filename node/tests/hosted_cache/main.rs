//! A hosted cache as its clients meet it: offers over HTTP and TLS, blocks fetched from hosts on the loopback network,
//! retrieval. Rows of [MS-PCHC] 3.1 and what design says of poisoning.
#![allow(clippy::unwrap_used)]

mod log;
#[path = "../logged/mod.rs"]
mod logged;
mod messages;
mod slow;
mod support;
mod wire;

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use peerdist_protocol::content::{CryptoAlgoId, EncryptedBlock, SegmentId};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::hosted_cache::{BatchedOffer, ContentTag, Offer, Response, SegmentDescriptor, SegmentInfo};
use peerdist_protocol::retrieval::{Answer, BlkTail, Exchange, RequestId};
use peerdist_transport::retrieval::client::{Client, ClientLimits};
use support::{Blocks, Host, Hosted, Sample, descriptors, noise, opaque, sample, sample_with};

const BLOCK: u32 = 65_536;
const CIPHERS: [CryptoAlgoId; 4] =
    [CryptoAlgoId::None, CryptoAlgoId::Aes128, CryptoAlgoId::Aes192, CryptoAlgoId::Aes256];

/// A segment of a BATCHED_OFFER with an id of its own.
fn descriptor(number: u8, segment_size: u32) -> SegmentDescriptor {
    SegmentDescriptor {
        block_size: segment_size.min(BLOCK),
        segment_size,
        content_tag: ContentTag::BITS,
        hash_algorithm: 1,
        segment_id: SegmentId::from_slice(&[number; 32]).unwrap(),
    }
}

/// A SEGMENT_INFO whose hashes and secret are made up, and the id that follows.
fn made_up(port: u16, length: u32) -> (Offer, SegmentId) {
    let count = length.div_ceil(BLOCK);
    let mut bytes = vec![0, 1];
    for field in [0x800c_u32, 0, length, 1, 0, 0, length, BLOCK] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(noise(64, length.into()));
    bytes.extend(count.to_le_bytes());
    bytes.extend(noise(32 * count as usize, 99));
    let offer = SegmentInfo { port, content_tag: ContentTag::SMB, segment_information: bytes.into() };
    let id = offer.segment().unwrap().id();
    (Offer::SegmentInfo(offer), id)
}

/// Everything of version 1 of a sample can be opened and is right.
async fn holds(hosted: &Hosted, sample: &Sample) {
    for segment in sample.v1.segments() {
        for index in 0..segment.block_count() {
            let block = hosted.get(segment.id(), index).await.expect("the block is held");
            block.open(segment.secret(), &segment.block_check(index).unwrap()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batched_offers_are_answered_ok_and_their_segments_replayed_as_they_came_in_every_cipher() {
    let mut hosted = Hosted::start(|_| {}).await;
    let host = Host::start(2, Blocks::default()).await;
    let mut offered = Vec::new();
    let mut expected: Vec<(SegmentId, u32, EncryptedBlock)> = Vec::new();
    for (number, cipher) in (0..).zip(CIPHERS) {
        let large = descriptor(number, BLOCK * 2 + 100);
        // As version 2 of content information has them: one block of any size.
        let small = SegmentDescriptor { block_size: 100_001, hash_algorithm: 4, ..descriptor(number + 100, 100_001) };
        for segment in [large, small] {
            for index in 0..segment.block_count().unwrap() {
                let length = segment.block_length(index) as usize;
                let block = opaque(length, cipher, u64::from(number * 8 + index as u8 + 1));
                host.blocks.insert(segment.segment_id, index, BlkTail::from(&block));
                expected.push((segment.segment_id, index, block));
            }
            offered.push(segment);
        }
    }
    hosted.offer(&host, &offered).await;
    let status = hosted.settled(16).await;
    assert_eq!((status.pulled_blocks, status.pulled_segments, status.segments_offered), (16, 8, 8));
    assert_eq!((status.offers.batched_offer, status.tags["BITS-4.0"].pulled_blocks), (1, 16));
    for _ in 0..2 {
        for (id, index, block) in &expected {
            assert_eq!(hosted.get(*id, *index).await.as_ref(), Some(block));
        }
        let ids: Vec<_> = offered.iter().map(|segment| segment.segment_id).collect();
        let exchange = Exchange::get_segment_list(RequestId([7; 16]), ids.clone()).unwrap();
        let answer = Client::new(ClientLimits::default()).exchange(hosted.address(), &exchange).await.unwrap();
        let Answer::SegmentList { held } = answer else { panic!("{answer:?}") };
        assert_eq!(held.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
        assert!(held.iter().all(|(_, age)| age.is_some()));
        hosted.restart().await;
    }
}

#[tokio::test]
async fn segments_held_in_part_are_listed_and_what_is_missing_is_fetched_with_the_next_offer() {
    let hosted = Hosted::start(|_| {}).await;
    let host = Host::start(2, Blocks::default()).await;
    let segment = descriptor(1, BLOCK * 4);
    let insert =
        |index| host.blocks.insert(segment.segment_id, index, BlkTail::from(&opaque(65_536, CryptoAlgoId::Aes128, 3)));
    [0, 2].into_iter().for_each(insert);
    hosted.offer(&host, &[segment]).await;
    let status = hosted.settled(4).await;
    assert_eq!((status.pulled_blocks, status.pulled_segments, status.pulls_failed["empty"]), (2, 0, 2));
    let exchange = Exchange::get_segment_list(RequestId([8; 16]), vec![segment.segment_id]).unwrap();
    let answer = Client::new(ClientLimits::default()).exchange(hosted.address(), &exchange).await.unwrap();
    assert!(matches!(answer, Answer::SegmentList { held } if held.len() == 1));
    [1, 3].into_iter().for_each(insert);
    let asked = host.blocks.asked();
    hosted.offer(&host, &[segment]).await;
    let status = hosted.settled(6).await;
    assert_eq!((status.pulled_blocks, status.pulled_segments, status.complaints), (4, 1, 0));
    assert_eq!(host.blocks.asked() - asked, 2, "what is there is not fetched again");
}

#[tokio::test]
async fn an_initial_offer_of_an_unknown_segment_is_interesting_and_starts_nothing() {
    let hosted = Hosted::start(|_| {}).await;
    let sample = sample(100_000, 1);
    let host = Host::start(1, Blocks::default()).await;
    sample.serve(&sample.v1, &host.blocks, CryptoAlgoId::Aes128);
    for _ in 0..2 {
        assert_eq!(hosted.initial(host.port(), sample.v1.segments()[0].id()).await, Response::Interested);
    }
    let status = hosted.settled(0).await;
    assert_eq!((status.offers.initial_offer, status.segments_offered, host.blocks.asked()), (2, 0, 0));
}

#[tokio::test]
async fn a_segment_info_needs_no_initial_offer_and_its_blocks_are_verified() {
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
        let hosted = Hosted::start(|_| {}).await;
        let sample = sample_with(500_000, 2, algorithm);
        let segment = &sample.v1.segments()[0];
        let host = Host::start(1, Blocks::default()).await;
        sample.serve(&sample.v1, &host.blocks, CryptoAlgoId::Aes256);
        // One is sent in the clear, one is wrong.
        host.blocks.insert(segment.id(), 3, BlkTail::from(&sample.sealed(segment, 3, CryptoAlgoId::None)));
        host.blocks.insert(segment.id(), 5, BlkTail::from(&opaque(65_536, CryptoAlgoId::Aes128, 1)));
        hosted.segment_info(host.port(), segment).await;
        let status = hosted.settled(8).await;
        assert_eq!((status.pulled_blocks, status.pulls_failed["wrong"], status.strikes), (7, 1, 1));
        assert!(hosted.get(segment.id(), 5).await.is_none());
        let as_it_came = sample.sealed(segment, 0, CryptoAlgoId::Aes256);
        assert_eq!(hosted.get(segment.id(), 0).await, Some(as_it_came));
        let sealed_here = hosted.get(segment.id(), 3).await.unwrap();
        assert_eq!(sealed_here.algorithm, CryptoAlgoId::Aes128);
        // All hashes are known: OK, and what is missing is fetched.
        host.blocks.insert(segment.id(), 5, BlkTail::from(&sample.sealed(segment, 5, CryptoAlgoId::Aes128)));
        let asked = host.blocks.asked();
        assert_eq!(hosted.initial(host.port(), segment.id()).await, Response::Ok);
        hosted.settled(9).await;
        assert_eq!(host.blocks.asked() - asked, 1);
        holds(&hosted, &sample).await;
        // With nothing missing nothing follows.
        let asked = host.blocks.asked();
        assert_eq!(hosted.initial(host.port(), segment.id()).await, Response::Ok);
        hosted.segment_info(host.port(), segment).await;
        let status = hosted.settled(10).await;
        assert_eq!((host.blocks.asked() - asked, status.complaints), (0, 0));
        assert_eq!(status.ignored["held"], 1);
    }
}

#[tokio::test]
async fn a_partial_list_is_used_and_the_next_initial_offer_is_interesting() {
    let hosted = Hosted::start(|_| {}).await;
    let sample = sample(400_000, 3);
    let part = sample.v1.slice(BLOCK.into()..u64::from(3 * BLOCK)).unwrap();
    let segment = &part.segments()[0];
    assert_eq!((segment.listed_blocks(), segment.block_count()), (0..3, 7));
    let host = Host::start(1, Blocks::default()).await;
    sample.serve(&sample.v1, &host.blocks, CryptoAlgoId::Aes128);
    hosted.segment_info(host.port(), segment).await;
    let status = hosted.settled(3).await;
    assert_eq!((status.pulled_blocks, status.known_segments), (3, 0));
    assert_eq!(hosted.initial(host.port(), segment.id()).await, Response::Interested);
    // The complete list proves what the partial one did not.
    hosted.segment_info(host.port(), &sample.v1.segments()[0]).await;
    hosted.settled(10).await;
    holds(&hosted, &sample).await;
    assert_eq!(hosted.initial(host.port(), segment.id()).await, Response::Ok);
}

#[tokio::test]
async fn what_is_known_survives_a_restart_and_is_its_owners_alone() {
    let mut hosted = Hosted::start(|_| {}).await;
    let sample = sample(300_000, 4);
    let segment = &sample.v1.segments()[0];
    let host = Host::start(1, Blocks::default()).await;
    sample.serve(&sample.v1, &host.blocks, CryptoAlgoId::Aes128);
    host.blocks.insert(segment.id(), 1, BlkTail::from(&opaque(65_536, CryptoAlgoId::Aes128, 1)));
    hosted.segment_info(host.port(), segment).await;
    hosted.settled(5).await;
    hosted.restart().await;
    let folder = hosted.config.cache.dir.join("offered");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!((files.len(), mode(&folder), mode(&files[0])), (1, 0o700, 0o600));
    host.blocks.insert(segment.id(), 1, BlkTail::from(&sample.sealed(segment, 1, CryptoAlgoId::Aes128)));
    assert_eq!(hosted.initial(host.port(), segment.id()).await, Response::Ok);
    hosted.settled(1).await;
    holds(&hosted, &sample).await;
    // A segment that left the cache takes its secret along.
    hosted.node.store().clear().unwrap();
    hosted.restart().await;
    assert_eq!(hosted.initial(host.port(), segment.id()).await, Response::Interested);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[tokio::test]
async fn an_offer_of_version_1_takes_nothing_on_disk_before_a_block_of_it_came() {
    let hosted = Hosted::start(|_| {}).await;
    let sample = sample(300_000, 6);
    let segment = &sample.v1.segments()[0];
    let folder = hosted.config.cache.dir.join("offered");
    let records = || std::fs::read_dir(&folder).unwrap().count();
    let host = Host::start(1, Blocks::default()).await;
    hosted.segment_info(host.port(), segment).await;
    // A run ends after two answers without a block.
    let status = hosted.settled(2).await;
    assert_eq!((status.pulls_failed["empty"], status.known_segments, records()), (2, 0, 0));
    assert_eq!(hosted.initial(host.port(), segment.id()).await, Response::Interested);
    host.blocks.insert(segment.id(), 0, BlkTail::from(&sample.sealed(segment, 0, CryptoAlgoId::Aes128)));
    hosted.segment_info(host.port(), segment).await;
    let status = hosted.settled(5).await;
    assert_eq!((status.pulled_blocks, status.known_segments), (1, 1));
    hosted.node.stop().await;
    assert_eq!(records(), 1);
}

#[tokio::test]
async fn records_of_one_host_have_a_share_of_the_cache() {
    let hosted = Hosted::start(|config| config.cache.size = "16 MiB".parse().unwrap()).await;
    let host = Host::start(1, Blocks::default()).await;
    let samples: Vec<_> = (0..40).map(|seed| sample(1000, 101 + 2 * seed)).collect();
    for sample in &samples {
        sample.serve(&sample.v1, &host.blocks, CryptoAlgoId::Aes128);
        hosted.segment_info(host.port(), &sample.v1.segments()[0]).await;
    }
    let status = hosted.settled(40).await;
    // A sixteenth of the size for all, of that an eighth for one, and 4 KiB for each.
    assert_eq!((status.pulled_segments, status.known_segments), (40, 32));
    holds(&hosted, samples.last().unwrap()).await;
    hosted.node.stop().await;
    assert_eq!(std::fs::read_dir(hosted.config.cache.dir.join("offered")).unwrap().count(), 32);
}

#[tokio::test]
async fn the_blind_switch_keeps_version_1_as_it_came_and_forgets_the_hashes() {
    let hosted = Hosted::start(|config| config.hosted_cache.blind = true).await;
    let host = Host::start(1, Blocks::default()).await;
    for (cipher, length) in CIPHERS.into_iter().zip([BLOCK * 2, BLOCK + 1, BLOCK * 2 - 16, 5]) {
        let (offer, id) = made_up(host.port(), length);
        let mut blocks = Vec::new();
        for index in 0..length.div_ceil(BLOCK) {
            let size = (length - index * BLOCK).min(BLOCK) as usize;
            blocks.push(opaque(size, cipher, u64::from(length + index)));
            host.blocks.insert(id, index, BlkTail::from(blocks.last().unwrap()));
        }
        assert_eq!(hosted.initial(host.port(), id).await, Response::Interested);
        let before = hosted.status().pulled_segments;
        assert_eq!(hosted.offer_v1(&offer).await, Response::Ok);
        hosted.until("the segment", |status| status.pulled_segments > before).await;
        for (index, block) in (0..).zip(&blocks) {
            assert_eq!(hosted.get(id, index).await.as_ref(), Some(block));
        }
        assert_eq!(hosted.initial(host.port(), id).await, Response::Interested);
    }
    let status = hosted.settled(7).await;
    assert_eq!((status.known_segments, status.tags["SMB"].pulled_segments), (0, 4));
    assert!(std::fs::read_dir(hosted.config.cache.dir.join("offered")).unwrap().next().is_none());
}

#[tokio::test]
async fn without_the_switch_made_up_hashes_are_ignored() {
    let hosted = Hosted::start(|_| {}).await;
    let host = Host::start(1, Blocks::default()).await;
    let (offer, id) = made_up(host.port(), BLOCK);
    host.blocks.insert(id, 0, BlkTail::from(&opaque(65_536, CryptoAlgoId::Aes128, 1)));
    assert_eq!(hosted.offer_v1(&offer).await, Response::Ok);
    let status = hosted.settled(1).await;
    assert_eq!((status.ignored["segment_information"], host.blocks.asked()), (1, 0));
}

#[tokio::test]
async fn sizes_that_are_not_the_announced_ones_do_not_enter_the_cache() {
    let hosted = Hosted::start(|_| {}).await;
    let host = Host::start(2, Blocks::default()).await;
    let bad = [
        opaque(999, CryptoAlgoId::None, 1),
        opaque(1001, CryptoAlgoId::None, 1),
        EncryptedBlock { data: noise(992, 1).into(), ..opaque(1000, CryptoAlgoId::Aes128, 1) },
        EncryptedBlock { data: noise(1024, 1).into(), ..opaque(1000, CryptoAlgoId::Aes192, 1) },
    ];
    let segments: Vec<_> = (0..4).map(|number| descriptor(number, 1000)).collect();
    for (segment, block) in segments.iter().zip(&bad) {
        host.blocks.insert(segment.segment_id, 0, BlkTail::from(block));
    }
    hosted.offer(&host, &segments).await;
    let status = hosted.settled(4).await;
    assert_eq!((status.pulled_blocks, status.pulls_failed["wrong"], status.strikes), (0, 4, 4));
    for segment in &segments {
        assert!(hosted.get(segment.segment_id, 0).await.is_none());
    }
}

#[tokio::test]
async fn a_second_offer_of_a_complete_blind_segment_is_a_complaint_and_the_newest_is_served() {
    let hosted = Hosted::start(|_| {}).await;
    let [liar, honest] = [Host::start(2, Blocks::default()).await, Host::start(3, Blocks::default()).await];
    let sample = sample(200_000, 5);
    let segments = descriptors(&sample.v2, ContentTag::PEERDIST);
    let count = segments.len() as u64;
    for segment in &segments {
        let wrong = opaque(segment.segment_size as usize, CryptoAlgoId::Aes128, 9);
        liar.blocks.insert(segment.segment_id, 0, BlkTail::from(&wrong));
    }
    sample.serve(&sample.v2, &honest.blocks, CryptoAlgoId::Aes128);
    hosted.offer(&liar, &segments).await;
    hosted.settled(count).await;
    hosted.offer(&honest, &segments).await;
    let status = hosted.settled(count * 2).await;
    assert_eq!((status.complaints, status.pulled_blocks, status.strikes), (count, count * 2, 0));
    for segment in sample.v2.segments() {
        assert_eq!(hosted.get(segment.id(), 0).await, Some(sample.sealed(segment, 0, CryptoAlgoId::Aes128)));
    }
    // Who gave what is held cannot complain about it, and is not heard for long.
    let asked = honest.blocks.asked();
    for _ in 0..17 {
        hosted.offer(&honest, &segments).await;
    }
    let status = hosted.settled(count * 19).await;
    assert_eq!((honest.blocks.asked() - asked, status.strikes, status.sources_out), (0, 16, 1));
    assert_eq!((status.ignored["repeated"], status.ignored["strikes"]), (16 * count, count));
    hosted.offer(&liar, &[descriptor(200, 10)]).await;
    hosted.until("another host to be heard", |status| status.pulls_failed.get("empty") == Some(&1)).await;
}

#[tokio::test]
async fn a_false_number_of_blocks_and_liars_who_complain_do_not_win_for_good() {
    let hosted = Hosted::start(|_| {}).await;
    let truth = descriptor(1, BLOCK * 3);
    let liar = Host::start(2, Blocks::default()).await;
    let honest = Host::start(3, Blocks::default()).await;
    let right = |index: u32| opaque(65_536, CryptoAlgoId::Aes128, 1 + u64::from(index));
    for index in 0..3 {
        let wrong = opaque(65_536, CryptoAlgoId::Aes128, 99 + u64::from(index));
        liar.blocks.insert(truth.segment_id, index, BlkTail::from(&wrong));
        honest.blocks.insert(truth.segment_id, index, BlkTail::from(&right(index)));
    }
    let mut pulled = 0;
    // Blocks that are offered, and how many of them are fetched.
    let rounds = [(&honest, 3, 3), (&liar, 1, 1), (&honest, 3, 3), (&liar, 3, 0), (&liar, 2, 0)];
    for (host, blocks, more) in rounds {
        hosted.offer(host, &[descriptor(1, BLOCK * blocks)]).await;
        pulled += more;
        hosted.until("the round to end", |status| status.pulled_blocks == pulled && status.pulling == 0).await;
    }
    let status = hosted.settled(pulled + 2).await;
    assert_eq!((status.ignored["complained"], status.strikes), (2, 0));
    for index in 0..3 {
        assert_eq!(hosted.get(truth.segment_id, index).await, Some(right(index)));
    }
}

#[tokio::test]
async fn refused_sources_are_answered_ok_and_nothing_follows() {
    let hosted = Hosted::start(|config| {
        config.hosted_cache.allow = vec!["127.0.0.0/29".parse().unwrap()];
        config.hosted_cache.deny = vec!["127.0.0.3/32".parse().unwrap()];
    })
    .await;
    let segment = descriptor(1, 1000);
    let blocks = Blocks::default();
    blocks.insert(segment.segment_id, 0, BlkTail::from(&opaque(1000, CryptoAlgoId::Aes128, 1)));
    for number in [3, 77] {
        hosted.offer(&Host::start(number, blocks.clone()).await, &[segment]).await;
    }
    assert_eq!(hosted.settled(2).await.ignored["source"], 2);
    let host = Host::start(2, blocks.clone()).await;
    let without_port = Offer::Batched(BatchedOffer { port: 0, segments: vec![segment] });
    assert_eq!(hosted.post(host.ip, &without_port.emit()).await.1, Some(Response::Ok));
    assert_eq!(hosted.settled(3).await.ignored["port"], 1);
    let of_itself = Offer::Batched(BatchedOffer { port: hosted.address().port(), segments: vec![segment] });
    assert_eq!(hosted.post(Ipv4Addr::LOCALHOST, &of_itself.emit()).await.1, Some(Response::Ok));
    assert_eq!(hosted.settled(4).await.ignored["own"], 1);
    hosted.node.set_enabled(false);
    hosted.offer(&host, &[segment]).await;
    assert_eq!(hosted.settled(5).await.ignored["disabled"], 1);
    assert_eq!(blocks.asked(), 0);
    hosted.node.set_enabled(true);
    hosted.offer(&host, &[segment]).await;
    assert_eq!(hosted.settled(6).await.pulled_blocks, 1);
}

#[tokio::test]
async fn bytes_and_places_in_the_queue_have_limits() {
    let hosted = Hosted::start(|config| {
        config.hosted_cache.max_bytes_per_source = 2500;
        config.hosted_cache.max_pulls_per_source = NonZeroU32::MIN;
        config.hosted_cache.max_queued_per_source = NonZeroU32::new(10).unwrap();
    })
    .await;
    let blocks = Blocks::default();
    let segments: Vec<_> = (0..10).map(|number| descriptor(number, 1000)).collect();
    for segment in &segments {
        blocks.insert(segment.segment_id, 0, BlkTail::from(&opaque(1000, CryptoAlgoId::Aes128, 1)));
    }
    let host = Host::start(2, blocks).await;
    hosted.offer(&host, &segments).await;
    let status = hosted.settled(10).await;
    assert_eq!((status.pulled_blocks, status.ignored["quota"]), (3, 7));
    hosted.offer(&host, &segments).await;
    assert_eq!(hosted.settled(20).await.ignored["quota"], 17);
    let slow = Host::start(3, Blocks::stalling()).await;
    let many: Vec<_> = (100..120).map(|number| descriptor(number, 1000)).collect();
    hosted.offer(&slow, &many).await;
    let status = hosted.until("the first one to be asked for", |status| status.pulling == 1).await;
    assert_eq!((status.ignored["queue_full"], status.queued), (10, 9));
}

#[tokio::test]
async fn an_offering_host_that_is_gone_is_given_up_after_three_failures() {
    let hosted = Hosted::start(|_| {}).await;
    let gone = Host::gone(2);
    let segments: Vec<_> = (0..100).map(|number| descriptor(number, 1000)).collect();
    hosted.offer(&gone, &segments).await;
    let status = hosted.until("all to be given up", |status| status.queued == 0 && status.pulling == 0).await;
    let failed = status.pulls_failed["connect"];
    assert!((3..=10).contains(&failed), "{status:?}");
    assert_eq!(status.ignored["unreachable"] + failed, 100);
    // It comes back with a new offer.
    let back = Host::start(2, Blocks::default()).await;
    back.blocks.insert(segments[0].segment_id, 0, BlkTail::from(&opaque(1000, CryptoAlgoId::Aes128, 1)));
    hosted.offer(&back, &segments[..1]).await;
    hosted.until("the host that came back", |status| status.pulled_blocks == 1).await;
}

#[tokio::test]
async fn hosts_that_send_garbage_are_struck_and_nothing_of_it_is_stored() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let hosted = Hosted::start(|config| config.hosted_cache.max_pulls_per_source = NonZeroU32::MIN).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ngarbage!!").await;
        }
    });
    let segments: Vec<_> = (0..20).map(|number| descriptor(number, 1000)).collect();
    let offer = Offer::Batched(BatchedOffer { port, segments });
    assert_eq!(hosted.post(Ipv4Addr::new(127, 0, 0, 2), &offer.emit()).await.1, Some(Response::Ok));
    let status = hosted.until("it to be out", |status| status.sources_out == 1 && status.pulling == 0).await;
    assert_eq!((status.strikes, status.pulls_failed["rejected"], status.ignored["strikes"]), (16, 16, 4));
    assert_eq!(hosted.node.store().stats().blocks, 0);
}

#[tokio::test]
async fn a_cache_that_takes_nothing_still_answers_offers_and_serves() {
    let hosted = Hosted::start(|_| {}).await;
    let host = Host::start(2, Blocks::default()).await;
    let segments = [descriptor(1, 1000), descriptor(2, 1000)];
    for segment in &segments {
        host.blocks.insert(segment.segment_id, 0, BlkTail::from(&opaque(1000, CryptoAlgoId::Aes128, 1)));
    }
    hosted.offer(&host, &segments[..1]).await;
    hosted.settled(1).await;
    let mut config = hosted.config.clone();
    config.cache.keep_free = 1 << 60;
    hosted.node.reconfigure(&config).await.unwrap();
    hosted.offer(&host, &segments[1..]).await;
    let status = hosted.until("the cache to refuse", |status| status.pulls_failed.contains_key("cache")).await;
    assert_eq!(status.pulled_blocks, 1);
    hosted.offer(&host, &segments[1..]).await;
    assert!(hosted.node.store().stats().refused.keep_free > 0);
    // What was offered is not forgotten over it.
    hosted.node.reconfigure(&hosted.config).await.unwrap();
    hosted.until("the cache to take it", |status| status.pulled_blocks == 2).await;
}

#[tokio::test]
async fn the_status_names_the_ports_where_offers_are_taken() {
    let hosted = Hosted::start(|_| {}).await;
    let listeners: Vec<_> =
        hosted.status().listeners.into_iter().map(|listener| (listener.address.port(), listener.version)).collect();
    let [http, https] = [hosted.config.hosted_cache.http_port, hosted.config.hosted_cache.https_port];
    assert_eq!(listeners, [(http, "2.0".to_owned()), (https, "1.0".to_owned())]);
    assert_eq!(hosted.node.listeners()[0].port(), http);
    // Offers may have a port of their own.
    let other = Hosted::start(|config| config.node.port = 0).await;
    assert_ne!(other.address().port(), other.config.hosted_cache.http_port);
    assert_eq!(other.post(Ipv4Addr::LOCALHOST, b"").await.0, "404", "this is the retrieval port");
}
