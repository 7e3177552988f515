//! What travelled in TLS, without what TLS hid: segment secrets, hashes, and everything that is not known to be harmless.

use peerdist_protocol::hosted_cache::Response;
use peerdist_protocol::schema::request_at;

use crate::scrub;

/// Headers whose values stay.
const HARMLESS: [&[u8]; 8] =
    [b"host", b"content-length", b"content-type", b"transfer-encoding", b"connection", b"date", b"server", b"expect"];

/// The bytes of a turn, of which `size` came, as they may be seen, and whether these are others. Their number stays.
pub(super) fn hide(bytes: &[u8], size: usize) -> (Vec<u8>, bool) {
    let head_size = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
    let (head, body) = bytes.split_at_checked(head_size).unwrap_or((bytes, &[]));
    let mut shown = hide_values(head);
    // A message whose end is missing shows nothing.
    let is_whole = bytes.len() == size && head_size > 0;
    match blank(head, body).filter(|_| is_whole) {
        Some(blank) => shown.extend_from_slice(&blank),
        None => shown.resize(bytes.len(), 0),
    }
    let has_changed = shown != bytes;
    (shown, has_changed)
}

/// The body of an offer or of an answer to one, without secrets.
fn blank(head: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let start = std::str::from_utf8(head).ok()?.lines().next()?;
    if start.starts_with("HTTP/") {
        return (body.is_empty() || Response::parse(body).is_ok()).then(|| body.to_vec());
    }
    let path = start.strip_prefix("POST ")?.split(' ').next()?;
    scrub::blank(request_at(path, body)?, body)
}

/// A head with asterisks for the values of headers that may say anything.
fn hide_values(head: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(head.len());
    for (number, line) in head.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let name = line.iter().position(|byte| *byte == b':');
        let name = name.and_then(|at| line.get(..at)).unwrap_or_default();
        let is_harmless = number == 0 || HARMLESS.iter().any(|known| known.eq_ignore_ascii_case(name));
        let stays = |at: usize, byte: u8| is_harmless || at <= name.len() || b" \r\n".contains(&byte);
        shown.extend(line.iter().enumerate().map(|(at, byte)| if stays(at, *byte) { *byte } else { b'*' }));
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn text(bytes: &[u8]) -> (String, bool) {
        let (shown, has_changed) = hide(bytes, bytes.len());
        assert_eq!(shown.len(), bytes.len());
        (String::from_utf8(shown).unwrap(), has_changed)
    }

    #[test]
    fn values_of_unknown_headers_are_hidden() {
        let head = b"POST /x HTTP/1.1\r\nHost: hc\r\nAuthorization: Basic c2Vj\r\nContent-Length: 0\r\n\r\n";
        let (shown, has_changed) = text(head);
        assert!(has_changed);
        assert_eq!(shown, "POST /x HTTP/1.1\r\nHost: hc\r\nAuthorization: ***** ****\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn answers_stay_and_other_bodies_do_not() {
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0\0\0\x01\x01";
        assert_eq!(hide(ok, ok.len()), (ok.to_vec(), false));
        let page = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert!(text(page).0.ends_with("\r\n\r\n\0\0\0\0\0"));
        assert_eq!(text(b"anything"), ("\0".repeat(8), true));
    }

    #[test]
    fn what_is_cut_off_or_malformed_shows_nothing() {
        let head = "POST /0131501b-d67f-491b-9a40-c4bf27bcb4d4 HTTP/1.1\r\nContent-Length: 8\r\n\r\n";
        let bytes = [head.as_bytes(), b"\0\x01\0\x02abcd"].concat();
        let (shown, _) = hide(&bytes, bytes.len());
        assert_eq!(shown, [head.as_bytes(), &[0; 8]].concat());
        let (shown, _) = hide(&bytes, bytes.len() + 1);
        assert_eq!(shown, [head.as_bytes(), &[0; 8]].concat());
    }
}
