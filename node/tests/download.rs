//! Downloads from origins that change, lie, break off or know no ranges: the right bytes, or an error that says why.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peerdist_node::config::{Config, Mode};
use peerdist_node::control::client::Session;
use peerdist_node::download::{Backend, Destination, DownloadError, DownloadReport, Request, download};
use peerdist_node::node::Node;
use peerdist_protocol::content::{HashOptions, Hasher, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::http::ContentVersions;
use peerdist_transport::origin::{Origin, OriginLimits};
use tempfile::TempDir;
use tokio::time::timeout;

/// More blocks than one, and the last one shorter.
const LENGTH: usize = 300_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn content(seed: u8) -> Vec<u8> {
    (0..LENGTH).map(|at| (at as u64 * at as u64 / 7 + u64::from(seed)) as u8).collect()
}

fn described(bytes: &[u8]) -> Vec<u8> {
    let options = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: false };
    let mut hasher = Hasher::new(options, &ServerSecret::from_passphrase("test"));
    hasher.update(bytes);
    hasher.finish().unwrap().v1.unwrap().emit()
}

/// What a scripted origin is asked.
struct Asked {
    /// How many requests came before it.
    number: usize,
    peerdist: bool,
    range: Option<(usize, usize)>,
}

/// An answer in the making.
struct Answer {
    etag: &'static str,
    body: Vec<u8>,
    peerdist: bool,
    range: Option<(usize, usize)>,
    /// After so many bytes of the body the connection breaks.
    cut: usize,
}

impl Answer {
    fn content_information(etag: &'static str, body: Vec<u8>) -> Self {
        Self { etag, body, peerdist: true, range: None, cut: usize::MAX }
    }

    /// The range that was asked for, or everything.
    fn bytes(etag: &'static str, body: Vec<u8>, asked: &Asked) -> Self {
        Self { etag, body, peerdist: false, range: asked.range, cut: usize::MAX }
    }

    fn send(self, stream: &mut TcpStream) -> std::io::Result<()> {
        let Self { etag, body, peerdist, range, cut } = self;
        let mut head = String::from("HTTP/1.1 200 OK\r\n");
        let mut sent = &body[..];
        if peerdist {
            head.push_str(&format!(
                "Content-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1, ContentLength={LENGTH}\r\n"
            ));
        } else if let Some((first, last)) = range {
            let last = last.min(LENGTH - 1);
            sent = &body[first..=last];
            head = format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{LENGTH}\r\n");
        }
        write!(stream, "{head}ETag: \"{etag}\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", sent.len())?;
        stream.write_all(&sent[..sent.len().min(cut)])
    }
}

/// An origin that answers one request for each connection, as the script says.
struct Scripted {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Scripted {
    fn start(script: impl Fn(&Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Some((peerdist, range)) = read_request(&mut stream) else { continue };
                let number = counted.fetch_add(1, Ordering::SeqCst);
                // A client that has seen enough hangs up.
                let _ = script(&Asked { number, peerdist, range }).send(&mut stream);
            }
        });
        Self { address, requests }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<(bool, Option<(usize, usize)>)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let header = |name| head.lines().find_map(|line: &str| line.strip_prefix(name)?.strip_prefix(": "));
    let range = header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let range = range.map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap()));
    Some((header("accept-encoding").is_some_and(|codings| codings.contains("peerdist")), range))
}

/// A user with a cache, and nobody else on the LAN.
struct User {
    home: TempDir,
    backend: Backend,
}

impl User {
    async fn new() -> Self {
        Self::with_free_space(0).await
    }

    /// A user whose cache leaves so many bytes of the disk to others.
    async fn with_free_space(keep_free: u64) -> Self {
        let home = TempDir::new().unwrap();
        let mut config = Config::default();
        config.node.mode = Mode::Local;
        config.cache.dir = home.path().join("cache");
        config.cache.keep_free = keep_free;
        Self { backend: Backend::Embedded(Node::start_embedded(config).await.unwrap()), home }
    }

