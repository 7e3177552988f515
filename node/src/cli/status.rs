//! `peerdist status`: what the daemon does.

use std::io::{self, Write};

use serde_json::Value;

use super::{Failure, Output, StatusArguments};
use crate::control::client::AdminClient;

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
        let name = name.replace('_', " ");
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
}
