//! The README and the book: their links lead somewhere, and their commands run.
//!
//! Every line that begins with `$ ` in a `console` block is run, and every `sh` block as a whole, with the book's names
//! for hosts, folders and sockets
//! replaced by those of a stage: a content server, a daemon, and a folder with the files that are spoken of.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use peerdist_interop_tests::installed::{Installed, example};
use peerdist_interop_tests::nodes::{content, write_private};
use peerdist_interop_tests::process::{PATIENCE, wait_until};
use peerdist_interop_tests::programs;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tree").to_owned()
}

fn pages() -> Vec<(PathBuf, String)> {
    let book = std::fs::read_dir(root().join("docs")).expect("the book").flatten().map(|entry| entry.path());
    let pages = std::iter::once(root().join("README.md")).chain(book);
    pages.map(|page| (page.clone(), std::fs::read_to_string(page).expect("a text"))).collect()
}

fn commands(page: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    page.lines().filter_map(move |line| {
        if line.starts_with("```") {
            inside = line == "```console";
            return None;
        }
        let command = line.strip_prefix("$ ").filter(|_| inside)?;
        Some(command.split("  #").next().unwrap_or(command).trim())
    })
}

/// The blocks of a page that are scripts.
fn scripts(page: &str) -> impl Iterator<Item = &str> {
    let blocks = page.split("\n```sh\n").skip(1);
    blocks.map(|rest| rest.split_once("\n```\n").expect("the block has an end").0)
}

#[test]
fn the_configurations_of_the_book_are_right() {
    let folder = TempDir::with_prefix("book-").expect("a temporary folder");
    let file = folder.path().join("peerdist.toml");
    // Of a hosted cache, which checks that they belong together.
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(["cache.example.org".to_owned()]).expect("a name");
    let certificate = certificate.self_signed(&key).expect("a certificate");
    for (name, text) in [("hosted-cache.pem", certificate.pem()), ("hosted-cache.key", key.serialize_pem())] {
        write_private(&folder.path().join(name), &text);
    }
    let mut count = 0;
    for (path, text) in pages() {
        for rest in text.split("\n```toml\n").skip(1) {
            let (configuration, _) = rest.split_once("\n```\n").expect("the block has an end");
            // The state file of the features is TOML, too.
            if configuration.starts_with("[features]") {
                continue;
            }
            let configuration = configuration.replace("/etc/peerdist/", &format!("{}/", folder.path().display()));
            std::fs::write(&file, &configuration).expect("the disk has room");
            let check = Command::new(programs::peerdist()).arg("check-config").arg(&file).output().expect("it starts");
            let said = String::from_utf8_lossy(&check.stderr);
            assert!(check.status.success(), "{}: {said}\n{configuration}", path.display());
            count += 1;
        }
    }
    assert!(count > 2, "only {count} configurations found");
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or(target);
            assert!(path.parent().expect("a folder").join(file).exists(), "{}: {target}", path.display());
        }
    }
}

#[test]
fn the_map_of_the_tree_is_true() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a text");
    let named: Vec<_> =
        readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("/` |")).map(|(name, _)| name).collect();
    let tracked =
        Command::new("git").args(["ls-tree", "-d", "--name-only", "HEAD"]).current_dir(root()).output().expect("git");
    let there = String::from_utf8_lossy(&tracked.stdout).into_owned();
    let there: Vec<_> = there.lines().filter(|name| !name.starts_with('.')).collect();
    let mut sorted = named.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, there);
}

#[test]
fn the_configuration_page_is_the_annotated_default() {
    let printed =
        Command::new(programs::peerdist()).args(["check-config", "--print-default"]).output().expect("it starts");
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).expect("a text");
    assert!(
        page.contains(&String::from_utf8_lossy(&printed.stdout).into_owned()),
        "docs/configuration.md is not what --print-default prints"
    );
}

#[test]
fn the_page_for_rust_programs_quotes_the_example() {
    let example = std::fs::read_to_string(root().join("node/examples/api.rs")).expect("a text");
    let (code, _) = example.split_once("\n#[cfg(test)]").expect("its test is at the end");
    let page = std::fs::read_to_string(root().join("docs/api-rust.md")).expect("a text");
    assert!(page.contains(&format!("```rust\n{code}```\n")), "docs/api-rust.md does not quote node/examples/api.rs");
}

