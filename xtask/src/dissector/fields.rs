//! The declarations of the filter fields: the documents' names in lower case behind the document's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use peerdist_protocol::schema::{DATAGRAM_ELEMENTS, Field, HEADER_PARAMETERS, Kind, REST, SHOWN_HEADERS, Shown};

use super::quoted;
use super::tables::{prefix, structures};

/// A field as Wireshark declares it.
#[derive(Debug, PartialEq, Eq)]
struct Declared {
    name: &'static str,
    /// One of Wireshark's field types.
    kind: &'static str,
    values: BTreeMap<u64, &'static str>,
    note: &'static str,
}

/// By what filters call it.
type Fields = BTreeMap<String, Declared>;

pub(super) fn write(text: &mut String) {
    text.push_str("\n-- Filter, name, type, names of values, meaning.\nfields.declared = {\n");
    for (filter, Declared { name, kind, values, note }) in declared() {
        let values: Vec<String> = values.iter().map(|(value, name)| format!("[{value}] = {}", quoted(name))).collect();
        let values = if values.is_empty() { "nil".to_owned() } else { format!("{{ {} }}", values.join(", ")) };
        let (filter, name, kind, note) = (quoted(&filter), quoted(name), quoted(kind), quoted(note));
        let _ = writeln!(text, "  {{ {filter}, {name}, {kind}, {values}, {note} }},");
    }
    text.push_str("}\n");
}

fn declared() -> Fields {
    let mut fields = Fields::new();
    for structure in structures() {
        let prefix = prefix(structure.protocol);
        structure.fields.iter().for_each(|field| of_table(&prefix, field, &mut fields));
    }
    for prefix in ["pccrc", "pccrd", "pccrr", "pccrtp", "pchc"] {
        add(&mut fields, prefix, REST, "BYTES", "bytes that could not be read, or have no meaning");
    }
    for prefix in ["pccrr", "pccrtp", "pchc"] {
        add(&mut fields, prefix, "Status", "UINT16", "status of an answer of HTTP");
    }
    of_discovery(&mut fields);
    of_headers(&mut fields);
    fields
}

fn of_table(prefix: &str, field: &'static Field, fields: &mut Fields) {
    let (kind, values) = match field.kind {
        Kind::Integer { shown: Shown::Version, .. } => ("STRING", BTreeMap::new()),
        Kind::Integer { width, shown, .. } => {
            let kind = match width {
                1 => "UINT8",
                2 => "UINT16",
                3 => "UINT24",
                8 => "UINT64",
                _ => "UINT32",
            };
            let values = if let Shown::Named(names) = shown { names.values } else { &[] };
            (kind, values.iter().copied().collect())
        }
        Kind::Bytes(_) | Kind::ZeroPad => ("BYTES", BTreeMap::new()),
        Kind::Structure(..) => ("NONE", BTreeMap::new()),
        Kind::Array(item, _) => {
            // Items that are structures are numbered in the list and have no field of their own.
            if !matches!(item.kind, Kind::Structure(..)) {
                of_table(prefix, item, fields);
            }
            ("NONE", BTreeMap::new())
        }
    };
    insert(fields, prefix, field.name, Declared { name: field.name, kind, values, note: field.note });
}

/// The elements of MS-PCCRD and what is in them.
fn of_discovery(fields: &mut Fields) {
    const NUMBERS: [&str; 3] = ["InstanceId", "MessageNumber", "MetadataVersion"];
    let prefix = "pccrd";
    for name in DATAGRAM_ELEMENTS {
        match name {
            // Its name alone is for the counts.
            "BlockCount" => text_of(fields, prefix, name),
            name if NUMBERS.contains(&name) => {}
            name => add(fields, prefix, name, "STRING", "text of the element"),
        }
    }
    for name in NUMBERS {
        add(fields, prefix, name, "UINT64", "a number in decimal digits");
        text_of(fields, prefix, name);
    }
    add(fields, prefix, "MatchBy", "STRING", "rule by which Scopes are matched");
    add(fields, prefix, "SegmentIDs", "NONE", "the segments that are asked for, or held");
    add(fields, prefix, "SegmentID", "BYTES", "HoHoDk of a segment");
    add(fields, prefix, "SegmentHashSize", "UINT16", "bytes of a segment id");
    add(fields, prefix, "SegmentHashCount", "UINT8", "how many segment ids");
    add(fields, prefix, "Availability", "BYTES", "two bits for each segment of the Probe");
    add(fields, prefix, "BlockCounts", "NONE", "how many blocks of each segment are held");
    add(fields, prefix, "BlockCount", "UINT32", "how many blocks of a segment are held");
}

fn of_headers(fields: &mut Fields) {
    let prefix = "pccrtp";
    add(fields, prefix, "Method", "STRING", "method of the request");
    add(fields, prefix, "Target", "STRING", "what is asked for");
    for name in SHOWN_HEADERS.into_iter().chain(["X-P2P-PeerDist", "X-P2P-PeerDistEx"]) {
        add(fields, prefix, name, "STRING", "header of HTTP");
    }
    for name in HEADER_PARAMETERS {
        if name == "ContentLength" {
            add(fields, prefix, name, "UINT64", "bytes of the content that content information stands for");
            text_of(fields, prefix, name);
        } else {
            add(fields, prefix, name, "STRING", "parameter of X-P2P-PeerDist or X-P2P-PeerDistEx");
        }
    }
}

/// The text of what should be a number, or of many numbers.
fn text_of(fields: &mut Fields, prefix: &str, name: &'static str) {
    let declared = Declared { name, kind: "STRING", values: BTreeMap::new(), note: "as it stands in the message" };
    insert(fields, prefix, &format!("{name}.text"), declared);
}

fn add(fields: &mut Fields, prefix: &str, name: &'static str, kind: &'static str, note: &'static str) {
    insert(fields, prefix, name, Declared { name, kind, values: BTreeMap::new(), note });
}

/// The first declaration stands, with the values of all.
fn insert(fields: &mut Fields, prefix: &str, name: &str, declared: Declared) {
    let filter = format!("{prefix}.{}", name.to_ascii_lowercase());
    match fields.entry(filter) {
        std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(declared)),
        std::collections::btree_map::Entry::Occupied(mut entry) => {
            assert_eq!(entry.get().kind, declared.kind, "two types of {}", entry.key());
            entry.get_mut().values.extend(declared.values);
        }
    }
}
