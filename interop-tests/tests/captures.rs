//! A whole download as somebody else's dissectors see it.

use peerdist_interop_tests::lab::{Lab, Lan, Plan};
use peerdist_interop_tests::nodes::{ContentServer, Node, content};
use peerdist_interop_tests::{dissector, isolated, tshark};

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
