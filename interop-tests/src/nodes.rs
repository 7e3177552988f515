//! Our own programs on hosts of the lab: content servers, nodes, downloads.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use peerdist_node::control::client::{RemoteRead, Session};
use peerdist_protocol::content::ContentInformation;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;
use tempfile::TempDir;

use crate::lab::Host;
use crate::process::{Finished, PATIENCE, Process};
use crate::programs;

/// The headers of a client that reads content information of both versions ([MS-PCCRTP] 2.2).
pub const PEERDIST_HEADERS: [&str; 3] = [
    "Accept-Encoding: peerdist",
    "X-P2P-PeerDist: Version=1.1",
    "X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0",
];

/// Bytes that compress badly and repeat nowhere; the same for the same seed.
pub fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// `peerdist serve` on a host.
#[derive(Debug)]
pub struct ContentServer {
    host: Host,
    process: Process,
    base: String,
    home: TempDir,
}

impl ContentServer {
    /// Serves a folder with these files, named by URL path without the leading slash, and waits until all of them
    /// are hashed.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn folder(host: &Host, files: &[(&str, &[u8])]) -> Self {
        let home = home();
        let folder = home.path().join("files");
        std::fs::create_dir(&folder).expect("a folder in an empty one");
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).expect("the file fits");
        }
        let mut server = Self::start(host, folder.as_os_str().to_owned(), home);
        for (name, _) in files {
            server.wait_hashed(name);
        }
        server
    }

    /// Stands before another web server.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn proxy(host: &Host, upstream: &str) -> Self {
        Self::start(host, upstream.into(), home())
    }

    fn start(host: &Host, what: std::ffi::OsString, home: TempDir) -> Self {
        let mut command = Command::new(programs::peerdist());
        command.arg("serve").arg(what).args(["--listen", &host.socket(0).to_string()]);
        // The same one always, so that segments have the same ids in every lab.
        let secret = home.path().join("secret");
        write_private(&secret, "the lab's own secret");
        command.arg("--secret-key").arg(secret);
        command.args(["--min-size", "1", "--state"]).arg(home.path().join("state"));
        let mut process = host.spawn(&mut command);
        let base = process.wait_for_line("http://").trim().to_owned();
        Self { host: host.clone(), process, base, home }
    }

    /// The URL of a file.
    pub fn url(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// The content information of a file, of version 2.
    ///
    /// # Panics
    /// If the answer is none.
    pub fn content_information(&self, name: &str) -> ContentInformation {
        self.content_information_up_to("2.0", name)
    }

    /// The content information of a file for a client that understands it up to a version, `1.0` or `2.0`.
    ///
    /// # Panics
    /// If the answer is none.
    pub fn content_information_up_to(&self, version: &str, name: &str) -> ContentInformation {
        let file = self.home.path().join("content-information");
        let mut curl = Command::new(programs::find("curl"));
        curl.args(["--silent", "--fail", "--output"]).arg(&file);
        let headers = PEERDIST_HEADERS
            .map(|header| header.replace("MaxContentInformation=2.0", &format!("MaxContentInformation={version}")));
        curl.args(headers.iter().flat_map(|header| ["--header", header])).arg(self.url(name));
        self.host.run(&mut curl, PATIENCE).success();
        let bytes = std::fs::read(&file).expect("curl wrote it");
        ContentInformation::parse(bytes.into()).expect("the server sends content information")
    }

    /// Asks for a file until the answer is content information.
    ///
    /// # Panics
    /// If it stays plain.
    pub fn wait_hashed(&mut self, name: &str) {
        let Self { host, process, base, .. } = self;
        let url = format!("{base}{name}");
        process.wait_alive(&format!("{url} to be hashed"), |_| {
            let mut curl = Command::new(programs::find("curl"));
            curl.args(["--silent", "--dump-header", "-", "--output", "/dev/null"]);
            curl.args(PEERDIST_HEADERS.iter().flat_map(|header| ["--header", header])).arg(&url);
            let headers = host.run(&mut curl, PATIENCE).success().stdout.to_ascii_lowercase();
            headers.contains("content-encoding: peerdist").then_some(())
        });
    }
}

