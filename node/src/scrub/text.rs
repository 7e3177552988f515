//! Texts that may be seen: each only in the form that the documents give it, written as we write it.

use super::names::Names;

/// What stands in the place of a list's element that nobody knows.
const OTHER: &str = "other";
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT"];
/// Content codings (RFC 9110 8.4.1 and the registry).
const CODINGS: [&str; 12] =
    ["peerdist", "gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd", "dcb", "dcz", "identity", "*"];
/// [MS-PCCRD] 2.2.1 and the roles of WS-Addressing.
const TO: [&str; 2] =
    ["urn:schemas-xmlsoap-org:ws:2005:04:discovery", "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"];
const ACTIONS: [&str; 2] = [
    "http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe",
    "http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches",
];
const RULES: [&str; 2] = [
    "http://schemas.xmlsoap.org/ws/2005/04/discovery/strcmp0",
    "http://schemas.microsoft.com/p2p/2010/05/PeerDistV2MatchingRule",
];
const TYPES: [&str; 2] = ["PeerDistData", "PeerDistDataV2"];

/// What becomes of the text of a field. None where it has another form than is due: the message is left out.
pub(super) fn rewritten(names: &mut Names, name: &str, text: &str) -> Option<String> {
    Some(match name {
        "MessageID" | "RelatesTo" | "Address" => names.uuid(text),
        "XAddrs" => names.addresses(text),
        "To" => TO.into_iter().find(|known| *known == text).unwrap_or("urn:other").to_owned(),
        "Action" => ACTIONS.into_iter().find(|known| *known == text)?.to_owned(),
        "MatchBy" => RULES.into_iter().find(|known| *known == text)?.to_owned(),
        "Types" => types(text)?,
        "Target" | "Host" | "ETag" | "If-Match" | "If-None-Match" | "If-Range" | "If-Modified-Since"
        | "Last-Modified" => names.http(name, text),
        "Method" => METHODS.into_iter().find(|known| *known == text)?.to_owned(),
        "Accept-Encoding" | "Content-Encoding" => codings(text),
        "Range" => ranges(text)?,
        "Content-Range" => content_range(text)?,
        "Content-Length" => number(text)?.to_owned(),
        "Version" | "MinContentInformation" | "MaxContentInformation" => version(text)?,
        "MissingDataRequest" | "MakeHashRequest" | "HashRequest" => {
            ["true", "false"].into_iter().find(|known| known.eq_ignore_ascii_case(text))?.to_owned()
        }
        // ContentLength and the numbers of datagrams, too: as text they are none.
        _ => return None,
    })
}

/// The types of BranchCache, whatever their prefix; others are left out.
fn types(text: &str) -> Option<String> {
    let local = |token: &str| {
        let name = token.rsplit(':').next()?;
        let known = TYPES.into_iter().find(|known| *known == name)?;
        Some(format!("PeerDist:{known}"))
    };
    let known: Vec<_> = text.split([' ', '\t', '\r', '\n']).filter_map(local).collect();
    (!known.is_empty()).then(|| known.join(" "))
}

fn codings(text: &str) -> String {
    let one = |element: &str| {
        let (coding, weight) = match element.split_once(';') {
            Some((coding, parameter)) => (trim(coding), Some(weight(parameter)?)),
            None => (trim(element), None),
        };
        let known = CODINGS.into_iter().find(|known| known.eq_ignore_ascii_case(coding))?;
        Some(weight.map_or_else(|| known.to_owned(), |weight| format!("{known};q={weight}")))
    };
    let codings = text.split(',').map(|element| one(element).unwrap_or_else(|| OTHER.to_owned()));
    codings.collect::<Vec<_>>().join(", ")
}

/// RFC 9110 12.4.2.
fn weight(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    let value = trim(value);
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_good = ["0", "1"].contains(&whole) && fraction.len() <= 3 && is_digits(fraction);
    (trim(name).eq_ignore_ascii_case("q") && is_good).then_some(value)
}

fn ranges(text: &str) -> Option<String> {
    let (unit, list) = text.split_once('=')?;
    let one = |range: &str| {
        let (first, last) = range.split_once('-')?;
        match (trim(first), trim(last)) {
            ("", "") => None,
            ("", last) => Some(format!("-{}", number(last)?)),
            (first, "") => Some(format!("{}-", number(first)?)),
            (first, last) => Some(format!("{}-{}", number(first)?, number(last)?)),
        }
    };
    let ranges = list.split(',').map(one).collect::<Option<Vec<_>>>()?;
    trim(unit).eq_ignore_ascii_case("bytes").then(|| format!("bytes={}", ranges.join(",")))
}

fn content_range(text: &str) -> Option<String> {
    let (unit, rest) = trim(text).split_once(' ')?;
    let (range, total) = rest.split_once('/')?;
    let total = Some(trim(total)).filter(|total| *total == "*" || number(total).is_some())?;
    let range = match trim(range) {
        // None could be satisfied.
        "*" => "*".to_owned(),
        range => {
            let (first, last) = range.split_once('-')?;
            format!("{}-{}", number(first)?, number(last)?)
        }
    };
    unit.eq_ignore_ascii_case("bytes").then(|| format!("bytes {range}/{total}"))
}

fn version(text: &str) -> Option<String> {
    let (major, minor) = text.split_once('.')?;
    let one = |part: &str| number(part)?.parse::<u32>().ok();
    Some(format!("{}.{}", one(major)?, one(minor)?))
}

/// Digits of a number that fits 64 bits.
fn number(text: &str) -> Option<&str> {
    let text = trim(text);
    (!text.is_empty() && text.len() <= 19 && is_digits(text)).then_some(text)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Without the white space around the value of a header (RFC 9110 5.6.3).
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
