//! The rules that the tree gives itself, so that they hold without anybody remembering them.

use crate::conformance::Fault;
use crate::tree::{Member, Source, Workspace};

/// Which members a member may depend on; a member that is missing here breaks the rule.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("peerdist-protocol", &[]),
    ("peerdist-tap", &[]),
    ("peerdist-discovery", &["peerdist-protocol", "peerdist-tap"]),
    ("peerdist-transport", &["peerdist-protocol", "peerdist-tap"]),
    ("peerdist-node", &["peerdist-protocol", "peerdist-tap", "peerdist-discovery", "peerdist-transport"]),
    // All but the node for its tests.
    ("peerdist-capi", &["peerdist-protocol", "peerdist-discovery", "peerdist-node"]),
    (
        "peerdist-interop-tests",
        &["peerdist-protocol", "peerdist-discovery", "peerdist-transport", "peerdist-node", "peerdist-capi"],
    ),
    // For the tables that the Wireshark dissector is made of.
    ("xtask", &["peerdist-protocol"]),
];

/// The package without I/O.
const PROTOCOL: &str = "peerdist-protocol";

/// What a package without sockets, clock, randomness and logging cannot contain.
const EFFECTS: &[&str] = &[
    "async-std",
    "getrandom",
    "hyper",
    "log",
    "mio",
    "rand",
    "reqwest",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tracing",
];

/// Hash and cipher crates; only the protocol names them.
const CRYPTO: &[&str] =
    &["aes", "aes-gcm", "aws-lc-rs", "blake3", "cbc", "hmac", "md-5", "openssl", "ring", "sha1", "sha2", "sha3"];

/// What a package other than the protocol may name: the decoder opens TLS, which is no part of the protocols.
const CRYPTO_OF_TLS: (&str, &str) = ("peerdist-node", "aws-lc-rs");

/// Where the protocol names them.
const CRYPTO_MODULE: &str = "protocol/src/crypto";

/// The only package that may hold unsafe code, and therefore lints of its own.
const UNSAFE_MANIFEST: &str = "node/capi/Cargo.toml";

/// A rule of the tree, and where it is broken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("{member} must not depend on {dependency}")]
    Direction { member: String, dependency: String },
    #[error("{member} has no place in the order of dependencies")]
    UnknownMember { member: String },
    #[error("{PROTOCOL} contains {dependency}, which has effects")]
    Effect { dependency: String },
    #[error("{member} names the crypto crate {dependency}; only {PROTOCOL} may")]
    CryptoDependency { member: String, dependency: String },
    #[error("{path} names the crypto crate {dependency}; only {CRYPTO_MODULE} may")]
    CryptoUse { path: String, dependency: String },
    #[error("{member} has cargo features: {}", .features.join(", "))]
    Features { member: String, features: Vec<String> },
    #[error("{manifest} does not take the lints of the workspace")]
    Lints { manifest: String },
    #[error("the lints of the workspace do not forbid unsafe code")]
    UnsafeAllowed,
    #[error("{path} cites a line of a source file, which will be wrong soon: {citation}")]
    LineCitation { path: String, citation: String },
    #[error("the path of the retrieval protocol is written in more than one file: {}", .paths.join(", "))]
    RetrievalPath { paths: Vec<String> },
    #[error("{package} has the licence {licence}, which is not on the list")]
    Licence { package: String, licence: String },
    #[error(transparent)]
    Conformance(#[from] Fault),
    #[error("{path} is not what the tables and parts give; `cargo xtask dissector` writes it")]
    Dissector { path: &'static str },
}

/// Everything in which the tree breaks its rules; licences, conformance and the dissector are looked at elsewhere.
pub(crate) fn violations(workspace: &Workspace, sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in &workspace.members {
        directions(member, &workspace.members, &mut violations);
        crypto_dependencies(member, &mut violations);
        features(member, &mut violations);
        effects(member, &mut violations);
    }
    lints(workspace, sources, &mut violations);
    for source in sources {
        crypto_uses(source, &mut violations);
        line_citations(source, &mut violations);
    }
    retrieval_path(sources, &mut violations);
    violations
}

fn directions(member: &Member, members: &[Member], violations: &mut Vec<Violation>) {
    let Some((_, allowed)) = DIRECTIONS.iter().find(|(name, _)| *name == member.name) else {
        violations.push(Violation::UnknownMember { member: member.name.clone() });
        return;
    };
    for dependency in members.iter().filter(|other| member.direct.contains(&other.name)) {
        if !allowed.contains(&dependency.name.as_str()) {
            let dependency = dependency.name.clone();
            violations.push(Violation::Direction { member: member.name.clone(), dependency });
        }
    }
}

fn effects(member: &Member, violations: &mut Vec<Violation>) {
    if member.name == PROTOCOL {
        let found = EFFECTS.iter().filter(|effect| member.linked.contains(**effect));
        violations.extend(found.map(|effect| Violation::Effect { dependency: (*effect).to_owned() }));
    }
}

fn crypto_dependencies(member: &Member, violations: &mut Vec<Violation>) {
    if member.name != PROTOCOL {
        let named = CRYPTO.iter().filter(|name| member.direct.contains(**name));
        let found = named.filter(|name| (member.name.as_str(), **name) != CRYPTO_OF_TLS);
        violations.extend(
            found.map(|name| Violation::CryptoDependency {
                member: member.name.clone(),
                dependency: (*name).to_owned(),
            }),
        );
    }
}

fn crypto_uses(source: &Source, violations: &mut Vec<Violation>) {
    if !source.path.starts_with("protocol/src/") || source.path.starts_with(CRYPTO_MODULE) {
        return;
    }
    for name in CRYPTO {
        let path = format!("{}::", name.replace('-', "_"));
        let named = source.text.lines().any(|line| !line.trim_start().starts_with("//") && holds_word(line, &path));
        if named {
            let dependency = (*name).to_owned();
            violations.push(Violation::CryptoUse { path: source.path.clone(), dependency });
        }
    }
}

/// Whether `line` contains `word` where no identifier or path runs into it from the left.
fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || character == '_' || character == ':')
    })
}

