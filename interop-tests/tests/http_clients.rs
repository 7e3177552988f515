//! The content server and HTTP programs that others wrote: curl and wget before it, nginx behind it.

use std::process::Command;

use peerdist_interop_tests::lab::{Families, Host, Lab, Plan};
use peerdist_interop_tests::nginx::Nginx;
use peerdist_interop_tests::nodes::{ContentServer, Node, PEERDIST_HEADERS, content};
use peerdist_interop_tests::process::PATIENCE;
use peerdist_interop_tests::{isolated, programs};

const LENGTH: usize = 1_000_000;

#[test]
fn curl_and_wget_before_a_folder() {
    isolated::run(|| {
        let lab = lab();
        let file = content(LENGTH, 1);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        plain_requests(&lab.hosts[0], &server.url("file"), &file);
        resumed_by_wget(&lab.hosts[0], &server.url("file"), &file);
        peerdist_requests(&lab.hosts[0], &server.url("file"), &file);
        assert_eq!(curl(&lab.hosts[0], &server.url("no-such-file"), &[]).status, 404);
        let climbing = curl(&lab.hosts[0], &server.url("..%2fstate%2fsecret.key"), &["--path-as-is"]);
        assert!(matches!(climbing.status, 400 | 404), "{}", climbing.status);
    });
}

#[test]
fn curl_and_wget_before_nginx_behind_the_reverse_proxy() {
    isolated::run(|| {
        let lab = lab();
        let file = content(LENGTH, 2);
        let nginx = Nginx::start(&lab.origin, &[("file", &file)]);
        let mut server = ContentServer::proxy(&lab.origin, &nginx.base());
        // The first request is answered as nginx answers it, and leads to hashing.
        plain_requests(&lab.hosts[0], &server.url("file"), &file);
        server.wait_hashed("file");
        plain_requests(&lab.hosts[0], &server.url("file"), &file);
        resumed_by_wget(&lab.hosts[0], &server.url("file"), &file);
        peerdist_requests(&lab.hosts[0], &server.url("file"), &file);
        assert_eq!(curl(&lab.hosts[0], &server.url("no-such-file"), &[]).status, 404);
        let direct = curl(&lab.origin, &format!("{}file", nginx.base()), &[]);
        assert_eq!(curl(&lab.hosts[0], &server.url("file"), &[]).header("etag"), direct.header("etag"));
    });
}

#[test]
fn a_file_that_changes_behind_the_proxy_is_hashed_anew() {
    isolated::run(|| {
        let lab = Lab::new(Plan { families: Families::V4, ..Plan::default() });
        // Of different lengths: nginx makes its entity tag of length and seconds, and both are of the same second.
        let [old, new] = [content(LENGTH, 3), content(LENGTH + 1, 4)];
        let nginx = Nginx::start(&lab.origin, &[("file", &old)]);
        let mut server = ContentServer::proxy(&lab.origin, &nginx.base());
        server.wait_hashed("file");
        let [first, second] = [0, 1].map(|index: usize| Node::start(&lab.hosts[index]));
        first.get(&server.url("file"), &old);

        nginx.replace("file", &new);
        // Content information of the old file would make these fail; bytes of it in the cache must not be used.
        first.get(&server.url("file"), &new);
        server.wait_hashed("file");
        second.get(&server.url("file"), &new);
    });
}

#[test]
fn compressed_answers_of_nginx_pass_unchanged() {
    isolated::run(|| {
        let lab = lab();
        let text = "All work and no play makes a dull test.\n".repeat(10_000);
        let nginx = Nginx::start(&lab.origin, &[("text.txt", text.as_bytes())]);
        let mut server = ContentServer::proxy(&lab.origin, &nginx.base());
        let url = server.url("text.txt");
        let answer = curl(&lab.hosts[0], &url, &["--header", "Accept-Encoding: gzip"]);
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert!(answer.body.len() < text.len() / 2);
        let answer = curl(&lab.hosts[0], &url, &["--compressed"]);
        assert!(answer.body == text.as_bytes());
        // Content information describes the identity representation, whatever else the client takes.
        server.wait_hashed("text.txt");
        let accepted = ["Accept-Encoding: gzip, peerdist", PEERDIST_HEADERS[1], PEERDIST_HEADERS[2]];
        let answer = curl(&lab.hosts[0], &url, &headers(&accepted));
        assert_eq!(answer.header("content-encoding"), Some("peerdist"));
        assert_eq!(show(&lab.hosts[0], &answer.body)["length"], text.len());
    });
}

