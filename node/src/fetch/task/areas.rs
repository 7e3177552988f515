//! The areas of a content: parts of it in which blocks are fetched in any order, on demand.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use peerdist_protocol::content::ContentVersion;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::drive::Shared;
use super::node::lock;
use crate::fetch::plan::{BlockAt, PlannedSegment};
use crate::fetch::why::Explanation;

/// Areas of one content at once. Those without readers make room for others.
const MAX_AREAS: usize = 64;
/// Segments of version 2 in an area: one Probe asks for samples of them. Version 1 has one.
const MAX_SEGMENTS: usize = 128;

/// The areas of one content.
#[derive(Debug, Default)]
pub(super) struct Areas {
    areas: Mutex<Vec<Area>>,
    /// An area lost its last reader.
    freed: Notify,
    /// What happened in areas that are gone.
    past: Mutex<Option<Explanation>>,
}

#[derive(Debug)]
struct Area {
    range: Range<u64>,
    shared: Arc<Shared>,
    clock: AbortHandle,
    readers: usize,
}

/// Somebody waits for a block. Dropping it ends the wait.
#[derive(Debug)]
pub(super) struct Demand {
    content: Arc<Shared>,
    pub(super) area: Arc<Shared>,
    pub(super) at: BlockAt,
}

impl Areas {
    /// Adds what happened in all areas.
    pub(super) fn explain(&self, explanation: &mut Explanation) {
        if let Some(past) = &*lock(&self.past) {
            explanation.merge(past.clone());
        }
        for shared in self.all() {
            explanation.merge(lock(&shared.state).plan.explain());
        }
    }

    /// A block was added and verified.
    pub(super) fn arrived(&self, at: BlockAt) {
        for area in self.all() {
            let mut state = lock(&area.state);
            state.plan.arrived(area.node.now(), &mut area.node.book(), at);
            area.step(&mut state);
            drop(state);
            area.changed.notify_waiters();
        }
    }

    /// Bytes were added that are no block yet.
    pub(super) fn look_again(&self) {
        self.all().iter().for_each(|area| area.changed.notify_waiters());
    }

    /// Further segments, or further hashes of known ones, were described.
    pub(super) fn described(&self, segments: &[PlannedSegment]) {
        let areas = lock(&self.areas);
        for Area { range, shared, .. } in areas.iter() {
            let inside = segments.iter().filter(|segment| range.contains(&segment.offset)).cloned();
            let mut state = lock(&shared.state);
            if let Err(error) = state.plan.add_segments(inside.collect()) {
                // The content took them already, and an area knows nothing else.
                tracing::error!(%error, "an area contradicts its content");
            }
            shared.step(&mut state);
        }
    }

    /// Ends everything that is under way.
    pub(super) fn close(&self) {
        for area in lock(&self.areas).drain(..) {
            area.close();
        }
    }

    fn all(&self) -> Vec<Arc<Shared>> {
        lock(&self.areas).iter().map(|area| Arc::clone(&area.shared)).collect()
    }

    /// The area around a position, with one more reader; `None` where there is no room for it.
    fn enter(&self, content: &Shared, at: BlockAt) -> Option<Arc<Shared>> {
        let segments = segments_around(content, at);
        let mut areas = lock(&self.areas);
        if let Some(area) = areas.iter_mut().find(|area| area.range.contains(&at.segment)) {
            area.readers += 1;
            return Some(Arc::clone(&area.shared));
        }
        if areas.len() >= MAX_AREAS {
            // The one that came first among those that nobody reads.
            let idle = areas.iter().position(|area| area.readers == 0)?;
            let area = areas.remove(idle);
            let mut past = lock(&self.past);
            let story = lock(&area.shared.state).plan.explain();
            match &mut *past {
                Some(past) => past.merge(story),
                None => *past = Some(story),
            }
            area.close();
        }
        let range = segments.first()?.offset..segments.last()?.end();
        let shared = content.area(segments);
        shared.node.register(&shared);
        let clock = tokio::spawn(Arc::clone(&shared).keep_time()).abort_handle();
        areas.push(Area { range, shared: Arc::clone(&shared), clock, readers: 1 });
        Some(shared)
    }

    fn leave(&self, area: &Arc<Shared>) {
        let mut areas = lock(&self.areas);
        if let Some(area) = areas.iter_mut().find(|known| Arc::ptr_eq(&known.shared, area)) {
            area.readers -= 1;
            if area.readers == 0 {
                self.freed.notify_waiters();
            }
        }
    }
}

impl Area {
    fn close(self) {
        self.clock.abort();
        self.shared.close();
        self.shared.node.forget(self.shared.id);
    }
}

impl Demand {
    /// Waits for room, then for nothing else.
    pub(super) async fn new(content: &Arc<Shared>, at: BlockAt) -> Self {
        loop {
            let freed = content.areas.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(area) = content.areas.enter(content, at) {
                let mut state = lock(&area.state);
                *state.demands.entry(at).or_default() += 1;
                state.plan.demand(area.node.now(), at);
                area.step(&mut state);
                drop(state);
                return Self { content: Arc::clone(content), area, at };
            }
            freed.await;
        }
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        let mut state = lock(&self.area.state);
        if let Some(readers) = state.demands.get_mut(&self.at) {
            *readers -= 1;
            if *readers == 0 {
                state.demands.remove(&self.at);
                state.plan.withdraw(self.at);
                if let Some(range) = self.area.range_of(self.at) {
                    state.ready.remove(&range.start);
                }
            }
        }
        drop(state);
        self.content.areas.leave(&self.area);
    }
}

/// The segments of the area that a block is in: described without a gap, and always the same ones for a place.
fn segments_around(content: &Shared, at: BlockAt) -> Vec<PlannedSegment> {
    let state = lock(&content.state);
    let version = lock(&content.known).version();
    let most = if version == ContentVersion::V1 { 1 } else { MAX_SEGMENTS };
    let all = state.plan.segments();
    let index = all.partition_point(|segment| segment.offset < at.segment);
    let first = index - index % most;
    let group = &all[first..all.len().min(first + most)];
    let adjoins = |pair: &[PlannedSegment]| pair[0].end() == pair[1].offset;
    let position = index - first;
    let start = (1..=position).rev().find(|i| !adjoins(&group[i - 1..=*i])).unwrap_or(0);
    let end = (position + 1..group.len()).find(|i| !adjoins(&group[i - 1..=*i])).unwrap_or(group.len());
    group[start..end].to_vec()
}
