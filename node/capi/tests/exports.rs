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

/// The functions of peerdist.h, of Windows 7 and of Windows 8.
const PEERDIST: [&str; 28] = [
    "PeerDistClientAddContentInformation",
    "PeerDistClientAddData",
    "PeerDistClientBlockRead",
    "PeerDistClientCancelAsyncOperation",
    "PeerDistClientCloseContent",
    "PeerDistClientCompleteContentInformation",
    "PeerDistClientFlushContent",
    "PeerDistClientGetInformationByHandle",
    "PeerDistClientOpenContent",
    "PeerDistClientStreamRead",
    "PeerDistGetOverlappedResult",
    "PeerDistGetStatus",
    "PeerDistGetStatusEx",
    "PeerDistRegisterForStatusChangeNotification",
    "PeerDistRegisterForStatusChangeNotificationEx",
    "PeerDistServerCancelAsyncOperation",
    "PeerDistServerCloseContentInformation",
    "PeerDistServerCloseStreamHandle",
    "PeerDistServerOpenContentInformation",
    "PeerDistServerOpenContentInformationEx",
    "PeerDistServerPublishAddToStream",
    "PeerDistServerPublishCompleteStream",
    "PeerDistServerPublishStream",
    "PeerDistServerRetrieveContentInformation",
    "PeerDistServerUnpublish",
    "PeerDistShutdown",
    "PeerDistStartup",
    "PeerDistUnregisterForStatusChangeNotification",
];

/// What the library exports, data included, in order.
fn exported() -> Vec<String> {
    let symbols = Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(library()).output().unwrap();
    assert!(symbols.status.success(), "{}", text(&symbols.stderr));
    let mut names: Vec<_> = text(&symbols.stdout)
        .lines()
        .map(|line| {
            let (name, rest) = line.split_once(' ').unwrap();
            assert!(rest.starts_with("T "), "no function: {line}");
            name.to_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn t107_the_28_functions_of_peerdist_h_are_exported_for_c_and_no_others() {
    let exported = exported();
    let (ours, others): (Vec<_>, Vec<_>) = exported.iter().partition(|name| name.starts_with("PeerDist"));
    assert_eq!(ours, PEERDIST);
    // C names without a version; those of windows.h and DISM have prefixes of their own.
    assert!(others.iter().all(|name| name.starts_with("peerdist_") || name.starts_with("Dism")), "{others:?}");
}

#[test]
fn t107_peerdist_h_declares_them_for_c_once_each() {
    let header = fs::read_to_string(in_crate("include/peerdist.h")).unwrap();
    let (before, declared) = header.split_once("extern \"C\" {").unwrap();
    assert!(!before.contains("WINAPI PeerDist"));
    let words = declared.split(|letter: char| !letter.is_ascii_alphanumeric());
    let mut names: Vec<_> = words.filter(|word| word.starts_with("PeerDist")).collect();
    // A parameter.
    names.retain(|name| *name != "PeerDistClientInfoClass");
    names.sort_unstable();
    assert_eq!(names, PEERDIST);
}

#[test]
fn every_function_that_windows_h_names_is_exported() {
    let exported = exported();
    let header = fs::read_to_string(in_crate("include/windows.h")).unwrap();
    let words = header.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let named: Vec<&str> = words.filter(|word| word.starts_with("peerdist_")).collect();
    assert!(!named.is_empty());
    for name in named {
        assert!(exported.iter().any(|known| known == name), "{name}");
    }
}
