//! Running other programs, and what can go wrong with a task.

use std::io;
use std::process::Command;

use crate::rules::Violation;
use crate::setup::Missing;

/// Why a task ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The program could not be started at all.
    #[error("cannot run `{program}`: {source}")]
    Start { program: String, source: io::Error },
    /// The program ran and said no.
    #[error("`{command}` ended with status {code}")]
    Status { command: String, code: u8 },
    /// `cargo metadata` gave nothing usable.
    #[error("cannot read the workspace: {0}")]
    Metadata(#[from] cargo_metadata::Error),
    /// A file of the tree could not be read.
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    /// A file could not be written where it was to go.
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: io::Error },
    /// The arguments of a task make no sense.
    #[error("{0}")]
    Usage(String),
    /// The tree breaks its own rules.
    #[error("{} broken:\n{}", plural(.0.len(), "rule is", "rules are"), lines(.0))]
    Rules(Vec<Violation>),
    /// Programs that the tests need are not there and cannot be installed by us.
    #[error("{0}")]
    Missing(#[from] Missing),
}

/// Prints `command` as a shell would show it, runs it, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = shown(command);
    println!("\n$ {shown}");
    let status = command.status().map_err(|source| start_failure(command, source))?;
    if status.success() {
        return Ok(());
    }
    // A signal has no status of its own.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Err(Failure::Status { command: shown, code })
}

/// Runs `command` silently and says whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Runs `command` and returns what it printed.
pub(crate) fn capture(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(|source| start_failure(command, source))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        let code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        return Err(Failure::Status { command: shown(command), code });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `cargo` as the one that runs this task, in the root of the tree.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::tree::root());
    command
}

fn start_failure(command: &Command, source: io::Error) -> Failure {
    Failure::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn lines(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("  - {violation}")).collect::<Vec<_>>().join("\n")
}
