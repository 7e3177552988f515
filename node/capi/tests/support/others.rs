//! Other processes, other users and other hosts.

use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerdist_node::control::client::{RemoteContent, RemoteRead, Session};
use rustix::process::geteuid;

use super::world::*;

/// Set in the process of another part of a case.
const PART_VARIABLE: &str = "PEERDIST_CASE_PART";
/// Neither root nor anybody who runs tests.
const NOBODY: u32 = 65_534;

/// Whether this is the process that [`in_another_process`] or [`as_another_user`] started.
pub(crate) fn is_other_process() -> bool {
    std::env::var_os(PART_VARIABLE).is_some()
}

/// Runs a case once more, in a process of its own that uses the same daemon. `name` is the test's path.
pub(crate) fn in_another_process(name: &str, world: &World) {
    assert!(run(name, world, None));
}

/// The same as another user. Returns whether that was possible.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub(crate) fn as_another_user(name: &str, world: &World) -> bool {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return false;
    }
    fs::set_permissions(&world.home, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = run(name, world, Some(NOBODY));
    if !ran {
        eprintln!("skipped: another user cannot run this program");
    }
    ran
}

fn run(name: &str, world: &World, user: Option<u32>) -> bool {
    let mut process = command(std::env::current_exe().unwrap(), &world.home);
    process.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(PART_VARIABLE, "other");
    if let Some(user) = user {
        process.uid(user).gid(user);
    }
    match process.output() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
        ran => {
            let ran = ran.unwrap();
            let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            assert!(ran.status.success() && said.contains("1 passed"), "the other process: {said}");
            true
        }
    }
}

/// The configurations of two nodes that find each other on the loopback: one that serves, one that asks.
pub(crate) fn neighbours() -> [String; 2] {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    ["distributed", "client"].map(|mode| {
        format!(
            "node.mode = \"{mode}\"\nnode.listen = [\"127.0.0.1\"]\nnode.port = 0\n\
             discovery.interfaces = [\"lo\"]\ndiscovery.ipv6 = false\ndiscovery.port = {port}\n"
        )
    })
}

/// A content that another host reads.
pub(crate) struct Peer {
    _daemon: Daemon,
    _session: Session,
    content: RemoteContent,
}

impl Peer {
    pub(crate) async fn start(world: &World, config: &str, information: &[u8]) -> Self {
        let daemon = world.other("peer", config);
        let session = Session::open(world.home.join("peer/api.sock")).await.unwrap();
        let content = session.open_content(Bytes::copy_from_slice(information)).await.unwrap();
        Self { _daemon: daemon, _session: session, content }
    }

    /// The bytes that it finds near, or `None`.
    pub(crate) async fn find(&self, offset: u64, max: u64) -> Option<Vec<u8>> {
        match self.content.block_read(offset, max, LIMIT).await.unwrap() {
            RemoteRead::Data { mut bytes, .. } => {
                let mut all = Vec::new();
                while let Some(piece) = bytes.next().await.unwrap() {
                    all.extend_from_slice(&piece);
                }
                Some(all)
            }
            RemoteRead::Missing { .. } => None,
        }
    }

    /// Asks until it finds bytes: a datagram may get lost.
    pub(crate) async fn find_at_last(&self, offset: u64, max: u64) -> Vec<u8> {
        let began = Instant::now();
        loop {
            if let Some(bytes) = self.find(offset, max).await {
                return bytes;
            }
            assert!(began.elapsed() < LIMIT, "nobody serves it");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
