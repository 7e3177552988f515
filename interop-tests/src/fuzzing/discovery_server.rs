//! The server's machine of MS-PCCRD, driven by a script: Probes whole, repeated and spoilt, what is held, time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{
    Arrival, EndpointAddress, Form, Held, MAX_DATAGRAM_SIZE, MessageId, Moment, Outcome, Probe, ProbeMatches,
    ProbeServer, ServerConfig,
};
use peerdist_protocol::wire::{Reader, Truncated};

use super::mutate::spoil;

/// How long a MessageID is remembered at least.
const MEMORY: Duration = Duration::from_secs(5);
const MAX_PENDING: usize = 8;

pub(super) fn run(bytes: &[u8]) {
    let mut driver = Driver::new(Reader::new(bytes));
    while driver.step().is_ok() {
        driver.drain();
    }
    driver.finish();
}

struct Driver<'a> {
    reader: Reader<'a>,
    machine: ProbeServer,
    now: Moment,
    /// One bit for each of the ids: whether it is held.
    held: u32,
    /// When a MessageID was taken for the first time.
    heard: HashMap<MessageId, Moment>,
    /// Answers that may still come, by MessageID.
    due: HashMap<MessageId, usize>,
}

impl<'a> Driver<'a> {
    fn new(reader: Reader<'a>) -> Self {
        // Small limits, which a script can reach.
        let config = ServerConfig {
            replies_per_second_and_source: 50,
            replies_per_second: 200,
            max_pending: MAX_PENDING,
            max_pending_ids: 64,
            replies_wanted: Some(2),
            ..ServerConfig::new(EndpointAddress::from_random(0), 1, 80)
        };
        let machine = ProbeServer::new(config, 1);
        Self { reader, machine, now: Moment::ZERO, held: 0x5555, heard: HashMap::new(), due: HashMap::new() }
    }

    fn step(&mut self) -> Result<(), Truncated> {
        let [action, choice] = self.reader.take_array()?;
        match action % 7 {
            0 => self.machine.handle_own_probe(self.now, &message_id(choice)),
            1 => self.held = self.held.rotate_left(choice.into()) ^ 1 << (choice & 15),
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
            5 => {
                let host = EndpointAddress::from_random(u128::from(choice >> 4) + 1);
                self.machine.handle_match(self.now, &host, [&id(choice & 15)]);
            }
            _ => {
                let what = self.reader.u8()?;
                let mut payload = probe(choice, what);
                spoil(&mut payload, what >> 6, &mut self.reader)?;
                self.hear(&payload, what);
            }
        }
        Ok(())
    }

    fn hear(&mut self, payload: &[u8], choice: u8) {
        let arrival = Arrival {
            from: SocketAddr::new([192, 0, 2, choice & 3].into(), 50_000),
            interface_key: choice.into(),
            local: [192, 0, 2, 100].into(),
            on_link: choice & 0x3f != 0x3f,
        };
        let held = self.held;
        let Ok(heard) = self.machine.handle_datagram(self.now, &arrival, payload, |id| lookup(held, id)) else {
            return;
        };
        let id = heard.probe.message_id().clone();
        assert!(arrival.on_link);
        let before = self.heard.insert(id.clone(), self.now);
        assert!(before.is_none_or(|before| before + MEMORY <= self.now), "each Probe is taken once");
        if heard.outcome == Outcome::Scheduled {
            *self.due.entry(id).or_default() += 1;
        }
    }

    fn timeout(&mut self) {
        let held = self.held;
        self.machine.handle_timeout(self.now, |id| lookup(held, id));
        assert!(self.machine.poll_timeout().is_none_or(|next| next > self.now), "what is due was done");
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(reply) = self.machine.poll_transmit() {
            count += 1;
            assert!(count <= MAX_PENDING && reply.payload.len() <= MAX_DATAGRAM_SIZE);
            let matches = ProbeMatches::parse(&reply.payload).expect("our answers are answers");
            let due = self.due.get_mut(&matches.relates_to).expect("an answer to a Probe that was heard");
            *due = due.checked_sub(1).expect("each Probe is answered once");
            assert_eq!(matches.xaddrs, [SocketAddr::new([192, 0, 2, 100].into(), 80)]);
        }
    }

    /// Left alone, it falls silent.
    fn finish(&mut self) {
        self.drain();
        let mut steps = 0;
        while let Some(due) = self.machine.poll_timeout() {
            self.now = self.now.max(due);
            self.timeout();
            self.drain();
            steps += 1;
            assert!(steps <= MAX_PENDING, "a loop without an end");
        }
    }
}

/// A Probe of 1 to 16 ids under one of 256 MessageIDs.
fn probe(choice: u8, what: u8) -> Vec<u8> {
    let form = if what & 16 == 0 { Form::V1 } else { Form::V2 };
    let ids = (0..=what & 15).map(|number| id(number.wrapping_add(choice) & 15));
    Probe::new(message_id(choice), form, ids).expect("16 ids of one size make a Probe").emit()
}

fn message_id(number: u8) -> MessageId {
    MessageId::from_uuid(u128::from(number))
}

fn id(number: u8) -> SegmentId {
    SegmentId::from_slice(&[number; 32]).expect("32 bytes are an id")
}

fn lookup(held: u32, id: &SegmentId) -> Option<Held> {
    let number = id.as_bytes().first().copied()?;
    let is_held = held.checked_shr(number.into()).is_some_and(|bits| bits & 1 != 0);
    is_held.then_some(Held { blocks: number.into(), complete: number & 1 != 0, age: None })
}
