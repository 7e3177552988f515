//! The tables of `schema` and the codecs hold each other: on every vector they agree, and random messages of either
//! survive the other.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use bytes::Bytes;
use peerdist_protocol::content::v2::Warning;
use peerdist_protocol::content::{ContentInformation, OfferedSegment};
use peerdist_protocol::hosted_cache::{self, Offer, Version};
use peerdist_protocol::retrieval::{ExtensibleBlob, Request, RequestMessage, Response, ResponseMessage};
use peerdist_protocol::schema::{
    Fault, Headers, Node, REST, Structure, Tree, Value, compose, dissect, dissect_datagram, dissect_headers, recognise,
    tables,
};
use proptest::prelude::*;

struct Vector {
    name: String,
    structure: &'static Structure,
    bytes: Bytes,
}

/// Every vector that is a whole binary message or content information.
fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for folder in ["pccrc", "pccrr", "pchc"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "bin") {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let bytes = Bytes::from(std::fs::read(path).unwrap());
            if let Some(structure) = structure_of(&name) {
                vectors.push(Vector { name, structure, bytes });
            }
        }
    }
    vectors.sort_by(|a, b| a.name.cmp(&b.name));
    vectors
}

/// By the vectors' names, so that recognising is tested against them.
fn structure_of(name: &str) -> Option<&'static Structure> {
    let named = [
        ("nego_req", &tables::MSG_NEGO_REQ),
        ("nego_resp", &tables::MSG_NEGO_RESP),
        ("getblklist", &tables::MSG_GETBLKLIST),
        ("getblks", &tables::MSG_GETBLKS),
        ("blklist", &tables::MSG_BLKLIST),
        ("blk_", &tables::MSG_BLK),
        ("getseglist", &tables::MSG_GETSEGLIST),
        ("seglist", &tables::MSG_SEGLIST),
        ("bad_msgsize", &tables::MSG_GETBLKS),
        ("bad_range_count", &tables::MSG_GETBLKS),
        ("bad_truncated_header", &tables::MSG_GETBLKS),
        ("bad_unknown_type", &tables::MSG_GETBLKS),
        ("bad_version_getblks", &tables::MSG_GETBLKS),
        ("bad_segid_count", &tables::MSG_GETSEGLIST),
        ("struct_extensible_blob", &tables::EXTENSIBLE_BLOB),
    ];
    if let Some((_, structure)) = named.iter().find(|(start, _)| name.starts_with(start)) {
        return Some(structure);
    }
    let holding = [
        ("batched_offer", &tables::BATCHED_OFFER_MESSAGE),
        ("initial_offer", &tables::INITIAL_OFFER_MESSAGE),
        ("segment_info", &tables::SEGMENT_INFO_MESSAGE),
        ("response_", &tables::RESPONSE_MESSAGE),
        ("_v1", &tables::CONTENT_INFORMATION_1),
        ("_v2", &tables::CONTENT_INFORMATION_2),
    ];
    let skipped = name.starts_with("http_") || name.starts_with("struct_");
    holding.iter().find(|(part, _)| name.contains(part) && !skipped).map(|(_, structure)| *structure)
}

/// Whether the codec takes the bytes, and all that follows from them.
fn codec_takes(structure: &'static Structure, bytes: &Bytes) -> bool {
    match structure.name {
        "CONTENT_INFORMATION_1.0" | "CONTENT_INFORMATION_2.0" => ContentInformation::parse(bytes.clone()).is_ok(),
        "MSG_NEGO_REQ" | "MSG_GETBLKLIST" | "MSG_GETBLKS" | "MSG_GETSEGLIST" => RequestMessage::parse(bytes).is_ok(),
        "MSG_NEGO_RESP" | "MSG_BLKLIST" | "MSG_BLK" | "MSG_SEGLIST" => ResponseMessage::parse(bytes).is_ok(),
        "EXTENSIBLE_BLOB" => ExtensibleBlob::parse(bytes).is_ok(),
        "INITIAL_OFFER_MESSAGE" => Offer::parse(Version::V1, bytes).is_ok(),
        "SEGMENT_INFO_MESSAGE" => match Offer::parse(Version::V1, bytes) {
            Ok(Offer::SegmentInfo(offer)) => offer.segment().is_ok_and(|segment| segment.into_segment().is_ok()),
            _ => false,
        },
        "BATCHED_OFFER_MESSAGE" => match Offer::parse(Version::V2, bytes) {
            Ok(Offer::Batched(offer)) => offer.segments.iter().all(|segment| segment.block_count().is_ok()),
            _ => false,
        },
        "RESPONSE_MESSAGE" => hosted_cache::Response::parse(bytes).is_ok(),
        other => panic!("no codec for {other}"),
    }
}

