//! What is captured: each function builds a lab, and captures at the port of the host that sees it all.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use peerdist_protocol::content::{CryptoAlgoId, SegmentId};
use peerdist_protocol::discovery::{GROUP_V4, PORT};
use peerdist_protocol::hosted_cache::Version;
use peerdist_protocol::retrieval::{self, Exchange};
use rustix::net;
use serde_json::{Value, json};

use crate::hosted::{self, Authority};
use crate::hostile::{HostilePeer, Misbehaviour};
use crate::lab::{Families, Host, Lab, Lan, Plan};
use crate::nodes::{ContentServer, Node, PEERDIST_HEADERS, content};
use crate::process::{PATIENCE, wait_until};
use crate::programs;

/// Two blocks of version 1, the last one short.
const TWO_BLOCKS: usize = 66_000;
/// One block.
const ONE_BLOCK: usize = 3000;
/// How curl ends when the server closes the connection without an answer.
const EMPTY_REPLY: i32 = 52;

fn lab(hosts: usize, families: Families) -> Lab {
    Lab::new(Plan { hosts, families, lan: Lan::Switch(1), ..Plan::default() })
}

/// Captures what a host sends and receives while `work` runs.
fn capture<T>(lab: &Lab, host: &Host, path: &Path, work: impl FnOnce() -> T) -> T {
    lab.switch().start_capture(path, &[host.port()]);
    let done = work();
    lab.switch().stop_capture();
    done
}

pub(super) fn distributed_v1(path: &Path) {
    let lab = lab(2, Families::V4);
    let file = content(TWO_BLOCKS, 1);
    let [holder, reader] = [0, 1].map(|index: usize| Node::start(&lab.hosts[index]));
    let information = holder.add_to_cache(&file, "v1");
    let id = information.segments()[0].id();
    let read = capture(&lab, reader.host(), path, || {
        let read = reader.read(&information);
        // A reader asks for the list only where it does not know what a host has.
        let needed = json!({ "SegmentID": id.to_string(), "NeededBlockRanges": [{ "Index": 0, "Count": 2 }] });
        craft(reader.host(), holder.host(), &json!({ "message": "MSG_GETBLKLIST", "fields": needed }));
        read
    });
    assert!(read == file, "the holder gives what it has");
}

/// Has `peerdist craft` send a message of MS-PCCRR and wait for its answer.
fn craft(from: &Host, to: &Host, message: &Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("message.json");
    std::fs::write(&file, message.to_string()).expect("a file in an empty folder");
    let mut craft = Command::new(programs::peerdist());
    craft.arg("craft").arg(file).args(["--send", &format!("http://{}", to.socket(80))]);
    from.run(&mut craft, PATIENCE).success();
}

pub(super) fn distributed_v2(path: &Path) {
    let lab = lab(2, Families::Both);
    let file = content(ONE_BLOCK, 1);
    let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
    let [holder, reader] = [0, 1].map(|index: usize| Node::start(&lab.hosts[index]));
    holder.get(&server.url("file"), &file);
    let download = capture(&lab, reader.host(), path, || reader.get(&server.url("file"), &file));
    assert_eq!(download.sources.from_peers(), file.len() as u64, "{:#}", download.explanation);
}

pub(super) fn hosted_v1(path: &Path) {
    let lab = lab(3, Families::V4);
    let file = content(ONE_BLOCK, 1);
    let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
    let authority = Authority::new();
    let keys = path.with_extension("keys");
    let hosted = hosted::secure_hosted_cache(&lab.hosts[0], &authority, "");
    let settings = hosted::secure_client_settings(&[hosted.host()], &authority);
    let [first, second] = [1, 2].map(|index: usize| Node::start_with_key_log(&lab.hosts[index], &settings, &keys));
    capture(&lab, hosted.host(), path, || through_hosted_cache(&hosted, &first, &second, &server.url("file"), &file));
    inject(path, &keys);
}

pub(super) fn hosted_v2(path: &Path) {
    let lab = lab(3, Families::V4);
    let file = content(ONE_BLOCK, 1);
    let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
    let hosted = hosted::hosted_cache(&lab.hosts[0], "");
    let [first, second] = [1, 2].map(|index: usize| hosted::client(&lab.hosts[index], &[hosted.host()], ""));
    capture(&lab, hosted.host(), path, || through_hosted_cache(&hosted, &first, &second, &server.url("file"), &file));
}