fn features(member: &Member, violations: &mut Vec<Violation>) {
    if !member.features.is_empty() {
        let features = member.features.iter().cloned().collect();
        violations.push(Violation::Features { member: member.name.clone(), features });
    }
}

fn lints(workspace: &Workspace, sources: &[Source], violations: &mut Vec<Violation>) {
    let holds = |path: &str, text: &str| sources.iter().any(|source| source.path == path && source.text.contains(text));
    if !holds("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n") {
        violations.push(Violation::UnsafeAllowed);
    }
    for Member { manifest, .. } in &workspace.members {
        if manifest != UNSAFE_MANIFEST && !holds(manifest, "[lints]\nworkspace = true\n") {
            violations.push(Violation::Lints { manifest: manifest.clone() });
        }
    }
}

fn line_citations(source: &Source, violations: &mut Vec<Violation>) {
    if source.path.ends_with(".toml") {
        return;
    }
    for (at, _) in source.text.match_indices(".rs:") {
        let rest = &source.text[at + ".rs:".len()..];
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        if digits > 0 {
            let name = source.text[..at].rsplit(|c: char| c.is_whitespace() || c == '`').next().unwrap_or_default();
            let citation = format!("{name}.rs:{}", &rest[..digits]);
            violations.push(Violation::LineCitation { path: source.path.clone(), citation });
        }
    }
}