fn dissected<'a>(vector: &'a Vector) -> Tree<'a> {
    dissect(vector.structure, &vector.bytes)
}

/// A blob that is no blob is ignored, with the faults that are in it, by codec and dissector alike.
fn faults_of(tree: &Tree<'_>, structure: &Structure) -> Vec<Fault> {
    let own = structure.name == "EXTENSIBLE_BLOB";
    tree.faults.iter().filter(|fault| own || !fault.tolerated).cloned().collect()
}

#[test]
fn codec_and_dissector_agree_which_vectors_are_good() {
    let vectors = vectors();
    assert!(vectors.len() > 110, "only {}", vectors.len());
    for vector in &vectors {
        let faults = faults_of(&dissected(vector), vector.structure);
        assert_eq!(codec_takes(vector.structure, &vector.bytes), faults.is_empty(), "{}: {faults:#?}", vector.name);
    }
}

#[test]
fn names_say_which_vectors_are_bad_and_every_bad_one_has_a_fault_with_its_place() {
    for vector in vectors() {
        let tree = dissected(&vector);
        let is_bad = vector.name.starts_with("bad_") || vector.name.starts_with("neg_");
        assert_eq!(!tree.faults.is_empty() && is_bad, is_bad, "{}", vector.name);
        for fault in &tree.faults {
            assert!(fault.offset <= vector.bytes.len() && !fault.rule.is_empty(), "{fault}");
            assert!(fault.section.starts_with("MS-PC"), "{fault}");
        }
    }
}

#[test]
fn faults_are_those_that_the_vectors_are_made_for() {
    let expected = [
        ("bad_msgsize", 8, "MESSAGE_HEADER.MsgSize"),
        ("bad_range_count", 68, "ReqBlockRanges[1].Count"),
        ("bad_segid_count", 72, "SegmentIDs[1].SizeOfSegmentID"),
        ("bad_truncated_header", 12, "MESSAGE_HEADER.CryptoAlgoId"),
        ("bad_unknown_type", 4, "MESSAGE_HEADER.MsgType"),
        ("bad_v1_block_size", 30, "segments[0].cbBlockSize"),
        ("bad_v1_hod_mismatch", 34, "segments[0].SegmentHashOfData"),
        ("bad_v1_noncontiguous", 98, "segments[1].ullOffsetInContent"),
        ("bad_v1_trailing_byte", 166, ""),
        ("bad_v1_bad_hash_algo", 2, "dwHashAlgo"),
        ("bad_v2_chunk_type_1", 31, "chunks[0].bChunkType"),
        ("bad_v2_chunk_len_not_68", 32, "chunks[0].dwChunkDataLength"),
        ("bad_v2_cbSegment_zero", 36, "chunks[0].segments[0].cbSegment"),
        ("neg_batched_offer_tag_empty", 24, "SegmentDescriptors[0].SizeOfContentTag"),
        ("neg_batched_offer_bad_hash_algo", 42, "SegmentDescriptors[0].HashAlgorithm"),
        ("neg_segment_info_two_segments", 46, "SegmentInformation.cSegments"),
        ("neg_response_unknown_code", 4, "ResponseCode"),
        ("neg_initial_offer_version2_on_v1", 1, "MESSAGE_HEADER.MajorVersion"),
    ];
    let vectors = vectors();
    for (name, offset, field) in expected {
        let vector = vectors.iter().find(|vector| vector.name == name).unwrap();
        let tree = dissected(vector);
        let places: Vec<_> = tree.faults.iter().map(|fault| (fault.offset, fault.field.as_str())).collect();
        assert!(places.contains(&(offset, field)), "{name}: {:#?}", tree.faults);
    }
}

