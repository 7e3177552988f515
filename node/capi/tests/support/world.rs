//! A case's process, its directory and its daemon.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use peerdist_node::control::client::{ADMIN_SOCKET_VARIABLE, API_SOCKET_VARIABLE, AdminClient};
use peerdist_node::control::features::FeatureNames;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

/// Set in the process of a case, to the directory of the test.
const HOME_VARIABLE: &str = "PEERDIST_CASE_HOME";
/// Nothing here takes this long unless it is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// Nor does a whole case, not even a hundred thousand rounds under valgrind beside others on a slow machine, which have
/// taken more than ten minutes. A wait without an end fails then.
const CASE_LIMIT: Duration = Duration::from_secs(1800);
/// The daemon that is stopped where it is, by its process id; 0 if none is. It could not even be told to end.
static PAUSED: AtomicI32 = AtomicI32::new(0);

/// Runs a case in a process of its own, with a daemon that serves nobody and asks nobody. `name` is the test's path.
pub(crate) fn case(name: &str, body: fn(&mut World)) {
    run(name, "node.mode = \"local\"\n", body);
}

/// The same where no daemon runs yet.
pub(crate) fn case_without_daemon(name: &str, body: fn(&mut World)) {
    run(name, "", body);
}

fn run(name: &str, config: &str, body: fn(&mut World)) {
    if let Some(home) = std::env::var_os(HOME_VARIABLE) {
        thread::spawn(end_in_time);
        let mut world = World { home: home.into(), config: config.to_owned(), daemon: None };
        if !config.is_empty() {
            world.start();
        }
        return body(&mut world);
    }
    let home = TempDir::with_prefix("case-").unwrap();
    let ran = command(std::env::current_exe().unwrap(), home.path())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let log = fs::read_to_string(home.path().join("log")).unwrap_or_default();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\nthe daemon said:\n{log}");
    assert!(said.contains("1 passed"), "{name} is not the name of the test: {said}");
}

/// Ends this process if it takes too long. Its daemon ends with it.
fn end_in_time() {
    thread::sleep(CASE_LIMIT);
    if let Some(paused) = Pid::from_raw(PAUSED.load(Ordering::Relaxed)) {
        let _ = kill_process(paused, Signal::CONT);
    }
    let _ = std::io::stderr().write_all(b"the case does not end\n");
    std::process::abort();
}

/// A program that finds the daemon of this directory.
pub(crate) fn command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env(HOME_VARIABLE, home)
        .env(ADMIN_SOCKET_VARIABLE, home.join("admin.sock"))
        .env(API_SOCKET_VARIABLE, home.join("api.sock"));
    command
}

/// The directory of a case and the daemon in it.
pub(crate) struct World {
    pub(crate) home: PathBuf,
    config: String,
    daemon: Option<Daemon>,
}

impl World {
    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start(&mut self) {
        let config = self.config.clone();
        self.start_with(&config);
    }

    /// Starts the daemon with lines of its configuration; those of the sockets and the cache are added.
    pub(crate) fn start_with(&mut self, config: &str) {
        self.config = config.to_owned();
        self.daemon = Some(Daemon::start(&self.home, config));
    }

    /// Another daemon beside this one, in a directory of its own.
    pub(crate) fn other(&self, name: &str, config: &str) -> Daemon {
        let home = self.home.join(name);
        fs::create_dir(&home).unwrap();
        Daemon::start(&home, config)
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("no daemon was started")
    }

    /// Ends the daemon at once.
    pub(crate) fn kill(&mut self) {
        self.daemon = None;
    }

    /// Turns the feature off: the status becomes DISABLED.
    pub(crate) fn disable(&self) {
        block_on(async { self.daemon().admin().disable_features(&names()).await }).unwrap();
    }

    /// Turns the feature on again.
    pub(crate) fn enable(&self) {
        block_on(async { self.daemon().admin().enable_features(&names()).await }).unwrap();
    }
}

/// The configuration of a daemon that asks the loopback, where nobody answers, and waits for an hour.
pub(crate) fn patient() -> String {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!(
        "node.mode = \"client\"\ndiscovery.interfaces = [\"lo\"]\ndiscovery.port = {port}\nfetch.probe_timeout = \"1h\"\n"
    )
}

fn names() -> FeatureNames {
    FeatureNames { names: vec!["PeerDist".to_owned()], all: false }
}

/// Waits for something asynchronous, on a runtime of its own.
pub(crate) fn block_on<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}

/// A running `peerdistd`. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    home: PathBuf,
}

impl Daemon {
    fn start(home: &Path, config: &str) -> Self {
        let notify_path = home.join("notify");
        let _ = fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path).unwrap();
        notify.set_read_timeout(Some(LIMIT)).unwrap();
        let text = format!(
            "{config}\ncache.dir = {:?}\n[control]\nadmin_socket = {:?}\napi_socket = {:?}\nfeature_file = {:?}\npublish_key = {:?}\n",
            home.join("cache"),
            home.join("admin.sock"),
            home.join("api.sock"),
            home.join("features.toml"),
            home.join("publish.key"),
        );
        fs::write(home.join("peerdist.toml"), text).unwrap();
        let child = Command::new(built("peerdistd"))
            .arg("--with-parent")
            .arg("--config")
            .arg(home.join("peerdist.toml"))
            .env("NOTIFY_SOCKET", &notify_path)
            .env_remove("PEERDIST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(home.join("log")).unwrap())
            .spawn()
            .unwrap();
        let daemon = Self { child, home: home.to_owned() };
        let mut said = [0; 256];
        let log = || fs::read_to_string(home.join("log")).unwrap_or_default();
        let size = notify.recv(&mut said).unwrap_or_else(|error| panic!("it says nothing: {error}\n{}", log()));
        assert!(said[..size].starts_with(b"READY=1"), "{}", log());
        daemon
    }

    pub(crate) fn admin(&self) -> AdminClient {
        AdminClient::new(self.home.join("admin.sock"))
    }

    /// What `peerdist status` says.
    pub(crate) fn status(&self) -> serde_json::Value {
        block_on(async { self.admin().status().await }).unwrap()
    }

    /// Stops it where it is: from now on it answers nothing until [`Self::go_on`].
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        let stopped = waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED).unwrap();
        assert!(stopped.is_some_and(|(_, status)| status.stopped()), "{stopped:?}");
        PAUSED.store(self.child.id().cast_signed(), Ordering::Relaxed);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
        PAUSED.store(0, Ordering::Relaxed);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        PAUSED.store(0, Ordering::Relaxed);
    }
}

/// What cargo built, beside the folder of this test: a program of the node's or the library.
pub(crate) fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let deps = own.parent().unwrap();
    let found = [deps.join(name), deps.with_file_name(name)].into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing; build it with `cargo build --workspace`"))
}
