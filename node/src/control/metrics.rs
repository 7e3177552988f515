//! The numbers of the status in the text format of Prometheus (version 0.0.4).
//!
//! A metric's name is the number's place in the status, so that both always say the same: `cache.hits` becomes
//! `peerdist_cache_hits_total`. Members of an object of reasons or outcomes become one metric with the label `reason`. Lists (such as
//! interfaces and peers) are left out: labels that grow without bound are a burden to whoever stores them.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

/// The media type of the text format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Objects whose members are reasons or outcomes of one thing that is counted.
const BY_REASON: [&str; 12] = [
    "answers_dropped",
    "discarded",
    "exchanges",
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

/// Numbers that go up and down; all others only grow while the daemon runs.
const GAUGES: [&str; 19] = [
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
    "peerdist_serving_open_connections",
    "peerdist_serving_uploads",
    "peerdist_uptime_seconds",
];

/// The text of all numbers in `status`.
pub(super) fn text(status: &impl Serialize) -> String {
    let mut text = String::new();
    if let Ok(Value::Object(status)) = serde_json::to_value(status) {
        if let Some(Value::String(version)) = status.get("version") {
            let version = version.replace(['\\', '"', '\n'], "_");
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
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
        }
    }
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
}
