//! What the library exports, and that no exported function is without its boundary.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{in_crate, library, text};

#[test]
fn every_exported_function_catches_panics() {
    let mut functions = 0;
    for file in sources(&in_crate("src")) {
        let source = fs::read_to_string(&file).unwrap();
        for function in source.split("#[unsafe(no_mangle)]").skip(1) {
            let (signature, body) = function.split_once("{\n").unwrap();
            assert!(signature.contains("extern \"C\" fn"), "{}: {signature}", file.display());
            let first = body.trim_start();
            let first = first.trim_start_matches("// SAFETY: the caller's word is the same.\n").trim_start();
            let caught = ["guarded(", "reporting(", "done(", "started("].iter().any(|start| first.starts_with(start));
            assert!(caught, "{}: {signature}", file.display());
            functions += 1;
        }
    }
    assert!(functions >= 20, "{functions}");
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .collect()
}

#[test]
fn every_function_that_windows_h_names_is_exported() {
    let symbols = Command::new("nm").args(["-D", "--defined-only"]).arg(library()).output().unwrap();
    assert!(symbols.status.success(), "{}", text(&symbols.stderr));
    let symbols = text(&symbols.stdout);
    let exported: Vec<&str> = symbols.lines().filter_map(|line| line.split_once(" T ")).map(|(_, name)| name).collect();

    let header = fs::read_to_string(in_crate("include/windows.h")).unwrap();
    let words = header.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let named: Vec<&str> = words.filter(|word| word.starts_with("peerdist_")).collect();
    assert!(!named.is_empty());
    for name in named {
        assert!(exported.contains(&name), "{name}");
    }
    let ours = |name: &&str| ["peerdist_", "PeerDist", "Dism"].iter().any(|prefix| name.starts_with(prefix));
    assert!(exported.iter().all(ours), "{exported:?}");
}
