//! What the tap is told of datagrams. Called while somebody captures, and not otherwise.

use std::net::SocketAddr;
use std::time::SystemTime;

use peerdist_protocol::discovery::{DropReason, Heard, Moment, Outcome, ProbeTransmit, Reply};
use peerdist_tap::{Carrier, Direction, Protocol, Record, Tap};

use crate::Lookup;
use crate::port::Port;

/// A datagram to the group.
pub(crate) fn heard(
    tap: &Tap,
    port: &Port,
    from: SocketAddr,
    payload: &[u8],
    heard: &Result<Heard, DropReason>,
    lookup: &Lookup,
) {
    let comment = match heard {
        Ok(heard) => {
            let is_held = |id: &&_| lookup(id).is_some_and(|held| held.blocks > 0);
            let (held, all) = (heard.probe.ids().filter(is_held).count(), heard.probe.ids().len());
            let what = if heard.outcome == Outcome::Scheduled { "will be answered" } else { "not answered" };
            format!("{what}: {}, {held} of {all} segments held", heard.outcome)
        }
        Err(reason) => format!("dropped: {reason}"),
    };
    record(tap, port, Direction::Received, [from, port.group()], payload, comment);
}

/// A datagram to a socket that Probes are sent from.
pub(crate) fn taken(tap: &Tap, port: &Port, from: SocketAddr, payload: &[u8], taken: Result<(), DropReason>) {
    let comment = match taken {
        Ok(()) => "taken".to_owned(),
        Err(reason) => format!("dropped: {reason}"),
    };
    record(tap, port, Direction::Received, [from, port.probing_address()], payload, comment);
}

/// An answer to a Probe.
pub(crate) fn answer(tap: &Tap, port: &Port, answer: &Reply, now: Moment, sent: bool) {
    let after = now.saturating_sub(answer.heard_at).as_millis();
    let comment = format!("answer after {after} ms{}", failed(sent));
    record(tap, port, Direction::Sent, [port.answering_address(), answer.to], &answer.payload, comment);
}

/// An own Probe.
pub(crate) fn probe(tap: &Tap, port: &Port, probe: &ProbeTransmit, sent: bool) {
    let copy = if probe.is_repeat { "second copy: not all segments were found" } else { "first copy" };
    let comment = format!("{copy}{}", failed(sent));
    record(tap, port, Direction::Sent, [port.probing_address(), port.group()], &probe.payload, comment);
}

fn failed(sent: bool) -> &'static str {
    if sent { "" } else { "; it could not be sent" }
}

fn record(tap: &Tap, port: &Port, direction: Direction, [from, to]: [SocketAddr; 2], payload: &[u8], comment: String) {
    tap.record(&Record {
        at: SystemTime::now(),
        protocol: Protocol::Discovery,
        direction,
        from,
        to,
        payload: payload.to_vec().into(),
        size: payload.len(),
        comment,
        carrier: Carrier::Datagram { interface: port.link.name.clone() },
    });
}
