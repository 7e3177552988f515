//! `peerdist probe`, against a discovery server on the loopback.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use peerdist_discovery::{Config, Discovery, Interfaces};
use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::Held;

use crate::run::{Ran, command};

pub(crate) const HELD: &str = "0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20";
const ABSENT: &str = "F102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20";

/// A host that holds [`HELD`] completely, on a port of its own.
pub(crate) async fn host() -> (Discovery, u16) {
    // Free a moment ago; nobody else asks for it meanwhile.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let held: SegmentId = HELD.parse().unwrap();
    let answer = Held { blocks: 7, complete: true, age: Some(Duration::from_secs(90)) };
    let config = Config {
        interfaces: Interfaces::Only(vec!["lo".to_owned()]),
        ipv6: false,
        port,
        retrieval_port: 8123,
        client: None,
        ..Config::default()
    };
    let (discovery, _) = Discovery::start(config, Arc::new(move |id| (*id == held).then_some(answer))).unwrap();
    (discovery, port)
}

async fn probe(port: u16, words: &[&str]) -> Ran {
    let port = port.to_string();
    let words: Vec<_> =
        ["probe", "--interface", "lo", "--port", &port].iter().chain(words).map(ToString::to_string).collect();
    tokio::task::spawn_blocking(move || Ran::of(command(words))).await.unwrap()
}

#[tokio::test]
async fn holders_are_named_in_both_forms() {
    let (host, port) = host().await;
    for (form, flags) in [("v1", &[][..]), ("v2", &["--v2"])] {
        let said = probe(port, &[flags, &[HELD, ABSENT, HELD, "--json"]].concat()).await.json();
        assert_eq!((&said["form"], &said["asked"]), (&form.into(), &2.into()));
        assert_eq!(said["unanswered"], serde_json::json!([ABSENT]));
        let hosts = said["hosts"].as_object().unwrap();
        assert_eq!(hosts.len(), 1, "{said}");
        let found = &hosts[&host.address().to_string()];
        assert!(
            found["addresses"].as_array().unwrap().iter().all(|address| address.as_str().unwrap().ends_with(":8123"))
        );
        let claim = &found["segments"][HELD];
        match form {
            "v1" => assert_eq!(claim["blocks"], 7),
            _ => assert_eq!(claim["complete"], true),
        }
        let text = probe(port, &[flags, &[HELD, ABSENT]].concat()).await.stdout();
        assert!(text.contains(HELD) && text.contains(&format!("nobody holds {ABSENT}")), "{text}");
    }
    host.shutdown().await;
}

#[tokio::test]
async fn silence_has_its_own_exit_status() {
    let (host, port) = host().await;
    let ran = probe(port, &[ABSENT, "--json"]).await;
    assert_eq!(ran.status, 9, "{}", ran.stderr);
    assert!(ran.stderr.contains("nobody answered"));
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["hosts"], serde_json::json!({}));
    host.shutdown().await;
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_told() {
    let ran = Ran::of(command(["probe", "--interface", "nosuch0", HELD]));
    assert!(ran.error(1).contains("interface"));
}
