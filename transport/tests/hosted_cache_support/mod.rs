//! What the tests of offers share: the vectors, certificates, a running hosted cache that remembers what it was offered.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use peerdist_protocol::hosted_cache::{Offer, Response, Version};
use peerdist_transport::hosted_cache::{Certificate, Offers};
use peerdist_transport::retrieval::server::{Listener, Server, ServerCounters, ServerLimits};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::retrieval_support::{FOREVER, Memory, Raw};

/// A vector of MS-PCHC: bytes, and what is expected of who gets them.
#[derive(Debug)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    pub(crate) expect: String,
}

impl Vector {
    /// The version whose path a request of this kind is sent to.
    pub(crate) fn version(&self) -> Version {
        if self.name.contains("batched") { Version::V2 } else { Version::V1 }
    }
}

/// All vectors whose names begin so, in the order of their names.
pub(crate) fn vectors(beginning: &str) -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/vectors/pchc");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut vectors: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(beginning))
        .map(|path| {
            let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let text = |name: &str| json[name].as_str().unwrap().to_owned();
            let bytes = fs::read(path.with_extension("bin")).unwrap().into();
            Vector { name: text("name"), bytes, expect: text("expect") }
        })
        .collect();
    assert!(!vectors.is_empty(), "{beginning}");
    vectors.sort_by(|a, b| a.name.cmp(&b.name));
    vectors
}

pub(crate) fn offer_of(name: &str) -> Offer {
    let vector = vectors(name).remove(0);
    Offer::parse(vector.version(), &vector.bytes).unwrap()
}

pub(crate) fn initial_offer() -> Offer {
    offer_of("initial_offer_sha256")
}

pub(crate) fn segment_info() -> Offer {
    offer_of("segment_info_sha256_two_blocks")
}

pub(crate) fn batched_offer() -> Offer {
    offer_of("batched_offer_three_mixed")
}

pub(crate) const OK: &[u8] = &[0, 0, 0, 1, 0];
pub(crate) const INTERESTED: &[u8] = &[0, 0, 0, 1, 1];

/// A certification authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate with its key, as PEM files have them.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    pub(crate) fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        Identity { chain: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap()
    }
}

/// The files of a certificate, in a folder of their own.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn of(identity: &Identity) -> Self {
        let files = Self { folder: TempDir::new().unwrap() };
        files.replace("chain.pem", &identity.chain);
        files.replace("key.pem", &identity.key);
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts another file in the place of one, as tools that renew certificates do.
    pub(crate) fn replace(&self, name: &str, content: &str) {
        let new = self.path("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&new).unwrap();
        std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    pub(crate) fn load(&self) -> Certificate {
        Certificate::load(&self.path("chain.pem"), &self.path("key.pem")).unwrap()
    }
}

/// A hosted cache that remembers what it was offered, and wants to know more of each INITIAL_OFFER.
pub(crate) struct HostedCache {
    /// Retrieval and offers of version 2.0.
    pub(crate) shared: SocketAddr,
    /// Retrieval alone.
    pub(crate) retrieval: SocketAddr,
    /// Offers of version 2.0 alone.
    pub(crate) plain: SocketAddr,
    /// Offers of version 1.0 over TLS.
    pub(crate) tls: SocketAddr,
    pub(crate) server: Server<Memory>,
    pub(crate) offered: Arc<Mutex<Vec<(SocketAddr, Offer)>>>,
    pub(crate) authority: Authority,
    pub(crate) files: Files,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

impl HostedCache {
    pub(crate) async fn start() -> Self {
        Self::with(ServerLimits::default()).await
    }

    pub(crate) async fn with(limits: ServerLimits) -> Self {
        let offered = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&offered);
        let offers: Offers = Arc::new(move |from, offer| {
            let is_initial = matches!(offer, Offer::Initial(_));
            remembered.lock().unwrap().push((from, offer));
            if is_initial { Response::Interested } else { Response::Ok }
        });
        let server = Server::with_offers(Arc::new(Memory::small()), limits, offers);
        let authority = Authority::new();
        let files = Files::of(&authority.issue(&["localhost", "127.0.0.1"]));
        let certificate = files.load();
        let (shared, shared_socket) = bind().await;
        let (retrieval, retrieval_socket) = bind().await;
        let (plain, plain_socket) = bind().await;
        let (tls, tls_socket) = bind().await;
        let listeners = vec![
            Listener::retrieval_and_offers(shared_socket),
            Listener::retrieval(retrieval_socket),
            Listener::offers(plain_socket),
            Listener::offers_over_tls(tls_socket, certificate),
        ];
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.clone();
        let task = tokio::spawn(async move {
            serving
                .serve(listeners, async {
                    let _ = stopped.await;
                })
                .await;
        });
        Self { shared, retrieval, plain, tls, server, offered, authority, files, stop, task }
    }

    pub(crate) fn take_offered(&self) -> Vec<(SocketAddr, Offer)> {
        std::mem::take(&mut self.offered.lock().unwrap())
    }

    pub(crate) async fn connect_tls(&self) -> Raw<TlsStream<TcpStream>> {
        Raw(timeout(FOREVER, connect_tls(self.tls, &self.authority.pem)).await.unwrap().unwrap())
    }

    /// Waits until the counters are as they have to become.
    pub(crate) async fn until(&self, reached: impl Fn(&ServerCounters) -> bool) {
        timeout(FOREVER, async {
            while !reached(&self.server.counters()) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("never reached: {:?}", self.server.counters()));
    }

    /// Offers well over both ports, and expects to be answered.
    pub(crate) async fn answers_good_offers(&self) {
        self.take_offered();
        let mut raw = connect(self.shared).await;
        raw.send(&post(Version::V2, &batched_offer().emit())).await;
        let message = raw.receive().await.unwrap();
        assert_eq!((message.status(), &message.body[..]), (200, OK));
        let mut raw = self.connect_tls().await;
        raw.send(&post(Version::V1, &initial_offer().emit())).await;
        let message = raw.receive().await.unwrap();
        assert_eq!((message.status(), &message.body[..]), (200, INTERESTED));
        assert_eq!(self.take_offered().len(), 2);
    }
}

pub(crate) async fn bind() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

pub(crate) async fn connect(address: SocketAddr) -> Raw {
    Raw(TcpStream::connect(address).await.unwrap())
}

pub(crate) async fn connect_from(ip: [u8; 4], address: SocketAddr) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((ip, 0).into()).unwrap();
    Raw(socket.connect(address).await.unwrap())
}

pub(crate) async fn connect_tls(address: SocketAddr, trusted: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// A POST to the path of a version.
pub(crate) fn post(version: Version, body: &[u8]) -> Vec<u8> {
    [&head(version, &format!("Content-Length: {}\r\n", body.len())), body].concat()
}

/// The head of a POST to the path of a version.
pub(crate) fn head(version: Version, headers: &str) -> Vec<u8> {
    format!("POST {} HTTP/1.1\r\nHost: x\r\n{headers}\r\n", version.path()).into_bytes()
}
