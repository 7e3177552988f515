//! What the decoder hands on.

use std::net::SocketAddr;

use peerdist_protocol::content::{SegmentHashOfData, SegmentId, SegmentSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::schema::{Node, REST, Tree, version_text};

use super::asks::Asks;
use super::file::Nanoseconds;

/// The most bytes that are kept of what a request asks for.
const MAX_WHAT: usize = 256;

/// A message of one of the protocols.
#[derive(Debug)]
pub struct Message<'a> {
    /// Counted from 1 in the order in which messages are whole.
    pub number: u64,
    /// Where it was seen; none for bytes that came alone.
    pub seen: Option<Seen>,
    /// The request that it answers, where that was seen.
    pub answers: Option<Answered>,
    /// Whether it asks for an answer.
    pub is_request: bool,
    /// Whether bytes of it are missing in the capture, or it is larger than what is looked at.
    pub is_cut: bool,
    /// What the capture says of the packet with its end; may be empty.
    pub comment: &'a str,
    /// What it says.
    pub tree: Tree<'a>,
}

/// Where and when a message was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When its first byte came.
    pub began: Nanoseconds,
    /// When its last byte came.
    pub ended: Nanoseconds,
    /// Who sent it.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// What carried it.
    pub over: Over,
}

/// What carries messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// A datagram.
    Udp,
    /// A connection.
    Tcp,
    /// A connection whose TLS was opened.
    Tls,
}

impl Over {
    /// As it is called in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// A request, as its answer or the lack of one refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The request's number.
    pub number: u64,
    /// The document's name for it.
    pub name: &'static str,
    /// What it asks for, in a few words; long ones are cut.
    pub what: String,
    /// Where it was seen.
    pub seen: Option<Seen>,
    pub(super) asks: Asks,
}

impl Answered {
    pub(super) fn new(number: u64, tree: &Tree<'_>, seen: Option<Seen>) -> Self {
        let mut what = what(tree);
        if what.len() > MAX_WHAT {
            what.truncate(what.floor_char_boundary(MAX_WHAT - 2));
            what.push_str("..");
        }
        what.shrink_to_fit();
        Self { number, name: tree.name, what, seen, asks: Asks::new(tree) }
    }

    /// The memory that it takes beside itself.
    pub(super) fn held(&self) -> usize {
        self.what.capacity() + self.asks.held()
    }
}

/// What happens.
// It is handed on by itself and never stored.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Event<'a> {
    /// A message is whole, or there is no more of it.
    Message(Message<'a>),
    /// A request got no answer until its connection or the capture ended.
    Unanswered(Answered),
    /// The answer of a request cannot be told from others, or was not captured.
    Unpaired(Answered),
}

/// What a message is about, in a few words: segment and blocks, or a URL. Of one that is not whole, what was read whole.
#[must_use]
pub fn what(tree: &Tree<'_>) -> String {
    let segment = ["SegmentID", "SegmentId", "Hash", "SegmentHoHoDk"].into_iter();
    let segment = segment.filter_map(|name| first_bytes(&tree.fields, name)).map(short).next();
    let segment = segment.map(|id| format!("segment {id}"));
    let counted = |name: &str| list(tree, name).map(<[_]>::len);
    let with_more = |segment: Option<String>, name: &str| match (segment, counted(name)) {
        (Some(segment), Some(count @ 2..)) => Some(format!("{segment} and {} more", count - 1)),
        (segment, _) => segment,
    };
    let parts = match tree.name {
        "MSG_GETBLKS" | "MSG_GETBLKLIST" | "MSG_BLKLIST" => return joined([segment, blocks(tree)], " "),
        "MSG_BLK" => {
            let index = tree.integer("BlockIndex").map(|index| format!("block {index}"));
            let held = tree.integer("SizeOfBlock").map(|size| match size {
                0 => "not held".to_owned(),
                size => format!("{size} bytes"),
            });
            let block = Some(joined([segment, index], " ")).filter(|block| !block.is_empty());
            return joined([block, held], ", ");
        }
        "MSG_GETSEGLIST" => with_more(segment, "SegmentIDs"),
        "MSG_SEGLIST" => counted("SegmentRanges").map(|count| plural(count, "range")),
        "MSG_NEGO_REQ" | "MSG_NEGO_RESP" => {
            let version = |name| tree.integer(name).map(version_text);
            let versions = version("MinSupportedProtocolVersion").zip(version("MaxSupportedProtocolVersion"));
            versions.map(|(least, most)| format!("{least} to {most}"))
        }
        "BATCHED_OFFER_MESSAGE" => with_more(segment, "SegmentDescriptors"),
        "INITIAL_OFFER_MESSAGE" => segment,
        "SEGMENT_INFO_MESSAGE" => tree.integer("cbSegment").map(|size| format!("{size} bytes")),
        "RESPONSE_MESSAGE" => match tree.integer("ResponseCode") {
            Some(0) => Some("OK".to_owned()),
            Some(1) => Some("INTERESTED".to_owned()),
            _ => None,
        },
        "Probe" | "ProbeMatches" if counted("SegmentIDs").is_some_and(|count| count > 0) => {
            with_more(segment, "SegmentIDs")
        }
        "request" => {
            let text = |name| tree.find(name).and_then(Node::text).unwrap_or_default();
            let range = tree.find("Range").and_then(Node::text).map(|range| format!(", {range}")).unwrap_or_default();
            Some(format!("{} {}{range}", text("Method"), text("Target")))
        }
        "response" | "HTTP_RESPONSE" => tree.integer("Status").map(|status| format!("status {status}")),
        "CONTENT_INFORMATION_1.0" => counted("segments").map(|count| plural(count, "segment")),
        "CONTENT_INFORMATION_2.0" => list(tree, "chunks").map(|chunks| {
            let segments = chunks.iter().filter_map(|chunk| chunk.child("segments"));
            plural(segments.map(|list| list.children().len()).sum(), "segment")
        }),
        _ => None,
    };
    parts.unwrap_or_default()
}

