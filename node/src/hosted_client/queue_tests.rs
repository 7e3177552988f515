//! The queue, driven by hand.

use std::collections::BTreeSet;

use peerdist_protocol::content::{BLOCK_SIZE_V1, ContentInformation, HashOptions, Hasher, ServerSecret};

use super::*;

const S: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn names(count: usize) -> Vec<ServerName> {
    (0..count).map(|number| format!("cache-{number}").parse().unwrap()).collect()
}

/// Contents whose segments are small and all different.
fn described(options: HashOptions, bytes: usize) -> (Option<ContentInformation>, Option<ContentInformation>) {
    let mut state = 7_u64;
    let content: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    })
    .take(bytes)
    .collect();
    let mut hasher = Hasher::new(options, &ServerSecret::from_bytes(*b"secret"));
    hasher.update(&content);
    let hashed = hasher.finish().unwrap();
    (hashed.v1, hashed.v2)
}

fn v2(segments: usize) -> Vec<Segment> {
    let (_, v2) = described(HashOptions { v1: None, v2: true }, segments * 140_000);
    let all = v2.unwrap().segments().to_vec();
    assert!(all.len() >= segments);
    all.into_iter().take(segments).collect()
}

fn v1(blocks: u32, algorithm: HashAlgorithm) -> Segment {
    let (v1, _) = described(HashOptions { v1: Some(algorithm), v2: false }, blocks as usize * BLOCK_SIZE_V1 as usize);
    v1.unwrap().segments()[0].clone()
}

fn add(queue: &mut Queue, now: Moment, segment: &Segment) -> Option<usize> {
    queue.is_new(now, segment, 0, Tag::NONE, || 1)
}

fn add_all(queue: &mut Queue, segments: &[Segment]) {
    for segment in segments {
        add(queue, ms(0), segment).unwrap();
    }
}

/// An entry that waits since the beginning, for a segment with an id of its own.
fn numbered(base: &Segment, number: usize) -> Entry {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let mut descriptor = SegmentDescriptor::new(base, ContentTag::PEERDIST).unwrap();
    descriptor.segment_id = SegmentId::from_slice(&id).unwrap();
    Entry { what: What::Described(descriptor), since: ms(0) }
}

fn sent(queue: &mut Queue, now: Moment, server: usize) -> Vec<Entry> {
    match queue.next(now, server) {
        Next::Send(entries) => entries,
        Next::Wait(until) => panic!("waits until {until:?}"),
    }
}

#[test]
fn a_batch_is_128_segments_or_what_came_until_a_second_ago() {
    let segments = v2(200);
    let mut queue = Queue::new(Version::V2, names(1));
    assert_eq!(queue.next(ms(0), 0), Next::Wait(None));
    for (number, segment) in segments.iter().enumerate() {
        assert_eq!(add(&mut queue, ms(number as u64), segment), Some(0));
        if number < 127 {
            let due = ms(number as u64) + S;
            assert_eq!(queue.next(ms(number as u64), 0), Next::Wait(Some(due)), "a further one restarts the second");
        }
    }
    let first = sent(&mut queue, ms(199), 0);
    let ids: Vec<_> = first.iter().map(|entry| entry.what.id()).collect();
    assert_eq!(ids, segments[..128].iter().map(Segment::id).collect::<Vec<_>>());
    assert_eq!(queue.next(ms(1198), 0), Next::Wait(Some(ms(1199))));
    assert_eq!(sent(&mut queue, ms(1199), 0).len(), 72);
    assert_eq!(queue.next(ms(9000), 0), Next::Wait(None));
}

#[test]
fn an_offer_names_sizes_hash_and_tag() {
    let mut queue = Queue::new(Version::V2, names(1));
    let small = &v2(1)[0];
    add(&mut queue, ms(0), small);
    queue.is_new(ms(0), &v1(1, HashAlgorithm::Sha256), 0, Tag { owner: 5, bytes: *b"an application's" }, || 1);
    let described: Vec<_> = sent(&mut queue, ms(1000), 0).into_iter().map(|entry| entry.what).collect();
    let [What::Described(one), What::Described(other)] = described[..] else { panic!("{described:?}") };
    assert_eq!((one.block_size, one.segment_size, one.hash_algorithm), (small.length(), small.length(), 0x04));
    assert_eq!(one.content_tag, ContentTag::PEERDIST);
    assert_eq!((other.block_size, other.segment_size, other.hash_algorithm), (65_536, 65_536, 0x01));
    assert_eq!(other.content_tag, ContentTag(*b"an application's"));
}

