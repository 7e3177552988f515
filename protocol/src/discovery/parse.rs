//! Reading both messages: strict about XML, namespaces and counts, indifferent to prefixes, order and what else stands
//! there (MS-PCCRD 3.1.4.1, 3.2.4.1).

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

use super::message::{AppSequence, Message, Probe, ProbeError, ProbeMatches, Scope, Segments};
use super::names::{self, Namespace};
use super::xml::{Start, Xml, words};
use super::{
    AvailabilityBits, EndpointAddress, Form, MAX_DATAGRAM_SIZE, MAX_IDS, MessageId, SegmentAges, XmlError, xaddrs,
};
use crate::content::SegmentId;
use crate::wire::Reader;

/// Senders that leave out the padding are understood.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a datagram is no message of this protocol. The sender's fault, or simply somebody else's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Longer than UDP carries.
    #[error("{size} bytes, at most {MAX_DATAGRAM_SIZE}")]
    TooLarge {
        /// The size in bytes.
        size: usize,
    },
    /// The XML is refused.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The root is not a SOAP 1.2 envelope.
    #[error("not a SOAP 1.2 envelope")]
    NotAnEnvelope,
    /// Another WS-Discovery message, or Action and body disagree.
    #[error("neither Probe nor ProbeMatches")]
    OtherAction,
    /// A Probe or ProbeMatches for another kind of service.
    #[error("the Types name no BranchCache service")]
    OtherType,
    /// A Probe with a matching rule that does not belong to its Types (2.2.2.1).
    #[error("the MatchBy rule is not the one of the Types")]
    OtherMatchBy,
    /// An element or attribute that must be there is not.
    #[error("no {0}")]
    Missing(Element),
    /// An element that may stand once stands twice.
    #[error("{0} stands there twice")]
    Repeated(Element),
    /// A MessageID, RelatesTo or Address is empty, too long or has control characters.
    #[error("{0} is empty, too long or not printable")]
    BadIdentity(Element),
    /// The Scopes are empty, not in the form's encoding, or their counts do not add up (2.2.3.3).
    #[error("the Scopes are badly formed")]
    BadScopes,
    /// More ids than a Probe may carry.
    #[error("more than {MAX_IDS} segment ids")]
    TooManyIds,
}

/// An element of the messages, for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// `wsa:Action`.
    Action,
    /// `wsa:MessageID`.
    MessageId,
    /// `wsa:RelatesTo`.
    RelatesTo,
    /// `wsa:Address`.
    Address,
    /// `wsd:Types`.
    Types,
    /// `wsd:Scopes`.
    Scopes,
    /// `wsd:XAddrs`.
    XAddrs,
    /// `soap:Body` or what stands in it.
    Body,
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Action => "Action",
            Self::MessageId => "MessageID",
            Self::RelatesTo => "RelatesTo",
            Self::Address => "Address",
            Self::Types => "Types",
            Self::Scopes => "Scopes",
            Self::XAddrs => "XAddrs",
            Self::Body => "Body",
        })
    }
}

