//! The PeerDist API through the daemon's socket, as a program in C for peerdist.h sees it.

use std::path::{Path, PathBuf};
use std::process::Command;

use peerdist_interop_tests::installed::Installed;
use peerdist_interop_tests::programs::find;
use peerdist_protocol::content::{HashOptions, Hasher, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;

use crate::row::{Row, in_turns, rounds, rounds_of_each};
use crate::stage::{Node, hash, run, write_content};
use crate::tools::{MB, seconds};

/// What is read and published, in bytes.
const LENGTH: u64 = 1 << 30;
/// How much of a content is there while 500 reads wait for the rest: in each version it is whole segments.
const HERE: u64 = 64 << 20;
/// How many reads wait.
const WAITING: f64 = 500.0;
const MICROSECONDS: f64 = 1e6;

pub(crate) fn rows() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("content");
    write_content(&file, LENGTH);
    let [v1, v2] = ["v1", "v2"].map(|version| {
        let information = folder.path().join(version);
        hash(&file, version, &information);
        information
    });
    let program = Program::compile();
    let mut rows = Vec::new();
    {
        let node = Node::start("0,1");
        for (version, information) in [("v1", &v1), ("v2", &v2)] {
            node.fill(&file, information);
            let speed = rounds(|| {
                let [bytes, seconds] = program.run(&node, &["stream".as_ref(), information]);
                assert!(bytes == LENGTH as f64, "{bytes} bytes are not the content");
                bytes / MB / seconds
            });
            let work = format!("StreamRead of 1 MiB each, content information {version}");
            rows.push(Row::at_least(&work, speed, "MB/s", 1000.0, 2000.0));
        }
        for (version, information) in [("v1", &v1), ("v2", &v2)] {
            let length = LENGTH.to_string();
            let medians: [f64; 2] =
                rounds_of_each(|| program.run(&node, &["block".as_ref(), information, length.as_ref()]));
            for (order, median) in ["forward", "at random places"].into_iter().zip(medians) {
                let work = format!("BlockRead of 64 KiB {order}, median, content information {version}");
                rows.push(Row::at_most(&work, median * MICROSECONDS, "us", 150.0, 75.0));
            }
        }
    }
    rows.extend(outstanding(&program, &v2, &file));
    rows.push(publishing(&program, &file));
    rows
}

/// Nobody answers and the Probe's time is long: what is not cached is waited for.
fn outstanding(program: &Program, information: &Path, file: &Path) -> [Row; 2] {
    let node = Node::start_with("0,1", "[fetch]\nprobe_timeout = \"60s\"\n");
    let here = HERE.to_string();
    let [each_alone, all_alone, each, all, still] = rounds_of_each(|| {
        let figures = program.run(&node, &["outstanding".as_ref(), information, file, here.as_ref()]);
        run(node.peerdist().args(["cache", "clear"]));
        figures
    });
    assert!(still == WAITING, "only {still} were still waiting");
    [
        Row::against(
            "BlockReads one by one beside 500 that wait",
            1.0 / each,
            "alone",
            1.0 / each_alone,
            "/s",
            0.8,
            1.0,
        ),
        Row::against("500 BlockReads at once beside them", WAITING / all, "alone", WAITING / all_alone, "/s", 0.8, 1.0),
    ]
}

fn publishing(program: &Program, file: &Path) -> Row {
    let content = std::fs::read(file).expect("it was written");
    let speed = |seconds: f64| LENGTH as f64 / MB / seconds;
    let (ours, hasher) = in_turns(
        || {
            let node = Node::start("0,1");
            let [seconds] = program.run(&node, &["publish".as_ref(), file]);
            speed(seconds)
        },
        || {
            let options = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: true };
            let mut hasher = Hasher::new(options, &ServerSecret::from_passphrase("benchmark"));
            speed(seconds(|| {
                content.chunks(1 << 20).for_each(|piece| hasher.update(piece));
                let _ = hasher.finish();
            }))
        },
    );
    Row::against(
        "AddToStream of 1 MiB each, both versions",
        ours,
        "the hasher in this process",
        hasher,
        "MB/s",
        0.8,
        1.0,
    )
}

/// `api.c`, compiled against the library as it is installed.
struct Program {
    installed: Installed,
    path: PathBuf,
}

impl Program {
    fn compile() -> Self {
        let installed = Installed::new();
        let path = installed.prefix().join("bench-api");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/bench/api.c");
        let mut compile = Command::new(find("gcc"));
        compile.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"]).args([&path, &source]);
        run(compile.args(installed.pkg_config(&["--cflags", "--libs"])));
        Self { installed, path }
    }

    /// Runs it as a client of `node`; it prints one figure a line.
    fn run<const N: usize>(&self, node: &Node, arguments: &[&Path]) -> [f64; N] {
        let mut command = node.client(&self.path);
        command.env("LD_LIBRARY_PATH", self.installed.libraries()).args(arguments);
        let text = run(&mut command);
        let figures: Vec<f64> = text.lines().map(|line| line.parse().expect("a number")).collect();
        figures.try_into().unwrap_or_else(|figures| panic!("{arguments:?}: {figures:?}"))
    }
}
