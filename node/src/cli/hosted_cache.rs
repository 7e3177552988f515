//! `peerdist hosted-cache status`: what the daemon does in hosted mode.

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::status::write_value;
use super::{Failure, HostedCacheArguments, HostedCacheVerb, Output};
use crate::control::client::AdminClient;
use crate::hosted_client::HostedClientStatus;

/// The parts of the daemon's status that hosted mode has.
const PARTS: [&str; 2] = ["hosted_cache", "hosted_client"];

/// Does what one of the verbs says.
pub async fn run(arguments: HostedCacheArguments) -> Result<(), Failure> {
    let HostedCacheVerb::Status(arguments) = arguments.verb;
    let status = serde_json::to_value(AdminClient::from_env().status().await?).unwrap_or_default();
    Output::new(arguments.json).print(&parts(&status), write_parts)
}

/// The mode, and the parts of the status that are there.
fn parts(status: &Value) -> Value {
    let member = |name: &&str| {
        let part = status.get(*name).filter(|part| !part.is_null())?;
        Some(((*name).to_owned(), part.clone()))
    };
    Value::Object(["mode"].iter().chain(&PARTS).filter_map(member).collect::<Map<_, _>>())
}

fn write_parts(parts: &Value, to: &mut dyn Write) -> io::Result<()> {
    let mode = parts.get("mode").and_then(Value::as_str).unwrap_or("unknown");
    let mut shown = PARTS.iter().filter_map(|name| parts.get(*name)).peekable();
    if shown.peek().is_none() {
        return writeln!(
            to,
            "The daemon is in mode \"{mode}\". It is a hosted cache in mode \"hosted-cache\", and uses hosted caches in mode \"hosted-client\"."
        );
    }
    writeln!(to, "mode  {mode}")?;
    shown.try_for_each(|part| match HostedClientStatus::deserialize(part) {
        Ok(client) => write!(to, "{client}"),
        Err(_) => write_value(to, part, 0),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(status: &Value) -> String {
        let mut text = Vec::new();
        write_parts(&parts(status), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn hosted_mode_is_shown_and_every_other_mode_is_named() {
        let status = json!({
            "mode": "hosted-cache",
            "cache": {"blocks": 1},
            "hosted_cache": {"queued": 5, "ignored": {"source": 2}, "listeners": [{"address": "[::]:80", "version": "2.0"}]},
            "hosted_client": null,
        });
        let expected = "\
mode  hosted-cache
ignored
  source  2
listeners
  - address [::]:80, version 2.0
queued     5
";
        assert_eq!(text(&status), expected);
        assert_eq!(parts(&status), json!({"mode": status["mode"], "hosted_cache": status["hosted_cache"]}));
        let client = json!({"mode": "hosted-client", "hosted_client": {
            "version": "2.0", "fallback": "origin", "lists": 0, "segments_listed": 0, "blocks": 0, "bytes": 0,
            "offers": {"waiting": 0, "sent": 0, "answered": 0, "segments": 0, "failed": {}, "dropped": 0,
                       "given_up": 0, "not_expressible": 0},
            "servers": [],
        }});
        assert!(text(&client).starts_with("mode  hosted-client\nwhile no hosted cache can be reached, "));
        // A daemon of another version may say other things.
        let newer = json!({"mode": "hosted-client", "hosted_client": {"moon": "full"}});
        assert_eq!(text(&newer), "mode  hosted-client\nmoon  full\n");
        let other = json!({"mode": "distributed", "hosted_cache": null, "hosted_client": null});
        assert!(text(&other).starts_with("The daemon is in mode \"distributed\"."));
        assert_eq!(parts(&other), json!({"mode": "distributed"}));
    }
}