#[test]
fn a_segment_of_version_1_is_offered_at_every_fifth_of_new_blocks() {
    let segment = v1(10, HashAlgorithm::Sha256);
    let mut queue = Queue::new(Version::V2, names(1));
    let mut offered = Vec::new();
    for block in 0..10 {
        // The same block twice is one new block.
        for _ in 0..2 {
            if queue.is_new(ms(0), &segment, block, Tag::NONE, || block + 1).is_some() {
                offered.push(block + 1);
                assert_eq!(sent(&mut queue, ms(1000), 0).len(), 1);
            }
        }
    }
    // Nothing is left to count once all blocks are here; a second look at the last one begins anew.
    assert_eq!(offered[..5], [2, 4, 6, 8, 10]);
    assert!(queue.partial.len() <= 1 && queue.by_age.len() == queue.partial.len());
}

#[test]
fn the_last_missing_blocks_of_a_segment_are_offered_however_few_they_are() {
    let segment = v1(10, HashAlgorithm::Sha256);
    let mut queue = Queue::new(Version::V2, names(1));
    // Nine of ten came from the hosted cache.
    assert_eq!(queue.is_new(ms(0), &segment, 3, Tag::NONE, || 9), None);
    assert_eq!(queue.is_new(ms(0), &segment, 4, Tag::NONE, || 10), Some(0));
}

#[test]
fn a_segment_waits_once_however_often_it_is_new() {
    let segments = v2(3);
    let mut queue = Queue::new(Version::V2, names(1));
    for _ in 0..3 {
        add_all(&mut queue, &segments);
    }
    assert_eq!(queue.waiting(0), 3);
    assert_eq!(sent(&mut queue, ms(1000), 0).len(), 3);
    add(&mut queue, ms(1001), &segments[0]);
    assert_eq!(queue.waiting(0), 1, "what was sent may be offered again");
}

#[test]
fn each_segment_goes_to_the_hosted_cache_that_its_readers_ask_first() {
    let segments = v2(60);
    let names = names(3);
    let mut queue = Queue::new(Version::V2, names.clone());
    let mut used = BTreeSet::new();
    for segment in &segments {
        let server = add(&mut queue, ms(0), segment).unwrap();
        assert_eq!(server, order(&names, &segment.id())[0]);
        used.insert(server);
    }
    assert_eq!(used.len(), 3);
    assert_eq!((0..3).map(|server| queue.waiting(server)).sum::<usize>(), 60);
}

#[test]
fn a_failed_offer_goes_to_the_next_hosted_cache_at_once_and_the_first_is_left_alone() {
    let segments = v2(40);
    let mut queue = Queue::new(Version::V2, names(2));
    add_all(&mut queue, &segments);
    assert!(queue.waiting(0) > 0 && queue.waiting(1) > 0);
    let failed = sent(&mut queue, ms(1000), 0);
    assert_eq!(queue.failed(ms(2000), 0, failed, Failure::Passing), BTreeSet::from([0, 1]));
    assert_eq!((queue.waiting(0), queue.waiting(1)), (0, 40));
    // What comes meanwhile goes to the other one.
    let more = v2(60).split_off(40);
    for segment in &more {
        assert_eq!(add(&mut queue, ms(2000), segment), Some(1));
    }
    let all = sent(&mut queue, ms(3000), 1);
    assert_eq!(all.len(), 60);
    // Nobody is left: all wait for the one that is looked after first.
    assert_eq!(queue.failed(ms(4000), 1, all, Failure::Passing), BTreeSet::from([0, 1]));
    assert_eq!((queue.waiting(0), queue.waiting(1), queue.counts().given_up), (60, 0, 0));
    assert_eq!(queue.next(ms(5000), 0), Next::Wait(Some(ms(2000) + REST_TIME)));
    let again = sent(&mut queue, ms(2000) + REST_TIME, 0);
    queue.answered(0);
    assert_eq!((again.len(), queue.waiting(0) + queue.waiting(1)), (60, 0));
}

#[test]
fn what_waits_behind_a_failed_offer_goes_to_the_next_hosted_cache_with_it() {
    let mut queue = Queue::new(Version::V2, names(2));
    let base = v2(1).remove(0);
    for number in 0..1000 {
        queue.push(ms(0), 0, numbered(&base, number));
    }
    let failed = sent(&mut queue, ms(1000), 0);
    assert_eq!(failed.len(), MAX_SEGMENT_DESCRIPTORS);
    queue.failed(ms(1000), 0, failed, Failure::Passing);
    assert_eq!((queue.waiting(0), queue.waiting(1)), (0, 1000));
    assert!(queue.lines[0].ids.is_empty());
}

