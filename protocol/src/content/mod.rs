//! Content information ([MS-PCCRC]): what a content server says of a content instead of sending it.

mod block;
mod ids;
mod ranges;
pub mod secret_file;

pub use block::{
    AES_IV_SIZE, BLOCK_SIZE_V1, BlockCheck, CryptoAlgoId, EncryptedBlock, MAX_BLOCK_SIZE, OpenError, Opened,
    VerifiedBlock, WrongHash,
};
pub use ids::{ParseSegmentIdError, SegmentHashOfData, SegmentId, SegmentSecret, ServerSecret};
pub use ranges::{BlockIndex, BlockRange, BlockRanges, MAX_BLOCKS_PER_SEGMENT};
