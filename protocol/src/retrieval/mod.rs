//! Retrieval ([MS-PCCRR]): the eight messages by which a peer asks another for blocks.
//!
//! A request travels as the body of an HTTP POST to [`PATH`], its response as the body of the answer, prefixed with
//! TRANSPORT_RESPONSE_HEADER. The client's side is an [`Exchange`], which takes the answer's bytes and yields an
//! [`Answer`] or a reason to reject. The server's side is [`decide`], which yields a finished reply, a [`Lookup`] or a
//! reason to discard.

mod blob;
mod decide;
mod exchange;
mod header;
mod request;
mod response;
mod tail;
mod version;

pub use blob::{AgeUnits, BlobError, EncodedSegmentAge, ExtensibleBlob, MAX_ENCODED_AGE};
pub use decide::{BlockListLookup, BlockLookup, Decision, Lookup, SegmentListLookup, decide};
pub use exchange::{Answer, Exchange, Rejection, TooManySegmentIds};
pub use header::{MAX_BLOCK_RANGES, MESSAGE_HEADER_SIZE, MessageError, MessageType, TRANSPORT_HEADER_SIZE};
pub use request::{
    GetBlkList, GetBlks, GetSegList, MAX_SEGMENT_IDS, Request, RequestId, RequestMessage, RequestedRange,
};
pub use response::{Blk, BlkList, MAX_SEGMENT_RANGES, Response, ResponseMessage, SegList, SegmentRange};
pub use tail::{BlkTail, TailError, blk_head, empty_blk, tail_size};
pub use version::{ProtocolVersion, VersionRange};

/// The path of the retrieval URL ([MS-PCCRR] 2.1.1), in the case that is sent.
pub const PATH: &str = "/116B50EB-ECE2-41ac-8429-9F9E963361B7/";

/// The largest request message in bytes ([MS-PCCRR] 2.2.3).
pub const MAX_REQUEST_SIZE: usize = 98_304;
/// The largest response message in bytes, without TRANSPORT_RESPONSE_HEADER ([MS-PCCRR] 2.2.3).
pub const MAX_RESPONSE_SIZE: usize = 393_216;

/// Whether a request path is the retrieval path: [`PATH`] in any case, with or without its last slash.
#[must_use]
pub fn is_path(path: &str) -> bool {
    let bare = |path: &'_ str| path.len() - usize::from(path.ends_with('/'));
    let [path, own] = [path, PATH].map(|path| path.as_bytes().get(..bare(path)).unwrap_or_default());
    path.eq_ignore_ascii_case(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_in_any_case_with_or_without_its_slash() {
        for path in [PATH, &PATH.to_lowercase(), &PATH.to_uppercase(), &PATH[..PATH.len() - 1]] {
            assert!(is_path(path), "{path}");
        }
        for path in ["", "/", &format!("{PATH}/"), &PATH[1..], "/116B50EB-ECE2-41ac-8429-9F9E963361B8/"] {
            assert!(!is_path(path), "{path}");
        }
    }
}
