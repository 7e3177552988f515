//! What changes in headers on their way through the reverse proxy (RFC 9110 7.6).

use std::net::SocketAddr;

use hyper::HeaderMap;
use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, EXPECT, HOST, HeaderName, HeaderValue, LOCATION, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use peerdist_protocol::http::{Ask, CONTENT_CODING, PEERDIST, PEERDIST_EX};
use reqwest::Url;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers of the request to the upstream server.
///
/// An offer, and a request for missing data, become requests for identity: nothing else is ever described. Nobody
/// upstream hears of `peerdist`: two servers that describe the same content would contradict each other.
pub(super) fn request_headers(received: &HeaderMap, ask: &Ask, peer: SocketAddr) -> HeaderMap {
    let mut headers = end_to_end(received);
    let host = headers.remove(HOST);
    // Our own side has answered it already.
    headers.remove(EXPECT);
    match ask {
        Ask::Offer(_) | Ask::MissingData => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        Ask::Nothing(_) => without_our_coding(&mut headers),
    }
    headers.append(VIA, HeaderValue::from_static("1.1 peerdist"));
    if let Ok(peer) = HeaderValue::try_from(peer.ip().to_string()) {
        headers.append(X_FORWARDED_FOR, peer);
    }
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
    headers
}

/// The headers of the response to the client. `upstream` is what paths are appended to.
pub(super) fn response_headers(received: &HeaderMap, upstream: &Url) -> HeaderMap {
    let mut headers = end_to_end(received);
    // A redirection within the upstream server stays within this one.
    let local = headers.get(LOCATION).and_then(|location| {
        let path = location.to_str().ok()?.strip_prefix(upstream.as_str().trim_end_matches('/'))?;
        let path = if path.is_empty() { "/" } else { path };
        if path.starts_with('/') { HeaderValue::from_str(path).ok() } else { None }
    });
    if let Some(local) = local {
        headers.insert(LOCATION, local);
    }
    headers
}

/// All headers that are not about one connection, and not about `peerdist`.
fn end_to_end(received: &HeaderMap) -> HeaderMap {
    let mut headers = received.clone();
    let named: Vec<HeaderName> = received
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
    headers.remove(PEERDIST);
    headers.remove(PEERDIST_EX);
    headers
}

/// Takes `peerdist` out of `Accept-Encoding` and leaves the rest to the upstream server.
fn without_our_coding(headers: &mut HeaderMap) {
    let is_ours = |element: &str| {
        let coding = element.split_once(';').map_or(element, |(coding, _)| coding);
        coding.trim().eq_ignore_ascii_case(CONTENT_CODING)
    };
    let lines: Vec<String> =
        headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    let all: Vec<&str> = lines.iter().flat_map(|line| line.split(',')).map(str::trim).collect();
    let others: Vec<&str> = all.iter().copied().filter(|element| !is_ours(element)).collect();
    if others.len() == all.len() {
        return;
    }
    let rest = if others.is_empty() { "identity".to_owned() } else { others.join(", ") };
    if let Ok(rest) = HeaderValue::try_from(rest) {
        headers.insert(ACCEPT_ENCODING, rest);
    }
}

#[cfg(test)]
mod tests {
    use peerdist_protocol::http::NoOffer;

    use super::*;

    const NOTHING: Ask = Ask::Nothing(NoOffer::NotOffered);

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn forwarded(lines: &[(&'static str, &'static str)], ask: &Ask) -> HeaderMap {
        request_headers(&headers(lines), ask, "192.0.2.1:5".parse().unwrap())
    }

    fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn only_end_to_end_headers_go_upstream() {
        let sent = forwarded(
            &[
                ("connection", "keep-alive, X-Private"),
                ("keep-alive", "timeout=5"),
                ("x-private", "1"),
                ("transfer-encoding", "chunked"),
                ("te", "trailers"),
                ("upgrade", "websocket"),
                ("proxy-authorization", "x"),
                ("expect", "100-continue"),
                ("x-p2p-peerdist", "Version=1.1"),
                ("x-p2p-peerdistex", "HashRequest=true"),
                ("host", "files.example"),
                ("authorization", "Basic eA=="),
                ("range", "bytes=0-1"),
                ("if-range", "\"a\""),
                ("x-forwarded-for", "198.51.100.7"),
            ],
            &NOTHING,
        );
        let mut names: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["authorization", "if-range", "range", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]
        );
        assert_eq!(value(&sent, "x-forwarded-host"), Some("files.example"));
        let hops: Vec<_> = sent.get_all("x-forwarded-for").iter().collect();
        assert_eq!(hops, ["198.51.100.7", "192.0.2.1"]);
    }

    #[test]
    fn content_codings_upstream() {
        let accepted = |value: &'static str, ask: &Ask| {
            forwarded(&[("accept-encoding", value)], ask).get(ACCEPT_ENCODING).map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(accepted("gzip, br;q=0.5", &NOTHING).as_deref(), Some("gzip, br;q=0.5"));
        assert_eq!(accepted("gzip, PeerDist;q=1, br", &NOTHING).as_deref(), Some("gzip, br"));
        assert_eq!(accepted("peerdist", &NOTHING).as_deref(), Some("identity"));
        assert_eq!(accepted("gzip", &Ask::MissingData).as_deref(), Some("identity"));
        assert_eq!(value(&forwarded(&[], &NOTHING), "accept-encoding"), None);
        assert_eq!(value(&forwarded(&[], &Ask::MissingData), "accept-encoding"), Some("identity"));
    }

    #[test]
    fn redirections_stay_here() {
        let upstream = "http://10.0.0.1:8080/base/".parse().unwrap();
        let location = |to: &'static str| {
            value(&response_headers(&headers(&[("location", to)]), &upstream), "location").map(str::to_owned)
        };
        for (to, expected) in [
            ("http://10.0.0.1:8080/base/a?b", "/a?b"),
            ("http://10.0.0.1:8080/base", "/"),
            ("http://10.0.0.1:8080/basement", "http://10.0.0.1:8080/basement"),
            ("https://elsewhere.example/", "https://elsewhere.example/"),
            ("/relative", "/relative"),
        ] {
            assert_eq!(location(to).as_deref(), Some(expected), "{to}");
        }
    }

    #[test]
    fn responses_lose_what_is_about_the_connection_or_about_peerdist() {
        let upstream = "http://10.0.0.1/".parse().unwrap();
        let sent = response_headers(
            &headers(&[
                ("connection", "close"),
                ("transfer-encoding", "chunked"),
                ("trailer", "x"),
                ("x-p2p-peerdist", "Version=1.1"),
                ("etag", "\"a\""),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
            ]),
            &upstream,
        );
        assert_eq!(sent.len(), 3);
        assert_eq!(sent.get_all("set-cookie").iter().count(), 2);
    }
}
