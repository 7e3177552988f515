//! PEM files with certificates and keys.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// The most bytes of a file. The CA certificates of a whole system take about 200,000.
const MAX_FILE_SIZE: u64 = 4 << 20;

/// Why certificates or a key cannot be used. The remedy is the administrator's.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Others than the owner and the group can read the private key.
    #[error("{} has mode {mode:04o}: everybody can read the private key; run chmod o= on it", path.display())]
    Readable {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not as it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key is not that of the first certificate in the chain.
    #[error("the private key in {} does not belong to the first certificate in {}", key.display(), chain.display())]
    Mismatch {
        /// The file of the certificate chain.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

impl CertificateError {
    pub(super) fn malformed(path: &Path, reason: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.to_string() }
    }

    fn unread(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }
}

/// The certificates in a file: one at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let bytes = read(path, &open(path)?)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(CertificateError::malformed(path, "no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(CertificateError::malformed(path, what_is_wrong(&error))),
    }
}

/// The first private key in a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let file = open(path)?;
    let mode = file.metadata().map_err(|error| CertificateError::unread(path, error))?.mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(CertificateError::Readable { path: path.to_owned(), mode });
    }
    PrivateKeyDer::from_pem_slice(&read(path, &file)?).map_err(|error| {
        let reason = match error {
            pem::Error::NoItemsFound => "no private key in it, or one that is encrypted",
            error => what_is_wrong(&error),
        };
        CertificateError::malformed(path, reason)
    })
}

fn open(path: &Path) -> Result<File, CertificateError> {
    let unread = |error| CertificateError::unread(path, error);
    // Opening anything else, as a FIFO, may wait for ever.
    if !path.metadata().map_err(unread)?.is_file() {
        return Err(CertificateError::malformed(path, "not a regular file"));
    }
    File::open(path).map_err(unread)
}

fn read(path: &Path, file: &File) -> Result<Vec<u8>, CertificateError> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes).map_err(|error| CertificateError::unread(path, error))?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(CertificateError::malformed(path, "larger than any PEM file should be"));
    }
    Ok(bytes)
}

/// The library's own texts quote the file, which may be a key's.
fn what_is_wrong(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM section does not end",
        pem::Error::IllegalSectionStart { .. } => "a PEM section does not begin as it should",
        pem::Error::Base64Decode(_) => "a PEM section is not base64",
        _ => "not a PEM file",
    }
}
