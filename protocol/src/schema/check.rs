//! The rules between fields, each a [`Check`]. They look at the tree alone.

use super::dissect::Walk;
use super::{Check, Node, hash_size, tables};
use crate::content::MAX_BLOCKS_PER_SEGMENT;
use crate::crypto::HashAlgorithm;

const BLOCK_SIZE: u64 = 65_536;
const SEGMENT_SIZE: u64 = 33_554_432;
const LARGEST_BLOCK: u64 = 131_072;
const END_OF_CONTENT: u64 = 1 << 63;

pub(super) fn run(check: Check, fields: &[Node<'_>], walk: &mut Walk) {
    match check {
        Check::BlockRanges => ranges(fields, Some(u64::from(MAX_BLOCKS_PER_SEGMENT)), false, walk),
        Check::RequestedRanges => ranges(fields, Some(u64::from(MAX_BLOCKS_PER_SEGMENT)), true, walk),
        Check::SegmentRanges => ranges(fields, None, false, walk),
        Check::OneBlock => one_block(fields, walk),
        Check::InitialisationVector => initialisation_vector(fields, walk),
        Check::Segments1 => segments_1(fields, walk),
        Check::Range1 => range_1(fields, walk),
        Check::BlockLists1 => block_lists_1(fields, walk),
        Check::OfferedSegment => offered_segment(fields, walk),
        Check::Segments2 => segments_2(fields, walk),
        Check::Range2 => range_2(fields, walk),
        Check::Descriptor => descriptor(fields, walk),
    }
}

fn node<'n, 'a>(fields: &'n [Node<'a>], name: &str) -> Option<&'n Node<'a>> {
    fields.iter().find(|field| field.name == name)
}

/// The number in a field, or 0.
fn get(fields: &[Node<'_>], name: &str) -> u64 {
    node(fields, name).and_then(Node::integer).unwrap_or(0)
}

fn items<'n, 'a>(fields: &'n [Node<'a>], name: &str) -> &'n [Node<'a>] {
    node(fields, name).map_or(&[], Node::children)
}

fn offset(fields: &[Node<'_>], name: &str) -> usize {
    node(fields, name).map_or(0, |field| field.offset)
}

/// The one array of ranges in a message.
fn range_list<'n, 'a>(fields: &'n [Node<'a>]) -> Option<&'n Node<'a>> {
    const NAMES: [&str; 4] = ["NeededBlockRanges", "ReqBlockRanges", "BlockRanges", "SegmentRanges"];
    NAMES.iter().find_map(|name| node(fields, name))
}

