//! `peerdistd`, the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    peerdist_node::cli::daemon_main()
}
