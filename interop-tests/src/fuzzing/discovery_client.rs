//! The client's machine of MS-PCCRD, driven by a script: discoveries, answers whole and spoilt, time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{
    AvailabilityBits, ClientConfig, ClientEvent, EndpointAddress, Form, MAX_PROBE_SIZE, MessageId, Moment, Probe,
    ProbeClient, ProbeKey, ProbeMatches, Scope, Segments,
};
use peerdist_protocol::wire::{Reader, Truncated};

use super::mutate::spoil;

/// The most discoveries of one script: what they cost in time is what the fuzzer loses in speed.
const MAX_DISCOVERIES: usize = 64;

pub(super) fn run(bytes: &[u8]) {
    let mut driver = Driver::new(Reader::new(bytes));
    while driver.step().is_ok() {
        driver.drain();
    }
    driver.finish();
}

struct Driver<'a> {
    reader: Reader<'a>,
    machine: ProbeClient,
    now: Moment,
    /// Discoveries that have not expired, with what they ask for.
    running: BTreeMap<ProbeKey, Vec<SegmentId>>,
    started: usize,
    /// Probes that were sent, and how often.
    sent: Vec<(Probe, u32)>,
}

impl<'a> Driver<'a> {
    fn new(reader: Reader<'a>) -> Self {
        // Small limits, which a script can reach.
        let config = ClientConfig {
            max_outstanding: 8,
            max_waiting: 8,
            burst: 4,
            own_address: Some(EndpointAddress::from_random(0)),
            ..ClientConfig::default()
        };
        let machine = ProbeClient::new(config, 1);
        Self { reader, machine, now: Moment::ZERO, running: BTreeMap::new(), started: 0, sent: Vec::new() }
    }

    fn step(&mut self) -> Result<(), Truncated> {
        let [action, choice] = self.reader.take_array()?;
        match action % 7 {
            0 => self.find(choice),
            1 => self.machine.handle_overheard(self.now),
            2 => {
                self.now += Duration::from_micros(u64::from(self.reader.u32_le()?));
                self.timeout();
            }
            3 => {
                if let Some(due) = self.machine.poll_timeout() {
                    self.now = self.now.max(due);
                    self.timeout();
                }
            }
            4 => {
                let size = usize::from(choice).min(self.reader.left());
                let payload = self.reader.take(size)?;
                self.hear(payload, choice);
            }
            // Time goes on, and nobody calls the machine.
            5 => self.now += Duration::from_millis(u64::from(choice)),
            _ => {
                let what = self.reader.u8()?;
                let mut payload = self.answer(choice, what);
                spoil(&mut payload, what >> 6, &mut self.reader)?;
                self.hear(&payload, choice);
            }
        }
        Ok(())
    }

    fn find(&mut self, choice: u8) {
        if self.started == MAX_DISCOVERIES {
            return;
        }
        let form = if choice & 1 == 0 { Form::V1 } else { Form::V2 };
        let ids: Vec<_> = (0..choice >> 1 & 31).map(|number| id(number % 20)).collect();
        if let Ok(key) = self.machine.find(self.now, ids.clone(), form) {
            self.started += 1;
            assert!(self.running.insert(key, ids).is_none(), "every discovery has its own key");
        }
    }

    /// The answer of one of 16 hosts to a Probe that was sent, if there was one.
    fn answer(&self, choice: u8, what: u8) -> Vec<u8> {
        let Some((probe, _)) = self.sent.iter().rev().nth(usize::from(choice >> 4)) else { return Vec::new() };
        let segments = match probe.form() {
            Form::V1 => {
                let held = probe.ids().enumerate().filter(|(index, _)| what & 1 << (index % 6) != 0);
                Segments::V1(held.map(|(_, id)| (Scope::from(*id), Some(u32::from(what & 3)))).collect())
            }
            Form::V2 => Segments::V2 { bits: AvailabilityBits::from_bytes([what; 3]), ages: None },
        };
        let host = choice & 15;
        let matches = ProbeMatches {
            message_id: MessageId::from_uuid(u128::from(what)),
            relates_to: probe.message_id().clone(),
            app_sequence: None,
            address: EndpointAddress::from_random(u128::from(host)),
            xaddrs: vec![SocketAddr::new([192, 0, 2, host].into(), 80), SocketAddr::new([198, 51, 100, 1].into(), 80)],
            metadata_version: Some(1),
            segments,
        };
        matches.emit()
    }

    fn hear(&mut self, payload: &[u8], choice: u8) {
        let from = SocketAddr::new([192, 0, 2, choice & 15].into(), 3702);
        // A datagram that is dropped is dropped for a reason.
        let _ = self.machine.handle_datagram(self.now, from, on_link, payload);
    }

    fn timeout(&mut self) {
        self.machine.handle_timeout(self.now);
        assert!(self.machine.poll_timeout().is_none_or(|next| next > self.now), "what is due was done");
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.machine.poll_transmit() {
            assert!(transmit.payload.len() <= MAX_PROBE_SIZE);
            let probe = Probe::parse(&transmit.payload).expect("our Probes are Probes");
            assert_eq!(probe.message_id(), &transmit.message_id);
            match self.sent.iter_mut().find(|(known, _)| known.message_id() == probe.message_id()) {
                Some((_, count)) => {
                    *count += 1;
                    assert!(*count <= 2, "a Probe is repeated once");
                }
                None => self.sent.push((probe, 1)),
            }
        }
        assert!(self.sent.len() <= self.started, "one Probe for each discovery");
        while let Some(event) = self.machine.poll_event() {
            self.event(event);
        }
    }

    fn event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Match { probe, peers, segments, .. } => {
                let asked = self.running.get(&probe).expect("no match behind the end of a discovery");
                assert!(!peers.is_empty() && peers.iter().all(|peer| on_link(peer.ip())));
                assert!(!segments.is_empty() && segments.iter().all(|(id, _)| asked.contains(id)));
            }
            ClientEvent::Expired { probe, unanswered } => {
                let asked = self.running.remove(&probe).expect("a discovery ends once");
                assert!(unanswered.iter().all(|id| asked.contains(id)));
            }
        }
    }

    /// Left alone, every discovery ends, in no more steps than it has moments: its start, its repetition, its end.
    fn finish(&mut self) {
        self.drain();
        let mut steps = 0;
        while let Some(due) = self.machine.poll_timeout() {
            self.now = self.now.max(due);
            self.timeout();
            self.drain();
            steps += 1;
            assert!(steps <= 3 * self.started, "a loop without an end");
        }
        assert!(self.running.is_empty(), "every discovery ends");
    }
}

fn id(number: u8) -> SegmentId {
    SegmentId::from_slice(&[number + 1; 32]).expect("32 bytes are an id")
}

fn on_link(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[..3] == [192, 0, 2])
}