/// `peerdistd` on a host, with a cache of its own.
#[derive(Debug)]
pub struct Node {
    host: Host,
    process: Option<Process>,
    home: TempDir,
    special: Special,
}

/// What few nodes have.
#[derive(Debug, Default)]
struct Special {
    /// Bytes of the volume that the cache is on, where it is one of its own.
    disk: Option<usize>,
    /// Where the keys of its TLS connections go.
    key_log: Option<PathBuf>,
}

impl Node {
    /// Starts a node with the default configuration and waits until it answers.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(host: &Host) -> Self {
        Self::start_with(host, "")
    }

    /// Starts a node with further lines of configuration.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with(host: &Host, settings: &str) -> Self {
        Self::configure(host, settings, Special::default())
    }

    /// Starts a node whose cache is on a volume of its own, of so many bytes. It is gone with the process.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_on_disk(host: &Host, bytes: usize, settings: &str) -> Self {
        Self::configure(host, settings, Special { disk: Some(bytes), ..Special::default() })
    }

    /// Starts a node that writes the keys of its TLS connections to a file.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with_key_log(host: &Host, settings: &str, key_log: &Path) -> Self {
        Self::configure(host, settings, Special { key_log: Some(key_log.to_owned()), ..Special::default() })
    }

    fn configure(host: &Host, settings: &str, special: Special) -> Self {
        let home = home();
        let path = home.path().display();
        let config = format!(
            "[cache]\ndir = \"{path}/cache\"\nsize = \"1 GiB\"\nkeep_free = \"0 B\"\n\
             [control]\nadmin_socket = \"{path}/admin.sock\"\napi_socket = \"{path}/api.sock\"\n\
             feature_file = \"{path}/features.toml\"\npublish_key = \"{path}/publish.key\"\n{settings}"
        );
        std::fs::write(home.path().join("peerdist.toml"), config).expect("a file in an empty folder");
        let mut node = Self { host: host.clone(), process: None, home, special };
        node.restart();
        node
    }

    /// Starts it again after [`Node::kill`], with the cache that it left.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        let mut command = match self.special.disk {
            None => Command::new(programs::peerdistd()),
            Some(bytes) => {
                let mount = format!("mkdir -p \"$0\" && mount -t tmpfs -o size={bytes} tmpfs \"$0\" && exec \"$@\"");
                let mut command = Command::new(programs::find("unshare"));
                command.args(["--mount", "--", "sh", "-c", &mount]);
                command.arg(self.home.path().join("cache")).arg(programs::peerdistd());
                command
            }
        };
        command.arg("--config").arg(self.home.path().join("peerdist.toml"));
        command.envs(self.special.key_log.as_ref().map(|file| ("SSLKEYLOGFILE", file)));
        let mut process = self.host.spawn(&mut command);
        process.wait_alive("peerdistd to answer", |_| {
            // Before the socket is there, asking would only cost time.
            let there = self.home.path().join("admin.sock").exists();
            (there && self.host.run(self.peerdist().arg("status"), PATIENCE).status.success()).then_some(())
        });
        self.process = Some(process);
    }

    /// Fills the volume that the cache is on with a file, and says which.
    ///
    /// # Panics
    /// If the cache has no volume of its own.
    pub fn fill_disk(&self) -> PathBuf {
        assert!(self.special.disk.is_some(), "this would fill the disk of the machine");
        let process = self.process.as_ref().expect("the node runs");
        // The volume is seen by the node alone.
        let cache = self.home.path().join("cache");
        let cache = Path::new("/proc")
            .join(process.pid().to_string())
            .join("root")
            .join(cache.strip_prefix("/").expect("an absolute path"));
        let path = cache.join("filler");
        let mut file = std::fs::File::create(&path).expect("a new file");
        let error = std::iter::repeat_with(|| file.write_all(&[0; 4096])).find_map(Result::err);
        assert_eq!(error.map(|error| error.kind()), Some(std::io::ErrorKind::StorageFull));
        path
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// `peerdist` as a client of this node.
    pub fn peerdist(&self) -> Command {
        self.client(programs::peerdist())
    }

    /// Any program as a client of this node.
    pub fn client(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", self.home.path());
        command.env("PEERDIST_ADMIN_SOCKET", self.home.path().join("admin.sock"));
        command.env("PEERDIST_SOCKET", self.home.path().join("api.sock"));
        command
    }

    /// What `peerdist status --json` tells.
    ///
    /// # Panics
    /// If the daemon does not answer.
    pub fn status(&self) -> serde_json::Value {
        let answer = self.host.run(self.peerdist().args(["status", "--json"]), PATIENCE).success().stdout;
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("not the promised object: {error}\n{answer}"))
    }

    /// What the daemon tells of the contents that were read through it, the last one at the end.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn why(&self) -> Vec<Story> {
        let mut curl = Command::new(programs::find("curl"));
        curl.args(["--silent", "--fail", "--unix-socket"]).arg(self.home.path().join("admin.sock"));
        let answer = self.host.run(curl.arg("http://peerdist/v1/why"), PATIENCE).success().stdout;
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("not the promised list: {error}\n{answer}"))
    }

    /// Puts content into the node's cache by hand, described by content information of `version`, `v1` or `v2`.
    ///
    /// # Panics
    /// If the node does not take it.
    pub fn add_to_cache(&self, content: &[u8], version: &str) -> ContentInformation {
        let folder = home();
        let [file, information] = ["content", "information"].map(|name| folder.path().join(name));
        std::fs::write(&file, content).expect("a file in an empty folder");
        let mut hash = self.peerdist();
        hash.arg("hash").arg(&file).args(["--content-info", version, "--passphrase", "lab", "--output"]);
        self.host.run(hash.arg(&information), PATIENCE).success();
        let mut add = self.peerdist();
        add.args(["cache", "add"]).arg(&file).arg("--content-information").arg(&information);
        self.host.run(&mut add, PATIENCE).success();
        let bytes = std::fs::read(&information).expect("peerdist wrote it");
        ContentInformation::parse(bytes.into()).expect("peerdist makes content information")
    }

    /// Reads a content through the node's api, which asks nobody but peers and hosted caches.
    ///
    /// # Panics
    /// If any of it is missing.
    pub fn read(&self, information: &ContentInformation) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        runtime.block_on(async {
            let session = Session::open(self.home.path().join("api.sock")).await.expect("the node takes a session");
            let content = session.open_content(information.emit().into()).await.expect("it is content information");
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < information.range().end {
                match content.next(bytes.len() as u64).await.expect("the node answers") {
                    RemoteRead::Data { bytes: data, .. } => bytes.extend_from_slice(&data),
                    RemoteRead::Missing { range, reason } => panic!("{range:?} is missing: {reason:?}"),
                }
            }
            bytes
        })
    }

    /// Starts a download through this node.
    ///
    /// # Panics
    /// If `peerdist` does not start.
    pub fn start_get(&self, url: &str) -> RunningDownload {
        let folder = home();
        let file = folder.path().join("received");
        let mut command = self.peerdist();
        command.args(["get", url, "--explain", "--json", "--output"]).arg(&file);
        RunningDownload { process: self.host.spawn(&mut command), file, _folder: folder }
    }

    /// Downloads through this node, and checks the result against what it has to be.
    ///
    /// # Panics
    /// If the download fails or brings other bytes.
    #[track_caller]
    pub fn get(&self, url: &str, expected: &[u8]) -> Download {
        self.start_get(url).finish(expected)
    }

    /// Kills the daemon without warning.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) -> Finished {
        self.process.take().expect("the node runs").kill()
    }

    /// Takes the whole host off the LAN and kills the daemon: nobody hears of it, as in a power cut.
    ///
    /// # Panics
    /// If it does not run.
    pub fn cut_power(&mut self) {
        self.host.set_link(crate::lab::LAN, false);
        self.kill();
    }

    /// Asks the daemon to end and returns what it said.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    #[track_caller]
    pub fn stop(&mut self) -> Finished {
        self.process.take().expect("the node runs").terminate()
    }
}