impl Message {
    /// Reads a datagram.
    pub fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        if payload.len() > MAX_DATAGRAM_SIZE {
            return Err(ParseError::TooLarge { size: payload.len() });
        }
        let mut xml = Xml::new(payload)?;
        if !xml.root()?.is(Namespace::Soap, "Envelope") {
            return Err(ParseError::NotAnEnvelope);
        }
        let mut header = Header::default();
        let mut body = None;
        while let Some(child) = xml.child()? {
            // SOAP puts the header first, so that the body can be read with its action known.
            if child.is(Namespace::Soap, "Header") && body.is_none() {
                header.read(&mut xml)?;
            } else if child.is(Namespace::Soap, "Body") && body.is_none() {
                body = Some(read_body(&mut xml, header.action.ok_or(ParseError::Missing(Element::Action))?)?);
            } else {
                xml.skip()?;
            }
        }
        xml.finish()?;
        let body = body.ok_or(ParseError::Missing(Element::Body))?;
        let message_id = header.message_id.ok_or(ParseError::Missing(Element::MessageId))?;
        match body {
            Body::Probe { form, scopes } => {
                Probe::from_scopes(message_id, form, scopes).map(Message::Probe).map_err(|error| match error {
                    ProbeError::TooManyIds { .. } => ParseError::TooManyIds,
                    ProbeError::NoIds | ProbeError::MixedSizes => ParseError::BadScopes,
                })
            }
            Body::Match(matched) => Ok(Message::ProbeMatches(ProbeMatches {
                message_id,
                relates_to: header.relates_to.ok_or(ParseError::Missing(Element::RelatesTo))?,
                app_sequence: header.app_sequence,
                address: matched.address,
                xaddrs: matched.xaddrs,
                metadata_version: matched.metadata_version,
                segments: matched.segments,
            })),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Probe,
    ProbeMatches,
}

#[derive(Default)]
struct Header {
    action: Option<Action>,
    message_id: Option<MessageId>,
    relates_to: Option<MessageId>,
    app_sequence: Option<AppSequence>,
}

impl Header {
    fn read(&mut self, xml: &mut Xml<'_>) -> Result<(), ParseError> {
        while let Some(child) = xml.child()? {
            match (child.namespace, child.local_name()) {
                (Namespace::Wsa, "Action") => {
                    let action = match &*xml.text()? {
                        names::ACTION_PROBE => Action::Probe,
                        names::ACTION_PROBE_MATCHES => Action::ProbeMatches,
                        _ => return Err(ParseError::OtherAction),
                    };
                    once(&mut self.action, action, Element::Action)?;
                }
                (Namespace::Wsa, "MessageID") => {
                    let id = identity(MessageId::new(&xml.text()?), Element::MessageId)?;
                    once(&mut self.message_id, id, Element::MessageId)?;
                }
                (Namespace::Wsa, "RelatesTo") => {
                    let id = identity(MessageId::new(&xml.text()?), Element::RelatesTo)?;
                    once(&mut self.relates_to, id, Element::RelatesTo)?;
                }
                // Known implementations disagree about its namespace, and nobody depends on it.
                (_, "AppSequence") => {
                    let number = |name| child.attribute(name)?.parse().ok();
                    self.app_sequence = number("InstanceId")
                        .zip(number("MessageNumber"))
                        .map(|(instance_id, message_number)| AppSequence { instance_id, message_number });
                    xml.skip()?;
                }
                _ => xml.skip()?,
            }
        }
        Ok(())
    }
}

enum Body {
    Probe { form: Form, scopes: Vec<Scope> },
    Match(Match),
}

struct Match {
    address: EndpointAddress,
    xaddrs: Vec<std::net::SocketAddr>,
    metadata_version: Option<u64>,
    segments: Segments,
}

fn read_body(xml: &mut Xml<'_>, action: Action) -> Result<Body, ParseError> {
    let child = xml.child()?.ok_or(ParseError::Missing(Element::Body))?;
    let body = match action {
        Action::Probe if child.is(Namespace::Wsd, "Probe") => read_probe(xml)?,
        Action::ProbeMatches if child.is(Namespace::Wsd, "ProbeMatches") => read_probe_matches(xml)?,
        _ => return Err(ParseError::OtherAction),
    };
    while xml.child()?.is_some() {
        xml.skip()?;
    }
    Ok(body)
}

fn read_probe(xml: &mut Xml<'_>) -> Result<Body, ParseError> {
    let mut form = None;
    let mut scopes = None;
    while let Some(child) = xml.child()? {
        match (child.namespace, child.local_name()) {
            (Namespace::Wsd, "Types") => once(&mut form, read_types(xml)?, Element::Types)?,
            (Namespace::Wsd, "Scopes") => {
                let rule = match_by(&child);
                once(&mut scopes, (rule, xml.text()?), Element::Scopes)?;
            }
            _ => xml.skip()?,
        }
    }
    // Without Types a Probe asks for any service at all, which is not for this protocol to answer.
    let form = form.ok_or(ParseError::OtherType)?;
    let (rule, text) = scopes.ok_or(ParseError::Missing(Element::Scopes))?;
    if rule != Some(form) {
        return Err(ParseError::OtherMatchBy);
    }
    let scopes = match form {
        Form::V1 => v1_scopes(&text)?,
        Form::V2 => v2_scopes(&text)?,
    };
    Ok(Body::Probe { form, scopes })
}

/// The form whose rule the attribute names.
fn match_by(scopes: &Start<'_>) -> Option<Form> {
    match &*scopes.attribute("MatchBy")? {
        names::MATCH_BY_STRCMP0 => Some(Form::V1),
        names::MATCH_BY_V2 => Some(Form::V2),
        _ => None,
    }
}

/// The first BranchCache type of a Types list.
fn read_types(xml: &mut Xml<'_>) -> Result<Form, ParseError> {
    // The prefixes are looked up before the element closes its own declarations.
    let resolve = |xml: &Xml<'_>, text: &str| {
        words(text).find_map(|token| match (token, xml.resolve_qname(token)) {
            (names::LITERAL_TYPE_V1, _) | (_, (Namespace::PeerDist, names::TYPE_V1)) => Some(Form::V1),
            (names::LITERAL_TYPE_V2, _) | (_, (Namespace::PeerDist, names::TYPE_V2)) => Some(Form::V2),
            _ => None,
        })
    };
    xml.text_with(resolve)?.ok_or(ParseError::OtherType)
}

