//! Files to content information, on several threads.
//!
//! The result is the same whatever the number of threads: [`Splitter`] cuts, threads hash, [`Assembler`] sorts.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Mutex, TryLockError};
use std::thread;

use peerdist_protocol::content::{
    Assembler, HashError, HashOptions, Hashed, Piece, PieceHashes, ServerSecret, Splitter,
};
use thiserror::Error;

/// How many pieces, of about a mebibyte each, wait for every thread at most.
const PIECES_WAITING: usize = 2;

/// Why a file has no content information. All but [`Self::Hash`] concern the file, not its bytes.
#[derive(Debug, Error)]
pub enum HashFileError {
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is a directory, a device or the like.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// Which file.
        path: PathBuf,
    },
    /// The file was written to, truncated or replaced while it was read. Hashing it again is the remedy.
    #[error("{} changed while it was hashed", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// The content has no content information: it is empty, or far too large.
    #[error("{} has no content information", path.display())]
    Hash {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: HashError,
    },
}

/// Makes content information of a file on `threads` threads, this one among them. Blocks until it is done.
///
/// # Errors
/// See [`HashFileError`]. A file that changes meanwhile is detected by its size, times and inode.
pub fn hash_file(
    path: &Path,
    options: HashOptions,
    secret: &ServerSecret,
    threads: NonZeroUsize,
) -> Result<Hashed, HashFileError> {
    let read_error = |source| HashFileError::Read { path: path.to_owned(), source };
    let changed = || HashFileError::Changed { path: path.to_owned() };
    let file = File::open(path).map_err(read_error)?;
    let before = FileState::of(&file).map_err(read_error)?;
    if !before.is_file {
        return Err(HashFileError::NotAFile { path: path.to_owned() });
    }
    let hashed = match hash_reader(&file, options, secret, threads) {
        Ok(hashed) => hashed,
        Err(HashReaderError::Read(source)) => return Err(read_error(source)),
        Err(HashReaderError::Hash(_)) if FileState::of(&file).map_err(read_error)? != before => return Err(changed()),
        Err(HashReaderError::Hash(source)) => return Err(HashFileError::Hash { path: path.to_owned(), source }),
    };
    if hashed.length != before.length || FileState::of(&file).map_err(read_error)? != before {
        return Err(changed());
    }
    Ok(hashed)
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileState {
    pub(crate) is_file: bool,
    pub(crate) inode: u64,
    pub(crate) length: u64,
    /// Seconds and nanoseconds since 1970 of the last change of the bytes.
    pub(crate) modified: (i64, i64),
    /// The same of the last change of bytes or attributes, which no program can set.
    pub(crate) changed: (i64, i64),
}

impl FileState {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            is_file: metadata.is_file(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Why a stream of bytes has no content information.
#[derive(Debug, Error)]
pub enum HashReaderError {
    /// Reading failed.
    #[error("reading the content failed")]
    Read(#[from] io::Error),
    /// The content is empty, or far too large.
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// Makes content information of everything that `reader` yields, on `threads` threads, this one among them.
///
/// # Errors
/// The reader's error, or the reason why these bytes have no content information.
pub fn hash_reader(
    mut reader: impl Read,
    options: HashOptions,
    secret: &ServerSecret,
    threads: NonZeroUsize,
) -> Result<Hashed, HashReaderError> {
    let helpers = threads.get() - 1;
    let (waiting, pieces) = sync_channel((helpers * PIECES_WAITING).max(1));
    let (done, hashes) = channel();
    let pieces = Mutex::new(pieces);
    thread::scope(|scope| {
        let mut started = 0;
        for _ in 0..helpers {
            let (pieces, done) = (&pieces, done.clone());
            let helper = move || help(pieces, &done);
            // Where the system has no thread to give, the work is done by fewer: slower, but right.
            started +=
                usize::from(thread::Builder::new().name("peerdist-hash".into()).spawn_scoped(scope, helper).is_ok());
        }
        let mut crew = Crew { waiting: (started > 0).then_some(waiting), pieces: &pieces, done, hashes };
        let result = crew.hash(&mut reader, options, secret);
        // The helpers end when nobody can give them pieces any more.
        drop(crew);
        result
    })
}

fn help(pieces: &Mutex<Receiver<Piece>>, done: &Sender<PieceHashes>) {
    loop {
        let Ok(next) = pieces.lock().map(|pieces| pieces.recv()) else { return };
        let Ok(piece) = next else { return };
        if done.send(piece.hash()).is_err() {
            return;
        }
    }
}

struct Crew<'a> {
    /// `None` where this thread is alone.
    waiting: Option<SyncSender<Piece>>,
    pieces: &'a Mutex<Receiver<Piece>>,
    done: Sender<PieceHashes>,
    hashes: Receiver<PieceHashes>,
}

impl Crew<'_> {
    fn hash(
        &mut self,
        reader: &mut impl Read,
        options: HashOptions,
        secret: &ServerSecret,
    ) -> Result<Hashed, HashReaderError> {
        let mut splitter = Splitter::new(options);
        let mut assembler = Assembler::new(options, secret);
        loop {
            let count = match reader.read(splitter.space()) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(piece) = splitter.advance(count) {
                self.give(piece);
            }
            while let Ok(hashes) = self.hashes.try_recv() {
                splitter.recycle(assembler.add(hashes));
            }
        }
        self.give(splitter.finish());
        self.waiting = None;
        while let Some(piece) = self.take_back() {
            assembler.add(piece.hash());
        }
        // Nobody is left to send but the helpers, who end with their last piece.
        drop(std::mem::replace(&mut self.done, channel().0));
        while let Ok(hashes) = self.hashes.recv() {
            assembler.add(hashes);
        }
        Ok(assembler.finish()?)
    }

    /// Leaves a piece to the helpers, or hashes it here where they have enough to do.
    fn give(&self, piece: Piece) {
        let own = match &self.waiting {
            None => piece,
            Some(waiting) => match waiting.try_send(piece) {
                Ok(()) => return,
                Err(TrySendError::Full(piece) | TrySendError::Disconnected(piece)) => piece,
            },
        };
        // The receiver lives as long as this crew.
        let _ = self.done.send(own.hash());
    }

    /// A piece that no helper has begun with.
    fn take_back(&self) -> Option<Piece> {
        match self.pieces.try_lock() {
            Ok(pieces) => pieces.try_recv().ok(),
            // A helper waits there for a piece, so there is none; or helpers died, and then the assembler will tell.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => None,
        }
    }
}
