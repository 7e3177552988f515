//! The store against a map, over random sequences of operations.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append { segment: u32, index: u32, size: u32, trust: Trust },
    Replace { segment: u32, index: u32, size: u32 },
    Read { segment: u32, index: u32 },
    Raise { segment: u32 },
    Remove { segment: u32 },
    RemoveBlock { segment: u32, index: u32 },
    Clear,
    Sync,
    Tidy,
    Pass { days: u32 },
    Reopen,
    Kill,
    LoseSidecars,
}

fn step() -> impl Strategy<Value = Step> {
    let segment = 0..24u32;
    let size = prop_oneof![1..400u32, 60_000..131_088u32];
    let trust = prop_oneof![Just(Trust::Blind), Just(Trust::Claimed), Just(Trust::Bound)];
    prop_oneof![
        60 => (segment.clone(), 0..4u32, size, trust)
            .prop_map(|(segment, index, size, trust)| Step::Append { segment, index, size, trust }),
        10 => (segment.clone(), 0..4u32, 1..400u32)
            .prop_map(|(segment, index, size)| Step::Replace { segment, index, size }),
        20 => (segment.clone(), 0..4u32).prop_map(|(segment, index)| Step::Read { segment, index }),
        5 => segment.clone().prop_map(|segment| Step::Raise { segment }),
        5 => segment.clone().prop_map(|segment| Step::Remove { segment }),
        5 => (segment, 0..4u32).prop_map(|(segment, index)| Step::RemoveBlock { segment, index }),
        1 => Just(Step::Clear),
        3 => Just(Step::Sync),
        3 => Just(Step::Tidy),
        2 => (1..20u32).prop_map(|days| Step::Pass { days }),
        3 => Just(Step::Reopen),
        3 => Just(Step::Kill),
        1 => Just(Step::LoseSidecars),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Block {
    size: u32,
    trust: Trust,
    /// The trust it was appended with.
    written: Trust,
    time: u32,
}

/// Half of the segments are as those of version 2.
fn segment_key(segment: u32) -> SegmentKey {
    key(segment, if segment.is_multiple_of(2) { 1 } else { 4 })
}

/// What the store should hold, except that it may have dropped something for space.
#[derive(Default)]
struct Model(HashMap<(u32, u32), Block>);

impl Model {
    fn young(&self, now: u32) -> impl Iterator<Item = (&(u32, u32), &Block)> {
        self.0.iter().filter(move |(_, block)| now - block.time <= 28 * DAY)
    }

    /// Compares every block, and forgets those that the store dropped for space.
    fn check(&mut self, bench: &Bench, may_drop: bool) {
        let now = bench.now.load(Ordering::Relaxed);
        let mut dropped = Vec::new();
        for segment in 0..24 {
            let key = segment_key(segment);
            for index in 0..4 {
                let expected = self.0.get(&(segment, index)).filter(|block| now - block.time <= 28 * DAY);
                match (expected, bench.read(&key.id, index)) {
                    (Some(block), Some(found)) => {
                        assert!(found == tail(&key.id, index, block.size));
                        let bound = bench.store().read_bound(&key.id, index).unwrap();
                        assert_eq!(bound.is_some(), block.trust == Trust::Bound);
                        let served = bench.store().blocks_for(&key.id, Audience::Branch);
                        assert_eq!(served.contains(index), block.trust != Trust::Claimed);
                    }
                    (None, None) => {}
                    (Some(_), None) if may_drop => dropped.push((segment, index)),
                    (expected, found) => panic!("{segment} {index}: {expected:?}, found {}", found.is_some()),
                }
            }
        }
        dropped.iter().for_each(|block| _ = self.0.remove(block));
        for segment in 0..24 {
            let key = segment_key(segment);
            let bound: Vec<_> =
                self.young(now).filter(|((s, _), block)| *s == segment && block.trust == Trust::Bound).collect();
            let held = bench.store().availability(&key.id);
            assert_eq!(held.map_or(0, |held| held.blocks), bound.len() as u32);
            let oldest = bound.iter().map(|(_, block)| block.time).min();
            assert_eq!(held.and_then(|held| held.age), oldest.map(|oldest| Duration::from_secs((now - oldest).into())));
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut bench = Bench::new();
    let mut model = Model::default();
    for step in steps {
        let now = bench.now.load(Ordering::Relaxed);
        let evicted = bench.store().stats().evicted;
        match step {
            Step::Append { segment, index, size, trust } => {
                let key = segment_key(segment);
                let index = index % key.block_count;
                bench.append(key, index, size, trust);
                let new = Block { size, trust, written: trust, time: now };
                let held = model.0.get(&(segment, index)).filter(|held| now - held.time <= 28 * DAY);
                if held.is_none_or(|held| trust.replaces(held.trust)) {
                    model.0.insert((segment, index), new);
                }
            }
            Step::Replace { segment, index, size } => {
                let key = segment_key(segment);
                let index = index % key.block_count;
                bench.store().replace(&key, index, &tail(&key.id, index, size), Tag::NONE).unwrap();
                let held = model.0.get(&(segment, index)).filter(|held| now - held.time <= 28 * DAY);
                if held.is_none_or(|held| held.trust != Trust::Bound) {
                    let new = Block { size, trust: Trust::Blind, written: Trust::Blind, time: now };
                    model.0.insert((segment, index), new);
                }
            }
            Step::Read { segment, index } => {
                let key = segment_key(segment);
                if let Some(found) = bench.read(&key.id, index) {
                    assert!(found == tail(&key.id, index, model.0[&(segment, index)].size));
                }
            }
            Step::Raise { segment } => {
                bench.store().raise_to_bound(&segment_key(segment).id);
                let blocks =
                    model.0.iter_mut().filter(|((s, _), block)| *s == segment && block.trust == Trust::Claimed);
                blocks.for_each(|(_, block)| block.trust = Trust::Bound);
            }
            Step::Remove { segment } => {
                bench.store().remove(&segment_key(segment).id).unwrap();
                model.0.retain(|(s, _), _| *s != segment);
            }
            Step::RemoveBlock { segment, index } => {
                bench.store().remove_block(&segment_key(segment).id, index).unwrap();
                model.0.remove(&(segment, index));
            }
            Step::Clear => {
                bench.store().clear().unwrap();
                model.0.clear();
            }
            Step::Sync => bench.store().sync().unwrap(),
            Step::Tidy => bench.store().0.core.tidy(),
            Step::Pass { days } => bench.pass(days * DAY),
            Step::Reopen => bench.reopen(),
            Step::Kill => bench = bench.killed(),
            Step::LoseSidecars => {
                // What was raised is lost with them, for the records of the same pack.
                bench.close();
                bench.files("index").iter().for_each(|path| std::fs::remove_file(path).unwrap());
                bench.open();
                for segment in 0..24 {
                    let held = bench.store().held(&segment_key(segment).id);
                    for index in 0..4 {
                        let is_bound = held.is_some_and(|held| held.bound.contains(index));
                        if let Some(block) = model.0.get_mut(&(segment, index))
                            && !is_bound
                        {
                            block.trust = block.written;
                        }
                    }
                }
            }
        }
        let stats = bench.store().stats();
        assert!(stats.bytes_on_disk <= MIN_LIMIT);
        assert_eq!(stats.corrupt + stats.failed_reads + stats.lost_packs, 0);
        if stats.evicted > evicted {
            model.check(&bench, true);
        }
    }
    model.check(&bench, false);
    bench.reopen();
    model.check(&bench, false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_is_a_map(steps in proptest::collection::vec(step(), 1..250)) {
        run(steps);
    }
}
