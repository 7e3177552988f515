//! TLS 1.2 and 1.3 opened with the secrets of a key log: what HTTP is read from then.
//!
//! Nothing is verified but what the ciphers verify: whoever captured both sides and has the keys is believed.

mod keys;
#[cfg(test)]
mod tests;

use std::fmt;

pub use keys::KeyLog;
use keys::{Cipher, Random, Suite};

use super::tcp::Budget;

/// The largest record: 2^14 bytes and what encryption adds (RFC 5246, 6.2.3), and its header.
const MAX_RECORD: usize = HEADER + (1 << 14) + 2048;
const HEADER: usize = 5;
/// How much of a message of the handshake is kept. Longer ones, which are certificates, are passed over.
const MAX_HELLO: usize = 4096;

/// Content types of records.
mod content {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
}

/// Types of messages of the handshake.
mod handshake {
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const SERVER_HELLO: u8 = 2;
    pub(super) const FINISHED: u8 = 20;
    pub(super) const KEY_UPDATE: u8 = 24;
}

/// The random bytes of a HelloRetryRequest (RFC 8446, 4.1.3): another ServerHello follows.
const RETRY: Random = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Whether the first bytes of a connection are a record with a message of the handshake, or with data where that was
/// not captured.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [content::HANDSHAKE | content::APPLICATION_DATA, 3, 0..=4, ..])
}

/// Whether bytes are too few to say so.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [] | [content::HANDSHAKE | content::APPLICATION_DATA] | [content::HANDSHAKE | content::APPLICATION_DATA, 3]
    )
}

/// Why a connection could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// The key log does not have its keys.
    NoKeys,
    /// The key log has others, or bytes of it are damaged.
    WrongKeys,
    /// Nothing of this cipher suite is opened.
    Suite(u16),
    /// What says which keys are due is not there.
    NoHandshake,
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeys => f.write_str("its keys are missing (--tls-keys)"),
            Self::WrongKeys => f.write_str("its keys do not open it"),
            Self::Suite(number) => write!(
                f,
                "its cipher suite 0x{number:04X} is not one of those that are opened, which have GCM or ChaCha20-Poly1305"
            ),
            Self::NoHandshake => f.write_str("its handshake was not captured"),
        }
    }
}

/// A connection of TLS. It is given up where bytes are missing, or where there is no key.
#[derive(Debug)]
pub(super) struct Session {
    /// Which side of the connection is the client's.
    client: usize,
    client_random: Option<Random>,
    sides: [Side; 2],
    is_lost: bool,
    sealed: Option<Sealed>,
}

#[derive(Debug, Default)]
struct Side {
    /// A record that is not whole.
    record: Vec<u8>,
    messages: Messages,
    cipher: Option<Cipher>,
    /// What takes over from `cipher` when the handshake is finished (TLS 1.3) or at ChangeCipherSpec (TLS 1.2).
    next: Option<Cipher>,
}

/// Reads the messages of a side's handshake.
#[derive(Debug, Default)]
struct Messages {
    /// The header and the first bytes of the message.
    bytes: Vec<u8>,
    /// Bytes of it that are to be passed over.
    skip: usize,
}

impl Session {
    /// `side` has sent the first bytes.
    pub(super) fn new(side: usize) -> Self {
        let sides = [Side::default(), Side::default()];
        Self { client: side, client_random: None, sides, is_lost: false, sealed: None }
    }

    /// Which side is the client's, and why nothing could be opened, or no more.
    pub(super) fn sealed(&self) -> Option<(usize, Sealed)> {
        self.sealed.map(|why| (self.client, why))
    }

    /// Bytes of a side's stream are missing, or there are no more: nothing after them can be opened.
    pub(super) fn lose(&mut self, budget: &mut Budget) {
        budget.give_back(self.held());
        self.forget();
    }

    fn forget(&mut self) {
        self.is_lost = true;
        self.sides = [Side::default(), Side::default()];
    }

    /// Takes bytes of a side. What they say when opened goes to `out`.
    pub(super) fn data(
        &mut self,
        side: usize,
        data: &[u8],
        keys: &KeyLog,
        budget: &mut Budget,
        out: &mut impl FnMut(&[u8]),
    ) {
        let before = self.held();
        self.records(side, data, keys, out);
        budget.give_back(before);
        if !budget.take(self.held()) {
            self.forget();
        }
    }

    /// Bytes that wait to be whole.
    fn held(&self) -> usize {
        self.sides.iter().map(|side| side.record.len() + side.messages.bytes.len()).sum()
    }

    fn records(&mut self, side: usize, mut data: &[u8], keys: &KeyLog, out: &mut impl FnMut(&[u8])) {
        while !self.is_lost && !data.is_empty() {
            let Some(Side { record, .. }) = self.sides.get_mut(side) else { return };
            let (taken, rest) = data.split_at(wanted(record).saturating_sub(record.len()).min(data.len()));
            record.extend_from_slice(taken);
            data = rest;
            if record.len() >= HEADER && record.len() == wanted(record) {
                let record = std::mem::take(record);
                if self.record(side, record, keys, out).is_none() {
                    self.forget();
                }
            } else if wanted(record) > MAX_RECORD {
                self.forget();
            }
        }
    }

