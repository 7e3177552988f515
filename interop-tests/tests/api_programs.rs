//! Programs written for peerdist.h, compiled against the library as it is installed: the examples of `node/capi`, on
//! hosts with daemons of their own.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use peerdist_interop_tests::installed::{Installed, Language, example};
use peerdist_interop_tests::lab::{Host, Lab, Plan, Shape};
use peerdist_interop_tests::nginx::Nginx;
use peerdist_interop_tests::nodes::{Node, content};
use peerdist_interop_tests::process::{Finished, PATIENCE, Process};
use peerdist_interop_tests::{isolated, programs};
use rustix::process::Signal;
use tempfile::TempDir;

const MIB: usize = 1024 * 1024;

/// What the programs in C are compiled from.
const PROGRAMS: [&[&str]; 3] =
    [&["publisher.c", "interrupt.c"], &["consumer.c", "origin.c"], &["watcher.c", "interrupt.c"]];

/// The example programs, and a folder for their files.
struct Examples {
    installed: Installed,
    publisher: PathBuf,
    consumer: PathBuf,
    watcher: PathBuf,
    folder: TempDir,
}

/// The one in C, or the one in Python.
#[derive(Debug, Clone, Copy)]
enum Consumer {
    C,
    Python,
}

impl Examples {
    fn build() -> Self {
        let installed = Installed::new();
        let [publisher, consumer, watcher] = PROGRAMS.map(|sources| installed.compile(Language::C, sources));
        Self { installed, publisher, consumer, watcher, folder: tempfile::tempdir().expect("a folder") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program that is linked with the library, as a client of a node.
    fn command(&self, node: &Node, program: &Path) -> Command {
        let mut command = node.client(program);
        command.env("LD_LIBRARY_PATH", self.installed.libraries());
        command
    }

    /// Starts to publish `content`; its content information comes to the file `name.ci`.
    fn publish(&self, node: &Node, name: &str, content: &[u8], version: &str) -> Process {
        let file = self.file(name);
        std::fs::write(&file, content).expect("it fits");
        let mut publisher = self.command(node, &self.publisher);
        publisher.arg(&file).arg(name).arg(self.file(&format!("{name}.ci"))).arg(version);
        let mut publisher = node.host().spawn(&mut publisher);
        publisher.wait_for_line("published");
        publisher
    }

    fn start_consumer(&self, node: &Node, which: Consumer, name: &str, url: &str) -> (Process, PathBuf) {
        let mut command = match which {
            Consumer::C => self.command(node, &self.consumer),
            Consumer::Python => {
                let mut python = self.command(node, &programs::find("python3"));
                python.arg(example("consumer.py"));
                python
            }
        };
        let output = self.file(&format!("{name}-on-{}", node.host().name()));
        let process = node.host().spawn(command.arg(self.file(&format!("{name}.ci"))).arg(url).arg(&output));
        (process, output)
    }

    /// Runs a consumer to its end, compares its output, and returns how many bytes it had from the cache and peers, and
    /// how many from the origin.
    #[track_caller]
    fn consume(&self, node: &Node, which: Consumer, name: &str, url: &str, expected: &[u8]) -> (u64, u64) {
        let (process, output) = self.start_consumer(node, which, name, url);
        let finished = process.wait(PATIENCE).success();
        assert!(std::fs::read(&output).expect("it wrote a file") == expected, "{which:?} wrote other bytes");
        sources(&finished)
    }
}

/// What a consumer says at its end.
#[track_caller]
fn sources(finished: &Finished) -> (u64, u64) {
    let said = finished.stdout.trim();
    let (from_peers, rest) = said.split_once(" bytes from the cache and peers, ").expect("the first number");
    let from_origin = rest.strip_suffix(" from the origin").expect("the second number");
    (from_peers.parse().expect("a number"), from_origin.parse().expect("a number"))
}

/// The bytes that a node took from a host for the content that was read last.
fn from_host(node: &Node, host: &Host) -> u64 {
    node.why().last().map_or(0, |story| story.sources.from_host(host))
}

/// One host publishes, the second one fetches from the origin, the third one takes it from the second.
fn travels(examples: &Examples, version: &str, filler: Consumer, reader: Consumer) {
    let lab = Lab::new(Plan { hosts: 3, ..Plan::default() });
    // No whole number of blocks, nor of the consumers' buffers.
    let file = content(6 * MIB + 12_345, 20);
    let length = file.len() as u64;
    let nginx = Nginx::start(&lab.origin, &[("file", &file)]);
    let url = nginx.url("file");
    let [publishing, holding, reading] = [0, 1, 2].map(|index: usize| Node::start(&lab.hosts[index]));
    let publisher = examples.publish(&publishing, "image", &file, version);

    assert_eq!(examples.consume(&holding, filler, "image", &url, &file), (0, length));
    let crossed = lab.wan_traffic().down;
    assert!(crossed >= length);
    let asked = nginx.requests();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.contains(" 206 ")), "{asked:?}");

