//! Requests answered from another HTTP server.

use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    HeaderMap, HeaderName, HeaderValue, SET_COOKIE, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use peerdist_protocol::http::{self, Ask, ContentRange, Representation, Validators, may_encode, read_request};
use reqwest::{Client, Url, redirect};
use thiserror::Error;
use tokio::time::{Instant, sleep_until};

use super::body::{Body, Meter};
use super::config::ContentServerLimits;
use super::idle::IdleTimer;
use super::kept::ContentKey;
use super::offered::{Answered, describe_headers, header_pairs, try_later_headers};
use super::{Shared, StartError, fetch, forward, plain_response};
use crate::http_client;

/// Idle connections to the upstream server end before its own time limit for them, which is five seconds or more in
/// common servers: a request on a connection that just ends cannot always be repeated.
const UPSTREAM_IDLE: Duration = Duration::from_secs(4);

/// The server behind the reverse proxy.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    base: Url,
    client: Client,
}

impl Upstream {
    pub(super) fn new(url: &Url, limits: &ContentServerLimits) -> Result<Self, StartError> {
        let usable = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
        if !usable || url.fragment().is_some() {
            return Err(StartError::UpstreamUrl { url: url.to_string() });
        }
        let client = http_client::build(|client| {
            client
                .no_proxy()
                .referer(false)
                .redirect(redirect::Policy::none())
                .connect_timeout(limits.upstream_connect)
                .pool_idle_timeout(UPSTREAM_IDLE)
        })
        .map_err(StartError::Client)?;
        Ok(Self { base: url.clone(), client })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The URL behind a request's target: the same path and query below ours. The target never decides about the host.
    fn url_of(&self, target: &Uri) -> Option<Url> {
        let path = target.path_and_query().map(|path| path.as_str()).filter(|path| path.starts_with('/'))?;
        let url: Url = format!("{}{path}", self.base.as_str().trim_end_matches('/')).parse().ok()?;
        // Dot segments were resolved; they must not lead above our own path.
        let base = self.base.path().trim_end_matches('/');
        url.path().strip_prefix(base).is_some_and(|below| below.starts_with('/')).then_some(url)
    }
}

/// Answers a request with what the upstream server has, or with content information of it.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    upstream: &Upstream,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Some(url) = upstream.url_of(&parts.uri).filter(|_| parts.method != Method::CONNECT) else {
        return plain_response(StatusCode::BAD_REQUEST, &shared.counters);
    };
    let is_1_1 = parts.version == Version::HTTP_11;
    let ask = read_request(parts.method.as_str(), is_1_1, &header_pairs(&parts.headers));
    let headers = forward::request_headers(&parts.headers, &ask, peer);
    let limit = shared.config.limits.no_progress;
    match send(upstream, parts.method.clone(), url.clone(), headers, body, limit).await {
        Ok(response) => respond(shared, upstream, &parts, url, ask, response).await,
        Err(SendError::Unreachable(error)) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the upstream server cannot be reached");
            shared.counters.upstream_failures.add(1);
            plain_response(StatusCode::BAD_GATEWAY, &shared.counters)
        }
        Err(SendError::TimedOut) => {
            shared.counters.upstream_timeouts.add(1);
            plain_response(StatusCode::GATEWAY_TIMEOUT, &shared.counters)
        }
    }
}

