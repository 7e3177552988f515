//! The key log that TLS clients and servers write (SSLKEYLOGFILE), and the keys that follow from its secrets.

use std::collections::HashMap;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac::{self, HMAC_SHA256, HMAC_SHA384};

/// The most connections whose secrets are kept.
const MAX_CONNECTIONS: usize = 65_536;
/// The longest secret: a hash of 384 bits, which the master secret of TLS 1.2 is as long as.
const MAX_SECRET: usize = 48;

/// The random bytes of a ClientHello, which name a connection.
pub(super) type Random = [u8; 32];

/// Secrets of connections, by their clients' random bytes. They are never printed.
#[derive(Default)]
pub struct KeyLog {
    connections: HashMap<Random, Secrets>,
}

impl std::fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyLog").field("connections", &self.connections.len()).finish()
    }
}

/// What the log says of one connection.
#[derive(Default)]
pub(super) struct Secrets {
    /// TLS 1.2.
    master: Option<Vec<u8>>,
    /// TLS 1.3: those of the handshake and of the first data, of client and server.
    handshake: [Option<Vec<u8>>; 2],
    traffic: [Option<Vec<u8>>; 2],
}

impl KeyLog {
    /// Takes lines of a key log: `LABEL CLIENT_RANDOM SECRET`, the last two as hexadecimal digits. Others are passed
    /// over, as are connections beyond a limit.
    pub fn add(&mut self, log: &[u8]) {
        for line in log.split(|byte| *byte == b'\n') {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let mut words = line.split_ascii_whitespace();
            let [Some(label), Some(random), Some(secret), None] = std::array::from_fn(|_| words.next()) else {
                continue;
            };
            let mut name = Random::default();
            let (Ok(()), Ok(secret)) = (hex::decode_to_slice(random, &mut name), hex::decode(secret)) else { continue };
            if secret.len() > MAX_SECRET
                || self.connections.len() >= MAX_CONNECTIONS && !self.connections.contains_key(&name)
            {
                continue;
            }
            let secrets = self.connections.entry(name).or_default();
            let place = match label {
                "CLIENT_RANDOM" => &mut secrets.master,
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET" => &mut secrets.handshake[0],
                "SERVER_HANDSHAKE_TRAFFIC_SECRET" => &mut secrets.handshake[1],
                "CLIENT_TRAFFIC_SECRET_0" => &mut secrets.traffic[0],
                "SERVER_TRAFFIC_SECRET_0" => &mut secrets.traffic[1],
                _ => continue,
            };
            *place = Some(secret);
        }
    }

    pub(super) fn of(&self, random: &Random) -> Option<&Secrets> {
        self.connections.get(random)
    }
}

/// A cipher suite that is understood: the AEAD ciphers of TLS 1.2 and 1.3.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suite {
    aead: &'static Algorithm,
    hash: hmac::Algorithm,
    /// RFC 5288: the nonce is four bytes of the key block and eight that come with each record.
    explicit_nonce: bool,
    is_1_3: bool,
}

impl Suite {
    /// The suite of a number of IANA's registry.
    pub(super) fn of(number: u16) -> Option<Self> {
        let suite = |aead, hash, explicit_nonce, is_1_3| Some(Self { aead, hash, explicit_nonce, is_1_3 });
        match number {
            0x1301 => suite(&AES_128_GCM, HMAC_SHA256, false, true),
            0x1302 => suite(&AES_256_GCM, HMAC_SHA384, false, true),
            0x1303 => suite(&CHACHA20_POLY1305, HMAC_SHA256, false, true),
            0x009c | 0x009e | 0xc02b | 0xc02f => suite(&AES_128_GCM, HMAC_SHA256, true, false),
            0x009d | 0x009f | 0xc02c | 0xc030 => suite(&AES_256_GCM, HMAC_SHA384, true, false),
            0xcca8..=0xccaa => suite(&CHACHA20_POLY1305, HMAC_SHA256, false, false),
            _ => None,
        }
    }

    pub(super) fn is_1_3(&self) -> bool {
        self.is_1_3
    }

