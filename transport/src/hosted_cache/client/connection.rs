//! One connection to a hosted cache.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use peerdist_protocol::hosted_cache::{self, Offer};
use peerdist_tap::{Line, Protocol, Tap, Tapped};
use tokio::io::{self, AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::SendError;
use crate::excess::{Excess, Interim, MAX_INTERIM};

/// How long one address of a server may take, so that the next one has its turn before the Request Timer ends.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// How long a kept connection may take to see that its last answer has ended.
const READY_TIME: Duration = Duration::from_millis(100);
/// The most addresses of a server that are tried.
const MAX_ADDRESSES: usize = 8;
/// The most bytes of an answer's body; a response has five.
const MAX_BODY_SIZE: usize = 1024;
/// The most bytes of an answer's headers.
const MAX_HEADER_SIZE: usize = 16_384;
/// The most authentication schemes that an error names.
const MAX_SCHEMES: usize = 8;

/// Connects to the first of a server's addresses that accepts, from the first of our own that is of its family.
pub(super) async fn dial(server: &str, port: u16, from: &[IpAddr]) -> Result<TcpStream, SendError> {
    let addresses = lookup_host((server, port)).await.map_err(SendError::Name)?;
    first_that_accepts(addresses.take(MAX_ADDRESSES), from).await
}

async fn connect(address: SocketAddr, from: &[IpAddr]) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(own) = from.iter().find(|own| own.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(*own, 0))?;
    }
    socket.connect(address).await
}

async fn first_that_accepts(
    addresses: impl Iterator<Item = SocketAddr>,
    from: &[IpAddr],
) -> Result<TcpStream, SendError> {
    let mut failure = SendError::Name(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    for address in addresses {
        let connecting = timeout(CONNECT_TIME, connect(address, from)).await;
        match connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // An offer is one write that has to go out at once.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            // That one address cannot be tried says less than that another one refuses.
            Err(error) => {
                let error = SendError::from_connect(error);
                if !matches!((&failure, &error), (SendError::Unreachable(_), SendError::Local(_))) {
                    failure = error;
                }
            }
        }
    }
    Err(failure)
}

/// A connection as captures see it.
pub(super) fn line(tap: &Tap, stream: &TcpStream, is_tls: bool) -> Result<Line, SendError> {
    let local = stream.local_addr().map_err(SendError::Local)?;
    let remote = stream.peer_addr().map_err(SendError::Unreachable)?;
    Ok(Line::new(tap, Protocol::HostedCache, local, remote, is_tls, true))
}

/// A connection. Dropping it closes it at once, whatever is on its way.
#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    line: Line,
    _driver: AbortOnDropHandle<()>,
}

/// Why a POST failed.
pub(super) enum Failure {
    /// The connection ended before an answer came.
    Unanswered(hyper::Error),
    Send(SendError),
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unanswered(error) => Self::Http(error),
            Failure::Send(error) => error,
        }
    }
}

