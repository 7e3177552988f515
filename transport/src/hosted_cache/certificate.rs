//! The certificate of a hosted cache, read again when its files change.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{Error, ServerConfig, SignatureAlgorithm};

use super::fault::{self, CertificateFault};
use super::pem::{self, CertificateError};

/// How often the files are looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A certificate chain with its private key, from two PEM files ([MS-PCHC] 3.1.3). Clones share them.
///
/// The files are looked at when a connection comes. Once they have changed they are read again; while what is in them
/// cannot be used, the old certificate stays.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    chain: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

struct State {
    files: Files,
    /// The files as they were when they were read last, with or without success.
    stamps: [Option<Stamp>; 2],
    looked: Instant,
}

/// What is in the files.
struct Files {
    config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    key_kind: SignatureAlgorithm,
}

impl Certificate {
    /// Reads both files, in the calling thread. The chain begins with the server's own certificate.
    ///
    /// # Errors
    /// Where a file cannot be read, everybody can read the key's, what is in them cannot be used, or the key is not that
    /// of the certificate.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let stamps = [chain, key].map(Stamp::of);
        let files = Files::read(chain, key)?;
        let state = State { files, stamps, looked: Instant::now() };
        Ok(Self(Arc::new(Inner { chain: chain.to_owned(), key: key.to_owned(), state: Mutex::new(state) })))
    }

    /// What clients find wrong with it at a moment.
    #[must_use]
    pub fn faults(&self, now: SystemTime) -> Vec<CertificateFault> {
        self.0.lock().files.faults(now)
    }

    /// What a handshake needs.
    pub(crate) async fn server_config(&self) -> Arc<ServerConfig> {
        let is_due = {
            let mut state = self.0.lock();
            let is_due = state.looked.elapsed() >= LOOK_INTERVAL;
            if is_due {
                state.looked = Instant::now();
            }
            is_due
        };
        if is_due {
            let inner = Arc::clone(&self.0);
            // Should it panic, the old certificate stays.
            let _ = tokio::task::spawn_blocking(move || inner.look()).await;
        }
        Arc::clone(&self.0.lock().files.config)
    }
}

impl Inner {
    /// Reads the files again if they are others than before.
    fn look(&self) {
        // A change between this and the reading is seen the next time.
        let stamps = [&*self.chain, &*self.key].map(Stamp::of);
        if std::mem::replace(&mut self.lock().stamps, stamps.clone()) == stamps {
            return;
        }
        match Files::read(&self.chain, &self.key) {
            Ok(files) => {
                let faults = files.faults(SystemTime::now());
                self.lock().files = files;
                tracing::info!(chain = %self.chain.display(), "the certificate has changed and was read again");
                for fault in faults {
                    tracing::warn!(chain = %self.chain.display(), "{fault}");
                }
            }
            Err(error) => tracing::warn!(%error, "the certificate has changed but cannot be used; the old one stays"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.0.chain).finish()
    }
}

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Files {
    fn read(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let certificates = pem::certificates(chain)?;
        let private_key = pem::private_key(key)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key_kind = match provider.key_provider.load_private_key(private_key.clone_key()) {
            Ok(signing) => signing.algorithm(),
            Err(error) => return Err(CertificateError::malformed(key, error)),
        };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates.clone(), private_key));
        // Clients in the field send HTTP/1.0 and 1.1 and may or may not say so in ALPN: it is left out.
        match config {
            Ok(config) => Ok(Self { config: Arc::new(config), chain: certificates, key_kind }),
            Err(Error::InconsistentKeys(_)) => {
                Err(CertificateError::Mismatch { chain: chain.to_owned(), key: key.to_owned() })
            }
            Err(error) => Err(CertificateError::malformed(chain, error)),
        }
    }

    fn faults(&self, now: SystemTime) -> Vec<CertificateFault> {
        let mut faults = fault::of_chain(&self.chain, now);
        if self.key_kind != SignatureAlgorithm::ECDSA {
            faults.push(CertificateFault::NotForWindows7);
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Writes both files of a new certificate.
    fn write(chain: &Path, key: &Path) {
        let pair = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["hc.example".to_owned()]).unwrap();
        fs::write(chain, params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(key, pair.serialize_pem()).unwrap();
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn files_are_read_again_when_they_change_and_what_cannot_be_used_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
        write(&chain, &key);
        let certificate = Certificate::load(&chain, &key).unwrap();
        let shown = || {
            certificate.0.look();
            Arc::clone(&certificate.0.lock().files.config)
        };
        let first = shown();
        assert!(Arc::ptr_eq(&first, &shown()), "nothing has changed");
        let good = fs::read(&chain).unwrap();
        fs::write(&chain, "half a file").unwrap();
        assert!(Arc::ptr_eq(&first, &shown()), "the old one stays");
        fs::remove_file(&chain).unwrap();
        assert!(Arc::ptr_eq(&first, &shown()), "even without a file");
        fs::write(&chain, good).unwrap();
        let second = shown();
        assert!(!Arc::ptr_eq(&first, &second), "a good file is read again");
        write(&chain, &key);
        assert!(!Arc::ptr_eq(&second, &shown()));
    }
}
