//! Messages byte by byte: good ones are followed; bad ones are answered as [MS-PCHC] 3.1.5 says, and so is the next one; what clients in the
//! field send beside them changes nothing.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;

use bytes::Bytes;
use peerdist_protocol::content::{CryptoAlgoId, SegmentId};
use peerdist_protocol::hosted_cache::{
    BatchedOffer, ContentTag, Offer, Response, SegmentDescriptor, SegmentInfo, Version,
};
use peerdist_protocol::retrieval::{BlkTail, Request, RequestMessage};

use crate::descriptor;
use crate::messages::watched;
use crate::support::{Blocks, Host, Hosted, opaque, request, sample};

/// A message that is no good, and where it is sent.
struct Bad {
    name: String,
    path: Version,
    bytes: Vec<u8>,
    /// Whether it is answered OK and ignored; else it is dropped.
    is_ignored: bool,
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/vectors/pchc")
}

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name).with_extension("bin")).unwrap()
}

/// Names of all vectors of requests, and what is expected of who gets them.
fn requests() -> Vec<(String, String)> {
    let paths = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let jsons = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = jsons.map(|path| {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        ["name", "expect"].map(|field| json[field].as_str().unwrap().to_owned()).into()
    });
    read.filter(|(name, _): &(String, String)| !name.contains("response")).collect()
}

/// The path that a vector's message is sent to.
fn path(name: &str) -> Version {
    if name.contains("batched") { Version::V2 } else { Version::V1 }
}

/// The bad requests of the vectors.
fn vectors() -> Vec<Bad> {
    let bad = requests().into_iter().filter(|(name, _)| name.starts_with("neg_"));
    bad.map(|(name, expect)| Bad {
        path: path(&name),
        bytes: vector(&name),
        is_ignored: expect.starts_with("HTTP 200 + OK"),
        name,
    })
    .collect()
}