#[test]
fn composing_what_was_dissected_gives_the_same_bytes() {
    for vector in vectors() {
        let tree = dissected(&vector);
        assert_eq!(compose(vector.structure, &tree.fields).unwrap(), vector.bytes, "{}", vector.name);
    }
}

#[test]
fn good_vectors_have_no_unread_bytes_but_where_the_document_had_fewer_fields() {
    for vector in vectors().iter().filter(|vector| codec_takes(vector.structure, &vector.bytes)) {
        let tree = dissected(vector);
        assert_eq!(tree.find(REST).is_some(), vector.name == "seglist_empty_2012_layout", "{}", vector.name);
        let end = tree.fields.iter().map(|field| field.offset + field.size).max();
        assert_eq!(end, Some(vector.bytes.len()), "{}", vector.name);
    }
}

#[test]
fn wherever_a_message_with_a_secret_cannot_be_read_on_the_bytes_left_are_secret() {
    for Vector { name, structure, bytes } in vectors().into_iter().filter(|vector| vector.structure.has_secret()) {
        for size in 0..bytes.len().min(300) {
            let tree = dissect(structure, &bytes[..size]);
            assert!(tree.find(REST).is_none_or(is_secret_or_empty), "{name} cut off at {size}");
        }
    }
    // More fields than are read of one message.
    const SEGMENTS: u32 = 260_000;
    let header = [&[0, 2, 4][..], &[0; 28]].concat();
    let segment = [&[0, 0, 0, 1][..], &[1; 32], &[2; 32]].concat();
    let chunk = [&[0][..], &(68 * SEGMENTS).to_be_bytes(), &segment.repeat(SEGMENTS as usize)].concat();
    let bytes = [header, chunk].concat();
    let tree = dissect(&tables::CONTENT_INFORMATION_2, &bytes);
    let rest = tree.find(REST).unwrap();
    assert!(rest.size > 68 && is_secret_or_empty(rest));
}

fn is_secret_or_empty(node: &Node<'_>) -> bool {
    node.size == 0 || node.field.is_some_and(|field| field.secret)
}

#[test]
fn sizes_counts_and_padding_may_be_left_out() {
    for vector in vectors().iter().filter(|vector| codec_takes(vector.structure, &vector.bytes)) {
        let tree = dissected(vector);
        if tree.find(REST).is_some() || vector.name == "bad_version_getblks" {
            continue;
        }
        let bare = without_derived(&tree.fields);
        let again = compose(vector.structure, &bare).unwrap();
        assert_eq!(again, vector.bytes, "{}", vector.name);
    }
}

/// The fields without those that follow from others.
fn without_derived<'a>(nodes: &[Node<'a>]) -> Vec<Node<'a>> {
    const DERIVED: [&str; 7] = ["Size", "MsgSize", "MsgType", "cSegments", "cBlocks", "dwChunkDataLength", "Type"];
    let is_derived = |node: &&Node<'a>| {
        let pads = node.name.starts_with("ZeroPad");
        DERIVED.contains(&node.name)
            || node.name.starts_with("SizeOf")
            || node.name.contains("Count") && node.integer().is_some() && node.name != "Count"
            || pads
    };
    let keep = |node: &Node<'a>| match &node.value {
        Value::Record(fields) => Node { value: Value::Record(without_derived(fields)), ..node.clone() },
        Value::List(items) => Node {
            value: Value::List(
                items.iter().map(|item| without_derived(std::slice::from_ref(item)).remove(0)).collect(),
            ),
            ..node.clone()
        },
        _ => node.clone(),
    };
    nodes.iter().filter(|node| !is_derived(node)).map(keep).collect()
}

