//! A branch with hosted caches and their clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use peerdist_interop_tests::lab::{Host, Lab, Plan};
use peerdist_interop_tests::nodes::{ContentServer, Node, content};
use peerdist_interop_tests::process::{PATIENCE, wait_until};
use peerdist_protocol::content::ContentInformation;
use peerdist_protocol::hosted_cache::{
    BatchedOffer, ContentTag, MAX_SEGMENT_DESCRIPTORS, Offer, SegmentDescriptor, Version,
};

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
