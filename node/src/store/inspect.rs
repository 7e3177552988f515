//! Looking at a store: what is held, all of it, counts, and whether it is intact.

use std::fs::File;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::discovery::Held;
use serde::{Deserialize, Serialize};

use super::core::Core;
use super::entry::{Entry, FileKind, UnixTime};
use super::index::SegmentRecords;
use super::locks::lock;
use super::pack::Pack;
use super::place::Record;
use super::scan::{self, Scanned};
use super::stats::StoreStats;
use super::types::{Audience, FileError, SegmentHeld, SegmentListing, Trust};

/// How far a verification is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyProgress {
    /// Packs that were read.
    pub packs: u64,
    /// Packs to read.
    pub packs_total: u64,
    /// Blocks that were read.
    pub blocks: u64,
    /// Bytes of these blocks on disk.
    pub bytes: u64,
    /// Blocks that were damaged, and are no longer held.
    pub corrupt: u64,
}

impl Core {
    /// What is held of a segment and young enough.
    pub(super) fn held(&self, id: &SegmentId) -> Option<SegmentHeld> {
        let segment = self.young(self.index.segment(id)?)?;
        let indexes = |audience: Audience| -> BlockRanges {
            let theirs = segment.records.iter().filter(|record| audience.gets(record.place.trust()));
            theirs.map(|record| record.note.index()).collect()
        };
        Some(SegmentHeld {
            blocks: indexes(Audience::Reader),
            bound: indexes(Audience::Peers),
            block_count: segment.block_count,
            trust: least_trust(&segment.records),
            age: self.age(oldest(&segment.records)),
        })
    }

    /// The trust of a block that is held and young enough.
    pub(super) fn trust(&self, id: &SegmentId, index: BlockIndex) -> Option<Trust> {
        let record = self.index.find(id, index)?;
        (record.note.time() >= self.not_before()).then(|| record.place.trust())
    }

    /// How long a segment has been held for an audience.
    pub(super) fn age_for(&self, id: &SegmentId, audience: Audience) -> Option<Duration> {
        let oldest = match audience {
            // Without a walk over the blocks.
            Audience::Peers => self.index.bound(id, self.not_before())?.oldest,
            Audience::Reader | Audience::Branch => self.index.oldest(id, audience, self.not_before())?,
        };
        Some(self.age(oldest))
    }

    /// What a probe is told of a segment. Hundreds of thousands are told in a second.
    pub(super) fn availability(&self, id: &SegmentId) -> Option<Held> {
        let now = self.clock.now();
        let bound = self.index.bound(id, self.not_before_at(now))?;
        Some(Held {
            blocks: bound.blocks,
            complete: bound.blocks == bound.block_count,
            age: Some(Duration::from_secs(now.saturating_sub(bound.oldest).into())),
        })
    }

    /// Shows every segment of which something is held and young enough.
    pub(super) fn for_each_segment(&self, mut visit: impl FnMut(SegmentListing)) {
        self.index.for_each(|segment| {
            let Some(segment) = self.young(segment) else { return };
            visit(SegmentListing {
                id: segment.id,
                block_count: segment.block_count,
                blocks: segment.records.len() as u32,
                bytes: segment.records.iter().map(|record| record.place.record_size()).sum(),
                age: self.age(oldest(&segment.records)),
                trust: least_trust(&segment.records),
                tag: self.tags.get(segment.records[0].note.tag()),
            });
        });
    }

    /// The time since something entered the store.
    pub(super) fn age(&self, time: UnixTime) -> Duration {
        Duration::from_secs(self.clock.now().saturating_sub(time).into())
    }

    fn young(&self, mut segment: SegmentRecords) -> Option<SegmentRecords> {
        let not_before = self.not_before();
        segment.records.retain(|record| record.note.time() >= not_before);
        (!segment.records.is_empty()).then_some(segment)
    }

    pub(super) fn stats(&self) -> StoreStats {
        let (segments, blocks) = self.index.counts();
        let writer = lock(&self.writer);
        let counters = &self.counters;
        StoreStats {
            bytes_on_disk: self.used(),
            live_bytes: writer.packs.values().map(|pack| pack.state().live).sum(),
            limit: self.limit(),
            limit_now: self.limit_now(),
            segments,
            blocks,
            packs: writer.packs.len() as u64,
            hits: counters.hits.get(),
            misses: counters.misses.get(),
            appended: counters.appended.get(),
            duplicates: counters.duplicates.get(),
            evicted: counters.evicted.get(),
            expired: counters.expired.get(),
            carried: counters.carried.get(),
            removed: counters.removed.get(),
            corrupt: counters.corrupt.get(),
            rescanned_packs: counters.rescanned_packs.get(),
            lost_packs: counters.lost_packs.get(),
            failed_reads: counters.failed_reads.get(),
            refused: counters.refused(),
            paused: writer.pause.filter(|(_, until)| self.clock.now() < *until).map(|(refusal, _)| refusal),
        }
    }

    /// Reads every block and compares its checksum. Blocks that are damaged are given up.
    pub(super) fn verify(
        &self,
        mut progress: impl FnMut(&VerifyProgress) -> ControlFlow<()>,
    ) -> Result<VerifyProgress, FileError> {
        let packs: Vec<_> = lock(&self.writer).packs.values().cloned().collect();
        let mut done = VerifyProgress { packs_total: packs.len() as u64, ..VerifyProgress::default() };
        let mut failed = None;
        for pack in &packs {
            let mut go_on = progress(&done);
            self.for_each_entry(pack, |id, record| {
                if go_on.is_break() {
                    return;
                }
                match self.read_entry(id, record) {
                    Ok(Some(_)) => {
                        done.blocks += 1;
                        done.bytes += record.place.record_size();
                    }
                    Ok(None) if self.index.find(id, record.note.index()).is_none() => done.corrupt += 1,
                    // It moved or was dropped meanwhile.
                    Ok(None) => {}
                    Err(error) => failed = Some(error),
                }
                if done.blocks.is_multiple_of(1024) {
                    go_on = progress(&done);
                }
            });
            if go_on.is_break() {
                break;
            }
            done.packs += 1;
        }
        self.erase_damaged();
        let _ = progress(&done);
        failed.map_or(Ok(done), Err)
    }

    /// Shows every record of a pack that is in the index, in the order of the pack.
    fn for_each_entry(&self, pack: &Arc<Pack>, mut visit: impl FnMut(&SegmentId, Record)) {
        let mut show = |entry: Entry| {
            let Entry::Record(entry) = entry else { return };
            let held = self.index.find(&entry.id, entry.index);
            if let Some(record) =
                held.filter(|held| held.place.slot() == pack.slot && held.place.offset() == entry.offset)
            {
                visit(&entry.id, record);
            }
        };
        if pack.has_sidecar()
            && let Ok(file) = File::open(pack.path(FileKind::Sidecar))
        {
            // An entry that cannot be read any more is not visited; the next open makes the sidecar anew.
            let _ = scan::sidecar(&file, pack.mark, |entry| entry.into_iter().for_each(&mut show));
        } else if let Ok(file) = pack.data(&self.open_files) {
            let _ = scan::records(&file, pack.mark, super::entry::ENTRY_SIZE as u64, pack.data_end(), |scanned| {
                if let Scanned::Record(record) = scanned {
                    show(Entry::Record(record));
                }
            });
        }
    }
}

fn least_trust(records: &[Record]) -> Trust {
    records.iter().map(|record| record.place.trust()).min().unwrap_or(Trust::Blind)
}

fn oldest(records: &[Record]) -> UnixTime {
    records.iter().map(|record| record.note.time()).min().unwrap_or_default()
}
