//! What a file is, and the messages in it.

use std::fs::File;
use std::io::{self, Cursor, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use peerdist_protocol::content::MAX_CONTENT_INFORMATION_SIZE;
use peerdist_protocol::schema::{Form, recognise};

use super::super::Failure;
use super::super::args::DecodedForm;
use super::unreadable;
use crate::decode::{Captured, Counters, Decoder, End, Event, SealedConnection, is_capture, is_http, packets};

/// How much of a file says whether it is a capture: no more, since one that grows may have no more yet.
const START: usize = 4;
/// The most bytes that are read of a file that is no capture: content information in hexadecimal digits and lines.
const MAX_BARE: usize = 3 * MAX_CONTENT_INFORMATION_SIZE;

/// What there was beside messages.
#[derive(Debug, Default)]
pub(in crate::cli) struct Read {
    pub(in crate::cli) packets: u64,
    /// Packets of interfaces that the capture does not describe.
    pub(in crate::cli) unknown_interface: u64,
    pub(in crate::cli) damage: Option<&'static str>,
    pub(in crate::cli) counters: Counters,
    /// The first connections of TLS that could not be opened, and how many more.
    pub(in crate::cli) sealed: (Vec<SealedConnection>, u64),
}

/// Decodes a file; `-` is standard input. `tls_keys` is a key log. `out` says whether it wants more.
pub(in crate::cli) fn read(
    path: &Path,
    form: Option<DecodedForm>,
    tls_keys: &[u8],
    out: &mut impl FnMut(Event<'_>) -> bool,
) -> Result<Read, Failure> {
    let failed = |error| Failure::file("read", path, error);
    let mut source: Box<dyn io::Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path).map_err(failed)?),
    };
    let mut start = Vec::new();
    source.by_ref().take(START as u64).read_to_end(&mut start).map_err(failed)?;
    if is_capture(&start) && form.is_none() {
        return capture(path, Cursor::new(start).chain(source), tls_keys, out);
    }
    source.take((MAX_BARE - START) as u64).read_to_end(&mut start).map_err(failed)?;
    let bytes = digits(&start).unwrap_or(start);
    bare(path, &bytes, form, out)?;
    Ok(Read::default())
}

fn capture(
    path: &Path,
    source: impl io::Read,
    tls_keys: &[u8],
    out: &mut impl FnMut(Event<'_>) -> bool,
) -> Result<Read, Failure> {
    let mut decoder = Decoder::new();
    let mut goes_on = true;
    decoder.tls_keys(tls_keys);
    let end = packets(source, |captured| {
        match captured {
            Captured::Packet(packet) => decoder.packet(&packet, &mut |event| goes_on = goes_on && out(event)),
            Captured::TlsKeys(log) => decoder.tls_keys(log),
        }
        if goes_on { Ok(()) } else { Err(Stopped) }
    });
    let end = match end {
        Ok(end) => end,
        Err(Stopped) => return Ok(Read::default()),
    };
    decoder.finish(&mut |event| goes_on = goes_on && out(event));
    match end {
        End { has_header: false, damage, .. } => {
            Err(unreadable(path, &format!("it begins like a capture, but {}", damage.unwrap_or_default())))
        }
        End { packets, unknown_interface, damage, .. } => {
            let (named, more) = decoder.sealed();
            let sealed = (named.to_vec(), more);
            Ok(Read { packets, unknown_interface, damage, counters: decoder.counters(), sealed })
        }
    }
}

/// Whether a file may grow while it is read: a pipe or a terminal.
pub(super) fn is_live(path: &Path) -> bool {
    let metadata = match path.to_str() {
        Some("-") => io::stdin().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata()),
        _ => path.metadata(),
    };
    metadata.is_ok_and(|metadata| !metadata.is_file())
}

/// Nobody wants more messages.
struct Stopped;

fn bare(
    path: &Path,
    bytes: &[u8],
    form: Option<DecodedForm>,
    out: &mut impl FnMut(Event<'_>) -> bool,
) -> Result<(), Failure> {
    let is_xml = bytes.trim_ascii_start().first() == Some(&b'<') || bytes.starts_with(b"\xef\xbb\xbf<");
    let form = match form {
        Some(form) => form,
        None if is_http(bytes) => DecodedForm::Http,
        None if is_xml => DecodedForm::Message(Form::Datagram("Envelope")),
        None => match recognise(bytes) {
            Some(structure) => DecodedForm::Message(Form::Structure(structure)),
            None if bytes.is_empty() => return Err(unreadable(path, "it is empty")),
            None => return Err(unreadable(path, "its first bytes are those of none")),
        },
    };
    if let DecodedForm::Message(Form::Headers(name)) = form
        && is_http(bytes)
        && (name == "request") == bytes.starts_with(b"HTTP/")
    {
        let is = if name == "request" { "an answer, and no request" } else { "a request, and no answer" };
        return Err(unreadable(path, &format!("it is the head of {is}")));
    }
    let mut count = 0;
    let mut decoder = Decoder::new();
    let mut counted = |event: Event<'_>| {
        count += 1;
        out(event);
    };
    match form {
        DecodedForm::Message(form) => decoder.message(form, bytes, &mut counted),
        DecodedForm::Http => decoder.http(bytes, &mut counted),
    }
    if count == 0 {
        return Err(unreadable(path, "no message of these protocols is in it"));
    }
    Ok(())
}

/// The bytes of hexadecimal digits, with white space between them; none where the text is something else.
fn digits(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if digits.is_empty() { None } else { hex::decode(digits).ok() }
}
