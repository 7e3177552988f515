//! Composing by name: what is written of fields is what they were read from, and errors name the member.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use peerdist_protocol::schema::{Form, Headers, Node, Value, dissect_datagram, dissect_headers, known_name, tables};

fn text<'a>(name: &'static str, value: &'a str) -> Node<'a> {
    Node::new(name, Value::Text(value.into()))
}

fn record<'a>(name: &'static str, fields: Vec<Node<'a>>) -> Node<'a> {
    Node::new(name, Value::Record(fields))
}

#[track_caller]
fn error(form: &str, values: &[Node<'_>]) -> String {
    Form::by_name(form).unwrap().compose(values).unwrap_err().to_string()
}

#[test]
fn every_message_has_a_form_and_every_field_a_known_name() {
    for name in Form::names() {
        assert_eq!(Form::by_name(name).unwrap().name(), name);
    }
    for name in ["MsgSize", "SegmentSecret", "BlockRanges", "SegmentAge", "XAddrs", "X-P2P-PeerDist", "Version"] {
        assert_eq!(known_name(name), Some(name));
    }
    assert!(known_name("nonsense").is_none() && Form::by_name("nonsense").is_none());
}

#[test]
fn datagrams_that_are_written_like_ours_need_nothing_but_their_fields() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pccrd");
    let (mut count, mut raw) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "xml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let tree = dissect_datagram(&bytes).unwrap();
        if tree.raw().is_some() {
            assert_eq!(tree.raw(), Some(&bytes[..]), "{name}");
            raw.push(name);
            continue;
        }
        count += 1;
        let form = Form::by_name(tree.name).unwrap();
        assert_eq!(form.compose(&tree.fields).unwrap(), bytes, "{name}");
        if name.starts_with("bad_") {
            continue;
        }
        // The parts say what the text does, and what follows from the type may be left out.
        let bare = tree.fields.iter().filter(|field| !["To", "Action", "MatchBy"].contains(&field.name));
        let bare: Vec<_> = bare.map(without_text).collect();
        assert_eq!(
            String::from_utf8(form.compose(&bare).unwrap()).unwrap().to_uppercase(),
            String::from_utf8(bytes).unwrap().to_uppercase(),
            "{name}"
        );
    }
    assert!(count > 8, "{count}");
    raw.sort_unstable();
    assert_eq!(raw, ["bad_probe_empty_scopes", "spec_probematch_v2_2012"]);
}

fn without_text<'a>(field: &Node<'a>) -> Node<'a> {
    match &field.value {
        Value::Record(parts) => record(field.name, parts.iter().filter(|part| part.name != "text").cloned().collect()),
        _ => field.clone(),
    }
}

#[test]
fn a_datagram_written_in_another_way_has_its_bytes_beside_its_fields() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pccrd");
    let text = std::fs::read_to_string(folder.join("probe_v1.xml")).unwrap();
    for other in [
        text.replace("<soap:Body>", "<soap:Body> "),
        text.replace("wsd:", "d:"),
        text.replace("urn:uuid", "&#117;rn:uuid"),
    ] {
        let tree = dissect_datagram(other.as_bytes()).unwrap();
        assert_eq!(tree.raw(), Some(other.as_bytes()), "{other}");
    }
}

#[test]
fn heads_are_written_in_the_order_of_their_fields() {
    let head = "GET /f HTTP/1.1\r\nAccept-Encoding: peerdist\r\nHost: x\r\nX-P2P-PeerDist: Version=1.1\r\n\
                X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0\r\n\r\n";
    let lines: Vec<_> = head.split("\r\n").filter_map(|line| line.split_once(": ")).map(|(n, v)| (0, n, v)).collect();
    let start = Headers::Request { method: "GET", target: "/f", http_1_1: true };
    let tree = dissect_headers(start, &lines, head.as_bytes()).unwrap();
    assert_eq!(Form::by_name("request").unwrap().compose(&tree.fields).unwrap(), head.as_bytes());
    assert!(tree.raw().is_none());
    let other = head.replace("Host: x", "host:x");
    let tree = dissect_headers(start, &lines, other.as_bytes()).unwrap();
    assert_eq!(tree.raw(), Some(other.as_bytes()));
    let answer = Form::by_name("response").unwrap();
    let fields = [
        text("Content-Encoding", "peerdist"),
        Node::new("Status", Value::Integer(206)),
        record("X-P2P-PeerDist", vec![text("Version", "1.0"), Node::new("ContentLength", Value::Integer(7))]),
    ];
    let written = "HTTP/1.1 206 Partial Content\r\nContent-Encoding: peerdist\r\n\
                   X-P2P-PeerDist: Version=1.0, ContentLength=7\r\n\r\n";
    assert_eq!(answer.compose(&fields).unwrap(), written.as_bytes());
}