#[test]
fn the_only_hosted_cache_is_tried_again_after_rests_that_grow_and_takes_what_waited() {
    let mut queue = Queue::new(Version::V2, names(1));
    add_all(&mut queue, &v2(5));
    let mut now = ms(1000);
    for rest in [REST_TIME, 2 * REST_TIME, 4 * REST_TIME, 4 * REST_TIME] {
        let entries = sent(&mut queue, now, 0);
        assert_eq!(entries.len(), 5);
        assert_eq!(queue.failed(now, 0, entries, Failure::Passing), BTreeSet::from([0]));
        assert_eq!(queue.next(now, 0), Next::Wait(Some(now + rest)));
        now += rest;
    }
    assert_eq!(sent(&mut queue, now, 0).len(), 5);
    queue.answered(0);
    // The next failure is the first one again.
    add_all(&mut queue, &v2(6)[5..]);
    let entries = sent(&mut queue, now, 0);
    queue.failed(now, 0, entries, Failure::Passing);
    assert_eq!(queue.rests_until(now, 0), Some(now + REST_TIME));
    assert_eq!(queue.counts(), Counts::default());
}

#[test]
fn a_segment_is_given_up_with_the_first_failure_after_15_minutes() {
    for (failure, attempts) in [(Failure::Passing, 10), (Failure::Lasting, 4)] {
        let mut queue = Queue::new(Version::V2, names(1));
        add_all(&mut queue, &v2(5));
        let (mut now, mut made) = (ms(1000), 0);
        while queue.waiting(0) > 0 {
            if let Some(until) = queue.rests_until(now, 0) {
                now = until;
            }
            if now < MAX_AGE {
                assert_eq!(queue.counts().given_up, 0, "{failure:?}");
            }
            let entries = sent(&mut queue, now, 0);
            queue.failed(now, 0, entries, failure);
            made += 1;
        }
        assert_eq!((queue.counts().given_up, made), (5, attempts), "{failure:?}");
        assert!(now < MAX_AGE + LONG_REST_TIME, "{failure:?}: {now:?}");
        // What is new waits for the end of the rest.
        assert_eq!(add(&mut queue, now, &v2(6)[5]), Some(0));
        assert_eq!(queue.next(now, 0), Next::Wait(queue.rests_until(now, 0)));
    }
}

#[test]
fn what_waits_behind_a_failed_offer_is_given_up_for_its_age_too() {
    let mut queue = Queue::new(Version::V2, names(1));
    let base = v2(1).remove(0);
    for number in 0..1000 {
        queue.push(ms(0), 0, numbered(&base, number));
    }
    let entries = sent(&mut queue, MAX_AGE, 0);
    queue.push(MAX_AGE, 0, Entry { since: MAX_AGE, ..numbered(&base, 1000) });
    queue.failed(MAX_AGE, 0, entries, Failure::Passing);
    assert_eq!((queue.waiting(0), queue.counts().given_up), (1, 1000));
    assert_eq!(queue.lines[0].ids.len(), 1);
}

#[test]
fn an_administrator_has_five_minutes() {
    let mut queue = Queue::new(Version::V2, names(1));
    add_all(&mut queue, &v2(5));
    let entries = sent(&mut queue, ms(1000), 0);
    queue.failed(ms(1000), 0, entries, Failure::Lasting);
    add(&mut queue, ms(2000), &v2(6)[5]);
    assert_eq!(queue.next(ms(2000), 0), Next::Wait(Some(ms(1000) + LONG_REST_TIME)));
    queue.answered(0);
    assert_eq!(sent(&mut queue, ms(9000), 0).len(), 6);
}

#[test]
fn a_full_queue_drops_the_oldest_and_counts_it() {
    let mut queue = Queue::new(Version::V2, names(1));
    let base = v2(1).remove(0);
    let entry = |number| numbered(&base, number);
    for number in 0..MAX_WAITING + 10 {
        queue.push(ms(0), 0, entry(number));
    }
    assert_eq!((queue.waiting(0), queue.counts().dropped), (MAX_WAITING, 10));
    assert_eq!(sent(&mut queue, ms(0), 0)[0], entry(10));
    assert_eq!(queue.lines[0].ids.len(), queue.waiting(0));
}

#[test]
fn what_a_version_cannot_name_is_counted() {
    let long = v1(1, HashAlgorithm::Sha512);
    let mut queue = Queue::new(Version::V2, names(1));
    assert_eq!(add(&mut queue, ms(0), &long), None);
    assert_eq!(queue.counts().not_expressible, 1);
    let mut queue = Queue::new(Version::V1, names(1));
    assert_eq!(add(&mut queue, ms(0), &long), Some(0));
    assert_eq!(add(&mut queue, ms(0), &v2(1)[0]), None);
    assert_eq!(queue.counts().not_expressible, 1);
    let entries = sent(&mut queue, ms(1000), 0);
    assert!(matches!(&entries[0].what, What::Whole { segment, .. } if **segment == long));
}
