//! What a [`crate::Discovery`] is told.

use std::time::Duration;

use peerdist_protocol::discovery::{ClientConfig, PORT};
use peerdist_tap::Tap;

/// Which interfaces take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// Every one that is up, can do multicast and is not the loopback; also such as come later.
    All,
    /// These, as soon as and as long as they are up; the only way to take the loopback.
    Only(Vec<String>),
}

/// The configuration of a [`crate::Discovery`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Where Probes are sent and heard.
    pub interfaces: Interfaces,
    /// Whether 239.255.255.250 is used.
    pub ipv4: bool,
    /// Whether FF02::C is used.
    pub ipv6: bool,
    /// The UDP port of the LAN, 3702 unless all hosts agree on another one.
    pub port: u16,
    /// The TCP port of the retrieval server, which answers name.
    pub retrieval_port: u16,
    /// Whether Probes are answered; they are heard in any case.
    pub serve: bool,
    /// Pace and timers of own Probes; `None` where nothing will be asked. Its `own_address` is filled in.
    pub client: Option<ClientConfig>,
    /// The longest back-off before an answer. 65 ms.
    pub backoff_max: Duration,
    /// Answers a second to one source address. 2,000.
    pub replies_per_second_and_source: u32,
    /// Answers a second in all. 20,000.
    pub replies_per_second: u32,
    /// So many answers to one Probe are plenty; `None` answers every Probe. 16.
    pub replies_wanted: Option<u32>,
    /// How many events may wait to be taken; Probes overheard are dropped from half of it on. 1,024.
    pub event_queue: usize,
    /// Where every datagram is told.
    pub tap: Tap,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interfaces: Interfaces::All,
            ipv4: true,
            ipv6: true,
            port: PORT,
            retrieval_port: 80,
            serve: true,
            client: Some(ClientConfig::default()),
            backoff_max: Duration::from_millis(65),
            replies_per_second_and_source: 2_000,
            replies_per_second: 20_000,
            replies_wanted: Some(16),
            event_queue: 1_024,
            tap: Tap::default(),
        }
    }
}
