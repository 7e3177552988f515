//! One plan, driven by hand.

mod hosted;

use std::collections::HashMap;

use peerdist_protocol::content::BLOCK_SIZE_V1;
use peerdist_protocol::discovery::{Availability, EndpointAddress};

use super::*;
use crate::fetch::peers::Standing;

const SEGMENT: u32 = 100_000;
const ALL: Availability = Availability { blocks: None, complete: Some(true), age: None };

fn ms(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn id(number: usize) -> SegmentId {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    SegmentId::from_slice(&bytes).unwrap()
}

fn peer(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

/// A plan, a book and a cache with a hand-moved clock.
struct Desk {
    plan: Plan,
    book: PeerBook,
    cached: HashMap<SegmentId, BlockRanges>,
    now: Moment,
    actions: VecDeque<Action>,
    wake: Option<Moment>,
}

impl Desk {
    fn v2(segments: usize) -> Self {
        let segments = (0..segments).map(|i| PlannedSegment::v2(id(i), i as u64 * u64::from(SEGMENT), SEGMENT));
        Self::new(Form::V2, segments.collect())
    }

    fn v1(segments: usize, blocks: u32) -> Self {
        let length = blocks * BLOCK_SIZE_V1;
        let segments = (0..segments).map(|i| PlannedSegment::v1(id(i), i as u64 * u64::from(length), length));
        Self::new(Form::V1, segments.collect())
    }

    fn new(form: Form, segments: Vec<PlannedSegment>) -> Self {
        let mut plan = Plan::new(PlanConfig::default(), form, 1);
        plan.add_segments(segments).unwrap();
        let mut desk = Self {
            plan,
            book: PeerBook::new(),
            cached: HashMap::new(),
            now: ms(1000),
            actions: VecDeque::new(),
            wake: None,
        };
        desk.plan.wait_at(desk.now, 0, None);
        desk
    }

    fn poll(&mut self) {
        let cached = &self.cached;
        let step = self.plan.poll(self.now, &mut self.book, |id| cached.get(id).copied().unwrap_or_default());
        self.wake = step.wake;
        self.actions.extend(step.actions);
    }

    /// What is to be done, all of it.
    fn actions(&mut self) -> Vec<Action> {
        self.poll();
        self.actions.drain(..).collect()
    }

    fn probes(&mut self) -> Vec<(ProbeTicket, Vec<SegmentId>)> {
        let actions = self.actions().into_iter();
        let probes = actions.filter_map(|action| match action {
            Action::Probe { ticket, ids, .. } => Some((ticket, ids)),
            _ => None,
        });
        probes.collect()
    }

    fn fetches(&mut self) -> Vec<(FetchId, BlockAt, SocketAddr)> {
        let actions = self.actions().into_iter();
        let fetches = actions.filter_map(|action| match action {
            Action::Fetch { id, at, peer } => Some((id, at, peer)),
            _ => None,
        });
        fetches.collect()
    }

    fn matches(&mut self, number: u8, what: Availability, ids: &[SegmentId]) {
        let claims: Vec<_> = ids.iter().map(|id| (*id, what)).collect();
        self.book.matched(self.now, &EndpointAddress::from_random(number.into()), &[peer(number)], claims);
        self.plan.matched(self.now, peer(number), ids);
    }

    fn end(&mut self, ticket: ProbeTicket) {
        self.plan.probe_ended(self.now, &mut self.book, ticket);
    }

    fn answer(&mut self, fetch: FetchId, answer: Answer) -> Delivery {
        self.plan.answered(self.now, &mut self.book, fetch, answer)
    }

    fn missing(&mut self, position: u64) -> Option<Missing> {
        self.plan.take_missing(self.now, &mut self.book, position)
    }

    fn standing(&self, number: u8) -> Standing {
        let host = self.book.holders(self.now, &id(0)).find(|(host, _)| self.book.address(*host) == Some(peer(number)));
        self.book.standing(self.now, host.unwrap().0).unwrap()
    }
}

fn segment(at: BlockAt) -> u64 {
    at.segment / u64::from(SEGMENT)
}

#[test]
fn runs_grow_and_probes_fit_one_datagram() {
    let mut desk = Desk::v2(1000);
    let probes = desk.probes();
    // 16, 32, 64: these cover the window of 8 MiB; the fourth begins behind it.
    assert_eq!(probes.len(), 4);
    assert!(probes.iter().all(|(_, ids)| ids.len() == 16));
    assert_eq!(probes[0].1, (0..16).map(id).collect::<Vec<_>>());
    assert_eq!((probes[1].1[0], probes[1].1[15]), (id(16), id(47)));
    assert_eq!((probes[3].1[0], probes[3].1[15]), (id(112), id(239)));
    assert_eq!(desk.missing(0), None);
    // Nothing more until something happens.
    assert!(desk.actions().is_empty());
    assert_eq!(desk.wake, Some(desk.now + ASK_AGAIN_AFTER));
}

#[test]
fn what_nobody_has_is_one_run_and_nobody_waits_for_it_twice() {
    let mut desk = Desk::v2(1000);
    for (ticket, _) in desk.probes() {
        desk.now += ms(1);
        desk.end(ticket);
    }
    desk.poll();
    let missing = desk.missing(50).unwrap();
    assert_eq!(missing, Missing { range: 50..240 * u64::from(SEGMENT), reason: MissingReason::NobodyAnswered });
    // The origin streams it; what follows is asked about long before the reader is there.
    let probes = desk.probes();
    assert_eq!(probes.iter().map(|(_, ids)| ids[0]).collect::<Vec<_>>(), [240, 368, 496, 624].map(id));
    for index in 0..240 {
        let at = BlockAt { segment: index * u64::from(SEGMENT), block: 0 };
        desk.plan.added(desk.now, &mut desk.book, at);
    }
    assert_eq!(desk.plan.position, 240 * u64::from(SEGMENT));
    desk.end(probes[0].0);
    desk.plan.wait_at(desk.now, 240 * u64::from(SEGMENT), None);
    desk.poll();
    assert!(desk.missing(240 * u64::from(SEGMENT)).is_some());
    assert_eq!(desk.plan.sources().origin, 240 * u64::from(SEGMENT));
    assert_eq!(desk.plan.origin_reasons()[&MissingReason::NobodyAnswered], 240 * u64::from(SEGMENT));
}

#[test]
fn negative_entries_of_the_node_save_the_probe() {
    let mut desk = Desk::v2(10);
    for number in 0..10 {
        desk.book.nobody(desk.now, &id(number));
    }
    assert!(desk.actions().is_empty());
    assert_eq!(desk.missing(0).unwrap().range, 0..10 * u64::from(SEGMENT));
    // A Probe that was overheard clears them: asked again, but nobody waits.
    desk.plan.wait_at(desk.now, 0, None);
    desk.book.overheard(&id(3));
    assert_eq!(desk.probes()[0].1, [id(3)]);
    assert_eq!(desk.missing(0).unwrap().range, 0..10 * u64::from(SEGMENT));
}

#[test]
fn blocks_come_in_content_order_and_the_share_of_a_good_peer_grows() {
    let mut desk = Desk::v2(40);
    let probes = desk.probes();
    for (_, ids) in &probes {
        desk.matches(1, ALL, ids);
    }
    let mut under_way: VecDeque<_> = desk.fetches().into();
    assert_eq!(under_way.len(), 2);
    let mut order = Vec::new();
    let mut most = 0;
    while let Some((fetch, at, _)) = under_way.pop_front() {
        order.push(segment(at));
        desk.now += ms(1);
        assert_eq!(desk.answer(fetch, Answer::Block), Delivery::Wanted);
        desk.plan.read_at(desk.now, at.segment + u64::from(SEGMENT));
        under_way.extend(desk.fetches());
        most = most.max(under_way.len());
    }
    assert_eq!(order, (0..40).collect::<Vec<_>>());
    assert_eq!(most, 16);
    assert_eq!(desk.plan.sources().peers[&peer(1)], 40 * u64::from(SEGMENT));
}

#[test]
fn several_peers_share_the_work() {
    let mut desk = Desk::v2(16);
    let ids: Vec<_> = (0..16).map(id).collect();
    desk.poll();
    desk.matches(1, ALL, &ids);
    desk.matches(2, ALL, &ids);
    let fetches = desk.fetches();
    assert_eq!(fetches.iter().map(|(_, at, _)| segment(*at)).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(fetches.iter().filter(|(_, _, from)| *from == peer(1)).count(), 2);
}

#[test]
fn neighbours_are_a_hint_and_a_wrong_one_leads_to_a_probe_by_name() {
    let mut desk = Desk::v2(1000);
    let probes = desk.probes();
    // The second run: 32 segments, every second one is named.
    for (ticket, ids) in &probes {
        let run: Vec<_> = ids.iter().filter(|named| (16..48).any(|n| id(n) == **named)).copied().collect();
        if !run.is_empty() {
            desk.matches(1, ALL, &run);
        }
        desk.end(*ticket);
    }
    // Who holds the second run might hold the first: one question to each block under way, no more.
    let asked = desk.fetches();
    assert_eq!(asked.iter().map(|(_, at, _)| segment(*at)).collect::<Vec<_>>(), [0, 1]);
    for (fetch, ..) in asked {
        assert_eq!(desk.answer(fetch, Answer::Empty), Delivery::Ignored);
    }
    let first = desk.missing(0).unwrap();
    assert_eq!(first.range, 0..16 * u64::from(SEGMENT));
    let unnamed = (16..48).find(|n| !probes[1].1.contains(&id(*n))).unwrap() as u64;
    let fetches: Vec<_> = {
        let mut all = Vec::new();
        while !all.iter().any(|(_, at, _)| segment(*at) == unnamed) {
            let some = desk.fetches();
            for (fetch, at, _) in &some {
                if segment(*at) != unnamed {
                    assert_eq!(desk.answer(*fetch, Answer::Block), Delivery::Wanted);
                }
            }
            all.extend(some);
        }
        all
    };
    let (hinted, ..) = fetches.iter().find(|(_, at, _)| segment(*at) == unnamed).unwrap();
    assert_eq!(desk.answer(*hinted, Answer::Empty), Delivery::Ignored);
    // No fault of the peer's.
    let host = desk.book.holders(desk.now, &id(16)).next().unwrap().0;
    assert_eq!(desk.book.standing(desk.now, host), Some(Standing::Ready));
    desk.plan.wait_at(desk.now, unnamed * u64::from(SEGMENT), None);
    let probes = desk.probes();
    assert!(probes[0].1.contains(&id(unnamed as usize)), "{probes:?}");
    assert_eq!(desk.missing(unnamed * u64::from(SEGMENT)), None);
    desk.now += ms(300);
    desk.end(probes[0].0);
    let missing = desk.missing(unnamed * u64::from(SEGMENT)).unwrap();
    assert_eq!(missing.reason, MissingReason::NobodyHoldsIt);
    assert_eq!(missing.range, unnamed * u64::from(SEGMENT)..(unnamed + 1) * u64::from(SEGMENT));
}

#[test]
fn a_busy_peer_is_asked_again_soon() {
    let mut desk = Desk::v2(1);
    desk.poll();
    desk.matches(1, ALL, &[id(0)]);
    let (fetch, ..) = desk.fetches()[0];
    assert_eq!(desk.answer(fetch, Answer::Empty), Delivery::Ignored);
    assert!(desk.fetches().is_empty());
    assert_eq!(desk.missing(0), None);
    let wake = desk.wake.unwrap();
    assert!(wake <= desk.now + ms(50), "{wake:?}");
    desk.now = wake;
    assert_eq!(desk.fetches().len(), 1);
}

#[test]
fn a_bad_hash_counts_everywhere_if_the_list_proves_itself_and_here_if_not() {
    for bound in [true, false] {
        let mut desk = Desk::v2(16);
        let ids: Vec<_> = (0..16).map(id).collect();
        if !bound {
            let unbound = desk.plan.segments().iter().cloned().map(|s| PlannedSegment { bound, ..s }).collect();
            desk = Desk::new(Form::V2, unbound);
        }
        desk.poll();
        desk.matches(1, ALL, &ids);
        let fetches = desk.fetches();
        assert_eq!(desk.answer(fetches[0].0, Answer::BadHash), Delivery::Ignored);
        desk.matches(1, ALL, &ids);
        assert!(desk.fetches().is_empty(), "asked again");
        assert_eq!(matches!(desk.standing(1), Standing::Out { .. }), bound);
        desk.matches(2, ALL, &ids);
        assert_eq!(desk.fetches()[0].1.segment, 0);
        let notes: Vec<_> = desk.plan.explain().segments[0].notes.iter().map(|noted| noted.note).collect();
        let skipped = if bound { "SkippedForBadHash" } else { "SkippedForBadHashHere" };
        assert_eq!(format!("{notes:?}"), format!("[BadHash, {skipped}]"));
    }
}

#[test]
fn a_peer_that_stalls_is_joined_by_another_one_for_the_readers_block() {
    let mut desk = Desk::v2(16);
    let ids: Vec<_> = (0..16).map(id).collect();
    desk.poll();
    desk.matches(1, ALL, &ids);
    let stalled = desk.fetches();
    assert_eq!(stalled.len(), 2);
    desk.matches(2, ALL, &ids);
    let others = desk.fetches();
    assert_eq!(others.iter().map(|(_, at, _)| segment(*at)).collect::<Vec<_>>(), [2, 3]);
    desk.now += ms(100);
    for (fetch, ..) in others {
        assert_eq!(desk.answer(fetch, Answer::Block), Delivery::Wanted);
    }
    assert!(desk.fetches().iter().all(|(_, at, _)| segment(*at) > 3));
    desk.now += ms(200);
    // One copy of the reader's block, and only one.
    assert_eq!(desk.fetches().iter().filter(|(_, at, _)| segment(*at) < 2).count(), 0, "no host has room");
    let busy: Vec<_> = desk.plan.fetches.iter().filter(|(_, f)| f.peer == peer(2)).map(|(id, _)| *id).collect();
    assert_eq!(desk.answer(busy[0], Answer::Block), Delivery::Wanted);
    let hedge = desk.fetches();
    assert_eq!((segment(hedge[0].1), hedge[0].2), (0, peer(2)));
    assert!(hedge[1..].iter().all(|(_, at, _)| segment(*at) > 3));
    desk.now += ms(1);
    assert_eq!(desk.answer(hedge[0].0, Answer::Block), Delivery::Wanted);
    assert!(desk.actions().contains(&Action::Cancel(stalled[0].0)));
    assert_eq!(desk.answer(stalled[0].0, Answer::Block), Delivery::Ignored);
    assert_eq!(desk.plan.sources().all_peers(), 4 * u64::from(SEGMENT));
}

#[test]
fn patience_ends_and_shrinks() {
    let mut desk = Desk::v2(4);
    let ids: Vec<_> = (0..4).map(id).collect();
    desk.poll();
    desk.matches(1, ALL, &ids);
    assert_eq!(desk.fetches().len(), 2);
    let mut waits = Vec::new();
    for index in 0..2 {
        let position = index * u64::from(SEGMENT);
        desk.plan.wait_at(desk.now, position, None);
        let since = desk.now;
        let missing = loop {
            desk.poll();
            if let Some(missing) = desk.missing(position) {
                break missing;
            }
            desk.now = desk.wake.unwrap();
        };
        assert_eq!(missing.reason, MissingReason::TooSlow);
        waits.push((desk.now - since).as_millis());
    }
    assert_eq!(waits, [5000, 2500]);
}

#[test]
fn a_peer_that_dies_is_out_after_three_failures_and_the_reader_is_told() {
    let mut desk = Desk::v2(16);
    let ids: Vec<_> = (0..16).map(id).collect();
    let probes = desk.probes();
    desk.matches(1, ALL, &ids);
    desk.end(probes[0].0);
    let mut failures = 0;
    loop {
        let fetches = desk.fetches();
        if fetches.is_empty() {
            break;
        }
        desk.now += ms(2000);
        for (fetch, ..) in fetches {
            failures += 1;
            assert_eq!(desk.answer(fetch, Answer::TimedOut), Delivery::Ignored);
        }
    }
    assert_eq!(failures, 3);
    let missing = desk.missing(0).unwrap();
    assert_eq!(missing, Missing { range: 0..16 * u64::from(SEGMENT), reason: MissingReason::PeersFailed });
}

#[test]
fn late_matches_revive_what_was_missing() {
    let mut desk = Desk::v2(200);
    for (ticket, _) in desk.probes() {
        desk.end(ticket);
    }
    // The reader takes nothing yet.
    desk.poll();
    desk.matches(1, ALL, &[id(0), id(1)]);
    let fetched: Vec<_> = desk.fetches().iter().map(|(_, at, _)| segment(*at)).collect();
    assert_eq!(fetched, [0, 1]);
    assert_eq!(desk.missing(0), None);
    let rest = desk.missing(2 * u64::from(SEGMENT)).unwrap();
    assert_eq!(rest.range.start, 2 * u64::from(SEGMENT));
    // What the reader took stays its own until it waits for it again.
    desk.matches(1, ALL, &[id(2)]);
    assert!(desk.fetches().is_empty());
    let fetch = *desk.plan.fetches.first_key_value().unwrap().0;
    assert_eq!(desk.answer(fetch, Answer::Block), Delivery::Wanted);
    desk.plan.wait_at(desk.now, 2 * u64::from(SEGMENT), None);
    assert_eq!(segment(desk.fetches()[0].1), 2);
}

#[test]
fn a_partial_holder_of_version_1_is_asked_for_a_list_first() {
    let mut desk = Desk::v1(2, 64);
    let probes = desk.probes();
    assert_eq!(probes.iter().map(|(_, ids)| ids.len()).collect::<Vec<_>>(), [1, 1,]);
    let some = Availability { blocks: Some(40), complete: None, age: None };
    desk.matches(1, some, &[id(0)]);
    let actions = desk.actions();
    let [Action::List { id: list, segment: 0, blocks, peer: at }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((blocks.len(), *at), (64, peer(1)));
    for (ticket, _) in probes {
        desk.end(ticket);
    }
    assert_eq!(desk.missing(0), None);
    let held: BlockRanges = (3..43).collect();
    desk.plan.listed(desk.now, &mut desk.book, *list, Ok(held));
    let fetches = desk.fetches();
    assert_eq!(fetches.iter().map(|(_, at, _)| at.block).collect::<Vec<_>>(), [3, 4]);
    // Blocks 0 to 2 are missing; block 3 is on its way.
    assert_eq!(desk.missing(0).unwrap().range, 0..3 * u64::from(BLOCK_SIZE_V1));
    // The list may grow while the peer downloads: it is asked for again, but not at once.
    desk.plan.wait_at(desk.now, 50 * u64::from(BLOCK_SIZE_V1), None);
    assert!(desk.actions().iter().all(|action| !matches!(action, Action::List { .. })));
}

#[test]
fn fewer_than_four_blocks_are_asked_for_without_a_list() {
    for blocks in [3, 4] {
        let mut desk = Desk::v1(1, blocks);
        desk.poll();
        desk.matches(1, Availability { blocks: Some(2), complete: None, age: None }, &[id(0)]);
        let lists = desk.actions().iter().filter(|action| matches!(action, Action::List { .. })).count();
        assert_eq!(lists, usize::from(blocks == 4), "{blocks} blocks");
    }
}

#[test]
fn a_peer_without_lists_is_asked_block_by_block() {
    let mut desk = Desk::v1(1, 8);
    let probes = desk.probes();
    desk.matches(1, Availability { blocks: None, complete: None, age: None }, &[id(0)]);
    desk.end(probes[0].0);
    let Some(Action::List { id: list, .. }) = desk.actions().pop() else { panic!("no list") };
    desk.plan.listed(desk.now, &mut desk.book, list, Err(Answer::Refused));
    let (fetch, at, _) = desk.fetches()[0];
    assert_eq!(at.block, 0);
    assert_eq!(desk.answer(fetch, Answer::Empty), Delivery::Ignored);
    assert_eq!(desk.missing(0).unwrap().range, 0..u64::from(BLOCK_SIZE_V1));
    assert_eq!(desk.fetches()[0].1.block, 1);
}

#[test]
fn the_cache_comes_first_and_a_bad_record_is_fetched_instead() {
    let mut desk = Desk::v1(1, 20);
    desk.cached.insert(id(0), (0..18).collect());
    let actions = desk.actions();
    let reads: Vec<_> = actions.iter().filter(|action| matches!(action, Action::Read(_))).collect();
    assert_eq!(reads.len(), MAX_CACHE_READS);
    assert_eq!(desk.plan.cache_read(BlockAt { segment: 0, block: 0 }, true), Delivery::Wanted);
    assert_eq!(desk.plan.cache_read(BlockAt { segment: 0, block: 1 }, false), Delivery::Ignored);
    desk.matches(1, Availability { blocks: Some(20), complete: None, age: None }, &[id(0)]);
    assert_eq!(desk.fetches().iter().map(|(_, at, _)| at.block).collect::<Vec<_>>(), [1, 18]);
    for block in 2..18 {
        assert_eq!(desk.plan.cache_read(BlockAt { segment: 0, block }, true), Delivery::Wanted);
    }
    // Wanted once more: read again.
    desk.plan.wait_at(desk.now, u64::from(BLOCK_SIZE_V1), None);
    desk.plan.wait_at(desk.now, 0, None);
    assert!(desk.actions().contains(&Action::Read(BlockAt { segment: 0, block: 0 })));
}

#[test]
fn whole_runs_in_the_cache_are_not_asked_about() {
    let mut desk = Desk::v2(16);
    for number in 0..16 {
        desk.cached.insert(id(number), [0].into_iter().collect());
    }
    assert!(desk.probes().is_empty());
    assert_eq!(desk.missing(0), None);
}

#[test]
fn a_jump_begins_anew_and_blocks_under_way_are_not_asked_for_twice() {
    let mut desk = Desk::v2(1000);
    let ids: Vec<_> = (0..1000).map(id).collect();
    desk.poll();
    desk.matches(1, ALL, &ids[..16]);
    assert_eq!(desk.fetches().len(), 2);
    assert!(desk.plan.wait_at(desk.now, 700 * u64::from(SEGMENT), None));
    let probes = desk.probes();
    assert_eq!(probes[0].1[0], id(700));
    assert!(desk.plan.wait_at(desk.now, 0, None));
    assert!(desk.fetches().is_empty());
    assert_eq!(desk.missing(0), None);
}

#[test]
fn without_discovery_everything_is_missing_at_once() {
    let mut desk = Desk::v2(10);
    desk.plan.config.finding = Finding::Nobody;
    assert!(desk.actions().is_empty());
    assert_eq!(
        desk.missing(7).unwrap(),
        Missing { range: 7..10 * u64::from(SEGMENT), reason: MissingReason::NoDiscovery }
    );
}

#[test]
fn a_lost_end_of_a_probe_is_made_up_for() {
    let mut desk = Desk::v2(1);
    assert_eq!(desk.probes().len(), 1);
    let mut rounds = 0;
    while desk.missing(0).is_none() {
        desk.now = desk.wake.unwrap();
        desk.poll();
        rounds += 1;
        assert!(rounds < 20);
    }
    assert!(desk.now <= ms(1000) + desk.plan.config.probe_timeout + PROBE_GRACE);
}

#[test]
fn a_probe_is_waited_for_as_long_as_is_configured() {
    let mut desk = Desk::v2(1);
    desk.plan.config.probe_timeout = ms(4000);
    assert_eq!(desk.probes().len(), 1);
    desk.now += ms(4000);
    desk.poll();
    assert_eq!(desk.missing(0), None);
    desk.now += PROBE_GRACE;
    desk.poll();
    assert_eq!(desk.missing(0).unwrap().reason, MissingReason::NobodyAnswered);
}

#[test]
fn a_probe_that_cannot_be_sent_is_not_waited_for() {
    let mut desk = Desk::v2(1);
    let (ticket, _) = desk.probes().remove(0);
    desk.plan.probe_failed(desk.now, &desk.book, ticket);
    assert_eq!(desk.missing(0).unwrap().reason, MissingReason::NobodyAnswered);
    desk.now += ASK_AGAIN_AFTER;
    desk.plan.wait_at(desk.now, 1, None);
    assert_eq!(desk.probes().len(), 1);
}

#[test]
fn closing_gives_the_hosts_their_room_back() {
    let mut desk = Desk::v2(16);
    let ids: Vec<_> = (0..16).map(id).collect();
    desk.poll();
    desk.matches(1, ALL, &ids);
    assert_eq!(desk.fetches().len(), 2);
    assert_eq!(desk.standing(1), Standing::Full);
    desk.plan.close(desk.now, &mut desk.book);
    assert_eq!(desk.standing(1), Standing::Ready);
}