fn ranges(fields: &[Node<'_>], limit: Option<u64>, tolerated: bool, walk: &mut Walk) {
    let Some(list) = range_list(fields) else { return };
    for (position, range) in list.children().iter().enumerate() {
        let (index, count) = (get(range.children(), "Index"), get(range.children(), "Count"));
        let rule = if count == 0 {
            "an empty range".to_owned()
        } else if limit.is_some_and(|limit| index + count > limit) {
            format!("{count} blocks from {index} on, where a segment has {MAX_BLOCKS_PER_SEGMENT} at most")
        } else if index + count > u64::from(u32::MAX) {
            format!("{count} positions from {index} on end beyond 32 bits")
        } else {
            continue;
        };
        walk.broken(range.offset, &format!("{}[{position}]", list.name), rule, tolerated);
    }
}

fn one_block(fields: &[Node<'_>], walk: &mut Walk) {
    let ranges = items(fields, "ReqBlockRanges");
    let blocks: u64 = ranges.iter().map(|range| get(range.children(), "Count")).sum();
    if ranges.len() != 1 || blocks != 1 {
        let rule = format!("{blocks} blocks in {} ranges, where one block is due", ranges.len());
        walk.broken(offset(fields, "ReqBlockRangeCount"), "ReqBlockRanges", rule, true);
    }
}

fn initialisation_vector(fields: &[Node<'_>], walk: &mut Walk) {
    let header = items(fields, "MESSAGE_HEADER");
    let is_encrypted = get(header, "CryptoAlgoId") != 0 && get(fields, "SizeOfBlock") != 0;
    let size = get(fields, "SizeOfIVBlock");
    if size != 16 && (is_encrypted || size != 0) {
        let rule = format!("an initialisation vector of {size} bytes, where 16 are due");
        walk.broken(offset(fields, "SizeOfIVBlock"), "SizeOfIVBlock", rule, false);
    }
}

fn segments_1(fields: &[Node<'_>], walk: &mut Walk) {
    let segments = items(fields, "segments");
    let mut expected = None;
    for (index, segment) in segments.iter().enumerate() {
        let (start, size) = (get(segment.children(), "ullOffsetInContent"), get(segment.children(), "cbSegment"));
        let mut broken = |field: &str, rule: String| {
            walk.broken(offset(segment.children(), field), &format!("segments[{index}].{field}"), rule, false);
        };
        match expected {
            Some(expected) if start != expected => {
                broken("ullOffsetInContent", format!("{start}, where the segment before ends at {expected}"));
            }
            None if !start.is_multiple_of(SEGMENT_SIZE) => {
                broken("ullOffsetInContent", format!("{start} is no multiple of {SEGMENT_SIZE}"));
            }
            _ => {}
        }
        if index + 1 < segments.len() && size != SEGMENT_SIZE {
            broken("cbSegment", format!("{size}, where every segment but the last has {SEGMENT_SIZE}"));
        }
        if start.checked_add(size).is_none_or(|end| end > END_OF_CONTENT) {
            broken("ullOffsetInContent", "the segment ends beyond 2^63".to_owned());
        }
        expected = Some(start.saturating_add(size));
    }
}

/// Where the range begins and ends in the content, as far as the fields make sense.
fn described_1(fields: &[Node<'_>]) -> Option<(u64, u64)> {
    let segments = items(fields, "segments");
    let (first, last) = (segments.first()?.children(), segments.last()?.children());
    let start = get(first, "ullOffsetInContent").checked_add(get(fields, "dwOffsetInFirstSegment"))?;
    let last_start = get(last, "ullOffsetInContent");
    let end = last_start.checked_add(get(last, "cbSegment"))?;
    let counted_from = if segments.len() == 1 { start } else { last_start };
    Some(match get(fields, "dwReadBytesInLastSegment") {
        0 => (start, end),
        read => (start, counted_from.checked_add(read)?),
    })
}

fn range_1(fields: &[Node<'_>], walk: &mut Walk) {
    let segments = items(fields, "segments");
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return };
    offset_in_first(fields, get(first.children(), "cbSegment"), walk);
    let Some((_, end)) = described_1(fields) else { return };
    let available = get(last.children(), "ullOffsetInContent").saturating_add(get(last.children(), "cbSegment"));
    if end > available {
        let rule = format!("the range ends at {end}, the last segment at {available}");
        let field = "dwReadBytesInLastSegment";
        walk.broken(offset(fields, field), field, rule, false);
    }
}

fn offset_in_first(fields: &[Node<'_>], size: u64, walk: &mut Walk) {
    let field = "dwOffsetInFirstSegment";
    let value = get(fields, field);
    if value >= size {
        walk.broken(offset(fields, field), field, format!("{value}, where the first segment has {size} bytes"), false);
    }
}

fn block_lists_1(fields: &[Node<'_>], walk: &mut Walk) {
    let Some((start, end)) = described_1(fields) else { return };
    let segments = items(fields, "segments");
    for (index, (segment, list)) in segments.iter().zip(items(fields, "blocks")).enumerate() {
        let segment = segment.children();
        let (from, size) = (get(segment, "ullOffsetInContent"), get(segment, "cbSegment"));
        let total = size.div_ceil(BLOCK_SIZE);
        let first = start.max(from).saturating_sub(from) / BLOCK_SIZE;
        let last = end.min(from.saturating_add(size)).saturating_sub(1).saturating_sub(from) / BLOCK_SIZE;
        let count = get(list.children(), "cBlocks");
        if count != total && count != last + 1 && count != last.saturating_sub(first) + 1 {
            let rule = format!("{count} blocks, where the range covers blocks {first} to {last} of {total}");
            walk.broken(list.offset, &format!("blocks[{index}].cBlocks"), rule, false);
        } else if count == total {
            hash_of_data(fields, index, segment, list, walk);
        }
    }
}

/// A complete list of block hashes hashes to HoD.
fn hash_of_data(fields: &[Node<'_>], index: usize, segment: &[Node<'_>], list: &Node<'_>, walk: &mut Walk) {
    let Some(algorithm) = algorithm_1(get(fields, "dwHashAlgo")) else { return };
    let hashes: Vec<u8> =
        items(list.children(), "BlockHashes").iter().filter_map(Node::bytes).flatten().copied().collect();
    let hash = algorithm.hash(&hashes);
    if node(segment, "SegmentHashOfData").and_then(Node::bytes).is_some_and(|known| known != hash.as_bytes()) {
        let field = format!("segments[{index}].SegmentHashOfData");
        let rule = "the block hashes do not hash to it".to_owned();
        walk.broken(offset(segment, "SegmentHashOfData"), &field, rule, false);
    }
}

fn offered_segment(fields: &[Node<'_>], walk: &mut Walk) {
    let (Some(segment), Some(list)) = (items(fields, "segments").first(), items(fields, "blocks").first()) else {
        return;
    };
    let segment = segment.children();
    let (start, size) = (get(segment, "ullOffsetInContent"), get(segment, "cbSegment"));
    if start.checked_add(size).is_none_or(|end| end > END_OF_CONTENT) {
        let field = "ullOffsetInContent";
        let rule = "the segment ends beyond 2^63".to_owned();
        walk.broken(offset(segment, field), &format!("segments[0].{field}"), rule, false);
    }
    offset_in_first(fields, size, walk);
    let (count, total) = (get(list.children(), "cBlocks"), size.div_ceil(BLOCK_SIZE));
    if count == 0 || count > total {
        let rule = format!("{count} blocks of a segment that has {total}");
        walk.broken(list.offset, "blocks[0].cBlocks", rule, false);
    } else if count == total {
        hash_of_data(fields, 0, segment, list, walk);
    }
}

fn segments_2(fields: &[Node<'_>], walk: &mut Walk) {
    let mut end = get(fields, "ullStartInContent");
    for (index, segment) in segments_of_2(fields).enumerate() {
        match end.checked_add(get(segment.children(), "cbSegment")).filter(|end| *end <= END_OF_CONTENT) {
            Some(next) => end = next,
            None => {
                let rule = format!("segment {index} ends beyond 2^63");
                return walk.broken(segment.offset, "chunks", rule, false);
            }
        }
    }
    let (start, index) = (get(fields, "ullStartInContent"), get(fields, "ullIndexOfFirstSegment"));
    if start < index || start > index.saturating_mul(LARGEST_BLOCK) {
        let field = "ullIndexOfFirstSegment";
        let rule = format!("the first segment cannot be number {index} and begin at {start}");
        walk.broken(offset(fields, field), field, rule, true);
    }
}

/// The segments of all chunks.
fn segments_of_2<'n, 'a>(fields: &'n [Node<'a>]) -> impl Iterator<Item = &'n Node<'a>> {
    items(fields, "chunks").iter().flat_map(|chunk| items(chunk.children(), "segments"))
}

fn range_2(fields: &[Node<'_>], walk: &mut Walk) {
    let Some(first) = segments_of_2(fields).next() else { return };
    offset_in_first(fields, get(first.children(), "cbSegment"), walk);
    let sizes = segments_of_2(fields).map(|segment| get(segment.children(), "cbSegment"));
    let total = sizes.fold(0, u64::saturating_add);
    let available = total.saturating_sub(get(fields, "dwOffsetInFirstSegment"));
    let length = get(fields, "ullLengthOfRange");
    if length > available {
        let rule = format!("{length} bytes, where the segments have {available} from the range's begin on");
        walk.broken(offset(fields, "ullLengthOfRange"), "ullLengthOfRange", rule, false);
    }
    let last = segments_of_2(fields).last().map_or(0, |segment| get(segment.children(), "cbSegment"));
    if length > 0 && length <= available.saturating_sub(last) && total > last {
        let rule = "the last segment lies behind the range".to_owned();
        walk.broken(offset(fields, "ullLengthOfRange"), "ullLengthOfRange", rule, true);
    }
}

fn descriptor(fields: &[Node<'_>], walk: &mut Walk) {
    let (block, segment) = (get(fields, "BlockSize"), get(fields, "SegmentSize"));
    let truncated_sha512 = 4;
    if get(fields, "HashAlgorithm") == truncated_sha512 && segment > LARGEST_BLOCK {
        let rule = format!("{segment}, where a segment of version 2.0 has {LARGEST_BLOCK} at most");
        walk.broken(offset(fields, "SegmentSize"), "SegmentSize", rule, false);
    }
    let count = if block == 0 { 0 } else { segment.div_ceil(block) };
    if !(1..=u64::from(MAX_BLOCKS_PER_SEGMENT)).contains(&count) || block.min(segment) > LARGEST_BLOCK {
        let rule = format!("blocks of {block} bytes in a segment of {segment}");
        walk.broken(offset(fields, "BlockSize"), "BlockSize", rule, false);
    }
}

/// The hash of version 1 content information.
fn algorithm_1(value: u64) -> Option<HashAlgorithm> {
    hash_size(value)?;
    match tables::HASH_ALGO_1.name_of(value)? {
        "SHA-384" => Some(HashAlgorithm::Sha384),
        "SHA-512" => Some(HashAlgorithm::Sha512),
        _ => Some(HashAlgorithm::Sha256),
    }
}
