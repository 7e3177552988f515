//! `peerdist hash FILE`: content information of a file.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use peerdist_protocol::content::{ContentInformation, HashError, HashOptions, RangeError, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_transport::hashing::{HashReaderError, hash_reader};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::args::{ByteRange, ContentInfoVersion, HashArguments, SecretArguments};
use super::{BytesFrom, ExitStatus, Failure, Output, Progress, output};

/// A server secret is read up to this many bytes.
const MAX_SECRET_SIZE: u64 = 1 << 20;

/// Makes content information and writes it where `--output` says.
pub fn run(arguments: &HashArguments) -> Result<(), Failure> {
    let (version, options) = options(arguments)?;
    let secret = server_secret(&arguments.secret)?;
    let whole = hash_file(&arguments.file, options, &secret)?;
    let information = match arguments.range {
        None => whole,
        Some(range) => slice(&whole, range)?,
    };
    let bytes = information.emit();
    write_output(&arguments.output, &bytes)?;
    let range = information.range();
    let report = Report {
        file: &arguments.file,
        output: &arguments.output,
        content_information: version,
        first: range.start,
        length: range.end - range.start,
        segments: information.segments().len(),
        size: bytes.len(),
    };
    if arguments.output == Path::new("-") {
        return Ok(());
    }
    Output::new(arguments.json).print(&report, |report, to| {
        writeln!(
            to,
            "{}: {} of {} bytes in {} segments, {} bytes",
            report.output.display(),
            report.content_information,
            report.length,
            report.segments,
            report.size
        )
    })
}

/// What `hash --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: &'a Path,
    output: &'a Path,
    content_information: &'static str,
    /// The first byte described.
    first: u64,
    /// How many bytes are described.
    length: u64,
    segments: usize,
    /// The size of the content information in bytes.
    size: usize,
}

fn options(arguments: &HashArguments) -> Result<(&'static str, HashOptions), Failure> {
    let v1 = |hash: HashAlgorithm| ("v1", HashOptions { v1: Some(hash), v2: false });
    match (arguments.content_info, arguments.hash) {
        (Some(ContentInfoVersion::V2), Some(_)) => {
            Err(Failure::new(ExitStatus::Usage, HashOfVersion2).help("leave --hash out, or say --content-info v1"))
        }
        (Some(ContentInfoVersion::V2) | None, None) => Ok(("v2", HashOptions { v1: None, v2: true })),
        (Some(ContentInfoVersion::V1), hash) => Ok(v1(hash.unwrap_or_default().into())),
        (None, Some(hash)) => Ok(v1(hash.into())),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("--hash belongs to version 1; version 2 always uses SHA-512 cut to 32 bytes")]
struct HashOfVersion2;

/// The server secret that the command line names.
pub(super) fn server_secret(arguments: &SecretArguments) -> Result<ServerSecret, Failure> {
    match (&arguments.secret_key, &arguments.secret_key_hex, &arguments.passphrase) {
        (Some(file), _, _) => read_secret(file),
        (_, Some(digits), _) => hex::decode(digits).map(ServerSecret::from_bytes).map_err(|_| {
            Failure::new(ExitStatus::Usage, "--secret-key-hex takes an even number of hexadecimal digits")
        }),
        (_, _, Some(passphrase)) => Ok(ServerSecret::from_passphrase(passphrase)),
        (None, None, None) => Err(Failure::new(ExitStatus::Usage, "no server secret was named")
            .help("use one of --secret-key, --secret-key-hex and --passphrase")),
    }
}

/// Reads a server secret, which is whatever bytes the file has.
pub(super) fn read_secret(path: &Path) -> Result<ServerSecret, Failure> {
    let fail = |error| Failure::file("read the server secret", path, error);
    let mut bytes = Vec::new();
    File::open(path).map_err(fail)?.take(MAX_SECRET_SIZE + 1).read_to_end(&mut bytes).map_err(fail)?;
    let secret = ServerSecret::from_bytes(bytes);
    match secret.as_bytes().len() as u64 {
        0 => Err(fail(io::Error::new(io::ErrorKind::InvalidData, "it is empty"))),
        1..=MAX_SECRET_SIZE => Ok(secret),
        _ => Err(fail(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 1 MiB"))),
    }
}

fn hash_file(path: &Path, options: HashOptions, secret: &ServerSecret) -> Result<ContentInformation, Failure> {
    let fail = |error| Failure::file("read", path, error);
    let file = File::open(path).map_err(fail)?;
    let before = file.metadata().map_err(fail)?;
    let length = before.is_file().then_some(before.len());
    let reader = Counted { file: &file, progress: Progress::new("hashing", length) };
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let refused = |source| Failure::new(ExitStatus::Failure, NotHashed { path: path.to_owned(), source });
    let hashed = hash_reader(reader, options, secret, threads).map_err(|error| match error {
        HashReaderError::Read(error) => fail(error),
        HashReaderError::Hash(source) => refused(source),
    })?;
    let after = file.metadata().map_err(fail)?;
    let state = |metadata: &Metadata| (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    if before.is_file() && (state(&before) != state(&after) || hashed.length != before.len()) {
        let changed = io::Error::other("it changed while it was hashed");
        return Err(Failure::file("hash", path, changed).help("try again when nobody writes to it"));
    }
    hashed.v1.or(hashed.v2).ok_or_else(|| refused(HashError::Empty))
}

/// A file whose bytes are counted as they are read.
struct Counted<'a> {
    file: &'a File,
    progress: Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.progress.add(BytesFrom::File, count as u64);
        Ok(count)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot hash {}: {source}", path.display())]
struct NotHashed {
    path: PathBuf,
    source: HashError,
}

fn slice(whole: &ContentInformation, range: ByteRange) -> Result<ContentInformation, Failure> {
    let content = whole.range();
    let end = range.last.map_or(content.end, |last| last.saturating_add(1).min(content.end));
    whole.slice(range.first..end).map_err(|source| {
        let outside = RangeOutside { first: range.first, content, source };
        Failure::new(ExitStatus::Usage, outside).help("as in HTTP, the last byte may lie behind the end, the first not")
    })
}

#[derive(Debug, thiserror::Error)]
#[error("a range from {first} is not in a content of {} bytes", content.end)]
struct RangeOutside {
    first: u64,
    content: Range<u64>,
    source: RangeError,
}

/// Content information opens the content to whoever has it, so the file is its owner's alone, and it appears complete or
/// not at all. What is no regular file (a pipe, a device) is written directly.
pub(super) fn write_output(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if path == Path::new("-") {
        return output::write(|to| to.write_all(bytes));
    }
    let write = || match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => OpenOptions::new().write(true).open(path)?.write_all(bytes),
        _ => {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = NamedTempFile::new_in(folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map(drop).map_err(|error| error.error)
        }
    };
    write().map_err(|error| Failure::file("write", path, error))
}
