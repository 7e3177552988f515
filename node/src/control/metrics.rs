//! The numbers of the status in the text format of Prometheus (version 0.0.4).
//!
//! A metric's name is the number's place in the status, so that both always say the same: `cache.hits` becomes
//! `peerdist_cache_hits_total`. Members of an object of reasons or outcomes become one metric with the label `reason`. The hosted
//! caches of a hosted client, which are those of its configuration, have the label `server`. Other lists (such as interfaces and
//! peers) are left out: labels that grow without bound are a burden to whoever stores them.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

/// The media type of the text format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Objects whose members are reasons or outcomes of one thing that is counted.
const BY_REASON: [&str; 13] = [
    "answers_dropped",
    "discarded",
    "exchanges",
    "failed",
    "ignored",
    "missing",
    "offers_discarded",
    "offers_failed",
    "probes_dropped",
    "probes_heard",
    "pulls_failed",
    "refused",
    "timed_out",
];

/// What is told of each hosted cache of a hosted client, beside the reasons of failed offers and whether it is in use.
const OF_SERVER: [&str; 9] =
    ["asked", "blocks", "bytes", "failures", "lists", "offers_answered", "offers_sent", "segments_listed", "waiting"];

/// Numbers that go up and down; all others only grow while the daemon runs.
const GAUGES: [&str; 20] = [
    "peerdist_api_contents",
    "peerdist_api_sessions",
    "peerdist_api_staged_bytes",
    "peerdist_api_users",
    "peerdist_cache_blocks",
    "peerdist_cache_bytes_on_disk",
    "peerdist_cache_limit",
    "peerdist_cache_limit_now",
    "peerdist_cache_live_bytes",
    "peerdist_cache_packs",
    "peerdist_cache_segments",
    "peerdist_hosted_cache_known_segments",
    "peerdist_hosted_cache_pulling",
    "peerdist_hosted_cache_queued",
    "peerdist_hosted_cache_sources_out",
    "peerdist_hosted_client_offers_waiting",
    "peerdist_hosted_client_server_waiting",
    "peerdist_serving_open_connections",
    "peerdist_serving_uploads",
    "peerdist_uptime_seconds",
];

/// The text of all numbers in `status`.
pub(super) fn text(status: &impl Serialize) -> String {
    let mut text = String::new();
    if let Ok(Value::Object(status)) = serde_json::to_value(status) {
        if let Some(Value::String(version)) = status.get("version") {
            let version = label(version);
            let _ = writeln!(text, "# TYPE peerdist_build_info gauge\npeerdist_build_info{{version=\"{version}\"}} 1");
        }
        write_object(&mut text, "peerdist", &status);
    }
    text
}

fn write_object(text: &mut String, prefix: &str, object: &Map<String, Value>) {
    for (key, value) in object {
        let name = format!("{prefix}_{}", snake_case(key));
        match value {
            Value::Number(number) if GAUGES.contains(&name.as_str()) => {
                let _ = writeln!(text, "# TYPE {name} gauge\n{name} {number}");
            }
            Value::Number(number) => {
                let _ = writeln!(text, "# TYPE {name}_total counter\n{name}_total {number}");
            }
            Value::Object(reasons) if BY_REASON.contains(&key.as_str()) => write_reasons(text, &name, reasons),
            Value::Object(members) => write_object(text, &name, members),
            Value::Array(servers) if name == "peerdist_hosted_client_servers" => write_servers(text, servers),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
        }
    }
}

fn write_servers(text: &mut String, servers: &[Value]) {
    let servers: Vec<_> =
        servers.iter().filter_map(|server| Some((label(server.get("name")?.as_str()?), server))).collect();
    if servers.is_empty() {
        return;
    }
    for member in OF_SERVER {
        let name = format!("peerdist_hosted_client_server_{member}");
        let (name, kind) = if GAUGES.contains(&name.as_str()) { (name, "gauge") } else { (name + "_total", "counter") };
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for (server, number) in servers.iter().filter_map(|(name, server)| Some((name, server.get(member)?))) {
            let _ = writeln!(text, "{name}{{server=\"{server}\"}} {number}");
        }
    }
    let name = "peerdist_hosted_client_server_offers_failed_total";
    let _ = writeln!(text, "# TYPE {name} counter");
    for (server, reasons) in servers.iter().filter_map(|(name, server)| Some((name, server.get("offers_failed")?))) {
        for (reason, count) in reasons.as_object().into_iter().flatten() {
            let _ = writeln!(text, "{name}{{server=\"{server}\",reason=\"{}\"}} {count}", snake_case(reason));
        }
    }
    let name = "peerdist_hosted_client_server_in_use";
    let _ = writeln!(text, "# TYPE {name} gauge");
    for (server, state) in servers.iter().filter_map(|(name, server)| Some((name, server.get("state")?))) {
        let _ = writeln!(text, "{name}{{server=\"{server}\"}} {}", u8::from(state == "in_use"));
    }
}

