//! One segment of a content and what its content information says of it.

use std::ops::Range;

use bytes::Bytes;

use super::{BLOCK_SIZE_V1, BlockCheck, BlockIndex, SegmentHashOfData, SegmentId, SegmentSecret};
use crate::crypto::{HashAlgorithm, HashValue};
use crate::wire::{Reader, Truncated};

/// A segment ([MS-PCCRC] 2.3.1.1, 2.4.1.2). Cheap to clone: block hashes are shared, not copied.
///
/// Offset, length, hash and secret are always those of the whole segment, even where content information covers
/// a part of it only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    algorithm: HashAlgorithm,
    offset: u64,
    length: u32,
    id: SegmentId,
    hash_of_data: SegmentHashOfData,
    secret: SegmentSecret,
    blocks: Blocks,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Blocks {
    /// Version 1: the hashes of consecutive blocks from `first` on, [`HashAlgorithm::size`] bytes each.
    Listed { first: BlockIndex, hashes: Bytes },
    /// Version 2: the segment is its only block.
    Whole,
}

impl Segment {
    /// A version 1 segment whose block list begins with block `first`.
    pub(super) fn listed(description: Description, first: BlockIndex, hashes: Bytes) -> Self {
        description.into_segment(Blocks::Listed { first, hashes })
    }

    /// A version 2 segment.
    pub(super) fn whole(description: Description) -> Self {
        description.into_segment(Blocks::Whole)
    }

    /// The same segment with the hashes of blocks `first` to `last` alone; those which are not listed stay so.
    pub(super) fn with_blocks(&self, first: BlockIndex, last: BlockIndex) -> Self {
        let blocks = match &self.blocks {
            Blocks::Whole => Blocks::Whole,
            Blocks::Listed { first: base, hashes } => {
                let size = self.algorithm.size();
                let first = first.max(*base);
                let start = (size * (first - base) as usize).min(hashes.len());
                let end = (size * ((last + 1).saturating_sub(*base)) as usize).clamp(start, hashes.len());
                Blocks::Listed { first, hashes: hashes.slice(start..end) }
            }
        };
        Self { blocks, ..self.clone() }
    }

    /// HoHoDk, the public name.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// HoD.
    #[must_use]
    pub fn hash_of_data(&self) -> &SegmentHashOfData {
        &self.hash_of_data
    }

    /// Kp.
    #[must_use]
    pub fn secret(&self) -> &SegmentSecret {
        &self.secret
    }

    /// The hash of the content information.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Where the segment begins in the content, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes the whole segment has, at least one.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// The bytes of the content that the whole segment covers.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.length)
    }

    /// How many blocks the whole segment has: up to 512 in version 1, one in version 2.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.length.div_ceil(self.block_size())
    }

    /// The size of every block but the last in bytes: 65,536 in version 1, the segment's length in version 2.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        match self.blocks {
            Blocks::Listed { .. } => BLOCK_SIZE_V1,
            Blocks::Whole => self.length,
        }
    }

    /// The bytes of the content that a block covers; `None` where the segment has no such block.
    #[must_use]
    pub fn block_range(&self, index: BlockIndex) -> Option<Range<u64>> {
        if index >= self.block_count() {
            return None;
        }
        let size = u64::from(self.block_size());
        let start = self.offset + u64::from(index) * size;
        Some(start..(start + size).min(self.range().end))
    }

    /// What a block's plaintext must be; `None` where its hash is not listed.
    #[must_use]
    pub fn block_check(&self, index: BlockIndex) -> Option<BlockCheck> {
        let range = self.block_range(index)?;
        let hash = match &self.blocks {
            Blocks::Whole => self.hash_of_data.value(),
            Blocks::Listed { first, hashes } => {
                let size = self.algorithm.size();
                let start = size * index.checked_sub(*first)? as usize;
                HashValue::from_slice(hashes.get(start..start + size)?)?
            }
        };
        Some(BlockCheck { algorithm: self.algorithm, hash, length: u32::try_from(range.end - range.start).ok()? })
    }

    /// The blocks whose hashes are listed. In version 2 the segment itself is block 0.
    #[must_use]
    pub fn listed_blocks(&self) -> Range<BlockIndex> {
        match &self.blocks {
            Blocks::Whole => 0..1,
            Blocks::Listed { first, .. } => *first..*first + self.block_hashes_len(),
        }
    }

    /// Whether every block's hash is vouched for by HoD: a complete list (checked when it was parsed), or version 2.
    /// A partial list proves its blocks to the one who got it from the origin, and nothing to anybody else.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.listed_blocks() == (0..self.block_count())
    }

    /// The listed hashes as they travel in SegmentContentBlocks; none in version 2.
    pub(super) fn block_hashes(&self) -> &[u8] {
        match &self.blocks {
            Blocks::Whole => &[],
            Blocks::Listed { hashes, .. } => hashes,
        }
    }

    fn block_hashes_len(&self) -> u32 {
        // A list has at most 512 hashes: its length was compared with the segment's block count.
        u32::try_from(self.block_hashes().len() / self.algorithm.size()).unwrap_or(u32::MAX)
    }
}

/// The part that both versions have in common.
pub(super) struct Description {
    pub(super) algorithm: HashAlgorithm,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) hash_of_data: SegmentHashOfData,
    pub(super) secret: SegmentSecret,
}

impl Description {
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }

    fn into_segment(self, blocks: Blocks) -> Segment {
        let Self { algorithm, offset, length, hash_of_data, secret } = self;
        let id = SegmentId::derive(algorithm, &secret, &hash_of_data);
        Segment { algorithm, offset, length, id, hash_of_data, secret, blocks }
    }
}

/// HoD and Kp, which stand side by side in both versions.
pub(super) fn read_hash_and_secret(
    reader: &mut Reader<'_>,
    algorithm: HashAlgorithm,
) -> Result<(SegmentHashOfData, SegmentSecret), Truncated> {
    let both = reader.sub(2 * algorithm.size())?;
    let too_short = Truncated { offset: both.offset(), needed: 2 * algorithm.size(), left: both.left() };
    let (hash_of_data, secret) = both.rest().split_at_checked(algorithm.size()).ok_or(too_short)?;
    let hash_of_data = SegmentHashOfData::from_slice(hash_of_data).ok_or(too_short)?;
    Ok((hash_of_data, SegmentSecret::from_slice(secret).ok_or(too_short)?))
}
