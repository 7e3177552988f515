//! Messages as JSON: one object a line, fields in the order of the bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};

use peerdist_protocol::schema::{Kind, Node, Shown, Tree, Value, version_text};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use super::super::args::ShownArguments;
use super::super::printable::json;
use super::steps;
use crate::craft::HIDDEN;
use crate::decode::{Asking, Host, Message, Opened, Summary, derived_ids, seconds};

/// A message as it is printed.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    protocol: &'static str,
    section: &'static str,
    message: &'static str,
    size: usize,
    fields: Record<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    segment_ids: Vec<String>,
    faults: Vec<PrintedFault<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<Block<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layout: Option<Vec<(String, usize, usize)>>,
}

#[derive(Serialize)]
struct PrintedFault<'a> {
    offset: usize,
    field: &'a str,
    rule: &'a str,
    section: &'a str,
    tolerated: bool,
}

#[derive(Serialize)]
struct Block<'a> {
    verdict: &'static str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    working: Vec<Step<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    name: &'static str,
    how: &'a str,
    value: &'a str,
}

/// The fields of a structure as an object, in their order.
struct Record<'a> {
    nodes: &'a [Node<'a>],
    secrets: bool,
}

/// The value of a field.
struct Shape<'a> {
    node: &'a Node<'a>,
    secrets: bool,
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.nodes.len()))?;
        for node in self.nodes {
            map.serialize_entry(node.name, &Shape { node, secrets: self.secrets })?;
        }
        map.end()
    }
}

impl Serialize for Shape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { node, secrets } = *self;
        let field = node.field;
        match &node.value {
            _ if field.is_some_and(|field| field.secret) && !secrets => serializer.serialize_str(HIDDEN),
            Value::Integer(number) => match field.map(|field| field.kind) {
                Some(Kind::Integer { shown: Shown::Version, .. }) => serializer.serialize_str(&version_text(*number)),
                _ => serializer.serialize_u64(*number),
            },
            Value::Bytes(bytes) => serializer.serialize_str(&hex::encode_upper(bytes)),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Record(nodes) => Record { nodes, secrets }.serialize(serializer),
            Value::List(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for node in items {
                    sequence.serialize_element(&Shape { node, secrets })?;
                }
                sequence.end()
            }
        }
    }
}

pub(super) fn message(
    to: &mut dyn Write,
    message: &Message<'_>,
    opened: Option<&Opened>,
    file: Option<&str>,
    shown: &ShownArguments,
) -> io::Result<()> {
    let Message { number, seen, answers, comment, tree, .. } = message;
    let request = answers.as_ref().and_then(|answered| answered.seen);
    let took = request.zip(*seen).map(|(request, answer)| seconds(answer.ended.saturating_sub(request.began)));
    let block = opened.map(|opened| Block {
        verdict: opened.verdict.as_str(),
        reason: &opened.reason,
        working: steps(opened, shown)
            .iter()
            .map(|step| Step { name: step.name, how: &step.how, value: &step.value })
            .collect(),
    });
    let printed = Printed {
        file,
        number: *number,
        time: seen.map(|seen| seconds(seen.began)),
        ended: seen.map(|seen| seconds(seen.ended)),
        source: seen.map(|seen| seen.source.to_string()),
        destination: seen.map(|seen| seen.destination.to_string()),
        transport: seen.map(|seen| seen.over.as_str()),
        answers: answers.as_ref().map(|answered| answered.number),
        took,
        comment,
        protocol: tree.protocol,
        section: tree.section,
        message: tree.name,
        size: tree.size,
        fields: Record { nodes: &tree.fields, secrets: shown.secrets },
        raw: tree.raw().map(hex::encode_upper),
        segment_ids: derived_ids(tree).map(|id| id.to_string()).collect(),
        faults: tree
            .faults
            .iter()
            .map(|fault| PrintedFault {
                offset: fault.offset,
                field: &fault.field,
                rule: &fault.rule,
                section: &fault.section,
                tolerated: fault.tolerated,
            })
            .collect(),
        block,
        layout: shown.layout.then(|| layout(tree)),
    };
    json(to, &printed)?;
    writeln!(to)
}

/// Path, offset and size of every field.
fn layout(tree: &Tree<'_>) -> Vec<(String, usize, usize)> {
    fn walk(nodes: &[Node<'_>], prefix: &str, is_list: bool, out: &mut Vec<(String, usize, usize)>) {
        for (index, node) in nodes.iter().enumerate() {
            let path = match (is_list, prefix) {
                (true, _) => format!("{prefix}[{index}]"),
                (false, "") => node.name.to_owned(),
                (false, _) => format!("{prefix}.{}", node.name),
            };
            out.push((path.clone(), node.offset, node.size));
            walk(node.children(), &path, matches!(node.value, Value::List(_)), out);
        }
    }
    let mut out = Vec::new();
    walk(&tree.fields, "", false, &mut out);
    out
}

#[derive(Serialize)]
struct PrintedAsking<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(flatten)]
    asking: &'a Asking,
}

pub(super) fn asking(to: &mut dyn Write, asking: &Asking, file: Option<&str>) -> io::Result<()> {
    json(to, &PrintedAsking { file, asking })?;
    writeln!(to)
}

#[derive(Serialize)]
struct Hosts<'a> {
    hosts: BTreeMap<String, &'a Host>,
}

pub(super) fn hosts(to: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    let name = |address: Option<std::net::IpAddr>| address.map_or_else(|| "others".to_owned(), |ip| ip.to_string());
    let hosts = summary.hosts().map(|(address, host)| (name(address), host)).collect();
    json(to, &Hosts { hosts })?;
    writeln!(to)
}
