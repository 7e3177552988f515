//! How a command ends: exit statuses, and errors that say what to do.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use peerdist_transport::hosted_cache::CertificateError;

use super::printable::printable_lines;
use crate::config::ConfigError;

/// The exit statuses of `peerdist` and `peerdistd`. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// 0: done.
    Success = 0,
    /// 1: failed for a reason that has no number of its own.
    Failure = 1,
    /// 2: the command line makes no sense.
    Usage = 2,
    /// 3: the origin could not be reached, or answered with an error.
    Origin = 3,
    /// 4: bytes do not have the hash they must have.
    Verification = 4,
    /// 5: no daemon listens on the control socket.
    NoDaemon = 5,
    /// 6: another process uses the cache.
    CacheInUse = 6,
    /// 7: the system or the daemon does not permit it.
    NotPermitted = 7,
    /// 8: the file is no content information, or nothing that the command reads.
    NotContentInformation = 8,
    /// 9: nobody answered.
    NobodyAnswered = 9,
    /// 10: an answer is of another kind than the captured one.
    OtherAnswer = 10,
    /// 64: the configuration is wrong.
    Configuration = 64,
}

impl ExitStatus {
    /// What `peerdist --help` says of exit statuses.
    pub const HELP: &str = "\
Exit status:
   0  done
   1  failed for a reason not listed here
   2  the command line makes no sense
   3  the origin could not be reached, or answered with an error
   4  bytes do not have the hash they must have
   5  no daemon listens on the control socket
   6  another process uses the cache
   7  not permitted
   8  the file is no content information, of no format that can be decoded, or no message
   9  nobody answered
  10  an answer is of another kind than the captured one
  64  the configuration is wrong";
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// Why a command failed: its exit status, the error, and what the user can do.
#[derive(Debug)]
pub struct Failure {
    status: ExitStatus,
    error: FailureError,
    help: Option<Cow<'static, str>>,
}

#[derive(Debug)]
enum FailureError {
    /// Shown as a chain of causes.
    Plain(Box<dyn Error + Send + Sync>),
    /// Shown with the offending line.
    Config(Box<ConfigError>),
}

impl Failure {
    /// A failure that ends the process with `status`.
    pub fn new(status: ExitStatus, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { status, error: FailureError::Plain(error.into()), help: None }
    }

    /// The same with a sentence that says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A file operation failed; `doing` is a verb such as "read" or "write".
    pub(crate) fn file(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        let status = match source.kind() {
            std::io::ErrorKind::PermissionDenied => ExitStatus::NotPermitted,
            _ => ExitStatus::Failure,
        };
        Self::new(status, FileError { doing, path: path.to_owned(), source })
    }

    /// With what the process ends.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// Writes the error to standard error.
    pub(super) fn print(&self) {
        let text = match &self.error {
            FailureError::Plain(error) => self.chain(error.as_ref()),
            FailureError::Config(error) => report(error.as_ref()),
        };
        // Nothing is left to do where standard error is gone.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    fn chain(&self, error: &(dyn Error + 'static)) -> String {
        let mut text = format!("error: {}\n", printable_lines(&error.to_string()));
        let mut shown = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many errors repeat their source in their own text.
            if !shown.contains(&cause_text) {
                let _ = writeln!(text, "  because: {}", printable_lines(&cause_text));
            }
            shown = cause_text;
            source = cause.source();
        }
        if let Some(help) = &self.help {
            let _ = writeln!(text, "  help: {help}");
        }
        text
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { status: ExitStatus::Configuration, error: FailureError::Config(Box::new(error)), help: None }
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        match &error {
            CertificateError::Read { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Self::new(ExitStatus::NotPermitted, error)
                    .help("the file has to be readable for the user that the daemon runs as")
            }
            _ => Self::new(ExitStatus::Configuration, error)
                .help("certificate and private_key of [hosted_cache] and trust of [hosted_client] name PEM files"),
        }
    }
}

fn report(error: &dyn Diagnostic) -> String {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    let mut text = String::new();
    match GraphicalReportHandler::new_themed(theme).with_links(false).render_report(&mut text, error) {
        Ok(()) => text,
        Err(_) => format!("error: {error}\n"),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
struct FileError {
    doing: &'static str,
    path: std::path::PathBuf,
    source: std::io::Error,
}
