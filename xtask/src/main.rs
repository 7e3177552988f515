//! The project's own tasks, run as `cargo xtask TASK`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a task speaks to the person who runs it")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bench;
mod captures;
mod ci;
mod command;
mod conformance;
mod dissector;
mod fuzz;
mod install;
mod licences;
mod rules;
mod setup;
mod test;
mod tree;

use std::process::ExitCode;

use command::Failure;

const USAGE: &str = "\
usage: cargo xtask TASK

  test [ARGUMENTS]   set up what the tests need, build, and run all tests; ARGUMENTS go to `cargo test`
  bench [--json] [GROUP...]
                     measure speed beside the yardsticks; without words, keep the result in docs/benchmarks.md
  install-library [--prefix DIR] [--destdir DIR] [--library FILE]
                     build libpeerdist, or take FILE, and install it with headers and pkg-config file; to /usr/local
  captures [NAME...] make the captures of pcaps/ anew, or those that are named
  conformance        write docs/conformance.md: which test holds which statement of the documents
  dissector          write pcaps/dissector/peerdist.lua: the Wireshark dissector with the field tables
  fuzz [NAME...] [--seconds N]
                     build the fuzz targets and run each of them, or those that are named, for N seconds; 60
  ci                 everything that continuous integration checks, then `test`
  rules              the rules of the tree alone: dependencies, lints, licences, conformance, the dissector
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match task.as_str() {
        "test" => test::run_all(&rest),
        "bench" => bench::run_all(&rest),
        "install-library" => install::install_library(&rest),
        "captures" => captures::make(&rest),
        "conformance" => conformance::write(),
        "dissector" => dissector::write(),
        "fuzz" => fuzz::run_some(&rest),
        "ci" => ci::run_all(),
        "rules" => ci::check_rules(),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            // The status of the command that failed, so that a caller sees what cargo itself would have said.
            match failure {
                Failure::Status { code, .. } => ExitCode::from(code),
                Failure::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
