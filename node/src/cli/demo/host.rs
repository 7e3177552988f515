//! A host of the demo: a daemon of its own with a cache, a port and sockets of its own.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Instant;

use super::processes::Process;
use super::{ExitStatus, Failure, POLL, START_LIMIT, still_there};
use crate::config::{
    Cache, CacheSize, Config, Control, Discovery, HostedCache, HostedClient, Interfaces, Mode, Node, Retrieval,
};
use crate::control::client::{AdminClient, Session};
use crate::download::Backend;

/// A host and the part it has.
pub(super) struct Host {
    pub(super) home: PathBuf,
    pub(super) part: Part,
}

/// What a host does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// It works with all others.
    Peer,
    /// It is the hosted cache, on this port.
    HostedCache { port: u16 },
    /// It works with the hosted cache on this port.
    Client { port: u16 },
}

impl Host {
    /// A hosted cache on a port that is free now.
    pub(super) fn hosted_cache(home: PathBuf) -> Result<Self, Failure> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = free.map_err(|error| Failure::new(ExitStatus::Failure, error))?.port();
        Ok(Self { home, part: Part::HostedCache { port } })
    }

    /// The part of who works with this host.
    pub(super) fn client_part(&self) -> Part {
        match self.part {
            Part::HostedCache { port } | Part::Client { port } => Part::Client { port },
            Part::Peer => Part::Peer,
        }
    }

    /// Starts the daemon.
    pub(super) fn start(&self) -> Result<Process, Failure> {
        let fail = |error| Failure::file("prepare", &self.home, error);
        std::fs::create_dir(&self.home).map_err(fail)?;
        let path = self.home.join("peerdist.toml");
        // A little log is enough; what it says is shown only where something fails.
        std::fs::write(&path, self.config()?.to_toml()).map_err(fail)?;
        let words = [OsStr::new("daemon"), OsStr::new("--with-parent"), OsStr::new("--config"), path.as_os_str()];
        Process::start(words, &self.home.join("log")).map_err(fail)
    }

    fn config(&self) -> Result<Config, Failure> {
        let (mode, port, hosted_port) = match self.part {
            Part::Peer => (Mode::Distributed, 0, None),
            Part::HostedCache { port } => (Mode::HostedCache, port, Some(port)),
            Part::Client { port } => (Mode::HostedClient, 0, Some(port)),
        };
        let mut config = Config {
            node: Node { mode, listen: vec![Ipv4Addr::LOCALHOST.into()], port, ..Node::default() },
            discovery: Discovery {
                interfaces: Interfaces::Only(vec!["lo".into()]),
                ipv6: false,
                ..Discovery::default()
            },
            cache: Cache {
                dir: self.home.join("cache"),
                size: CacheSize::Percent(100),
                keep_free: 0,
                ..Cache::default()
            },
            // All hosts have one address.
            retrieval: Retrieval {
                max_connections: NonZeroU32::MAX,
                max_connections_per_peer: NonZeroU32::MAX,
                ..Retrieval::default()
            },
            control: Control {
                admin_socket: self.admin_socket(),
                api_socket: self.api_socket(),
                feature_file: self.home.join("features.toml"),
                ..Control::default()
            },
            ..Config::default()
        };
        if let Some(port) = hosted_port {
            let server = Ipv4Addr::LOCALHOST.to_string().parse();
            let servers = vec![server.map_err(|error| Failure::new(ExitStatus::Failure, error))?];
            config.hosted_cache = HostedCache { http_port: port, ..HostedCache::default() };
            config.hosted_client =
                HostedClient { servers, retrieval_port: port, http_port: port, ..HostedClient::default() };
        }
        Ok(config)
    }

    /// Waits for the daemon and opens a session.
    pub(super) async fn connect(&self, cast: &mut [Process]) -> Result<Backend, Failure> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match Session::open(self.api_socket()).await {
                Ok(session) => return Ok(Backend::Daemon(session)),
                Err(error) => tracing::debug!(host = %self.home.display(), %error, "not ready yet"),
            }
            still_there(cast, deadline)?;
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until this host's cache holds as many blocks as another's.
    pub(super) async fn until_it_holds_what(&self, other: &Self, cast: &mut [Process]) -> Result<(), Failure> {
        let deadline = Instant::now() + START_LIMIT;
        let [own, others] = [self, other].map(|host| AdminClient::new(host.admin_socket()));
        while own.cache_stats().await?.blocks < others.cache_stats().await?.blocks {
            still_there(cast, deadline)?;
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn admin_socket(&self) -> PathBuf {
        self.home.join("admin.sock")
    }

    fn api_socket(&self) -> PathBuf {
        self.home.join("api.sock")
    }
}
