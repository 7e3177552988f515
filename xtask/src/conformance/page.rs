//! The page of the book.

use std::fmt::Write as _;

use super::{Document, FOLDER, Level, Role, Statement};

/// The whole page: what it is, the counts, and a table for each document.
pub(super) fn page(documents: &[Document]) -> String {
    let mut page = String::from(
        "# Conformance\n\n\
         Every statement of the five documents that binds a program such as this one, in our own words, and the tests\n\
         that fail when it is broken; or why there is no such test, or in what we depart from it.\n\n\
         MUST, SHOULD and MAY are the documents' words; what a document simply defines, as a layout, counts as MUST. What\n\
         a document leaves open, or says in two ways, and implementations in the field decide is \"field\". Departures are\n\
         collected in [SPEC-NOTES.md](../protocol/SPEC-NOTES.md).\n\n",
    );
    let _ = writeln!(
        page,
        "`cargo xtask conformance` makes this page from the files in [{FOLDER}](../{FOLDER});\n\
         `cargo xtask ci` fails where it is outdated or names a test that does not exist.\n"
    );
    counts(&mut page, documents);
    for document in documents {
        let _ = writeln!(page, "\n## {}: {}\n", document.name, document.about);
        let _ = writeln!(page, "Sections are those of revision {}.\n", document.revision);
        page.push_str("| section | role | level | statement | held by, or why not |\n|---|---|---|---|---|\n");
        for statement in &document.statements {
            let Statement { section, says, .. } = statement;
            let (role, level) = (statement.role.name(), statement.level.name());
            let _ = writeln!(page, "| {section} | {role} | {level} | {} | {} |", cell(says), cell(&held_by(statement)));
        }
    }
    page
}

fn counts(page: &mut String, documents: &[Document]) {
    page.push_str(
        "| document | statements | held by tests | of these with a departure or a limit | without a test |\n",
    );
    page.push_str("|---|--:|--:|--:|--:|\n");
    let all = documents.iter().flat_map(|document| &document.statements);
    for document in documents {
        let title = document.name.to_ascii_lowercase();
        let about = document.about.to_ascii_lowercase().replace(' ', "-");
        let name = format!("[{}](#{title}-{about})", document.name);
        row(page, &name, &document.statements.iter().collect::<Vec<_>>());
    }
    row(page, "all", &all.collect::<Vec<_>>());
}

fn row(page: &mut String, name: &str, statements: &[&Statement]) {
    let count = |condition: fn(&Statement) -> bool| statements.iter().filter(|statement| condition(statement)).count();
    let held = count(|statement| statement.is_held());
    let limited = count(|statement| statement.is_held() && !statement.reason.is_empty());
    let without = count(|statement| !statement.is_held());
    let _ = writeln!(page, "| {name} | {} | {held} | {limited} | {without} |", statements.len());
}

/// The tests by name, linked to their files, then the reason.
fn held_by(statement: &Statement) -> String {
    let link = |test: &String| {
        let (file, name) = test.split_once("::").unwrap_or((test, test));
        format!("[{name}](../{file})")
    };
    let mut parts: Vec<String> = statement.tests.iter().map(link).collect();
    if !statement.reason.is_empty() {
        parts.push(statement.reason.clone());
    }
    parts.join("<br>")
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Client => "client",
            Self::Server => "server",
            Self::ContentServer => "content server",
            Self::HostedCache => "hosted cache",
        }
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
            Self::Field => "field",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_counts_and_a_row_for_each_statement() {
        let statement = |tests: &[&str], reason: &str| Statement {
            section: "2.1".to_owned(),
            role: Role::ContentServer,
            level: Level::Field,
            says: "One|two.".to_owned(),
            tests: tests.iter().map(|test| (*test).to_owned()).collect(),
            reason: reason.to_owned(),
        };
        let document = Document {
            name: "MS-TEST".to_owned(),
            about: "some things".to_owned(),
            revision: "7.0".to_owned(),
            statements: vec![
                statement(&["a/b.rs::one", "a/c.rs::two"], ""),
                statement(&["a/b.rs::one"], "Not all."),
                statement(&[], "Why."),
            ],
        };
        let page = page(&[document]);
        for line in [
            "| [MS-TEST](#ms-test-some-things) | 3 | 2 | 1 | 1 |",
            "| all | 3 | 2 | 1 | 1 |",
            "## MS-TEST: some things",
            "Sections are those of revision 7.0.",
            "| 2.1 | content server | field | One\\|two. | [one](../a/b.rs)<br>[two](../a/c.rs) |",
            "| 2.1 | content server | field | One\\|two. | [one](../a/b.rs)<br>Not all. |",
            "| 2.1 | content server | field | One\\|two. | Why. |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
