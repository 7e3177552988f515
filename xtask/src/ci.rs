//! `cargo xtask ci`: what continuous integration checks.

use crate::command::{Failure, cargo, run};
use crate::{conformance, dissector, fuzz, licences, rules, test, tree};

/// Cheap checks first, then the tests, and at the end a moment of every fuzz target.
pub(crate) fn run_all() -> Result<(), Failure> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    check_rules()?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    test::run_all(&[])?;
    fuzz::smoke()
}

/// The rules that the tree gives itself, and the licences of everything it builds on.
pub(crate) fn check_rules() -> Result<(), Failure> {
    let metadata = tree::metadata()?;
    let sources = tree::sources()?;
    let mut violations = rules::violations(&tree::Workspace::from(&metadata), &sources);
    violations.extend(licences::violations(&metadata));
    violations.extend(conformance::violations(&sources));
    violations.extend(dissector::violation()?);
    if violations.is_empty() {
        println!("\nrules of the tree: kept in {} files, {} packages", sources.len(), metadata.packages.len());
        return Ok(());
    }
    Err(Failure::Rules(violations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_keeps_its_rules() {
        if let Err(failure) = check_rules() {
            panic!("{failure}");
        }
    }
}
