//! Reading and writing of Probe and ProbeMatches: round trips, every truncation, mutations, limits, strictness.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{
    AppSequence, AvailabilityBits, DropReason, Element, EndpointAddress, Form, Held, MAX_DATAGRAM_SIZE, MAX_IDS,
    MAX_PROBE_SIZE, Message, MessageId, ParseError, Probe, ProbeError, ProbeMatches, Scope, SegmentAges, Segments,
    XmlError,
};
use proptest::prelude::*;

fn id(number: u8) -> SegmentId {
    SegmentId::from_slice(&[number; 32]).unwrap()
}

fn probe(form: Form, count: usize) -> Probe {
    Probe::new(MessageId::from_uuid(5), form, (0..=u8::MAX).cycle().take(count).map(id)).unwrap()
}

fn matches(segments: Segments) -> ProbeMatches {
    ProbeMatches {
        message_id: MessageId::from_uuid(6),
        relates_to: MessageId::from_uuid(5),
        app_sequence: Some(AppSequence { instance_id: 1_700_000_000, message_number: 3 }),
        address: EndpointAddress::from_random(9),
        xaddrs: vec!["192.0.2.1:80".parse().unwrap(), "[2001:db8::1]:8080".parse().unwrap()],
        metadata_version: Some(1),
        segments,
    }
}

fn v1_segments() -> Segments {
    Segments::V1(vec![(Scope::from(id(1)), Some(512)), (Scope::from(id(0xab)), Some(1))])
}

fn v2_segments() -> Segments {
    let held = [Some(Held { blocks: 1, complete: true, age: Some(std::time::Duration::from_secs(5)) }), None];
    Segments::V2 { bits: AvailabilityBits::of(&held), ages: SegmentAges::of(&held) }
}

fn samples() -> Vec<Message> {
    let bare = ProbeMatches { app_sequence: None, metadata_version: None, ..matches(v1_segments()) };
    let unknown = Segments::V1(vec![(Scope::from(id(1)), None)]);
    let ageless = Segments::V2 { bits: AvailabilityBits::from_bytes([0xff; 64]), ages: None };
    vec![
        Message::Probe(probe(Form::V1, 1)),
        Message::Probe(probe(Form::V1, MAX_IDS)),
        Message::Probe(probe(Form::V2, 2)),
        Message::Probe(probe(Form::V2, MAX_IDS)),
        Message::ProbeMatches(matches(v1_segments())),
        Message::ProbeMatches(matches(v2_segments())),
        Message::ProbeMatches(matches(unknown)),
        Message::ProbeMatches(matches(ageless)),
        Message::ProbeMatches(bare),
    ]
}

fn emit(message: &Message) -> Vec<u8> {
    match message {
        Message::Probe(probe) => probe.emit(),
        Message::ProbeMatches(matches) => matches.emit(),
    }
}

fn sample_text(form: Form) -> String {
    String::from_utf8(probe(form, 1).emit()).unwrap()
}

fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse(text.as_bytes())
}

#[test]
fn round_trips() {
    for message in samples() {
        let bytes = emit(&message);
        assert_eq!(Message::parse(&bytes), Ok(message.clone()));
        assert_eq!(emit(&Message::parse(&bytes).unwrap()), bytes);
    }
}

#[test]
fn no_truncation_is_a_message() {
    for message in samples() {
        let bytes = emit(&message);
        for length in 0..bytes.len() {
            let refused = Message::parse(&bytes[..length]).unwrap_err();
            assert!(matches!(refused, ParseError::Xml(XmlError::NotWellFormed { .. })), "{length}: {refused}");
        }
    }
}

#[test]
fn nothing_but_blanks_and_comments_may_follow() {
    let text = sample_text(Form::V1);
    assert!(parse(&format!("{text}\r\n<!-- bye -->")).is_ok());
    for trailing in ["x", "<a/>", "<![CDATA[x]]>", "&lt;", "</soap:Envelope>"] {
        let refused = parse(&format!("{text}{trailing}")).unwrap_err();
        assert!(matches!(refused, ParseError::Xml(XmlError::NotWellFormed { .. })), "{trailing}: {refused}");
    }
}

