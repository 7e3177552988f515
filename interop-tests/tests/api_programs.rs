//! Programs written for peerdist.h, compiled against the library as it is installed: the examples of `node/capi`, on
//! hosts with daemons of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use peerdist_interop_tests::installed::{Installed, Language, example};
use peerdist_interop_tests::lab::{Host, Lab, Plan};
use peerdist_interop_tests::nginx::Nginx;
use peerdist_interop_tests::nodes::{Node, content};
use peerdist_interop_tests::process::{Finished, PATIENCE, Process};
use peerdist_interop_tests::{isolated, programs};
use rustix::process::Signal;
use tempfile::TempDir;

const MIB: usize = 1024 * 1024;

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
        let publisher = installed.compile(Language::C, &["publisher.c"]);
        let consumer = installed.compile(Language::C, &["consumer.c", "origin.c"]);
        let watcher = installed.compile(Language::C, &["watcher.c"]);
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
    let asked = nginx.requests();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.contains(" 206 ")), "{asked:?}");

    assert_eq!(examples.consume(&reading, reader, "image", &url, &file), (length, 0));
    assert_eq!(nginx.requests(), asked, "the origin was asked again");
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
        travels(&examples, "2", Consumer::C, Consumer::Python);
        travels(&examples, "1", Consumer::Python, Consumer::C);
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
fn the_watcher_prints_every_change() {
    isolated::run(|| {
        let examples = Examples::build();
        let lab = Lab::new(Plan { hosts: 1, ..Plan::default() });
        let mut node = Node::start(&lab.hosts[0]);
        let mut watcher = lab.hosts[0].spawn(&mut examples.command(&node, &examples.watcher));
        let wait = |watcher: &mut Process, expected: &str| {
            watcher.wait_alive(expected, |watcher| (watcher.stdout() == expected).then_some(()));
        };
        let mut expected = "available\n".to_owned();
        wait(&mut watcher, &expected);
        for (verb, status) in [("disable", "disabled"), ("enable", "available")] {
            node.peerdist().args(["feature", verb, "PeerDist"]).output_on(&lab.hosts[0]);
            expected += &format!("{status}\n");
            wait(&mut watcher, &expected);
        }
        node.kill();
        expected += "unavailable\n";
        wait(&mut watcher, &expected);
        node.restart();
        expected += "available\n";
        wait(&mut watcher, &expected);
        watcher.signal(Signal::INT);
        assert_eq!(watcher.wait(PATIENCE).success().stdout, expected);
    });
}

#[test]
fn the_examples_compile_as_cpp_too() {
    let installed = Installed::new();
    for sources in [&["publisher.c"][..], &["consumer.c", "origin.c"], &["watcher.c"]] {
        installed.compile(Language::Cpp, sources);
    }
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
    for _ in 0..2 {
        let mut install = Command::new(programs::xtask());
        install.args(["install-library", "--prefix", "/usr", "--library"]).arg(programs::library());
        let output = install.arg("--destdir").arg(root.path()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let description = std::fs::read_to_string(root.path().join("usr/lib/pkgconfig/peerdist.pc")).expect("it is there");
    assert!(description.starts_with("prefix=/usr\n"), "{description}");
    let mut there: Vec<_> = std::fs::read_dir(root.path().join("usr/lib")).expect("it is there").flatten().collect();
    there.sort_unstable_by_key(std::fs::DirEntry::file_name);
    let there: Vec<_> = there.iter().map(std::fs::DirEntry::file_name).collect();
    assert_eq!(there, ["libpeerdist.so", "libpeerdist.so.0", "pkgconfig"]);
}