/// Every item is one id in hexadecimal digits.
pub(super) fn v1_scopes(text: &str) -> Result<Vec<Scope>, ParseError> {
    // A token takes two digits and a space at least; what is more than MAX_IDS is seen without reading on.
    let mut scopes = Vec::with_capacity((text.len() / 65 + 1).min(MAX_IDS));
    for token in words(text) {
        if scopes.len() == MAX_IDS {
            return Err(ParseError::TooManyIds);
        }
        scopes.push(Scope::parse(token).ok_or(ParseError::BadScopes)?);
    }
    if scopes.is_empty() { Err(ParseError::BadScopes) } else { Ok(scopes) }
}

/// One base64 token of SegmentHashSize, Segment Hash Count and exactly so many ids.
pub(super) fn v2_scopes(text: &str) -> Result<Vec<Scope>, ParseError> {
    let bytes = BASE64.decode(text).map_err(|_| ParseError::BadScopes)?;
    let mut reader = Reader::new(&bytes);
    let mut read = || {
        let size = usize::from(reader.u16_be().ok()?);
        let count = reader.u8().ok()?;
        let mut scopes = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            scopes.push(Scope::from(SegmentId::from_slice(reader.take(size).ok()?)?));
        }
        (count > 0 && reader.left() == 0).then_some(scopes)
    };
    read().ok_or(ParseError::BadScopes)
}

/// The first ProbeMatch of a BranchCache type.
fn read_probe_matches(xml: &mut Xml<'_>) -> Result<Body, ParseError> {
    let mut matched = None;
    while let Some(child) = xml.child()? {
        if !child.is(Namespace::Wsd, "ProbeMatch") {
            xml.skip()?;
        } else {
            let candidate = read_probe_match(xml)?;
            matched = matched.or(candidate);
        }
    }
    matched.map(Body::Match).ok_or(ParseError::OtherType)
}

