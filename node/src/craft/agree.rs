//! Whether fields say what the bytes say that they stand beside.

use peerdist_protocol::schema::{Form, Node, Value};

use crate::decode::{Decoder, Event};

/// What reading the bytes again showed.
pub(super) enum Reading {
    /// They say what the fields say.
    Agrees,
    /// They say something else of this field; `message` where they are another message.
    Differs(String),
    /// There is nothing of the protocols in them.
    Nothing,
}

/// Reads bytes as a message and compares it with the fields that are given; others may be there.
pub(super) fn contradiction(form: Form, given: &[Node<'_>], bytes: &[u8]) -> Reading {
    let mut reading = Reading::Nothing;
    Decoder::new().message(form, bytes, &mut |event| {
        if let Event::Message(message) = event {
            reading = match members(given, &message.tree.fields) {
                _ if message.tree.name != form.name() => Reading::Differs("message".to_owned()),
                Ok(()) => Reading::Agrees,
                Err(path) => Reading::Differs(path),
            };
        }
    });
    reading
}

/// The path of the first member that differs. Those of one name are compared in their order.
fn members(given: &[Node<'_>], read: &[Node<'_>]) -> Result<(), String> {
    for (index, value) in given.iter().enumerate() {
        let earlier = given.iter().take(index).filter(|other| other.name == value.name).count();
        let found = read.iter().filter(|other| other.name == value.name).nth(earlier);
        let found = found.ok_or_else(|| value.name.to_owned())?;
        same(value, found).map_err(|inner| join(value.name, &inner))?;
    }
    Ok(())
}

fn same(given: &Node<'_>, read: &Node<'_>) -> Result<(), String> {
    let is_same = match (&given.value, &read.value) {
        (Value::Record(given), Value::Record(read)) => return members(given, read),
        (Value::List(given), Value::List(read)) => {
            for (index, pair) in given.iter().zip(read).enumerate() {
                same(pair.0, pair.1).map_err(|inner| join(&format!("[{index}]"), &inner))?;
            }
            given.len() == read.len()
        }
        // Text in the place of what is in it.
        (Value::Text(_), Value::Record(_)) => {
            return read.child("text").map_or_else(|| Err(String::new()), |text| same(given, text));
        }
        (Value::Text(text), Value::Bytes(bytes)) => hex::decode(text.as_ref()).is_ok_and(|given| given == bytes[..]),
        (Value::Text(text), Value::Integer(number)) | (Value::Integer(number), Value::Text(text)) => {
            text.parse() == Ok(*number)
        }
        (given, read) => given == read,
    };
    if is_same { Ok(()) } else { Err(String::new()) }
}

fn join(outer: &str, inner: &str) -> String {
    let dot = if inner.is_empty() || inner.starts_with('[') { "" } else { "." };
    format!("{outer}{dot}{inner}")
}
