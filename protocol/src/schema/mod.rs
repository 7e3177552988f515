//! The structures of the documents as data, and two interpreters over it.
//!
//! A table ([`Structure`]) has the fields of one structure under the document's names, with their kinds and rules.
//! [`dissect`] reads bytes along a table into a [`Tree`]: a malformed message is shown as far as it goes, with the
//! offset and the rule that is broken. [`compose`] writes values along a table into bytes: sizes and counts may be left
//! out, or given wrong on purpose. `compose` of `dissect` gives the same bytes, whatever they are.
//!
//! The codecs of the document modules know nothing of this; a test (`tests/schema.rs`) holds the two to each other.
//! MS-PCCRD is XML and MS-PCCRTP is text, so they have no tables but give the same trees: [`dissect_datagram`],
//! [`dissect_headers`]. A [`Form`] composes these, too, in the one way in which we write them; [`Tree::raw`] has the
//! bytes of a message that was written in another.

mod check;
mod compose;
mod datagram;
mod dissect;
mod form;
mod headers;
mod path;
mod recognise;
mod table;
pub mod tables;
mod tree;

pub use compose::{ComposeError, MAX_COMPOSED_SIZE, compose};
pub use datagram::{DATAGRAM_ELEMENTS, dissect_datagram};
pub use dissect::{MAX_FAULTS, dissect};
pub use form::{Form, known_name};
pub use headers::{HEADER_PARAMETERS, Headers, SHOWN_HEADERS, dissect_headers};
pub use recognise::{by_name, recognise, request_at, response_at};
pub use table::{
    Check, Constant, Count, Enumeration, Extent, Field, Kind, Order, Presence, Region, Rule, Shown, Structure,
};
pub use tree::{Fault, Node, REST, Tree, Value};

/// ProtVer and its like as text: `major.minor`, where the upper half of the number is the minor number.
#[must_use]
pub fn version_text(value: u64) -> String {
    format!("{}.{}", value & 0xffff, value >> 16)
}

/// The size of the hashes of version 1 content information in bytes, by dwHashAlgo.
fn hash_size(value: u64) -> Option<usize> {
    tables::HASH_ALGO_1.name_of(value).map(|name| match name {
        "SHA-384" => 48,
        "SHA-512" => 64,
        _ => 32,
    })
}