/// Good messages with one thing changed, each in a way that no vector has.
fn changed() -> Vec<Bad> {
    let mut all = Vec::new();
    let mut add = |name: &str, path, bytes, is_ignored| {
        all.push(Bad { name: name.to_owned(), path, bytes, is_ignored });
    };
    let with = |good: &[u8], at: usize, new: &[u8]| {
        let mut bytes = good.to_vec();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    let initial = vector("initial_offer_sha256");
    let info = vector("segment_info_sha256_two_blocks");
    let batch = vector("batched_offer_one_truncsha512");

    // Framing: dropped.
    for (good, path, other) in [(&initial, Version::V1, 2), (&info, Version::V1, 2), (&batch, Version::V2, 1)] {
        add("nothing", path, Vec::new(), false);
        add("half a header", path, good[..8].to_vec(), false);
        add("another minor version", path, with(good, 0, &[1]), false);
        add("the other major version", path, with(good, 1, &[other]), false);
        add("version 0xfefe", path, with(good, 0, &[0xfe; 2]), false);
        add("type 0xfefe", path, with(good, 2, &[0xfe; 2]), false);
        add("the version of its path and a type of the other", path, with(good, 2, &[0, 2 * other - 1]), false);
    }
    add("the message of version 2.0 at the path of version 1.0", Version::V1, batch.clone(), false);
    add("the message of version 1.0 at the path of version 2.0", Version::V2, initial.clone(), false);
    for size in [0, 1, 31, 33, 65] {
        add("the length of no hash", Version::V1, [&initial[..16], &vec![7; size]].concat(), false);
    }
    add("half a content tag", Version::V1, info[..24].to_vec(), false);
    add("SizeOfContentTag 15", Version::V2, with(&batch, 24, &[0, 15]), false);
    add("SizeOfContentTag 17", Version::V2, with(&batch, 24, &[0, 17]), false);
    add("a byte behind the last descriptor", Version::V2, [&batch[..], &[0]].concat(), false);
    add("half of a second descriptor", Version::V2, [&batch[..], &batch[16..40]].concat(), false);
    add("little-endian SizeOfContentTag", Version::V2, with(&batch, 24, &[16, 0]), false);

    // Content: answered OK.
    add("no information", Version::V1, info[..32].to_vec(), true);
    add("information of version 2.0", Version::V1, with(&info, 32, &[0, 2]), true);
    add("no segment", Version::V1, with(&info, 46, &[0; 4]), true);
    add("cbSegment 0", Version::V1, with(&info, 58, &[0; 4]), true);
    add("cbSegment above 32 MiB", Version::V1, with(&info, 58, &0x0200_0001_u32.to_le_bytes()), true);
    add("cbBlockSize 0", Version::V1, with(&info, 62, &[0; 4]), true);
    add("cbBlockSize 32768", Version::V1, with(&info, 62, &0x8000_u32.to_le_bytes()), true);
    add("another HoD than that of the hashes", Version::V1, with(&info, 66, &[!info[66]]), true);
    add("another hash than those of HoD", Version::V1, with(&info, info.len() - 1, &[!info[info.len() - 1]]), true);
    add("more hashes announced than there are", Version::V1, with(&info, 130, &3_u32.to_le_bytes()), true);
    add("more hashes than a segment has blocks", Version::V1, with(&info, 130, &513_u32.to_le_bytes()), true);
    add("half of a hash", Version::V1, info[..info.len() - 16].to_vec(), true);
    for algorithm in [0, 2, 3, 5, 0xff] {
        add("an algorithm that does not exist", Version::V2, with(&batch, 42, &[algorithm]), true);
    }
    let sizes = |block: u32, segment: u32| [block.to_be_bytes(), segment.to_be_bytes()].concat();
    add("BlockSize 0", Version::V2, with(&batch, 16, &sizes(0, 1000)), true);
    add("SegmentSize 0", Version::V2, with(&batch, 16, &sizes(1000, 0)), true);
    add("a segment above 128 KiB", Version::V2, with(&batch, 16, &sizes(131_073, 131_073)), true);
    add("sizes without end", Version::V2, with(&batch, 16, &[0xff; 8]), true);
    let sha256 = with(&batch, 42, &[1]);
    add("a segment above 32 MiB", Version::V2, with(&sha256, 16, &sizes(65_536, 0x0200_0001)), true);
    add("more than 512 blocks", Version::V2, with(&sha256, 16, &sizes(65_535, 0x0200_0000)), true);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_good_vectors_are_answered_and_what_they_name_is_fetched() {
    let good: Vec<_> = requests().into_iter().filter(|(_, expect)| expect.starts_with("server:")).collect();
    assert_eq!(good.len(), 9);
    for (name, _) in good {
        let hosted = Hosted::start(|_| {}).await;
        let host = Host::start(1, Blocks::default()).await;
        let (port, bodies) = watched(&host).await;
        let mut bytes = vector(&name);
        bytes[8..10].copy_from_slice(&port.to_be_bytes());
        let request = request(path(&name), "", &bytes);
        let (response, ids) = match Offer::parse(path(&name), &bytes.into()).unwrap() {
            Offer::Initial(_) => (Response::Interested, Vec::new()),
            Offer::SegmentInfo(offer) => (Response::Ok, vec![offer.segment().unwrap().id()]),
            Offer::Batched(offer) => {
                for segment in &offer.segments {
                    for index in 0..segment.block_count().unwrap() {
                        let block = opaque(segment.block_length(index) as usize, CryptoAlgoId::Aes128, 1);
                        host.blocks.insert(segment.segment_id, index, BlkTail::from(&block));
                    }
                }
                (Response::Ok, offer.segments.iter().map(|segment| segment.segment_id).collect())
            }
        };
        let answer = match path(&name) {
            Version::V1 => hosted.send_tls(request).await,
            Version::V2 => hosted.send(host.ip, &request).await,
        };
        assert_eq!(answer, ("200".to_owned(), Some(response)), "{name}");
        hosted.settled(ids.len() as u64).await;
        let asked: BTreeSet<_> = bodies.lock().unwrap().iter().map(|body| asked_for(body)).collect();
        assert_eq!(asked, ids.into_iter().collect(), "{name}");
    }
}

/// The segment of a request for a block.
fn asked_for(body: &[u8]) -> SegmentId {
    match RequestMessage::parse(body).unwrap().request {
        Request::GetBlks(request) => request.segment_id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_messages_are_dropped_or_answered_ok_and_ignored_and_the_next_one_is_followed() {
    let hosted = Hosted::start(|_| {}).await;
    let host = Host::start(1, Blocks::default()).await;
    let mut counts = [0, 0];
    for (number, bad) in (0..).zip(vectors().into_iter().chain(changed())) {
        let mut bytes = bad.bytes;
        // Somebody is there, should it be followed.
        if let Some(port) = bytes.get_mut(8..10) {
            port.copy_from_slice(&host.port().to_be_bytes());
        }
        let request = request(bad.path, "", &bytes);
        let (status, response) = match bad.path {
            Version::V1 => hosted.send_tls(request).await,
            Version::V2 => hosted.send(host.ip, &request).await,
        };
        let expected = if bad.is_ignored { ("200", Some(Response::Ok)) } else { ("400", None) };
        assert_eq!((status.as_str(), response), expected, "{}", bad.name);
        counts[usize::from(bad.is_ignored)] += 1;

        let segment = descriptor(number, 1000);
        assert_eq!(hosted.initial(host.port(), segment.segment_id).await, Response::Interested, "after {}", bad.name);
        host.blocks.insert(segment.segment_id, 0, BlkTail::from(&opaque(1000, CryptoAlgoId::Aes128, 1)));
        hosted.offer(&host, &[segment]).await;
        let followed = u64::from(number) + 1;
        hosted.until(&bad.name, |status| status.pulled_segments == followed).await;
    }
    let [dropped, ignored] = counts;
    assert_eq!((dropped, ignored), (10 + 34, 5 + 23));
    let status = hosted.status();
    assert_eq!(status.offers_discarded.values().sum::<u64>(), dropped);
    assert_eq!(status.ignored.values().sum::<u64>(), ignored);
    assert_eq!((status.pulled_blocks, status.pulls_failed.len()), (dropped + ignored, 0), "nothing else was fetched");
    assert_eq!(host.blocks.asked(), dropped + ignored);
}

#[tokio::test]
async fn blocks_whose_sizes_contradict_themselves_do_not_enter_the_cache() {
    let hosted = Hosted::start(|_| {}).await;
    let host = Host::start(2, Blocks::default()).await;
    let good = BlkTail::from(&opaque(1000, CryptoAlgoId::Aes128, 1));
    let (size, end) = (good.size_of_block, good.bytes.len());
    let with_size = |size_of_block| BlkTail { size_of_block, ..good.clone() };
    let with_iv = |announced: u8, bytes: usize| {
        let mut tail = good.bytes[..end - 16].to_vec();
        *tail.last_mut().unwrap() = announced;
        tail.resize(end - 16 + bytes, 7);
        BlkTail { bytes: Bytes::from(tail), ..good.clone() }
    };
    // SizeOfBlock, SizeOfIVBlock, and an IV of another size than AES has.
    let bad = [
        with_size(size - 4),
        with_size(size + 4),
        with_size(u32::MAX),
        with_iv(15, 16),
        with_iv(17, 16),
        with_iv(0, 16),
        with_iv(0, 0),
        with_iv(8, 8),
        with_iv(32, 32),
    ];
    let segments: Vec<_> = (0..=bad.len() as u8).map(|number| descriptor(number, 1000)).collect();
    for (segment, tail) in segments.iter().zip(bad.iter().chain([&good])) {
        host.blocks.insert(segment.segment_id, 0, tail.clone());
    }
    hosted.offer(&host, &segments).await;
    let status = hosted.settled(segments.len() as u64).await;
    assert_eq!((status.pulled_blocks, status.strikes), (1, bad.len() as u64), "{status:#?}");
    for segment in &segments[..bad.len()] {
        assert!(hosted.get(segment.segment_id, 0).await.is_none());
    }
    assert!(hosted.get(segments[bad.len()].segment_id, 0).await.is_some());
}

#[tokio::test]
async fn what_was_offered_is_fetched_from_where_the_connection_came_from_whatever_the_headers_say() {
    let hosted = Hosted::start(|_| {}).await;
    let host = Host::start(2, Blocks::default()).await;
    let segment = descriptor(1, 1000);
    host.blocks.insert(segment.segment_id, 0, BlkTail::from(&opaque(1000, CryptoAlgoId::Aes128, 1)));
    let offer = Offer::Batched(BatchedOffer { port: host.port(), segments: vec![segment] });
    let headers = "X-Forwarded-For: 127.0.0.3\r\nX-Real-IP: 127.0.0.3\r\nForwarded: for=127.0.0.3\r\n";
    let answer = hosted.send(host.ip, &request(Version::V2, headers, &offer.emit())).await;
    assert_eq!(answer, ("200".to_owned(), Some(Response::Ok)));
    assert_eq!(hosted.settled(1).await.pulled_blocks, 1);
}

#[tokio::test]
async fn segments_are_counted_by_their_tags_and_all_that_are_unknown_together() {
    let hosted = Hosted::start(|_| {}).await;
    let host = Host::start(1, Blocks::default()).await;
    let filled = ContentTag(*b"WebIO\0whatever!!");
    let tags = [
        ContentTag::WININET,
        ContentTag::WEBIO,
        filled,
        ContentTag::BITS,
        ContentTag::SMB,
        ContentTag::default(),
        ContentTag(*b"of somebody else"),
    ];
    let segments: Vec<_> = (0..)
        .zip(tags)
        .map(|(number, content_tag)| SegmentDescriptor { content_tag, ..descriptor(number, 1000) })
        .collect();
    for segment in &segments {
        host.blocks.insert(segment.segment_id, 0, BlkTail::from(&opaque(1000, CryptoAlgoId::Aes128, 1)));
    }
    hosted.offer(&host, &segments).await;
    hosted.settled(7).await;
    let sample = sample(1000, 9);
    sample.serve(&sample.v1, &host.blocks, CryptoAlgoId::Aes128);
    let segment = &sample.v1.segments()[0];
    let offer = Offer::SegmentInfo(SegmentInfo::new(host.port(), ContentTag::SMB, segment));
    assert_eq!(hosted.offer_v1(&offer).await, Response::Ok);
    let status = hosted.settled(8).await;
    let counts: Vec<_> =
        status.tags.iter().map(|(name, tag)| (*name, tag.segments_offered, tag.pulled_segments)).collect();
    assert_eq!(counts, [("BITS-4.0", 1, 1), ("SMB", 2, 2), ("WebIO", 2, 2), ("WinINet", 1, 1), ("other", 2, 2)]);
}

#[tokio::test]
async fn an_offer_has_no_answer_but_at_its_own_url() {
    let hosted = Hosted::start(|_| {}).await;
    let host = Host::start(1, Blocks::default()).await;
    let batched = Offer::Batched(BatchedOffer { port: host.port(), segments: vec![descriptor(1, 1000)] }).emit();
    let initial = vector("initial_offer_sha256");
    let id = SegmentId::from_slice(&initial[16..]).unwrap();
    let refused = ("404".to_owned(), None);
    assert_eq!(hosted.send(Ipv4Addr::LOCALHOST, &request(Version::V1, "", &initial)).await, refused);
    assert_eq!(hosted.send_tls(request(Version::V2, "", &batched)).await, refused);
    let status = hosted.status();
    assert_eq!((status.offers.initial_offer, status.offers.batched_offer), (0, 0));
    assert_eq!(hosted.initial(host.port(), id).await, Response::Interested);
    assert_eq!(hosted.post(Ipv4Addr::LOCALHOST, &batched).await, ("200".to_owned(), Some(Response::Ok)));
}