async fn respond(
    shared: &Arc<Shared>,
    upstream: &Upstream,
    request: &Parts,
    url: Url,
    ask: Ask,
    received: Response<reqwest::Body>,
) -> Response<Body> {
    let status = received.status();
    let mut headers = forward::response_headers(received.headers(), &upstream.base);
    let subject = Subject::of(status, received.headers())
        .filter(|subject| shared.describes(subject.length) && !request.headers.contains_key(AUTHORIZATION));
    if subject.is_some() || status == StatusCode::NOT_MODIFIED {
        headers.append(VARY, HeaderValue::from_static(http::VARY));
    }
    if let (Ask::Offer(offer), Some(subject)) = (ask, subject) {
        let key = subject.key(&url);
        let range = subject.range.clone();
        let hash = fetch::hash(shared.clone(), upstream.clone(), url, subject);
        match shared.answer_offer(&offer, &key, &range, hash).await {
            Answered::Described(body) => {
                describe_headers(&mut headers, &offer, range.end - range.start, &body);
                // Hashing found that it does ranges, and the client will depend on them.
                headers.entry(ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
                shared.counters.content_information_answers.add(1);
                let body = Body::bytes(body, Meter::ContentInformation, &shared.counters);
                return response(status, headers, body);
            }
            Answered::TryLater if try_later_headers(&mut headers, &offer) => shared.counters.make_hash_requests.add(1),
            Answered::TryLater | Answered::Identity => {}
        }
    }
    let meter = shared.meter(&ask);
    let body = Body::upstream(received.into_body(), shared.config.limits.no_progress, meter, &shared.counters);
    response(status, headers, body)
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A content that may be described, as a response to anybody's request shows it.
///
/// What is meant for one user is not: `Cache-Control: private` and `no-store`, cookies that are set, `Vary: *`. A
/// request with `Authorization` is answered with identity besides. Every other request goes upstream itself before
/// content information is given, so that access rules are those of the upstream server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// The whole content's length in bytes.
    pub(super) length: u64,
    range: Range<u64>,
    validators: Validators,
}

impl Subject {
    /// `None` if the response is not one that content information may stand for.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let forbids = lists(headers, CACHE_CONTROL, &["no-store", "private"])
            || lists(headers, VARY, &["*"])
            || lists(headers, ACCEPT_RANGES, &["none"])
            || headers.contains_key(SET_COOKIE);
        if forbids {
            return None;
        }
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let (length, range) = match status {
            StatusCode::PARTIAL_CONTENT => {
                let content_range = ContentRange::parse(text(CONTENT_RANGE)?)?;
                (content_range.total()?, content_range.range())
            }
            _ => {
                let length = text(CONTENT_LENGTH)?.parse().ok()?;
                (length, 0..length)
            }
        };
        let validators = Validators::read(&header_pairs(headers));
        let representation = Representation {
            status: status.as_u16(),
            multipart: text(CONTENT_TYPE)
                .is_some_and(|kind| kind.to_ascii_lowercase().contains("multipart/byteranges")),
            validators: &validators,
            content_encoding: text(CONTENT_ENCODING),
            length: range.end - range.start,
        };
        may_encode(&representation).is_ok().then_some(Self { length, range, validators })
    }

    /// Whether two responses show the same state of the content.
    pub(super) fn is_same_content(&self, other: &Self) -> bool {
        self.length == other.length && self.validators == other.validators
    }

    /// The tag as a condition for a request, if it can be one.
    pub(super) fn strong_tag(&self) -> Option<String> {
        self.validators.etag.as_ref().filter(|tag| !tag.is_weak()).map(ToString::to_string)
    }

    fn key(&self, url: &Url) -> ContentKey {
        let tag = self.validators.etag.as_ref().map(ToString::to_string).unwrap_or_default();
        let date = self.validators.last_modified.as_deref().unwrap_or_default();
        ContentKey {
            resource: url.as_str().as_bytes().into(),
            length: self.length,
            stamp: format!("{tag}\n{date}").into(),
        }
    }
}

/// Whether a list header has one of these words, with or without an argument.
fn lists(headers: &HeaderMap, name: HeaderName, words: &[&str]) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |element| {
            let word = element.split_once('=').map_or(element, |(word, _)| word).trim();
            words.iter().any(|listed| word.eq_ignore_ascii_case(listed))
        },
    )
}

