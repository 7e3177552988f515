//! `peerdist watch`: the status of the service, line by line, for programs that wait for it.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use super::process::interrupted;
use super::refused::by_api;
use super::{ExitStatus, Failure, WatchArguments};
use crate::api::{Status, StatusInfo};
use crate::control::client::{ClientError, Session};
use crate::control::wire::{ErrorCode, Event};

/// How often a daemon that is not there is looked for.
const PAUSE: Duration = Duration::from_secs(1);
/// A daemon that does not answer for so long is as good as none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints the status and each change of it until SIGINT or SIGTERM, or until nobody reads any more.
pub async fn run(arguments: WatchArguments) -> Result<(), Failure> {
    let mut lines = Lines { json: arguments.json, last: None };
    let ended = tokio::select! {
        biased;
        () = interrupted() => Ok(()),
        ended = watch(&mut lines) => ended,
    };
    match ended {
        Err(WatchError::Refused(error)) => Err(by_api(error)),
        Err(WatchError::Output(error)) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(ExitStatus::Failure, error).help("standard output cannot be written"))
        }
        _ => Ok(()),
    }
}

/// What ends watching.
#[derive(Debug)]
enum WatchError {
    /// The daemon does not want to, or cannot be asked; waiting does not help.
    Refused(ClientError),
    Output(io::Error),
}

async fn watch(lines: &mut Lines) -> Result<(), WatchError> {
    loop {
        match tokio::time::timeout(PATIENCE, Session::from_env()).await {
            Ok(Ok(mut session)) => {
                while let Ok(Some(event)) = session.next_event().await {
                    match event {
                        Event::Session { .. } => {}
                        Event::Status(info) => lines.print(info)?,
                        Event::Stopping => break,
                    }
                }
            }
            Ok(Err(error)) if !is_absence(&error) => return Err(WatchError::Refused(error)),
            Ok(Err(_)) | Err(_) => {}
        }
        lines.print(StatusInfo::of(Status::Unavailable))?;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether an error says no more than that no daemon is there now.
fn is_absence(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::NoDaemon { .. }
            | ClientError::HungUp { .. }
            | ClientError::Refused { error: ErrorCode::Unavailable, .. }
    )
}

/// One line for every status that differs from the one before.
#[derive(Debug)]
struct Lines {
    json: bool,
    last: Option<Status>,
}

impl Lines {
    fn print(&mut self, info: StatusInfo) -> Result<(), WatchError> {
        if self.last.replace(info.status) == Some(info.status) {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = if self.json {
            serde_json::to_writer(&mut stdout, &info).map_err(io::Error::from).and_then(|()| writeln!(stdout))
        } else {
            writeln!(stdout, "{}", word(info.status))
        };
        written.and_then(|()| stdout.flush()).map_err(WatchError::Output)
    }
}

/// The status in the word that it has everywhere else.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Disabled => "disabled",
        Status::Unavailable => "unavailable",
        Status::Available => "available",
    }
}
