//! Sending a message to an address that the user named, and taking its answer apart. Everything has a time limit.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peerdist_protocol::discovery::MAX_DATAGRAM_SIZE;
use peerdist_protocol::hosted_cache::Version;
use peerdist_protocol::retrieval::PATH;
use peerdist_protocol::schema::Form;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use super::stream::{Stream, Tls, left};
use crate::decode::{Conversation, Decoder, Event, Nanoseconds, Over, Seen};

/// How much of an answer is read at once.
const READ_SIZE: usize = 64 << 10;

/// Why a message got no answer.
#[derive(Debug, Error)]
pub enum SendError {
    /// Nothing carries it over TCP.
    #[error("{0} is no request of HTTP")]
    NoRequest(&'static str),
    /// Nothing carries it over UDP.
    #[error("{0} is no datagram")]
    NoDatagram(&'static str),
    /// Every link has such an address (RFC 4007), and nobody said which is meant.
    #[error("{0} is an address on every interface: give the number of one, as in [{ip}%2]:{port}", ip = .0.ip(), port = .0.port())]
    NoInterface(SocketAddr),
    /// It could not be sent, or its answer not received.
    #[error("{doing} {address}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The other side.
        address: SocketAddr,
        /// Why it failed.
        source: io::Error,
    },
    /// The time limit came first.
    #[error("{address} did not answer in time")]
    Late {
        /// The other side.
        address: SocketAddr,
    },
    /// The connection ended without an answer.
    #[error("{address} ended the connection without an answer that can be decoded")]
    Ended {
        /// The other side.
        address: SocketAddr,
    },
}

/// The bytes of the HTTP request that carries a message: a POST to the path that the document names, or to another, of
/// a message that is no head itself.
pub fn request(form: Form, bytes: &[u8], authority: &str, path: Option<&str>) -> Result<Vec<u8>, SendError> {
    let due = match form {
        Form::Headers("request") => return Ok(bytes.to_vec()),
        Form::Structure(structure) => match (structure.protocol, structure.name) {
            ("MS-PCCRR", name) if name != "EXTENSIBLE_BLOB" => PATH,
            ("MS-PCHC", "INITIAL_OFFER_MESSAGE" | "SEGMENT_INFO_MESSAGE") => Version::V1.path(),
            ("MS-PCHC", "BATCHED_OFFER_MESSAGE") => Version::V2.path(),
            _ => return Err(SendError::NoRequest(form.name())),
        },
        Form::Headers(_) | Form::Datagram(_) => return Err(SendError::NoRequest(form.name())),
    };
    let (path, size) = (path.unwrap_or(due), bytes.len());
    let head = format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {size}\r\n\r\n");
    Ok([head.as_bytes(), bytes].concat())
}

/// Sends a request of HTTP on a connection of its own, in TLS or not, and hands on what is said, until there is an answer.
/// `due` is the same request at the path that the document names, by which the answer is known.
pub fn http(
    address: SocketAddr,
    tls: Option<&Tls>,
    request: &[u8],
    due: &[u8],
    limit: Duration,
    out: &mut impl FnMut(Event<'_>),
) -> Result<(), SendError> {
    let failed = |doing| move |source| failure(doing, address, source);
    let deadline = Instant::now() + limit;
    let tcp = TcpStream::connect_timeout(&address, limit).map_err(failed("cannot connect to"))?;
    let own = tcp.local_addr().map_err(failed("cannot connect to"))?;
    let mut stream = Stream::open(tcp, tls, deadline).map_err(failed("no TLS with"))?;
    let mut conversation = Conversation::new(own, address);
    let answered = Cell::new(false);
    let mut heard = |event: Event<'_>| {
        answered.set(answered.get() || matches!(&event, Event::Message(message) if !message.is_request));
        out(event);
    };
    conversation.client(due, now(), &mut heard);
    // A server may answer before it has read everything, and read no more.
    let sent = stream.write_all(request, deadline);
    let mut buffer = vec![0; READ_SIZE];
    let mut read = 0;
    while !answered.get() {
        match (stream.read(&mut buffer, deadline), &sent) {
            (Ok(size), _) if size > 0 => {
                read += size;
                conversation.server(buffer.get(..size).unwrap_or_default(), now(), &mut heard);
            }
            (_, Err(_)) if read == 0 => return sent.map_err(failed("cannot send to")),
            (Ok(_), _) => {
                conversation.end(now(), &mut heard);
                return if answered.get() { Ok(()) } else { Err(SendError::Ended { address }) };
            }
            (Err(error), _) => return Err(failure("cannot hear", address, error)),
        }
    }
    Ok(())
}

/// Sends a datagram of discovery and hands on the answers to it: the first one, or all that come in time where many are
/// asked. What is no Probe has no answer. `from` is an address of this host, by which an IPv4 group is reached.
pub fn datagram(
    address: SocketAddr,
    from: Option<IpAddr>,
    form: Form,
    payload: &[u8],
    limit: Duration,
    out: &mut impl FnMut(Event<'_>),
) -> Result<(), SendError> {
    if !matches!(form, Form::Datagram(_)) {
        return Err(SendError::NoDatagram(form.name()));
    }
    if lacks_interface(address) {
        return Err(SendError::NoInterface(address));
    }
    let failed = |doing| move |source| failure(doing, address, source);
    let socket = socket(address, from).map_err(failed("cannot send to"))?;
    let own = socket.local_addr().map_err(failed("cannot send to"))?;
    let deadline = Instant::now() + limit;
    let mut decoder = Decoder::new();
    let (mut asks, mut answered) = (false, false);
    let began = now();
    let seen = |source, destination| Seen { began: now(), ended: now(), source, destination, over: Over::Udp };
    decoder.datagram(payload, Some(Seen { began, ..seen(own, address) }), &mut |event| {
        asks |= matches!(&event, Event::Message(message) if message.is_request);
        out(event);
    });
    socket.send_to(payload, address).map_err(failed("cannot send to"))?;
    let mut buffer = vec![0; MAX_DATAGRAM_SIZE];
    while asks && (!answered || address.ip().is_multicast()) {
        let Ok(left) = left(deadline) else { break };
        socket.set_read_timeout(Some(left)).map_err(failed("cannot hear"))?;
        let (size, source) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if is_late(&error) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failure("cannot hear", address, error)),
        };
        decoder.datagram(buffer.get(..size).unwrap_or_default(), Some(seen(source, own)), &mut |event| {
            if matches!(&event, Event::Message(message) if message.answers.is_some()) {
                answered = true;
                out(event);
            }
        });
    }
    if answered || !asks { Ok(()) } else { Err(SendError::Late { address }) }
}

/// Whether an address of IPv6 is one of a link, or a group on it, without the number of an interface.
fn lacks_interface(address: SocketAddr) -> bool {
    let SocketAddr::V6(address) = address else { return false };
    let ip = address.ip();
    // The scopes of groups: interface and link (RFC 4291, 2.7).
    let is_group_of_link = ip.is_multicast() && matches!(ip.octets()[1] & 0xf, 1 | 2);
    address.scope_id() == 0 && (is_group_of_link || ip.is_unicast_link_local())
}

fn socket(to: SocketAddr, from: Option<IpAddr>) -> io::Result<UdpSocket> {
    let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&SocketAddr::new(from.unwrap_or(any), 0).into())?;
    if let (true, Some(IpAddr::V4(from))) = (to.is_ipv4(), from) {
        socket.set_multicast_if_v4(&from)?;
    }
    Ok(socket.into())
}

fn failure(doing: &'static str, address: SocketAddr, source: io::Error) -> SendError {
    if is_late(&source) { SendError::Late { address } } else { SendError::Io { doing, address, source } }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn now() -> Nanoseconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanoseconds::try_from(since.as_nanos()).unwrap_or(Nanoseconds::MAX)
}
