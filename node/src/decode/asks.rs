//! What a request of retrieval asks for, and whether an answer can be to it.

use peerdist_protocol::schema::{Node, Tree, tables};

use super::message::list;

/// The most ranges of a request that are kept.
const MAX_RANGES: usize = 16;
/// The longest segment id.
const MAX_ID: usize = 64;

/// What of a request tells answers to it from others; fields that were not read whole are none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Asks {
    name: &'static str,
    segment: Option<Box<[u8]>>,
    /// Index and count.
    ranges: Option<Box<[(u64, u64)]>>,
}

impl Asks {
    pub(super) fn new(tree: &Tree<'_>) -> Self {
        let segment = id(tree, "SegmentID").filter(|id| id.len() <= MAX_ID).map(Box::from);
        let number = |range: &Node<'_>, name| range.child(name).and_then(Node::integer).unwrap_or(0);
        let ranges = list(tree, "ReqBlockRanges").filter(|ranges| ranges.len() <= MAX_RANGES);
        let ranges =
            ranges.map(|ranges| ranges.iter().map(|range| (number(range, "Index"), number(range, "Count"))).collect());
        Self { name: tree.name, segment, ranges }
    }

    /// Whether this may answer it, right or wrong, for all that was read of both: the type, the segment and the block
    /// are those that were asked for. Any request may be answered with the versions (MS-PCCRR 2.2.5.1).
    pub(super) fn fits(&self, answer: &Tree<'_>) -> bool {
        let answers = match self.name {
            name if name == tables::MSG_GETBLKS.name => tables::MSG_BLK.name,
            name if name == tables::MSG_GETBLKLIST.name => tables::MSG_BLKLIST.name,
            name if name == tables::MSG_GETSEGLIST.name => tables::MSG_SEGLIST.name,
            name if name == tables::MSG_NEGO_REQ.name => tables::MSG_NEGO_RESP.name,
            _ => return true,
        };
        if answer.name != answers {
            return answer.name == tables::MSG_NEGO_RESP.name;
        }
        let is_same = |(asked, told): (&[u8], &[u8])| asked == told;
        self.segment.as_deref().zip(id(answer, "SegmentId")).is_none_or(is_same) && self.has_block(answer)
    }

    fn has_block(&self, answer: &Tree<'_>) -> bool {
        let Some((ranges, index)) = self.ranges.as_ref().zip(answer.integer("BlockIndex")) else { return true };
        // A block that is not held may have the index 0.
        let may_be_any = index == 0 && answer.integer("SizeOfBlock").is_none_or(|size| size == 0);
        let has = |(first, count): &(u64, u64)| index.checked_sub(*first).is_some_and(|behind| behind < *count);
        may_be_any || ranges.iter().any(has)
    }

    /// The memory that it takes beside itself.
    pub(super) fn held(&self) -> usize {
        let ranges = self.ranges.as_deref().map_or(0, size_of_val);
        self.segment.as_ref().map_or(0, |id| id.len()) + ranges
    }
}

fn id<'t>(tree: &'t Tree<'_>, name: &str) -> Option<&'t [u8]> {
    tree.find(name).and_then(Node::bytes)
}
