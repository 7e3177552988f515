//! `peerdist`, the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    peerdist_node::cli::main()
}