    assert_eq!(examples.consume(&reading, reader, "image", &url, &file), (length, 0));
    assert_eq!(nginx.requests(), asked, "the origin was asked again");
    let crossed = lab.wan_traffic().down - crossed;
    assert!(crossed < length / 10, "{crossed} bytes crossed the WAN");
    assert_eq!(from_host(&reading, holding.host()), length, "{:?}", reading.why());
    assert_eq!(reading.why().last().map(|story| story.version.clone()), Some(format!("v{version}")));

    // Who takes the publication back does not take the content back.
    publisher.signal(Signal::INT);
    publisher.wait(PATIENCE).success();
    let left = publishing.peerdist().arg("publications").output_on(publishing.host());
    assert!(!left.contains("image"), "{left}");
    assert_eq!(examples.consume(&reading, reader, "image", &url, &file), (length, 0));
    let last = reading.why().pop().expect("a content was read");
    assert_eq!((last.sources.cache, last.sources.from_peers()), (length, 0));
    assert_eq!(nginx.requests(), asked, "the origin was asked again");
}

/// A command's output on a host.
trait OutputOn {
    fn output_on(&mut self, host: &Host) -> String;
}

impl OutputOn for Command {
    fn output_on(&mut self, host: &Host) -> String {
        host.run(self, PATIENCE).success().stdout
    }
}

#[test]
fn what_a_c_program_fetched_another_one_takes_from_its_host() {
    isolated::run(|| {
        let examples = Examples::build();
        for version in ["1", "2"] {
            travels(&examples, version, Consumer::C, Consumer::C);
        }
    });
}

#[test]
fn what_a_c_program_fetched_a_python_program_takes_from_its_host_and_the_other_way_round() {
    isolated::run(|| {
        let examples = Examples::build();
        for version in ["1", "2"] {
            travels(&examples, version, Consumer::C, Consumer::Python);
            travels(&examples, version, Consumer::Python, Consumer::C);
        }
    });
}

#[test]
fn the_holes_of_a_half_filled_cache_come_from_the_origin() {
    isolated::run(|| {
        let examples = Examples::build();
        let lab = Lab::new(Plan { hosts: 3, ..Plan::default() });
        let [whole, half] = [content(4 * MIB, 21), content(4 * MIB, 22)];
        // Its first half is one of a content that the other host has; nobody has the second one.
        let mixed = [&whole[..2 * MIB], &half[2 * MIB..]].concat();
        let nginx = Nginx::start(&lab.origin, &[("whole", &whole), ("mixed", &mixed)]);
        let [holding, reading, other] = [0, 1, 2].map(|index: usize| Node::start(&lab.hosts[index]));
        // Equal segments have equal ids under the same key, whatever content they are of.
        let first = examples.publish(&holding, "whole", &whole, "2");
        let second = examples.publish(&holding, "mixed", &mixed, "2");
        examples.consume(&holding, Consumer::C, "whole", &nginx.url("whole"), &whole);
        for (reading, consumer) in [(&reading, Consumer::C), (&other, Consumer::Python)] {
            let (near, far) = examples.consume(reading, consumer, "mixed", &nginx.url("mixed"), &mixed);
            assert_eq!(near + far, mixed.len() as u64);
            assert!(near > 3 * MIB as u64 / 2, "{consumer:?}: {near} bytes came from near, {far} from the origin");
        }
        // The second reader had the holes from the first one.
        assert_eq!(from_host(&other, holding.host()) + from_host(&other, reading.host()), mixed.len() as u64);
        for publisher in [first, second] {
            publisher.terminate().success();
        }
    });
}

