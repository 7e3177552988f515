//! The work on one block that needs a processor or the disk: decrypt, hash, encrypt, store. Called on threads that may
//! wait.

use bytes::Bytes;
use peerdist_protocol::content::{
    AES_IV_SIZE, BlockCheck, BlockIndex, CryptoAlgoId, EncryptedBlock, Opened, SegmentSecret, VerifiedBlock,
};
use peerdist_protocol::retrieval::BlkTail;

use crate::store::{AppendError, FileError, SegmentKey, Store, Tag, Trust};

/// A block, what it has to be, and where it goes.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) store: Option<Store>,
    pub(super) key: SegmentKey,
    pub(super) index: BlockIndex,
    pub(super) check: BlockCheck,
    pub(super) secret: SegmentSecret,
    pub(super) trust: Trust,
    pub(super) tag: Tag,
}

/// Whether a verified block is in the cache now.
#[derive(Debug)]
pub(super) enum Kept {
    /// It is, since now.
    Stored,
    /// It was before, or there is no cache.
    Unchanged,
    /// The cache did not take it.
    No(AppendError),
}

/// Where the bytes of a block come from.
#[derive(Debug)]
pub(super) enum Given {
    /// As a peer sent it.
    Encrypted(EncryptedBlock),
    /// In the clear, from the origin.
    Plain(Bytes),
    /// It is to be read from the cache.
    Cached,
}

/// What became of a block.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is what it has to be.
    Verified(Bytes, Kept),
    /// It is something else. If it was in the cache, it was removed there.
    Wrong,
    /// The cache does not have it any more.
    Gone,
}

/// A block as it can be verified.
enum Loaded {
    Encrypted(EncryptedBlock),
    Plain(Bytes),
    /// Its record in the cache is no block.
    Damaged,
    Gone,
}

impl Loaded {
    fn from_cache(read: Result<Option<BlkTail>, FileError>) -> Self {
        match read {
            Ok(Some(tail)) => tail.to_encrypted_block().map_or(Self::Damaged, Self::Encrypted),
            Ok(None) => Self::Gone,
            Err(error) => {
                tracing::warn!(%error, "a cached block cannot be read");
                Self::Gone
            }
        }
    }
}

/// Decrypts, verifies and stores independent blocks: together, because that is faster than one after the other.
pub(super) fn do_each(works: Vec<(Work, Given)>) -> Vec<Outcome> {
    settle_each(&works.into_iter().map(|(work, given)| (work.load(&given), given, work)).collect::<Vec<_>>())
}

/// Reads a few blocks from the cache and verifies them, on a thread that may not wait for the disk.
pub(super) async fn read_each(works: Vec<Work>) -> Vec<Outcome> {
    let mut loaded = Vec::with_capacity(works.len());
    for work in works {
        let read = match &work.store {
            Some(store) => store.read_async(&work.key.id, work.index).await,
            None => Ok(None),
        };
        loaded.push((Loaded::from_cache(read), Given::Cached, work));
    }
    settle_each(&loaded)
}

fn settle_each(works: &[(Loaded, Given, Work)]) -> Vec<Outcome> {
    let (mut encrypted, mut plain) = (Vec::new(), Vec::new());
    for (loaded, _, work) in works {
        match loaded {
            Loaded::Encrypted(block) => encrypted.push((block, &work.secret, &work.check)),
            Loaded::Plain(bytes) => plain.push((bytes.clone(), &work.check)),
            Loaded::Damaged | Loaded::Gone => {}
        }
    }
    let mut opened = EncryptedBlock::open_each(&encrypted).into_iter();
    let mut verified = VerifiedBlock::verify_each(plain).into_iter();
    let settle = |(loaded, given, work): &(Loaded, Given, Work)| match loaded {
        Loaded::Encrypted(block) => {
            let opened = opened.next().and_then(Result::ok);
            opened.map_or_else(|| work.is_wrong(given), |opened| work.is_opened(given, block, opened))
        }
        Loaded::Plain(_) => {
            let verified = verified.next().and_then(Result::ok);
            verified.map_or(Outcome::Wrong, |block| work.is_added(block))
        }
        Loaded::Damaged => work.is_wrong(given),
        Loaded::Gone => Outcome::Gone,
    };
    works.iter().map(settle).collect()
}

impl Work {
    fn load(&self, given: &Given) -> Loaded {
        let store = match given {
            Given::Encrypted(block) => return Loaded::Encrypted(block.clone()),
            Given::Plain(bytes) => return Loaded::Plain(bytes.clone()),
            Given::Cached => &self.store,
        };
        Loaded::from_cache(store.as_ref().map_or(Ok(None), |store| store.read(&self.key.id, self.index)))
    }

    /// Stores what a peer sent: as it came if it is as we would have sent it, encrypted afresh if not. A record that was
    /// stored with less trust than can be proven now gets it.
    fn is_opened(&self, given: &Given, encrypted: &EncryptedBlock, opened: Opened) -> Outcome {
        let kept = match given {
            Given::Cached if self.has_trust() => Kept::Unchanged,
            _ if opened.canonical => self.keep(encrypted),
            _ => self.seal_and_keep(&opened.block),
        };
        Outcome::Verified(opened.block.into_bytes(), kept)
    }

    fn is_added(&self, block: VerifiedBlock) -> Outcome {
        let kept = if self.has_trust() { Kept::Unchanged } else { self.seal_and_keep(&block) };
        Outcome::Verified(block.into_bytes(), kept)
    }

    fn is_wrong(&self, given: &Given) -> Outcome {
        if let (Given::Cached, Some(store)) = (given, &self.store)
            && let Err(error) = store.remove_block(&self.key.id, self.index)
        {
            tracing::warn!(%error, "a wrong block cannot be removed from the cache");
        }
        Outcome::Wrong
    }

    /// Whether the cache has the block, with all the trust that can be proven.
    fn has_trust(&self) -> bool {
        self.store.as_ref().and_then(|store| store.trust(&self.key.id, self.index)) >= Some(self.trust)
    }

    fn seal_and_keep(&self, block: &VerifiedBlock) -> Kept {
        if self.store.is_none() {
            return Kept::Unchanged;
        }
        let mut iv = [0; AES_IV_SIZE];
        if getrandom::fill(&mut iv).is_err() {
            // Without randomness nothing may be encrypted; the reader has the bytes all the same.
            return Kept::Unchanged;
        }
        match EncryptedBlock::seal(block, &self.secret, CryptoAlgoId::Aes128, iv) {
            Ok(sealed) => self.keep(&sealed),
            Err(_) => Kept::Unchanged,
        }
    }

    fn keep(&self, block: &EncryptedBlock) -> Kept {
        let Some(store) = &self.store else { return Kept::Unchanged };
        match store.append(&self.key, self.index, &BlkTail::from(block), self.trust, self.tag) {
            Ok(()) => Kept::Stored,
            Err(error) => Kept::No(error),
        }
    }
}
