//! The work on one block that needs a processor or the disk: decrypt, hash, encrypt, store. Called on threads that may
//! wait.

use bytes::Bytes;
use peerdist_protocol::content::{
    AES_IV_SIZE, BlockCheck, BlockIndex, CryptoAlgoId, EncryptedBlock, OpenError, SegmentSecret, VerifiedBlock,
    WrongHash,
};
use peerdist_protocol::retrieval::BlkTail;

use crate::store::{AppendError, SegmentKey, Store, Tag, Trust};

/// A block, what it has to be, and where it goes.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) store: Option<Store>,
    pub(super) key: SegmentKey,
    pub(super) index: BlockIndex,
    pub(super) check: BlockCheck,
    pub(super) secret: SegmentSecret,
    pub(super) trust: Trust,
}

/// Whether a verified block is in the cache now.
#[derive(Debug)]
pub(super) enum Kept {
    /// It is, or there is no cache.
    Yes,
    /// The cache did not take it.
    No(AppendError),
}

/// What was found in the cache.
#[derive(Debug)]
pub(super) enum Cached {
    /// The verified block.
    Block(Bytes),
    /// Nothing any more.
    Gone,
    /// Something that is not the block; it was removed.
    Bad,
}

impl Work {
    /// Decrypts and verifies what a peer sent, and stores it: as it came if it is as we would have sent it, encrypted
    /// afresh if not.
    pub(super) fn take_in(&self, block: &EncryptedBlock) -> Result<(Bytes, Kept), OpenError> {
        let opened = block.open(&self.secret, &self.check)?;
        let kept = if opened.canonical { self.keep(block, self.trust) } else { self.seal_and_keep(&opened.block) };
        Ok((opened.block.into_bytes(), kept))
    }

    /// Verifies plaintext and stores it.
    pub(super) fn add(&self, plain: Bytes) -> Result<(Bytes, Kept), WrongHash> {
        let block = VerifiedBlock::verify(plain, &self.check)?;
        let held = self.store.as_ref().and_then(|store| store.trust(&self.key.id, self.index));
        let kept = if held >= Some(self.trust) { Kept::Yes } else { self.seal_and_keep(&block) };
        Ok((block.into_bytes(), kept))
    }

    /// Reads the block from the cache. A record that was stored with less trust than can be proven now gets it.
    pub(super) fn read(&self) -> Cached {
        let Some(store) = &self.store else { return Cached::Gone };
        let tail = match store.read(&self.key.id, self.index) {
            Ok(Some(tail)) => tail,
            Ok(None) => return Cached::Gone,
            Err(error) => {
                tracing::warn!(%error, "a cached block cannot be read");
                return Cached::Gone;
            }
        };
        let opened = tail.to_encrypted_block().ok().and_then(|block| block.open(&self.secret, &self.check).ok());
        let Some(opened) = opened else {
            if let Err(error) = store.remove_block(&self.key.id, self.index) {
                tracing::warn!(%error, "a wrong block cannot be removed from the cache");
            }
            return Cached::Bad;
        };
        if self.trust == Trust::Bound
            && store.trust(&self.key.id, self.index) < Some(Trust::Bound)
            && let Err(error) = store.append(&self.key, self.index, &tail, Trust::Bound, Tag::NONE)
        {
            tracing::debug!(%error, "a cached block keeps the trust it had");
        }
        Cached::Block(opened.block.into_bytes())
    }

    fn seal_and_keep(&self, block: &VerifiedBlock) -> Kept {
        if self.store.is_none() {
            return Kept::Yes;
        }
        let mut iv = [0; AES_IV_SIZE];
        if getrandom::fill(&mut iv).is_err() {
            // Without randomness nothing may be encrypted; the reader has the bytes all the same.
            return Kept::Yes;
        }
        match EncryptedBlock::seal(block, &self.secret, CryptoAlgoId::Aes128, iv) {
            Ok(sealed) => self.keep(&sealed, self.trust),
            Err(_) => Kept::Yes,
        }
    }

    fn keep(&self, block: &EncryptedBlock, trust: Trust) -> Kept {
        let Some(store) = &self.store else { return Kept::Yes };
        match store.append(&self.key, self.index, &BlkTail::from(block), trust, Tag::NONE) {
            Ok(()) => Kept::Yes,
            Err(error) => Kept::No(error),
        }
    }
}
