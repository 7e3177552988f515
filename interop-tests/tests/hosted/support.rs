//! A branch with hosted caches and their clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use peerdist_interop_tests::lab::{Host, Lab, Plan};
use peerdist_interop_tests::nodes::{ContentServer, Node, content};
use peerdist_interop_tests::process::{PATIENCE, wait_until};
use peerdist_protocol::content::ContentInformation;
use peerdist_protocol::hosted_cache::{
    BatchedOffer, ContentTag, MAX_SEGMENT_DESCRIPTORS, Offer, SegmentDescriptor, Version,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// What hosts after the first may take over the WAN, as a share of the content.
pub(crate) const FROM_ORIGIN: f64 = 0.01;

/// A lab with a file on its origin.
pub(crate) struct Branch {
    pub(crate) lab: Lab,
    pub(crate) file: Vec<u8>,
    pub(crate) url: String,
    pub(crate) information: ContentInformation,
    _server: ContentServer,
}

impl Branch {
    /// So many hosts, and a file of 16 MiB with content information of a version.
    pub(crate) fn new(hosts: usize, version: &str) -> Self {
        Self::with(Plan { hosts, ..Plan::default() }, version)
    }

    pub(crate) fn with(plan: Plan, version: &str) -> Self {
        let lab = Lab::new(plan);
        let file = content(16 << 20, 4);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let url = server.url("file");
        let information = server.content_information_up_to(if version == "v1" { "1.0" } else { "2.0" }, "file");
        Self { lab, file, url, information, _server: server }
    }

    pub(crate) fn length(&self) -> u64 {
        self.file.len() as u64
    }

    /// How many blocks the file has.
    pub(crate) fn blocks(&self) -> u64 {
        self.information.segments().iter().map(|segment| u64::from(segment.block_count())).sum()
    }

    /// Waits until a hosted cache holds all of the file, and has taken each block so many times.
    pub(crate) fn wait_until_held(&self, hosted: &Node, times: u64) {
        wait_until("the hosted cache to hold the file", PATIENCE, || {
            let pulled = hosted.status()["hosted_cache"]["pulled_blocks"].as_u64().expect("the status counts blocks");
            (blocks_held(hosted) == self.blocks() && pulled >= times * self.blocks()).then_some(())
        });
    }

    /// Offers of the whole file in version 2.0, from a retrieval server on a port.
    pub(crate) fn offers(&self, port: u16) -> Vec<Offer> {
        let segments = self.information.segments().iter();
        let segments: Vec<_> =
            segments.map(|segment| SegmentDescriptor::new(segment, ContentTag::BITS).expect("32-byte ids")).collect();
        let batches = segments.chunks(MAX_SEGMENT_DESCRIPTORS);
        batches.map(|segments| Offer::Batched(BatchedOffer { port, segments: segments.to_vec() })).collect()
    }
}

/// How many blocks a node's cache holds.
pub(crate) fn blocks_held(node: &Node) -> u64 {
    node.status()["cache"]["blocks"].as_u64().expect("the status counts blocks")
}

pub(crate) fn hosted_settings(settings: &str) -> String {
    format!("[node]\nmode = \"hosted-cache\"\n[hosted_cache]\n{settings}")
}

/// A hosted cache that takes offers of version 2.0.
pub(crate) fn hosted_cache(host: &Host, settings: &str) -> Node {
    Node::start_with(host, &hosted_settings(settings))
}

/// A hosted cache that takes offers of both versions.
pub(crate) fn secure_hosted_cache(host: &Host, authority: &Authority, settings: &str) -> Node {
    let [certificate, key] = authority.issue(host);
    let files = format!("certificate = {certificate:?}\nprivate_key = {key:?}\n");
    hosted_cache(host, &format!("{files}{settings}"))
}

/// A client of these hosted caches.
pub(crate) fn client(host: &Host, servers: &[&Host], settings: &str) -> Node {
    let servers: Vec<_> = servers.iter().map(|server| server.addresses()[0].to_string()).collect();
    let settings = format!("[node]\nmode = \"hosted-client\"\n[hosted_client]\nservers = {servers:?}\n{settings}");
    Node::start_with(host, &settings)
}

/// A client that makes offers of version 1.0.
pub(crate) fn secure_client(host: &Host, servers: &[&Host], authority: &Authority) -> Node {
    client(host, servers, &format!("version = \"1.0\"\ntrust = {:?}\n", authority.file("authority.pem")))
}

/// Who issues the certificates of the branch.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
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

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Nobody else may read it: some of it is keys.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(self.file(name)).expect("a new file");
        file.write_all(text.as_bytes()).expect("the folder takes files");
        self.file(name)
    }
}

/// Sends an offer as a client in the field does, over HTTP/1.0. Returns the status of the answer.
pub(crate) fn offer_to(from: &Host, server: &Host, offer: &Offer) -> String {
    let body = offer.emit();
    let server = server.socket(Version::V2.default_port());
    let answer = from.enter(|| {
        let mut stream = TcpStream::connect(server).expect("the hosted cache listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("sockets have time limits");
        let head = format!("POST {} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", Version::V2.path(), body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).expect("the hosted cache reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the hosted cache answers");
        answer
    });
    let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    line.split_once(' ').map_or(line.clone(), |(_, status)| status.trim().to_owned())
}