#[test]
fn a_consumer_without_a_daemon_takes_everything_from_the_origin() {
    isolated::run(|| {
        let examples = Examples::build();
        let lab = Lab::new(Plan { hosts: 1, ..Plan::default() });
        let file = content(MIB, 23);
        let nginx = Nginx::start(&lab.origin, &[("file", &file)]);
        let mut node = Node::start(&lab.hosts[0]);
        let publisher = examples.publish(&node, "image", &file, "2");
        node.stop().success();

        // With the daemon the publication went, and its program says so.
        let gone = publisher.wait(PATIENCE);
        assert_eq!(gone.status.code(), Some(1), "{}", gone.stderr);
        assert!(gone.stderr.contains("the publication is gone"), "{}", gone.stderr);
        for consumer in [Consumer::C, Consumer::Python] {
            let got = examples.consume(&node, consumer, "image", &nginx.url("file"), &file);
            assert_eq!(got, (0, file.len() as u64), "{consumer:?}");
        }
    });
}

#[test]
fn a_consumer_whose_daemon_dies_in_the_middle_takes_the_rest_from_the_origin() {
    isolated::run(|| {
        let examples = Examples::build();
        // So slow that the file is on its way for seconds.
        let wan = Shape { rate: 20_000_000, queue: Duration::from_millis(50) };
        let lab = Lab::new(Plan { hosts: 1, wan, ..Plan::default() });
        let file = content(6 * MIB, 25);
        let nginx = Nginx::start(&lab.origin, &[("file", &file)]);
        for consumer in [Consumer::C, Consumer::Python] {
            let mut node = Node::start(&lab.hosts[0]);
            let _publisher = examples.publish(&node, "image", &file, "2");
            let (mut process, output) = examples.start_consumer(&node, consumer, "image", &nginx.url("file"));
            process.wait_alive("the first bytes to be written", |_| {
                std::fs::metadata(&output).is_ok_and(|output| output.len() > 0).then_some(())
            });
            node.kill();
            let finished = process.wait(PATIENCE).success();
            assert!(std::fs::read(&output).expect("it wrote a file") == file, "{consumer:?} wrote other bytes");
            assert_eq!(sources(&finished), (0, file.len() as u64));
            assert!(finished.stderr.contains("the rest comes from the origin"), "{consumer:?}: {}", finished.stderr);
            std::fs::remove_file(&output).expect("it is there");
        }
    });
}

#[test]
fn a_consumer_says_when_the_origin_lacks_the_file() {
    isolated::run(|| {
        let examples = Examples::build();
        let lab = Lab::new(Plan { hosts: 1, ..Plan::default() });
        let file = content(MIB, 24);
        let nginx = Nginx::start(&lab.origin, &[]);
        let node = Node::start(&lab.hosts[0]);
        let publisher = examples.publish(&node, "image", &file, "2");
        for consumer in [Consumer::C, Consumer::Python] {
            let (process, _) = examples.start_consumer(&node, consumer, "image", &nginx.url("file"));
            let finished = process.wait(PATIENCE);
            assert_eq!(finished.status.code(), Some(1), "{consumer:?}: {}", finished.stderr);
            assert!(finished.stderr.contains("404"), "{consumer:?}: {}", finished.stderr);
        }
        publisher.terminate().success();
    });
}

#[test]
fn watchers_print_what_is_and_every_change() {
    isolated::run(|| {
        let examples = Examples::build();
        let lab = Lab::new(Plan { hosts: 1, ..Plan::default() });
        let mut node = Node::start(&lab.hosts[0]);
        let feature = |node: &Node, verb| {
            node.peerdist().args(["feature", verb, "PeerDist"]).output_on(node.host());
        };
        let mut first = Watcher::start(&examples, &node);
        first.expect("available");
        feature(&node, "disable");
        first.expect("disabled");
        let mut second = Watcher::start(&examples, &node);
        second.expect("disabled");
        feature(&node, "enable");
        first.expect("available");
        second.expect("available");
        node.kill();
        first.expect("unavailable");
        second.expect("unavailable");
        let mut third = Watcher::start(&examples, &node);
        third.expect("unavailable");
        node.restart();
        for mut watcher in [first, second, third] {
            watcher.expect("available");
            let Watcher(process, expected) = watcher;
            process.signal(Signal::INT);
            assert_eq!(process.wait(PATIENCE).success().stdout, expected);
        }
    });
}

