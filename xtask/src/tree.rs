//! The tree on disk: its root, its files, and what cargo knows of its members.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::command::{Failure, capture};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// The workspace with its whole dependency graph. Fails when `Cargo.lock` is not up to date.
pub(crate) fn metadata() -> Result<Metadata, Failure> {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).other_options(vec!["--locked".to_owned()]);
    Ok(command.exec()?)
}

/// What the rules need to know of the members.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) members: Vec<Member>,
}

/// A package of the workspace.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Where its manifest is, relative to the root.
    pub(crate) manifest: String,
    /// Names of direct dependencies, of every kind.
    pub(crate) direct: BTreeSet<String>,
    /// Names of everything that a build of its library contains: normal dependencies, and theirs.
    pub(crate) linked: BTreeSet<String>,
    /// Names of its cargo features.
    pub(crate) features: BTreeSet<String>,
}

impl From<&Metadata> for Workspace {
    fn from(metadata: &Metadata) -> Self {
        let names: BTreeMap<&PackageId, &str> =
            metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
        let mut members = Vec::new();
        for package in metadata.workspace_packages() {
            let manifest = package.manifest_path.strip_prefix(&metadata.workspace_root);
            members.push(Member {
                name: package.name.to_string(),
                manifest: manifest.unwrap_or(&package.manifest_path).to_string(),
                direct: package.dependencies.iter().map(|dependency| dependency.name.clone()).collect(),
                linked: linked(metadata, &package.id).into_iter().map(|id| names[&id].to_owned()).collect(),
                features: package.features.keys().cloned().collect(),
            });
        }
        Self { members }
    }
}

fn linked(metadata: &Metadata, from: &PackageId) -> BTreeSet<PackageId> {
    let resolve = metadata.resolve.as_ref().expect("cargo metadata without --no-deps resolves");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut seen = BTreeSet::new();
    let mut open = vec![from.clone()];
    while let Some(id) = open.pop() {
        for dependency in &nodes[&id].deps {
            let normal = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if normal && seen.insert(dependency.pkg.clone()) {
                open.push(dependency.pkg.clone());
            }
        }
    }
    seen
}

/// A text file of the tree.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the root.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every `.rs`, `.md` and `.toml` file that git tracks or would add.
pub(crate) fn sources() -> Result<Vec<Source>, Failure> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listing = capture(git.args(["--", "*.rs", "*.md", "*.toml"]))?;
    let mut sources = Vec::new();
    for path in listing.split_terminator('\0') {
        let file = root().join(path);
        // git lists a file that was deleted without being removed from its index.
        if !file.exists() {
            continue;
        }
        let text = std::fs::read_to_string(&file);
        let text = text.map_err(|source| Failure::Read { path: path.to_owned(), source })?;
        sources.push(Source { path: path.to_owned(), text });
    }
    Ok(sources)
}