#[test]
fn bare_messages_are_recognised() {
    for vector in vectors().iter().filter(|vector| vector.structure.name != "EXTENSIBLE_BLOB") {
        let found = recognise(&vector.bytes).map(|structure| structure.name);
        // Cut or spoilt where it would say what it is.
        let hopeless = [
            "bad_truncated_header",
            "bad_unknown_type",
            "bad_v1_bad_version_0101",
            "bad_v2_byteswapped_header_le",
            "bad_v2_minor_1",
            "neg_initial_offer_bad_type",
            "neg_initial_offer_bad_version",
            "neg_initial_offer_little_endian_type",
            "neg_initial_offer_truncated_header",
            "neg_response_little_endian_size",
            "neg_response_no_code",
        ];
        if !hopeless.contains(&vector.name.as_str()) {
            assert_eq!(found, Some(vector.structure.name), "{}", vector.name);
        }
    }
    for other in [&b""[..], b"PK\x03\x04", b"GET / HTTP/1.1\r\n", &[0; 40], &[0xff; 40]] {
        assert!(recognise(other).is_none(), "{other:?}");
    }
}

#[test]
fn values_are_those_of_the_codec() {
    for vector in vectors().iter().filter(|vector| codec_takes(vector.structure, &vector.bytes)) {
        let (tree, bytes) = (dissected(vector), &vector.bytes);
        let integer = |name: &str| tree.integer(name).unwrap_or_else(|| panic!("{}: {name}", vector.name));
        let at = |name: &str| tree.bytes(name).unwrap_or_else(|| panic!("{}: {name}", vector.name)).to_vec();
        let name = vector.structure.name;
        if name.starts_with("MSG_") {
            let is_request = matches!(name, "MSG_NEGO_REQ" | "MSG_GETBLKLIST" | "MSG_GETBLKS" | "MSG_GETSEGLIST");
            if is_request {
                let message = RequestMessage::parse(bytes).unwrap();
                assert_eq!(integer("CryptoAlgoId"), u64::from(message.algorithm.to_wire()));
                assert_eq!(integer("ProtVer"), u64::from(message.version.to_wire()));
                match message.request {
                    Request::NegoReq(versions) => {
                        assert_eq!(integer("MaxSupportedProtocolVersion"), u64::from(versions.max.to_wire()));
                    }
                    Request::GetBlkList(list) => assert_eq!(at("SegmentID"), list.segment_id.as_bytes()),
                    Request::GetBlks(blocks) => {
                        let ranges = tree.find("ReqBlockRanges").unwrap().children();
                        let ranges: Vec<_> = ranges
                            .iter()
                            .map(|range| {
                                (
                                    range.child("Index").unwrap().integer().unwrap(),
                                    range.child("Count").unwrap().integer().unwrap(),
                                )
                            })
                            .collect();
                        let known: Vec<_> =
                            blocks.ranges.iter().map(|range| (range.index.into(), range.count.into())).collect();
                        assert_eq!(ranges, known);
                    }
                    Request::GetSegList(list) => {
                        assert_eq!(at("RequestID"), list.request_id.0);
                        let ids: Vec<_> = tree
                            .find("SegmentIDs")
                            .unwrap()
                            .children()
                            .iter()
                            .map(|item| item.child("SegmentID").unwrap().bytes().unwrap().to_vec())
                            .collect();
                        assert_eq!(ids, list.segment_ids.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>());
                        let ages = tree.find("SegmentAges").map_or(0, |ages| ages.children().len());
                        assert_eq!(ages, list.blob.map_or(0, |blob| blob.encoded().len()));
                    }
                }
            } else {
                match ResponseMessage::parse(bytes).unwrap().response {
                    Response::NegoResp(versions) => {
                        assert_eq!(integer("MinSupportedProtocolVersion"), u64::from(versions.min.to_wire()));
                    }
                    Response::BlkList(list) => assert_eq!(integer("NextBlockIndex"), u64::from(list.next)),
                    Response::Blk(blk) => {
                        assert_eq!(at("SegmentId"), blk.segment_id.as_bytes());
                        assert_eq!(
                            (integer("BlockIndex"), integer("NextBlockIndex")),
                            (blk.index.into(), blk.next.into())
                        );
                        assert_eq!(at("Block"), blk.block);
                        assert_eq!(at("IVBlock"), blk.iv.map(|iv| iv.to_vec()).unwrap_or_default());
                    }
                    Response::SegList(list) => assert_eq!(at("RequestID"), list.request_id.0),
                }
            }
        } else if let Ok(information) = ContentInformation::parse(bytes.clone()) {
            let secrets = all(&tree.fields, "SegmentSecret");
            let known: Vec<_> =
                information.segments().iter().map(|segment| segment.secret().as_bytes().to_vec()).collect();
            assert_eq!(secrets, known, "{}", vector.name);
        } else if name == "SEGMENT_INFO_MESSAGE" {
            let Ok(Offer::SegmentInfo(offer)) = Offer::parse(Version::V1, bytes) else { panic!() };
            assert_eq!(integer("Port"), u64::from(offer.port));
            assert_eq!(integer("cbSegment"), u64::from(offer.segment().unwrap().length()));
        } else if name == "BATCHED_OFFER_MESSAGE" {
            let Ok(Offer::Batched(offer)) = Offer::parse(Version::V2, bytes) else { panic!() };
            let ids: Vec<_> = offer.segments.iter().map(|segment| segment.segment_id.as_bytes().to_vec()).collect();
            assert_eq!(all(&tree.fields, "SegmentHoHoDk"), ids);
        }
    }
}

