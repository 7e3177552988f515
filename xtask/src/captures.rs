//! `cargo xtask captures`: the captures of `pcaps/`, made anew.

use crate::command::{Failure, cargo, run};
use crate::setup;

/// Sets up what the lab needs, builds, and makes the captures; `names` are those of captures, none for all of them.
pub(crate) fn make(names: &[String]) -> Result<(), Failure> {
    setup::for_tests()?;
    run(cargo().args(["build", "--quiet", "--workspace", "--bins"]))?;
    let mut captures = cargo();
    captures.args(["run", "--quiet", "--package", "peerdist-interop-tests", "--bin", "captures", "--"]);
    run(captures.args(names))
}
