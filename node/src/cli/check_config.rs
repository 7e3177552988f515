//! `peerdist check-config FILE`.

use super::args::CheckConfigArguments;
use super::{Failure, output};
use crate::config::{Config, DEFAULT_FILE};

/// Prints "ok" for a file that the daemon would take, fails with the offending line otherwise.
pub fn run(arguments: &CheckConfigArguments) -> Result<(), Failure> {
    match &arguments.file {
        None => output::write(|to| to.write_all(DEFAULT_FILE.as_bytes())),
        Some(file) => {
            Config::load(file)?;
            output::write(|to| writeln!(to, "{}: ok", file.display()))
        }
    }
}
