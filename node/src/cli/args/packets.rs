//! The arguments of the verbs that look at packets and make them.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hyper::Uri;
use peerdist_protocol::content::{SegmentId, SegmentSecret};
use peerdist_protocol::schema::Form;
use peerdist_tap::{MAX_SNAP_LENGTH, Protocol};

/// The arguments of `peerdist decode`.
#[derive(Debug, Args)]
pub struct DecodeArguments {
    /// Captures (pcap, pcapng), messages or content information, as bytes or hexadecimal digits; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Say who asked whom for what, when, and how long it took.
    #[arg(long, conflicts_with_all = ["working", "layout", "full"])]
    pub summary: bool,
    /// Content information with which blocks are decrypted and verified. May be repeated.
    #[arg(long, value_name = "CI")]
    pub content_information: Vec<PathBuf>,
    /// The secret of a segment. Other users see it in the list of processes. May be repeated.
    // A wrong one is no error of the parser, which would repeat it.
    #[arg(long, value_name = "SEGMENT_ID=HEX", value_parser = given_secret)]
    pub secret: Vec<Result<SegmentSecretArgument, SecretArgumentError>>,
    /// A key log of TLS (SSLKEYLOGFILE), for captures that do not have it inside. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub tls_keys: Vec<PathBuf>,
    /// What the file is, where its bytes do not say: a message's name in its document, `request`, `response`,
    /// `datagram` or `http`.
    #[arg(long = "as", value_name = "NAME", value_parser = parse_form)]
    pub form: Option<DecodedForm>,
    /// What is shown.
    #[command(flatten)]
    pub shown: ShownArguments,
    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// What is shown of messages.
#[derive(Debug, Default, Args)]
pub struct ShownArguments {
    /// Show each step of the derivation of keys and of the decryption, with the keys.
    #[arg(long)]
    pub working: bool,
    /// Show segment secrets. Whoever has them can read the content.
    #[arg(long)]
    pub secrets: bool,
    /// Show all bytes of long fields, too; JSON always has them.
    #[arg(long)]
    pub full: bool,
    /// Have path, offset and size of every field in the JSON object.
    #[arg(long, requires = "json")]
    pub layout: bool,
}

/// A segment and its secret.
#[derive(Debug, Clone)]
pub struct SegmentSecretArgument {
    /// HoHoDk.
    pub segment_id: SegmentId,
    /// Kp.
    pub secret: SegmentSecret,
}

fn given_secret(text: &str) -> Result<Result<SegmentSecretArgument, SecretArgumentError>, Infallible> {
    Ok(parse_secret(text).ok_or(SecretArgumentError))
}

fn parse_secret(text: &str) -> Option<SegmentSecretArgument> {
    let (id, secret) = text.split_once('=')?;
    let segment_id: SegmentId = id.parse().ok()?;
    let secret = SegmentSecret::from_slice(&hex::decode(secret).ok()?)?;
    // Both are values of one hash.
    let size = secret.as_bytes().len();
    let is_hash = [32, 48, 64].contains(&size) && size == segment_id.as_bytes().len();
    is_hash.then_some(SegmentSecretArgument { segment_id, secret })
}

/// The text is no segment with its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("--secret is SEGMENT_ID=HEX, both 32, 48 or 64 bytes in hexadecimal digits")]
pub struct SecretArgumentError;

/// What bytes that came alone are.
#[derive(Debug, Clone, Copy)]
pub enum DecodedForm {
    /// A message of this form.
    Message(Form),
    /// One side of an HTTP connection.
    Http,
}

fn parse_form(text: &str) -> Result<DecodedForm, String> {
    match text {
        "datagram" => Ok(DecodedForm::Message(Form::Datagram("Envelope"))),
        "http" => Ok(DecodedForm::Http),
        name => Form::by_name(name).map(DecodedForm::Message).ok_or_else(|| {
            let names: Vec<_> = Form::names().collect();
            format!("one of datagram, http, {}", names.join(", "))
        }),
    }
}

/// The arguments of `peerdist craft`.
#[derive(Debug, Args)]
pub struct CraftArguments {
    /// JSON objects, one for each message; `-` is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Print hexadecimal digits, one line for each message.
    #[arg(long, conflicts_with = "send")]
    pub hex: bool,
    /// Where the messages go, instead of standard output.
    #[arg(short, long, value_name = "FILE", conflicts_with = "send")]
    pub output: Option<PathBuf>,
    /// Send each message there, and print its answer: `http://HOST[:PORT][/PATH]`, `https://` the same, or
    /// `udp://HOST:PORT`.
    #[arg(long, value_name = "URL", value_parser = SendTarget::parse)]
    pub send: Option<SendTarget>,
    /// Certificates (PEM) that a server of https may have, or that vouch for it; without them, those of the system.
    #[arg(long, value_name = "FILE", requires = "send")]
    pub trust: Option<PathBuf>,
    /// How long an answer may take, in seconds; answers to a group come until then.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub timeout: Duration,
    /// The address of this host that datagrams leave from; it chooses the interface for an IPv4 group.
    #[arg(long, value_name = "ADDRESS", requires = "send")]
    pub from: Option<IpAddr>,
    /// Show all bytes of long fields of answers.
    #[arg(long, requires = "send")]
    pub full: bool,
    /// Print answers as JSON objects, one a line.
    #[arg(long, requires = "send")]
    pub json: bool,
}

/// Where a message is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendTarget {
    /// By HTTP.
    Http {
        /// Whether it is in TLS.
        tls: bool,
        /// Host and port.
        authority: String,
        /// Another path than the document's.
        path: Option<String>,
    },
    /// As a datagram.
    Udp {
        /// Host and port.
        authority: String,
    },
}

