//! `cargo xtask conformance`: which test holds which statement of the documents.
//!
//! The statements are data, one file for each document in [`FOLDER`]. From them and from the tests that the tree really
//! has the book's page is made; what is wrong with either breaks a rule of the tree.

mod page;
mod tests_of;

use serde::Deserialize;

use crate::command::Failure;
use crate::rules::Violation;
use crate::tree::{self, Source};
use tests_of::{Found, TestIndex};

const FOLDER: &str = "interop-tests/conformance";
const PAGE: &str = "docs/conformance.md";

/// The documents, in the order of the page.
const DOCUMENTS: [&str; 5] = ["ms-pccrc", "ms-pccrd", "ms-pccrr", "ms-pccrtp", "ms-pchc"];

/// A document and what it demands.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    /// What it is about, in a few words.
    about: String,
    /// The revision whose section numbers are used.
    revision: String,
    #[serde(rename = "statement")]
    statements: Vec<Statement>,
}

/// Something that the document demands, or that it leaves open and everybody does in one way.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    section: String,
    role: Role,
    level: Level,
    says: String,
    /// The tests that fail when it is broken, as `path/of/file.rs::name_of_the_test`.
    #[serde(default)]
    tests: Vec<String>,
    /// Why no test holds it, or in what the code departs from it.
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Role {
    #[serde(rename = "both")]
    Both,
    #[serde(rename = "client")]
    Client,
    #[serde(rename = "server")]
    Server,
    #[serde(rename = "content server")]
    ContentServer,
    #[serde(rename = "hosted cache")]
    HostedCache,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Level {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "MAY")]
    May,
    /// The document is silent or contradicts itself; this is what implementations in the field do or need.
    #[serde(rename = "field")]
    Field,
}

/// What is wrong with the data or with the page.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{path} is missing")]
    MissingDocument { path: String },
    #[error("{path} is not understood: {message}")]
    Data { path: String, message: String },
    #[error("{place} has no words")]
    NoWords { place: String },
    #[error("{place} has neither tests nor a reason")]
    NotHeld { place: String },
    #[error("{place} names the test {test}, which does not exist")]
    NoSuchTest { place: String, test: String },
    #[error("{place} names the test {test}, which is there more than once")]
    Ambiguous { place: String, test: String },
    #[error("{place} names the test {test}, which is ignored")]
    Ignored { place: String, test: String },
    #[error("{PAGE} is not what {FOLDER} says; `cargo xtask conformance` writes it")]
    OutOfDate,
}

/// Writes the page, wrong names of tests or not: [`violations`] finds them.
pub(crate) fn write() -> Result<(), Failure> {
    let documents = documents(&tree::sources()?).map_err(|fault| Failure::Rules(vec![fault.into()]))?;
    let path = tree::root().join(PAGE);
    let written = std::fs::write(&path, page::page(&documents));
    written.map_err(|source| Failure::Write { path: PAGE.to_owned(), source })?;
    let statements = documents.iter().map(|document| document.statements.len()).sum::<usize>();
    println!("{PAGE}: {statements} statements");
    Ok(())
}

/// Everything in which data, tests and page disagree.
pub(crate) fn violations(sources: &[Source]) -> Vec<Violation> {
    let documents = match documents(sources) {
        Ok(documents) => documents,
        Err(fault) => return vec![fault.into()],
    };
    let tests = TestIndex::new(sources);
    let mut faults: Vec<Fault> = documents.iter().flat_map(|document| document.faults(&tests)).collect();
    let page = sources.iter().find(|source| source.path == PAGE);
    if page.is_none_or(|found| found.text != page::page(&documents)) {
        faults.push(Fault::OutOfDate);
    }
    faults.into_iter().map(Violation::from).collect()
}

fn documents(sources: &[Source]) -> Result<Vec<Document>, Fault> {
    let read = |name: &&str| {
        let path = format!("{FOLDER}/{name}.toml");
        let Some(source) = sources.iter().find(|source| source.path == path) else {
            return Err(Fault::MissingDocument { path });
        };
        toml::from_str(&source.text).map_err(|error| Fault::Data { path, message: error.to_string() })
    };
    DOCUMENTS.iter().map(read).collect()
}

impl Document {
    fn faults(&self, tests: &TestIndex<'_>) -> Vec<Fault> {
        self.statements.iter().flat_map(|statement| statement.faults(&self.name, tests)).collect()
    }
}

impl Statement {
    /// Whether the page can say that a test holds it.
    fn is_held(&self) -> bool {
        !self.tests.is_empty()
    }

