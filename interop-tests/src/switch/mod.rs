//! A small Ethernet switch over TAP devices: the LAN of tests that need a bad one, since many kernels lack netem.
//!
//! Every frame passes through this process, which decides its fate from a seed and can write it to a capture.

mod fabric;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tun_rs::{AsyncDevice, DeviceBuilder, Layer};

pub use fabric::{Counters, Impairment, PortId};

use crate::netns::Namespace;
use fabric::Fabric;
use peerdist_node::pcapng::{Direction, InterfaceId, Writer};

/// More than any frame: a TAP device without offloading gives what the MTU allows.
const MAX_FRAME: usize = 65_536;

/// Frames that may be on their way at once; with full frames 24 MiB.
const MAX_DELAYED: usize = 16_384;

/// A switch whose ports are interfaces of network namespaces. They vanish with it.
pub struct Switch {
    shared: Arc<Shared>,
    runtime: Runtime,
}

struct Shared {
    state: Mutex<State>,
    delay_line: mpsc::Sender<Delayed>,
}

struct State {
    fabric: Fabric,
    ports: Vec<Arc<AsyncDevice>>,
    capture: Option<Capture>,
}

/// A capture as it would be taken on the hosts behind some of the ports.
#[derive(Debug)]
struct Capture {
    writer: Writer<BufWriter<File>>,
    interfaces: Vec<(PortId, InterfaceId)>,
}

impl Switch {
    /// A switch without ports, all of whose chances follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("switch").enable_all().build().expect("a runtime starts");
        let (delay_line, delayed) = mpsc::channel(MAX_DELAYED);
        let state = State { fabric: Fabric::new(seed), ports: Vec::new(), capture: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), delay_line });
        runtime.spawn(run_delay_line(Arc::clone(&shared), delayed));
        Self { shared, runtime }
    }

    /// Makes the interface `name` in `namespace`, down and without addresses, and plugs it in.
    ///
    /// # Panics
    /// If the kernel has no TAP devices for us.
    pub(crate) fn plug_in(&self, namespace: &Namespace, name: &str) -> PortId {
        let device = namespace.enter(|| DeviceBuilder::new().name(name).layer(Layer::L2).enable(false).build_sync());
        let device = device.unwrap_or_else(|error| panic!("cannot make a TAP device from /dev/net/tun: {error}"));
        let in_runtime = self.runtime.enter();
        let device = Arc::new(AsyncDevice::new(device).expect("a TAP device can be polled"));
        drop(in_runtime);

        let mut state = self.shared.state();
        let port = state.fabric.add_port();
        state.ports.push(Arc::clone(&device));
        drop(state);
        self.runtime.spawn(run_port(Arc::clone(&self.shared), port, device));
        port
    }

    /// Sets what happens to frames between all ports that have nothing of their own. Chances start anew from the
    /// seed, so that only frames sent from now on decide over them.
    pub fn impair(&self, impairment: Impairment) {
        self.shared.state().fabric.impair(impairment);
    }

    /// Sets what happens to frames from one port to another, in this direction; chances start anew here too.
    pub fn impair_link(&self, from: PortId, to: PortId, impairment: Impairment) {
        self.shared.state().fabric.impair_link(from, to, impairment);
    }

    /// Lets nothing pass between ports of different groups. Ports in no group reach everybody.
    pub fn partition(&self, groups: &[&[PortId]]) {
        self.shared.state().fabric.partition(groups);
    }

    /// Ends every partition.
    pub fn heal(&self) {
        self.shared.state().fabric.heal();
    }

    /// What became of the frames so far.
    pub fn counters(&self) -> Counters {
        self.shared.state().fabric.counters
    }

    /// Starts to write what the hosts behind `ports` send and receive to `path`. A second capture ends the first.
    ///
    /// # Panics
    /// If `path` cannot be written.
    pub fn start_capture(&self, path: &Path, ports: &[PortId]) {
        self.stop_capture();
        let capture = Capture::create(path, ports);
        let capture = capture.unwrap_or_else(|error| panic!("capture {}: {error}", path.display()));
        self.shared.state().capture = Some(capture);
    }

    /// Ends the capture, if there is one; its file is complete then.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn stop_capture(&self) {
        if let Some(mut capture) = self.shared.state().capture.take() {
            capture.writer.flush().expect("the capture's file takes its last bytes");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forward(&self, from: PortId, frame: &[u8]) {
        let mut state = self.state();
        state.record(from, Direction::Outbound, frame);
        for delivery in state.fabric.forward(from, frame) {
            if delivery.after.is_zero() {
                state.deliver(delivery.port, frame);
                continue;
            }
            let due = Instant::now() + delivery.after;
            if self
                .delay_line
                .try_send(Delayed { due, port: delivery.port, frame: Bytes::copy_from_slice(frame) })
                .is_err()
            {
                state.fabric.counters.refused += 1;
            }
        }
    }
}

