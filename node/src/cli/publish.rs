//! `peerdist publish FILE`, `unpublish` and `publications`: what this user's programs publish through the daemon.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use indicatif::HumanCount;
use serde::Serialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::hash::write_output;
use super::process::interrupted;
use super::refused::by_api;
use super::{
    BytesFrom, ContentInfoVersion, ExitStatus, Failure, IdentifierArguments, Output, Progress, PublicationsArguments,
    PublishArguments, UnpublishArguments,
};
use crate::api::{Status, Wanted};
use crate::control::client::{ClientError, Events, Session, SessionHandle};
use crate::control::wire::{ErrorCode, Event, MAX_DATA_SIZE};

/// The file is read and added in pieces of this size.
const PIECE_SIZE: usize = 1 << 20;
/// How long the daemon may take to end the session.
const ENDING: Duration = Duration::from_secs(5);

/// Publishes a file, says so, and goes on until SIGINT or SIGTERM.
pub async fn run(arguments: PublishArguments) -> Result<(), Failure> {
    let identifier = identifier(&arguments.identifier)?;
    if arguments.version == 1 && arguments.content_info == ContentInfoVersion::V2 {
        return Err(Failure::new(ExitStatus::Usage, "--version 1 makes no content information of version 2")
            .help("leave --version out, or say --content-info v1"));
    }
    let (session, mut events) = Session::from_env().await.map_err(by_api)?.split();
    let publication = Publication { session: &session, identifier: &identifier };
    let is_published = Cell::new(false);
    let published = async {
        publication.publish(&arguments, &is_published).await?;
        std::future::pending().await
    };
    let ended = tokio::select! {
        biased;
        () = interrupted() => if is_published.get() {
            Ok(())
        } else {
            Err(Failure::new(ExitStatus::Failure, "interrupted before the file was published"))
        },
        gone = until_gone(&mut events) => Err(gone),
        failed = published => failed,
    };
    // So that the publication is gone when this process is. Where that fails, the daemon notices by itself.
    let _ = tokio::time::timeout(ENDING, session.end()).await;
    ended
}

/// Takes a publication back.
pub async fn unpublish(arguments: UnpublishArguments) -> Result<(), Failure> {
    let identifier = identifier(&arguments.identifier)?;
    let session = Session::from_env().await.map_err(by_api)?;
    session.unpublish(&identifier).await.map_err(by_api)
}

/// Lists this user's publications.
pub async fn list(arguments: PublicationsArguments) -> Result<(), Failure> {
    let session = Session::from_env().await.map_err(by_api)?;
    let publications = session.publications().await.map_err(by_api)?;
    let listed =
        Listed { publications: publications.iter().map(|line| Line::of(&line.identifier.0, line.length)).collect() };
    Output::new(arguments.json)
        .print(&listed, |listed, to| listed.publications.iter().try_for_each(|line| line.write(to)))
}

fn identifier(arguments: &IdentifierArguments) -> Result<Vec<u8>, Failure> {
    let usage = |message| Failure::new(ExitStatus::Usage, message);
    let identifier = match (&arguments.id, &arguments.id_hex) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(digits)) => {
            hex::decode(digits).map_err(|_| usage("--id-hex takes an even number of hexadecimal digits"))?
        }
        (None, None) => return Err(usage("no identifier was named").help("use --id or --id-hex")),
    };
    if identifier.is_empty() { Err(usage("an identifier has 1 to 4096 bytes")) } else { Ok(identifier) }
}

/// What is being published.
struct Publication<'a> {
    session: &'a SessionHandle,
    identifier: &'a [u8],
}

