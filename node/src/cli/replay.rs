//! `peerdist replay CAPTURE --to HOST[:PORT]`: the requests of a capture, sent again, and their answers compared.

use std::cell::Cell;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use peerdist_protocol::discovery::PORT;
use peerdist_protocol::schema::Form;
use serde::Serialize;

use super::args::{ReplayArguments, ShownArguments};
use super::{ExitStatus, Failure, craft, decode, output};
use crate::craft::replay::{Request, Requests, add_kind};
use crate::craft::send;
use crate::decode::{Decoder, Event};

/// The TCP port of retrieval and of hosted caches, version 2.0.
const HTTP_PORT: u16 = 80;

/// Sends every request and prints what came of it. Fails where an answer is of another kind than the captured one.
pub fn run(arguments: &ReplayArguments) -> Result<(), Failure> {
    let mut replay = Replay::new(arguments)?;
    let mut requests = Requests::default();
    let mut result = Ok(());
    let read = decode::read(&arguments.capture, None, &[], &mut |event| {
        requests.event(&event, &mut |request| {
            if result.is_ok() {
                result = replay.request(&request);
            }
        });
        result.is_ok()
    })?;
    result?;
    decode::note(&arguments.capture, &read);
    let mut result = Ok(());
    requests.finish(&mut |request| {
        if result.is_ok() {
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
    /// When the next message may be sent.
    next: Instant,
    total: Total,
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
        let to = arguments.to.as_str();
        let has_port = to.parse::<SocketAddr>().is_ok()
            || to.rsplit_once(':').is_some_and(|(host, port)| !host.contains(':') && port.parse::<u16>().is_ok());
        let authority = match to.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::from((ip, HTTP_PORT)).to_string(),
            Err(_) if has_port => to.to_owned(),
            Err(_) => format!("{to}:{HTTP_PORT}"),
        };
        let tcp = craft::resolve(&authority)?;
        let udp = match &arguments.datagrams_to {
            Some(authority) => craft::resolve(authority)?,
            None => SocketAddr::new(tcp.ip(), PORT),
        };
        Ok(Self { arguments, authority, tcp, udp, next: Instant::now(), total: Total::default() })
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
            return output::write(|to| match self.arguments.json {
                true => writeln!(to, "{}", serde_json::json!({ "number": request.number, "skipped": why })),
                false => writeln!(to, "request {}, {name}, is left out: {why}", request.number),
            });
        }
        let outcome = self.send(request);
        let is_same = outcome.answer == request.answer;
        match (is_same, &outcome.answer) {
            (true, _) => self.total.same += 1,
            (false, Some(_)) => self.total.different += 1,
            (false, None) => self.total.unanswered += 1,
        }
        output::write(|to| if self.arguments.json { outcome.json(to, request) } else { outcome.text(to, request) })
    }

    /// Waits for its turn, and sends.
    fn send(&mut self, request: &Request) -> Outcome {
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
        let sent = match request.form {
            Form::Datagram(_) => {
                send::datagram(self.udp, self.arguments.from, request.form, &request.bytes, limit, &mut out)
            }
            form => send::request(form, &request.bytes, &self.authority, None)
                .and_then(|bytes| send::http(self.tcp, &bytes, &bytes, limit, &mut out)),
        };
        // The request is shown where it was not sent, too.
        if !is_sent.get() {
            Decoder::new().message(request.form, &request.bytes, &mut out);
        }
        let error = sent.err().map(|error| error.to_string());
        Outcome { printed, answer, error }
    }

    fn end(self) -> Result<(), Failure> {
        let Total { requests, same, different, unanswered, skipped } = self.total;
        if requests == 0 {
            let error = format!("there is no such request in {}", self.arguments.capture.display());
            return Err(Failure::new(ExitStatus::NotContentInformation, error));
        }
        output::write(|to| match self.arguments.json {
            true => {
                serde_json::to_writer(&mut *to, &self.total)?;
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

impl Outcome {
    fn text(&self, to: &mut dyn Write, request: &Request) -> io::Result<()> {
        let nothing = "nothing";
        let got = self.answer.as_deref().unwrap_or(nothing);
        let captured = request.answer.as_deref().unwrap_or(nothing);
        self.printed.iter().try_for_each(|message| write!(to, "{message}"))?;
        if let Some(error) = &self.error {
            writeln!(to, "  {error}")?;
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
        let rest = serde_json::to_string(&rest)?;
        writeln!(to, ",{}", rest.trim_start_matches('{'))
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
