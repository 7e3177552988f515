//! Probe and ProbeMatches (MS-PCCRD), which are XML, as trees: every element that the document names, with the ids,
//! counts and ages inside.
//!
//! What may be taken for a message is for [`Message::parse`] to say; the walk here is lenient and shows what there is.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::compose::repeated;
use super::headers::plain;
use super::tables::EXTENSIBLE_BLOB;
use super::{ComposeError, Fault, Node, Tree, Value, dissect};
use crate::discovery::{ENVELOPE, MAX_DATAGRAM_SIZE, Message, ParseError, XmlError, names as known, trim, words};

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
        // The reader counts from behind a byte order mark.
        let xml = text.strip_prefix('\u{feff}').unwrap_or(text);
        walk(xml, &mut fields);
        fields.iter_mut().for_each(|field| field.offset += text.len() - xml.len());
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
    Some(Tree { name, protocol: DOCUMENT, section, size: payload.len(), bytes: payload, fields, faults })
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
                    && let trimmed = trim(&raw)
                    && !trimmed.is_empty()
                {
                    let skipped = raw.find(trimmed).unwrap_or(0);
                    let (offset, size) = (at + skipped, trimmed.len());
                    let value = text.get(offset..offset + size).map_or_else(
                        || Value::Text(Cow::Owned(trimmed.to_owned())),
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
            let ids = words(&text).filter_map(|token| hex::decode(token).ok());
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

/// What is shown beside the elements' own names.
const INNER: [&str; 10] = [
    "InstanceId",
    "MessageNumber",
    "MatchBy",
    "text",
    "SegmentIDs",
    "SegmentID",
    "SegmentHashSize",
    "SegmentHashCount",
    "Availability",
    "BlockCounts",
];
const PROBE: [&str; 6] = ["To", "Action", "MessageID", "Types", "MatchBy", "Scopes"];
const PROBE_MATCHES: [&str; 13] = [
    "To",
    "Action",
    "MessageID",
    "RelatesTo",
    "InstanceId",
    "MessageNumber",
    "Address",
    "Types",
    "Scopes",
    "XAddrs",
    "MetadataVersion",
    "BlockCount",
    "SegmentAges",
];
const TO_ALL: &str = "urn:schemas-xmlsoap-org:ws:2005:04:discovery";
const TO_ASKER: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";

/// The names of all fields.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    DATAGRAM_ELEMENTS.into_iter().chain(INNER)
}

/// Writes a datagram as [`Message`] does. Values go into the XML as they are. Of a value that is more than text, `text`
/// decides where it is given.
pub(super) fn compose(name: &'static str, values: &[Node<'_>]) -> Result<Vec<u8>, ComposeError> {
    let (is_probe, fields) = match name {
        "Probe" => (true, &PROBE[..]),
        "ProbeMatches" => (false, &PROBE_MATCHES[..]),
        // Only its bytes say what it is.
        _ => return Err(ComposeError::Missing { field: "raw".to_owned() }),
    };
    if let Some(unknown) = values.iter().find(|value| !fields.contains(&value.name)) {
        return Err(ComposeError::Unknown { structure: name, field: unknown.name.to_owned() });
    }
    if let Some(repeated) = repeated(values) {
        return Err(ComposeError::Repeated { field: repeated.to_owned() });
    }
    let given = |name: &str| values.iter().find(|value| value.name == name);
    let missing = |name: &str| ComposeError::Missing { field: name.to_owned() };
    let optional = |name: &str| given(name).map(|value| plain(value, name)).transpose();
    let required = |name: &str| optional(name)?.ok_or_else(|| missing(name));
    let types = required("Types")?;
    let is_v2 = types.contains(known::TYPE_V2);
    let (to, action, kind) = match is_probe {
        true => (TO_ALL, known::ACTION_PROBE, "Probe"),
        false => (TO_ASKER, known::ACTION_PROBE_MATCHES, "ProbeMatch"),
    };

    let mut out = ENVELOPE.to_owned();
    out.push_str(&optional("To")?.unwrap_or_else(|| to.to_owned()));
    out.push_str("</wsa:To>");
    element(&mut out, "wsa:Action", &optional("Action")?.unwrap_or_else(|| action.to_owned()));
    element(&mut out, "wsa:MessageID", &required("MessageID")?);
    if !is_probe {
        element(&mut out, "wsa:RelatesTo", &required("RelatesTo")?);
        let sequence = ["InstanceId", "MessageNumber"].map(|name| (name, optional(name)));
        if sequence.iter().any(|(_, value)| !matches!(value, Ok(None))) {
            out.push_str("<wsd:AppSequence");
            for (name, value) in sequence {
                if let Some(value) = value? {
                    out.push_str(&format!(" {name}=\"{value}\""));
                }
            }
            out.push_str("></wsd:AppSequence>");
        }
    }
    out.push_str("</soap:Header><soap:Body>");
    out.push_str(if is_probe { "<wsd:Probe>" } else { "<wsd:ProbeMatches><wsd:ProbeMatch><wsa:EndpointReference>" });
    if !is_probe {
        element(&mut out, "wsa:Address", &required("Address")?);
        out.push_str("</wsa:EndpointReference>");
    }
    element(&mut out, "wsd:Types", &types);
    let scopes = scopes(given("Scopes").ok_or_else(|| missing("Scopes"))?, is_v2, is_probe)?;
    if is_probe {
        let rule = if is_v2 { known::MATCH_BY_V2 } else { known::MATCH_BY_STRCMP0 };
        let rule = optional("MatchBy")?.unwrap_or_else(|| rule.to_owned());
        out.push_str(&format!("<wsd:Scopes MatchBy=\"{rule}\">{scopes}</wsd:Scopes>"));
    } else {
        element(&mut out, "wsd:Scopes", &scopes);
        element(&mut out, "wsd:XAddrs", &required("XAddrs")?);
        if let Some(version) = optional("MetadataVersion")? {
            element(&mut out, "wsd:MetadataVersion", &version);
        }
        let (counts, ages) = (given("BlockCount"), given("SegmentAges"));
        if counts.is_some() || ages.is_some() {
            out.push_str("<PeerDist:PeerDistData>");
            if let Some(counts) = counts {
                element(&mut out, "PeerDist:BlockCount", &block_count(counts)?);
            }
            if let Some(ages) = ages {
                element(&mut out, "PeerDist:SegmentAges", &segment_ages(ages)?);
            }
            out.push_str("</PeerDist:PeerDistData>");
        }
    }
    out.push_str(&format!("</wsd:{kind}>"));
    out.push_str(if is_probe {
        "</soap:Body></soap:Envelope>"
    } else {
        "</wsd:ProbeMatches></soap:Body></soap:Envelope>"
    });
    Ok(out.into_bytes())
}