impl State {
    fn deliver(&mut self, to: PortId, frame: &[u8]) {
        if self.ports[to.0].try_send(frame).is_ok() {
            self.record(to, Direction::Inbound, frame);
        } else {
            self.fabric.counters.refused += 1;
        }
    }

    fn record(&mut self, port: PortId, direction: Direction, frame: &[u8]) {
        let Some(capture) = &mut self.capture else { return };
        if let Some((_, interface)) = capture.interfaces.iter().find(|(captured, _)| *captured == port) {
            let written = capture.writer.packet(*interface, SystemTime::now(), direction, frame);
            written.expect("the capture's file takes a frame");
        }
    }
}

impl Capture {
    fn create(path: &Path, ports: &[PortId]) -> io::Result<Self> {
        let mut writer = Writer::new(BufWriter::new(File::create(path)?), "peerdist interop-tests")?;
        let mut interfaces = Vec::new();
        for port in ports {
            interfaces.push((*port, writer.interface(&format!("port{}", port.0))?));
        }
        Ok(Self { writer, interfaces })
    }
}

async fn run_port(shared: Arc<Shared>, port: PortId, device: Arc<AsyncDevice>) {
    let mut frame = vec![0; MAX_FRAME];
    // An error means that the namespace, and the interface with it, has gone.
    while let Ok(length) = device.recv(&mut frame).await {
        shared.forward(port, &frame[..length]);
    }
}

/// A frame on its way.
#[derive(Debug)]
struct Delayed {
    due: Instant,
    port: PortId,
    frame: Bytes,
}

/// Delivers frames when they are due; those due at the same time in the order in which they came.
async fn run_delay_line(shared: Arc<Shared>, mut incoming: mpsc::Receiver<Delayed>) {
    let mut waiting = BinaryHeap::new();
    let mut sequence = 0_u64;
    loop {
        let next = waiting.peek().map(|Reverse(entry): &Reverse<Waiting>| entry.delayed.due);
        let due = async {
            match next {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Frames already due go first, so that a flood of new ones cannot starve them.
            biased;
            () = due => {
                let now = Instant::now();
                let mut state = shared.state();
                while waiting.peek().is_some_and(|Reverse(entry)| entry.delayed.due <= now) {
                    if let Some(Reverse(Waiting { delayed, .. })) = waiting.pop() {
                        state.deliver(delayed.port, &delayed.frame);
                    }
                }
            }
            delayed = incoming.recv(), if waiting.len() < MAX_DELAYED => {
                let Some(delayed) = delayed else { return };
                sequence += 1;
                waiting.push(Reverse(Waiting { delayed, sequence }));
            }
        }
    }
}

#[derive(Debug)]
struct Waiting {
    delayed: Delayed,
    sequence: u64,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.delayed.due, self.sequence).cmp(&(other.delayed.due, other.sequence))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}
