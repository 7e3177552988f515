//! The words of the store's interface: keys, trust, tags, limits and errors.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use peerdist_protocol::content::{BlockRanges, SegmentId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The store's own directory. Created with mode 0700 where it is missing, tightened to it where it is not.
    pub dir: PathBuf,
    /// How much it may keep, and for how long.
    pub limits: Limits,
    /// How often written blocks are forced to the disk: what a power failure may cost. A killed process costs nothing
    /// that was appended.
    pub sync_interval: Duration,
}

impl StoreConfig {
    /// A store in `dir` with the default limits, synced every five seconds.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), limits: Limits::default(), sync_interval: Duration::from_secs(5) }
    }
}

/// How much a store may keep, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The size of all its files.
    pub size: SizeLimit,
    /// Bytes of the volume that are left to others: the store shrinks rather than take them.
    pub keep_free: u64,
    /// The age from which a block is neither served nor read.
    pub max_age: Duration,
}

impl Default for Limits {
    /// What Windows does: 5 % of the volume, 28 days. 256 MiB are kept free.
    fn default() -> Self {
        Self {
            size: SizeLimit::PercentOfDisk(5),
            keep_free: 256 << 20,
            max_age: Duration::from_secs(28 * 24 * 60 * 60),
        }
    }
}

/// The size of all files of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeLimit {
    /// So many bytes, 16 MiB at least.
    Bytes(u64),
    /// So many hundredths of the volume that holds the store, 16 MiB at least.
    PercentOfDisk(u8),
}

/// A segment, and how many blocks it has as a whole (version 2: 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentKey {
    /// HoHoDk.
    pub id: SegmentId,
    /// Blocks of the whole segment, held or not: 1 to 512.
    pub block_count: u32,
}

/// What is known of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Offered to a hosted cache, with nothing that proves it: its readers have to verify it. Served by a hosted cache
    /// alone.
    Blind = 0,
    /// Verified against a block hash list that is partial and proves nothing to others.
    Claimed = 1,
    /// Verified against a block hash list that hashes to HoD, or against HoD itself (version 2). Only such blocks are
    /// announced to peers and served to them.
    Bound = 2,
}

impl Trust {
    /// Whether a block of this trust takes the place of one that is held. What the branch gets stays until it is proven,
    /// whatever a local reader's partial list says; what only a local reader trusts makes way for it.
    pub(super) fn replaces(self, held: Self) -> bool {
        match self {
            Self::Bound => held != Self::Bound,
            Self::Blind => held == Self::Claimed,
            Self::Claimed => false,
        }
    }
}

/// Who asks for blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The node itself, which verifies what it reads.
    Reader,
    /// Peers: they get what is [`Trust::Bound`].
    Peers,
    /// The clients of a hosted cache: they also get what is [`Trust::Blind`].
    Branch,
}

impl Audience {
    /// Whether blocks of this trust are for it.
    #[must_use]
    pub fn gets(self, trust: Trust) -> bool {
        match self {
            Self::Reader => true,
            Self::Peers => trust == Trust::Bound,
            Self::Branch => trust != Trust::Claimed,
        }
    }
}

/// Whose content a block is, for flushing: PEERDIST_CONTENT_TAG or the content tag of MS-PCHC, and the user it is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tag {
    /// The uid of the user whose tag it is.
    pub owner: u32,
    /// The 16 bytes that the user chose.
    pub bytes: [u8; 16],
}

impl Tag {
    /// The tag of blocks that have none.
    pub const NONE: Self = Self { owner: 0, bytes: [0; 16] };
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.owner, hex::encode(self.bytes))
    }
}

/// What the store holds of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeld {
    /// The blocks that can be read.
    pub blocks: BlockRanges,
    /// Those of them that are [`Trust::Bound`].
    pub bound: BlockRanges,
    /// Blocks of the whole segment.
    pub block_count: u32,
    /// The least trust of a held block.
    pub trust: Trust,
    /// Time since the first of the held blocks came.
    pub age: Duration,
}