/// A label's value without what would end it.
fn label(value: &str) -> String {
    value.replace(['\\', '"', '\n'], "_")
}

fn write_reasons(text: &mut String, name: &str, reasons: &Map<String, Value>) {
    let _ = writeln!(text, "# TYPE {name}_total counter");
    for (reason, count) in reasons.iter().filter(|(_, count)| count.is_number()) {
        let _ = writeln!(text, "{name}_total{{reason=\"{}\"}} {count}", snake_case(reason));
    }
}

/// Letters, digits and underscores alone, which is what names may have.
fn snake_case(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_place_as_its_name() {
        let status = serde_json::json!({
            "version": "1.0",
            "mode": "distributed",
            "interfaces": [{"name": "eth0", "probes": 1}],
            "cache": {"hits": 5, "blocks": 7, "paused": null, "refused": {"disk-full": 1, "closed": 0}},
            "discovery": {"server": {"probes": 3}},
        });
        let expected = "\
# TYPE peerdist_build_info gauge
peerdist_build_info{version=\"1.0\"} 1
# TYPE peerdist_cache_blocks gauge
peerdist_cache_blocks 7
# TYPE peerdist_cache_hits_total counter
peerdist_cache_hits_total 5
# TYPE peerdist_cache_refused_total counter
peerdist_cache_refused_total{reason=\"closed\"} 0
peerdist_cache_refused_total{reason=\"disk_full\"} 1
# TYPE peerdist_discovery_server_probes_total counter
peerdist_discovery_server_probes_total 3
";
        assert_eq!(text(&status), expected);
    }

    #[test]
    fn each_hosted_cache_of_a_hosted_client_has_its_own_numbers() {
        let server = |name: &str, state: &str, number: u64| {
            let mut server: Map<_, _> = OF_SERVER.iter().map(|member| ((*member).to_owned(), number.into())).collect();
            server.insert("name".to_owned(), name.into());
            server.insert("state".to_owned(), state.into());
            server.insert("offers_failed".to_owned(), serde_json::json!({"timed_out": number}));
            Value::Object(server)
        };
        let servers = [server("cache-1", "in_use", 1), server("2001:db8::1", "left_alone", 2)];
        let offers = serde_json::json!({"failed": {"timed_out": 3}});
        let text = text(&serde_json::json!({"hosted_client": {"bytes": 3, "offers": offers, "servers": servers}}));
        let expected = [
            "# TYPE peerdist_hosted_client_bytes_total counter\npeerdist_hosted_client_bytes_total 3\n",
            "# TYPE peerdist_hosted_client_server_bytes_total counter\n\
             peerdist_hosted_client_server_bytes_total{server=\"cache-1\"} 1\n\
             peerdist_hosted_client_server_bytes_total{server=\"2001:db8::1\"} 2\n",
            "# TYPE peerdist_hosted_client_server_waiting gauge\n\
             peerdist_hosted_client_server_waiting{server=\"cache-1\"} 1\n",
            "peerdist_hosted_client_offers_failed_total{reason=\"timed_out\"} 3\n",
            "peerdist_hosted_client_server_offers_failed_total{server=\"2001:db8::1\",reason=\"timed_out\"} 2\n",
            "# TYPE peerdist_hosted_client_server_in_use gauge\n\
             peerdist_hosted_client_server_in_use{server=\"cache-1\"} 1\n\
             peerdist_hosted_client_server_in_use{server=\"2001:db8::1\"} 0\n",
        ];
        for lines in expected {
            assert!(text.contains(lines), "{text}");
        }
        let types: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(types.len(), 1 + OF_SERVER.len() + 3, "each once");
        assert!(!super::text(&serde_json::json!({"hosted_client": {"servers": []}})).contains("server"));
    }
}
