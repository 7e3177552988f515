//! Probe and ProbeMatches (MS-PCCRD), which are XML, as trees: every element that the document names, with the ids,
//! counts and ages inside.
//!
//! What may be taken for a message is for [`Message::parse`] to say; the walk here is lenient and shows what there is.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::tables::EXTENSIBLE_BLOB;
use super::{Fault, Node, Tree, Value, dissect};
use crate::discovery::{MAX_DATAGRAM_SIZE, Message, ParseError, XmlError};

const DOCUMENT: &str = "MS-PCCRD";
/// What stands in every message of this protocol, and in no other WS-Discovery message.
const OURS: &[u8] = b"PeerDist";
/// A ProbeMatches has 18 elements.
const MAX_ELEMENTS: usize = 256;

/// The elements with text that are shown, by their local names.
pub const DATAGRAM_ELEMENTS: [&str; 11] = [
    "To",
    "Action",
    "MessageID",
    "RelatesTo",
    "Address",
    "Types",
    "Scopes",
    "XAddrs",
    "MetadataVersion",
    "BlockCount",
    "SegmentAges",
];

/// Reads a datagram of UDP port 3702. None where it is not of this protocol but some other WS-Discovery message.
#[must_use]
pub fn dissect_datagram(payload: &[u8]) -> Option<Tree<'_>> {
    let payload = payload.get(..MAX_DATAGRAM_SIZE).unwrap_or(payload);
    if !payload.windows(OURS.len()).any(|window| window == OURS) {
        return None;
    }
    let mut fields = Vec::new();
    if let Ok(text) = std::str::from_utf8(payload) {
        walk(text, &mut fields);
    }
    let text = |name: &str| fields.iter().find(|field| field.name == name).and_then(Node::text).unwrap_or_default();
    let (name, section) = match text("Action").rsplit('/').next() {
        Some("Probe") => ("Probe", "2.2.2.1"),
        Some("ProbeMatches") => ("ProbeMatches", "2.2.2.2"),
        _ => ("Envelope", "2.2.2"),
    };
    let is_v2 = text("Types").contains("PeerDistDataV2");
    let is_probe = name == "Probe";
    for field in &mut fields {
        open(field, is_v2, is_probe);
    }
    let faults = Message::parse(payload).err().map(|error| fault(&error, section)).into_iter().collect();
    Some(Tree { name, protocol: DOCUMENT, section, size: payload.len(), fields, faults })
}

fn fault(error: &ParseError, section: &str) -> Fault {
    let offset = match error {
        ParseError::Xml(XmlError::NotWellFormed { at }) => usize::try_from(*at).unwrap_or(0),
        _ => 0,
    };
    let field = match error {
        ParseError::Missing(element) | ParseError::Repeated(element) | ParseError::BadIdentity(element) => {
            element.to_string()
        }
        ParseError::BadScopes | ParseError::TooManyIds | ParseError::OtherMatchBy => "Scopes".to_owned(),
        ParseError::OtherType => "Types".to_owned(),
        ParseError::OtherAction => "Action".to_owned(),
        ParseError::TooLarge { .. } | ParseError::Xml(_) | ParseError::NotAnEnvelope => String::new(),
    };
    Fault { offset, field, rule: error.to_string(), section: format!("{DOCUMENT} {section}"), tolerated: false }
}

fn walk<'a>(text: &'a str, fields: &mut Vec<Node<'a>>) {
    let mut reader = Reader::from_str(text);
    let mut open: Option<&'static str> = None;
    let mut elements = 0;
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let Ok(event) = reader.read_event() else { return };
        let end = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        match event {
            Event::Start(tag) | Event::Empty(tag) if elements < MAX_ELEMENTS => {
                elements += 1;
                let local = tag.local_name().into_inner();
                open = DATAGRAM_ELEMENTS.into_iter().find(|known| *known == local);
                attributes(&tag, at, end, fields);
            }
            Event::Text(part) => {
                if let Some(name) = open
                    && let raw = part.into_inner()
                    && !raw.trim().is_empty()
                {
                    let skipped = raw.len() - raw.trim_start().len();
                    let (offset, size) = (at + skipped, raw.trim().len());
                    let value = text.get(offset..offset + size).map_or_else(
                        || Value::Text(Cow::Owned(raw.trim().to_owned())),
                        |text| Value::Text(Cow::Borrowed(text)),
                    );
                    fields.push(Node { name, offset, size, value, field: None });
                    open = None;
                }
            }
            Event::End(_) => open = None,
            Event::Eof => return,
            Event::Start(_) | Event::Empty(_) => return,
            _ => {}
        }
    }
}

