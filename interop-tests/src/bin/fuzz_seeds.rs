//! Writes the seeds of every fuzz target into a folder, one folder for each below it: `cargo xtask fuzz` does this.
#![allow(clippy::print_stderr, reason = "a program speaks to the person who runs it")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, io};

use peerdist_interop_tests::fuzzing::{TARGETS, seeds};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: fuzz_seeds FOLDER");
        return ExitCode::from(2);
    };
    let write = |target: &str| -> io::Result<()> {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        let mut seeds = (0..).zip(seeds(target));
        seeds.try_for_each(|(number, seed): (u32, _)| fs::write(folder.join(format!("seed-{number:04}")), seed))
    };
    for target in TARGETS {
        if let Err(error) = write(target.name) {
            eprintln!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
