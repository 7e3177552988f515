//! `peerdist scrub CAPTURE SCRUBBED`: a capture without its secrets.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};

use super::args::ScrubArguments;
use super::printable::printable;
use super::{ExitStatus, Failure, decode};
use crate::scrub::{ScrubError, Scrubber};

/// Writes the capture anew, and says how many messages are in it.
pub fn run(arguments: &ScrubArguments) -> Result<(), Failure> {
    let path = &arguments.output;
    let failed = |error| Failure::file("write", path, error);
    let tls_keys = decode::key_logs(&arguments.tls_keys)?;
    let mut scrubber = Scrubber::new(BufWriter::new(File::create_new(path).map_err(failed)?)).map_err(failed)?;
    let mut result = Ok(());
    let read = decode::read(&arguments.capture, None, &tls_keys, &mut |event| {
        if result.is_ok() {
            result = scrubber.event(&event);
        }
        result.is_ok()
    });
    let outcome = read.and_then(|read| {
        result.and_then(|()| scrubber.finish()).map(|count| (read, count)).map_err(|error| match error {
            ScrubError::Io(error) => failed(error),
            ScrubError::NoCapture => Failure::new(ExitStatus::NotContentInformation, error),
        })
    });
    let (read, count) = outcome.inspect_err(|_| {
        // Half of a capture is of no use; that it cannot be removed is no news.
        let _ = std::fs::remove_file(path);
    })?;
    decode::note(&arguments.capture, &read);
    let shown = path.display().to_string();
    let line = format!("{}: {} messages; {} left out", printable(&shown), count.written, count.left_out);
    // Nothing is left to do where standard output is gone.
    let _ = writeln!(io::stdout().lock(), "{line}");
    Ok(())
}
