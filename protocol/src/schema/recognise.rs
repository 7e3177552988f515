//! Which structure bytes are.

use super::tables::{
    ALL, BATCHED_OFFER_MESSAGE, CONTENT_INFORMATION_1, CONTENT_INFORMATION_2, INITIAL_OFFER_MESSAGE, MSG_BLK,
    MSG_BLKLIST, MSG_GETBLKLIST, MSG_GETBLKS, MSG_GETSEGLIST, MSG_NEGO_REQ, MSG_NEGO_RESP, MSG_SEGLIST,
    RESPONSE_MESSAGE, SEGMENT_INFO_MESSAGE,
};
use super::{Structure, dissect};
use crate::hosted_cache::Version;
use crate::retrieval::is_path;
use crate::wire::Reader;

/// The most bytes that are looked at where two structures are possible.
const LOOKED_AT: usize = 1 << 16;

/// The structure of this name, in any letter case.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Structure> {
    ALL.into_iter().find(|structure| structure.name.eq_ignore_ascii_case(name))
}

/// Which structure these bytes are, bare and without anything that says so; none where they are no binary one. Where
/// several are possible, the one that breaks the fewest rules.
#[must_use]
pub fn recognise(bytes: &[u8]) -> Option<&'static Structure> {
    let candidates = [
        plausible_type(bytes).and_then(request),
        bytes.get(4..).and_then(|message| plausible_type(message).and_then(response)),
        content_information(bytes),
        offer(bytes),
        matches!(bytes, [0, 0, 0, 1, _]).then_some(&RESPONSE_MESSAGE),
    ];
    let looked_at = bytes.get(..LOOKED_AT).unwrap_or(bytes);
    let faults = |structure: &&'static Structure| {
        dissect(structure, looked_at).faults.iter().filter(|fault| !fault.tolerated).count()
    };
    candidates.into_iter().flatten().min_by_key(faults)
}

/// What the body of a POST to a path is; none where the path is none of the protocols'. A type that the protocol does
/// not have is taken for the first one, which then names the fault.
#[must_use]
pub fn request_at(path: &str, body: &[u8]) -> Option<&'static Structure> {
    if is_path(path) {
        let known = message_type(body).and_then(|value| request(value).or_else(|| response(value)));
        return Some(known.unwrap_or(&MSG_NEGO_REQ));
    }
    let known = || offer_type(body);
    Some(match Version::of_path(path)? {
        // At the path of version 2.0 it has no business, but a segment secret.
        Version::V1 | Version::V2 if known() == Some(2) => &SEGMENT_INFO_MESSAGE,
        Version::V1 => &INITIAL_OFFER_MESSAGE,
        Version::V2 => &BATCHED_OFFER_MESSAGE,
    })
}

/// What the body of the answer to a POST to a path is.
#[must_use]
pub fn response_at(path: &str, body: &[u8]) -> Option<&'static Structure> {
    if is_path(path) {
        let known = body.get(4..).and_then(message_type).and_then(|value| response(value).or_else(|| request(value)));
        return Some(known.unwrap_or(&MSG_NEGO_RESP));
    }
    Version::of_path(path).map(|_| &RESPONSE_MESSAGE)
}

fn request(message_type: u32) -> Option<&'static Structure> {
    Some(match message_type {
        0 => &MSG_NEGO_REQ,
        2 => &MSG_GETBLKLIST,
        3 => &MSG_GETBLKS,
        6 => &MSG_GETSEGLIST,
        _ => return None,
    })
}

fn response(message_type: u32) -> Option<&'static Structure> {
    Some(match message_type {
        1 => &MSG_NEGO_RESP,
        4 => &MSG_BLKLIST,
        5 => &MSG_BLK,
        7 => &MSG_SEGLIST,
        _ => return None,
    })
}

/// MsgType of a MESSAGE_HEADER.
fn message_type(message: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(message);
    reader.u32_be().ok()?;
    reader.u32_be().ok()
}

/// The same where the version before it could be one, or the size behind it is right.
fn plausible_type(message: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(message);
    let (minor, major) = (reader.u16_be().ok()?, reader.u16_be().ok()?);
    let message_type = reader.u32_be().ok()?;
    let is_version = minor == 0 && (1..16).contains(&major);
    let is_size = reader.u32_be().is_ok_and(|size| size as usize == message.len());
    (message_type <= 7 && (is_version || is_size)).then_some(message_type)
}

fn content_information(bytes: &[u8]) -> Option<&'static Structure> {
    match *bytes {
        [0, 1, _, 0x80, 0, 0, ..] => Some(&CONTENT_INFORMATION_1),
        [0, 2, 1 | 4, ..] => Some(&CONTENT_INFORMATION_2),
        _ => None,
    }
}

fn offer_type(bytes: &[u8]) -> Option<u8> {
    if let [_, _, 0, message_type, ..] = *bytes { Some(message_type) } else { None }
}

fn offer(bytes: &[u8]) -> Option<&'static Structure> {
    match *bytes {
        [0, 1 | 2, 0, 1, ..] => Some(&INITIAL_OFFER_MESSAGE),
        [0, 1 | 2, 0, 2, ..] => Some(&SEGMENT_INFO_MESSAGE),
        [0, 1 | 2, 0, 3, ..] => Some(&BATCHED_OFFER_MESSAGE),
        _ => None,
    }
}