fn element(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!("<{name}>{text}</{name}>"));
}

/// The text that a value is, or has beside what is in it.
fn text_of(value: &Node<'_>) -> Result<Option<String>, ComposeError> {
    match &value.value {
        Value::Record(_) => value.child("text").map(|text| plain(text, &format!("{}.text", value.name))).transpose(),
        _ => plain(value, value.name).map(Some),
    }
}

fn scopes(value: &Node<'_>, is_v2: bool, is_probe: bool) -> Result<String, ComposeError> {
    if let Some(text) = text_of(value)? {
        return Ok(text);
    }
    let due = |name: &str, due| ComposeError::Kind { field: format!("Scopes.{name}"), due };
    let child = |name: &str| value.child(name).ok_or_else(|| ComposeError::Missing { field: format!("Scopes.{name}") });
    let bytes = |node: &Node<'_>| match &node.value {
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        Value::Text(text) => hex::decode(text.as_ref()).ok(),
        _ => None,
    };
    if is_v2 && !is_probe {
        let bits = bytes(child("Availability")?).ok_or_else(|| due("Availability", "hexadecimal digits"))?;
        return Ok(BASE64_STANDARD.encode(bits));
    }
    let ids = child("SegmentIDs")?;
    let Value::List(ids) = &ids.value else { return Err(due("SegmentIDs", "an array")) };
    let id = |(index, node)| bytes(node).ok_or_else(|| due(&format!("SegmentIDs[{index}]"), "hexadecimal digits"));
    let ids = ids.iter().enumerate().map(id).collect::<Result<Vec<_>, _>>()?;
    if !is_v2 {
        return Ok(ids.iter().map(hex::encode_upper).collect::<Vec<_>>().join(" "));
    }
    let number = |name: &str, otherwise: usize, most: u64| match value.child(name) {
        None => Ok(otherwise as u64),
        Some(node) => node.integer().filter(|number| *number <= most).ok_or_else(|| due(name, "a number that fits")),
    };
    let size = number("SegmentHashSize", ids.first().map_or(0, Vec::len), 0xffff)?;
    let count = number("SegmentHashCount", ids.len(), 0xff)?;
    let [.., high, low] = size.to_be_bytes();
    let [.., count] = count.to_be_bytes();
    Ok(BASE64_STANDARD.encode([&[high, low, count][..], &ids.concat()].concat()))
}

fn block_count(value: &Node<'_>) -> Result<String, ComposeError> {
    if let Some(text) = text_of(value)? {
        return Ok(text);
    }
    let field = || "BlockCount.BlockCounts".to_owned();
    let counts = value.child("BlockCounts").ok_or_else(|| ComposeError::Missing { field: field() })?;
    let Value::List(counts) = &counts.value else { return Err(ComposeError::Kind { field: field(), due: "an array" }) };
    let count = |(index, node): (usize, &Node<'_>)| {
        let count = node.integer().and_then(|count| u32::try_from(count).ok());
        let due = || ComposeError::Kind { field: format!("{}[{index}]", field()), due: "a number that fits its bytes" };
        Ok(format!("{:08X}", count.ok_or_else(due)?))
    };
    counts.iter().enumerate().map(count).collect()
}

fn segment_ages(value: &Node<'_>) -> Result<String, ComposeError> {
    if let Some(text) = text_of(value)? {
        return Ok(text);
    }
    let blob = super::compose(&EXTENSIBLE_BLOB, value.children());
    blob.map(|blob| BASE64_STANDARD.encode(blob)).map_err(|error| error.within("SegmentAges"))
}
