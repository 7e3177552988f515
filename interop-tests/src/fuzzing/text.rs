//! Text that people and our own programs write into files: the configuration, and the states of features.

use std::path::Path;
use std::sync::LazyLock;

use peerdist_node::config::Config;
use peerdist_node::feature::FeatureFile;
use tempfile::NamedTempFile;

pub(super) fn run(bytes: &[u8]) {
    static FILE: LazyLock<NamedTempFile> =
        LazyLock::new(|| NamedTempFile::new_in(super::store::in_memory()).expect("a temporary file"));
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(config) = Config::parse(text, Path::new("fuzz.toml"))
    {
        assert_eq!(Config::parse(&config.to_toml(), Path::new("fuzz.toml")).ok(), Some(config));
    }
    std::fs::write(FILE.path(), bytes).expect("a temporary file can be written");
    let _ = FeatureFile::new(FILE.path()).load();
}
