//! Messages from JSON: what the decoder prints, or what somebody wrote in its place, made into bytes.
//!
//! `message` says what it is and `fields` what is in it. The members that the decoder derives from the bytes are read
//! over. `raw`, which it prints of text that was not written as we write it, has the bytes themselves; the fields must
//! not say anything else then.

mod agree;
mod json;
pub mod replay;
pub mod send;
pub mod stream;

use std::io::BufRead;

use peerdist_protocol::schema::{ComposeError, Form, Node, REST, Value, known_name};
use thiserror::Error;

use json::{Json, Values};

/// What stands in the place of a secret in the decoder's output.
pub const HIDDEN: &str = "hidden";

/// The members that the decoder prints and nobody needs to compose the message.
const DERIVED: [&str; 16] = [
    "file",
    "number",
    "time",
    "ended",
    "source",
    "destination",
    "transport",
    "answers",
    "took",
    "comment",
    "protocol",
    "section",
    "size",
    "segment_ids",
    "faults",
    "layout",
];
/// The same, where a key was known.
const BLOCK: &str = "block";

/// A message that was made.
#[derive(Debug, Clone)]
pub struct Crafted {
    /// What it is.
    pub form: Form,
    /// The message: without a head of HTTP around it, unless it is one.
    pub bytes: Vec<u8>,
}

/// Why JSON is no message.
#[derive(Debug, Error)]
pub enum CraftError {
    /// It is no JSON, or cannot be read.
    #[error("the JSON cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It is something else than an object.
    #[error("a message has to be an object")]
    NoObject,
    /// There is no `message`, or no such one.
    #[error("message has to be the name of one: {}", Form::names().collect::<Vec<_>>().join(", "))]
    NoName,
    /// A member has a value that it cannot have.
    #[error("{path} has to be {due}")]
    Value {
        /// Which, with those it stands in.
        path: String,
        /// What it has to be.
        due: &'static str,
    },
    /// No message has such a member.
    #[error("{path} is no member of any message")]
    Unknown {
        /// Which.
        path: String,
    },
    /// The decoder hid a secret.
    #[error("{path} is hidden: decode with --secrets to have it")]
    Hidden {
        /// Which.
        path: String,
    },
    /// A field says one thing, and the bytes another.
    #[error("{path} is not what the message says with the other members; where raw or text is given, it decides")]
    Contradicted {
        /// Which.
        path: String,
    },
    /// Fields alone make a binary message.
    #[error("raw is for messages that are text")]
    RawOfTable,
    /// The fields make no message.
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

/// Makes messages of JSON objects, one after another.
pub fn messages(source: impl BufRead) -> impl Iterator<Item = Result<Crafted, CraftError>> {
    Values::new(source, is_derived).map(|value| craft(value?))
}

fn is_derived(name: &str) -> bool {
    name == BLOCK || DERIVED.contains(&name)
}

fn craft(value: Json) -> Result<Crafted, CraftError> {
    let Json::Object(members) = value else { return Err(CraftError::NoObject) };
    let (mut form, mut fields, mut raw) = (None, None, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("message", Json::Text(name)) if form.is_none() => {
                form = Some(Form::by_name(&name).ok_or(CraftError::NoName)?);
            }
            ("fields", Json::Object(members)) if fields.is_none() => fields = Some(record(members)?),
            ("fields", _) => return Err(CraftError::Value { path: name, due: "one object" }),
            ("raw", Json::Text(digits)) if raw.is_none() => {
                let bytes = hex::decode(digits);
                raw = Some(bytes.map_err(|_| CraftError::Value { path: name, due: "hexadecimal digits" })?);
            }
            ("raw", _) => return Err(CraftError::Value { path: name, due: "hexadecimal digits" }),
            ("message", _) => return Err(CraftError::NoName),
            (derived, _) if is_derived(derived) => {}
            _ => return Err(CraftError::Unknown { path: name }),
        }
    }
    let (form, fields) = (form.ok_or(CraftError::NoName)?, fields.unwrap_or_default());
    let has_raw = raw.is_some();
    if has_raw && matches!(form, Form::Structure(_)) {
        return Err(CraftError::RawOfTable);
    }
    let bytes = raw.map_or_else(|| form.compose(&fields), Ok)?;
    // What is written along a table may be wrong on purpose, and then says something else when it is read.
    if !matches!(form, Form::Structure(_)) {
        match agree::contradiction(form, &fields, &bytes) {
            agree::Reading::Agrees => {}
            agree::Reading::Differs(path) => return Err(CraftError::Contradicted { path }),
            agree::Reading::Nothing if has_raw => return Err(CraftError::Contradicted { path: "message".to_owned() }),
            agree::Reading::Nothing => {}
        }
    }
    Ok(Crafted { form, bytes })
}

fn record(members: Vec<(String, Json)>) -> Result<Vec<Node<'static>>, CraftError> {
    let one = |(name, value): (String, Json)| match known_name(&name) {
        Some(known) => node(known, value).map_err(|error| error.within(&name)),
        None => Err(CraftError::Unknown { path: name }),
    };
    members.into_iter().map(one).collect()
}

fn node(name: &'static str, value: Json) -> Result<Node<'static>, CraftError> {
    let value = match value {
        Json::Number(number) => Value::Integer(number),
        Json::Text(text) if ["SegmentSecret", "Hash", REST].contains(&name) && text == HIDDEN => {
            return Err(CraftError::Hidden { path: String::new() });
        }
        Json::Text(text) => Value::Text(text.into()),
        Json::Object(members) => Value::Record(record(members)?),
        Json::List(items) => {
            let one = |(index, item)| node("", item).map_err(|error| error.within(&format!("[{index}]")));
            Value::List(items.into_iter().enumerate().map(one).collect::<Result<_, _>>()?)
        }
        Json::Other => {
            return Err(CraftError::Value {
                path: String::new(),
                due: "a natural number, text, an array or an object",
            });
        }
    };
    Ok(Node::new(name, value))
}

impl CraftError {
    /// The same of a value that is in this member.
    fn within(mut self, outer: &str) -> Self {
        if let Self::Value { path, .. } | Self::Unknown { path } | Self::Hidden { path } = &mut self {
            let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
            *path = format!("{outer}{dot}{path}");
        }
        self
    }
}
