//! The Wireshark dissector beside `peerdist decode`: what each says of a capture, and whether they agree.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};

use crate::programs;

const PROTOCOLS: [&str; 5] = ["pccrc", "pccrd", "pccrr", "pccrtp", "pchc"];

/// A message as tshark shows it.
#[derive(Debug, Default)]
pub struct Shown {
    /// The frame in which it is whole.
    pub frame: u64,
    /// Which document it belongs to, as filters name it.
    pub protocol: String,
    /// The document's name for it.
    pub message: String,
    /// Filters and values, in the order of the tree; without those that have no value.
    pub fields: Vec<(String, String)>,
    /// Expert information of the rules that receivers insist on.
    pub faults: Vec<String>,
    /// That of the others.
    pub odd: Vec<String>,
    /// The frame of the request that it answers.
    pub request_in: Option<u64>,
    /// Seconds since that request.
    pub time: Option<f64>,
    /// The segments that it is about, in upper-case hexadecimal digits.
    pub segment_ids: Vec<String>,
}

/// A message as `peerdist decode --json` prints it.
#[derive(Debug, Deserialize)]
pub struct Decoded {
    /// Its number in the capture.
    pub number: u64,
    /// That of the request that it answers.
    pub answers: Option<u64>,
    took: Option<String>,
    time: String,
    ended: String,
    protocol: String,
    /// The document's name for it.
    pub message: String,
    fields: Json,
    #[serde(default)]
    segment_ids: Vec<String>,
    faults: Vec<Fault>,
}

#[derive(Debug, Deserialize)]
struct Fault {
    offset: usize,
    field: String,
    rule: String,
    section: String,
    tolerated: bool,
}

/// JSON with the order of its objects, in which a name may stand twice.
#[derive(Debug, Clone)]
enum Json {
    Leaf(String, bool),
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
}

/// What tshark prints of a capture with the dissector and these words.
///
/// # Panics
/// If tshark cannot read the capture, or does not know a filter.
#[track_caller]
pub fn tshark(capture: &Path, words: &[&str]) -> String {
    let mut command = Command::new(programs::find("tshark"));
    command.args(["-n", "-X", &script_option(), "-r"]).arg(capture).args(words);
    printed(&mut command)
}

/// What tshark prints of a capture without the dissector.
///
/// # Panics
/// If tshark cannot read the capture.
#[track_caller]
pub fn tshark_alone(capture: &Path, words: &[&str]) -> String {
    let mut command = Command::new(programs::find("tshark"));
    command.args(["-n", "-r"]).arg(capture).args(words);
    printed(&mut command)
}

/// Every field that filters know when the dissector is there, and what it means.
///
/// # Panics
/// If tshark does not start.
#[track_caller]
pub fn filters() -> Vec<(String, String)> {
    let mut command = Command::new(programs::find("tshark"));
    let text = printed(command.args(["-G", "fields", "-X", &script_option()]));
    let fields = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let named = |line: Vec<&str>| Some((line.get(2)?.to_string(), line.get(7).copied().unwrap_or_default().to_owned()));
    fields.filter_map(named).collect()
}

/// The dissector as it is installed: one file.
fn script_option() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps/dissector/peerdist.lua");
    format!("lua_script:{}", script.display())
}

