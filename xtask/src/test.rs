//! `cargo xtask test`: the README's test command.

use crate::command::{Failure, cargo, run};
use crate::setup;

/// Sets up what the tests need, builds the binaries that they start, and runs every test of the workspace.
/// `arguments` go to `cargo test`.
///
/// The dev profile is used: it checks overflow and debug assertions, and what would be slow unoptimised (hashing,
/// ciphers, XML, HTTP) is optimised in it too.
pub(crate) fn run_all(arguments: &[String]) -> Result<(), Failure> {
    setup::for_tests()?;
    // Tests start peerdist and peerdistd as processes and install the library; cargo alone builds them for their own
    // package's tests only.
    run(cargo().args(["build", "--workspace", "--lib", "--bins"]))?;
    run(cargo().args(["test", "--workspace"]).args(arguments))
}
