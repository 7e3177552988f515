//! What the fuzzers run, run here without them: the seeds, every input that once broke something, and mutated seeds.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use peerdist_interop_tests::fuzzing::{TARGETS, Target, mutate, seeds};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The inputs that once broke something, by the names of their targets.
fn regressions(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(fuzz().join("regressions").join(target)) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Runs a target; an input that breaks something is left in a file.
fn run(target: Target, what: &str, bytes: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))) {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
        std::fs::write(&file, bytes).unwrap();
        eprintln!("{}: {what} breaks a promise; the input is in {}", target.name, file.display());
        resume_unwind(panic);
    }
}

fn mutations(name: &str) {
    // Files and whole captures cost a hundred times what the others do.
    let rounds = if matches!(name, "capture" | "store") { 100 } else { 3000 };
    let target = *TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(name);
    assert!(seeds.len() > 1, "{name} has no seeds");
    for (number, seed) in seeds.iter().enumerate() {
        run(target, &format!("seed {number}"), seed);
    }
    let mut random = SmallRng::seed_from_u64(7);
    for round in 0..rounds {
        let [one, other] = [0; 2].map(|_| &seeds[random.random_range(0..seeds.len())]);
        run(target, &format!("mutation {round}"), &mutate(&mut random, one, other));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                mutations(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_test_and_a_program() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), tested);
            let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
            for name in tested {
                assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
                let program = std::fs::read_to_string(fuzz().join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
                assert!(program.contains(&format!("run(\"{name}\", bytes)")), "{name}");
            }
        }
    };
}

targets! {
    capture
    content
    conversation
    datagram
    discovery_client
    discovery_server
    hosted_cache
    http
    retrieval
    schema
    store
    text
}

#[test]
fn what_once_broke_something_breaks_nothing() {
    for target in TARGETS {
        for (path, bytes) in regressions(target.name) {
            run(target, &path.display().to_string(), &bytes);
        }
    }
}
