//! `peerdist craft [FILE]`: messages made of JSON, written or sent.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::args::{CraftArguments, SendTarget, ShownArguments};
use super::{ExitStatus, Failure, decode, output};
use crate::craft::send::{self, SendError};
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
                send::http(address, &request, limit, &mut out)?;
            }
            SendTarget::Udp { .. } => send::datagram(address, form, &bytes, limit, &mut out)?,
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

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let status = match error {
            SendError::NoRequest(_) | SendError::NoDatagram(_) => ExitStatus::Usage,
            SendError::Io { .. } | SendError::Late { .. } | SendError::Ended { .. } => ExitStatus::NobodyAnswered,
        };
        Self::new(status, error)
    }
}
