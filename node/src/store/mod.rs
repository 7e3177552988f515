//! The store: encrypted blocks on disk, and which of them may be served.
//!
//! A block is kept as it travels, as the tail of MSG_BLK ([MS-PCCRR] 2.2.5.3): the store has no key and needs none.
//! Records are appended to *packs*; beside each pack a *sidecar* of small entries is the index on disk, from which the
//! index in memory is made when the store is opened. In memory a version 2 segment costs 48 bytes (its id and 16 bytes
//! for the record) and 6 to 8 of hash table; a further block of a version 1 segment costs 16 bytes.
//!
//! What holds, whatever happens to the process, the machine or the files:
//! - a read gives the bytes that were appended, or nothing;
//! - what was removed or cleared does not come back;
//! - a killed process loses the block that was being appended, a power failure the last few seconds;
//! - damage costs the records that were damaged; a damaged sidecar costs the time to read its pack;
//! - a full disk stops appending, not reading, and is tried again.
//!
//! | module | what it does |
//! |---|---|
//! | `types`, `stats` | the words of the interface |
//! | `policy` | what to keep and what to drop, as pure functions |
//! | `entry` | the formats on disk |
//! | `pack`, `scan` | the files |
//! | `place`, `index`, `table`, `tags` | the index in memory |
//! | `serve` | the store as the source of a retrieval server, for peers or for a branch |
//! | `core` | what the operations share: `append`, `read`, `dropping`, `inspect`, `recover`, `maintain` |

mod append;
mod buffers;
mod core;
mod dropping;
mod entry;
mod index;
mod inspect;
mod locks;
mod maintain;
mod pack;
mod place;
mod policy;
mod read;
mod recover;
mod scan;
mod serve;
mod stats;
mod table;
mod tags;
#[cfg(test)]
mod tests;
mod types;

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::discovery::Held;
use peerdist_protocol::retrieval::BlkTail;

use append::Arrival;
pub use inspect::VerifyProgress;
use maintain::Maintained;
use read::{Attempt, Located};
pub use stats::{RefusedAppends, StoreStats};
pub use types::{
    AppendError, Audience, FileAction, FileError, Limits, Malformed, Refusal, SegmentHeld, SegmentKey, SegmentListing,
    SizeLimit, StoreConfig, StoreError, Tag, Trust,
};

/// An open store. Clones are handles of the same store; the last one closes it.
///
/// All methods may be called from any thread. Those that write may wait for the disk; those that look something up do
/// not touch it.
#[derive(Clone)]
pub struct Store(Arc<Maintained>);