/// The first client offers a file to the hosted cache, the second one takes it from there.
fn through_hosted_cache(hosted: &Node, first: &Node, second: &Node, url: &str, file: &[u8]) {
    first.get(url, file);
    wait_until("the hosted cache to hold the file", PATIENCE, || {
        (hosted.status()["cache"]["blocks"] == 1).then_some(())
    });
    let download = second.get(url, file);
    assert_eq!(download.sources.from_host(hosted.host()), file.len() as u64, "{:#}", download.explanation);
}

/// Puts the keys of TLS connections into a capture, where tshark and Wireshark look for them.
fn inject(capture: &Path, keys: &Path) {
    let without = capture.with_extension("without-keys");
    std::fs::rename(capture, &without).expect("the capture is there");
    let secrets = format!("tls,{}", keys.display());
    let mut editcap = Command::new(programs::find("editcap"));
    editcap.args(["--inject-secrets", &secrets]).arg(&without).arg(capture);
    let output = editcap.output().expect("editcap starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for done in [&without, keys] {
        std::fs::remove_file(done).expect("it was just read");
    }
}

pub(super) fn range_requests(path: &Path) {
    let lab = lab(2, Families::V4);
    let [client, server] = [&lab.hosts[0], &lab.hosts[1]];
    let file = content(TWO_BLOCKS, 1);
    let server = ContentServer::folder(server, &[("file", &file)]);
    let url = server.url("file");
    let v2 = PEERDIST_HEADERS.map(str::to_owned);
    let v1 = v2.clone().map(|header| header.replace("MaxContentInformation=2.0", "MaxContentInformation=1.0"));
    // Windows Vista's form of the header, without the other one.
    let oldest = ["Accept-Encoding: peerdist", "X-P2P-PeerDist: Version=1.0"].map(str::to_owned);
    let missing =
        ["Accept-Encoding: peerdist", "X-P2P-PeerDist: Version=1.1, MissingDataRequest=true"].map(str::to_owned);
    capture(&lab, client, path, || {
        for headers in [&v1[..], &v2, &oldest, &[]] {
            ask(client, &url, headers, &[]);
            for range in ["1000-2999", "65000-65999", "-500", "66000-", "0-9,1000-1009"] {
                ask(client, &url, headers, &["--range", range]);
            }
        }
        ask(client, &url, &missing, &["--range", "1000-2999"]);
        ask(client, &url, &v2, &["--header", "If-None-Match: *"]);
        ask(client, &url, &v2, &["--header", "If-Match: \"other\""]);
        ask(client, &url, &v2, &["--head"]);
        ask(client, &server.url("nothing"), &v2, &[]);
    });
}

/// Has curl ask, whatever the answer.
fn ask(from: &Host, url: &str, headers: &[String], arguments: &[&str]) {
    let mut curl = Command::new(programs::find("curl"));
    curl.args(["--silent", "--output", "/dev/null"]);
    curl.args(headers.iter().flat_map(|header| ["--header", header])).args(arguments).arg(url);
    from.run(&mut curl, PATIENCE).success();
}

pub(super) fn version_negotiation(path: &Path) {
    let lab = lab(2, Families::V4);
    let [client, host] = [&lab.hosts[0], &lab.hosts[1]];
    let node = Node::start(host);
    let server = ContentServer::folder(host, &[("file", &content(ONE_BLOCK, 1))]);
    let blocks = format!("http://{}{}", node.host().socket(80), retrieval::PATH);
    let url = server.url("file");
    capture(&lab, client, path, || {
        for message in ["nego_req_1_0_only", "nego_req_1_0_to_2_0", "nego_req_3_2_to_5_0", "bad_version_getblks"] {
            post(client, &blocks, &vector("pccrr", message), &[]);
        }
        for (version, extension) in [
            ("1.0", ""),
            ("1.1", "MinContentInformation=1.0, MaxContentInformation=1.0"),
            ("1.1", "MinContentInformation=2.0, MaxContentInformation=2.0"),
            ("1.1", "MinContentInformation=3.0, MaxContentInformation=4.0"),
            ("9.9", "MinContentInformation=1.0, MaxContentInformation=2.0"),
        ] {
            let mut headers =
                vec!["Accept-Encoding: peerdist".to_owned(), format!("X-P2P-PeerDist: Version={version}")];
            headers.extend((!extension.is_empty()).then(|| format!("X-P2P-PeerDistEx: {extension}")));
            ask(client, &url, &headers, &[]);
        }
    });
}

