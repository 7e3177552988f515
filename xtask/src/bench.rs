//! `cargo xtask bench`: every row of the table of speed, side by side with its yardstick.

use std::fmt::Write as _;
use std::fs;

use crate::command::{Failure, capture, cargo, run};
use crate::{setup, tree};

/// The page that keeps the last run, and the line behind which it does.
const PAGE: &str = "docs/benchmarks.md";
const MARK: &str = "<!-- The last run; `cargo xtask bench` writes what follows. -->";

/// Sets up the yardsticks, builds everything optimised, and measures. `arguments` are `--json` and names of groups; a
/// run of all groups without `--json` is kept in the book.
pub(crate) fn run_all(arguments: &[String]) -> Result<(), Failure> {
    setup::for_benchmarks()?;
    run(cargo().args(["build", "--quiet", "--release", "--workspace", "--bins"]))?;
    run(cargo().args(["build", "--quiet", "--release", "--package", "peerdist-capi", "--lib"]))?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--release", "--package", "peerdist-interop-tests", "--bin", "bench", "--"]);
    bench.args(arguments);
    if !arguments.is_empty() {
        return run(&mut bench);
    }
    let table = capture(&mut bench)?;
    print!("{table}");
    keep(&table)
}

fn keep(table: &str) -> Result<(), Failure> {
    let path = tree::root().join(PAGE);
    let failed = |source| Failure::Read { path: PAGE.to_owned(), source };
    let page = fs::read_to_string(&path).map_err(failed)?;
    let before = page.split(MARK).next().unwrap_or_default();
    let mut text = format!("{before}{MARK}\n\n");
    let _ = writeln!(text, "On {}:\n\n{table}", machine());
    fs::write(&path, text).map_err(failed)
}

/// What the figures depend on most.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map_or("", |(_, name)| name);
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    format!("{cores} cores of {}, Linux {version}", model.trim())
}
