//! The daemon: an orderly start, reload and stop.
//!
//! SIGHUP (or `POST /v1/reload`) reads the configuration again, SIGTERM and SIGINT stop: Probes are answered no more,
//! uploads may finish within [`STOP_LIMIT`], the cache is closed, the sockets go. A second signal ends it at once.

mod log;
mod notify;
mod reload;

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use self::log::Log;
use self::notify::Notify;
use crate::api::{Api, Quotas, Status};
use crate::cli::{ExitStatus, Failure};
use crate::config::Config;
use crate::control::wire::Reloaded;
use crate::control::{BindError, Control, ReloadRequest};
use crate::feature::Features;
use crate::node::{Node, StartError};
use crate::store::StoreError;

pub use self::log::LOG_VARIABLE;

/// How long an orderly stop may take.
pub const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Reloads that may wait.
const RELOADS: usize = 4;

/// Runs the daemon with the configuration at `path` until a signal ends it.
pub fn run(path: &Path) -> Result<(), Failure> {
    let config = Config::load(path)?;
    let log = Log::start(&config.log.filter);
    for note in config.notes() {
        tracing::warn!("{note}");
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ExitStatus::Failure, error))?;
    let result = runtime.block_on(serve(path, config, &log));
    // What hangs on the disk is not waited for: the store was closed, or its limit ran out.
    runtime.shutdown_background();
    result
}

/// Connections and packs take descriptors. The soft limit is low for programs that still use `select`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "cannot raise the limit of descriptors");
    }
}

async fn serve(path: &Path, config: Config, log: &Log) -> Result<(), Failure> {
    let notify = Notify::from_env();
    let mut signals = Signals::new().map_err(|error| Failure::new(ExitStatus::Failure, error))?;
    let features = Features::open(&config.control.feature_file)?;
    let node = Node::start(config.clone()).await.map_err(|error| start_failure(error, &config))?;
    let (reload, reloads) = mpsc::channel(RELOADS);
    let api = Api::new(node.clone(), config.control.publish_key.clone(), Quotas::from(&config.control));
    let switch = Switch::new(config.node.enabled, node.clone(), api.clone());
    let following = switch.clone();
    features.follow(move |on| following.turn(|wishes| wishes.feature = on));
    let control = match Control::start(&config.control, node.clone(), api, features, reload) {
        Ok(control) => control,
        Err(error) => {
            node.stop().await;
            return Err(error.into());
        }
    };
    tracing::info!(
        mode = %config.node.mode,
        retrieval = ?node.listeners(),
        cache = %config.cache.dir.display(),
        admin = %config.control.admin_socket.display(),
        api = %config.control.api_socket.display(),
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    notify.ready();
    let mut daemon = Daemon { path, running: config, log, notify, node, switch, control, reloads };
    daemon.until_stopped(&mut signals).await;
    daemon.stop(&mut signals).await;
    Ok(())
}

/// What turns the node on and off: the feature and the configuration. Clones are the same switch.
#[derive(Clone)]
struct Switch {
    wishes: Arc<Mutex<Wishes>>,
    node: Node,
    api: Api,
}

/// The node is on where both want it.
struct Wishes {
    feature: bool,
    config: bool,
}

impl Switch {
    fn new(config: bool, node: Node, api: Api) -> Self {
        Self { wishes: Arc::new(Mutex::new(Wishes { feature: false, config })), node, api }
    }

    fn turn(&self, change: impl FnOnce(&mut Wishes)) {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut wishes);
        let on = wishes.feature && wishes.config;
        // Under the lock, so that what was wished last holds.
        self.node.set_enabled(on);
        self.api.set_status(if on { Status::Available } else { Status::Disabled });
    }
}

struct Daemon<'a> {
    path: &'a Path,
    /// What holds now: the configuration at the start, with what was reloaded since.
    running: Config,
    log: &'a Log,
    notify: Notify,
    node: Node,
    switch: Switch,
    control: Control,
    reloads: mpsc::Receiver<ReloadRequest>,
}

