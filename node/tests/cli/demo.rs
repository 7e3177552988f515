//! `peerdist demo` on small files. Its processes speak over the loopback interface.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::fixture::content;
use crate::run::{Ran, command};

/// Runs a demo whose temporary files go to `scratch`.
fn demo(scratch: &Path, words: &[&str]) -> Ran {
    let mut demo = command(["demo"].iter().chain(words));
    demo.env("TMPDIR", scratch);
    Ran::of(demo)
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn one_peer_asks_the_origin_and_the_others_each_other() {
    let home = TempDir::new().unwrap();
    let scratch = TempDir::new().unwrap();
    let file = home.path().join("file");
    fs::write(&file, content(3_000_000)).unwrap();
    let name = file.to_str().unwrap();
    for version in ["v1", "v2"] {
        let ran = demo(scratch.path(), &[name, "--peers", "3", "--content-info", version, "--json"]);
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("exactly one JSON value");
        assert_eq!((&report["bytes"], &report["verdict"]), (&9_000_000.into(), &"passed".into()));
        let downloads = report["peers"].as_array().unwrap();
        assert_eq!(downloads.len(), 3);
        for download in downloads {
            assert_eq!(download["sha256"], report["sha256"]);
            assert_eq!(download["content_information"], version);
            assert!(download["seconds"].as_f64().unwrap() > 0.0);
        }
        let from_peers = |download: &serde_json::Value| {
            let peers = download["sources"]["peers"].as_object().unwrap();
            peers.values().map(|bytes| bytes.as_u64().unwrap()).sum::<u64>()
        };
        assert_eq!((from_peers(&downloads[0]), &downloads[0]["sources"]["origin"]), (0, &3_000_000.into()));
        for download in &downloads[1..] {
            assert!(from_peers(download) > 2_850_000, "{download}");
        }
        assert!(report["sources"]["origin"].as_u64().unwrap() >= 3_000_000, "{report}");
        assert!(is_empty(scratch.path()), "files were left behind");
    }
}

#[test]
fn in_hosted_mode_one_peer_asks_the_origin_and_the_others_the_hosted_cache() {
    let home = TempDir::new().unwrap();
    let scratch = TempDir::new().unwrap();
    let file = home.path().join("file");
    fs::write(&file, content(3_000_000)).unwrap();
    let name = file.to_str().unwrap();
    for version in ["v1", "v2"] {
        let ran = demo(scratch.path(), &[name, "--hosted", "--peers", "3", "--content-info", version, "--json"]);
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("exactly one JSON value");
        assert_eq!((&report["bytes"], &report["verdict"]), (&9_000_000.into(), &"passed".into()));
        let [first, others @ ..] = report["peers"].as_array().unwrap().as_slice() else { panic!("{report}") };
        assert_eq!(first["sources"]["origin"], 3_000_000, "{first}");
        let givers: Vec<_> = others
            .iter()
            .map(|download| {
                assert_eq!(
                    (&download["sources"]["origin"], &download["content_information"]),
                    (&0.into(), &version.into())
                );
                let peers = download["sources"]["peers"].as_object().unwrap();
                assert_eq!(peers.values().collect::<Vec<_>>(), [3_000_000], "{download}");
                peers.keys().next().unwrap()
            })
            .collect();
        assert!(givers.windows(2).all(|pair| pair[0] == pair[1]), "not one hosted cache: {givers:?}");
        assert!(is_empty(scratch.path()), "files were left behind");
    }
}

#[test]
fn people_get_a_table_and_a_verdict() {
    let home = TempDir::new().unwrap();
    let scratch = TempDir::new().unwrap();
    let file = home.path().join("file");
    fs::write(&file, content(500_000)).unwrap();
    let ran = demo(scratch.path(), &[file.to_str().unwrap(), "--peers", "2"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("from origin") && ran.stdout.contains("passed: every hash is right"), "{}", ran.stdout);
    assert!(is_empty(scratch.path()), "files were left behind");
}

#[test]
fn people_are_told_of_peers_or_of_clients_of_the_hosted_cache() {
    let home = TempDir::new().unwrap();
    let scratch = TempDir::new().unwrap();
    let file = home.path().join("file");
    fs::write(&file, content(500_000)).unwrap();
    for (words, said) in [
        (&["--peers", "2"][..], &["and 2 peers;", "peer 1 downloads from the origin", "peer 2 downloads"][..]),
        (&["--peers", "3"], &["and 3 peers;", "peers 2 to 3 download at once"]),
        (
            &["--peers", "2", "--hosted"],
            &["a hosted cache and 2 clients;", "what client 1 offers", "client 2 downloads"],
        ),
    ] {
        let ran = demo(scratch.path(), &[&[file.to_str().unwrap()], words].concat());
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        // The first line names the file.
        let (_, told) = ran.stderr.split_once('\n').unwrap();
        for said in said {
            assert!(told.contains(said), "{said}: {told}");
        }
        let is_hosted = words.contains(&"--hosted");
        assert_eq!((told.contains("peer"), ran.stdout.contains("peer")), (!is_hosted, !is_hosted), "{told}");
    }
}

#[test]
fn what_cannot_be_demonstrated_is_refused() {
    let home = TempDir::new().unwrap();
    let scratch = TempDir::new().unwrap();
    let missing = home.path().join("missing");
    let error = demo(scratch.path(), &[missing.to_str().unwrap()]).error(1);
    assert!(error.contains("missing: No such file"), "{error}");
    let small = home.path().join("small");
    fs::write(&small, content(65_535)).unwrap();
    let error = demo(scratch.path(), &[small.to_str().unwrap()]).error(2);
    assert!(error.contains("less than 64.00 KiB"), "{error}");
    demo(scratch.path(), &["--peers", "1"]).error(2);
    assert!(is_empty(scratch.path()));
}