#[test]
fn the_page_for_rust_programs_has_the_code_of_every_error() {
    let source = std::fs::read_to_string(root().join("node/src/api/error.rs")).expect("a text");
    let (_, code) = source.split_once("pub fn code(").expect("errors have codes");
    let (code, _) = code.split_once("\n    }\n").expect("the function ends");
    let page = std::fs::read_to_string(root().join("docs/api-rust.md")).expect("a text");
    let arms: Vec<_> = code.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => ")).collect();
    for (error, code) in &arms {
        let row = format!("| `{}` | {} |", error.trim_end_matches("(_)"), code.trim_end_matches(','));
        assert!(page.contains(&row), "docs/api-rust.md lacks {row}");
    }
    assert!(arms.len() > 10, "{arms:?}");
}

#[test]
fn the_page_for_c_programs_quotes_an_example() {
    let example = std::fs::read_to_string(example("consumer.c")).expect("a text");
    let page = std::fs::read_to_string(root().join("docs/api-c.md")).expect("a text");
    let (_, rest) = page.split_once("\n```c\n").expect("it has code in C");
    let (code, _) = rest.split_once("```\n").expect("the code ends");
    assert!(example.contains(code), "docs/api-c.md does not quote node/capi/examples/consumer.c");
}

#[test]
fn the_exit_statuses_are_those_of_the_help() {
    let printed = Command::new(programs::peerdist()).arg("--help").output().expect("it starts");
    let help = String::from_utf8_lossy(&printed.stdout).into_owned();
    let page = std::fs::read_to_string(root().join("docs/commands.md")).expect("a text");
    let (_, statuses) = help.split_once("Exit status:").expect("the help lists them");
    for line in statuses.lines().filter(|line| !line.trim().is_empty()) {
        let (status, meaning) = line.trim().split_once("  ").expect("a number and its meaning");
        assert!(page.contains(&format!("| {status} | {} |", meaning.trim())), "{line}");
    }
}

#[test]
fn the_commands_run() {
    let stage = Stage::build();
    let mut count = 0;
    for (path, text) in pages() {
        let mut going = Vec::new();
        for command in commands(&text) {
            let is_served_elsewhere = command.starts_with("cargo ") || command.starts_with("peerdistd ");
            // cargo is what runs this test; the daemon and the content servers run in the foreground: the stage has them.
            if is_served_elsewhere || command.starts_with("peerdist serve ") {
                continue;
            }
            // These go on until Ctrl-C.
            if ["peerdist publish ", "peerdist watch", "./publisher ", "./watcher"]
                .iter()
                .any(|start| command.starts_with(start))
            {
                going.push(stage.start(command, &path));
            } else {
                stage.run(command, &path);
            }
            count += 1;
        }
        going.into_iter().for_each(Going::end);
    }
    assert!(count > 20, "only {count} commands found");
}