#[track_caller]
fn printed(command: &mut Command) -> String {
    let output = command.output().expect("tshark starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !errors.contains("Lua"), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every message that the dissector shows in its second pass, which knows where the capture ends.
///
/// # Panics
/// If tshark fails, or the dissector does.
#[track_caller]
pub fn messages(capture: &Path) -> Vec<Shown> {
    let text = tshark(capture, &["-2", "-Y", "peerdist || pccrd", "-T", "pdml"]);
    assert!(!text.contains("the dissector failed"), "{}", around(&text, "the dissector failed"));
    let mut reader = Reader::from_str(&text);
    let (mut frame, mut depth, mut top) = (0, 0, usize::MAX);
    let mut shown: Vec<Shown> = Vec::new();
    loop {
        let event = reader.read_event().unwrap_or_else(|error| panic!("PDML: {error}"));
        match &event {
            Event::Eof => return shown,
            Event::End(_) => {
                depth -= 1;
                if depth == top {
                    top = usize::MAX;
                }
            }
            Event::Start(tag) | Event::Empty(tag) => {
                let (name, value) = (attribute(tag, "name"), attribute(tag, "show"));
                if name == "frame.number" {
                    frame = value.parse().unwrap_or(0);
                } else if top == usize::MAX && PROTOCOLS.contains(&name.as_str()) {
                    top = depth;
                    shown.push(Shown { frame, protocol: name, ..Shown::default() });
                } else if top != usize::MAX
                    && let Some(message) = shown.last_mut()
                {
                    take(message, name, value, &attribute(tag, "value"), &attribute(tag, "showname"));
                }
                if matches!(event, Event::Start(_)) {
                    depth += 1;
                } else if top == depth {
                    top = usize::MAX;
                }
            }
            _ => {}
        }
    }
}

fn take(message: &mut Shown, name: String, value: String, bytes: &str, label: &str) {
    // Long bytes are shown in part.
    let is_pair = |pair: &str| pair.len() == 2 && u8::from_str_radix(pair, 16).is_ok();
    let is_bytes = value == bytes || (value.contains(':') && value.split(':').all(is_pair));
    match name.as_str() {
        "peerdist.message" => message.message = value,
        "peerdist.request_in" => message.request_in = value.parse().ok(),
        "peerdist.time" => message.time = value.parse().ok(),
        "peerdist.segment_id" => message.segment_ids.push(value.replace(':', "").to_uppercase()),
        _ if name.ends_with(".fault") => message.faults.push(label.to_owned()),
        _ if name.ends_with(".odd") => message.odd.push(label.to_owned()),
        // The text of the header as a whole stands beside its parameters.
        "pccrtp.x-p2p-peerdist" | "pccrtp.x-p2p-peerdistex" => {}
        _ if value.is_empty() || !PROTOCOLS.iter().any(|prefix| name.starts_with(&format!("{prefix}."))) => {}
        _ if is_bytes && !bytes.is_empty() => message.fields.push((name, bytes.to_uppercase())),
        _ => message.fields.push((name, value)),
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> String {
    let found = tag.attributes().flatten().find(|attribute| attribute.key.into_inner() == name);
    let value = found
        .and_then(|attribute| attribute.normalized_value(XmlVersion::Explicit1_0).ok().map(|value| value.into_owned()));
    value.unwrap_or_default()
}

fn around(text: &str, what: &str) -> String {
    text.lines().filter(|line| line.contains(what)).take(3).collect()
}

/// What `peerdist decode` prints of a capture, secrets included.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn decoded(capture: &Path) -> Vec<Decoded> {
    let mut command = Command::new(programs::peerdist());
    let output = command.arg("decode").arg(capture).args(["--json", "--secrets"]).output().expect("peerdist starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Compares dissector and decoder, message by message and field by field, and returns what was compared.
///
/// # Panics
/// Where they differ.
#[track_caller]
pub fn assert_agreement(capture: &Path) -> Vec<Shown> {
    let (mut shown, mut decoded) = (messages(capture), decoded(capture));
    // What is never whole the decoder tells when its connection ends, the dissector where its bytes end.
    shown.sort_by_key(Shown::is_cut);
    decoded.sort_by_key(Decoded::is_cut);
    let ends: HashMap<u64, String> = decoded.iter().map(|message| (message.number, message.ended.clone())).collect();
    // An answer that is there before its request is whole the decoder tells behind it, the dissector at once.
    let is_early = |message: &Decoded| message.answers.is_some_and(|number| message.ended < ends[&number]);
    for at in 0..decoded.len() {
        if is_early(&decoded[at]) {
            let due = decoded.iter().position(|message| message.ended > decoded[at].ended).filter(|due| *due < at);
            decoded[due.unwrap_or(at)..=at].rotate_right(1);
        }
    }
    for (shown, decoded) in shown.iter().zip(&decoded) {
        assert_eq!(shown.message, decoded.message, "frame {}", shown.frame);
    }
    assert_eq!(shown.len(), decoded.len());
    let frames: HashMap<u64, u64> =
        decoded.iter().zip(&shown).map(|(message, shown)| (message.number, shown.frame)).collect();
    let times: HashMap<u64, bool> =
        decoded.iter().map(|message| (message.number, message.time == message.ended)).collect();
    for (shown, decoded) in shown.iter().zip(&decoded) {
        let place = format!("{} in frame {}", shown.message, shown.frame);
        let prefix = prefix(&decoded.protocol);
        assert_eq!(shown.protocol, prefix, "{place}");
        let mut expected = Vec::new();
        flatten(&prefix, "", &decoded.fields, &mut expected);
        let differs = shown.fields.iter().zip(&expected).position(|(one, other)| one != other);
        let at = differs.unwrap_or(shown.fields.len().min(expected.len()));
        assert_eq!(shown.fields.get(at), expected.get(at), "{place}, field {at}");
        let faults = |tolerated| {
            let told = decoded.faults.iter().filter(|fault| fault.tolerated == tolerated);
            let mut told: Vec<_> = told.map(ToString::to_string).collect();
            told.sort();
            told
        };
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort();
            list
        };
        assert_eq!(sorted(&shown.faults), faults(false), "{place}");
        assert_eq!(sorted(&shown.odd), faults(true), "{place}");
        // One that begins before that the decoder alone pairs.
        if decoded.answers.is_none_or(|number| decoded.time >= ends[&number]) {
            assert_eq!(shown.request_in, decoded.answers.map(|number| frames[&number]), "{place}");
        }
        // The decoder counts from the first byte of the request, the dissector from its last frame.
        if let (Some(took), true) = (&decoded.took, decoded.answers.is_some_and(|number| times[&number]))
            && !decoded.is_cut()
        {
            let took: f64 = took.parse().expect("a number");
            assert!(shown.time.is_some_and(|time| (time - took).abs() < 1e-6), "{place}: {:?}, {took}", shown.time);
        }
        for id in &decoded.segment_ids {
            assert!(shown.segment_ids.contains(id), "{place}: {id}");
        }
    }
    shown
}

/// What is said of a message that is never whole.
const CUT: &str = "the message is not whole";

impl Shown {
    fn is_cut(&self) -> bool {
        self.faults.iter().any(|fault| fault.contains(CUT))
    }
}

impl Decoded {
    /// The number in the field of this name, wherever it is.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.fields.find(name)?.parse().ok()
    }

    fn is_cut(&self) -> bool {
        self.faults.iter().any(|fault| fault.rule.contains(CUT))
    }
}

impl Json {
    /// The text of the leaf of this name, wherever it is.
    fn find(&self, name: &str) -> Option<&str> {
        match self {
            Json::Leaf(..) => None,
            Json::List(items) => items.iter().find_map(|item| item.find(name)),
            Json::Object(fields) => fields.iter().find_map(|(key, value)| match value {
                Json::Leaf(text, _) if key == name => Some(text.as_str()),
                _ => value.find(name),
            }),
        }
    }
}

fn prefix(document: &str) -> String {
    document.trim_start_matches("MS-").to_lowercase()
}

/// Filters and values of what the decoder printed.
fn flatten(prefix: &str, name: &str, value: &Json, out: &mut Vec<(String, String)>) {
    let filter = |name: &str| format!("{prefix}.{}", name.to_lowercase());
    match value {
        Json::Leaf(text, is_number) => {
            const NUMBERS: [&str; 5] =
                ["BlockCount", "InstanceId", "MessageNumber", "MetadataVersion", "ContentLength"];
            if text.is_empty() {
            } else if NUMBERS.contains(&name) && !is_number {
                out.push((format!("{}.text", filter(name)), written(text)));
            } else {
                out.push((filter(name), written(text)));
            }
        }
        Json::List(items) => {
            let item = match name {
                "BlockHashes" => "BlockHash",
                "SegmentIDs" if prefix == "pccrd" => "SegmentID",
                "BlockCounts" => "BlockCount",
                _ => "",
            };
            items.iter().for_each(|value| flatten(prefix, item, value, out));
        }
        Json::Object(fields) => {
            for (key, value) in fields {
                let inside = match (name, key.as_str()) {
                    ("SegmentInformation", _) => "pccrc",
                    ("SegmentAges", key) if prefix == "pccrd" && key != "text" => "pccrr",
                    _ => prefix,
                };
                match (name, key.as_str()) {
                    ("BlockCount", "text") => flatten(inside, "BlockCount.text", value, out),
                    (_, "text") => flatten(inside, name, value, out),
                    _ => flatten(inside, key, value, out),
                }
            }
        }
    }
}

/// Text as it comes back from PDML, where control characters are escaped and white space is blanks.
fn written(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '\0' => out.push_str("\\0"),
            '\t' | '\n' | '\r' => out.push(' '),
            control if control.is_ascii_control() => out.push_str(&format!("\\x{:x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, field, rule, section, tolerated } = self;
        let colon = if field.is_empty() { "" } else { ": " };
        write!(f, "offset {offset}: {field}{colon}{rule} ([{section}]")?;
        f.write_str(if *tolerated { ", tolerated)" } else { ")" })
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, text, an object or an array")
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Leaf(value.to_string(), true))
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Leaf(value.to_owned(), false))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Json::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
                let mut object = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    object.push(entry);
                }
                Ok(Json::Object(object))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