/// A download on its way.
#[derive(Debug)]
pub struct RunningDownload {
    process: Process,
    file: PathBuf,
    _folder: TempDir,
}

impl RunningDownload {
    /// Waits for the end of the download, and checks the result against what it has to be.
    ///
    /// # Panics
    /// If the download fails, brings other bytes, or reports other ones.
    #[track_caller]
    pub fn finish(self, expected: &[u8]) -> Download {
        let finished = self.process.wait(PATIENCE).success();
        let report = &finished.stdout;
        let download: Download =
            serde_json::from_str(report).unwrap_or_else(|error| panic!("not the promised object: {error}\n{report}"));
        let received = std::fs::read(&self.file).expect("the file was written");
        assert!(received == expected, "the bytes received are not those of the origin\n{report}");
        assert_eq!(download.bytes, expected.len() as u64, "{report}");
        assert_eq!(download.sha256, sha256(&self.file), "{report}");
        assert_eq!(download.sources.total(), download.bytes, "{report}");
        download
    }
}

/// What `peerdist get --json` promises.
#[derive(Debug, Deserialize)]
pub struct Download {
    /// The content's length.
    pub bytes: u64,
    /// Its hash in hexadecimal.
    pub sha256: String,
    /// How long it took.
    pub seconds: f64,
    /// `v1`, `v2`, or none.
    pub content_information: Option<String>,
    /// Bytes by source.
    pub sources: Sources,
    /// The reasons, in a form of their own; none where the origin sent everything as it is.
    #[serde(default)]
    pub explanation: serde_json::Value,
}

