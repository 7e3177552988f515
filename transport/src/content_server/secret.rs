//! The file of a content server's secret key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use peerdist_protocol::content::ServerSecret;
use thiserror::Error;

/// How many random bytes a new secret has.
pub const SECRET_SIZE: usize = 32;
/// A secret key file has at most this many bytes.
pub const MAX_SECRET_SIZE: u64 = 65_536;

/// Why there is no server secret. The remedy is the administrator's.
#[derive(Debug, Error)]
pub enum SecretFileError {
    /// The file cannot be read.
    #[error("cannot read the secret key file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file cannot be created.
    #[error("cannot create the secret key file {}", path.display())]
    Create {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The system has no random bytes.
    #[error("the system gives no random bytes for a secret key")]
    Random(#[source] getrandom::Error),
    /// Others than the owner can read the file.
    #[error("{} has mode {mode:04o}: others can read the secret key; run chmod 600 on it", path.display())]
    Readable {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file has no bytes, or more than [`MAX_SECRET_SIZE`].
    #[error("{} has {size} bytes; a secret key has 1 to {MAX_SECRET_SIZE}", path.display())]
    Size {
        /// Which file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
}

/// Reads the secret of a key file: all its bytes as they are, a line end among them.
///
/// # Errors
/// Also where others than the owner can read the file.
pub fn load(path: &Path) -> Result<ServerSecret, SecretFileError> {
    let read_error = |source| SecretFileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read_error)?;
    let mode = file.metadata().map_err(read_error)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Readable { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    let size = file.take(MAX_SECRET_SIZE + 1).read_to_end(&mut bytes).map_err(read_error)? as u64;
    if size == 0 || size > MAX_SECRET_SIZE {
        return Err(SecretFileError::Size { path: path.to_owned(), size });
    }
    Ok(ServerSecret::from_bytes(bytes))
}

/// Reads the secret of a key file; creates the file with [`SECRET_SIZE`] random bytes and mode 0600 if there is none.
///
/// # Errors
/// See [`SecretFileError`]. A file that is there is never written to.
pub fn load_or_create(path: &Path) -> Result<ServerSecret, SecretFileError> {
    match load(path) {
        Err(SecretFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let mut bytes = [0; SECRET_SIZE];
    getrandom::fill(&mut bytes).map_err(SecretFileError::Random)?;
    match create(path, &bytes) {
        Ok(()) => Ok(ServerSecret::from_bytes(bytes)),
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(path),
        Err(source) => Err(SecretFileError::Create { path: path.to_owned(), source }),
    }
}

/// The file appears under its name with all its bytes or not at all, and never in place of another.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = path.with_file_name(name);
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::hard_link(&new, path)
    })();
    let _ = fs::remove_file(&new);
    result
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_created_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let first = load_or_create(&path).unwrap();
        assert_eq!(first.as_bytes().len(), SECRET_SIZE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(load_or_create(&path).unwrap(), first);
        assert_eq!(load(&path).unwrap(), first);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn bad_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(matches!(load(&path), Err(SecretFileError::Read { .. })));
        let write = |bytes: &[u8], mode| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write(b"secret", 0o640);
        assert!(matches!(load_or_create(&path), Err(SecretFileError::Readable { mode: 0o640, .. })));
        write(b"", 0o600);
        assert!(matches!(load_or_create(&path), Err(SecretFileError::Size { size: 0, .. })));
        write(&vec![1; MAX_SECRET_SIZE as usize + 1], 0o600);
        assert!(matches!(load_or_create(&path), Err(SecretFileError::Size { .. })));
        write(b"secret\n", 0o600);
        assert_eq!(load_or_create(&path).unwrap().as_bytes(), b"secret\n");
        let nowhere = directory.path().join("missing").join("key");
        assert!(matches!(load_or_create(&nowhere), Err(SecretFileError::Create { .. })));
    }
}
