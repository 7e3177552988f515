//! The headers of MS-PCCRTP, which are text, as trees.

use std::borrow::Cow;

use super::{Fault, Node, Tree, Value};
use crate::http::{Ask, Asked, CONTENT_CODING, ContentVersions, NoOffer, PEERDIST, PEERDIST_EX, ResponseFault};
use crate::http::{read_request, read_response};

const DOCUMENT: &str = "MS-PCCRTP";
/// The headers that are shown beside the protocol's own two.
pub const SHOWN_HEADERS: [&str; 10] = [
    "Host",
    "Accept-Encoding",
    "Content-Encoding",
    "Range",
    "If-Range",
    "If-Match",
    "Content-Range",
    "Content-Length",
    "ETag",
    "Last-Modified",
];
/// The parameters of the protocol's own two headers.
pub const HEADER_PARAMETERS: [&str; 7] = [
    "Version",
    "ContentLength",
    "MissingDataRequest",
    "MinContentInformation",
    "MaxContentInformation",
    "MakeHashRequest",
    "HashRequest",
];

/// The head of an HTTP message.
#[derive(Debug, Clone, Copy)]
pub enum Headers<'a> {
    /// Of a request.
    Request {
        /// GET, as a rule.
        method: &'a str,
        /// What it asks for.
        target: &'a str,
        /// Whether it is HTTP/1.1.
        http_1_1: bool,
    },
    /// Of a response.
    Response {
        /// 200 or 206, as a rule.
        status: u16,
    },
}

/// Reads a head with its header lines, each with its offset in the head. None where it has nothing of MS-PCCRTP.
#[must_use]
pub fn dissect_headers<'a>(head: Headers<'a>, lines: &[(usize, &'a str, &'a str)], size: usize) -> Option<Tree<'a>> {
    let has = |name: &str| lines.iter().any(|(_, line, _)| line.eq_ignore_ascii_case(name));
    let names_coding = |name: &str| {
        let values = lines.iter().filter(|(_, line, _)| line.eq_ignore_ascii_case(name));
        let mut tokens = values.flat_map(|(.., value)| value.split(','));
        tokens.any(|token| token.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(CONTENT_CODING))
    };
    let is_ours =
        has(PEERDIST) || has(PEERDIST_EX) || names_coding("Accept-Encoding") || names_coding("Content-Encoding");
    if !is_ours {
        return None;
    }
    let mut fields = Vec::new();
    let mut first = |name, value| fields.push(Node { name, offset: 0, size: 0, value, field: None });
    match head {
        Headers::Request { method, target, .. } => {
            first("Method", Value::Text(Cow::Borrowed(method)));
            first("Target", Value::Text(Cow::Borrowed(target)));
        }
        Headers::Response { status } => first("Status", Value::Integer(status.into())),
    }
    for &(offset, name, value) in lines {
        let (field, value) = if name.eq_ignore_ascii_case(PEERDIST) {
            (PEERDIST, parameters(offset, value))
        } else if name.eq_ignore_ascii_case(PEERDIST_EX) {
            (PEERDIST_EX, parameters(offset, value))
        } else if let Some(known) = SHOWN_HEADERS.into_iter().find(|known| known.eq_ignore_ascii_case(name)) {
            (known, Value::Text(Cow::Borrowed(value)))
        } else {
            continue;
        };
        // The line's value lies behind its name, a colon and a blank, as a rule.
        fields.push(Node {
            name: field,
            offset,
            size: name.len() + 2 + value_size(&value, lines, offset),
            value,
            field: None,
        });
    }
    let plain: Vec<_> = lines.iter().map(|(_, name, value)| (*name, *value)).collect();
    let name = match head {
        Headers::Request { .. } => "request",
        Headers::Response { .. } => "response",
    };
    let faults = fault(head, &plain, names_coding("Accept-Encoding")).into_iter().collect();
    Some(Tree { name, protocol: DOCUMENT, section: "2.2", size, fields, faults })
}

fn value_size(value: &Value<'_>, lines: &[(usize, &str, &str)], at: usize) -> usize {
    match value {
        Value::Text(text) => text.len(),
        _ => lines.iter().find(|(offset, ..)| *offset == at).map_or(0, |(.., value)| value.len()),
    }
}

fn parameters(offset: usize, value: &str) -> Value<'_> {
    let elements = value.split(',').filter_map(|element| {
        let (name, value) = element.split_once('=').unwrap_or((element, ""));
        let known = HEADER_PARAMETERS.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim()))?;
        let value = match (known, value.trim().parse()) {
            ("ContentLength", Ok(length)) => Value::Integer(length),
            _ => Value::Text(Cow::Borrowed(value.trim())),
        };
        Some(Node { name: known, offset, size: element.len(), value, field: None })
    });
    Value::Record(elements.collect())
}

/// What keeps the other side from taking the extension's headers at their word.
fn fault(head: Headers<'_>, lines: &[(&str, &str)], offers: bool) -> Option<Fault> {
    let (rule, tolerated) = match head {
        Headers::Request { method, http_1_1, .. } => match read_request(method, http_1_1, lines) {
            Ask::MissingData if offers => {
                ("MissingDataRequest together with peerdist in Accept-Encoding".to_owned(), true)
            }
            // Legal, and answered with the content itself.
            Ask::Offer(_)
            | Ask::MissingData
            | Ask::Nothing(NoOffer::NotOffered | NoOffer::Method | NoOffer::Http10) => {
                return None;
            }
            Ask::Nothing(reason) => (reason.to_string(), true),
        },
        Headers::Response { status } => {
            let asked = Asked { range: None, content: ContentVersions::V1AndV2, is_hash_request: false };
            match read_response(&asked, status, lines) {
                // Whether the range was asked for is not known here.
                Ok(_) | Err(ResponseFault::RangeNotAsked(_)) => return None,
                Err(fault) => (fault.to_string(), false),
            }
        }
    };
    let field = PEERDIST.to_owned();
    Some(Fault { offset: 0, field, rule, section: format!("{DOCUMENT} 2.2"), tolerated })
}
