//! What a hosted cache says: to those that offer, and to those that it fetches from.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use peerdist_protocol::content::CryptoAlgoId;
use peerdist_protocol::hosted_cache::{BatchedOffer, ContentTag, Offer, Response, SegmentInfo};
use peerdist_protocol::retrieval::{BlkTail, Request, RequestMessage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Blocks, Host, Hosted, noise, opaque, sample};
use crate::{BLOCK, descriptor, made_up};

/// The bodies of all requests that come through a port.
pub(crate) type Bodies = Arc<Mutex<Vec<Vec<u8>>>>;

/// A port of its own in front of a host, on the same address. Keeps what the hosted cache sends there.
pub(crate) async fn watched(host: &Host) -> (u16, Bodies) {
    let listener = TcpListener::bind((host.ip, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let bodies = Bodies::default();
    let (to, kept) = (SocketAddr::from((host.ip, host.port())), Arc::clone(&bodies));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(relay(stream, TcpStream::connect(to).await.unwrap(), Arc::clone(&kept)));
        }
    });
    (port, bodies)
}

async fn relay(from: TcpStream, to: TcpStream, bodies: Bodies) {
    let (mut requests, mut answers_to) = from.into_split();
    let (mut answers, mut requests_to) = to.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut answers, &mut answers_to).await });
    let mut seen = Vec::new();
    while requests.read_buf(&mut seen).await.is_ok_and(|size| size > 0) {
        while let Some(end) = end_of_request(&seen) {
            let request: Vec<u8> = seen.drain(..end).collect();
            bodies.lock().unwrap().push(request[head_size(&request).unwrap()..].to_vec());
            requests_to.write_all(&request).await.unwrap();
        }
    }
}

fn head_size(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4)
}

fn end_of_request(bytes: &[u8]) -> Option<usize> {
    let head = String::from_utf8_lossy(&bytes[..head_size(bytes)?]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
    let end = head.len() + length.trim().parse::<usize>().unwrap();
    (bytes.len() >= end).then_some(end)
}

#[tokio::test]
async fn what_was_offered_is_fetched_with_nothing_but_requests_for_one_block_each() {
    let hosted = Hosted::start(|_| {}).await;
    let host = Host::start(1, Blocks::default()).await;
    let (port, bodies) = watched(&host).await;
    let sample = sample(300_000, 7);
    sample.serve(&sample.v1, &host.blocks, CryptoAlgoId::Aes128);
    hosted.segment_info(port, &sample.v1.segments()[0]).await;
    hosted.settled(5).await;
    let segments = [descriptor(1, BLOCK * 40), descriptor(2, 1000)];
    for segment in &segments {
        for index in 0..segment.block_count().unwrap() {
            let block = opaque(segment.block_length(index) as usize, CryptoAlgoId::Aes128, 1);
            host.blocks.insert(segment.segment_id, index, BlkTail::from(&block));
        }
    }
    let offer = Offer::Batched(BatchedOffer { port, segments: segments.to_vec() });
    assert_eq!(hosted.post(Ipv4Addr::LOCALHOST, &offer.emit()).await.1, Some(Response::Ok));
    assert_eq!(hosted.settled(46).await.pulled_blocks, 46);
    let mut asked = Vec::new();
    for body in bodies.lock().unwrap().iter() {
        // No negotiation, and no lists.
        let Request::GetBlks(request) = RequestMessage::parse(body).unwrap().request else { panic!("{body:x?}") };
        assert_eq!((request.ranges.len(), request.ranges[0].count), (1, 1));
        asked.push((request.segment_id, request.ranges[0].index));
    }
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 46);
}

#[tokio::test]
async fn a_segment_info_is_answered_ok_whatever_becomes_of_it() {
    for blind in [false, true] {
        let hosted = Hosted::start(|config| config.hosted_cache.blind = blind).await;
        let host = Host::start(1, Blocks::default()).await;
        let sample = sample(300_000, 8);
        sample.serve(&sample.v1, &host.blocks, CryptoAlgoId::Aes128);
        let whole = &sample.v1.segments()[0];
        let slice = sample.v1.slice(BLOCK.into()..u64::from(3 * BLOCK)).unwrap();
        let info = |port, segment| Offer::SegmentInfo(SegmentInfo::new(port, ContentTag::BITS, segment));
        let junk =
            SegmentInfo { port: host.port(), content_tag: ContentTag::BITS, segment_information: noise(90, 1).into() };
        let partial = info(host.port(), &slice.segments()[0]);
        let complete = info(host.port(), whole);
        // Of part of the blocks, of all, once more, without a port, of other hashes than those of the blocks.
        let offers = [
            partial,
            complete.clone(),
            complete,
            info(0, whole),
            made_up(host.port(), BLOCK).0,
            Offer::SegmentInfo(junk),
        ];
        for offer in &offers {
            assert_eq!(hosted.offer_v1(offer).await, Response::Ok);
        }
        hosted.node.set_enabled(false);
        assert_eq!(hosted.offer_v1(&offers[0]).await, Response::Ok);
        assert_eq!(hosted.status().offers.segment_info, 7);
    }
}
