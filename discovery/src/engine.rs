//! Both machines, what they are fed from, and where their events go.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{Arrival, ClientEvent, FindError, Form, Moment, ProbeClient, ProbeKey, ProbeServer};
use peerdist_tap::Tap;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::Lookup;
use crate::counters::Counters;
use crate::handle::{Event, ProbeError};
use crate::port::Port;
use crate::tapped;

/// How many matches may wait for somebody to take them, beyond the queue itself.
const MAX_BACKLOG: usize = 4_096;

pub(crate) struct Engine {
    pub(crate) client: Option<ProbeClient>,
    pub(crate) server: ProbeServer,
    pub(crate) lookup: Lookup,
    pub(crate) counters: Counters,
    pub(crate) events: mpsc::Sender<Event>,
    /// Matches and expiries that found no room; they wait, Probes overheard do not.
    pub(crate) backlog: VecDeque<Event>,
    pub(crate) tap: Tap,
    started: Instant,
}

impl Engine {
    pub(crate) fn new(
        client: Option<ProbeClient>,
        server: ProbeServer,
        lookup: Lookup,
        events: mpsc::Sender<Event>,
        tap: Tap,
    ) -> Self {
        let (counters, backlog) = (Counters::ZERO, VecDeque::new());
        Self { client, server, lookup, counters, events, backlog, tap, started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        self.started.elapsed()
    }

    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        self.started + moment
    }

    pub(crate) fn find(&mut self, ids: Vec<SegmentId>, form: Form) -> Result<ProbeKey, ProbeError> {
        let now = self.now();
        let client = self.client.as_mut().ok_or(ProbeError::NotAClient)?;
        // Whoever does not take the answers gets no more questions through.
        if self.backlog.len() >= MAX_BACKLOG {
            return Err(ProbeError::Find(FindError::Busy));
        }
        Ok(client.find(now, ids, form)?)
    }

    /// A datagram to the group.
    pub(crate) fn hear(&mut self, now: Moment, port: &Port, from: SocketAddr, payload: &[u8]) {
        let Some(local) = port.link.address_for(from.ip()) else { return };
        let on_link = port.link.is_source_on_link(from);
        let arrival = Arrival { from, interface_key: port.key, local, on_link };
        let lookup = &self.lookup;
        let heard = self.server.handle_datagram(now, &arrival, payload, |id| lookup(id));
        if self.tap.is_on() {
            tapped::heard(&self.tap, port, from, payload, &heard, lookup);
        }
        match heard {
            Ok(heard) => {
                self.counters.probes_heard[heard.outcome as usize] += 1;
                if let Some(client) = &mut self.client {
                    client.handle_overheard(now);
                }
                // The other half of the queue is for what this host asked itself.
                if self.events.capacity() <= self.events.max_capacity() / 2 {
                    self.counters.overheard_lost += 1;
                    return;
                }
                let probe = heard.probe;
                let event = Event::Overheard {
                    from,
                    message_id: probe.message_id().clone(),
                    form: probe.form(),
                    ids: probe.ids().copied().collect(),
                };
                let _ = self.events.try_send(event);
            }
            Err(reason) => self.counters.probes_dropped[reason as usize] += 1,
        }
    }

    /// A datagram to a socket that Probes are sent from.
    pub(crate) fn take_answer(&mut self, now: Moment, port: &Port, from: SocketAddr, payload: &[u8]) {
        let Some(client) = &mut self.client else { return };
        let on_link = |ip| if ip == from.ip() { port.link.is_source_on_link(from) } else { port.link.on_link(ip) };
        let taken = client.handle_datagram(now, from, on_link, payload);
        if self.tap.is_on() {
            tapped::taken(&self.tap, port, from, payload, taken);
        }
        match taken {
            Ok(()) => self.counters.answers_taken += 1,
            Err(reason) => self.counters.answers_dropped[reason as usize] += 1,
        }
    }

    /// Does what is due in both machines.
    pub(crate) fn handle_timeout(&mut self) {
        let now = self.now();
        if let Some(client) = &mut self.client {
            client.handle_timeout(now);
        }
        let lookup = &self.lookup;
        self.server.handle_timeout(now, |id| lookup(id));
    }

    /// When something is due next.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        let client = self.client.as_ref().and_then(ProbeClient::poll_timeout);
        [client, self.server.poll_timeout()].into_iter().flatten().min()
    }

    /// Hands over what the client found out, as far as there is room.
    pub(crate) fn pass_events(&mut self) {
        let now = self.now();
        while let Some(event) = self.client.as_mut().and_then(ProbeClient::poll_event) {
            match event {
                ClientEvent::Match { probe, host, peers, segments } => {
                    self.server.handle_match(now, &host, segments.iter().map(|(id, _)| id));
                    if self.backlog.len() >= MAX_BACKLOG {
                        self.counters.matches_lost += 1;
                    } else {
                        self.backlog.push_back(Event::Match { probe, host, peers, segments });
                    }
                }
                // As many as there were discoveries, and those are refused when nobody takes their events.
                ClientEvent::Expired { probe, unanswered } => {
                    self.backlog.push_back(Event::Expired { probe, unanswered });
                }
            }
        }
        while let Some(event) = self.backlog.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => return self.backlog.push_front(event),
                Err(TrySendError::Closed(_)) => self.backlog.clear(),
            }
        }
    }
}
