//! What two decodes of the same story must have in common.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use crate::lab::EPHEMERAL_PORTS;

/// Members that differ from one making to the next: times and random numbers, and what is encrypted with these.
const DIFFERS: [&str; 13] = [
    "number",
    "time",
    "ended",
    "took",
    "MessageID",
    "InstanceId",
    "SegmentAge",
    "Address",
    "RequestID",
    "IVBlock",
    "Block",
    "ETag",
    // The bytes of what holds the others.
    "raw",
];

/// Members that repeat what differs: that they do is the same every time.
const REPEATS: [&str; 2] = ["RelatesTo", "If-Match"];

/// Members with a time in a form of its own.
const HTTP_TIME: &str = "Last-Modified";

/// Members with addresses whose ports the system chooses.
const ADDRESSES: [&str; 4] = ["source", "destination", "Host", "XAddrs"];

/// Something that one of two decodes has more often than the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A message of the first one.
    Missing(String),
    /// A message of the second one.
    New(String),
}

/// What differs between two decodes beside what must. The order is no difference: requests go side by side. Nor are the
/// copies of a Probe: they are sent until an answer comes.
pub fn differences(old: &[Value], new: &[Value]) -> Vec<Difference> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for message in constants(old) {
        *counts.entry(message).or_default() -= 1;
    }
    for message in constants(new) {
        *counts.entry(message).or_default() += 1;
    }
    let differs = counts.into_iter().flat_map(|(message, count)| {
        let one = if count < 0 { Difference::Missing(message) } else { Difference::New(message) };
        std::iter::repeat_n(one, usize::try_from(count.unsigned_abs()).unwrap_or_default())
    });
    differs.collect()
}

/// Each message without what differs.
fn constants(messages: &[Value]) -> impl Iterator<Item = String> {
    let mut seen = HashSet::new();
    let mut probes = HashSet::new();
    messages.iter().filter(move |message| !is_probe(message) || probes.insert(copies(message))).map(move |message| {
        let mut constant = message.clone();
        if let Value::Object(members) = &mut constant {
            if members.get("protocol").is_some_and(|protocol| protocol == "MS-PCCRTP") {
                // The heads hold ports and entity tags of any length.
                members.remove("size");
            }
            if let Some(answers) = members.get_mut("answers") {
                *answers = Value::Bool(true);
            }
            blank(members, &mut seen);
        }
        constant.to_string()
    })
}

fn is_probe(message: &Value) -> bool {
    message["message"] == "Probe"
}

/// What all copies of a Probe have in common: on which network they go, and the id.
fn copies(probe: &Value) -> [String; 2] {
    [probe["destination"].to_string(), probe["fields"]["MessageID"].to_string()]
}

fn blank(members: &mut Map<String, Value>, seen: &mut HashSet<String>) {
    for (name, value) in members {
        match value {
            Value::Object(members) => {
                if name == "SegmentAges" {
                    // The ages once more, in base64.
                    members.remove("text");
                }
                blank(members, seen);
            }
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| blank(item, seen)),
            _ if DIFFERS.contains(&name.as_str()) => {
                seen.insert(value.to_string());
                *value = "(differs)".into();
            }
            _ if REPEATS.contains(&name.as_str()) => *value = seen.contains(&value.to_string()).into(),
            Value::String(_) if name == HTTP_TIME => *value = "(differs)".into(),
            Value::String(text) if ADDRESSES.contains(&name.as_str()) => *text = without_ephemeral_port(text),
            _ => {}
        }
    }
}

fn without_ephemeral_port(address: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port)) if port.parse().is_ok_and(|port: u16| EPHEMERAL_PORTS.contains(&port)) => {
            format!("{host}:(any)")
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn probe(number: u64, id: &str, source: &str) -> Value {
        json!({"number": number, "source": source, "message": "Probe", "fields": {"MessageID": id, "Types": "a"}})
    }

    #[test]
    fn ids_ports_order_and_copies_may_differ() {
        let answer = |id: &str| json!({"number": 3, "answers": 1, "fields": {"MessageID": "x", "RelatesTo": id}});
        let old = [probe(1, "a", "10.0.0.1:40000"), probe(2, "b", "10.0.0.2:80"), answer("a")];
        let new = [probe(1, "c", "10.0.0.2:80"), probe(2, "d", "10.0.0.1:50000"), answer("d")];
        assert_eq!(differences(&old, &new), []);
        let repeated = [old[0].clone(), old[0].clone(), old[1].clone(), old[2].clone()];
        assert_eq!(differences(&old, &repeated), []);
    }

    #[test]
    fn everything_else_is_told() {
        let old = [probe(1, "a", "10.0.0.1:40000"), json!({"fields": {"MessageID": "b", "RelatesTo": "a"}})];
        for changed in [
            vec![old[0].clone()],
            vec![old[0].clone(), old[1].clone(), old[1].clone()],
            vec![old[0].clone(), probe(2, "b", "10.0.0.1:40000"), old[1].clone()],
            vec![probe(1, "a", "10.0.0.2:40000"), old[1].clone()],
            vec![probe(1, "a", "10.0.0.1:80"), old[1].clone()],
            vec![old[0].clone(), json!({"fields": {"MessageID": "b", "RelatesTo": "other"}})],
            vec![old[0].clone(), json!({"fields": {"MessageID": "b", "RelatesTo": "a"}, "faults": [1]})],
        ] {
            assert_ne!(differences(&old, &changed), [], "{changed:?}");
        }
    }
}
