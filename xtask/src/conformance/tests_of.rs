//! The tests that the tree has, by file and name.

use std::collections::BTreeMap;

use crate::tree::Source;

/// Every function of the tree that a test attribute stands over; those inside `proptest!` are among them.
#[derive(Debug)]
pub(super) struct TestIndex<'a> {
    by_file: BTreeMap<&'a str, Vec<Test<'a>>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Test<'a> {
    name: &'a str,
    is_ignored: bool,
}

/// How often a test is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Once,
    Never,
    MoreThanOnce,
    /// It is there, but does not run.
    Ignored,
}

impl<'a> TestIndex<'a> {
    pub(super) fn new(sources: &'a [Source]) -> Self {
        let files = sources.iter().filter(|source| source.path.ends_with(".rs"));
        Self { by_file: files.map(|source| (source.path.as_str(), tests_of(&source.text))).collect() }
    }

    /// Looks for `path/of/file.rs::name`.
    pub(super) fn find(&self, path: &str) -> Found {
        let Some((file, name)) = path.split_once("::") else { return Found::Never };
        let mut found = self.by_file.get(file).into_iter().flatten().filter(|test| test.name == name);
        match (found.next(), found.next()) {
            (None, _) => Found::Never,
            (Some(_), Some(_)) => Found::MoreThanOnce,
            (Some(test), None) if test.is_ignored => Found::Ignored,
            (Some(_), None) => Found::Once,
        }
    }
}

/// Reads the attributes line by line, as rustfmt lays them out, up to the function that they belong to.
fn tests_of(text: &str) -> Vec<Test<'_>> {
    let mut tests = Vec::new();
    let (mut is_test, mut is_ignored) = (false, false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= ["#[test]", "#[tokio::test]", "#[tokio::test("].iter().any(|start| line.starts_with(start));
            is_ignored |= line.starts_with("#[ignore");
        } else if !line.is_empty() && !line.starts_with("//") {
            if is_test && let Some(name) = function(line) {
                tests.push(Test { name, is_ignored });
            }
            (is_test, is_ignored) = (false, false);
        }
    }
    tests
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    let end = line.find(|character: char| !character.is_alphanumeric() && character != '_')?;
    line.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
//! #[test]
fn no_test() {}

#[test]
fn plain() {
    #[cfg(unix)]
    let x = 1;
}

#[tokio::test(flavor = "multi_thread")]
/// With words.
async fn with_a_runtime() {}

#[test]
#[ignore = "slow"]
fn never_run() {}

// #[test]
fn commented_out() {}

mod one {
    #[test]
    fn twice() {}
}

mod two {
    #[test]
    fn twice() {}
}

proptest! {
    #[test]
    fn whatever_comes(bytes in any::<u8>()) {}
}
"#;

    #[test]
    fn tests_are_found_in_every_shape_and_nothing_else_is() {
        let sources = [
            Source { path: "a/b.rs".to_owned(), text: TEXT.to_owned() },
            Source { path: "a/b.md".to_owned(), text: TEXT.to_owned() },
        ];
        let index = TestIndex::new(&sources);
        for (path, expected) in [
            ("a/b.rs::plain", Found::Once),
            ("a/b.rs::with_a_runtime", Found::Once),
            ("a/b.rs::whatever_comes", Found::Once),
            ("a/b.rs::never_run", Found::Ignored),
            ("a/b.rs::twice", Found::MoreThanOnce),
            ("a/b.rs::no_test", Found::Never),
            ("a/b.rs::commented_out", Found::Never),
            ("a/b.rs::plai", Found::Never),
            ("a/c.rs::plain", Found::Never),
            ("a/b.md::plain", Found::Never),
            ("plain", Found::Never),
        ] {
            assert_eq!(index.find(path), expected, "{path}");
        }
    }
}
