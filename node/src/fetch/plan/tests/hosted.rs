//! A plan that asks hosted caches.

use super::*;
use crate::fetch::peers::Outcome;

/// A plan that asks hosted caches, and those in the book.
fn hosted(mut desk: Desk, caches: u8) -> (Desk, Vec<HostId>) {
    desk.plan.set_finding(desk.now, Finding::HostedCaches);
    let caches = (0..caches).map(|number| {
        let cache = desk.book.add_hosted_cache(desk.now);
        desk.book.set_addresses(cache, vec![peer(100 + number)]);
        cache
    });
    let caches = caches.collect();
    (desk, caches)
}

#[test]
fn hosted_caches_are_asked_for_all_segments_of_a_run() {
    let (mut desk, caches) = hosted(Desk::v2(1000), 1);
    let actions = desk.actions();
    let asked: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Probe { ids, finding: Finding::HostedCaches, .. } => Some(ids.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [16, 32, 64, 128]);
    assert_eq!(asked.concat(), (0..240).map(id).collect::<Vec<_>>());
    // What it lists is fetched from it, the rest is not waited for.
    let Action::Probe { ticket, .. } = &actions[0] else { panic!("{actions:?}") };
    desk.book.has_segments(desk.now, caches[0], [&id(0), &id(1), &id(3)]);
    desk.end(*ticket);
    let fetches = desk.fetches();
    assert_eq!(fetches.iter().map(|fetch| segment(fetch.1)).collect::<Vec<_>>(), [0, 1], "two until it delivered");
    assert!(fetches.iter().all(|fetch| fetch.2 == peer(100)));
    for (fetch, ..) in fetches {
        assert_eq!(desk.answer(fetch, Answer::Block), Delivery::Wanted);
    }
    desk.plan.wait_at(desk.now, 2 * u64::from(SEGMENT), None);
    assert_eq!(desk.fetches().iter().map(|fetch| segment(fetch.1)).collect::<Vec<_>>(), [3]);
    let missing = desk.missing(2 * u64::from(SEGMENT)).unwrap();
    assert_eq!(missing, Missing { range: 200_000..300_000, reason: MissingReason::NotInHostedCache });
}

#[test]
fn a_hosted_cache_that_is_full_of_requests_and_ends_none_is_left_alone() {
    let (mut desk, caches) = hosted(Desk::v2(80), 1);
    let probes = desk.probes();
    let ids: Vec<_> = (0..80).map(id).collect();
    // The list with the block that is waited for comes last.
    desk.book.has_segments(desk.now, caches[0], &ids[16..]);
    probes[1..].iter().for_each(|(ticket, _)| desk.end(*ticket));
    assert_eq!(desk.fetches().len(), 2);
    desk.book.has_segments(desk.now, caches[0], &ids[..16]);
    desk.end(probes[0].0);
    assert!(desk.fetches().is_empty());
    let mut position = 0;
    for (patience, is_out) in [(5000, false), (2500, true)] {
        desk.now += ms(patience);
        desk.poll();
        let missing = desk.missing(position).unwrap();
        assert_eq!(missing.reason, MissingReason::TooSlow);
        let standing = desk.book.standing(desk.now, caches[0]).unwrap();
        assert_eq!(matches!(standing, Standing::Out { .. }), is_out, "{standing:?}");
        position = missing.range.end;
        desk.plan.wait_at(desk.now, position, None);
        desk.poll();
    }
}

#[test]
fn a_hosted_cache_whose_lists_keep_a_reader_waiting_is_left_alone() {
    let (mut desk, caches) = hosted(Desk::v2(1000), 1);
    let [first, second] = desk.probes()[..2].iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>()[..] else {
        panic!()
    };
    let asked = desk.now;
    let answered = |desk: &mut Desk, ticket| {
        desk.plan.was_asked(desk.now, &mut desk.book, ticket, caches[0], asked);
        desk.book.standing(desk.now, caches[0]).unwrap()
    };
    desk.now += ms(3900);
    for _ in 0..2 {
        assert_eq!(answered(&mut desk, second), Standing::Ready, "nobody waits for these yet");
    }
    assert_eq!(answered(&mut desk, first), Standing::Ready);
    desk.plan.wait_at(desk.now, 16 * u64::from(SEGMENT), None);
    desk.now += ms(3900);
    assert!(matches!(answered(&mut desk, second), Standing::Out { .. }));
}

