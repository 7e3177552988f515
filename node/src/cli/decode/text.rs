//! Messages as text: a line for each, and its fields with their offsets below.

use std::fmt::Write as _;
use std::io::{self, Write};

use peerdist_protocol::schema::{Kind, Node, REST, Shown, Value, version_text};
use time::OffsetDateTime;

use super::super::args::ShownArguments;
use super::super::printable::printable;
use super::steps;
use crate::craft::HIDDEN;
use crate::decode::{Asking, Message, Opened, Summary, derived_ids, seconds, what};

/// How many bytes of a field are shown unless all are asked for.
const SHOWN_BYTES: usize = 32;
/// The column of values.
const VALUES: usize = 34;

pub(super) fn message(
    to: &mut dyn Write,
    message: &Message<'_>,
    opened: Option<&Opened>,
    file: Option<&str>,
    shown: &ShownArguments,
) -> io::Result<()> {
    let Message { number, seen, answers, comment, tree, .. } = message;
    let mut line = format!("#{number}");
    if let Some(file) = file {
        let _ = write!(line, "  {}", printable(file));
    }
    if let Some(seen) = seen {
        let _ = write!(line, "  {}  {} -> {}", time_of_day(seen.began), seen.source, seen.destination);
    }
    let _ = write!(line, "  {} {}", tree.protocol, tree.name);
    let what = what(tree);
    if !what.is_empty() {
        let _ = write!(line, ", {}", printable(&what));
    }
    if message.is_cut {
        line.push_str(", cut off");
    }
    if let Some(answered) = answers {
        let _ = write!(line, ", to #{}", answered.number);
        if let Some((request, answer)) = answered.seen.zip(*seen) {
            let _ = write!(line, " after {} s", seconds(answer.ended.saturating_sub(request.began)));
        }
    }
    writeln!(to, "{line}")?;
    if !comment.is_empty() {
        writeln!(to, "  comment: {}", printable(comment))?;
    }
    fields(to, &tree.fields, 0, shown)?;
    for id in derived_ids(tree) {
        writeln!(to, "  derived: HoHoDk {id}")?;
    }
    for fault in &tree.faults {
        writeln!(to, "  {}: {}", if fault.tolerated { "odd" } else { "fault" }, printable(&fault.to_string()))?;
    }
    if let Some(opened) = opened {
        writeln!(to, "  block: {}: {}", opened.verdict.as_str(), opened.reason)?;
        for step in steps(opened, shown) {
            writeln!(to, "    {:<22} {}", step.name, step.how)?;
            writeln!(to, "    {:<22} = {}", "", step.value)?;
        }
    }
    Ok(())
}

fn fields(to: &mut dyn Write, nodes: &[Node<'_>], depth: usize, shown: &ShownArguments) -> io::Result<()> {
    for node in nodes {
        one(to, node, node.name, depth, shown)?;
    }
    Ok(())
}

fn one(to: &mut dyn Write, node: &Node<'_>, name: &str, depth: usize, shown: &ShownArguments) -> io::Result<()> {
    let is_pad = matches!(node.field.map(|field| field.kind), Some(Kind::ZeroPad));
    let is_rest = node.name == REST;
    if (is_pad || is_rest) && node.size == 0 {
        return Ok(());
    }
    let name = if is_rest { "(not read)" } else { name };
    let indent = 2 * depth;
    let width = VALUES.saturating_sub(indent);
    match &node.value {
        Value::Record(inner) => {
            writeln!(to, "  {:>6}  {:indent$}{name}", node.offset, "")?;
            fields(to, inner, depth + 1, shown)
        }
        Value::List(items) => {
            writeln!(to, "  {:>6}  {:indent$}{name} ({})", node.offset, "", items.len())?;
            for (index, item) in items.iter().enumerate() {
                one(to, item, &format!("{}[{index}]", item.name), depth + 1, shown)?;
            }
            Ok(())
        }
        value => {
            let shown = leaf(node, value, shown);
            writeln!(to, "  {:>6}  {:indent$}{name:<width$} {shown}", node.offset, "")
        }
    }
}

fn leaf(node: &Node<'_>, value: &Value<'_>, shown: &ShownArguments) -> String {
    let style = node.field.and_then(|field| match field.kind {
        Kind::Integer { shown, .. } => Some(shown),
        _ => None,
    });
    match (value, style) {
        _ if node.field.is_some_and(|field| field.secret) && !shown.secrets => HIDDEN.to_owned(),
        (Value::Integer(number), Some(Shown::Version)) => version_text(*number),
        (Value::Integer(number), Some(Shown::Named(names))) => match names.name_of(*number) {
            Some(name) => format!("{number} ({name})"),
            None => format!("{number} (unknown)"),
        },
        (Value::Integer(number), _) => number.to_string(),
        (Value::Bytes(bytes), _) if bytes.len() > SHOWN_BYTES && bytes.len() > 64 && !shown.full => {
            let first = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
            format!("{}.. ({} bytes)", hex::encode_upper(first), bytes.len())
        }
        (Value::Bytes(bytes), _) if bytes.is_empty() => "(none)".to_owned(),
        (Value::Bytes(bytes), _) => hex::encode_upper(bytes),
        (Value::Text(text), _) => printable(text),
        (Value::Record(_) | Value::List(_), _) => String::new(),
    }
}

/// The time of day in UTC.
fn time_of_day(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000 % 86_400;
    let micros = nanoseconds % 1_000_000_000 / 1000;
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Day and time of day in UTC.
fn day_and_time(nanoseconds: u64) -> String {
    let time = OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_nanos(nanoseconds);
    format!("{} {}Z", time.date(), time_of_day(nanoseconds))
}

pub(super) fn asking(to: &mut dyn Write, asking: &Asking) -> io::Result<()> {
    let words = |name: &'static str, text: &str| match text {
        "" => name.to_owned(),
        text => format!("{name} {}", printable(text)),
    };
    let request = asking.request.map(|name| words(name, &asking.what));
    let answer = match asking.answer {
        Some(name) => words(name, &asking.result),
        None => printable(&asking.result),
    };
    let mut line = String::new();
    if let Some(began) = asking.began {
        let _ = write!(line, "{}  ", day_and_time(began));
    }
    match (&asking.client, &asking.server) {
        (Some(client), Some(server)) => {
            let _ = write!(line, "{client} asks {server}: ");
            line.push_str(request.as_deref().unwrap_or("a request that was not seen"));
            line.push_str(" -> ");
        }
        // A message that came alone.
        _ => line.extend(request.map(|request| request + " -> ")),
    }
    line.push_str(&answer);
    if let Some(took) = &asking.took {
        let _ = write!(line, ", {took} s");
    }
    writeln!(to, "{line}")
}

pub(super) fn hosts(to: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    for (address, host) in summary.hosts() {
        let address = address.map_or_else(|| "others".to_owned(), |address| address.to_string());
        writeln!(
            to,
            "{address}: asked {}, of which {} got no answer; answered {}; sent {} blocks, {} bytes, \
             of which {} are right and {} wrong; {} times not held; {} malformed messages, {} cut off",
            host.asked,
            host.unanswered,
            host.answered,
            host.blocks_sent,
            host.block_bytes_sent,
            host.blocks_right,
            host.blocks_wrong,
            host.blocks_not_held,
            host.malformed,
            host.cut_off,
        )?;
    }
    Ok(())
}
