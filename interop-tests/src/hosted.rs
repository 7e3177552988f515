//! Hosted mode on hosts of the lab: hosted caches, their clients, and who issues their certificates.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::lab::Host;
use crate::nodes::{Node, write_private};

/// The configuration of a hosted cache, with further lines for `[hosted_cache]`.
pub fn hosted_settings(settings: &str) -> String {
    format!("[node]\nmode = \"hosted-cache\"\n[hosted_cache]\n{settings}")
}

/// A hosted cache that takes offers of version 2.0.
///
/// # Panics
/// If it does not start.
pub fn hosted_cache(host: &Host, settings: &str) -> Node {
    Node::start_with(host, &hosted_settings(settings))
}

/// A hosted cache that takes offers of both versions.
///
/// # Panics
/// If it does not start.
pub fn secure_hosted_cache(host: &Host, authority: &Authority, settings: &str) -> Node {
    let [certificate, key] = authority.issue(host);
    let files = format!("certificate = {certificate:?}\nprivate_key = {key:?}\n");
    hosted_cache(host, &format!("{files}{settings}"))
}

/// A client of these hosted caches, with further lines for `[hosted_client]`.
///
/// # Panics
/// If it does not start.
pub fn client(host: &Host, servers: &[&Host], settings: &str) -> Node {
    Node::start_with(host, &client_settings(servers, settings))
}

/// A client that makes offers of version 1.0.
///
/// # Panics
/// If it does not start.
pub fn secure_client(host: &Host, servers: &[&Host], authority: &Authority) -> Node {
    Node::start_with(host, &secure_client_settings(servers, authority))
}

/// The configuration of [`secure_client`].
pub fn secure_client_settings(servers: &[&Host], authority: &Authority) -> String {
    client_settings(servers, &format!("version = \"1.0\"\ntrust = {:?}\n", authority.file("authority.pem")))
}

fn client_settings(servers: &[&Host], settings: &str) -> String {
    let servers: Vec<_> = servers.iter().map(|server| server.addresses()[0].to_string()).collect();
    format!("[node]\nmode = \"hosted-client\"\n[hosted_client]\nservers = {servers:?}\n{settings}")
}

/// Who issues the certificates of the branch.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    /// One that nobody trusts yet.
    ///
    /// # Panics
    /// If its certificate cannot be made or written.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose issuer has the name of its subject for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, "the authority of the lab");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let authority = Self { issuer, folder: tempfile::tempdir().expect("a folder") };
        authority.write("authority.pem", &authority.issuer.pem());
        authority
    }

    /// The files of a certificate for a host's addresses, and of its key.
    fn issue(&self, host: &Host) -> [PathBuf; 2] {
        let names: Vec<_> = host.addresses().iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("addresses are names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        [
            self.write(&format!("{}.pem", host.name()), &certificate.pem()),
            self.write(&format!("{}.key", host.name()), &key.serialize_pem()),
        ]
    }

    /// Where a file of this name is: `authority.pem` holds the certificate of the authority itself.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.file(name);
        write_private(&file, text);
        file
    }
}
