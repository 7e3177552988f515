//! Which servers are trusted over TLS.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, KeyLogFile, RootCertStore};

use super::pem::{self, CertificateError};

/// Trusts the certificates in a PEM file, which is read in the calling thread.
///
/// # Errors
/// Where the file cannot be read, or has no certificate that can be trusted.
pub fn file(path: &Path) -> Result<Arc<ClientConfig>, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path)? {
        roots.add(certificate).map_err(|error| CertificateError::malformed(path, error))?;
    }
    Ok(trust(roots))
}

/// Trusts what the system does, which is read in the calling thread. Where that is nothing, no server will be trusted.
#[must_use]
pub fn system() -> Arc<ClientConfig> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read certificates that the system trusts");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("the system trusts no certificates, so no hosted cache is trusted: configure what to trust");
    }
    trust(roots)
}

/// Trusts no server.
pub(super) fn nobody() -> Arc<ClientConfig> {
    trust(RootCertStore::empty())
}

fn trust(roots: RootCertStore) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has what TLS 1.2 and 1.3 need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // For whoever looks at packets: nothing is written unless SSLKEYLOGFILE names a file.
    config.key_log = Arc::new(KeyLogFile::new());
    Arc::new(config)
}