    /// A user of a daemon, and the daemon.
    async fn of_daemon(settings: &str) -> (Self, Child) {
        let home = TempDir::new().unwrap();
        let at = |name: &str| home.path().join("cache").join(name);
        let config = format!(
            "node.mode = \"local\"\ncache.dir = {:?}\ncontrol.admin_socket = {:?}\ncontrol.api_socket = {:?}\n\
             control.feature_file = {:?}\n{settings}",
            at("cache"),
            at("admin.sock"),
            at("api.sock"),
            at("features.toml"),
        );
        std::fs::create_dir(home.path().join("cache")).unwrap();
        std::fs::write(at("peerdist.toml"), config).unwrap();
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_peerdistd"));
        let daemon = daemon.arg("--config").arg(at("peerdist.toml")).stderr(Stdio::null()).spawn().unwrap();
        let session = timeout(PATIENCE, async {
            loop {
                match Session::open(at("api.sock")).await {
                    Ok(session) => break session,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        (Self { backend: Backend::Daemon(session.await.unwrap()), home }, daemon)
    }

    fn output(&self) -> PathBuf {
        self.home.path().join("received")
    }

    async fn get(&self, origin: &Scripted) -> Result<DownloadReport, DownloadError> {
        let request = Request {
            url: format!("http://{}/file", origin.address).parse().unwrap(),
            destination: Destination::File(self.output()),
            versions: ContentVersions::V1AndV2,
        };
        let client = Origin::new(OriginLimits::default()).unwrap();
        let result = timeout(PATIENCE, download(&client, &self.backend, &request, |_| {})).await;
        result.expect("a download ends").map(|(report, _)| report)
    }

    /// Nothing under the output's name, and no half of it beside.
    fn has_no_output(&self) -> bool {
        let names = std::fs::read_dir(self.home.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name != Path::new("cache").as_os_str()).count() == 0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_origin_gives_is_kept_for_the_next_time() {
    let origin = Scripted::start(|asked| match asked.peerdist {
        true => Answer::content_information("a", described(&content(1))),
        false => Answer::bytes("a", content(1), asked),
    });
    let user = User::new().await;
    let report = user.get(&origin).await.unwrap();
    assert_eq!((report.bytes, report.sources.origin, report.sources.cache), (LENGTH as u64, LENGTH as u64, 0));
    assert_eq!(report.content_information.as_deref(), Some("v1"));
    assert!(std::fs::read(user.output()).unwrap() == content(1));
    let report = user.get(&origin).await.unwrap();
    assert_eq!((report.sources.origin, report.sources.cache), (0, LENGTH as u64));
    assert!(std::fs::read(user.output()).unwrap() == content(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_cache_and_not_the_download() {
    let origin = Scripted::start(|asked| match asked.peerdist {
        true => Answer::content_information("a", described(&content(1))),
        false => Answer::bytes("a", content(1), asked),
    });
    // More than any disk has: the cache may take nothing.
    let user = User::with_free_space(1 << 60).await;
    for _ in 0..2 {
        let report = user.get(&origin).await.unwrap();
        assert_eq!((report.sources.origin, report.sources.cache), (LENGTH as u64, 0));
        assert!(std::fs::read(user.output()).unwrap() == content(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_information_of_other_bytes_is_found_out() {
    let origin = Scripted::start(|asked| match asked.peerdist {
        true => Answer::content_information("a", described(&content(2))),
        false => Answer::bytes("a", content(1), asked),
    });
    let user = User::new().await;
    for _ in 0..2 {
        let report = user.get(&origin).await.unwrap();
        assert!(std::fs::read(user.output()).unwrap() == content(1));
        // The second time, too: nothing of it was kept.
        assert_eq!((report.sources.origin, report.sources.cache), (LENGTH as u64, 0));
        assert_eq!(report.content_information, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_content_information_costs_nothing_but_itself() {
    for garbage in [Vec::new(), b"garbage".to_vec(), described(&content(1))[..60].to_vec()] {
        let origin = Scripted::start(move |asked| match asked.peerdist {
            true => Answer::content_information("a", garbage.clone()),
            false => Answer::bytes("a", content(1), asked),
        });
        let user = User::new().await;
        let report = user.get(&origin).await.unwrap();
        assert!(std::fs::read(user.output()).unwrap() == content(1));
        assert_eq!(report.content_information, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_changes_midway_is_fetched_as_it_is_then() {
    let origin = Scripted::start(|asked| match (asked.peerdist, asked.number) {
        (true, 0) => Answer::content_information("a", described(&content(1))),
        (true, _) => Answer::content_information("b", described(&content(2))),
        (false, _) => Answer::bytes("b", content(2), asked),
    });
    let user = User::new().await;
    let report = user.get(&origin).await.unwrap();
    assert!(std::fs::read(user.output()).unwrap() == content(2));
    assert_eq!((report.bytes, report.sources.origin), (LENGTH as u64, LENGTH as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_keeps_changing_is_given_up() {
    let tags = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let origin = Scripted::start(move |asked| {
        let etag = tags[asked.number % tags.len()];
        match asked.peerdist {
            true => Answer::content_information(etag, described(&content(1))),
            false => Answer::bytes(etag, content(1), asked),
        }
    });
    let user = User::new().await;
    let error = user.get(&origin).await.unwrap_err();
    assert!(matches!(error, DownloadError::Changing), "{error}");
    assert!(user.has_no_output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_breaks_off_is_taken_up_where_it_was() {
    // Every third answer is whole: what came before it has to count.
    let origin = Scripted::start(|asked| match asked.peerdist {
        true => Answer::content_information("a", described(&content(1))),
        false => Answer {
            cut: if asked.number % 3 == 0 { usize::MAX } else { 70_000 },
            ..Answer::bytes("a", content(1), asked)
        },
    });
    let user = User::new().await;
    let report = user.get(&origin).await.unwrap();
    assert!(std::fs::read(user.output()).unwrap() == content(1));
    assert_eq!(report.sources.origin, LENGTH as u64);
    assert!(origin.requests.load(Ordering::SeqCst) > 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_always_breaks_off_is_given_up() {
    for described_first in [true, false] {
        let origin = Scripted::start(move |asked| match asked.peerdist && described_first {
            true => Answer::content_information("a", described(&content(1))),
            false => Answer { cut: 0, ..Answer::bytes("a", content(1), asked) },
        });
        let user = User::new().await;
        let error = user.get(&origin).await.unwrap_err();
        assert!(matches!(error, DownloadError::Origin(_)), "{error:?}");
        assert!(user.has_no_output());
        assert!(origin.requests.load(Ordering::SeqCst) < 20, "it is not asked for ever");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_without_ranges_is_read_from_its_beginning() {
    let origin = Scripted::start(|asked| match asked.peerdist {
        true => Answer::content_information("a", described(&content(1))),
        false => Answer {
            range: None,
            // Once it breaks off, so that the next answer begins before what is missing.
            cut: if asked.number == 1 { 150_000 } else { usize::MAX },
            ..Answer::bytes("a", content(1), asked)
        },
    });
    let user = User::new().await;
    let report = user.get(&origin).await.unwrap();
    assert!(std::fs::read(user.output()).unwrap() == content(1));
    assert_eq!(report.content_information.as_deref(), Some("v1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_goes_away_does_not_take_the_download_with_it() {
    let (user, daemon) = User::of_daemon("").await;
    let daemon = Arc::new(Mutex::new(daemon));
    let end = |daemon: &Mutex<Child>| {
        let mut daemon = daemon.lock().unwrap();
        daemon.kill().and_then(|()| daemon.wait()).unwrap();
    };
    let victim = Arc::clone(&daemon);
    let origin = Scripted::start(move |asked| match asked.peerdist {
        true => Answer::content_information("a", described(&content(1))),
        // The first blocks come while it is there, and the transfer breaks off; it goes before the others come.
        false if asked.number == 1 => Answer { cut: 140_000, ..Answer::bytes("a", content(1), asked) },
        false => {
            end(&victim);
            Answer::bytes("a", content(1), asked)
        }
    });
    let report = user.get(&origin).await.unwrap();
    end(&daemon);
    assert!(std::fs::read(user.output()).unwrap() == content(1));
    assert_eq!((report.bytes, report.sources.origin), (LENGTH as u64, LENGTH as u64));
    assert_eq!(report.content_information.as_deref(), Some("v1"));
    let failure = report.node_failure.unwrap();
    assert!(failure.contains("api.sock"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_turned_off_stands_in_nobodys_way() {
    let (user, mut daemon) = User::of_daemon("node.enabled = false").await;
    let origin = Scripted::start(|asked| match asked.peerdist {
        true => Answer::content_information("a", described(&content(1))),
        false => Answer::bytes("a", content(1), asked),
    });
    let report = user.get(&origin).await.unwrap();
    daemon.kill().and_then(|()| daemon.wait()).unwrap();
    assert!(std::fs::read(user.output()).unwrap() == content(1));
    assert_eq!((report.sources.origin, report.sources.cache), (LENGTH as u64, 0));
    let failure = report.node_failure.unwrap();
    assert!(failure.contains("turned off"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_node_the_content_comes_as_it_is() {
    let origin = Scripted::start(|asked| match asked.peerdist {
        true => Answer::content_information("a", described(&content(1))),
        false => Answer::bytes("a", content(1), asked),
    });
    let mut user = User::new().await;
    user.backend = Backend::Nobody("there is no room".to_owned());
    let report = user.get(&origin).await.unwrap();
    assert!(std::fs::read(user.output()).unwrap() == content(1));
    assert_eq!(report.node_failure.as_deref(), Some("there is no room"));
}