#[test]
fn the_scripts_run() {
    let stage = Stage::build();
    let mut count = 0;
    for (path, text) in pages() {
        for script in scripts(&text) {
            stage.run(script, &path);
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn the_page_of_the_control_plane_has_every_route_and_error() {
    let page = std::fs::read_to_string(root().join("docs/control-plane.md")).expect("a text");
    let document = std::fs::read(root().join("node/src/control/openapi.json")).expect("the document");
    let document: serde_json::Value = serde_json::from_slice(&document).expect("JSON");
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys().filter(|key| *key != "parameters") {
            let route = format!("`{} {path}`", method.to_uppercase());
            let is_there = page.contains(&route) || page.contains(&format!("http://peerdist{path}"));
            assert!(is_there, "docs/control-plane.md lacks {route}");
        }
    }
    for error in document["components"]["schemas"]["ErrorCode"]["oneOf"].as_array().expect("errors") {
        let name = error["const"].as_str().expect("a name");
        let row = format!("| `{name}` | {} | {} |", error["x-status"], error["x-code"]);
        assert!(page.contains(&row), "{row}");
    }
}

/// What the book's commands speak of.
struct Stage {
    home: TempDir,
    server: Child,
    daemon: Child,
    url: String,
    library: Installed,
}

impl Stage {
    fn build() -> Self {
        let home = TempDir::with_prefix("book-").expect("a temporary folder");
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir(at("files")).expect("a new folder");
        // Commands name the examples and the captures as from the root of the tree.
        for folder in ["node", "pcaps"] {
            std::os::unix::fs::symlink(root().join(folder), at(folder)).expect("a new link");
        }
        for file in [at("files/image.iso"), at("image.iso")] {
            std::fs::write(file, content(5 << 20, 1)).expect("the disk has room");
        }
        let path = home.path().display();
        let config = format!(
            "[node]\nlisten = [\"127.0.0.1\"]\nport = 0\n[discovery]\ninterfaces = [\"lo\"]\nipv6 = false\n\
             [cache]\ndir = \"{path}/cache\"\nkeep_free = \"0 B\"\n\
             [control]\nadmin_socket = \"{path}/admin.sock\"\napi_socket = \"{path}/api.sock\"\n\
             feature_file = \"{path}/features.toml\"\n\
             publish_key = \"{path}/publish.key\"\n"
        );
        std::fs::write(at("peerdist.toml"), config).expect("the disk has room");
        let log = std::fs::File::create(at("server-log")).expect("a new file");
        let server = Command::new(programs::peerdist())
            .arg("serve")
            .arg(at("files"))
            .args(["--listen", "127.0.0.1:0", "--state"])
            .arg(at("state"))
            .stdout(log)
            .spawn()
            .expect("it starts");
        let daemon = Command::new(programs::peerdistd())
            .arg("--config")
            .arg(at("peerdist.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let url = wait_until("the content server", PATIENCE, || {
            let log = std::fs::read_to_string(at("server-log")).ok()?;
            log.split_once('\n').map(|(line, _)| line.to_owned())
        });
        let stage = Self { home, server, daemon, url, library: Installed::new() };
        wait_until("the daemon", PATIENCE, || {
            let status = stage.shell("peerdist status").output().expect("a shell");
            status.status.success().then_some(())
        });
        stage
    }

    fn shell(&self, command: &str) -> Command {
        let path = self.home.path().display().to_string();
        let bin = programs::peerdist().parent().expect("a folder").display().to_string();
        let line = command
            .replace("/tmp/", &format!("{path}/"))
            .replace("http://server:8080/", &self.url)
            .replace("/run/peerdist/", &format!("{path}/"))
            .replace("/etc/peerdist/", &format!("{path}/"));
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(line).current_dir(self.home.path());
        shell.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap_or_default()));
        shell.env("HOME", self.home.path());
        shell.env("PKG_CONFIG_PATH", self.library.descriptions()).env("LD_LIBRARY_PATH", self.library.libraries());
        shell.env("PEERDIST_SOCKET", self.home.path().join("api.sock"));
        shell.env("PEERDIST_ADMIN_SOCKET", self.home.path().join("admin.sock"));
        shell
    }

    /// Starts what goes on until Ctrl-C, and waits until it has said something.
    fn start(&self, command: &str, page: &Path) -> Going {
        let mut shell = self.shell(&format!("exec {command}"));
        let mut child = shell.stdout(Stdio::piped()).spawn().expect("a shell");
        let stdout = child.stdout.take().expect("it is a pipe");
        let mut line = String::new();
        let size = BufReader::new(stdout).read_line(&mut line).expect("its standard output is text");
        assert_ne!(size, 0, "{}: `{command}` says nothing", page.display());
        Going(child)
    }

    fn run(&self, command: &str, page: &Path) {
        // Files, because a failed script may leave a background process behind that would keep a pipe open.
        let at = |name: &str| self.home.path().join(name);
        let create = |name: &str| std::fs::File::create(at(name)).expect("a new file");
        let mut shell = self.shell(command);
        let status = shell.stdin(Stdio::null()).stdout(create("stdout")).stderr(create("stderr")).status();
        let status = status.expect("a shell");
        let said = ["stdout", "stderr"].map(|name| std::fs::read(at(name)).expect("it was written"));
        let said = said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(status.success(), "{}: `{command}` ended with {status}\n{said}", page.display());
    }
}

/// A command that goes on until Ctrl-C. Killed when dropped.
struct Going(Child);

impl Going {
    fn end(mut self) {
        rustix::process::kill_process(Pid::from_child(&self.0), Signal::INT).expect("it runs");
        let status = self.0.wait().expect("it is a child of this process");
        assert!(status.success(), "Ctrl-C ends it with {status}");
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for process in [&mut self.server, &mut self.daemon] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