impl Publication<'_> {
    async fn publish(&self, arguments: &PublishArguments, is_published: &Cell<bool>) -> Result<(), Failure> {
        let path = &arguments.file;
        let length = self.add(path, arguments.version).await?;
        is_published.set(true);
        let mut size = None;
        if let Some(out) = &arguments.out {
            let information = self.information(arguments.content_info).await.map_err(by_api)?;
            write_output(out, &information)?;
            size = Some(information.len());
            if out == Path::new("-") {
                return Ok(());
            }
        }
        let published = Published {
            file: path,
            publication: Line::of(self.identifier, length),
            out: arguments.out.as_deref(),
            size,
        };
        Output::new(arguments.json).print(&published, Published::write)
    }

    /// Publishes the file. Returns its length.
    async fn add(&self, path: &Path, version: u32) -> Result<u64, Failure> {
        let unreadable = |error| Failure::file("read", path, error);
        let mut file = File::open(path).await.map_err(unreadable)?;
        let before = file.metadata().await.map_err(unreadable)?;
        let declared = before.is_file().then_some(before.len());
        if declared == Some(0) {
            return Err(Failure::file("publish", path, io::Error::other("it is empty")));
        }
        let progress = Progress::new("publishing", declared);
        // What is no regular file, such as a pipe, ends where it ends.
        let stream = self.session.publish(self.identifier, declared.unwrap_or(0), version).await.map_err(by_api)?;
        let mut added = 0;
        loop {
            let piece = read_piece(&mut file).await.map_err(unreadable)?;
            if piece.is_empty() {
                break;
            }
            let size = piece.len() as u64;
            if declared.is_some_and(|declared| added + size > declared) {
                return Err(changed(path));
            }
            added = match stream.add(added, piece).await {
                Ok(added) => added,
                Err(error) => return Err(self.interrupted_by(error).await),
            };
            progress.add(BytesFrom::File, size);
        }
        let after = file.metadata().await.map_err(unreadable)?;
        let state = |of: &std::fs::Metadata| (of.len(), of.mtime(), of.mtime_nsec());
        if declared.is_some_and(|declared| added != declared || state(&before) != state(&after)) {
            return Err(changed(path));
        }
        match stream.complete().await {
            Ok(length) => Ok(length),
            Err(error) => Err(self.interrupted_by(error).await),
        }
    }

    /// Why adding failed: the daemon that goes and an `unpublish` elsewhere both cancel it.
    async fn interrupted_by(&self, error: ClientError) -> Failure {
        let is_cancelled = matches!(
            error,
            ClientError::Refused { error: ErrorCode::Cancelled | ErrorCode::NoSession | ErrorCode::NoContent, .. }
        );
        if is_cancelled && self.session.publications().await.is_err() { gone() } else { by_api(error) }
    }

    /// The content information of what was published, whole.
    async fn information(&self, version: ContentInfoVersion) -> Result<Bytes, ClientError> {
        let version = match version {
            ContentInfoVersion::V1 => 1,
            ContentInfoVersion::V2 => 2,
        };
        let wanted = Wanted { min_version: version, max_version: version, ..Wanted::default() };
        let open = self.session.open_information(self.identifier, &wanted).await?;
        let mut whole = BytesMut::new();
        while (whole.len() as u64) < open.size() {
            whole.extend_from_slice(&open.retrieve(whole.len() as u64, MAX_DATA_SIZE as u64).await?);
        }
        open.close().await?;
        Ok(whole.freeze())
    }
}

/// The next bytes of a file: a full piece but for the last one, and none at the end.
async fn read_piece(file: &mut File) -> io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(PIECE_SIZE);
    file.take(PIECE_SIZE as u64).read_buf(&mut piece).await?;
    while piece.len() < PIECE_SIZE && file.take((PIECE_SIZE - piece.len()) as u64).read_buf(&mut piece).await? > 0 {}
    Ok(piece.freeze())
}

/// Ends when the daemon ends the session, and says on standard error what happens to the service meanwhile.
async fn until_gone(events: &mut Events) -> Failure {
    let mut told = Status::Available;
    while let Ok(Some(event)) = events.next().await {
        match event {
            Event::Session { .. } => {}
            Event::Status(info) if std::mem::replace(&mut told, info.status) != info.status => {
                // Nothing is left to do where standard error is gone.
                let _ = writeln!(io::stderr().lock(), "the service is {}", super::watch::word(info.status));
            }
            Event::Status(_) => {}
            Event::Stopping => break,
        }
    }
    gone()
}

fn gone() -> Failure {
    Failure::new(ExitStatus::NoDaemon, "the daemon went away, and with it what was published")
        .help("publish again when it is back; `peerdist watch` tells when")
}

fn changed(path: &Path) -> Failure {
    Failure::file("publish", path, io::Error::other("it changed while it was read"))
        .help("try again when nobody writes to it")
}

/// What `publish --json` prints.
#[derive(Debug, Serialize)]
struct Published<'a> {
    file: &'a Path,
    #[serde(flatten)]
    publication: Line,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<&'a Path>,
    /// Bytes of content information in that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<usize>,
}

impl Published<'_> {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{}: {} published as {}", self.file.display(), bytes(self.publication.length), self.publication)?;
        if let (Some(out), Some(size)) = (self.out, self.size) {
            writeln!(to, "{}: {size} bytes of content information", out.display())?;
        }
        Ok(())
    }
}

/// What `publications --json` prints.
#[derive(Debug, Serialize)]
struct Listed {
    /// In the order of their identifiers.
    publications: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    /// As hexadecimal digits.
    identifier: String,
    /// The same as text, where it is text.
    text: Option<String>,
    /// Bytes of the content.
    length: u64,
}

impl Line {
    fn of(identifier: &[u8], length: u64) -> Self {
        // Control characters are no text: they would change the terminal they are shown on.
        let text = std::str::from_utf8(identifier).ok().filter(|text| !text.contains(char::is_control));
        Self { identifier: hex::encode(identifier), text: text.map(str::to_owned), length }
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{:>22}  {self}", bytes(self.length))
    }
}

/// The identifier for people.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{text:?}"),
            None => write!(f, "hex {}", self.identifier),
        }
    }
}

fn bytes(count: u64) -> String {
    format!("{} bytes", HumanCount(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_that_are_no_text_are_shown_as_digits() {
        for (identifier, shown) in [
            (&b"image 1"[..], "\"image 1\""),
            ("größe".as_bytes(), "\"größe\""),
            (b"\x1b[2J", "hex 1b5b324a"),
            (b"\xff\x00", "hex ff00"),
        ] {
            assert_eq!(Line::of(identifier, 1).to_string(), shown);
        }
    }
}
