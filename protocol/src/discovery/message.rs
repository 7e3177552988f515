//! The two messages as values.

use std::borrow::Cow;
use std::net::SocketAddr;

use thiserror::Error;

use super::{AvailabilityBits, EndpointAddress, Form, MAX_IDS, MessageId, ParseError, SegmentAges};
use super::{hexadecimal, template};
use crate::content::SegmentId;

/// One datagram of this protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Who holds these segments?
    Probe(Probe),
    /// I do.
    ProbeMatches(ProbeMatches),
}

/// A Probe ([MS-PCCRD] 2.2.2.1): 1 to [`MAX_IDS`] segment ids under one MessageID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    message_id: MessageId,
    form: Form,
    scopes: Vec<Scope>,
}

/// Why ids do not make a Probe; the caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// There is nothing to ask for.
    #[error("a Probe needs at least one segment id")]
    NoIds,
    /// The count has one byte.
    #[error("{count} segment ids in one Probe, at most {MAX_IDS}")]
    TooManyIds {
        /// How many there were.
        count: usize,
    },
    /// Version 2 has one id size for all.
    #[error("segment ids of different sizes in one version 2 Probe")]
    MixedSizes,
}

impl Probe {
    /// A Probe for `ids`, in their order.
    pub fn new(
        message_id: MessageId,
        form: Form,
        ids: impl IntoIterator<Item = SegmentId>,
    ) -> Result<Self, ProbeError> {
        Self::from_scopes(message_id, form, ids.into_iter().map(Scope::from).collect())
    }

    pub(super) fn from_scopes(message_id: MessageId, form: Form, scopes: Vec<Scope>) -> Result<Self, ProbeError> {
        let first = scopes.first().ok_or(ProbeError::NoIds)?;
        if scopes.len() > MAX_IDS {
            return Err(ProbeError::TooManyIds { count: scopes.len() });
        }
        let size = first.id.as_bytes().len();
        if form == Form::V2 && scopes.iter().any(|scope| scope.id.as_bytes().len() != size) {
            return Err(ProbeError::MixedSizes);
        }
        Ok(Self { message_id, form, scopes })
    }

    /// Reads a datagram that has to be a Probe; the same as [`Message::parse`], but faster where it is written like ours.
    pub fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        if let Some(probe) = template::parse(payload) {
            return Ok(probe);
        }
        match Message::parse(payload)? {
            Message::Probe(probe) => Ok(probe),
            Message::ProbeMatches(_) => Err(ParseError::OtherAction),
        }
    }

    /// The MessageID, the same on every copy of the Probe.
    #[must_use]
    pub fn message_id(&self) -> &MessageId {
        &self.message_id
    }

    /// The vocabulary it speaks.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// The ids it asks for, in its order; never empty.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = &SegmentId> {
        self.scopes.iter().map(|scope| &scope.id)
    }

    pub(super) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }
}

/// A segment id as one item of a version 1 Scopes list ([MS-PCCRD] 2.2.3.3).
///
/// Clients compare the echo of their token byte for byte, so a token that is not in upper case is kept as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    id: SegmentId,
    as_received: Option<Box<str>>,
}

impl Scope {
    /// Reads a token, or `None` unless it is 1 to 64 bytes in hexadecimal digits of either case.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        let mut bytes = [0; SegmentId::MAX_SIZE];
        let bytes = bytes.get_mut(..token.len() / 2)?;
        hexadecimal::decode(token, bytes)?;
        let id = SegmentId::from_slice(bytes)?;
        let as_received = token.bytes().any(|digit| digit.is_ascii_lowercase()).then(|| token.into());
        Some(Self { id, as_received })
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// The token: as received, else in upper case.
    #[must_use]
    pub fn token(&self) -> Cow<'_, str> {
        match &self.as_received {
            Some(token) => Cow::Borrowed(token),
            None => Cow::Owned(self.id.to_string()),
        }
    }

    pub(super) fn as_received(&self) -> Option<&str> {
        self.as_received.as_deref()
    }
}

impl From<SegmentId> for Scope {
    fn from(id: SegmentId) -> Self {
        Self { id, as_received: None }
    }
}

/// The attributes of `wsd:AppSequence` ([MS-PCCRD] 2.2.3.6, 2.2.3.7). Nothing is ever rejected because of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppSequence {
    /// Grows with every start of the service: its start time in seconds since 1970.
    pub instance_id: u64,
    /// Counts the messages of the instance, from 1.
    pub message_number: u64,
}

/// A ProbeMatches with its one ProbeMatch ([MS-PCCRD] 2.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeMatches {
    /// The MessageID of this answer.
    pub message_id: MessageId,
    /// The MessageID of the Probe it answers.
    pub relates_to: MessageId,
    /// Where the answer stands among the messages of its sender.
    pub app_sequence: Option<AppSequence>,
    /// Who answers.
    pub address: EndpointAddress,
    /// Where the segments can be fetched.
    pub xaddrs: Vec<SocketAddr>,
    /// 1 for version 1 and 2 for version 2; of no use to the receiver (2.2.3.5).
    pub metadata_version: Option<u64>,
    /// What the sender holds.
    pub segments: Segments,
}

/// The Scopes and the custom element of a ProbeMatch ([MS-PCCRD] 2.2.3.3, 2.2.3.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segments {
    /// Version 1: the scopes held, and how many blocks of each where the counts can be read.
    V1(Vec<(Scope, Option<u32>)>),
    /// Version 2: two bits for each id of the Probe, and ages for some.
    V2 {
        /// What is held of each id.
        bits: AvailabilityBits,
        /// Since when; `None` where the blob is absent or invalid.
        ages: Option<SegmentAges>,
    },
}

impl ProbeMatches {
    /// Reads a datagram that has to be a ProbeMatches.
    pub fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        match Message::parse(payload)? {
            Message::ProbeMatches(matches) => Ok(matches),
            Message::Probe(_) => Err(ParseError::OtherAction),
        }
    }

    /// The vocabulary it speaks.
    #[must_use]
    pub fn form(&self) -> Form {
        match self.segments {
            Segments::V1(_) => Form::V1,
            Segments::V2 { .. } => Form::V2,
        }
    }
}
