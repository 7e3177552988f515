//! `peerdist capture`: what the daemon sends and receives, as a capture.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::Path;

use super::process::interrupted;
use super::{CaptureArguments, ExitStatus, Failure};
use crate::control::client::{AdminClient, CaptureStream};

/// The largest block that a daemon writes has one packet.
const MAX_BLOCK: usize = 1 << 20;

/// Writes until the end that was asked for, until SIGINT or SIGTERM, or until the daemon ends.
pub async fn run(arguments: CaptureArguments) -> Result<(), Failure> {
    let to_stdout = arguments.output.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::new(ExitStatus::Usage, "a capture is nothing for a terminal")
            .help("name a file with -o FILE, or a program: peerdist capture | wireshark -k -i -"));
    }
    let path = &arguments.output;
    if !to_stdout && !arguments.force && path.exists() {
        return Err(Failure::file("write", path, ErrorKind::AlreadyExists.into()).help("--force overwrites it"));
    }
    // The interruption has to be heard from the beginning.
    let mut interrupted = std::pin::pin!(interrupted());
    let mut stream = tokio::select! {
        biased;
        () = &mut interrupted => return Ok(()),
        stream = begin(&arguments) => stream?,
    };
    let failed = |error| Failure::file("write", path, error);
    let to: Box<dyn Write> = match to_stdout {
        true => Box::new(io::stdout()),
        false => Box::new(create(path, arguments.force).map_err(failed)?),
    };
    let mut blocks = Blocks { to: BufWriter::new(to), waiting: Vec::new(), packets: 0, lost: 0 };
    let ended = loop {
        let piece = tokio::select! {
            biased;
            () = &mut interrupted => break Ok(()),
            piece = stream.next() => piece,
        };
        let written = match piece {
            Ok(Some(piece)) => blocks.write(&piece),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        };
        match written {
            Err(error) if to_stdout && error.kind() == ErrorKind::BrokenPipe => break Ok(()),
            Err(error) => break Err(failed(error)),
            Ok(()) => {}
        }
    };
    let Blocks { packets, lost, .. } = blocks;
    let losses = if lost == 0 { String::new() } else { format!("; {lost} messages lost, since they came too fast") };
    // Nothing is left to do where standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{}: {packets} packets{losses}", path.display());
    ended
}

async fn begin(arguments: &CaptureArguments) -> Result<CaptureStream, Failure> {
    let CaptureArguments { seconds, count, snaplen, protocol, .. } = arguments;
    let names: Vec<_> = protocol.iter().map(|protocol| protocol.as_str()).collect();
    let protocols = (!names.is_empty()).then(|| format!("protocol={}", names.join(",")));
    let number = |name: &str, value: Option<u64>| value.map(|value| format!("{name}={value}"));
    let query = [protocols, number("seconds", *seconds), number("count", *count), number("snaplen", *snaplen)];
    let query: Vec<_> = query.into_iter().flatten().collect();
    Ok(AdminClient::from_env().capture(&query.join("&")).await?)
}

/// A file that its owner alone reads: captures tell who asks for what.
fn create(path: &Path, force: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    let file = if force { options.create(true).truncate(true) } else { options.create_new(true) }.open(path)?;
    if force && file.metadata()?.is_file() {
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
    }
    Ok(file)
}

/// Hands on whole blocks of pcapng, so that the file is whole whenever it ends.
struct Blocks<W: Write> {
    to: BufWriter<W>,
    waiting: Vec<u8>,
    packets: u64,
    /// What the daemon said last.
    lost: u64,
}

impl<W: Write> Blocks<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(piece);
        let mut rest = &self.waiting[..];
        while let Some(size) = number(rest, 4) {
            if !(12..=MAX_BLOCK).contains(&size) {
                return Err(io::Error::new(ErrorKind::InvalidData, "the daemon sends no capture"));
            }
            let Some((block, behind)) = rest.split_at_checked(size) else { break };
            match number(block, 0) {
                Some(ENHANCED_PACKET) => self.packets += 1,
                // Behind the interface, the time, and how many there were.
                Some(INTERFACE_STATISTICS) => self.lost = number(block, 36).unwrap_or(0) as u64,
                _ => {}
            }
            self.to.write_all(block)?;
            rest = behind;
        }
        let done = self.waiting.len() - rest.len();
        self.waiting.drain(..done);
        // Whoever reads along sees what there is.
        self.to.flush()
    }
}

const INTERFACE_STATISTICS: usize = 5;
const ENHANCED_PACKET: usize = 6;

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::pcapng::{Direction, Writer};

    #[test]
    fn blocks_are_handed_on_whole_however_they_come() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, "test").unwrap();
        let on = writer.interface("lo").unwrap();
        writer.packet(on, UNIX_EPOCH, Direction::Inbound, &[7; 33]).unwrap();
        let before_last = writer.get_mut().len();
        writer.statistics(on, UNIX_EPOCH, 9, 4).unwrap();
        let mut blocks = Blocks { to: BufWriter::new(Vec::new()), waiting: Vec::new(), packets: 0, lost: 0 };
        for piece in bytes[..bytes.len() - 1].chunks(5) {
            blocks.write(piece).unwrap();
        }
        assert_eq!(blocks.to.get_ref(), &bytes[..before_last]);
        blocks.write(&bytes[bytes.len() - 1..]).unwrap();
        assert_eq!((blocks.packets, blocks.lost), (1, 4));
        assert_eq!(blocks.to.get_ref(), &bytes);
        assert!(blocks.write(&[0; 12]).is_err());
    }
}
