//! The hosted cache protocol ([MS-PCHC]): what clients offer to a hosted cache, which then fetches it from them.
//!
//! An offer travels as the body of an HTTP POST, its [`Response`] as the body of the answer. There is no negotiation:
//! version 1.0 lives at one path and over TLS, version 2.0 at another and in the clear ([`Version`]).
//!
//! A bad offer is rejected in one of two ways. What is not framed as the document says is an [`OfferError`], and gets
//! no answer of this protocol. What is framed well but says what cannot be, such as an unknown hash, is answered with
//! OK and leads to nothing: [`Ignored`].

mod offer;
mod response;
mod tag;
mod timer;
mod version;

pub use offer::{
    BatchedOffer, Ignored, InitialOffer, MAX_SEGMENT_DESCRIPTORS, Offer, OfferError, SegmentDescriptor, SegmentInfo,
};
pub use response::{Response, ResponseError};
pub use tag::ContentTag;
pub use timer::RequestTimer;
pub use version::Version;

/// The largest message in bytes. A segment of version 1.0 with 512 hashes of SHA-512 takes 32,966 ([MS-PCHC] 2.2.1.4).
pub const MAX_MESSAGE_SIZE: usize = 34_816;
