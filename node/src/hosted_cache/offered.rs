//! A segment that somebody offered: what is known of it, and what becomes of its blocks.

use std::ops::Range;

use peerdist_protocol::content::{
    AES_IV_SIZE, BLOCK_SIZE_V1, BlockIndex, CryptoAlgoId, EncryptedBlock, OfferedSegment, ParseError, Segment,
    SegmentId,
};
use peerdist_protocol::hosted_cache::{ContentTag, Ignored, SegmentDescriptor};
use peerdist_protocol::retrieval::BlkTail;

use crate::store::{AppendError, Audience, SegmentKey, Store, Tag, Trust};

/// The cipher block of AES: ciphertext is at most so much longer than plaintext.
const CIPHER_BLOCK: usize = 16;

/// An offered segment.
#[derive(Debug, Clone)]
pub(super) struct Offered {
    pub(super) id: SegmentId,
    /// Blocks of the whole segment: 1 to 512.
    pub(super) block_count: u32,
    block_size: u32,
    segment_size: u32,
    pub(super) tag: ContentTag,
    /// Whether somebody says with it that what is held is no good: it is complete, or of another number of blocks.
    pub(super) complaint: bool,
    /// Its hashes and its secret where they are known and to be used.
    pub(super) proof: Option<Box<Segment>>,
}

/// How much of a segment is held already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    /// Not all of it.
    Partly,
    /// Something of it, unproven, as if it had another number of blocks: one of the two is wrong.
    Differently,
    /// All of it, but not all of it is proven.
    Blind,
    /// All of it, proven.
    Bound,
    /// Something of it, and proof that it has another number of blocks.
    Otherwise,
}

/// What a block came to.
#[derive(Debug)]
pub(super) enum Kept {
    Yes,
    /// It is not what was offered.
    Wrong,
    /// The cache did not take it.
    Refused(AppendError),
}

impl Offered {
    /// What a descriptor of a BATCHED_OFFER says.
    pub(super) fn described(descriptor: &SegmentDescriptor, complaint: bool) -> Result<Self, Ignored> {
        Ok(Self {
            id: descriptor.segment_id,
            block_count: descriptor.block_count()?,
            block_size: descriptor.block_size,
            segment_size: descriptor.segment_size,
            tag: descriptor.content_tag,
            complaint,
            proof: None,
        })
    }

    /// What a SEGMENT_INFO says, for who believes nothing of it.
    pub(super) fn blind(segment: &OfferedSegment, tag: ContentTag) -> Self {
        Self {
            id: segment.id(),
            block_count: segment.block_count(),
            block_size: BLOCK_SIZE_V1,
            segment_size: segment.length(),
            tag,
            complaint: false,
            proof: None,
        }
    }

    /// What a SEGMENT_INFO says, for who verifies it.
    pub(super) fn verified(segment: OfferedSegment, tag: ContentTag) -> Result<Self, ParseError> {
        let blind = Self::blind(&segment, tag);
        Ok(Self { proof: Some(Box::new(segment.into_segment()?)), ..blind })
    }

    /// Whether all its blocks can be proven to others.
    pub(super) fn is_bound(&self) -> bool {
        self.proof.as_ref().is_some_and(|segment| segment.is_bound())
    }

    /// How much of it the store holds.
    pub(super) fn held(&self, store: &Store) -> Held {
        held(store, &self.id, self.block_count)
    }

    /// The blocks that can be fetched: those with a hash, or all where there are none.
    pub(super) fn listed(&self) -> Range<BlockIndex> {
        self.proof.as_ref().map_or(0..self.block_count, |segment| segment.listed_blocks())
    }

    /// Those of some blocks that are to be fetched.
    pub(super) fn wanted(&self, store: &Store, blocks: Range<BlockIndex>) -> Vec<BlockIndex> {
        let audience = if self.is_bound() { Audience::Peers } else { Audience::Branch };
        let held = if self.complaint {
            // What is proven stays, the rest makes way.
            store.blocks_for(&self.id, Audience::Peers)
        } else {
            store.blocks_for(&self.id, audience)
        };
        blocks.filter(|index| !held.contains(*index)).collect()
    }