/// One ProbeMatch, or `None` where it is of another type.
fn read_probe_match(xml: &mut Xml<'_>) -> Result<Option<Match>, ParseError> {
    let (mut address, mut form, mut scopes, mut addresses) = (None, None, None, None);
    let (mut metadata_version, mut custom) = (None, Custom::default());
    while let Some(child) = xml.child()? {
        match (child.namespace, child.local_name()) {
            (Namespace::Wsa, "EndpointReference") => {
                while let Some(part) = xml.child()? {
                    if part.is(Namespace::Wsa, "Address") {
                        let text = identity(EndpointAddress::new(&xml.text()?), Element::Address)?;
                        once(&mut address, text, Element::Address)?;
                    } else {
                        xml.skip()?;
                    }
                }
            }
            (Namespace::Wsd, "Types") => match read_types(xml) {
                Err(ParseError::OtherType) => {}
                read => once(&mut form, read?, Element::Types)?,
            },
            (Namespace::Wsd, "Scopes") => once(&mut scopes, xml.text()?, Element::Scopes)?,
            (Namespace::Wsd, "XAddrs") => once(&mut addresses, xaddrs::parse(&xml.text()?), Element::XAddrs)?,
            (Namespace::Wsd, "MetadataVersion") => metadata_version = xml.text()?.parse().ok(),
            // The 2012 edition names the container of the ages like the version 2 type.
            (Namespace::PeerDist, names::TYPE_V1 | names::TYPE_V2) => custom.read(xml)?,
            _ => xml.skip()?,
        }
    }
    let Some(form) = form else { return Ok(None) };
    let scopes = scopes.ok_or(ParseError::Missing(Element::Scopes))?;
    let segments = match form {
        Form::V1 => {
            let scopes = v1_scopes(&scopes)?;
            let counts = block_counts(custom.block_count.as_deref().unwrap_or_default(), scopes.len());
            Segments::V1(scopes.into_iter().zip(counts).collect())
        }
        Form::V2 => {
            let bits = BASE64.decode(&*scopes).map_err(|_| ParseError::BadScopes)?;
            if bits.is_empty() {
                return Err(ParseError::BadScopes);
            }
            let blob = custom.segment_ages.and_then(|text| BASE64.decode(&*text).ok());
            let ages = blob.and_then(|blob| SegmentAges::parse(&blob));
            Segments::V2 { bits: AvailabilityBits::from_bytes(bits), ages }
        }
    };
    Ok(Some(Match {
        address: address.ok_or(ParseError::Missing(Element::Address))?,
        xaddrs: addresses.ok_or(ParseError::Missing(Element::XAddrs))?,
        metadata_version,
        segments,
    }))
}

/// The custom element of a ProbeMatch (2.2.3.9).
#[derive(Default)]
struct Custom<'a> {
    block_count: Option<Cow<'a, str>>,
    segment_ages: Option<Cow<'a, str>>,
}

impl<'a> Custom<'a> {
    fn read(&mut self, xml: &mut Xml<'a>) -> Result<(), ParseError> {
        while let Some(child) = xml.child()? {
            if child.is(Namespace::PeerDist, "BlockCount") {
                self.block_count = Some(xml.text()?);
            } else if child.is(Namespace::PeerDist, "SegmentAges") {
                self.segment_ages = Some(xml.text()?);
            } else {
                xml.skip()?;
            }
        }
        Ok(())
    }
}

/// One count for each scope: eight digits each, or four as in an example of the document. In any other form the
/// counts are not known.
fn block_counts(digits: &str, scopes: usize) -> Vec<Option<u32>> {
    let width = if digits.len() == 8 * scopes {
        8
    } else if digits.len() == 4 * scopes {
        4
    } else {
        return vec![None; scopes];
    };
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let count = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    digits.as_bytes().chunks(width).map(|digits| if hexadecimal { count(digits) } else { None }).collect()
}

fn identity<T>(parsed: Option<T>, element: Element) -> Result<T, ParseError> {
    parsed.ok_or(ParseError::BadIdentity(element))
}

fn once<T>(place: &mut Option<T>, value: T, element: Element) -> Result<(), ParseError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ParseError::Repeated(element)),
    }
}
