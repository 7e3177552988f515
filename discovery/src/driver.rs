//! The task that owns the sockets and both machines.

use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use peerdist_protocol::discovery::{MAX_DATAGRAM_SIZE, ProbeClient};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::changes::Changes;
use crate::config::{Config, Interfaces};
use crate::counters::Counters;
use crate::engine::Engine;
use crate::handle::Command;
use crate::interfaces;
use crate::port::{Family, InterfaceState, Port};
use crate::tapped;

/// How many datagrams are read from one socket before the others have their turn.
const BATCH: usize = 64;
/// Interfaces change in several steps; they are looked at so long after the first.
const SETTLE: Duration = Duration::from_millis(50);
/// When a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What handles can see without asking.
pub(crate) struct Shared {
    counters: Mutex<Counters>,
    interfaces: Mutex<Vec<InterfaceState>>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { counters: Mutex::new(Counters::ZERO), interfaces: Mutex::new(vec![]) }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn interfaces(&self) -> Vec<InterfaceState> {
        self.interfaces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) struct Driver {
    config: Config,
    engine: Engine,
    ports: Vec<Port>,
    next_key: u32,
    changes: Option<Changes>,
    refresh_at: Option<Instant>,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
}

/// Why the task woke up.
enum Wake {
    Command(Option<Command>),
    Readable,
    Due,
    Changed(io::Result<()>),
}

impl Driver {
    /// Opens the sockets, so that nothing sent after the start is missed.
    pub(crate) fn open(
        config: Config,
        engine: Engine,
        commands: mpsc::Receiver<Command>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let mut driver = Self {
            config,
            engine,
            ports: vec![],
            next_key: 0,
            changes: None,
            refresh_at: None,
            commands,
            shared,
            buffer: vec![0; MAX_DATAGRAM_SIZE],
        };
        driver.refresh()?;
        if driver.changes.is_none() {
            tracing::warn!("cannot watch interfaces; looking at them every {} seconds", RETRY.as_secs());
        }
        if let Interfaces::Only(names) = &driver.config.interfaces {
            let absent = |name: &&String| driver.ports.iter().all(|port| port.link.name != **name);
            for interface in names.iter().filter(absent) {
                tracing::warn!(%interface, "this interface is not up or has no address; waiting for it");
            }
        }
        Ok(driver)
    }

    /// Runs until it is told to stop or nobody holds a handle any more.
    pub(crate) async fn run(mut self) {
        let stopped = loop {
            self.engine.handle_timeout();
            self.transmit();
            self.engine.pass_events();
            self.publish();
            match self.wait().await {
                Wake::Command(Some(Command::Probe { ids, form, reply })) => {
                    let _ = reply.send(self.engine.find(ids, form));
                }
                Wake::Command(Some(Command::SetInterfaces(interfaces))) => {
                    self.config.interfaces = interfaces;
                    self.refresh_or_retry();
                }
                Wake::Command(Some(Command::Stop(stopped))) => break Some(stopped),
                Wake::Command(None) => break None,
                Wake::Readable => self.receive(),
                Wake::Changed(intact) => {
                    let settled = Instant::now() + SETTLE;
                    self.refresh_at = Some(self.refresh_at.map_or(settled, |at| at.min(settled)));
                    if intact.is_err() {
                        self.changes = None;
                    }
                }
                Wake::Due => {
                    if self.refresh_at.is_some_and(|at| at <= Instant::now()) {
                        self.refresh_or_retry();
                    }
                }
            }
        };
        drop(self);
        if let Some(stopped) = stopped {
            let _ = stopped.send(());
        }
    }

    async fn wait(&mut self) -> Wake {
        let machine = self.engine.poll_timeout().map(|moment| self.engine.instant(moment));
        let due = [machine, self.refresh_at].into_iter().flatten().min();
        let room = !self.engine.backlog.is_empty();
        tokio::select! {
            biased;
            command = self.commands.recv() => Wake::Command(command),
            () = readable(&self.ports) => Wake::Readable,
            intact = changed(self.changes.as_ref()) => Wake::Changed(intact),
            // The permit is given back at once: this task is the only sender.
            _ = self.engine.events.reserve(), if room => Wake::Due,
            () = sleep_until(due) => Wake::Due,
        }
    }

