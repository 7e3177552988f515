//! Programs that are killed with everything open and under way: the daemon keeps nothing of them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Instant;

use crate::support::programs::{beside, compiled};
use crate::support::*;

/// Kills of each kind.
const ROUNDS: usize = 100;
/// After so many the daemon has the memory that it needs for one at a time.
const WARM: usize = 20;

/// The program `held`.
struct Holder {
    child: Child,
    /// What a child of the program waits for the end of.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Holder {
    /// Starts it, and waits until it has everything open.
    fn start(world: &World, program: &Path, arguments: &[&str]) -> Self {
        let mut command = beside(world, program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut holder = Self { child, input, output };
        holder.expect("ready");
        holder
    }

    /// Has it start more operations.
    fn more(&mut self) {
        self.input.write_all(b"more\n").unwrap();
        self.expect("more");
    }

    fn expect(&mut self, wanted: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), wanted);
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the daemon holds for programs.
fn held(world: &World) -> serde_json::Value {
    world.daemon().status()["api"].take()
}

fn wait_until_nothing_is_held(world: &World) {
    let nothing = serde_json::json!({
        "users": 0, "sessions": 0, "contents": 0, "publications": 0, "staged_bytes": 0,
    });
    let began = Instant::now();
    loop {
        let held = held(world);
        if held == nothing {
            return;
        }
        assert!(began.elapsed() < LIMIT, "it keeps {held}");
    }
}

/// Bytes in memory and descriptors of the daemon.
fn size(world: &World) -> (u64, usize) {
    let process = Path::new("/proc").join(world.daemon().pid().to_string());
    let status = fs::read_to_string(process.join("status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: u64 = resident.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    (kibibytes << 10, fs::read_dir(process.join("fd")).unwrap().count())
}

/// Kills the program over and over.
fn kill_many(world: &mut World, arguments: &[&str]) {
    world.kill();
    // With somebody to ask, so that reads wait.
    world.start_with(&patient());
    let program = compiled(world, "held");
    let mut warm = (0, 0);
    for round in 0..ROUNDS {
        let mut holder = Holder::start(world, &program, arguments);
        let before = held(world);
        assert_eq!(before["sessions"], 1, "{before}");
        assert_eq!(before["contents"], 5, "{before}");
        assert_eq!(before["publications"], 2, "{before}");
        assert!(before["staged_bytes"].as_u64() > Some(1 << 20), "{before}");
        // Every other time with many operations of which the daemon has read nothing.
        if round % 2 == 1 {
            world.daemon().pause();
            holder.more();
        }
        holder.kill();
        world.daemon().go_on();
        wait_until_nothing_is_held(world);
        if round == WARM {
            warm = size(world);
        }
    }
    let ((memory, descriptors), (warm_memory, warm_descriptors)) = (size(world), warm);
    // Each program had more than a mebibyte there, and descriptors of its own. Some noise is allowed for.
    let kills = ROUNDS - WARM;
    assert!(memory < warm_memory + ((kills as u64) << 19), "{warm_memory} became {memory} bytes");
    assert!(descriptors < warm_descriptors + kills / 4, "{warm_descriptors} became {descriptors} descriptors");
}

#[test]
fn nothing_is_left_of_programs_that_are_killed() {
    case("killed_client::nothing_is_left_of_programs_that_are_killed", |world| kill_many(world, &[]));
}

#[test]
fn nothing_is_left_of_programs_that_are_killed_and_leave_a_child() {
    case("killed_client::nothing_is_left_of_programs_that_are_killed_and_leave_a_child", |world| {
        kill_many(world, &["child"]);
    });
}
