//! `peerdist capture` in the lab: nodes capture themselves while they work for each other, and both decoders read it.

use std::path::Path;
use std::process::Command;

use peerdist_interop_tests::dissector::{assert_agreement, tshark};
use peerdist_interop_tests::hosted::{Authority, client, hosted_cache, secure_client, secure_hosted_cache};
use peerdist_interop_tests::hostile::{HostilePeer, Misbehaviour};
use peerdist_interop_tests::isolated;
use peerdist_interop_tests::lab::{Families, Lab, Plan};
use peerdist_interop_tests::nodes::{ContentServer, Node, content};
use peerdist_interop_tests::process::{PATIENCE, Process, wait_until};
use peerdist_interop_tests::programs;
use peerdist_protocol::content::ContentInformation;
use serde_json::Value;
use tempfile::TempDir;

/// A node that captures itself.
struct Captured<'n> {
    node: &'n Node,
    process: Process,
    folder: TempDir,
}

impl<'n> Captured<'n> {
    fn start(node: &'n Node) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("own.pcapng");
        let process = node.host().spawn(node.peerdist().arg("capture").arg("--output").arg(&file));
        wait_until("the capture to begin", PATIENCE, || {
            std::fs::metadata(&file).is_ok_and(|file| file.len() > 0).then_some(())
        });
        Self { node, process, folder }
    }

    /// Ends it and hands the file to `tshark` and the decoder, which have to agree about it.
    fn finish(self) -> Whole {
        let Self { node, process, folder } = self;
        process.terminate().success();
        let file = folder.path().join("own.pcapng");
        let shown = assert_agreement(&file);
        assert!(shown.iter().all(|message| message.faults.is_empty()), "{}: {shown:#?}", node.host().name());
        assert_eq!(tshark(&file, &["-Y", "_ws.malformed"]), "");
        let mut decode = Command::new(programs::peerdist());
        let output = decode.args(["decode", "--json", "--secrets"]).arg(&file).output().expect("peerdist starts");
        let lines = String::from_utf8(output.stdout).expect("text");
        let messages = lines.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        Whole { messages, bytes: std::fs::read(&file).expect("it is there"), comments: packet_comments(&file) }
    }
}

/// What Wireshark shows as comments.
fn packet_comments(file: &Path) -> String {
    tshark(file, &["-Y", "frame.comment", "-T", "fields", "-e", "frame.comment"])
}

/// A capture that was read.
struct Whole {
    messages: Vec<Value>,
    bytes: Vec<u8>,
    comments: String,
}

impl Whole {
    #[track_caller]
    fn assert_has(&self, message: &str, comment: &str) {
        let text = |value: &Value, member: &str| value[member].as_str().unwrap_or_default().to_owned();
        let found: Vec<_> =
            self.messages.iter().filter(|one| one["message"] == message).map(|one| text(one, "comment")).collect();
        assert!(found.iter().any(|found| found.contains(comment)), "{message}: {comment:?} is not in {found:#?}");
        assert!(self.comments.contains(comment), "tshark does not show {comment:?}");
    }

    fn assert_has_no_secrets(&self, information: &ContentInformation, hashes_too: bool) {
        let holds = |part: &[u8]| self.bytes.windows(part.len()).any(|window| window == part);
        for segment in information.segments() {
            assert!(!holds(segment.secret().as_bytes()), "a segment secret is in the file");
            let hash = segment.hash_of_data();
            assert!(!hashes_too || !holds(hash.as_bytes()), "a hash of data is in the file");
        }
    }
}

