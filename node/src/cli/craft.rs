//! `peerdist craft [FILE]`: messages made of JSON, written or sent.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use peerdist_transport::hosted_cache::trust;
use rustls::pki_types::ServerName;

use super::args::{CraftArguments, SendTarget, ShownArguments};
use super::{ExitStatus, Failure, decode, output};
use crate::craft::send::{self, SendError};
use crate::craft::stream::Tls;
use crate::craft::{Crafted, messages};
use crate::decode::Event;

/// Makes every message, and writes it or sends it before the next one is read.
pub fn run(arguments: &CraftArguments) -> Result<(), Failure> {
    let path = &arguments.file;
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path).map_err(|error| Failure::file("read", path, error))?),
    };
    let mut made = (1..).zip(messages(BufReader::new(source))).map(|(number, made)| {
        made.map_err(|error| {
            let help = "docs/craft.md says what there is; peerdist decode --json prints examples";
            let error = format!("message {number} of {}: {error}", path.display());
            Failure::new(ExitStatus::NotContentInformation, error).help(help)
        })
    });
    let Some(first) = made.next() else {
        let error = format!("there is no message in {}", path.display());
        return Err(Failure::new(ExitStatus::NotContentInformation, error));
    };
    let made = std::iter::once(first).chain(made);
    match (&arguments.send, &arguments.output) {
        (Some(target), _) => send_all(arguments, target, made),
        (None, Some(path)) => to_file(path, arguments.hex, made),
        (None, None) => write_all(made, |bytes| output::write(|to| write_one(to, bytes, arguments.hex))),
    }
}

fn write_all(
    made: impl Iterator<Item = Result<Crafted, Failure>>,
    mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    made.into_iter().try_for_each(|crafted| write(&crafted?.bytes))
}

fn to_file(path: &Path, hex: bool, made: impl Iterator<Item = Result<Crafted, Failure>>) -> Result<(), Failure> {
    let failed = |error| Failure::file("write", path, error);
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    write_all(made, |bytes| write_one(&mut file, bytes, hex).map_err(failed))?;
    file.flush().map_err(failed)
}

fn write_one(to: &mut dyn Write, bytes: &[u8], hex: bool) -> io::Result<()> {
    if hex { writeln!(to, "{}", hex::encode_upper(bytes)) } else { to.write_all(bytes) }
}

fn send_all(
    arguments: &CraftArguments,
    target: &SendTarget,
    made: impl Iterator<Item = Result<Crafted, Failure>>,
) -> Result<(), Failure> {
    let (SendTarget::Http { authority, .. } | SendTarget::Udp { authority }) = target;
    let address = resolve(authority)?;
    let tls = match target {
        SendTarget::Http { tls: true, .. } => Some(tls(authority, arguments.trust.as_deref())?),
        _ => None,
    };
    let shown = ShownArguments { full: arguments.full, ..ShownArguments::default() };
    for crafted in made {
        let Crafted { form, bytes } = crafted?;
        let mut printed = Ok(());
        let mut out = |event: Event<'_>| {
            if let Event::Message(message) = event
                && !message.is_request
                && printed.is_ok()
            {
                printed = output::write(|to| decode::print(to, &message, &shown, arguments.json));
            }
        };
        let limit: Duration = arguments.timeout;
        match target {
            SendTarget::Http { path, .. } => {
                let request = send::request(form, &bytes, authority, path.as_deref())?;
                let due = send::request(form, &bytes, authority, None)?;
                send::http(address, tls.as_ref(), &request, &due, limit, &mut out)?;
            }
            SendTarget::Udp { .. } => send::datagram(address, arguments.from, form, &bytes, limit, &mut out)?,
        }
        printed?;
    }
    Ok(())
}

/// The first address of a host.
pub(super) fn resolve(authority: &str) -> Result<SocketAddr, Failure> {
    let none = || io::Error::other("it has no address");
    let first = authority.to_socket_addrs().and_then(|mut addresses| addresses.next().ok_or_else(none));
    first.map_err(|error| Failure::new(ExitStatus::Failure, format!("cannot find {authority}: {error}")))
}

