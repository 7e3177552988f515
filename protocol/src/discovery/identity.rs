//! Message ids and endpoint addresses: opaque bounded strings.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::hexadecimal::push_lower;
use super::random::Random;

/// The longest MessageID or endpoint Address that is taken, in bytes; `urn:uuid:` and a GUID have 45.
pub const MAX_IDENTITY_SIZE: usize = 256;

/// The MessageID of a Probe or ProbeMatches (WS-Addressing).
///
/// Opaque: clients in the field send 128 random bits that are no valid version 4 UUID.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Arc<str>);

/// The Address of an endpoint reference: one per running peer, the same on every interface and family
/// ([MS-PCCRD] 2.2.3.4).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointAddress(Arc<str>);

impl MessageId {
    /// An id of this text, or `None` unless it has 1 to [`MAX_IDENTITY_SIZE`] bytes and no control characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        bounded(text).map(Self)
    }

    /// `urn:uuid:` and a UUID of these 128 bits as they are.
    #[must_use]
    pub fn from_uuid(bits: u128) -> Self {
        Self(urn_uuid(bits))
    }

    /// A fresh random (version 4) UUID.
    pub(super) fn random(random: &mut Random) -> Self {
        Self::from_uuid(version_4(random.next_u128()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl EndpointAddress {
    /// An address of this text, or `None` unless it has 1 to [`MAX_IDENTITY_SIZE`] bytes and no control characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        bounded(text).map(Self)
    }

    /// `urn:uuid:` and a version 4 UUID made of these random bits.
    #[must_use]
    pub fn from_random(bits: u128) -> Self {
        Self(urn_uuid(version_4(bits)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn bounded(text: &str) -> Option<Arc<str>> {
    let fits = (1..=MAX_IDENTITY_SIZE).contains(&text.len());
    (fits && !text.chars().any(char::is_control)).then(|| text.into())
}

fn version_4(bits: u128) -> u128 {
    bits & !(0xf << 76 | 0x3 << 62) | 4 << 76 | 2 << 62
}

fn urn_uuid(bits: u128) -> Arc<str> {
    let mut text = String::with_capacity(45);
    text.push_str("urn:uuid:");
    for (position, pair) in bits.to_be_bytes().chunks(2).enumerate() {
        // 8-4-4-4-12 digits.
        if (2..=5).contains(&position) {
            text.push('-');
        }
        push_lower(&mut text, pair);
    }
    text.into()
}

impl Borrow<str> for MessageId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_bounded_and_opaque() {
        assert!(MessageId::new("").is_none());
        assert!(MessageId::new("a\nb").is_none());
        assert!(MessageId::new(&"x".repeat(MAX_IDENTITY_SIZE)).is_some());
        assert!(EndpointAddress::new(&"x".repeat(MAX_IDENTITY_SIZE + 1)).is_none());
        assert_eq!(MessageId::new("anything").unwrap().as_str(), "anything");
    }

    #[test]
    fn uuids_are_lower_case_with_version_and_variant() {
        assert_eq!(MessageId::from_uuid(0xABC).as_str(), "urn:uuid:00000000-0000-0000-0000-000000000abc");
        assert_eq!(EndpointAddress::from_random(u128::MAX).as_str(), "urn:uuid:ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
