//! The output of a download: bytes in order, to a file or to standard output, hashed on the way.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use bytes::Bytes;
use peerdist_protocol::crypto::Sha256Stream;
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::mpsc;

/// How many pieces may wait for the disk; the largest have 1 MiB.
const PIECES_WAITING: usize = 32;

/// Where a download goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file, which appears under its name when it is complete.
    File(PathBuf),
    /// Standard output; a download that has to start over fails instead.
    StandardOutput,
}

/// What went through a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256 as lower-case hexadecimal digits.
    pub sha256: String,
}

/// Takes bytes in order and writes them on a thread of its own, so that neither disk nor hash holds up the network.
#[derive(Debug)]
pub(super) struct Sink {
    pieces: mpsc::Sender<Bytes>,
    writer: JoinHandle<io::Result<Written>>,
    /// The growing file and the name it is to get. Dropped before that, it is removed.
    target: Option<(TempPath, PathBuf)>,
}

impl Sink {
    /// Opens the destination. A file grows under a hidden name beside its place; what is no regular file (a device,
    /// a pipe) is written directly.
    pub(super) fn open(destination: &Destination) -> io::Result<Self> {
        let mut target = None;
        let mut output: Box<dyn Write + Send> = match destination {
            Destination::StandardOutput => Box::new(io::stdout()),
            Destination::File(path) if is_special(path) => Box::new(OpenOptions::new().write(true).open(path)?),
            Destination::File(path) => {
                let (file, partial) = create_beside(path)?.into_parts();
                target = Some((partial, path.clone()));
                Box::new(file)
            }
        };
        let (pieces, mut waiting) = mpsc::channel::<Bytes>(PIECES_WAITING);
        let writer = std::thread::Builder::new().name("download-writer".into()).spawn(move || {
            let mut hash = Sha256Stream::new();
            let mut bytes = 0;
            while let Some(piece) = waiting.blocking_recv() {
                output.write_all(&piece)?;
                hash.update(&piece);
                bytes += piece.len() as u64;
            }
            output.flush()?;
            Ok(Written { bytes, sha256: hash.finish_hex() })
        })?;
        Ok(Self { pieces, writer, target })
    }

    /// Appends a piece; waits while the disk is behind. Returns `false` once writing has failed: [`Self::finish`]
    /// has the reason.
    pub(super) async fn write(&mut self, piece: Bytes) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// Ends the output and, for a file, gives it its name.
    ///
    /// # Errors
    /// The first write error (a full disk, a closed pipe), or that the file could not get its name.
    pub(super) async fn finish(self) -> io::Result<Written> {
        drop(self.pieces);
        let writer = self.writer;
        let written = tokio::task::spawn_blocking(move || writer.join())
            .await
            .map_err(io::Error::other)?
            .map_err(|_| io::Error::other("the writer ended early"))??;
        if let Some((partial, path)) = self.target {
            partial.persist(path)?;
        }
        Ok(written)
    }
}

fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn create_beside(path: &Path) -> io::Result<NamedTempFile> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the output has no file name"))?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What the umask leaves of 0666, as for any file a program creates.
    let permissions = std::fs::Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(&prefix).suffix(".part").permissions(permissions).tempfile_in(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_appears_when_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut sink = Sink::open(&Destination::File(path.clone())).unwrap();
        assert!(sink.write(Bytes::from_static(b"ab")).await);
        assert!(sink.write(Bytes::from_static(b"c")).await);
        assert!(!path.exists());
        let written = sink.finish().await.unwrap();
        assert_eq!(written.bytes, 3);
        assert_eq!(written.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
    }

    #[tokio::test]
    async fn an_abandoned_file_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = Sink::open(&Destination::File(directory.path().join("out"))).unwrap();
        assert!(sink.write(Bytes::from_static(b"ab")).await);
        drop(sink);
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_device_is_written_and_kept() {
        let mut sink = Sink::open(&Destination::File("/dev/null".into())).unwrap();
        assert!(sink.write(Bytes::from_static(b"ab")).await);
        assert_eq!(sink.finish().await.unwrap().bytes, 2);
        assert!(is_special(Path::new("/dev/null")));
    }

    #[tokio::test]
    async fn a_full_disk_is_reported() {
        let mut sink = Sink::open(&Destination::File("/dev/full".into())).unwrap();
        while sink.write(Bytes::from_static(&[0; 4096])).await {}
        assert_eq!(sink.finish().await.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