/// What any client may ask of any server.
fn plain_requests(client: &Host, url: &str, file: &[u8]) {
    let whole = curl(client, url, &[]);
    assert_eq!(whole.status, 200);
    assert!(whole.body == file);
    assert_eq!(whole.header("content-length"), Some(LENGTH.to_string().as_str()));
    assert_eq!(whole.header("content-encoding"), None);
    let vary = whole.header("vary").expect("caches are told what the answer depends on").to_ascii_lowercase();
    for name in ["accept-encoding", "x-p2p-peerdist", "x-p2p-peerdistex"] {
        assert!(vary.split(',').any(|listed| listed.trim() == name), "{name} is missing in {vary}");
    }

    let head = curl(client, url, &["--head"]);
    assert_eq!((head.status, head.header("content-length")), (200, whole.header("content-length")));

    for (range, bytes) in
        [("1000-1999", &file[1000..2000]), ("999999-", &file[LENGTH - 1..]), ("-500", &file[LENGTH - 500..])]
    {
        let part = curl(client, url, &["--range", range]);
        assert_eq!(part.status, 206, "{range}");
        assert!(part.body == bytes, "{range}");
        assert!(part.header("content-range").is_some_and(|range| range.ends_with("/1000000")), "{range}");
    }
    assert_eq!(curl(client, url, &["--range", "1000000-"]).status, 416);

    let tag = whole.header("etag").expect("the file has a validator");
    assert_eq!(curl(client, url, &["--header", &format!("If-None-Match: {tag}")]).status, 304);
    assert_eq!(curl(client, url, &["--header", "If-None-Match: \"another\""]).status, 200);
    let date = whole.header("last-modified").expect("the file has a date");
    assert_eq!(curl(client, url, &["--header", &format!("If-Modified-Since: {date}")]).status, 304);
    let stale = ["--range", "0-9", "--header", "If-Range: \"another\""];
    assert_eq!(curl(client, url, &stale).status, 200);
}

fn resumed_by_wget(client: &Host, url: &str, file: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("file");
    std::fs::write(&target, &file[..123_456]).expect("a file in it");
    let mut wget = Command::new(programs::find("wget"));
    client.run(wget.args(["--no-verbose", "--continue", url, "--output-document"]).arg(&target), PATIENCE).success();
    assert!(std::fs::read(&target).expect("wget wrote it") == file);
}

/// What a client with the peerdist content coding asks.
fn peerdist_requests(client: &Host, url: &str, file: &[u8]) {
    let answer = curl(client, url, &headers(&PEERDIST_HEADERS));
    assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("peerdist")));
    assert!(answer.header("x-p2p-peerdist").is_some_and(|value| value.contains("ContentLength=1000000")));
    assert!(answer.body.len() < file.len() / 100);
    let shown = show(client, &answer.body);
    assert_eq!((&shown["version"], &shown["length"]), (&"v2".into(), &LENGTH.into()));

    // A Windows 7 client reads version 1 alone.
    let old = ["Accept-Encoding: gzip, deflate, peerdist", "X-P2P-PeerDist: Version=1.0"];
    let answer = curl(client, url, &headers(&old));
    assert_eq!(answer.header("content-encoding"), Some("peerdist"));
    assert_eq!(show(client, &answer.body)["version"], "v1");

    // What peers did not have is asked for as it is.
    let missing = ["X-P2P-PeerDist: Version=1.1, MissingDataRequest=true", "Accept-Encoding: peerdist"];
    let answer = curl(client, url, &[&["--range", "65536-131071"], &headers(&missing)[..]].concat());
    assert_eq!((answer.status, answer.header("content-encoding")), (206, None));
    assert!(answer.body == file[65_536..131_072]);
}

fn headers<'a>(headers: &[&'a str]) -> Vec<&'a str> {
    headers.iter().flat_map(|header| ["--header", header]).collect()
}

fn lab() -> Lab {
    Lab::new(Plan { hosts: 1, families: Families::V4, ..Plan::default() })
}

/// What curl got.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

fn curl(client: &Host, url: &str, options: &[&str]) -> Answer {
    let folder = tempfile::tempdir().expect("a folder");
    let [head, body] = ["head", "body"].map(|name| folder.path().join(name));
    let mut curl = Command::new(programs::find("curl"));
    curl.args(["--silent", "--show-error", "--dump-header"]).arg(&head).arg("--output").arg(&body).args(options);
    client.run(curl.arg(url), PATIENCE).success();
    let head = std::fs::read_to_string(&head).expect("curl wrote the headers");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let pairs = lines.filter_map(|line| line.split_once(':'));
    Answer {
        status: status.unwrap_or_else(|| panic!("no status line: {head}")),
        headers: pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(),
        body: std::fs::read(&body).unwrap_or_default(),
    }
}

/// Content information as `peerdist show` understands it.
fn show(host: &Host, information: &[u8]) -> serde_json::Value {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), information).expect("it fits");
    let shown = host.run(Command::new(programs::peerdist()).args(["show", "--json"]).arg(file.path()), PATIENCE);
    serde_json::from_str(&shown.success().stdout).expect("one JSON object")
}
