//! What the rest of the node holds of the discovery task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{
    Availability, ClientConfig, EndpointAddress, FindError, Form, MessageId, ProbeClient, ProbeKey, ProbeServer,
    ServerConfig,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::Lookup;
use crate::config::{Config, Interfaces};
use crate::counters::Counters;
use crate::driver::{Driver, Shared};
use crate::engine::Engine;
use crate::port::InterfaceState;

const COMMAND_QUEUE: usize = 256;

/// What discovery found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A host holds something of what was asked for. It comes again for the same host with further addresses or
    /// segments.
    Match {
        /// The discovery. This may be read before [`Discovery::probe`] has returned the key.
        probe: ProbeKey,
        /// The host.
        host: EndpointAddress,
        /// Where it serves; on-link and never empty.
        peers: Vec<SocketAddr>,
        /// What it says it holds; never empty.
        segments: Vec<(SegmentId, Availability)>,
    },
    /// The request timer of a discovery ran out: comes once for each, after all its matches.
    Expired {
        /// The discovery.
        probe: ProbeKey,
        /// The ids that nobody claimed to hold.
        unanswered: Vec<SegmentId>,
    },
    /// Somebody else asks for segments; first copy, whether or not it will be answered.
    Overheard {
        /// Who asks.
        from: SocketAddr,
        /// Its MessageID.
        message_id: MessageId,
        /// The form it asks in.
        form: Form,
        /// What it asks for.
        ids: Vec<SegmentId>,
    },
}

/// Why discovery cannot start; a local fault.
#[derive(Debug, Error)]
pub enum StartError {
    /// The system does not say which interfaces there are.
    #[error("cannot list the network interfaces")]
    Interfaces(#[source] io::Error),
}

/// Why a discovery cannot be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// The machine refuses it.
    #[error(transparent)]
    Find(#[from] FindError),
    /// This node is configured to ask nothing.
    #[error("discovery of peers is turned off")]
    NotAClient,
    /// Discovery was shut down.
    #[error("discovery was shut down")]
    Stopped,
}

pub(crate) enum Command {
    Probe { ids: Vec<SegmentId>, form: Form, reply: oneshot::Sender<Result<ProbeKey, ProbeError>> },
    SetInterfaces(Interfaces),
    Stop(oneshot::Sender<()>),
}

/// A handle to the discovery task, which ends with its last handle.
#[derive(Clone)]
pub struct Discovery {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    address: EndpointAddress,
}

impl Discovery {
    /// Opens the sockets and starts the task; needs a tokio runtime.
    pub fn start(config: Config, lookup: Lookup) -> Result<(Self, mpsc::Receiver<Event>), StartError> {
        let address = EndpointAddress::from_random(rand::random());
        let (commands, command_receiver) = mpsc::channel(COMMAND_QUEUE);
        let (event_sender, events) = mpsc::channel(config.event_queue.max(2));
        let shared = Arc::new(Shared::new());
        let client = config.client.clone().map(|client| {
            ProbeClient::new(ClientConfig { own_address: Some(address.clone()), ..client }, rand::random())
        });
        let server = ProbeServer::new(server_config(&config, &address), rand::random());
        let lookup = if config.serve { lookup } else { Arc::new(|_: &SegmentId| None) };
        let engine = Engine::new(client, server, lookup, event_sender, config.tap.clone());
        let driver = Driver::open(config, engine, command_receiver, shared.clone()).map_err(StartError::Interfaces)?;
        tokio::spawn(driver.run());
        Ok((Self { commands, shared, address }, events))
    }

    /// Asks the LAN for `ids`: as many as [`Form::max_ids_per_datagram`] of 32 bytes each. The Probe leaves when its
    /// turn comes; [`Event::Expired`] ends it.
    pub async fn probe(&self, ids: Vec<SegmentId>, form: Form) -> Result<ProbeKey, ProbeError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Probe { ids, form, reply }).await.map_err(|_| ProbeError::Stopped)?;
        answer.await.map_err(|_| ProbeError::Stopped)?
    }

    /// Takes other interfaces from now on. Nothing happens after a shutdown.
    pub async fn set_interfaces(&self, interfaces: Interfaces) {
        let _ = self.commands.send(Command::SetInterfaces(interfaces)).await;
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// The interfaces that take part.
    #[must_use]
    pub fn interfaces(&self) -> Vec<InterfaceState> {
        self.shared.interfaces()
    }

    /// This node's endpoint Address, new at each start.
    #[must_use]
    pub fn address(&self) -> &EndpointAddress {
        &self.address
    }

    /// Ends the task, also for all other handles; when this returns its sockets are closed.
    pub async fn shutdown(self) {
        let (stopped, done) = oneshot::channel();
        if self.commands.send(Command::Stop(stopped)).await.is_ok() {
            // An error means that the task has ended by itself.
            let _ = done.await;
        }
    }
}

fn server_config(config: &Config, address: &EndpointAddress) -> ServerConfig {
    // A clock before 1970 has to be put right by somebody else.
    let instance_id = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    ServerConfig {
        backoff_max: config.backoff_max,
        replies_per_second_and_source: config.replies_per_second_and_source,
        replies_per_second: config.replies_per_second,
        replies_wanted: config.replies_wanted,
        ..ServerConfig::new(address.clone(), instance_id, config.retrieval_port)
    }
}
