//! The headers of MS-PCCRTP, which are text, as trees.

use std::borrow::Cow;

use super::{ComposeError, Fault, Node, Tree, Value};
use crate::http::{Ask, Asked, CONTENT_CODING, ContentVersions, NoOffer, PEERDIST, PEERDIST_EX, ResponseFault};
use crate::http::{read_request, read_response, trim};

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

/// Reads a head whose bytes are these, with its header lines, each with its offset in the head. None where it has
/// nothing of MS-PCCRTP.
#[must_use]
pub fn dissect_headers<'a>(
    head: Headers<'a>,
    lines: &[(usize, &'a str, &'a str)],
    bytes: &'a [u8],
) -> Option<Tree<'a>> {
    let has = |name: &str| lines.iter().any(|(_, line, _)| line.eq_ignore_ascii_case(name));
    let names_coding = |name: &str| {
        let values = lines.iter().filter(|(_, line, _)| line.eq_ignore_ascii_case(name));
        let mut tokens = values.flat_map(|(.., value)| value.split(','));
        tokens.any(|token| trim(token.split(';').next().unwrap_or_default()).eq_ignore_ascii_case(CONTENT_CODING))
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
    Some(Tree { name, protocol: DOCUMENT, section: "2.2", size: bytes.len(), bytes, fields, faults })
}

/// The names of all fields.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ["Method", "Target", "Status", PEERDIST, PEERDIST_EX].into_iter().chain(SHOWN_HEADERS).chain(HEADER_PARAMETERS)
}

/// Writes a head: header lines in the order of the fields, nothing that is not among them.
pub(super) fn compose(name: &'static str, values: &[Node<'_>]) -> Result<Vec<u8>, ComposeError> {
    let start: &[&str] = if name == "request" { &["Method", "Target"] } else { &["Status"] };
    let mut parts = Vec::new();
    for field in start {
        let mut given = values.iter().filter(|value| value.name == *field);
        let value = given.next().ok_or_else(|| ComposeError::Missing { field: (*field).to_owned() })?;
        if given.next().is_some() {
            return Err(ComposeError::Repeated { field: (*field).to_owned() });
        }
        parts.push(plain(value, field)?);
    }
    let mut out = match parts.as_slice() {
        [method, target] => format!("{method} {target} HTTP/1.1\r\n"),
        parts => {
            let status = parts.concat();
            format!("HTTP/1.1 {status} {}\r\n", reason(&status))
        }
    };
    for value in values.iter().filter(|value| !start.contains(&value.name)) {
        let field = value.name;
        if !SHOWN_HEADERS.contains(&field) && ![PEERDIST, PEERDIST_EX].contains(&field) {
            return Err(ComposeError::Unknown { structure: name, field: field.to_owned() });
        }
        let text = match &value.value {
            Value::Record(parameters) if !SHOWN_HEADERS.contains(&field) => {
                let one = |parameter: &Node<'_>| {
                    let path = format!("{field}.{}", parameter.name);
                    if !HEADER_PARAMETERS.contains(&parameter.name) {
                        return Err(ComposeError::Unknown { structure: field, field: path });
                    }
                    Ok(format!("{}={}", parameter.name, plain(parameter, &path)?))
                };
                parameters.iter().map(one).collect::<Result<Vec<_>, _>>()?.join(", ")
            }
            _ => plain(value, field)?,
        };
        out.push_str(&format!("{field}: {text}\r\n"));
    }
    out.push_str("\r\n");
    Ok(out.into_bytes())
}

/// Text or a number as text.
pub(super) fn plain(value: &Node<'_>, path: &str) -> Result<String, ComposeError> {
    match &value.value {
        Value::Text(text) => Ok(text.to_string()),
        Value::Integer(number) => Ok(number.to_string()),
        _ => Err(ComposeError::Kind { field: path.to_owned(), due: "text" }),
    }
}

/// What stands behind a status that the protocols know.
fn reason(status: &str) -> &'static str {
    match status {
        "200" => "OK",
        "206" => "Partial Content",
        "304" => "Not Modified",
        "400" => "Bad Request",
        "404" => "Not Found",
        "416" => "Range Not Satisfiable",
        "500" => "Internal Server Error",
        "503" => "Service Unavailable",
        _ => "",
    }
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
        let known = HEADER_PARAMETERS.into_iter().find(|known| known.eq_ignore_ascii_case(trim(name)))?;
        let value = match (known, trim(value).parse()) {
            ("ContentLength", Ok(length)) => Value::Integer(length),
            _ => Value::Text(Cow::Borrowed(trim(value))),
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
