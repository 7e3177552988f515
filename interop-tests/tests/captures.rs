//! The captures of `pcaps/`, read and made anew, and a whole download as somebody else's dissectors see it.

use std::process::Command;

use peerdist_interop_tests::captures::{self, ALL, Capture};
use peerdist_interop_tests::lab::{Lab, Lan, Plan};
use peerdist_interop_tests::nodes::{ContentServer, Node, content};
use peerdist_interop_tests::{dissector, isolated, programs, tshark};
use peerdist_protocol::hosted_cache::Version;

#[test]
fn every_capture_decodes_as_it_did() {
    let folder = captures::folder();
    for capture in ALL {
        let expected = std::fs::read_to_string(capture.decode_file(&folder)).expect("it was decoded");
        let decoded = captures::decode(&capture.file(&folder));
        for (line, (decoded, expected)) in decoded.lines().zip(expected.lines()).enumerate() {
            assert_eq!(decoded, expected, "{}, line {}", capture.name, line + 1);
        }
        assert_eq!(decoded.len(), expected.len(), "{}", capture.name);
    }
}

#[test]
fn captures_made_anew_differ_only_in_what_must() {
    isolated::run(|| {
        let folder = tempfile::tempdir().expect("a folder");
        for capture in ALL {
            capture.make(folder.path());
            let old = std::fs::read_to_string(capture.decode_file(&captures::folder())).expect("it was decoded");
            let new = captures::decode(&capture.file(folder.path()));
            let differences = captures::differences(&captures::messages(&old), &captures::messages(&new));
            assert!(differences.is_empty(), "{}: {differences:#?}", capture.name);
        }
    });
}

#[test]
fn good_captures_have_no_faults_and_the_others_have() {
    let folder = captures::folder();
    for Capture { name, is_good, .. } in ALL {
        let decode = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("it was decoded");
        let messages = captures::messages(&decode);
        let faults = |message: &&serde_json::Value| {
            let faults = message["faults"].as_array().expect("a list");
            faults.iter().any(|fault| fault["tolerated"] != true)
        };
        assert_eq!(messages.iter().filter(faults).count() == 0, *is_good, "{name}");
    }
}

#[test]
fn tshark_finds_nothing_malformed_in_good_captures() {
    let folder = captures::folder();
    for capture in ALL.iter().filter(|capture| capture.is_good) {
        assert_eq!(tshark::malformed(&capture.file(&folder)), [""; 0], "{}", capture.name);
    }
}

#[test]
fn the_dissector_says_of_every_capture_what_the_decoder_says() {
    let folder = captures::folder();
    for capture in ALL {
        let shown = dissector::assert_agreement(&capture.file(&folder));
        assert!(!shown.is_empty(), "{}", capture.name);
        let is_good = shown.iter().all(|message| message.faults.is_empty());
        assert_eq!(is_good, capture.is_good, "{}: {shown:#?}", capture.name);
    }
}

#[test]
fn the_keys_in_a_capture_open_its_tls() {
    let folder = captures::folder();
    for name in ["hosted-v1", "errors-hosted-cache"] {
        let capture = folder.join(format!("{name}.pcapng"));
        let offers = format!("tls && http.request.uri == \"{}\"", Version::V1.path());
        assert!(tshark::count(&capture, &offers) >= 2, "{name}");
    }
}

#[test]
fn keys_beside_a_capture_open_it_as_those_inside_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = captures::folder().join("hosted-v1.pcapng");
    let (rest, log) = apart(&std::fs::read(&capture).expect("the capture is there"));
    let [keys, without] = ["keys", "without.pcapng"].map(|name| folder.path().join(name));
    std::fs::write(&keys, log).expect("the folder takes files");
    std::fs::write(&without, rest).expect("the folder takes files");
    let mut decode = Command::new(programs::peerdist());
    let output = decode.args(["decode", "--json", "--tls-keys"]).arg(&keys).arg(&without).output();
    let with_keys = String::from_utf8(output.expect("peerdist starts").stdout).expect("JSON is UTF-8");
    assert_eq!(with_keys, captures::decode(&capture));
    assert_ne!(with_keys, captures::decode(&without));
}