#[test]
fn two_nodes_capture_what_they_have_with_each_other() {
    isolated::run(|| {
        let lab = Lab::new(Plan::default());
        let file = content(1 << 20, 71);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let url = server.url("file");
        let [first, second] = [&lab.hosts[0], &lab.hosts[1]].map(Node::start);
        first.get(&url, &file);
        let captured = [&first, &second].map(Captured::start);
        let download = second.get(&url, &file);
        assert_eq!(download.sources.from_host(first.host()), file.len() as u64, "{:#}", download.explanation);
        let [served, fetched] = captured.map(Captured::finish);

        served.assert_has("Probe", "will be answered: scheduled");
        served.assert_has("ProbeMatches", "answer after ");
        served.assert_has("MSG_GETBLKS", "served block 0");
        fetched.assert_has("Probe", "first copy");
        fetched.assert_has("Probe", "dropped: own");
        fetched.assert_has("ProbeMatches", "taken");
        fetched.assert_has("MSG_BLK", "taken: the block is right");
        for whole in [&served, &fetched] {
            whole.assert_has_no_secrets(&server.content_information("file"), true);
            let requests = whole.messages.iter().filter(|message| message["message"] == "MSG_GETBLKS").count();
            let blocks = whole.messages.iter().filter(|message| message["message"] == "MSG_BLK");
            let answered: Vec<_> = blocks.filter(|block| block["answers"].is_u64()).collect();
            assert!(requests > 0 && answered.len() == requests, "{} of {requests} are answered", answered.len());
        }
    });
}

#[test]
fn wrong_bytes_of_a_hostile_peer_stand_beside_the_verdict() {
    isolated::run(|| {
        let lab = Lab::new(Plan { families: Families::V4, ..Plan::default() });
        let file = content(1 << 20, 74);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let information = server.content_information("file");
        let _hostile = HostilePeer::start(&lab.hosts[1], Misbehaviour::WrongBytes, &information, &file);
        let reader = Node::start(&lab.hosts[0]);
        let captured = Captured::start(&reader);
        reader.get(&server.url("file"), &file);
        captured.finish().assert_has("MSG_BLK", "refused: the block has another hash");
    });
}

#[test]
fn a_hosted_cache_and_its_client_capture_offers() {
    isolated::run(|| {
        let lab = Lab::new(Plan { hosts: 2, ..Plan::default() });
        let file = content(1 << 20, 72);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let hosted = hosted_cache(&lab.hosts[0], "");
        let client = client(&lab.hosts[1], &[hosted.host()], "");
        let captured = [&hosted, &client].map(Captured::start);
        client.get(&server.url("file"), &file);
        wait_until_pulled(&hosted);
        let [hosted, client] = captured.map(Captured::finish);
        hosted.assert_has("BATCHED_OFFER_MESSAGE", "offer taken, answered Ok");
        hosted.assert_has("MSG_BLK", "taken: the block is right");
        client.assert_has("RESPONSE_MESSAGE", "taken: Ok");
        client.assert_has("MSG_GETBLKS", "served block 0");
    });
}

#[test]
fn what_travelled_in_tls_is_written_without_secrets() {
    isolated::run(|| {
        let lab = Lab::new(Plan { hosts: 2, ..Plan::default() });
        let file = content(1 << 20, 73);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let authority = Authority::new();
        let hosted = secure_hosted_cache(&lab.hosts[0], &authority, "");
        let client = secure_client(&lab.hosts[1], &[hosted.host()], &authority);
        let captured = [&hosted, &client].map(Captured::start);
        client.get(&server.url("file"), &file);
        wait_until_pulled(&hosted);
        let information = server.content_information_up_to("1.0", "file");
        let [hosted, client] = captured.map(Captured::finish);
        hosted.assert_has("INITIAL_OFFER_MESSAGE", "in TLS: offer taken, answered Interested");
        hosted.assert_has("SEGMENT_INFO_MESSAGE", "in TLS; secrets in it are zeros here: offer taken");
        client.assert_has("SEGMENT_INFO_MESSAGE", "in TLS; secrets in it are zeros here");
        client.assert_has("RESPONSE_MESSAGE", "in TLS: taken: Interested");
        for whole in [&hosted, &client] {
            whole.assert_has_no_secrets(&information, true);
        }
    });
}

/// Waits until a hosted cache has fetched what it was offered.
fn wait_until_pulled(hosted: &Node) {
    wait_until("the hosted cache to have the file", PATIENCE, || {
        let pulled = hosted.status()["hosted_cache"]["pulled_segments"].as_u64().expect("the status counts");
        (pulled > 0).then_some(())
    });
}