/// What `/v1/why` promises of a content.
#[derive(Debug, Deserialize)]
pub struct Story {
    /// `v1` or `v2`.
    pub version: String,
    /// Bytes by source.
    pub sources: Sources,
}

/// Bytes by source.
#[derive(Debug, Deserialize)]
pub struct Sources {
    /// From the node's own cache.
    pub cache: u64,
    /// From each peer.
    pub peers: BTreeMap<SocketAddr, u64>,
    /// From the content server.
    pub origin: u64,
}

impl Sources {
    /// The bytes of all peers.
    pub fn from_peers(&self) -> u64 {
        self.peers.values().sum()
    }

    /// The bytes that came from a host, over either family.
    pub fn from_host(&self, host: &Host) -> u64 {
        let mut addresses = host.addresses();
        addresses.extend(host.link_local().map(IpAddr::V6));
        self.peers.iter().filter(|(peer, _)| addresses.contains(&peer.ip())).map(|(_, bytes)| bytes).sum()
    }

    /// All bytes.
    pub fn total(&self) -> u64 {
        self.cache + self.from_peers() + self.origin
    }
}

/// The hash as somebody else computes it.
fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().expect("sha256sum starts");
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned()
}

/// Writes a new file that nobody else may read, as keys have to be.
///
/// # Panics
/// If it is there, or cannot be written.
pub fn write_private(path: &Path, text: &str) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).expect("a new file");
    file.write_all(text.as_bytes()).expect("the folder takes files");
}

/// A folder of its own, with a path short enough for a socket in it.
fn home() -> TempDir {
    TempDir::with_prefix("peerdist-").expect("a temporary folder")
}