#[test]
fn what_a_hosted_cache_does_not_list_is_not_asked_for_again_for_fifteen_seconds() {
    let (mut desk, _) = hosted(Desk::v2(10), 1);
    let probes = desk.probes();
    assert_eq!(probes.len(), 1);
    desk.end(probes[0].0);
    assert_eq!(desk.missing(0).unwrap().reason, MissingReason::NotInHostedCache);
    // The reader waits on, as one does who comes back to the same place.
    for second in 1..=15 {
        desk.now = ms(1000 + second * 1000);
        desk.plan.wait_at(desk.now, 0, None);
        assert_eq!(desk.probes().len(), usize::from(second == 15), "after {second} s");
    }
}

#[test]
fn a_hosted_cache_gets_32_requests_at_once_as_soon_as_it_delivered() {
    let (mut desk, caches) = hosted(Desk::v2(80), 1);
    let probes = desk.probes();
    let ids: Vec<_> = (0..80).map(id).collect();
    desk.book.has_segments(desk.now, caches[0], &ids);
    probes.iter().for_each(|(ticket, _)| desk.end(*ticket));
    let first = desk.fetches();
    assert_eq!(first.len(), 2);
    assert_eq!(desk.answer(first[0].0, Answer::Block), Delivery::Wanted);
    assert_eq!(desk.fetches().len() + 1, 32);
    assert_eq!(desk.answer(first[1].0, Answer::TimedOut), Delivery::Ignored);
    assert_eq!(desk.fetches().len(), 1, "a failure does not halve them");
}

