//! Standard output: one JSON object, or text for people.

use std::io::{self, BufWriter, ErrorKind, Write};

use serde::Serialize;

use super::{ExitStatus, Failure};

/// In which form a verb's result is printed.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON where the user asked for it.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints `value` as one JSON object, or else what `text` writes of it.
    pub fn print<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        write(|to| {
            if self.json {
                serde_json::to_writer_pretty(&mut *to, value)?;
                writeln!(to)
            } else {
                text(value, to)
            }
        })
    }
}

/// Writes to standard output. A reader that has gone away (`| head`) is no failure.
pub(crate) fn write(text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    write_if_read(text).map(|_| ())
}

/// The same, for those who have more to do while somebody reads it: whether the reader is still there.
pub(crate) fn write_if_read(text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<bool, Failure> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    match text(&mut stdout).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(ExitStatus::Failure, error).help("standard output cannot be written")),
    }
}