#[test]
fn a_probe_of_the_most_ids_per_datagram_is_one_packet() {
    for form in [Form::V1, Form::V2] {
        let fits = form.max_ids_per_datagram();
        assert!(probe(form, fits).emit().len() <= MAX_PROBE_SIZE, "{form:?}");
        assert!(probe(form, fits + 1).emit().len() > MAX_PROBE_SIZE, "{form:?}");
    }
}

#[test]
fn probes_that_cannot_be_written_cannot_be_made() {
    let new = |form, ids: Vec<SegmentId>| Probe::new(MessageId::from_uuid(1), form, ids);
    let short = SegmentId::from_slice(&[1]).unwrap();
    assert_eq!(new(Form::V1, vec![]), Err(ProbeError::NoIds));
    assert_eq!(new(Form::V1, vec![id(1); MAX_IDS + 1]), Err(ProbeError::TooManyIds { count: MAX_IDS + 1 }));
    assert_eq!(new(Form::V2, vec![id(1), short]), Err(ProbeError::MixedSizes));
    assert!(new(Form::V1, vec![id(1), short]).is_ok());
}

#[test]
fn prefixes_order_blanks_and_foreign_elements_do_not_matter() {
    let text = r#"<?xml version="1.0"?>
<!-- other prefixes, a default namespace, another order -->
<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns="http://schemas.xmlsoap.org/ws/2005/04/discovery">
  <e:Header xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing">
    <x:Security xmlns:x="urn:x" e:mustUnderstand="0"><x:Token>&amp;</x:Token></x:Security>
    <a:MessageID> not-a-uuid &lt;&#65;&gt; </a:MessageID>
    <a:Action><![CDATA[http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe]]></a:Action>
  </e:Header>
  <e:Body><Probe>
    <Scopes MatchBy='http://schemas.xmlsoap.org/ws/2005/04/discovery/str&#99;mp0'>
      aB01
      cd02 <!-- two -->
    </Scopes>
    <Types xmlns:p="http://schemas.microsoft.com/p2p/2007/09/PeerDistributionDiscovery">x:y p:PeerDistData</Types>
  </Probe></e:Body>
</e:Envelope>"#;
    let probe = Probe::parse(text.as_bytes()).unwrap();
    assert_eq!(probe.message_id().as_str(), "not-a-uuid <A>");
    assert_eq!(probe.form(), Form::V1);
    assert_eq!(probe.ids().map(ToString::to_string).collect::<Vec<_>>(), ["AB01", "CD02"]);
    // Tokens and MessageID come out as they went in.
    let written = String::from_utf8(probe.emit()).unwrap();
    assert!(written.contains(">aB01 cd02</wsd:Scopes>"));
    assert!(written.contains(">not-a-uuid &lt;A&gt;</wsa:MessageID>"));
}