/// Those parts that there are.
fn joined(parts: [Option<String>; 2], between: &str) -> String {
    Vec::from_iter(parts.into_iter().flatten()).join(between)
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The items of a list; none where it was not read whole.
pub(super) fn list<'t, 'a>(tree: &'t Tree<'a>, name: &str) -> Option<&'t [Node<'a>]> {
    fn is_cut(node: &Node<'_>) -> bool {
        node.name == REST || node.children().iter().any(is_cut)
    }
    tree.find(name).filter(|list| !is_cut(list)).map(Node::children)
}

fn blocks(tree: &Tree<'_>) -> Option<String> {
    const LISTS: [&str; 3] = ["ReqBlockRanges", "NeededBlockRanges", "BlockRanges"];
    let ranges = LISTS.into_iter().find_map(|name| list(tree, name))?;
    let number = |range: &Node<'_>, name| range.child(name).and_then(Node::integer).unwrap_or(0);
    let total: u64 = ranges.iter().map(|range| number(range, "Count")).fold(0, u64::saturating_add);
    Some(match ranges {
        _ if total == 0 => "no blocks".to_owned(),
        [range] if total == 1 => format!("block {}", number(range, "Index")),
        [range] => {
            let first = number(range, "Index");
            format!("blocks {first} to {}", first.saturating_add(total - 1))
        }
        _ => format!("{} in {} ranges", plural(usize::try_from(total).unwrap_or(usize::MAX), "block"), ranges.len()),
    })
}

/// The bytes of the first field of this name that has any; items of a list may have the name of what is in them.
fn first_bytes<'n>(nodes: &'n [Node<'_>], name: &str) -> Option<&'n [u8]> {
    let named = |node: &'n Node<'_>| node.bytes().filter(|_| node.name == name);
    nodes.iter().find_map(|node| named(node).or_else(|| first_bytes(node.children(), name)))
}

/// The first bytes of a segment id.
#[must_use]
pub fn short(id: &[u8]) -> String {
    let shown = id.get(..8).unwrap_or(id);
    let dots = if shown.len() < id.len() { ".." } else { "" };
    format!("{}{dots}", hex::encode_upper(shown))
}

/// The ids of the segments that a message describes: they do not travel with it but follow from it.
pub fn derived_ids(tree: &Tree<'_>) -> impl Iterator<Item = SegmentId> {
    let algorithm = match tree.integer("dwHashAlgo") {
        Some(0x800D) => HashAlgorithm::Sha384,
        Some(0x800E) => HashAlgorithm::Sha512,
        Some(_) => HashAlgorithm::Sha256,
        None => HashAlgorithm::TruncatedSha512,
    };
    let lists = match tree.find("chunks") {
        Some(chunks) => chunks.children().iter().filter_map(|chunk| chunk.child("segments")).collect(),
        None => Vec::from_iter(tree.find("segments")),
    };
    let segments: Vec<_> = lists.into_iter().flat_map(Node::children).collect();
    let derive = move |segment: &Node<'_>| {
        let bytes = |name| segment.child(name).and_then(Node::bytes);
        let hash_of_data = SegmentHashOfData::from_slice(bytes("SegmentHashOfData")?)?;
        let secret = SegmentSecret::from_slice(bytes("SegmentSecret")?)?;
        Some(SegmentId::derive(algorithm, &secret, &hash_of_data))
    };
    segments.into_iter().filter_map(derive)
}
