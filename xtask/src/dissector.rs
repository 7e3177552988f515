//! `cargo xtask dissector`: the Wireshark dissector as one file.
//!
//! What it says of structures and fields is made here from the tables of `peerdist_protocol::schema`; how it reads
//! bytes along them is written by hand, in Lua, in [`PARTS`].

mod fields;
mod tables;

use std::fmt::Write as _;
use std::path::Path;

use peerdist_protocol::{discovery, hosted_cache, retrieval, schema};

use crate::command::Failure;
use crate::rules::Violation;
use crate::tree;

const FILE: &str = "pcaps/dissector/peerdist.lua";
const PARTS: &str = "pcaps/dissector/parts";

const HEAD: &str = "\
-- Wireshark dissector for BranchCache: MS-PCCRD, MS-PCCRR, MS-PCHC, MS-PCCRTP and the content information of MS-PCCRC.
-- How to install and use it is in docs/dissector.md. Licence: MIT OR Apache-2.0.
--
-- Made by `cargo xtask dissector` from the field tables of the project's decoder and the files in
-- pcaps/dissector/parts. Change those, not this.
";

/// Writes the file.
pub(crate) fn write() -> Result<(), Failure> {
    let text = dissector(tree::root())?;
    let written = std::fs::write(tree::root().join(FILE), &text);
    written.map_err(|source| Failure::Write { path: FILE.to_owned(), source })?;
    println!("{FILE}: {} lines", text.lines().count());
    Ok(())
}

/// The rule that is broken where the file is another one.
pub(crate) fn violation() -> Result<Option<Violation>, Failure> {
    let found = std::fs::read_to_string(tree::root().join(FILE)).unwrap_or_default();
    Ok((found != dissector(tree::root())?).then_some(Violation::Dissector { path: FILE }))
}

fn dissector(root: &Path) -> Result<String, Failure> {
    let mut names: Vec<_> = list(root)?;
    names.sort();
    let mut text = HEAD.to_owned();
    // One table for each part; a part begins with a number that gives its place, and may add to the tables before it.
    let modules: Vec<&str> =
        names.iter().filter_map(|name| name.strip_suffix(".lua")?.split_once('_')).map(|(_, module)| module).collect();
    let _ = writeln!(text, "\nlocal facts, tables, fields = {{}}, {{}}, {{}}");
    for module in modules {
        let _ = writeln!(text, "local {module} = {{}}");
    }
    facts(&mut text);
    tables::write(&mut text);
    fields::write(&mut text);
    for name in names {
        let path = format!("{PARTS}/{name}");
        let part = std::fs::read_to_string(root.join(&path)).map_err(|source| Failure::Read { path, source })?;
        let _ = write!(text, "\n------ {name}\n\ndo\n\n{part}\nend\n");
    }
    Ok(text)
}

fn list(root: &Path) -> Result<Vec<String>, Failure> {
    let failed = |source| Failure::Read { path: PARTS.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join(PARTS)).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".lua") {
            names.push(name);
        }
    }
    Ok(names)
}

/// Paths, limits and lists of names.
fn facts(text: &mut String) {
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "facts.{name} = {value}");
    };
    fact("retrieval_path", quoted(retrieval::PATH));
    fact("hosted_cache_path_1", quoted(hosted_cache::Version::V1.path()));
    fact("hosted_cache_path_2", quoted(hosted_cache::Version::V2.path()));
    fact("discovery_port", discovery::PORT.to_string());
    fact("max_datagram_size", discovery::MAX_DATAGRAM_SIZE.to_string());
    fact("max_ids", discovery::MAX_IDS.to_string());
    fact("max_identity_size", discovery::MAX_IDENTITY_SIZE.to_string());
    fact("datagram_elements", names(&schema::DATAGRAM_ELEMENTS));
    fact("shown_headers", names(&schema::SHOWN_HEADERS));
    fact("header_parameters", names(&schema::HEADER_PARAMETERS));
}

fn names(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("{{ {} }}", quoted.join(", "))
}

/// A string as Lua writes it; there are no control characters in ours.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