/// TLS with the host of an authority, which has a port.
pub(super) fn tls(authority: &str, trusted: Option<&Path>) -> Result<Tls, Failure> {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let config = trusted.map_or_else(|| Ok(trust::system()), trust::file);
    let config = config.map_err(|error| Failure::new(ExitStatus::Failure, error))?;
    let name = ServerName::try_from(host);
    let name = name.map_err(|error| Failure::new(ExitStatus::Usage, format!("{authority}: {error}")))?;
    Ok(Tls { config, name })
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let status = match error {
            SendError::NoRequest(_) | SendError::NoDatagram(_) | SendError::NoInterface(_) => ExitStatus::Usage,
            SendError::Io { .. } | SendError::Late { .. } | SendError::Ended { .. } => ExitStatus::NobodyAnswered,
        };
        Self::new(status, error)
    }
}

#[cfg(test)]
mod tests {
    use peerdist_protocol::schema::{Form, tables};
    use proptest::prelude::*;

    use super::*;
    use crate::decode::Decoder;

    /// What `decode --json --secrets` prints of a message; empty where it is none.
    fn printed(form: Form, bytes: &[u8]) -> Vec<u8> {
        let shown = ShownArguments { secrets: true, ..ShownArguments::default() };
        let mut text = Vec::new();
        Decoder::new().message(form, bytes, &mut |event| {
            if let Event::Message(message) = event {
                decode::print(&mut text, &message, &shown, true).unwrap();
            }
        });
        text
    }

    const PROBE: &str = "<soap:Envelope><soap:Header><wsa:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</wsa:To>\
        <wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</wsa:Action><wsa:MessageID>urn:uuid:1\
        </wsa:MessageID></soap:Header><soap:Body><wsd:Probe><wsd:Types>PeerDist:PeerDistDataV2</wsd:Types>\
        <wsd:Scopes MatchBy=\"a\">ACACoKGi</wsd:Scopes><BlockCount>0000000A</BlockCount><SegmentAges>AAEBAQ==\
        </SegmentAges></wsd:Probe></soap:Body></soap:Envelope>";
    const HEAD: &str = "GET /f HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip, peerdist\r\nX-P2P-PeerDist: Version=1.1, \
        MissingDataRequest=true\r\nContent-Length: 0\r\nUser-Agent: y\r\nX-P2P-PeerDist: ContentLength=7\r\n\r\n";

    /// Text with some bytes in other places.
    fn spoilt(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
        let change = (0..text.len(), 0..text.len(), 0..20_usize, any::<Option<u8>>());
        prop::collection::vec(change, 0..4).prop_map(move |changes| {
            let mut bytes = text.as_bytes().to_vec();
            for (to, from, size, other) in changes {
                let piece: Vec<u8> = text.bytes().skip(from).take(size).chain(other).collect();
                let end = (to + size).min(bytes.len());
                bytes.splice(to.min(end)..end, piece);
            }
            bytes
        })
    }

    fn any_message() -> impl Strategy<Value = (Form, Vec<u8>)> {
        let table = (0..tables::ALL.len()).prop_map(|which| Form::Structure(tables::ALL[which]));
        let head = prop::sample::select(vec!["request", "HTTP_RESPONSE"]).prop_map(Form::Headers);
        prop_oneof![
            (table, prop::collection::vec(any::<u8>(), 0..200)),
            (Just(Form::Datagram("Envelope")), spoilt(PROBE)),
            (head, spoilt(HEAD)),
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_decoder_prints_makes_the_same_bytes((form, bytes) in any_message()) {
            let text = printed(form, &bytes);
            let made: Result<Vec<_>, _> = messages(&text[..]).collect();
            let made = made.unwrap();
            prop_assert_eq!(made.len(), usize::from(!text.is_empty()));
            for crafted in made {
                prop_assert_eq!(crafted.bytes, bytes.clone(), "{}", String::from_utf8_lossy(&text));
                prop_assert_eq!(printed(crafted.form, &bytes), text.clone());
            }
        }
    }
}