#[test]
fn what_the_codec_warns_of_is_odd_to_the_dissector() {
    let whole = vectors().into_iter().find(|vector| vector.name == "iis_85_png_v2").unwrap().bytes;
    let mut warned = 0;
    // One or two segments of 39,390 and 60,320 bytes, in one chunk.
    for segments in [1, 2] {
        for start in [0u64, 1, 65_536] {
            for (index, offset) in [(0u64, 0u32), (0, 39_389), (1, 100)] {
                for length in [0u64, 1, 100, 39_289, 39_290, 39_291, 39_390, 39_391, 60_321, 99_610] {
                    let header = [&start.to_be_bytes()[..], &index.to_be_bytes(), &offset.to_be_bytes()].concat();
                    let chunk = [&[0][..], &(segments * 68u32).to_be_bytes()].concat();
                    let descriptions = &whole[36..36 + segments as usize * 68];
                    let bytes = [&whole[..3], &header, &length.to_be_bytes(), &chunk, descriptions].concat();
                    let tree = dissect(&tables::CONTENT_INFORMATION_2, &bytes);
                    let place = format!("{segments} segments, {start}, {index}, {offset}, {length}");
                    let Ok(ContentInformation::V2(information)) = ContentInformation::parse(bytes.clone().into())
                    else {
                        assert!(!tree.is_whole(), "{place}");
                        continue;
                    };
                    assert!(tree.is_whole(), "{place}");
                    let warnings = information.warnings();
                    assert_eq!(tree.faults.len(), warnings.len(), "{place}: {:?}", tree.faults);
                    let behind = tree.faults.iter().any(|fault| fault.rule.contains("behind the range"));
                    assert_eq!(behind, warnings.contains(&Warning::SegmentBehindRange), "{place}");
                    warned += usize::from(behind);
                }
            }
        }
    }
    assert!(warned > 20, "{warned}");
}

/// The bytes of every field of this name.
fn all(nodes: &[Node<'_>], name: &str) -> Vec<Vec<u8>> {
    nodes
        .iter()
        .flat_map(|node| match node.bytes() {
            Some(bytes) if node.name == name => vec![bytes.to_vec()],
            _ => all(node.children(), name),
        })
        .collect()
}

#[test]
fn datagrams_are_shown_with_what_is_in_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pccrd");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "xml") {
            continue;
        }
        count += 1;
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let tree = dissect_datagram(&bytes).unwrap();
        let taken = peerdist_protocol::discovery::Message::parse(&bytes);
        assert_eq!(taken.is_ok(), tree.is_whole(), "{name}: {:?}", tree.faults);
        assert_eq!(name.starts_with("bad_"), !tree.is_whole(), "{name}");
        for field in tree.fields.iter().filter(|field| field.text().is_some() && field.name != "MatchBy") {
            let there = &bytes[field.offset..field.offset + field.size];
            assert_eq!(there, field.text().unwrap().as_bytes(), "{name}: {}", field.name);
        }
        if let Ok(peerdist_protocol::discovery::Message::Probe(probe)) = taken {
            let ids: Vec<_> = probe.ids().map(|id| id.as_bytes().to_vec()).collect();
            assert_eq!(all(&tree.fields, "SegmentID"), ids, "{name}");
        }
        if name == "probematch_v2" {
            assert_eq!(tree.integer("SegmentAge"), Some(60_000));
            assert_eq!(tree.bytes("Availability"), Some(&[0xc0][..]));
            assert_eq!(tree.integer("InstanceId"), Some(1_700_000_000));
        }
    }
    assert!(count > 12);
    assert!(dissect_datagram(b"<Envelope/>").is_none(), "some other WS-Discovery");
}

