//! `peerdist replay CAPTURE --to HOST[:PORT]`: the requests of a capture, sent again, and their answers compared.

use std::cell::Cell;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use peerdist_protocol::discovery::PORT;
use serde::Serialize;

use super::args::{HostArgument, ReplayArguments, ShownArguments};
use super::printable::{json, printable};
use super::{ExitStatus, Failure, craft, decode, output};
use crate::craft::replay::{Request, Requests, add_kind};
use crate::craft::send;
use crate::craft::stream::Tls;
use crate::decode::{Decoder, Event, Over};

/// The TCP port of retrieval and of hosted caches, version 2.0.
const HTTP_PORT: u16 = 80;
/// The TCP port of hosted caches, version 1.0.
const HTTPS_PORT: u16 = 443;

/// Sends every request and prints what came of it. Fails where an answer is of another kind than the captured one.
pub fn run(arguments: &ReplayArguments) -> Result<(), Failure> {
    let mut replay = Replay::new(arguments)?;
    let mut requests = Requests::default();
    let mut result = Ok(());
    let tls_keys = decode::key_logs(&arguments.tls_keys)?;
    let read = decode::read(&arguments.capture, None, &tls_keys, &mut |event| {
        requests.event(&event, &mut |request| {
            if result.is_ok() && replay.is_read {
                result = replay.request(&request);
            }
        });
        result.is_ok() && replay.is_read
    })?;
    result?;
    decode::note(&arguments.capture, &read);
    let mut result = Ok(());
    requests.finish(&mut |request| {
        if result.is_ok() && replay.is_read {
            result = replay.request(&request);
        }
    });
    result?;
    replay.end()
}

struct Replay<'a> {
    arguments: &'a ReplayArguments,
    authority: String,
    tcp: SocketAddr,
    udp: SocketAddr,
    /// What is captured in TLS, once there is some.
    secure: Option<Secure>,
    /// When the next message may be sent.
    next: Instant,
    total: Total,
    /// Whether somebody reads what is printed. Nothing is sent for nobody.
    is_read: bool,
}

/// Where requests go in TLS.
struct Secure {
    authority: String,
    address: SocketAddr,
    tls: Tls,
}

/// What `--json` prints last.
#[derive(Debug, Default, Serialize)]
struct Total {
    requests: u64,
    same: u64,
    different: u64,
    unanswered: u64,
    skipped: u64,
}

/// What came of a request.
struct Outcome {
    /// The messages as they are printed, the request first.
    printed: Vec<String>,
    answer: Option<String>,
    error: Option<String>,
}

impl<'a> Replay<'a> {
    fn new(arguments: &'a ReplayArguments) -> Result<Self, Failure> {
        let HostArgument { host, port } = &arguments.to;
        let authority = authority(host, port.unwrap_or(HTTP_PORT));
        let tcp = craft::resolve(&authority)?;
        let udp = match &arguments.datagrams_to {
            Some(authority) => craft::resolve(authority)?,
            None => SocketAddr::new(tcp.ip(), PORT),
        };
        let (next, total) = (Instant::now(), Total::default());
        Ok(Self { arguments, authority, tcp, udp, secure: None, next, total, is_read: true })
    }

    fn request(&mut self, request: &Request) -> Result<(), Failure> {
        let name = request.form.name();
        let is_wanted = |only: &String| [name, request.protocol].iter().any(|known| known.eq_ignore_ascii_case(only));
        if !self.arguments.only.is_empty() && !self.arguments.only.iter().any(is_wanted) {
            return Ok(());
        }
        self.total.requests += 1;
        if let Some(why) = request.unsendable {
            self.total.skipped += 1;
            let is_json = self.arguments.json;
            return self.print(|to| match is_json {
                true => writeln!(to, "{}", serde_json::json!({ "number": request.number, "skipped": why })),
                false => writeln!(to, "request {}, {name}, is left out: {why}", request.number),
            });
        }
        let outcome = self.send(request)?;
        let is_same = outcome.answer == request.answer;
        match (is_same, &outcome.answer) {
            (true, _) => self.total.same += 1,
            (false, Some(_)) => self.total.different += 1,
            (false, None) => self.total.unanswered += 1,
        }
        let is_json = self.arguments.json;
        self.print(|to| if is_json { outcome.json(to, request) } else { outcome.text(to, request) })
    }

    fn print(&mut self, text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        self.is_read = output::write_if_read(text)?;
        Ok(())
    }

