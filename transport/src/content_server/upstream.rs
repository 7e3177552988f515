//! The server behind the reverse proxy, and requests to it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::HeaderMap;
use hyper::{Method, Response, Uri};
use reqwest::{Client, Url, redirect};
use thiserror::Error;
use tokio::time::{Instant, sleep_until};

use super::StartError;
use super::config::ContentServerLimits;
use super::idle::IdleTimer;
use crate::http_client;

/// Idle connections to the upstream server end before its own time limit for them, which is five seconds or more in
/// common servers: a request on a connection that just ends cannot always be repeated.
const UPSTREAM_IDLE: Duration = Duration::from_secs(4);

/// The server behind the reverse proxy.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    base: Url,
    client: Client,
    no_progress: Duration,
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
        Ok(Self { base: url.clone(), client, no_progress: limits.no_progress })
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// The URL behind a request's target: the same path and query below ours. The target never decides about the host.
    pub(super) fn url_of(&self, target: &Uri) -> Option<Url> {
        let path = target.path_and_query().map(|path| path.as_str()).filter(|path| path.starts_with('/'))?;
        let url: Url = format!("{}{path}", self.base.as_str().trim_end_matches('/')).parse().ok()?;
        // Dot segments were resolved; they must not lead above our own path.
        let base = self.base.path().trim_end_matches('/');
        url.path().strip_prefix(base).is_some_and(|below| below.starts_with('/')).then_some(url)
    }

    /// Sends a request, with a body or without. The time limit counts from the last byte of the body that was taken.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Incoming>,
    ) -> Result<Response<reqwest::Body>, SendError> {
        let limit = self.no_progress;
        let progress = Arc::new(Progress(Mutex::new(Instant::now())));
        let mut request = self.client.request(method, url).headers(headers);
        if let Some(body) = body.filter(|body| !body.is_end_stream()) {
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
                    Err(error) => Err(SendError::Unreachable(error)),
                },
                () = sleep_until(deadline) => {
                    if progress.last() + limit <= Instant::now() {
                        return Err(SendError::TimedOut);
                    }
                }
            }
        }
    }
}

/// Why the upstream server gave no response.
#[derive(Debug, Error)]
pub(super) enum SendError {
    #[error("the upstream server cannot be reached")]
    Unreachable(#[from] reqwest::Error),
    #[error("the upstream server made no progress within the time limit")]
    TimedOut,
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
        Upstream::new(&base.parse().unwrap(), &ContentServerLimits::default()).unwrap()
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
}