impl Store {
    /// Opens the store in a directory, or makes one. No other process can open it until this one closes it.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        Self::open_with(config, core::Clock::System)
    }

    fn open_with(config: &StoreConfig, clock: core::Clock) -> Result<Self, StoreError> {
        let core = recover::open(config, clock)?;
        core.tidy();
        Ok(Self(Arc::new(Maintained::start(core, config.sync_interval)?)))
    }

    /// Stores a block. One that is held already stays as it is, unless the new one is bound and it is not, or the new
    /// one is blind and it is claimed: that is no error.
    ///
    /// The bytes are not looked at: the caller verified them, or says [`Trust::Blind`].
    pub fn append(
        &self,
        key: &SegmentKey,
        index: BlockIndex,
        tail: &BlkTail,
        trust: Trust,
        tag: Tag,
    ) -> Result<(), AppendError> {
        self.0.core.append(key, index, tail, Arrival::New(trust), tag)
    }

    /// Stores a blind block, in place of one that is not bound: the newest is served. Bound ones stay.
    pub fn replace(&self, key: &SegmentKey, index: BlockIndex, tail: &BlkTail, tag: Tag) -> Result<(), AppendError> {
        self.0.core.append(key, index, tail, Arrival::Again, tag)
    }

    /// The block, whatever its trust: for readers that verify it themselves. Waits for the disk if it has to.
    pub fn read(&self, id: &SegmentId, index: BlockIndex) -> Result<Option<BlkTail>, FileError> {
        self.read_for(id, index, Audience::Reader)
    }

    /// The block if it is [`Trust::Bound`]: for peers. Waits for the disk if it has to.
    pub fn read_bound(&self, id: &SegmentId, index: BlockIndex) -> Result<Option<BlkTail>, FileError> {
        self.read_for(id, index, Audience::Peers)
    }

    fn read_for(&self, id: &SegmentId, index: BlockIndex, audience: Audience) -> Result<Option<BlkTail>, FileError> {
        self.0.core.locate(id, index, audience).map_or(Ok(None), |located| self.0.core.read(located))
    }

    /// As [`Self::read`], for asynchronous callers: what is in the page cache is read on the spot, anything else on a
    /// thread that may wait.
    pub async fn read_async(&self, id: &SegmentId, index: BlockIndex) -> Result<Option<BlkTail>, FileError> {
        self.read_for_async(id, index, Audience::Reader).await
    }

    /// As [`Self::read_async`], of what is for an audience.
    pub async fn read_for_async(
        &self,
        id: &SegmentId,
        index: BlockIndex,
        audience: Audience,
    ) -> Result<Option<BlkTail>, FileError> {
        let Some(located) = self.0.core.locate(id, index, audience) else { return Ok(None) };
        match self.0.core.try_read(located)? {
            Attempt::Done(tail) => Ok(tail),
            Attempt::WouldBlock(located) => self.read_elsewhere(*located).await,
        }
    }

    async fn read_elsewhere(&self, located: Located) -> Result<Option<BlkTail>, FileError> {
        let core = Arc::clone(&self.0.core);
        // The runtime refuses only while it shuts down; then nobody waits for the block.
        tokio::task::spawn_blocking(move || core.read(located)).await.unwrap_or(Ok(None))
    }

    /// What is held of a segment.
    #[must_use]
    pub fn held(&self, id: &SegmentId) -> Option<SegmentHeld> {
        self.0.core.held(id)
    }

    /// The blocks of a segment that are for an audience.
    #[must_use]
    pub fn blocks_for(&self, id: &SegmentId, audience: Audience) -> BlockRanges {
        self.0.core.index.blocks_for(id, audience, self.0.core.not_before())
    }

    /// The next block of a segment, after this one, that is for an audience.
    #[must_use]
    pub fn next_for(&self, id: &SegmentId, after: BlockIndex, audience: Audience) -> Option<BlockIndex> {
        self.0.core.index.next_for(id, after, audience, self.0.core.not_before())
    }

    /// The time since the first block of a segment that is for an audience came.
    #[must_use]
    pub fn age_for(&self, id: &SegmentId, audience: Audience) -> Option<Duration> {
        self.0.core.age_for(id, audience)
    }

    /// The trust that a held block has.
    #[must_use]
    pub fn trust(&self, id: &SegmentId, index: BlockIndex) -> Option<Trust> {
        self.0.core.trust(id, index)
    }

    /// What a probe is told of a segment: bound blocks only.
    #[must_use]
    pub fn availability(&self, id: &SegmentId) -> Option<Held> {
        self.0.core.availability(id)
    }

    /// Says that the claimed blocks of a segment were verified against a complete list that matches HoD. Returns whether
    /// there was one.
    pub fn raise_to_bound(&self, id: &SegmentId) -> bool {
        self.0.core.raise(id)
    }

    /// Removes a segment. Returns how many blocks that were. Where it fails they are out of reach, but may come back
    /// after a power failure.
    pub fn remove(&self, id: &SegmentId) -> Result<u64, FileError> {
        self.0.core.remove_blocks(id, |_| true)
    }

    /// Removes one block, such as one that a reader found wrong.
    pub fn remove_block(&self, id: &SegmentId, index: BlockIndex) -> Result<bool, FileError> {
        Ok(self.0.core.remove_blocks(id, |record| record.note.index() == index)? > 0)
    }

    /// Removes all blocks that were appended with a tag. Returns how many.
    pub fn remove_tag(&self, tag: Tag) -> Result<u64, FileError> {
        self.0.core.remove_tag(tag)
    }

    /// Removes everything.
    pub fn clear(&self) -> Result<(), FileError> {
        self.0.core.clear()
    }

    /// Every segment, in no order.
    #[must_use]
    pub fn list(&self) -> Vec<SegmentListing> {
        let mut all = Vec::new();
        self.for_each_segment(|segment| all.push(segment));
        all
    }

    /// Shows every segment to `visit`, in no order and in little memory. Segments that come or go meanwhile may be
    /// missed. `visit` may use the store.
    pub fn for_each_segment(&self, visit: impl FnMut(SegmentListing)) {
        self.0.core.for_each_segment(visit);
    }

    /// How many bytes the cache may take now.
    #[must_use]
    pub fn limit_now(&self) -> u64 {
        self.0.core.limit_now()
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        self.0.core.stats()
    }

    /// Reads everything and compares checksums, telling `progress` now and then how far it is; it says whether to go
    /// on. Damaged blocks are given up. Holds one block in memory at a time.
    pub fn verify(
        &self,
        progress: impl FnMut(&VerifyProgress) -> ControlFlow<()>,
    ) -> Result<VerifyProgress, FileError> {
        self.0.core.verify(progress)
    }

    /// Changes the limits. A store that is larger than it may be shrinks at once.
    pub fn set_limits(&self, limits: Limits) -> Result<(), StoreError> {
        let limit = recover::limit(&self.0.core, &limits)?;
        self.0.core.set_limits(&limits, limit);
        self.0.core.tidy();
        Ok(())
    }

    /// Forces what was appended to the disk. The store does this by itself every few seconds and when it is closed.
    pub fn sync(&self) -> Result<(), FileError> {
        self.0.core.sync()
    }

    /// Forces everything to the disk and lets another process have the directory. Appends are refused from now on.
    pub fn close(&self) -> Result<(), FileError> {
        self.0.stop()
    }

    /// Where the store is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.core.dir
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir()).finish_non_exhaustive()
    }
}
