//! What a long-running verb needs of the operating system: how it learns that it has to end.

use tokio::signal::unix::{SignalKind, signal};

use super::{ExitStatus, Failure};

/// Ready when SIGINT or SIGTERM asks the process to end.
pub(crate) async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Has the process end with the one that started it, where `with_parent` asks for that.
pub(crate) fn follow_parent(with_parent: bool) -> Result<(), Failure> {
    if with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
            .map_err(|error| Failure::new(ExitStatus::Failure, std::io::Error::from(error)))?;
    }
    Ok(())
}