pub(super) fn errors_discovery(path: &Path) {
    let lab = lab(2, Families::V4);
    let [client, host] = [&lab.hosts[0], &lab.hosts[1]];
    let node = Node::start(host);
    let information = node.add_to_cache(&content(ONE_BLOCK, 1), "v2");
    capture(&lab, client, path, || {
        let own = client.ipv4().expect("the lab has IPv4");
        let socket = client.enter(|| UdpSocket::bind((own, 0)).expect("the address is the host's"));
        for message in ["bad_probe_empty_scopes", "bad_probe_types", "bad_probe_v2_short", "probe_v1", "probe_v2_two"] {
            let datagram = std::fs::read(vectors("pccrd").join(format!("{message}.xml"))).expect("the vector is there");
            socket.send_to(&datagram, (GROUP_V4, PORT)).expect("the interface takes part in multicast");
        }
        socket.send_to(b"<Envelope>not whole", (GROUP_V4, PORT)).expect("the interface takes part in multicast");
        let mut probe = Command::new(programs::peerdist());
        probe.arg("probe").arg(information.segments()[0].id().to_string());
        client.run(&mut probe, PATIENCE).success();
    });
}

pub(super) fn errors_retrieval(path: &Path) {
    let lab = lab(3, Families::V4);
    let [client, host, small] = [&lab.hosts[0], &lab.hosts[1], &lab.hosts[2]];
    let node = Node::start(host);
    let busy = Node::start_with(small, "[retrieval]\nmax_uploads = 1\n");
    let information = busy.add_to_cache(&content(TWO_BLOCKS, 1), "v1");
    let url = format!("http://{}{}", node.host().socket(80), retrieval::PATH);
    capture(&lab, client, path, || {
        for message in [
            "bad_msgsize",
            "bad_range_count",
            "bad_segid_count",
            "bad_truncated_header",
            "bad_unknown_type",
            "getblklist_two_ranges",
            "getblks_block0",
            "getblks_block511_sid48",
            "getblks_count0",
            "getblks_several_ranges",
            "getseglist_two",
        ] {
            post(client, &url, &vector("pccrr", message), &[]);
        }
        ask(client, &url, &[], &[]);
        post(client, &url.replace("116B50EB", "00000000"), &vector("pccrr", "getblks_block0"), &[]);
        announce(client, &node, 1 << 30, &vector("pccrr", "getblks_block0"));
        ask_while_busy(client, &busy, information.segments()[0].id());
    });
}

/// Announces a request of so many bytes and sends a few. The answer does not wait for the others.
fn announce(from: &Host, node: &Node, size: u64, message: &Path) {
    let address = node.host().socket(80);
    let message = std::fs::read(message).expect("the vector is there");
    let head = format!("POST {} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {size}\r\n\r\n", retrieval::PATH);
    from.enter(|| {
        let mut connection = TcpStream::connect(address).expect("the node listens");
        connection.set_read_timeout(Some(PATIENCE)).expect("it is a time");
        connection.write_all(&[head.as_bytes(), &message].concat()).expect("the node reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("the node answers and ends the connection");
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    });
}

/// Asks a node that answers one request at a time twice: the first answer is not read before the second one has come.
fn ask_while_busy(from: &Host, node: &Node, id: SegmentId) {
    let address = node.host().socket(80);
    let message = Exchange::get_block(id, 0, CryptoAlgoId::Aes128).body();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        retrieval::PATH,
        message.len()
    );
    let mut reader = from.enter(|| {
        // Room for less than a block, so that the answer waits.
        let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None).expect("a socket");
        net::sockopt::set_socket_recv_buffer_size(&socket, 4096).expect("it is a size");
        net::connect(&socket, &address).expect("the node listens");
        TcpStream::from(socket)
    });
    reader.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    reader.write_all(&[head.as_bytes(), &message].concat()).expect("the node reads");
    wait_until("the node to send", PATIENCE, || (node.status()["serving"]["uploads"] == 1).then_some(()));
    craft(
        from,
        node.host(),
        &json!({ "message": "MSG_GETBLKS", "fields": {
        "SegmentID": id.to_string(), "ReqBlockRanges": [{ "Index": 1, "Count": 1 }],
    } }),
    );
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).expect("the first answer goes on");
    assert!(answer.len() > 65_536, "{} bytes", answer.len());
}

