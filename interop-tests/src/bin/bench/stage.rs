//! What the rows about serving and fetching need: content, a content server, nodes with full caches.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use peerdist_interop_tests::nodes::content;
use peerdist_interop_tests::programs::{find, peerdist, peerdistd};
use tempfile::TempDir;

use crate::tools::Running;

/// How long a program may take to become ready.
const PATIENCE: Duration = Duration::from_secs(240);

/// Writes `length` bytes that compress badly.
pub(crate) fn write_content(file: &Path, length: u64) {
    const PIECE: u64 = 16 << 20;
    let mut file = File::create(file).expect("a new file");
    for seed in 0..length.div_ceil(PIECE) {
        let piece = content(PIECE.min(length - seed * PIECE) as usize, seed);
        file.write_all(&piece).expect("the disk has room");
    }
    // Dirty pages that are written back later would disturb what is measured.
    file.sync_all().expect("the disk works");
}

/// Waits until `ready` gives something.
pub(crate) fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command to its end, which has to be a good one.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Content information of a file under a secret of its own.
pub(crate) fn hash(file: &Path, version: &str, output: &Path) {
    run(Command::new(peerdist())
        .arg("hash")
        .arg(file)
        .args(["--content-info", version, "--passphrase", "benchmark", "-o"])
        .arg(output));
}

/// A daemon on the loopback interface.
#[derive(Debug)]
pub(crate) struct Node {
    home: TempDir,
    running: Running,
}

impl Node {
    /// Starts a daemon with an empty cache on these cores and waits until it answers.
    pub(crate) fn start(cores: &str) -> Self {
        Self::start_with(cores, "")
    }

    /// Starts it with further lines of configuration.
    pub(crate) fn start_with(cores: &str, settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), cores, "port = 0", settings)
    }

    /// Starts a hosted cache that takes offers where it is asked for blocks. Its cache may be there already, in the
    /// folder `cache` of `home`.
    pub(crate) fn hosted_cache(home: TempDir, cores: &str) -> Self {
        let port = free_port();
        let part = format!("mode = \"hosted-cache\"\nport = {port}");
        Self::start_in(home, cores, &part, &format!("[hosted_cache]\nhttp_port = {port}\n"))
    }

    fn start_in(home: TempDir, cores: &str, part: &str, settings: &str) -> Self {
        let path = home.path().display();
        let config = format!(
            "[node]\nlisten = [\"127.0.0.1\"]\n{part}\n[discovery]\ninterfaces = [\"lo\"]\nipv6 = false\n\
             [cache]\ndir = \"{path}/cache\"\nsize = \"12 GiB\"\nkeep_free = \"0 B\"\n\
             [control]\nadmin_socket = \"{path}/admin.sock\"\napi_socket = \"{path}/api.sock\"\n\
             feature_file = \"{path}/features.toml\"\npublish_key = \"{path}/publish.key\"\n\
             [log]\nfilter = \"warn\"\n{settings}"
        );
        let file = home.path().join("peerdist.toml");
        std::fs::write(&file, config).expect("a file in an empty folder");
        let running = Running::start(cores, &peerdistd(), [Path::new("--config"), &file]);
        let node = Self { home, running };
        wait("a daemon", || {
            node.peerdist().arg("status").output().is_ok_and(|output| output.status.success()).then_some(())
        });
        node
    }

    /// `peerdist` as a client of this daemon.
    pub(crate) fn peerdist(&self) -> Command {
        self.client(&peerdist())
    }

    /// A program as a client of this daemon.
    pub(crate) fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("PEERDIST_ADMIN_SOCKET", self.home.path().join("admin.sock"));
        command.env("PEERDIST_SOCKET", self.home.path().join("api.sock"));
        command
    }

    /// Puts a file into the cache.
    pub(crate) fn fill(&self, file: &Path, content_information: &Path) {
        run(self.peerdist().args(["cache", "add"]).arg(file).arg("--content-information").arg(content_information));
    }

    /// What it says of itself.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&run(self.peerdist().args(["status", "--json"]))).expect("one JSON object")
    }

    /// Where peers fetch blocks from it.
    pub(crate) fn retrieval(&self) -> String {
        self.status()["listeners"][0].as_str().expect("a daemon that serves").to_owned()
    }

    /// The daemon's process id.
    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }
}

/// `peerdist serve` for a folder.
#[derive(Debug)]
pub(crate) struct ContentServer {
    _running: Running,
    url: String,
}

impl ContentServer {
    /// Starts a content server on any cores for the files of a folder; `state` is a folder for its own.
    pub(crate) fn start(folder: &Path, state: &Path) -> Self {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let arguments: [PathBuf; 6] =
            ["serve".into(), folder.into(), "--listen".into(), listen.clone().into(), "--state".into(), state.into()];
        let server = Self { _running: Running::start("0,1", &peerdist(), arguments), url: format!("http://{listen}") };
        wait("the content server", || std::net::TcpStream::connect(&listen).ok());
        server
    }

    /// The URL of a file.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }
}

/// A TCP port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// nginx with one worker for the files of a folder.
#[derive(Debug)]
pub(crate) struct Nginx {
    _home: TempDir,
    _running: Running,
    port: u16,
}

impl Nginx {
    /// Starts it on these cores; `sendfile` is `on` or `off`.
    pub(crate) fn start(cores: &str, root: &Path, sendfile: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let (path, root) = (home.path().display(), root.display());
        let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
        let config = format!(
            "{user}daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log {path}/error.log;\nevents {{}}\nhttp {{\n\
             access_log off;\nsendfile {sendfile};\ntcp_nopush on;\nkeepalive_requests 1000000000;\n\
             client_body_temp_path {path}/body;\nproxy_temp_path {path}/proxy;\nfastcgi_temp_path {path}/fastcgi;\n\
             uwsgi_temp_path {path}/uwsgi;\nscgi_temp_path {path}/scgi;\n\
             server {{ listen 127.0.0.1:{port}; root {root}; }}\n}}\n"
        );
        let file = home.path().join("nginx.conf");
        std::fs::write(&file, config).expect("a file in an empty folder");
        let running = Running::start(cores, &find("nginx"), [Path::new("-c"), &file, Path::new("-p"), home.path()]);
        wait("nginx", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self { _home: home, _running: running, port }
    }

    /// The URL of a file.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }
}
