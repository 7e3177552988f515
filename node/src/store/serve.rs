//! The store as the source of a retrieval server.

use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::retrieval::BlkTail;
use peerdist_transport::retrieval::server::BlockSource;

use super::{Audience, Store};

/// Peers get what is bound.
impl BlockSource for Store {
    fn held(&self, segment: &SegmentId) -> BlockRanges {
        self.blocks_for(segment, Audience::Peers)
    }

    fn next_held(&self, segment: &SegmentId, after: BlockIndex) -> Option<BlockIndex> {
        self.next_for(segment, after, Audience::Peers)
    }

    /// A block that cannot be read is as one that is not held; the store counts why.
    async fn read(&self, segment: &SegmentId, index: BlockIndex) -> Option<BlkTail> {
        self.read_for_async(segment, index, Audience::Peers).await.ok().flatten()
    }

    fn age(&self, segment: &SegmentId) -> Option<Duration> {
        self.age_for(segment, Audience::Peers)
    }
}
