//! A daemon, and the process of its own in which a case runs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use peerdist_node::control::client::ADMIN_SOCKET_VARIABLE;
use tempfile::TempDir;

/// Set in the process of a case, to the directory of the test.
const HOME_VARIABLE: &str = "PEERDIST_DISM_TEST_HOME";
/// Nothing here takes this long unless it is broken.
const LIMIT: Duration = Duration::from_secs(30);

/// A running `peerdistd`. Killed when dropped.
struct Daemon(Child);

/// Runs a case with a daemon, whose state file is `features.toml` in the directory that the case is given.
pub(crate) fn with_daemon(test: &str, case: fn(&Path)) {
    run(test, true, case);
}

/// Runs a case where no daemon is.
pub(crate) fn without_daemon(test: &str, case: fn(&Path)) {
    run(test, false, case);
}

fn run(test: &str, with_daemon: bool, case: fn(&Path)) {
    if let Some(home) = std::env::var_os(HOME_VARIABLE) {
        return case(Path::new(&home));
    }
    let home = TempDir::with_prefix("dism-").unwrap();
    let daemon = with_daemon.then(|| Daemon::start(home.path()));
    let own = std::env::current_exe().unwrap();
    let ran = command(&own, home.path()).args(["--exact", test, "--nocapture"]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{test} is not the name of the test: {said}");
    drop(daemon);
}

/// A program that finds the daemon of this directory.
pub(crate) fn command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env(HOME_VARIABLE, home).env(ADMIN_SOCKET_VARIABLE, home.join("admin.sock"));
    command
}

impl Daemon {
    /// Starts a daemon and waits until it says that it is ready.
    fn start(home: &Path) -> Self {
        let notify = UnixDatagram::bind(home.join("notify")).unwrap();
        notify.set_read_timeout(Some(LIMIT)).unwrap();
        let text = format!(
            "node.mode = \"local\"\ncache.dir = {:?}\n[control]\nadmin_socket = {:?}\napi_socket = {:?}\nfeature_file = {:?}\n",
            home.join("cache"),
            home.join("admin.sock"),
            home.join("api.sock"),
            home.join("features.toml"),
        );
        fs::write(home.join("peerdist.toml"), text).unwrap();
        let child = Command::new(built("peerdistd"))
            .arg("--with-parent")
            .arg("--config")
            .arg(home.join("peerdist.toml"))
            .env("NOTIFY_SOCKET", home.join("notify"))
            .env_remove("PEERDIST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(home.join("log")).unwrap())
            .spawn()
            .unwrap();
        let daemon = Self(child);
        let log = || fs::read_to_string(home.join("log")).unwrap_or_default();
        let mut said = [0; 256];
        let size = notify.recv(&mut said).unwrap_or_else(|error| panic!("it says nothing: {error}\n{}", log()));
        assert!(said[..size].starts_with(b"READY=1"), "{}", log());
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What cargo built, beside the folder of this test: a program of the node's or the library.
pub(crate) fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let deps = own.parent().unwrap();
    let found = [deps.join(name), deps.with_file_name(name)].into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing; build it with `cargo build --workspace`"))
}

/// The states in a directory's `features.toml`: PeerDist's and SMBHashGeneration's.
pub(crate) fn stored(file: &Path) -> (bool, bool) {
    let text = fs::read_to_string(file).unwrap();
    (text.contains("\nPeerDist = true\n"), text.contains("\nSMBHashGeneration = true\n"))
}
