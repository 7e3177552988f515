//! The `peerdist` content coding of HTTP ([MS-PCCRTP]) as pure functions: header lists in, decisions out.
//!
//! Headers are `(name, value)` pairs of text, in the order of the message and in any letter case; repeated lines stand
//! there repeatedly. Nothing here performs I/O, and nothing here fails a request: whatever is wrong with the
//! extension's headers makes a server answer as if they were absent, and makes a client ask again without them.
//!
//! | side | functions |
//! |---|---|
//! | server | [`read_request`], [`may_encode`], [`Offer::answer_headers`], [`Offer::try_later_headers`], [`VARY`] |
//! | client | [`offer_headers`], [`missing_data_headers`], [`read_response`], [`Announced::accept`], [`read_missing_data`] |
//! | both | [`ByteRangeSet`], [`ContentRange`], [`Validators`] |

mod client;
mod headers;
mod params;
mod range;
mod server;
mod validators;

pub use client::{
    Announced, Asked, MissingData, MissingDataFault, Received, ResponseFault, missing_data_headers, offer_headers,
    plain_headers, read_missing_data, read_response,
};
pub(crate) use headers::trim;
pub use headers::{MAX_HEADER_ELEMENTS, MAX_HEADER_SIZE};
pub use params::{ContentVersions, PeerDistVersion};
pub use range::{ByteRange, ByteRangeSet, ContentRange, MAX_BYTE_RANGES, Resolved};
pub use server::{Ask, NoOffer, Offer, Representation, Unsuitable, may_encode, read_request};
pub use validators::{EntityTag, Validators};

/// The name of the content coding ([MS-PCCRTP] 2.2), as it is emitted. It is recognised in any letter case.
pub const CONTENT_CODING: &str = "peerdist";
/// The header of versions, content length and missing data ([MS-PCCRTP] 2.2), in requests and responses.
pub const PEERDIST: &str = "X-P2P-PeerDist";
/// The header of content information versions and hash requests ([MS-PCCRTP] 2.2), in requests and responses.
pub const PEERDIST_EX: &str = "X-P2P-PeerDistEx";
/// The `Vary` value of every response of a resource that may be sent as content information, identity ones too:
/// otherwise a shared cache hands content information to a client that cannot read it.
pub const VARY: &str = "Accept-Encoding, X-P2P-PeerDist, X-P2P-PeerDistEx";
