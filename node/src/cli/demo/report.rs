//! The demo's result: bytes by source for every peer, and the verdict.

use std::fmt::Write as _;

use indicatif::HumanBytes;
use serde::Serialize;

use crate::download::DownloadReport;
use crate::fetch::Sources;

/// What the demo calls its hosts.
#[derive(Debug)]
pub(super) struct Words {
    /// One that downloads.
    pub(super) host: &'static str,
    /// Those from whom all but the first one download.
    pub(super) givers: &'static str,
}

impl Words {
    pub(super) const DISTRIBUTED: Self = Self { host: "peer", givers: "peers" };
    pub(super) const HOSTED: Self = Self { host: "client", givers: "the hosted cache" };
}

/// Of what the peers could have given, at least this share has to come from them.
pub(super) const SHARE_EXPECTED: f64 = 0.95;

/// What `peerdist demo --json` prints.
#[derive(Debug, Serialize)]
pub(super) struct DemoReport {
    /// Content bytes that all peers received together.
    pub(super) bytes: u64,
    /// The file's SHA-256 as the demo itself computed it.
    pub(super) sha256: String,
    /// From the first download's start to the last one's end.
    pub(super) seconds: f64,
    /// `v1` or `v2`.
    pub(super) content_information: Option<String>,
    /// All peers' sources together.
    pub(super) sources: Sources,
    /// Bytes from peers over bytes that peers could have given: everything but the first download.
    pub(super) share_from_peers: f64,
    /// One entry a peer; the first is the one that had to go to the origin.
    pub(super) peers: Vec<DownloadReport>,
    /// Whether all hashes are right and the share is large enough.
    pub(super) verdict: Verdict,
    /// Who is meant by "peers", for people.
    #[serde(skip)]
    words: &'static Words,
}

/// How the demo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// All hashes are right, and peers gave what they could.
    Passed,
    /// A peer ended with other bytes than the file's.
    WrongHash,
    /// Peers gave less than they could.
    TooLittleFromPeers,
}

impl DemoReport {
    /// Sums up the downloads of a file with `length` bytes and the hash `sha256`.
    pub(super) fn new(
        peers: Vec<DownloadReport>,
        length: u64,
        sha256: String,
        seconds: f64,
        words: &'static Words,
    ) -> Self {
        let mut sources = Sources::default();
        peers.iter().for_each(|peer| sources.merge(&peer.sources));
        let possible = length * (peers.len() as u64).saturating_sub(1);
        let share_from_peers = if possible == 0 { 1.0 } else { sources.all_peers() as f64 / possible as f64 };
        let verdict = if peers.iter().any(|peer| peer.sha256 != sha256) {
            Verdict::WrongHash
        } else if share_from_peers < SHARE_EXPECTED {
            Verdict::TooLittleFromPeers
        } else {
            Verdict::Passed
        };
        Self {
            bytes: peers.iter().map(|peer| peer.bytes).sum(),
            sha256,
            seconds,
            content_information: peers.first().and_then(|peer| peer.content_information.clone()),
            sources,
            share_from_peers,
            peers,
            verdict,
            words,
        }
    }

    /// The table and the verdict for a person.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        let size = |bytes: u64| HumanBytes(bytes).to_string();
        let Words { host, givers } = self.words;
        let from_givers = format!("from {givers}");
        let width = from_givers.len().max(12);
        let _ = writeln!(
            text,
            "{host:<6} {:>12} {from_givers:>width$} {:>16} {:>8} {:>12}  hash",
            "from origin", "from own cache", "hosts", "speed"
        );
        for (number, peer) in self.peers.iter().enumerate() {
            let hash = if peer.sha256 == self.sha256 { "right" } else { "WRONG" };
            let speed = format!("{}/s", HumanBytes((peer.bytes as f64 / peer.seconds.max(1e-9)) as u64));
            let _ = writeln!(
                text,
                "{:<6} {:>12} {:>width$} {:>16} {:>8} {:>12}  {hash}",
                number + 1,
                size(peer.sources.origin),
                size(peer.sources.all_peers()),
                size(peer.sources.cache),
                peer.sources.peers.len(),
                speed,
            );
        }
        let share = 100.0 * self.share_from_peers;
        let _ = match self.verdict {
            Verdict::Passed => {
                writeln!(text, "passed: every hash is right, and {givers} gave {share:.1} % of what was possible")
            }
            Verdict::WrongHash => writeln!(text, "FAILED: a {host} ended with bytes that are not the file's"),
            Verdict::TooLittleFromPeers => {
                writeln!(
                    text,
                    "FAILED: {givers} gave {share:.1} % of what was possible, {:.0} % are expected",
                    100.0 * SHARE_EXPECTED
                )
            }
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Source;

    fn peer(origin: u64, from_peers: u64, sha256: &str) -> DownloadReport {
        let mut sources = Sources { origin, ..Sources::default() };
        sources.add(Source::Peer(([127, 0, 0, 1], 80).into()), from_peers);
        DownloadReport {
            url: "http://127.0.0.1/file".into(),
            file: None,
            bytes: origin + from_peers,
            sha256: sha256.into(),
            seconds: 1.0,
            content_information: Some("v2".into()),
            sources,
            node_failure: None,
        }
    }

    #[test]
    fn peers_have_to_give_what_they_can() {
        let good =
            DemoReport::new(vec![peer(100, 0, "a"), peer(5, 95, "a")], 100, "a".into(), 1.0, &Words::DISTRIBUTED);
        assert_eq!(good.verdict, Verdict::Passed);
        assert!(good.render().contains("95.0 %"));
        let little =
            DemoReport::new(vec![peer(100, 0, "a"), peer(6, 94, "a")], 100, "a".into(), 1.0, &Words::DISTRIBUTED);
        assert_eq!(little.verdict, Verdict::TooLittleFromPeers);
        let wrong =
            DemoReport::new(vec![peer(100, 0, "a"), peer(0, 100, "b")], 100, "a".into(), 1.0, &Words::DISTRIBUTED);
        assert_eq!(wrong.verdict, Verdict::WrongHash);
        assert!(wrong.render().contains("WRONG"));
    }

    #[test]
    fn the_table_names_those_who_gave() {
        let headings =
            [(&Words::DISTRIBUTED, "peer ", "   from peers "), (&Words::HOSTED, "client ", " from the hosted cache ")];
        for (words, host, heading) in headings {
            let text =
                DemoReport::new(vec![peer(100, 0, "a"), peer(0, 100, "a")], 100, "a".into(), 1.0, words).render();
            let [head, first, ..] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
            assert!(head.starts_with(host) && head.contains(heading), "{text}");
            assert_eq!(head.find("hash"), first.find("right"), "{text}");
        }
    }
}