/// A little-endian pcapng file without its Decryption Secrets Blocks, and what is in them.
fn apart(capture: &[u8]) -> (Vec<u8>, Vec<u8>) {
    const DECRYPTION_SECRETS: u32 = 10;
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
    let (mut rest, mut secrets) = (Vec::new(), Vec::new());
    let mut blocks = capture;
    while !blocks.is_empty() {
        let (block, others) = blocks.split_at(number(&blocks[4..]) as usize);
        blocks = others;
        if number(block) == DECRYPTION_SECRETS {
            secrets.extend_from_slice(&block[16..][..number(&block[12..]) as usize]);
        } else {
            rest.extend_from_slice(block);
        }
    }
    (rest, secrets)
}

#[test]
fn the_folder_and_its_page_have_every_capture_and_nothing_else() {
    let folder = captures::folder();
    assert_eq!(std::fs::read_to_string(folder.join("README.md")).expect("a text"), captures::page());
    let names =
        std::fs::read_dir(&folder).expect("a folder").flatten().flat_map(|entry| entry.file_name().into_string());
    let is_capture = |name: &String| name.ends_with(".pcapng") || name.ends_with(".json");
    let mut found: Vec<_> = names.filter(is_capture).collect();
    found.sort();
    let mut wanted: Vec<_> =
        ALL.iter().flat_map(|Capture { name, .. }| [format!("{name}.json"), format!("{name}.pcapng")]).collect();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn tshark_finds_nothing_malformed_in_a_whole_download() {
    isolated::run(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let capture = folder.path().join("download.pcapng");
        let lab = Lab::new(Plan { hosts: 3, lan: Lan::Switch(1), ..Plan::default() });
        let file = content(2 * 1024 * 1024, 1);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let [holder, other, reader] = [0, 1, 2].map(|index: usize| Node::start(&lab.hosts[index]));
        for node in [&holder, &other] {
            node.get(&server.url("file"), &file);
        }
        lab.switch().start_capture(&capture, &[reader.host().port()]);
        let download = reader.get(&server.url("file"), &file);
        lab.switch().stop_capture();
        assert_eq!(download.sources.from_peers(), file.len() as u64, "{:#}", download.explanation);

        assert_eq!(tshark::malformed(&capture), [""; 0]);
        for protocol in ["ip", "tcp", "udp"] {
            // Linux writes 0xffff for a sum of zero, which is the same in ones' complement; tshark wants 0x0000 in TCP.
            let wrong = format!("{protocol}.checksum.status == 0 && {protocol}.checksum != 0xffff");
            assert_eq!(tshark::count(&capture, &wrong), 0, "{protocol}");
        }
        // Probes over both families and answers, all of them well-formed XML.
        let xml = |filter: &str| tshark::count(&capture, &format!("udp.port == 3702 && xml && {filter}"));
        assert!(
            xml("ip.dst == 239.255.255.250") > 0 && xml("ipv6.dst == ff02::c") > 0 && xml("udp.srcport == 3702") > 0
        );
        assert_eq!(tshark::count(&capture, "udp.port == 3702 && !xml"), 0);
        // Blocks, each asked for by a POST that was answered.
        let asked = tshark::count(&capture, "http.request.method == \"POST\"");
        assert!(asked > 0);
        assert_eq!(tshark::count(&capture, "http.response.code == 200 && tcp.srcport == 80"), asked);

        // Our own dissector says of every message what the decoder says, and neither finds a fault.
        let shown = dissector::assert_agreement(&capture);
        assert!(shown.iter().all(|shown| shown.faults.is_empty() && shown.odd.is_empty()), "{shown:#?}");
        for message in ["Probe", "ProbeMatches", "MSG_GETBLKS", "MSG_BLK", "response", "CONTENT_INFORMATION_2.0"] {
            assert!(shown.iter().any(|shown| shown.message == message), "{message}");
        }
    });
}