/// Why the upstream server gave no response.
#[derive(Debug, Error)]
enum SendError {
    #[error("the upstream server cannot be reached")]
    Unreachable(#[from] reqwest::Error),
    #[error("the upstream server made no progress within the time limit")]
    TimedOut,
}

/// Sends a request on. The time limit counts from the last byte of the request's body that was taken.
async fn send(
    upstream: &Upstream,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Incoming,
    limit: Duration,
) -> Result<Response<reqwest::Body>, SendError> {
    let progress = Arc::new(Progress(Mutex::new(Instant::now())));
    let mut request = upstream.client.request(method, url).headers(headers);
    if !body.is_end_stream() {
        let body = RequestBody { body, idle: IdleTimer::new(limit), progress: progress.clone() };
        request = request.body(reqwest::Body::wrap(body));
    }
    let mut sending = std::pin::pin!(request.send());
    loop {
        let deadline = progress.last() + limit;
        tokio::select! {
            response = &mut sending => return match response {
                Ok(response) => Ok(response.into()),
                Err(error) if error.is_timeout() => Err(SendError::TimedOut),
                Err(error) => Err(error.into()),
            },
            () = sleep_until(deadline) => {
                if progress.last() + limit <= Instant::now() {
                    return Err(SendError::TimedOut);
                }
            }
        }
    }
}

/// When a request's body last went on.
#[derive(Debug)]
struct Progress(Mutex<Instant>);

impl Progress {
    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A request's body on its way upstream.
#[derive(Debug)]
struct RequestBody {
    body: Incoming,
    idle: IdleTimer,
    progress: Arc<Progress>,
}

/// Why a request's body ended early. The client's fault.
#[derive(Debug, Error)]
enum RequestBodyError {
    #[error("the client broke off")]
    Broken(#[from] hyper::Error),
    #[error("the client made no progress within the time limit")]
    Stalled,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.idle.progress();
                self.progress.now();
                Poll::Ready(frame.map(|frame| Ok(frame?)))
            }
            Poll::Pending => {
                ready!(self.idle.poll_expired(cx));
                Poll::Ready(Some(Err(RequestBodyError::Stalled)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(base: &str) -> Upstream {
        Upstream { base: base.parse().unwrap(), client: Client::new() }
    }

    #[test]
    fn targets_stay_below_the_upstream_url() {
        for (base, target, expected) in [
            ("http://10.0.0.1:8080", "/a%20b?c=d&e", Some("http://10.0.0.1:8080/a%20b?c=d&e")),
            ("http://10.0.0.1/base/", "/a", Some("http://10.0.0.1/base/a")),
            ("http://10.0.0.1/base", "/", Some("http://10.0.0.1/base/")),
            ("http://10.0.0.1/", "//evil.example/a", Some("http://10.0.0.1//evil.example/a")),
            ("http://10.0.0.1/", "http://evil.example/a", Some("http://10.0.0.1/a")),
            ("http://10.0.0.1/base", "/x/../a", Some("http://10.0.0.1/base/a")),
            ("http://10.0.0.1/base", "/../a", None),
            ("http://10.0.0.1/base", "/%2e%2e/a", None),
            ("http://10.0.0.1/base", "/../basement/a", None),
            ("http://10.0.0.1/", "*", None),
            ("http://10.0.0.1/", "evil.example:80", None),
        ] {
            let url = upstream(base).url_of(&target.parse().unwrap());
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{base} {target}");
        }
    }

    #[test]
    fn what_is_for_everybody_may_be_described() {
        let subject = |status: u16, lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            Subject::of(StatusCode::from_u16(status).unwrap(), &headers)
        };
        let (length, tag) = (("content-length", "100"), ("etag", "\"a\""));
        let range = ("content-range", "bytes 10-19/100");
        assert_eq!(subject(200, &[length, tag]).map(|subject| (subject.range, subject.length)), Some((0..100, 100)));
        assert_eq!(subject(206, &[tag, range]).map(|subject| (subject.range, subject.length)), Some((10..20, 100)));
        assert!(subject(200, &[length, ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")]).is_some());
        assert!(subject(200, &[length, tag, ("cache-control", "public, max-age=5")]).is_some());
        assert!(subject(200, &[length, tag, ("vary", "Accept-Encoding")]).is_some());
        for (status, lines) in [
            (200, vec![tag]),
            (200, vec![length]),
            (200, vec![length, ("etag", "W/\"a\"")]),
            (200, vec![length, tag, ("content-encoding", "gzip")]),
            (200, vec![length, tag, ("cache-control", "max-age=5, No-Store")]),
            (200, vec![length, tag, ("cache-control", "private=\"x\"")]),
            (200, vec![length, tag, ("set-cookie", "a=b")]),
            (200, vec![length, tag, ("vary", "accept"), ("vary", "*")]),
            (200, vec![length, tag, ("accept-ranges", "none")]),
            (200, vec![("content-length", "0"), tag]),
            (206, vec![length, tag]),
            (206, vec![tag, ("content-range", "bytes 10-19/*")]),
            (206, vec![tag, range, ("content-type", "multipart/byteranges; boundary=x")]),
            (404, vec![length, tag]),
            (304, vec![length, tag]),
        ] {
            assert_eq!(subject(status, &lines), None, "{status} {lines:?}");
        }
    }
}
