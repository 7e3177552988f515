//! The control plane: HTTP over two unix sockets.
//!
//! | socket | for whom | what for |
//! |---|---|---|
//! | `admin` | its owner | status, statistics, the cache, the features, everybody's explanations, captures, reload |
//! | `api` | every user | the PeerDist API of [`crate::api`]: sessions, publications, contents, status |
//!
//! Both speak HTTP/1.1, for a person with curl, and HTTP/2, for a library with a thousand operations outstanding.
//! Bodies are JSON, except for content and content information themselves. A session is as long as the answer to
//! `POST /v1/sessions` stays open and the process that asked for it lives: then its handles are closed, its publications
//! go, and what is under way is cancelled. Every operation names its session in the header `Peerdist-Session`, and is
//! cancelled by resetting its stream or closing its connection. Positions are the caller's: what peerdist.h keeps in a
//! handle, where a stream of reads is and how much content information was retrieved, is kept on the client's side, so
//! that a cancelled operation moved nothing.

mod admin;
mod api;
mod capture;
pub mod client;
pub mod features;
mod listener;
mod metrics;
mod openapi;
pub mod paths;
mod process;
mod refusal;
mod server;
mod sessions;
pub mod wire;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::listener::ControlListener;
use self::server::ConnectionLimits;
use self::sessions::Sessions;
use self::wire::{PublicStatus, Reloaded};
use crate::api::{Api, Held, Quotas, Status};
use crate::config;
use crate::feature::Features;
use crate::node::{Node, NodeStatus};

pub use listener::BindError;

/// Connections of the admin socket.
const ADMIN_CONNECTIONS: ConnectionLimits = ConnectionLimits { all: 64, per_user: 64 };
/// Connections of the api socket: an anchor and a few operations at once for each of many programs.
const API_CONNECTIONS: ConnectionLimits = ConnectionLimits { all: 2048, per_user: 512 };

/// Somebody wants the configuration to be read again, and waits for what came of it: the error is for people.
pub type ReloadRequest = oneshot::Sender<Result<Reloaded, String>>;

/// The two sockets, being served.
#[derive(Debug)]
pub struct Control {
    api: Api,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the handlers of both sockets work with.
#[derive(Debug, Clone)]
struct Context {
    node: Node,
    sessions: Sessions,
    features: Features,
    reload: mpsc::Sender<ReloadRequest>,
    stop: CancellationToken,
}

impl Control {
    /// Binds both sockets and serves them. Reload requests go to `reload`. Needs a tokio runtime.
    pub fn start(
        config: &config::Control,
        node: Node,
        api: Api,
        features: Features,
        reload: mpsc::Sender<ReloadRequest>,
    ) -> Result<Self, BindError> {
        let admin = ControlListener::bind(&config.admin_socket, config.admin_mode)?;
        let public = ControlListener::bind(&config.api_socket, config.api_mode)?;
        let sessions = Sessions::new(api.clone());
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let context = Context { node, sessions, features, reload, stop: stop.clone() };
        let admin_router = admin::router(context.clone());
        tasks.spawn(server::serve(admin, admin_router, ADMIN_CONNECTIONS, stop.clone()));
        tasks.spawn(server::serve(public, api::router(context), API_CONNECTIONS, stop.clone()));
        tasks.close();
        Ok(Self { api, stop, tasks })
    }

    /// Takes new quotas. What users hold beyond them stays theirs.
    pub fn reconfigure(&self, config: &config::Control) {
        self.api.set_quotas(Quotas::from(config));
    }

    /// Removes the sockets, ends the sessions, and waits for requests under way.
    pub async fn stop(self) {
        // First, so that sessions hear why they end.
        self.stop.cancel();
        self.api.set_status(Status::Unavailable);
        self.tasks.wait().await;
    }
}

/// What the admin socket tells.
#[derive(Debug, Serialize)]
struct AdminStatus {
    version: &'static str,
    /// Whether the service is on: turned off, the node fetches, answers and serves nothing.
    service: Status,
    #[serde(flatten)]
    node: NodeStatus,
    /// What users hold on the api socket.
    api: Held,
}

impl Context {
    fn status(&self) -> AdminStatus {
        let api = self.sessions.api();
        AdminStatus {
            version: env!("CARGO_PKG_VERSION"),
            service: api.status().status,
            node: self.node.status(),
            api: api.held(),
        }
    }

    fn public_status(&self) -> PublicStatus {
        PublicStatus { info: self.sessions.api().status(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}
