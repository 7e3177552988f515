//! `peerdist hash`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use peerdist_protocol::content::{ContentInformation, ContentVersion, HashOptions, Hasher, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use tempfile::TempDir;

use crate::fixture::content;
use crate::run::{Ran, peerdist};

/// Two segments of version 1, the second one not full.
const LENGTH: usize = 36_000_001;

struct Fixture {
    dir: TempDir,
    content: Vec<u8>,
}

impl Fixture {
    fn new(length: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let content = content(length);
        fs::write(dir.path().join("content"), &content).unwrap();
        Self { dir, content }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn hash(&self, words: &[&str]) -> Ran {
        let content = self.path("content");
        let output = self.path("ci");
        let fixed = ["hash".as_ref(), content.as_os_str(), "-o".as_ref(), output.as_os_str()];
        peerdist(fixed.into_iter().chain(words.iter().map(std::convert::AsRef::as_ref)))
    }

    /// The content information that the last command wrote.
    fn written(&self) -> ContentInformation {
        ContentInformation::parse(fs::read(self.path("ci")).unwrap().into()).unwrap()
    }

    /// What it has to be.
    fn expected(&self, v1: Option<HashAlgorithm>, secret: &ServerSecret) -> ContentInformation {
        let mut hasher = Hasher::new(HashOptions { v1, v2: v1.is_none() }, secret);
        hasher.update(&self.content);
        let hashed = hasher.finish().unwrap();
        hashed.v1.or(hashed.v2).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn every_version_and_hash_is_written() {
    let fixture = Fixture::new(LENGTH);
    fs::write(fixture.path("key"), b"raw\0bytes\n").unwrap();
    let key = fixture.path("key").display().to_string();
    let secret = ServerSecret::from_bytes(*b"raw\0bytes\n");
    for (words, v1) in [
        (vec![], None),
        (vec!["--content-info", "v2"], None),
        (vec!["--content-info", "v1"], Some(HashAlgorithm::Sha256)),
        (vec!["--hash", "sha384"], Some(HashAlgorithm::Sha384)),
        (vec!["--content-info", "v1", "--hash", "sha512"], Some(HashAlgorithm::Sha512)),
    ] {
        let words = [words, vec!["--secret-key", &key]].concat();
        let said = fixture.hash(&words).stdout();
        assert!(said.contains(&format!("{LENGTH} bytes")), "{said}");
        assert_eq!(fixture.written(), fixture.expected(v1, &secret), "{words:?}");
    }
    assert_eq!(mode(&fixture.path("ci")), 0o600, "content information opens the content");
}

#[test]
fn the_forms_of_the_secret_are_those_of_windows() {
    let fixture = Fixture::new(200_000);
    let mut written = Vec::new();
    for words in [["--passphrase", "grün"], ["--secret-key-hex", "67007200FC006e00"]] {
        fixture.hash(&words).stdout();
        written.push(fixture.written());
    }
    assert_eq!(written[0], written[1]);
    assert_eq!(written[0], fixture.expected(None, &ServerSecret::from_passphrase("grün")));
}

#[test]
fn a_range_is_cut_from_the_whole() {
    let fixture = Fixture::new(LENGTH);
    for version in ["v1", "v2"] {
        for (range, bytes) in [
            ("100000-34000000", 100_000..34_000_001),
            ("35999999-", 35_999_999..36_000_001),
            ("0-99999999", 0..36_000_001),
        ] {
            let words = ["--content-info", version, "--range", range, "--passphrase", "x", "--json"];
            let report = fixture.hash(&words).json();
            let information = fixture.written();
            assert_eq!(information.range(), bytes);
            assert_eq!(report["content_information"], version);
            assert_eq!(report["first"], bytes.start);
            assert_eq!(report["length"], bytes.end - bytes.start);
            assert_eq!(report["size"], information.emit().len());
        }
    }
    assert!(fixture.hash(&["--range", "36000001-", "--passphrase", "x"]).error(2).contains("36000001"));
}

#[test]
fn the_output_may_be_standard_output() {
    let fixture = Fixture::new(70_000);
    let content = fixture.path("content");
    let words =
        ["hash".as_ref(), content.as_os_str(), "--passphrase".as_ref(), "x".as_ref(), "-o".as_ref(), "-".as_ref()];
    let output = crate::run::command(words).output().unwrap();
    assert!(output.status.success());
    let information = ContentInformation::parse(output.stdout.into()).unwrap();
    assert_eq!(information.version(), ContentVersion::V2);
    assert_eq!(information.range(), 0..70_000);
}

#[test]
fn what_cannot_be_hashed_is_named() {
    let fixture = Fixture::new(0);
    assert!(fixture.hash(&["--passphrase", "x"]).error(1).contains("empty content"));
    assert!(!fixture.path("ci").exists());
    assert!(fixture.hash(&[]).error(2).contains("--passphrase"));
    assert!(fixture.hash(&["--secret-key-hex", "0"]).error(2).contains("hexadecimal"));
    assert!(
        fixture.hash(&["--passphrase", "x", "--content-info", "v2", "--hash", "sha256"]).error(2).contains("--hash")
    );
    let missing = fixture.path("no-key").display().to_string();
    assert!(fixture.hash(&["--secret-key", &missing]).error(1).contains("no-key"));
    fs::write(fixture.path("empty-key"), b"").unwrap();
    let empty = fixture.path("empty-key").display().to_string();
    assert!(fixture.hash(&["--secret-key", &empty]).error(1).contains("empty"));
}
