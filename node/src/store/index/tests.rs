//! The index against a map.

use std::collections::BTreeMap;

use peerdist_protocol::content::CryptoAlgoId;
use proptest::prelude::*;

use super::super::place::Note;
use super::super::types::{Audience, Trust};
use super::*;

fn id(number: u8, size: usize) -> SegmentId {
    let mut bytes = vec![0x55; size];
    *bytes.last_mut().unwrap() = number;
    SegmentId::from_slice(&bytes).unwrap()
}

fn record(pack: u16, offset: u32, trust: Trust, time: u32, index: u32) -> Record {
    Record { place: Place::new(pack, offset, 48, CryptoAlgoId::Aes128, trust), note: Note::new(time, 0, index) }
}

#[test]
fn ids_that_share_a_beginning_are_different() {
    let index = Index::new();
    let ids = [id(1, 32), id(1, 33), id(2, 33), id(1, 64), id(2, 64), id(0x55, 31), id(0x55, 64)];
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(index.insert(id, 1, record(0, at as u32 * 16, Trust::Bound, 5, 0)), Inserted::New);
    }
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(index.find(id, 0).unwrap().place.offset(), at as u32 * 16);
        assert_eq!(index.segment(id).unwrap().id, *id);
    }
    assert_eq!(index.counts(), (7, 7));
}

#[test]
fn a_segment_has_one_block_count() {
    let index = Index::new();
    index.insert(&id(1, 32), 3, record(0, 0, Trust::Claimed, 5, 2));
    let conflict = index.insert(&id(1, 32), 4, record(0, 16, Trust::Claimed, 5, 1));
    assert_eq!(conflict, Inserted::BlockCountConflict(3));
    index.insert(&id(2, 32), 1, record(0, 0, Trust::Claimed, 5, 0));
    let conflict = index.insert(&id(2, 32), 2, record(0, 16, Trust::Claimed, 5, 0));
    assert_eq!(conflict, Inserted::BlockCountConflict(1));
}

#[test]
fn only_bound_and_young_blocks_are_counted() {
    let index = Index::new();
    let id = id(1, 32);
    index.insert(&id, 4, record(0, 0, Trust::Claimed, 5, 0));
    assert_eq!(index.bound(&id, 0), None);
    index.insert(&id, 4, record(0, 16, Trust::Bound, 7, 1));
    index.insert(&id, 4, record(0, 32, Trust::Bound, 9, 2));
    assert_eq!(index.bound(&id, 0), Some(Bound { blocks: 2, block_count: 4, oldest: 7 }));
    assert_eq!(index.bound(&id, 8), Some(Bound { blocks: 1, block_count: 4, oldest: 9 }));
    assert_eq!(index.bound(&id, 10), None);
    assert_eq!(index.blocks_for(&id, Audience::Peers, 8), [2].into_iter().collect());
    assert_eq!([0, 1, 2].map(|after| index.next_for(&id, after, Audience::Peers, 8)), [Some(2), Some(2), None]);
    assert!(index.raise(&id) && !index.raise(&id));
    assert_eq!(index.bound(&id, 0), Some(Bound { blocks: 3, block_count: 4, oldest: 5 }));
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, bool, u32, u16),
    Remove(u8, bool, u32),
    RemovePack(u16),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..40u8, any::<bool>(), 0..4u32, 0..5u16).prop_map(|(i, l, b, p)| Step::Insert(i, l, b, p)),
        5 => (0..40u8, any::<bool>(), 0..4u32).prop_map(|(i, l, b)| Step::Remove(i, l, b)),
        2 => (0..5u16).prop_map(Step::RemovePack),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn behaves_like_a_map(steps in proptest::collection::vec(step(), 1..400)) {
        let index = Index::new();
        let mut model: BTreeMap<(SegmentId, u32), Record> = BTreeMap::new();
        // Half of the segments have one block, which takes another path than the rest.
        let shape = |number: u8, long: bool| {
            (id(number, if long { 48 } else { 32 }), if number.is_multiple_of(2) { 1 } else { 4 })
        };
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(number, long, block, pack) => {
                    let (id, count) = shape(number, long);
                    let block = block % count;
                    let new = record(pack, at as u32 * 16, Trust::Bound, 1, block);
                    let expected = model.insert((id, block), new).map_or(Inserted::New, Inserted::Replaced);
                    prop_assert_eq!(index.insert(&id, count, new), expected);
                }
                Step::Remove(number, long, block) => {
                    let (id, _) = shape(number, long);
                    let elsewhere = Place::new(9, 0, 48, CryptoAlgoId::Aes128, Trust::Bound);
                    prop_assert_eq!(index.remove(&id, block, elsewhere), None);
                    let expected = model.remove(&(id, block));
                    let place = expected.map_or(elsewhere, |record| record.place);
                    prop_assert_eq!(index.remove(&id, block, place), expected);
                }
                Step::RemovePack(pack) => {
                    let mut removed = 0;
                    index.remove_pack(pack, |_| removed += 1);
                    let before = model.len();
                    model.retain(|_, record| record.place.slot() != pack);
                    prop_assert_eq!(removed, before - model.len());
                }
                Step::Clear => {
                    index.clear();
                    model.clear();
                }
            }
            prop_assert_eq!(index.counts().1, model.len() as u64);
        }
        let mut listed = BTreeMap::new();
        index.for_each(|segment| {
            for record in segment.records {
                listed.insert((segment.id, record.note.index()), record);
            }
        });
        prop_assert_eq!(listed, model);
    }
}
