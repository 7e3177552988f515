//! Ids, hashes and secrets of a segment, and how each follows from the one before ([MS-PCCRC] 2.2).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::crypto::{HashAlgorithm, HashValue};

/// `"MS_P2P_CACHING"` in UTF-16LE with its terminator. The document says ASCII; Windows hashes these 30 bytes.
const SEGMENT_ID_CONSTANT: &[u8; 30] = b"M\0S\0_\0P\x002\0P\0_\0C\0A\0C\0H\0I\0N\0G\0\0\0";

/// HoHoDk, the public name of a segment ([MS-PCCRC] 2.2): 1 to 64 bytes, 32 in everything Windows retrieves.
///
/// Shown and parsed as hexadecimal digits, upper case on output.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId(HashValue);

impl SegmentId {
    /// The longest id in bytes.
    pub const MAX_SIZE: usize = crate::crypto::MAX_HASH_SIZE;

    /// An id of these bytes, or `None` unless there are 1 to 64 of them.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        HashValue::from_slice(bytes).map(Self)
    }

    /// HoHoDk = HMAC(Kp, HoD + "MS_P2P_CACHING").
    #[must_use]
    pub fn derive(algorithm: HashAlgorithm, secret: &SegmentSecret, hash_of_data: &SegmentHashOfData) -> Self {
        Self(algorithm.hmac(secret.as_bytes(), &[hash_of_data.as_bytes(), SEGMENT_ID_CONSTANT]))
    }

    /// The bytes as they travel in MS-PCCRR and MS-PCCRD.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 2 to 128 hexadecimal digits, an even number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a segment id is an even number of hexadecimal digits, 2 to 128 of them (64 in practice)")]
pub struct ParseSegmentIdError;

impl FromStr for SegmentId {
    type Err = ParseSegmentIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; Self::MAX_SIZE];
        let used = bytes.get_mut(..text.len() / 2).ok_or(ParseSegmentIdError)?;
        hex::decode_to_slice(text, used).map_err(|_| ParseSegmentIdError)?;
        Self::from_slice(used).ok_or(ParseSegmentIdError)
    }
}

/// HoD, the hash over a segment's block hashes (version 1) or over its bytes (version 2) ([MS-PCCRC] 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SegmentHashOfData(HashValue);

impl SegmentHashOfData {
    /// The value as content information carries it, or `None` unless there are 1 to 64 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        HashValue::from_slice(bytes).map(Self)
    }

    /// Version 1: the hash over the concatenated hashes of *all* blocks of the segment. Version 2: over its bytes.
    #[must_use]
    pub fn of(algorithm: HashAlgorithm, block_hashes_or_bytes: &[u8]) -> Self {
        Self(algorithm.hash(block_hashes_or_bytes))
    }

    /// The bytes as content information carries them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The same bytes as a plain hash.
    #[must_use]
    pub fn value(&self) -> HashValue {
        self.0
    }
}

impl From<HashValue> for SegmentHashOfData {
    /// A hash that was made of the blocks' hashes or the segment's bytes.
    fn from(value: HashValue) -> Self {
        Self(value)
    }
}

/// Kp, which is also Ke: whoever holds it can read the segment ([MS-PCCRC] 2.2). Never printed; wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct SegmentSecret(HashValue);

impl SegmentSecret {
    /// The value as content information carries it, or `None` unless there are 1 to 64 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        HashValue::from_slice(bytes).map(Self)
    }

    /// Kp = HMAC(Ks, HoD), where Ks = H(server secret), both cut to the algorithm's size.
    #[must_use]
    pub fn derive(algorithm: HashAlgorithm, server: &ServerSecret, hash_of_data: &SegmentHashOfData) -> Self {
        server.hashed(algorithm).segment_secret(hash_of_data)
    }

    /// The secret bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Drop for SegmentSecret {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl fmt::Debug for SegmentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SegmentSecret(..)")
    }
}

/// The server secret key from which every Ks, Kp and segment id of a content server follows ([MS-PCCRC] 1.3, 2.2).
///
/// Any bytes, any length. Never printed; wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerSecret(Zeroizing<Vec<u8>>);

impl ServerSecret {
    /// A secret of these raw bytes.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The secret that `netsh branchcache set key` and `Set-BCSecretKey` make of a passphrase: its UTF-16LE bytes
    /// without a terminator.
    #[must_use]
    pub fn from_passphrase(passphrase: &str) -> Self {
        Self(Zeroizing::new(passphrase.encode_utf16().flat_map(u16::to_le_bytes).collect()))
    }

    /// The secret bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Ks = H(server secret), cut to the algorithm's size ([MS-PCCRC] 2.2).
    #[must_use]
    pub fn hashed(&self, algorithm: HashAlgorithm) -> HashedServerSecret {
        HashedServerSecret { algorithm, value: algorithm.hash(self.as_bytes()) }
    }
}

impl fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerSecret(..)")
    }
}

/// Ks, from which the secrets of all segments follow ([MS-PCCRC] 2.2). Never printed; wiped on drop.
pub struct HashedServerSecret {
    algorithm: HashAlgorithm,
    value: HashValue,
}

impl HashedServerSecret {
    /// Kp = HMAC(Ks, HoD), cut to the algorithm's size.
    #[must_use]
    pub fn segment_secret(&self, hash_of_data: &SegmentHashOfData) -> SegmentSecret {
        SegmentSecret(self.algorithm.hmac(self.as_bytes(), &[hash_of_data.as_bytes()]))
    }

    /// The secret bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.value.as_bytes()
    }
}

impl Drop for HashedServerSecret {
    fn drop(&mut self) {
        self.value.wipe();
    }
}

impl fmt::Debug for HashedServerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedServerSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_ids_are_hexadecimal_text() {
        let id: SegmentId = "00ffAB".parse().unwrap();
        assert_eq!(id.as_bytes(), [0x00, 0xff, 0xab]);
        assert_eq!(id.to_string(), "00FFAB");
        for bad in ["", "0", "0g", &"00".repeat(65)] {
            assert_eq!(bad.parse::<SegmentId>(), Err(ParseSegmentIdError), "{bad}");
        }
        assert!("00".repeat(64).parse::<SegmentId>().is_ok());
    }

    #[test]
    fn secrets_are_not_printed() {
        let server = ServerSecret::from_passphrase("no more secrets");
        assert_eq!(server.as_bytes().len(), 30);
        assert_eq!(format!("{server:?}"), "ServerSecret(..)");
        let secret = SegmentSecret::from_slice(&[1; 32]).unwrap();
        assert_eq!(format!("{secret:?}"), "SegmentSecret(..)");
    }

    #[test]
    fn the_constant_is_utf16_with_its_terminator() {
        let expected: Vec<u8> = "MS_P2P_CACHING\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(expected, SEGMENT_ID_CONSTANT);
    }
}
