//! The tables, one file per document.

mod content;
mod hosted_cache;
mod retrieval;

pub use content::{CONTENT_INFORMATION_1, CONTENT_INFORMATION_2, HASH_ALGO_1, HASH_ALGO_2, SEGMENT_INFORMATION};
pub use hosted_cache::{BATCHED_OFFER_MESSAGE, INITIAL_OFFER_MESSAGE, RESPONSE_MESSAGE, SEGMENT_INFO_MESSAGE};
pub use retrieval::{
    CRYPTO_ALGO_ID, EXTENSIBLE_BLOB, MSG_BLK, MSG_BLKLIST, MSG_GETBLKLIST, MSG_GETBLKS, MSG_GETSEGLIST, MSG_NEGO_REQ,
    MSG_NEGO_RESP, MSG_SEGLIST, MSG_TYPE,
};

use super::Structure;

/// Every message and content information, in the order of the documents.
pub static ALL: [&Structure; 15] = [
    &CONTENT_INFORMATION_1,
    &CONTENT_INFORMATION_2,
    &MSG_NEGO_REQ,
    &MSG_NEGO_RESP,
    &MSG_GETBLKLIST,
    &MSG_GETBLKS,
    &MSG_BLKLIST,
    &MSG_BLK,
    &MSG_GETSEGLIST,
    &MSG_SEGLIST,
    &INITIAL_OFFER_MESSAGE,
    &SEGMENT_INFO_MESSAGE,
    &BATCHED_OFFER_MESSAGE,
    &RESPONSE_MESSAGE,
    &EXTENSIBLE_BLOB,
];