pub(super) fn errors_hosted_cache(path: &Path) {
    let lab = lab(2, Families::V4);
    let [client, host] = [&lab.hosts[0], &lab.hosts[1]];
    let authority = Authority::new();
    let node = hosted::secure_hosted_cache(host, &authority, "");
    let keys = path.with_extension("keys");
    let [v1, v2] = [(Version::V1, "https"), (Version::V2, "http")].map(|(version, scheme)| {
        format!("{scheme}://{}{}", node.host().socket(version.default_port()), version.path())
    });
    let trust = authority.file("authority.pem");
    let secure = ["--cacert", trust.to_str().expect("temporary folders have plain names")];
    capture(&lab, client, path, || {
        for message in [
            "neg_initial_offer_bad_type",
            "neg_initial_offer_bad_version",
            "neg_initial_offer_little_endian_type",
            "neg_initial_offer_truncated_header",
            "neg_initial_offer_version2_on_v1",
            "neg_segment_info_bad_ci_version",
            "neg_segment_info_bad_hash_algo",
            "neg_segment_info_no_segment",
            "neg_segment_info_two_segments",
            "batched_offer_one_truncsha512",
        ] {
            post_logging_keys(client, &v1, &vector("pchc", message), &secure, Some(&keys));
        }
        for message in [
            "neg_batched_offer_129",
            "neg_batched_offer_bad_hash_algo",
            "neg_batched_offer_draft2012_layout",
            "neg_batched_offer_empty",
            "neg_batched_offer_tag_empty",
            "neg_batched_offer_truncated",
            "initial_offer_sha256",
        ] {
            post(client, &v2, &vector("pchc", message), &[]);
        }
        ask(client, &v2, &[], &[]);
        post(client, &v2.replace("0131501b", "00000000"), &vector("pchc", "batched_offer_one_truncsha512"), &[]);
    });
    inject(path, &keys);
}

/// Has curl send a message as the body of a POST, whatever the answer, and if there is none.
fn post(from: &Host, url: &str, message: &Path, arguments: &[&str]) {
    post_logging_keys(from, url, message, arguments, None);
}

fn post_logging_keys(from: &Host, url: &str, message: &Path, arguments: &[&str], keys: Option<&PathBuf>) {
    let mut curl = Command::new(programs::find("curl"));
    curl.args(["--silent", "--output", "/dev/null", "--header", "Expect:"]);
    curl.args(["--header", "Content-Type: application/octet-stream"]).args(arguments);
    curl.arg("--data-binary").arg(format!("@{}", message.display())).arg(url);
    curl.envs(keys.map(|keys| ("SSLKEYLOGFILE", keys)));
    let status = from.run(&mut curl, PATIENCE).status;
    assert!(matches!(status.code(), Some(0 | EMPTY_REPLY)), "curl {url}: {status}");
}

fn vectors(document: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/vectors").join(document)
}

fn vector(document: &str, name: &str) -> PathBuf {
    vectors(document).join(format!("{name}.bin"))
}

pub(super) fn hostile_peer(path: &Path) {
    let lab = lab(2, Families::V4);
    let file = content(ONE_BLOCK, 1);
    let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
    let information = server.content_information("file");
    let hostile = HostilePeer::start(&lab.hosts[0], Misbehaviour::WrongBytes, &information, &file);
    let reader = Node::start(&lab.hosts[1]);
    let download = capture(&lab, reader.host(), path, || reader.get(&server.url("file"), &file));
    assert_eq!(download.sources.origin, file.len() as u64, "{:#}", download.explanation);
    assert!(hostile.times_asked() > 0);
}
