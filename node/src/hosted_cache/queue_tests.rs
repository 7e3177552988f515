use peerdist_protocol::hosted_cache::{ContentTag, SegmentDescriptor};

use super::Standing::{Fresh, Proven, Slow};
use super::*;

const LIMITS: QueueLimits = QueueLimits {
    segments: 10,
    segments_per_source: 6,
    bytes: 1000,
    bytes_per_source: 1000,
    runs: 1000,
    runs_per_source: 2,
};

fn host(number: u8) -> Host {
    at([192, 0, 2, number])
}

fn at(ip: [u8; 4]) -> Host {
    Host { address: (ip, 80).into(), source: ip.into() }
}

fn descriptor(number: u8, segment_size: u32) -> SegmentDescriptor {
    SegmentDescriptor {
        block_size: segment_size.min(65_536),
        segment_size,
        content_tag: ContentTag::BITS,
        hash_algorithm: 1,
        segment_id: SegmentId::from_slice(&[number; 32]).unwrap(),
    }
}

fn many(numbers: Range<u8>) -> Content {
    let waiting: Vec<_> = numbers.filter_map(|number| Waiting::new(&descriptor(number, 1000), false)).collect();
    Content::Many(waiting.into_iter())
}

/// Host and segment of the next run.
fn next(queue: &mut Queue) -> Option<(u8, u8)> {
    match queue.next(|_, _| true)? {
        Next::Run(Run { host, segment, .. }) => {
            let IpAddr::V4(ip) = host.source else { panic!() };
            Some((ip.octets()[3], segment.offered.id.as_bytes()[0]))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn sources_take_turns_and_each_has_its_own_limit_of_runs() {
    let mut queue = Queue::new(LIMITS);
    queue.push(host(1), Proven, many(0..5)).unwrap();
    queue.push(host(2), Proven, many(10..12)).unwrap();
    assert_eq!(queue.len(), 7);
    let taken: Vec<_> = std::iter::from_fn(|| next(&mut queue)).collect();
    assert_eq!(taken, [(1, 0), (2, 10), (1, 1), (2, 11)]);
    queue.ended(host(1).source);
    assert_eq!(next(&mut queue), Some((1, 2)));
    assert_eq!(next(&mut queue), None);
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.drop_host(host(1)).0, 2);
    (0..2).for_each(|_| queue.ended(host(1).source));
    (0..2).for_each(|_| queue.ended(host(2).source));
    assert!(queue.is_empty());
}

#[test]
fn it_is_bounded_in_all_by_source_and_in_bytes() {
    let mut queue = Queue::new(LIMITS);
    assert_eq!(queue.push(host(1), Proven, many(0..7)), Err(Full));
    queue.push(host(1), Proven, many(0..6)).unwrap();
    assert_eq!((queue.room(host(1).source, Proven), queue.room(host(2).source, Proven)), (0, 4));
    assert_eq!(queue.push(host(1), Proven, many(0..1)), Err(Full));
    assert_eq!(queue.push(host(2), Proven, many(0..5)), Err(Full));
    queue.push(host(2), Proven, many(0..2)).unwrap();
    let one = || Content::One(Some(Offered::described(&descriptor(9, 1000), false).unwrap()), 600);
    queue.push(host(3), Proven, one()).unwrap();
    assert_eq!(queue.push(host(3), Proven, one()), Err(Full));
    while let Some((number, _)) = next(&mut queue) {
        queue.ended(host(number).source);
    }
    assert_eq!((queue.len(), queue.bytes), (0, 0));
    queue.push(host(3), Proven, one()).unwrap();
    queue.drop_host(host(3));
    assert_eq!((queue.len(), queue.bytes), (0, 0));
}

#[test]
fn a_large_segment_is_fetched_in_runs_and_ends_once() {
    let mut queue = Queue::new(LIMITS);
    let offered = Offered::described(&descriptor(1, 65_536 * 70), false).unwrap();
    queue.push(host(1), Proven, Content::One(Some(offered), 0)).unwrap();
    let mut runs = Vec::new();
    let mut last = Vec::new();
    while let Some(Next::Run(Run { blocks, segment, .. })) = queue.next(|_, _| true) {
        runs.push(blocks);
        queue.ended(host(1).source);
        last.push(segment.run_ended());
    }
    assert_eq!(runs, [0..32, 32..64, 64..70]);
    assert_eq!(last, [false, false, true]);
}

#[test]
fn a_segment_that_has_begun_ends_with_its_source() {
    let mut queue = Queue::new(LIMITS);
    let large = || Content::One(Some(Offered::described(&descriptor(1, 65_536 * 70), false).unwrap()), 10);
    let begin = |queue: &mut Queue| match queue.next(|_, _| true) {
        Some(Next::Run(Run { segment, .. })) => segment,
        other => panic!("{other:?}"),
    };
    queue.push(host(1), Proven, large()).unwrap();
    let segment = begin(&mut queue);
    assert!(queue.drop_host(host(1)).1.is_empty(), "a run is under way");
    assert!(segment.run_ended());
    queue.ended(host(1).source);

    queue.push(host(1), Proven, large()).unwrap();
    assert!(!begin(&mut queue).run_ended());
    assert_eq!(queue.drop_host(host(1)).1.len(), 1);
    queue.ended(host(1).source);
    assert_eq!(next(&mut queue), None);
    assert!(queue.is_empty());
}

#[test]
fn slow_sources_come_last_and_one_run_at_a_time() {
    let mut queue = Queue::new(LIMITS);
    [1, 2, 3]
        .into_iter()
        .for_each(|number| queue.push(host(number), Proven, many(number * 10..number * 10 + 3)).unwrap());
    [1, 2].into_iter().for_each(|number| queue.rank(host(number).source, Slow));
    let taken: Vec<_> = std::iter::from_fn(|| next(&mut queue)).collect();
    assert_eq!(taken, [(3, 30), (3, 31), (1, 10), (2, 20)]);
    assert_eq!(next(&mut queue), None, "each has as many as it may");
    queue.ended(host(1).source);
    assert_eq!(next(&mut queue), Some((1, 11)));
    // It is not for ever.
    queue.push(host(1), Proven, many(13..15)).unwrap();
    assert_eq!([next(&mut queue), next(&mut queue)], [Some((1, 12)), None]);
}

#[test]
fn what_is_left_of_a_run_waits_behind_all_else_of_its_source_and_ends_once() {
    let mut queue = Queue::new(LIMITS);
    let offered = Offered::described(&descriptor(1, 65_536 * 70), false).unwrap();
    queue.push(host(1), Proven, Content::One(Some(offered), 0)).unwrap();
    queue.push(host(1), Proven, many(5..6)).unwrap();
    let next = |queue: &mut Queue| match queue.next(|_, _| true) {
        Some(Next::Run(run)) => {
            queue.ended(host(1).source);
            run
        }
        other => panic!("{other:?}"),
    };
    let first = next(&mut queue);
    let segment = Arc::clone(&first.segment);
    assert!(!first.again);
    queue.put_back(first, 7..32).unwrap();
    for blocks in [32..64, 64..70] {
        assert_eq!(next(&mut queue).blocks, blocks);
        assert!(!segment.run_ended());
    }
    assert_eq!(next(&mut queue).segment.offered.id.as_bytes()[0], 5);
    let left = next(&mut queue);
    assert_eq!((left.blocks.clone(), left.again), (7..32, true));
    // It may also go with its source.
    queue.put_back(left, 7..32).unwrap();
    assert_eq!(queue.left, 1);
    let ended = queue.drop_host(host(1)).1;
    assert!(ended.len() == 1 && Arc::ptr_eq(&ended[0], &segment));
    assert!(queue.next(|_, _| true).is_none() && queue.is_empty());
}

#[test]
fn runs_that_wait_to_go_on_are_bounded() {
    let limits =
        QueueLimits { segments: 10_000, segments_per_source: 10_000, runs: 10_000, runs_per_source: 10_000, ..LIMITS };
    let mut queue = Queue::new(limits);
    let mut runs = Vec::new();
    for _ in 0..=MAX_LEFT / 200 {
        queue.push(host(1), Proven, many(0..200)).unwrap();
        while let Some(Next::Run(run)) = queue.next(|_, _| true) {
            runs.push(run);
        }
    }
    let count = runs.len();
    let waiting = runs.into_iter().filter_map(|run| queue.put_back(run, 0..1).ok()).count();
    assert!(count > MAX_LEFT && waiting == MAX_LEFT);
}

#[test]
fn what_is_not_admitted_is_passed_over_in_bounded_steps() {
    let limits = QueueLimits { segments: 1000, segments_per_source: 1000, ..LIMITS };
    let mut queue = Queue::new(limits);
    (0..4).for_each(|_| queue.push(host(1), Proven, many(0..200)).unwrap());
    queue.push(host(1), Proven, many(200..201)).unwrap();
    let mut steps = 0;
    loop {
        match queue.next(|_, offered| offered.id.as_bytes()[0] == 200) {
            Some(Next::Skipped) => steps += 1,
            Some(Next::Run(Run { segment, .. })) => break assert_eq!(segment.offered.id.as_bytes()[0], 200),
            other => panic!("{other:?}"),
        }
    }
    assert!(steps >= 3, "{steps}");
    assert_eq!(queue.len(), 0);
}

#[test]
fn many_sources_without_anything_that_is_admitted_are_passed_over_in_bounded_steps() {
    let limits = QueueLimits { segments: 10_000, ..LIMITS };
    let mut queue = Queue::new(limits);
    let source = |number: u16| at([10, 0, number.to_be_bytes()[0], number.to_be_bytes()[1]]);
    (0..2000).for_each(|number| queue.push(source(number), Proven, many(0..1)).unwrap());
    (0..1000).for_each(|number| drop(queue.drop_host(source(number))));
    let mut steps = 0;
    loop {
        let mut looked = 0;
        let next = queue.next(|_, _| {
            looked += 1;
            false
        });
        assert!(looked <= LOOK, "{looked}");
        match next {
            Some(Next::Skipped) => steps += 1,
            None => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(steps >= 2000 / LOOK, "{steps}");
    assert!(queue.is_empty());
}

/// An offer of so many segments.
fn batch(count: usize) -> Content {
    let waiting: Vec<_> = (0..count).filter_map(|_| Waiting::new(&descriptor(1, 1000), false)).collect();
    Content::Many(waiting.into_iter())
}

#[test]
fn the_last_part_of_the_queue_is_for_sources_of_which_little_waits() {
    let mut queue = Queue::new(QueueLimits { segments: 16_000, segments_per_source: 16_000, ..LIMITS });
    assert_eq!(queue.room(host(1).source, Proven), 14_000);
    queue.push(host(1), Proven, batch(14_000)).unwrap();
    assert_eq!((queue.room(host(1).source, Proven), queue.room(host(2).source, Proven)), (0, SMALL));
    queue.push(host(2), Proven, batch(SMALL)).unwrap();
    assert_eq!((queue.room(host(2).source, Proven), queue.room(host(3).source, Proven)), (0, 2000 - SMALL));
    // A slow one finds no room there.
    assert_eq!(queue.room(host(3).source, Slow), 0);
}

#[test]
fn hashes_of_few_sources_leave_room_for_those_of_others() {
    let limits = QueueLimits { segments: 16_000, segments_per_source: 16_000, ..LIMITS };
    let mut queue = Queue::new(QueueLimits { bytes: 64 << 20, bytes_per_source: 8 << 20, ..limits });
    let one = || Content::One(Some(Offered::described(&descriptor(9, 1000), false).unwrap()), 32 << 10);
    let fill = |queue: &mut Queue, number, standing| {
        std::iter::repeat_with(|| queue.push(host(number), standing, one())).take_while(Result::is_ok).count()
    };
    assert_eq!((fill(&mut queue, 1, Proven), fill(&mut queue, 2, Slow)), (256, 32), "8 MiB, and 1 MiB of a slow one");
    assert_eq!([3, 4, 5, 6, 7, 8].map(|number| fill(&mut queue, number, Fresh)), [256, 256, 256, 256, 256, 224]);
    assert_eq!((fill(&mut queue, 9, Slow), fill(&mut queue, 10, Fresh)), (0, 32), "the rest is for small ones");
    queue.rank(host(1).source, Slow);
    assert_eq!(queue.trim(host(1).source), 256 - 32);
    (1..=10).for_each(|number| drop(queue.drop_host(host(number))));
    assert_eq!(next(&mut queue), None);
    assert!(queue.is_empty());
}

#[test]
fn little_waits_for_a_slow_source() {
    let mut queue = Queue::new(QueueLimits { segments: 16_000, segments_per_source: 16_000, ..LIMITS });
    (0..30).for_each(|_| queue.push(host(1), Proven, batch(100)).unwrap());
    queue.rank(host(1).source, Slow);
    assert_eq!((queue.trim(host(1).source), queue.len(), queue.room(host(1).source, Slow)), (2000, 1000, 24));
    assert_eq!((queue.trim(host(1).source), queue.trim(host(2).source)), (0, 0));
    queue.drop_host(host(1));
    assert_eq!(next(&mut queue), None);
    assert!(queue.is_empty());
}

#[test]
fn slow_sources_together_have_a_limit_of_runs() {
    let mut queue = Queue::new(QueueLimits { runs: 4, ..LIMITS });
    (1..=3).for_each(|number| queue.push(host(number), Slow, many(number..number + 1)).unwrap());
    assert_eq!([next(&mut queue), next(&mut queue), next(&mut queue)], [Some((1, 1)), Some((2, 2)), None]);
    queue.push(host(4), Proven, many(4..5)).unwrap();
    assert_eq!([next(&mut queue), next(&mut queue)], [Some((4, 4)), None], "others have their own");
    queue.ended(host(4).source);
    assert_eq!(next(&mut queue), None);
    queue.ended(host(1).source);
    assert_eq!(next(&mut queue), Some((3, 3)));
    [2, 3].into_iter().for_each(|number| queue.ended(host(number).source));
    assert!(queue.is_empty());
}

#[test]
fn sources_that_delivered_and_those_that_did_not_keep_places_for_each_other() {
    for (first, second) in [(Proven, Fresh), (Fresh, Proven), (Fresh, Slow)] {
        let mut queue = Queue::new(QueueLimits { runs: 8, ..LIMITS });
        let begin =
            |queue: &mut Queue| std::iter::from_fn(|| next(queue)).map(|(number, _)| number).collect::<Vec<_>>();
        (0..8).for_each(|number| queue.push(host(number), first, many(number..number + 1)).unwrap());
        assert_eq!(begin(&mut queue).len(), 6, "{first:?}");
        queue.push(host(10), second, many(10..11)).unwrap();
        // Those that did not deliver have their part together.
        let expected: &[u8] = if second == Slow { &[] } else { &[10] };
        assert_eq!(begin(&mut queue), expected, "{first:?} {second:?}");
    }
}

#[test]
fn who_comes_behind_many_of_which_nothing_comes_is_soon_next() {
    let mut queue = Queue::new(QueueLimits { runs: 64, segments: 10_000, ..LIMITS });
    let source = |number: u16| at([10, 0, number.to_be_bytes()[0], number.to_be_bytes()[1]]);
    (0..300).for_each(|number| queue.push(source(number), Fresh, many(0..2)).unwrap());
    let mut sources = Vec::new();
    while let Some(Next::Run(run)) = queue.next(|_, _| true) {
        sources.push(run.host.source);
    }
    assert_eq!(sources.len(), 48, "one run each");
    queue.push(host(1), Fresh, many(1..5)).unwrap();
    assert_eq!(next(&mut queue), None);
    let [one, other] = [sources.pop().unwrap(), sources.pop().unwrap()];
    for source in [one, other] {
        queue.rank(source, Slow);
        queue.ended(source);
    }
    let next_two = [next(&mut queue), next(&mut queue)];
    assert!(next_two.contains(&Some((1, 1))), "{next_two:?}");
    // A block came: it has its runs, whatever the others do, and they have its place.
    queue.rank(host(1).source, Proven);
    assert_eq!(next(&mut queue), Some((1, 2)));
    assert!(next(&mut queue).is_some() && next(&mut queue).is_none());
    queue.ended(host(1).source);
    assert_eq!(next(&mut queue), Some((1, 3)));
    // Of the others the oldest gets its turn as well.
    assert!(next_two.iter().any(|next| next.is_some_and(|(number, _)| number == 24)), "{next_two:?}");
}

#[test]
fn runs_count_for_what_is_known_of_their_source_now() {
    let mut queue = Queue::new(QueueLimits { runs: 4, ..LIMITS });
    queue.push(host(1), Proven, many(0..3)).unwrap();
    assert_eq!([next(&mut queue), next(&mut queue), next(&mut queue)], [Some((1, 0)), Some((1, 1)), None]);
    queue.rank(host(1).source, Slow);
    queue.push(host(2), Slow, many(5..6)).unwrap();
    assert_eq!(next(&mut queue), None, "slow ones have two runs already");
    queue.ended(host(1).source);
    assert_eq!(next(&mut queue), Some((2, 5)));
    for standing in [Proven, Fresh, Slow, Proven] {
        queue.rank(host(1).source, standing);
        queue.rank(host(2).source, standing);
    }
    queue.ended(host(2).source);
    queue.ended(host(1).source);
    assert_eq!(next(&mut queue), Some((1, 2)));
    queue.ended(host(1).source);
    assert_eq!(next(&mut queue), None);
    assert!(queue.is_empty());
}

#[test]
fn a_few_that_hold_their_places_for_long_do_not_keep_one_waiting_that_is_quick() {
    let now = Instant::now();
    let limits = QueueLimits { segments: 10_000, segments_per_source: 1000, runs: 8, runs_per_source: 2, ..LIMITS };
    let mut queue = Queue::new(limits);
    (0..6).for_each(|number| queue.push(host(number), Proven, many(0..100)).unwrap());
    queue.push(host(9), Proven, many(0..100)).unwrap();
    // Everybody who gets a place holds it for a second, but for one.
    let mut places: VecDeque<u8> = VecDeque::new();
    let mut began = Vec::new();
    while began.len() < 150 {
        while let Some((host, _)) = next(&mut queue) {
            places.push_back(host);
            began.push(host);
        }
        let ended = places.iter().position(|host| *host == 9).or((!places.is_empty()).then_some(0)).unwrap();
        let ended = places.remove(ended).unwrap();
        queue.held(host(ended).source, Duration::from_millis(if ended == 9 { 10 } else { 1000 }), now);
        queue.ended(host(ended).source);
    }
    // In turns it would be one in seven.
    let quick = began.iter().filter(|host| **host == 9).count();
    assert_eq!(quick, 100, "{began:?}");
}

#[test]
fn those_that_delivered_and_those_that_were_slow_leave_an_eighth_to_new_ones() {
    let limits = QueueLimits { segments: 10_000, segments_per_source: 1000, runs: 64, runs_per_source: 8, ..LIMITS };
    for order in [[Proven, Slow], [Slow, Proven]] {
        let mut queue = Queue::new(limits);
        for (group, standing) in (0..).zip(order) {
            (0..60).for_each(|number| queue.push(at([10, group, 0, number]), standing, many(0..8)).unwrap());
            std::iter::from_fn(|| next(&mut queue)).for_each(drop);
        }
        let held = queue.turns.runs();
        assert_eq!(held, 56, "{order:?}");
        (0..60).for_each(|number| queue.push(at([10, 9, 0, number]), Fresh, many(0..8)).unwrap());
        assert!(std::iter::from_fn(|| next(&mut queue)).count() >= 8);
    }
}