/// A message of which the parts are random and the rules mostly hold.
fn spoilt() -> impl Strategy<Value = (&'static Structure, Vec<u8>)> {
    let vectors = vectors();
    let known: Vec<_> = vectors
        .into_iter()
        .filter(|vector| vector.bytes.len() < 4096)
        .map(|vector| (vector.structure, vector.bytes))
        .collect();
    (
        0..known.len(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(move |(which, changes, end, cut)| {
            let (structure, bytes) = &known[which];
            let mut bytes = bytes.to_vec();
            for (at, value) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
            }
            if cut && !bytes.is_empty() {
                bytes.truncate(end.index(bytes.len()));
            }
            (*structure, bytes)
        })
}

proptest! {
    #[test]
    fn random_bytes_are_dissected_and_composed_again(bytes in prop::collection::vec(any::<u8>(), 0..300), which in 0..tables::ALL.len()) {
        let structure = tables::ALL[which];
        let tree = dissect(structure, &bytes);
        prop_assert_eq!(compose(structure, &tree.fields).unwrap(), bytes.clone());
        let _ = recognise(&bytes);
        let _ = dissect_datagram(&bytes);
    }

    #[test]
    fn spoilt_messages_are_composed_again_and_judged_as_the_codec_does((structure, bytes) in spoilt()) {
        let tree = dissect(structure, &bytes);
        prop_assert_eq!(compose(structure, &tree.fields).unwrap(), bytes.clone());
        let faults = faults_of(&tree, structure);
        prop_assert_eq!(codec_takes(structure, &Bytes::from(bytes)), faults.is_empty(), "{}: {:#?}", structure.name, faults);
    }
}

#[test]
fn what_cannot_be_composed_is_named() {
    let text = |name: &'static str, value: &'static str| Node::new(name, Value::Text(value.into()));
    let error = |values: &[Node<'_>]| compose(&tables::MSG_GETBLKS, values).unwrap_err().to_string();
    assert_eq!(error(&[]), "SegmentID is missing");
    assert_eq!(error(&[text("SegmentId", "00")]), "SegmentId is no field of MSG_GETBLKS");
    assert_eq!(
        error(&[text("SizeOfSegmentID", "1"), text("SegmentID", "0g")]),
        "SegmentID has to be hexadecimal digits"
    );
    let wide = Node::new("SizeOfSegmentID", Value::Integer(1 << 32));
    assert!(error(&[wide]).contains("fits"));
    let header = Value::Record(vec![text("ProtVer", "1.0"), text("CryptoAlgoId", "AES_128")]);
    let values = [
        Node::new("MESSAGE_HEADER", header),
        text("MinSupportedProtocolVersion", "1.0"),
        text("MaxSupportedProtocolVersion", "2.0"),
    ];
    let nego = compose(&tables::MSG_NEGO_REQ, &values).unwrap();
    assert_eq!(hex::encode(nego), "000000010000000000000018000000010000000100000002");
}

#[test]
fn segment_information_is_judged_as_the_codec_does() {
    let structure = &tables::SEGMENT_INFORMATION;
    for vector in vectors().iter().filter(|vector| vector.structure.name == "CONTENT_INFORMATION_1.0") {
        let taken = OfferedSegment::parse(vector.bytes.clone()).is_ok_and(|segment| segment.into_segment().is_ok());
        let tree = dissect(structure, &vector.bytes);
        assert_eq!(taken, tree.is_whole(), "{}: {:#?}", vector.name, tree.faults);
    }
}

#[test]
fn heads_of_http_are_shown_where_they_speak_of_peerdist() {
    let request = Headers::Request { method: "GET", target: "/f", http_1_1: true };
    let response = Headers::Response { status: 200 };
    let fault = |head, lines: &[(&str, &str)]| {
        let lines: Vec<_> = lines.iter().map(|(name, value)| (0, *name, *value)).collect();
        let tree = dissect_headers(head, &lines, b"").unwrap();
        tree.faults.first().map(|fault| (fault.rule.clone(), fault.tolerated))
    };
    let (accept, encoding) = (("Accept-Encoding", "gzip, PeerDist;q=1"), ("content-encoding", "peerdist"));
    assert_eq!(fault(request, &[accept, ("X-P2P-PeerDist", "Version=1.0")]), None);
    let (rule, tolerated) = fault(request, &[accept, ("X-P2P-PeerDist", "Version=9.0")]).unwrap();
    assert!(rule.contains("version") && tolerated, "{rule}");
    let missing = fault(request, &[accept, ("X-P2P-PeerDist", "Version=1.1, MissingDataRequest=true")]).unwrap();
    assert!(missing.0.contains("MissingDataRequest") && missing.1);
    assert_eq!(fault(response, &[encoding, ("X-P2P-PeerDist", "Version=1.1, ContentLength=5")]), None);
    let (rule, tolerated) = fault(response, &[encoding, ("X-P2P-PeerDist", "Version=1.1")]).unwrap();
    assert!(rule.contains("ContentLength") && !tolerated, "{rule}");
    assert!(fault(response, &[encoding]).is_some());
    assert!(dissect_headers(request, &[(0, "Host", "x")], b"").is_none(), "ordinary HTTP");
}

/// Puts `value` in the place of leaf number `which`; leaves count from where `at` stands.
fn with_leaf<'a>(nodes: &[Node<'a>], which: usize, at: &mut usize, value: &Value<'a>) -> Vec<Node<'a>> {
    let replaced = |node: &Node<'a>, at: &mut usize| {
        let new = match &node.value {
            Value::Record(fields) => Value::Record(with_leaf(fields, which, at, value)),
            Value::List(items) => Value::List(with_leaf(items, which, at, value)),
            leaf => {
                *at += 1;
                if *at - 1 == which { value.clone() } else { leaf.clone() }
            }
        };
        Node { value: new, ..node.clone() }
    };
    nodes.iter().map(|node| replaced(node, at)).collect()
}