    /// Waits for its turn, and sends.
    fn send(&mut self, request: &Request) -> Result<Outcome, Failure> {
        if request.over == Over::Tls && self.secure.is_none() {
            self.secure = Some(Secure::new(self.arguments)?);
        }
        let now = Instant::now();
        thread::sleep(self.next.saturating_duration_since(now));
        self.next = self.next.max(now) + Duration::from_secs_f64(1.0 / self.arguments.rate);
        let shown = ShownArguments { full: self.arguments.full, ..ShownArguments::default() };
        let (mut printed, mut answer) = (Vec::new(), None);
        let is_sent = Cell::new(false);
        let mut out = |event: Event<'_>| {
            if let Event::Message(message) = event {
                let mut text = Vec::new();
                // Writing to memory does not fail.
                let _ = decode::print(&mut text, &message, &shown, self.arguments.json);
                printed.push(String::from_utf8_lossy(&text).into_owned());
                // The first one is the request.
                if is_sent.replace(true) && !message.is_request {
                    add_kind(&mut answer, &message.tree);
                }
            }
        };
        let limit = self.arguments.timeout;
        let Request { form, bytes, over, .. } = request;
        let mut http = |authority: &str, address, tls| {
            let request = send::request(*form, bytes, authority, None)?;
            send::http(address, tls, &request, &request, limit, &mut out)
        };
        let sent = match (over, &self.secure) {
            (Over::Udp, _) => send::datagram(self.udp, self.arguments.from, *form, bytes, limit, &mut out),
            (Over::Tls, Some(to)) => http(&to.authority, to.address, Some(&to.tls)),
            (Over::Tcp | Over::Tls, _) => http(&self.authority, self.tcp, None),
        };
        // The request is shown where it was not sent, too.
        if !is_sent.get() {
            Decoder::new().message(request.form, &request.bytes, &mut out);
        }
        let error = sent.err().map(|error| error.to_string());
        Ok(Outcome { printed, answer, error })
    }

    fn end(self) -> Result<(), Failure> {
        let Total { requests, same, different, unanswered, skipped } = self.total;
        if requests == 0 {
            let error = format!("there is no such request in {}", self.arguments.capture.display());
            return Err(Failure::new(ExitStatus::NotContentInformation, error));
        }
        output::write(|to| match self.arguments.json {
            true => {
                json(to, &self.total)?;
                writeln!(to)
            }
            false => writeln!(
                to,
                "{requests} requests: {same} answered as in the capture, {different} differently, {unanswered} not, \
                 {skipped} left out"
            ),
        })?;
        match different + unanswered {
            0 => Ok(()),
            other => {
                let error = format!("{other} of {requests} requests were not answered as in the capture");
                Err(Failure::new(ExitStatus::OtherAnswer, error))
            }
        }
    }
}

impl Secure {
    fn new(arguments: &ReplayArguments) -> Result<Self, Failure> {
        let same_host = || authority(&arguments.to.host, HTTPS_PORT);
        let authority = arguments.tls_to.clone().unwrap_or_else(same_host);
        let address = craft::resolve(&authority)?;
        let tls = craft::tls(&authority, arguments.trust.as_deref())?;
        Ok(Self { authority, address, tls })
    }
}

/// A host with a port.
fn authority(host: &str, port: u16) -> String {
    host.parse().map_or_else(|_| format!("{host}:{port}"), |ip: IpAddr| SocketAddr::from((ip, port)).to_string())
}

impl Outcome {
    fn text(&self, to: &mut dyn Write, request: &Request) -> io::Result<()> {
        let nothing = "nothing";
        let got = self.answer.as_deref().unwrap_or(nothing);
        let captured = request.answer.as_deref().unwrap_or(nothing);
        self.printed.iter().try_for_each(|message| write!(to, "{message}"))?;
        if let Some(error) = &self.error {
            writeln!(to, "  {}", printable(error))?;
        }
        match self.answer == request.answer {
            true => writeln!(to, "  same: {got}"),
            false => writeln!(to, "  other: {got}, where the capture has {captured}"),
        }?;
        writeln!(to)
    }

    fn json(&self, to: &mut dyn Write, request: &Request) -> io::Result<()> {
        let mut printed = self.printed.iter().map(|message| message.trim_end());
        // These are objects already.
        write!(to, "{{\"number\":{},\"request\":{}", request.number, printed.next().unwrap_or("null"))?;
        write!(to, ",\"answers\":[{}]", printed.collect::<Vec<_>>().join(","))?;
        let rest = Rest {
            answer: self.answer.as_deref(),
            captured: request.answer.as_deref(),
            error: self.error.as_deref(),
            same: self.answer == request.answer,
        };
        let mut members = Vec::new();
        json(&mut members, &rest)?;
        write!(to, ",")?;
        to.write_all(members.strip_prefix(b"{").unwrap_or_default())?;
        writeln!(to)
    }
}

#[derive(Serialize)]
struct Rest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    captured: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    same: bool,
}