    /// The keys of a side (0: client) for the data, and in TLS 1.3 those for the rest of the handshake before them.
    pub(super) fn keys(&self, secrets: &Secrets, side: usize, client: &Random, server: &Random) -> Option<[Cipher; 2]> {
        if self.is_1_3 {
            let handshake = secrets.handshake.get(side)?.as_ref()?;
            let traffic = secrets.traffic.get(side)?.as_ref()?;
            return Some([self.cipher_of(handshake.clone())?, self.cipher_of(traffic.clone())?]);
        }
        let (key, fixed) = (self.aead.key_len(), if self.explicit_nonce { 4 } else { 12 });
        let block =
            expand_1_2(self.hash, secrets.master.as_ref()?, b"key expansion", [server, client], 2 * (key + fixed));
        let cipher = || {
            let key_bytes = block.get(side * key..)?.get(..key)?;
            let iv = block.get(2 * key + side * fixed..)?.get(..fixed)?.to_vec();
            self.cipher(key_bytes, iv, Vec::new())
        };
        Some([cipher()?, cipher()?])
    }

    /// RFC 8446, 7.3.
    fn cipher_of(&self, secret: Vec<u8>) -> Option<Cipher> {
        let key = expand_1_3(self.hash, &secret, b"key", self.aead.key_len());
        let iv = expand_1_3(self.hash, &secret, b"iv", 12);
        self.cipher(&key, iv, secret)
    }

    fn cipher(&self, key: &[u8], iv: Vec<u8>, secret: Vec<u8>) -> Option<Cipher> {
        let key = LessSafeKey::new(UnboundKey::new(self.aead, key).ok()?);
        Some(Cipher { suite: *self, key, iv, secret, records: 0 })
    }
}

/// Opens the records of one side, in order.
pub(super) struct Cipher {
    suite: Suite,
    key: LessSafeKey,
    iv: Vec<u8>,
    /// What the next keys of TLS 1.3 are made from.
    secret: Vec<u8>,
    records: u64,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cipher").field("suite", &self.suite).field("records", &self.records).finish_non_exhaustive()
    }
}

impl Cipher {
    /// Opens the next record; `header` is its first five bytes. In TLS 1.3 the content type follows the bytes.
    pub(super) fn open<'r>(&mut self, header: &[u8; 5], body: &'r mut [u8]) -> Option<&'r mut [u8]> {
        let sequence = self.records.to_be_bytes();
        self.records += 1;
        let mut nonce = [0; 12];
        let body = if self.suite.explicit_nonce {
            let (explicit, body) = body.split_at_mut_checked(8)?;
            nonce[..4].copy_from_slice(self.iv.get(..4)?);
            nonce[4..].copy_from_slice(explicit);
            body
        } else {
            nonce.copy_from_slice(self.iv.get(..12)?);
            nonce[4..].iter_mut().zip(sequence).for_each(|(byte, of_sequence)| *byte ^= of_sequence);
            body
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        if self.suite.is_1_3 {
            return self.key.open_in_place(nonce, Aad::from(header), body).ok();
        }
        let length = u16::try_from(body.len().checked_sub(self.suite.aead.tag_len())?).ok()?;
        let [kind, major, minor, ..] = *header;
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&sequence);
        aad[8..11].copy_from_slice(&[kind, major, minor]);
        aad[11..].copy_from_slice(&length.to_be_bytes());
        self.key.open_in_place(nonce, Aad::from(aad), body).ok()
    }

    pub(super) fn is_1_3(&self) -> bool {
        self.suite.is_1_3
    }

    /// The keys after a KeyUpdate (RFC 8446, 7.2).
    pub(super) fn updated(&self) -> Option<Self> {
        let hash = self.suite.hash;
        let secret = expand_1_3(hash, &self.secret, b"traffic upd", hash.digest_algorithm().output_len());
        self.suite.cipher_of(secret)
    }
}

/// HKDF-Expand-Label of RFC 8446, 7.1, without a context and for no more bytes than the hash has.
fn expand_1_3(hash: hmac::Algorithm, secret: &[u8], label: &[u8], length: usize) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hash, secret));
    // Labels and lengths are short.
    context.update(&(length as u16).to_be_bytes());
    context.update(&[6 + label.len() as u8]);
    context.update(b"tls13 ");
    context.update(label);
    context.update(&[0, 1]);
    let mut expanded = context.sign().as_ref().to_vec();
    expanded.truncate(length);
    expanded
}

/// The PRF of RFC 5246, 5.
fn expand_1_2(hash: hmac::Algorithm, secret: &[u8], label: &[u8], seeds: [&Random; 2], length: usize) -> Vec<u8> {
    let key = hmac::Key::new(hash, secret);
    let seed = [label, seeds[0], seeds[1]].concat();
    let mut expanded = Vec::with_capacity(length);
    let mut a = hmac::sign(&key, &seed);
    while expanded.len() < length {
        expanded.extend_from_slice(hmac::sign(&key, &[a.as_ref(), &seed].concat()).as_ref());
        a = hmac::sign(&key, a.as_ref());
    }
    expanded.truncate(length);
    expanded
}
