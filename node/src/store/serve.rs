//! The store as the source of a retrieval server: peers get what is bound.

use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::retrieval::BlkTail;
use peerdist_transport::retrieval::server::BlockSource;

use super::Store;

impl BlockSource for Store {
    fn held(&self, segment: &SegmentId) -> BlockRanges {
        self.bound_blocks(segment)
    }

    fn next_held(&self, segment: &SegmentId, after: BlockIndex) -> Option<BlockIndex> {
        self.next_bound(segment, after)
    }

    /// A block that cannot be read is as one that is not held; the store counts why.
    async fn read(&self, segment: &SegmentId, index: BlockIndex) -> Option<BlkTail> {
        self.read_bound_async(segment, index).await.ok().flatten()
    }

    fn age(&self, segment: &SegmentId) -> Option<Duration> {
        self.availability(segment)?.age
    }
}