/// Shipped code has the path of MS-PCCRR 2.1 in one place; tests may write down what they expect to see.
fn retrieval_path(sources: &[Source], violations: &mut Vec<Violation>) {
    let shipped = ["protocol/src/", "tap/src/", "discovery/src/", "transport/src/", "node/src/"];
    let guid = "116b50eb-ece2-41ac-8429-9f9e963361b7";
    let code = |source: &Source| source.text.split("#[cfg(test)]").next().unwrap_or_default().to_ascii_lowercase();
    let paths: Vec<String> = sources
        .iter()
        .filter(|source| shipped.iter().any(|folder| source.path.starts_with(folder)))
        .filter(|source| !source.path.ends_with("tests.rs") && !source.path.contains("/tests/"))
        .filter(|source| code(source).contains(guid))
        .map(|source| source.path.clone())
        .collect();
    if paths.len() > 1 {
        violations.push(Violation::RetrievalPath { paths });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, manifest: &str, direct: &[&str]) -> Member {
        Member {
            name: name.to_owned(),
            manifest: manifest.to_owned(),
            direct: direct.iter().map(|name| (*name).to_owned()).collect(),
            ..Member::default()
        }
    }

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// A small tree that keeps every rule.
    fn good() -> (Workspace, Vec<Source>) {
        let members = vec![
            member("peerdist-protocol", "protocol/Cargo.toml", &["sha2"]),
            member("peerdist-discovery", "discovery/Cargo.toml", &["peerdist-protocol", "tokio"]),
            member("peerdist-transport", "transport/Cargo.toml", &["peerdist-protocol", "tokio"]),
        ];
        let mut sources = vec![source("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n")];
        for member in &members {
            sources.push(source(&member.manifest, "[lints]\nworkspace = true\n"));
        }
        sources.push(source("protocol/src/crypto.rs", "use sha2::Sha256;"));
        sources.push(source("protocol/src/lib.rs", "pub mod crypto;\n// sha2::Sha256 is named elsewhere\n"));
        (Workspace { members }, sources)
    }

    #[track_caller]
    fn breaks(change: impl FnOnce(&mut Workspace, &mut Vec<Source>), expected: Violation) {
        let (mut workspace, mut sources) = good();
        assert_eq!(violations(&workspace, &sources), []);
        change(&mut workspace, &mut sources);
        assert_eq!(violations(&workspace, &sources), [expected]);
    }

    #[test]
    fn a_dependency_against_the_direction() {
        breaks(
            |workspace, _| assert!(workspace.members[1].direct.insert("peerdist-transport".to_owned())),
            Violation::Direction {
                member: "peerdist-discovery".to_owned(),
                dependency: "peerdist-transport".to_owned(),
            },
        );
    }

    #[test]
    fn a_member_without_a_place() {
        breaks(
            |workspace, _| workspace.members[1].name = "peerdist-extras".to_owned(),
            Violation::UnknownMember { member: "peerdist-extras".to_owned() },
        );
    }

    #[test]
    fn a_socket_below_the_protocol() {
        breaks(
            |workspace, _| assert!(workspace.members[0].linked.insert("socket2".to_owned())),
            Violation::Effect { dependency: "socket2".to_owned() },
        );
    }

    #[test]
    fn a_cipher_outside_the_protocol() {
        breaks(
            |workspace, _| assert!(workspace.members[2].direct.insert("aes".to_owned())),
            Violation::CryptoDependency { member: "peerdist-transport".to_owned(), dependency: "aes".to_owned() },
        );
    }

    #[test]
    fn a_hash_outside_its_module() {
        breaks(
            |_, sources| sources.push(source("protocol/src/content/v1.rs", "use sha2::Sha256;")),
            Violation::CryptoUse { path: "protocol/src/content/v1.rs".to_owned(), dependency: "sha2".to_owned() },
        );
    }

    #[test]
    fn a_module_of_ours_may_end_like_a_crypto_crate() {
        let (workspace, mut sources) = good();
        sources.push(source("protocol/src/content/v1.rs", "use crate::my_sha2::A; use crate::ring::B;"));
        assert_eq!(violations(&workspace, &sources), []);
    }

    #[test]
    fn a_feature_table() {
        breaks(
            |workspace, _| assert!(workspace.members[0].features.insert("extra".to_owned())),
            Violation::Features { member: "peerdist-protocol".to_owned(), features: vec!["extra".to_owned()] },
        );
    }

    #[test]
    fn a_member_with_lints_of_its_own() {
        breaks(
            |_, sources| sources[1].text = "[lints.rust]\nunsafe_code = \"allow\"\n".to_owned(),
            Violation::Lints { manifest: "protocol/Cargo.toml".to_owned() },
        );
    }

    #[test]
    fn unsafe_code_that_is_not_forbidden() {
        breaks(|_, sources| sources[0].text = sources[0].text.replace("forbid", "warn"), Violation::UnsafeAllowed);
    }

    #[test]
    fn a_citation_of_a_line() {
        let citation = ["wire.rs", "41"].join(":");
        breaks(
            |_, sources| sources.push(source("docs/wire.md", &format!("see `{citation}` for it"))),
            Violation::LineCitation { path: "docs/wire.md".to_owned(), citation: citation.clone() },
        );
    }

    #[test]
    fn the_retrieval_path_written_twice() {
        let path = "/116B50EB-ECE2-41ac-8429-9F9E963361B7/";
        breaks(
            |_, sources| {
                sources.push(source("protocol/src/retrieval/mod.rs", path));
                sources.push(source("protocol/src/retrieval/tests.rs", path));
                sources.push(source("transport/src/retrieval/server.rs", path));
            },
            Violation::RetrievalPath {
                paths: vec!["protocol/src/retrieval/mod.rs".to_owned(), "transport/src/retrieval/server.rs".to_owned()],
            },
        );
    }
}
