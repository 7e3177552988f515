//! Starting and stopping `peerdistd` without a sleep: it says when it is ready.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use peerdist_node::control::client::{ADMIN_SOCKET_VARIABLE, API_SOCKET_VARIABLE, AdminClient, Session};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::run::{Ran, command};

/// Nothing here takes this long unless it is broken.
const LIMIT: Duration = Duration::from_secs(30);

/// A directory with a configuration in it, and perhaps a daemon that runs by it.
pub(crate) struct Home {
    dir: TempDir,
    notify: UnixDatagram,
}

/// A running `peerdistd`. Killed when dropped.
pub(crate) struct Daemon(Child);

impl Home {
    /// `extra` goes to the end of the configuration, which is that of a node that keeps to itself.
    pub(crate) fn new(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(LIMIT)).unwrap();
        let home = Self { dir, notify };
        home.configure(extra);
        home
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, extra: &str) {
        let mode = if extra.contains("node.mode") { "" } else { "node.mode = \"local\"" };
        let text = format!(
            "{mode}\ncache.dir = {:?}\ncontrol.admin_socket = {:?}\ncontrol.api_socket = {:?}\ncontrol.publish_key = {:?}\n{extra}",
            self.path("cache"),
            self.admin_socket(),
            self.api_socket(),
            self.path("publish.key"),
        );
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("peerdist.toml")
    }

    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.path("admin.sock")
    }

    pub(crate) fn api_socket(&self) -> PathBuf {
        self.path("api.sock")
    }

    /// Starts a daemon and waits until it is ready.
    pub(crate) fn start(&self) -> Daemon {
        let daemon = self.spawn();
        let said = self.notified();
        assert!(said.starts_with("READY=1"), "{said}\n{}", self.log());
        daemon
    }

    fn spawn(&self) -> Daemon {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_peerdistd"))
            .arg("--config")
            .arg(self.config())
            .env("NOTIFY_SOCKET", self.path("notify"))
            .env_remove("PEERDIST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon(child)
    }

    /// The next thing that a daemon told its service manager.
    pub(crate) fn notified(&self) -> String {
        let mut buffer = [0; 256];
        match self.notify.recv(&mut buffer) {
            Ok(size) => String::from_utf8(buffer[..size].to_vec()).unwrap(),
            Err(error) => panic!("the daemon says nothing: {error}\n{}", self.log()),
        }
    }

    /// What the daemons logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// `peerdist` with these words, which finds this daemon or else a cache in this directory.
    pub(crate) fn peerdist(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words))
    }

    /// The same, not started yet.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = command(words);
        command
            .env(ADMIN_SOCKET_VARIABLE, self.admin_socket())
            .env(API_SOCKET_VARIABLE, self.api_socket())
            .env("XDG_CACHE_HOME", self.path("own"));
        command
    }

    pub(crate) fn admin(&self) -> AdminClient {
        AdminClient::new(self.admin_socket())
    }

    pub(crate) async fn session(&self) -> Session {
        Session::open(self.api_socket()).await.unwrap()
    }
}

impl Daemon {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the daemon's end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.0.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                None => panic!("the daemon does not stop"),
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _: io::Result<()> = self.0.kill();
        let _: io::Result<ExitStatus> = self.0.wait();
    }
}

/// Whether something is at the path.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