#[test]
fn errors_name_the_member_with_those_it_stands_in() {
    let segments = || {
        Node::new(
            "segments",
            Value::List(vec![
                record("", vec![text("cbSegment", "1"), text("SegmentHashOfData", ""), text("SegmentSecret", "")]),
                record("", vec![text("cbSegment", "many")]),
            ]),
        )
    };
    let information = |more: Vec<Node<'static>>| [vec![text("dwHashAlgo", "SHA-256")], more].concat();
    let chunk = record("", vec![segments()]);
    let chunks = vec![Node::new("chunks", Value::List(vec![chunk]))];
    assert_eq!(error("CONTENT_INFORMATION_2.0", &chunks), "chunks[0].segments[1].cbSegment has to be a number");
    assert_eq!(error("CONTENT_INFORMATION_1.0", &information(vec![])), "segments is missing");
    assert_eq!(
        error("MSG_NEGO_REQ", &[record("MESSAGE_HEADER", vec![text("Size", "1")])]),
        "MESSAGE_HEADER.Size is no field of MESSAGE_HEADER"
    );
    assert_eq!(
        error(
            "MSG_NEGO_REQ",
            &[text("MinSupportedProtocolVersion", "1.0"), text("MinSupportedProtocolVersion", "1.0")]
        ),
        "MinSupportedProtocolVersion is there twice"
    );
    let list =
        |blocks| error("MSG_BLKLIST", &[vec![text("SegmentId", "00"), text("NextBlockIndex", "1")], blocks].concat());
    assert_eq!(list(vec![]), "BlockRanges is missing");
    let tag = Node::new("ContentTag", Value::Bytes(vec![0; 65_536].into()));
    let descriptor = record("", vec![text("BlockSize", "1"), text("SegmentSize", "1"), tag]);
    let descriptors = Node::new("SegmentDescriptors", Value::List(vec![descriptor]));
    let connection = record("CONNECTION_INFORMATION", vec![text("Port", "80")]);
    assert_eq!(
        error("BATCHED_OFFER_MESSAGE", &[connection, descriptors]),
        "SegmentDescriptors[0].ContentTag has to be no longer than its size or count can say"
    );
    let ages = Node::new("SegmentAges", Value::List(vec![record("", vec![]); 256]));
    let blob = error("EXTENSIBLE_BLOB", &[text("SegmentAgeUnits", "1"), ages]);
    assert_eq!(blob, "SegmentAges has to be no longer than its size or count can say");
    let cut = [record("MESSAGE_HEADER", vec![Node::new("_rest", Value::Integer(1))])];
    assert_eq!(error("MSG_NEGO_REQ", &cut), "MESSAGE_HEADER._rest has to be hexadecimal digits");
    let probe = |more: Vec<Node<'static>>| {
        error("Probe", &[vec![text("MessageID", "urn:uuid:1"), text("Types", "PeerDistData")], more].concat())
    };
    assert_eq!(probe(vec![]), "Scopes is missing");
    assert_eq!(probe(vec![text("XAddrs", "1")]), "XAddrs is no field of Probe");
    assert_eq!(probe(vec![record("Scopes", vec![])]), "Scopes.SegmentIDs is missing");
    let ids = |id| record("Scopes", vec![Node::new("SegmentIDs", Value::List(vec![text("", "00"), text("", id)]))]);
    assert_eq!(probe(vec![ids("0")]), "Scopes.SegmentIDs[1] has to be hexadecimal digits");
    assert_eq!(error("Envelope", &[]), "raw is missing");
    assert_eq!(error("request", &[text("Method", "GET")]), "Target is missing");
    assert_eq!(error("response", &[text("Status", "200"), text("MsgType", "1")]), "MsgType is no field of response");
    let parameters = record("X-P2P-PeerDist", vec![text("Status", "1")]);
    assert_eq!(
        error("response", &[text("Status", "200"), parameters]),
        "X-P2P-PeerDist.Status is no field of X-P2P-PeerDist"
    );
    assert_eq!(tables::ALL.len() + 6, Form::names().count());
}
