//! The verbs of `peerdist`.
//!
//! | verb | module |
//! |---|---|
//! | `hash` | [`hash`] |
//! | `show` | [`show`] |
//! | `check-config` | [`check_config`] |
//!
//! Results go to standard output, with `--json` as exactly one object; everything else goes to standard error. Colour
//! and progress bars appear on terminals alone. Exit statuses are [`ExitStatus`].

mod args;
pub mod check_config;
mod exit;
pub mod hash;
mod output;
mod progress;
pub mod show;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub use args::{
    Arguments, ByteRange, CacheAddArguments, CacheArguments, CacheVerb, CheckConfigArguments, ContentInfoVersion,
    DaemonArguments, DemoArguments, GetArguments, HashArguments, HashName, ProbeArguments, SecretArguments, ServeArguments,
    ShowArguments, StatusArguments, Verb,
};
pub use exit::{ExitStatus, Failure};
pub use output::Output;
pub use progress::{BytesFrom, Progress};

/// Runs `peerdist` with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitStatus {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    finish(match arguments.verb {
        Verb::CheckConfig(arguments) => check_config::run(&arguments),
        Verb::Hash(arguments) => hash::run(&arguments),
        Verb::Show(arguments) => show::run(&arguments),
    })
}

fn usage(error: &clap::Error) -> ExitStatus {
    // Nothing is left to do where the terminal is gone.
    let _ = error.print();
    if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Success }
}

fn finish(result: Result<(), Failure>) -> ExitStatus {
    match result {
        Ok(()) => ExitStatus::Success,
        Err(failure) => {
            failure.print();
            failure.status()
        }
    }
}