#[test]
fn the_literal_types_are_taken_without_a_declaration() {
    let text = sample_text(Form::V2)
        .replace(r#" xmlns:PeerDist="http://schemas.microsoft.com/p2p/2007/09/PeerDistributionDiscovery""#, "");
    assert_eq!(Probe::parse(text.as_bytes()).unwrap().form(), Form::V2);
    let other = text.replace("<wsd:Types>PeerDist:PeerDistDataV2<", "<wsd:Types>p:PeerDistDataV2<");
    assert_eq!(parse(&other), Err(ParseError::OtherType));
}

#[test]
fn what_soap_forbids_is_refused() {
    let text = sample_text(Form::V1);
    let in_id = |replacement: &str| parse(&text.replace("urn:uuid:", replacement));
    let before_root = |addition: &str| parse(&text.replace("<soap:Envelope", &format!("{addition}<soap:Envelope")));
    let refused = |error| Err(ParseError::Xml(error));
    assert_eq!(before_root("<!DOCTYPE x [<!ENTITY a \"b\">]>"), refused(XmlError::Doctype));
    assert_eq!(parse(&format!("{text}<!DOCTYPE x>")), refused(XmlError::Doctype));
    assert_eq!(before_root("<?target data?>"), refused(XmlError::ProcessingInstruction));
    assert_eq!(in_id("&a;"), refused(XmlError::Entity));
    assert_eq!(in_id("&#0;"), refused(XmlError::Entity));
    assert_eq!(in_id("<b/>"), refused(XmlError::ElementInText));
    let attribute = text.replace("<wsd:Probe>", "<wsd:Probe a=\"&a;\">");
    assert_eq!(parse(&attribute), refused(XmlError::Entity));
    assert_eq!(Message::parse(b"\xff\xfe<\0"), refused(XmlError::NotUtf8));
    assert_eq!(parse(&text.replace("2003/05/soap-envelope", "2001/09/soap-envelope")), Err(ParseError::NotAnEnvelope));
}

#[test]
fn undeclared_and_misdeclared_prefixes_are_refused() {
    let text = sample_text(Form::V1);
    for (from, to) in [
        ("wsd:Probe>", "nope:Probe>"),
        ("<wsd:Probe>", "<wsd:Probe nope:a=\"1\">"),
        ("<wsd:Probe>", "<wsd:Probe xmlns:xml=\"urn:x\">"),
        ("<wsd:Probe>", "<wsd:Probe xmlns:xmlns=\"urn:x\">"),
        ("<wsd:Probe>", "<wsd:Probe xmlns:a=\"\">"),
    ] {
        assert_eq!(parse(&text.replace(from, to)), Err(ParseError::Xml(XmlError::Prefix)), "{to}");
    }
    for (from, to) in [("wsd:Probe>", "wsd:a:Probe>"), ("<wsd:Probe>", "<wsd:Probe a=\"1\" a=\"2\">")] {
        let refused = parse(&text.replace(from, to)).unwrap_err();
        assert!(matches!(refused, ParseError::Xml(XmlError::NotWellFormed { .. })), "{to}: {refused}");
    }
    assert!(parse(&text.replace("<wsd:Probe>", "<wsd:Probe xml:lang=\"en\" wsa:a=\"1\">")).is_ok());
}

#[test]
fn a_prefix_ends_with_the_element_that_declares_it() {
    let text = sample_text(Form::V1);
    let shadowed = text.replace("<wsd:Types>", "<wsd:Types xmlns:wsd=\"urn:x\">");
    // The element itself is not wsd:Types any more, the next sibling is wsd:Scopes again.
    assert_eq!(parse(&shadowed), Err(ParseError::OtherType));
    let beside = text.replace("<wsd:Types>", "<x:x xmlns:x=\"urn:x\" xmlns:wsd=\"urn:x\"/><wsd:Types>");
    assert!(parse(&beside).is_ok());
    let after = text.replace("<wsd:Types>", "<x:x xmlns:x=\"urn:x\"/><x:x/><wsd:Types>");
    assert_eq!(parse(&after), Err(ParseError::Xml(XmlError::Prefix)));
}

#[test]
fn every_limit_is_exact() {
    let text = sample_text(Form::V1);
    let inside_probe = |addition: &str| parse(&text.replace("<wsd:Probe>", &format!("<wsd:Probe>{addition}")));
    // Envelope, Body and Probe are three levels of sixteen; the Probe has nine elements of 256.
    let nested = |levels: usize| format!("{}{}", "<wsd:a>".repeat(levels), "</wsd:a>".repeat(levels));
    assert!(inside_probe(&nested(13)).is_ok());
    assert_eq!(inside_probe(&nested(14)), Err(ParseError::Xml(XmlError::TooDeep)));
    assert!(inside_probe(&"<wsd:a/>".repeat(256 - 9)).is_ok());
    assert_eq!(inside_probe(&"<wsd:a/>".repeat(256 - 8)), Err(ParseError::Xml(XmlError::TooManyElements)));
    let attributes = |count: usize| {
        let attributes: String = (0..count).map(|number| format!(" a{number}=\"\"")).collect();
        inside_probe(&format!("<wsd:a{attributes}/>"))
    };
    assert!(attributes(32).is_ok());
    assert_eq!(attributes(33), Err(ParseError::Xml(XmlError::TooManyAttributes)));
    let padded = |size: usize| format!("{text}{}", " ".repeat(size - text.len()));
    assert!(parse(&padded(MAX_DATAGRAM_SIZE)).is_ok());
    assert_eq!(parse(&padded(MAX_DATAGRAM_SIZE + 1)), Err(ParseError::TooLarge { size: MAX_DATAGRAM_SIZE + 1 }));
    let scopes = |count: usize| {
        let token = id(0).to_string();
        parse(&text.replace(&format!(">{token}<"), &format!(">{}<", "AA ".repeat(count))))
    };
    assert!(scopes(MAX_IDS).is_ok());
    assert_eq!(scopes(MAX_IDS + 1), Err(ParseError::TooManyIds));
    let message_id = |size: usize| parse(&text.replace("urn:uuid:", &"x".repeat(size - 36)));
    assert!(message_id(256).is_ok());
    assert_eq!(message_id(257), Err(ParseError::BadIdentity(Element::MessageId)));
}

#[test]
fn badly_formed_probes_are_refused() {
    let v1 = sample_text(Form::V1);
    let token = id(0).to_string();
    for scopes in ["", " ", "0", "0G", "AA,BB", &"00".repeat(65)] {
        let refused = parse(&v1.replace(&format!(">{token}<"), &format!(">{scopes}<")));
        assert_eq!(refused, Err(ParseError::BadScopes), "{scopes}");
    }
    let v2 = sample_text(Form::V2);
    let value = v2.split("MatchingRule\">").nth(1).unwrap().split('<').next().unwrap();
    // Nothing, no base64, a count of 0, a size of 0, a size of 65, a byte too much, a byte too few.
    for scopes in ["", "!", "ACAA", "AAAB", "AEEB", "AAEBAAA=", "AAIBAA==", "AAEBAA== AAEBAA=="] {
        let refused = parse(&v2.replace(value, scopes));
        assert_eq!(refused, Err(ParseError::BadScopes), "{scopes}");
    }
    assert_eq!(Probe::parse(v2.replace(value, "AAEBAA").as_bytes()).unwrap().ids().len(), 1, "without padding");
    for (from, to, reason) in [
        ("discovery/Probe<", "discovery/Hello<", ParseError::OtherAction),
        ("discovery/Probe<", "discovery/ProbeMatches<", ParseError::OtherAction),
        ("strcmp0", "rfc2396", ParseError::OtherMatchBy),
        ("MatchBy", "matchby", ParseError::OtherMatchBy),
        ("wsd:Types>", "wsd:types>", ParseError::OtherType),
        ("wsd:Scopes", "wsd:scopes", ParseError::Missing(Element::Scopes)),
        ("wsa:MessageID>", "wsd:MessageID>", ParseError::Missing(Element::MessageId)),
        ("wsa:Action>", "wsd:Action>", ParseError::Missing(Element::Action)),
        ("soap:Body>", "wsd:Body>", ParseError::Missing(Element::Body)),
        (
            "<wsd:Types>",
            "<wsd:Types>PeerDist:PeerDistData</wsd:Types><wsd:Types>",
            ParseError::Repeated(Element::Types),
        ),
        ("</wsa:Action>", "</wsa:Action><wsa:MessageID>x</wsa:MessageID>", ParseError::Repeated(Element::MessageId)),
        ("urn:uuid:00000000-0000-0000-0000-000000000005", "  ", ParseError::BadIdentity(Element::MessageId)),
    ] {
        assert_eq!(parse(&v1.replace(from, to)), Err(reason), "{to}");
    }
    let mixed = v1.replace("PeerDist:PeerDistData<", "PeerDist:PeerDistDataV2<");
    assert_eq!(parse(&mixed), Err(ParseError::OtherMatchBy));
}

#[test]
fn badly_formed_answers_are_refused_and_small_faults_forgiven() {
    let v1 = String::from_utf8(matches(v1_segments()).emit()).unwrap();
    let v2 = String::from_utf8(matches(v2_segments()).emit()).unwrap();
    for (text, from, to, reason) in [
        (&v1, "wsa:RelatesTo>", "wsd:RelatesTo>", ParseError::Missing(Element::RelatesTo)),
        (&v1, "wsa:Address>", "wsd:Address>", ParseError::Missing(Element::Address)),
        (&v1, "wsd:XAddrs>", "wsa:XAddrs>", ParseError::Missing(Element::XAddrs)),
        (&v1, "wsd:Scopes>", "wsa:Scopes>", ParseError::Missing(Element::Scopes)),
        (&v1, "PeerDist:PeerDistData<", "PeerDist:Other<", ParseError::OtherType),
        (&v1, "wsd:ProbeMatch>", "wsd:Other>", ParseError::OtherType),
        (&v1, &id(1).to_string(), "0", ParseError::BadScopes),
        (&v2, "<wsd:Scopes>wA==", "<wsd:Scopes>", ParseError::BadScopes),
        (&v2, "<wsd:Scopes>wA==", "<wsd:Scopes>?", ParseError::BadScopes),
    ] {
        assert!(text.contains(from), "{from}");
        assert_eq!(parse(&text.replace(from, to)), Err(reason), "{to}");
    }
    let read = |text: String| ProbeMatches::parse(text.as_bytes()).unwrap();
    assert_eq!(read(v1.replace("InstanceId", "instanceid")).app_sequence, None);
    assert_eq!(
        read(v1.replace("wsd:AppSequence", "wsa:AppSequence")).app_sequence,
        matches(v1_segments()).app_sequence
    );
    assert_eq!(read(v1.replace("<wsd:MetadataVersion>1", "<wsd:MetadataVersion>-")).metadata_version, None);
    let skipped: Vec<SocketAddr> = vec!["[2001:db8::1]:8080".parse().unwrap()];
    assert_eq!(read(v1.replace("192.0.2.1:80", "peer.example:80")).xaddrs, skipped);
    let ageless = read(v2.replace("AAEDAQ", "AAIDAQ"));
    assert!(matches!(ageless.segments, Segments::V2 { ages: None, .. }));
    // Two ProbeMatch elements: the one that is about BranchCache counts.
    let printer = "<wsd:ProbeMatch><wsd:Types>wsd:Printer</wsd:Types></wsd:ProbeMatch>";
    let both = v1.replace("<wsd:ProbeMatches>", &format!("<wsd:ProbeMatches>{printer}"));
    assert_eq!(read(both), matches(v1_segments()));
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
    for (position, reason) in DropReason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, position);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), DropReason::ALL.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is read survives being written and read again.
    #[test]
    fn mutated_messages_never_panic(
        which in 0..9usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..8),
    ) {
        let mut bytes = emit(&samples()[which]);
        for (position, value, edit) in edits {
            let position = position.index(bytes.len());
            match edit {
                0 => bytes[position] = value,
                1 => bytes.insert(position, value),
                2 => { bytes.remove(position); }
                _ => {
                    let part = bytes[position..(position + usize::from(value)).min(bytes.len())].to_vec();
                    bytes.splice(position..position, part);
                }
            }
        }
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(Message::parse(&emit(&message)), Ok(message));
        }
    }

    /// `Probe::parse` has a short way for the usual form; it must never see anything else than the long one.
    #[test]
    fn both_ways_through_a_probe_agree(
        v2 in any::<bool>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..10usize), 0..3),
    ) {
        let mut text = sample_text(if v2 { Form::V2 } else { Form::V1 });
        for (position, piece) in edits {
            let pieces = [" ", "&", "&amp;", "<", ">", "<!-- -->", "A", "=", "\u{e4}", "<a/>"];
            let position = text.floor_char_boundary(position.index(text.len()));
            text.insert_str(position, pieces[piece]);
        }
        let long_way = parse(&text).and_then(|message| match message {
            Message::Probe(probe) => Ok(probe),
            Message::ProbeMatches(_) => Err(ParseError::OtherAction),
        });
        prop_assert_eq!(Probe::parse(text.as_bytes()), long_way);
    }

    #[test]
    fn markup_soup_never_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "<soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\">", "</soap:Envelope>", "<soap:Header>",
        "</soap:Header>", "<soap:Body>", "</soap:Body>", "<a>", "</a>", "<a/>", "<a b='", "'>", "&amp;", "&#x41;", "&x;",
        "<![CDATA[", "]]>", "<!--", "-->", "<?x", "?>", "<!DOCTYPE", "xmlns:", ":", "\"", " ", "x", "\u{feff}",
    ]), 0..40)) {
        let _ = Message::parse(parts.concat().as_bytes());
    }
}