impl SendTarget {
    fn parse(text: &str) -> Result<Self, SendTargetError> {
        if let Some(rest) = text.strip_prefix("udp://") {
            let has_port =
                rest.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            return has_port.then(|| Self::Udp { authority: rest.to_owned() }).ok_or(SendTargetError);
        }
        let url: Uri = text.parse().map_err(|_| SendTargetError)?;
        let (tls, port) = match url.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(SendTargetError),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or(SendTargetError)?;
        let path = url.path_and_query().map(ToString::to_string).filter(|path| path != "/");
        Ok(Self::Http { tls, authority: format!("{host}:{}", url.port_u16().unwrap_or(port)), path })
    }
}

/// The text is nowhere that messages are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("messages are sent to http://HOST[:PORT][/PATH], https://HOST[:PORT][/PATH] or udp://HOST:PORT")]
struct SendTargetError;

/// A time of more than nothing and not more than an hour.
fn parse_seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("a number of seconds from 0.001 to 3600")
}

/// The arguments of `peerdist capture`.
#[derive(Debug, Args)]
pub struct CaptureArguments {
    /// The capture to write (pcapng), for its owner alone; `-` is standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Overwrite the file.
    #[arg(long)]
    pub force: bool,
    /// End after so many seconds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=31_622_400))]
    pub seconds: Option<u64>,
    /// End after so many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Capture this protocol only. May be repeated.
    #[arg(long, value_enum, value_name = "NAME")]
    pub protocol: Vec<CapturedProtocol>,
    /// The most bytes of a message that are kept, its HTTP head included.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=MAX_SNAP_LENGTH as u64))]
    pub snaplen: Option<u64>,
}

/// What can be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CapturedProtocol {
    /// Probes and their answers.
    Discovery,
    /// Requests for blocks and lists, and their answers.
    Retrieval,
    /// Offers to hosted caches, and their answers.
    HostedCache,
}

impl CapturedProtocol {
    /// As the daemon calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discovery => Protocol::Discovery,
            Self::Retrieval => Protocol::Retrieval,
            Self::HostedCache => Protocol::HostedCache,
        }
        .as_str()
    }
}

/// The arguments of `peerdist scrub`.
#[derive(Debug, Args)]
pub struct ScrubArguments {
    /// The capture (pcap, pcapng); `-` is standard input.
    #[arg(value_name = "CAPTURE")]
    pub capture: PathBuf,
    /// The capture to write (pcapng); it must not be there yet.
    #[arg(value_name = "SCRUBBED")]
    pub output: PathBuf,
    /// A key log of TLS (SSLKEYLOGFILE), for captures that do not have it inside: what is opened is written without TLS.
    #[arg(long, value_name = "FILE")]
    pub tls_keys: Vec<PathBuf>,
}

/// The arguments of `peerdist replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The capture (pcap, pcapng); `-` is standard input.
    #[arg(value_name = "CAPTURE")]
    pub capture: PathBuf,
    /// The host that gets the requests, and its TCP port, 80 unless given; datagrams go to UDP port 3702.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = HostArgument::parse)]
    pub to: HostArgument,
    /// Where requests that were captured in TLS go, in TLS again, instead of to TCP port 443 of the host.
    #[arg(long, value_name = "HOST:PORT")]
    pub tls_to: Option<String>,
    /// Certificates (PEM) that the server of TLS may have, or that vouch for it; without them, those of the system.
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// A key log of TLS (SSLKEYLOGFILE), for captures that do not have it inside. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub tls_keys: Vec<PathBuf>,
    /// The most messages that are sent in a second.
    #[arg(long, value_name = "N", default_value = "10", value_parser = parse_rate)]
    pub rate: f64,
    /// Send only messages of this name or document, such as `MSG_GETBLKS` or `MS-PCCRD`. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// How long an answer may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub timeout: Duration,
    /// Where datagrams go, such as the group `239.255.255.250:3702`, instead of to the host.
    #[arg(long, value_name = "HOST:PORT")]
    pub datagrams_to: Option<String>,
    /// The address of this host that datagrams leave from; it chooses the interface for an IPv4 group.
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
    /// Show all bytes of long fields.
    #[arg(long)]
    pub full: bool,
    /// Print one JSON object a line for each request, and one for all.
    #[arg(long)]
    pub json: bool,
}

/// A host, and its port if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostArgument {
    /// Its name or address.
    pub host: String,
    /// TCP port.
    pub port: Option<u16>,
}

impl HostArgument {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let split = text.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let (host, port) = match split {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| "a port is a number up to 65535")?)),
            None => (text, None),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Messages in a second.
fn parse_rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().ok().filter(|rate| (0.001..=100_000.0).contains(rate));
    rate.ok_or("a number from 0.001 to 100000")
}