impl Connection {
    pub(super) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        line: Line,
    ) -> Result<Self, SendError> {
        let (sender, driver) = http1::Builder::new()
            .title_case_headers(true)
            .max_header_size(MAX_HEADER_SIZE)
            .handshake(TokioIo::new(Tapped::new(stream, line.clone())))
            .await
            .map_err(SendError::Http)?;
        // Its errors reach whoever waits for the answer.
        let driver = tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Self { sender, line, _driver: AbortOnDropHandle::new(driver) })
    }

    /// Sends an offer, and returns what answers it.
    pub(super) async fn post(&mut self, host: &HeaderValue, offer: &Offer) -> Result<hosted_cache::Response, Failure> {
        let answer = self.exchange(host, offer).await;
        match &answer {
            Ok(response) => self.line.verdict().say(|| format!("taken: {response:?}")),
            Err(Failure::Unanswered(error)) => self.line.failed(|| format!("no answer that counts: {error}")),
            Err(Failure::Send(error)) => self.line.failed(|| format!("no answer that counts: {error}")),
        }
        answer
    }

    async fn exchange(&mut self, host: &HeaderValue, offer: &Offer) -> Result<hosted_cache::Response, Failure> {
        let mut request = Request::new(Full::from(offer.emit()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(offer.version().path());
        request.headers_mut().insert(HOST, host.clone());
        let interim = Interim::count(&mut request);
        let response = interim.until(self.sender.send_request(request)).await;
        let too_many = SendError::TooLarge { limit: MAX_INTERIM, of: Excess::Interim };
        let response = response.ok_or(Failure::Send(too_many))?.map_err(|error| {
            if error.is_parse() { Failure::Send(SendError::Http(error)) } else { Failure::Unanswered(error) }
        })?;
        receive(response).await.map_err(Failure::Send)
    }

    /// Whether another offer can be sent, now that one was answered.
    pub(super) async fn is_ready(&mut self) -> bool {
        matches!(timeout(READY_TIME, self.sender.ready()).await, Ok(Ok(())))
    }
}

async fn receive(response: Response<Incoming>) -> Result<hosted_cache::Response, SendError> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(SendError::Unauthorized { schemes: schemes(response.headers()) }),
        status => return Err(SendError::Status(status)),
    }
    match Limited::new(response.into_body(), MAX_BODY_SIZE).collect().await {
        Ok(body) => Ok(hosted_cache::Response::parse(&body.to_bytes())?),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => SendError::Http(*error),
            Err(_) => SendError::TooLarge { limit: MAX_BODY_SIZE, of: Excess::Bytes },
        }),
    }
}

/// The Host header ([RFC 9110] 7.2).
pub(super) fn host(server: &str, port: u16) -> HeaderValue {
    let text = if server.contains(':') { format!("[{server}]:{port}") } else { format!("{server}:{port}") };
    // An empty one is valid for a host that has no name.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// The schemes of WWW-Authenticate ([RFC 9110] 11.6.1): of each challenge the first word. Parameters of a challenge,
/// which commas part as well, have an equals sign in theirs.
fn schemes(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
    let challenges = values.flat_map(|value| {
        let mut is_quoted = false;
        value.split(move |c| {
            is_quoted ^= c == '"';
            c == ',' && !is_quoted
        })
    });
    let words = challenges.filter_map(|challenge| challenge.split_whitespace().next());
    words.filter(|word| !word.contains('=')).take(MAX_SCHEMES).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn all_addresses_of_a_server_are_tried() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let address = open.local_addr().unwrap();
        let stream = first_that_accepts([closed, address].into_iter(), &[]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let refused = first_that_accepts([closed].into_iter(), &[]).await;
        assert!(matches!(refused, Err(SendError::Unreachable(_))), "{refused:?}");
        let nothing = first_that_accepts([].into_iter(), &[]).await;
        assert!(matches!(nothing, Err(SendError::Name(_))), "{nothing:?}");
    }

    #[test]
    fn the_host_header_has_brackets_around_ipv6() {
        assert_eq!(host("hc.example", 443), "hc.example:443");
        assert_eq!(host("2001:db8::1", 80), "[2001:db8::1]:80");
    }

    #[test]
    fn schemes_are_told_from_their_parameters() {
        let found = |values: &[&'static str]| {
            let values = values.iter().map(|value| (WWW_AUTHENTICATE, HeaderValue::from_static(value)));
            schemes(&values.collect())
        };
        assert_eq!(found(&["Negotiate"]), ["Negotiate"]);
        assert_eq!(found(&["Negotiate", "NTLM"]), ["Negotiate", "NTLM"]);
        assert_eq!(
            found(&["Digest realm=\"a, b\", qop=\"auth\", Negotiate, Basic realm=x"]),
            ["Digest", "Negotiate", "Basic"]
        );
        assert_eq!(found(&["", ", ,"]), [""; 0]);
        assert_eq!(found(&["A,B,C,D,E,F,G,H,I"]).len(), MAX_SCHEMES);
    }
}
