//! What a changed configuration changes while the daemon runs, and what has to wait for a restart.

use toml::{Table, Value};

use crate::config::Config;
use crate::control::wire::Reloaded;

/// Keys whose new values apply at once. The annotated configuration marks them with "(reload)".
const AT_ONCE: [&str; 10] = [
    "cache.keep_free",
    "cache.max_age",
    "cache.size",
    "control.max_contents_per_user",
    "control.max_publications_per_user",
    "control.max_sessions_per_user",
    "control.max_staged_per_user",
    "discovery.interfaces",
    "log.filter",
    "node.enabled",
];

/// Takes from `new` what applies at once into `running`, and says what that is and what is left.
pub(super) fn apply(running: &mut Config, new: &Config) -> Reloaded {
    let changed = changed_keys(running, new);
    let (applied, needs_restart): (Vec<_>, Vec<_>) =
        changed.into_iter().partition(|key| AT_ONCE.contains(&key.as_str()));
    running.cache.keep_free = new.cache.keep_free;
    running.cache.max_age = new.cache.max_age;
    running.cache.size = new.cache.size;
    running.control.max_contents_per_user = new.control.max_contents_per_user;
    running.control.max_publications_per_user = new.control.max_publications_per_user;
    running.control.max_sessions_per_user = new.control.max_sessions_per_user;
    running.control.max_staged_per_user = new.control.max_staged_per_user;
    running.discovery.interfaces = new.discovery.interfaces.clone();
    running.node.enabled = new.node.enabled;
    running.log.filter = new.log.filter.clone();
    Reloaded { applied, needs_restart }
}

/// `section.key` of every value that differs.
fn changed_keys(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (keys(old), keys(new));
    new.into_iter().filter(|entry| !old.contains(entry)).map(|(key, _)| key).collect()
}

fn keys(config: &Config) -> Vec<(String, Value)> {
    // A configuration is made of tables, texts and numbers, all of which TOML can hold.
    let table = Table::try_from(config).unwrap_or_default();
    let mut keys = Vec::new();
    for (section, values) in table {
        if let Value::Table(values) = values {
            keys.extend(values.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::DEFAULT_FILE;

    fn parse(text: &str) -> Config {
        Config::parse(text, Path::new("test.toml")).unwrap()
    }

    #[test]
    fn what_applies_at_once_is_taken_and_the_rest_is_named() {
        let mut running = Config::default();
        let new = parse("[node]\nport = 81\n[cache]\nsize = \"1 GiB\"\n[log]\nfilter = \"debug\"");
        let reloaded = apply(&mut running, &new);
        assert_eq!(reloaded.applied, ["cache.size", "log.filter"]);
        assert_eq!(reloaded.needs_restart, ["node.port"]);
        assert_eq!(running, parse("[cache]\nsize = \"1 GiB\"\n[log]\nfilter = \"debug\""));
        let again = apply(&mut running, &new);
        assert_eq!((again.applied.len(), again.needs_restart.len()), (0, 1), "the port still waits for a restart");
    }

    #[test]
    fn every_key_that_applies_at_once_does() {
        let new = parse(
            "[cache]\nkeep_free = 1\nmax_age = \"1d\"\nsize = \"1 GiB\"\n[control]\nmax_contents_per_user = 1\n\
             max_publications_per_user = 1\n\
             max_sessions_per_user = 1\nmax_staged_per_user = 1\n[discovery]\ninterfaces = [\"x\"]\n[log]\n\
             filter = \"warn\"\n[node]\nenabled = false\n",
        );
        let mut running = Config::default();
        assert_eq!(
            apply(&mut running, &new),
            Reloaded { applied: AT_ONCE.map(str::to_owned).into(), needs_restart: vec![] }
        );
        assert_eq!(running, new);
    }

    /// "(reload)" in a comment speaks of the keys up to the next comment or empty line.
    #[test]
    fn the_annotated_configuration_marks_them() {
        let (mut section, mut at_once, mut marked) = ("", false, Vec::new());
        let mut in_comment = false;
        for line in DEFAULT_FILE.lines() {
            if let Some(comment) = line.strip_prefix('#') {
                at_once = comment.contains("(reload)") || in_comment && at_once;
                in_comment = true;
                continue;
            }
            in_comment = false;
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
                at_once = false;
            } else if let Some((key, _)) = line.split_once(" = ").filter(|_| at_once) {
                marked.push(format!("{section}.{key}"));
            }
        }
        marked.sort();
        assert_eq!(marked, AT_ONCE);
    }
}