/// One line of [`Store::list`](super::Store::list).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentListing {
    /// HoHoDk.
    pub id: SegmentId,
    /// Blocks of the whole segment.
    pub block_count: u32,
    /// Blocks that are held.
    pub blocks: u32,
    /// Bytes that the held blocks take on disk.
    pub bytes: u64,
    /// Time since the first of the held blocks came.
    pub age: Duration,
    /// The least trust of a held block.
    pub trust: Trust,
    /// The tag of the first held block.
    pub tag: Tag,
}

/// An operation on a file failed.
#[derive(Debug, Error)]
#[error("cannot {action} {path}: {source}")]
pub struct FileError {
    /// What was tried.
    pub action: FileAction,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// What was tried with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileAction {
    /// Create it.
    Create,
    /// Open it.
    Open,
    /// Lock it.
    Lock,
    /// Read from it.
    Read,
    /// Write to it.
    Write,
    /// Force it to the disk.
    Sync,
    /// Remove it.
    Remove,
    /// Ask for its properties, or those of its volume.
    Inspect,
    /// Restrict it to its owner.
    Restrict,
}

impl fmt::Display for FileAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Lock => "lock",
            Self::Read => "read",
            Self::Write => "write to",
            Self::Sync => "sync",
            Self::Remove => "remove",
            Self::Inspect => "inspect",
            Self::Restrict => "restrict to its owner",
        })
    }
}

impl FileAction {
    /// For `map_err`: names the action and the file.
    pub(super) fn at<'a>(self, path: &'a std::path::Path) -> impl FnOnce(io::Error) -> FileError + 'a {
        move |source| FileError { action: self, path: path.to_owned(), source }
    }
}

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("the cache in {} is in use by another process", dir.display())]
    InUse {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The directory is open to others and holds files that are no part of a store: restricting it could break them.
    #[error("{} is no directory of a cache: it holds {name:?}; name an empty directory", dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// One of the files.
        name: std::ffi::OsString,
    },
    /// A newer program made these files.
    #[error("{} has format {version}, which this version cannot read; remove it or use the newer version", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The limit is below 16 MiB.
    #[error("a cache of {limit} bytes is too small: 16 MiB is the least")]
    LimitTooSmall {
        /// The limit in bytes.
        limit: u64,
    },
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a block was not stored.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The caller's fault: these are no block.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The store takes nothing now; what it holds can be read.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A block that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// No segment has so many blocks.
    #[error("a segment has 1 to 512 blocks, not {0}")]
    BlockCount(u32),
    /// The segment has no such block.
    #[error("block {index} of a segment of {block_count} blocks")]
    Index {
        /// The block's index.
        index: u32,
        /// The segment's blocks.
        block_count: u32,
    },
    /// The bytes have not the size that follows from cipher and block.
    #[error("{size} bytes are no record of a block of {size_of_block} bytes")]
    Size {
        /// Bytes given.
        size: usize,
        /// SizeOfBlock of the record.
        size_of_block: u32,
    },
    /// The segment is known with another number of blocks.
    #[error("the segment has {known} blocks, not {given}")]
    BlockCountConflict {
        /// The number known.
        known: u32,
        /// The number given.
        given: u32,
    },
}

/// Why the store takes no blocks now. Reads go on; appends are tried again after a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The volume is full.
    #[error("the volume of the cache is full")]
    DiskFull,
    /// Too little would be left to others.
    #[error("the volume of the cache has less free space than is to be kept free")]
    KeepFree,
    /// Writing failed.
    #[error("writing to the cache failed")]
    WriteFailed,
    /// There are as many different tags as the index can name.
    #[error("the cache holds blocks of too many different tags")]
    TooManyTags,
    /// The store was closed.
    #[error("the cache is closed")]
    Closed,
}

impl Refusal {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 5] = [Self::DiskFull, Self::KeepFree, Self::WriteFailed, Self::TooManyTags, Self::Closed];
}
