//! Peer discovery ([MS-PCCRD]): WS-Discovery Probes and ProbeMatches, and the two machines that speak them.
//!
//! | part | section |
//! |---|---|
//! | [`Probe`], [`ProbeMatches`], [`Message`] | 2.2, the datagrams: strict reading, literal writing |
//! | [`ProbeClient`] | 3.1, asks who holds segments |
//! | [`ProbeServer`] | 3.2, says which segments this host holds |
//!
//! The machines have no clock and no randomness of their own: every call brings the time since a start that the
//! caller chose, and each machine takes a seed. Feed them with `handle_*`, then drain `poll_transmit` and
//! `poll_event`, and call `handle_timeout` when the moment of `poll_timeout` has come.

mod availability;
mod client;
mod emit;
mod hearing;
mod hexadecimal;
mod holders;
mod identity;
mod message;
pub(crate) mod names;
mod parse;
mod random;
mod reason;
mod seen;
mod server;
mod template;
mod xaddrs;
mod xml;

pub use availability::{AgeUnits, Availability, AvailabilityBits, Held, SegmentAges};
pub use client::{ClientConfig, ClientEvent, FindError, ProbeClient, ProbeKey, ProbeTransmit};
pub(crate) use emit::ENVELOPE;
pub use identity::{EndpointAddress, MAX_IDENTITY_SIZE, MessageId};
pub use message::{AppSequence, Message, Probe, ProbeError, ProbeMatches, Scope, Segments};
pub use parse::{Element, ParseError};
pub use reason::DropReason;
pub use server::{Arrival, Heard, Outcome, ProbeServer, Reply, ServerConfig};
pub use xml::XmlError;
pub(crate) use xml::{trim, words};

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Time since an arbitrary start that the caller chose; the same start for every call to one machine.
pub type Moment = Duration;

/// The UDP port of WS-Discovery ([MS-PCCRD] 2.1).
pub const PORT: u16 = 3702;
/// The IPv4 group of WS-Discovery ([MS-PCCRD] 2.1).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// The IPv6 group of WS-Discovery, link-local scope ([MS-PCCRD] 2.1).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);

/// The longest datagram that is read, in bytes: one that UDP can carry (SOAP-over-UDP).
pub const MAX_DATAGRAM_SIZE: usize = 65_535;
/// The longest Probe that is sent, in bytes: one packet of 1,500 bytes with IPv6 and UDP headers.
pub const MAX_PROBE_SIZE: usize = 1_452;
/// The most ids a Probe or ProbeMatches may carry: the count field of the version 2 Scopes has one byte (2.2.3.3).
pub const MAX_IDS: usize = 255;
/// How many ids of 32 bytes a version 1 Probe of [`MAX_PROBE_SIZE`] holds.
pub const MAX_IDS_PER_DATAGRAM_V1: usize = 10;
/// How many ids of 32 bytes a version 2 Probe of [`MAX_PROBE_SIZE`] holds.
pub const MAX_IDS_PER_DATAGRAM_V2: usize = 16;

/// Which of the two vocabularies a Probe speaks, and its answer with it ([MS-PCCRD] 2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// `PeerDistData`: ids as hexadecimal scopes, answers with block counts.
    V1,
    /// `PeerDistDataV2`: ids in one base64 array, answers with two bits per id.
    V2,
}

impl Form {
    /// How many ids of 32 bytes fit into one unfragmented Probe.
    #[must_use]
    pub const fn max_ids_per_datagram(self) -> usize {
        match self {
            Self::V1 => MAX_IDS_PER_DATAGRAM_V1,
            Self::V2 => MAX_IDS_PER_DATAGRAM_V2,
        }
    }
}
