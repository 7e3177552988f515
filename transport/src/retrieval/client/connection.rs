//! One connection to a peer, driven by the exchange that uses it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use peerdist_protocol::retrieval::{MAX_RESPONSE_SIZE, PATH, TRANSPORT_HEADER_SIZE};
use peerdist_tap::{Line, Protocol, Tap, Tapped, Verdict};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ClientLimits, Excess, ExchangeError, Wait};
use crate::excess::{Interim, MAX_INTERIM};

/// The most bytes of a response's body.
const MAX_BODY_SIZE: usize = TRANSPORT_HEADER_SIZE + MAX_RESPONSE_SIZE;
/// The most pieces that a response's body may come in. Each costs time whatever is in it; in the smallest packets that
/// any network has, the largest body comes in fewer.
const MAX_PIECES: usize = 4096;
/// The most bytes of a response's headers.
const MAX_HEADER_SIZE: usize = 16_384;

type Driver = http1::Connection<TokioIo<Tapped<TcpStream>>, Full<Bytes>>;

/// A connection. Nothing happens on it while nobody waits for an answer.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended. What is dropped with it is told to who waits for an answer.
    driver: Option<Pin<Box<Driver>>>,
    host: HeaderValue,
    line: Line,
}

/// Why a POST failed.
pub(super) enum Failure {
    /// The connection ended before a response came.
    Unanswered(hyper::Error),
    Exchange(ExchangeError),
}

impl Failure {
    fn without_response(error: hyper::Error) -> Self {
        if error.is_parse() { Self::Exchange(ExchangeError::Http(error)) } else { Self::Unanswered(error) }
    }
}

impl From<Failure> for ExchangeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unanswered(error) => Self::Http(error),
            Failure::Exchange(error) => error,
        }
    }
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        Self::Exchange(error)
    }
}

impl Connection {
    pub(super) async fn open(peer: SocketAddr, limits: &ClientLimits, tap: &Tap) -> Result<Self, ExchangeError> {
        let stream = timeout(limits.connect_time, TcpStream::connect(peer))
            .await
            .map_err(|_| ExchangeError::TimedOut(Wait::Connect))?
            .map_err(ExchangeError::from_connect)?;
        // A request is one small write that has to go out at once.
        stream.set_nodelay(true).map_err(ExchangeError::from_connect)?;
        let local = stream.local_addr().map_err(ExchangeError::from_connect)?;
        let line = Line::new(tap, Protocol::Retrieval, local, peer, false, true);
        let (sender, driver) = http1::Builder::new()
            .title_case_headers(true)
            .max_header_size(MAX_HEADER_SIZE)
            .handshake(TokioIo::new(Tapped::new(stream, line.clone())))
            .await
            .map_err(ExchangeError::Http)?;
        Ok(Self { sender, driver: Some(Box::pin(driver)), host: host(peer), line })
    }

    /// Sends a message and receives the body of its answer, of which the verdict will say what came.
    pub(super) async fn post(&mut self, message: Bytes, limits: &ClientLimits) -> Result<(Bytes, Verdict), Failure> {
        let received = self.exchange(message, limits).await;
        match &received {
            Ok(_) => {}
            Err(Failure::Unanswered(error)) => self.line.failed(|| format!("no answer that counts: {error}")),
            Err(Failure::Exchange(error)) => self.line.failed(|| format!("no answer that counts: {error}")),
        }
        Ok((received?, self.line.verdict()))
    }

    async fn exchange(&mut self, message: Bytes, limits: &ClientLimits) -> Result<Bytes, Failure> {
        let mut request = Request::new(Full::new(message));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(PATH);
        request.headers_mut().insert(HOST, self.host.clone());
        let interim = Interim::count(&mut request);
        let sending = self.sender.send_request(request);
        let response = timeout(limits.progress_time, interim.until(drive(&mut self.driver, sending)))
            .await
            .map_err(|_| ExchangeError::TimedOut(Wait::Answer))?
            .ok_or(ExchangeError::TooLarge { limit: MAX_INTERIM, of: Excess::Interim })?
            .map_err(Failure::without_response)?;
        Ok(self.receive(response, limits).await?)
    }

    async fn receive(&mut self, response: Response<Incoming>, limits: &ClientLimits) -> Result<Bytes, ExchangeError> {
        const TOO_LARGE: ExchangeError = ExchangeError::TooLarge { limit: MAX_BODY_SIZE, of: Excess::Bytes };
        if response.status() != StatusCode::OK {
            return Err(ExchangeError::Status(response.status()));
        }
        let mut body = response.into_body();
        let announced = body.size_hint().lower();
        if announced > MAX_BODY_SIZE as u64 {
            return Err(TOO_LARGE);
        }
        let mut received = Vec::with_capacity(announced as usize);
        for _ in 0..=MAX_PIECES {
            let frame = timeout(limits.progress_time, drive(&mut self.driver, body.frame()))
                .await
                .map_err(|_| ExchangeError::TimedOut(Wait::Body))?;
            let Some(frame) = frame.transpose().map_err(ExchangeError::Http)? else { return Ok(received.into()) };
            let Ok(data) = frame.into_data() else { continue };
            if received.len() + data.len() > MAX_BODY_SIZE {
                return Err(TOO_LARGE);
            }
            received.extend_from_slice(&data);
        }
        Err(ExchangeError::TooLarge { limit: MAX_PIECES, of: Excess::Pieces })
    }

    /// Whether another request can be sent, now that a whole answer was received.
    pub(super) async fn is_reusable(&mut self) -> bool {
        // The driver sees the end of the answer when it is polled next.
        poll_fn(|cx| {
            poll_driver(&mut self.driver, cx);
            Poll::Ready(())
        })
        .await;
        self.driver.is_some() && self.sender.is_ready()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.host).finish()
    }
}

/// The Host header: RFC 9110 has no place for the scope of a link-local address.
fn host(peer: SocketAddr) -> HeaderValue {
    let text = match peer {
        SocketAddr::V4(peer) => peer.to_string(),
        SocketAddr::V6(peer) => format!("[{}]:{}", peer.ip(), peer.port()),
    };
    // Addresses are valid header values; an empty one is valid for a host that has no name.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// Waits for something that comes over the connection. The connection's own errors reach `work`, too.
async fn drive<T>(driver: &mut Option<Pin<Box<Driver>>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        poll_driver(driver, cx);
        work.as_mut().poll(cx)
    })
    .await
}

fn poll_driver(driver: &mut Option<Pin<Box<Driver>>>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
        *driver = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_has_no_scope() {
        let scoped = SocketAddr::V6(std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, 7));
        assert_eq!(scoped.to_string(), "[fe80::1%7]:80");
        assert_eq!(host(scoped), "[fe80::1]:80");
        assert_eq!(host("192.0.2.1:8080".parse().unwrap()), "192.0.2.1:8080");
    }
}
