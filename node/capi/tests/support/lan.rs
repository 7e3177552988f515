//! A LAN of a case's own on the loopback: its discovery port, an ear there, and peers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use peerdist_discovery::{Config, Discovery, Event, Interfaces};
use peerdist_node::control::client::Session;
use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{Form, GROUP_V4, Held, MessageId, Probe};
use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;

use super::world::{Daemon, LIMIT, block_on};

/// What is sent to the discovery group is heard here, and the port stays taken as long as this lives.
pub(crate) struct Lan {
    port: u16,
    ear: UdpSocket,
    markers: AtomicU64,
}

impl Lan {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        // The daemons bind the same port.
        socket.set_reuse_address(true).unwrap();
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
        let ear = UdpSocket::from(socket);
        ear.join_multicast_v4(&GROUP_V4, &Ipv4Addr::LOCALHOST).unwrap();
        ear.set_read_timeout(Some(LIMIT)).unwrap();
        Self { port: ear.local_addr().unwrap().port(), ear, markers: AtomicU64::new(0) }
    }

    /// The configuration of a daemon that asks peers here and serves nobody.
    pub(crate) fn client(&self) -> String {
        self.config("client")
    }

    /// The same where answers to a Probe are waited for up to an hour.
    pub(crate) fn patient_client(&self) -> String {
        self.client() + "fetch.probe_timeout = \"1h\"\n"
    }

    /// The configuration of a daemon that serves peers here.
    pub(crate) fn server(&self) -> String {
        self.config("distributed") + "node.listen = [\"127.0.0.1\"]\nnode.port = 0\n"
    }

    fn config(&self, mode: &str) -> String {
        let port = self.port;
        format!(
            "node.mode = {mode:?}\ndiscovery.interfaces = [\"lo\"]\ndiscovery.ipv6 = false\ndiscovery.port = {port}\n"
        )
    }

    /// What was sent to the group since the last call. What this says itself is how far that goes.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        let marker = format!("marker {}", self.markers.fetch_add(1, Ordering::Relaxed));
        self.ear.send_to(marker.as_bytes(), (GROUP_V4, self.port)).unwrap();
        let mut heard = Vec::new();
        let mut datagram = [0; 65_536];
        loop {
            let size = self.ear.recv(&mut datagram).unwrap();
            if datagram[..size] == *marker.as_bytes() {
                return heard;
            }
            heard.push(datagram[..size].to_vec());
        }
    }

    /// Another host, which asks for a segment.
    pub(crate) fn ask(&self, host: Ipv4Addr, segment: SegmentId) {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        socket.bind(&SocketAddr::from((host, 0)).into()).unwrap();
        let message = MessageId::from_uuid(u128::from(u32::from(host)));
        let probe = Probe::new(message, Form::V1, [segment]).unwrap().emit();
        UdpSocket::from(socket).send_to(&probe, (GROUP_V4, self.port)).unwrap();
    }

    /// A peer that says it holds everything, and never says anything else.
    pub(crate) fn silent_peer(&self) -> SilentPeer {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config {
            interfaces: Interfaces::Only(vec!["lo".to_owned()]),
            ipv6: false,
            port: self.port,
            retrieval_port: listener.local_addr().unwrap().port(),
            client: None,
            ..Config::default()
        };
        let held = |_: &SegmentId| Some(Held { blocks: 512, complete: true, age: None });
        let (discovery, events) = {
            let _inside = runtime.enter();
            Discovery::start(config, Arc::new(held)).unwrap()
        };
        SilentPeer { listener, _discovery: discovery, _events: events, _runtime: runtime }
    }
}

/// Whoever connects to it waits.
pub(crate) struct SilentPeer {
    listener: TcpListener,
    _discovery: Discovery,
    _events: Receiver<Event>,
    _runtime: Runtime,
}

impl SilentPeer {
    /// Whether anybody connected to it since the last call.
    pub(crate) fn was_asked(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        self.listener.accept().is_ok()
    }
}

/// Gives a daemon, by its directory, a content to hold.
pub(crate) fn hold(home: &Path, information: &[u8], content: &[u8]) {
    let information = Bytes::copy_from_slice(information);
    block_on(async {
        let (session, _events) = Session::open(home.join("api.sock")).await.unwrap().split();
        let handle = session.open_content(information).await.unwrap();
        for (offset, piece) in (0_u64..).step_by(1 << 20).zip(content.chunks(1 << 20)) {
            handle.add_data(offset, Bytes::copy_from_slice(piece)).await.unwrap();
        }
        handle.close().await.unwrap();
    });
}

/// Datagrams with Probes that a daemon has sent.
pub(crate) fn probes_sent(daemon: &Daemon) -> u64 {
    daemon.status()["discovery"]["probes_sent"].as_u64().expect("the daemon asks peers")
}

/// Requests for blocks that a daemon got.
pub(crate) fn requests(daemon: &Daemon) -> u64 {
    daemon.status()["serving"]["requests"].as_u64().expect("the daemon serves peers")
}
