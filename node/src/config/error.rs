//! What can be wrong with a configuration, and where in the file.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use thiserror::Error;

use super::MAX_FILE_SIZE;

/// Why a configuration could not be used. All of it is for the administrator to mend. Each is told whole in one line, its
/// cause included, for the log of a reload too.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is no UTF-8 text.
    #[error("{}: the configuration is not UTF-8 text (byte {})", path.display(), error.utf8_error().valid_up_to())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where the text ends to be UTF-8.
        error: std::string::FromUtf8Error,
    },
    /// The file is larger than [`MAX_FILE_SIZE`].
    #[error("{}: the configuration has {size} bytes, more than {MAX_FILE_SIZE} are not read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The text is no TOML, a key is unknown, or a value is not what the key takes.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
        /// The whole text, to show the line.
        text: Box<NamedSource<String>>,
        /// Where in `text`, in bytes.
        span: std::ops::Range<usize>,
    },
    /// Keys that do not go together.
    #[error("{}: {message}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: Cow<'static, str>,
    },
    /// Neither `$XDG_CACHE_HOME` nor `$HOME` names a directory for the user's own cache.
    #[error("no place for a cache of your own: neither XDG_CACHE_HOME nor HOME is an absolute path")]
    NoHome,
}

impl ConfigError {
    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
        Self::Syntax {
            path: path.to_owned(),
            line,
            column,
            message: error.message().to_owned(),
            text: Box::new(NamedSource::new(path.display().to_string(), text.to_owned())),
            span,
        }
    }
}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        let help = match self {
            Self::Read { .. } => "name another file, or write one with `peerdist check-config --print-default`",
            Self::Syntax { .. } | Self::Contradiction { .. } => {
                "`peerdist check-config --print-default` prints every key with its default"
            }
            Self::NotText { .. } | Self::TooLarge { .. } => "is this the right file?",
            Self::NoHome => "set HOME, or start peerdistd",
        };
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        match self {
            Self::Syntax { text, .. } => Some(text.as_ref()),
            _ => None,
        }
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        match self {
            Self::Syntax { span, .. } => {
                Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span.clone()))))
            }
            _ => None,
        }
    }
}