impl Daemon<'_> {
    async fn until_stopped(&mut self, signals: &mut Signals) {
        loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Stop => return,
                    Wish::Reload => drop(self.reload().await),
                },
                Some(answer) = self.reloads.recv() => {
                    // The one who asked may have gone.
                    let _ = answer.send(self.reload().await);
                }
            }
        }
    }

    async fn reload(&mut self) -> ReloadResult {
        self.notify.reloading();
        let result = match Config::load(self.path) {
            Err(error) => Err(error.to_string()),
            Ok(new) => {
                let reloaded = reload::apply(&mut self.running, &new);
                self.log.set_filter(&self.running.log.filter);
                self.control.reconfigure(&self.running.control);
                self.switch.turn(|wishes| wishes.config = self.running.node.enabled);
                match self.node.reconfigure(&self.running).await {
                    Ok(()) => Ok(reloaded),
                    Err(error) => Err(error.to_string()),
                }
            }
        };
        self.notify.ready();
        match &result {
            Ok(Reloaded { applied, needs_restart }) => {
                tracing::info!(?applied, "configuration read again");
                if !needs_restart.is_empty() {
                    tracing::warn!(keys = ?needs_restart, "these changes need a restart");
                }
            }
            Err(error) => tracing::error!(%error, "the configuration stays as it was"),
        }
        result
    }

    async fn stop(self, signals: &mut Signals) {
        tracing::info!("stopping");
        self.notify.stopping();
        let orderly = async {
            self.control.stop().await;
            self.node.stop().await;
        };
        tokio::select! {
            () = orderly => tracing::info!("stopped"),
            () = tokio::time::sleep(STOP_LIMIT) => tracing::warn!("stopped before everything had come to its end"),
            () = signals.stop() => tracing::warn!("stopped at once"),
        }
    }
}

type ReloadResult = Result<Reloaded, String>;

/// Registered before the node starts, so that a signal during the start is not lost.
struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Reload,
    Stop,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.hang_up.recv() => Wish::Reload,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Wish::Stop {}
    }
}

/// Says what to do about the usual reasons why a node cannot start.
fn start_failure(error: StartError, config: &Config) -> Failure {
    let error = match error {
        StartError::Certificate(error) => return error.into(),
        error => error,
    };
    let port = match &error {
        StartError::Listen { address, .. } => address.port(),
        _ => config.node.port,
    };
    let key = if port == config.node.port { "[node] port" } else { "port in [hosted_cache]" };
    if let StartError::Store(StoreError::InUse { .. }) = error {
        return Failure::new(ExitStatus::CacheInUse, error)
            .help("is another peerdistd running? Or name another [cache] dir");
    }
    match io_kind(&error) {
        Some(ErrorKind::PermissionDenied) if matches!(error, StartError::Store(_)) => {
            Failure::new(ExitStatus::NotPermitted, error)
                .help("make the folder for this user (CacheDirectory= in a unit), or name another [cache] dir")
        }
        Some(ErrorKind::PermissionDenied) if (1..1024).contains(&port) => {
            Failure::new(ExitStatus::NotPermitted, error).help(format!(
                "port {port} needs a right: `setcap cap_net_bind_service=+ep` on the program, AmbientCapabilities= in its unit, \
                 `sysctl net.ipv4.ip_unprivileged_port_start={port}`, or another {key}",
            ))
        }
        Some(ErrorKind::PermissionDenied) => Failure::new(ExitStatus::NotPermitted, error)
            .help("the directories and addresses in the configuration have to be open to this user"),
        Some(ErrorKind::AddrInUse) => Failure::new(ExitStatus::Failure, error)
            .help(format!("another program has port {port}: stop it, or name another {key}")),
        _ => Failure::new(ExitStatus::Failure, error),
    }
}

/// The kind of the system's error among an error's causes.
fn io_kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => Some(error.kind()),
        None => io_kind(error.source()?),
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        match &error {
            BindError::InUse { .. } => {
                Self::new(ExitStatus::Failure, error).help("stop the other daemon, or name other sockets in [control]")
            }
            BindError::NotASocket { .. } => {
                Self::new(ExitStatus::Failure, error).help("remove it, or name another socket in [control]")
            }
            BindError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Self::new(ExitStatus::NotPermitted, error).help(
                    "make the folder for this user (RuntimeDirectory= in a unit), or name other sockets in [control]",
                )
            }
            BindError::Io { .. } => Self::new(ExitStatus::Failure, error),
        }
    }
}