    fn receive(&mut self) {
        let Self { engine, ports, buffer, .. } = self;
        let now = engine.now();
        for port in &*ports {
            if let Some(socket) = port.listening() {
                drain(socket, buffer, engine, |engine, from, payload| engine.hear(now, port, from, payload));
            }
            if let Some(socket) = port.probing() {
                drain(socket, buffer, engine, |engine, from, payload| engine.take_answer(now, port, from, payload));
            }
        }
    }

    fn transmit(&mut self) {
        let now = self.engine.now();
        let Engine { client, server, counters, tap, .. } = &mut self.engine;
        while let Some(answer) = server.poll_transmit() {
            let mut port = self.ports.iter_mut().find(|port| port.key == answer.interface_key);
            let sent = port.as_mut().is_some_and(|port| port.send_answer(&answer.payload, answer.to));
            if let Some(port) = port.filter(|_| tap.is_on()) {
                tapped::answer(tap, port, &answer, now, sent);
            }
            match sent {
                true => counters.answers_sent += 1,
                false => counters.answers_not_sent += 1,
            }
        }
        while let Some(probe) = client.as_mut().and_then(ProbeClient::poll_transmit) {
            server.handle_own_probe(now, &probe.message_id);
            for port in &mut self.ports {
                let sent = port.send_probe(&probe.payload);
                if tap.is_on() {
                    tapped::probe(tap, port, &probe, sent);
                }
                match sent {
                    true => counters.probes_sent += 1,
                    false => counters.probes_not_sent += 1,
                }
            }
        }
    }

    /// Opens and closes sockets so that they fit the interfaces there are.
    fn refresh(&mut self) -> io::Result<()> {
        self.refresh_at = None;
        if self.changes.is_none() {
            self.changes = Changes::watch().ok();
        }
        let links = interfaces::list(&self.config.interfaces)?;
        let families = [(Family::V4, self.config.ipv4), (Family::V6, self.config.ipv6)];
        let mut before = std::mem::take(&mut self.ports);
        for link in links {
            for (family, _) in families.iter().filter(|(_, wanted)| *wanted) {
                let known = before.iter().position(|port| port.family == *family && port.fits(&link));
                let port = if let Some(position) = known {
                    let mut port = before.swap_remove(position);
                    port.link = link.clone();
                    port.open_missing();
                    Some(port)
                } else {
                    self.next_key = self.next_key.wrapping_add(1);
                    let port = Port::open(self.next_key, link.clone(), *family, self.config.port);
                    if port.is_some() {
                        tracing::info!(interface = %link.name, ?family, "discovery takes part here");
                    }
                    port
                };
                self.ports.extend(port);
            }
        }
        for gone in before {
            tracing::info!(interface = %gone.link.name, family = ?gone.family, "discovery left");
        }
        if self.changes.is_none() || self.ports.iter().any(Port::is_incomplete) {
            self.refresh_at = Some(Instant::now() + RETRY);
        }
        let states = self.ports.iter().map(Port::state).collect();
        *self.shared.interfaces.lock().unwrap_or_else(PoisonError::into_inner) = states;
        Ok(())
    }

    fn refresh_or_retry(&mut self) {
        if let Err(error) = self.refresh() {
            tracing::warn!(%error, "cannot list interfaces; trying again");
            self.refresh_at = Some(Instant::now() + RETRY);
        }
    }

    fn publish(&self) {
        self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.engine.counters);
    }
}

fn drain(
    socket: &UdpSocket,
    buffer: &mut [u8],
    engine: &mut Engine,
    mut take: impl FnMut(&mut Engine, SocketAddr, &[u8]),
) {
    for _ in 0..BATCH {
        match socket.try_recv_from(buffer) {
            Ok((size, from)) => take(engine, from, buffer.get(..size).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => {
                engine.counters.receive_errors += 1;
                return;
            }
        }
    }
}

/// Waits until one of the sockets has something, or a fault to report.
async fn readable(ports: &[Port]) {
    poll_fn(|cx| {
        let sockets = ports.iter().flat_map(|port| [port.listening(), port.probing()]).flatten();
        // Each socket that is not ready has to remember this task, so all are asked until one is.
        for socket in sockets {
            if socket.poll_recv_ready(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

async fn changed(changes: Option<&Changes>) -> io::Result<()> {
    match changes {
        Some(changes) => changes.next().await,
        None => pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => pending().await,
    }
}
