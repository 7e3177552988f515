//! The dissector: it reads whatever there is, composes the same bytes again, and names a fault where, and only where,
//! the codec refuses. What the codec warns of it names, too.

use bytes::Bytes;
use peerdist_protocol::content::ContentInformation;
use peerdist_protocol::schema::{MAX_FAULTS, Node, Value, compose, dissect, recognise, tables};

use super::message::is_taken;

/// The first byte says which structure the others are.
pub(super) fn run(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let structure = tables::ALL[usize::from(*which) % tables::ALL.len()];
    let tree = dissect(structure, bytes);
    assert_eq!(compose(structure, &tree.fields).as_deref(), Ok(bytes));
    assert!(tree.faults.len() <= MAX_FAULTS);
    assert!(tree.faults.iter().all(|fault| fault.offset <= bytes.len() && !fault.rule.is_empty()));
    within(&tree.fields, bytes.len());

    // A blob that is no blob is ignored inside other messages.
    let counts = structure.name == "EXTENSIBLE_BLOB";
    let is_sound = !tree.faults.iter().any(|fault| counts || !fault.tolerated);
    let taken = is_taken(structure, &Bytes::copy_from_slice(bytes));
    assert_eq!(taken, is_sound, "{}: {:#?}", structure.name, tree.faults);
    if structure.name == tables::CONTENT_INFORMATION_2.name
        && let Ok(ContentInformation::V2(information)) = ContentInformation::parse(Bytes::copy_from_slice(bytes))
    {
        assert_eq!(tree.faults.len(), information.warnings().len(), "{:#?}", tree.faults);
    }
    if let Some(found) = recognise(bytes) {
        let _ = dissect(found, bytes);
    }
}

fn within(nodes: &[Node<'_>], size: usize) {
    for node in nodes {
        assert!(node.offset + node.size <= size, "{} lies outside the message", node.name);
        if let Value::Record(inner) | Value::List(inner) = &node.value {
            within(inner, size);
        }
    }
}
