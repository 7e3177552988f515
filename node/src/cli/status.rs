//! `peerdist status`: what the daemon does.

use std::io::{self, Write};

use serde::Deserialize as _;
use serde_json::Value;

use super::{Failure, Output, StatusArguments};
use crate::control::client::AdminClient;
use crate::hosted_client::HostedClientStatus;

/// Prints the daemon's status.
pub async fn run(arguments: StatusArguments) -> Result<(), Failure> {
    let status = AdminClient::from_env().status().await?;
    Output::new(arguments.json).print(&status, |status, to| write_value(to, status, 0))
}

/// An object as lines of names and values, its objects indented below their names.
pub(super) fn write_value(to: &mut dyn Write, value: &Value, indent: usize) -> io::Result<()> {
    let Value::Object(members) = value else { return writeln!(to, "{}", plain(value)) };
    let width = members.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in members {
        let words = in_words(name, value);
        let name = name.replace('_', " ");
        if let Some(words) = words {
            writeln!(to, "{:indent$}{name}", "")?;
            for line in words.lines() {
                let indent = if line.is_empty() { 0 } else { indent + 2 };
                writeln!(to, "{:indent$}{line}", "")?;
            }
            continue;
        }
        match value {
            Value::Object(_) => {
                writeln!(to, "{:indent$}{name}", "")?;
                write_value(to, value, indent + 2)?;
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                writeln!(to, "{:indent$}{name}", "")?;
                for item in items {
                    writeln!(to, "{:indent$}- {}", "", in_one_line(item), indent = indent + 2)?;
                }
            }
            _ => writeln!(to, "{:indent$}{name:width$}  {}", "", plain(value))?,
        }
    }
    Ok(())
}

/// The parts of the status that say themselves what people want to read.
fn in_words(name: &str, value: &Value) -> Option<String> {
    match name {
        "hosted_client" => Some(HostedClientStatus::deserialize(value).ok()?.to_string()),
        _ => None,
    }
}

fn in_one_line(item: &Value) -> String {
    match item {
        Value::Object(members) => {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
            members.join(", ")
        }
        other => plain(other),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_member() {
        let status = serde_json::json!({
            "uptime_seconds": 5,
            "listeners": ["0.0.0.0:80", "[::]:80"],
            "interfaces": [{"name": "eth0", "up": true}],
            "cache": {"paused": null, "refused": {"closed": 0}},
        });
        let mut text = Vec::new();
        write_value(&mut text, &status, 0).unwrap();
        let expected = "\
cache
  paused   -
  refused
    closed  0
interfaces
  - name eth0, up yes
listeners       0.0.0.0:80 [::]:80
uptime seconds  5
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn hosted_caches_of_a_client_are_told_in_words() {
        let offers = serde_json::json!({
            "waiting": 0, "sent": 0, "answered": 0, "segments": 0, "failed": {}, "dropped": 0, "given_up": 0,
            "not_expressible": 0,
        });
        let server = serde_json::json!({
            "name": "cache-1", "addresses": [], "has_no_list": false, "lookup_error": null, "state": "not_asked",
            "out": null, "out_for_s": null, "asked": 0, "failures": 0, "lists": 0, "segments_listed": 0, "blocks": 0,
            "bytes": 0, "last_error": null, "last_error_age_s": null, "waiting": 0, "offers_sent": 0,
            "offers_answered": 0, "offers_failed": {}, "no_offers_for_s": null, "last_offer_error": null,
            "last_offer_error_age_s": null,
        });
        let status = serde_json::json!({"mode": "hosted-client", "hosted_client": {
            "version": "2.0", "fallback": "origin", "lists": 0, "segments_listed": 0, "blocks": 0, "bytes": 0,
            "offers": offers, "servers": [server],
        }});
        let mut text = Vec::new();
        write_value(&mut text, &status, 0).unwrap();
        let expected = "\
hosted client
  while no hosted cache can be reached, everything comes from the origin

  cache-1 (address not known yet)
    not asked yet
    gave 0 B in 0 blocks
    said 0 times which segments it has: 0 in all
    took 0 of 0 offers
    segments that wait to be offered to it: 0

  offers, of version 2.0, in all
    0 sent, 0 answered, of 0 segments
    segments that wait: 0
mode           hosted-client
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