/// A watcher, and what it has printed.
struct Watcher(Process, String);

impl Watcher {
    fn start(examples: &Examples, node: &Node) -> Self {
        Self(node.host().spawn(&mut examples.command(node, &examples.watcher)), String::new())
    }

    /// Waits until it has printed one more status.
    fn expect(&mut self, status: &str) {
        let Self(process, expected) = self;
        *expected += &format!("{status}\n");
        process.wait_alive(expected, |process| (process.stdout() == *expected).then_some(()));
    }
}

#[test]
fn the_examples_compile_as_cpp_too() {
    let installed = Installed::new();
    for sources in PROGRAMS {
        installed.compile(Language::Cpp, sources);
    }
}

#[test]
fn a_program_needs_the_library_by_its_soname_and_the_c_library() {
    let installed = Installed::new();
    let program = installed.compile(Language::C, PROGRAMS[1]);
    let mut readelf = Command::new(programs::find("readelf"));
    let output = readelf.arg("--dynamic").arg(program).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let needed: Vec<_> = said.lines().filter(|line| line.contains("(NEEDED)")).collect();
    let names: Vec<_> = needed.iter().filter_map(|line| line.split_once('[')?.1.strip_suffix(']')).collect();
    assert_eq!(names, ["libpeerdist.so.0", "libc.so.6"], "{said}");
}

#[test]
fn an_installation_is_complete() {
    let installed = Installed::new();
    let headers = std::fs::read_dir(installed.prefix().join("include/peerdist")).expect("there are headers");
    let mut headers: Vec<_> = headers.flatten().map(|entry| entry.file_name().into_string().expect("text")).collect();
    headers.sort_unstable();
    assert_eq!(headers, ["dismapi.h", "peerdist.h", "winapifamily.h", "windows.h", "winerror.h"]);
    let link = std::fs::read_link(installed.libraries().join("libpeerdist.so")).expect("a link");
    assert_eq!(link, Path::new("libpeerdist.so.0"));
    assert_eq!(installed.pkg_config(&["--modversion"]), [env!("CARGO_PKG_VERSION")]);
    let description = std::fs::read_to_string(installed.descriptions().join("peerdist.pc")).expect("it is there");
    assert!(!description.contains('@'), "{description}");
}

#[test]
fn a_package_is_made_below_another_root_and_stays_what_it_is_when_made_again() {
    let root = tempfile::tempdir().expect("a folder");
    let usr = root.path().join("usr");
    let install = || {
        let mut install = Command::new(programs::xtask());
        install.args(["install-library", "--prefix", "/usr", "--library"]).arg(programs::library());
        let output = install.arg("--destdir").arg(root.path()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut said: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect();
        said.sort_unstable();
        // What it says is what is there: who removes that has removed the library.
        assert_eq!(said, files(&usr));
        said.iter().map(|path| (path.clone(), path.read_link().ok(), std::fs::read(path).ok())).collect::<Vec<_>>()
    };
    let first = install();
    assert_eq!(std::fs::read_link(usr.join("lib/libpeerdist.so")).expect("a link"), Path::new("libpeerdist.so.0"));
    let description = std::fs::read_to_string(usr.join("lib/pkgconfig/peerdist.pc")).expect("it is there");
    assert!(description.starts_with("prefix=/usr\n"), "{description}");
    // A program that runs goes on with the library that it has.
    let old = std::fs::File::open(usr.join("lib/libpeerdist.so.0")).expect("it is there");
    assert!(install() == first);
    let new = std::fs::metadata(usr.join("lib/libpeerdist.so.0")).expect("it is there");
    assert_ne!(old.metadata().expect("it is open").ino(), new.ino());
    // What an interrupted one left behind, or another version, is replaced.
    std::fs::remove_file(usr.join("lib/libpeerdist.so")).expect("it is there");
    std::fs::write(usr.join("lib/libpeerdist.so"), "no library").expect("it fits");
    std::fs::write(usr.join("include/peerdist/peerdist.h"), "no header").expect("it fits");
    assert!(install() == first);
}

/// Every file below a folder, links included.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("it is there").flatten();
    let mut files: Vec<_> = entries
        .flat_map(|entry| {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) { files(&entry.path()) } else { vec![entry.path()] }
        })
        .collect();
    files.sort_unstable();
    files
}