    /// Takes a record. `None` where it cannot be opened.
    fn record(&mut self, side: usize, mut record: Vec<u8>, keys: &KeyLog, out: &mut impl FnMut(&[u8])) -> Option<()> {
        let (header, body) = record.split_first_chunk_mut::<HEADER>()?;
        let mut kind = header[0];
        let state = self.sides.get_mut(side)?;
        if kind == content::CHANGE_CIPHER_SPEC {
            // In TLS 1.3 it means nothing, and the cipher is there before.
            if state.cipher.is_none() {
                state.cipher = state.next.take();
            }
            return Some(());
        }
        let plain: &[u8] = match &mut state.cipher {
            None if kind == content::APPLICATION_DATA => {
                self.sealed = Some(Sealed::NoHandshake);
                return None;
            }
            None => body,
            Some(_) if kind == content::ALERT && body.len() == 2 => return Some(()),
            Some(cipher) => {
                let Some(opened) = cipher.open(header, body) else {
                    self.sealed = Some(Sealed::WrongKeys);
                    return None;
                };
                if cipher.is_1_3() {
                    // The real type is the last byte that is not zero.
                    let at = opened.iter().rposition(|byte| *byte != 0)?;
                    kind = *opened.get(at)?;
                    opened.get(..at)?
                } else {
                    opened
                }
            }
        };
        match kind {
            content::APPLICATION_DATA => out(plain),
            content::HANDSHAKE => {
                let mut messages = Vec::new();
                state.messages.data(plain, &mut |message| messages.push(message.to_vec()));
                for message in messages {
                    self.message(side, &message, keys)?;
                }
            }
            _ => {}
        }
        Some(())
    }

    fn message(&mut self, side: usize, message: &[u8], keys: &KeyLog) -> Option<()> {
        let (&kind, body) = (message.first()?, message.get(4..)?);
        match kind {
            handshake::CLIENT_HELLO => {
                self.client = side;
                // The second one, after a HelloRetryRequest, has the same.
                self.client_random = body.get(2..34)?.try_into().ok();
            }
            handshake::SERVER_HELLO => {
                let random: Random = body.get(2..34)?.try_into().ok()?;
                if random == RETRY {
                    return Some(());
                }
                let id = usize::from(*body.get(34)?);
                let number = u16::from_be_bytes(body.get(35 + id..)?.first_chunk().copied()?);
                self.sealed = Some(Sealed::Suite(number));
                let suite = Suite::of(number)?;
                self.sealed = Some(Sealed::NoHandshake);
                let client_random = self.client_random?;
                self.sealed = Some(Sealed::NoKeys);
                let secrets = keys.of(&client_random)?;
                for (number, side) in self.sides.iter_mut().enumerate() {
                    let role = usize::from(number != self.client);
                    let [now, next] = suite.keys(secrets, role, &client_random, &random)?;
                    if suite.is_1_3() {
                        side.cipher = Some(now);
                    }
                    side.next = Some(next);
                }
                self.sealed = None;
            }
            handshake::FINISHED => {
                let side = self.sides.get_mut(side)?;
                if side.cipher.as_ref().is_some_and(Cipher::is_1_3) {
                    side.cipher = side.next.take();
                }
            }
            handshake::KEY_UPDATE => {
                let side = self.sides.get_mut(side)?;
                side.cipher = Some(side.cipher.as_ref()?.updated()?);
            }
            _ => {}
        }
        Some(())
    }
}

/// How long a record is, as far as its header says so.
fn wanted(record: &[u8]) -> usize {
    match record {
        [_, _, _, high, low, ..] => HEADER + usize::from(u16::from_be_bytes([*high, *low])),
        _ => HEADER,
    }
}

impl Messages {
    /// Takes bytes, and hands on each message that is whole: its header, and its body as far as it is kept.
    fn data(&mut self, mut data: &[u8], out: &mut impl FnMut(&[u8])) {
        while !data.is_empty() {
            let skipped = self.skip.min(data.len());
            self.skip -= skipped;
            data = data.get(skipped..).unwrap_or_default();
            let size = match *self.bytes {
                [_, high, middle, low, ..] => 4 + u32::from_be_bytes([0, high, middle, low]) as usize,
                _ => 4,
            };
            let (taken, rest) = data.split_at(size.min(MAX_HELLO).saturating_sub(self.bytes.len()).min(data.len()));
            self.bytes.extend_from_slice(taken);
            data = rest;
            if let [_, high, middle, low, ..] = *self.bytes {
                let size = 4 + u32::from_be_bytes([0, high, middle, low]) as usize;
                if self.bytes.len() == size.min(MAX_HELLO) {
                    self.skip = size - self.bytes.len();
                    out(&std::mem::take(&mut self.bytes));
                }
            }
        }
    }
}