    /// Checks a block as it came and stores it. May wait for the disk.
    pub(super) fn keep(&self, store: &Store, index: BlockIndex, block: &EncryptedBlock) -> Kept {
        match &self.proof {
            None if !self.has_right_size(index, block) => Kept::Wrong,
            None => self.store(store, index, block),
            Some(segment) => match open(segment, index, block) {
                None => Kept::Wrong,
                Some(None) => self.store(store, index, block),
                Some(Some(sealed)) => self.store(store, index, &sealed),
            },
        }
    }

    fn store(&self, store: &Store, index: BlockIndex, block: &EncryptedBlock) -> Kept {
        let key = SegmentKey { id: self.id, block_count: self.block_count };
        let tag = Tag { owner: 0, bytes: self.tag.0 };
        let tail = BlkTail::from(block);
        let stored = match self.is_bound() {
            true => store.append(&key, index, &tail, Trust::Bound, tag),
            false if self.complaint => store.replace(&key, index, &tail, tag),
            false => store.append(&key, index, &tail, Trust::Blind, tag),
        };
        stored.map_or_else(Kept::Refused, |()| Kept::Yes)
    }

    /// Whether a block that cannot be opened could be the one that was announced.
    fn has_right_size(&self, index: BlockIndex, block: &EncryptedBlock) -> bool {
        let plain =
            self.segment_size.saturating_sub(self.block_size.saturating_mul(index)).min(self.block_size) as usize;
        match block.algorithm {
            CryptoAlgoId::None => block.data.len() == plain,
            _ => (plain..=plain + CIPHER_BLOCK).contains(&block.data.len()),
        }
    }
}

/// How much of a segment the store holds.
pub(super) fn held(store: &Store, id: &SegmentId, block_count: u32) -> Held {
    let Some(held) = store.held(id) else { return Held::Nothing };
    if held.block_count != block_count {
        return if held.bound.is_empty() { Held::Differently } else { Held::Otherwise };
    }
    if held.bound.len() >= block_count {
        Held::Bound
    } else if store.blocks_for(id, Audience::Branch).len() >= block_count {
        Held::Blind
    } else {
        Held::Partly
    }
}

/// Opens a block: `None` where it is wrong. What is as we would have sent it is kept as it came; anything else is
/// encrypted afresh.
fn open(segment: &Segment, index: BlockIndex, block: &EncryptedBlock) -> Option<Option<EncryptedBlock>> {
    let opened = block.open(segment.secret(), &segment.block_check(index)?).ok()?;
    if opened.canonical {
        return Some(None);
    }
    let mut iv = [0; AES_IV_SIZE];
    getrandom::fill(&mut iv).ok()?;
    EncryptedBlock::seal(&opened.block, segment.secret(), CryptoAlgoId::Aes128, iv).ok().map(Some)
}

/// A segment of a BATCHED_OFFER while it waits: 60 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    id: [u8; 32],
    tag: [u8; 16],
    block_size: u32,
    segment_size: u32,
    hash_algorithm: u8,
    complaint: bool,
}

impl Waiting {
    /// `None` for an id that no descriptor has.
    pub(super) fn new(descriptor: &SegmentDescriptor, complaint: bool) -> Option<Self> {
        Some(Self {
            id: descriptor.segment_id.as_bytes().try_into().ok()?,
            tag: descriptor.content_tag.0,
            block_size: descriptor.block_size,
            segment_size: descriptor.segment_size,
            hash_algorithm: descriptor.hash_algorithm,
            complaint,
        })
    }

    pub(super) fn offered(&self) -> Option<Offered> {
        let descriptor = SegmentDescriptor {
            block_size: self.block_size,
            segment_size: self.segment_size,
            content_tag: ContentTag(self.tag),
            hash_algorithm: self.hash_algorithm,
            segment_id: SegmentId::from_slice(&self.id)?,
        };
        Offered::described(&descriptor, self.complaint).ok()
    }
}

/// SegmentInformation of an offer while it waits, and what it takes in memory.
pub(super) fn size_in_memory(offered: &Offered) -> usize {
    let hashes = |segment: &Segment| segment.listed_blocks().len() * segment.algorithm().size();
    size_of::<Offered>() + offered.proof.as_ref().map_or(0, |segment| size_of::<Segment>() + hashes(segment))
}
