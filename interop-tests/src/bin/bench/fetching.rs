//! One GiB from one peer to verified bytes on disk and in the cache, against curl and against BitTorrent.

use std::path::Path;
use std::process::Command;

use peerdist_interop_tests::programs::find;

use crate::row::{Row, rounds};
use crate::stage::{ContentServer, Nginx, Node, free_port, run, wait, write_content};
use crate::tools::{MB, Running, Tracker, memory, seconds};

const LENGTH: u64 = 1 << 30;
/// The download whose memory is looked at.
const LARGE: u64 = 4 << 30;

pub(crate) fn rows() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let served = folder.path().join("served");
    std::fs::create_dir(&served).expect("a new folder");
    write_content(&served.join("content"), LENGTH);
    let server = ContentServer::start(&served, &folder.path().join("state"));
    let url = server.url("content");
    let output = folder.path().join("received");

    let peer = Node::start("0,1");
    fill_from_origin(&peer, &url);
    let ours = rounds(|| {
        let fresh = Node::start("0,1");
        LENGTH as f64 / MB / seconds(|| fetch_from_peer(&fresh, &url, &output, LENGTH))
    });
    let nginx = Nginx::start("0,1", &served, "on");
    let curl = rounds(|| {
        let mut curl = Command::new(find("curl"));
        curl.args(["--silent", "--fail", &nginx.url("content"), "-o"]).arg(&output);
        LENGTH as f64 / MB / seconds(|| _ = run(&mut curl))
    });
    let torrent = bittorrent(folder.path(), &served.join("content"));
    let mut rows = vec![
        Row::against(
            "fetching 1 GiB from one peer, two cores",
            ours,
            "curl from nginx to disk",
            curl,
            "MB/s",
            0.3,
            0.7,
        ),
        Row::against("the same", ours, "aria2c by BitTorrent from one seeder", torrent, "MB/s", 2.0, 5.0),
    ];
    rows.push(large_download(folder.path()));
    rows
}

/// Downloads until nothing comes from the origin any more: parts that were not hashed yet came as they are.
fn fill_from_origin(node: &Node, url: &str) {
    wait("a full cache", || {
        let report = run(node.peerdist().args(["get", url, "--json", "-o", "/dev/null"]));
        let report: serde_json::Value = serde_json::from_str(&report).expect("one JSON object");
        (report["sources"]["origin"] == 0).then_some(())
    });
}

fn fetch_from_peer(node: &Node, url: &str, output: &Path, length: u64) {
    let report = run(node.peerdist().args(["get", url, "--json", "-o"]).arg(output));
    let report: serde_json::Value = serde_json::from_str(&report).expect("one JSON object");
    let from_peers: u64 =
        report["sources"]["peers"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
    assert!(from_peers * 100 >= length * 95, "not from the peer: {report}");
}

/// In MB/s.
fn bittorrent(folder: &Path, content: &Path) -> f64 {
    let seeder = free_port();
    let tracker = Tracker::start(seeder);
    let torrent = folder.join("content.torrent");
    run(Command::new(find("mktorrent")).args(["-l", "20", "-a", &tracker.url(), "-o"]).arg(&torrent).arg(content));
    let aria2c = find("aria2c");
    let common =
        ["--enable-dht=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--summary-interval=0"];
    let seed = [format!("--listen-port={seeder}"), "--seed-ratio=0.0".into(), "--check-integrity=true".into()];
    let place = [format!("--dir={}", content.parent().expect("a folder").display()), torrent.display().to_string()];
    let words = common.iter().map(|word| (*word).to_owned()).chain(seed).chain(place);
    let _seeding = Running::start("0,1", &aria2c, words);
    wait("the seeder", || std::net::TcpStream::connect(("127.0.0.1", seeder)).ok());
    rounds(|| {
        let target = tempfile::tempdir_in(folder).expect("a temporary folder");
        let mut leech = Command::new(&aria2c);
        leech.args(common).args(["--seed-time=0", &format!("--listen-port={}", free_port())]);
        leech.arg(format!("--dir={}", target.path().display())).arg(&torrent);
        LENGTH as f64 / MB / seconds(|| _ = run(&mut leech))
    })
}

/// The most memory that the daemon and the command take during a download of 4 GiB from a peer.
fn large_download(folder: &Path) -> Row {
    let served = folder.join("large");
    std::fs::create_dir(&served).expect("a new folder");
    write_content(&served.join("content"), LARGE);
    let server = ContentServer::start(&served, &folder.join("large-state"));
    let url = server.url("content");
    let (peer, fresh) = (Node::start("0,1"), Node::start("0,1"));
    fill_from_origin(&peer, &url);
    fetch_from_peer(&fresh, &url, Path::new("/dev/null"), LARGE);
    let most = memory(fresh.id(), "VmHWM").max(memory(peer.id(), "VmHWM"));
    Row::at_most("a daemon during a download of 4 GiB", most, "MB resident", 120.0, 120.0)
}
