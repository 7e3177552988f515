//! A content server on a port of its own, and a client that shows every header.
#![allow(dead_code)]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use peerdist_protocol::content::{ContentInformation, HashOptions, Hashed, Hasher, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_transport::content_server::{ContentServer, ContentServerConfig, Source};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The lines of an offer that takes both versions.
pub(crate) const OFFER: &str = "Accept-Encoding: gzip, peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n\
    X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0\r\n";
/// The lines of an offer by a client of Windows 7.
pub(crate) const OFFER_1_0: &str = "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0\r\n";
/// The lines of a hash request.
pub(crate) const HASH_REQUEST: &str = "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n\
    X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0, HashRequest=true\r\n";
/// The lines of a request for missing data.
pub(crate) const MISSING_DATA: &str = "X-P2P-PeerDist: Version=1.1, MissingDataRequest=true\r\n";

/// A running content server.
pub(crate) struct Running {
    pub(crate) server: ContentServer,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a server with this configuration.
    pub(crate) async fn start(config: ContentServerConfig) -> Self {
        let server = ContentServer::new(config, secret()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (serving, stopped) = (server.clone(), stop.clone());
        let task = tokio::spawn(async move { serving.serve(listener, stopped.cancelled_owned()).await });
        Self { server, address, stop, task }
    }

    /// Starts a server of a folder.
    pub(crate) async fn folder(folder: &Path) -> Self {
        Self::start(ContentServerConfig::new(Source::Folder(folder.to_owned()))).await
    }

    /// One GET with these header lines, on a connection of its own.
    pub(crate) async fn get(&self, path: &str, lines: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), lines).await
    }

    /// One request with this request line.
    pub(crate) async fn send(&self, request_line: &str, lines: &str) -> Reply {
        send(self.address, &format!("{request_line}Host: test\r\nConnection: close\r\n{lines}\r\n")).await
    }

    /// Asks for content information, waits for the hashing, and asks again.
    pub(crate) async fn get_described(&self, path: &str, lines: &str) -> Reply {
        let first = self.get(path, lines).await;
        assert_eq!(first.header("content-encoding"), None, "nothing was hashed before: {first:?}");
        self.server.wait_idle().await;
        self.get(path, lines).await
    }

    /// Shuts down and waits for the end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// A response, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The lines of a header, joined.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines: Vec<&str> = self
            .headers
            .iter()
            .filter(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    /// The body as content information, after a look at the headers that have to come with it.
    pub(crate) fn content_information(&self) -> ContentInformation {
        assert_eq!(self.header("content-encoding").as_deref(), Some("peerdist"), "{self:?}");
        let content_information = ContentInformation::parse(self.body.clone()).unwrap();
        let range = content_information.range();
        let params = self.header("x-p2p-peerdist").unwrap();
        assert!(params.ends_with(&format!(", ContentLength={}", range.end - range.start)), "{params}");
        assert_eq!(self.header("content-length").unwrap(), self.body.len().to_string());
        assert_eq!(self.header("accept-ranges").as_deref(), Some("bytes"));
        assert!(self.header("etag").is_some() || self.header("last-modified").is_some());
        assert!(self.is_varied());
        content_information
    }

    /// Whether `Vary` names all three headers.
    pub(crate) fn is_varied(&self) -> bool {
        let vary = self.header("vary").unwrap_or_default();
        vary.contains("Accept-Encoding, X-P2P-PeerDist, X-P2P-PeerDistEx")
    }
}

/// Sends a request as it is and reads the response to the end of the connection.
pub(crate) async fn send(address: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    parse(&bytes).unwrap()
}

fn parse(bytes: &[u8]) -> io::Result<Reply> {
    let malformed = || io::Error::other(format!("malformed response: {:?}", String::from_utf8_lossy(bytes)));
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(malformed)?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().ok_or_else(malformed)?;
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect::<Option<_>>()
        .ok_or_else(malformed)?;
    let mut reply = Reply { status, headers, body: Bytes::copy_from_slice(&bytes[end + 4..]) };
    if reply.header("transfer-encoding").as_deref() == Some("chunked") {
        reply.body = unchunk(&reply.body).ok_or_else(malformed)?;
    }
    Ok(reply)
}

fn unchunk(mut chunked: &[u8]) -> Option<Bytes> {
    let mut body = Vec::new();
    loop {
        let end = chunked.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&chunked[..end]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(body.into());
        }
        body.extend_from_slice(chunked.get(end + 2..end + 2 + size)?);
        chunked = chunked.get(end + 2 + size + 2..)?;
    }
}

/// The secret of all servers here.
pub(crate) fn secret() -> ServerSecret {
    ServerSecret::from_passphrase("no more secrets")
}

/// Bytes that do not repeat.
pub(crate) fn content(length: usize) -> Vec<u8> {
    let mut state = length as u64 | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// What the servers should say of some bytes.
pub(crate) fn hashed(bytes: &[u8]) -> Hashed {
    let mut hasher = Hasher::new(HashOptions { v1: Some(HashAlgorithm::Sha256), v2: true }, &secret());
    hasher.update(bytes);
    hasher.finish().unwrap()
}

/// A request as the upstream server of a test sees it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The first line of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// An upstream server that answers as a test wants it, byte by byte.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// Every request is answered with the bytes that `answer` makes; a connection ends after an answer that says so.
    pub(crate) async fn start(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (seen.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Ok(request) = read_request(&mut stream).await {
                        let reply = answer(&request);
                        seen.lock().unwrap().push(request);
                        let head = String::from_utf8_lossy(&reply).to_ascii_lowercase();
                        if stream.write_all(&reply).await.is_err() || head.contains("connection: close") {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    /// A content server's configuration with this server behind it.
    pub(crate) fn config(&self) -> ContentServerConfig {
        ContentServerConfig::new(Source::Upstream(format!("http://{}", self.address).parse().unwrap()))
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The last request whose line begins so.
    pub(crate) fn last(&self, line: &str) -> Request {
        self.requests().into_iter().rfind(|request| request.line.starts_with(line)).unwrap()
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut request = Request { line: lines[0].clone(), headers, body: Vec::new() };
    if let Some(length) = request.header("content-length") {
        request.body = vec![0; length.parse().map_err(io::Error::other)?];
        stream.read_exact(&mut request.body).await?;
    } else if request.header("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).await?;
            let size = usize::from_str_radix(size.trim_end(), 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await?;
            if size == 0 {
                break;
            }
            request.body.extend(&chunk[..size]);
        }
    }
    Ok(request)
}

/// A response with these header lines and this body, as a server of files gives it: `Range` is honoured.
pub(crate) fn file_answer(request: &Request, lines: &str, bytes: &[u8]) -> Vec<u8> {
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let (status, range, extra) = match range {
        Some((first, last)) => {
            let first: usize = first.parse().unwrap();
            let end = last.parse().map_or(bytes.len(), |last: usize| bytes.len().min(last + 1));
            let line = format!("Content-Range: bytes {first}-{}/{}\r\n", end - 1, bytes.len());
            ("206 Partial Content", first..end, line)
        }
        None => ("200 OK", 0..bytes.len(), String::new()),
    };
    let body = &bytes[range];
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{extra}{lines}\r\n", body.len()).into_bytes();
    if !request.line.starts_with("HEAD") {
        answer.extend(body);
    }
    answer
}