    fn faults(&self, document: &str, tests: &TestIndex<'_>) -> Vec<Fault> {
        let place = format!("[{document}] {}, \"{}\",", self.section, self.says);
        let mut faults = Vec::new();
        if self.section.trim().is_empty() || self.says.trim().is_empty() {
            faults.push(Fault::NoWords { place: place.clone() });
        }
        if !self.is_held() && self.reason.trim().is_empty() {
            faults.push(Fault::NotHeld { place: place.clone() });
        }
        for test in &self.tests {
            let (place, test) = (place.clone(), test.clone());
            match tests.find(&test) {
                Found::Once => {}
                Found::Never => faults.push(Fault::NoSuchTest { place, test }),
                Found::MoreThanOnce => faults.push(Fault::Ambiguous { place, test }),
                Found::Ignored => faults.push(Fault::Ignored { place, test }),
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = r#"
name = "MS-TEST"
about = "tests"
revision = "1.0"

[[statement]]
section = "2.1"
role = "both"
level = "MUST"
says = "A thing is a thing."
tests = ["protocol/tests/things.rs::a_thing_is_a_thing"]

[[statement]]
section = "2.2"
role = "content server"
level = "field"
says = "Another thing | is not."
reason = "Nobody can tell."
"#;
    const TESTS: &str = "#[test]\nfn a_thing_is_a_thing() {}\n";

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// A tree in which data, tests and page agree, but for what is replaced in the data.
    fn tree(from: &str, to: &str) -> Vec<Source> {
        let mut sources: Vec<Source> =
            DOCUMENTS.iter().map(|name| source(&format!("{FOLDER}/{name}.toml"), DATA)).collect();
        assert!(DATA.contains(from));
        sources[0].text = DATA.replacen(from, to, 1);
        sources.push(source("protocol/tests/things.rs", TESTS));
        if let Ok(documents) = documents(&sources) {
            sources.push(source(PAGE, &page::page(&documents)));
        }
        sources
    }

    #[track_caller]
    fn breaks(from: &str, to: &str, expected: Fault) {
        assert_eq!(violations(&tree("", "")), []);
        assert_eq!(violations(&tree(from, to)), [Violation::from(expected)]);
    }

    fn first() -> String {
        "[MS-TEST] 2.1, \"A thing is a thing.\",".to_owned()
    }

    #[test]
    fn a_test_that_was_renamed_is_missed() {
        let test = "protocol/tests/things.rs::a_thing_was_a_thing".to_owned();
        breaks("::a_thing_is", "::a_thing_was", Fault::NoSuchTest { place: first(), test });
    }

    #[test]
    fn a_test_in_another_file_is_another_test() {
        let test = "protocol/tests/other.rs::a_thing_is_a_thing".to_owned();
        breaks("tests/things.rs", "tests/other.rs", Fault::NoSuchTest { place: first(), test });
    }

    #[test]
    fn a_statement_needs_a_test_or_a_reason() {
        let second = || "[MS-TEST] 2.2, \"Another thing | is not.\",".to_owned();
        breaks("reason = \"Nobody can tell.\"", "", Fault::NotHeld { place: second() });
        breaks("Nobody can tell.", " ", Fault::NotHeld { place: second() });
    }

    #[test]
    fn a_statement_needs_words() {
        let place = "[MS-TEST] 2.1, \"\",".to_owned();
        breaks("says = \"A thing is a thing.\"", "says = \"\"", Fault::NoWords { place });
    }

    #[test]
    fn data_that_is_not_understood() {
        for (from, to) in
            [("\"MUST\"", "\"OUGHT\""), ("\"both\"", "\"nobody\""), ("section =", "chapter ="), ("\"", "")]
        {
            let violations = violations(&tree(from, to));
            let [Violation::Conformance(Fault::Data { path, .. })] = &violations[..] else { panic!("{violations:?}") };
            assert_eq!(path, "interop-tests/conformance/ms-pccrc.toml");
        }
    }

    #[test]
    fn every_document_has_its_data() {
        let mut sources = tree("", "");
        sources.remove(4);
        let path = "interop-tests/conformance/ms-pchc.toml".to_owned();
        assert_eq!(violations(&sources), [Violation::from(Fault::MissingDocument { path })]);
    }

    #[test]
    fn the_page_is_what_the_data_say() {
        let mut sources = tree("", "");
        let page = sources.pop().unwrap();
        assert_eq!(violations(&sources), [Violation::from(Fault::OutOfDate)]);
        sources.push(source(PAGE, &page.text.replace("is a thing", "is no thing")));
        assert_eq!(violations(&sources), [Violation::from(Fault::OutOfDate)]);
    }
}
