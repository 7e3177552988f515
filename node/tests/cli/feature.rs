//! `peerdist feature`, with a daemon and on a system that does not run; and the same over the admin socket.

use std::fs;

use peerdist_node::control::client::ClientError;
use peerdist_node::control::features::FeatureNames;
use peerdist_node::control::wire::ErrorCode;
use peerdist_node::feature::{Feature, FeatureInfo, FeatureState};

use crate::daemon::Home;

/// The states in what a command printed.
fn states(printed: &serde_json::Value) -> Vec<(&str, &str)> {
    let features = printed["features"].as_array().unwrap();
    features.iter().map(|info| (info["name"].as_str().unwrap(), info["state"].as_str().unwrap())).collect()
}

const DEFAULT: [(&str, &str); 2] = [("PeerDist", "installed"), ("SMBHashGeneration", "staged")];
const NONE: [(&str, &str); 2] = [("PeerDist", "staged"), ("SMBHashGeneration", "staged")];
const BOTH: [(&str, &str); 2] = [("PeerDist", "installed"), ("SMBHashGeneration", "installed")];

/// Every verb; `to` says whose features they are about.
fn go_through(home: &Home, to: &[&str]) {
    let feature = |words: &[&str]| home.peerdist(&[&["feature"], words, to].concat());
    let json = |words: &[&str]| feature(&[words, &["--json"]].concat()).json();
    assert_eq!(states(&json(&["list"])), DEFAULT);
    assert_eq!(states(&json(&["disable", "branchcache"])), NONE);
    assert_eq!(states(&json(&["list"])), NONE);
    let error = feature(&["enable", "SMBHashGeneration"]).error(1);
    assert!(error.contains("PeerDist") && error.contains("--all"), "{error}");
    let error = feature(&["enable", "PeerDist", "Telnet"]).error(1);
    assert!(error.contains("\"Telnet\""), "{error}");
    assert_eq!(states(&json(&["list"])), NONE, "all or nothing");
    assert_eq!(states(&json(&["enable", "smbhashgeneration", "--all"])), BOTH);
    assert_eq!(states(&json(&["disable", "SMBHashGeneration"])), DEFAULT);
    assert_eq!(states(&json(&["enable", "SMBHashGeneration", "PeerDist"])), BOTH);
    assert_eq!(states(&json(&["disable", "PeerDist"])), NONE, "the child goes with its parent");
    let text = feature(&["enable", "PeerDist"]).stdout();
    assert!(text.starts_with("PeerDist           enabled   "), "{text}");
    assert!(text.contains("\nSMBHashGeneration  disabled  "), "{text}");
}

#[test]
fn every_verb_works_on_the_daemons_features() {
    let home = Home::new("");
    let _daemon = home.start();
    go_through(&home, &[]);
}

#[test]
fn every_verb_works_on_a_system_that_does_not_run() {
    let home = Home::new("");
    let root = home.path("root");
    fs::create_dir(&root).unwrap();
    go_through(&home, &["--root", root.to_str().unwrap()]);
    assert!(root.join("var/lib/peerdist/features.toml").exists());
    assert!(!home.path("features.toml").exists());
}

#[test]
fn the_status_says_whether_the_service_is_on() {
    let home = Home::new("");
    let _daemon = home.start();
    let service = || home.peerdist(&["status", "--json"]).json()["service"].clone();
    assert_eq!(service(), "available");
    home.peerdist(&["feature", "disable", "PeerDist"]).stdout();
    assert_eq!(service(), "disabled");
    let text = home.peerdist(&["status"]).stdout();
    let words = |line: &str| line.split_whitespace().eq(["service", "disabled"]);
    assert!(text.lines().any(words), "{text}");
    let error = home.peerdist(&["publish", "/dev/null", "--id", "x"]).error(1);
    assert!(error.contains("peerdist feature enable PeerDist"), "{error}");
}