/// AppSequence has nothing but attributes; the rule of Scopes is one.
fn attributes(tag: &BytesStart<'_>, offset: usize, end: usize, fields: &mut Vec<Node<'_>>) {
    let size = end.saturating_sub(offset);
    let get = |name: &str| {
        let attribute = tag.attributes().flatten().find(|attribute| attribute.key.into_inner() == name)?;
        Some(attribute.normalized_value(XmlVersion::Explicit1_0).ok()?.into_owned())
    };
    let mut push = |name, value| fields.push(Node { name, offset, size, value, field: None });
    match tag.local_name().into_inner() {
        "AppSequence" => {
            for name in ["InstanceId", "MessageNumber"] {
                if let Some(value) = get(name) {
                    push(name, value.parse().map_or(Value::Text(Cow::Owned(value)), Value::Integer));
                }
            }
        }
        "Scopes" => {
            if let Some(value) = get("MatchBy") {
                push("MatchBy", Value::Text(Cow::Owned(value)));
            }
        }
        _ => {}
    }
}

/// Opens the values that are more than text.
fn open(field: &mut Node<'_>, is_v2: bool, is_probe: bool) {
    let (offset, size) = (field.offset, field.size);
    let node = |name, value| Node { name, offset, size, value, field: None };
    let bytes = |name, bytes: &[u8]| node(name, Value::Bytes(Cow::Owned(bytes.to_vec())));
    let Some(text) = field.text().map(str::to_owned) else { return };
    let decoded = || BASE64_STANDARD.decode(&text).unwrap_or_default();
    let mut parts = vec![node("text", Value::Text(Cow::Owned(text.clone())))];
    match field.name {
        "Scopes" if !is_v2 => {
            let ids = text.split_whitespace().filter_map(|token| hex::decode(token).ok());
            parts.push(node("SegmentIDs", Value::List(ids.map(|id| bytes("SegmentID", &id)).collect())));
        }
        "Scopes" if is_probe => {
            let decoded = decoded();
            let Some(([high, low, count], ids)) = decoded.split_first_chunk() else { return };
            let id_size = u16::from_be_bytes([*high, *low]);
            parts.push(node("SegmentHashSize", Value::Integer(id_size.into())));
            parts.push(node("SegmentHashCount", Value::Integer((*count).into())));
            let ids = ids.chunks(usize::from(id_size).max(1)).map(|id| bytes("SegmentID", id));
            parts.push(node("SegmentIDs", Value::List(ids.take(255).collect())));
        }
        "Scopes" => parts.push(bytes("Availability", &decoded())),
        "BlockCount" if text.is_ascii() && text.len().is_multiple_of(8) => {
            let counts = (0..text.len() / 8).filter_map(|index| text.get(8 * index..8 * index + 8));
            let counts = counts.filter_map(|digits| u64::from_str_radix(digits, 16).ok());
            parts.push(node(
                "BlockCounts",
                Value::List(counts.map(|n| node("BlockCount", Value::Integer(n))).collect()),
            ));
        }
        "SegmentAges" => parts.extend(owned(dissect(&EXTENSIBLE_BLOB, &decoded()).fields, (offset, size))),
        "MetadataVersion" => {
            if let Ok(number) = text.parse() {
                field.value = Value::Integer(number);
            }
            return;
        }
        _ => return,
    }
    field.value = Value::Record(parts);
}

/// The same nodes with bytes of their own, all at the place of the text that they were in.
fn owned(nodes: Vec<Node<'_>>, place: (usize, usize)) -> Vec<Node<'static>> {
    let own = |node: Node<'_>| {
        let value = match node.value {
            Value::Integer(value) => Value::Integer(value),
            Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Record(fields) => Value::Record(owned(fields, place)),
            Value::List(items) => Value::List(owned(items, place)),
        };
        Node { name: node.name, offset: place.0, size: place.1, value, field: node.field }
    };
    nodes.into_iter().map(own).collect()
}
