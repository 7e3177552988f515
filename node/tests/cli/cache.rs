//! `peerdist cache`, with a daemon and without.

use std::fs;

use peerdist_node::store::{Store, StoreConfig};
use peerdist_protocol::content::{ContentInformation, ContentVersion};

use crate::daemon::Home;
use crate::fixture::{content, information};
use crate::run::Ran;

/// More than one segment of version 2, two blocks of version 1.
const LENGTH: usize = 100_000;

fn write(home: &Home, bytes: &[u8], information: &ContentInformation) -> [String; 2] {
    fs::write(home.path("content"), bytes).unwrap();
    fs::write(home.path("ci"), information.emit()).unwrap();
    ["content", "ci"].map(|name| home.path(name).display().to_string())
}

fn go_through(home: &Home, has_daemon: bool) {
    let bytes = content(LENGTH);
    for version in [ContentVersion::V1, ContentVersion::V2] {
        let information = information(&bytes, version);
        let [file, ci] = write(home, &bytes, &information);
        let added = home.peerdist(&["cache", "add", &file, "--content-information", &ci, "--json"]).json();
        assert_eq!(added["bytes"], LENGTH);
        assert_eq!(added["segments"], information.segments().len());

        let listed = home.peerdist(&["cache", "list", "--json"]).json();
        let listed = listed["segments"].as_array().unwrap();
        assert_eq!(listed.len(), information.segments().len());
        for segment in information.segments() {
            let line = listed.iter().find(|line| line["id"] == segment.id().to_string()).unwrap();
            assert_eq!(line["blocks"], segment.block_count());
            assert_eq!(line["block_count"], segment.block_count());
            assert_eq!(line["trust"], "bound");
        }
        assert!(home.peerdist(&["cache", "list"]).stdout().contains(&information.segments()[0].id().to_string()));

        let stats = home.peerdist(&["cache", "stats", "--json"]).json();
        let blocks: u32 = information.segments().iter().map(peerdist_protocol::content::Segment::block_count).sum();
        assert_eq!(stats["blocks"], blocks);
        assert!(home.peerdist(&["cache", "stats"]).stdout().contains("segments"));

        let verified = home.peerdist(&["cache", "verify", "--json"]).json();
        assert_eq!((&verified["blocks"], &verified["corrupt"]), (&blocks.into(), &0.into()));

        if !has_daemon {
            // To clear the user's own no socket may be named, and then there may be a real daemon on this machine.
            std::fs::remove_dir_all(home.path("own/peerdist")).unwrap();
            continue;
        }
        let cleared = home.peerdist(&["cache", "clear", "--json"]).json();
        assert_eq!(cleared["blocks"], blocks);
        assert_eq!(home.peerdist(&["cache", "list", "--json"]).json()["segments"], serde_json::json!([]));
    }
}

#[test]
fn every_verb_works_on_the_daemons_cache() {
    let home = Home::new("");
    let _daemon = home.start();
    go_through(&home, true);
    assert!(!home.path("own").exists(), "the user's own cache is not touched");
}

#[test]
fn every_verb_works_on_the_users_own_cache() {
    let home = Home::new("");
    go_through(&home, false);
    assert!(home.peerdist(&["cache", "stats"]).stdout().contains("no daemon"));
}

#[test]
fn a_daemon_that_was_named_and_is_not_there_is_missed_aloud() {
    let home = Home::new("");
    let bytes = content(LENGTH);
    let [file, ci] = write(&home, &bytes, &information(&bytes, ContentVersion::V1));
    let out = home.path("out").display().to_string();
    let (api, admin) = (home.api_socket(), home.admin_socket());
    let cases: [(&[&str], _, _); 3] = [
        (&["cache", "add", &file, "--content-information", &ci], &api, "PEERDIST_SOCKET"),
        (&["cache", "stats"], &admin, "PEERDIST_ADMIN_SOCKET"),
        (&["get", "http://127.0.0.1:1/file", "-o", &out], &api, "PEERDIST_SOCKET"),
    ];
    for (words, socket, variable) in cases {
        let warning = format!("warning: no daemon at {} ({variable}): going on without a daemon\n", socket.display());
        let ran = home.peerdist(words);
        assert!(ran.stderr.starts_with(&warning), "{}", ran.stderr);
    }
    let error = home.peerdist(&["cache", "clear"]).error(5);
    assert!(error.contains("PEERDIST_ADMIN_SOCKET names this socket"), "no other cache is dropped for it: {error}");
    // Where none was named, there need not be one.
    let mut command = home.command(cases[2].0);
    command.env("PEERDIST_SOCKET", "");
    let ran = Ran::of(command);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

#[test]
fn other_bytes_than_described_are_not_added() {
    let home = Home::new("");
    let bytes = content(LENGTH);
    let information = information(&bytes, ContentVersion::V1);
    let mut wrong = bytes.clone();
    wrong[70_000] ^= 1;
    let [file, ci] = write(&home, &wrong, &information);
    for daemon in [None, Some(home.start())] {
        let error = home.peerdist(&["cache", "add", &file, "--content-information", &ci]).error(4);
        assert!(error.contains(&file), "{error}");
        drop(daemon);
    }
    let [file, ci] = write(&home, &bytes[..LENGTH - 1], &information);
    assert!(home.peerdist(&["cache", "add", &file, "--content-information", &ci]).error(4).contains(&file));
    assert!(home.peerdist(&["cache", "add", &file, "--content-information", &file]).error(8).contains(&file));
}

#[test]
fn damage_is_found_and_told() {
    let home = Home::new("");
    let bytes = content(LENGTH);
    let [file, ci] = write(&home, &bytes, &information(&bytes, ContentVersion::V1));
    home.peerdist(&["cache", "add", &file, "--content-information", &ci]).stdout();
    let packs = fs::read_dir(home.path("own/peerdist")).unwrap().map(|entry| entry.unwrap().path());
    let pack = packs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut damaged = fs::read(&pack).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&pack, damaged).unwrap();
    let ran = home.peerdist(&["cache", "verify", "--json"]);
    assert_eq!(ran.status, 4, "{ran:?}");
    assert!(ran.stdout.contains("\"corrupt\": 1") && ran.stderr.contains("damaged"), "{ran:?}");
}

#[test]
fn a_cache_in_use_is_told_from_other_trouble() {
    let home = Home::new("");
    let own = home.path("own/peerdist");
    fs::create_dir_all(&own).unwrap();
    let store = Store::open(&StoreConfig::new(&own)).unwrap();
    let error = home.peerdist(&["cache", "stats"]).error(6);
    assert!(error.contains("in use") && error.contains("help:"), "{error}");
    drop(store);
    home.peerdist(&["cache", "stats"]).stdout();
}
