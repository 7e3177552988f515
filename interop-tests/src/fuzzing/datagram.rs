//! MS-PCCRD: datagrams, and the blobs inside.

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{
    AvailabilityBits, MAX_DATAGRAM_SIZE, MAX_IDS, Message, Probe, ProbeMatches, Scope, SegmentAges, Segments,
};
use peerdist_protocol::schema::dissect_datagram;

pub(super) fn run(bytes: &[u8]) {
    let parsed = Message::parse(bytes);
    // A Probe has a faster way as well.
    match (&parsed, Probe::parse(bytes), ProbeMatches::parse(bytes)) {
        (Ok(Message::Probe(probe)), Ok(fast), Err(_)) => assert_eq!(&fast, probe),
        (Ok(Message::ProbeMatches(matches)), Err(_), Ok(same)) => assert_eq!(&same, matches),
        (Err(_), Err(_), Err(_)) => {}
        (message, probe, matches) => panic!("{message:?}, but {probe:?} and {matches:?}"),
    }
    match &parsed {
        Ok(Message::Probe(probe)) => {
            assert!(bytes.len() <= MAX_DATAGRAM_SIZE && (1..=MAX_IDS).contains(&probe.ids().len()));
            assert_eq!(Probe::parse(&probe.emit()).as_ref(), Ok(probe));
        }
        Ok(Message::ProbeMatches(matches)) => {
            assert!(bytes.len() <= MAX_DATAGRAM_SIZE);
            if let Segments::V1(scopes) = &matches.segments {
                assert!(scopes.len() <= MAX_IDS);
            }
            assert_eq!(ProbeMatches::parse(&matches.emit()).as_ref(), Ok(matches));
        }
        Err(_) => {}
    }
    let tree = dissect_datagram(bytes);
    assert!(tree.is_some() || parsed.is_err(), "what is taken is shown");
    if let Some(tree) = tree {
        assert_eq!(tree.is_whole(), parsed.is_ok(), "{:?}", tree.faults);
        for field in &tree.fields {
            assert!(field.offset + field.size <= bytes.len(), "{}", field.name);
        }
    }
    blobs(bytes);
}

fn blobs(bytes: &[u8]) {
    if let Some(ages) = SegmentAges::parse(bytes) {
        assert_eq!(SegmentAges::parse(&ages.emit()).as_ref(), Some(&ages));
        assert!(ages.iter().count() <= MAX_IDS);
    }
    let bits = AvailabilityBits::from_bytes(bytes);
    for count in [1, 4, MAX_IDS] {
        let _ = (0..=count).filter(|index| bits.get(*index, count).is_some()).count();
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(scope) = Scope::parse(text) {
        assert_eq!(scope.token(), text);
        assert_eq!(text.parse(), Ok(scope.id()));
    }
    if let Ok(id) = text.parse::<SegmentId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
