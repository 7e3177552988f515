//! Content information ([MS-PCCRC]): what a content server says of a content instead of sending it.

mod block;
mod chunker;
mod hasher;
mod ids;
mod information;
mod offered;
mod ranges;
pub mod secret_file;
mod segment;
pub mod v1;
pub mod v2;

pub use block::{
    AES_IV_SIZE, BLOCK_SIZE_V1, BlockCheck, CryptoAlgoId, EncryptedBlock, MAX_BLOCK_SIZE, OpenError, Opened,
    VerifiedBlock, WrongHash,
};
pub use chunker::CHUNKER;
pub use hasher::{Assembler, Buffer, HashError, HashOptions, Hashed, Hasher, Piece, PieceHashes, Splitter};
pub use ids::{HashedServerSecret, ParseSegmentIdError, SegmentHashOfData, SegmentId, SegmentSecret, ServerSecret};
pub use information::{
    ContentInformation, ContentVersion, MAX_CONTENT_INFORMATION_SIZE, MAX_CONTENT_LENGTH, ParseContentVersionError,
    ParseError, RangeError,
};
pub use offered::OfferedSegment;
pub use ranges::{BlockIndex, BlockRange, BlockRanges, MAX_BLOCKS_PER_SEGMENT};
pub use segment::Segment;
