//! `cargo xtask fuzz`: the fuzz targets, built with coverage by the stable toolchain, and run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, capture, cargo, run};
use crate::tree;

/// A workspace of its own, which no other task builds.
const CRATE: &str = "interop-tests/fuzz";

/// What libFuzzer needs to see where a run went, without a sanitizer; and every check that is in a debug build.
const RUSTFLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg fuzzing",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
];

/// How long a target runs unless it is told, and in continuous integration, in seconds.
const SECONDS: u32 = 60;
const SMOKE_SECONDS: u32 = 3;
/// The most memory that a target may take. What it parses has limits that are far below.
const MEMORY_MB: u32 = 1024;
/// The longest that one input may take, in seconds.
const TIMEOUT: u32 = 10;

/// Runs the targets that are named, or all: `[NAME...] [--seconds N]`, N for each.
pub(crate) fn run_some(arguments: &[String]) -> Result<(), Failure> {
    let (mut names, mut seconds) = (Vec::new(), SECONDS);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let number = arguments.next().and_then(|number| number.parse().ok());
            seconds = number.ok_or_else(|| Failure::Usage("--seconds needs a number".to_owned()))?;
        } else {
            names.push(argument.clone());
        }
    }
    fuzz(names, seconds)
}

/// Builds all targets and lets each run for a moment.
pub(crate) fn smoke() -> Result<(), Failure> {
    fuzz(Vec::new(), SMOKE_SECONDS)
}

fn fuzz(mut names: Vec<String>, seconds: u32) -> Result<(), Failure> {
    let known = targets()?;
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(Failure::Usage(format!("no fuzz target {unknown:?}; there are {}", known.join(", "))));
    }
    if names.is_empty() {
        names = known;
    }
    let folder = tree::metadata()?.target_directory.into_std_path_buf().join("fuzz");
    let programs = build(&folder, &names)?;
    let seeds = folder.join("seeds");
    // Those of an older tree; there are none at first.
    let _ = fs::remove_dir_all(&seeds);
    let mut write_seeds = cargo();
    write_seeds.args(["run", "--quiet", "--package", "peerdist-interop-tests", "--bin", "fuzz_seeds", "--"]);
    run(write_seeds.arg(&seeds))?;
    println!();
    // What one target finds is no reason not to run the others.
    let outcomes: Vec<_> = names.iter().map(|name| run_one(name, &programs.join(name), &folder, seconds)).collect();
    outcomes.into_iter().collect()
}

/// The names of all targets.
fn targets() -> Result<Vec<String>, Failure> {
    let folder = tree::root().join(CRATE).join("fuzz_targets");
    let failed = |source| Failure::Read { path: folder.display().to_string(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds targets into `folder`, and returns where the programs are.
fn build(folder: &Path, names: &[String]) -> Result<PathBuf, Failure> {
    lock()?;
    let version = capture(cargo().arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let mut build = cargo();
    build.current_dir(tree::root().join(CRATE));
    // With a target, the flags are not those of build scripts, which have no libFuzzer to be linked to.
    build.args(["build", "--quiet", "--release", "--target", host]);
    build.args(names.iter().flat_map(|name| ["--bin", name]));
    build.env("CARGO_TARGET_DIR", folder).env("RUSTFLAGS", RUSTFLAGS.join(" "));
    run(&mut build)?;
    Ok(folder.join(host).join("release"))
}

/// Gives the crate the versions of the workspace; cargo adds those of libFuzzer.
fn lock() -> Result<(), Failure> {
    let [from, to] = ["", CRATE].map(|folder| tree::root().join(folder).join("Cargo.lock"));
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if modified(&to) < modified(&from) {
        let written = fs::read(&from).and_then(|bytes| fs::write(&to, bytes));
        written.map_err(|source| Failure::Write { path: to.display().to_string(), source })?;
    }
    Ok(())
}

fn run_one(name: &str, program: &Path, folder: &Path, seconds: u32) -> Result<(), Failure> {
    let [corpus, artifacts, logs] = ["corpus", "artifacts", "logs"].map(|kind| folder.join(kind));
    let [corpus, artifacts] = [corpus, artifacts].map(|kind| kind.join(name));
    let log = logs.join(name);
    let failed = |source| Failure::Write { path: folder.display().to_string(), source };
    for folder in [&corpus, &artifacts, &logs] {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut fuzzer = Command::new(program);
    // What is found goes into the first folder.
    fuzzer.args([&corpus, &folder.join("seeds").join(name)]);
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.arg(format!("-rss_limit_mb={MEMORY_MB}"));
    fuzzer.arg(format!("-timeout={TIMEOUT}"));
    fuzzer.arg("-print_final_stats=1");
    fuzzer.stderr(File::create(&log).map_err(failed)?);
    let outcome = run(&mut fuzzer);
    let text = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    println!("{}", summary(&text));
    if outcome.is_err() {
        let last: Vec<_> = text.lines().rev().take(40).collect();
        eprintln!("{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        eprintln!("\nThe whole of it is in {}. When it is mended, keep the input in", log.display());
        eprintln!("{CRATE}/regressions/{name}, under a name that says what it broke.");
    }
    outcome
}

/// Of what libFuzzer prints, how many inputs ran and how much code they reached.
fn summary(log: &str) -> String {
    let statistic = |name: &str| log.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let runs = statistic("stat::number_of_executed_units:").unwrap_or_else(|| "?".to_owned());
    let memory = statistic("stat::peak_rss_mb:").unwrap_or_else(|| "?".to_owned());
    let after = |word: &str, line: &str| line.split_once(word)?.1.split_whitespace().next().map(str::to_owned);
    let covered: Vec<_> = log.lines().filter_map(|line| after("cov: ", line)).collect();
    let (first, last) = (covered.first().map_or("?", String::as_str), covered.last().map_or("?", String::as_str));
    format!("{runs} runs, coverage {first} to {last}, {memory} MB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_what_the_fuzzer_prints() {
        let log = "INFO: seed corpus: files: 3\n#4\tINITED cov: 100 ft: 120 corp: 3/90b\n#9\tNEW    cov: 130 ft: 9\n\
                   #20\tDONE   cov: 131 ft: 10\nstat::number_of_executed_units: 20\nstat::peak_rss_mb:      44\n";
        assert_eq!(summary(log), "20 runs, coverage 100 to 131, 44 MB");
        assert_eq!(summary(""), "? runs, coverage ? to ?, ? MB");
    }

    #[test]
    fn targets_have_names() {
        let names = targets().expect("the tree has its targets");
        assert!(names.contains(&"content".to_owned()) && names.len() > 10, "{names:?}");
    }
}
