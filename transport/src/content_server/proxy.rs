//! Requests answered from another HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_RANGES, AUTHORIZATION, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE, VARY};
use hyper::{Method, Request, Response, StatusCode, Version};
use peerdist_protocol::http::{self, Ask, ByteRangeSet, ContentRange, Offer, Resolved, read_request};
use reqwest::Url;
use tokio::time::timeout;

use super::body::{Body, Meter};
use super::offered::{Answered, describe_headers, header_pairs, try_later_headers};
use super::subject::Subject;
use super::upstream::{SendError, Upstream};
use super::{Shared, fetch, forward, plain_response};

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
    let forwarded = Forwarded { shared, upstream, url, ask, headers };
    forwarded.answer(parts.method, body).await.unwrap_or_else(|error| {
        let status = match &error {
            SendError::Unreachable(_) => {
                shared.counters.upstream_failures.add(1);
                StatusCode::BAD_GATEWAY
            }
            SendError::TimedOut => {
                shared.counters.upstream_timeouts.add(1);
                StatusCode::GATEWAY_TIMEOUT
            }
        };
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, "no answer from the upstream server");
        plain_response(status, &shared.counters)
    })
}

/// A request on its way to the upstream server.
struct Forwarded<'a> {
    shared: &'a Arc<Shared>,
    upstream: &'a Upstream,
    url: Url,
    ask: Ask,
    /// As the upstream server gets them.
    headers: HeaderMap,
}

impl Forwarded<'_> {
    async fn answer(&self, method: Method, body: Incoming) -> Result<Response<Body>, SendError> {
        if let Ask::Offer(offer) = &self.ask
            && let Some(response) = self.confirm(offer).await?
        {
            return Ok(response);
        }
        let received = self.upstream.send(method, self.url.clone(), self.headers.clone(), Some(body)).await?;
        Ok(self.respond(received).await)
    }

    /// Answers an offer with content information that is in memory, once the upstream server has shown with a single
    /// byte that this client may have the content and that it is still the same: the request goes there as it is, but
    /// for the end of its range. `None` if the request has to go there as it is altogether.
    ///
    /// Otherwise content would be asked for whole and its connection broken off for every such answer.
    async fn confirm(&self, offer: &Offer) -> Result<Option<Response<Body>>, SendError> {
        let Some((key, kept)) = self.shared.kept.last_state(self.url.as_str().as_bytes()) else { return Ok(None) };
        let range = self.headers.get(RANGE).and_then(|range| ByteRangeSet::parse(range.to_str().ok()?));
        let (status, range) = match range.map(|range| range.resolve(key.length)) {
            None | Some(Resolved::Whole) => (StatusCode::OK, 0..key.length),
            Some(Resolved::Single(range)) => (StatusCode::PARTIAL_CONTENT, range),
            Some(Resolved::Several(_) | Resolved::Unsatisfiable) => return Ok(None),
        };
        let Some(body) = kept.describe(offer.content, &range).filter(|_| !self.has_credentials()) else {
            return Ok(None);
        };
        let mut headers = self.headers.clone();
        let first_byte = format!("bytes={}-{}", range.start, range.start);
        headers.insert(RANGE, HeaderValue::try_from(first_byte).unwrap_or(HeaderValue::from_static("bytes=0-0")));
        let received = self.upstream.send(Method::GET, self.url.clone(), headers, None).await?;
        match received.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(None),
            // The whole content, or a refusal: either is the answer to the client's own request.
            _ => return Ok(Some(self.respond(received).await)),
        }
        if Subject::of(received.status(), received.headers()).is_none_or(|now| now.key(&self.url) != key) {
            return Ok(None);
        }
        let mut headers = forward::response_headers(received.headers(), self.upstream.base());
        headers.append(VARY, HeaderValue::from_static(http::VARY));
        headers.remove(CONTENT_RANGE);
        if status == StatusCode::PARTIAL_CONTENT
            && let Some(content_range) = ContentRange::new(range.clone(), Some(key.length))
            && let Ok(content_range) = HeaderValue::try_from(content_range.to_string())
        {
            headers.insert(CONTENT_RANGE, content_range);
        }
        finish(received, self.shared.config.limits.no_progress).await;
        Ok(Some(self.described(offer, status, headers, range.end - range.start, body)))
    }

    async fn respond(&self, received: Response<reqwest::Body>) -> Response<Body> {
        let status = received.status();
        let mut headers = forward::response_headers(received.headers(), self.upstream.base());
        let subject = Subject::of(status, received.headers())
            .filter(|subject| self.shared.describes(subject.length) && !self.has_credentials());
        if subject.is_some() || status == StatusCode::NOT_MODIFIED {
            headers.append(VARY, HeaderValue::from_static(http::VARY));
        }
        if let (Ask::Offer(offer), Some(subject)) = (&self.ask, subject) {
            let key = subject.key(&self.url);
            let range = subject.range.clone();
            let hash = fetch::hash(self.shared.clone(), self.upstream.clone(), self.url.clone(), subject);
            match self.shared.answer_offer(offer, &key, &range, hash).await {
                Answered::Described(body) => {
                    return self.described(offer, status, headers, range.end - range.start, body);
                }
                Answered::TryLater if try_later_headers(&mut headers, offer) => {
                    self.shared.counters.make_hash_requests.add(1);
                }
                Answered::TryLater | Answered::Identity => {}
            }
        }
        let meter = self.shared.meter(&self.ask);
        let no_progress = self.shared.config.limits.no_progress;
        response(status, headers, Body::upstream(received.into_body(), no_progress, meter, &self.shared.counters))
    }

    fn described(
        &self,
        offer: &Offer,
        status: StatusCode,
        mut headers: HeaderMap,
        content_length: u64,
        body: bytes::Bytes,
    ) -> Response<Body> {
        describe_headers(&mut headers, offer, content_length, &body);
        // Hashing found that the server does ranges, and the client will depend on them.
        headers.entry(ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
        self.shared.counters.content_information_answers.add(1);
        response(status, headers, Body::bytes(body, Meter::ContentInformation, &self.shared.counters))
    }

    /// Whether the content may be one for this user.
    fn has_credentials(&self) -> bool {
        self.headers.contains_key(AUTHORIZATION)
    }
}

/// Reads the end of a short body, so that its connection can be used again.
async fn finish(received: Response<reqwest::Body>, limit: Duration) {
    // Nothing of it is needed.
    let _ = timeout(limit, Limited::new(received.into_body(), 1024).collect()).await;
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
