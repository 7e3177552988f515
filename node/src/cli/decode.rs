//! `peerdist decode FILE...`: captures and bare messages taken apart, and the blocks in them decrypted and verified.

mod json;
mod source;
mod text;

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use super::args::{DecodeArguments, ShownArguments};
use super::printable::printable;
use super::{ExitStatus, Failure, output, show};
use crate::decode::{Event, KeyRing, Message, Opened, SealedConnection, Summary};
pub(super) use source::{Read, read};

/// How much of a key log is read, in bytes.
const MAX_KEY_LOG: u64 = 64 << 20;

/// Decodes every file.
pub fn run(arguments: &DecodeArguments) -> Result<(), Failure> {
    let mut keys = KeyRing::default();
    for path in &arguments.content_information {
        keys.add(&show::read(path)?.0);
    }
    for given in &arguments.secret {
        let given = given.as_ref().map_err(|error| Failure::new(ExitStatus::Usage, *error))?;
        keys.add_secret(given.segment_id, given.secret.clone());
    }
    let tls_keys = key_logs(&arguments.tls_keys)?;
    let mut failure = None;
    output::write(|to| {
        let mut printer = Printer { arguments, keys, summary: Summary::default(), file: None, to };
        for path in &arguments.files {
            printer.file = (arguments.files.len() > 1).then(|| path.display().to_string());
            let is_live = source::is_live(path);
            let mut result = Ok(());
            let read = read(path, arguments.form, &tls_keys, &mut |event| {
                if result.is_ok() {
                    result = printer.event(&event);
                }
                if result.is_ok() && is_live {
                    result = printer.to.flush();
                }
                result.is_ok()
            });
            result?;
            match read {
                Ok(read) => note(path, &read),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        printer.end()
    })?;
    failure.map_or(Ok(()), Err)
}

/// The lines of all key logs.
pub(super) fn key_logs(paths: &[PathBuf]) -> Result<Vec<u8>, Failure> {
    let mut lines = Vec::new();
    for path in paths {
        let file = File::open(path).map_err(|error| Failure::file("read", path, error))?;
        let log = file.take(MAX_KEY_LOG).read_to_end(&mut lines);
        log.map_err(|error| Failure::file("read", path, error))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Says on standard error what of a capture could not be read.
pub(super) fn note(path: &Path, read: &Read) {
    let counters = read.counters;
    let plural = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let notes = [
        read.damage.map(|damage| format!("{damage}; {} packets were read", read.packets)),
        plural(read.unknown_interface, "packets of interfaces that the capture does not describe"),
        plural(counters.unknown_link, "packets of a link layer that is not known"),
        plural(counters.fragments, "fragments of IP packets, which are not put together"),
        plural(counters.unread_heads, "heads of HTTP messages could not be read"),
        plural(counters.lost_bytes, "bytes of TCP connections were not captured"),
    ];
    let (sealed, more) = &read.sealed;
    let sealed =
        sealed.iter().map(|SealedConnection { client, server, why }| format!("{client} to {server} is TLS: {why}"));
    let more = plural(*more, "more connections are TLS that was not opened");
    for note in notes.into_iter().flatten().chain(sealed).chain(more) {
        // Nothing is left to do where standard error is gone.
        let _ = writeln!(io::stderr().lock(), "note: {}: {note}", printable(&path.display().to_string()));
    }
}

struct Printer<'a> {
    arguments: &'a DecodeArguments,
    keys: KeyRing,
    summary: Summary,
    /// The file, where there are several.
    file: Option<String>,
    to: &'a mut dyn Write,
}

impl Printer<'_> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let mut opened = None;
        if let Event::Message(message) = event {
            self.keys.learn(&message.tree);
            if !self.keys.is_empty() {
                opened = self.keys.open(&message.tree);
            }
        }
        if self.arguments.summary {
            let asking = self.summary.event(event, opened.as_ref().map(|opened| opened.verdict));
            return match asking {
                Some(asking) if self.arguments.json => json::asking(self.to, &asking, self.file.as_deref()),
                Some(asking) => text::asking(self.to, &asking),
                None => Ok(()),
            };
        }
        match event {
            Event::Message(message) if self.arguments.json => {
                json::message(self.to, message, opened.as_ref(), self.file.as_deref(), &self.arguments.shown)
            }
            Event::Message(message) => {
                text::message(self.to, message, opened.as_ref(), self.file.as_deref(), &self.arguments.shown)
            }
            Event::Unanswered(_) | Event::Unpaired(_) => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        match (self.arguments.summary, self.arguments.json) {
            (true, true) => json::hosts(self.to, &self.summary),
            (true, false) => text::hosts(self.to, &self.summary),
            (false, _) => Ok(()),
        }
    }
}

/// The steps that are shown.
fn steps<'o>(opened: &'o Opened, shown: &ShownArguments) -> &'o [crate::decode::Working] {
    if shown.working { &opened.steps } else { &[] }
}

/// Prints a message as `decode` does.
pub(super) fn print(to: &mut dyn Write, message: &Message<'_>, shown: &ShownArguments, json: bool) -> io::Result<()> {
    if json { json::message(to, message, None, None, shown) } else { text::message(to, message, None, None, shown) }
}

/// A file that cannot be decoded.
fn unreadable(path: &Path, why: &str) -> Failure {
    let error = format!("{} is none of the formats that can be decoded: {why}", path.display());
    Failure::new(ExitStatus::NotContentInformation, error)
        .help("pcap, pcapng, a message, content information, or hexadecimal digits of one; --as names a message")
}