#[test]
fn a_hosted_cache_without_lists_may_hold_anything_and_is_believed_when_it_does_not() {
    let (mut desk, caches) = hosted(Desk::v1(1, 10), 1);
    let probes = desk.probes();
    desk.book.may_have_segments(desk.now, caches[0], [&id(0)]);
    desk.end(probes[0].0);
    // From four blocks on it is asked for a list of them.
    let actions = desk.actions();
    let [Action::List { id: list, blocks, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(blocks.len(), 10);
    desk.plan.listed(desk.now, &mut desk.book, *list, Ok(BlockRanges::default()));
    assert!(desk.actions().is_empty());
    let missing = desk.missing(0).unwrap();
    assert_eq!((missing.range, missing.reason), (0..655_360, MissingReason::NotInHostedCache));

    // Below that the blocks themselves are asked for, and one that is not there does not speak for the others.
    let (mut desk, caches) = hosted(Desk::v1(1, 3), 1);
    let probes = desk.probes();
    desk.book.may_have_segments(desk.now, caches[0], [&id(0)]);
    desk.end(probes[0].0);
    let fetches = desk.fetches();
    assert_eq!(fetches.len(), 2);
    assert_eq!(desk.answer(fetches[0].0, Answer::Empty), Delivery::Ignored);
    assert_eq!(desk.answer(fetches[1].0, Answer::Block), Delivery::Wanted);
    assert_eq!(desk.fetches().len(), 1);
    assert_eq!(desk.missing(0).unwrap().range, 0..65_536);
}

#[test]
fn a_whole_segment_that_a_hosted_cache_does_not_have_is_asked_for_once() {
    let (mut desk, caches) = hosted(Desk::v2(2), 1);
    let probes = desk.probes();
    desk.book.may_have_segments(desk.now, caches[0], [&id(0), &id(1)]);
    desk.end(probes[0].0);
    let fetches = desk.fetches();
    assert_eq!(fetches.len(), 2);
    assert_eq!(desk.answer(fetches[0].0, Answer::Empty), Delivery::Ignored);
    assert!(desk.fetches().is_empty());
    assert_eq!(desk.missing(0).unwrap().reason, MissingReason::NotInHostedCache);
    // The next content does not ask either.
    desk.book.may_have_segments(desk.now, caches[0], [&id(0)]);
    assert_eq!(desk.book.knowledge(desk.now, &id(0)), Knowledge::Nobody);
}

#[test]
fn one_poisoned_segment_comes_from_the_origin_and_the_others_from_the_hosted_cache() {
    let (mut desk, caches) = hosted(Desk::v2(16), 1);
    let probes = desk.probes();
    let ids: Vec<_> = (0..16).map(id).collect();
    desk.book.has_segments(desk.now, caches[0], &ids);
    desk.end(probes[0].0);
    let fetches = desk.fetches();
    assert_eq!(desk.answer(fetches[0].0, Answer::BadHash), Delivery::Ignored);
    assert_eq!(desk.answer(fetches[1].0, Answer::Block), Delivery::Wanted);
    assert_eq!(desk.fetches().len(), 14);
    assert_eq!(desk.missing(0).unwrap(), Missing { range: 0..100_000, reason: MissingReason::HostedCacheFailed });
    assert_eq!(desk.book.standing(desk.now, caches[0]), Some(Standing::Ready));
}

#[test]
fn the_next_hosted_cache_is_asked_at_once_where_one_goes_out() {
    let (mut desk, caches) = hosted(Desk::v2(4), 2);
    let probes = desk.probes();
    let ids: Vec<_> = (0..4).map(id).collect();
    desk.book.has_segments(desk.now, caches[0], &ids);
    desk.end(probes[0].0);
    let fetches = desk.fetches();
    assert_eq!(desk.answer(fetches[0].0, Answer::Unreachable), Delivery::Ignored);
    let again = desk.probes();
    assert_eq!(again[0].1, ids, "nobody waits for a second");
    assert_eq!(desk.missing(0), None);
    desk.book.has_segments(desk.now, caches[1], &ids);
    desk.end(again[0].0);
    assert_eq!(desk.answer(fetches[1].0, Answer::Unreachable), Delivery::Ignored);
    assert!(desk.fetches().iter().all(|fetch| fetch.2 == peer(101)));
}

#[test]
fn a_hosted_cache_that_goes_out_before_the_question_has_ended_leaves_it_open() {
    let (mut desk, caches) = hosted(Desk::v2(4), 2);
    let probes = desk.probes();
    // The first answered, the second is still being asked for the rest.
    desk.book.has_segments(desk.now, caches[0], [&id(0), &id(1)]);
    desk.book.begin(desk.now, caches[0]);
    desk.book.finish(desk.now, caches[0], Outcome::Unreachable);
    desk.end(probes[0].0);
    assert_eq!(desk.missing(0), None);
    let again = desk.probes();
    assert_eq!(again[0].1, [id(0), id(1)], "at once; what nobody holds is known");
    desk.end(again[0].0);
    assert_eq!(desk.missing(0).unwrap().reason, MissingReason::NotInHostedCache);
}

#[test]
fn without_hosted_caches_blocks_are_missing_at_once() {
    let (mut desk, caches) = hosted(Desk::v2(4), 1);
    let probes = desk.probes();
    desk.book.begin(desk.now, caches[0]);
    desk.book.finish(desk.now, caches[0], Outcome::Unreachable);
    probes[0].1.iter().for_each(|id| desk.book.unasked(desk.now, id));
    desk.end(probes[0].0);
    assert!(desk.actions().is_empty());
    let missing = desk.missing(0).unwrap();
    assert_eq!(missing, Missing { range: 0..400_000, reason: MissingReason::HostedCachesOut });
    // They are asked again when the first may be back.
    desk.now = ms(6000);
    desk.plan.wait_at(desk.now, 0, None);
    assert_eq!(desk.probes().len(), 1);
}

#[test]
fn a_plan_that_falls_back_asks_peers_in_their_way_and_returns() {
    let (mut desk, caches) = hosted(Desk::v2(100), 1);
    let probes = desk.probes();
    assert!(probes.iter().any(|(_, ids)| ids.len() > 16));
    desk.plan.set_finding(desk.now, Finding::Peers);
    let story = desk.plan.explain();
    assert!(!story.probes.is_empty() && story.probes.iter().all(|probe| probe.unreachable), "{story}");
    let peers = desk.probes();
    assert!(!peers.is_empty() && peers.iter().all(|(_, ids)| ids.len() <= 16));
    // What comes of the old question settles nothing.
    desk.end(probes[0].0);
    assert_eq!(desk.missing(0), None);
    desk.matches(1, ALL, &peers[0].1);
    desk.end(peers[0].0);
    assert!(desk.fetches().iter().all(|fetch| fetch.2 == peer(1)));
    desk.plan.set_finding(desk.now, Finding::HostedCaches);
    let back = desk.probes();
    assert!(!back.is_empty() && back.iter().all(|(_, ids)| !ids.contains(&id(0))));
    desk.book.has_segments(desk.now, caches[0], back[0].1.iter());
}