fn leaves<'n, 'a>(nodes: &'n [Node<'a>]) -> Vec<&'n Node<'a>> {
    let below = |node: &'n Node<'a>| match &node.value {
        Value::Record(inner) | Value::List(inner) => leaves(inner),
        _ => vec![node],
    };
    nodes.iter().flat_map(below).collect()
}

#[test]
fn codec_and_dissector_agree_at_every_limit_of_every_field() {
    const NUMBERS: [u64; 22] =
        [0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 64, 65, 255, 256, 257, 511, 512, 513, 65_536, 65_537, 131_072, 131_073];
    const SIZES: [usize; 14] = [0, 1, 5, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65];
    let mut count = 0;
    for vector in vectors().iter().filter(|vector| vector.bytes.len() < 1000) {
        let tree = dissected(vector);
        if tree.find(REST).is_some() {
            continue;
        }
        let bare = without_derived(&tree.fields);
        for (which, leaf) in leaves(&bare).into_iter().enumerate() {
            let values: Vec<_> = match &leaf.value {
                Value::Integer(value) => {
                    let near = [value.wrapping_sub(1), value.wrapping_add(1), 33_554_432, 33_554_433];
                    NUMBERS.into_iter().chain(near).map(Value::Integer).collect()
                }
                _ => SIZES.into_iter().map(|size| Value::Bytes(vec![7; size].into())).collect(),
            };
            for value in values {
                // Not every number has room.
                let Ok(bytes) = compose(vector.structure, &with_leaf(&bare, which, &mut 0, &value)) else { continue };
                count += 1;
                let tree = dissect(vector.structure, &bytes);
                let faults = faults_of(&tree, vector.structure);
                let (name, field) = (&vector.name, leaf.name);
                let taken = codec_takes(vector.structure, &Bytes::from(bytes));
                assert_eq!(taken, faults.is_empty(), "{name}: {field} {value:?}: {faults:#?}");
            }
        }
    }
    assert!(count > 10_000, "{count}");
}
