//! `peerdist cache add FILE`: puts a file into the cache, block by block, each verified.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use indicatif::HumanBytes;
use peerdist_protocol::content::{
    AES_IV_SIZE, BlockIndex, ContentInformation, CryptoAlgoId, EncryptedBlock, OpenError, Segment, VerifiedBlock,
};
use peerdist_protocol::retrieval::BlkTail;
use serde::Serialize;
use thiserror::Error;

use crate::cli::refused::{by_api, going_on_without};
use crate::cli::{BytesFrom, CacheAddArguments, ExitStatus, Failure, Output, Progress, show};
use crate::control::client::{API_SOCKET_VARIABLE, ClientError, Session};
use crate::control::wire::{ErrorCode, MAX_DATA_SIZE};
use crate::store::{AppendError, SegmentKey, Store, Tag, Trust};

/// Adds the bytes that the content information describes, to the daemon's cache or to the user's own.
pub(super) async fn run(arguments: &CacheAddArguments, output: Output) -> Result<(), Failure> {
    let (information, _) = show::read(&arguments.content_information)?;
    let content = Content::open(&arguments.file, &information)?;
    match Session::from_env().await {
        Ok(session) => content.give_to(&session, &information).await?,
        Err(error @ ClientError::NoDaemon { .. }) => {
            going_on_without(API_SOCKET_VARIABLE, &error);
            content.append_to(&super::open_own()?, &information)?;
        }
        Err(error) => return Err(by_api(error)),
    }
    let range = information.range();
    let added = Added { file: &arguments.file, bytes: range.end - range.start, segments: information.segments().len() };
    output.print(&added, |added, to| {
        writeln!(to, "{}: {} in {} segments", added.file.display(), HumanBytes(added.bytes), added.segments)
    })
}

/// What `cache add --json` prints.
#[derive(Debug, Serialize)]
struct Added<'a> {
    file: &'a Path,
    bytes: u64,
    segments: usize,
}

/// The file, which is the whole content from its first byte on.
struct Content<'a> {
    path: &'a Path,
    file: File,
    progress: Progress,
}

impl<'a> Content<'a> {
    fn open(path: &'a Path, information: &ContentInformation) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| Failure::file("read", path, error))?;
        let range = information.range();
        Ok(Self { path, file, progress: Progress::new("adding", Some(range.end - range.start)) })
    }

    fn read(&self, range: &Range<u64>) -> Result<Bytes, Failure> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        match self.file.read_exact_at(&mut bytes, range.start) {
            Ok(()) => Ok(bytes.into()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.differs(range)),
            Err(error) => Err(Failure::file("read", self.path, error)),
        }
    }

    /// Through the daemon, which verifies what it is given.
    async fn give_to(&self, session: &Session, information: &ContentInformation) -> Result<(), Failure> {
        let content = session.open_content(information.emit().into()).await?;
        let range = information.range();
        for start in range.clone().step_by(MAX_DATA_SIZE) {
            let piece = start..range.end.min(start + MAX_DATA_SIZE as u64);
            let bytes = self.read(&piece)?;
            match content.add_data(start, bytes).await {
                Ok(()) => self.progress.add(BytesFrom::File, piece.end - piece.start),
                Err(ClientError::Refused { error: ErrorCode::WrongHash, .. }) => return Err(self.differs(&piece)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(content.close().await?)
    }

    /// Into a store of this process.
    fn append_to(&self, store: &Store, information: &ContentInformation) -> Result<(), Failure> {
        for segment in information.segments() {
            for index in segment.listed_blocks() {
                self.append_block(store, segment, index)?;
            }
        }
        Ok(store.close()?)
    }

    fn append_block(&self, store: &Store, segment: &Segment, index: BlockIndex) -> Result<(), Failure> {
        let (Some(range), Some(check)) = (segment.block_range(index), segment.block_check(index)) else {
            return Ok(());
        };
        let block = VerifiedBlock::verify(self.read(&range)?, &check).map_err(|_| self.differs(&range))?;
        let mut iv = [0; AES_IV_SIZE];
        getrandom::fill(&mut iv).map_err(|error| Failure::new(ExitStatus::Failure, error))?;
        let sealed = EncryptedBlock::seal(&block, segment.secret(), CryptoAlgoId::default(), iv)
            .map_err(|source| Failure::new(ExitStatus::Failure, NotSealed { source }))?;
        let key = SegmentKey { id: segment.id(), block_count: segment.block_count() };
        let trust = if segment.is_bound() { Trust::Bound } else { Trust::Claimed };
        store.append(&key, index, &BlkTail::from(&sealed), trust, Tag::NONE)?;
        self.progress.add(BytesFrom::File, range.end - range.start);
        Ok(())
    }

    fn differs(&self, range: &Range<u64>) -> Failure {
        let differs = Differs { path: self.path.to_owned(), first: range.start, last: range.end - 1 };
        Failure::new(ExitStatus::Verification, differs).help(
            "the content information is of another file, or the file changed since; what was right before is kept",
        )
    }
}

#[derive(Debug, Error)]
#[error("bytes {first} to {last} of {} are not those that the content information describes", path.display())]
struct Differs {
    path: PathBuf,
    first: u64,
    last: u64,
}

#[derive(Debug, Error)]
#[error("a block could not be encrypted: {source}")]
struct NotSealed {
    source: OpenError,
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        Self::new(ExitStatus::Failure, error).help("see `peerdist cache stats`")
    }
}