#[test]
fn where_the_daemon_may_not_keep_the_states_it_says_so_of_itself() {
    let home = Home::new("");
    let _daemon = home.start();
    fs::create_dir(home.path("features.toml")).unwrap();
    let error = home.peerdist(&["feature", "disable", "PeerDist"]).error(1);
    assert!(error.contains("the daemon failed: ") && error.contains("[control] feature_file"), "{error}");
    assert!(home.log().contains("features.toml"), "{}", home.log());
}

#[test]
fn the_states_outlive_the_daemon() {
    let home = Home::new("");
    let daemon = home.start();
    home.peerdist(&["feature", "disable", "PeerDist"]).stdout();
    drop(daemon);
    let _daemon = home.start();
    assert_eq!(states(&home.peerdist(&["feature", "list", "--json"]).json()), NONE);
}

#[test]
fn without_a_daemon_a_root_is_needed() {
    let home = Home::new("");
    let error = home.peerdist(&["feature", "list"]).error(5);
    assert!(error.contains("peerdistd") && error.contains("--root"), "{error}");
    let error = home.peerdist(&["feature", "list", "--root", "/nonexistent"]).error(1);
    assert!(error.contains("/nonexistent"), "{error}");
    home.peerdist(&["feature", "enable"]).error(2);
}

#[test]
fn a_daemon_does_not_start_on_garbage() {
    let home = Home::new("");
    fs::write(home.path("features.toml"), "[features]\nPeerDist = 1\n").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_peerdistd"));
    command.arg("--config").arg(home.config());
    let error = crate::run::Ran::of(command).error(1);
    assert!(error.contains("features.toml") && error.contains("help:"), "{error}");
}

#[tokio::test]
async fn the_admin_socket_refuses_with_codes() {
    let home = Home::new("");
    let _daemon = home.start();
    let admin = home.admin();
    let names = |names: &[&str]| FeatureNames { names: names.iter().map(|name| (*name).into()).collect(), all: false };
    let code = |result| match result {
        Err(ClientError::Refused { error, .. }) => error,
        other => panic!("{other:?}"),
    };
    admin.disable_features(&names(&["PeerDist"])).await.unwrap();
    assert_eq!(code(admin.enable_features(&names(&["x"])).await), ErrorCode::UnknownFeature);
    assert_eq!(code(admin.disable_features(&names(&["x"])).await), ErrorCode::UnknownFeature);
    assert_eq!(code(admin.enable_features(&names(&["SMBHashGeneration"])).await), ErrorCode::ParentDisabled);
    assert_eq!(code(admin.enable_features(&names(&[])).await), ErrorCode::BadRequest);
    let listed = admin.features().await.unwrap().features;
    assert!(listed.iter().all(|FeatureInfo { state, .. }| *state == FeatureState::Staged));
    assert_eq!(listed[1].parent, Some(Feature::PeerDist));

    // Nothing is kept where nothing can be written, and the daemon's state is still that of the file.
    let file = home.path("features.toml");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(code(admin.enable_features(&names(&["PeerDist"])).await), ErrorCode::Internal);
    assert_eq!(admin.features().await.unwrap().features, listed);
}

#[test]
fn a_request_by_hand_needs_no_content_type() {
    let home = Home::new("");
    let _daemon = home.start();
    let body = r#"{"names": ["PeerDist"]}"#;
    let length = body.len();
    let post = |path: &str, body: &str| {
        let head = format!("Host: x\r\nConnection: close\r\nContent-Length: {length}\r\n");
        crate::control::raw(&home.admin_socket(), &format!("POST {path} HTTP/1.1\r\n{head}\r\n{body}"))
    };
    let answer = post("/v1/features/disable", body);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""state":"staged""#), "{answer}");
    let answer = post("/v1/features/enable", &"x".repeat(length));
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("bad_request"), "{answer}");
    let answer = post("/v1/features/enable", r#"{"names": ["PeerDisk"]}"#);
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("unknown_feature"), "{answer}");
}
